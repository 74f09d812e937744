"""Image quality: how close an image is to the truth."""

import math

import numpy as np
import skimage  # loads skimage.metrics, which takes 65 MB of memory, only when it is used
import torch

from .errors import InputError, whole
from .images import check_form, to_array

__all__ = ["band_correspondence", "psnr", "ssim"]


def psnr(image, truth, *, luma=False, shave=0):
    """Peak signal-to-noise ratio (PSNR), the measure of the paper's tables.

    Parameters
    ----------
    image, truth : torch.Tensor
        (C, H, W); values outside [0, 1] are clipped first.
    luma : bool, optional
        Compare only the luma Y, as super-resolution tables do.
    shave : int, optional
        Pixels to leave out along each edge, as super-resolution tables do.

    Returns
    -------
    float
        Decibels; infinite for equal images.

    Examples
    --------
    >>> round(psnr(torch.zeros(1, 32, 32), torch.full((1, 32, 32), 0.1)), 4)
    20.0
    """
    a, b = _pair(image, truth, luma, shave)
    error = np.square(a - b).mean().item()
    return -10 * math.log10(error) if error else math.inf


def ssim(image, truth, *, luma=False, shave=0):
    """Structural similarity (SSIM; Wang et al. 2004, doi:10.1109/TIP.2003.819861).

    The window is that of the authors, an 11x11 Gaussian with a standard deviation of 1.5 pixels;
    scikit-image has a different default.

    Parameters
    ----------
    image, truth, luma, shave
        As in `psnr`; the images must have at least 11x11 pixels.

    Returns
    -------
    float
        At most 1, the value for equal images.

    Examples
    --------
    >>> ssim(torch.zeros(1, 32, 32), torch.zeros(1, 32, 32))
    1.0
    """
    a, b = _pair(image, truth, luma, shave, smallest=11)
    axis = 2 if a.ndim == 3 else None
    return float(
        skimage.metrics.structural_similarity(
            b, a, data_range=1, channel_axis=axis,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
    )  # fmt: skip


def _pair(image, truth, luma, shave, smallest=1):
    image, truth = check_form(image, "the image"), check_form(truth, "the truth")
    if image.shape != truth.shape:
        raise InputError(
            f"cannot compare an image of shape {tuple(image.shape)} "
            f"with a truth of shape {tuple(truth.shape)}"
        )
    if min(image.shape[-2:]) - 2 * whole(shave, "shave", 0) < smallest:
        raise InputError(
            f"{image.shape[-1]}x{image.shape[-2]} pixels are too few with shave={shave}: "
            f"at least {smallest} must be left on each side"
        )
    if luma:
        image, truth = luminance(image), luminance(truth)
    if shave:
        image, truth = (p[:, shave:-shave, shave:-shave] for p in (image, truth))
    return to_array(image).astype(np.float64), to_array(truth).astype(np.float64)


def luminance(image):
    """Return the luma Y of ITU-R BT.601, (1, H, W), in studio range (16 to 235 of 255).

    Published tables use this range. A grey image is returned as it is.

    >>> round(255 * luminance(torch.ones(3, 16, 16)).max().item())
    235
    """
    image = check_form(image, "the image")
    if image.shape[0] == 1:
        return image
    weights = image.new_tensor([65.481, 128.553, 24.966])
    y = 16 + torch.einsum("c,chw->hw", weights, image.clamp(0, 1))
    return (y / 255)[None]


def band_correspondence(image, target, bands=5):
    """Frequency band correspondence: how much of each band of the target an image contains.

    The ratio of the two Fourier magnitudes is averaged over rings of equal width, from the lowest
    frequencies to the highest. If a network fits low frequencies first, the rings reach 1 one after
    another (Shi et al., IJCV 2022, doi:10.1007/s11263-021-01572-7).

    Parameters
    ----------
    image, target : torch.Tensor
        (C, H, W); the channels are averaged before the transform.
    bands : int, optional
        Number of rings.

    Returns
    -------
    numpy.ndarray
        (bands,), at least 0: 1 where image and target agree, NaN for a band in which the target is
        empty.

    Examples
    --------
    >>> image = torch.rand(1, 32, 32)
    >>> band_correspondence(image, image).round(6).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    bands = whole(bands, "bands", 1)
    image, target = check_form(image, "the image"), check_form(target, "the target")
    if image.shape != target.shape:
        raise InputError(f"shapes differ: {tuple(image.shape)} and {tuple(target.shape)}")
    spectrum, reference = (
        np.abs(np.fft.fft2(p.detach().double().mean(0).cpu().numpy())) for p in (image, target)
    )
    height, width = spectrum.shape
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    ring = np.minimum((radius / 0.5 * bands).astype(int), bands - 1)  # corners join the last ring
    # Frequencies that the target does not contain have no ratio.
    told = reference > 1e-8 * reference.max()
    ratios = [spectrum[told & (ring == k)] / reference[told & (ring == k)] for k in range(bands)]
    return np.array([r.mean() if r.size else np.nan for r in ratios])
