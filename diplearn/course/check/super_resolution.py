"""Checks of lesson 05."""

import math

import torch

from ... import metrics
from .verdict import OPEN, Verdict, number


def dimensions(answer):
    """Check the null space's dimensions, for 240x160 pixels at x8 (lesson 05).

    Parameters
    ----------
    answer : int or None
        How many.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> dimensions(600)
    ✗ not yet: those are the equations
    """
    hints = {
        600: "those are the equations",
        38_400: "those are the unknowns",
        33_600: "×8 is 64 times fewer pixels, not 8 times",
    }
    return number(answer, 37_800, "38,400 unknowns less 600 equations", hints, 0.001)


def alias(answer):
    """Check as what 0.15 cycles per pixel are seen in every fourth pixel (lesson 05).

    Parameters
    ----------
    answer : float or None
        Cycles per small pixel.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> alias(0.6)
    ✗ not yet: right so far; but small pixels cannot show more than 1/2
    """
    hints = {
        0.6: "right so far; but small pixels cannot show more than 1/2",
        0.1: "in cycles per small pixel, please; and what is beyond 1/2 comes back from there",
    }
    return number(answer, 0.4, "4 · 0.15 = 0.6 is seen as 1 − 0.6: a slower wave", hints, 0.01)


def unseen_by_blocks(answer):
    """Check a function that gives what the means of 4x4 blocks do not see (lesson 05).

    Parameters
    ----------
    answer : callable or None
        Takes an image (C, H, W) with sides that are multiples of 4; returns one of the same shape.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> def right(image):
    ...     c, h, w = image.shape
    ...     means = image.reshape(c, h // 4, 4, w // 4, 4).mean((2, 4))
    ...     return image - means.repeat_interleave(4, 1).repeat_interleave(4, 2)
    >>> unseen_by_blocks(right)
    ✓ right: the image less its blocks' means; each block's rest adds up to zero
    """
    if answer is None:
        return OPEN
    image = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0))
    means = _block_means(image)
    seen = means.repeat_interleave(4, 1).repeat_interleave(4, 2)
    try:
        given = torch.as_tensor(answer(image.clone())).to(image)
        if given.shape != image.shape:
            shapes = f"{tuple(given.shape)}, not {tuple(image.shape)}"
            return Verdict(False, f"not yet: the result has the shape {shapes}")
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    slips = {
        "that is the part that is seen; subtract it": seen,
        "the mean of each block, not of the whole image": image - image.mean((1, 2), True),
        "that is the whole image": image,
        "the other way round: the image less the means": seen - image,
    }
    if torch.allclose(given, image - seen, atol=1e-5):
        words = "right: the image less its blocks' means; each block's rest adds up to zero"
        return Verdict(True, words)
    for hint, slip in slips.items():
        if torch.allclose(given, slip, atol=1e-5):
            return Verdict(False, f"not yet: {hint}")
    if _block_means(given).abs().max() < 1e-5:
        return Verdict(False, "not yet: it is unseen, but it is not this image's unseen part")
    return Verdict(False, "not yet: the means of its 4x4 blocks are not zero")


def _block_means(image):
    channels, height, width = image.shape
    return image.reshape(channels, height // 4, 4, width // 4, 4).mean((2, 4))


def twin(answer, problem, most=25):
    """Check an image that is unlike the truth and looks the same to the operator (lesson 05).

    Parameters
    ----------
    answer : torch.Tensor or None
        The learner's image, of the truth's shape.
    problem : Problem
        With a truth and without noise.
    most : float, optional
        PSNR in dB that it may have against the truth.

    Returns
    -------
    Verdict
    """
    if answer is None:
        return OPEN
    truth = problem.need_truth("this check")
    if not isinstance(answer, torch.Tensor) or answer.shape != truth.shape:
        what = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        return Verdict(False, f"not yet: an image of the shape {tuple(truth.shape)}, not {what}")
    image = answer.detach().to(truth)
    lowest, highest = float(image.min()), float(image.max())
    if not (lowest >= -1e-4 and highest <= 1 + 1e-4):  # NaN comes here, too
        words = f"its values lie between {lowest:.2f} and {highest:.2f}; add less, or elsewhere"
        return Verdict(False, f"not yet: {words}")
    off = float((problem.operator(image) - problem.observation.to(truth)).abs().max())
    if off > 0.002:
        words = f"its small image is off by up to {off:.3f}; only the null space is free"
        return Verdict(False, f"not yet: {words}")
    like = metrics.psnr(image, truth)
    if like > most:
        words = "that is the truth itself" if math.isinf(like) else f"still {like:.1f} dB alike"
        return Verdict(False, f"not yet: {words}; be bolder")
    return Verdict(True, f"right: {like:.1f} dB, and to A it is the same image")
