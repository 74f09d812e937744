"""Checks of lesson 07."""

import itertools

from torch import nn

from ...networks import parameter_count
from .verdict import OPEN, Verdict, run_or_hint


def equal_size(network, reference, tolerance=0.02):
    """Check that a network has as many parameters as another one (lesson 07).

    Parameters
    ----------
    network : torch.nn.Module or None
        The learner's.
    reference : torch.nn.Module
        What it shall equal in size, but not in kind.
    tolerance : float, optional
        Relative.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> equal_size(nn.Linear(9, 10), nn.Conv2d(1, 10, 3))
    ✓ right: 100 parameters beside 100
    """
    if network is None:
        return OPEN
    if not isinstance(network, nn.Module):
        return Verdict(
            False,
            f"not yet: a network is wanted, not a {type(network).__name__}; "
            "dip.networks.build makes one",
        )
    if type(network) is type(reference):
        return Verdict(
            False, f"not yet: that is a {type(network).__name__} again; another family is wanted"
        )
    mine, theirs = parameter_count(network), parameter_count(reference)
    if abs(mine / theirs - 1) <= tolerance:
        return Verdict(True, f"right: {mine:,} parameters beside {theirs:,}")
    way = "narrower" if mine > theirs else "wider"
    return Verdict(
        False,
        f"not yet: {mine:,} parameters, not {theirs:,}; make it {way} by about the root of "
        f"{max(mine, theirs) / max(1, min(mine, theirs)):.2f}, for a filter joins width to width",
    )


def apart(answer):
    """Check a function ``apart(a, b)``: whether two lists of scores do not overlap (lesson 07).

    Parameters
    ----------
    answer : callable or None
        Takes two lists, one score a seed; returns whether all of one lie above all of the other.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> apart(lambda a, b: min(a) > max(b) or min(b) > max(a))
    ✓ right: every seed of one above every seed of the other, whichever that is
    """
    if answer is None:
        return OPEN
    cases = [
        ([26.4, 26.5, 26.6], [25.1, 25.3, 25.2], True, "here they do not overlap at all"),
        ([25.1, 25.3, 25.2], [26.4, 26.5, 26.6], True, "the second may be the higher one, too"),
        (
            [26.0, 24.0, 26.2],
            [25.0, 25.1, 25.2],
            False,
            "the means differ, but one seed lies below; compare the lowest with the highest",
        ),
        (
            [25.0, 26.0, 24.0],
            [24.9, 25.2, 25.4],
            False,
            "one list lies inside the other: they overlap",
        ),
        ([25.0, 25.0], [25.0, 25.0], False, "equal scores are not apart"),
    ]
    for a, b, right, hint in cases:
        try:
            given = bool(answer(list(a), list(b)))
        except Exception as error:  # whatever the learner's function does
            return Verdict(False, f"the function failed: {error}")
        if given is not right:
            return Verdict(False, f"not yet: for {a} and {b} it says {given}; {hint}")
    return Verdict(
        True, "right: every seed of one above every seed of the other, whichever that is"
    )


def one_factor(levels):
    """Check an ablation of the learner's own: one factor, one problem, three seeds (lesson 07).

    Parameters
    ----------
    levels : dict or None
        Name of the level -> list of Run, a seed each.

    Returns
    -------
    Verdict
    """
    if levels is None:
        return OPEN
    if not isinstance(levels, dict) or len(levels) < 2:
        return Verdict(False, "not yet: hand in a dict with two levels at least: name -> runs")
    for name, runs in levels.items():
        if (hint := _level(name, runs)) is not None:
            return hint
    first = next(iter(levels.values()))[0].problem
    if any(run.problem.truth is None for runs in levels.values() for run in runs):
        return Verdict(False, "not yet: without a truth there is nothing to compare")
    if any(not _same(first, run.problem) for runs in levels.values() for run in runs):
        return Verdict(False, "not yet: all fits must be of the same problem, its noise included")
    changed = _changed([runs[0].recipe for runs in levels.values()])
    if not changed:
        return Verdict(False, "not yet: the levels have one and the same recipe")
    if len(changed) > 1:
        told = ", ".join(sorted(changed))
        return Verdict(False, f"not yet: several things change at once ({told}); one at a time")
    best = {name: [run.oracle_psnr for run in runs] for name, runs in levels.items()}
    mean = {name: sum(scores) / len(scores) for name, scores in best.items()}
    top, second, *_ = sorted(mean, key=mean.get, reverse=True)
    clear = min(best[top]) > max(best[second])
    told = f"{top!r} is {mean[top] - mean[second]:.2f} dB above {second!r}"
    beyond = "no seeds overlap" if clear else "but their seeds overlap: no difference was shown"
    return Verdict(True, f"right: only {changed.pop()} changes; {told}, {beyond}")


def _level(name, runs):
    """Say what is wrong with one level's runs, or return None."""
    if not isinstance(runs, (list, tuple)):
        return Verdict(False, f"not yet: level {name!r} must be a list of runs, a seed each")
    for run in runs:
        if run is None:
            return OPEN
        if (hint := run_or_hint(run)) is not None:
            return hint
    if len({run.seed for run in runs}) < 3:
        return Verdict(False, f"not yet: level {name!r} needs three different seeds at least")
    if any(run.recipe != runs[0].recipe for run in runs):
        return Verdict(False, f"not yet: within level {name!r} only the seed may change")
    return None


def _same(one, other):
    return (
        one is other
        or one.task == other.task
        and one.observation.shape == other.observation.shape
        and one.observation.equal(other.observation)
    )


def _changed(recipes):
    """Names of the fields, or of the network's options, in which recipes differ."""
    changed = set()
    for a, b in itertools.combinations(recipes, 2):
        one, two = vars(a), vars(b)
        changed |= {k for k in one if k not in ("name", "options") and one[k] != two[k]}
        if a.network == b.network:  # another family has options of its own
            keys = set(a.options) | set(b.options)
            changed |= {k for k in keys if a.options.get(k) != b.options.get(k)}
    if changed & {"down", "up", "skip"} and changed <= {"down", "up", "skip"}:
        depths = {len(r.options.get("down", ())) for r in recipes}
        if len(depths) > 1:  # a level that is gone takes its skip along
            return {"depth"}
    return changed
