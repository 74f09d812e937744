"""Stopping rules: they stop where they say, and say beforehand where they do not apply."""

import pytest
import torch

import diplearn as dip
from diplearn import images
from diplearn.errors import InputError
from diplearn.fitting import Step
from diplearn.operators import gaussian_noise
from diplearn.stopping import Count, Discrepancy, choose, clipped_variance


def step(iteration, picture):
    return Step(iteration, torch.tensor(0.0), picture, picture, [picture], 0.0)


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("name", ["hubble", "chelsea", "page"])
def test_clipping_takes_away_as_much_noise_as_predicted(name, sigma):
    clean = images.load(name, size=128)
    errors = [(gaussian_noise(clean, sigma, seed) - clean).square().mean() for seed in range(4)]
    predicted = clipped_variance(clean, sigma)
    assert torch.stack(errors).mean() == pytest.approx(float(predicted), rel=0.02)
    assert predicted < sigma**2


def test_the_truth_satisfies_the_discrepancy_and_a_blur_does_not():
    clean = images.load("chelsea", size=128)
    rule = Discrepancy(factor=1.03)
    problem = dip.denoising(clean, sigma=0.1)
    rule.prepare(problem, dip.lab())
    blurred = dip.Blur(4)(clean)
    assert not rule(step(100, blurred))
    assert rule(step(100, clean))
    assert not rule(step(5, clean))  # never in the first few iterations


def test_the_noise_level_is_estimated_where_nobody_states_it():
    clean = images.load("chelsea", size=128)
    photo = dip.Problem(dip.denoising(clean, sigma=0.1).observation)
    rule = Discrepancy()
    rule.prepare(photo, dip.lab())
    assert rule.sigma == pytest.approx(0.1, rel=0.15)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: dip.super_resolution(x),
        lambda x: dip.inpainting(x),
        lambda x: dip.jpeg(x),
        lambda x: dip.denoising(x, sigma=0),
    ],
)
def test_a_rule_that_does_not_apply_says_so_before_the_fit(make):
    problem = make(images.load("camera", size=64))
    with pytest.raises(InputError, match="fixed count"):
        dip.fit(problem, stop="discrepancy", progress=False)


def test_the_discrepancy_ends_a_real_fit_early():
    problem = dip.denoising(images.load("chelsea", size=64), sigma=50 / 255)
    recipe = dip.lab().but(input_noise=0, iterations=400)
    run = dip.fit(problem, recipe, stop="discrepancy", progress=False)
    assert run.stopped_by == "discrepancy" and 20 <= run.stopped_at < 400
    assert run.psnr > dip.psnr(problem.observation, problem.truth) + 4


def test_rules_by_name_number_and_object():
    problem = dip.denoising(images.load("camera", size=32))
    recipe = dip.lab(iterations=50)
    assert choose(7, problem, recipe).iterations == 7
    assert choose("count", problem, recipe).iterations == 50
    assert isinstance(choose("discrepancy", problem, recipe), Discrepancy)
    rule = Count(3)
    assert choose(rule, problem, recipe) is rule
    with pytest.raises(InputError, match="count, discrepancy"):
        choose("soon", problem, recipe)
    with pytest.raises(InputError, match="prepare"):
        choose(lambda step: True, problem, recipe)


def test_the_recipes_rule_where_it_applies():
    clean = images.load("camera", size=32)
    noisy, silent = dip.denoising(clean), dip.denoising(clean, sigma=0)
    assert isinstance(choose(None, noisy, dip.lab()), Discrepancy)
    assert isinstance(choose(None, silent, dip.lab()), Count)
    assert isinstance(choose(None, noisy, dip.paper()), Count)
    assert dip.fit(noisy, iterations=30, progress=False).stopped_at == 30
