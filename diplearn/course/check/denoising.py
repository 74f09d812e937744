"""Checks of lesson 04."""

import math

import torch

from .verdict import OPEN, Verdict, number


def four_runs(answer):
    """Check the gain of a mean of four results whose errors are correlated by 0.6 (lesson 04).

    Parameters
    ----------
    answer : float or None
        In dB.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> four_runs(6.02)
    ✗ not yet: that is for ρ = 0
    """
    hints = {
        6.02: "that is for ρ = 0",
        0.97: "that is for two",
        3.1: "10, not 20: a squared error is a power",
    }
    right = "10 log₁₀(4/(1 + 3ρ)); endlessly many gain 10 log₁₀(1/ρ) = 2.2"
    return number(answer, 1.55, right, hints)


def constant(answer):
    """Check the constant with the lowest mse to a grey patch under salt (lesson 04).

    Parameters
    ----------
    answer : float or None
        A grey value: the patch has 0.4, a fifth of its pixels 1.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> constant(0.4)
    ✗ not yet: that is for l1: the median
    """
    hints = {
        0.4: "that is for l1: the median",
        0.7: "only a fifth is salt",
        0.32: "salt is 1, not 0",
    }
    right = "the mean, 0.8 · 0.4 + 0.2 · 1; l1 stays at 0.4"
    return number(answer, 0.52, right, hints, 0.01)


def stabilised(answer):
    """Check a function ``stabilised(x0, peak)``: photons to noise of deviation 1 (lesson 04).

    Parameters
    ----------
    answer : callable or None
        Takes an image of photon counts over `peak`; returns an image whose noise has the standard
        deviation 1, however bright it is.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> stabilised(lambda x0, peak: 2 * (peak * x0 + 3 / 8).sqrt())
    ✓ right: deviations of 1.00, 1.00 and 1.00 for 8, 20 and 40 photons
    """
    if answer is None:
        return OPEN
    peak, levels = 50.0, (8.0, 20.0, 40.0)
    draws = torch.Generator().manual_seed(0)
    counts = torch.stack([torch.poisson(torch.full((200, 200), n), draws) for n in levels])
    try:
        given = torch.as_tensor(answer(counts / peak, peak)).float()
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    if given.shape != counts.shape:
        return Verdict(False, f"not yet: it makes {tuple(given.shape)} of {tuple(counts.shape)}")
    spread = given.flatten(1).std(dim=1)
    told = "{:.2f}, {:.2f} and {:.2f}".format(*spread)
    if not spread.isfinite().all():
        return Verdict(False, "not yet: not all of it is finite")
    if spread.max() < 1e-6:
        return Verdict(False, "not yet: it gives the same whatever x₀ is")
    if (spread - 1).abs().max() < 0.04:
        return Verdict(True, f"right: deviations of {told} for 8, 20 and 40 photons")
    even = float(spread.max() / spread.min()) < 1.1
    slips = {
        0.5: "the derivative of √n is 1 / (2 √n): it takes a factor of 2",
        peak**-0.5: "the root of the *counts*: x₀ is counts over peak",
        0.5 * peak**-0.5: "the root of the *counts*, and times 2: x₀ is counts over peak",
    }
    if even:
        for slip, hint in slips.items():
            if math.isclose(float(spread.mean()), slip, rel_tol=0.06):
                return Verdict(False, f"not yet: {hint}")
        return Verdict(False, f"not yet: the same for all, but not 1: {told}")
    way = "still grow with the light" if spread[-1] > spread[0] else "fall with the light"
    return Verdict(False, f"not yet: the deviations {way} ({told}); a root evens them out")


def neighbours(answer):
    """Check a function ``neighbours(residual)``: how alike neighbouring pixels are (lesson 04).

    Parameters
    ----------
    answer : callable or None
        Takes a tensor (C, H, W); returns the correlation of a pixel with its right neighbour.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> def by_slices(r):
    ...     left, right = r[..., :-1].flatten(), r[..., 1:].flatten()
    ...     return torch.corrcoef(torch.stack([left, right]))[0, 1]
    >>> neighbours(by_slices)
    ✓ right: 0 for white noise, near 1 for a smooth image
    """
    if answer is None:
        return OPEN
    draws = torch.randn(1, 40, 42, generator=torch.Generator().manual_seed(0))
    x = 0.5 + 0.1 * (draws[..., 1:] + 0.6 * draws[..., :-1] + torch.linspace(-1, 1, 41))
    try:
        given = float(answer(x.clone()))
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    left, right = x[..., :-1], x[..., 1:]
    wanted = _correlation(left, right)
    if math.isclose(given, wanted, abs_tol=0.02):  # which mean is taken off is a matter of taste
        return Verdict(True, "right: 0 for white noise, near 1 for a smooth image")
    centred = x - x.mean()
    product = centred[..., :-1] * centred[..., 1:]
    slips = {
        float((left * right).sum() / (left.norm() * right.norm())): "take the mean off first",
        float((left * right).mean()): "take the mean off, and divide by the variance",
        float(product.mean()): "that is a covariance; divide by the variance",
        float(product.sum()): "that is a sum of products; divide by the sum of squares",
        float(product.mean() / x.std()): "divide by the variance, not by its root",
        _correlation(x, x.roll(1, -1)): "roll() joins the two ends of the image",
        _correlation(x[:, :-1], x[:, 1:]): "that is the neighbour below; take the one to the right",
        1.0: "every pixel with itself; shift one of the two by a pixel",
    }
    for slip, hint in slips.items():
        if math.isclose(given, slip, rel_tol=1e-3, abs_tol=1e-5):
            return Verdict(False, f"not yet: {hint}")
    return Verdict(False, f"not yet: on the test image it gives {given:.2f}, not {wanted:.2f}")


def _correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])
