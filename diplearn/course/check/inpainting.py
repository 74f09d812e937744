"""Checks of lesson 06."""

import math

import torch

from ... import baselines
from ...operators import Identity, Mask
from .verdict import check, check_of_function, check_of_runs, function, no, yes


@check_of_function
def psnr_inside(answer):
    """Check ``psnr_inside(image, truth, known)``: the PSNR in dB over the missing pixels."""
    truth = torch.full((3, 8, 8), 0.5)
    known = torch.ones(1, 8, 8)
    known[:, :4, :2] = 0  # 8 pixels of 64
    wrong = torch.linspace(0.05, 0.2, 3 * 64).reshape(3, 8, 8)
    image = truth + wrong * (1 - known) + 0.01 * known  # known pixels may be a little off, too
    squares = (image - truth).square()
    missing = (known == 0).expand_as(truth)
    inside = squares * (1 - known)
    return function(
        answer,
        inputs=(image, truth, known),
        right=_decibels(squares[missing].mean()),
        why="only what was missing counts",
        slips={
            _decibels(squares.mean()): "that is the whole image: the known pixels flatter",
            _decibels(squares[~missing].mean()): "those are the known pixels; invert the mask",
            _decibels(inside.mean()): "divide by the number of missing values, not of all",
            _decibels(inside.sum() / (1 - known).sum()): "each missing pixel holds three numbers",
        },
        otherwise="on the test image it gives {given:.2f}, not {right:.2f} dB",
    )


def _decibels(square):
    return -10 * math.log10(float(square))


@check_of_runs
def own_hole(run, least=0.02):
    """Check a fit to an image with a rectangle cut out: at least this share of the pixels."""
    if not isinstance(run.problem.operator, Mask):
        return no("nothing is missing; hand your mask in as dip.inpainting(clean, mask)")
    missing = run.problem.operator.known[0].cpu() == 0
    rows, columns = missing.any(1).nonzero(), missing.any(0).nonzero()
    box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    if missing.sum() != box:
        return no("what is missing is not a rectangle; set mask[:, top:bottom, left:right]")
    share = float(missing.float().mean())
    if share < least:
        return no(f"only {share:.1%} of the image is missing; be bolder")
    truth = run.problem.need_truth("this check")
    filled = [image.cpu() - truth for image in (run.output, baselines.biharmonic(run.problem))]
    ours, smooth = (_decibels(each[:, missing].square().mean()) for each in filled)
    return yes(f"{ours:.1f} dB inside the hole; biharmonic filling has {smooth:.1f} dB there")


@check_of_runs
def without_mask(run):
    """Check a fit to a masked image in which the holes count as black."""
    if not isinstance(run.problem.operator, Identity):
        return no("that problem has an operator; dip.Problem(x0) alone has none")
    black = (run.problem.observation == 0).all(0)
    if black.float().mean() < 0.02:
        return no("nothing is missing in this observation; take the masked one")
    there = float(run.last[:, black.to(run.last.device)].mean())
    if there > 0.1:
        return no("the letters are still coming; fit on")
    return yes(
        f"the letters are back, {there:.2f} on average; E asked for black, and letters have "
        "sharp, repeated shapes that a network likes as much as the image's own"
    )


@check
def sees_across(answer, reach):
    """Check from how many levels on the middle of a hole sees its rim; `reach` says for each."""
    right = min(levels for levels, seen in reach.items() if seen)
    if answer == right:
        return yes(f"with {right} levels it does, with {right - 1} it does not")
    if answer < right:
        return no(f"with {answer} levels the rim's influence is below a tenth")
    return no("fewer levels are enough; each more than doubles how far a pixel sees")
