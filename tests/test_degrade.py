"""Noise that a seed repeats, JPEG, and what is said of impossible values."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image

import diplearn as dip
from diplearn import degrade, images
from diplearn.errors import InputError
from diplearn.operators import Mask
from diplearn.randomness import generator

GREY = torch.full((3, 80, 90), 0.5)

NOISES = {
    "gaussian": lambda seed: degrade.gaussian_noise(GREY, 0.1, seed),
    "poisson": lambda seed: degrade.poisson_noise(GREY, 30, seed),
    "camera": lambda seed: degrade.camera(GREY, seed=seed),
    "salt and pepper": lambda seed: degrade.salt_and_pepper(GREY, 0.2, seed),
    "missing pixels": lambda seed: Mask.pixels(80, 90, 0.5, seed).known,
}


@pytest.mark.parametrize("make", NOISES.values(), ids=NOISES)
def test_a_seed_repeats_the_noise_and_the_global_state_is_left_alone(make):
    torch.manual_seed(7)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    first = make(0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()
    torch.manual_seed(8)
    assert torch.equal(make(0), first)
    assert not torch.equal(make(1), first)


def test_each_purpose_has_numbers_of_its_own():
    draws = [torch.rand(4, generator=generator(0, purpose)) for purpose in ("noise", "z", "mask")]
    assert len({tuple(draw.tolist()) for draw in draws}) == 3


@pytest.mark.parametrize("seed", [-1, 1.5, math.nan, "0", None])
@pytest.mark.parametrize("make", NOISES.values(), ids=NOISES)
def test_impossible_seeds(make, seed):
    with pytest.raises(InputError, match="seed=.*whole number of at least 0"):
        make(seed)


def test_gaussian_noise_has_the_level_asked_for():
    noisy = degrade.gaussian_noise(GREY, 25 / 255)
    assert (noisy - GREY).std().item() == pytest.approx(25 / 255, rel=0.03)
    assert noisy.mean().item() == pytest.approx(0.5, abs=0.003)
    channels = (noisy - GREY).flatten(1)
    assert torch.corrcoef(channels).fill_diagonal_(0).abs().max() < 0.05  # drawn for each channel


def test_gaussian_noise_is_clipped_unless_told_otherwise():
    assert degrade.gaussian_noise(GREY, 1.0).aminmax() == (0, 1)
    low, high = degrade.gaussian_noise(GREY, 1.0, clip=False).aminmax()
    assert low < -1 and high > 2
    assert torch.equal(degrade.gaussian_noise(GREY, 0), GREY)


@pytest.mark.parametrize("sigma", [-0.1, math.nan, math.inf])
def test_impossible_noise_levels(sigma):
    with pytest.raises(InputError, match="sigma=.* is not a noise level"):
        degrade.gaussian_noise(GREY, sigma)


def test_a_noise_level_in_grey_values_gets_a_hint():
    with pytest.raises(InputError, match="did you mean 25/255"):
        degrade.gaussian_noise(GREY, 25)


def test_poisson_noise_counts_photons():
    noisy = degrade.poisson_noise(GREY, peak=100)
    assert noisy.mean().item() == pytest.approx(0.5, abs=0.003)
    assert noisy.var().item() == pytest.approx(0.5 / 100, rel=0.05)  # variance = mean / peak
    assert ((noisy * 100) - (noisy * 100).round()).abs().max() < 1e-4
    assert degrade.poisson_noise(torch.ones(1, 50, 50), peak=5).max() == 1
    assert degrade.poisson_noise(torch.zeros(1, 50, 50)).max() == 0


@pytest.mark.parametrize("peak", [0, -1, math.nan, math.inf])
def test_impossible_photon_counts(peak):
    with pytest.raises(InputError, match="peak=.*more than 0 photons"):
        degrade.poisson_noise(GREY, peak)


def test_salt_and_pepper_replace_whole_pixels():
    noisy = degrade.salt_and_pepper(GREY, amount=0.2)
    assert noisy.unique().tolist() == [0, 0.5, 1]
    assert (noisy[0] == 0).float().mean().item() == pytest.approx(0.1, abs=0.015)
    assert (noisy[0] == 1).float().mean().item() == pytest.approx(0.1, abs=0.015)
    assert torch.equal(noisy[0], noisy[1])
    assert torch.equal(degrade.salt_and_pepper(GREY, 0), GREY)
    assert set(degrade.salt_and_pepper(GREY, 1).unique().tolist()) == {0, 1}


@pytest.mark.parametrize("amount", [-0.1, 1.1, math.nan])
def test_impossible_amounts_of_salt(amount):
    with pytest.raises(InputError, match="amount=.*fraction"):
        degrade.salt_and_pepper(GREY, amount)


def linear(image):
    return torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def test_a_grey_cameras_noise_is_that_of_electrons():
    """In linear light the mean is the image, and the variance is a x + b."""
    a = 1600 / 100 / degrade.FULL_WELL
    for value in (0.3, 0.5, 0.8):
        image = torch.full((1, 128, 128), value)
        photo = linear(degrade.camera(image, iso=1600, quality=None))
        x = linear(torch.tensor(value)).item()
        assert photo.mean().item() == pytest.approx(x, rel=0.01)
        variance = a * x + (degrade.READ_NOISE * a) ** 2
        assert photo.var().item() == pytest.approx(variance, rel=0.05)


def test_the_mosaic_shows_each_sensor_one_colour_and_interpolates_the_others():
    image = images.load("coffee", size=32)
    photo = degrade.camera(image, iso=1e-4, quality=None)  # without noise
    red, green, blue = (photo - image).abs()
    seen = red[::2, ::2], green[::2, 1::2], green[1::2, ::2], blue[1::2, 1::2]
    assert all(part.max() < 1e-4 for part in seen)
    x = linear(image)
    between = degrade._gamma((x[0, 4, 4] + x[0, 4, 6]) / 2)  # red, between two sensors of a row
    assert photo[0, 4, 5].item() == pytest.approx(between.item(), abs=1e-4)
    around = degrade._gamma((x[1, 3, 4] + x[1, 5, 4] + x[1, 4, 3] + x[1, 4, 5]) / 4)
    assert photo[1, 4, 4].item() == pytest.approx(around.item(), abs=1e-4)
    flat = torch.full((3, 33, 35), 0.4)  # nothing to interpolate wrongly, not even at the edges
    assert (degrade.camera(flat, iso=1e-4, quality=None) - flat).abs().max() < 1e-4


def test_neighbours_have_similar_noise_in_a_colour_photograph_only():
    def alike(image):
        noise = degrade.camera(image, quality=None)[0] - image[0]
        return torch.corrcoef(torch.stack([noise[:, :-1].flatten(), noise[:, 1:].flatten()]))[0, 1]

    assert alike(torch.full((3, 128, 128), 0.5)) > 0.4
    assert abs(alike(torch.full((1, 128, 128), 0.5))) < 0.03


def test_a_cameras_gain_and_its_jpeg():
    image = images.load("coffee", size=128)
    quality = [dip.psnr(degrade.camera(image, iso), image) for iso in (100, 1600, 6400)]
    assert quality == sorted(quality, reverse=True)
    assert quality[1] == pytest.approx(26.0, abs=0.3) and quality[2] == pytest.approx(21.4, abs=0.3)
    raw = degrade.camera(image, quality=None)
    assert torch.equal(degrade.camera(image, quality=50), degrade.jpeg(raw, 50))


@pytest.mark.parametrize("iso", [0, -100, math.nan, math.inf])
def test_impossible_gains(iso):
    with pytest.raises(InputError, match="iso=.*above 0"):
        degrade.camera(GREY, iso)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_a_file_would_hold(tmp_path, channels):
    image = images.load("astronaut", size=64)[:channels]
    spoilt = degrade.jpeg(image, quality=30)
    assert spoilt.shape == image.shape and spoilt.dtype == torch.float32
    Image.fromarray(images.to_uint8(image)).save(tmp_path / "a.jpg", quality=30)
    assert torch.equal(images.read(tmp_path / "a.jpg"), spoilt)


def test_jpeg_errors_grow_as_the_quality_falls():
    image = images.load("astronaut", size=64)
    error = [(degrade.jpeg(image, q) - image).square().mean() for q in (95, 50, 10, 1)]
    assert error == sorted(error) and error[0] < 1e-3


@pytest.mark.parametrize("quality", [0, 96, 100, 10.5, math.nan, "10", None])
def test_impossible_qualities(quality):
    with pytest.raises(InputError, match="quality=.*from 1 to 95"):
        degrade.jpeg(GREY, quality)


@pytest.mark.parametrize(
    "make",
    [
        degrade.gaussian_noise, degrade.poisson_noise, degrade.salt_and_pepper, degrade.jpeg,
        degrade.camera,
    ],
)  # fmt: skip
def test_arrays_get_the_same_noise_as_tensors(make):
    image = images.load("camera", size=32)
    for same in (image.numpy().astype(">f4"), np.broadcast_to(image.numpy(), (1, 32, 32))):
        assert torch.equal(make(same), make(image))
    for wrong in ("photo.png", np.ma.array(image.numpy(), mask=image.numpy() > 0.5)):
        with pytest.raises(InputError, match="not a tensor|masked array"):
            make(wrong)
