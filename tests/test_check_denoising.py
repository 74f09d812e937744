"""The checks of lesson 04: right is right, every common slip gets its own hint."""

import pytest
import torch

from diplearn.course import check


@pytest.mark.parametrize(
    ("asked", "answer", "right", "words"),
    [
        (check.four_runs, None, None, "no answer"),
        (check.four_runs, 1.549, True, "2.2"),
        (check.four_runs, 6.02, False, "for ρ = 0"),
        (check.four_runs, 0.969, False, "for two"),
        (check.four_runs, 3.098, False, "10, not 20"),
        (check.four_runs, "much", False, "a number"),
        (check.constant, None, None, "no answer"),
        (check.constant, 0.52, True, "mean"),
        (check.constant, 0.4, False, "median"),
        (check.constant, 0.7, False, "a fifth"),
        (check.constant, 0.32, False, "salt is 1"),
        (check.constant, 0.9, False, "definition"),
    ],
)
def test_numbers(asked, answer, right, words):
    verdict = asked(answer)
    assert verdict.right is right and words in verdict.words


def dot(a, b):
    return (a * b).sum()


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (lambda x0, peak: 2 * (peak * x0 + 3 / 8).sqrt(), True, "right"),
        (lambda x0, peak: (peak * x0).sqrt() + (peak * x0 + 1).sqrt(), True, "right"),
        (lambda x0, peak: (peak * x0 + 3 / 8).sqrt(), False, "factor of 2"),
        (lambda x0, peak: 2 * x0.sqrt(), False, "counts"),
        (lambda x0, peak: x0.sqrt(), False, "times 2"),
        (lambda x0, peak: 7 * (peak * x0 + 3 / 8).sqrt(), False, "but not 1"),
        (lambda x0, peak: peak * x0, False, "still grow"),
        (lambda x0, peak: (peak * x0 + 1).log(), False, "fall with the light"),
        (lambda x0, peak: x0 - x0, False, "whatever x₀ is"),
        (lambda x0, peak: (x0 - 1).log(), False, "finite"),
        (lambda x0, peak: x0.mean(), False, "makes ()"),
        (lambda x0, peak: x0.nonsense, False, "failed"),
        (lambda x0, peak: "much", False, "failed"),
        (1.0, False, "failed"),
    ],
)
def test_stabilised_photons(answer, right, words):
    verdict = check.stabilised(answer)
    assert verdict.right is right and words in verdict.words


def pearson(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]


def centred(x):
    return x - x.mean()


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (lambda x: pearson(x[..., :-1], x[..., 1:]), True, "right"),
        (
            lambda x: (centred(x)[..., 1:] * centred(x)[..., :-1]).mean() / x.var(),
            True,
            "right",
        ),
        (
            lambda x: dot(x[..., 1:], x[..., :-1]) / (x[..., 1:].norm() * x[..., :-1].norm()),
            False,
            "mean off first",
        ),
        (lambda x: (x[..., 1:] * x[..., :-1]).mean(), False, "mean off, and"),
        (lambda x: (centred(x)[..., 1:] * centred(x)[..., :-1]).mean(), False, "covariance"),
        (lambda x: (centred(x)[..., 1:] * centred(x)[..., :-1]).sum(), False, "sum of products"),
        (
            lambda x: (centred(x)[..., 1:] * centred(x)[..., :-1]).mean() / x.std(),
            False,
            "not by its root",
        ),
        (lambda x: pearson(x, x.roll(1, -1)), False, "roll"),
        (lambda x: pearson(x[:, :-1], x[:, 1:]), False, "below"),
        (lambda x: pearson(x, x), False, "itself"),
        (lambda x: -2.0, False, "it gives -2.00"),
        (lambda x: x.nonsense, False, "failed"),
        (lambda x: x, False, "failed"),
        (0.0, False, "failed"),
    ],
)
def test_neighbours(answer, right, words):
    verdict = check.neighbours(answer)
    assert verdict.right is right and words in verdict.words
