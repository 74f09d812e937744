"""The exercises that ask for a fit, a network or an image: right is right, a slip gets its hint."""

import numpy as np
import pytest
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check

OF_RUNS = {
    "cheaper": 2,
    "checkerboard": 2,
    "fooled": 1,
    "no_need_to_stop": 1,
    "no_prior": 1,
    "own_hole": 1,
    "own_network": 1,
    "tells_apart": 2,
    "without_mask": 1,
}


@pytest.mark.parametrize(("name", "count"), OF_RUNS.items())
def test_a_run_is_wanted(name, count):
    of_runs = getattr(check, name)
    assert of_runs(*[None] * count).right is None
    for answer in (3, torch.zeros(3, 8, 8), "run"):
        assert "dip.fit returns a Run" in of_runs(*[answer] * count).words


JUNK = [3, -1.5, "x", [], {}, {"a": 1, "b": 2}, (1, 2), object(), torch.zeros(3), np.nan, int, abs]


def test_no_check_raises_whatever_the_answer():
    """Lessons run from top to bottom, whatever learners hand in."""
    problem = dip.denoising(dip.images.load("camera", size=16), sigma=0.1)
    run, blind = (by_pixels(x, 1) for x in (problem.observation, torch.rand(1, 16, 24)))
    beside = {
        "cheaper": [run],
        "checkerboard": [run],
        "tells_apart": [run],
        "twin": [problem],
    }
    ready = {"OPEN", "Verdict", "function", "number", "reached"}
    names = [name for name in dir(check) if name not in ready and callable(getattr(check, name))]
    assert len(names) > 20
    for name in names:
        for answer in (*JUNK, run, blind):
            verdict = getattr(check, name)(answer, *beside.get(name, []))
            assert isinstance(verdict, check.Verdict) and verdict.words


@pytest.fixture(scope="module")
def cat():
    return dip.denoising(dip.images.load("chelsea", size=48), sigma=25 / 255)


def test_no_prior(cat):
    recipe = dip.Recipe(network="pixels", learning_rate=0.02, iterations=300)
    run = dip.fit(cat, recipe, progress=False)
    assert check.no_prior(run) and "nothing prefers" in check.no_prior(run).words
    assert "more iterations" in check.no_prior(dip.fit(cat, recipe, stop=5, progress=False)).words
    assert "hourglass" in check.no_prior(dip.fit(cat, stop=2, progress=False)).words


def test_a_network_of_ones_own(cat):
    good = nn.Sequential(
        nn.Conv2d(32, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(16, 16, 3, 1, 1),
        nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 3, 1), nn.Sigmoid(),
    )  # fmt: skip
    poor = nn.Sequential(nn.Conv2d(32, 3, 1), nn.Sigmoid())
    recipe = dip.Recipe(iterations=150)
    assert check.own_network(dip.fit(cat, recipe, good, progress=False))
    verdict = check.own_network(dip.fit(cat, recipe, poor, progress=False))
    assert verdict.right is False and "1x1" in verdict.words
    assert "network=" in check.own_network(dip.fit(cat, stop=2, progress=False)).words


def test_a_cheaper_recipe():
    problem = dip.denoising(dip.images.load("rocket", size=32), sigma=0.1, seed=0)
    other = dip.denoising(dip.images.load("coffee", size=32), sigma=0.1, seed=0)
    recipe = dip.lab(members=1, options={"down": (8, 8), "skip": (4, 4)})
    reference = dip.fit(problem, recipe, iterations=60, progress=False)
    assert "another image" in check.cheaper(dip.fit(other, recipe, iterations=1), reference).words
    assert "two thirds" in check.cheaper(reference, reference).words
    hasty = dip.fit(problem, recipe, iterations=2, progress=False)
    assert "loses more" in check.cheaper(hasty, reference).words
    shorter = dip.fit(problem, recipe, iterations=60, progress=False)
    shorter._rows[-1] = (60, reference.seconds / 2, *shorter._rows[-1][2:])  # a faster machine
    assert check.cheaper(shorter, reference).right


def test_a_rule_that_was_fooled():
    clean = dip.images.load("coffee", size=48)
    problem = dip.denoising(clean, sigma=50 / 255)
    wrong = dip.Problem(problem.observation, truth=clean, sigma=15 / 255)
    recipe = dip.lab(options={"down": (16, 32, 32), "skip": (4, 4, 4)}, iterations=200)
    counted = dip.fit(problem, recipe, iterations=3, progress=False)
    assert "no stopping rule" in check.fooled(counted).words
    blind = dip.fit(dip.Problem(problem.observation), recipe, stop="hold-out", progress=False)
    assert "no truth" in check.fooled(blind).words
    good = dip.fit(problem, recipe, stop="sure", progress=False)
    assert "at least" in check.fooled(good).words
    late = dip.fit(wrong, recipe, stop="discrepancy", progress=False)
    assert check.fooled(late).right


@pytest.fixture(scope="module")
def rocket():
    return dip.denoising(dip.images.load("rocket", size=32), sigma=25 / 255, seed=0)


def denoised(problem, iterations=2, **changes):
    recipe = dip.lab(members=1, input_noise=0, iterations=iterations, stop="count").replace(
        **changes
    )
    return dip.fit(problem, recipe, progress=False)


def test_what_is_no_such_fit(rocket):
    without = dip.Problem(rocket.observation)
    assert "truth" in check.no_need_to_stop(denoised(without, tv_weight=1e-5)).words
    assert "no structure" in check.no_need_to_stop(denoised(rocket, network="pixels")).words
    assert "no R" in check.no_need_to_stop(denoised(rocket)).words
    for changes in ({"input_noise": 0.01}, {"members": 2}):
        assert (
            "one network"
            in check.no_need_to_stop(denoised(rocket, tv_weight=1e-5, **changes)).words
        )
    assert "at least 300" in check.no_need_to_stop(denoised(rocket, tv_weight=1e-5)).words


def test_too_little_and_too_much(rocket):
    size = rocket.observation.numel()
    weak, good, strong = (denoised(rocket, 250, tv_weight=w / size) for w in (0.001, 0.3, 3))
    assert "more weight" in check.no_need_to_stop(weak, iterations=200).words
    assert check.no_need_to_stop(good, iterations=200)
    assert "less weight" in check.no_need_to_stop(strong, iterations=200).words


def by_pixels(observation, iterations, **changes):
    """Pixels come to everything equally fast: enough to try what a check says about a run."""
    recipe = dip.lab(network="pixels", options={}, learning_rate=0.02)
    recipe = recipe.replace(iterations=iterations, stop="count", **changes)
    return dip.fit(dip.Problem(observation), recipe, progress=False)


def test_a_checkerboard_and_its_control(monkeypatch):
    i = torch.arange(32)
    board = 0.1 + 0.8 * ((i[:, None] + i) % 2).float().repeat(1, 1, 1)
    stripes = board[:, :1].repeat(1, 32, 1)
    generator = torch.Generator().manual_seed(0)
    control = board.flatten()[torch.randperm(32 * 32, generator=generator)].view_as(board)
    first = by_pixels(board, 100)

    def words(other, iterations=100, **changes):
        return check.checkerboard(first, by_pixels(other, iterations, **changes)).words

    assert "neighbours" in check.checkerboard(by_pixels(stripes, 2), first).words
    assert "number of channels" in words(control.repeat(3, 1, 1), 2)
    assert "two values" in words(0.5 + 0.3 * (control - 0.5), 2)
    assert "repeats, too" in words(stripes, 2) and "repeats, too" in words(board, 2)
    assert "same recipe" in words(control, 99)
    hurried = by_pixels(board, 2), by_pixels(control, 2)
    assert "more iterations" in check.checkerboard(*hurried).words
    verdict = check.checkerboard(first, by_pixels(control, 100))
    assert verdict and "one channel" in verdict.words
    second = by_pixels(control, 100)
    monkeypatch.setattr(check.fits, "reached", lambda run, share: 10 if run is first else 16)
    assert "really like the board" in check.checkerboard(first, second).words


def test_a_network_that_tells_apart():
    clean = dip.images.load("astronaut", size=32)
    targets = dip.problems.impedance(clean, sigma=0.1, seed=0)
    x, shuffled = (targets[name].observation for name in ("image", "shuffled pixels"))
    image, other = by_pixels(x, 100), by_pixels(shuffled, 100)
    assert (
        "shuffled" in check.tells_apart(image, by_pixels(targets["noise"].observation, 100)).words
    )
    assert "same recipe" in check.tells_apart(image, by_pixels(shuffled, 99)).words
    assert "which level" in check.tells_apart(image, other).words
    assert "at most 3" in check.tells_apart(image, other, most=3).words
    assert check.tells_apart(image, other, ratio=0.9)
    by_adam = [by_pixels(target, 2, optimiser="adam") for target in (x, shuffled)]
    assert "keep muon" in check.tells_apart(*by_adam).words


def test_a_shuffled_image_that_is_never_reached():
    targets = dip.problems.impedance(dip.images.load("astronaut", size=64), sigma=0.1, seed=0)
    recipe = dip.lab(members=1, input_noise=0.0, iterations=60, stop="count")
    recipe = recipe.replace(options={**recipe.options, "skip": (0,) * 5})
    runs = [dip.fit(targets[n], recipe, progress=False) for n in ("image", "shuffled pixels")]
    assert "at most 5" in check.tells_apart(*runs, most=5).words
    verdict = check.tells_apart(*runs)
    assert verdict and "not reached at all" in verdict.words


def test_own_networks_count_like_any_other():
    run = dip.fit(
        dip.Problem(torch.rand(3, 32, 32)),
        dip.lab(iterations=2, stop="count"),
        network=nn.Sequential(nn.Conv2d(32, 3, 1), nn.Sigmoid()),
        progress=False,
    )
    assert check.reached(run, 0.99) == float("inf")


@pytest.fixture
def small():
    return dip.super_resolution(0.25 + 0.5 * dip.images.load("camera", size=64), factor=4)


def strange(problem, times):
    """The truth, and so many times the unseen part of random pixels."""
    noise = torch.rand(problem.truth.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    there = problem.operator.project(noise, torch.zeros_like(problem.observation))
    return problem.truth + times * there


def test_a_twin(small):
    assert check.twin(None, small).right is None
    assert check.twin(strange(small, 0.4), small)
    assert "truth itself" in check.twin(small.truth, small).words
    assert "larger change" in check.twin(strange(small, 0.05), small).words
    assert "between" in check.twin(strange(small, 2), small).words
    assert "between" in check.twin(torch.full_like(small.truth, torch.nan), small).words
    clipped = strange(small, 2).clamp(0, 1)
    assert "off by" in check.twin(clipped, small).words
    assert "shape" in check.twin(small.observation, small).words
    assert "not str" in check.twin("an image", small).words


def filled(problem, iterations=3):
    recipe = dip.lab("inpainting", network="pixels", options={}, optimiser="adam")
    recipe = recipe.replace(learning_rate=0.05, iterations=iterations, stop="count")
    return dip.fit(problem, recipe, progress=False)


@pytest.fixture
def clean():
    return dip.images.load("astronaut", size=32)


def test_a_hole_of_ones_own(clean):
    def cut(*where):
        mask = torch.ones(1, 32, 32)
        for rows, columns in where:
            mask[:, rows, columns] = 0
        return filled(dip.inpainting(clean, mask))

    assert "nothing is missing" in check.own_hole(filled(dip.denoising(clean))).words
    two = cut((slice(2, 8), slice(2, 8)), (slice(20, 28), slice(20, 28)))
    assert "not a rectangle" in check.own_hole(two).words
    assert "larger" in check.own_hole(cut((slice(2, 5), slice(2, 5)))).words
    verdict = check.own_hole(cut((slice(4, 12), slice(6, 14))))
    assert verdict and "biharmonic" in verdict.words


def test_a_fit_that_takes_holes_for_black(clean):
    masked = dip.inpainting(clean, dip.operators.Mask.text(32, 32))
    assert "an operator" in check.without_mask(filled(masked)).words
    assert (
        "masked one" in check.without_mask(filled(dip.Problem(clean + 0.01 * (clean == 0)))).words
    )
    x0 = dip.Problem(masked.observation)
    early = dip.fit(x0, dip.lab(members=1), iterations=2, progress=False)  # begins at the mean
    assert "more iterations" in check.without_mask(early).words
    assert check.without_mask(filled(x0, iterations=200))


PROBLEM = dip.denoising(dip.images.load("camera", size=16), sigma=0.1, seed=0)
PLAIN = dip.lab(members=1, iterations=2, stop="count")


def fits(problem=PROBLEM, seeds=(0, 1, 2), **changes):
    recipe = PLAIN.replace(options={"down": (4, 4), "skip": (4, 4)}).replace(**changes)
    return [dip.fit(problem, recipe, seed=seed, progress=False) for seed in seeds]


def test_an_ablation():
    base, none = fits(), fits(options={"skip": (0, 0)})
    assert check.one_factor(None).right is None
    assert check.one_factor({"base": [None] * 3, "none": [None] * 3}).right is None
    assert "two levels" in check.one_factor({"base": base}).words
    assert "two levels" in check.one_factor([base, none]).words
    assert "a list of runs" in check.one_factor({"base": base[0], "none": none[0]}).words
    assert "returns a Run" in check.one_factor({"base": [1, 2, 3], "none": none}).words
    assert "three different seeds" in check.one_factor({"base": base, "none": none[:2]}).words
    assert "three different seeds" in check.one_factor({"base": base, "none": none[:1] * 3}).words
    assert "only the seed" in check.one_factor({"base": base, "none": none[:2] + base[2:]}).words
    assert "one and the same" in check.one_factor({"base": base, "again": base}).words
    verdict = check.one_factor({"base": base, "none": none})
    assert verdict and "only skip changes" in verdict.words


def test_an_ablation_of_one_problem_and_one_factor():
    base = fits()
    other = dip.denoising(PROBLEM.truth, sigma=0.1, seed=1)
    blind = dip.Problem(PROBLEM.observation)
    both = fits(learning_rate=0.1, options={"skip": (0, 0)})
    assert (
        "same problem"
        in check.one_factor({"base": base, "fast": fits(other, learning_rate=0.1)}).words
    )
    words = check.one_factor({"base": fits(blind), "fast": fits(blind, learning_rate=0.1)}).words
    assert "truth" in words
    assert "learning_rate, skip" in check.one_factor({"base": base, "both": both}).words
    longer = fits(learning_rate=0.1, iterations=3)
    assert "iterations" in check.one_factor({"base": base, "fast": longer}).words


def test_depth_and_family_count_as_one_factor():
    base = fits()
    shallow = fits(options={"down": (4,), "skip": (4,)})
    assert "only depth changes" in check.one_factor({"base": base, "1 level": shallow}).words
    decoder = fits(network="decoder", options={"width": 8, "layers": 3})
    assert "only network changes" in check.one_factor({"base": base, "decoder": decoder}).words


def test_what_the_seeds_say_is_said(monkeypatch):
    base, fast = fits(), fits(learning_rate=0.1)
    for run, score in zip(base + fast, (20.0, 20.1, 20.2, 21.0, 21.1, 21.2)):
        monkeypatch.setattr(run, "_best", (score, 1, torch.zeros(1, 16, 16)))
    assert (
        "1.00 dB above 'base', no seeds overlap"
        in check.one_factor({"base": base, "fast": fast}).words
    )
    monkeypatch.setattr(fast[0], "_best", (20.1, 1, torch.zeros(1, 16, 16)))
    assert "no difference was shown" in check.one_factor({"base": base, "fast": fast}).words


DECAY = np.exp(-np.arange(60) / 20)


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        ((DECAY, 1.03 * DECAY), True, "right"),
        ((DECAY, np.where(DECAY < 0.4, 0, DECAY)), True, "right"),  # what comes later is free
        ((DECAY, DECAY**1.2), False, "fainter"),
        ((DECAY[:5], DECAY[:5]), False, "more steps"),
        ((DECAY, DECAY[:5]), False, "same length"),
        ((DECAY, np.full(60, np.nan)), False, "not finite"),
        (3, False, "the pair"),
        ("ab", False, "the pair"),
    ],
)
def test_a_fit_follows_its_prediction(answer, right, words):
    verdict = check.follows(answer)
    assert verdict.right is right and words in verdict.words
