"""Results of measurements that take too long for a lesson; `benchmarks/` makes each file again.

- `ablation.csv`: the table of `diplearn sweep benchmarks/ablation.toml`, 225 fits.
- `learning_rates.csv`: optimisers and families of networks over the learning rate, from
  `benchmarks/learning_rates.py`.
- `overfitting.npz`: a fit of 50,000 iterations, from `benchmarks/overfitting.py`.
- `stopping.csv`: the loss of each stopping rule on 150 fits, from `benchmarks/stopping.py`.
- `full_size/`: restored pictures of up to 512 pixels on a side and their scores, from
  `benchmarks/full_size.py`; `full_size` and `full_size_scores` read them.
"""

from pathlib import Path

import lazy_loader

from ... import baselines, images, problems
from ...errors import lookup

pd = lazy_loader.load("pandas")  # imported on first use, since it takes 34 MB

__all__ = ["full_size", "full_size_scores", "path"]


def path(name):
    """Return the path of a stored file, for `pandas.read_csv` or `numpy.load`.

    Parameters
    ----------
    name : str
        The file's name, such as "stopping.csv".

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> path("stopping.csv").exists()
    True
    """
    return Path(__file__).parent / name


def full_size(task):
    """Return a picture at full size, restored by several methods, and the methods' scores.

    The results of methods that take long are stored (as JPEG, seed 0 of the fits); the truth, the
    observation and its interpolations are made anew.

    Parameters
    ----------
    task : {"denoising", "super_resolution"}
        The cat under noise with sigma = 25/255; or a picture of the Hubble telescope, four times
        too small.

    Returns
    -------
    images : dict
        Name -> image (C, H, W) in [0, 1]: "truth", the observation ("noisy", or the small "x₀"),
        and one image for each method of the table.
    table : pandas.DataFrame
        The picture's part of `full_size_scores`: one row per method.

    Raises
    ------
    InputError
        There is no such task.

    Examples
    --------
    >>> images, table = full_size("denoising")
    >>> images["lab"].shape
    torch.Size([3, 300, 451])
    >>> bool(table.psnr["lab"] > table.psnr["noisy"] + 5)
    True
    """
    picture = lookup(SHOWN, task, "task")
    problem = full_size_problem(task, images.load(picture))
    shown = {"truth": problem.truth}
    if task == "denoising":
        shown["noisy"] = problem.observation
    else:
        shown["x₀"] = problem.observation
        quick = {"bicubic": baselines.interpolate, "Lanczos": baselines.lanczos}
        shown |= {name: make(problem) for name, make in quick.items()}
        shown["A⁺x₀"] = least_norm(problem)
    size = "x".join(map(str, problem.shape[1:]))
    table = full_size_scores(task).xs(picture).xs(size)
    for method in table.index.difference(shown, sort=False):
        shown[method] = images.read(path(f"full_size/{file_name(task, picture, method)}.jpg"))
    return shown, table


def full_size_scores(task):
    """Return the scores of all pictures that were tried, measured before JPEG.

    For super-resolution they are those of luma, without four pixels along each edge, and include
    the pictures at 256x256 and at full size from which the one that `full_size` shows was chosen.

    Parameters
    ----------
    task : {"denoising", "super_resolution"}

    Returns
    -------
    pandas.DataFrame
        One row per picture, size ("512x512": height and width) and method. Means over the seeds of
        the fit: psnr in dB, ssim, and cpu_seconds, of all threads together; psnr_std and ssim_std,
        the standard deviations over the seeds (NaN for one seed); and seeds, their number.

    Examples
    --------
    >>> scores = full_size_scores("super_resolution").psnr
    >>> scores.xs("256x256", level="size").unstack().shape  # pictures, methods
    (7, 6)
    """
    lookup(SHOWN, task, "task")
    rows = pd.read_csv(path("full_size/scores.csv")).query("task == @task")
    groups = rows.groupby(["picture", "size", "method"], sort=False)
    return groups.agg(
        psnr=("psnr", "mean"),
        psnr_std=("psnr", "std"),
        ssim=("ssim", "mean"),
        ssim_std=("ssim", "std"),
        cpu_seconds=("cpu_seconds", "mean"),
        seeds=("seed", "nunique"),
    )


SHOWN = {"denoising": "chelsea", "super_resolution": "hubble"}  # task -> picture


# For `benchmarks/full_size.py`, which makes what is read here.


def full_size_problem(task, clean):
    """Return the problem that the stored results solve, of at most 512 pixels on a side."""
    clean = images.shrink(clean, 512)
    if task == "denoising":
        return problems.denoising(clean, sigma=25 / 255, seed=0)
    return problems.super_resolution(clean, factor=4)


def least_norm(problem):
    """Return A⁺ x₀, of all images that explain x₀ the one with the smallest norm."""
    small = problem.observation
    zeros = small.new_zeros(problem.shape)
    return problem.operator.project(zeros, small).clamp(0, 1)


def file_name(task, picture, method):
    """Return the name of a stored image without its suffix."""
    return f"{task}-{picture}-{method.replace(' ', '-')}"
