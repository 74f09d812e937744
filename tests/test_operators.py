"""Operators: their adjoints, the published downsampler, masks, and one of a user's own."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import diplearn as dip
from diplearn import baselines, energy, images, operators
from diplearn.errors import InputError
from diplearn.operators import Blur, Downsample, Identity, Mask, Operator

quickly = settings(derandomize=True, deadline=None, max_examples=150, database=None)

KERNELS = ("lanczos2", "lanczos3", "cubic", "box")


def noise(shape, seed, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class EverySecondRow(Operator):
    """An interlaced camera: a user's own operator, which changes the size of the image."""

    def __call__(self, image):
        return image[..., ::2, :]

    def adjoint(self, observation, shape):
        image = observation.new_zeros(shape)
        image[..., ::2, :] = observation
        return image

    def observed_shape(self, shape):
        return (*shape[:-2], -(-shape[-2] // 2), shape[-1])

    def image_shape(self, shape):
        return (*shape[:-2], 2 * shape[-2], shape[-1])


# Adjoints: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩.


@st.composite
def operators_and_shapes(draw):
    side = st.integers(16, 70)
    shape = (draw(st.sampled_from([1, 3])), draw(side), draw(side))
    kind = draw(st.sampled_from(["identity", "downsample", "mask", "blur", "own"]))
    if kind == "downsample":
        return Downsample(draw(st.integers(2, 8)), draw(st.sampled_from(KERNELS))), shape
    if kind == "blur":
        return Blur(draw(st.floats(0.05, 20))), shape
    if kind == "mask":
        return draw(masks(*shape)), shape
    if kind == "own":
        return EverySecondRow(), shape
    return Identity(), shape


@st.composite
def masks(draw, channels, height, width):
    kind = draw(st.sampled_from(["pixels", "text", "hole", "own", "own per channel"]))
    if kind == "pixels":
        missing = draw(st.floats(0, 0.9))
        return Mask.pixels(height, width, missing, seed=draw(st.integers(0, 99)))
    if kind == "text":
        return Mask.text(height, width, lines=draw(st.integers(1, 20)))
    if kind == "hole":
        fraction = st.floats(0.05, 0.6)
        return Mask.hole(height, width, draw(fraction), draw(fraction), draw(fraction))
    planes = channels if kind == "own per channel" else 1
    return Mask(noise((planes, height, width), draw(st.integers(0, 99))) > 0)


@quickly
@given(operators_and_shapes(), st.integers(0, 99))
def test_the_projection_is_the_nearest_image_that_explains_the_observation(drawn, seed):
    A, shape = drawn
    if not isinstance(A, Mask | Downsample):
        image = noise(shape, seed)
        assert A.project(image, A(image)) is image
        return
    image, truth = noise(shape, seed), noise(shape, seed + 100)
    projected = A.project(image, A(truth))
    scale = 1 + projected.abs().max()
    assert (A(projected) - A(truth)).abs().max() < 1e-8 * scale
    assert (A.project(projected, A(truth)) - projected).abs().max() < 1e-8 * scale
    # The nearest: what was moved is at right angles to all that the operator loses.
    lost = (truth - projected).flatten()
    assert abs((projected - image).flatten() @ lost) < 1e-6 * scale**2 * lost.numel()


@quickly
@given(operators_and_shapes(), st.integers(0, 99))
def test_the_adjoint_is_the_adjoint(operator_and_shape, seed):
    operator, shape = operator_and_shape
    x = noise(shape, seed)
    observed = operator(x)
    assert observed.dtype == torch.float64
    assert tuple(observed.shape) == tuple(operator.observed_shape(shape))
    y = noise(observed.shape, seed + 1)
    back = operator.adjoint(y, shape)
    assert back.shape == x.shape
    assert (observed * y).sum().item() == pytest.approx((x * back).sum().item(), rel=1e-9, abs=1e-9)


@quickly
@given(operators_and_shapes())
def test_operators_are_linear_and_keep_channels_apart(operator_and_shape):
    operator, shape = operator_and_shape
    x, y = noise(shape, 0), noise(shape, 1)
    assert torch.allclose(operator(2 * x - y), 2 * operator(x) - operator(y), atol=1e-12)
    pair = torch.stack([x, y])  # leading dimensions are left alone
    assert torch.allclose(operator(pair)[1], operator(y), atol=1e-12)
    if shape[0] == 3:
        x[1] = 0
        assert operator(x)[1].abs().max() == 0


@quickly
@given(
    st.integers(1, 70),
    st.builds(Downsample, st.integers(2, 8), st.sampled_from(KERNELS))
    | st.builds(Blur, st.floats(0.05, 20)),
)
def test_what_is_flat_stays_flat(side, operator):
    flat = torch.full((1, side, 33), 0.7, dtype=torch.float64)
    observed = operator(flat)
    assert torch.allclose(observed, torch.full_like(observed, 0.7), atol=1e-12)


@pytest.mark.parametrize("operator", [Downsample(3), Blur(2.0), Mask.pixels(20, 25)])
def test_settings_make_the_operator_again(operator):
    again = type(operator)(**operator.settings())
    x = noise((1, 20, 25), 0)
    assert torch.equal(again(x), operator(x))
    assert operators.BY_NAME[type(operator).__name__] is type(operator)


# Downsampling.


def published_downsampler(image, factor):
    """What the authors' models/downsampler.py computes, for lanczos2, phase 1/2, preserve_size.

    Written anew: a dense kernel of 4 x 4 factors, replication padding, a strided convolution.
    """
    taps = [(i + 0.5 - 2 * factor) / factor for i in range(4 * factor)]
    weights = [
        2 * math.sin(math.pi * t) * math.sin(math.pi * t / 2) / (math.pi * t) ** 2 for t in taps
    ]
    kernel = torch.tensor([[a * b for b in weights] for a in weights], dtype=image.dtype)
    kernel /= kernel.sum()
    padded = F.pad(image[:, None], [3 * factor // 2] * 4, mode="replicate")
    return F.conv2d(padded, kernel[None, None], stride=factor)[:, 0]


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 48, 80)])
def test_lanczos2_is_the_published_downsampler_borders_included(factor, shape):
    image = noise(shape, 0)
    ours, published = Downsample(factor)(image), published_downsampler(image, factor)
    assert ours.shape == published.shape
    assert (ours - published).abs().max() < 1e-12
    ours = Downsample(factor)(image.float())
    assert (ours - published).abs().max() < 1e-6


@pytest.mark.parametrize("factor", range(2, 9))
def test_a_box_is_the_mean_of_what_it_covers(factor):
    image = noise((3, 5 * factor, 6 * factor), 0)
    expected = F.avg_pool2d(image, factor)
    assert torch.allclose(Downsample(factor, "box")(image), expected, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_cubic_is_the_antialiased_bicubic_of_others(factor):
    image = noise((1, 20 * factor, 20 * factor), 0)
    small = (20, 20)
    other = F.interpolate(image[None], small, mode="bicubic", antialias=True)[0]
    difference = Downsample(factor, "cubic")(image) - other
    assert difference[:, 2:-2, 2:-2].abs().max() < 1e-9  # at the edges, conventions differ


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_side_that_the_factor_does_not_divide_is_continued_by_its_last_pixel(kernel):
    image = noise((1, 17, 31), 0)
    continued = F.pad(image[None], (0, 1, 0, 3), mode="replicate")[0]
    operator = Downsample(4, kernel)
    assert operator(image).shape == (1, 5, 8)
    assert torch.allclose(operator(image), operator(continued), atol=1e-12)


@pytest.mark.parametrize("factor", [1, 0, -2, 2.5, math.nan, math.inf, "4", None])
def test_impossible_factors(factor):
    with pytest.raises(InputError, match="factor=.*whole number of at least 2"):
        Downsample(factor)


def test_an_unknown_kernel_lists_the_known_ones():
    with pytest.raises(InputError, match="'lanczos'; there are lanczos2, lanczos3, cubic, box"):
        Downsample(4, "lanczos")


# Blur.


def test_a_blur_is_as_wide_as_it_says():
    point = torch.zeros(1, 61, 61, dtype=torch.float64)
    point[0, 30, 30] = 1
    spread = Blur(3.0)(point)[0]
    offset = torch.arange(61, dtype=torch.float64) - 30
    assert spread.sum() == pytest.approx(1)
    assert (spread.sum(0) * offset**2).sum().sqrt() == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize("width", [0, -1, 100, math.nan])
def test_impossible_blurs(width):
    with pytest.raises(InputError, match="width=.*between 0 and 100"):
        Blur(width)


# Masks.


def test_a_mask_keeps_the_known_and_clears_the_missing():
    known = torch.tensor([[True, False], [False, True]])
    mask = Mask(known)
    image = torch.full((3, 2, 2), 0.5)
    assert mask(image)[2].tolist() == [[0.5, 0], [0, 0.5]]
    assert mask.missing == 0.5
    assert mask.kind == "text"
    assert torch.equal(Mask(known.numpy())(image), mask(image))


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (torch.zeros(20, 20), "every pixel is missing"),
        (torch.full((20, 20), 0.5), r"has 0.5.*threshold.*> 0.5"),
        (torch.full((20, 20), torch.nan), "has nan"),
        (torch.full((20, 20), 255, dtype=torch.uint8), "has 255"),
        (torch.ones(2, 20, 20), r"not \(2, 20, 20\)"),
        (torch.ones(1, 1, 20, 20), "a mask is"),
        (torch.ones(20), "a mask is"),
    ],
)
def test_what_is_no_mask(known, words):
    with pytest.raises(InputError, match=words):
        Mask(known)


def test_an_unknown_kind_of_mask():
    with pytest.raises(InputError, match="'hair'.*pixels.*text.*hole"):
        Mask(torch.ones(20, 20), "hair")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mask.pixels(20, 20, missing=1),
        lambda: Mask.pixels(20, 20, missing=-0.1),
        lambda: Mask.pixels(20, 20, missing=math.nan),
        lambda: Mask.hole(20, 20, size=1),
        lambda: Mask.hole(20, 20, size=0),
        lambda: Mask.hole(20, 20, top=-0.1),
        lambda: Mask.hole(20, 20, top=0, left=0, size=0.999),
        lambda: Mask.text(20, 20, words=" "),
        lambda: Mask.text(20, 20, lines=0),
    ],
)
def test_masks_that_cannot_be_made(make):
    with pytest.raises(InputError):
        make()


def test_masks_miss_what_they_say():
    assert Mask.pixels(200, 200, missing=0.3).missing == pytest.approx(0.3, abs=0.01)
    assert Mask.pixels(200, 200, missing=0).missing == 0
    assert Mask.hole(100, 200, size=0.3).missing == pytest.approx(0.09)
    assert 0.05 < Mask.text(256, 256).missing < 0.4
    assert not torch.equal(Mask.pixels(20, 20, seed=0).known, Mask.pixels(20, 20, seed=1).known)


def test_a_mask_clears_whatever_is_missing():
    spoilt = torch.tensor([[[0.5, math.nan], [math.inf, -3.0]]])
    assert Mask(torch.tensor([[1, 0], [0, 0]]))(spoilt).tolist() == [[[0.5, 0], [0, 0]]]


# An operator of a user's own.


def test_an_operator_of_a_users_own_is_observed_fitted_and_saved(tmp_path, monkeypatch):
    truth, A = images.load("camera", size=16), EverySecondRow()
    problem = dip.Problem(A(truth), A)
    assert problem.shape == (1, 16, 16) and problem.task == "denoising"
    assert energy.data_term(truth, problem) == 0
    assert math.isfinite(problem.noise_level())
    restored, table = baselines.compare(dip.Problem(A(truth), A, truth=truth))
    assert restored == {} and table.empty  # a denoiser cannot undo it
    run = dip.fit(problem, dip.lab(network="pixels", iterations=3), progress=False)
    assert run.output.shape == truth.shape
    with pytest.raises(InputError, match="operator of your own .EverySecondRow. cannot be saved"):
        run.save(tmp_path / "run.dip")
    monkeypatch.setitem(operators.BY_NAME, "EverySecondRow", EverySecondRow)
    run.save(tmp_path / "run.dip")
    assert isinstance(dip.Run.load(tmp_path / "run.dip").problem.operator, EverySecondRow)
