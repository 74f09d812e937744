"""Checks of lesson 05."""

import math
from functools import partial

import torch

from ... import metrics
from .verdict import check, check_of_function, function, no, number, yes

# The dimensions of the null space, for 240x160 pixels at ×8.
dimensions = partial(
    number,
    expected=37_800,
    why="38,400 unknowns less 600 equations",
    slips={
        600: "those are the equations",
        38_400: "those are the unknowns",
        33_600: "×8 is 64 times fewer pixels, not 8 times",
    },
    tolerance=0.001,
)

# The frequency at which 0.15 cycles per pixel are seen in every fourth pixel.
alias = partial(
    number,
    expected=0.4,
    why="4 · 0.15 = 0.6 is seen as 1 − 0.6: a slower wave",
    slips={
        0.6: "right so far; but small pixels cannot show more than 1/2",
        0.1: "in cycles per small pixel, please; and what is beyond 1/2 comes back from there",
    },
    tolerance=0.01,
)


@check_of_function
def unseen_by_blocks(answer):
    """Check a function that returns the part of an image which the means of 4x4 blocks miss."""
    image = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0))
    seen = _block_means(image).repeat_interleave(4, 1).repeat_interleave(4, 2)

    def otherwise(given):
        if _block_means(given).abs().max() < 1e-5:
            return "it is unseen, but it is not this image's unseen part"
        return "the means of its 4x4 blocks are not zero"

    return function(
        answer,
        inputs=[image],
        right=image - seen,
        why="the image less its blocks' means; each block's rest adds up to zero",
        slips={
            seen: "that is the part that is seen; subtract it",
            image - image.mean((1, 2), True): "the mean of each block, not of the whole image",
            image: "that is the whole image",
            seen - image: "the other way round: the image less the means",
        },
        rtol=0.0,
        atol=1e-5,
        otherwise=otherwise,
    )


def _block_means(image):
    channels, height, width = image.shape
    return image.reshape(channels, height // 4, 4, width // 4, 4).mean((2, 4))


@check
def twin(answer, problem, most=25):
    """Check an image that is unlike the truth (`most` dB) and looks the same to the operator."""
    truth = problem.need_truth("this check")
    if not isinstance(answer, torch.Tensor) or answer.shape != truth.shape:
        what = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        return no(f"an image of the shape {tuple(truth.shape)} is wanted, not {what}")
    image = answer.detach().to(truth)
    lowest, highest = float(image.min()), float(image.max())
    if not (lowest >= -1e-4 and highest <= 1 + 1e-4):  # NaN comes here, too
        return no(f"its values lie between {lowest:.2f} and {highest:.2f}; add less, or elsewhere")
    off = float((problem.operator(image) - problem.observation.to(truth)).abs().max())
    if off > 0.002:
        return no(f"its small image is off by up to {off:.3f}; only the null space is free")
    like = metrics.psnr(image, truth)
    if like > most:
        words = "that is the truth itself" if math.isinf(like) else f"still {like:.1f} dB alike"
        return no(f"{words}; be bolder")
    return yes(f"{like:.1f} dB, and to A it is the same image")
