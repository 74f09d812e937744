"""Checks of lesson 06."""

import math

import torch

from ... import baselines
from ...operators import Identity, Mask
from .verdict import OPEN, Verdict, run_or_hint


def psnr_inside(answer):
    """Check a function ``psnr_inside(image, truth, known)`` (lesson 06).

    Parameters
    ----------
    answer : callable or None
        Takes two images (C, H, W) and a mask (1, H, W) of 1 (known) and 0 (missing); returns the
        PSNR in dB over the missing pixels.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> def right(image, truth, known):
    ...     missing = (known == 0).expand_as(truth)
    ...     return -10 * torch.log10((image - truth)[missing].square().mean())
    >>> psnr_inside(right)
    ✓ right: only what was missing counts
    """
    if answer is None:
        return OPEN
    truth = torch.full((3, 8, 8), 0.5)
    known = torch.ones(1, 8, 8)
    known[:, :4, :2] = 0  # 8 pixels of 64
    wrong = torch.linspace(0.05, 0.2, 3 * 64).reshape(3, 8, 8)
    image = truth + wrong * (1 - known) + 0.01 * known  # what is known may be a little off, too
    squares = (image - truth).square()
    missing = (known == 0).expand_as(truth)
    try:
        given = float(answer(image, truth, known))
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    slips = {
        squares.mean(): "that is the whole image: the known pixels flatter",
        squares[~missing].mean(): "that is what is known; turn the mask round",
        (squares * (1 - known)).mean(): "divide by the number of missing values, not of all",
        (squares * (1 - known)).sum() / (1 - known).sum(): "each missing pixel holds three numbers",
    }
    if math.isclose(given, _decibels(squares[missing].mean()), rel_tol=1e-4):
        return Verdict(True, "right: only what was missing counts")
    for slip, hint in slips.items():
        if math.isclose(given, _decibels(slip), rel_tol=1e-4):
            return Verdict(False, f"not yet: {hint}")
    right = _decibels(squares[missing].mean())
    return Verdict(False, f"not yet: on the test image it gives {given:.2f}, not {right:.2f} dB")


def _decibels(square):
    return -10 * math.log10(float(square))


def own_hole(run, least=0.02):
    """Check a fit to an image with a rectangle cut out by the learner (lesson 06).

    Parameters
    ----------
    run : Run or None
        The learner's.
    least : float, optional
        Share of the image that must be missing.

    Returns
    -------
    Verdict
    """
    if (hint := run_or_hint(run)) is not None:
        return hint
    if not isinstance(run.problem.operator, Mask):
        return Verdict(
            False, "not yet: nothing is missing; hand your mask in as dip.inpainting(clean, mask)"
        )
    missing = run.problem.operator.known[0].cpu() == 0
    rows, columns = missing.any(1).nonzero(), missing.any(0).nonzero()
    box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    if missing.sum() != box:
        return Verdict(
            False, "not yet: what is missing is no rectangle; set mask[:, top:bottom, left:right]"
        )
    share = float(missing.float().mean())
    if share < least:
        return Verdict(False, f"not yet: only {share:.1%} of the image are missing; be bolder")
    truth = run.problem.need_truth("this check")
    filled = [image.cpu() - truth for image in (run.output, baselines.biharmonic(run.problem))]
    ours, smooth = (_decibels(each[:, missing].square().mean()) for each in filled)
    return Verdict(
        True, f"right: {ours:.1f} dB inside the hole; biharmonic filling has {smooth:.1f} dB there"
    )


def without_mask(run):
    """Check a fit to a masked image in which the holes count as black (lesson 06).

    Parameters
    ----------
    run : Run or None
        The learner's.

    Returns
    -------
    Verdict
    """
    if (hint := run_or_hint(run)) is not None:
        return hint
    if not isinstance(run.problem.operator, Identity):
        return Verdict(
            False, "not yet: that problem has an operator; dip.Problem(x0) alone has none"
        )
    black = (run.problem.observation == 0).all(0)
    if black.float().mean() < 0.02:
        return Verdict(
            False, "not yet: nothing is missing in this observation; take the masked one"
        )
    there = float(run.last[:, black.to(run.last.device)].mean())
    if there > 0.1:
        return Verdict(False, "not yet: the letters are still coming; fit on")
    return Verdict(
        True,
        f"right: the letters are back, {there:.2f} on average; E asked for black, and letters "
        "have sharp, repeated shapes that a network likes as much as the image's own",
    )


def sees_across(answer, reach):
    """Check from how many levels on a pixel in the middle of a hole sees its rim (lesson 06).

    Parameters
    ----------
    answer : int or None
        The learner's.
    reach : dict
        Levels -> whether the middle sees the rim, as measured.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> sees_across(3, {1: False, 2: False, 3: True, 4: True})
    ✓ right: with 3 levels it does, with 2 it does not
    """
    if answer is None:
        return OPEN
    right = min(levels for levels, seen in reach.items() if seen)
    if answer == right:
        return Verdict(True, f"right: with {right} levels it does, with {right - 1} it does not")
    if answer < right:
        return Verdict(False, f"not yet: with {answer} levels the rim's influence is below a tenth")
    return Verdict(
        False, "not yet: fewer levels are enough; each more than doubles how far a pixel sees"
    )
