"""Forward operators A: how an image becomes an observation; and the noise that is added to it.

Every operator is linear, keeps the channels apart and knows its adjoint, so that for all x and y
⟨A x, y⟩ = ⟨x, Aᵀ y⟩. Images may carry leading dimensions: (..., C, H, W).
"""

import copy
import io
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .errors import InputError, whole
from .images import as_tensor, check, from_array, read_mask, to_uint8
from .randomness import generator


class Operator:
    """What every forward operator offers.

    One of your own defines ``__call__``; `adjoint`, if a method asks for it; `observed_shape` and
    `image_shape`, if the observation has another size than the image; `to`, if it holds
    tensors; and `settings`, so that a saved run can make it again.

    Examples
    --------
    >>> import torch
    >>> A = Downsample(4)
    >>> x = torch.rand(3, 64, 64)
    >>> A(x).shape, A.adjoint(A(x), x.shape).shape
    (torch.Size([3, 16, 16]), torch.Size([3, 64, 64]))
    """

    def __call__(self, image):
        """Observe: A x."""
        raise NotImplementedError

    def adjoint(self, observation, shape):
        """Aᵀ y, an image of the given shape."""
        raise NotImplementedError

    def project(self, image, observation):
        """Return the nearest image that explains the observation: x + A⁺ (x0 − A x).

        What A loses (its null space) stays as it is in the image; the rest is the
        observation's. Where that would multiply errors, as behind a blur, and for an operator
        that does not define it, it is the image itself.

        Parameters
        ----------
        image : torch.Tensor
            x, (..., C, H, W).
        observation : torch.Tensor
            x0, of the shape of A x.

        Returns
        -------
        torch.Tensor
            An image; its values may leave [0, 1].

        Examples
        --------
        >>> import torch
        >>> A, x, truth = Downsample(4), torch.rand(1, 32, 32), torch.rand(1, 32, 32)
        >>> torch.allclose(A(A.project(x, A(truth))), A(truth), atol=1e-5)
        True
        """
        return image

    def observed_shape(self, shape):
        """Shape of A x for an image x of this shape."""
        return tuple(shape)

    def image_shape(self, shape):
        """Shape of the image that is sought, from that of its observation."""
        return tuple(shape)

    def to(self, device):
        """Return the operator with its tensors on a device."""
        return self

    def settings(self):
        """Return what builds the operator again, as plain values and tensors."""
        return {}


class Identity(Operator):
    """A x = x: denoising.

    Examples
    --------
    >>> import torch
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


# Types of which not every version of PyTorch can list the values.
_NO_ORDER = (torch.uint16, torch.uint32, torch.uint64)


class Mask(Operator):
    """Keep the known pixels and set the others to zero: inpainting.

    Parameters
    ----------
    known : torch.Tensor, array_like or PIL.Image.Image
        (H, W), (1, H, W) or (C, H, W): 1 or True where a pixel is known, 0 or False where it is
        missing. An image is taken as `images.read_mask` does it (white is known).
    kind : str, optional
        What is missing: ``"pixels"``, ``"text"`` or ``"hole"``; it selects the recipe.

    Raises
    ------
    InputError
        The mask is no mask, or everything is missing.

    Examples
    --------
    >>> import torch
    >>> mask = Mask(torch.tensor([[1, 1], [1, 0]]))
    >>> mask(torch.full((1, 2, 2), 0.5)).tolist()
    [[[0.5, 0.5], [0.5, 0.0]]]
    >>> mask.missing
    0.25
    """

    KINDS = ("pixels", "text", "hole")

    def __init__(self, known, kind="text"):
        known = read_mask(known) if isinstance(known, Image.Image) else as_tensor(known, "the mask")
        known = known.detach()[None] if known.ndim == 2 else known.detach()
        if known.ndim != 3 or known.shape[0] not in (1, 3):
            raise InputError(f"a mask is (H, W), (1, H, W) or (3, H, W), not {tuple(known.shape)}")
        if kind not in self.KINDS:
            raise InputError(f"no kind of mask is called {kind!r}; there are {self.KINDS}")
        if known.is_complex():
            raise InputError(f"a mask holds 0 (missing) and 1 (known), not {known.dtype}")
        if known.dtype in _NO_ORDER:
            known = known.to(torch.int64)
        if known.is_floating_point() and known.element_size() == 1:  # float8 has no order, either
            known = known.float()
        values = set(known.unique().tolist())
        if not values <= {0, 1}:
            found = ", ".join(f"{value:g}" for value in sorted(values)[:4])
            raise InputError(
                f"a mask holds only 0 (missing) and 1 (known), but this one has {found}, ...; "
                "threshold it first, as in image > 0.5"
            )
        if 1 not in values:
            raise InputError("the mask leaves nothing known: every pixel is missing")
        self.known = known.to(torch.float32)
        self.kind = kind

    @classmethod
    def pixels(cls, height, width, missing=0.5, seed=0):
        """Make a mask of single pixels, missing at random.

        Parameters
        ----------
        height, width : int
            Pixels.
        missing : float, optional
            Fraction of the pixels that are missing, in [0, 1).
        seed : int, optional
            The same seed gives the same mask.

        Returns
        -------
        Mask

        Raises
        ------
        InputError
            `missing` is no such fraction, or leaves nothing known.

        Examples
        --------
        >>> round(Mask.pixels(64, 64, missing=0.5).missing, 1)
        0.5
        """
        if not 0 <= missing < 1:
            raise InputError(f"missing={missing} is no fraction in [0, 1)")
        known = torch.rand(1, height, width, generator=generator(seed, "mask")) >= missing
        return cls(known, "pixels")

    @classmethod
    def text(cls, height, width, words="deep image prior ", lines=12):
        """Make a mask of text written over the whole image.

        Parameters
        ----------
        height, width : int
            Pixels.
        words : str, optional
            Repeated to fill each line.
        lines : int, optional
            Number of lines; as many as fit, if these would be less than 8 pixels high.

        Returns
        -------
        Mask

        Raises
        ------
        InputError
            There are no words, or less than one line.

        Examples
        --------
        >>> Mask.text(64, 64, lines=4).known.shape
        torch.Size([1, 64, 64])
        """
        if not words.strip():
            raise InputError("words must hold something to write")
        lines = whole(lines, "lines", 1)
        canvas = Image.new("L", (width, height), 255)
        step = max(8, height // lines)
        font = ImageFont.load_default(size=round(step * 0.8))
        repeats = 1 + int(2 * width / max(1.0, font.getlength(words)))
        for line, top in enumerate(range(0, height, step)):
            start = (line * 3) % len(words)  # so that the words make no columns
            ImageDraw.Draw(canvas).text((0, top), (words * repeats)[start:], fill=0, font=font)
        return cls(torch.from_numpy(np.array(canvas)) > 127, "text")

    @classmethod
    def hole(cls, height, width, top=0.35, left=0.35, size=0.3):
        """Make a mask with one rectangular hole.

        Parameters
        ----------
        height, width : int
            Pixels.
        top, left, size : float, optional
            Where the hole begins and how large it is, as fractions of the sides.

        Returns
        -------
        Mask

        Raises
        ------
        InputError
            These are no such fractions, or leave nothing known.

        Examples
        --------
        >>> Mask.hole(100, 100, size=0.5).missing
        0.25
        """
        if not (0 <= top < 1 and 0 <= left < 1 and 0 < size < 1):
            raise InputError(
                f"top={top}, left={left}, size={size}: fractions of the sides, in [0, 1)"
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
        """Set the missing pixels to zero, whatever they hold: NaN too."""
        return torch.where(self.known.to(image.device) > 0, image, 0)

    def adjoint(self, observation, shape=None):
        """Do the same again: a mask is its own adjoint."""
        return self(observation)

    def project(self, image, observation):
        """Put the known pixels back."""
        return torch.where(self.known.to(image.device) > 0, observation, image)

    def to(self, device):
        """Return the mask on a device; it was checked when it was made."""
        moved = copy.copy(self)
        moved.known = self.known.to(device)
        return moved

    def settings(self):
        """Return the known pixels and the kind."""
        return {"known": self.known, "kind": self.kind}


class Hidden(Operator):
    """Another operator, of whose observation some pixels are withheld: for stopping rules.

    Parameters
    ----------
    operator : Operator
        A.
    visible : torch.Tensor
        (1, h, w), True where a pixel of A x is seen; the others are 0.

    Examples
    --------
    >>> import torch
    >>> Hidden(Identity(), torch.tensor([[[True, False]]]))(torch.ones(1, 1, 2)).tolist()
    [[[1.0, 0.0]]]
    """

    def __init__(self, operator, visible):
        self.operator, self.visible = operator, visible

    def __call__(self, image):
        """Return A x with zeros where it is withheld."""
        return self.operator(image) * self.visible

    def adjoint(self, observation, shape):
        """Aᵀ of what is seen."""
        return self.operator.adjoint(observation * self.visible, shape)

    def observed_shape(self, shape):
        """As A's."""
        return self.operator.observed_shape(shape)

    def image_shape(self, shape):
        """As A's."""
        return self.operator.image_shape(shape)

    def to(self, device):
        """Return both on a device."""
        return Hidden(self.operator.to(device), self.visible.to(device))


class Separable(Operator):
    """An operator that works along columns and rows alike: A x = R x Cᵀ, so Aᵀ y = Rᵀ y C.

    A subclass gives `matrix(n)`: the matrix that acts along an axis of n pixels.
    """

    def matrix(self, pixels):
        """Return the (m, n) float64 array that acts along an axis of n pixels."""
        raise NotImplementedError

    def __call__(self, image):
        """Return R x Cᵀ."""
        rows, columns = self._matrices(image.shape, image)
        return rows @ image @ columns.T

    def adjoint(self, observation, shape):
        """Return Rᵀ y C."""
        rows, columns = self._matrices(shape, observation)
        return rows.T @ observation @ columns

    def _matrices(self, shape, like):
        return [_as_tensor(self, int(side), like.dtype, like.device) for side in shape[-2:]]


@lru_cache(maxsize=8)  # the operator is part of the key: operators are never changed once made
def _as_tensor(operator, side, dtype, device):
    # The dtype first: some devices have no float64.
    return torch.from_numpy(operator.matrix(side)).to(dtype).to(device)


@lru_cache(maxsize=8)
def _inverse(operator, side, dtype, device):
    return torch.from_numpy(np.linalg.pinv(operator.matrix(side))).to(dtype).to(device)


def _lanczos2(t):
    return np.where(np.abs(t) < 2, np.sinc(t) * np.sinc(t / 2), 0)


def _lanczos3(t):
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)


def _cubic(t):
    """Keys' cubic with a = -1/2 (doi:10.1109/TASSP.1981.1163711), as bicubic resizing has it."""
    t = np.abs(t)
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def _box(t):
    return np.where((t >= -0.5) & (t < 0.5), 1.0, 0)


_KERNELS = {
    "lanczos2": (_lanczos2, 2),
    "lanczos3": (_lanczos3, 3),
    "cubic": (_cubic, 2),
    "box": (_box, 0.5),
}


def _resampling_matrix(inputs, centres, kernel, support):
    """Row o weighs the pixels around centres[o]; beyond the edge the last pixel is repeated."""
    reach = int(np.ceil(support)) + 1
    taps = np.floor(centres)[:, None].astype(int) + np.arange(-reach, reach + 1)[None, :]
    weights = kernel(taps - centres[:, None])
    weights /= weights.sum(1, keepdims=True)
    matrix = np.zeros((len(centres), inputs))
    rows = np.broadcast_to(np.arange(len(centres))[:, None], taps.shape)
    np.add.at(matrix, (rows, taps.clip(0, inputs - 1)), weights)
    return matrix


class Downsample(Separable):
    """Make an image smaller by a whole factor: super-resolution.

    Parameters
    ----------
    factor : int
        At least 2. A side that it does not divide is continued by its last pixel, so that the
        observation has ceil(side / factor) pixels.
    kernel : {"lanczos2", "lanczos3", "cubic", "box"}, optional
        The antialiasing filter, widened by the factor. The paper uses Lanczos2, for which this is
        the published downsampler (of even factors), edges included.

    Raises
    ------
    InputError
        The factor or the kernel is none.

    Examples
    --------
    >>> import torch
    >>> Downsample(4)(torch.ones(3, 64, 48)).shape
    torch.Size([3, 16, 12])
    """

    def __init__(self, factor, kernel="lanczos2"):
        if kernel not in _KERNELS:
            raise InputError(f"no kernel is called {kernel!r}; there are {', '.join(_KERNELS)}")
        self.factor, self.kernel = whole(factor, "factor", 2), kernel

    def matrix(self, pixels):
        """Return the (ceil(n / factor), n) matrix along an axis of n pixels."""
        kernel, support = _KERNELS[self.kernel]
        centres = np.arange(self._side(pixels)) * self.factor + (self.factor - 1) / 2
        stretched = lambda t: kernel(t / self.factor)  # noqa: E731 (a filter, widened)
        return _resampling_matrix(pixels, centres, stretched, support * self.factor)

    def project(self, image, observation):
        """Add what the small image lacks, in the smoothest way: x + A⁺ (x0 − A x)."""
        rows, columns = (
            _inverse(self, int(side), image.dtype, image.device) for side in image.shape[-2:]
        )
        return image + rows @ (observation - self(image)) @ columns.T

    def _side(self, pixels):
        return -(-pixels // self.factor)  # rounded up

    def observed_shape(self, shape):
        """Shape of the small image, from that of the large one."""
        return (*shape[:-2], *(self._side(side) for side in shape[-2:]))

    def image_shape(self, shape):
        """Shape of the large image, from that of the small one."""
        return (*shape[:-2], *(side * self.factor for side in shape[-2:]))

    def settings(self):
        """Return factor and kernel."""
        return {"factor": self.factor, "kernel": self.kernel}


class Blur(Separable):
    """Blur with a Gaussian: deblurring.

    Parameters
    ----------
    width : float
        Standard deviation of the Gaussian in pixels, above 0.

    Raises
    ------
    InputError
        The width is not positive, or is 100 pixels and more.

    Examples
    --------
    >>> import torch
    >>> Blur(2.0)(torch.ones(1, 16, 16)).std().item() < 1e-6  # what is flat stays flat
    True
    """

    def __init__(self, width=1.5):
        if not 0 < width < 100:
            raise InputError(f"width={width}: a blur is between 0 and 100 pixels wide")
        self.width = float(width)

    def matrix(self, pixels):
        """Return the (n, n) matrix along an axis of n pixels."""
        kernel = lambda t: np.exp(-0.5 * (t / self.width) ** 2)  # noqa: E731
        centres = np.arange(pixels, dtype=float)
        return _resampling_matrix(pixels, centres, kernel, 4 * self.width)

    def settings(self):
        """Return the width."""
        return {"width": self.width}


BY_NAME = {kind.__name__: kind for kind in (Identity, Mask, Downsample, Blur)}
"""The operators that a saved run can name."""


# Noise: what the operator does not explain.


def gaussian_noise(image, sigma=25 / 255, seed=0, clip=True):
    """Add white Gaussian noise.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W) in [0, 1].
    sigma : float, optional
        Standard deviation, in the image's units: 25/255 is the σ = 25 of the tables.
    seed : int, optional
        The same seed gives the same noise; the global random state is not touched.
    clip : bool, optional
        Clip to [0, 1], as a camera does and as the published inputs are.

    Returns
    -------
    torch.Tensor
        (C, H, W).

    Raises
    ------
    InputError
        `sigma` is negative, not finite, or in units of [0, 255].

    Examples
    --------
    >>> import torch
    >>> noisy = gaussian_noise(torch.full((1, 64, 64), 0.5), sigma=25 / 255)
    >>> round(255 * noisy.std().item())
    25
    """
    check_sigma(sigma)
    image = as_tensor(image)
    noise = torch.randn(image.shape, generator=generator(seed, "noise")).to(image)
    noisy = image + sigma * noise
    return noisy.clamp(0, 1) if clip else noisy


def check_sigma(sigma):
    """Raise InputError unless sigma is a finite number that is not negative.

    Parameters
    ----------
    sigma : float
        Standard deviation in the units of [0, 1].

    Raises
    ------
    InputError
        `sigma` is negative, not finite, or in units of [0, 255].

    Examples
    --------
    >>> check_sigma(25)
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: sigma=25 is in units of [0, 1]; did you mean 25/255?
    """
    if not (np.isfinite(sigma) and sigma >= 0):
        raise InputError(f"sigma={sigma} is no noise level: it must be 0 or more")
    if sigma > 2:
        raise InputError(f"sigma={sigma} is in units of [0, 1]; did you mean {sigma:g}/255?")


def poisson_noise(image, peak=30.0, seed=0):
    """Count photons: Poisson noise, strong where the image is dark relative to its signal.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W) in [0, 1].
    peak : float, optional
        Photons that a white pixel receives; fewer means more noise.
    seed : int, optional
        The same seed gives the same noise.

    Returns
    -------
    torch.Tensor
        (C, H, W), clipped to [0, 1].

    Raises
    ------
    InputError
        `peak` is not positive.

    Examples
    --------
    >>> import torch
    >>> poisson_noise(torch.full((1, 16, 16), 0.5), peak=1).unique().tolist()  # photons
    [0.0, 1.0]
    """
    if not (np.isfinite(peak) and peak > 0):
        raise InputError(f"peak={peak}: a white pixel must receive more than 0 photons")
    image = as_tensor(image)
    counts = torch.poisson(image.cpu() * peak, generator=generator(seed, "noise"))
    return (counts / peak).clamp(0, 1).to(image)


def salt_and_pepper(image, amount=0.1, seed=0):
    """Replace pixels by black or white, all channels at once.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W) in [0, 1].
    amount : float, optional
        Fraction of the pixels that are replaced, in [0, 1].
    seed : int, optional
        The same seed gives the same noise.

    Returns
    -------
    torch.Tensor
        (C, H, W).

    Raises
    ------
    InputError
        `amount` is no fraction.

    Examples
    --------
    >>> import torch
    >>> salt_and_pepper(torch.full((1, 64, 64), 0.5)).unique().tolist()
    [0.0, 0.5, 1.0]
    """
    if not 0 <= amount <= 1:
        raise InputError(f"amount={amount} is no fraction in [0, 1]")
    image = as_tensor(image)
    draw = torch.rand(1, *image.shape[1:], generator=generator(seed, "noise")).to(image)
    spoilt = torch.where(draw < amount / 2, torch.zeros_like(image), image)
    return torch.where(draw > 1 - amount / 2, torch.ones_like(image), spoilt)


def jpeg(image, quality=10):
    """Compress with JPEG and decompress again.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W) in [0, 1].
    quality : int, optional
        1 (worst) to 95, as libjpeg has it.

    Returns
    -------
    torch.Tensor
        (C, H, W) in [0, 1].

    Raises
    ------
    InputError
        `quality` is no whole number from 1 to 95.

    Examples
    --------
    >>> import torch
    >>> jpeg(torch.full((3, 16, 16), 0.5), quality=10).shape
    torch.Size([3, 16, 16])
    """
    quality = whole(quality, "quality", 1, 95)
    image, memory = as_tensor(image), io.BytesIO()
    Image.fromarray(to_uint8(check(image))).save(memory, format="JPEG", quality=quality)
    return from_array(np.asarray(Image.open(memory))).to(image)
