"""Degradations other than forward operators: noise models, a camera, and JPEG compression.

The same seed gives the same noise; the global random state does not change.
"""

import io

import numpy as np
import torch
from PIL import Image

from .errors import InputError, whole
from .images import as_tensor, check, from_array, to_uint8
from .randomness import generator

__all__ = ["camera", "gaussian_noise", "jpeg", "poisson_noise", "salt_and_pepper"]

FULL_WELL = 3000.0
"""Electrons that a white pixel of the simulated camera collects at ISO 100, as in a telephone."""

READ_NOISE = 2.0
"""Standard deviation, in electrons, of the noise with which the camera reads a pixel."""


def gaussian_noise(image, sigma=25 / 255, seed=0, clip=True):
    """Add white Gaussian noise.

    Parameters
    ----------
    image : torch.Tensor, (C, H, W) in [0, 1]
    sigma : float, optional
        Standard deviation in units of [0, 1]: 25/255 is the "σ = 25" of published tables.
    seed : int, optional
    clip : bool, optional
        Clip the result to [0, 1], as a camera does and as the published inputs are.

    Returns
    -------
    torch.Tensor

    Examples
    --------
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
    """Raise InputError unless sigma is finite, not negative, and in units of [0, 1].

    >>> check_sigma(25)
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: sigma=25 is in units of [0, 1]; did you mean 25/255?
    """
    if not (np.isfinite(sigma) and sigma >= 0):
        raise InputError(f"sigma={sigma} is not a noise level: it must be 0 or more")
    if sigma > 2:
        raise InputError(f"sigma={sigma} is in units of [0, 1]; did you mean {sigma:g}/255?")


def poisson_noise(image, peak=30.0, seed=0):
    """Add photon noise, whose variance is proportional to the brightness.

    Parameters
    ----------
    image : torch.Tensor, (C, H, W) in [0, 1]
    peak : float, optional
        Mean number of photons in a white pixel, above 0; fewer photons mean more noise.
    seed : int, optional

    Returns
    -------
    torch.Tensor, clipped to [0, 1]

    Examples
    --------
    >>> poisson_noise(torch.full((1, 16, 16), 0.5), peak=1).unique().tolist()  # photons
    [0.0, 1.0]
    """
    if not (np.isfinite(peak) and peak > 0):
        raise InputError(f"peak={peak}: a white pixel must receive more than 0 photons")
    image = as_tensor(image)
    counts = torch.poisson(image.cpu() * peak, generator=generator(seed, "noise"))
    return (counts / peak).clamp(0, 1).to(image)


def salt_and_pepper(image, amount=0.1, seed=0):
    """Replace random pixels by black or white, in all channels at once.

    Parameters
    ----------
    image : torch.Tensor, (C, H, W) in [0, 1]
    amount : float, optional
        Fraction of the pixels that are replaced, in [0, 1].
    seed : int, optional

    Returns
    -------
    torch.Tensor

    Examples
    --------
    >>> salt_and_pepper(torch.full((1, 64, 64), 0.5)).unique().tolist()
    [0.0, 0.5, 1.0]
    """
    if not 0 <= amount <= 1:
        raise InputError(f"amount={amount} is not a fraction in [0, 1]")
    image = as_tensor(image)
    draw = torch.rand(1, *image.shape[1:], generator=generator(seed, "noise")).to(image)
    spoilt = torch.where(draw < amount / 2, torch.zeros_like(image), image)
    return torch.where(draw > 1 - amount / 2, torch.ones_like(image), spoilt)


def jpeg(image, quality=10):
    """Compress an image with JPEG and decompress it again.

    Parameters
    ----------
    image : torch.Tensor, (C, H, W) in [0, 1]
    quality : int, optional
        1 (worst) to 95, as libjpeg defines it.

    Returns
    -------
    torch.Tensor

    Examples
    --------
    >>> jpeg(torch.full((3, 16, 16), 0.5), quality=10).shape
    torch.Size([3, 16, 16])
    """
    quality = whole(quality, "quality", 1, 95)
    image, memory = as_tensor(image), io.BytesIO()
    Image.fromarray(to_uint8(check(image))).save(memory, format="JPEG", quality=quality)
    return from_array(np.asarray(Image.open(memory))).to(image)


def camera(image, iso=1600.0, seed=0, quality=92):
    """Photograph an image: the noise of a small sensor, and what the camera's software makes of it.

    The image is taken for what a perfect sensor would see. The steps are those of a real camera:
    sRGB values become linear ones; each pixel of the sensor sees one colour (Bayer's mosaic RGGB);
    it counts electrons, so that for a linear value x the noise has the variance a x + b; the two
    other colours are interpolated from the neighbours; sRGB's gamma is applied again; the values
    are clipped; JPEG compresses the result. The noise therefore depends on the brightness, and
    neighbouring pixels have similar noise. A grey image has no mosaic.

    Parameters
    ----------
    image : torch.Tensor, (C, H, W) in [0, 1]
    iso : float, optional
        The camera's gain, above 0: four times the ISO number means a quarter of the light, and four
        times the variance of the photon noise. Colour images of 128x128 pixels have a PSNR of
        about 24 dB at the default and of 21 dB at four times the default.
    seed : int, optional
    quality : int or None, optional
        JPEG's quality, as in `jpeg`; None leaves the compression out.

    Returns
    -------
    torch.Tensor, clipped to [0, 1]

    Notes
    -----
    At ISO 100, white collects `FULL_WELL` electrons; a = iso / (100 FULL_WELL) and
    b = (READ_NOISE a)². The noise model is that of Foi, Trimeche, Katkovnik & Egiazarian (2008),
    doi:10.1109/TIP.2008.2001399.

    Examples
    --------
    >>> grey = torch.full((3, 64, 64), 0.5)
    >>> weak, strong = camera(grey), camera(grey, iso=6400)
    >>> 1.5 < (strong.std() / weak.std()).item() < 2.5
    True
    """
    if not (np.isfinite(iso) and iso > 0):
        raise InputError(f"iso={iso}: a camera's gain is a number above 0, such as 100 or 1600")
    image = as_tensor(image)
    linear = _linear(image.cpu().double().clamp(0, 1))
    sites = _bayer(linear)
    electron = iso / (100 * FULL_WELL)  # what one electron adds to the linear value: a
    draws = generator(seed, "noise")
    raw = electron * torch.poisson((sites * linear).sum(0, keepdim=True) / electron, draws)
    raw = raw + READ_NOISE * electron * torch.randn(raw.shape, generator=draws, dtype=raw.dtype)
    noisy = _gamma(_demosaic(raw, sites).clamp(0, 1)).to(image)
    return noisy if quality is None else jpeg(noisy, quality)


def _linear(image):
    """Remove sRGB's gamma (IEC 61966-2-1)."""
    return torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def _gamma(linear):
    """Apply sRGB's gamma."""
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _bayer(image):
    """Return (C, H, W) masks of where the sensor sees each colour: RGGB, or everywhere for grey."""
    sites = torch.ones_like(image)
    if len(image) == 3:
        rows, columns = (torch.arange(side) % 2 for side in image.shape[1:])
        place = rows[:, None] + columns  # 0 at red, 1 at green, 2 at blue
        sites = torch.stack([place == colour for colour in range(3)]).to(image)
    return sites


def _demosaic(raw, sites):
    """Interpolate each colour bilinearly, as a mean of the nearest sites that see it."""
    if len(sites) == 1:
        return raw
    wide = raw.new_tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]])  # for red and blue
    near = raw.new_tensor([[0, 1, 0], [1, 4, 1], [0, 1, 0]])  # for green, of which there is more
    kernels = torch.stack([wide, near, wide])[:, None]

    def spread(planes):
        return torch.nn.functional.conv2d(planes, kernels, padding=1, groups=3)

    return spread(raw * sites) / spread(sites)
