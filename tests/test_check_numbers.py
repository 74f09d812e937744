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
    "best_weight": [
        (0.8, True, "0.0013"),
        (0.2, False, "weight of b"),
        (0.5833, False, "not correlated"),
        (0.5, False, "equal errors"),
        (-0.5, False, "2c"),
    ],
    "photon_energy": [
        (1 / 40, True, "any brightness"),
        (1 / 20, False, "there is a 2"),
        (0.5, False, "divide by p"),
        (2 / 20, False, "under the fraction bar"),
        (10, False, "instead of multiplying"),
        (0.00125, False, "once"),
        (1.0, False, "definition"),
    ],
    "less_is_more": [
        (0.625, True, "from 0.8 down to 0.5"),
        (0.5, False, "best amount"),
        (1.6, False, "other way round"),
        (0.75, False, "is left"),
        (0.4, False, "much · right"),
        (1.25, False, "larger"),
        ([], False, "a number"),
    ],
    "amdahl": [
        (1 / (0.64 + 0.36 / 7), True, "64 ms"),
        (7, False, "as long as before"),
        (1 / 0.64, False, "no time at all"),
        (0.64 + 0.36 / 7, False, "the time that is left"),
        (1 / (0.32 + 0.68 / 7), False, "68 %"),
        (1 + 6 * 0.36, False, "not 100 ms"),
        (0.36 * 7, False, "the rest"),
    ],
    "by_chance": [
        (2 / 20, True, "one comparison in ten"),
        (0.05, False, "either"),
        (1, False, "ten"),
    ],
    "four_fillings": [
        (0.97, True, "1 + 1/M"),
        (-0.97, False, "positive"),
        (3.01, False, "one filling alone"),
        (1.94, False, "not 20"),
        (1.25, False, "how many decibels"),
        (0.25, False, "variance stays"),
        (-6.02, False, "variance stays"),
        (1.76, False, "two fillings"),
    ],
    "noise_ceiling": [
        (35.1, True, "0.000306"),
        (30.4, False, "three channels"),
        (15.0, False, "σ = 1"),
        (25.1, False, "mean square"),
        (20.2, False, "own PSNR"),
        (-13, False, "[0, 1]"),
    ],
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
