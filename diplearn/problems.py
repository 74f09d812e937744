"""What is to be restored: an observation, how it came about, and what is known about the noise."""

import copy
import dataclasses
import numbers
import statistics
import warnings

import numpy as np
import torch

from . import operators
from .errors import InputError
from .images import SMALLEST_SIDE, as_tensor, check
from .randomness import generator

TASKS = ("denoising", "jpeg", "super_resolution", "inpainting", "deblurring")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """One degraded image x0 = A x + noise, from which x is sought.

    Parameters
    ----------
    observation : torch.Tensor
        x0, (C, H, W) float in [0, 1]; what a `Mask` declares missing may hold anything, NaN too.
    operator : Operator, optional
        A; the identity by default.
    truth : torch.Tensor, optional
        The clean image x, where it is known: for measuring only, no fit ever sees it.
    sigma : float, optional
        Standard deviation of the noise in the observation, in the units of [0, 1]; None where it
        is not known (see `noise_level`).
    task : str, optional
        Selects the recipe: one of `TASKS`; by default it follows from the operator.

    Raises
    ------
    InputError
        Something does not fit together; the message says what.

    Examples
    --------
    A photograph of one's own, with no truth:

    >>> import torch
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
        # Frozen, so that nobody changes a problem under a running fit: fields are set once, here.
        def put(name, value):
            object.__setattr__(self, name, value)

        smallest = 1 if isinstance(self.operator, operators.Downsample) else SMALLEST_SIDE
        observation = self.observation
        if isinstance(self.operator, operators.Mask):
            observation = _without_missing(observation, self.operator, "the observation")
        put("observation", check(observation, "the observation", smallest))
        if self.truth is not None:
            put("truth", check(self.truth, "the truth"))
        if self.sigma is not None:
            operators.check_sigma(self.sigma)
            put("sigma", float(self.sigma))
        if self.task is None:
            put("task", _TASK_OF.get(type(self.operator), "denoising"))
        if self.task not in TASKS:
            raise InputError(f"no task is called {self.task!r}; there are {', '.join(TASKS)}")
        if isinstance(self.operator, operators.Mask):
            _check_mask(self.operator, self.observation)
        self._check_shapes()

    def _check_shapes(self):
        if min(self.shape[-2:]) < SMALLEST_SIDE:
            raise InputError(
                f"the image that is sought would be {self.shape[-1]}x{self.shape[-2]} pixels; "
                f"at least {SMALLEST_SIDE} on each side are needed"
            )
        expected = tuple(self.operator.observed_shape(self.shape))
        found = tuple(self.observation.shape)
        if expected != found:
            whose = "the image that is sought" if self.truth is None else "the truth"
            raise InputError(
                f"{whose} has shape {self.shape}, of which the operator makes {expected}, "
                f"but the observation has shape {found}"
            )

    def __repr__(self):  # the tensors' values would fill a page
        truth = "unknown" if self.truth is None else "known"
        sigma = "unknown" if self.sigma is None else f"{self.sigma:.4g}"
        about = f"image of shape {self.shape}, truth {truth}, sigma {sigma}"
        return f"<Problem {self.task}: {about}>"

    @property
    def shape(self):
        """(C, H, W) of the image that is sought."""
        if self.truth is not None:
            return tuple(self.truth.shape)
        return tuple(self.operator.image_shape(self.observation.shape))

    def noise_level(self):
        """σ of the noise: as given, or estimated from the observation's finest details.

        Returns
        -------
        float
            Standard deviation in the units of [0, 1], from the median of the finest wavelet
            coefficients (Donoho & Johnstone 1994, doi:10.1093/biomet/81.3.425): the mean over the
            channels that have any, and 0 where none has. Constant regions, such as a black channel
            or a blown-out sky, have none.

        Raises
        ------
        InputError
            The operator hides the noise (an inpainting mask), so it cannot be estimated.

        Examples
        --------
        >>> from diplearn import images
        >>> noisy = denoising(images.load("camera", size=256), sigma=25 / 255).observation
        >>> 22 < 255 * Problem(noisy).noise_level() < 28
        True
        """
        if self.sigma is not None:
            return self.sigma
        if isinstance(self.operator, operators.Mask):
            raise InputError("the noise level cannot be estimated through a mask; give sigma")
        levels = [_finest_level(plane) for plane in self.observation.cpu().numpy()]
        return float(np.mean([level for level in levels if level] or [0.0]))

    def need_truth(self, wanted):
        """Return the truth, or raise an InputError that says what needs it."""
        if self.truth is None:
            raise InputError(
                f"{wanted} compares with the clean image, and this problem has none: "
                "it holds an image of your own"
            )
        return self.truth

    def varied(self, **values):
        """Return the same problem with some of its values replaced, and nothing checked or clipped.

        For what a stopping rule shows to a network. For a problem of your own, make a new one.

        Parameters
        ----------
        **values
            Fields of the problem.

        Returns
        -------
        Problem
        """
        other = copy.copy(self)
        other.__dict__.pop("_moved", None)
        for name, value in values.items():
            object.__setattr__(other, name, value)
        return other

    def __getstate__(self):
        """Leave out what was moved to other devices."""
        return {name: value for name, value in self.__dict__.items() if name != "_moved"}

    def to(self, device):
        """Return the same problem with its tensors on a device; what was moved once is kept."""
        device = torch.device(device)
        if self.observation.device == device:
            return self
        moved = self.__dict__.setdefault("_moved", {})
        if device not in moved:
            moved[device] = self._on(device)
        return moved[device]

    def _on(self, device):
        return self.varied(
            observation=self.observation.to(device),
            operator=self.operator.to(device),
            truth=None if self.truth is None else self.truth.to(device),
        )


def _finest_level(plane):
    """σ from the finest diagonal wavelet coefficients of one channel, 0 where there are none."""
    import pywt  # only here: most problems say what their noise is
    from scipy import ndimage

    details = np.abs(pywt.dwtn(plane, "db2")["dd"])
    told = details > 1e-6  # below, it is the rounding of what is constant
    if told.mean() < 0.5:  # a drawing, a black frame: noise fills regions, edges do not
        told = ndimage.binary_erosion(told, np.ones((7, 7)), border_value=1)
    quartile = statistics.NormalDist().inv_cdf(0.75)
    return float(np.median(details[told])) / quartile if told.any() else 0.0


_TASK_OF = {
    operators.Identity: "denoising",
    operators.Downsample: "super_resolution",
    operators.Mask: "inpainting",
    operators.Blur: "deblurring",
}


def _without_missing(image, mask, what):
    """Set to 0 what a mask of the same size declares missing: it may be NaN, and tells nothing."""
    image = as_tensor(image, what)
    return mask(image) if image.ndim == 3 and _fits(mask, image) else image


def _fits(mask, image):
    channels, *sides = mask.known.shape
    return sides == list(image.shape[-2:]) and channels in (1, image.shape[0])


def _check_mask(mask, observation):
    if not _fits(mask, observation):
        raise InputError(
            f"the mask has shape {tuple(mask.known.shape)} and the image "
            f"{tuple(observation.shape)}; they must be of the same size (a mask may have one "
            "channel for all)"
        )
    if mask.missing == 0:
        warnings.warn("nothing is missing in the mask: there is nothing to fill in", stacklevel=4)


def denoising(clean, sigma=25 / 255, seed=0):
    """Make a denoising problem out of a clean image.

    The noisy image is clipped to [0, 1], as a camera does it and as the published inputs are.

    Parameters
    ----------
    clean : torch.Tensor
        (C, H, W) in [0, 1]; it becomes the truth.
    sigma : float, optional
        Standard deviation of the Gaussian noise, in the units of [0, 1].
    seed : int, optional
        Seed of the noise.

    Returns
    -------
    Problem

    Raises
    ------
    InputError
        The image is none, or sigma is no noise level.

    Examples
    --------
    >>> from diplearn import images
    >>> denoising(images.load("camera", size=64), sigma=25 / 255).shape
    (1, 64, 64)
    """
    clean = check(clean, "the clean image")
    return Problem(operators.gaussian_noise(clean, sigma, seed), truth=clean, sigma=sigma)


def super_resolution(clean, factor=4, kernel="lanczos2", sigma=0.0, seed=0):
    """Make a super-resolution problem out of a clean image.

    Parameters
    ----------
    clean : torch.Tensor
        (C, H, W) in [0, 1]; it becomes the truth.
    factor : int, optional
        How many times smaller the observation is; a side that it does not divide is continued
        by its last pixel.
    kernel : str, optional
        The antialiasing filter; see `operators.Downsample`.
    sigma : float, optional
        Standard deviation of Gaussian noise on the small image.
    seed : int, optional
        Seed of the noise.

    Returns
    -------
    Problem

    Raises
    ------
    InputError
        The image or the factor cannot be used.

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
            f"{clean.shape[-1]}x{clean.shape[-2]} image"
        )
    # Lanczos overshoots at edges; a small image has no values outside [0, 1].
    observation = operators.gaussian_noise(operator(clean), sigma, seed, clip=True)
    return Problem(observation, operator, truth=clean, sigma=sigma)


def inpainting(clean, mask=0.5, sigma=0.0, seed=0):
    """Make an inpainting problem out of a clean image.

    Parameters
    ----------
    clean : torch.Tensor
        (C, H, W) in [0, 1]; it becomes the truth, unless it holds NaN where the mask says missing:
        then the truth is unknown.
    mask : Mask, torch.Tensor or float, optional
        What is known: an operator, whatever `Mask` takes, such as a tensor of 0 (missing) and 1
        (known), or the fraction of pixels that are missing at random.
    sigma : float, optional
        Standard deviation of Gaussian noise on the known pixels.
    seed : int, optional
        Seed of the noise and of a random mask.

    Returns
    -------
    Problem

    Raises
    ------
    InputError
        The mask has another size than the image, or leaves nothing known.

    Warns
    -----
    UserWarning
        Nothing is missing.

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
    seen = clean if whole else _without_missing(clean, mask, "the clean image")
    seen = check(seen, "the clean image")
    noisy = operators.gaussian_noise(seen, sigma, seed, clip=True)
    return Problem(noisy, mask, truth=seen if whole else None, sigma=sigma)


def jpeg(clean, quality=10):
    """Make a problem out of a clean image that JPEG has compressed too hard.

    Parameters
    ----------
    clean : torch.Tensor
        (C, H, W) in [0, 1]; it becomes the truth.
    quality : int, optional
        1 (worst) to 95.

    Returns
    -------
    Problem
        With the identity as operator: the restoration is blind to how JPEG works. The level of
        its error is not given, since nobody knows it in practice.

    Raises
    ------
    InputError
        The image or the quality cannot be used.

    Examples
    --------
    >>> from diplearn import images
    >>> jpeg(images.load("camera", size=64), quality=10).task
    'jpeg'
    """
    clean = check(clean, "the clean image")
    return Problem(operators.jpeg(clean, quality), truth=clean, task="jpeg")


def impedance(clean, sigma=25 / 255, seed=0):
    """Make the four targets of the impedance experiment: the same fit finds some easy, some hard.

    Parameters
    ----------
    clean : torch.Tensor
        (C, H, W) in [0, 1].
    sigma : float, optional
        Of the noise in "image + noise", in the units of [0, 1].
    seed : int, optional
        Of noise and permutation.

    Returns
    -------
    dict
        Name -> Problem: "image"; "image + noise"; "shuffled pixels", the same pixels in a
        random order; "noise", Gaussian, with the image's mean and standard deviation. None has a
        truth: each is to be reproduced as it is.

    Raises
    ------
    InputError
        The image cannot be used.

    Notes
    -----
    The paper's figure on learning curves, section "Parametrization with high noise impedance".

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
        "image + noise": operators.gaussian_noise(clean, sigma, seed, clip=True),
        "shuffled pixels": clean.flatten(1)[:, order.to(clean.device)].reshape(clean.shape),
        "noise": (clean.mean() + noise * clean.std()).clamp(0, 1),
    }
    return {name: Problem(target, sigma=0.0) for name, target in targets.items()}


def deblurring(clean, width=1.5, sigma=0.0, seed=0):
    """Make a deblurring problem out of a clean image.

    Parameters
    ----------
    clean : torch.Tensor
        (C, H, W) in [0, 1]; it becomes the truth.
    width : float, optional
        Standard deviation of the Gaussian blur in pixels.
    sigma : float, optional
        Standard deviation of the Gaussian noise on the blurred image.
    seed : int, optional
        Seed of the noise.

    Returns
    -------
    Problem

    Raises
    ------
    InputError
        The image, the width or sigma cannot be used.

    Examples
    --------
    >>> from diplearn import images
    >>> deblurring(images.load("camera", size=64), width=2, sigma=0.01).task
    'deblurring'
    """
    clean = check(clean, "the clean image")
    operator = operators.Blur(width)
    observation = operators.gaussian_noise(operator(clean), sigma, seed, clip=True)
    return Problem(observation, operator, truth=clean, sigma=sigma)
