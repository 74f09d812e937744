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
    return images.load("coffee", size=64)


@pytest.fixture(scope="module")
def problem(clean):
    return dip.denoising(clean, SIGMA)


@pytest.fixture(scope="module")
def run(problem):
    return fit(problem, iterations=160)


def fit(problem, pilot="nl-ridge", iterations=60, **options):
    """Fit with the recipe guided, for long enough to be of use to the mixture."""
    recipe = recipes.guided(iterations=iterations)
    return dip.fit(problem, recipe, stop=Fusion(pilot), progress=False, **options)


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
    run = fit(problem, _perfect(clean), iterations=12)
    assert run.rule.weight < 0.02
    assert run.psnr > 40


def test_hopeless_pilot_gets_no_weight(problem):
    run = fit(problem, lambda noisy, _: noisy * 0, iterations=100)
    assert run.rule.weight > 0.97
    assert run.psnr > run.oracle_psnr - 0.3


def test_pilot_that_repeats_the_noise_gets_no_weight(problem):
    """It has the smallest distance from the observation of all images, and SURE is not deceived."""
    run = fit(problem, lambda noisy, _: noisy, iterations=100)
    assert run.rule.weight > 0.85


def _perfect(clean):
    return lambda noisy, sigma: noise.clipped_mean(clean, SIGMA)


def test_clipped_noise_is_corrected(run, clean):
    """In the black parts of this image the mean of the clipped noise is up to 10 grey values."""
    assert run.psnr > dip.psnr(run.rule.state["chosen"], clean) + 0.3


def test_black_without_noise_is_left(clean):
    framed = clean * 0.6 + 0.2  # two deviations of the noise from black and from white
    noisy = dip.degrade.gaussian_noise(framed, SIGMA)
    noisy[:, :, :16] = 0
    run = fit(dip.Problem(noisy, sigma=SIGMA))
    assert torch.equal(run.rule.chosen, run.rule.state["chosen"])


def test_unknown_level_is_measured(problem, clean):
    rule = Fusion()
    rule.prepare(dip.Problem(problem.observation), recipes.guided())
    assert rule.levels == pytest.approx(SIGMA, rel=0.15)  # the noise is clipped


def test_noise_that_depends_on_brightness_gets_a_map():
    clean = images.load("coffee", size=96)
    noisy = dip.degrade.poisson_noise(clean, peak=40)
    rule = Fusion()
    rule.prepare(dip.Problem(noisy), recipes.guided())
    assert rule.levels.shape == clean.shape
    bright, dark = rule.levels[clean > 0.8].mean(), rule.levels[clean < 0.2].mean()
    assert bright / dark > 1.5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda c: dip.inpainting(c, 0.5, sigma=0.1), "fusion is for denoising"),
        (lambda c: dip.Problem(c, sigma=0.0), "needs noise"),
        (lambda c: dip.Problem(torch.full_like(c, 0.5)), "needs noise"),
        (lambda c: dip.Problem(c), "too weak to be measured"),
        (lambda c: dip.jpeg(c), "this is jpeg"),
    ],
)
def test_refuses(clean, make, words):
    with pytest.raises(dip.InputError, match=words):
        dip.fit(make(clean), recipes.guided())
    assert recipes.best(make(clean)).name == "lab"


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
        fit(problem, lambda noisy, _: image)


def test_requested_iterations_are_a_limit(problem):
    """The number does not replace the rule: without the rule there is no mixture."""
    run = dip.fit(problem, "guided", iterations=20, progress=False)
    assert (run.rule_name, run.stopped_at) == ("fusion", 20)
    assert run.rule.weight < 1


def test_one_network(problem):
    recipe = recipes.guided(members=1, iterations=100)
    run = dip.fit(problem, recipe, progress=False)
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
    whole, halt = fit(problem, iterations=40), threading.Event()
    part = fit(
        problem, iterations=40, halt=halt, save=tmp_path / "part.dip",
        callback=lambda run, step: halt.set() if step.iteration == 25 else None,
    )  # fmt: skip
    assert part.stopped_at == 25
    again = dip.resume(dip.Run.load(tmp_path / "part.dip"), progress=False)
    assert again.stopped_at == whole.stopped_at
    assert torch.equal(again.output, whole.output)


def test_resumed_beyond_its_end_it_goes_on_mixing(problem):
    """A count in its place would return the average, which is worse by decibels."""
    run = fit(problem, iterations=60)
    before, tensors = run.psnr, run.packed[0]
    run.stopped_by = "fusion"  # when it stops depends on the processor
    tensors["rule.stop"] = torch.ones_like(tensors["rule.stop"])
    again = dip.resume(run, 80, progress=False)
    assert (again.stopped_at, again.rule_name) == (80, "fusion")
    assert again.chosen_at > 60
    assert again.psnr > max(before - 0.3, again.oracle_psnr)


def test_image_is_corrected_once(run, monkeypatch):
    """`run.rule.chosen` is read often, and the correction is slow."""
    image = run.rule.chosen
    monkeypatch.setattr(noise, "unclip", lambda *_: pytest.fail("corrected again"))
    assert run.rule.chosen is image


def test_own_pilot_is_not_saved(problem, tmp_path):
    with pytest.raises(dip.InputError, match="cannot be saved with .function"):
        fit(problem, lambda noisy, _: noisy, save=tmp_path / "run.dip")


def test_nl_ridge_lets_the_fit_go_on_in_between(problem):
    """Its work comes in several parts, and the last one returns the image."""
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


def test_where_neighbours_have_similar_noise_the_pilot_is_all(tmp_path):
    clean = images.load("coffee", size=96)
    problem = dip.camera(clean, iso=6400)
    assert recipes.best(problem).name == "guided"
    run = dip.fit(problem, "guided", iterations=400, save=tmp_path / "run.dip", progress=False)
    assert run.rule.weight == 0 and run.stopped_by == "fusion" and run.stopped_at < 100
    told = 2 * noise.level_map(problem.observation)
    pilot = nl_ridge.denoise(problem.observation, told).clamp(0, 1)
    assert torch.allclose(run.output, pilot, atol=1e-5)
    assert run.rule.made_of == "NL-Ridge alone"
    once = nl_ridge.denoise(problem.observation, told / 2)
    assert dip.psnr(run.output, clean) > dip.psnr(once, clean) + 0.5
    end = run.stopped_at
    for more in (1, 10):  # from the file: it goes on, and the pilot's image stays
        run = dip.resume(dip.Run.load(tmp_path / "run.dip"), end + more, save=tmp_path / "run.dip")
        assert run.stopped_at == end + more and torch.allclose(run.output, pilot, atol=1e-5)


def test_a_little_similarity_is_enough(clean):
    white = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noise = 0.06 * (white + 0.25 * white.roll(1, -1) + 0.25 * white.roll(1, -2))
    rule = Fusion()
    rule.prepare(dip.Problem((clean + noise).clamp(0, 1)), recipes.guided())
    assert rule.alone
    rule.prepare(dip.Problem((clean + noise).clamp(0, 1), sigma=0.06), recipes.guided())
    assert not rule.alone  # who states a level knows the noise


def test_the_middle_of_a_large_image_decides():
    """As for `best`: else the recipe that it takes might refuse the whole image."""
    clean = images.load("coffee", size=400)
    noisy = dip.degrade.gaussian_noise(clean, SIGMA)
    noisy[:, :60] = dip.degrade.camera(clean, iso=6400)[:, :60]
    rule = Fusion()
    rule.prepare(dip.Problem(noisy), recipes.guided())
    assert not rule.alone
