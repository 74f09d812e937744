"""Checks of lesson 10."""

import math

import numpy as np
import torch

from .verdict import OPEN, Verdict


def tangent_kernel(answer):
    """Check a function that makes the tangent kernel of f = B A z (lesson 10).

    Parameters
    ----------
    answer : callable or None
        Called as ``answer(A, B, z)`` with two matrices and a vector; returns the kernel, a row and
        a column for each number of f.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> tangent_kernel(lambda A, B, z: z @ z * B @ B.T + (A @ z) @ (A @ z) * torch.eye(len(B)))
    ✓ right: ‖z‖² B Bᵀ for A, and ‖A z‖² times the identity for B; its modes are B's left ones
    """
    if answer is None:
        return OPEN
    draws = torch.Generator().manual_seed(0)
    A, B, z = (torch.randn(shape, generator=draws) for shape in ((3, 5), (4, 3), (5,)))
    try:
        given = torch.as_tensor(answer(A, B, z)).float()
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    if given.shape != (4, 4):
        return Verdict(False, f"not yet: f has 4 numbers, K is 4x4, not {tuple(given.shape)}")
    first, second = z.square().sum() * B @ B.T, (A @ z).square().sum() * torch.eye(4)
    if torch.allclose(given, first + second, rtol=1e-3, atol=1e-3):
        return Verdict(
            True,
            "right: ‖z‖² B Bᵀ for A, and ‖A z‖² times the identity for B; its modes are B's left "
            "ones",
        )
    slips = (
        (first, "that is A's part; B's weights are trained, too"),
        (second, "that is B's part; A's weights are trained, too"),
        (z.norm() * B @ B.T + (A @ z).norm() * torch.eye(4), "the lengths are squared"),
        (B @ B.T + torch.eye(4), "how much a weight does depends on what it is multiplied with"),
        ((B @ A @ z).outer(B @ A @ z), "that is f fᵀ; differentiate by the weights first"),
    )
    for slip, hint in slips:
        if torch.allclose(given, slip, rtol=1e-3, atol=1e-3):
            return Verdict(False, f"not yet: {hint}")
    return Verdict(False, "not yet: write f_i with indices, differentiate by A_jk and by B_ij")


def spectral_error(answer):
    """Check a function for the expected error of gradient flow, mode by mode (lesson 10).

    Parameters
    ----------
    answer : callable or None
        Called as ``answer(c, values, sigma, t)``; returns a number.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> def right(c, values, sigma, t):
    ...     left = torch.exp(-values * t)
    ...     return (left.square() * c.square() + sigma**2 * (1 - left).square()).mean()
    >>> spectral_error(right)
    ✓ right: what is left of the image, and what has come of the noise
    """
    if answer is None:
        return OPEN
    c, values = torch.linspace(2, 0.1, 50), torch.logspace(1, -3, 50)
    sigma, t = 0.3, 2.0
    try:
        given = float(answer(c.clone(), values.clone(), sigma, t))
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    left = torch.exp(-values * t)
    bias, variance = (left * c).square().mean(), sigma**2 * (1 - left).square().mean()
    if math.isclose(given, float(bias + variance), rel_tol=1e-3):
        return Verdict(True, "right: what is left of the image, and what has come of the noise")
    slips = {
        float(bias): "that is the bias² alone; noise comes in as well",
        float(variance): "that is the variance alone; the image is not all there yet",
        float((bias + variance) * len(c)): "per pixel: divide by N",
        float((left * c**2).mean() + sigma**2 * (1 - left).mean()): "g and 1 − g are squared",
        float(bias + sigma * (1 - left).square().mean()): "noise of deviation σ has variance σ²",
        float(
            ((1 - left) * c).square().mean() + sigma**2 * left.square().mean()
        ): "the other way round: g is what has been fitted, 1 − exp(−λt)",
        float(bias + sigma**2): "only the share g of the noise has come in yet",
    }
    for slip, hint in slips.items():
        if math.isclose(given, slip, rel_tol=1e-3):
            return Verdict(False, f"not yet: {hint}")
    return Verdict(False, f"not yet: the test case has {bias + variance:.4f}, not {given:.4f}")


def follows(curves, within=0.05, until=0.5):
    """Check that a measured energy follows its prediction for long enough (lesson 10).

    Parameters
    ----------
    curves : tuple of sequences or None
        Predicted and measured energy, step by step.
    within : float, optional
        Greatest relative difference allowed.
    until : float, optional
        The share of the first energy down to which it must follow.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> decay = np.exp(-np.arange(100) / 30)
    >>> follows((decay, 1.01 * decay))
    ✓ right: within 1 % until half of the energy is gone
    """
    if curves is None:
        return OPEN
    try:
        predicted, measured = (np.asarray(curve, dtype=float) for curve in curves)
    except (TypeError, ValueError):
        return Verdict(False, "not yet: hand in the pair (predicted, measured), as it is returned")
    if predicted.ndim != 1 or predicted.shape != measured.shape or len(predicted) < 2:
        return Verdict(False, "not yet: two curves of the same length are wanted")
    if not (np.isfinite(predicted).all() and np.isfinite(measured).all()):
        return Verdict(False, "not yet: a curve is not finite; is the step size below 2 / λ₁?")
    if predicted.min() > until * predicted[0]:
        return Verdict(False, "not yet: half of the energy is still there at the end: more steps")
    end = int(np.argmax(predicted <= until * predicted[0])) + 1
    off = float(np.abs(measured[:end] / predicted[:end] - 1).max())
    if off > within:
        return Verdict(
            False,
            f"not yet: {100 * off:.0f} % apart on the way; the less the weights have to move, the "
            "less K changes: ask for a fainter image",
        )
    return Verdict(True, f"right: within {100 * off:.0f} % until half of the energy is gone")
