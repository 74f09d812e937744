"""Checks of lesson 02."""

import math

import torch

from ... import metrics
from ...energy import total_variation
from .verdict import OPEN, Verdict, number, run_or_hint


def two_pixels(answer):
    """Check from which weight on the best image of two pixels is flat (lesson 02).

    Parameters
    ----------
    answer : float or None
        The learner's.

    Returns
    -------
    Verdict
    """
    hints = {
        0.5: "both pixels move, each by w",
        0.55: "that is the flat image's value",
        0.15: "how far apart are the two pixels?",
    }
    return number(answer, 0.25, "a = 0.8 − w and b = 0.3 + w meet at w = 0.25", hints)


def beta(answer):
    """Check the prior's β that belongs to λ = 0.14 at σ = 25/255 (lesson 02).

    Parameters
    ----------
    answer : float or None
        The learner's.

    Returns
    -------
    Verdict
    """
    weight, sigma = 0.14, 25 / 255
    hints = {
        weight / sigma**2: "the Gaussian has a 2 in its exponent",
        2 * sigma**2 * weight: "the other way round",
        weight / (2 * 25**2): "σ belongs in units of [0, 1]",
        weight / (2 * sigma): "σ comes in squared",
    }
    right = "β = λ / 2σ²; with twice the σ, λ is four times as large"
    return number(answer, weight / (2 * sigma**2), right, hints)


def tv_function(answer):
    """Check a function ``tv(image)`` that the learner wrote (lesson 02).

    Parameters
    ----------
    answer : callable or None
        Takes a tensor (C, H, W); returns its total variation, isotropic, summed over the pixels.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> def by_slices(x):
    ...     across, down = x[:, :-1, 1:] - x[:, :-1, :-1], x[:, 1:, :-1] - x[:, :-1, :-1]
    ...     return (across**2 + down**2).sqrt().sum()
    >>> tv_function(by_slices)
    ✓ right: the lengths of all the gradients, added up
    """
    if answer is None:
        return OPEN
    x = torch.rand(3, 24, 31, generator=torch.Generator().manual_seed(0))
    try:
        given = float(answer(x.clone()))
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    right = float(total_variation(x))
    # A last row and column more or less, or the border continued, is a matter of taste.
    if math.isclose(given, right, rel_tol=1e-4) or math.isclose(given, _continued(x), rel_tol=1e-4):
        return Verdict(True, "right: the lengths of all the gradients, added up")
    across, down = x[:, :, 1:] - x[:, :, :-1], x[:, 1:] - x[:, :-1]
    inner = across[:, :-1].square() + down[..., :-1].square()
    sides = torch.stack([x - x.roll(1, 1), x - x.roll(1, 2)])
    slips = {
        float(across.abs().sum() + down.abs().sum()): _ANISOTROPIC,
        float(across[:, :-1].abs().sum() + down[..., :-1].abs().sum()): _ANISOTROPIC,
        float(
            inner.sum()
        ): "the root is missing: without it, one sharp edge costs more than a ramp",
        float(inner.sqrt().mean()): "that is the mean; the sum is asked for",
        float(inner.sum().sqrt()): "the root of each pixel's gradient, and the sum after it",
        float(sides.square().sum(0).sqrt().sum()): "roll() joins the two ends of the image",
        float((across[:, :-1] + down[..., :-1]).abs().sum()): "take each difference's square first",
    }
    for slip, hint in slips.items():
        if math.isclose(given, slip, rel_tol=1e-4):
            return Verdict(False, f"not yet: {hint}")
    return Verdict(False, f"not yet: on the test image it gives {given:.2f}, not {right:.2f}")


_ANISOTROPIC = "|∂x| + |∂y| makes slanted edges dearer than upright ones; √(∂x² + ∂y²) does not"


def _continued(x):
    """Total variation with the border continued: there, one of the two differences is zero."""
    wider = torch.nn.functional.pad(x[None], (0, 1, 0, 1), mode="replicate")[0]
    return float(total_variation(wider))


def no_need_to_stop(run, most=0.5, gain=5.0, iterations=600):
    """Check a fit in which structure and R work together, so that nobody has to stop (lesson 02).

    Parameters
    ----------
    run : Run or None
        A long fit of a denoising problem with ``tv_weight``.
    most : float, optional
        Decibels that the last average may lie below the best one.
    gain : float, optional
        Decibels that the best average must be above the noisy image.
    iterations : int, optional
        How long the fit must be, at least.

    Returns
    -------
    Verdict
    """
    if (hint := run_or_hint(run)) is not None:
        return hint
    if run.problem.truth is None:
        return Verdict(False, "not yet: without a truth nobody can tell; take the lesson's problem")
    recipe = run.recipe
    if recipe.network == "pixels":
        return Verdict(False, "not yet: the pixels have no structure; that is R alone")
    if not recipe.tv_weight:
        return Verdict(False, "not yet: there is no R in it; add tv_weight=... to the recipe")
    if recipe.input_noise or recipe.members > 1:
        return Verdict(False, "not yet: one network without input noise, so that R does the work")
    if run.stopped_at < iterations:
        return Verdict(
            False, f"not yet: {run.stopped_at} iterations prove little; make at least {iterations}"
        )
    lost = run.oracle_psnr - run.history["psnr_average"].iloc[-1]
    gained = run.oracle_psnr - metrics.psnr(run.problem.observation, run.problem.truth)
    if lost > most:
        return Verdict(False, f"not yet: it still falls {lost:.1f} dB below its best; weigh R more")
    if gained < gain:
        return Verdict(
            False, f"not yet: it no longer falls, but gains only {gained:.1f} dB; weigh R less"
        )
    return Verdict(
        True,
        f"right: {lost:.1f} dB below its best after {run.stopped_at} iterations, and that best is "
        f"{gained:.1f} dB above the noisy image",
    )
