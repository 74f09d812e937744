"""The checks of lesson 05: right is right, every common slip gets its own hint."""

import pytest
import torch

import diplearn as dip
from diplearn.course import check


@pytest.mark.parametrize(
    ("asked", "answer", "right", "words"),
    [
        (check.dimensions, None, None, "no answer"),
        (check.dimensions, 37_800, True, "less 600"),
        (check.dimensions, 600, False, "equations"),
        (check.dimensions, 38_400, False, "unknowns"),
        (check.dimensions, 33_600, False, "64 times"),
        (check.alias, None, None, "no answer"),
        (check.alias, 0.4, True, "slower wave"),
        (check.alias, 0.6, False, "1/2"),
        (check.alias, 0.1, False, "small pixel"),
        (check.alias, [], False, "a number"),
    ],
)
def test_numbers(asked, answer, right, words):
    verdict = asked(answer)
    assert verdict.right is right and words in verdict.words


def seen(image):
    channels, height, width = image.shape
    means = image.reshape(channels, height // 4, 4, width // 4, 4).mean((2, 4))
    return means.repeat_interleave(4, 1).repeat_interleave(4, 2)


def other(image):
    turned = image.flip(1)
    return turned - seen(turned)


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (lambda x: x - seen(x), True, "right"),
        (seen, False, "part that is seen"),
        (lambda x: x - x.mean((1, 2), keepdim=True), False, "not of the whole"),
        (lambda x: x, False, "whole image"),
        (lambda x: seen(x) - x, False, "other way round"),
        (other, False, "not this image's"),
        (lambda x: x.square(), False, "not zero"),
        (lambda x: x[:, ::4, ::4], False, "shape"),
        (lambda x: x.nonsense, False, "failed"),
        (7, False, "failed"),
    ],
)
def test_what_blocks_do_not_see(answer, right, words):
    verdict = check.unseen_by_blocks(answer)
    assert verdict.right is right and words in verdict.words


@pytest.fixture
def problem():
    return dip.super_resolution(0.25 + 0.5 * dip.images.load("camera", size=64), factor=4)


def strange(problem, times):
    """The truth, and so many times the unseen part of random pixels."""
    noise = torch.rand(problem.truth.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    there = problem.operator.project(noise, torch.zeros_like(problem.observation))
    return problem.truth + times * there


def test_a_twin(problem):
    assert check.twin(None, problem).right is None
    assert check.twin(strange(problem, 0.4), problem)
    assert "truth itself" in check.twin(problem.truth, problem).words
    assert "bolder" in check.twin(strange(problem, 0.05), problem).words
    assert "between" in check.twin(strange(problem, 2), problem).words
    assert "between" in check.twin(torch.full_like(problem.truth, torch.nan), problem).words
    clipped = strange(problem, 2).clamp(0, 1)
    assert "off by" in check.twin(clipped, problem).words
    assert "shape" in check.twin(problem.observation, problem).words
    assert "not str" in check.twin("an image", problem).words
