"""What a check says, and what several lessons' checks share."""

import dataclasses
import math

from ...run import Run


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes
    ----------
    right : bool or None
        None while there is no answer yet.
    words : str
        Why, or a hint.
    """

    right: bool | None
    words: str

    def __bool__(self):
        return bool(self.right)

    def __repr__(self):
        return f"{ {True: '✓', False: '✗', None: '…'}[self.right] } {self.words}"


OPEN = Verdict(None, "no answer yet: replace the None, run the cell again")


def run_or_hint(run):
    """Say what is wrong with what should be a Run, or return None."""
    if run is None:
        return OPEN
    if not isinstance(run, Run):
        return Verdict(False, f"not yet: that is a {type(run).__name__}; dip.fit returns a Run")
    return None


def number(answer, expected, right, hints, tolerance=0.05):
    """Check a number, with a hint for each of the ways in which it is usually wrong.

    Parameters
    ----------
    answer : float or None
        The learner's.
    expected : float
        What is right.
    right : str
        Why.
    hints : dict
        Wrong value -> what went wrong.
    tolerance : float, optional
        Relative.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> number(4.0, 2.0, "the root of 4", {4.0: "take the root"})
    ✗ not yet: take the root
    """
    if answer is None:
        return OPEN
    try:
        answer = float(answer)
    except (TypeError, ValueError):
        return Verdict(False, f"not yet: a number is wanted, not {answer!r}")
    if math.isclose(answer, expected, rel_tol=tolerance):
        return Verdict(True, f"right: {right}")
    for wrong, hint in hints.items():
        if math.isclose(answer, wrong, rel_tol=tolerance):
            return Verdict(False, f"not yet: {hint}")
    return Verdict(False, "not yet: think of the definition, and of the units")
