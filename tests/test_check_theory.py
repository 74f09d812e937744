"""The checks of lesson 10: right is right, every common slip gets its own hint."""

import numpy as np
import pytest
import torch

from diplearn.course.check.theory import follows, spectral_error, tangent_kernel


def whole(A, B, z):
    return (z @ z) * B @ B.T + (A @ z).square().sum() * torch.eye(len(B))


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (whole, True, "right"),
        (lambda A, B, z: (z @ z) * B @ B.T, False, "A's part"),
        (lambda A, B, z: (A @ z).square().sum() * torch.eye(4), False, "B's part"),
        (lambda A, B, z: z.norm() * B @ B.T + (A @ z).norm() * torch.eye(4), False, "squared"),
        (lambda A, B, z: B @ B.T + torch.eye(4), False, "multiplied with"),
        (lambda A, B, z: torch.outer(B @ A @ z, B @ A @ z), False, "differentiate"),
        (lambda A, B, z: A @ A.T, False, "4x4"),
        (lambda A, B, z: torch.ones(4, 4), False, "indices"),
        (lambda A, B, z: A.nonsense, False, "failed"),
        (3, False, "failed"),
    ],
)
def test_the_kernel_of_two_layers(answer, right, words):
    verdict = tangent_kernel(answer)
    assert verdict.right is right and words in verdict.words


def share(values, t):
    return 1 - torch.exp(-values * t)


def bias(c, values, t):
    return ((1 - share(values, t)) * c).square().mean()


def variance(values, sigma, t):
    return sigma**2 * share(values, t).square().mean()


def crossed(c, values, s, t):
    g = torch.exp(-values * t)
    return ((1 - g) * c).square().mean() + s**2 * g.square().mean()


def unsquared(c, values, s, t):
    g = share(values, t)
    return ((1 - g) * c**2).mean() + s**2 * g.mean()


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (lambda c, v, s, t: bias(c, v, t) + variance(v, s, t), True, "right"),
        (lambda c, v, s, t: bias(c, v, t), False, "bias² alone"),
        (lambda c, v, s, t: variance(v, s, t), False, "variance alone"),
        (lambda c, v, s, t: len(c) * (bias(c, v, t) + variance(v, s, t)), False, "per pixel"),
        (unsquared, False, "are squared"),
        (lambda c, v, s, t: bias(c, v, t) + variance(v, s, t) / s, False, "variance σ²"),
        (crossed, False, "other way round"),
        (lambda c, v, s, t: bias(c, v, t) + s**2, False, "only the share"),
        (lambda c, v, s, t: 7.0, False, "the test case"),
        (lambda c, v, s, t: c.nonsense, False, "failed"),
        (3, False, "failed"),
    ],
)
def test_the_spectral_error(answer, right, words):
    verdict = spectral_error(answer)
    assert verdict.right is right and words in verdict.words


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
    verdict = follows(answer)
    assert verdict.right is right and words in verdict.words
