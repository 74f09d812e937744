"""Problems: what goes together, what does not, and what is said then."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch

from diplearn import images, operators, problems
from diplearn.errors import ImageError, InputError
from diplearn.operators import Blur, Downsample, Mask
from diplearn.problems import Problem


@pytest.fixture(scope="module")
def clean():
    return images.load("astronaut", size=64)


def test_denoising(clean):
    problem = problems.denoising(clean, sigma=0.1, seed=3)
    assert problem.task == "denoising" and problem.sigma == 0.1
    assert torch.equal(problem.truth, clean)
    assert torch.equal(problem.observation, operators.gaussian_noise(clean, 0.1, 3))
    assert torch.equal(problems.denoising(clean, 0.1, 3).observation, problem.observation)
    assert not torch.equal(problems.denoising(clean, 0.1, 4).observation, problem.observation)


@pytest.mark.parametrize(("factor", "small"), [(2, (3, 32, 32)), (5, (3, 13, 13)), (8, (3, 8, 8))])
def test_super_resolution(clean, factor, small):
    problem = problems.super_resolution(clean, factor)
    assert problem.task == "super_resolution" and problem.shape == clean.shape
    assert problem.observation.shape == small
    assert torch.equal(problem.observation, Downsample(factor)(clean).clamp(0, 1))


def test_ones_own_small_picture_becomes_larger():
    problem = Problem(torch.rand(3, 5, 7), Downsample(4))
    assert problem.shape == (3, 20, 28) and problem.task == "super_resolution"


@pytest.mark.parametrize("mask", [0.5, np.float32(0.5), Mask.hole(64, 64), torch.eye(64) == 0])
def test_inpainting(clean, mask):
    problem = problems.inpainting(clean, mask)
    assert problem.task == "inpainting"
    known = problem.operator.known
    assert 0 < problem.operator.missing < 1
    assert torch.equal(problem.observation, clean * known)
    assert torch.equal(problem.truth, clean)


def test_what_is_missing_is_hidden_from_the_fit(clean):
    mask = Mask.pixels(64, 64)
    assert torch.equal(Problem(clean, mask).observation, clean * mask.known)


def test_jpeg_and_deblurring(clean):
    problem = problems.jpeg(clean, quality=20)
    assert problem.task == "jpeg" and problem.sigma is None
    assert torch.equal(problem.observation, operators.jpeg(clean, 20))
    problem = problems.deblurring(clean, width=2)
    assert problem.task == "deblurring"
    assert torch.allclose(problem.observation, Blur(2)(clean).clamp(0, 1))


@pytest.mark.parametrize("shape", [(1, 17, 31), (3, 40, 5000), (1, 16, 16)])
def test_odd_and_oblong_pictures(shape):
    picture = torch.rand(shape)
    for make in (
        problems.denoising,
        problems.super_resolution,
        problems.inpainting,
        problems.jpeg,
        problems.deblurring,
    ):
        assert make(picture).shape == shape


MAKERS = [
    problems.denoising,
    problems.super_resolution,
    problems.inpainting,
    problems.jpeg,
    problems.deblurring,
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (torch.rand(32, 32, 3), "the clean picture .*looks like"),
        (torch.full((3, 32, 32), math.nan), "NaN"),
        (torch.full((3, 32, 32), 255.0), "255"),
        (torch.rand(3, 1, 1), "1x1"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "uint8"),
    ],
)
def test_what_is_no_clean_picture(make, picture, words):
    with pytest.raises(ImageError, match=words):
        make(picture)


@pytest.mark.parametrize("make", [problems.denoising, problems.deblurring, problems.inpainting])
@pytest.mark.parametrize(
    ("sigma", "words"), [(-1, "no noise level"), (math.nan, "no noise level"), (25, "25/255")]
)
def test_impossible_noise_levels(clean, make, sigma, words):
    with pytest.raises(InputError, match=words):
        make(clean, sigma=sigma)
    with pytest.raises(InputError, match=words):
        Problem(clean, sigma=sigma)


@pytest.mark.parametrize("factor", [1, 2.5, 0])
def test_impossible_factors(clean, factor):
    with pytest.raises(InputError, match="factor="):
        problems.super_resolution(clean, factor)


def test_a_factor_that_leaves_nothing():
    with pytest.raises(InputError, match="factor=10 leaves less than 2 pixels of a 30x16 picture"):
        problems.super_resolution(torch.rand(1, 16, 30), factor=10)


def test_a_small_picture_that_stays_too_small():
    with pytest.raises(InputError, match="sought would be 8x12 pixels; at least 16"):
        Problem(torch.rand(1, 6, 4), Downsample(2))


@pytest.mark.parametrize(
    "mask", [Mask.hole(64, 65), Mask.hole(65, 64), Mask(torch.eye(64).expand(3, 64, 64))]
)
def test_a_mask_of_another_size(mask):
    with pytest.raises(InputError, match=r"mask has shape \(., 6., 6.\).*\(1, 64, 64\).*same size"):
        Problem(torch.rand(1, 64, 64), mask)


def test_a_mask_with_everything_missing(clean):
    with pytest.raises(InputError, match="every pixel is missing"):
        problems.inpainting(clean, torch.zeros(64, 64))


@pytest.mark.parametrize("mask", [0.0, torch.ones(64, 64)])
def test_a_mask_with_nothing_missing(clean, mask):
    with pytest.warns(UserWarning, match="nothing is missing"):
        problems.inpainting(clean, mask)


def test_a_warning_is_given_once(clean):
    with pytest.warns(UserWarning):
        problem = problems.inpainting(clean, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert problem.to("cpu") is problem


def test_a_mask_of_grey_values(clean):
    with pytest.raises(InputError, match="threshold it first"):
        problems.inpainting(clean, torch.rand(64, 64))


@pytest.mark.parametrize("fraction", [1, 1.5, -0.2])
def test_an_impossible_fraction_of_missing_pixels(clean, fraction):
    with pytest.raises(InputError, match="missing=.*fraction"):
        problems.inpainting(clean, fraction)


def test_a_truth_that_does_not_fit(clean):
    with pytest.raises(InputError, match=r"makes \(3, 64, 64\).*observation has shape \(3, 32, 32"):
        Problem(clean[:, :32, :32], truth=clean)
    with pytest.raises(InputError, match=r"makes \(3, 16, 16\)"):
        Problem(clean[:, :32, :32], Downsample(4), truth=clean)
    with pytest.raises(ImageError, match="^the truth holds"):
        Problem(clean, truth=clean * 2)


def test_a_broken_observation_is_named(clean):
    with pytest.raises(ImageError, match="^the observation has .* NaN"):
        Problem(clean * math.nan)


def test_an_unknown_task_lists_the_known_ones(clean):
    with pytest.raises(InputError, match="'dehazing'; there are denoising, jpeg, super"):
        Problem(clean, task="dehazing")


def test_without_a_truth_what_needs_it_says_so(clean):
    with pytest.raises(InputError, match="^run.psnr compares with the clean picture.*your own"):
        Problem(clean).need_truth("run.psnr")
    assert torch.equal(Problem(clean, truth=clean).need_truth("run.psnr"), clean)


@pytest.mark.parametrize("sigma", [10, 25, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_noise_level_is_estimated(sigma, channels):
    picture = images.load("chelsea", size=256)[:channels]
    noisy = operators.gaussian_noise(picture, sigma / 255)
    assert Problem(noisy, sigma=0.5).noise_level() == 0.5
    assert Problem(noisy).noise_level() * 255 == pytest.approx(sigma, rel=0.15)


def test_through_a_mask_the_noise_level_cannot_be_estimated(clean):
    with pytest.raises(InputError, match="through a mask; give sigma"):
        Problem(clean, Mask.hole(64, 64)).noise_level()


def test_a_problem_cannot_be_changed_and_prints_short(clean):
    problem = problems.denoising(clean)
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.sigma = 1
    assert repr(problem) == (
        "<Problem denoising: picture of shape (3, 64, 64), truth known, sigma 0.09804>"
    )
    assert problem != problems.denoising(clean)  # and no error from comparing tensors
