"""Muon against the decomposition that it stands for, and against Adam on a real fit."""

import pytest
import torch
from torch import nn

import diplearn as dip
from diplearn import images, optimisers
from diplearn.errors import InputError


@pytest.mark.parametrize("shape", [(16, 144), (64, 300), (40, 12)])
def test_orthogonal_keeps_the_vectors_and_levels_the_values(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    made = optimisers.orthogonalize([matrix])[0]
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ made @ vt.T  # diagonal, if the singular vectors are the same
    values = inside.diagonal()
    assert (inside - values.diag()).abs().max() < 1e-3
    assert values.min() > 0.6 and values.max() < 1.3


def test_matrices_of_many_shapes_go_together():
    shapes = [(4, 9), (9, 4), (4, 4), (8, 3)]
    matrices = [
        torch.randn(s, generator=torch.Generator().manual_seed(i)) for i, s in enumerate(shapes)
    ]
    together = optimisers.orthogonalize(matrices)
    for matrix, made in zip(matrices, together):
        assert torch.allclose(made, optimisers.orthogonalize([matrix])[0], atol=1e-5)


def test_a_gradient_of_zeros_moves_nothing():
    layer = nn.Conv2d(8, 8, 3)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimisers.Muon([layer.weight]).step()
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (8, 32, 3, 3), (64, 64, 1, 1)])
def test_a_step_is_as_large_as_the_learning_rate_says(shape):
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    optimisers.Muon([weight], lr=0.01).step()
    size = weight.detach().square().mean().sqrt()
    assert 0.2 * 0.01 * 0.6 < size < 0.2 * 0.01 * 1.3


def test_every_parameter_has_exactly_one_optimiser():
    network = dip.networks.build("hourglass", 32, (3, 64, 64), **dip.lab().options)
    for name in optimisers.BY_NAME:
        built = optimisers.build(name, network, 0.01, 0.9)
        held = [id(p) for o in built for g in o.param_groups for p in g["params"]]
        assert sorted(held) == sorted(id(p) for p in network.parameters())
    assert {type(o).__name__ for o in built} == {"Muon", "Adam"}
    with pytest.raises(InputError, match="adam, muon"):
        optimisers.build("sgd", network, 0.01, 0.9)


def test_muon_needs_fewer_iterations_than_adam():
    """What lesson 09 claims, at a size that takes seconds."""
    problem = dip.denoising(images.load("rocket", size=64), sigma=25 / 255, seed=0)
    recipe = dip.lab(members=1, iterations=60)
    muon, adam = (
        dip.fit(problem, recipe.replace(optimiser=o), iterations=60, progress=False)
        for o in ("muon", "adam")
    )
    there = (muon.history.loss <= adam.history.loss.iloc[-1]).idxmax()
    assert 1 < there < 45


@pytest.mark.parametrize("shape", [(8, 8, 3, 3), (8, 5, 3, 3), (5, 8, 3, 3), (8, 6), (6, 8)])
def test_every_number_of_a_step_goes_to_its_own_place(shape):
    """Whatever order the rows are worked on in: the step is the nearest orthogonal matrix."""
    draws = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(shape))
    parameter.grad = torch.randn(shape, generator=draws)
    optimisers.Muon([parameter], lr=1.0).step()
    swap = shape[1] > shape[0]
    rows = parameter.grad.transpose(0, 1) if swap else parameter.grad
    nearest = optimisers.orthogonalize([rows.flatten(1)])[0]
    expected = (-0.2 * max(nearest.shape) ** 0.5 * nearest).reshape(rows.shape)
    expected = expected.transpose(0, 1) if swap else expected
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-3, atol=1e-4)
