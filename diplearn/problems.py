"""The problem that a fit solves: an observation, its forward operator and the noise level."""

import copy
import dataclasses
import numbers
import warnings

import torch

from . import degrade, noise, operators
from .errors import InputError, lookup
from .images import SMALLEST_SIDE, as_tensor, check
from .randomness import generator

__all__ = [
    "Problem",
    "camera",
    "deblurring",
    "denoising",
    "impedance",
    "inpainting",
    "jpeg",
    "super_resolution",
]

OPERATOR_OF = {
    "denoising": operators.Identity,
    "jpeg": operators.Identity,  # compression is not linear: its error is treated as noise
    "super_resolution": operators.Downsample,
    "inpainting": operators.Mask,
    "deblurring": operators.Blur,
}
"""Task -> the class of its forward operator."""

TASKS = tuple(OPERATOR_OF)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """One degraded image, x0 = A x + noise, from which x is to be restored.

    Parameters
    ----------
    observation : torch.Tensor
        x0, (C, H, W) float in [0, 1]. Pixels that a `Mask` marks as missing may have any value,
        even NaN.
    operator : Operator, optional
        A; the identity by default.
    truth : torch.Tensor, optional
        The clean image x, if it is known. It is used for measuring only: no fit ever sees it.
    sigma : float, optional
        Standard deviation of the noise in the observation, in units of [0, 1]; None if it is
        unknown (see `noise_level`).
    task : str, optional
        One of `TASKS`, which selects the recipe. By default the operator's task, or ``"denoising"``
        for a user-defined operator.

    Examples
    --------
    A photograph of your own, without a clean version:

    >>> photo = torch.rand(3, 64, 64)  # or images.read("photo.jpg")
    >>> Problem(photo)
    <Problem denoising: image of shape (3, 64, 64), truth unknown, sigma unknown>
    """

    observation: torch.Tensor
    operator: operators.Operator = dataclasses.field(default_factory=operators.Identity)
    truth: torch.Tensor | None = None
    sigma: float | None = None
    task: str | None = None

    def __post_init__(self):
        # The class is frozen, so that no problem changes during a fit; fields are only set here.
        def put(name, value):
            object.__setattr__(self, name, value)

        masked, observation = isinstance(self.operator, operators.Mask), self.observation
        if masked:
            observation = _clear_missing(observation, self.operator, "the observation")
        smallest = 1 if _changes_size(self.operator) else SMALLEST_SIDE
        put("observation", check(observation, "the observation", smallest))
        if self.truth is not None:
            put("truth", check(self.truth, "the truth"))
        if self.sigma is not None:
            degrade.check_sigma(self.sigma)
            put("sigma", float(self.sigma))
        if self.task is None:
            put("task", _task_of(self.operator))
        lookup(OPERATOR_OF, self.task, "task")  # raises InputError for an unknown task
        if masked:
            _check_mask(self.operator, self.observation)
        self._check_shapes()

    def _check_shapes(self):
        if min(self.shape[-2:]) < SMALLEST_SIDE:
            raise InputError(
                f"the image to restore would be {self.shape[-1]}x{self.shape[-2]} pixels; "
                f"at least {SMALLEST_SIDE} on each side are needed"
            )
        expected = tuple(self.operator.observed_shape(self.shape))
        found = tuple(self.observation.shape)
        if expected != found:
            whose = "the image to restore" if self.truth is None else "the truth"
            raise InputError(
                f"{whose} has shape {self.shape}, from which the operator makes {expected}, "
                f"but the observation has shape {found}"
            )

    def __repr__(self):  # without the values of the tensors, which would fill a page
        truth = "unknown" if self.truth is None else "known"
        sigma = "unknown" if self.sigma is None else f"{self.sigma:.4g}"
        about = f"image of shape {self.shape}, truth {truth}, sigma {sigma}"
        return f"<Problem {self.task}: {about}>"

    @property
    def shape(self):
        """(C, H, W) of the image to restore."""
        if self.truth is not None:
            return tuple(self.truth.shape)
        return tuple(self.operator.image_shape(self.observation.shape))

    def noise_level(self):
        """Return the noise's standard deviation σ: as given, or estimated from the observation.

        The estimate is that of `noise.finest_level`; it is 0 for a constant image. A mask sets the
        missing pixels to zero, so that σ cannot be estimated: this raises InputError.

        >>> from diplearn import images
        >>> noisy = denoising(images.load("camera", size=256), sigma=25 / 255).observation
        >>> 22 < 255 * Problem(noisy).noise_level() < 28
        True
        """
        if self.sigma is not None:
            return self.sigma
        if isinstance(self.operator, operators.Mask):
            raise InputError("the noise level cannot be estimated through a mask; give sigma")
        return noise.finest_level(self.observation)

    def need_truth(self, wanted):
        """Return the truth, or raise InputError, which says that `wanted` needs the truth."""
        if self.truth is None:
            raise InputError(
                f"{wanted} compares with the clean image, which is unknown for an image of "
                "your own; make the problem from a clean image, as dip.denoising does"
            )
        return self.truth

    def varied(self, **values):
        """Return a copy with some fields replaced, without checking or clipping them.

        Stopping rules use it to show a network a changed observation; users make a new Problem
        instead.
        """
        other = copy.copy(self)
        other.__dict__.pop("_moved", None)
        for name, value in values.items():
            object.__setattr__(other, name, value)
        return other

    def __getstate__(self):
        """Leave out the cached copies on other devices."""
        return {name: value for name, value in self.__dict__.items() if name != "_moved"}

    def to(self, device):
        """Return the same problem with its tensors on the device; copies are cached."""
        device = torch.device(device)
        if self.observation.device == device:
            return self
        moved = self.__dict__.setdefault("_moved", {})
        if device not in moved:
            moved[device] = self.varied(
                observation=self.observation.to(device),
                operator=self.operator.to(device),
                truth=None if self.truth is None else self.truth.to(device),
            )
        return moved[device]


def _changes_size(operator):
    return type(operator).image_shape is not operators.Operator.image_shape


def _task_of(operator):
    tasks = (task for task, kind in OPERATOR_OF.items() if type(operator) is kind)
    return next(tasks, "denoising")


def _clear_missing(image, mask, what):
    """Set the missing pixels, which may be NaN, to 0; leave an image of another size unchanged."""
    image = as_tensor(image, what)
    return mask(image) if image.ndim == 3 and _fits(mask, image) else image


def _fits(mask, image):
    channels, *sides = mask.known.shape
    return sides == list(image.shape[-2:]) and channels in (1, image.shape[0])


def _check_mask(mask, observation):
    if not _fits(mask, observation):
        raise InputError(
            f"the mask has shape {tuple(mask.known.shape)} and the image "
            f"{tuple(observation.shape)}; they must be of the same size (a mask may have "
            "one channel for all channels of the image)"
        )
    if mask.missing == 0:
        warnings.warn("nothing is missing in the mask: there is nothing to fill in", stacklevel=4)


def denoising(clean, sigma=25 / 255, seed=0):
    """Make a denoising problem from a clean image, which becomes its truth.

    The noisy image is clipped to [0, 1], as a camera does and as the published inputs are.

    Parameters
    ----------
    clean : torch.Tensor, (C, H, W) in [0, 1]
    sigma : float, optional
        Standard deviation of the Gaussian noise, in units of [0, 1].
    seed : int, optional

    Returns
    -------
    Problem

    Examples
    --------
    >>> from diplearn import images
    >>> denoising(images.load("camera", size=64), sigma=25 / 255).shape
    (1, 64, 64)
    """
    clean = check(clean, "the clean image")
    return Problem(degrade.gaussian_noise(clean, sigma, seed), truth=clean, sigma=sigma)


def camera(clean, iso=1600.0, seed=0, quality=92):
    """Make a denoising problem with the noise that a photograph has; the clean image is its truth.

    The noise level is unknown, as in practice: it depends on the brightness, and neighbouring
    pixels have similar noise. Bayer's mosaic and JPEG belong to the degradation, so that even a
    photograph without noise differs from the truth.

    Parameters
    ----------
    clean : torch.Tensor, (C, H, W) in [0, 1]
    iso, seed, quality
        The camera's gain, the seed of its noise, and JPEG's quality; see `degrade.camera`.

    Returns
    -------
    Problem

    Examples
    --------
    >>> from diplearn import images
    >>> camera(images.load("coffee", size=64), iso=6400)
    <Problem denoising: image of shape (3, 64, 64), truth known, sigma unknown>
    """
    clean = check(clean, "the clean image")
    return Problem(degrade.camera(clean, iso, seed, quality), truth=clean)


def super_resolution(clean, factor=4, kernel="lanczos2", sigma=0.0, seed=0):
    """Make a super-resolution problem from a clean image, which becomes its truth.

    Parameters
    ----------
    clean : torch.Tensor, (C, H, W) in [0, 1]
    factor : int, optional
        How many times smaller the observation is on each side; its sides are rounded up.
    kernel : str, optional
        The antialiasing filter; see `operators.Downsample`.
    sigma, seed
        Noise on the small image, as in `denoising`.

    Returns
    -------
    Problem

    Examples
    --------
    >>> from diplearn import images
    >>> super_resolution(images.load("camera", size=64), factor=4).observation.shape
    torch.Size([1, 16, 16])
    """
    clean = check(clean, "the clean image")
    operator = operators.Downsample(factor, kernel)
    if min(clean.shape[-2:]) < 2 * operator.factor:
        raise InputError(
            f"factor={factor} leaves less than 2 pixels of a "
            f"{clean.shape[-1]}x{clean.shape[-2]} image; take a smaller factor"
        )
    # Clipped: Lanczos overshoots at edges, but an image has no values outside [0, 1].
    observation = degrade.gaussian_noise(operator(clean), sigma, seed)
    return Problem(observation, operator, truth=clean, sigma=sigma)


def inpainting(clean, mask=0.5, sigma=0.0, seed=0):
    """Make an inpainting problem from a clean image; warn if no pixel is missing.

    Parameters
    ----------
    clean : torch.Tensor, (C, H, W) in [0, 1]
        If missing pixels are NaN, the truth is unknown.
    mask : Mask, torch.Tensor or float, optional
        An operator; an argument of `Mask`, such as a tensor of 0 (missing) and 1 (known); or the
        fraction of pixels that are missing at random.
    sigma, seed
        Noise on the known pixels, as in `denoising`; the seed is also that of a random mask.

    Returns
    -------
    Problem

    Examples
    --------
    >>> from diplearn import images
    >>> problem = inpainting(images.load("camera", size=64), mask=0.5)
    >>> abs(problem.operator.missing - 0.5) < 0.05
    True
    """
    if isinstance(mask, numbers.Real):
        clean = check(clean, "the clean image")
        mask = operators.Mask.pixels(*clean.shape[-2:], missing=mask, seed=seed)
    elif not isinstance(mask, operators.Mask):
        mask = operators.Mask(mask)
    whole = not as_tensor(clean, "the clean image").isnan().any()
    seen = clean if whole else _clear_missing(clean, mask, "the clean image")
    seen = check(seen, "the clean image")
    noisy = degrade.gaussian_noise(seen, sigma, seed)
    return Problem(noisy, mask, truth=seen if whole else None, sigma=sigma)


def deblurring(clean, width=1.5, sigma=0.0, seed=0):
    """Make a deblurring problem from a clean image, which becomes its truth.

    Parameters
    ----------
    clean : torch.Tensor, (C, H, W) in [0, 1]
    width : float, optional
        Standard deviation of the Gaussian blur in pixels.
    sigma, seed
        Noise on the blurred image, as in `denoising`.

    Returns
    -------
    Problem

    Examples
    --------
    >>> from diplearn import images
    >>> deblurring(images.load("camera", size=64), width=2, sigma=0.01).task
    'deblurring'
    """
    clean = check(clean, "the clean image")
    operator = operators.Blur(width)
    observation = degrade.gaussian_noise(operator(clean), sigma, seed)
    return Problem(observation, operator, truth=clean, sigma=sigma)


def jpeg(clean, quality=10):
    """Make a problem by compressing a clean image, which becomes the truth, strongly with JPEG.

    The operator is the identity, since the restoration does not know how JPEG works. The noise
    level is unknown, as in practice.

    Parameters
    ----------
    clean : torch.Tensor, (C, H, W) in [0, 1]
    quality : int, optional
        1 (worst) to 95.

    Returns
    -------
    Problem

    Examples
    --------
    >>> from diplearn import images
    >>> jpeg(images.load("camera", size=64), quality=10).task
    'jpeg'
    """
    clean = check(clean, "the clean image")
    return Problem(degrade.jpeg(clean, quality), truth=clean, task="jpeg")


def impedance(clean, sigma=25 / 255, seed=0):
    """Make the four targets of the paper's experiment on "high noise impedance".

    The noise alone has the colours of the image: a network needs longer for three independent
    channels than for three that go together, as those of a photograph do, so that noise drawn
    independently for each channel would differ from the image in more than its lack of structure.

    Parameters
    ----------
    clean : torch.Tensor, (C, H, W) in [0, 1]
    sigma, seed
        Noise in "image + noise", as in `denoising`.

    Returns
    -------
    dict
        Name -> Problem: "image"; "image + noise"; "shuffled pixels", the same pixels in random
        order; "noise", white and Gaussian, with the image's mean colour and the covariance of its
        channels, clipped to [0, 1]. There is no truth, since the network is to reproduce each
        target as it is.

    Examples
    --------
    >>> from diplearn import images
    >>> list(impedance(images.load("camera", size=64)))
    ['image', 'image + noise', 'shuffled pixels', 'noise']
    """
    clean = check(clean, "the clean image")
    order = torch.randperm(clean[0].numel(), generator=generator(seed, "shuffle"))
    noise = torch.randn(clean.shape, generator=generator(seed, "pure noise")).to(clean)
    targets = {
        "image": clean,
        "image + noise": degrade.gaussian_noise(clean, sigma, seed),
        "shuffled pixels": clean.flatten(1)[:, order.to(clean.device)].reshape(clean.shape),
        "noise": _coloured(noise, clean).clamp(0, 1),
    }
    return {name: Problem(target, sigma=0.0) for name, target in targets.items()}


def _coloured(noise, like):
    """Give white noise the mean colour of an image, and the covariance of its channels."""
    # The square root exists for a singular covariance, too, such as that of three equal channels.
    covariance = like.flatten(1).cpu().double().cov().reshape(2 * like.shape[:1])
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    mean = like.mean(dim=(-2, -1), keepdim=True)
    return mean + torch.einsum("ij,jhw->ihw", root.to(noise), noise)
