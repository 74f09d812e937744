"""The checks of lesson 04: right is right, every common slip gets its own hint."""

import pytest
import torch

from diplearn.check import denoising as check


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
