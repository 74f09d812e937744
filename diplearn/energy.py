"""The energy that a fit makes small: E(x; x0) + R(x), equation (1) of the paper.

The deep image prior drops R and writes x = f_θ(z) instead (equation 2). Total variation is here
for comparison: it is what R was before.
"""

from .errors import InputError

DATA_TERMS = ("mse", "l1")


def data_term(image, problem, kind="mse"):
    """E(x; x0): how badly an image x explains the observation x0.

    Denoising (paper, section 3.1), super-resolution (3.3) and inpainting (3.4) differ only in the
    operator A; with a mask the missing pixels are zero on both sides and cost nothing.

    Parameters
    ----------
    image : torch.Tensor
        x, (C, H, W).
    problem : Problem
        Holds the observation x0 and the operator A.
    kind : {"mse", "l1"}, optional
        Mean of the squares of A x − x0 (Gaussian noise), or of their absolute values (outliers,
        such as salt and pepper).

    Returns
    -------
    torch.Tensor
        A scalar, at least 0. The mean runs over all pixels of x0, as in the published code.

    Raises
    ------
    InputError
        No data term is called that.

    Examples
    --------
    >>> import torch
    >>> from diplearn.problems import Problem
    >>> x0 = torch.full((1, 16, 16), 0.5)
    >>> data_term(x0 + 0.1, Problem(x0)).item()  # doctest: +ELLIPSIS
    0.01...
    """
    return misfit(problem.operator(image) - problem.observation, kind)


def misfit(residual, kind="mse"):
    """Say how large a residual is: the mean of its squares, or of its absolute values.

    Parameters
    ----------
    residual : torch.Tensor
        A x − x0, or a part of it.
    kind : {"mse", "l1"}, optional
        As `data_term` takes it.

    Returns
    -------
    torch.Tensor
        A scalar, at least 0.

    Raises
    ------
    InputError
        No data term is called that.

    Examples
    --------
    >>> import torch
    >>> misfit(torch.tensor([3.0, -1.0]), "l1").item()
    2.0
    """
    if kind == "mse":
        return residual.square().mean()
    if kind == "l1":
        return residual.abs().mean()
    raise InputError(f"no data term is called {kind!r}; there are {', '.join(DATA_TERMS)}")


def total_variation(image, smoothing=1e-12):
    """Total variation, isotropic, summed over the pixels (Rudin, Osher & Fatemi 1992).

    The published code's `tv_loss`, but for the smoothing.

    Parameters
    ----------
    image : torch.Tensor
        x, (..., H, W).
    smoothing : float, optional
        Added under the root, so that flat places have a gradient.

    Returns
    -------
    torch.Tensor
        A scalar: the sum of √(∂x² + ∂y²) over all pixels but the last row and column.
        doi:10.1016/0167-2789(92)90242-F.

    Examples
    --------
    >>> import torch
    >>> step = torch.zeros(1, 17, 17)
    >>> step[..., 9:] = 1
    >>> round(total_variation(step).item(), 2)  # an edge of height 1, 16 pixels long
    16.0
    """
    across = image[..., :-1, 1:] - image[..., :-1, :-1]
    down = image[..., 1:, :-1] - image[..., :-1, :-1]
    return (across.square() + down.square() + smoothing).sqrt().sum()


def energy(image, problem, kind="mse", tv_weight=0.0):
    """E(x; x0) + R(x), with R the total variation times a weight.

    Parameters
    ----------
    image : torch.Tensor
        x, (C, H, W).
    problem : Problem
        Holds the observation x0 and the operator A.
    kind : {"mse", "l1"}, optional
        The data term.
    tv_weight : float, optional
        Weight of the total variation; 0, the default, is the deep image prior's own energy.

    Returns
    -------
    torch.Tensor
        A scalar.

    Raises
    ------
    InputError
        No data term is called that.

    Examples
    --------
    >>> import torch
    >>> from diplearn.problems import Problem
    >>> x0 = torch.full((1, 16, 16), 0.5)
    >>> round(energy(x0, Problem(x0), tv_weight=0.1).item(), 3)  # a flat image, perfectly fitted
    0.0
    """
    value = data_term(image, problem, kind)
    if tv_weight:
        value = value + tv_weight * total_variation(image)
    return value
