"""Why it works, computed: a network's Jacobian, its modes, and what follows from them.

Near its start a network is a linear map of its weights, f_θ ≈ f_θ0 + J (θ − θ0). Gradient descent
on ½ ‖f_θ − x0‖² then moves the residual r = f_θ − x0 by −η K r in each step, with the tangent
kernel K = J Jᵀ (Jacot, Gabriel & Hongler 2018, arXiv:1806.07572). All else is the eigenvalue
problem of K, which at 32x32 pixels is solved exactly.
"""

import copy
import dataclasses

import numpy as np
import torch
from torch.func import functional_call, replace_all_batch_norm_modules_, vjp, vmap

from ..errors import InputError, whole


def jacobian(network, z, chunk=64):
    """Differentiate every pixel of f_θ(z) with respect to every weight that is trained.

    Parameters
    ----------
    network : torch.nn.Module
        f_θ. It is left as it is. In training mode, batch norm takes part with the statistics of
        this one image, as it does in a fit.
    z : torch.Tensor
        Its input, (1, C, H, W).
    chunk : int, optional
        Pixels that are differentiated at a time; more take more memory.

    Returns
    -------
    torch.Tensor
        J, (N, p): a row for each of the N numbers of the image, flattened; a column for each
        trainable weight, in the order of ``network.parameters()``.

    Raises
    ------
    InputError
        The network has no weights that could be fitted.

    Examples
    --------
    The pixels themselves, as a network, have the identity:

    >>> from diplearn.networks import Pixels
    >>> jacobian(Pixels(1, 2, 2), torch.zeros(1, 1, 2, 2)).tolist() == torch.eye(4).tolist()
    True
    """
    network = copy.deepcopy(network)
    if network.training:  # running means are kept for later use; a derivative has none
        replace_all_batch_norm_modules_(network)
    weights = {name: w.detach() for name, w in network.named_parameters() if w.requires_grad}
    if not weights:
        raise InputError("the network has no weights to differentiate by")
    output, pull_back = vjp(lambda w: functional_call(network, w, (z,)).flatten(), weights)
    rows = []
    for pixels in torch.eye(output.numel(), dtype=output.dtype).split(whole(chunk, "chunk", 1)):
        (gradients,) = vmap(pull_back)(pixels.to(output.device))
        rows.append(torch.cat([gradients[name].flatten(1) for name in weights], dim=1))
    return torch.cat(rows).detach()


def kernel(jacobian):
    """Make the tangent kernel K = J Jᵀ: how much each pixel moves along with each other one.

    Parameters
    ----------
    jacobian : torch.Tensor
        J, (N, p).

    Returns
    -------
    torch.Tensor
        K, (N, N), symmetric, float64.

    Examples
    --------
    >>> kernel(torch.tensor([[1.0, 0.0], [1.0, 1.0]])).tolist()
    [[1.0, 1.0], [1.0, 2.0]]
    """
    parts = (part.double() for part in jacobian.split(4096, dim=1))  # float64 of all is too large
    return sum(part @ part.T for part in parts)


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The modes of a symmetric kernel.

    Attributes
    ----------
    values : torch.Tensor
        λ_i, (N,), the largest first; none below 0.
    vectors : torch.Tensor
        (N, N), the modes as columns, orthonormal.
    shape : tuple of int
        (C, H, W) of the image, with C H W = N.
    """

    values: torch.Tensor
    vectors: torch.Tensor
    shape: tuple

    def split(self, image):
        """Return the image's coefficients, one for each mode, (N,)."""
        return self.vectors.T @ image.double().flatten()

    def join(self, coefficients):
        """Return the image, (C, H, W), that has these coefficients."""
        return (self.vectors @ coefficients).reshape(self.shape)

    def filtered(self, image, factors):
        """Return the image with the coefficient of each mode multiplied by a factor."""
        return self.join(factors * self.split(image))

    def mode(self, number):
        """Return mode `number`, counted from 1, as an image (C, H, W)."""
        return self.vectors[:, number - 1].reshape(self.shape)


def spectrum(kernel, shape):
    """Find the modes of a kernel.

    Parameters
    ----------
    kernel : torch.Tensor
        (N, N), symmetric and positive semidefinite: K = J Jᵀ, or a covariance.
    shape : tuple of int
        (C, H, W) of the images that it acts on.

    Returns
    -------
    Spectrum

    Raises
    ------
    InputError
        The kernel is not square, or the shape has another number of pixels.

    Examples
    --------
    >>> spectrum(torch.diag(torch.tensor([1.0, 3.0, 2.0, 0.0])), (1, 2, 2)).values.tolist()
    [3.0, 2.0, 1.0, 0.0]
    """
    count = int(np.prod(shape))
    if tuple(kernel.shape) != (count, count):
        raise InputError(f"{tuple(kernel.shape)} is no kernel for images of {tuple(shape)}")
    values, vectors = torch.linalg.eigh(kernel.double())
    return Spectrum(values.flip(0).clamp(min=0), vectors.flip(1), tuple(shape))


def gradient_flow(values, time):
    """Return the share of each mode that gradient flow has fitted: 1 − exp(−λ t).

    Parameters
    ----------
    values : torch.Tensor
        λ_i.
    time : float
        t = η times the number of steps.

    Returns
    -------
    torch.Tensor
        Filter factors, in [0, 1].

    Examples
    --------
    >>> gradient_flow(torch.tensor([0.0, 1.0]), 1.0)
    tensor([0.0000, 0.6321])
    """
    return -torch.expm1(-values * time)


def landweber(values, steps, rate):
    """Return the share of each mode after whole steps of gradient descent: 1 − (1 − ηλ)^k.

    Parameters
    ----------
    values : torch.Tensor
        λ_i.
    steps : int
        k.
    rate : float
        η; below 2 / λ_1, or it diverges.

    Returns
    -------
    torch.Tensor
        Filter factors.

    Notes
    -----
    Landweber, American Journal of Mathematics 73 (1951), doi:10.2307/2372313.

    Examples
    --------
    >>> landweber(torch.tensor([0.0, 1.0]), 2, 0.5)
    tensor([0.0000, 0.7500])
    """
    return 1 - (1 - rate * values) ** steps


def tikhonov(values, weight):
    """Return the share of each mode in ridge regression with a kernel: λ / (λ + α).

    It is also the posterior mean under a Gaussian process: λ are then the eigenvalues of its
    covariance, and α is the variance σ² of the noise.

    Parameters
    ----------
    values : torch.Tensor
        λ_i.
    weight : float
        α, above 0.

    Returns
    -------
    torch.Tensor
        Filter factors, in [0, 1).

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
        Of K at the start.
    residual : torch.Tensor
        f_θ0(z) − x0 at the start, any shape with N numbers.
    times : sequence of float
        η times the number of steps.

    Returns
    -------
    numpy.ndarray
        A value for each of the times.

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
    """Split the expected error of a spectral filter into bias² and variance, each per pixel.

    Parameters
    ----------
    spectrum : Spectrum
        The modes.
    wanted : torch.Tensor
        What the filter should give back: the clean image less the start f_θ0(z).
    sigma : float
        Standard deviation of white noise on it.
    factors : torch.Tensor
        g_i, such as `gradient_flow` returns.

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


def alignment(a, b):
    """Compare two kernels: the cosine of the angle between them as vectors.

    Parameters
    ----------
    a, b : torch.Tensor
        (N, N).

    Returns
    -------
    float
        1 if one is a multiple of the other; at least 0 for kernels.

    Examples
    --------
    >>> alignment(torch.eye(2), 3 * torch.eye(2))
    1.0
    """
    a, b = a.double(), b.double()
    return round(float((a * b).sum() / (a.norm() * b.norm())), 12)


def stationary(kernel, shape):
    """Average a kernel over all shifts of the image, whose edges are joined.

    A stationary kernel depends only on the step from one pixel to the other, and not on where they
    lie. With joined edges its modes are the waves of the Fourier transform.

    Parameters
    ----------
    kernel : torch.Tensor
        (N, N), for images with one channel.
    shape : tuple of int
        (1, H, W).

    Returns
    -------
    torch.Tensor
        (N, N), stationary; of all such kernels the one with the least squared difference.

    Raises
    ------
    InputError
        The image has several channels.

    Examples
    --------
    >>> stationary(torch.diag(torch.tensor([1.0, 3.0])), (1, 1, 2)).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    channels, height, width = shape
    if channels != 1:
        raise InputError(f"an image with one channel is wanted, not with {channels}")
    return torch.stack([row.roll((y, x), (0, 1)).flatten() for row, y, x in _rows(kernel, shape)])


def _rows(kernel, shape):
    _, height, width = shape
    places = [(y, x) for y in range(height) for x in range(width)]
    seen = kernel.reshape(-1, height, width)
    mean = sum(seen[i].roll((-y, -x), (0, 1)) for i, (y, x) in enumerate(places)) / len(places)
    return ((mean, y, x) for y, x in places)


def from_stationary(one, two, shape):
    """Measure how far a covariance is from stationary, out of two independent estimates of it.

    The square of the distance of *one* estimate would contain its own noise, which falls as more
    is drawn and says nothing of the covariance. The product of two whose noises are independent
    contains none, in the mean.

    Parameters
    ----------
    one, two : torch.Tensor
        (N, N), estimates of the same covariance, from different draws.
    shape : tuple of int
        (1, H, W).

    Returns
    -------
    float
        The distance from the mean over all shifts, in units of that mean's norm; 0 where the
        estimate of its square falls below 0.

    Examples
    --------
    >>> from_stationary(torch.diag(torch.tensor([1.0, 3.0])), 2 * torch.eye(2), (1, 1, 2))
    0.0
    >>> both = torch.diag(torch.tensor([1.0, 3.0]))
    >>> from_stationary(both, both, (1, 1, 2))
    0.5
    """
    first, second = (stationary(kernel, shape) for kernel in (one, two))
    square = ((one - first) * (two - second)).sum() / (first * second).sum()
    return max(0.0, float(square)) ** 0.5


def mean_frequency(images):
    """Return the mean frequency of images, weighted with their power: how fine they are.

    Parameters
    ----------
    images : torch.Tensor
        (..., H, W).

    Returns
    -------
    torch.Tensor
        (...), in cycles per pixel: 0 for a flat image, 0.5 for stripes of one pixel, and 0.71 for
        a chessboard of single pixels, the finest of all.

    Examples
    --------
    >>> stripes = (-1.0) ** torch.arange(8).expand(8, 8)
    >>> mean_frequency(stripes).item()
    0.5
    """
    power = torch.fft.fft2(images.double()).abs().square()
    height, width = power.shape[-2:]
    radius = torch.hypot(*torch.meshgrid(
        torch.fft.fftfreq(height), torch.fft.fftfreq(width), indexing="ij"
    )).to(power)  # fmt: skip
    return (power * radius).sum((-2, -1)) / power.sum((-2, -1))
