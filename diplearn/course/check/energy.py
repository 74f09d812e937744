"""Checks of lesson 02."""

from functools import partial

import torch
import torch.nn.functional as F

from ... import metrics
from ...energy import total_variation
from .verdict import check_of_function, check_of_runs, function, no, number, yes

# The weight from which on the best image of two pixels is flat.
two_pixels = partial(
    number,
    expected=0.25,
    why="a = 0.8 − w and b = 0.3 + w meet at w = 0.25",
    slips={
        0.5: "both pixels move, each by w",
        0.55: "that is the flat image's value",
        0.15: "how far apart are the two pixels?",
    },
)

# The β of the prior that belongs to λ = 0.14 at σ = 25/255.
_WEIGHT, _SIGMA = 0.14, 25 / 255
beta = partial(
    number,
    expected=_WEIGHT / (2 * _SIGMA**2),
    why="β = λ / 2σ²; with twice the σ, λ is four times as large",
    slips={
        _WEIGHT / _SIGMA**2: "the Gaussian has a 2 in its exponent",
        2 * _SIGMA**2 * _WEIGHT: "the other way round",
        _WEIGHT / (2 * 25**2): "σ must be in the units of [0, 1]",
        _WEIGHT / (2 * _SIGMA): "σ must be squared",
    },
)


@check_of_function
def tv_function(answer):
    """Check ``tv(image)``: the isotropic total variation, summed over the pixels."""
    x = torch.rand(3, 24, 31, generator=torch.Generator().manual_seed(0))
    across, down = x.diff(dim=2), x.diff(dim=1)
    a, d = across[:, :-1], down[..., :-1]
    squares = a.square() + d.square()
    around = (x - x.roll(1, 1)).square() + (x - x.roll(1, 2)).square()
    anisotropic = "|∂x| + |∂y| makes slanted edges dearer than upright ones; √(∂x² + ∂y²) does not"
    slips = {
        across.abs().sum() + down.abs().sum(): anisotropic,
        a.abs().sum() + d.abs().sum(): anisotropic,
        squares.sum(): "the root is missing: without it, one sharp edge costs more than a ramp",
        squares.sqrt().mean(): "that is the mean; the sum is asked for",
        squares.sum().sqrt(): "take the root at each pixel, and then the sum",
        around.sqrt().sum(): "roll() joins the two ends of the image",
        (a + d).abs().sum(): "square each difference first",
    }
    why = "the lengths of all the gradients, added up"
    # With the border repeated, the last row and column count, too, with one difference: as good.
    wider = total_variation(F.pad(x[None], (0, 1, 0, 1), mode="replicate")[0])
    return function(answer, [x], wider, why, {}) or function(
        answer, [x], total_variation(x), why, slips
    )


@check_of_runs
def no_need_to_stop(run, most=0.5, gain=5.0, iterations=600):
    """Check a long fit in which structure and R work together, so that nobody has to stop it.

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
