"""Answers to the lessons' exercises: a check says what is right, or gives a hint.

Each returns a `Verdict`, which a notebook shows; it never raises, so that a lesson with unfinished
exercises still runs from top to bottom.
"""

import dataclasses
import math

import torch

from . import metrics
from .run import Run


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes
    ----------
    right : bool or None
        None while there is no answer yet.
    words : str
        Why, or a hint.
    """

    right: bool | None
    words: str

    def __bool__(self):
        return bool(self.right)

    def __repr__(self):
        return f"{ {True: '✓', False: '✗', None: '…'}[self.right] } {self.words}"


OPEN = Verdict(None, "no answer yet: replace the None, run the cell again")


def psnr_function(answer):
    """Check a function ``psnr(picture, truth)`` that the learner wrote (lesson 01).

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
    picture = truth + 0.1 * torch.cos(torch.arange(3 * 16 * 16.0)).reshape(3, 16, 16)
    error = float((picture - truth).square().mean())
    try:
        given = float(answer(picture, truth))
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    right = -10 * math.log10(error)
    slips = {
        10 * math.log10(error): "the sign: a better picture has a higher PSNR",
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
    return Verdict(False, f"not yet: on the test picture it gives {given:.2f}, not {right:.2f} dB")


def numbers_per_parameter(answer, network, picture):
    """Check the ratio of a network's parameters to a picture's numbers (lesson 01).

    Parameters
    ----------
    answer : float or None
        Parameters divided by numbers.
    network : torch.nn.Module
        The network.
    picture : torch.Tensor
        (C, H, W).

    Returns
    -------
    Verdict
    """
    if answer is None:
        return OPEN
    parameters = sum(p.numel() for p in network.parameters())
    right = parameters / picture.numel()
    if math.isclose(answer, right, rel_tol=0.02):
        more = "more" if right > 1 else "fewer"
        return Verdict(
            True,
            f"right: {parameters:,} parameters, {picture.numel():,} numbers, {more} than one each",
        )
    if math.isclose(answer, 1 / right, rel_tol=0.02):
        return Verdict(False, "not yet: that is the other way round")
    if math.isclose(answer, right * picture.shape[0], rel_tol=0.02):
        return Verdict(False, f"not yet: each pixel holds {picture.shape[0]} numbers")
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
    if run is None:
        return OPEN
    if not isinstance(run, Run):
        return Verdict(False, f"not yet: that is a {type(run).__name__}; dip.fit returns a Run")
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
        f"right: the best iterate has {best:.1f} dB, the noisy picture {noisy:.1f} dB; "
        "every pixel goes its own way to x₀, and nothing prefers the picture to the noise",
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
    if run is None:
        return OPEN
    if not isinstance(run, Run):
        return Verdict(False, f"not yet: that is a {type(run).__name__}; dip.fit returns a Run")
    if not run.own_network:
        return Verdict(False, "not yet: hand your module in as dip.fit(problem, network=...)")
    noisy = metrics.psnr(run.problem.observation, run.problem.need_truth("this check"))
    gain = run.history["psnr_average"].max() - noisy
    if gain < 1:
        return Verdict(
            False,
            f"it runs, but its best average is {gain:+.1f} dB from the noisy picture: more "
            "iterations, or filters larger than 1x1, or a resolution that goes down and up again",
        )
    return Verdict(True, f"right: your structure alone gains {gain:.1f} dB, with no training set")


def multiplications(answer):
    """Check a function that counts what a convolution multiplies (lesson 09).

    Parameters
    ----------
    answer : callable or None
        Called as ``answer(inputs, outputs, size, side)``, with the channels that come in and go
        out, the side of the filters and the side of the square picture that comes out.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> multiplications(lambda inputs, outputs, size, side: inputs * outputs * size**2 * side**2)
    ✓ right: inputs · outputs · size² · side²
    """
    if answer is None:
        return OPEN
    inputs, outputs, size, side = 5, 7, 3, 11
    try:
        given = float(answer(inputs, outputs, size, side))
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    right = inputs * outputs * size**2 * side**2
    slips = {
        right / size: "a filter has size times size taps",
        right / side: "the picture has side times side pixels",
        right / inputs: "every filter looks at all the channels that come in",
        right / outputs: "there is a filter for every channel that goes out",
        right / side**2: "those are the weights; each is used at every pixel",
        2 * right: "additions as well? Count the multiplications only",
    }
    if math.isclose(given, right, rel_tol=1e-6):
        return Verdict(True, "right: inputs · outputs · size² · side²")
    for slip, hint in slips.items():
        if math.isclose(given, slip, rel_tol=1e-6):
            return Verdict(False, f"not yet: {hint}")
    return Verdict(False, f"not yet: 5 to 7 channels, 3x3, 11x11 pixels: {right}, not {given:g}")


def orthogonal(answer):
    """Check a function that makes all singular values of a matrix one (lesson 09).

    Parameters
    ----------
    answer : callable or None
        Takes a matrix, returns one of the same shape.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> def by_svd(matrix):
    ...     u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    ...     return u @ vt
    >>> orthogonal(by_svd)
    ✓ right: the same singular vectors, and every singular value is one
    """
    if answer is None:
        return OPEN
    matrix = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    u, values, vt = torch.linalg.svd(matrix, full_matrices=False)
    try:
        given = torch.as_tensor(answer(matrix.clone())).float()
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    if given.shape != matrix.shape:
        return Verdict(False, f"not yet: {tuple(matrix.shape)} went in, {tuple(given.shape)} out")
    if torch.allclose(given, u @ vt, atol=1e-3):
        return Verdict(True, "right: the same singular vectors, and every singular value is one")
    if torch.allclose(given, matrix / matrix.norm(), atol=1e-3):
        return Verdict(False, "not yet: that scales all singular values alike; each must become 1")
    made = torch.linalg.svdvals(given)
    if torch.allclose(made, torch.ones_like(made), atol=1e-2):
        return Verdict(False, "not yet: the values are one, but along other vectors than before")
    return Verdict(
        False, f"not yet: its singular values go from {made.min():.2f} to {made.max():.2f}"
    )


def cheaper(run, reference):
    """Check a fit that shall be as good as another in less time (lesson 09).

    Parameters
    ----------
    run : Run or None
        The learner's.
    reference : Run
        Of the same problem.

    Returns
    -------
    Verdict
    """
    if run is None:
        return OPEN
    if not isinstance(run, Run):
        return Verdict(False, f"not yet: that is a {type(run).__name__}; dip.fit returns a Run")
    if not torch.equal(run.problem.observation, reference.problem.observation):
        return Verdict(False, "not yet: that is another picture; compare on the same problem")
    share, lost = run.seconds / reference.seconds, reference.psnr - run.psnr
    told = f"{share:.0%} of the time, {-lost:+.2f} dB"
    if share > 0.67:
        return Verdict(False, f"not yet: {told}; two thirds of the time are wanted")
    if lost > 0.5:
        return Verdict(False, f"not yet: {told}; that loses more than half a decibel")
    return Verdict(True, f"right: {told}")


def discrepancy_rule(answer):
    """Check a function ``my_rule(picture, observation, sigma)`` (lesson 08).

    Parameters
    ----------
    answer : callable or None
        Returns whether the picture explains the observation as well as the truth would.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> discrepancy_rule(lambda x, x0, sigma: (x - x0).square().mean() <= sigma**2)
    ✓ right: stop once the residual is as small as the noise
    """
    if answer is None:
        return OPEN
    truth = 0.3 + 0.4 * torch.linspace(0, 1, 64 * 64).reshape(1, 64, 64)
    draws = torch.Generator().manual_seed(0)
    for sigma in (0.02, 0.1):
        noise = sigma * torch.randn(truth.shape, generator=draws)
        noise *= 0.999 * sigma / noise.square().mean().sqrt()  # a little under what is allowed
        try:
            at_truth, far = (
                bool(answer(picture, truth + noise, sigma))
                for picture in (truth, truth + 3 * sigma)
            )
        except Exception as error:
            return Verdict(False, f"not yet: it raised {type(error).__name__}: {error}")
        if far:
            return Verdict(False, "not yet: it stops while the picture is still far away")
        if not at_truth:
            hint = "compare the mean square, not its root or its sum, with sigma squared"
            return Verdict(False, f"not yet: it goes on past the truth itself; {hint}")
    return Verdict(True, "right: stop once the residual is as small as the noise")


def fooled(run, least=1.0):
    """Check that a stopping rule was fooled: it chose far from the best (lesson 08).

    Parameters
    ----------
    run : Run or None
        Of a problem with a truth, with a rule to end it.
    least : float, optional
        Decibels that the choice must lose.

    Returns
    -------
    Verdict
    """
    if run is None:
        return OPEN
    if not isinstance(run, Run):
        return Verdict(False, f"not yet: that is a {type(run).__name__}; dip.fit returns a Run")
    if run.problem.truth is None:
        return Verdict(False, "not yet: without a truth nobody can tell; make the noise yourself")
    rule = run.state[1]["rule"]["name"]  # which may have been fooled so well that it never spoke
    if rule in ("count", "oracle") or run.stopped_by in ("interrupted", "halted"):
        return Verdict(False, f"not yet: {rule!r} is no rule, or had no time; name one with stop=")
    lost = run.oracle_psnr - run.psnr
    told = f"{rule} chose iteration {run.chosen_at} and lost {lost:.2f} dB"
    if lost < least:
        return Verdict(False, f"not yet: {told}; {least:g} dB are wanted")
    return Verdict(True, f"right: {told} (the best was iteration {run.oracle_at})")


def number(answer, expected, right, hints, tolerance=0.05):
    """Check a number, with a hint for each of the ways in which it is usually wrong.

    Parameters
    ----------
    answer : float or None
        The learner's.
    expected : float
        What is right.
    right : str
        Why.
    hints : dict
        Wrong value -> what went wrong.
    tolerance : float, optional
        Relative.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> number(4.0, 2.0, "the root of 4", {4.0: "take the root"})
    ✗ not yet: take the root
    """
    if answer is None:
        return OPEN
    try:
        answer = float(answer)
    except (TypeError, ValueError):
        return Verdict(False, f"not yet: a number is wanted, not {answer!r}")
    if math.isclose(answer, expected, rel_tol=tolerance):
        return Verdict(True, f"right: {right}")
    for wrong, hint in hints.items():
        if math.isclose(answer, wrong, rel_tol=tolerance):
            return Verdict(False, f"not yet: {hint}")
    return Verdict(False, "not yet: think of the definition, and of the units")
