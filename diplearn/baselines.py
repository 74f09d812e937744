"""What a user would try instead: the classical methods that the lessons put beside the deep prior.

Each takes a `Problem` and returns a picture. Where a method has a knob it is set from the noise
level, as its authors advise, never with the truth.
"""

import time

import numpy as np
import pandas as pd
import torch
from skimage import restoration
from skimage.filters import median

from . import metrics
from .errors import InputError
from .images import from_array, to_array
from .operators import Downsample


def tv(problem):
    """Total variation (Chambolle 2004, doi:10.1023/B:JMIV.0000011325.36760.1e).

    Parameters
    ----------
    problem : Problem
        A denoising problem.

    Returns
    -------
    torch.Tensor
        (C, H, W).

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> tv(denoising(images.load("camera", size=64))).shape
    torch.Size([1, 64, 64])
    """
    sigma = problem.noise_level()
    return _per_picture(problem, restoration.denoise_tv_chambolle, weight=max(1e-3, 1.0 * sigma))


def non_local_means(problem):
    """Non-local means (Buades, Coll & Morel 2005, doi:10.1109/CVPR.2005.38).

    Parameters
    ----------
    problem : Problem
        A denoising problem.

    Returns
    -------
    torch.Tensor
        (C, H, W).
    """
    sigma = problem.noise_level()
    return _per_picture(
        problem, restoration.denoise_nl_means, h=0.6 * sigma, sigma=sigma, fast_mode=True,
        patch_size=5, patch_distance=6,
    )  # fmt: skip


def wavelets(problem):
    """Wavelet shrinkage (Chang, Yu & Vetterli 2000, doi:10.1109/83.862633).

    Parameters
    ----------
    problem : Problem
        A denoising problem.

    Returns
    -------
    torch.Tensor
        (C, H, W).
    """
    return _per_picture(
        problem, restoration.denoise_wavelet, sigma=problem.noise_level(), rescale_sigma=True,
        convert2ycbcr=problem.shape[0] == 3,
    )  # fmt: skip


def bm3d(problem):
    """BM3D, on colour pictures CBM3D (Dabov et al. 2007, doi:10.1109/TIP.2007.901238).

    Parameters
    ----------
    problem : Problem
        A denoising problem.

    Returns
    -------
    torch.Tensor
        (C, H, W).

    Raises
    ------
    InputError
        The package bm3d is not installed: it is in the extra ``compare``.
    """
    try:
        import bm3d as package
    except ImportError:
        raise InputError("BM3D needs the package bm3d: pip install 'diplearn[compare]'") from None
    array = to_array(problem.observation).astype(np.float64)
    denoise = package.bm3d_rgb if array.ndim == 3 else package.bm3d
    return _picture(denoise(array, problem.noise_level()))


def median_filter(problem):
    """Median of 3x3 pixels: the classic for salt and pepper.

    Parameters
    ----------
    problem : Problem
        A denoising problem.

    Returns
    -------
    torch.Tensor
        (C, H, W).
    """
    return torch.stack(
        [torch.from_numpy(median(c.cpu().numpy(), np.ones((3, 3)))) for c in problem.observation]
    )


def interpolate(problem, kernel="cubic"):
    """Bring a small picture up with a fixed kernel: bicubic or Lanczos.

    Parameters
    ----------
    problem : Problem
        A super-resolution problem.
    kernel : {"cubic", "lanczos2", "lanczos3"}, optional
        The kernel that is laid around every small pixel.

    Returns
    -------
    torch.Tensor
        (C, H, W).
    """
    # The adjoint of downsampling spreads every pixel over the kernel; dividing by what it makes
    # of ones turns that into a weighted mean.
    spread = Downsample(problem.operator.factor, kernel)
    small = problem.observation
    shape = problem.shape
    return (spread.adjoint(small, shape) / spread.adjoint(torch.ones_like(small), shape)).clamp(
        0, 1
    )


def lanczos(problem):
    """Bring a small picture up with Lanczos3; see `interpolate`."""
    return interpolate(problem, "lanczos3")


def biharmonic(problem):
    """Fill in by the biharmonic equation (Damelin & Hoang 2018, doi:10.1155/2018/3950312).

    Parameters
    ----------
    problem : Problem
        An inpainting problem.

    Returns
    -------
    torch.Tensor
        (C, H, W).
    """
    missing = problem.operator.known.min(dim=0).values.cpu().numpy() < 0.5
    return _per_picture(
        problem, restoration.inpaint_biharmonic, mask=missing, split_into_regions=True
    )


def _per_picture(problem, method, **options):
    array = to_array(problem.observation).astype(np.float64)
    axis = -1 if array.ndim == 3 else None
    return _picture(method(array, channel_axis=axis, **options))


def _picture(array):
    return from_array(np.clip(array, 0, 1))


BY_TASK = {
    "denoising": {
        "total variation": tv,
        "wavelets": wavelets,
        "non-local means": non_local_means,
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
        What is to be restored.
    methods : dict, optional
        Name -> function; by default those of `BY_TASK` for the problem's task. BM3D is left out
        where its package is not installed.

    Returns
    -------
    pictures : dict
        Name -> picture.
    table : pandas.DataFrame
        A row a method: seconds and, where the truth is known, psnr in dB and ssim.

    Examples
    --------
    >>> from diplearn import images, super_resolution
    >>> pictures, table = compare(super_resolution(images.load("camera", size=64), factor=4))
    >>> list(table.index)
    ['bicubic', 'Lanczos']
    """
    methods = BY_TASK[problem.task] if methods is None else methods
    pictures, rows = {}, []
    for name, method in methods.items():
        begun = time.perf_counter()
        try:
            pictures[name] = method(problem)
        except InputError as error:
            if name == "BM3D" and "needs the package" in str(error):
                continue
            raise
        row = {"method": name, "seconds": time.perf_counter() - begun}
        if problem.truth is not None:
            row["psnr"] = metrics.psnr(pictures[name], problem.truth)
            row["ssim"] = metrics.ssim(pictures[name], problem.truth)
        rows.append(row)
    return pictures, pd.DataFrame(rows).set_index("method") if rows else pd.DataFrame()
