"""The energy that a fit minimises: E(x; x0) + R(x), equation (1) of the paper.

The deep image prior drops the regulariser R and writes x = f_θ(z) instead (equation 2). Total
variation, the classical choice of R, is here for comparison.
"""

import torch

from .errors import lookup

__all__ = ["data_term", "energy", "total_variation"]

BACKGROUND = 1e-4
"""What "poisson" adds to A x and to x0: the logarithm of black, and its slope, remain finite."""


def _squares(predicted, observed):
    return torch.square(predicted - observed)


def _distances(predicted, observed):
    return torch.abs(predicted - observed)


def _deviance(predicted, observed):
    """Return the deviance of the Poisson distribution; below 0, its tangent at 0."""
    mean, count = predicted.clamp(min=0) + BACKGROUND, observed + BACKGROUND
    deviance = mean - count - count * torch.log(mean / count)
    return deviance + observed / BACKGROUND * torch.relu(-predicted)


DATA_TERMS = {"mse": _squares, "l1": _distances, "poisson": _deviance}
"""Name -> function of A x and x0, pixel by pixel, whose mean is the data term."""


def data_term(image, problem, kind="mse"):
    """Return E(x; x0): how badly an image x explains the observation x0.

    Denoising (section 3.1 of the paper), super-resolution (3.3) and inpainting (3.4) differ only in
    the operator A. A mask makes the missing pixels zero in both A x and x0, so that they cost
    nothing.

    Parameters
    ----------
    image : torch.Tensor, x of shape (C, H, W)
    problem : Problem, with x0 and A
    kind : {"mse", "l1", "poisson"}, optional
        Mean of the squares of A x − x0 (for Gaussian noise), of their absolute values (for
        outliers, such as salt and pepper), or of the deviance A x − x0 + x0 log(x0 / A x) (for
        counts of photons).

    Returns
    -------
    torch.Tensor
        A scalar, at least 0: the mean over all pixels of x0, as in the published code.

    Notes
    -----
    If white is p photons, p times the deviance is −log p(x0 | x) less its value at A x = x0; the
    energy leaves the factor p out. It is 0 where A x = x0, and about (A x − x0)² / 2 A x near
    there: at the truth, its expected value is about 1 / 2p, however bright the image is, as long as
    its pixels receive more than a few photons. Both A x and x0 are increased by `BACKGROUND`, a
    fortieth of a grey level, so that black costs no infinite energy; below 0 the term is linear.

    Examples
    --------
    >>> from diplearn.problems import Problem
    >>> x0 = torch.full((1, 16, 16), 0.5)
    >>> data_term(x0 + 0.1, Problem(x0)).item()  # doctest: +ELLIPSIS
    0.01...
    """
    return misfit(problem.operator(image), problem.observation, kind)


def misfit(predicted, observed, kind="mse"):
    """Return the mean misfit of predicted and observed values: `kind` as in `data_term`."""
    return lookup(DATA_TERMS, kind, "data term")(predicted, observed).mean()


def total_variation(image, smoothing=1e-12):
    """Isotropic total variation (Rudin, Osher & Fatemi 1992, doi:10.1016/0167-2789(92)90242-F).

    Except for the smoothing, this is the published code's `tv_loss`.

    Parameters
    ----------
    image : torch.Tensor, x of shape (..., H, W)
    smoothing : float, optional
        Added under the square root, so that constant regions have a gradient.

    Returns
    -------
    torch.Tensor
        A scalar: the sum of √(∂x² + ∂y²) over all pixels except the last row and column.

    Examples
    --------
    >>> step = torch.zeros(1, 17, 17)
    >>> step[..., 9:] = 1
    >>> round(total_variation(step).item(), 2)  # an edge of height 1, 16 pixels long
    16.0
    """
    across = image[..., :-1, 1:] - image[..., :-1, :-1]
    down = image[..., 1:, :-1] - image[..., :-1, :-1]
    return (across.square() + down.square() + smoothing).sqrt().sum()


def energy(image, problem, kind="mse", tv_weight=0.0):
    """Return E(x; x0) + R(x), where R is the weighted total variation.

    Parameters
    ----------
    image, problem, kind
        As in `data_term`.
    tv_weight : float, optional
        Weight of the total variation; 0 gives the deep image prior's own energy.

    Returns
    -------
    torch.Tensor, a scalar

    Examples
    --------
    >>> from diplearn.problems import Problem
    >>> x0 = torch.full((1, 16, 16), 0.5)
    >>> round(energy(x0, Problem(x0), tv_weight=0.1).item(), 3)  # constant, and fitted perfectly
    0.0
    """
    value = data_term(image, problem, kind)
    if tv_weight:
        value = value + tv_weight * total_variation(image)
    return value
