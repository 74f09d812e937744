"""From what a caller hands in as stop= to a rule that is prepared for the fit."""

import copy
import numbers

from .. import noise
from ..errors import InputError, lookup, one_line
from ..operators import Identity
from .fusion import Fusion
from .rule import Count, Function, Rule
from .rules import (
    Discrepancy,
    ExponentialVariance,
    HoldOut,
    Oracle,
    Plateau,
    Sure,
    WindowedVariance,
)

__all__ = ["BY_NAME", "automatic", "choose"]

BY_NAME = {
    rule.name: rule
    for rule in (
        Count, HoldOut, Sure, Fusion, Discrepancy, WindowedVariance, ExponentialVariance, Plateau,
        Oracle,
    )
}  # fmt: skip


def automatic(problem):
    """Return the rules that "auto" tries in turn, as measured by benchmarks/stopping.py.

    Parameters
    ----------
    problem : Problem
        The problem that is to be solved.

    Returns
    -------
    list of Rule
        SURE where the noise is Gaussian and its level is stated; hold-out where nothing is known
        about the noise, with hidden blocks if neighbouring pixels have similar noise; a plateau
        where there is none; a fixed count for JPEG, whose errors no rule that we know of detects.

    Examples
    --------
    >>> from diplearn import images, jpeg
    >>> [rule.name for rule in automatic(jpeg(images.load("camera", size=64)))]
    ['count']
    """
    if problem.task == "jpeg":
        return [Count()]
    if problem.sigma:
        return [Sure(), HoldOut(), Count()]
    if problem.sigma is None and problem.task == "denoising":
        return [_blocks() if _alike(problem) else HoldOut(), Count()]
    return [Plateau(), Count()]


def _blocks():
    """Return hold-out with blocks; few pixels are judged, so that its scores are noisy at first."""
    return HoldOut(fraction=0.1, start=50, block=4)


def _alike(problem):
    """Return whether the noise is known to be alike in neighbouring pixels."""
    return isinstance(problem.operator, Identity) and noise.alike(problem.observation)


def choose(stop, problem, recipe):
    """Return a stopping rule, prepared for a fit, from what a caller hands in.

    Parameters
    ----------
    stop : Rule, callable, str, int or None
        A rule is copied, so that one object may be handed to several fits. A function of a step
        says by its result whether to stop. A string is "auto" or a name in `BY_NAME`. A number is a
        `Count`. None takes the recipe's rule if it applies, and else the recipe's number of
        iterations.
    problem : Problem
        The problem that is to be solved.
    recipe : Recipe
        How it is solved.

    Returns
    -------
    Rule

    Raises
    ------
    InputError
        No rule has that name, the number is not positive, or the rule does not apply.

    Examples
    --------
    >>> choose(lambda step: step.iteration == 7, None, None).name
    '<lambda>'
    """
    if isinstance(stop, str) and stop == "auto" or stop is None and recipe.stop == "auto":
        return _first(automatic(problem), problem, recipe)
    if stop is None:
        rule = _named(recipe.stop)
        # A mixture with another denoiser is not replaced by the fit alone without a word.
        return _first([rule] if recipe.mixes else [rule, Count()], problem, recipe)
    rule = copy.copy(_as_rule(stop))
    rule.state = {}
    rule.name = str(rule.name or type(rule).__name__)
    rule.prepare(problem, recipe)
    _check_problems(rule, problem)
    return rule


def _first(rules, problem, recipe):
    """Return the first rule that applies; raise the InputError of the last one if none does."""
    *others, last = rules
    for rule in others:
        try:
            rule.prepare(problem, recipe)
        except InputError:  # such as SURE for a problem without noise
            continue
        return rule
    last.prepare(problem, recipe)
    return last


def _named(name):
    return lookup({"auto": None, **BY_NAME}, name, "stopping rule")()  # "auto": to be listed


def _check_problems(rule, problem):
    """Raise InputError unless a rule's problems are as large as the one that is to be solved."""
    problems = rule.problems
    if problems is not None and not (
        isinstance(problems, list | tuple)
        and problems
        and all(getattr(each, "shape", None) == problem.shape for each in problems)
    ):
        raise InputError(
            f"the rule {rule.name!r} must list problems with images of the shape {problem.shape}"
        )


def _as_rule(stop):
    if isinstance(stop, Rule):
        if not hasattr(stop, "state"):
            raise InputError(f"{type(stop).__name__}.__init__ must call super().__init__()")
        return stop
    if isinstance(stop, str):
        return _named(stop)
    if isinstance(stop, type):
        raise InputError(f"stop={stop.__name__} is a class: hand in a rule, {stop.__name__}()")
    if callable(stop):
        members = ", ".join(
            m for m in ("prepare", "look", "problems", "chosen") if hasattr(stop, m)
        )
        if members:
            kind = type(stop).__name__
            raise InputError(f"{kind} has {members}: derive it from diplearn.stopping.Rule")
        return Function(stop)
    if isinstance(stop, bool):
        raise InputError(f"stop={stop} is neither a number of iterations nor a rule")
    try:
        return Count(stop)
    except InputError as error:
        if isinstance(stop, numbers.Real):
            raise
        raise InputError(
            f"a stopping rule is a number, a name, a Rule, or a function of a step; not {stop!r}: "
            f"{error}"
        ) from None


def is_ours(rule):
    """Return whether a rule is one of the package's, which a file can describe."""
    return BY_NAME.get(rule.name) is type(rule)


def describe(rule):
    """Return what `rebuild` needs; a rule of the user's own has no settings."""
    settings = rule.settings() if is_ours(rule) else None
    return {"name": rule.name, "settings": settings, "scale": rule._scale}


def rebuild(description, problem, recipe):
    """Build one of the package's rules again, prepared for a fit, from its description."""
    try:
        rule = BY_NAME[description["name"]](**description["settings"])
        rule.prepare(problem, recipe)
    except InputError:
        raise
    except Exception as error:  # a damaged value may fail in any way
        raise InputError(f"the saved stopping rule cannot be built: {one_line(error)}") from error
    return rule
