"""The checks of the exercises: right is right, every common slip gets its own hint."""

import math

import pytest
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check


def mse(image, truth):
    return (image - truth).square().mean()


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (lambda x, t: 10 * torch.log10(1 / mse(x, t)), True, "right"),
        (lambda x, t: 10 * torch.log10(mse(x, t)), False, "sign"),
        (lambda x, t: -20 * torch.log10(mse(x, t)), False, "10"),
        (lambda x, t: -10 * math.log(mse(x, t)), False, "base 10"),
        (lambda x, t: mse(x, t), False, "mean squared error"),
        (lambda x, t: -10 * torch.log10((x - t).square().sum()), False, "sum"),
        (lambda x, t: 3.0, False, "3.00"),
        (lambda x, t: x.nonsense, False, "failed"),
        (42, False, "failed"),
    ],
)
def test_the_yardstick(answer, right, words):
    verdict = check.psnr_function(answer)
    assert verdict.right is right and words in verdict.words


def test_counting_parameters():
    network, image = nn.Linear(9, 30), torch.zeros(3, 10, 10)  # 300 for 300
    wide = nn.Linear(19, 30)  # 600 for 300
    for answer, right in [(None, None), (1.0, True), (3.0, False), (7, False)]:
        assert check.numbers_per_parameter(answer, network, image).right is right
    assert "other way" in check.numbers_per_parameter(0.5, wide, image).words
    assert "3 numbers" in check.numbers_per_parameter(6.0, wide, image).words


@pytest.fixture(scope="module")
def problem():
    return dip.denoising(dip.images.load("chelsea", size=48), sigma=25 / 255)


def test_no_prior(problem):
    recipe = dip.Recipe(network="pixels", learning_rate=0.02, iterations=300)
    run = dip.fit(problem, recipe, progress=False)
    assert check.no_prior(run) and "nothing prefers" in check.no_prior(run).words
    assert "fit on" in check.no_prior(dip.fit(problem, recipe, stop=5, progress=False)).words
    assert "hourglass" in check.no_prior(dip.fit(problem, stop=2, progress=False)).words
    assert "Run" in check.no_prior(3).words and check.no_prior(None).right is None


def test_a_network_of_ones_own(problem):
    good = nn.Sequential(
        nn.Conv2d(32, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(16, 16, 3, 1, 1),
        nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 3, 1), nn.Sigmoid(),
    )  # fmt: skip
    poor = nn.Sequential(nn.Conv2d(32, 3, 1), nn.Sigmoid())
    recipe = dip.Recipe(iterations=150)
    assert check.own_network(dip.fit(problem, recipe, good, progress=False))
    verdict = check.own_network(dip.fit(problem, recipe, poor, progress=False))
    assert verdict.right is False and "1x1" in verdict.words
    assert "network=" in check.own_network(dip.fit(problem, stop=2, progress=False)).words


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (lambda i, o, k, s: i * o * k * k * s * s, True, "right"),
        (lambda i, o, k, s: i * o * k * s * s, False, "taps"),
        (lambda i, o, k, s: i * o * k * k * s, False, "pixels"),
        (lambda i, o, k, s: o * k * k * s * s, False, "come in"),
        (lambda i, o, k, s: i * k * k * s * s, False, "goes out"),
        (lambda i, o, k, s: i * o * k * k, False, "weights"),
        (lambda i, o, k, s: 2 * i * o * k * k * s * s, False, "additions"),
        (lambda i, o, k, s: 1, False, "not 1"),
        (lambda: 1, False, "failed"),
    ],
)
def test_counting_multiplications(answer, right, words):
    verdict = check.multiplications(answer)
    assert verdict.right is right and words in verdict.words


def _by_svd(matrix):
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vt


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (_by_svd, True, "right"),
        (lambda m: dip.optimisers.orthogonalize([m])[0], False, "from"),
        (lambda m: m / m.norm(), False, "alike"),
        (lambda m: torch.eye(6, 10), False, "other vectors"),
        (lambda m: m.T, False, "out"),
        (lambda m: m.nonsense, False, "failed"),
    ],
)
def test_levelling_singular_values(answer, right, words):
    verdict = check.orthogonal(answer)
    assert verdict.right is right and words in verdict.words


def test_a_cheaper_recipe():
    problem = dip.denoising(dip.images.load("rocket", size=32), sigma=0.1, seed=0)
    other = dip.denoising(dip.images.load("coffee", size=32), sigma=0.1, seed=0)
    recipe = dip.lab(members=1, options={"down": (8, 8), "skip": (4, 4)})
    reference = dip.fit(problem, recipe, iterations=60, progress=False)
    assert check.cheaper(None, reference).right is None
    assert "Run" in check.cheaper(3, reference).words
    assert "another image" in check.cheaper(dip.fit(other, recipe, iterations=1), reference).words
    assert "two thirds" in check.cheaper(reference, reference).words
    hasty = dip.fit(problem, recipe, iterations=2, progress=False)
    assert "loses more" in check.cheaper(hasty, reference).words
    shorter = dip.fit(problem, recipe, iterations=60, progress=False)
    shorter._rows[-1] = (60, reference.seconds / 2, *shorter._rows[-1][2:])  # a faster machine
    assert check.cheaper(shorter, reference).right


@pytest.mark.parametrize(
    "answer, right, words",
    [
        (None, None, "no answer"),
        (lambda x, x0, s: (x - x0).square().mean() <= s**2, True, "right"),
        (lambda x, x0, s: (x - x0).square().mean() >= s**2, False, "far away"),
        (lambda x, x0, s: (x - x0).square().sum() <= s**2, False, "past the truth"),
        (lambda x, x0, s: x.nonsense(), False, "AttributeError"),
    ],
)
def test_the_learners_discrepancy(answer, right, words):
    verdict = check.discrepancy_rule(answer)
    assert verdict.right is right and words in verdict.words


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [(None, None, "no answer"), (0.158, True, "√"), (0.025, False, "σ²"), (0.5, False, "a tenth")],
)
def test_the_strength_of_salt_and_pepper(answer, right, words):
    verdict = check.salt_sigma(answer)
    assert verdict.right is right and words in verdict.words


def test_a_rule_that_was_fooled():
    clean = dip.images.load("coffee", size=48)
    problem = dip.denoising(clean, sigma=50 / 255)
    wrong = dip.Problem(problem.observation, truth=clean, sigma=15 / 255)
    recipe = dip.lab(options={"down": (16, 32, 32), "skip": (4, 4, 4)}, iterations=200)
    assert check.fooled(None).right is None
    assert "Run" in check.fooled(3).words
    counted = dip.fit(problem, recipe, iterations=3, progress=False)
    assert "no rule" in check.fooled(counted).words
    blind = dip.fit(dip.Problem(problem.observation), recipe, stop="hold-out", progress=False)
    assert "without a truth" in check.fooled(blind).words
    good = dip.fit(problem, recipe, stop="sure", progress=False)
    assert "wanted" in check.fooled(good).words
    late = dip.fit(wrong, recipe, stop="discrepancy", progress=False)
    assert check.fooled(late).right


def test_a_number():
    hints = {4.0: "take the root"}
    assert check.number(None, 2, "", hints).right is None
    assert check.number(2.01, 2, "because", hints).right
    assert "root" in check.number(4, 2, "", hints).words
    assert "definition" in check.number(7, 2, "", hints).words
    assert "a number" in check.number("two", 2, "", hints).words
