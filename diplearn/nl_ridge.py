"""NL-Ridge: denoise each patch as a combination of the patches that look like it.

    denoise        step 1, which needs nothing but the noisy image, and then some guided steps
    in_parts       the same as a generator, for a caller who has something to do in between
    guided_step    one guided step: a pilot, an estimate of the clean image, guides it

A step visits reference patches on a grid. It finds the k patches most similar to each, the rows of
a matrix Y, and replaces them with ΘY, whose k x k weights Θ minimise the expected squared error.
With D, the diagonal matrix of the expected squared norm of the noise in each patch (n σ² for n
pixels of one level), these weights are

    step 1:         Θ = I - D (Y Yᵀ)⁻¹          Stein's estimate of the error is smallest here
    guided steps:   Θ = X Xᵀ (X Xᵀ + D)⁻¹       X: the same patches of the pilot

A pixel becomes the weighted mean of the estimates of all patches that contain it.

Source: Herbreteau & Kervrann, A unified framework of nonlocal parametric methods for image
denoising, SIAM Journal on Imaging Sciences (2025), preprint doi:10.48550/arXiv.2402.13816. What
differs here: colours are rotated to one axis of luminance and two of colour; more than one guided
step follows step 1; and in guided steps the mean of a patch and the rest of the patch have weights
of their own. Θ combines patches and never pixels within a patch, so flat regions, whose patches
differ in nothing but noise, stay noisy; weights for the means alone make them smoother.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .errors import InputError
from .images import SMALLEST_SIDE, as_tensor
from .images.tensors import check_finite, check_form

__all__ = ["denoise", "guided_step", "in_parts"]


class _Search(NamedTuple):
    """Patches of side x side pixels, k of them in a group, sought in a window of that many.

    Of the grid of reference patches, `rows` rows make a part: fewer need less memory.
    """

    side: int
    k: int
    stride: int
    window: int
    rows: int = 24


# Chosen on bundled images of 256x256. Up to sigma = 25/255, none of the other sizes that were tried
# was better by more than 0.1 dB in the mean.
_FIRST = _Search(side=13, k=24, stride=4, window=37)
_SECOND = _Search(side=7, k=64, stride=4, window=37)
_THIRD = _SECOND._replace(side=5)

# Strong noise needs larger patches, larger groups and one more guided step: without them, the mean
# of six images at sigma = 50/255 is 0.2 dB lower, and flat regions stay visibly noisy. With them,
# flat images at 25/255 are up to 0.2 dB worse.
_STRONG = 30 / 255
_LARGE = 32  # smaller images have too few large patches
_FIRST_OF_STRONG = _FIRST._replace(side=17, k=32, rows=8)
_GUIDED_OF_STRONG = tuple(_SECOND._replace(side=side, k=96, rows=8) for side in (9, 7, 5))


def denoise(noisy, sigma, pilot=None):
    """Denoise an image by NL-Ridge: step 1, and two guided steps, or three if the noise is strong.

    The method assumes Gaussian noise that is independent from pixel to pixel. Nothing is random,
    and no value is clipped. Noise is strong if sigma (of a map: the root mean square) is above
    30/255 and the image has 32x32 pixels or more; so scale values from 0 to 255 first.

    Parameters
    ----------
    noisy : torch.Tensor
        (C, H, W) with C = 1 or 3, of at least 16x16 pixels. The values need not lie in [0, 1].
    sigma : float or torch.Tensor
        Standard deviation of the noise in the units of the image. Noise that depends on the signal
        has a map of standard deviations: any shape that broadcasts to (C, H, W).
    pilot : torch.Tensor, optional
        An estimate of the clean image, (C, H, W), which takes the place of step 1.

    Returns
    -------
    torch.Tensor
        The restored image, (C, H, W) float32, on the device of `noisy`. (The computation itself
        runs on the CPU.)

    Raises
    ------
    InputError
        The image or the pilot has the wrong shape or values that are not finite; sigma is negative,
        not finite, or of a shape that does not fit.

    Examples
    --------
    >>> from diplearn import degrade, images, psnr
    >>> clean = images.load("camera", size=64)
    >>> noisy = degrade.gaussian_noise(clean, sigma=25 / 255)
    >>> psnr(denoise(noisy, 25 / 255), clean) - psnr(noisy, clean) > 5
    True
    """
    return _finished(in_parts(noisy, sigma, pilot))


def in_parts(noisy, sigma, pilot=None):
    """Denoise as `denoise` does, a strip of the image at a time.

    Parameters
    ----------
    noisy, sigma, pilot
        As in `denoise`.

    Yields
    ------
    None
        After each part. The restored image is what the generator returns in the end, the value of
        its StopIteration.

    Raises
    ------
    InputError
        As for `denoise`, when the first part is asked for.

    Examples
    --------
    >>> from diplearn import images
    >>> parts = in_parts(images.load("camera", size=32), 25 / 255)
    >>> next(parts)
    """
    y, variance = _checked(noisy, sigma)
    strong = variance.mean() > _STRONG**2 and min(noisy.shape[1:]) >= _LARGE
    first = (_FIRST_OF_STRONG if strong else _FIRST,) if pilot is None else ()
    guided = _GUIDED_OF_STRONG if strong else (_SECOND, _THIRD)
    return (yield from _run(y, variance, pilot, (*first, *guided))).to(noisy.device)


def guided_step(noisy, sigma, pilot):
    """Run one guided step of NL-Ridge with an estimate of the clean image that you have.

    A better pilot gives a better result. Patches have 5x5 pixels, however strong the noise is.

    Parameters
    ----------
    noisy : torch.Tensor
        (C, H, W) with C = 1 or 3, of at least 16x16 pixels. The values need not lie in [0, 1].
    sigma : float or torch.Tensor
        Standard deviation of the noise, or a map of standard deviations: see `denoise`.
    pilot : torch.Tensor
        An estimate of the clean image, (C, H, W).

    Returns
    -------
    torch.Tensor
        The restored image, (C, H, W) float32, on the device of `noisy`.

    Raises
    ------
    InputError
        As for `denoise`.

    Examples
    --------
    >>> from diplearn import degrade, images, psnr
    >>> clean = images.load("camera", size=64)
    >>> noisy = degrade.gaussian_noise(clean, sigma=25 / 255)
    >>> own, best = denoise(noisy, 25 / 255), guided_step(noisy, 25 / 255, pilot=clean)
    >>> psnr(best, clean) > psnr(own, clean)
    True
    """
    return _finished(_run(*_checked(noisy, sigma), pilot, (_THIRD,))).to(noisy.device)


def _finished(work):
    """Run a generator to its end, and return what it returns."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value


def _run(y, variance, pilot, searches):
    """Run one step for each search, in parts; the result of each is the pilot of the next."""
    if pilot is not None:
        pilot = check_finite(check_form(pilot, "the pilot", shape=y.shape), "the pilot")
        pilot = _rotate(pilot.detach().to("cpu", torch.float32))
    if variance.max() == 0:
        return y.clone()
    y, variance = _rotate(y), _rotate(variance, squared=True)
    for search in searches:
        pilot = yield from _step(y, variance, pilot, search)
    return _rotate(pilot, back=True)


def _checked(noisy, sigma):
    """Return the image as float32 and the variance of its noise, both (C, H, W), on the CPU."""
    noisy = check_form(noisy, "the noisy image", smallest=SMALLEST_SIDE)
    y = check_finite(noisy, "the noisy image").detach().to("cpu", torch.float32)
    sigma = as_tensor(sigma, "sigma").detach().to("cpu", torch.float32)
    if not (torch.isfinite(sigma).all() and (sigma >= 0).all()):
        raise InputError("sigma must be finite and not negative: it is a standard deviation")
    try:
        return y, sigma.square().expand_as(y)
    except RuntimeError:
        raise InputError(
            f"sigma has shape {tuple(sigma.shape)}; give one number, or a map that broadcasts to "
            f"the shape of the image, {tuple(y.shape)}"
        ) from None


# Orthonormal axes of colour: luminance, red to blue, green to magenta. White noise stays white.
_AXES = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]])
_AXES = _AXES / _AXES.norm(dim=1, keepdim=True)


def _rotate(image, back=False, squared=False):
    """Rotate colours to the axes or back; squared weights rotate variances. Grey stays as it is."""
    if len(image) == 1:
        return image
    axes = _AXES.T if back else _AXES
    return torch.einsum("ij,jhw->ihw", axes.square() if squared else axes, image)


def _step(y, variance, pilot, search):
    """Run one step on rotated colours, in parts; without a pilot, it is step 1."""
    side = search.side
    height = y.shape[1] - side + 1  # of the map of patches, each known by its upper left pixel
    tall = min(search.window, height)
    total, weights = torch.zeros_like(y), torch.zeros_like(y)
    # Some rows of the grid at a time, with the rows of the image that their windows reach.
    for rows in _grid(height, search.stride).split(search.rows):
        tops = (rows - tall // 2).clamp(0, height - tall)  # a window at the edge is moved inside
        first, last = int(tops[0]), int(tops[-1]) + tall + side - 1
        strips = [None if u is None else u[:, first:last] for u in (y, variance, pilot)]
        luminance = (strips[0] if pilot is None else strips[2])[0]
        groups = _groups(luminance, rows - first, tops - first, search)
        for c in range(len(y)):
            planes = [None if u is None else u[c] for u in strips]
            for image, part in zip((total, weights), _restored(*planes, groups, side)):
                image[c, first:last] += part
            yield
    return total / weights


def _grid(size, stride):
    """Return every stride-th place and the last one, so that the patches cover the image."""
    return torch.unique(torch.cat([torch.arange(0, size, stride), torch.tensor([size - 1])]))


def _patches(plane, side, turn=None):
    """Return all patches of a plane, (places, side * side), row by row, turned by a matrix."""
    patches = F.unfold(plane[None, None], side)[0].T
    return patches.contiguous() if turn is None else patches @ turn


def _groups(luminance, rows, tops, search):
    """Return the places of the k patches most similar to each reference patch, (references, k)."""
    side = search.side
    height, width = (size - side + 1 for size in luminance.shape)
    patches = _patches(luminance - luminance.mean(), side).view(height, width, -1)
    squares = patches.square().sum(-1)
    tall, wide = min(search.window, height), min(search.window, width)
    found = []
    for row, top in zip(rows.tolist(), tops.tolist()):
        for columns in _grid(width, search.stride).split(16):
            lefts = (columns - wide // 2).clamp(0, width - wide)
            near = slice(top, top + tall), slice(int(lefts[0]), int(lefts[-1]) + wide)
            # |a - b|² less |a|², which is the same for all candidates b of a reference patch a.
            distances = torch.addmm(
                squares[near].reshape(1, -1),
                patches[row, columns], patches[near].flatten(0, 1).T, alpha=-2,
            ).view(len(columns), tall, -1)  # fmt: skip
            inside = (lefts - lefts[0])[:, None] + torch.arange(wide)
            distances = distances.gather(2, inside[:, None].expand(-1, tall, -1)).flatten(1)
            # A patch is always in its own group, so that each pixel gets an estimate.
            own = (row - top) * wide + columns - lefts
            distances.scatter_(1, own[:, None], -math.inf)
            k = min(search.k, tall * wide)
            best = distances.topk(k, largest=False, sorted=False).indices
            found.append((top + best // wide) * width + lefts[:, None] + best % wide)
    return torch.cat(found)


def _restored(y, variance, x, groups, side):
    """Return the weighted sum of the estimates of each pixel of a plane, and the sum of weights."""
    n = side * side
    turn = None if x is None else _mean_and_rest(side)
    noise = F.avg_pool2d(variance[None], side, stride=1).view(-1, 1)  # per pixel of a patch
    members = [_patches(y, side, turn), noise] + ([] if x is None else [_patches(x, side, turn)])
    sums = torch.zeros(len(noise), n + 1)
    for group in groups.split(64):  # about as many as fit in a processor's cache
        places = group.flatten()
        found = [u.index_select(0, places).view(*group.shape, -1) for u in members]
        estimate, weight = _first(*found) if x is None else _guided(*found)
        weighted = torch.cat([estimate * weight, weight], dim=-1)
        sums.index_add_(0, places, weighted.view(-1, n + 1))
    estimates = sums[:, :n] if turn is None else sums[:, :n] @ turn
    height, width = y.shape
    weights = sums[:, n].view(1, height - side + 1, width - side + 1)
    weights = F.avg_pool2d(F.pad(weights, [side - 1] * 4), side, stride=1, divisor_override=1)
    return F.fold(estimates.T[None], y.shape, side)[0, 0], weights[0]


def _mean_and_rest(side):
    """Return the reflection that turns a patch into (side times its mean, the rest)."""
    mirror = torch.full((side * side,), 1 / side)
    mirror[0] -= 1
    mirror /= mirror.norm()
    return torch.eye(side * side) - 2 * torch.outer(mirror, mirror)


def _first(Y, noise):
    """Return the estimates of groups (R, k, n) without a pilot, and their weights (R, k, 1).

    As Y Yᵀ may be singular, Θ is I - 1.05 D (Y Yᵀ + 0.05 D)⁻¹. Where there is nothing but noise, so
    that Y Yᵀ is about D, this is 0, as it is without the 5 %.
    """
    k, n = Y.shape[1:]
    Q = Y.double() @ Y.double().mT
    energy = Q.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    D = (n * noise.double()).clamp(min=1e-9 * energy).clamp(min=1e-60)
    Q.diagonal(dim1=1, dim2=2).add_(0.05 * D[..., 0])
    theta = (torch.eye(k) - 1.05 * D * _inverse(Q)).float()
    norm = theta.square().sum(-1, keepdim=True)
    return theta @ Y, 1 / norm.clamp(1 / k, 1)


def _guided(Y, noise, X):
    """Return the estimates of groups (R, k, n) with a pilot's patches X, and their weights.

    The mean of the patches and the rest of them have a Θ each. For both, the solved system is
    no larger than the patch: X Xᵀ (X Xᵀ + D)⁻¹ = X (I + Xᵀ D⁻¹ X)⁻¹ Xᵀ D⁻¹.
    """
    k, n = Y.shape[1:]
    parts, norm = [], 0
    for band in (slice(0, 1), slice(1, n)):
        x, y = X[..., band], Y[..., band]
        m = x.shape[-1]
        # In single precision, noise far below the signal would make the system singular.
        least = (1e-12 if m == 1 else 1e-6) * x.square().sum((1, 2), keepdim=True)
        D = (m * noise).clamp(min=least).clamp(min=1e-30)
        scaled = (x / D).mT
        S = scaled @ x
        S.diagonal(dim1=1, dim2=2).add_(1)
        T = x @ (1 / S if m == 1 else _inverse(S))
        parts.append(T @ (scaled @ y))
        # The squared norm of a row of Θ, if the noise is the same in the whole group.
        norm = norm + (T * (x - T)).sum(-1, keepdim=True) / D * (m / n)
    return torch.cat(parts, dim=-1), 1 / norm.clamp(1 / (k * n), 1)


def _inverse(Q):
    """Return the inverse of symmetric positive definite matrices."""
    return torch.cholesky_inverse(torch.linalg.cholesky_ex(Q)[0])
