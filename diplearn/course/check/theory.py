"""Checks of lesson 10."""

from functools import partial

import numpy as np
import torch

from .verdict import check, check_of_function, function, no, number, yes

# The steps until 90 % of a mode with λ = 1000 is fitted, at η = 10⁻⁵.
how_long = partial(
    number,
    expected=230,
    why="ln(10) / (ηλ): each step leaves the share 1 − ηλ",
    slips={90: "a step fits a share of what is *left*", 115: "the mode, not its energy: no 2"},
)


@check_of_function
def tangent_kernel(answer):
    """Check ``kernel(A, B, z)``: the tangent kernel of f = B A z with two matrices and a vector."""
    draws = torch.Generator().manual_seed(0)
    A, B, z = (torch.randn(shape, generator=draws) for shape in ((3, 5), (4, 3), (5,)))
    first, second = z.square().sum() * B @ B.T, (A @ z).square().sum() * torch.eye(4)
    lengths = z.norm() * B @ B.T + (A @ z).norm() * torch.eye(4)
    return function(
        answer,
        inputs=(A, B, z),
        right=first + second,
        why="‖z‖² B Bᵀ for A, and ‖A z‖² times the identity for B; its modes are B's left ones",
        slips={
            first: "that is A's part; B's weights are trained, too",
            second: "that is B's part; A's weights are trained, too",
            lengths: "the lengths are squared",
            B @ B.T + torch.eye(4): "how much a weight does depends on what it is multiplied with",
            (B @ A @ z).outer(B @ A @ z): "that is f fᵀ; differentiate by the weights first",
        },
        rtol=1e-3,
        atol=1e-3,
        otherwise="write f_i with indices, differentiate by A_jk and by B_ij",
    )


@check_of_function
def spectral_error(answer):
    """Check ``error(c, values, sigma, t)``: the expected error of gradient flow per pixel."""
    c, values = torch.linspace(2, 0.1, 50), torch.logspace(1, -3, 50)
    sigma, t = 0.3, 2.0
    left = torch.exp(-values * t)
    fitted = 1 - left
    bias, variance = (left * c).square().mean(), sigma**2 * fitted.square().mean()
    swapped = (fitted * c).square().mean() + sigma**2 * left.square().mean()
    return function(
        answer,
        inputs=(c, values, sigma, t),
        right=bias + variance,
        why="what is left of the image, and what has come of the noise",
        slips={
            bias: "that is the bias² alone; noise comes in as well",
            variance: "that is the variance alone; the image is not all there yet",
            (bias + variance) * len(c): "per pixel: divide by N",
            (left * c**2).mean() + sigma**2 * fitted.mean(): "g and 1 − g are squared",
            bias + variance / sigma: "noise of deviation σ has variance σ²",
            swapped: "the other way round: g is what has been fitted, 1 − exp(−λt)",
            bias + sigma**2: "only the share g of the noise has come in yet",
        },
        rtol=1e-3,
        otherwise="the test case has {right:.4f}, not {given:.4f}",
    )


@check
def follows(curves, within=0.05, until=0.5):
    """Check that a measured energy stays `within` its prediction while it falls to `until`.

    The answer is a pair of curves, predicted and measured, with a value for each step.
    """
    try:
        predicted, measured = (np.asarray(curve, dtype=float) for curve in curves)
    except (TypeError, ValueError):
        return no("hand in the pair (predicted, measured), as it is returned")
    if predicted.ndim != 1 or predicted.shape != measured.shape or len(predicted) < 2:
        return no("two curves of the same length are wanted")
    if not (np.isfinite(predicted).all() and np.isfinite(measured).all()):
        return no("a curve is not finite; is the step size below 2 / λ₁?")
    if predicted.min() > until * predicted[0]:
        return no("half of the energy is still there at the end: more steps")
    end = int(np.argmax(predicted <= until * predicted[0])) + 1
    off = 100 * float(np.abs(measured[:end] / predicted[:end] - 1).max())
    if off > 100 * within:
        return no(
            f"{off:.0f} % apart on the way; the less the weights have to move, the less K changes: "
            "ask for a fainter image"
        )
    return yes(f"within {off:.0f} % until half of the energy is gone")
