"""The checks of lesson 06: right is right, every common slip gets its own hint."""

import pytest
import torch

import diplearn as dip
from diplearn.course import check


def mean(values):
    return -10 * torch.log10(values.mean())


def inside(x, t, known):
    return mean((x - t)[(known == 0).expand_as(t)].square())


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (inside, True, "right"),
        (lambda x, t, known: mean((x - t).square()), False, "whole image"),
        (lambda x, t, known: inside(x, t, 1 - known), False, "turn the mask round"),
        (lambda x, t, known: mean((x - t).square() * (1 - known)), False, "missing values"),
        (
            lambda x, t, known: mean(((x - t).square() * (1 - known)).sum() / (1 - known).sum()),
            False,
            "three numbers",
        ),
        (lambda x, t, known: 3.0, False, "3.00"),
        (lambda x, t, known: x.nonsense, False, "failed"),
        (7, False, "failed"),
    ],
)
def test_the_psnr_inside(answer, right, words):
    verdict = check.psnr_inside(answer)
    assert verdict.right is right and words in verdict.words


def fitted(problem, iterations=3):
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
        return fitted(dip.inpainting(clean, mask))

    assert check.own_hole(None).right is None
    assert "returns a Run" in check.own_hole(clean).words
    assert "nothing is missing" in check.own_hole(fitted(dip.denoising(clean))).words
    two = cut((slice(2, 8), slice(2, 8)), (slice(20, 28), slice(20, 28)))
    assert "no rectangle" in check.own_hole(two).words
    assert "bolder" in check.own_hole(cut((slice(2, 5), slice(2, 5)))).words
    verdict = check.own_hole(cut((slice(4, 12), slice(6, 14))))
    assert verdict and "biharmonic" in verdict.words


def test_a_fit_that_takes_holes_for_black(clean):
    masked = dip.inpainting(clean, dip.operators.Mask.text(32, 32))
    assert check.without_mask(None).right is None
    assert "an operator" in check.without_mask(fitted(masked)).words
    assert (
        "masked one" in check.without_mask(fitted(dip.Problem(clean + 0.01 * (clean == 0)))).words
    )
    x0 = dip.Problem(masked.observation)
    early = dip.fit(x0, dip.lab(members=1), iterations=2, progress=False)  # begins at the mean
    assert "fit on" in check.without_mask(early).words
    assert check.without_mask(fitted(x0, iterations=200))


def test_the_level_from_which_on_the_rim_is_seen():
    reach = {1: False, 2: False, 3: True, 4: True}
    assert check.sees_across(None, reach).right is None
    assert check.sees_across(3, reach)
    assert "below a tenth" in check.sees_across(2, reach).words
    assert "fewer" in check.sees_across(4, reach).words
