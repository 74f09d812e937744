"""The checks of lesson 02: right is right, every common slip gets its own hint."""

import pytest
import torch

import diplearn as dip
from diplearn.course import check


def differences(x):
    return x[:, :-1, 1:] - x[:, :-1, :-1], x[:, 1:, :-1] - x[:, :-1, :-1]


def by_slices(x):
    across, down = differences(x)
    return (across**2 + down**2).sqrt().sum()


def replicated(x):
    return by_slices(torch.nn.functional.pad(x[None], (0, 1, 0, 1), mode="replicate")[0])


def rolled(x):
    return ((x - x.roll(1, 1)) ** 2 + (x - x.roll(1, 2)) ** 2).sqrt().sum()


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (by_slices, True, "right"),
        (replicated, True, "right"),
        (dip.energy.total_variation, True, "right"),
        (lambda x: sum(d.abs().sum() for d in differences(x)), False, "slanted"),
        (lambda x: x.diff(dim=1).abs().sum() + x.diff(dim=2).abs().sum(), False, "slanted"),
        (lambda x: sum((d**2).sum() for d in differences(x)), False, "root is missing"),
        (lambda x: sum(d**2 for d in differences(x)).sqrt().mean(), False, "the mean"),
        (lambda x: sum(d**2 for d in differences(x)).sum().sqrt(), False, "each pixel"),
        (lambda x: sum(differences(x)).abs().sum(), False, "square first"),
        (rolled, False, "roll"),
        (lambda x: 1.0, False, "it gives 1.00"),
        (lambda x: x.nonsense, False, "failed"),
        (lambda x: "many", False, "failed"),
        (3, False, "failed"),
    ],
)
def test_total_variation(answer, right, words):
    verdict = check.tv_function(answer)
    assert verdict.right is right and words in verdict.words


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (0.25, True, "meet at"),
        (0.5, False, "each by w"),
        (0.55, False, "value"),
        (0.15, False, "how far apart"),
        (3, False, "definition"),
        ("a quarter", False, "a number"),
    ],
)
def test_two_pixels(answer, right, words):
    verdict = check.two_pixels(answer)
    assert verdict.right is right and words in verdict.words


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (7.28, True, "four times"),
        (14.57, False, "2 in its exponent"),
        (0.00269, False, "other way round"),
        (0.000112, False, "units"),
        (0.714, False, "squared"),
    ],
)
def test_beta(answer, right, words):
    verdict = check.beta(answer)
    assert verdict.right is right and words in verdict.words


@pytest.fixture(scope="module")
def problem():
    return dip.denoising(dip.images.load("rocket", size=32), sigma=25 / 255, seed=0)


def fitted(problem, iterations=2, **changes):
    recipe = dip.lab(members=1, input_noise=0, iterations=iterations, stop="count").replace(
        **changes
    )
    return dip.fit(problem, recipe, progress=False)


def test_what_is_no_such_fit(problem):
    assert check.no_need_to_stop(None).right is None
    assert "returns a Run" in check.no_need_to_stop(0.1).words
    without = dip.Problem(problem.observation)
    assert "truth" in check.no_need_to_stop(fitted(without, tv_weight=1e-5)).words
    assert "no structure" in check.no_need_to_stop(fitted(problem, network="pixels")).words
    assert "no R" in check.no_need_to_stop(fitted(problem)).words
    for changes in ({"input_noise": 0.01}, {"members": 2}):
        assert (
            "one network" in check.no_need_to_stop(fitted(problem, tv_weight=1e-5, **changes)).words
        )
    assert "at least 600" in check.no_need_to_stop(fitted(problem, tv_weight=1e-5)).words


def test_too_little_and_too_much(problem):
    size = problem.observation.numel()
    weak, good, strong = (fitted(problem, 250, tv_weight=w / size) for w in (0.001, 0.15, 3))
    assert "weigh R more" in check.no_need_to_stop(weak, iterations=200).words
    assert check.no_need_to_stop(good, iterations=200)
    assert "weigh R less" in check.no_need_to_stop(strong, iterations=200).words
