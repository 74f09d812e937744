"""The base class of stopping rules, and three simple rules: a function, a count, early stopping."""

import inspect
import math
import numbers

import torch

from .. import hardware
from ..errors import InputError, whole

__all__ = ["Count", "EarlyStopping", "Rule"]


class Rule:
    """The base class of all stopping rules.

    A subclass implements `look`, which examines one step: it calls ``self.choose(step)`` if the
    step's image is the best so far, and ``self.stop_when(condition)``. Everything else is optional:
    `prepare` checks that the rule applies, `initial` adds to `state`, and `problems` hides
    something from the networks.

    Attributes
    ----------
    name : str
        The name under which `fit(stop=...)` and the command line know the rule.
    problems : list of Problem or None
        What each of the recipe's networks is fitted to, where that is not the problem itself. Set
        by `prepare`.
    state : dict
        Everything that changes from step to step, in tensors and whole numbers, as `initial`
        declares it. A rollback restores the state, and a saved run contains it: assign new tensors,
        and do not write into the old ones.

    Notes
    -----
    Tensors stay on the device of the fit. A GPU executes asynchronously, so reading a value forces
    a synchronisation: there a rule is asked only at every `hardware.READ_EVERY`-th iteration
    whether to stop. The choice does not suffer from the delay, because it is frozen at the first
    iteration at which the rule wanted to stop.

    Examples
    --------
    >>> class Budget(Rule):
    ...     '''Stop at a loss, and choose the average of that moment.'''
    ...     name = "budget"
    ...     def __init__(self, loss=0.01):
    ...         super().__init__()
    ...         self.loss = loss
    ...     def look(self, step):
    ...         self.choose(step)
    ...         self.stop_when(step.loss < self.loss)
    >>> from diplearn import denoising, fit, images
    >>> problem = denoising(images.load("camera", size=64))
    >>> fit(problem, stop=Budget(0.05), progress=False).stopped_by
    'budget'
    """

    name = ""
    problems = None
    made_of = ""  # in words what the chosen image is made of, if not of the fit alone
    _scale = None  # what `prepare` derived from the length of the fit

    def __init__(self):
        self.state = {}

    @property
    def chosen(self):
        """The image that the rule would return now, (C, H, W); None before the first step."""
        return self.state.get("chosen")

    @property
    def chosen_at(self):
        """The iteration of `chosen`."""
        return int(self.state.get("chosen_at", 0))

    def prepare(self, problem, recipe):
        """Raise InputError if the rule does not apply; called once, before the fit."""

    def initial(self, image):
        """Return `state` as it is before the first step, for images like this one."""
        device = image.device
        return {
            "steps": 0,
            "chosen": torch.zeros_like(image),
            "chosen_at": torch.zeros((), dtype=torch.int64).to(device),
            "stop": torch.zeros((), dtype=torch.bool).to(device),
        }

    def look(self, step):
        """Examine one step: choose its image or not, and say whether the fit may stop."""
        raise NotImplementedError(f"{type(self).__name__} must implement look(step)")

    def __call__(self, step):
        """Examine one step and return whether to stop."""
        device = step.average.device
        if not self.state:
            self.state = self.initial(step.average)
        self.move(device)
        self.state["steps"] += 1
        self.look(step)
        return hardware.due(device, step.iteration) and bool(self.state["stop"])

    def choose(self, step, where=True):
        """Choose the average of this step, unless the rule has already decided to stop."""
        self.keep(where, chosen=step.average, chosen_at=step.iteration)

    def keep(self, where, **values):
        """Put values into the state where a condition holds, unless the rule wants to stop."""
        where = ~self.state["stop"] & _condition(where)
        for name, value in values.items():
            self.state[name] = torch.where(where, value, self.state[name])

    def stop_when(self, condition):
        """Decide to stop, once and for all, if the condition holds (a bool or a bool tensor)."""
        self.state["stop"] = self.state["stop"] | _condition(condition)

    def move(self, device):
        """Move the tensors that the rule compares with to the device of the fit."""

    def settings(self):
        """Return the arguments of the constructor; each is an attribute of the same name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def remember(self):
        """Return the present state, for `recall`."""
        return dict(self.state)

    def recall(self, state):
        """Restore an earlier state."""
        self.state = dict(state)

    def check_state(self, state, image, exactly):
        """Raise InputError if a state does not contain (exactly) what `initial` declares."""
        wanted = {name: _kind(value) for name, value in self.initial(image).items()}
        found = {name: _kind(value) for name, value in state.items()}
        if found and not (found == wanted if exactly else wanted.items() <= found.items()):
            raise InputError(f"the saved state of the rule {self.name!r} does not fit the rule")


def _condition(value):
    """Return a condition as a bool tensor or a bool; NumPy's are neither."""
    return value.bool() if torch.is_tensor(value) else bool(value)


def _kind(value):
    return (value.dtype, value.shape) if torch.is_tensor(value) else type(value)


class Function(Rule):
    """A user's function of a step, as a rule: the average of the last step is what it chose."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        name = getattr(function, "name", None) or getattr(function, "__name__", None)
        self.name = str(name or type(function).__name__)

    def look(self, step):
        """Choose the present average."""
        self.choose(step)

    def __call__(self, step):
        """Ask the user's function."""
        super().__call__(step)
        return bool(self.function(step))


class Count(Rule):
    """Stop after a fixed number of iterations.

    Parameters
    ----------
    iterations : int or None, optional
        The number; None takes the recipe's.

    Raises
    ------
    InputError
        The number is not positive.

    Examples
    --------
    >>> Count(0)
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: 0 iterations make no fit; ask for at least 1
    """

    name = "count"

    def __init__(self, iterations=None):
        super().__init__()
        if isinstance(iterations, numbers.Real) and iterations < 1:
            raise InputError(f"{iterations} iterations make no fit; ask for at least 1")
        self.iterations = iterations if iterations is None else whole(iterations, "iterations", 1)
        self.last = self.iterations

    def prepare(self, problem, recipe):
        """Find the iteration at which to stop."""
        self.last = recipe.iterations if self.iterations is None else self.iterations

    def look(self, step):
        """Choose the present average."""
        self.choose(step)

    def __call__(self, step):
        """Return whether to stop; the answer needs no value from the device."""
        super().__call__(step)
        return step.iteration >= self.last


class EarlyStopping(Rule):
    """Choose the step with the lowest score; stop when the score has not fallen for a while.

    This is early stopping with patience, and the patience grows with the fit. A subclass implements
    `score`.

    Parameters
    ----------
    patience : float, optional
        Stop when the lowest score is this fraction of its own iteration ago: 0.3 at iteration 200
        is a wait of 60 iterations.
    start : int, optional
        Choose no image before this iteration.

    Examples
    --------
    >>> class Rough(EarlyStopping):
    ...     '''Choose the output with the smallest total variation.'''
    ...     name = "rough"
    ...     def score(self, step):
    ...         return step.output.diff(dim=-1).abs().mean()
    >>> from diplearn import denoising, fit, images
    >>> problem = denoising(images.load("camera", size=64))
    >>> fit(problem, stop=Rough(), iterations=200, progress=False).stopped_by
    'rough'
    """

    def __init__(self, patience=0.3, start=30):
        super().__init__()
        self.patience = real("patience", patience, 0, 1e6)
        self.start = self.first = whole(start, "start", 0)  # `prepare` may make `first` later
        self.shortest_wait = 30  # in iterations, since scores are noisy; `prepare` may prolong it

    def initial(self, image):
        """Add the lowest and the latest score to the state."""
        infinite = scalar(math.inf, image.device)
        return super().initial(image) | {"lowest": infinite, "score": infinite}

    def score(self, step):
        """Return a number or scalar tensor that should be low; infinity as long as unknown."""
        raise NotImplementedError

    def look(self, step):
        """Choose the step with the lowest score; stop when that step is long past."""
        score = self.state["score"] = scalar(self.score(step), step.average.device)
        if self.state["steps"] < self.first:
            self.choose(step)
            return
        lowest = self.state["lowest"]
        unknown = lowest.isinf() & score.isinf()
        lower = score < lowest
        self.choose(step, unknown | lower)
        self.state["lowest"] = torch.where(lower, score, lowest)
        chosen_at = self.state["chosen_at"].to(score.dtype)
        wait = (self.patience * chosen_at).clamp(min=max(self.shortest_wait, self.first))
        self.stop_when(~unknown & (step.iteration - chosen_at >= wait))


def real(name, value, above, most):
    """Return a setting as a Python number; raise InputError if it is not in (above, most]."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and above < value <= most):
        raise InputError(f"{name}={value!r} is out of range: it must be in ({above}, {most:g}]")
    return float(value)


def scalar(value, device):
    """Return a number as a scalar of the device's widest type, without a synchronisation."""
    kind = hardware.wide(device)
    if torch.is_tensor(value):
        return value.detach().to(device, kind)
    return torch.full((), float(value), dtype=kind, device=device)


def wide(image):
    """Return the widest floating type of the image's device."""
    return hardware.wide(image.device)
