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


@pytest.mark.parametrize("kept", [0.1, 0.2, 0.3])
def test_an_estimate_that_keeps_some_noise(kept):
    """As NL-Ridge did in the white sky of an unseen image, which then stayed too dark by 1.6 dB."""
    sigma = 25 / 255
    sky = images.load("rocket", size=128)
    sky[:, :64] = 1
    observation = degrade.gaussian_noise(sky, sigma)
    mean = noise.clipped_mean(sky, sigma)
    estimate = mean + kept * (observation - mean)
    assert noise.clipped_ends(observation, estimate, sigma)[1]


def test_where_nothing_is_flat_single_pixels_are_judged():
    stripes = torch.tensor([0.0, 0.5]).repeat(1, 64, 32)
    observation = degrade.gaussian_noise(stripes, 0.1)
    assert noise.clipped_ends(observation, noise.clipped_mean(stripes, 0.1), 0.1) == (True, False)


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


MIDDLE = 0.25 + 0.5 * images.load("chelsea", size=128)  # nothing is clipped


@pytest.mark.parametrize("given", [False, True])
def test_white_noise_has_one_level_everywhere(given):
    noisy = degrade.gaussian_noise(MIDDLE, 20 / 255)
    levels = noise.level_map(noisy, MIDDLE if given else None)
    assert levels.shape == noisy.shape
    assert (levels * 255 / 20 - 1).abs().quantile(0.95) < (0.1 if given else 0.15)
    assert noise.level(noisy, MIDDLE if given else None) == pytest.approx(20 / 255, rel=0.07)


@pytest.mark.parametrize("given", [False, True])
def test_the_level_of_photon_noise_grows_as_the_root_of_the_brightness(given):
    noisy = degrade.poisson_noise(MIDDLE, peak=100)
    levels = noise.level_map(noisy, MIDDLE if given else None)
    wanted = (MIDDLE / 100).sqrt()
    assert (levels / wanted - 1).abs().mean() < (0.07 if given else 0.12)
    dark, bright = MIDDLE < MIDDLE.quantile(0.1), MIDDLE > MIDDLE.quantile(0.9)
    ratio = wanted[bright].mean() / wanted[dark].mean()
    assert levels[bright].mean() / levels[dark].mean() == pytest.approx(float(ratio), rel=0.2)


def deviation(image, draws, make):
    """The standard deviation of each pixel over many draws, and the noise itself."""
    several = torch.stack([make(image, seed) for seed in range(1, draws + 1)])
    return several.std(0), several - several.mean(0)


@pytest.fixture(scope="module")
def photograph():
    """An observation, the true standard deviation of its noise, and its true autocovariance."""
    clean = images.load("coffee", size=128)
    std, draws = deviation(clean, 30, lambda image, seed: degrade.camera(image, 6400, seed))
    covariance = torch.zeros(3, 5, 5)
    for row in range(5):
        for column in range(5):
            shifted = draws.roll((2 - row, 2 - column), (2, 3))
            covariance[:, row, column] = (draws * shifted).mean((0, 2, 3)) * 30 / 29
    return degrade.camera(clean, 6400, seed=0), std, covariance


def test_the_level_map_of_a_photograph(photograph):
    observation, std, _ = photograph
    levels = noise.level_map(observation)
    assert (levels - std).abs().mean() < 0.2 * std.mean()
    assert torch.corrcoef(torch.stack([levels.flatten(), std.flatten()]))[0, 1] > 0.6


def test_the_level_of_a_photograph_is_not_that_of_its_finest_wavelets(photograph):
    observation, std, _ = photograph
    true = std.square().mean().sqrt().item()
    assert noise.level(observation) == pytest.approx(true, rel=0.12)
    assert dip.Problem(observation).noise_level() < 0.5 * true


def test_the_autocovariance_of_a_photograph(photograph):
    observation, _, true = photograph
    found = noise.autocovariance(observation, reach=2)
    found, true = (each / each[:, 2:3, 2:3] for each in (found, true))
    assert (found - true).abs().max() < 0.12
    assert true[:, 2, 3].min() > 0.45  # neighbours have similar noise
    torch.testing.assert_close(found, found.flip(1, 2))  # it is symmetric
    assert noise.correlation(observation) == pytest.approx(0.54, abs=0.08)


@pytest.mark.parametrize(
    "make", [degrade.gaussian_noise, degrade.poisson_noise, degrade.salt_and_pepper]
)
def test_independent_noise_has_no_correlation(make):
    for name in ("coffee", "chelsea", "motorcycle"):
        assert abs(noise.correlation(make(images.load(name, size=128)))) < 0.25


def test_the_noise_of_a_grey_image():
    noisy = degrade.gaussian_noise(images.load("camera", size=128), 20 / 255)
    assert abs(noise.correlation(noisy)) < 0.08
    assert noise.level(noisy) == pytest.approx(20 / 255, rel=0.2)  # clipped in the dark


def test_with_the_truth_the_autocovariance_of_white_noise_is_a_peak():
    noisy = degrade.gaussian_noise(MIDDLE, 0.1)
    covariance = noise.autocovariance(noisy, MIDDLE, reach=3)
    assert covariance.shape == (3, 7, 7)
    assert covariance[:, 3, 3].sqrt().tolist() == pytest.approx([0.1] * 3, rel=0.05)
    covariance[:, 3, 3] = 0
    assert covariance.abs().max() < 0.06 * 0.1**2


def test_images_without_noise_or_almost_without_pixels():
    flat = torch.full((3, 40, 40), 0.5)
    assert noise.level(flat) == 0 and (noise.level_map(flat) == 0).all()
    assert noise.correlation(flat) == 0
    tiny = degrade.gaussian_noise(flat[:, :16, :16], 0.1)
    assert noise.level(tiny) == pytest.approx(0.1, rel=0.3)
    one_channel = torch.cat([flat[:1], degrade.gaussian_noise(flat[1:], 0.1)])
    assert (noise.level_map(one_channel)[0] == 0).all()
    assert noise.level_map(one_channel)[1:].mean() == pytest.approx(0.1, rel=0.1)


def test_what_does_not_fit_the_observation():
    for function in (noise.level_map, noise.level, noise.autocovariance, noise.correlation):
        with pytest.raises(InputError, match="same shape"):
            function(CLEAN, CLEAN[:1])
    for reach in (-1, 2.5, 64):
        with pytest.raises(InputError, match="reach="):
            noise.autocovariance(CLEAN, CLEAN, reach)
