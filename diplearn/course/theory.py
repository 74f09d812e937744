"""Theory of the deep image prior: a network's Jacobian, its tangent kernel, and the kernel's modes.

Near its initial weights θ0 a network is almost linear in its weights: f_θ ≈ f_θ0 + J (θ − θ0). One
step of gradient descent on ½ ‖f_θ − x0‖² then changes the residual r = f_θ − x0 by −η K r, where
K = J Jᵀ is the tangent kernel (Jacot, Gabriel & Hongler 2018, arXiv:1806.07572). The eigenvectors
of K, called modes here, determine what is fitted early. For 32x32 pixels they are computed exactly.
"""

import copy
import dataclasses

import numpy as np
import torch
from torch.func import functional_call, replace_all_batch_norm_modules_, vjp, vmap

from ..errors import InputError, whole

__all__ = [
    "bias_variance",
    "energy_curve",
    "from_stationary",
    "gradient_flow",
    "jacobian",
    "kernel",
    "landweber",
    "mean_frequency",
    "spectrum",
    "stationary",
    "tikhonov",
]


def jacobian(network, z, chunk=64):
    """Differentiate every pixel of f_θ(z) with respect to every trainable weight.

    Parameters
    ----------
    network : torch.nn.Module
        f_θ, with at least one trainable weight; the network is not changed. In training mode, batch
        norm uses the statistics of this one image, as in a fit.
    z : torch.Tensor, (1, C, H, W)
    chunk : int, optional
        Number of pixels differentiated at once; a larger chunk needs more memory.

    Returns
    -------
    torch.Tensor
        J, (N, p): a row for each of the N numbers of the flattened image, a column for each
        trainable weight, in the order of ``network.parameters()``.

    Examples
    --------
    If the pixels themselves are the weights, the Jacobian is the identity:

    >>> from diplearn.networks import Pixels
    >>> jacobian(Pixels(1, 2, 2), torch.zeros(1, 1, 2, 2)).tolist() == torch.eye(4).tolist()
    True
    """
    network = copy.deepcopy(network)
    if network.training:  # torch.func cannot update running means
        replace_all_batch_norm_modules_(network)
    weights = {name: w.detach() for name, w in network.named_parameters() if w.requires_grad}
    if not weights:
        raise InputError("the network has no weights: no parameter has requires_grad=True")
    output, pull_back = vjp(lambda w: functional_call(network, w, (z,)).flatten(), weights)
    rows = []
    for pixels in torch.eye(output.numel(), dtype=output.dtype).split(whole(chunk, "chunk", 1)):
        (gradients,) = vmap(pull_back)(pixels.to(output.device))
        rows.append(torch.cat([gradients[name].flatten(1) for name in weights], dim=1))
    return torch.cat(rows).detach()


def kernel(jacobian):
    """Return the tangent kernel K = J Jᵀ: how much each pixel changes along with every other pixel.

    Parameters
    ----------
    jacobian : torch.Tensor, (N, p)

    Returns
    -------
    torch.Tensor, (N, N), float64

    Examples
    --------
    >>> kernel(torch.tensor([[1.0, 0.0], [1.0, 1.0]])).tolist()
    [[1.0, 1.0], [1.0, 2.0]]
    """
    parts = (
        part.double() for part in jacobian.split(4096, dim=1)
    )  # all of J in float64 is too large
    return sum(part @ part.T for part in parts)


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The modes of a kernel for images of `shape` (C, H, W), with N = C H W.

    `values` are the eigenvalues λ_i, (N,), in descending order and at least 0; the orthonormal
    columns of `vectors`, (N, N), are the modes.
    """

    values: torch.Tensor
    vectors: torch.Tensor
    shape: tuple

    def split(self, image):
        """Return the coefficients of an image in terms of the modes, (N,)."""
        return self.vectors.T @ image.double().flatten()

    def join(self, coefficients):
        """Return the image (C, H, W) with the given coefficients."""
        return (self.vectors @ coefficients).reshape(self.shape)

    def filtered(self, image, factors):
        """Return the image after multiplying each mode's coefficient by that mode's factor."""
        return self.join(factors * self.split(image))

    def mode(self, number):
        """Return mode `number`, counted from 1, as an image (C, H, W)."""
        return self.vectors[:, number - 1].reshape(self.shape)


def spectrum(kernel, shape):
    """Compute the modes of a kernel, which are its eigenvectors, and their eigenvalues.

    Parameters
    ----------
    kernel : torch.Tensor
        (N, N), symmetric and positive semidefinite, such as K = J Jᵀ or a covariance.
    shape : tuple of int
        Shape (C, H, W) of the images, with C H W = N.

    Returns
    -------
    Spectrum

    Examples
    --------
    >>> found = spectrum(torch.diag(torch.tensor([1.0, 3.0, 2.0, 0.0])), (1, 2, 2))
    >>> found.values.tolist()
    [3.0, 2.0, 1.0, 0.0]
    >>> found.split(torch.tensor([[[5.0, 7.0], [0.0, 0.0]]])).abs().tolist()
    [7.0, 0.0, 5.0, 0.0]
    """
    count = int(np.prod(shape))
    if tuple(kernel.shape) != (count, count):
        raise InputError(
            f"a kernel for images of shape {tuple(shape)} must have shape {(count, count)}, "
            f"not {tuple(kernel.shape)}"
        )
    values, vectors = torch.linalg.eigh(kernel.double())
    return Spectrum(values.flip(0).clamp(min=0), vectors.flip(1), tuple(shape))


def gradient_flow(values, time):
    """Return the fraction of each mode that gradient flow has fitted: 1 − exp(−λ t).

    Parameters
    ----------
    values : torch.Tensor, the eigenvalues λ_i
    time : float
        t, the step size η times the number of steps.

    Returns
    -------
    torch.Tensor of filter factors, in [0, 1]

    Examples
    --------
    >>> gradient_flow(torch.tensor([0.0, 1.0]), 1.0)
    tensor([0.0000, 0.6321])
    """
    return -torch.expm1(-values * time)


def landweber(values, steps, rate):
    """Return the fraction of each mode that k steps of gradient descent fit: 1 − (1 − ηλ)^k.

    Landweber, American Journal of Mathematics 73 (1951), doi:10.2307/2372313.

    Parameters
    ----------
    values : torch.Tensor, the eigenvalues λ_i
    steps : int, k
    rate : float
        Step size η; gradient descent diverges if η is 2 / λ_1 or more.

    Returns
    -------
    torch.Tensor of filter factors

    Examples
    --------
    >>> landweber(torch.tensor([0.0, 1.0]), 2, 0.5)
    tensor([0.0000, 0.7500])
    """
    return 1 - (1 - rate * values) ** steps


def tikhonov(values, weight):
    """Return the fraction of each mode that kernel ridge regression keeps: λ / (λ + α).

    The posterior mean of a Gaussian process has the same factors, if λ are the eigenvalues of its
    covariance and α is the noise variance σ².

    Parameters
    ----------
    values : torch.Tensor, the eigenvalues λ_i
    weight : float, α > 0

    Returns
    -------
    torch.Tensor of filter factors, in [0, 1)

    Examples
    --------
    >>> tikhonov(torch.tensor([0.0, 1.0]), 1.0)
    tensor([0.0000, 0.5000])
    """
    return values / (values + weight)


def energy_curve(spectrum, residual, times):
    """Predict the energy E = ‖r‖² / N along gradient flow: (1/N) Σ c_i² exp(−2 λ_i t).

    Parameters
    ----------
    spectrum : Spectrum
        Modes of the tangent kernel at the start.
    residual : torch.Tensor
        Residual at the start, f_θ0(z) − x0, of any shape with N numbers.
    times : sequence of float
        Times t, each the step size η times a number of steps.

    Returns
    -------
    numpy.ndarray, the energy at each time

    Examples
    --------
    >>> both = spectrum(torch.diag(torch.tensor([1.0, 0.0])), (1, 1, 2))
    >>> energy_curve(both, torch.tensor([1.0, 1.0]), [0.0, 1000.0]).tolist()
    [1.0, 0.5]
    """
    squares = spectrum.split(residual).square()
    times = torch.as_tensor(np.asarray(times, dtype=float))
    return (torch.exp(-2 * times[:, None] * spectrum.values) @ squares / len(squares)).numpy()


def bias_variance(spectrum, wanted, sigma, factors):
    """Split a spectral filter's expected squared error per pixel into squared bias and variance.

    Parameters
    ----------
    spectrum : Spectrum
    wanted : torch.Tensor
        Image that the filter should return: the clean image minus the first output f_θ0(z).
    sigma : float
        Standard deviation of the white noise.
    factors : torch.Tensor
        Filter factors g_i, such as `gradient_flow` returns.

    Returns
    -------
    bias, variance : float
        (1/N) Σ (1 − g_i)² c_i² and (σ²/N) Σ g_i².

    Examples
    --------
    >>> flat = spectrum(torch.eye(4), (1, 2, 2))
    >>> bias_variance(flat, torch.ones(1, 2, 2), 0.1, torch.zeros(4))
    (1.0, 0.0)
    """
    missing = ((1 - factors) * spectrum.split(wanted)).square().mean()
    return float(missing), float(sigma**2 * factors.square().mean())


def stationary(kernel, shape):
    """Average a kernel over all periodic shifts of the image, which makes it stationary.

    A stationary kernel depends only on the displacement between two pixels, not on their position.
    With periodic edges, its modes are the waves of the Fourier transform.

    Parameters
    ----------
    kernel : torch.Tensor, (N, N)
    shape : tuple of int, (1, H, W)

    Returns
    -------
    torch.Tensor
        (N, N), the stationary kernel nearest to `kernel` in the least-squares sense.

    Examples
    --------
    >>> stationary(torch.diag(torch.tensor([1.0, 3.0])), (1, 1, 2)).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    channels, height, width = shape
    if channels != 1:
        raise InputError(f"the images must have one channel, not {channels}")
    return torch.stack([row.roll((y, x), (0, 1)).flatten() for row, y, x in _rows(kernel, shape)])


def _rows(kernel, shape):
    _, height, width = shape
    places = [(y, x) for y in range(height) for x in range(width)]
    seen = kernel.reshape(-1, height, width)
    mean = sum(seen[i].roll((-y, -x), (0, 1)) for i, (y, x) in enumerate(places)) / len(places)
    return ((mean, y, x) for y, x in places)


def from_stationary(one, two, shape, margin=0):
    """Measure how far a covariance is from stationary, given two independent estimates.

    For every displacement of up to a quarter of the image, the covariances of all pairs of pixels
    that are so far apart are compared with their mean. The squared distance of a single estimate
    would include its sampling noise. In the product of the distances of two independent estimates
    the noise averages to zero.

    Parameters
    ----------
    one, two : torch.Tensor, (N, N)
        Estimates from different draws.
    shape : tuple of int, (1, H, W)
    margin : int, optional
        Leave out the pixels that are closer to the border than this many pixels.

    Returns
    -------
    float
        The distance divided by the norm of the means; 0 if the estimate of the squared distance is
        negative.

    Examples
    --------
    >>> from_stationary(torch.diag(torch.tensor([1.0, 3.0])), 2 * torch.eye(2), (1, 1, 2))
    0.0
    >>> both = torch.diag(torch.tensor([1.0, 3.0]))
    >>> from_stationary(both, both, (1, 1, 2))
    0.5
    """
    _, height, width = shape
    places = torch.arange(height * width).view(height, width)
    places = places[margin : height - margin, margin : width - margin]
    rows, columns = places.shape
    apart = common = 0.0
    for y in range(-(height // 4), height // 4 + 1):
        for x in range(y < 0, width // 4 + 1):  # (−y, −x) has the same pairs as (y, x)
            here = places[max(0, -y) : rows - max(0, y), : columns - x].flatten()
            there = places[max(0, y) : rows - max(0, -y), x:].flatten()
            p, q = one[here, there], two[here, there]
            apart += float(((p - p.mean()) * (q - q.mean())).sum())
            common += float(len(p) * p.mean() * q.mean())
    return max(0.0, apart / common) ** 0.5


def mean_frequency(images):
    """Return the power-weighted mean frequency of images, a measure of how fine their details are.

    Parameters
    ----------
    images : torch.Tensor, (..., H, W)

    Returns
    -------
    torch.Tensor
        (...), in cycles per pixel: 0 for a constant image, 0.5 for stripes one pixel wide, and
        0.71, the maximum, for a checkerboard of single pixels.

    Examples
    --------
    >>> mean_frequency((-1.0) ** torch.arange(8).expand(8, 8)).item()
    0.5
    """
    power = torch.fft.fft2(images.double()).abs().square()
    height, width = power.shape[-2:]
    radius = torch.hypot(*torch.meshgrid(
        torch.fft.fftfreq(height), torch.fft.fftfreq(width), indexing="ij"
    )).to(power)  # fmt: skip
    return (power * radius).sum((-2, -1)) / power.sum((-2, -1))
