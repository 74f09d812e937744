"""What one image tells of its noise: whether it was clipped, its level, its correlation."""

import math

import pytest
import torch

import diplearn as dip
from diplearn import baselines, degrade, images, noise
from diplearn.errors import InputError

VALUES = torch.linspace(0, 1, 101)


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.4])
def test_mean_and_deviation_of_clipped_noise_are_those_of_many_draws(sigma):
    image = VALUES[::10].expand(100_000, 11).clone()
    noisy = image + sigma * torch.randn(image.shape)
    noisy = noisy.clamp(0, 1).double()
    close = {"rtol": 0, "atol": 5 * sigma / math.sqrt(len(image))}
    torch.testing.assert_close(noise.clipped_mean(image[0], sigma).double(), noisy.mean(0), **close)
    torch.testing.assert_close(noise.clipped_std(image[0], sigma).double(), noisy.std(0), **close)


def test_the_square_about_the_truth_is_variance_and_bias():
    image, sigma = images.load("hubble", size=64), 0.15
    bias = noise.clipped_mean(image, sigma) - image
    square = (noise.clipped_std(image, sigma).square() + bias.square()).mean()
    assert square == pytest.approx(noise.clipped_variance(image, sigma).item(), rel=1e-4)


@pytest.mark.parametrize("sigma", [0, 0.001, 0.1, 0.5, 1.0])
def test_unclip_inverts_the_mean(sigma):
    found = noise.unclip(noise.clipped_mean(VALUES.double(), sigma), sigma)
    assert (found - VALUES).abs().max() < 1e-6
    assert noise.unclip(VALUES, sigma).diff().min() >= 0  # also of what no clipping could make
    assert noise.unclip(VALUES, sigma).aminmax() == (0, 1)


def test_unclip_at_one_end_leaves_the_other():
    mean = noise.clipped_mean(VALUES, 0.1)
    black, white = noise.unclip(mean, 0.1, white=False), noise.unclip(mean, 0.1, black=False)
    assert (black - VALUES)[:50].abs().max() < 1e-5 and torch.equal(black[80:], mean[80:])
    assert (white - VALUES)[50:].abs().max() < 1e-5 and torch.equal(white[:20], mean[:20])
    assert torch.equal(noise.unclip(mean, 0.1, black=False, white=False), mean)


def test_a_map_of_levels_counts_pixel_by_pixel():
    levels = torch.linspace(0, 0.3, 101)
    for function in (noise.clipped_mean, noise.clipped_std, noise.unclip):
        each = torch.stack([function(v, s) for v, s in zip(VALUES, levels)])
        torch.testing.assert_close(function(VALUES, levels), each)


@pytest.mark.parametrize("sigma", [-0.1, math.nan, math.inf, torch.tensor([0.1, -0.1])])
def test_impossible_levels(sigma):
    image = torch.rand(2)
    for function in (noise.clipped_mean, noise.clipped_std, noise.unclip):
        with pytest.raises(InputError, match="0 or more"):
            function(image, sigma)


def test_unclipping_brings_a_denoised_image_closer_to_the_truth():
    problem = dip.denoising(images.load("coffee", size=128), sigma=25 / 255)
    mean = baselines.non_local_means(problem)
    gain = dip.psnr(noise.unclip(mean, 25 / 255), problem.truth) - dip.psnr(mean, problem.truth)
    assert gain > 0.4  # dB


def ends(observation, sigma=None):
    """What the trace of clipping says of an observation, with non-local means as the estimate."""
    problem = dip.Problem(observation, sigma=sigma)
    sigma = max(problem.noise_level(), 1e-3)
    return noise.clipped_ends(problem.observation, baselines.non_local_means(problem), sigma)


CLEAN = images.load("coffee", size=128)
NOISY = degrade.gaussian_noise(CLEAN, 25 / 255)


def with_bars(image):
    barred = image.clone()
    barred[:, :20] = barred[:, -20:] = 0
    return barred


CLIPPED = {
    "weak": (degrade.gaussian_noise(CLEAN, 10 / 255), 10 / 255),
    "usual": (NOISY, 25 / 255),
    "strong": (degrade.gaussian_noise(CLEAN, 50 / 255), 50 / 255),
    "of estimated level": (NOISY, None),
    "in 8 bits": ((NOISY * 255).round() / 255, 25 / 255),
    "beside black bars": (with_bars(NOISY), 25 / 255),
}


@pytest.mark.parametrize("case", CLIPPED)
def test_clipped_noise_leaves_a_trace(case):
    assert ends(*CLIPPED[case]) == (True, True)


def weak_noise_inside(image):
    """Noise that is found only where the image is neither black nor white."""
    inside = (image > 0) & (image < 1)
    return torch.where(inside, degrade.gaussian_noise(image, 0.02).clamp(0.01, 0.99), image)


OTHERS = {
    "none at all": (CLEAN, None),
    "rounding to 8 bits": ((CLEAN * 255).round() / 255, None),
    "black bars": (with_bars(degrade.gaussian_noise(0.2 + 0.6 * CLEAN, 15 / 255)), 15 / 255),
    "overexposure": ((1.5 * CLEAN).clamp(0, 1), None),
    "overexposure with noise": (weak_noise_inside((1.5 * CLEAN).clamp(0, 1)), 0.02),
    "a camera": (degrade.camera(CLEAN), None),
    "a camera without JPEG": (degrade.camera(CLEAN, 6400, quality=None), None),
    "a smaller range": (0.05 + 0.9 * NOISY, 0.9 * 25 / 255),
    "photons": (degrade.poisson_noise(CLEAN, 30), None),
    "salt and pepper": (degrade.salt_and_pepper(CLEAN), None),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_noise_and_other_blacks_do_not(case):
    assert ends(*OTHERS[case]) == (False, False)


def test_a_grey_camera_has_no_gaussian_noise_in_the_dark():
    """In the light it has: there the gamma is nearly linear, and the sensor's noise is clipped."""
    assert not ends(degrade.camera(CLEAN[:1], 6400, quality=None))[0]


def test_the_range_that_a_stretch_fills_is_no_clipping():
    noisy = CLEAN + 25 / 255 * torch.randn(CLEAN.shape)
    width = noisy.max() - noisy.min()
    assert ends((noisy - noisy.min()) / width, float(25 / 255 / width)) == (False, False)


def test_the_ends_are_judged_one_by_one():
    dark = 0.6 * CLEAN
    assert ends(degrade.gaussian_noise(dark, 0.1), 0.1) == (True, False)
    assert ends(degrade.gaussian_noise(1 - dark, 0.1), 0.1) == (False, True)


def test_an_estimate_of_another_shape():
    with pytest.raises(InputError, match="same shape"):
        noise.clipped_ends(CLEAN, CLEAN[:1], 0.1)
