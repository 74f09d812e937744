"""The parts that all checks share: the verdict, a decorator, and the two most common checks.

A check takes a learner's answer, which is a number, a function or a `Run`, and returns a `Verdict`.
It never raises an error, whatever the answer is, so that a notebook with open exercises runs to its
end.
"""

import copy
import dataclasses
import functools
import math
from collections.abc import Callable

import torch

from ...run import Run

__all__ = ["function", "number"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The result of a check: `right`, None without an answer, and the reason or hint in `words`."""

    right: bool | None
    words: str

    def __bool__(self):
        return bool(self.right)

    def __repr__(self):
        return f"{ {True: '✓', False: '✗', None: '…'}[self.right] } {self.words}"


OPEN = Verdict(None, "no answer yet: replace the None, run the cell again")


def yes(why):
    """Return the verdict on a right answer."""
    return Verdict(True, f"right: {why}")


def no(hint):
    """Return the verdict on a wrong answer."""
    return Verdict(False, f"not yet: {hint}")


def check(judge, kind=object, wanted=""):
    """Make a check that never raises: None counts as no answer, and an error becomes a hint.

    All positional arguments of the check must be instances of `kind`.
    """

    @functools.wraps(judge)
    def checked(*answers, **options):
        try:
            if any(answer is None for answer in answers):
                return OPEN
            for answer in answers:
                if not isinstance(answer, kind):
                    return no(f"that is of the type {type(answer).__name__}; {wanted}")
            return judge(*answers, **options)
        except Exception as error:  # whatever the learner's answer does
            what = "the function failed" if kind is Callable else "this answer cannot be checked"
            return no(f"{what}: {type(error).__name__}: {error}")

    return checked


check_of_function = functools.partial(check, kind=Callable, wanted="a function is wanted")
check_of_runs = functools.partial(check, kind=Run, wanted="dip.fit returns a Run")


@check
def number(
    answer,
    right,
    why,
    slips,
    tolerance=0.05,
    otherwise="think of the definition, and of the units",
):
    """Check a number, with a hint for each common mistake.

    Parameters
    ----------
    answer : float or None
        The learner's answer.
    right : float
        The right answer.
    why : str
        Why it is right.
    slips : dict
        Wrong value -> hint.
    tolerance : float, optional
        Relative tolerance.
    otherwise : str, optional
        The hint for any other value.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> number(4.0, 2.0, "the root of 4", {4.0: "take the root"})
    ✗ not yet: take the root
    """
    try:
        answer = float(answer)
    except Exception:  # text, a list, an image, ...
        return no(f"a number is wanted, not {answer!r}")
    if math.isclose(answer, right, rel_tol=tolerance):
        return yes(why)
    for wrong, hint in slips.items():
        if math.isclose(answer, wrong, rel_tol=tolerance):
            return no(hint)
    return no(otherwise)


@check_of_function
def function(
    answer,
    *,
    inputs,
    right,
    why,
    slips,
    rtol=1e-4,
    atol=0.0,
    slack=0.0,
    otherwise="on the test image it gives {given:.2f}, not {right:.2f}",
):
    """Check a value that a learner's function returns, with a hint for each common mistake.

    Parameters
    ----------
    answer : callable or None
        The learner's function.
    inputs : sequence
        The function's arguments; it gets copies of them.
    right : float or torch.Tensor
        The right value.
    why : str
        Why it is right.
    slips : dict
        Wrong value, a float or a tensor of the same shape -> hint.
    rtol, atol : float, optional
        Relative and absolute tolerance.
    slack : float, optional
        Absolute tolerance for the right value, if several definitions are right.
    otherwise : str or callable, optional
        The hint for any other value, or a function that makes the hint from the value. `why` and
        `otherwise` may contain ``{given}`` and ``{right}``.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> slips = {4.0: "square each number first"}
    >>> x = torch.tensor([1.0, 3.0])
    >>> function(lambda x: x.mean() ** 2, inputs=[x], right=5.0, why="", slips=slips)
    ✗ not yet: square each number first
    """
    returned = answer(*copy.deepcopy(inputs))
    if returned is None:
        return no("the function returns nothing; does it have a return statement?")
    right = _double(right)
    given = _double(returned if right.ndim else float(returned))
    if given.shape != right.shape:
        shapes = f"{tuple(given.shape)}, not {tuple(right.shape)}"
        return no(f"the returned value has the shape {shapes}")

    def close(value, atol):
        return torch.allclose(given, _double(value), rtol=rtol, atol=atol)

    if close(right, max(atol, slack)):
        return yes(why.format(given=given, right=right))
    for wrong, hint in slips.items():
        if close(wrong, atol):
            return no(hint)
    if callable(otherwise):
        otherwise = otherwise(given)
    return no(otherwise.format(given=given, right=right))


def _double(values):
    return torch.as_tensor(values, dtype=torch.float64, device="cpu").detach()
