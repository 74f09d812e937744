"""Checks of lesson 09."""

import math

import torch

from .verdict import OPEN, Verdict, run_or_hint


def multiplications(answer):
    """Check a function that counts what a convolution multiplies (lesson 09).

    Parameters
    ----------
    answer : callable or None
        Called as ``answer(inputs, outputs, size, side)``, with the channels that come in and go
        out, the side of the filters and the side of the square image that comes out.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> multiplications(lambda inputs, outputs, size, side: inputs * outputs * size**2 * side**2)
    ✓ right: inputs · outputs · size² · side²
    """
    if answer is None:
        return OPEN
    inputs, outputs, size, side = 5, 7, 3, 11
    try:
        given = float(answer(inputs, outputs, size, side))
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    right = inputs * outputs * size**2 * side**2
    slips = {
        right / size: "a filter has size times size taps",
        right / side: "the image has side times side pixels",
        right / inputs: "every filter looks at all the channels that come in",
        right / outputs: "there is a filter for every channel that goes out",
        right / side**2: "those are the weights; each is used at every pixel",
        2 * right: "additions as well? Count the multiplications only",
    }
    if math.isclose(given, right, rel_tol=1e-6):
        return Verdict(True, "right: inputs · outputs · size² · side²")
    for slip, hint in slips.items():
        if math.isclose(given, slip, rel_tol=1e-6):
            return Verdict(False, f"not yet: {hint}")
    return Verdict(False, f"not yet: 5 to 7 channels, 3x3, 11x11 pixels: {right}, not {given:g}")


def orthogonal(answer):
    """Check a function that makes all singular values of a matrix one (lesson 09).

    Parameters
    ----------
    answer : callable or None
        Takes a matrix, returns one of the same shape.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> def by_svd(matrix):
    ...     u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    ...     return u @ vt
    >>> orthogonal(by_svd)
    ✓ right: the same singular vectors, and every singular value is one
    """
    if answer is None:
        return OPEN
    matrix = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    u, values, vt = torch.linalg.svd(matrix, full_matrices=False)
    try:
        given = torch.as_tensor(answer(matrix.clone())).float()
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    if given.shape != matrix.shape:
        return Verdict(False, f"not yet: {tuple(matrix.shape)} went in, {tuple(given.shape)} out")
    if torch.allclose(given, u @ vt, atol=1e-3):
        return Verdict(True, "right: the same singular vectors, and every singular value is one")
    if torch.allclose(given, matrix / matrix.norm(), atol=1e-3):
        return Verdict(False, "not yet: that scales all singular values alike; each must become 1")
    made = torch.linalg.svdvals(given)
    if torch.allclose(made, torch.ones_like(made), atol=1e-2):
        return Verdict(False, "not yet: the values are one, but along other vectors than before")
    return Verdict(
        False, f"not yet: its singular values go from {made.min():.2f} to {made.max():.2f}"
    )


def cheaper(run, reference):
    """Check a fit that shall be as good as another in less time (lesson 09).

    Parameters
    ----------
    run : Run or None
        The learner's.
    reference : Run
        Of the same problem.

    Returns
    -------
    Verdict
    """
    if (hint := run_or_hint(run)) is not None:
        return hint
    if not torch.equal(run.problem.observation, reference.problem.observation):
        return Verdict(False, "not yet: that is another image; compare on the same problem")
    share, lost = run.seconds / reference.seconds, reference.psnr - run.psnr
    told = f"{share:.0%} of the time, {-lost:+.2f} dB"
    if share > 0.67:
        return Verdict(False, f"not yet: {told}; two thirds of the time are wanted")
    if lost > 0.5:
        return Verdict(False, f"not yet: {told}; that loses more than half a decibel")
    return Verdict(True, f"right: {told}")
