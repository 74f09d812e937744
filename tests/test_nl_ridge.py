"""NL-Ridge: the weights are those of the formula, and each step earns its place."""

import math

import pytest
import torch

from diplearn import baselines, degrade, images, metrics, nl_ridge, problems
from diplearn.errors import InputError

SIGMA = 25 / 255


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def noisy_and_clean(name, size, sigma=SIGMA):
    clean = images.load(name, size=size)
    return degrade.gaussian_noise(clean, sigma), clean


# The weights.


def test_step_one_takes_the_weights_of_steins_estimate():
    Y, variance = 0.2 * noise(2, 6, 25).abs() + 0.1, 0.01
    Q, D = Y.double() @ Y.double().mT, 25 * variance * torch.eye(6, dtype=torch.float64)
    theta = torch.eye(6) - 1.05 * D @ torch.linalg.inv(Q + 0.05 * D)
    estimate, weight = nl_ridge._first(Y, torch.full((2, 6, 1), variance))
    assert torch.allclose(estimate, (theta @ Y.double()).float(), atol=1e-5)
    squares = theta.square().sum(-1, keepdim=True).clamp(1 / 6, 1)
    assert torch.allclose(weight, (1 / squares).float(), rtol=1e-4)


@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("k", [5, 40])  # fewer and more patches than pixels in a patch
def test_guided_weights_are_the_ridges_for_the_mean_and_the_rest(k, varies):
    n = 25
    X, Y = (noise(3, k, n, seed=seed) for seed in (1, 2))
    variance = 0.3 * (1 + varies * noise(3, k, 1, seed=3).abs())
    estimate, weight = nl_ridge._guided(Y, variance, X)
    squares = 0
    for band in (slice(0, 1), slice(1, n)):
        x, m = X[..., band].double(), len(range(n)[band])
        D = torch.diag_embed((m * variance.double())[..., 0])
        theta = x @ x.mT @ torch.linalg.inv(x @ x.mT + D)
        assert torch.allclose(
            estimate[..., band], (theta @ Y[..., band].double()).float(), atol=1e-4
        )
        squares = squares + theta.square().sum(-1, keepdim=True) * m / n
    if not varies:  # then the weights of the mean are exact
        assert torch.allclose(weight, (1 / squares.clamp(1 / (k * n), 1)).float(), rtol=1e-3)
    assert weight.min() >= 1 and weight.max() <= k * n


def test_the_pilots_patches_are_kept_where_there_is_hardly_any_noise():
    X = noise(1, 9, 25)
    estimate, _ = nl_ridge._guided(X, torch.full((1, 9, 1), 1e-12), X)
    assert torch.allclose(estimate, X, atol=0.02)


def test_the_mean_and_the_rest_are_parted_by_a_reflection():
    turn = nl_ridge._mean_and_rest(5)
    assert torch.allclose(turn @ turn, torch.eye(25), atol=1e-6)
    patch = noise(25)
    assert (patch @ turn)[0] == pytest.approx(float(5 * patch.mean()), abs=1e-5)
    assert torch.allclose((torch.ones(25) @ turn)[1:], torch.zeros(24), atol=1e-6)


def test_colours_are_rotated_and_white_noise_stays_white():
    image = noise(3, 8, 8)
    assert torch.allclose(nl_ridge._rotate(nl_ridge._rotate(image), back=True), image, atol=1e-6)
    ones = torch.ones(3, 2, 2)
    assert torch.allclose(nl_ridge._rotate(ones, squared=True), ones, atol=1e-6)
    assert nl_ridge._rotate(ones)[1:].abs().max() < 1e-6  # grey has luminance only


# The search.


@pytest.mark.parametrize("shape", [(16, 16), (16, 50), (41, 23)])
def test_groups_hold_the_reference_and_the_nearest_patches(shape):
    image, search = noise(*shape), nl_ridge._Search(side=5, k=9, stride=4, window=11)
    height, width = (size - 4 for size in shape)
    rows = nl_ridge._grid(height, 4)
    tall, wide = min(11, height), min(11, width)
    tops = (rows - tall // 2).clamp(0, height - tall)
    groups = nl_ridge._groups(image, rows, tops, search)
    patches = nl_ridge._patches(image, 5)
    references = [(int(r), int(c)) for r in rows for c in nl_ridge._grid(width, 4)]
    assert groups.shape == (len(references), 9)
    for (row, column), group in list(zip(references, groups))[::3]:
        top = min(max(row - tall // 2, 0), height - tall)
        left = min(max(column - wide // 2, 0), width - wide)
        window = torch.arange(height * width).view(height, width)
        window = window[top : top + tall, left : left + wide].flatten()
        distance = (patches[window] - patches[row * width + column]).square().sum(1)
        nearest = window[distance.argsort()[:9]]
        assert set(group.tolist()) == set(nearest.tolist())
        assert row * width + column in group


# The whole.


def test_the_noise_of_a_flat_image_nearly_vanishes():
    noisy = 0.5 + SIGMA * noise(1, 64, 64)
    restored = nl_ridge.denoise(noisy, SIGMA)
    assert abs(float(restored.mean() - noisy.mean())) < 0.002
    assert (restored - 0.5).square().mean().sqrt() < SIGMA / 8


def test_it_is_better_than_non_local_means():
    problem = problems.denoising(images.load("camera", size=128), SIGMA)
    restored = baselines.nl_ridge(problem)
    rival = metrics.psnr(baselines.non_local_means(problem), problem.truth)
    assert metrics.psnr(restored, problem.truth) > rival + 1


@pytest.mark.parametrize("sigma", [5 / 255, 15 / 255, 50 / 255])
def test_it_gains_at_low_and_high_noise(sigma):
    noisy, clean = noisy_and_clean("coffee", 64, sigma)
    restored = nl_ridge.denoise(noisy, sigma).clamp(0, 1)
    gain = metrics.psnr(restored, clean) - metrics.psnr(noisy, clean)
    assert gain > {5: 1, 15: 4, 50: 7}[round(255 * sigma)]


def test_strong_noise_gets_one_more_step(monkeypatch):
    noisy, clean = noisy_and_clean("astronaut", 96, 50 / 255)
    gained = metrics.psnr(nl_ridge.denoise(noisy, 50 / 255), clean)
    monkeypatch.setattr(nl_ridge, "_STRONG", 1)
    assert gained > metrics.psnr(nl_ridge.denoise(noisy, 50 / 255), clean) + 0.05


def test_only_strong_noise_gets_it(monkeypatch):
    noisy, _ = noisy_and_clean("astronaut", 64)
    usual = nl_ridge.denoise(noisy, SIGMA)
    half = torch.full_like(noisy, SIGMA)
    half[:, :, 32:] = 50 / 255  # strong in half of the image, and so in the mean
    mixed = nl_ridge.denoise(noisy, half)
    monkeypatch.setattr(nl_ridge, "_STRONG", 1)
    assert torch.equal(nl_ridge.denoise(noisy, SIGMA), usual)
    assert not torch.equal(nl_ridge.denoise(noisy, half), mixed)


@pytest.mark.parametrize("sides", [(16, 16), (16, 50), (33, 40)])
def test_small_images_with_strong_noise(sides):
    noisy = 0.5 + 50 / 255 * noise(1, *sides)
    restored = nl_ridge.denoise(noisy, 50 / 255)
    assert restored.std() < noisy.std() / 2


def test_the_better_the_pilot_the_better_the_result():
    noisy, clean = noisy_and_clean("camera", 64)
    own = nl_ridge.denoise(noisy, SIGMA)
    results = [nl_ridge.guided_step(noisy, SIGMA, pilot) for pilot in (noisy, own, clean)]
    worst, middle, best = (metrics.psnr(image, clean) for image in results)
    assert worst + 0.5 < middle < best - 2
    assert metrics.psnr(nl_ridge.denoise(noisy, SIGMA, pilot=clean), clean) > middle + 1


def test_mirrored_transposed_and_darker_images_give_the_same_result():
    noisy, clean = noisy_and_clean("chelsea", 64)
    restored = nl_ridge.denoise(noisy, SIGMA)
    for turn in (lambda u: u.flip(-1), lambda u: u.flip(-2), lambda u: u.mT):
        turned = turn(nl_ridge.denoise(turn(noisy), SIGMA))
        # The grid starts at another corner, and the transposed one at the same.
        assert (turned - restored).square().mean().sqrt() < 0.006
    darker = nl_ridge.denoise(noisy / 100, SIGMA / 100)
    assert torch.allclose(100 * darker, restored, atol=2e-3)


def test_nothing_is_clipped_and_nothing_is_random():
    noisy = images.load("camera", size=32) * 3 - 1 + SIGMA * noise(1, 32, 32)
    before = noisy.clone()
    restored = nl_ridge.denoise(noisy, SIGMA)
    assert restored.min() < -0.5 and restored.max() > 1.5
    assert torch.equal(nl_ridge.denoise(noisy, SIGMA), restored)
    assert torch.equal(noisy, before)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (3, 17, 31), (1, 16, 90), (3, 75, 19)])
def test_images_of_any_size_are_denoised(shape):
    clean = torch.linspace(0, 1, shape[2]).expand(shape)
    noisy = clean + SIGMA * noise(*shape)
    restored = nl_ridge.denoise(noisy, SIGMA)
    assert restored.shape == shape and restored.dtype == torch.float32
    assert (restored - clean).square().mean() < 0.4 * (noisy - clean).square().mean()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_images_stay_as_they_are(channels, level):
    flat = torch.full((channels, 20, 24), level)
    for sigma in (1e-8, 1e-3, SIGMA, 10.0):
        # Weights that shrink the unknown signal towards 0 by as much as noise of this level asks.
        assert torch.isfinite(nl_ridge.denoise(flat, sigma)).all()
    assert torch.allclose(nl_ridge.denoise(flat, 0.02), flat, atol=0.01)


def test_without_noise_the_image_is_returned():
    noisy, _ = noisy_and_clean("coffee", 32)
    for sigma in (0, 0.0, torch.zeros(3, 1, 1)):
        restored = nl_ridge.denoise(noisy, sigma)
        assert torch.equal(restored, noisy) and restored is not noisy
    assert metrics.psnr(nl_ridge.denoise(noisy, 0.2 / 255).clamp(0, 1), noisy) > 55


# Noise that depends on the signal.


def test_a_map_of_one_value_is_that_value():
    noisy, _ = noisy_and_clean("coffee", 40)
    one = nl_ridge.denoise(noisy, SIGMA)
    for sigma in (torch.tensor(SIGMA), torch.full((40, 40), SIGMA), torch.full((3, 1, 1), SIGMA)):
        assert torch.allclose(nl_ridge.denoise(noisy, sigma), one, atol=1e-5)


def test_a_map_of_the_noise_is_better_than_its_mean_level():
    clean = images.load("camera", size=64)
    sigma = torch.where(torch.arange(64) < 32, 8 / 255, 48 / 255).expand(1, 64, 64)
    noisy = clean + sigma * noise(1, 64, 64)
    level = float(sigma.square().mean().sqrt())
    told, guessed = (metrics.psnr(nl_ridge.denoise(noisy, s), clean) for s in (sigma, level))
    assert told > guessed + 1


def test_a_map_with_places_free_of_noise_keeps_them():
    clean = images.load("camera", size=48)
    sigma = torch.where(torch.arange(48) < 24, 0.0, SIGMA).expand(1, 48, 48)
    noisy = clean + sigma * noise(1, 48, 48)
    restored = nl_ridge.denoise(noisy, sigma)
    assert torch.isfinite(restored).all()
    assert (restored - clean)[..., :16].abs().mean() < 0.01


# What is refused.


@pytest.mark.parametrize("sigma", [-0.1, math.nan, math.inf, torch.tensor([[0.1, -0.1]] * 8)])
def test_impossible_noise_levels_are_refused(sigma):
    with pytest.raises(InputError, match="sigma must be finite and not negative"):
        nl_ridge.denoise(torch.rand(1, 16, 16), sigma)


def test_shapes_that_do_not_fit_are_refused():
    image = torch.rand(3, 16, 20)
    with pytest.raises(InputError, match=r"sigma has shape \(16, 16\)"):
        nl_ridge.denoise(image, torch.ones(16, 16))
    with pytest.raises(InputError, match="the pilot has shape"):
        nl_ridge.guided_step(image, SIGMA, image[:, :, :16])
    with pytest.raises(InputError, match="at least 16"):
        nl_ridge.denoise(image[:, :12], SIGMA)
    with pytest.raises(InputError, match="NaN"):
        nl_ridge.denoise(image * math.nan, SIGMA)
