"""Checks of lesson 01."""

import math

import torch

from ... import metrics
from .verdict import OPEN, Verdict, run_or_hint


def psnr_function(answer):
    """Check a function ``psnr(image, truth)`` that the learner wrote (lesson 01).

    Parameters
    ----------
    answer : callable or None
        Takes two tensors in [0, 1]; returns decibels.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> psnr_function(lambda x, t: -10 * torch.log10((x - t).square().mean()))
    ✓ right: 10 log₁₀(1 / mean squared error)
    """
    if answer is None:
        return OPEN
    truth = torch.linspace(0, 0.9, 3 * 16 * 16).reshape(3, 16, 16)
    image = truth + 0.1 * torch.cos(torch.arange(3 * 16 * 16.0)).reshape(3, 16, 16)
    error = float((image - truth).square().mean())
    try:
        given = float(answer(image, truth))
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    right = -10 * math.log10(error)
    slips = {
        10 * math.log10(error): "the sign: a better image has a higher PSNR",
        -20 * math.log10(error): "20 belongs to amplitudes; the squared error is a power: 10",
        -10 * math.log(error): "the natural logarithm; decibels use base 10",
        error: "that is the mean squared error; take it to decibels",
        -10 * math.log10(error * truth.numel()): "the sum instead of the mean over the pixels",
    }
    if math.isclose(given, right, rel_tol=1e-4):
        return Verdict(True, "right: 10 log₁₀(1 / mean squared error)")
    for slip, hint in slips.items():
        if math.isclose(given, slip, rel_tol=1e-4):
            return Verdict(False, f"not yet: {hint}")
    return Verdict(False, f"not yet: on the test image it gives {given:.2f}, not {right:.2f} dB")


def numbers_per_parameter(answer, network, image):
    """Check the ratio of a network's parameters to an image's numbers (lesson 01).

    Parameters
    ----------
    answer : float or None
        Parameters divided by numbers.
    network : torch.nn.Module
        The network.
    image : torch.Tensor
        (C, H, W).

    Returns
    -------
    Verdict
    """
    if answer is None:
        return OPEN
    parameters = sum(p.numel() for p in network.parameters())
    right = parameters / image.numel()
    if math.isclose(answer, right, rel_tol=0.02):
        more = "more" if right > 1 else "fewer"
        return Verdict(
            True,
            f"right: {parameters:,} parameters, {image.numel():,} numbers, {more} than one each",
        )
    if math.isclose(answer, 1 / right, rel_tol=0.02):
        return Verdict(False, "not yet: that is the other way round")
    if math.isclose(answer, right * image.shape[0], rel_tol=0.02):
        return Verdict(False, f"not yet: each pixel holds {image.shape[0]} numbers")
    return Verdict(False, "not yet: p.numel() counts a tensor's numbers; sum over the parameters")


def no_prior(run):
    """Check the fit without a network (lesson 01).

    Parameters
    ----------
    run : Run or None
        A fit with the network "pixels" that went on for long enough.

    Returns
    -------
    Verdict
    """
    if (hint := run_or_hint(run)) is not None:
        return hint
    if run.recipe.network != "pixels":
        return Verdict(False, f'not yet: the network is {run.recipe.network!r}, not "pixels"')
    loss = run.history["loss"].iloc[-1]
    if loss > 1e-3:
        return Verdict(
            False, f"not yet: the energy is still {loss:.4f}; pixels can explain x₀ exactly: fit on"
        )
    noisy = metrics.psnr(run.problem.observation, run.problem.need_truth("this check"))
    best = run.history["psnr"].max()
    return Verdict(
        True,
        f"right: the best iterate has {best:.1f} dB, the noisy image {noisy:.1f} dB; "
        "every pixel goes its own way to x₀, and nothing prefers the image to the noise",
    )


def own_network(run):
    """Check a fit with a network that the learner wrote (lesson 01).

    Parameters
    ----------
    run : Run or None
        A fit with ``network=``.

    Returns
    -------
    Verdict
    """
    if (hint := run_or_hint(run)) is not None:
        return hint
    if not run.own_network:
        return Verdict(False, "not yet: hand your module in as dip.fit(problem, network=...)")
    noisy = metrics.psnr(run.problem.observation, run.problem.need_truth("this check"))
    gain = run.history["psnr_average"].max() - noisy
    if gain < 1:
        return Verdict(
            False,
            f"it runs, but its best average is {gain:+.1f} dB from the noisy image: more "
            "iterations, or filters larger than 1x1, or a resolution that goes down and up again",
        )
    return Verdict(True, f"right: your structure alone gains {gain:.1f} dB, with no training set")
