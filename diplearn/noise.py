"""What can be known of the noise in one image: what clipping did to it, its level, its correlation.

A camera cannot record less than black or more than white. Noise that would leave [0, 1] is clipped:
the mean of a noisy pixel is then no longer the clean value, and a good denoiser, which finds that
mean, returns blacks that are too bright and whites that are too dark. `unclip` corrects them, and
`clipped_ends` says whether there is something to correct.

In a photograph the noise depends on the brightness (`level_map`), and neighbouring pixels have
similar noise (`autocovariance`). Both are measured where the image is flattest: there, what differs
from a denoised image is noise.

Foi, Clipped noisy images: heteroskedastic modeling and practical denoising, Signal Processing 89
(2009), doi:10.1016/j.sigpro.2009.04.018.
"""

import math
import statistics

import numpy as np
import torch

from .errors import InputError, whole

__all__ = [
    "alike",
    "autocovariance",
    "clipped_ends",
    "clipped_mean",
    "clipped_std",
    "clipped_variance",
    "correlation",
    "finest_level",
    "level",
    "level_map",
    "unclip",
]


def clipped_mean(image, sigma):
    """Return the mean of each pixel after noise was added and the result clipped to [0, 1].

    Parameters
    ----------
    image : torch.Tensor
        The clean image; values in [0, 1].
    sigma : float or torch.Tensor
        Standard deviation of the Gaussian noise before clipping; a map must have the image's shape.

    Returns
    -------
    torch.Tensor
        E clip(x + n), of the image's shape: above x where x is nearly black, and below x where x is
        nearly white.

    Raises
    ------
    InputError
        The standard deviation is negative or not finite.

    Notes
    -----
    E clip(x + n) = x + h(x) − h(1 − x), where h(d) = σ φ(d/σ) − d Φ(−d/σ) is what clipping adds at
    a distance d from the end; φ and Φ belong to the standard normal distribution. Foi (2009),
    doi:10.1016/j.sigpro.2009.04.018.

    Examples
    --------
    >>> clipped_mean(torch.tensor([0.0, 0.5, 1.0]), sigma=0.1)
    tensor([0.0399, 0.5000, 0.9601])
    """
    x, s = _exact(image, sigma)
    return (x + _added(x, s) - _added(1 - x, s)).to(image)


def clipped_std(image, sigma):
    """Return the standard deviation of each pixel after noise was added and the result clipped.

    Parameters
    ----------
    image : torch.Tensor
        The clean image; values in [0, 1].
    sigma : float or torch.Tensor
        Standard deviation of the Gaussian noise before clipping; a map must have the image's shape.

    Returns
    -------
    torch.Tensor
        The deviation from `clipped_mean`, of the image's shape; at most sigma.

    Raises
    ------
    InputError
        The standard deviation is negative or not finite.

    Notes
    -----
    Foi (2009), doi:10.1016/j.sigpro.2009.04.018.

    Examples
    --------
    >>> clipped_std(torch.tensor([0.0, 0.5, 1.0]), sigma=0.1)
    tensor([0.0584, 0.1000, 0.0584])
    """
    x, s = _exact(image, sigma)
    bias = _added(x, s) - _added(1 - x, s)
    square = _one_side(x, s) + _one_side(1 - x, s)  # about x, not about the mean
    return (square - bias.square()).clamp(min=0).sqrt().to(image)


def unclip(mean, sigma, black=True, white=True):
    """Return the clean image whose noisy and clipped version has this mean.

    This is the inverse of `clipped_mean`, for the result of a denoiser that was given an
    observation with clipped noise. Whether the noise was clipped, `clipped_ends` can tell.

    Parameters
    ----------
    mean : torch.Tensor
        The denoised image.
    sigma : float or torch.Tensor
        Standard deviation of the noise before clipping; a map must have the image's shape.
    black, white : bool, optional
        Whether the noise was clipped at this end.

    Returns
    -------
    torch.Tensor
        Of the same shape, in [0, 1].

    Raises
    ------
    InputError
        The standard deviation is negative or not finite.

    Notes
    -----
    Newton's method in float64, from the mean itself; after ten iterations the error is below 1e-6
    for every sigma up to 1. Foi (2009), doi:10.1016/j.sigpro.2009.04.018.

    Examples
    --------
    >>> truth = torch.tensor([0.0, 0.02, 0.5, 1.0])
    >>> unclip(clipped_mean(truth, sigma=0.1), sigma=0.1)
    tensor([0.0000, 0.0200, 0.5000, 1.0000])
    """
    wanted, s = _exact(mean, sigma)
    x = wanted.clamp(0, 1)
    for _ in range(10):
        found, slope = x, torch.ones_like(x)
        if black:
            found, slope = found + _added(x, s), slope - torch.special.ndtr(-x / s)
        if white:
            found, slope = found - _added(1 - x, s), slope - torch.special.ndtr((x - 1) / s)
        x = (x - (found - wanted) / slope).clamp(0, 1)
    return x.to(mean)


def clipped_ends(observation, estimate, sigma):
    """Return whether Gaussian noise was clipped at black, and whether it was clipped at white.

    Clipped noise leaves a trace: among the pixels whose mean lies a little above black, a certain
    share is exactly black, and the others are distributed like the upper part of a Gaussian. An
    image with true black bars, an overexposed sky, a camera's gamma or a stretched range has other
    shares. The shares that are expected around the estimate are compared with those observed.

    Parameters
    ----------
    observation : torch.Tensor, (C, H, W) in [0, 1]
    estimate : torch.Tensor
        The observation after a denoiser, without `unclip`.
    sigma : float or torch.Tensor
        Standard deviation of the noise before clipping; a map must have the image's shape.

    Returns
    -------
    black, white : bool
        Also False where fewer than `LEAST_PIXELS` come near this end, or the noise is weaker than
        `LEAST_LEVEL`: then there is little to correct.

    Raises
    ------
    InputError
        The standard deviation is negative or not finite, or the shapes differ.

    Notes
    -----
    Looked at are pixels whose mean is 0.3 to 1.2 standard deviations from the end: the mean of
    clipped noise on black is 0.4, and beyond 1.2 fewer than one pixel in seven is clipped. With x
    the unclipped estimate, a share Φ((t − x)/σ) should be at most t. The answer is yes if this
    holds for t = 0, 1/4, 1/2, 1, 3/2 and 2 σ to within `TOLERANCE`.

    An estimate that keeps some of the noise in a pixel makes that pixel look as if it had no noise.
    So, if at least `LEAST_PIXELS` near this end lie in 3x3 pixels that are flat in the estimate,
    only these are judged, by the mean of the nine; otherwise each pixel near the end by its own
    value. Measured with NL-Ridge on 29 images with clipped noise of 10, 25 and 50 grey values: of
    127 ends with enough pixels, 114 were recognised, among them all of the 109 with flat pixels
    (without the 3x3 pixels, 99 of the 127); in the other 13 there was hardly anything to correct.
    Of 191 ends with black bars, photon noise, other ranges or a simulated camera, two were taken
    for clipped, white regions of overexposed photographs; there, too, `unclip` lost nothing.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> clean = images.load("coffee", size=64)
    >>> problem = denoising(clean, sigma=0.1)
    >>> clipped_ends(problem.observation, clipped_mean(clean, 0.1), sigma=0.1)
    (True, True)
    >>> clipped_ends(clean, clean, sigma=0.1)  # black and white, but no noise
    (False, False)
    """
    if observation.shape != estimate.shape:
        raise InputError(
            f"the observation has shape {tuple(observation.shape)} and the estimate "
            f"{tuple(estimate.shape)}; they must be of the same shape"
        )
    y, s = _exact(observation, sigma)
    m, s = estimate.detach().cpu().double(), s.expand(y.shape)
    return _clipped_at_black(y, m, s), _clipped_at_black(1 - y, 1 - m, s)


TOLERANCE = 0.08
"""Up to which observed and expected shares of clipped values may differ."""

FLATNESS = 0.3
"""Deviation of an estimate in 3x3 pixels, in units of the noise's, below which they are flat."""

LEAST_PIXELS = 200
"""Fewer pixels near black or white say nothing about clipping."""

LEAST_LEVEL = 2 / 255
"""Weaker noise cannot be told from the rounding to 256 levels."""


def _clipped_at_black(observation, mean, sigma):
    """Return whether the observed shares near black are those of clipped Gaussian noise."""
    smooth = _mean_of_nine(mean)
    variance = _mean_of_nine(mean.square()) - smooth.square()
    for m, usable in ((smooth, variance < (FLATNESS * sigma).square()), (mean, True)):
        near = usable & (m > 0.3 * sigma) & (m < 1.2 * sigma) & (sigma >= LEAST_LEVEL)
        if near.sum() >= LEAST_PIXELS:
            return _difference(observation[near], m[near], sigma[near]) < TOLERANCE
    return False


def _mean_of_nine(image):
    """Return the mean of each pixel and its eight neighbours; the border is repeated."""
    padded = torch.nn.functional.pad(image[None], (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.avg_pool2d(padded, 3, stride=1)[0]


def _difference(y, mean, s):
    """Return by how much the observed shares near black differ from those that are expected."""
    x = unclip(mean, s, white=False)
    worst = 0.0
    for t in (0, 0.25, 0.5, 1, 1.5, 2):
        expected = torch.special.ndtr(t - x / s).mean()
        observed = (y <= t * s + 1e-6).double().mean()
        worst = max(worst, (expected - observed).abs().item())
    return worst


def _exact(image, sigma):
    """Return an image and a standard deviation in float64, on the CPU; the latter is above 0."""
    sigma = torch.as_tensor(sigma).detach().cpu().double()
    if not (sigma.isfinite().all() and (sigma >= 0).all()):
        raise InputError("sigma is not a noise level: it must be 0 or more everywhere")
    return image.detach().cpu().double(), sigma.clamp(min=1e-9)


def _added(distance, sigma):
    """Return what clipping adds to the mean at a distance from the end: E max(n − distance, 0)."""
    t = distance / sigma
    density = (-0.5 * t * t).exp() / math.sqrt(2 * math.pi)
    return sigma * density - distance * torch.special.ndtr(-t)


def clipped_variance(image, sigma):
    """Return the mean square of Gaussian noise after the noisy image was clipped to [0, 1].

    Parameters
    ----------
    image : torch.Tensor
        The clean image, or an estimate of it; values in [0, 1].
    sigma : float
        Standard deviation of the noise before clipping.

    Returns
    -------
    torch.Tensor
        A scalar, at most sigma².

    Notes
    -----
    For noise n ~ N(0, σ²) and a pixel x, clip(x + n) − x is n clipped to [−x, 1 − x]. With φ and Φ
    of the standard normal distribution and t = a/σ, the side up to a distance a contributes
    σ² (Φ(t) − 1/2 − t φ(t)) + a² (1 − Φ(t)).

    Examples
    --------
    >>> import torch
    >>> mid_grey = torch.full((1, 16, 16), 0.5)
    >>> round(clipped_variance(mid_grey, 0.1).item(), 4)
    0.01
    >>> round(clipped_variance(torch.ones(1, 16, 16), 0.1).item(), 4)
    0.005
    """
    return (_one_side(image, sigma) + _one_side(1 - image, sigma)).mean()


def _one_side(distance, sigma):
    t = distance.clamp(min=0) / sigma
    density = (-0.5 * t * t).exp() / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + (t / math.sqrt(2)).erf())
    return sigma**2 * (below - 0.5 - t * density) + distance.square() * (1 - below)


def level_map(observation, estimate=None):
    """Estimate the standard deviation of the noise in each pixel, as a function of its brightness.

    Parameters
    ----------
    observation : torch.Tensor, (C, H, W) in [0, 1]
    estimate : torch.Tensor, optional
        The observation after a denoiser, (C, H, W); by default a non-local mean. A denoiser that
        leaves noise in its result makes this noise appear weaker.

    Returns
    -------
    torch.Tensor
        (C, H, W), in units of [0, 1]; 0 in a channel without noise.

    Raises
    ------
    InputError
        The shapes differ.

    Notes
    -----
    Each channel's blocks of 5x5 pixels are sorted into bins of equal size by their brightness. The
    flattest quarter of a bin tells its variance: there the residual contains hardly any edges or
    texture. Between bins the variance is interpolated linearly, which covers the Poissonian-
    Gaussian noise of Foi et al. (2008), doi:10.1109/TIP.2008.2001399, and any gamma after it.

    Examples
    --------
    >>> from diplearn import degrade
    >>> ramp = torch.linspace(0.1, 0.9, 96).expand(1, 96, 96)
    >>> levels = level_map(degrade.poisson_noise(ramp, peak=100), ramp)
    >>> [round(levels[0, 48, column].item(), 2) for column in (10, 85)]
    [0.04, 0.09]
    """
    estimate = rough(observation, estimate)
    return _level_map(observation, estimate)


def level(observation, estimate=None):
    """Estimate the standard deviation of the noise: the root mean square of the `level_map`.

    The usual estimate from the finest wavelet coefficients (`finest_level`) assumes that the noise
    is independent from pixel to pixel. In a photograph neighbours have similar noise, and
    that estimate finds about half of it or less.

    Parameters
    ----------
    observation, estimate
        As in `level_map`.

    Returns
    -------
    float
        In units of [0, 1]; channels without noise are left out.

    Raises
    ------
    InputError
        The shapes differ.

    Examples
    --------
    >>> from diplearn import degrade, images
    >>> clean = images.load("coffee", size=64)
    >>> abs(255 * level(degrade.gaussian_noise(clean, 25 / 255)) - 25) < 5
    True
    """
    return _overall(level_map(observation, estimate))


def autocovariance(observation, estimate=None, reach=4):
    """Estimate how alike the noise is in pixels that lie close together.

    Parameters
    ----------
    observation, estimate
        As in `level_map`.
    reach : int, optional
        The largest distance in pixels along rows and columns.

    Returns
    -------
    torch.Tensor
        (C, 2 reach + 1, 2 reach + 1): the mean product of the noise in two pixels of a channel
        whose distance is (row - reach, column - reach). The centre is the mean variance.

    Raises
    ------
    InputError
        The shapes differ, or the reach is not a whole number or too large for the image.

    Notes
    -----
    The residual is divided by its `level_map`, so that dark and bright regions count alike, and
    only pairs of pixels in flat blocks are counted.

    Examples
    --------
    >>> from diplearn import degrade, images
    >>> clean = images.load("coffee", size=64)
    >>> covariance = autocovariance(degrade.camera(clean, iso=6400), reach=2)
    >>> covariance.shape
    torch.Size([3, 5, 5])
    >>> (covariance[0, 2, 3] / covariance[0, 2, 2]).item() > 0.3  # a neighbour in the row
    True
    """
    reach = whole(reach, "reach", 0)
    estimate = rough(observation, estimate)
    if 2 * reach >= min(observation.shape[1:]):
        raise InputError(f"reach={reach} is too far for an image of {tuple(observation.shape)}")
    return _autocovariance(observation, estimate, _level_map(observation, estimate), reach)


def correlation(observation, estimate=None):
    """Estimate the correlation between the noise of a pixel and that of its four neighbours.

    Parameters
    ----------
    observation, estimate
        As in `level_map`.

    Returns
    -------
    float
        The mean over the channels. Measured on 16 images: below 0.08 for Gaussian noise of 10 to 50
        grey values and for photon noise, and 0.4 to 0.6 for colour photographs through a Bayer
        mosaic. An image without noise has the correlation of its finest texture.

    Raises
    ------
    InputError
        The shapes differ.

    Examples
    --------
    >>> from diplearn import degrade, images
    >>> clean = images.load("coffee", size=64)
    >>> correlation(degrade.gaussian_noise(clean, 0.1)) < 0.2 < correlation(degrade.camera(clean))
    True
    """
    covariance = autocovariance(observation, estimate, reach=1)
    return _neighbours(covariance)


def alike(observation, estimate=None):
    """Return whether the noise is certainly alike in neighbouring pixels.

    Between `INDEPENDENT` and `ALIKE` it may be, or the estimate may be wrong.

    Parameters
    ----------
    observation, estimate
        As in `level_map`. Of a large image only the middle is looked at.

    Returns
    -------
    bool
        Whether the `correlation` is above `ALIKE`.

    Examples
    --------
    >>> from diplearn import degrade, images
    >>> clean = images.load("coffee", size=64)
    >>> alike(degrade.gaussian_noise(clean, 0.1)), alike(degrade.camera(clean))
    (False, True)
    """
    return (
        correlation(excerpt(observation), None if estimate is None else excerpt(estimate)) > ALIKE
    )


def excerpt(image):
    """Return the middle of a large image, and a small image as it is."""
    height, width = image.shape[1:]
    top, left = max(0, height - EXCERPT) // 2, max(0, width - EXCERPT) // 2
    return image[:, top : top + EXCERPT, left : left + EXCERPT]


ALIKE = 0.35
"""Correlation of neighbours above which it is certain that their noise is not independent."""

INDEPENDENT = 0.08
"""Up to which estimated correlation of neighbours their noise is taken for independent. For white
noise with sigma >= 10/255, the estimates on 16 images were below it. In a photograph with 0.09 the
level was measured too low, and SURE left a visible part of the noise."""

EXCERPT = 256
"""Side of the `excerpt` of a large image, in pixels."""


def _neighbours(covariance):
    """Return the correlation of direct neighbours from an autocovariance; 0 without noise."""
    middle = covariance.shape[-1] // 2
    variance = covariance[:, middle, middle]
    beside = (covariance[:, middle, middle + 1] + covariance[:, middle + 1, middle]) / 2
    noisy = variance > 0
    return (beside[noisy] / variance[noisy]).mean().item() if noisy.any() else 0.0


SIDE = 5
"""Pixels on each side of the blocks in which noise is measured."""

BINS = 8
"""Levels of brightness that are told apart."""

FLAT = 0.25
"""Fraction of the blocks of a bin that are taken for flat."""


UNSEEN = 1.65
"""Ratio of the noise's level to that of its finest wavelets above which it is not independent."""


def rough(observation, estimate=None):
    """Return the estimate as handed in, or a non-local mean that leaves little of the noise.

    Non-local means keep noise that is alike in neighbours as if it were texture, unless they are
    told of a level well above the true one, which would smooth independent noise too much. Which
    noise it is, the finest wavelets tell: they see all of the one, and about half of the other.
    """
    if estimate is not None:
        if observation.shape != estimate.shape:
            raise InputError(
                f"the observation has shape {tuple(observation.shape)} and the estimate "
                f"{tuple(estimate.shape)}; they must be of the same shape"
            )
        return estimate
    finest = finest_level(observation)
    if finest == 0:
        return observation
    sigma, alike = 1.3 * finest, 1.0
    for _ in range(5):
        factor = 1.1 + 0.7 * min(1, max(0, (alike - 0.12) / 0.2))
        estimate = _non_local_means(observation, factor * sigma)
        levels = _level_map(observation, estimate)
        alike = _neighbours(_autocovariance(observation, estimate, levels, 1))
        sigma = _overall(levels) or 2 * sigma
    if sigma > UNSEEN * finest:
        return estimate
    weak = _non_local_means(observation, 1.1 * finest)
    return _non_local_means(observation, 1.1 * (_overall(_level_map(observation, weak)) or finest))


def _non_local_means(observation, sigma):
    from skimage import restoration  # imported here: it takes long to load

    sigma = min(1, sigma)
    grey = len(observation) == 1
    array = (observation[0] if grey else observation).cpu().double().numpy()
    mean = restoration.denoise_nl_means(
        array, h=0.6 * sigma, sigma=sigma, fast_mode=True, patch_size=5, patch_distance=6,
        channel_axis=None if grey else 0,
    )  # fmt: skip
    return torch.from_numpy(mean).to(observation).view_as(observation).clamp(0, 1)


def finest_level(observation):
    """Estimate the standard deviation of noise that is independent from pixel to pixel.

    Parameters
    ----------
    observation : torch.Tensor, (C, H, W) in [0, 1]

    Returns
    -------
    float
        In units of [0, 1]: the mean over the channels. Constant regions, such as a black channel or
        an overexposed sky, are left out; a constant image has the level 0.

    Notes
    -----
    The median of the finest wavelet coefficients tells the level (Donoho & Johnstone 1994,
    doi:10.1093/biomet/81.3.425).

    Examples
    --------
    >>> from diplearn import degrade, images
    >>> noisy = degrade.gaussian_noise(images.load("camera", size=128), 25 / 255)
    >>> 22 < 255 * finest_level(noisy) < 28
    True
    """
    levels = [_finest_level(plane) for plane in observation.cpu().numpy()]
    return float(np.mean([level for level in levels if level] or [0.0]))


def _finest_level(plane):
    """σ from the finest diagonal wavelet coefficients of one channel, or 0 if it is constant."""
    import pywt  # imported here, since most problems need no estimate
    from scipy import ndimage

    details = np.abs(pywt.dwtn(plane, "db2")["dd"])
    told = details > 1e-6  # smaller coefficients are the rounding errors of a constant region
    # In a drawing or a black frame most coefficients are 0. Noise fills whole regions and survives
    # the erosion; edges are thin lines and do not.
    if told.mean() < 0.5:
        told = ndimage.binary_erosion(told, np.ones((7, 7)), border_value=1)
    quartile = statistics.NormalDist().inv_cdf(0.75)
    return float(np.median(details[told])) / quartile if told.any() else 0.0


def _overall(levels):
    """Return the root mean square of a level map over the channels that contain noise."""
    noisy = [plane for plane in levels.double() if plane.any()]
    return torch.stack(noisy).square().mean().sqrt().item() if noisy else 0.0


def _level_map(observation, estimate):
    planes = [_levels(y, x) for y, x in zip(_exact(observation, 0)[0], _exact(estimate, 0)[0])]
    return torch.stack(planes).to(observation)


def _levels(observation, estimate):
    """Return the standard deviation of one channel's noise, (H, W)."""
    blocks = [_blocks(plane, 2).flatten(1) for plane in (observation, estimate)]
    variance = (blocks[0] - blocks[1]).var(1)
    cut = ((blocks[0] <= 0) | (blocks[0] >= 1)).double().mean(1)
    told = (variance > 1e-7) & (cut < 0.3)
    if told.sum() < 20:
        return torch.zeros_like(estimate)
    brightness, structure = blocks[1][told].mean(1), blocks[1][told].var(1)
    variance, points = variance[told], []
    for part in brightness.argsort().tensor_split(max(1, min(BINS, len(variance) // 40))):
        flat = part[structure[part].argsort()[: math.ceil(FLAT * len(part))]]
        points.append((brightness[flat].mean().item(), variance[flat].median().item()))
    found = np.interp(estimate.numpy(), *zip(*sorted(points)))
    return torch.from_numpy(found).sqrt()


def _blocks(plane, step=1):
    """Return the blocks of a plane, (N, SIDE, SIDE)."""
    return plane.unfold(0, SIDE, step).unfold(1, SIDE, step).reshape(-1, SIDE, SIDE)


def _flat_pixels(estimate):
    """Return which pixels of one channel lie in flat blocks, (H, W)."""
    blocks = _blocks(estimate).flatten(1)
    flat, structure = torch.zeros(len(blocks), dtype=estimate.dtype), blocks.var(1)
    for part in blocks.mean(1).argsort().tensor_split(BINS):
        flat[part[structure[part].argsort()[: math.ceil(FLAT * len(part))]]] = 1
    rows, columns = (side - SIDE + 1 for side in estimate.shape)
    spread = torch.ones(1, 1, SIDE, SIDE, dtype=estimate.dtype)
    return torch.nn.functional.conv_transpose2d(flat.view(1, 1, rows, columns), spread)[0, 0] > 0


def _autocovariance(observation, estimate, levels, reach):
    y, x, s = (_exact(image, 0)[0] for image in (observation, estimate, levels))
    counted = torch.stack([_flat_pixels(plane) for plane in x]) & (s > 0)
    noise = torch.where(counted, (y - x) / s.clamp(min=1e-9), 0)
    side = 2 * reach + 1
    found = torch.zeros(len(y), side, side, dtype=y.dtype)
    for row in range(side):
        for column in range(side):
            here, there = _shifted(row - reach, column - reach)
            pairs = (counted[here] & counted[there]).sum((1, 2))
            found[:, row, column] = (noise[here] * noise[there]).sum((1, 2)) / pairs.clamp(min=1)
    middle = found[:, reach, reach, None, None].clamp(min=1e-9)
    return (found / middle * s.square().mean((1, 2), keepdim=True)).to(observation)


def _shifted(down, right):
    """Return two slices of an image, of which the second lies further down and right."""
    first, second = [...], [...]
    for shift in (down, right):
        first.append(slice(max(0, -shift), -shift if shift > 0 else None))
        second.append(slice(max(0, shift), shift if shift < 0 else None))
    return tuple(first), tuple(second)
