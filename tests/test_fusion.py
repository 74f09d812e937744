"""The rule that mixes a fit with another denoiser, and the recipes that use it."""

import threading

import pytest
import torch

import diplearn as dip
from diplearn import baselines, images, nl_ridge, noise, recipes, stopping
from diplearn.stopping import Fusion

SIGMA = 25 / 255


@pytest.fixture(scope="module")
def clean():
    return images.load("camera", size=64)


@pytest.fixture(scope="module")
def problem(clean):
    return dip.denoising(clean, SIGMA)


@pytest.fixture(scope="module")
def run(problem):
    return dip.fit(problem, "guided", progress=False)


def test_mixture_is_better_than_both(run, problem, clean):
    pilot = dip.psnr(baselines.nl_ridge(problem), clean)
    assert run.psnr > max(pilot, run.oracle_psnr) + 0.1
    assert 0.2 < run.rule.weight < 0.9


def test_weight_is_that_of_the_truth(run, problem, clean):
    """The weight that SURE finds is near the one that the truth would give."""
    rule = run.rule
    fit = rule._image + (rule.state["chosen"] - rule._image) / rule.weight
    target = noise.clipped_mean(clean, SIGMA)  # what noisy pixels are in the mean
    apart, toward = fit - rule._image, target - rule._image
    best = (apart * toward).sum() / apart.square().sum()
    assert rule.weight == pytest.approx(best.item(), abs=0.12)


def test_estimated_error_is_the_error(run, clean):
    target = noise.clipped_mean(clean, SIGMA)
    error = (run.rule.state["chosen"] - target).square().mean().sqrt()
    assert run.rule.state["lowest"].sqrt().item() == pytest.approx(error.item(), rel=0.2)


def test_hopeless_fit_gets_no_weight(problem, clean):
    """Ten iterations make a grey fog: the pilot is returned as it is."""
    recipe = recipes.guided(iterations=12, learning_rate=1e-5)
    run = dip.fit(problem, recipe, stop=Fusion(pilot=_perfect(clean)), progress=False)
    assert run.rule.weight < 0.02
    assert run.psnr > 35


def test_hopeless_pilot_gets_no_weight(problem):
    run = dip.fit(problem, "guided", stop=Fusion(pilot=lambda noisy, _: noisy * 0), progress=False)
    assert run.rule.weight > 0.97
    assert run.psnr > run.oracle_psnr - 0.6


def test_pilot_that_repeats_the_noise_gets_no_weight(problem):
    """It has the smallest distance from the observation of all images, and SURE is not deceived."""
    run = dip.fit(problem, "guided", stop=Fusion(pilot=lambda noisy, _: noisy), progress=False)
    assert run.rule.weight > 0.85


def _perfect(clean):
    return lambda noisy, sigma: noise.clipped_mean(clean, SIGMA)


def test_clipped_noise_is_corrected():
    """Half of the image is black, where the mean of the clipped noise is 10 grey values."""
    clean = torch.full((1, 64, 64), 0.5)
    clean[:, :, :32] = 0
    run = dip.fit(dip.denoising(clean, SIGMA), "guided", progress=False)
    assert run.rule.state["chosen"][:, :, 4:28].mean() > 7 / 255
    assert run.output[:, :, 4:28].mean() < 3 / 255


def test_black_without_noise_is_left(clean):
    framed = clean * 0.8 + 0.1
    noisy = dip.degrade.gaussian_noise(framed, SIGMA)
    noisy[:, :, :16] = 0
    run = dip.fit(dip.Problem(noisy, sigma=SIGMA), "guided", progress=False)
    assert torch.equal(run.rule.chosen, run.rule.state["chosen"])


def test_unknown_level_is_measured(problem, clean):
    run = dip.fit(dip.Problem(problem.observation, truth=clean), "guided", progress=False)
    assert not torch.is_tensor(run.rule.levels)
    assert run.psnr > dip.psnr(baselines.nl_ridge(problem), clean)


def test_noise_that_depends_on_brightness_gets_a_map():
    clean = images.load("coffee", size=96)
    noisy = dip.degrade.poisson_noise(clean, peak=40)
    rule = Fusion()
    rule.prepare(dip.Problem(noisy), recipes.guided())
    assert rule.levels.shape == clean.shape
    bright, dark = rule.levels[clean > 0.8].mean(), rule.levels[clean < 0.2].mean()
    assert bright / dark > 1.5


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (lambda c: dip.inpainting(c, 0.5, sigma=0.1), "fusion is for denoising"),
        (lambda c: dip.Problem(c, sigma=0.0), "needs noise"),
        (lambda c: dip.problems.camera(c, iso=6400), "alike in neighbouring pixels"),
        (lambda c: dip.jpeg(c), "this is jpeg"),
    ],
)
def test_refuses(problem, words):
    clean = images.load("coffee", size=64)
    with pytest.raises(dip.InputError, match=words):
        dip.fit(problem(clean), "guided" if "jpeg" not in words else recipes.guided())
    assert recipes.best(problem(clean)).name == "lab"


def test_recipes(problem):
    assert recipes.best(problem).name == "guided"
    assert recipes.choose("best", problem) == recipes.guided()
    with pytest.raises(dip.InputError, match="guided denoises"):
        recipes.guided("jpeg")
    with pytest.raises(dip.InputError, match="no pilot .*nl-ridge"):
        Fusion("median")
    with pytest.raises(dip.InputError, match="neither a name nor a function"):
        Fusion(3)


@pytest.mark.parametrize("image", [torch.zeros(1, 8, 8), torch.full((1, 64, 64), torch.nan), None])
def test_pilot_that_returns_nonsense(problem, image):
    with pytest.raises(dip.InputError, match="the pilot must return"):
        dip.fit(problem, "guided", stop=Fusion(lambda noisy, _: image), progress=False)


def test_requested_iterations_are_a_limit(problem):
    """The number does not replace the rule: without the rule there is no mixture."""
    run = dip.fit(problem, "guided", iterations=50, progress=False)
    assert (run.rule_name, run.stopped_at) == ("fusion", 50)
    assert run.rule.weight < 1


def test_one_network(problem):
    run = dip.fit(problem, recipes.guided(members=1), progress=False)
    assert run.psnr > run.oracle_psnr


def test_stopped_before_the_pilot_is_ready(problem):
    """Then the average is what there is."""
    halt = threading.Event()
    halt.set()
    run = dip.fit(problem, "guided", halt=halt, progress=False)
    assert (run.stopped_at, run.rule.weight) == (1, 1)
    assert torch.equal(run.output, run.average.clamp(0, 1))


def test_resumed(problem, tmp_path):
    """A fit that was saved, loaded and continued is the fit that was never interrupted."""
    whole = dip.fit(problem, "guided", iterations=70, progress=False)
    halt = threading.Event()
    part = dip.fit(
        problem, "guided", iterations=70, progress=False, halt=halt, save=tmp_path / "part.dip",
        callback=lambda run, step: halt.set() if step.iteration == 45 else None,
    )  # fmt: skip
    assert part.stopped_at == 45
    again = dip.resume(dip.Run.load(tmp_path / "part.dip"), progress=False)
    assert again.stopped_at == 70
    assert torch.equal(again.output, whole.output)


def test_own_pilot_is_not_saved(problem, tmp_path):
    with pytest.raises(dip.InputError, match="cannot be saved with .*lambda"):
        dip.fit(
            problem, "guided", stop=Fusion(lambda noisy, _: noisy), save=tmp_path / "run.dip",
            progress=False,
        )  # fmt: skip


def test_parts_are_the_whole(problem):
    work, parts = nl_ridge.in_parts(problem.observation, SIGMA), 0
    while True:
        try:
            next(work)
            parts += 1
        except StopIteration as done:
            assert torch.equal(done.value, nl_ridge.denoise(problem.observation, SIGMA))
            break
    assert parts >= 3


def test_rules_are_listed():
    assert stopping.BY_NAME["fusion"] is Fusion
