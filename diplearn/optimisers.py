"""Optimisers of a fit: Adam, as published, and Muon, which needs a third of Adam's iterations."""

import torch

from .errors import lookup

__all__ = ["Muon", "orthogonalize"]

# Coefficients of x, x³ and x⁵, chosen by Jordan et al. so that small singular values grow fast.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5

# Root mean square of a typical Adam step, as a multiple of the learning rate (Liu et al.).
_ADAM_SIZE = 0.2


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum: equally long steps along all singular vectors of a layer.

    The weights of a layer form a matrix with one row per output channel. Muon keeps a running mean
    of the gradients (the momentum), looks ahead as Nesterov's method does, and replaces the result
    by the nearest orthogonal matrix, found by a Newton-Schulz iteration. The singular values of a
    step are then about equal. Those of a gradient differ widely, so that the few directions with
    large singular values dominate the many with small ones. When fitting one image, this saves two
    thirds of the iterations.

    Parameters
    ----------
    filters : iterable of torch.nn.Parameter
        Weights of convolutions, (outputs, inputs, height, width), or matrices.
    lr : float, optional
        Learning rate. The root mean square of a step is about 0.2 times this, as with Adam, so that
        the same learning rate suits both.
    momentum : float, optional
        Weight of the past in the running mean of the gradients, in [0, 1).

    Notes
    -----
    Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024),
    https://kellerjordan.github.io/posts/muon/; the size of a step: Liu et al., arXiv:2502.16982.
    PyTorch's own class (2.9 and later) takes matrices only.

    Examples
    --------
    >>> layer = torch.nn.Conv2d(3, 8, 3, bias=False)
    >>> optimiser = Muon(layer.parameters(), lr=0.01)
    >>> layer(torch.rand(1, 3, 16, 16)).square().mean().backward()
    >>> optimiser.step()
    """

    def __init__(self, filters, lr=0.01, momentum=0.9):
        super().__init__(filters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        """Make one step along the gradients that `backward` has computed."""
        for group in self.param_groups:
            filters = [p for p in group["params"] if p.grad is not None]
            if not filters:
                continue
            directions = self._nesterov(filters, group["momentum"])
            steps = orthogonalize([_as_matrix(each) for each in directions])
            # The entries of an m x n orthogonal matrix have the root mean square 1 / √max(m, n).
            sizes = [_ADAM_SIZE * max(step.shape) ** 0.5 for step in steps]
            torch._foreach_mul_(steps, sizes)
            steps = [_as_filters(step, like) for step, like in zip(steps, directions)]
            torch._foreach_add_(filters, steps, alpha=-group["lr"])

    def _nesterov(self, filters, momentum):
        """Update the momentum with the gradients and return the Nesterov look-ahead."""
        for each in filters:
            if not self.state[each]:
                self.state[each]["momentum"] = torch.zeros_like(each)
        gradients = [each.grad for each in filters]
        means = [self.state[each]["momentum"] for each in filters]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, means, momentum)


def _as_matrix(filters):
    """Return the filters as a matrix with a row per output, or per input if there are more inputs.

    The order of the columns is the one that avoids a copy: singular values do not depend on it.
    """
    outputs, inputs = filters.shape[:2]
    if inputs > outputs:
        filters = filters.transpose(0, 1)
    elif filters.ndim == 4:
        filters = filters.permute(0, 2, 3, 1)  # the order in memory (channels last)
    return filters.flatten(1)


def _as_filters(matrix, like):
    """Undo `_as_matrix`."""
    outputs, inputs, *sides = like.shape
    if inputs > outputs:
        return matrix.view(inputs, outputs, *sides).transpose(0, 1)
    if like.ndim == 4:
        return matrix.view(outputs, *sides, inputs).permute(0, 3, 1, 2)
    return matrix.view_as(like)


def orthogonalize(matrices):
    """Set the singular values of each matrix to about 1, and keep its singular vectors.

    Parameters
    ----------
    matrices : sequence of torch.Tensor, (m, n)

    Returns
    -------
    list of torch.Tensor
        Of the same shapes. Singular values that were not tiny are now between 0.65 and 1.25.

    Notes
    -----
    Five rounds of a Newton-Schulz iteration, X ← aX + b(XXᵀ)X + c(XXᵀ)²X, each of which applies an
    odd polynomial to the singular values. The factors aI + b(XXᵀ) + c(XXᵀ)² of all rounds are
    polynomials in the first Gram matrix XXᵀ (or XᵀX, if smaller) and commute. The rounds therefore
    need Gram matrices only, and Gram matrices of equal size are batched.

    Examples
    --------
    >>> made = orthogonalize([torch.diag(torch.tensor([1.0, 0.5, 0.1]))])[0]
    >>> ((made.diag() > 0.65) & (made.diag() < 1.25)).all().item()
    True
    """
    grams = [x @ x.mT if len(x) <= x.shape[1] else x.mT @ x for x in matrices]
    factors = [None] * len(grams)
    for kind in {(len(gram), gram.dtype) for gram in grams}:
        places = [i for i, gram in enumerate(grams) if (len(gram), gram.dtype) == kind]
        made = _newton_schulz(torch.stack([grams[i] for i in places]))
        for place, factor in zip(places, made):
            factors[place] = factor
    return [f @ x if len(f) == len(x) else x @ f for f, x in zip(factors, matrices)]


def _newton_schulz(grams):
    """Return the product of all rounds' factors: about the inverse square root of each Gram matrix.

    Each Gram matrix is first divided by its trace, so that no singular value exceeds 1.
    """
    a, b, c = _QUINTIC
    one = torch.eye(grams.shape[-1], device=grams.device, dtype=grams.dtype)
    trace = grams.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=1e-24)[:, None, None]
    grams = grams / trace
    product = None
    for remaining in reversed(range(_ROUNDS)):
        factor = torch.baddbmm(a * one + b * grams, grams, grams, alpha=c)
        product = factor / trace.sqrt() if product is None else factor @ product
        if remaining:
            grams = factor @ grams @ factor
    return product


def _are_filters(parameter):
    """True for weights with at least 4 rows and columns, so that singular values matter."""
    return parameter.ndim >= 2 and min(parameter.shape[:2]) > 3


# Name -> which parameters Muon updates; Adam updates the others.
BY_NAME = {"adam": lambda parameter: False, "muon": _are_filters}


def build(name, network, rate, momentum):
    """Return the optimisers that together update all parameters of a network.

    With "muon", Muon updates the filters, and Adam the biases and the scales of batch norm.
    `momentum` is the one of Muon and the β₁ of Adam.
    """
    for_muon = lookup(BY_NAME, name, "optimiser")
    parameters = [p for p in network.parameters() if p.requires_grad]
    filters = [p for p in parameters if for_muon(p)]
    chosen = {id(p) for p in filters}
    rest = [p for p in parameters if id(p) not in chosen]
    optimisers = [Muon(filters, rate, momentum)] if filters else []
    if rest:
        fused = rest[0].device.type in ("cpu", "cuda")  # one pass over memory instead of ten
        optimisers.append(torch.optim.Adam(rest, rate, betas=(momentum, 0.999), fused=fused))
    return optimisers


def moments(optimiser, parameter):
    """Return name -> (shape, dtype) of the tensors that an optimiser keeps for a parameter."""
    like = (tuple(parameter.shape), parameter.dtype)
    if isinstance(optimiser, Muon):
        return {"momentum": like}
    return {"step": ((), torch.float32), "exp_avg": like, "exp_avg_sq": like}
