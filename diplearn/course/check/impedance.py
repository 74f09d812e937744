"""Checks of lesson 03."""

import math

import torch

from .verdict import OPEN, Verdict, number, run_or_hint


def two_shares(answer):
    """Check a function that finds image and noise, which are not orthogonal (lesson 03).

    Parameters
    ----------
    answer : callable or None
        Takes three tensors (image, clean, noise); returns the two numbers a and b for which
        a * clean + b * noise comes nearest to the image.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> def by_least_squares(image, clean, noise):
    ...     columns = torch.stack([clean.flatten(), noise.flatten()], dim=1)
    ...     return torch.linalg.lstsq(columns, image.flatten()[:, None]).solution[:, 0]
    >>> two_shares(by_least_squares)
    ✓ right: two unknowns, two equations; what the directions have in common is counted once
    """
    if answer is None:
        return OPEN
    draws = torch.Generator().manual_seed(0)
    clean, noise, rest = torch.randn(3, 3, 16, 16, generator=draws)
    noise = 0.3 * noise - 0.1 * clean  # not orthogonal, as after a cut at black and white
    columns = torch.stack([clean.flatten(), noise.flatten()], dim=1)
    basis = torch.linalg.qr(columns).Q
    rest = rest.flatten() - basis @ (basis.T @ rest.flatten())
    image = 0.7 * clean + 0.4 * noise + 0.1 * rest.reshape(clean.shape)
    try:
        given = tuple(float(share) for share in answer(image, clean, noise))
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    if len(given) != 2:
        return Verdict(False, f"not yet: two numbers are wanted, a and b, not {len(given)}")

    def alone(x, direction):
        return float((x * direction).sum() / direction.square().sum())

    by_itself = alone(image, clean)
    once = "right: two unknowns, two equations; what the directions have in common is counted once"
    answers = {
        (0.7, 0.4): Verdict(True, once),
        (0.4, 0.7): Verdict(False, "not yet: first the image's share, then the noise's"),
        (by_itself, alone(image, noise)): Verdict(False, f"not yet: {_COMMON}"),
        (by_itself, alone(image - by_itself * clean, noise)): Verdict(False, f"not yet: {_COMMON}"),
        (by_itself, alone(image - clean, noise)): Verdict(
            False, "not yet: that takes all of the clean image away; only a of it is there"
        ),
    }
    for shares, verdict in answers.items():
        if all(math.isclose(*pair, rel_tol=1e-3) for pair in zip(given, shares)):
            return verdict
    told = " and ".join(f"{share:.2f}" for share in given)
    return Verdict(False, f"not yet: the test image has shares of 0.70 and 0.40, not {told}")


_COMMON = (
    "the two directions are not orthogonal, and what they have in common is counted twice: "
    "solve for a and b together"
)


def checkerboard(run):
    """Check a fit to a checkerboard of single pixels (lesson 03).

    Parameters
    ----------
    run : Run or None
        The learner's.

    Returns
    -------
    Verdict
    """
    if (hint := run_or_hint(run)) is not None:
        return hint
    x0 = run.problem.observation
    across, down = (x0[..., 1:] - x0[..., :-1]).abs(), (x0[:, 1:] - x0[:, :-1]).abs()
    if min(across.min(), down.min()) < 0.1:
        return Verdict(
            False,
            "not yet: neighbours must differ everywhere; (row + column) % 2 makes a checkerboard",
        )
    there = reached(run, 0.8)
    if math.isinf(there):
        return Verdict(False, "not yet: 80 % of its variance are not explained; fit on")
    return Verdict(
        True,
        f"right: 80 % after {there} iterations, long before noise; it is all high frequency, but "
        "one small tile repeated, and filters that are shared over the image love what repeats",
    )


def tells_apart(image, shuffled, ratio=4.0, most=60, optimiser="muon"):
    """Check that a network keeps an image and its shuffled pixels further apart (lesson 03).

    By the network, that is: another optimiser changes the ratio, too.

    Parameters
    ----------
    image, shuffled : Run or None
        Fits with the same recipe to the image and to its shuffled pixels.
    ratio : float, optional
        How many times as long the second must take to 80 %.
    most : int, optional
        Iterations that the first may take.
    optimiser : str, optional
        The one that both fits must have.

    Returns
    -------
    Verdict
    """
    for run in (image, shuffled):
        if (hint := run_or_hint(run)) is not None:
            return hint
    if image.recipe != shuffled.recipe:
        return Verdict(False, "not yet: the two fits must have the same recipe")
    if image.recipe.optimiser != optimiser:
        return Verdict(
            False,
            f"not yet: that is the optimiser's doing; keep {optimiser}, and change the network",
        )
    same = [run.problem.observation.flatten(1).sort().values for run in (image, shuffled)]
    if same[0].shape != same[1].shape or not torch.allclose(*same, atol=1e-4):
        return Verdict(False, "not yet: the second target must be the first one's pixels, shuffled")
    first, second = reached(image, 0.8), reached(shuffled, 0.8)
    if first > most:
        return Verdict(False, f"not yet: the image takes {first} iterations; at most {most} wanted")
    if second < ratio * first:
        return Verdict(
            False,
            f"not yet: {first} and {second} iterations; a skip hands fine detail straight from "
            "z to the output: on which level does that matter most?",
        )
    told = "is not reached at all" if math.isinf(second) else f"takes {second}"
    return Verdict(True, f"right: the image takes {first} iterations, the shuffled one {told}")


def negative(answer):
    """Check the ratio of a negative's impedance to its image's (lesson 03).

    Parameters
    ----------
    answer : float or None
        The learner's.

    Returns
    -------
    Verdict
    """
    return number(
        answer,
        1.0,
        "about 1: edges and shapes are the same; the last layer only has to change its signs",
        {2.0: "that is twice the time; the same recipe and 80 % of each target's own variance?"},
        tolerance=0.35,
    )


def reached(run, share):
    """Say after how many iterations a share of the observation's variance was explained.

    Parameters
    ----------
    run : Run
    share : float
        Between 0 and 1.

    Returns
    -------
    int or float
        Infinity if it never was.
    """
    variance = float(run.problem.observation.var())
    there = run.history.index[run.history["loss"] <= (1 - share) * variance]
    return int(there.min()) if len(there) else math.inf
