"""The energy that a fit minimises: E(x; x0) + R(x), equation (1) of the paper.

The deep image prior drops the regulariser R and writes x = f_θ(z) instead (equation 2). Total
variation, the classical choice of R, is here for comparison.
"""

import torch

from .errors import lookup

__all__ = ["data_term", "energy", "total_variation"]

DATA_TERMS = {"mse": torch.square, "l1": torch.abs}
"""Name -> function of the residual A x − x0 whose mean is the data term."""


def data_term(image, problem, kind="mse"):
    """Return E(x; x0): how badly an image x explains the observation x0.

    Denoising (section 3.1 of the paper), super-resolution (3.3) and inpainting (3.4) differ only in
    the operator A. A mask makes the missing pixels zero in both A x and x0, so that they cost
    nothing.

    Parameters
    ----------
    image : torch.Tensor, x of shape (C, H, W)
    problem : Problem, with x0 and A
    kind : {"mse", "l1"}, optional
        Mean of the squares of A x − x0 (for Gaussian noise) or of their absolute values (for
        outliers, such as salt and pepper).

    Returns
    -------
    torch.Tensor
        A scalar, at least 0: the mean over all pixels of x0, as in the published code.

    Examples
    --------
    >>> from diplearn.problems import Problem
    >>> x0 = torch.full((1, 16, 16), 0.5)
    >>> data_term(x0 + 0.1, Problem(x0)).item()  # doctest: +ELLIPSIS
    0.01...
    """
    return misfit(problem.operator(image) - problem.observation, kind)


def misfit(residual, kind="mse"):
    """Return the mean of a residual's squares ("mse") or absolute values ("l1")."""
    return lookup(DATA_TERMS, kind, "data term")(residual).mean()


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
