"""How far a picture is from the truth."""

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from .errors import InputError
from .images import to_array


def psnr(picture, truth, *, luma=False, shave=0):
    """Peak signal-to-noise ratio, the measure of the paper's tables.

    Parameters
    ----------
    picture, truth : torch.Tensor
        (C, H, W) with values in [0, 1]; what lies outside is clipped first, as a screen would.
    luma : bool, optional
        Measure on the luma Y alone, as super-resolution tables do.
    shave : int, optional
        Pixels to leave out along each edge.

    Returns
    -------
    float
        Decibels; infinite where the two are equal.

    Raises
    ------
    InputError
        The two differ in shape.

    Examples
    --------
    >>> import torch
    >>> psnr(torch.zeros(1, 32, 32), torch.full((1, 32, 32), 0.1))
    20.0
    """
    a, b = _pair(picture, truth, luma, shave)
    if np.array_equal(a, b):
        return float("inf")
    return round(float(peak_signal_noise_ratio(b, a, data_range=1)), 6)


def ssim(picture, truth, *, luma=False, shave=0):
    """Structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861).

    Parameters
    ----------
    picture, truth : torch.Tensor
        (C, H, W) with values in [0, 1].
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
        The two differ in shape.

    Examples
    --------
    >>> import torch
    >>> ssim(torch.zeros(1, 32, 32), torch.zeros(1, 32, 32))
    1.0
    """
    a, b = _pair(picture, truth, luma, shave)
    axis = 2 if a.ndim == 3 else None
    return float(structural_similarity(b, a, data_range=1, channel_axis=axis))


def _pair(picture, truth, luma, shave):
    if picture.shape != truth.shape:
        raise InputError(
            f"cannot compare a picture of shape {tuple(picture.shape)} "
            f"with a truth of shape {tuple(truth.shape)}"
        )
    if luma:
        picture, truth = luminance(picture), luminance(truth)
    if shave:
        picture, truth = (p[:, shave:-shave, shave:-shave] for p in (picture, truth))
    return to_array(picture).astype(np.float64), to_array(truth).astype(np.float64)


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
    """
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
        (bands,), each at least 0; 1 where picture and target agree.

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
    ratio = np.divide(spectrum, reference, out=np.zeros_like(spectrum), where=told)
    return np.array([ratio[told & (ring == k)].mean() for k in range(bands)])
