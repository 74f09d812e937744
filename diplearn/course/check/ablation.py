"""Checks of lesson 07."""

import itertools
from functools import partial

from torch import nn

from ...networks import parameter_count
from ...run import Run
from .verdict import OPEN, check, check_of_function, decisions, no, number, yes

# The probability that two equally good recipes are "apart" with three seeds each.
by_chance = partial(
    number,
    expected=0.1,
    why="2 / 20, and so about one comparison in ten",
    slips={0.05: "either of the two may be the one on top", 1.0: "that is the count in ten"},
)


@check
def equal_size(network, reference, tolerance=0.02):
    """Check that a network of another family has as many parameters as the reference."""
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        return no(f"a network is wanted, not a {kind}; dip.networks.build makes one")
    if type(network) is type(reference):
        return no(f"that is a {type(network).__name__} again; another family is wanted")
    mine, theirs = parameter_count(network), parameter_count(reference)
    if abs(mine / theirs - 1) <= tolerance:
        return yes(f"{mine:,} parameters beside {theirs:,}")
    way = "narrower" if mine > theirs else "wider"
    return no(
        f"{mine:,} parameters, not {theirs:,}; make it {way} by about the root of "
        f"{max(mine, theirs) / max(1, min(mine, theirs)):.2f}, for a filter joins width to width"
    )


@check_of_function
def apart(answer):
    """Check ``apart(a, b)``: whether two lists of scores, one for each seed, do not overlap."""
    high, low, equal = [26.4, 26.5, 26.6], [25.1, 25.3, 25.2], [25.0, 25.0]
    cases = [
        (high, low, True, "here they do not overlap at all"),
        (low, high, True, "the second may be the higher one, too"),
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
        (equal, equal, False, "equal scores are not apart"),
    ]
    return decisions(
        answer,
        [
            ((a, b), right, f"for {a} and {b} it says {not right}; {hint}")
            for a, b, right, hint in cases
        ],
        "every seed of one above every seed of the other, whichever that is",
    )


@check
def one_factor(levels):
    """Check the learner's own ablation: one factor, one problem, three seeds.

    The answer is a dict: the name of each level -> list of runs, one for each seed.
    """
    if not isinstance(levels, dict) or len(levels) < 2:
        return no("hand in a dict with two levels at least: name -> runs")
    for name, runs in levels.items():
        if (verdict := _level(name, runs)) is not None:
            return verdict
    problems = [run.problem for runs in levels.values() for run in runs]
    if any(problem.truth is None for problem in problems):
        return no("without a truth there is nothing to compare")
    if not all(_same(problems[0], problem) for problem in problems):
        return no("all fits must be of the same problem, its noise included")
    changed = _changed([runs[0].recipe for runs in levels.values()])
    if not changed:
        return no("the levels have one and the same recipe")
    if len(changed) > 1:
        return no(f"several things change at once ({', '.join(sorted(changed))}); one at a time")
    best = {name: [run.oracle_psnr for run in runs] for name, runs in levels.items()}
    mean = {name: sum(scores) / len(scores) for name, scores in best.items()}
    top, second, *_ = sorted(mean, key=mean.get, reverse=True)
    clear = min(best[top]) > max(best[second])
    told = f"{top!r} is {mean[top] - mean[second]:.2f} dB above {second!r}"
    beyond = "no seeds overlap" if clear else "but their seeds overlap: no difference was shown"
    return yes(f"only {changed.pop()} changes; {told}, {beyond}")


def _level(name, runs):
    """Return the verdict on what is wrong with one level's runs, or None."""
    if not isinstance(runs, (list, tuple)):
        return no(f"level {name!r} must be a list of runs, one for each seed")
    if any(run is None for run in runs):
        return OPEN
    if not all(isinstance(run, Run) for run in runs):
        return no(f"level {name!r} must be a list of runs; dip.fit returns a Run")
    if len({run.seed for run in runs}) < 3:
        return no(f"level {name!r} needs three different seeds at least")
    if any(run.recipe != runs[0].recipe for run in runs):
        return no(f"within level {name!r} only the seed may change")
    return None


def _same(one, other):
    return one is other or one.task == other.task and one.observation.equal(other.observation)


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
