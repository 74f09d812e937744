"""Recipes: the published ones as published, mistakes named, and choosing by the problem."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from diplearn import images, problems, recipes
from diplearn.errors import InputError
from diplearn.operators import Mask
from diplearn.recipes import Recipe, lab, paper


def test_the_paper_denoises_as_published():
    recipe = paper("denoising")
    assert recipe.learning_rate == 0.01 and recipe.final_rate == 1
    assert recipe.input_noise == pytest.approx(1 / 30) and recipe.noise_kind == "gaussian"
    assert recipe.iterations == 3000 and recipe.average == 0.99
    assert recipe.average_window is None and recipe.precision == "float32"
    assert paper("denoising", sigma=50 / 255).input_noise == pytest.approx(1 / 20)


@pytest.mark.parametrize(
    ("task", "iterations", "rate", "noise"),
    [
        ("jpeg", 2400, 0.01, 1 / 30),
        ("super_resolution", 2000, 0.01, 0.03),
        ("text", 6000, 0.01, 0.03),
        ("small_hole", 5000, 0.01, 0.03),
        ("large_hole", 3000, 0.01, 0),
        ("missing_pixels", 11000, 0.001, 0.03),
        ("flash", 600, 0.1, 0),
    ],
)
def test_the_paper_settings_of_each_task(task, iterations, rate, noise):
    recipe = paper(task)
    assert (recipe.iterations, recipe.learning_rate) == (iterations, rate)
    assert recipe.input_noise == pytest.approx(noise)


def test_a_factor_of_eight_needs_more():
    assert paper("super_resolution", factor=8).iterations == 4000


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"iterations": 2.5},
        {"learning_rate": 0},
        {"learning_rate": math.nan},
        {"input_noise": -1},
        {"average": 1},
        {"average_window": 0},
        {"noise_kind": "pink"},
        {"optimiser": "lbfgs"},
        {"momentum": 1},
        {"members": 0},
        {"members": 1.5},
        {"precision": "float16"},
        {"data_term": "huber"},
        {"z": "zeros"},
        {"z_channels": 2.5},
        {"z_scale": 0},
        {"iterations": 10**400},
        *({name: math.inf} for name in ("iterations", "z_scale", "input_noise", "tv_weight")),
        *({name: value} for name in ("z_channels", "momentum") for value in ("3", True, None)),
        *({name: value} for name in ("name", "network", "stop") for value in (3, None, [])),
        *({name: value} for name in ("project", "compiled") for value in ("no", 0, None)),
        *({"options": value} for value in (3, [], "down", None)),
    ],
)
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Recipe(**wrong)


def test_values_of_another_type_are_named_when_they_are_changed():
    with pytest.raises(InputError, match="options=3 must be a table"):
        lab().replace(options=3)


def test_numbers_of_numpy_are_numbers():
    recipe = Recipe(iterations=np.int64(5), learning_rate=np.float32(0.5), project=np.True_)
    assert (recipe.iterations, recipe.learning_rate, recipe.project) == (5, 0.5, True)


def test_equal_recipes_have_equal_hashes():
    assert hash(lab()) == hash(lab()) and len({lab(), lab(), lab(members=1)}) == 2


def test_unknown_names_are_answered_with_the_known():
    with pytest.raises(InputError, match="learning_rate"):
        lab().replace(lr=0.1)
    with pytest.raises(InputError, match="denoising"):
        lab("colouring")
    problem = problems.denoising(images.load("camera", size=32))
    with pytest.raises(InputError, match="lab, guided, paper, best"):
        recipes.choose("fast", problem)


def test_a_recipe_is_frozen_and_replace_leaves_it_alone():
    recipe = lab()
    wider = recipe.replace(options={"down": (8,) * 5})
    assert wider.options["padding"] == recipe.options["padding"]
    assert recipe.options["down"] != (8,) * 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.iterations = 3


def test_another_network_does_not_inherit_the_options():
    assert lab(network="pixels").options == {}
    assert lab(network="unet", options={"widths": (8, 16)}).options == {"widths": (8, 16)}


def test_the_paper_is_chosen_by_the_problem():
    clean = images.load("camera", size=64)
    loud = problems.denoising(clean, sigma=50 / 255)
    assert recipes.choose("paper", loud).input_noise == pytest.approx(1 / 20)
    pixels = problems.inpainting(clean, mask=0.5)
    assert recipes.choose("paper", pixels).iterations == 11000
    text = problems.inpainting(clean, mask=Mask.text(64, 64))
    assert recipes.choose("paper", text).options["skip"] == (128,) * 5
    hole = problems.inpainting(clean, mask=Mask.hole(64, 64))
    assert recipes.choose("paper", hole).z_channels == 1
    eight = problems.super_resolution(clean, factor=8)
    assert recipes.choose("paper", eight).input_noise == pytest.approx(0.05)


def test_the_cosine_starts_and_ends_where_it_says():
    recipe = Recipe(learning_rate=0.02, final_rate=0.1, iterations=100)
    assert recipe.rate(0) == pytest.approx(0.02)
    assert recipe.rate(100) == pytest.approx(0.002)
    assert recipe.rate(50) == pytest.approx(0.011)


def test_a_growing_window_averages_the_last_part():
    """With the window a third of k, the weights of an average of 1, 2, ..., n lean to the end."""
    recipe = Recipe(average_window=1 / 3, iterations=300)
    average = torch.tensor(1.0)
    for k in range(2, 301):
        average = torch.lerp(torch.tensor(float(k)), average, recipe.averaging(k))
    assert 200 < average < 250
    assert recipe.averaging(1) == 0
