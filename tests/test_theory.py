"""The theory against closed forms: linear networks, circulant kernels, gradient flow."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from diplearn.course import theory
from diplearn.errors import InputError
from diplearn.networks import DeepDecoder, Hourglass, Pixels
from diplearn.randomness import generator


def draw(*shape, purpose="test"):
    return torch.randn(shape, generator=generator(0, purpose), dtype=torch.float64)


class TwoLayers(nn.Module):
    """f = B A z: linear in z, and its tangent kernel is known."""

    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.A = nn.Parameter(draw(hidden, inputs, purpose="A"))
        self.B = nn.Parameter(draw(outputs, hidden, purpose="B"))

    def forward(self, z):
        return self.B @ (self.A @ z)


def test_the_jacobian_of_a_linear_map_is_its_input():
    layer = nn.Linear(3, 2, dtype=torch.float64)
    z = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    wanted = [[1, 2, 3, 0, 0, 0, 1, 0], [0, 0, 0, 1, 2, 3, 0, 1]]
    assert theory.jacobian(layer, z).tolist() == wanted


def test_the_kernel_and_the_modes_of_two_linear_layers():
    network, z = TwoLayers(5, 3, 4), draw(5, purpose="z")
    A, B = network.A.detach(), network.B.detach()
    K = theory.kernel(theory.jacobian(network, z, chunk=3))
    wanted = (z @ z) * B @ B.T + (A @ z).square().sum() * torch.eye(4, dtype=torch.float64)
    assert torch.allclose(K, wanted)
    found = theory.spectrum(K, (1, 2, 2))
    u, s, _ = torch.linalg.svd(B)  # its modes are the left singular vectors of B
    values = (z @ z) * torch.cat([s, s.new_zeros(1)]).square() + (A @ z).square().sum()
    assert torch.allclose(found.values, values)
    assert torch.allclose((found.vectors.T @ u).abs(), torch.eye(4).double(), atol=1e-8)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Hourglass(4, 1, down=(4, 4), skip=(2, 2), padding="zeros", merge_norm=False),
        lambda: Hourglass(4, 1, down=(4,), skip=(0,)),
        lambda: DeepDecoder(4, 1, 4, 3),
        lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)),
    ],
    ids=["lab", "published", "decoder", "running means"],
)
def test_the_jacobian_predicts_a_small_step_of_each_network(build):
    """Batch norm with the statistics of the one image included."""
    network = build().double()  # from a fixed seed: with other weights a step may cross a kink
    z = draw(1, 4, 16, 16)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    J = theory.jacobian(network, z)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)  # it was left alone
    weights = list(network.parameters())
    assert J.shape == (256, sum(w.numel() for w in weights))
    step = 1e-6 * draw(J.shape[1], purpose="step")
    with torch.no_grad():
        here = network(z).flatten()
        for weight, change in zip(weights, step.split([w.numel() for w in weights])):
            weight += change.view_as(weight)
        moved = network(z).flatten() - here
    assert torch.allclose(moved, J @ step, rtol=1e-3, atol=1e-3 * float(moved.abs().max()))


def test_gradients_are_the_jacobian_times_the_residual():
    network, z, goal = DeepDecoder(4, 1, 4, 3).double(), draw(1, 4, 16, 16), draw(1, 1, 16, 16)
    (0.5 * (network(z) - goal).square().sum()).backward()
    gradient = torch.cat([w.grad.flatten() for w in network.parameters()])
    wanted = theory.jacobian(network, z).T @ (network(z) - goal).detach().flatten()
    assert torch.allclose(gradient, wanted)


def test_frozen_weights_have_no_column():
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert theory.jacobian(layer, torch.ones(3)).shape == (2, 6)
    layer.weight.requires_grad_(False)
    with pytest.raises(InputError, match="no weights"):
        theory.jacobian(layer, torch.ones(3))


def circulant(height, width):
    """A blur with its edges joined, as a matrix; and its transfer function."""
    tap = torch.zeros(height, width, dtype=torch.float64)
    tap[0, 0], tap[0, 1], tap[0, -1], tap[1, 0], tap[-1, 0] = 0.5, 0.2, 0.2, 0.05, 0.05
    rows = [tap.roll((y, x), (0, 1)).flatten() for y in range(height) for x in range(width)]
    return torch.stack(rows), torch.fft.fft2(tap).real


def test_the_modes_of_a_circulant_kernel_are_fouriers():
    K, transfer = circulant(6, 8)
    found = theory.spectrum(K @ K, (1, 6, 8))
    assert torch.allclose(found.values, transfer.square().flatten().sort(descending=True).values)
    for number in range(1, 49):  # each mode has one frequency, that of its eigenvalue
        power = torch.fft.fft2(found.mode(number)[0]).abs().square()
        there = (transfer.square() - found.values[number - 1]).abs() < 1e-9
        assert power[there].sum() == pytest.approx(float(power.sum()))
    assert theory.mean_frequency(found.mode(1)[0]) == pytest.approx(0, abs=1e-6)


def test_a_spectrum_splits_joins_and_filters():
    K, transfer = circulant(4, 8)
    found, image = theory.spectrum(K @ K, (1, 4, 8)), draw(1, 4, 8)
    assert torch.allclose(found.join(found.split(image)), image)
    blurred = torch.fft.ifft2(torch.fft.fft2(image) * transfer.square()).real
    assert torch.allclose(found.filtered(image, found.values), blurred)


def test_a_spectrum_wants_a_kernel_of_its_size():
    with pytest.raises(InputError, match="a kernel for images of shape"):
        theory.spectrum(torch.eye(4), (1, 2, 3))


def test_values_of_a_kernel_without_full_rank_are_not_negative():
    assert (theory.spectrum(torch.ones(9, 9), (1, 3, 3)).values >= 0).all()


def test_gradient_flow_is_its_exponential():
    J, goal = draw(6, 9), draw(6, purpose="goal")
    K = theory.kernel(J)
    found, time = theory.spectrum(K, (1, 2, 3)), 0.05
    fitted = found.filtered(goal, theory.gradient_flow(found.values, time)).flatten()
    exact = goal - torch.linalg.matrix_exp(-time * K) @ goal
    assert torch.allclose(fitted, exact)
    left = float((goal - exact).square().mean())
    assert theory.energy_curve(found, goal, [0.0, time])[1] == pytest.approx(left)


def test_landweber_is_gradient_descent_and_tends_to_the_flow():
    J, goal, rate, steps = draw(6, 9), draw(6, purpose="goal"), 0.01, 25
    found = theory.spectrum(theory.kernel(J), (1, 2, 3))
    weights = torch.zeros(9, dtype=torch.float64)
    for _ in range(steps):
        weights -= rate * J.T @ (J @ weights - goal)
    factors = theory.landweber(found.values, steps, rate)
    assert torch.allclose(found.filtered(goal, factors).flatten(), J @ weights)
    fine = theory.landweber(found.values, 250_000, 1e-6)
    assert torch.allclose(fine, theory.gradient_flow(found.values, 0.25), atol=1e-4)


def test_tikhonov_is_ridge_regression_and_the_posterior_mean():
    J, goal, weight = draw(6, 9), draw(6, purpose="goal"), 0.3
    found = theory.spectrum(theory.kernel(J), (1, 2, 3))
    inside = J.T @ J + weight * torch.eye(9, dtype=torch.float64)
    ridge = J @ torch.linalg.solve(inside, J.T @ goal)
    smooth = found.filtered(goal, theory.tikhonov(found.values, weight)).flatten()
    assert torch.allclose(smooth, ridge)
    K = theory.kernel(J)
    posterior = K @ torch.linalg.solve(K + weight * torch.eye(6, dtype=torch.float64), goal)
    assert torch.allclose(smooth, posterior)


def test_bias_and_variance_are_what_many_draws_of_noise_show():
    found, wanted, sigma = theory.spectrum(circulant(4, 4)[0], (1, 4, 4)), draw(1, 4, 4), 0.5
    factors = theory.gradient_flow(found.values, 1.5)
    noise = sigma * draw(4000, 1, 4, 4, purpose="noise")
    errors = [found.filtered(wanted + n, factors) - wanted for n in noise]
    bias, variance = theory.bias_variance(found, wanted, sigma, factors)
    measured = torch.stack(errors).square().mean()
    assert bias + variance == pytest.approx(float(measured), rel=0.03)
    projection = (torch.arange(16) < 4).double()  # four of sixteen directions: (p/N) σ²
    assert theory.bias_variance(found, wanted, sigma, projection)[1] == pytest.approx(sigma**2 / 4)


def test_pixels_prefer_nothing():
    K = theory.kernel(theory.jacobian(Pixels(1, 4, 4), torch.zeros(1, 1, 4, 4)))
    assert torch.equal(K, torch.eye(16, dtype=torch.float64))


def test_a_circulant_kernel_is_stationary_and_others_become_so():
    K, _ = circulant(4, 6)
    assert torch.allclose(theory.stationary(K, (1, 4, 6)), K)
    some = draw(24, 24)
    some = some @ some.T
    mean = theory.stationary(some, (1, 4, 6))
    assert torch.allclose(theory.stationary(mean, (1, 4, 6)), mean)
    assert torch.allclose(mean, mean.T)
    assert abs(((some - mean) * mean).sum()) < 1e-6 * some.norm() ** 2  # a projection
    with pytest.raises(InputError, match="one channel"):
        theory.stationary(torch.eye(12), (3, 2, 2))


def estimates(K, draws, purpose):
    """A covariance, as this many draws of it show."""
    root = torch.linalg.cholesky(K)
    samples = root @ draw(len(K), draws, purpose=purpose)
    return samples @ samples.T / draws


def test_a_stationary_covariance_has_no_distance_however_few_its_draws():
    """The distance of one estimate is its own noise; crossed with another one's it cancels."""
    blur, _ = circulant(4, 6)
    K, shape = blur @ blur.T + 0.1 * torch.eye(24), (1, 4, 6)
    squares, alone = [], []
    for trial in range(40):
        one, two = (estimates(K, 50, f"{trial}{name}") for name in "ab")
        squares.append(theory.from_stationary(one, two, shape) ** 2)
        alone.append(theory.from_stationary(one, one, shape) ** 2)
    assert np.mean(alone) > 0.05  # what one would report who knows no better
    assert np.mean(squares) < 0.1 * np.mean(alone)


def test_the_distance_of_another_covariance_is_found_from_draws():
    blur, _ = circulant(4, 6)
    K, shape = blur @ blur.T + 0.1 * torch.eye(24), (1, 4, 6)
    strength = torch.linspace(0.5, 1.5, 24, dtype=torch.float64)
    K = strength[:, None] * K * strength  # strong on one side, weak on the other
    by_step = {}
    for i, j in itertools.product(range(24), repeat=2):
        y, x = j // 6 - i // 6, j % 6 - i % 6
        if (y, x) in {(0, 0), (0, 1), (1, 0), (1, 1), (-1, 1)}:  # up to a quarter of 4x6 pixels
            by_step.setdefault((y, x), []).append(float(K[i, j]))
    squares = [
        len(pairs) * np.array([np.var(pairs), np.mean(pairs) ** 2]) for pairs in by_step.values()
    ]
    apart, common = sum(squares)
    wanted = (apart / common) ** 0.5
    assert theory.from_stationary(K, K, shape) == pytest.approx(wanted)
    found = theory.from_stationary(estimates(K, 4000, "a"), estimates(K, 4000, "b"), shape)
    assert found == pytest.approx(wanted, rel=0.05) and wanted > 0.2


def test_what_lies_at_the_border_can_be_left_out():
    place = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"), -1)
    place = place.reshape(64, 2)
    K = torch.exp(-torch.cdist(place, place)).double()
    assert theory.from_stationary(K, K, (1, 8, 8)) == pytest.approx(0, abs=1e-6)
    border = ((place < 1) | (place > 6)).any(1)
    K[border] *= 0.5
    K[:, border] *= 0.5
    assert theory.from_stationary(K, K, (1, 8, 8)) > 0.1
    assert theory.from_stationary(K, K, (1, 8, 8), margin=1) == pytest.approx(0, abs=1e-6)


def test_the_mean_frequency_of_a_wave_is_its_own():
    x = torch.arange(32)
    wave = torch.cos(2 * np.pi * 5 * x / 32).expand(32, 32)
    both = torch.stack([wave, torch.ones(32, 32)])
    chess = (-1.0) ** (x + x[:, None])
    assert theory.mean_frequency(chess).item() == pytest.approx(0.5**0.5)
    assert theory.mean_frequency(both).tolist() == pytest.approx([5 / 32, 0], abs=1e-6)
