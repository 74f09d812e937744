"""The checks of lesson 07: right is right, every common slip gets its own hint."""

import pytest
import torch
from torch import nn

import diplearn as dip
from diplearn.course.check import apart, equal_size, one_factor


def test_networks_of_equal_size():
    reference = dip.networks.build("hourglass", 32, (1, 64, 64), down=(8, 16), skip=(4, 4))
    wanted = dip.networks.parameter_count(reference)
    assert equal_size(None, reference).right is None
    assert "dip.networks.build" in equal_size(wanted, reference).words
    assert "another family" in equal_size(reference, reference).words
    assert "wider" in equal_size(nn.Linear(wanted // 5, 4), reference).words
    assert "narrower" in equal_size(nn.Linear(wanted, 4), reference).words
    verdict = equal_size(nn.Linear(wanted, 1, bias=False), reference)
    assert verdict and f"{wanted:,}" in verdict.words
    assert "wider" in equal_size(nn.Identity(), reference).words  # no parameters at all


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (lambda a, b: min(a) > max(b) or min(b) > max(a), True, "whichever"),
        (lambda a, b: min(a) > max(b), False, "second may be the higher"),
        (lambda a, b: sum(a) != sum(b), False, "lowest with the highest"),
        (lambda a, b: max(a) != max(b), False, "lowest with the highest"),
        (lambda a, b: min(a) >= max(b) or min(b) >= max(a), False, "equal scores"),
        (lambda a, b: False, False, "at all"),
        (lambda a, b: a.nonsense, False, "failed"),
        (3, False, "failed"),
    ],
)
def test_scores_that_do_not_overlap(answer, right, words):
    verdict = apart(answer)
    assert verdict.right is right and words in verdict.words


PROBLEM = dip.denoising(dip.images.load("camera", size=16), sigma=0.1, seed=0)
PLAIN = dip.lab(members=1, iterations=2, stop="count")


def fits(problem=PROBLEM, seeds=(0, 1, 2), **changes):
    recipe = PLAIN.replace(options={"down": (4, 4), "skip": (4, 4)}).replace(**changes)
    return [dip.fit(problem, recipe, seed=seed, progress=False) for seed in seeds]


def test_an_ablation():
    base, none = fits(), fits(options={"skip": (0, 0)})
    assert one_factor(None).right is None
    assert one_factor({"base": [None] * 3, "none": [None] * 3}).right is None
    assert "two levels" in one_factor({"base": base}).words
    assert "two levels" in one_factor([base, none]).words
    assert "a list of runs" in one_factor({"base": base[0], "none": none[0]}).words
    assert "returns a Run" in one_factor({"base": [1, 2, 3], "none": none}).words
    assert "three different seeds" in one_factor({"base": base, "none": none[:2]}).words
    assert "three different seeds" in one_factor({"base": base, "none": none[:1] * 3}).words
    assert "only the seed" in one_factor({"base": base, "none": none[:2] + base[2:]}).words
    assert "one and the same" in one_factor({"base": base, "again": base}).words
    verdict = one_factor({"base": base, "none": none})
    assert verdict and "only skip changes" in verdict.words


def test_an_ablation_of_one_problem_and_one_factor():
    base = fits()
    other = dip.denoising(PROBLEM.truth, sigma=0.1, seed=1)
    blind = dip.Problem(PROBLEM.observation)
    both = fits(learning_rate=0.1, options={"skip": (0, 0)})
    assert (
        "same problem" in one_factor({"base": base, "fast": fits(other, learning_rate=0.1)}).words
    )
    words = one_factor({"base": fits(blind), "fast": fits(blind, learning_rate=0.1)}).words
    assert "truth" in words
    assert "learning_rate, skip" in one_factor({"base": base, "both": both}).words
    longer = fits(learning_rate=0.1, iterations=3)
    assert "iterations" in one_factor({"base": base, "fast": longer}).words


def test_depth_and_family_count_as_one_factor():
    base = fits()
    shallow = fits(options={"down": (4,), "skip": (4,)})
    assert "only depth changes" in one_factor({"base": base, "1 level": shallow}).words
    decoder = fits(network="decoder", options={"width": 8, "layers": 3})
    assert "only network changes" in one_factor({"base": base, "decoder": decoder}).words


def test_what_the_seeds_say_is_said(monkeypatch):
    base, fast = fits(), fits(learning_rate=0.1)
    for run, score in zip(base + fast, (20.0, 20.1, 20.2, 21.0, 21.1, 21.2)):
        monkeypatch.setattr(run, "_best", (score, 1, torch.zeros(1, 16, 16)))
    assert (
        "1.00 dB above 'base', no seeds overlap" in one_factor({"base": base, "fast": fast}).words
    )
    monkeypatch.setattr(fast[0], "_best", (20.1, 1, torch.zeros(1, 16, 16)))
    assert "no difference was shown" in one_factor({"base": base, "fast": fast}).words
