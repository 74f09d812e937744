"""Forward operators A: how an image x becomes an observation A x.

Every operator here is linear, treats each channel separately and has an adjoint Aᵀ, so that
⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for all x and y. Images may have leading dimensions: (..., C, H, W).
Noise and JPEG compression are in `degrade`.
"""

import copy
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .errors import InputError, lookup, whole
from .images import as_tensor, read_mask
from .randomness import generator

__all__ = ["BY_NAME", "Blur", "Downsample", "Identity", "Mask", "Operator"]


class Operator:
    """Base class of the forward operators.

    A user-defined operator implements ``__call__`` with differentiable PyTorch functions. If it
    changes the size of the image, it also implements `observed_shape` and `image_shape`; if it
    holds tensors, `to`. A fit needs no adjoint, since PyTorch differentiates A x. To save a run
    with the operator, implement `settings` and add the class to `BY_NAME`.

    Examples
    --------
    The camera moved by five pixels during the exposure. The task selects the recipe:

    >>> from diplearn import Problem
    >>> class MotionBlur(Operator):
    ...     def __call__(self, image):
    ...         return sum(image.roll(shift, dims=-1) for shift in range(5)) / 5
    >>> clean = torch.rand(3, 32, 32)
    >>> Problem(MotionBlur()(clean), MotionBlur(), truth=clean, task="deblurring")
    <Problem deblurring: image of shape (3, 32, 32), truth known, sigma unknown>
    """

    def __call__(self, image):
        """Apply the operator: A x."""
        raise NotImplementedError

    def adjoint(self, observation, shape):
        """Apply the adjoint: Aᵀ y, an image of the given shape."""
        raise NotImplementedError

    def project(self, image, observation):
        """Return the image nearest to x that explains the observation: x + A⁺ (x0 − A x).

        The part of x in the null space of A stays as it is; values may leave [0, 1]. If the
        pseudoinverse A⁺ would amplify noise, as for a blur, the result is x itself.
        """
        return image

    def observed_shape(self, shape):
        """Return the shape of A x for an image x of this shape."""
        return tuple(shape)

    def image_shape(self, shape):
        """Return the shape of the image to restore, given that of its observation."""
        return tuple(shape)

    def to(self, device):
        """Return the operator with its tensors on the device."""
        return self

    def settings(self):
        """Return the arguments that build the operator again: plain values and tensors."""
        return {}


class Identity(Operator):
    """A x = x: denoising.

    Examples
    --------
    >>> x = torch.rand(3, 16, 16)
    >>> Identity()(x) is x
    True
    """

    def __call__(self, image):
        """Return the image."""
        return image

    def adjoint(self, observation, shape=None):
        """Return the observation."""
        return observation


class Mask(Operator):
    """Keep the known pixels and set the others to zero: inpainting.

    Parameters
    ----------
    known : torch.Tensor, array_like or PIL.Image.Image
        (H, W), (1, H, W) or (C, H, W): 1 or True for a known pixel, 0 or False for a missing one.
        In a PIL image, white is known; see `images.read_mask`.
    kind : {"text", "pixels", "hole"}, optional
        What is missing; the published recipe depends on it.

    Examples
    --------
    >>> mask = Mask(torch.tensor([[1, 1], [1, 0]]))
    >>> mask(torch.full((1, 2, 2), 0.5)).tolist()
    [[[0.5, 0.5], [0.5, 0.0]]]
    >>> mask.missing
    0.25
    """

    KINDS = {
        "pixels": "single pixels, at random",
        "text": "text written over the image",
        "hole": "a large hole",
    }

    def __init__(self, known, kind="text"):
        known = read_mask(known) if isinstance(known, Image.Image) else as_tensor(known, "the mask")
        known = known.detach()[None] if known.ndim == 2 else known.detach()
        if known.ndim != 3 or known.shape[0] not in (1, 3):
            raise InputError(f"a mask is (H, W), (1, H, W) or (3, H, W), not {tuple(known.shape)}")
        lookup(self.KINDS, kind, "kind of mask")  # raises InputError for an unknown kind
        values = _values(known)
        if not values <= {0, 1}:
            found = ", ".join(f"{value:g}" for value in sorted(values)[:4])
            raise InputError(
                f"a mask holds only 0 (missing) and 1 (known), but this one has {found}, ...; "
                "threshold it first, as in image > 0.5"
            )
        if 1 not in values:
            raise InputError("in this mask every pixel is missing; at least one must be known")
        self.known = known.to(torch.float32)
        self.kind = kind

    @classmethod
    def pixels(cls, height, width, missing=0.5, seed=0):
        """Make a mask in which a fraction `missing`, in [0, 1), of the pixels is missing at random.

        >>> round(Mask.pixels(64, 64, missing=0.5).missing, 1)
        0.5
        """
        if not 0 <= missing < 1:
            raise InputError(f"missing={missing} is not a fraction in [0, 1)")
        known = torch.rand(1, height, width, generator=generator(seed, "mask")) >= missing
        return cls(known, "pixels")

    @classmethod
    def text(cls, height, width, words="deep image prior ", lines=12):
        """Make a mask of text that covers the whole image.

        `words` are repeated to fill each line. Lines are at least 8 pixels high, so that a small
        image has fewer than `lines`.

        >>> Mask.text(64, 64, lines=4).known.shape
        torch.Size([1, 64, 64])
        """
        if not words.strip():
            raise InputError("words must contain text to write on the image, not only spaces")
        lines = whole(lines, "lines", 1)
        canvas = Image.new("L", (width, height), 255)
        step = max(8, height // lines)
        font = ImageFont.load_default(size=round(step * 0.8))
        repeats = 1 + int(2 * width / max(1.0, font.getlength(words)))
        for line, top in enumerate(range(0, height, step)):
            start = (line * 3) % len(words)  # shifted, so that the words do not line up in columns
            ImageDraw.Draw(canvas).text((0, top), (words * repeats)[start:], fill=0, font=font)
        return cls(torch.from_numpy(np.array(canvas)) > 127, "text")

    @classmethod
    def hole(cls, height, width, top=0.35, left=0.35, size=0.3):
        """Make a mask with one rectangular hole.

        `top` and `left` are its upper left corner and `size` is the length of its sides, all as
        fractions of the image's sides.

        >>> Mask.hole(100, 100, size=0.5).missing
        0.25
        """
        if not (0 <= top < 1 and 0 <= left < 1 and 0 < size < 1):
            raise InputError(
                f"top={top}, left={left}, size={size} must be fractions of the sides, in [0, 1)"
            )
        known = torch.ones(1, height, width)
        rows = slice(round(top * height), round((top + size) * height))
        columns = slice(round(left * width), round((left + size) * width))
        known[:, rows, columns] = 0
        return cls(known, "hole")

    @property
    def missing(self):
        """Fraction of the pixels that are missing."""
        return float((self.known == 0).double().mean())

    def __call__(self, image):
        """Set the missing pixels to zero, even where they are NaN."""
        return torch.where(self.known.to(image.device) > 0, image, 0)

    def adjoint(self, observation, shape=None):
        """Apply the mask: a mask is its own adjoint."""
        return self(observation)

    def project(self, image, observation):
        """Replace the known pixels by those of the observation."""
        return torch.where(self.known.to(image.device) > 0, observation, image)

    def to(self, device):
        """Return the mask with its tensor on the device."""
        moved = copy.copy(self)  # a copy, since the constructor would check the values again
        moved.known = self.known.to(device)
        return moved

    def settings(self):
        """Return the known pixels and the kind."""
        return {"known": self.known, "kind": self.kind}


def _values(known):
    """Return the set of values in a mask; types that PyTorch cannot sort are converted first."""
    if known.is_complex():
        raise InputError(f"a mask holds 0 (missing) and 1 (known), not {known.dtype}")
    if known.dtype in (torch.uint16, torch.uint32, torch.uint64):
        known = known.to(torch.int64)
    if known.is_floating_point() and known.element_size() == 1:  # float8
        known = known.float()
    return set(known.unique().tolist())


class Hidden(Operator):
    """A followed by a mask: a stopping rule uses it to withhold part of the observation."""

    def __init__(self, operator, visible):
        self.operator, self.visible = operator, visible

    def __call__(self, image):
        """Return A x with zeros at the withheld pixels."""
        return self.operator(image) * self.visible

    def adjoint(self, observation, shape):
        """Return Aᵀ applied to the visible part of y."""
        return self.operator.adjoint(observation * self.visible, shape)

    def observed_shape(self, shape):
        """Return the observed shape of A."""
        return self.operator.observed_shape(shape)

    def image_shape(self, shape):
        """Return the image shape of A."""
        return self.operator.image_shape(shape)

    def to(self, device):
        """Return A and the mask with their tensors on the device."""
        return Hidden(self.operator.to(device), self.visible.to(device))


class Separable(Operator):
    """An operator that acts on columns and rows separately: A x = R x Cᵀ, so that Aᵀ y = Rᵀ y C.

    A subclass implements `matrix`, which gives R for the image's height and C for its width.
    """

    def matrix(self, pixels):
        """Return the (m, n) float64 matrix that acts along an axis of n pixels."""
        raise NotImplementedError

    def __call__(self, image):
        """Return R x Cᵀ."""
        rows, columns = self._matrices(image.shape, image)
        return rows @ image @ columns.T

    def adjoint(self, observation, shape):
        """Return Rᵀ y C."""
        rows, columns = self._matrices(shape, observation)
        return rows.T @ observation @ columns

    def _matrices(self, shape, like, inverse=False):
        return [_on(self, int(side), like.dtype, like.device, inverse) for side in shape[-2:]]


@lru_cache(maxsize=16)  # operators never change, so they can be part of the key
def _on(operator, side, dtype, device, inverse):
    """Return the operator's matrix for one axis, or its pseudoinverse, as a tensor."""
    matrix = operator.matrix(side)
    matrix = np.linalg.pinv(matrix) if inverse else matrix
    return torch.from_numpy(matrix).to(dtype).to(device)  # some devices have no float64


def _lanczos2(t):
    return np.where(np.abs(t) < 2, np.sinc(t) * np.sinc(t / 2), 0)


def _lanczos3(t):
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)


def _cubic(t):
    """Keys' cubic with a = -1/2 (doi:10.1109/TASSP.1981.1163711), the usual bicubic kernel."""
    t = np.abs(t)
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def _box(t):
    return np.where((t >= -0.5) & (t < 0.5), 1.0, 0)


def _gaussian(t):
    return np.exp(-0.5 * t**2)


# Name -> (kernel, radius beyond which the kernel is 0).
_KERNELS = {
    "lanczos2": (_lanczos2, 2),
    "lanczos3": (_lanczos3, 3),
    "cubic": (_cubic, 2),
    "box": (_box, 0.5),
}


def _resampling_matrix(pixels, centres, kernel, radius, width):
    """Return a matrix whose row i weights the pixels around centres[i] by kernel(distance / width).

    Beyond the edge, the last pixel is repeated.
    """
    reach = int(np.ceil(radius * width)) + 1
    taps = np.floor(centres)[:, None].astype(int) + np.arange(-reach, reach + 1)[None, :]
    weights = kernel((taps - centres[:, None]) / width)
    weights /= weights.sum(1, keepdims=True)
    matrix = np.zeros((len(centres), pixels))
    rows = np.broadcast_to(np.arange(len(centres))[:, None], taps.shape)
    np.add.at(matrix, (rows, taps.clip(0, pixels - 1)), weights)
    return matrix


class Downsample(Separable):
    """Shrink an image by an integer factor: super-resolution.

    Parameters
    ----------
    factor : int
        At least 2. The observation has ceil(side / factor) pixels per side: if the factor does not
        divide a side, the last pixel is repeated.
    kernel : {"lanczos2", "lanczos3", "cubic", "box"}, optional
        The antialiasing filter, stretched by the factor. Lanczos2 with an even factor is the
        published downsampler, including its treatment of the edges.

    Examples
    --------
    >>> A, x, truth = Downsample(4), torch.rand(3, 64, 48), torch.rand(3, 64, 48)
    >>> A(x).shape
    torch.Size([3, 16, 12])
    >>> torch.allclose(A(A.project(x, A(truth))), A(truth), atol=1e-5)
    True
    """

    def __init__(self, factor, kernel="lanczos2"):
        lookup(_KERNELS, kernel, "kernel")  # raises InputError for an unknown kernel
        self.factor, self.kernel = whole(factor, "factor", 2), kernel

    def matrix(self, pixels):
        """Return the (ceil(n / factor), n) matrix along an axis of n pixels."""
        kernel, radius = _KERNELS[self.kernel]
        centres = np.arange(self._side(pixels)) * self.factor + (self.factor - 1) / 2
        return _resampling_matrix(pixels, centres, kernel, radius, self.factor)

    def project(self, image, observation):
        """Add to x the smallest correction that explains the observation: x + A⁺ (x0 − A x)."""
        rows, columns = self._matrices(image.shape, image, inverse=True)
        return image + rows @ (observation - self(image)) @ columns.T

    def _side(self, pixels):
        return -(-pixels // self.factor)  # rounded up

    def observed_shape(self, shape):
        """Return the shape of the small image, given the shape of the large one."""
        return (*shape[:-2], *(self._side(side) for side in shape[-2:]))

    def image_shape(self, shape):
        """Return the shape of the large image, given the shape of the small one."""
        return (*shape[:-2], *(side * self.factor for side in shape[-2:]))

    def settings(self):
        """Return the factor and the kernel."""
        return {"factor": self.factor, "kernel": self.kernel}


class Blur(Separable):
    """Blur with a Gaussian: deblurring.

    Parameters
    ----------
    width : float, optional
        Standard deviation of the Gaussian in pixels, above 0 and below 100.

    Examples
    --------
    >>> Blur(2.0)(torch.ones(1, 16, 16)).std().item() < 1e-6  # a constant image stays constant
    True
    """

    def __init__(self, width=1.5):
        if not 0 < width < 100:
            raise InputError(f"width={width} must be between 0 and 100 pixels")
        self.width = float(width)

    def matrix(self, pixels):
        """Return the (n, n) matrix along an axis of n pixels."""
        centres = np.arange(pixels, dtype=float)
        return _resampling_matrix(pixels, centres, _gaussian, 4, self.width)

    def settings(self):
        """Return the width."""
        return {"width": self.width}


BY_NAME = {kind.__name__: kind for kind in (Identity, Mask, Downsample, Blur)}
"""Name -> class, for the operators that a saved run may contain."""
