"""Optimisers of a fit: Adam, as published, and Muon, which needs a third of the iterations."""

import torch

from .errors import InputError

NAMES = ("adam", "muon")

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_ADAM_SIZE = 0.2


class Muon(torch.optim.Optimizer):
    """Move each bank of filters along the orthogonal matrix that is nearest to its momentum.

    Adam scales every number by itself. Muon looks at all filters of a layer as one matrix, a row an
    output channel, and makes its singular values equal before it steps: the few directions that
    the gradient shouts do not drown the many that it whispers. On one image that is worth three
    times fewer iterations.

    Parameters
    ----------
    filters : iterable of torch.nn.Parameter
        Weights of convolutions, (outputs, inputs, height, width), or matrices.
    lr : float, optional
        A step's root mean square is 0.2 times this, as it is with Adam; one learning rate
        serves both.
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
        """Make one step along the gradients that `backward` left."""
        for group in self.param_groups:
            filters = [p for p in group["params"] if p.grad is not None]
            if not filters:
                continue
            wanted = self._looking_ahead(filters, group["momentum"])
            steps = orthogonalize([_as_matrix(each) for each in wanted])
            sizes = [_ADAM_SIZE * max(step.shape) ** 0.5 for step in steps]
            torch._foreach_mul_(steps, sizes)
            steps = [_as_filters(step, like) for step, like in zip(steps, wanted)]
            torch._foreach_add_(filters, steps, alpha=-group["lr"])

    def _looking_ahead(self, filters, momentum):
        """Let the running means follow the gradients; return them as the next step would see."""
        for each in filters:
            if not self.state[each]:
                self.state[each]["momentum"] = torch.zeros_like(each)
        gradients = [each.grad for each in filters]
        means = [self.state[each]["momentum"] for each in filters]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, means, momentum)


def _as_matrix(filters):
    """A row an output; an input where there are more of those: more rows, more singular values.

    A row is in whatever order is no copy: singular values do not ask in which.
    """
    outputs, inputs = filters.shape[:2]
    if inputs > outputs:
        filters = filters.transpose(0, 1)
    elif filters.ndim == 4:
        filters = filters.permute(0, 2, 3, 1)  # as it lies in memory
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
    """Make all singular values of each matrix about one, and keep its singular vectors.

    Parameters
    ----------
    matrices : sequence of torch.Tensor
        (m, n) each.

    Returns
    -------
    list of torch.Tensor
        Of the same shapes; singular values that were not tiny are between 0.65 and 1.25.

    Notes
    -----
    Each round of the iteration applies an odd polynomial to the singular values. All its factors
    are polynomials of the smaller Gram matrix, so that they commute; Gram matrices of one size
    go through the rounds together, which is faster than one by one.

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
        made = _inverse_roots(torch.stack([grams[i] for i in places]))
        for place, factor in zip(places, made):
            factors[place] = factor
    return [f @ x if len(f) == len(x) else x @ f for f, x in zip(factors, matrices)]


def _inverse_roots(grams):
    """About the inverse square root of each Gram matrix, as far as five rounds go."""
    a, b, c = _QUINTIC
    one = torch.eye(grams.shape[-1], device=grams.device, dtype=grams.dtype)
    energy = grams.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=1e-24)[:, None, None]
    grams = grams / energy
    product = None
    for remaining in reversed(range(_ROUNDS)):
        factor = torch.baddbmm(a * one + b * grams, grams, grams, alpha=c)
        product = factor / energy.sqrt() if product is None else factor @ product
        if remaining:
            grams = factor @ grams @ factor
    return product


def build(name, network, rate, momentum):
    """Return the optimisers that fit a network's parameters between them.

    Parameters
    ----------
    name : {"adam", "muon"}
        Muon moves the filters only; biases and the scales of batch norm are Adam's.
    network : torch.nn.Module
        What is to be fitted.
    rate : float
        The learning rate.
    momentum : float
        Of Muon, and Adam's first β.

    Returns
    -------
    list of torch.optim.Optimizer

    Raises
    ------
    InputError
        No optimiser has that name.
    """
    if name not in NAMES:
        raise InputError(f"no optimiser is called {name!r}; there are {', '.join(NAMES)}")
    parameters = [p for p in network.parameters() if p.requires_grad]
    filters = [p for p in parameters if name == "muon" and _is_matrix(p)]
    chosen = {id(p) for p in filters}
    rest = [p for p in parameters if id(p) not in chosen]
    optimisers = [Muon(filters, rate, momentum)] if filters else []
    if rest:
        fused = rest[0].device.type in ("cpu", "cuda")  # one pass over memory instead of ten
        optimisers.append(torch.optim.Adam(rest, rate, betas=(momentum, 0.999), fused=fused))
    return optimisers


def _is_matrix(parameter):
    """Say whether a parameter is a bank of filters: a few rows or columns give no spectrum."""
    return parameter.ndim >= 2 and min(parameter.shape[:2]) > 3


def moments(optimiser, parameter):
    """Return what an optimiser keeps of a parameter: name -> shape and type.

    Parameters
    ----------
    optimiser : torch.optim.Optimizer
        One that `build` returned.
    parameter : torch.nn.Parameter
        One of its own.

    Returns
    -------
    dict
    """
    like = (tuple(parameter.shape), parameter.dtype)
    if isinstance(optimiser, Muon):
        return {"momentum": like}
    return {"step": ((), torch.float32), "exp_avg": like, "exp_avg_sq": like}
