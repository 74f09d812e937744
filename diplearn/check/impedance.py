"""Checks of lesson 03."""

import math

import torch

from .verdict import OPEN, Verdict, number, run_or_hint


def noise_share(answer):
    """Check a function ``share(picture, clean, noise)`` that projects on the noise (lesson 03).

    Parameters
    ----------
    answer : callable or None
        Takes three tensors; returns the noise's share in the picture, 1 for all of it.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> noise_share(lambda x, clean, noise: ((x - clean) * noise).sum() / noise.square().sum())
    ✓ right: project what is too much on the noise, and divide by the noise's own square
    """
    if answer is None:
        return OPEN
    draws = torch.Generator().manual_seed(0)
    clean = 0.2 + 0.6 * torch.rand(3, 16, 16, generator=draws)
    noise = 0.1 * torch.randn(clean.shape, generator=draws)
    rest = torch.randn(clean.shape, generator=draws)
    rest -= noise * (rest * noise).sum() / noise.square().sum()  # orthogonal to the noise
    picture = clean + 0.3 * noise + 0.1 * rest
    try:
        given = float(answer(picture, clean, noise))
    except Exception as problem:  # whatever the learner's function does
        return Verdict(False, f"the function failed: {problem}")
    if math.isclose(given, 0.3, rel_tol=1e-3):
        return Verdict(
            True,
            "right: project what is too much on the noise, and divide by the noise's own square",
        )
    excess = picture - clean
    slips = {
        float((excess * noise).sum()): "divide by the noise's own square, ⟨n, n⟩",
        float((excess * noise).mean()): "divide by the noise's own square, ⟨n, n⟩",
        float((excess * noise).sum() / noise.norm()): "that is a length; divide by ⟨n, n⟩, no root",
        float((picture * noise).sum() / noise.square().sum()): "take the clean picture away first",
        float(excess.norm() / noise.norm()): "that counts all that is too much, not only the noise",
    }
    for slip, hint in slips.items():
        if math.isclose(given, slip, rel_tol=1e-3):
            return Verdict(False, f"not yet: {hint}")
    return Verdict(False, f"not yet: the test picture holds 30 % of the noise, not {given:.0%}")


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
        "one small tile repeated, and filters that are shared over the picture love what repeats",
    )


def tells_apart(picture, shuffled, ratio=4.0, most=60):
    """Check that a network keeps a picture and its shuffled pixels further apart (lesson 03).

    Parameters
    ----------
    picture, shuffled : Run or None
        Fits with the same recipe to the picture and to its shuffled pixels.
    ratio : float, optional
        How many times as long the second must take to 80 %.
    most : int, optional
        Iterations that the first may take.

    Returns
    -------
    Verdict
    """
    for run in (picture, shuffled):
        if (hint := run_or_hint(run)) is not None:
            return hint
    if picture.recipe != shuffled.recipe:
        return Verdict(False, "not yet: the two fits must have the same recipe")
    same = [run.problem.observation.flatten(1).sort().values for run in (picture, shuffled)]
    if same[0].shape != same[1].shape or not torch.allclose(*same, atol=1e-4):
        return Verdict(False, "not yet: the second target must be the first one's pixels, shuffled")
    first, second = reached(picture, 0.8), reached(shuffled, 0.8)
    if first > most:
        return Verdict(
            False, f"not yet: the picture takes {first} iterations; at most {most} wanted"
        )
    if second < ratio * first:
        return Verdict(
            False,
            f"not yet: {first} and {second} iterations; a skip hands fine detail straight from "
            "z to the output: on which level does that matter most?",
        )
    told = "is not reached at all" if math.isinf(second) else f"takes {second}"
    return Verdict(True, f"right: the picture takes {first} iterations, the shuffled one {told}")


def negative(answer):
    """Check the ratio of a negative's impedance to its picture's (lesson 03).

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
