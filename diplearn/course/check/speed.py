"""Checks of lesson 09."""

import torch

from .verdict import check_of_function, check_of_runs, function, no, yes


@check_of_function
def multiplications(answer):
    """Check ``count(inputs, outputs, size, side)``: the multiplications of a convolution.

    From channels to channels, with square filters of this size, for a square image of this side.
    """
    inputs, outputs, size, side = 5, 7, 3, 11
    right = inputs * outputs * size**2 * side**2
    return function(
        answer,
        (inputs, outputs, size, side),
        right,
        "inputs · outputs · size² · side²",
        {
            right / size: "a filter has size times size taps",
            right / side: "the image has side times side pixels",
            right / inputs: "every filter looks at all the channels that come in",
            right / outputs: "there is a filter for every channel that goes out",
            right / side**2: "those are the weights; each is used at every pixel",
            2 * right: "additions as well? Count the multiplications only",
        },
        rtol=1e-6,
        otherwise="5 to 7 channels, 3x3, 11x11 pixels: {right:.0f}, not {given:g}",
    )


@check_of_function
def orthogonal(answer):
    """Check a function that makes all singular values of a matrix one."""
    matrix = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)

    def otherwise(given):
        values = torch.linalg.svdvals(given)
        if torch.allclose(values, torch.ones_like(values), atol=1e-2):
            return "the values are one, but along other vectors than before"
        return f"its singular values go from {values.min():.2f} to {values.max():.2f}"

    alike = "that scales all singular values alike; each must become 1"
    return function(
        answer,
        inputs=[matrix],
        right=u @ vt,
        why="the same singular vectors, and every singular value is one",
        slips={matrix / matrix.norm(): alike},
        rtol=0.0,
        atol=1e-3,
        otherwise=otherwise,
    )


@check_of_runs
def cheaper(run, reference):
    """Check a fit that is as good as the reference in two thirds of the time."""
    if not torch.equal(run.problem.observation, reference.problem.observation):
        return no("that is another image; compare on the same problem")
    share, lost = run.seconds / reference.seconds, reference.psnr - run.psnr
    told = f"{share:.0%} of the time, {-lost:+.2f} dB"
    if share > 0.67:
        return no(f"{told}; two thirds of the time are wanted")
    if lost > 0.5:
        return no(f"{told}; that loses more than half a decibel")
    return yes(told)
