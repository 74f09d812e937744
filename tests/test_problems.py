"""Problems: what goes together, what does not, and what is said then."""

import dataclasses
import math
import pickle
import warnings

import numpy as np
import pytest
import skimage
import torch

from diplearn import degrade, images, problems, recipes
from diplearn.errors import ImageError, InputError
from diplearn.operators import Blur, Downsample, Mask
from diplearn.problems import Problem
from diplearn.stopping import Discrepancy, Sure


@pytest.fixture(scope="module")
def clean():
    return images.load("astronaut", size=64)


def test_what_was_moved_is_moved_once_and_not_kept_in_a_pickle():
    problem = problems.inpainting(images.load("camera", size=32))
    moved = problem.to("meta")
    assert problem.to("meta") is moved and moved.observation.device.type == "meta"
    assert problem.varied(sigma=0.5).to("meta") is not moved
    again = pickle.loads(pickle.dumps(problem))
    assert "_moved" not in vars(again) and torch.equal(again.observation, problem.observation)


def test_denoising(clean):
    problem = problems.denoising(clean, sigma=0.1, seed=3)
    assert problem.task == "denoising" and problem.sigma == 0.1
    assert torch.equal(problem.truth, clean)
    assert torch.equal(problem.observation, degrade.gaussian_noise(clean, 0.1, 3))
    assert torch.equal(problems.denoising(clean, 0.1, 3).observation, problem.observation)
    assert not torch.equal(problems.denoising(clean, 0.1, 4).observation, problem.observation)


@pytest.mark.parametrize(("factor", "small"), [(2, (3, 32, 32)), (5, (3, 13, 13)), (8, (3, 8, 8))])
def test_super_resolution(clean, factor, small):
    problem = problems.super_resolution(clean, factor)
    assert problem.task == "super_resolution" and problem.shape == clean.shape
    assert problem.observation.shape == small
    assert torch.equal(problem.observation, Downsample(factor)(clean).clamp(0, 1))


def test_ones_own_small_image_becomes_larger():
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
    assert torch.equal(problem.observation, degrade.jpeg(clean, 20))
    problem = problems.deblurring(clean, width=2)
    assert problem.task == "deblurring"
    assert torch.allclose(problem.observation, Blur(2)(clean).clamp(0, 1))


def test_a_photograph(clean):
    problem = problems.camera(clean, iso=3200, seed=1)
    assert problem.task == "denoising" and problem.sigma is None
    assert torch.equal(problem.truth, clean)
    assert torch.equal(problem.observation, degrade.camera(clean, 3200, 1))
    raw = problems.camera(clean, iso=3200, seed=1, quality=None)
    assert not torch.equal(raw.observation, problem.observation)


@pytest.mark.parametrize("shape", [(1, 17, 31), (3, 40, 5000), (1, 16, 16)])
def test_odd_and_oblong_images(shape):
    image = torch.rand(shape)
    for make in (
        problems.denoising,
        problems.super_resolution,
        problems.inpainting,
        problems.jpeg,
        problems.deblurring,
    ):
        assert make(image).shape == shape


MAKERS = [
    problems.denoising,
    problems.super_resolution,
    problems.inpainting,
    problems.jpeg,
    problems.deblurring,
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.rand(32, 32, 3), "the clean image .*looks like"),
        (torch.full((3, 32, 32), math.nan), "NaN"),
        (torch.full((3, 32, 32), 255.0), "255"),
        (torch.rand(3, 1, 1), "1x1"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "uint8"),
    ],
)
def test_what_is_no_clean_image(make, image, words):
    with pytest.raises(ImageError, match=words):
        make(image)


@pytest.mark.parametrize("make", [problems.denoising, problems.deblurring, problems.inpainting])
@pytest.mark.parametrize(
    ("sigma", "words"), [(-1, "not a noise level"), (math.nan, "not a noise level"), (25, "25/255")]
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
    with pytest.raises(InputError, match="factor=10 leaves less than 2 pixels of a 30x16 image"):
        problems.super_resolution(torch.rand(1, 16, 30), factor=10)


def test_a_small_image_that_stays_too_small():
    with pytest.raises(InputError, match="restore would be 8x12 pixels; at least 16"):
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
    with pytest.raises(
        InputError,
        match=r"^the truth has .* makes \(3, 64, 64\), but the observation has shape \(3, 32, 32",
    ):
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
    with pytest.raises(InputError, match="^run.psnr compares with the clean image.*your own"):
        Problem(clean).need_truth("run.psnr")
    assert torch.equal(Problem(clean, truth=clean).need_truth("run.psnr"), clean)


@pytest.mark.parametrize("sigma", [10, 25, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_noise_level_is_estimated(sigma, channels):
    image = images.load("chelsea", size=256)[:channels]
    noisy = degrade.gaussian_noise(image, sigma / 255)
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
        "<Problem denoising: image of shape (3, 64, 64), truth known, sigma 0.09804>"
    )
    assert problem != problems.denoising(clean)  # and no error from comparing tensors


# Noise levels of images that are flat in places.


def noisy(shape, sigma=0.1, base=0.5, seed=0):
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return (base + sigma * noise).clamp(0, 1)


def flat(*values):
    return torch.tensor(values)[:, None, None].expand(-1, 96, 96).clone()


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("told", [[0], [1], [2], [0, 2], [0, 1, 2]])
@pytest.mark.filterwarnings("error")
def test_only_channels_with_detail_tell_the_noise(value, told):
    image = flat(value, value, value)
    image[told] = noisy((len(told), 96, 96))
    assert Problem(image).noise_level() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("values", [(0.0,), (0.3,), (1.0,), (0.0, 0.0, 0.0), (0.2, 0.3, 1 / 3)])
@pytest.mark.filterwarnings("error")
def test_where_there_is_no_detail_there_is_no_noise(values):
    assert Problem(flat(*values)).noise_level() == 0
    assert Problem(flat(*values), Blur(2)).noise_level() == 0
    assert Problem(flat(*values)[:, :1, :1], Downsample(16)).noise_level() == 0


def test_a_ramp_is_no_noise():
    ramp = torch.linspace(0, 1, 96).expand(3, 96, 96) * torch.linspace(0, 1, 96)[:, None]
    assert Problem(ramp).noise_level() < 1e-6


@pytest.mark.parametrize("background", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [24, 40, 80, 96])
def test_a_flat_region_says_nothing_about_the_noise_in_the_rest(background, rows):
    image = flat(background)
    image[:, :rows] = noisy((1, rows, 96))
    assert Problem(image).noise_level() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("base", [0.0, 1.0])
def test_clipped_noise_is_underestimated_but_found(base):
    assert 0.03 < Problem(noisy((3, 96, 96), base=base)).noise_level() < 0.1


def drawings():
    square = flat(0.3)
    square[:, 40:60, 40:60] = 0.6
    letters = Mask.text(96, 96, lines=3).known
    return [
        square,
        letters,
        0.1 + 0.8 * letters,
        1 - letters,
        flat(0.3) + 0.2 * Mask.hole(96, 96).known,
    ]


@pytest.mark.parametrize("number", range(5))
def test_the_edges_of_a_drawing_are_no_noise(number):
    assert Problem(drawings()[number]).noise_level() == 0


@pytest.mark.parametrize("name", ["camera", "astronaut", "retina"])
def test_an_ordinary_image_is_estimated_as_scikit_image_does(name):
    observation = problems.denoising(images.load(name, size=128), sigma=25 / 255).observation
    array = images.to_array(observation)
    axis = -1 if array.ndim == 3 else None
    theirs = skimage.restoration.estimate_sigma(array, channel_axis=axis, average_sigmas=True)
    assert Problem(observation).noise_level() == float(theirs)


@pytest.mark.parametrize("name", ["paper", "lab"])
def test_recipes_for_images_that_are_flat_in_places(name):
    one = flat(0.0, 0.0, 0.0)
    one[1] = noisy((96, 96))
    for image in (one, flat(0.0), flat(0.3, 0.3, 0.3)):
        recipe = recipes.choose(name, Problem(image))
        assert math.isfinite(recipe.input_noise)
    as_usual = recipes.choose(name, Problem(noisy((3, 96, 96))))
    assert recipes.choose(name, Problem(one)) == as_usual


@pytest.mark.parametrize("rule", [Sure, Discrepancy])
def test_rules_that_need_noise_work_or_refuse(rule):
    one = flat(0.0, 0.0, 0.0)
    one[0] = noisy((96, 96))
    ready = rule()
    ready.prepare(Problem(one), recipes.lab("denoising"))
    assert ready.level == pytest.approx(0.1, rel=0.05)
    for image in (flat(0.0), flat(0.3, 0.3, 0.3)):
        with pytest.raises(InputError, match="needs noise, and this problem has none"):
            rule().prepare(Problem(image), recipes.lab("denoising"))


# The four targets of the impedance experiment.


def test_noise_has_the_colours_of_the_image(clean):
    clean = 0.4 + 0.2 * clean  # so weak a contrast that nothing is clipped
    noise = problems.impedance(clean)["noise"].observation
    assert torch.allclose(noise.mean(dim=(1, 2)), clean.mean(dim=(1, 2)), atol=0.005)
    there, wanted = noise.flatten(1).cov(), clean.flatten(1).cov()
    assert torch.allclose(there, wanted, rtol=0.1) and there[0, 1] > 0.5 * there[0, 0]
    neighbours = torch.corrcoef(torch.stack([noise[:, 1:].flatten(), noise[:, :-1].flatten()]))
    assert abs(neighbours[0, 1]) < 0.1  # white


def test_noise_for_images_whose_channels_are_equal_or_flat(clean):
    grey = clean.mean(dim=0, keepdim=True)
    for image in (grey, grey.repeat(3, 1, 1)):
        noise = problems.impedance(image)["noise"].observation
        assert torch.allclose(noise, noise[:1].expand_as(noise), atol=1e-5)
        assert 0.7 < noise.var() / image.var() < 1.1  # clipping takes some
    flat = problems.impedance(torch.full((3, 32, 32), 0.4))["noise"].observation
    assert torch.allclose(flat, torch.tensor(0.4), atol=1e-3)


# Arrays in the place of tensors.


@pytest.mark.parametrize("dtype", [">f4", "<f8", np.longdouble])
def test_problems_of_arrays(clean, dtype):
    array = clean.numpy().astype(dtype)
    array.flags.writeable = False
    assert torch.equal(Problem(array, truth=array).truth, clean)
    for make in MAKERS:
        assert torch.equal(make(array).observation, make(clean).observation)
    assert torch.equal(
        problems.inpainting(array, Mask.hole(64, 64).known.numpy().astype(">i4")).observation,
        problems.inpainting(clean, Mask.hole(64, 64)).observation,
    )


def test_problems_of_masked_arrays_are_refused(clean):
    masked = np.ma.array(clean.numpy(), mask=clean.numpy() > 0.9)
    for make in (*MAKERS, Problem, lambda image: Problem(clean, truth=image)):
        with pytest.raises(ImageError, match="masked array with .* masked values"):
            make(masked)
    with pytest.raises(InputError, match="the mask is a masked array"):
        problems.inpainting(clean, masked)
