"""Classical methods: each is better than doing nothing, and none looks at the truth."""

import dataclasses
import importlib.util
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from diplearn import baselines, degrade, images, metrics, operators, problems
from diplearn.errors import InputError
from diplearn.problems import Problem

needs_bm3d = pytest.mark.skipif(
    importlib.util.find_spec("bm3d") is None and not os.environ.get("CI"),
    reason="needs the package bm3d: pip install 'diplearn[compare]'",
)

# Name -> (method, the problem, the gain in dB over the observation that it must reach).
DENOISERS = {
    "total variation": (baselines.tv, 6),
    "wavelets": (baselines.wavelets, 4.5),
    "non-local means": (baselines.non_local_means, 7),
    "NL-Ridge": (baselines.nl_ridge, 8),
}


def gain(method, problem):
    restored = method(problem)
    assert restored.shape == problem.truth.shape and restored.dtype == torch.float32
    images.check(restored)
    before = metrics.psnr(problem.observation, problem.truth)
    return metrics.psnr(restored, problem.truth) - before


@pytest.fixture(scope="module")
def clean():
    return images.load("coffee", size=128)


@pytest.mark.parametrize("name", DENOISERS)
@pytest.mark.parametrize("image", ["camera", "coffee"])
def test_denoisers_gain(name, image):
    method, least = DENOISERS[name]
    assert gain(method, problems.denoising(images.load(image, size=256))) > least


@needs_bm3d
@pytest.mark.parametrize(("name", "size"), [("camera", 96), ("coffee", 48)])
def test_bm3d_gains_most(name, size):
    problem = problems.denoising(images.load(name, size=size))
    assert gain(baselines.bm3d, problem) > gain(baselines.non_local_means, problem) > 2


def test_bm3d_runs_once_at_a_time(clean, monkeypatch):
    inside, most = [], []

    class Package:  # the real one aborts the process when two threads call it
        @staticmethod
        def bm3d(array, sigma):
            inside.append(1)
            time.sleep(0.02)
            most.append(len(inside))
            inside.pop()
            return array

        bm3d_rgb = bm3d

    monkeypatch.setattr(baselines, "_bm3d_package", lambda: Package)
    problem = problems.denoising(clean, 0.1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(baselines.bm3d, [problem] * 8))
    assert most == [1] * 8


def test_bm3d_missing_is_said_with_the_remedy(clean, monkeypatch):
    monkeypatch.setattr(baselines, "_bm3d_package", lambda: None)
    with pytest.raises(InputError, match=r"pip install 'diplearn\[compare\]'"):
        baselines.bm3d(problems.denoising(clean))
    restored, table = baselines.compare(problems.denoising(clean))
    assert list(table.index) == list(DENOISERS)


def test_total_variation_runs_until_it_has_converged():
    # With scikit-image's tolerance it stops early: here at 30.0 dB, with other weights at 24.
    problem = problems.denoising(images.load("moon", size=256), sigma=50 / 255)
    assert metrics.psnr(baselines.tv(problem), problem.truth) > 30.5


def test_the_median_removes_salt_and_pepper(clean):
    noisy = degrade.salt_and_pepper(clean, 0.1)
    assert gain(baselines.median_filter, Problem(noisy, truth=clean)) > 8


def test_biharmonic_fills_in(clean):
    for mask in (0.5, operators.Mask.text(128, 128), operators.Mask.hole(128, 128, size=0.1)):
        problem = problems.inpainting(clean, mask)
        restored = baselines.biharmonic(problem)
        assert gain(baselines.biharmonic, problem) > 10
        known = problem.operator.known[0] > 0.5
        assert torch.allclose(restored[:, known], clean[:, known], atol=1e-6)


@pytest.mark.parametrize("factor", [2, 4])
def test_bicubic_is_pillows(factor):
    problem = problems.super_resolution(images.load("camera", size=128), factor)
    small = Image.fromarray(problem.observation[0].numpy())
    pillows = np.asarray(small.resize((128, 128), Image.BICUBIC)).clip(0, 1)
    difference = np.abs(baselines.interpolate(problem)[0].numpy() - pillows)
    edge = 2 * factor  # where conventions differ
    assert difference[edge:-edge, edge:-edge].max() < 1e-5
    assert difference.max() < 0.1


def test_lanczos_is_a_little_better_than_bicubic(clean):
    problem = problems.super_resolution(clean, 4)
    bicubic, lanczos = (f(problem) for f in (baselines.interpolate, baselines.lanczos))
    assert metrics.psnr(lanczos, clean) > metrics.psnr(bicubic, clean) > 20


@pytest.mark.parametrize("kernel", ["cubic", "lanczos2", "lanczos3"])
@pytest.mark.parametrize("shape", [(1, 17, 31), (3, 16, 400)])
@pytest.mark.parametrize("factor", [2, 3, 8])
def test_interpolation_keeps_what_is_flat_at_any_size(kernel, shape, factor):
    problem = problems.super_resolution(torch.full(shape, 0.3), factor)
    large = baselines.interpolate(problem, kernel)
    assert large.shape == shape
    assert (large - 0.3).abs().max() < 1e-5


@pytest.mark.parametrize("task", ["denoising", "jpeg", "super_resolution", "inpainting"])
def test_compare_runs_the_methods_of_the_task(clean, task):
    problem = getattr(problems, task)(clean)
    methods = {k: v for k, v in baselines.BY_TASK[task].items() if k != "BM3D"}  # slow
    restored, table = baselines.compare(problem, methods)
    assert list(restored) == list(table.index) == list(methods)
    assert list(table.columns) == ["seconds", "psnr", "ssim"]
    for name, image in restored.items():
        assert table.psnr[name] == metrics.psnr(image, clean)
    assert (table.seconds > 0).all()


def test_compare_leaves_bm3d_out_only_where_it_is_missing(clean, monkeypatch):
    problem = problems.denoising(clean)
    quick = dict.fromkeys(baselines.BY_TASK["denoising"], lambda problem: problem.observation)
    monkeypatch.setitem(baselines.BY_TASK, "denoising", quick)
    monkeypatch.setattr(baselines, "_bm3d_package", lambda: "here")
    assert "BM3D" in baselines.compare(problem)[0]
    monkeypatch.setattr(baselines, "_bm3d_package", lambda: None)
    assert "BM3D" not in baselines.compare(problem)[0]
    assert "BM3D" in baselines.BY_TASK["denoising"]


def test_without_a_truth_the_table_has_no_quality(clean):
    noisy = degrade.gaussian_noise(clean)
    restored, table = baselines.compare(Problem(noisy), {"tv": baselines.tv})
    assert list(table.columns) == ["seconds"] and list(restored) == ["tv"]


def test_a_task_without_classical_methods_gives_an_empty_table(clean):
    restored, table = baselines.compare(problems.deblurring(clean))
    assert restored == {} and table.empty


METHODS = {
    "denoising": [*(method for method, _ in DENOISERS.values()), baselines.median_filter],
    "super_resolution": [baselines.interpolate, baselines.lanczos],
    "inpainting": [baselines.biharmonic],
}


@pytest.mark.parametrize(
    ("task", "method"), [(task, method) for task in METHODS for method in METHODS[task]]
)
def test_no_method_looks_at_the_truth(clean, task, method):
    problem = getattr(problems, task)(clean)
    other = dataclasses.replace(problem, truth=clean.flip(-1))
    assert torch.equal(method(problem), method(other))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", METHODS["denoising"])
def test_without_noise_almost_nothing_changes(clean, method):
    assert metrics.psnr(method(Problem(clean, sigma=0)), clean) > 24


@needs_bm3d
def test_bm3d_without_noise_changes_almost_nothing():
    clean = images.load("camera", size=64)
    assert metrics.psnr(baselines.bm3d(Problem(clean, sigma=0)), clean) > 40


# Images that are flat in places, or grey.


def flat_in_places():
    noise = 0.1 * torch.randn(48, 48, generator=torch.Generator().manual_seed(0))
    camera = (images.load("camera", size=48)[0] + noise).clamp(0, 1)
    made = {name: torch.zeros(3, 48, 48) for name in ("red", "green", "yellow")}
    made["red"][0] = made["green"][1] = camera
    made["yellow"][:2] = camera
    made |= {"grey as colour": camera.expand(3, -1, -1), "black": torch.zeros(3, 48, 48)}
    made |= {"grey": torch.full((3, 48, 48), 0.3), "one black": torch.zeros(1, 48, 48)}
    made["ramp"] = torch.linspace(0, 1, 48).expand(3, 48, 48)
    made["half white"] = torch.where(torch.arange(48) < 24, camera, 1.0).expand(3, -1, -1)
    return {name: image.clone() for name, image in made.items()}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", flat_in_places())
@pytest.mark.parametrize("method", METHODS["denoising"])
def test_images_that_are_flat_in_places_are_denoised(name, method):
    image = flat_in_places()[name]
    restored = images.check(method(Problem(image)))
    assert restored.shape == image.shape
    flat = image.flatten(1).std(dim=1) == 0
    assert (restored[flat] - image[flat]).abs().sum() < 0.02 * image.numel()


@needs_bm3d
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["red", "green", "grey as colour", "black", "grey", "half white"])
def test_bm3d_of_images_without_some_colours(name):
    image = flat_in_places()[name]
    restored = images.check(baselines.bm3d(Problem(image)))
    assert (restored - image).abs().mean() < 0.1
    if name == "grey as colour":
        clean = images.load("camera", size=48).expand(3, -1, -1)
        assert metrics.psnr(restored, clean) > metrics.psnr(image, clean) + 3


def test_biharmonic_fills_each_channel_by_its_own_mask(clean):
    known = torch.cat([operators.Mask.pixels(128, 128, 0.3, seed).known for seed in range(3)])
    restored = baselines.biharmonic(problems.inpainting(clean, known))
    assert torch.allclose(restored * known, clean * known, atol=1e-6)
    for channel in range(3):
        alone = problems.inpainting(clean[channel : channel + 1], known[channel])
        assert torch.equal(restored[channel], baselines.biharmonic(alone)[0])


@pytest.mark.filterwarnings("error")
def test_a_channel_of_which_nothing_is_known_is_grey(clean):
    known = operators.Mask.hole(128, 128, size=0.1).known.repeat(3, 1, 1)
    known[1] = 0
    problem = problems.inpainting(clean, known)
    restored, table = baselines.compare(problem)
    assert torch.equal(restored["biharmonic"][1], torch.full((128, 128), 0.5))
    assert torch.allclose((restored["biharmonic"] * known), clean * known, atol=1e-6)
    assert np.isfinite(table.to_numpy(dtype=float)).all()
