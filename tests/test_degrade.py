"""Noise that a seed repeats, JPEG, and what is said of impossible values."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image

from diplearn import degrade, images
from diplearn.errors import InputError
from diplearn.operators import Mask
from diplearn.randomness import generator

GREY = torch.full((3, 80, 90), 0.5)

NOISES = {
    "gaussian": lambda seed: degrade.gaussian_noise(GREY, 0.1, seed),
    "poisson": lambda seed: degrade.poisson_noise(GREY, 30, seed),
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
    [degrade.gaussian_noise, degrade.poisson_noise, degrade.salt_and_pepper, degrade.jpeg],
)
def test_arrays_get_the_same_noise_as_tensors(make):
    image = images.load("camera", size=32)
    for same in (image.numpy().astype(">f4"), np.broadcast_to(image.numpy(), (1, 32, 32))):
        assert torch.equal(make(same), make(image))
    for wrong in ("photo.png", np.ma.array(image.numpy(), mask=image.numpy() > 0.5)):
        with pytest.raises(InputError, match="not a tensor|masked array"):
            make(wrong)
