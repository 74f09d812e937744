"""The exercises that ask for a number: right is right, and every usual slip gets its own hint."""

import pytest
import torch

from diplearn.course import check

ANSWERS = {
    "two_pixels": [
        (0.25, True, "meet at"),
        (0.5, False, "each by w"),
        (0.55, False, "value"),
        (0.15, False, "how far apart"),
        (3, False, "definition"),
        ("a quarter", False, "a number"),
    ],
    "beta": [
        (7.28, True, "four times"),
        (14.57, False, "2 in its exponent"),
        (0.00269, False, "other way round"),
        (0.000112, False, "units"),
        (0.714, False, "squared"),
    ],
    "negative": [(1.1, True, "about 1"), (2.0, False, "same recipe"), (5.0, False, "definition")],
    "four_runs": [
        (1.549, True, "2.2"),
        (6.02, False, "for ρ = 0"),
        (0.969, False, "for two"),
        (3.098, False, "10, not 20"),
        ("much", False, "a number"),
    ],
    "best_weight": [
        (0.8, True, "0.0013"),
        (0.2, False, "weight of b"),
        (0.5833, False, "not correlated"),
        (0.5, False, "equal errors"),
        (-0.5, False, "2c"),
    ],
    "constant": [
        (0.52, True, "mean"),
        (0.4, False, "median"),
        (0.7, False, "a fifth"),
        (0.32, False, "salt is 1"),
        (0.9, False, "definition"),
    ],
    "dimensions": [
        (37_800, True, "less 600"),
        (600, False, "equations"),
        (38_400, False, "unknowns"),
        (33_600, False, "64 times"),
    ],
    "alias": [
        (0.4, True, "slower wave"),
        (0.6, False, "1/2"),
        (0.1, False, "small pixel"),
        ([], False, "a number"),
    ],
    "by_chance": [
        (2 / 20, True, "one comparison in ten"),
        (0.05, False, "either"),
        (1, False, "ten"),
    ],
    "salt_sigma": [(0.158, True, "√"), (0.025, False, "σ²"), (0.5, False, "a tenth")],
    "how_long": [(229, True, "leaves the share"), (90, False, "*left*"), (115, False, "energy")],
}


@pytest.mark.parametrize(
    ("name", "answer", "right", "words"),
    [(name, *row) for name, rows in ANSWERS.items() for row in [(None, None, "no answer"), *rows]],
)
def test_numbers(name, answer, right, words):
    verdict = getattr(check, name)(answer)
    assert verdict.right is right and words in verdict.words


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (None, None, "no answer"),
        (2.01, True, "because"),
        (torch.tensor(2.0), True, "because"),
        (4, False, "root"),
        (7, False, "definition"),
        (float("nan"), False, "definition"),
        ("two", False, "a number"),
        (10**400, False, "a number"),
        (torch.zeros(3), False, "a number"),
    ],
)
def test_a_number_of_ones_own(answer, right, words):
    verdict = check.number(answer, 2, "because", {4.0: "take the root"})
    assert verdict.right is right and words in verdict.words


def test_the_level_from_which_on_the_rim_is_seen():
    reach = {1: False, 2: False, 3: True, 4: True}
    assert check.sees_across(None, reach).right is None
    assert check.sees_across(3, reach)
    assert "below a tenth" in check.sees_across(2, reach).words
    assert "fewer" in check.sees_across(4, reach).words
