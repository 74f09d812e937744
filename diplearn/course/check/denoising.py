"""Checks of lesson 04."""

from functools import partial

import torch

from .verdict import check_of_function, function, number

# The gain in dB of the mean of four results whose errors are correlated by 0.6.
four_runs = partial(
    number,
    expected=1.55,
    why="10 log₁₀(4/(1 + 3ρ)); endlessly many gain 10 log₁₀(1/ρ) = 2.2",
    slips={
        6.02: "that is for ρ = 0",
        0.97: "that is for two",
        3.1: "10, not 20: a squared error is a power",
    },
)

# The constant with the least mean squared error to a patch of 0.4, a fifth of it salt (1).
constant = partial(
    number,
    expected=0.52,
    why="the mean, 0.8 · 0.4 + 0.2 · 1; l1 stays at 0.4",
    slips={
        0.4: "that is for l1: the median",
        0.7: "only a fifth is salt",
        0.32: "salt is 1, not 0",
    },
    tolerance=0.01,
)


@check_of_function
def stabilised(answer):
    """Check ``stabilised(x0, peak)``: an image whose noise has deviation 1 at any brightness."""
    peak, levels = 50.0, (8.0, 20.0, 40.0)
    draws = torch.Generator().manual_seed(0)
    counts = torch.stack([torch.poisson(torch.full((200, 200), n), draws) for n in levels])

    def deviations(x0, peak):
        return torch.as_tensor(answer(x0, peak)).reshape(counts.shape).float().std(dim=(1, 2))

    def otherwise(spread):
        if not spread.isfinite().all():
            return "not all of it is finite"
        if spread.max() < 1e-6:
            return "it gives the same whatever x₀ is"
        told = "{:.2f}, {:.2f} and {:.2f}".format(*spread)
        if spread.max() < 1.1 * spread.min():
            return f"the same for all, but not 1: {told}"
        way = "still grow with the light" if spread[-1] > spread[0] else "fall with the light"
        return f"the deviations {way} ({told}); a root evens them out"

    even = torch.ones(3)
    return function(
        deviations,
        inputs=(counts / peak, peak),
        right=even,
        why="deviations of {given[0]:.2f}, {given[1]:.2f} and {given[2]:.2f} for 8, 20 and 40 "
        "photons",
        slips={
            0.5 * even: "the derivative of √n is 1 / (2 √n): it takes a factor of 2",
            peak**-0.5 * even: "the root of the *counts*: x₀ is counts over peak",
            0.5 * peak**-0.5 * even: "the root of the *counts*, and times 2: x₀ is counts over "
            "peak",
        },
        rtol=0.06,
        slack=0.04,
        otherwise=otherwise,
    )


@check_of_function
def neighbours(answer):
    """Check ``neighbours(residual)``: the correlation of pixels with their right neighbours."""
    draws = torch.randn(1, 40, 42, generator=torch.Generator().manual_seed(0))
    x = 0.5 + 0.1 * (draws[..., 1:] + 0.6 * draws[..., :-1] + torch.linspace(-1, 1, 41))
    left, right = x[..., :-1], x[..., 1:]
    product = (left - x.mean()) * (right - x.mean())
    return function(
        answer,
        inputs=[x],
        right=_correlation(left, right),
        why="0 for white noise, near 1 for a smooth image",
        slips={
            (left * right).sum() / (left.norm() * right.norm()): "subtract the mean first",
            (left * right).mean(): "subtract the mean, and divide by the variance",
            product.mean(): "that is a covariance; divide by the variance",
            product.sum(): "that is a sum of products; divide by the sum of squares",
            product.mean() / x.std(): "divide by the variance, not by its root",
            _correlation(x, x.roll(1, -1)): "roll() joins the two ends of the image",
            _correlation(x[:, :-1], x[:, 1:]): "that is the neighbour below; take the one to the "
            "right",
            1.0: "that compares every pixel with itself; shift one of the two images by a pixel",
        },
        rtol=1e-3,
        atol=1e-5,
        slack=0.02,  # several definitions of the mean and of the variance are right
    )


def _correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
