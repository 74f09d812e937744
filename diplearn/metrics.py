"""How far a picture is from the truth."""

import math

import numpy as np
import skimage  # SSIM's part of it takes 65 MB, and is loaded when SSIM is asked for
import torch

from .errors import InputError, whole
from .images import as_tensor, to_array


def psnr(picture, truth, *, luma=False, shave=0):
    """Peak signal-to-noise ratio, the measure of the paper's tables.

    Parameters
    ----------
    picture, truth : torch.Tensor
        (C, H, W) with values in [0, 1]; what lies outside is clipped first, as a screen would.
    luma : bool, optional
        Measure on the luma Y alone, as super-resolution tables do.
    shave : int, optional
        Pixels to leave out along each edge, as super-resolution tables do.

    Returns
    -------
    float
        Decibels; infinite where the two are equal.

    Raises
    ------
    InputError
        The two differ in shape, or `shave` leaves nothing.

    Examples
    --------
    >>> import torch
    >>> round(psnr(torch.zeros(1, 32, 32), torch.full((1, 32, 32), 0.1)), 4)
    20.0
    """
    a, b = _pair(picture, truth, luma, shave)
    error = np.square(a - b).mean().item()
    return -10 * math.log10(error) if error else math.inf


def ssim(picture, truth, *, luma=False, shave=0):
    """Structural similarity with the authors' window (Wang et al. 2004).

    A Gaussian of 1.5 pixels, 11x11: scikit-image's own default is another one.
    doi:10.1109/TIP.2003.819861

    Parameters
    ----------
    picture, truth : torch.Tensor
        (C, H, W) with values in [0, 1]; what lies outside is clipped first. At least 11x11.
    luma : bool, optional
        Measure on the luma Y alone.
    shave : int, optional
        Pixels to leave out along each edge.

    Returns
    -------
    float
        At most 1, which is reached by equal pictures.

    Raises
    ------
    InputError
        The two differ in shape, or are smaller than the window.

    Examples
    --------
    >>> import torch
    >>> ssim(torch.zeros(1, 32, 32), torch.zeros(1, 32, 32))
    1.0
    """
    a, b = _pair(picture, truth, luma, shave, smallest=11)
    axis = 2 if a.ndim == 3 else None
    return float(
        skimage.metrics.structural_similarity(
            b, a, data_range=1, channel_axis=axis,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
    )  # fmt: skip


def _pair(picture, truth, luma, shave, smallest=1):
    picture, truth = _checked(picture, "the picture"), _checked(truth, "the truth")
    if picture.shape != truth.shape:
        raise InputError(
            f"cannot compare a picture of shape {tuple(picture.shape)} "
            f"with a truth of shape {tuple(truth.shape)}"
        )
    if min(picture.shape[-2:]) - 2 * whole(shave, "shave", 0) < smallest:
        raise InputError(
            f"{picture.shape[-1]}x{picture.shape[-2]} pixels without {shave} along each edge: "
            f"at least {smallest} must be left on each side"
        )
    if luma:
        picture, truth = luminance(picture), luminance(truth)
    if shave:
        picture, truth = (p[:, shave:-shave, shave:-shave] for p in (picture, truth))
    return to_array(picture).astype(np.float64), to_array(truth).astype(np.float64)


def _checked(picture, what):
    picture = as_tensor(picture, what)
    if picture.ndim != 3 or picture.shape[0] not in (1, 3):
        shape = tuple(picture.shape)
        raise InputError(f"{what} has shape {shape}; a picture is (C, H, W) with C = 1 or 3")
    if not picture.is_floating_point():
        raise InputError(
            f"{what} holds {picture.dtype}; divide by its largest possible value to get [0, 1]"
        )
    return picture


def luminance(picture):
    """Luma Y of ITU-R BT.601 with its studio range (16 to 235 of 255), as published tables use.

    Parameters
    ----------
    picture : torch.Tensor
        (C, H, W) with values in [0, 1]; a grey picture is returned as it is.

    Returns
    -------
    torch.Tensor
        (1, H, W).

    Examples
    --------
    >>> import torch
    >>> white = luminance(torch.ones(3, 16, 16))
    >>> round(255 * white.max().item())
    235
    """
    picture = _checked(picture, "the picture")
    if picture.shape[0] == 1:
        return picture
    weights = picture.new_tensor([65.481, 128.553, 24.966])
    y = 16 + torch.einsum("c,chw->hw", weights, picture.clamp(0, 1))
    return (y / 255)[None]


def band_correspondence(picture, target, bands=5):
    """How much of each frequency band of the target the picture has (FBC).

    The ratio of the two Fourier magnitudes, averaged over rings of equal width, from the lowest
    frequencies to the highest. A network that fits low frequencies first shows rings that reach 1
    one after the other (Shi et al., IJCV 2022, doi:10.1007/s11263-021-01572-7).

    Parameters
    ----------
    picture, target : torch.Tensor
        (C, H, W); averaged over the channels before the transform.
    bands : int, optional
        Number of rings.

    Returns
    -------
    numpy.ndarray
        (bands,), each at least 0; 1 where picture and target agree; NaN for a band in which the
        target has nothing.

    Raises
    ------
    InputError
        The two differ in shape.

    Examples
    --------
    >>> import torch
    >>> picture = torch.rand(1, 32, 32)
    >>> band_correspondence(picture, picture).round(6).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    bands = whole(bands, "bands", 1)
    picture, target = _checked(picture, "the picture"), _checked(target, "the target")
    if picture.shape != target.shape:
        raise InputError(f"shapes differ: {tuple(picture.shape)} and {tuple(target.shape)}")
    spectrum, reference = (
        np.abs(np.fft.fft2(p.detach().double().mean(0).cpu().numpy())) for p in (picture, target)
    )
    height, width = spectrum.shape
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    ring = np.minimum((radius / 0.5 * bands).astype(int), bands - 1)  # corners join the last ring
    # A target without any energy at a frequency says nothing there.
    told = reference > 1e-8 * reference.max()
    ratios = [spectrum[told & (ring == k)] / reference[told & (ring == k)] for k in range(bands)]
    return np.array([r.mean() if r.size else np.nan for r in ratios])
