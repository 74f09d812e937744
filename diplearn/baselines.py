"""Classical methods, with which the lessons compare the deep image prior.

Each method takes a `Problem` and returns the restored image, (C, H, W). Its parameter is set from
the noise level, as its authors advise, and never with the help of the truth.
"""

import threading
import time

import numpy as np
import pandas as pd
import torch
from skimage import restoration
from skimage.filters import median

from . import metrics
from .errors import InputError
from .images import from_array, to_array
from .nl_ridge import denoise
from .operators import Downsample
from .problems import OPERATOR_OF

__all__ = [
    "BY_TASK",
    "biharmonic",
    "bm3d",
    "compare",
    "interpolate",
    "lanczos",
    "median_filter",
    "nl_ridge",
    "non_local_means",
    "tv",
]


def tv(problem):
    """Denoise by total variation (Chambolle 2004, doi:10.1023/B:JMIV.0000011325.36760.1e).

    The weight is 0.8 sigma. On six bundled images of 256x256 its mean PSNR is the best of all
    weights from 0.5 to 1.4 sigma at sigma = 25/255 (29.8 dB), and is within 0.2 dB of the best at
    10/255 and 50/255.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    torch.Tensor

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> tv(denoising(images.load("camera", size=64))).shape
    torch.Size([1, 64, 64])
    """
    # With scikit-image's default tolerance, the iteration may stop at once, 8 dB too early.
    return _per_image(
        problem, restoration.denoise_tv_chambolle, weight=max(1e-3, 0.8 * problem.noise_level()),
        eps=1e-5, max_num_iter=500,
    )  # fmt: skip


def non_local_means(problem):
    """Denoise by non-local means (Buades, Coll & Morel 2005, doi:10.1109/CVPR.2005.38).

    The parameter h is 0.6 sigma. On six bundled images of 256x256 the mean PSNR is within 0.1 dB of
    the best from 0.4 to 1.0 sigma, at sigma = 10/255, 25/255 (30.5 dB) and 50/255.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    torch.Tensor

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> non_local_means(denoising(images.load("camera", size=64))).shape
    torch.Size([1, 64, 64])
    """
    sigma = problem.noise_level()
    return _per_image(
        problem, restoration.denoise_nl_means, h=0.6 * sigma, sigma=sigma, fast_mode=True,
        patch_size=5, patch_distance=6,
    )  # fmt: skip


def wavelets(problem):
    """Denoise by wavelet shrinkage (Chang, Yu & Vetterli 2000, doi:10.1109/83.862633)."""
    sigma = problem.noise_level()
    if sigma == 0:  # scikit-image divides by the coefficients, which are 0 for a constant image
        return problem.observation.cpu()
    return _per_image(
        problem, restoration.denoise_wavelet, sigma=sigma, rescale_sigma=True,
        convert2ycbcr=problem.shape[0] == 3,
    )  # fmt: skip


def nl_ridge(problem):
    """Denoise by NL-Ridge (Herbreteau & Kervrann 2025, doi:10.48550/arXiv.2402.13816).

    Each patch becomes a combination of the patches that look like it. `diplearn.nl_ridge` describes
    the method and what differs from the paper. It is part of diplearn: unlike `bm3d`, it needs no
    other package, and diplearn's licence covers it.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    torch.Tensor

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> nl_ridge(denoising(images.load("camera", size=64))).shape
    torch.Size([1, 64, 64])
    """
    return denoise(problem.observation.cpu(), problem.noise_level()).clamp(0, 1)


def bm3d(problem):
    """Denoise by BM3D, or CBM3D for colour images (Dabov et al. 2007, doi:10.1109/TIP.2007.901238).

    The licence of the package bm3d allows non-commercial use only, and asks for its authors'
    consent before copies are passed on. `nl_ridge` has no such limit.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    torch.Tensor

    Raises
    ------
    InputError
        The package bm3d is missing: pip install 'diplearn[compare]'.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> bm3d(denoising(images.load("camera", size=64))).shape  # doctest: +SKIP
    torch.Size([1, 64, 64])
    """
    package = _bm3d_package()
    if package is None:
        raise InputError("BM3D needs the package bm3d: pip install 'diplearn[compare]'")
    array, sigma = to_array(problem.observation).astype(np.float64), problem.noise_level()
    with _one_bm3d:
        if array.ndim == 3 and np.ptp(array @ _OPPONENTS, axis=(0, 1)).min() == 0:
            return _image(np.dstack([package.bm3d(array[..., c], sigma) for c in range(3)]))
        denoise = package.bm3d_rgb if array.ndim == 3 else package.bm3d
        return _image(denoise(array, sigma))


# All calls of the package share one pool of threads: two at once hang, or abort the process.
_one_bm3d = threading.Lock()


# The colour axes of CBM3D, which divides by the range of values along each axis. That range is 0
# where an image is grey, or where red and blue are black.
_OPPONENTS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]).T


def _bm3d_package():
    """Return the optional package bm3d, or None."""
    try:
        import bm3d as package
    except ImportError:
        return None
    return package


def median_filter(problem):
    """Denoise by the median of 3x3 pixels, the classical remedy for salt and pepper.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    torch.Tensor

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> median_filter(denoising(images.load("camera", size=64))).shape
    torch.Size([1, 64, 64])
    """
    return torch.stack(
        [torch.from_numpy(median(c.cpu().numpy(), np.ones((3, 3)))) for c in problem.observation]
    )


def interpolate(problem, kernel="cubic"):
    """Enlarge a small image by bicubic or Lanczos interpolation.

    Parameters
    ----------
    problem : Problem
    kernel : {"cubic", "lanczos2", "lanczos3"}, optional

    Returns
    -------
    torch.Tensor

    Examples
    --------
    >>> from diplearn import images, super_resolution
    >>> interpolate(super_resolution(images.load("camera", size=64))).shape
    torch.Size([1, 64, 64])
    """
    # The adjoint of downsampling spreads each pixel over the kernel. Divided by the adjoint of a
    # constant image, the sum becomes a weighted mean.
    small, shape = problem.observation, problem.shape
    spread = Downsample(problem.operator.factor, kernel)
    weights = spread.adjoint(torch.ones_like(small), shape)
    return (spread.adjoint(small, shape) / weights).clamp(0, 1)


def lanczos(problem):
    """Enlarge a small image by Lanczos3 interpolation.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    torch.Tensor

    Examples
    --------
    >>> from diplearn import images, super_resolution
    >>> lanczos(super_resolution(images.load("camera", size=64))).shape
    torch.Size([1, 64, 64])
    """
    return interpolate(problem, "lanczos3")


def biharmonic(problem):
    """Fill in missing pixels by the biharmonic equation (Damelin & Hoang 2018).

    Source: doi:10.1155/2018/3950312. A channel without any known pixel becomes mid-grey.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    torch.Tensor

    Examples
    --------
    >>> from diplearn import images, inpainting
    >>> biharmonic(inpainting(images.load("camera", size=64), mask=0.2)).shape
    torch.Size([1, 64, 64])
    """
    missing = problem.operator.known.cpu().numpy() < 0.5
    if len(missing) == 1:  # one mask for all channels
        return _per_image(problem, restoration.inpaint_biharmonic, mask=missing[0])
    planes = problem.observation.cpu().numpy().astype(np.float64)
    filled = [
        np.full_like(plane, 0.5) if mask.all() else restoration.inpaint_biharmonic(plane, mask)
        for plane, mask in zip(planes, missing)
    ]
    return _image(np.stack(filled, axis=-1))


def _per_image(problem, method, **options):
    array = to_array(problem.observation).astype(np.float64)
    axis = -1 if array.ndim == 3 else None
    return _image(method(array, channel_axis=axis, **options))


def _image(array):
    return from_array(np.clip(array, 0, 1))


BY_TASK = {
    "denoising": {
        "total variation": tv,
        "wavelets": wavelets,
        "non-local means": non_local_means,
        "NL-Ridge": nl_ridge,
        "BM3D": bm3d,
    },
    "jpeg": {"total variation": tv, "non-local means": non_local_means},
    "super_resolution": {"bicubic": interpolate, "Lanczos": lanczos},
    "inpainting": {"biharmonic": biharmonic},
    "deblurring": {},
}


def compare(problem, methods=None):
    """Run the classical methods on one problem.

    Parameters
    ----------
    problem : Problem
    methods : dict, optional
        Name -> function. By default the methods of `BY_TASK` for the problem's task, without BM3D
        if its package is missing. A user-defined operator has no default methods.

    Returns
    -------
    images : dict
        Name -> image.
    table : pandas.DataFrame
        One row per method: its seconds and, if the truth is known, psnr in dB and ssim. Without
        methods, as for deblurring, the table is empty.

    Examples
    --------
    >>> from diplearn import images, super_resolution
    >>> images, table = compare(super_resolution(images.load("camera", size=64), factor=4))
    >>> list(table.index)
    ['bicubic', 'Lanczos']
    """
    images, rows = {}, []
    for name, method in (_methods(problem) if methods is None else methods).items():
        begun = time.perf_counter()
        images[name] = method(problem)
        row = {"method": name, "seconds": time.perf_counter() - begun}
        if problem.truth is not None:
            row["psnr"] = metrics.psnr(images[name], problem.truth)
            row["ssim"] = metrics.ssim(images[name], problem.truth)
        rows.append(row)
    return images, pd.DataFrame(rows).set_index("method") if rows else pd.DataFrame()


def _methods(problem):
    """Return name -> method; without any for a user-defined operator."""
    if not isinstance(problem.operator, OPERATOR_OF[problem.task]):
        return {}
    methods = dict(BY_TASK[problem.task])
    if _bm3d_package() is None:
        methods.pop("BM3D", None)
    return methods
