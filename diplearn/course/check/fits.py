"""Checks of exercises whose answer is a fit, a network, an image, or the curves of a fit."""

import itertools
import math

import numpy as np
import torch

from ... import baselines, metrics
from ...fitting import fit
from ...operators import Identity, Mask
from ...recipes import Recipe
from ...run import Run
from .verdict import OPEN, check, check_of_runs, no, yes


@check_of_runs
def no_prior(run):
    """Lesson 01: a fit without a network, long enough to reproduce the noise."""
    if run.recipe.network != "pixels":
        return no(f'the network is {run.recipe.network!r}, not "pixels"')
    loss = run.history["loss"].iloc[-1]
    if loss > 1e-3:
        return no(f"the energy is still {loss:.4f}; pixels can reach 0: make more iterations")
    noisy = metrics.psnr(run.problem.observation, run.problem.need_truth("this check"))
    return yes(
        f"the best iterate has {run.history['psnr'].max():.1f} dB, the noisy image {noisy:.1f} dB; "
        "every pixel goes its own way to x₀, and nothing prefers the image to the noise"
    )


@check_of_runs
def own_network(run):
    """Lesson 01: a fit of the learner's own network, which should gain at least 1 dB."""
    if not run.own_network:
        return no("fit a module of your own: dip.fit(problem, network=...)")
    noisy = metrics.psnr(run.problem.observation, run.problem.need_truth("this check"))
    gain = run.history["psnr_average"].max() - noisy
    if gain < 1:
        return no(
            f"it runs, but its best average is {gain:+.1f} dB from the noisy image: try more "
            "iterations, or filters larger than 1x1, or a resolution that goes down and up again"
        )
    return yes(f"your structure alone gains {gain:.1f} dB, with no training set")


@check_of_runs
def no_need_to_stop(run, most=0.5, gain=5.0, iterations=300):
    """Lesson 02: a fit with structure and R together, which needs no stopping.

    A network that can make every image goes on towards the minimum of E + R, which the check
    computes by optimising the pixels directly. That image must be at most `most` dB below the best
    of the fit, and the best must gain `gain` dB on the noisy image.
    """
    if run.problem.truth is None:
        return no("this problem has no truth to compare with; use the lesson's problem")
    recipe = run.recipe
    if recipe.network == "pixels":
        return no("pixels have no structure, so that only R restores the image; use a network")
    if not recipe.tv_weight:
        return no("there is no R in the energy; add tv_weight=... to the recipe")
    if recipe.input_noise or recipe.members > 1:
        return no("use one network without input noise, so that R does the work")
    if run.stopped_at < iterations:
        return no(f"{run.stopped_at} iterations are too few to tell; make at least {iterations}")
    by_pixels = _PIXELS.replace(tv_weight=recipe.tv_weight, data_term=recipe.data_term)
    ends_in = fit(run.problem, by_pixels, progress=False)
    end = metrics.psnr(ends_in.last, run.problem.truth)
    lost = run.oracle_psnr - end
    gained = run.oracle_psnr - metrics.psnr(run.problem.observation, run.problem.truth)
    told = f"its best has {run.oracle_psnr:.1f} dB, and the minimum of E + R has {end:.1f} dB"
    if gained < gain:
        return no(f"the best average gains only {gained:.1f} dB; give R less weight")
    if lost > most:
        return no(f"{told}, so it must be stopped; give R more weight")
    return yes(f"{told}: wherever it ends, it loses little")


_PIXELS = Recipe(network="pixels", learning_rate=0.03, final_rate=0, iterations=400)


@check_of_runs
def checkerboard(board, control):
    """Lesson 03: fits to a checkerboard, and to a target like it that does not repeat."""
    x0, other = board.problem.observation, control.problem.observation
    if min(x0.diff(dim=-1).abs().min(), x0.diff(dim=-2).abs().min()) < 0.1:
        return no("all neighbours must differ; (row + column) % 2 makes a checkerboard")
    if other.shape != x0.shape:
        return no(
            f"the board has the shape {tuple(x0.shape)} and the control {tuple(other.shape)}: then "
            "they differ in more than one point; give both the same size and number of channels"
        )
    if abs(x0.mean() - other.mean()) > 0.05 or abs(x0.std() - other.std()) > 0.05:
        return no("the control must have the board's two values, each about equally often")
    if _repeats(other):
        return no("the control repeats, too; draw each of its pixels by itself, at random")
    if board.recipe != control.recipe:
        return no("the two fits must have the same recipe")
    first, second = reached(board, 0.8), reached(control, 0.8)
    if math.isinf(max(first, second)):
        return no("a fit has not explained 80 % of the variance; make more iterations")
    if second > 1.5 * first:
        return no(f"{first} and {second} iterations: is the control really like the board?")
    return yes(
        f"80 % after {first} iterations for the board, and after {second} for pixels that repeat "
        "nothing: the board is fast because it has one channel, and colour noise has three"
    )


def _repeats(image, most=0.2):
    """True if pixels are correlated with those one or two pixels away."""
    rest = image - image.mean()
    moved = [rest.roll((i, j), dims=(-2, -1)) for i in range(3) for j in range(3) if i or j]
    return max(abs((rest * other).mean()) for other in moved) > most * image.var()


@check_of_runs
def tells_apart(image, shuffled, ratio=4.0, most=60, optimiser="muon"):
    """Lesson 03: fits to an image and its shuffled pixels, which take `ratio` times as long.

    The network must make the difference, since another optimiser also changes the ratio.
    """
    if image.recipe != shuffled.recipe:
        return no("the two fits must have the same recipe")
    if image.recipe.optimiser != optimiser:
        return no(f"another optimiser changes the ratio, too; keep {optimiser}, change the network")
    same = [run.problem.observation.flatten(1).sort().values for run in (image, shuffled)]
    if same[0].shape != same[1].shape or not torch.allclose(*same, atol=1e-4):
        return no("the second target must be the first one's pixels, shuffled")
    first, second = reached(image, 0.8), reached(shuffled, 0.8)
    if first > most:
        return no(f"the image takes {first} iterations; it should take at most {most}")
    if second < ratio * first:
        return no(
            f"{first} and {second} iterations are too close; a skip connection passes fine detail "
            "straight from z to the output: on which level does this matter most?"
        )
    told = "is not reached at all" if math.isinf(second) else f"takes {second}"
    return yes(f"the image takes {first} iterations, the shuffled one {told}")


def reached(run, share):
    """Return the iteration at which a run had explained this share of its observation's variance.

    If the run never did, the result is infinity.
    """
    variance = float(run.problem.observation.var())
    there = run.history.index[run.history["loss"] <= (1 - share) * variance]
    return int(there.min()) if len(there) else math.inf


@check
def twin(answer, problem, most=25):
    """Lesson 05: an image with the truth's observation and a PSNR of at most `most` dB."""
    truth = problem.need_truth("this check")
    if not isinstance(answer, torch.Tensor) or answer.shape != truth.shape:
        what = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        return no(f"the answer must be an image of shape {tuple(truth.shape)}, not {what}")
    image = answer.detach().to(truth)
    lowest, highest = float(image.min()), float(image.max())
    if not (lowest >= -1e-4 and highest <= 1 + 1e-4):  # also true for NaN
        return no(
            f"its values lie between {lowest:.2f} and {highest:.2f}, outside [0, 1]; add less, or "
            "add it elsewhere"
        )
    off = float((problem.operator(image) - problem.observation.to(truth)).abs().max())
    if off > 0.002:
        return no(f"its small image is off by up to {off:.3f}; stay in the null space of A")
    like = metrics.psnr(image, truth)
    if like > most:
        words = "that is the truth itself" if math.isinf(like) else f"its PSNR is {like:.1f} dB"
        return no(f"{words}; make a larger change")
    return yes(f"{like:.1f} dB, and to A it is the same image")


@check_of_runs
def own_hole(run, least=0.02):
    """Lesson 06: a fit to an image with a rectangular hole of at least this share of the pixels."""
    if not isinstance(run.problem.operator, Mask):
        return no("nothing is missing; pass your mask to dip.inpainting(clean, mask)")
    missing = run.problem.operator.known[0].cpu() == 0
    rows, columns = missing.any(1).nonzero(), missing.any(0).nonzero()
    box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    if missing.sum() != box:
        return no("the hole is not a rectangle; set mask[:, top:bottom, left:right] = 0")
    share = float(missing.float().mean())
    if share < least:
        return no(f"only {share:.1%} of the image is missing; make the hole larger")
    truth = run.problem.need_truth("this check")
    filled = [image.cpu() - truth for image in (run.output, baselines.biharmonic(run.problem))]
    ours, smooth = (-10 * math.log10(each[:, missing].square().mean()) for each in filled)
    return yes(f"{ours:.1f} dB inside the hole; biharmonic filling has {smooth:.1f} dB there")


@check_of_runs
def without_mask(run):
    """Lesson 06: a fit to a masked image without its mask: missing pixels count as black."""
    if not isinstance(run.problem.operator, Identity):
        return no("this problem has an operator; make one without a mask: dip.Problem(x0)")
    black = (run.problem.observation == 0).all(0)
    if black.float().mean() < 0.02:
        return no("nothing is missing in this observation; use the masked one")
    there = float(run.last[:, black.to(run.last.device)].mean())
    if there > 0.1:
        return no("the letters are not back yet; make more iterations")
    return yes(
        f"the letters are back, {there:.2f} on average; E asked for black, and nothing "
        "told the network that the letters do not count"
    )


@check
def one_factor(levels):
    """Lesson 07: the learner's own ablation: one factor, one problem, three seeds.

    The answer is a dict: the name of each level -> list of runs, one for each seed.
    """
    if not isinstance(levels, dict) or len(levels) < 2:
        return no("the answer must be a dict with at least two levels: name -> runs")
    for name, runs in levels.items():
        if (verdict := _level(name, runs)) is not None:
            return verdict
    problems = [run.problem for runs in levels.values() for run in runs]
    if any(problem.truth is None for problem in problems):
        return no("this problem has no truth to compare with")
    if not all(_same(problems[0], problem) for problem in problems):
        return no("all fits must be of the same problem, with the same noise")
    changed = _changed([runs[0].recipe for runs in levels.values()])
    if not changed:
        return no("the levels have one and the same recipe")
    if len(changed) > 1:
        return no(f"several settings change ({', '.join(sorted(changed))}); change only one")
    best = {name: [run.oracle_psnr for run in runs] for name, runs in levels.items()}
    mean = {name: sum(scores) / len(scores) for name, scores in best.items()}
    top, second, *_ = sorted(mean, key=mean.get, reverse=True)
    clear = min(best[top]) > max(best[second])
    told = f"{top!r} is {mean[top] - mean[second]:.2f} dB above {second!r}"
    beyond = "no seeds overlap" if clear else "but their seeds overlap: no difference was shown"
    return yes(f"only {changed.pop()} changes; {told}, {beyond}")


def _level(name, runs):
    """Return the verdict if one level's runs are wrong, or None."""
    if not isinstance(runs, (list, tuple)):
        return no(f"level {name!r} must be a list of runs, one for each seed")
    if any(run is None for run in runs):
        return OPEN
    if not all(isinstance(run, Run) for run in runs):
        return no(f"level {name!r} must be a list of runs; dip.fit returns a Run")
    if len({run.seed for run in runs}) < 3:
        return no(f"level {name!r} needs at least three different seeds")
    if any(run.recipe != runs[0].recipe for run in runs):
        return no(f"within level {name!r} only the seed may change")
    return None


def _same(one, other):
    return one is other or one.task == other.task and one.observation.equal(other.observation)


def _changed(recipes):
    """Return the names of the fields, or of the network's options, in which recipes differ."""
    changed = set()
    for a, b in itertools.combinations(recipes, 2):
        one, two = vars(a), vars(b)
        changed |= {k for k in one if k not in ("name", "options") and one[k] != two[k]}
        if a.network == b.network:  # networks of another family have other options
            keys = set(a.options) | set(b.options)
            changed |= {k for k in keys if a.options.get(k) != b.options.get(k)}
    if changed & {"down", "up", "skip"} and changed <= {"down", "up", "skip"}:
        depths = {len(r.options.get("down", ())) for r in recipes}
        if len(depths) > 1:  # removing a level also removes its skip connection
            return {"depth"}
    return changed


@check_of_runs
def fooled(run, least=1.0):
    """Lesson 08: a fit whose stopping rule was fooled and lost at least this many decibels."""
    if run.problem.truth is None:
        return no("this problem has no truth to compare with; add the noise yourself")
    rule = run.rule_name  # the rule need not have stopped the fit
    if rule in ("count", "oracle") or run.cut_short:
        return no(f"{rule!r} is no stopping rule, or the fit was cut short; name a rule with stop=")
    lost = run.oracle_psnr - run.psnr
    told = f"{rule} chose iteration {run.chosen_at} and lost {lost:.2f} dB"
    if lost < least:
        return no(f"{told}; it should lose at least {least:g} dB")
    return yes(f"{told} (the best was iteration {run.oracle_at})")


@check_of_runs
def cheaper(run, reference):
    """Lesson 09: a fit that is as good as the reference in two thirds of the time."""
    if not torch.equal(run.problem.observation, reference.problem.observation):
        return no("the fit is of another image; use the problem of the reference")
    share, lost = run.seconds / reference.seconds, reference.psnr - run.psnr
    told = f"{share:.0%} of the time, {-lost:+.2f} dB"
    if share > 0.67:
        return no(f"{told}; it should take at most two thirds of the time")
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
        return no("the answer must be the pair (predicted, measured)")
    if predicted.ndim != 1 or predicted.shape != measured.shape or len(predicted) < 2:
        return no("the two curves must have the same length")
    if not (np.isfinite(predicted).all() and np.isfinite(measured).all()):
        return no("a curve is not finite; is the step size below 2 / λ₁?")
    if predicted.min() > until * predicted[0]:
        return no("more than half of the energy is left at the end: make more steps")
    end = int(np.argmax(predicted <= until * predicted[0])) + 1
    off = 100 * float(np.abs(measured[:end] / predicted[:end] - 1).max())
    if off > 100 * within:
        return no(
            f"the curves are up to {off:.0f} % apart; the less the weights have to move, the less "
            "K changes: fit a fainter image"
        )
    return yes(f"within {off:.0f} % until half of the energy is gone")
