"""Measures: against scikit-image's own, and against values known beforehand."""

import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from diplearn import images, metrics
from diplearn.degrade import gaussian_noise
from diplearn.errors import InputError
from diplearn.operators import Blur


@pytest.fixture(scope="module")
def pair():
    clean = images.load("astronaut", size=96)
    return gaussian_noise(clean, 0.1), clean


def test_psnr_of_a_known_error():
    truth = torch.full((3, 16, 16), 0.5)
    assert metrics.psnr(truth + 0.1, truth) == pytest.approx(20, abs=1e-5)
    assert metrics.psnr(truth, truth) == math.inf
    assert metrics.psnr(truth + 9, truth) == pytest.approx(metrics.psnr(truth + 0.5, truth))


def test_psnr_is_scikit_images(pair):
    a, b = (image.numpy() for image in pair)
    expected = peak_signal_noise_ratio(b, a, data_range=1)
    assert metrics.psnr(*pair) == pytest.approx(expected, abs=1e-4)


def test_psnr_of_the_luma_is_that_of_super_resolution_tables(pair):
    # rgb2ycbcr takes RGB in [0, 1] and gives Y in [16, 235].
    a, b = (rgb2ycbcr(images.to_array(p).astype(float))[4:-4, 4:-4, 0] / 255 for p in pair)
    expected = peak_signal_noise_ratio(b, a, data_range=1)
    assert metrics.psnr(*pair, luma=True, shave=4) == pytest.approx(expected, abs=1e-4)
    assert abs(metrics.psnr(*pair) - expected) > 0.5  # so that mixing them up would show


def test_luminance_is_scikit_images(pair):
    expected = rgb2ycbcr(images.to_array(pair[1]).astype(float))[..., 0] / 255
    assert np.allclose(metrics.luminance(pair[1])[0].numpy(), expected, atol=1e-6)
    grey = pair[1][:1]
    assert metrics.luminance(grey) is grey


def test_ssim_is_the_authors(pair):
    a, b = (images.to_array(image) for image in pair)
    expected = structural_similarity(
        b,
        a,
        data_range=1,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert metrics.ssim(*pair) == pytest.approx(expected, abs=1e-5)
    assert metrics.ssim(pair[1], pair[1]) == pytest.approx(1)
    assert metrics.ssim(pair[0][:1], pair[1][:1]) < 0.9
    assert 0 < metrics.ssim(*pair, luma=True, shave=4) < 0.95


def test_shaving_leaves_the_edges_out():
    truth = torch.full((1, 20, 20), 0.5)
    image = truth.clone()
    image[:, :, :2] = 0
    assert metrics.psnr(image, truth) < 20
    assert metrics.psnr(image, truth, shave=2) == math.inf


@pytest.mark.parametrize(
    ("measure", "shave", "words"),
    [
        (metrics.psnr, 8, "16x16 pixels are too few with shave=8"),
        (metrics.ssim, 3, "at least 11 must be left"),
        (metrics.psnr, -1, "shave=-1"),
        (metrics.psnr, 0.5, "shave=0.5"),
    ],
)
def test_impossible_margins(measure, shave, words):
    with pytest.raises(InputError, match=words):
        measure(torch.rand(1, 16, 16), torch.rand(1, 16, 16), shave=shave)


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim, metrics.band_correspondence])
def test_images_of_different_shapes_are_not_compared(measure):
    with pytest.raises(InputError, match=r"\(3, 16, 16\).*\(1, 16, 16\)"):
        measure(torch.rand(3, 16, 16), torch.rand(1, 16, 16))


def test_a_blur_takes_the_high_frequencies_first():
    target = images.load("astronaut", size=128)
    bands = metrics.band_correspondence(Blur(1.0)(target), target)
    assert bands.shape == (5,)
    assert bands[0] > 0.9 and bands[-1] < 0.3
    assert (np.diff(bands) < 0).all()
    assert metrics.band_correspondence(target / 2, target, 3) == pytest.approx([0.5] * 3)


@pytest.mark.filterwarnings("error")
def test_a_band_without_anything_to_compare_is_nan():
    bands = metrics.band_correspondence(torch.rand(1, 32, 32), torch.full((1, 32, 32), 0.5))
    assert bands[0] > 0 and np.isnan(bands[1:]).all()


def test_bands_of_an_oblong_image():
    image = torch.rand(3, 17, 400)
    assert metrics.band_correspondence(image, image, 4) == pytest.approx([1] * 4)
    with pytest.raises(InputError, match="bands=0"):
        metrics.band_correspondence(image, image, 0)


MEASURES = [metrics.psnr, metrics.ssim, metrics.band_correspondence]


@pytest.mark.parametrize("measure", MEASURES)
def test_arrays_are_compared_as_tensors_are(pair, measure):
    expected = measure(*pair)
    first, second = (image.numpy() for image in pair)
    for same in (first.astype(">f4"), np.asfortranarray(first), first.tolist()):
        assert np.array_equal(measure(same, second), expected)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda p: p[0], "an image is .C, H, W."),
        (lambda p: p.permute(1, 2, 0), r"looks like \(H, W, C\)"),
        (lambda p: p[None], "an image is .C, H, W."),
        (lambda p: (255 * p).to(torch.uint8), "holds torch.uint8; divide"),
        (lambda p: np.ma.array(p.numpy(), mask=p.numpy() > 0.5), "masked array"),
        (lambda p: "photo.png", "a str, not a tensor"),
        (lambda p: None, "a NoneType"),
    ],
)
def test_what_cannot_be_compared(pair, measure, broken, words):
    for number in (0, 1):
        given = list(pair)
        given[number] = broken(given[number])
        with pytest.raises(InputError, match=words):
            measure(*given)
    if measure is metrics.psnr:
        with pytest.raises(InputError, match=words):
            metrics.luminance(broken(pair[0]))
