"""Exercises that ask for a fit, a network, an image, or the curves of a fit."""

import itertools
import math

import numpy as np
import torch
from torch import nn

from ... import baselines, metrics
from ...networks import parameter_count
from ...operators import Identity, Mask
from ...run import Run
from .verdict import OPEN, check, check_of_runs, no, yes


@check_of_runs
def no_prior(run):
    """Lesson 01: a fit without a network, long enough to reproduce the noise."""
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
    """Lesson 01: a fit of the learner's own network: it should gain at least 1 dB."""
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


@check_of_runs
def no_need_to_stop(run, most=0.5, gain=5.0, iterations=600):
    """Lesson 02: a long fit in which structure and R work together, so that nobody has to stop it.

    Its last average is at most `most` dB below its best, which gains `gain` dB on the noisy image.
    """
    if run.problem.truth is None:
        return no("without a truth nobody can tell; take the lesson's problem")
    recipe = run.recipe
    if recipe.network == "pixels":
        return no("the pixels have no structure; that is R alone")
    if not recipe.tv_weight:
        return no("there is no R in it; add tv_weight=... to the recipe")
    if recipe.input_noise or recipe.members > 1:
        return no("use one network without input noise, so that R does the work")
    if run.stopped_at < iterations:
        return no(f"{run.stopped_at} iterations prove little; make at least {iterations}")
    lost = run.oracle_psnr - run.history["psnr_average"].iloc[-1]
    gained = run.oracle_psnr - metrics.psnr(run.problem.observation, run.problem.truth)
    if lost > most:
        return no(f"it still falls {lost:.1f} dB below its best; weigh R more")
    if gained < gain:
        return no(f"it no longer falls, but gains only {gained:.1f} dB; weigh R less")
    return yes(
        f"{lost:.1f} dB below its best after {run.stopped_at} iterations, and that best is "
        f"{gained:.1f} dB above the noisy image"
    )


@check_of_runs
def checkerboard(run):
    """Lesson 03: a fit to a checkerboard of single pixels."""
    x0 = run.problem.observation
    if min(x0.diff(dim=-1).abs().min(), x0.diff(dim=-2).abs().min()) < 0.1:
        return no("neighbours must differ everywhere; (row + column) % 2 makes a checkerboard")
    there = reached(run, 0.8)
    if math.isinf(there):
        return no("80 % of its variance is not explained; fit on")
    return yes(
        f"80 % after {there} iterations, long before noise; it is all high frequency, but one "
        "small tile repeated, and filters that are shared over the image love what repeats"
    )


@check_of_runs
def tells_apart(image, shuffled, ratio=4.0, most=60, optimiser="muon"):
    """Lesson 03: two fits, of which shuffled pixels take `ratio` times as long as their image.

    The network must make the difference: another optimiser changes the ratio, too.
    """
    if image.recipe != shuffled.recipe:
        return no("the two fits must have the same recipe")
    if image.recipe.optimiser != optimiser:
        return no(f"that is the optimiser's doing; keep {optimiser}, and change the network")
    same = [run.problem.observation.flatten(1).sort().values for run in (image, shuffled)]
    if same[0].shape != same[1].shape or not torch.allclose(*same, atol=1e-4):
        return no("the second target must be the first one's pixels, shuffled")
    first, second = reached(image, 0.8), reached(shuffled, 0.8)
    if first > most:
        return no(f"the image takes {first} iterations; at most {most} wanted")
    if second < ratio * first:
        return no(
            f"{first} and {second} iterations; a skip hands fine detail straight from z to the "
            "output: on which level does that matter most?"
        )
    told = "is not reached at all" if math.isinf(second) else f"takes {second}"
    return yes(f"the image takes {first} iterations, the shuffled one {told}")


def reached(run, share):
    """Return the iteration in which a run had explained this share of the observation's variance.

    Infinity if it never did.
    """
    variance = float(run.problem.observation.var())
    there = run.history.index[run.history["loss"] <= (1 - share) * variance]
    return int(there.min()) if len(there) else math.inf


@check
def twin(answer, problem, most=25):
    """Lesson 05: an image unlike the truth (`most` dB) that the operator cannot tell from it."""
    truth = problem.need_truth("this check")
    if not isinstance(answer, torch.Tensor) or answer.shape != truth.shape:
        what = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        return no(f"an image of the shape {tuple(truth.shape)} is wanted, not {what}")
    image = answer.detach().to(truth)
    lowest, highest = float(image.min()), float(image.max())
    if not (lowest >= -1e-4 and highest <= 1 + 1e-4):  # NaN comes here, too
        return no(f"its values lie between {lowest:.2f} and {highest:.2f}; add less, or elsewhere")
    off = float((problem.operator(image) - problem.observation.to(truth)).abs().max())
    if off > 0.002:
        return no(f"its small image is off by up to {off:.3f}; only the null space is free")
    like = metrics.psnr(image, truth)
    if like > most:
        words = "that is the truth itself" if math.isinf(like) else f"still {like:.1f} dB alike"
        return no(f"{words}; be bolder")
    return yes(f"{like:.1f} dB, and to A it is the same image")


@check_of_runs
def own_hole(run, least=0.02):
    """Lesson 06: a fit to an image with a rectangle cut out: at least this share of the pixels."""
    if not isinstance(run.problem.operator, Mask):
        return no("nothing is missing; hand your mask in as dip.inpainting(clean, mask)")
    missing = run.problem.operator.known[0].cpu() == 0
    rows, columns = missing.any(1).nonzero(), missing.any(0).nonzero()
    box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    if missing.sum() != box:
        return no("what is missing is not a rectangle; set mask[:, top:bottom, left:right]")
    share = float(missing.float().mean())
    if share < least:
        return no(f"only {share:.1%} of the image is missing; be bolder")
    truth = run.problem.need_truth("this check")
    filled = [image.cpu() - truth for image in (run.output, baselines.biharmonic(run.problem))]
    ours, smooth = (-10 * math.log10(each[:, missing].square().mean()) for each in filled)
    return yes(f"{ours:.1f} dB inside the hole; biharmonic filling has {smooth:.1f} dB there")


@check_of_runs
def without_mask(run):
    """Lesson 06: a fit to a masked image in which the holes count as black."""
    if not isinstance(run.problem.operator, Identity):
        return no("that problem has an operator; dip.Problem(x0) alone has none")
    black = (run.problem.observation == 0).all(0)
    if black.float().mean() < 0.02:
        return no("nothing is missing in this observation; take the masked one")
    there = float(run.last[:, black.to(run.last.device)].mean())
    if there > 0.1:
        return no("the letters are still coming; fit on")
    return yes(
        f"the letters are back, {there:.2f} on average; E asked for black, and letters have "
        "sharp, repeated shapes that a network likes as much as the image's own"
    )


@check
def equal_size(network, reference, tolerance=0.02):
    """Lesson 07: a network of another family with as many parameters as the reference."""
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


@check
def one_factor(levels):
    """Lesson 07: the learner's own ablation: one factor, one problem, three seeds.

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


@check_of_runs
def fooled(run, least=1.0):
    """Lesson 08: a fit whose stopping rule was fooled, and lost at least this many decibels."""
    if run.problem.truth is None:
        return no("without a truth nobody can tell; make the noise yourself")
    rule = run.rule_name  # a rule may be fooled so well that it never stops the fit
    if rule in ("count", "oracle") or run.cut_short:
        return no(f"{rule!r} is no rule, or had no time; name one with stop=")
    lost = run.oracle_psnr - run.psnr
    told = f"{rule} chose iteration {run.chosen_at} and lost {lost:.2f} dB"
    if lost < least:
        return no(f"{told}; {least:g} dB are wanted")
    return yes(f"{told} (the best was iteration {run.oracle_at})")


@check_of_runs
def cheaper(run, reference):
    """Lesson 09: a fit that is as good as the reference in two thirds of the time."""
    if not torch.equal(run.problem.observation, reference.problem.observation):
        return no("that is another image; compare on the same problem")
    share, lost = run.seconds / reference.seconds, reference.psnr - run.psnr
    told = f"{share:.0%} of the time, {-lost:+.2f} dB"
    if share > 0.67:
        return no(f"{told}; two thirds of the time are wanted")
    if lost > 0.5:
        return no(f"{told}; that loses more than half a decibel")
    return yes(told)


@check
def follows(curves, within=0.05, until=0.5):
    """Lesson 10: a measured energy that stays `within` its prediction while it falls to `until`.

    The answer is a pair of curves, predicted and measured, with a value for each step.
    """
    try:
        predicted, measured = (np.asarray(curve, dtype=float) for curve in curves)
    except (TypeError, ValueError):
        return no("hand in the pair (predicted, measured), as it is returned")
    if predicted.ndim != 1 or predicted.shape != measured.shape or len(predicted) < 2:
        return no("two curves of the same length are wanted")
    if not (np.isfinite(predicted).all() and np.isfinite(measured).all()):
        return no("a curve is not finite; is the step size below 2 / λ₁?")
    if predicted.min() > until * predicted[0]:
        return no("half of the energy is still there at the end: more steps")
    end = int(np.argmax(predicted <= until * predicted[0])) + 1
    off = 100 * float(np.abs(measured[:end] / predicted[:end] - 1).max())
    if off > 100 * within:
        return no(
            f"{off:.0f} % apart on the way; the less the weights have to move, the less K changes: "
            "ask for a fainter image"
        )
    return yes(f"within {off:.0f} % until half of the energy is gone")
