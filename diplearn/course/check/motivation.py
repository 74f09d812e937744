"""Checks of lesson 01."""

import math

import torch

from ... import metrics
from .verdict import check, check_of_function, check_of_runs, function, no, number, yes


@check_of_function
def psnr_function(answer):
    """Check ``psnr(image, truth)``, in decibels."""
    truth = torch.linspace(0, 0.9, 3 * 16 * 16).reshape(3, 16, 16)
    image = truth + 0.1 * torch.cos(torch.arange(3 * 16 * 16.0)).reshape(3, 16, 16)
    error = float((image - truth).square().mean())
    return function(
        answer,
        inputs=(image, truth),
        right=-10 * math.log10(error),
        why="10 log₁₀(1 / mean squared error)",
        slips={
            10 * math.log10(error): "the sign: a better image has a higher PSNR",
            -20 * math.log10(error): "20 belongs to amplitudes; a squared error is a power: 10",
            -10 * math.log(error): "the natural logarithm; decibels use base 10",
            error: "that is the mean squared error; convert it to decibels",
            -10 * math.log10(error * truth.numel()): "the sum instead of the mean over the pixels",
        },
        otherwise="on the test image it gives {given:.2f}, not {right:.2f} dB",
    )


@check
def numbers_per_parameter(answer, network, image):
    """Check how many parameters a network has for each number of an image."""
    parameters, numbers = sum(p.numel() for p in network.parameters()), image.numel()
    ratio = parameters / numbers
    more = "more" if ratio > 1 else "fewer"
    return number(
        answer,
        ratio,
        f"{parameters:,} parameters, {numbers:,} numbers, {more} than one each",
        {
            1 / ratio: "that is the other way round",
            ratio * image.shape[0]: f"each pixel holds {image.shape[0]} numbers",
        },
        tolerance=0.02,
        otherwise="p.numel() counts the numbers of a tensor; add them up over the parameters",
    )


@check_of_runs
def no_prior(run):
    """Check a fit without a network, long enough to reproduce the noise."""
    if run.recipe.network != "pixels":
        return no(f'the network is {run.recipe.network!r}, not "pixels"')
    loss = run.history["loss"].iloc[-1]
    if loss > 1e-3:
        return no(f"the energy is still {loss:.4f}; pixels can explain x₀ exactly: fit on")
    noisy = metrics.psnr(run.problem.observation, run.problem.need_truth("this check"))
    return yes(
        f"the best iterate has {run.history['psnr'].max():.1f} dB, the noisy image {noisy:.1f} dB; "
        "every pixel goes its own way to x₀, and nothing prefers the image to the noise"
    )


@check_of_runs
def own_network(run):
    """Check a fit of the learner's own network: it should gain at least 1 dB."""
    if not run.own_network:
        return no("hand in your module: dip.fit(problem, network=...)")
    noisy = metrics.psnr(run.problem.observation, run.problem.need_truth("this check"))
    gain = run.history["psnr_average"].max() - noisy
    if gain < 1:
        return no(
            f"it runs, but its best average is {gain:+.1f} dB from the noisy image: try more "
            "iterations, or filters larger than 1x1, or a resolution that goes down and up again"
        )
    return yes(f"your structure alone gains {gain:.1f} dB, with no training set")
