"""The checks of lesson 03: right is right, every common slip gets its own hint."""

import pytest
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check


def alone(x, direction):
    return float((x * direction).sum() / direction.square().sum())


def together(x, clean, noise):
    columns = torch.stack([clean.flatten(), noise.flatten()], dim=1)
    return torch.linalg.lstsq(columns, x.flatten()[:, None]).solution[:, 0]


def one_after_the_other(x, clean, noise):
    a = alone(x, clean)
    return a, alone(x - a * clean, noise)


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (together, True, "counted once"),
        (lambda *images: together(*images).flip(0), False, "first the image's"),
        (lambda x, c, n: (alone(x, c), alone(x, n)), False, "not orthogonal"),
        (one_after_the_other, False, "not orthogonal"),
        (lambda x, c, n: (alone(x, c), alone(x - c, n)), False, "all of the clean image"),
        (lambda x, c, n: (0.5, 0.5), False, "0.50 and 0.50"),
        (lambda x, c, n: [0.5], False, "two numbers"),
        (lambda x, c, n: 0.5, False, "failed"),
        (lambda x, c, n: x.nonsense, False, "failed"),
        (3, False, "failed"),
    ],
)
def test_two_shares(answer, right, words):
    verdict = check.two_shares(answer)
    assert verdict.right is right and words in verdict.words


def fitted(observation, iterations, **changes):
    """Pixels come to everything equally fast: enough to try what a check says about a run."""
    recipe = dip.lab(network="pixels", options={}, learning_rate=0.02)
    recipe = recipe.replace(iterations=iterations, stop="count", **changes)
    return dip.fit(dip.Problem(observation), recipe, progress=False)


def test_a_checkerboard():
    i = torch.arange(32)
    board = 0.1 + 0.8 * ((i[:, None] + i) % 2).float().repeat(1, 1, 1)
    stripes = board[:, :1].repeat(1, 32, 1)
    assert check.checkerboard(None).right is None
    assert "returns a Run" in check.checkerboard(board).words
    assert "neighbours" in check.checkerboard(fitted(stripes, 2)).words
    assert "fit on" in check.checkerboard(fitted(board, 2)).words
    assert check.checkerboard(fitted(board, 100))


def test_a_network_that_tells_apart():
    clean = dip.images.load("astronaut", size=32)
    targets = dip.problems.impedance(clean, sigma=0.1, seed=0)
    x, shuffled = (targets[name].observation for name in ("image", "shuffled pixels"))
    assert check.tells_apart(None, None).right is None
    assert "returns a Run" in check.tells_apart(x, x).words
    image, other = fitted(x, 100), fitted(shuffled, 100)
    assert "shuffled" in check.tells_apart(image, fitted(targets["noise"].observation, 100)).words
    assert "same recipe" in check.tells_apart(image, fitted(shuffled, 99)).words
    assert "which level" in check.tells_apart(image, other).words
    assert "at most 3" in check.tells_apart(image, other, most=3).words
    assert check.tells_apart(image, other, ratio=0.9)
    by_adam = [fitted(target, 2, optimiser="adam") for target in (x, shuffled)]
    assert "keep muon" in check.tells_apart(*by_adam).words


def test_a_shuffled_image_that_is_never_reached():
    targets = dip.problems.impedance(dip.images.load("astronaut", size=64), sigma=0.1, seed=0)
    recipe = dip.lab(members=1, input_noise=0.0, iterations=60, stop="count")
    recipe = recipe.replace(options={**recipe.options, "skip": (0,) * 5})
    runs = [dip.fit(targets[n], recipe, progress=False) for n in ("image", "shuffled pixels")]
    assert "at most 5" in check.tells_apart(*runs, most=5).words
    verdict = check.tells_apart(*runs)
    assert verdict and "not reached at all" in verdict.words


def test_a_negative():
    assert check.negative(None).right is None
    assert check.negative(1.1)
    assert "same recipe" in check.negative(2.0).words
    assert not check.negative(5.0)


def test_own_networks_count_like_any_other():
    run = dip.fit(
        dip.Problem(torch.rand(3, 32, 32)),
        dip.lab(iterations=2, stop="count"),
        network=nn.Sequential(nn.Conv2d(32, 3, 1), nn.Sigmoid()),
        progress=False,
    )
    assert check.reached(run, 0.99) == float("inf")
