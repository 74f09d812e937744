"""Degradations other than forward operators: three noise models, and JPEG compression.

The same seed gives the same noise; the global random state does not change.
"""

import io

import numpy as np
import torch
from PIL import Image

from .errors import InputError, whole
from .images import as_tensor, check, from_array, to_uint8
from .randomness import generator

__all__ = ["gaussian_noise", "jpeg", "poisson_noise", "salt_and_pepper"]


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
