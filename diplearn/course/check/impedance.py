"""Checks of lesson 03."""

import math
from functools import partial

import torch

from .verdict import check_of_function, check_of_runs, function, no, number, yes

# The impedance of a negative, as a multiple of its image's.
negative = partial(
    number,
    expected=1.0,
    why="about 1: edges and shapes are the same; the last layer only has to change its signs",
    slips={2.0: "that is twice the time; the same recipe and 80 % of each target's own variance?"},
    tolerance=0.35,
)


@check_of_function
def two_shares(answer):
    """Check ``shares(image, clean, noise)``: a and b of the nearest a · clean + b · noise."""
    clean, noise, rest = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = 0.3 * noise - 0.1 * clean  # not orthogonal, as after clipping to [0, 1]
    basis = torch.linalg.qr(torch.stack([clean.flatten(), noise.flatten()], dim=1)).Q
    rest = rest.flatten() - basis @ (basis.T @ rest.flatten())
    image = 0.7 * clean + 0.4 * noise + 0.1 * rest.reshape(clean.shape)

    def alone(x, direction):
        return (x * direction).sum() / direction.square().sum()

    a = alone(image, clean)
    common = (
        "the two directions are not orthogonal, and what they have in common is counted twice: "
        "solve for a and b together"
    )
    return function(
        lambda *images: [float(share) for share in answer(*images)],
        inputs=(image, clean, noise),
        right=(0.7, 0.4),
        why="two unknowns, two equations; what the directions have in common is counted once",
        slips={
            (0.4, 0.7): "first the image's share, then the noise's",
            (a, alone(image, noise)): common,
            (a, alone(image - a * clean, noise)): common,
            (a, alone(image - clean, noise)): "that takes all of the clean image away; only a of "
            "it is there",
        },
        rtol=1e-3,
        otherwise="the test image has shares of 0.70 and 0.40, not {given[0]:.2f} and "
        "{given[1]:.2f}",
    )


@check_of_runs
def checkerboard(run):
    """Check a fit to a checkerboard of single pixels."""
    x0 = run.problem.observation
    if min(x0.diff(dim=-1).abs().min(), x0.diff(dim=-2).abs().min()) < 0.1:
        return no("neighbours must differ everywhere; (row + column) % 2 makes a checkerboard")
    there = reached(run, 0.8)
    if math.isinf(there):
        return no("80 % of its variance is not explained; fit on")
    return yes(
        f"80 % after {there} iterations, long before noise; it is all high frequency, but one "
        "small tile repeated, and filters that are shared over the image love what repeats"
    )


@check_of_runs
def tells_apart(image, shuffled, ratio=4.0, most=60, optimiser="muon"):
    """Check that a network fits an image early, and its shuffled pixels `ratio` times as late.

    The network should do that: another optimiser changes the ratio, too.
    """
    if image.recipe != shuffled.recipe:
        return no("the two fits must have the same recipe")
    if image.recipe.optimiser != optimiser:
        return no(f"that is the optimiser's doing; keep {optimiser}, and change the network")
    same = [run.problem.observation.flatten(1).sort().values for run in (image, shuffled)]
    if same[0].shape != same[1].shape or not torch.allclose(*same, atol=1e-4):
        return no("the second target must be the first one's pixels, shuffled")
    first, second = reached(image, 0.8), reached(shuffled, 0.8)
    if first > most:
        return no(f"the image takes {first} iterations; at most {most} wanted")
    if second < ratio * first:
        return no(
            f"{first} and {second} iterations; a skip hands fine detail straight from z to the "
            "output: on which level does that matter most?"
        )
    told = "is not reached at all" if math.isinf(second) else f"takes {second}"
    return yes(f"the image takes {first} iterations, the shuffled one {told}")


def reached(run, share):
    """Return the iteration in which a run had explained this share of the observation's variance.

    Infinity if it never did.
    """
    variance = float(run.problem.observation.var())
    there = run.history.index[run.history["loss"] <= (1 - share) * variance]
    return int(there.min()) if len(there) else math.inf
