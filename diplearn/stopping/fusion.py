"""Fusion: another denoiser has a say in the result, with the weight that SURE gives it."""

import inspect
import math

import torch

from .. import hardware, nl_ridge, noise
from ..errors import InputError, lookup
from ..operators import Identity
from .rule import scalar
from .rules import Sure, only

__all__ = ["Fusion"]


class Fusion(Sure):
    """Mix the averaged image with the image of another denoiser, the pilot.

    Where two estimates of one image are wrong in different places, a mixture can be better than
    both. The rule denoises the observation by another method, and returns
    pilot + w (average − pilot). SURE estimates the error of that mixture without the truth. The
    estimate is a quadratic function of w, so that the best w in [0, 1] has a formula; and the best
    iteration is the one whose best mixture has the smallest estimate. Where the fit has nothing to
    add, w is near 0. The estimate is itself uncertain, the more so the smaller the image: at 96x96
    grey pixels, mixtures were up to 0.2 dB worse than the pilot.

    Noise that was clipped at black or white makes both estimates too bright or too dark there; the
    chosen image is corrected (see `noise.unclip`).

    If the level of the noise is not stated and neighbouring pixels may have similar noise (their
    correlation is above `noise.INDEPENDENT`), as after a camera's demosaicing, SURE does not apply.
    The rule then returns the pilot's image alone, and stops: on a simulated camera, mixing it with
    the fit changed little, and more often for the worse. The pilot is told twice the measured
    level, and nothing is corrected. Very weak noise may be taken for similar, too.

    Parameters
    ----------
    pilot : {"nl-ridge", "bm3d"} or callable, optional
        The other denoiser. A function of your own is called as ``pilot(noisy, sigma)``, with
        (C, H, W) float32, and sigma as a number or as a map (C, H, W); it must return an image of
        the same shape. It is called once for each disturbed observation, whose values may leave
        [0, 1] a little: usually twice, at the same time, in two threads.
    sigma : float, optional
        Noise level; by default the problem's, or an estimate from the observation, which may depend
        on the brightness.
    probe, seed, patience, start
        As in `Sure`; but the rule waits for at least half of the recipe's iterations after the best
        one, so that a patience below 0.5 changes nothing.

    Attributes
    ----------
    weight : float
        The weight w of the fit in the chosen image; the pilot's is 1 − w.

    Raises
    ------
    InputError
        When prepared for a problem other than denoising, for one without noise that can be
        measured, or for a recipe with the data term "poisson".

    Notes
    -----
    As for `Sure`, the two networks are fitted to x0 + ε b and x0 − ε b, and the pilot denoises both
    as well. With apart = average − pilot, the SURE of the mixture is smallest at
    w = (⟨apart, x0 − pilot⟩ − N (c − c')) / ‖apart‖², where c and c' estimate the mean covariance
    of the average's and of the pilot's pixels with their noise.
    Stein (1981), doi:10.1214/aos/1176345632; linear combinations of estimates with weights by SURE:
    Blu & Luisier (2007), doi:10.1109/TIP.2007.906002.

    Examples
    --------
    >>> from diplearn import denoising, fit, images
    >>> problem = denoising(images.load("camera", size=32))
    >>> run = fit(problem, stop=Fusion(), iterations=60, progress=False)
    >>> 0 <= run.rule.weight <= 1
    True
    """

    name = "fusion"

    def __init__(self, pilot="nl-ridge", sigma=None, probe=0.1, seed=0, patience=0.3, start=8):
        super().__init__(sigma, probe, seed, patience, start)
        if not (callable(pilot) or isinstance(pilot, str)):
            raise InputError(f"pilot={pilot!r} is neither a name nor a function")
        self._denoise = pilot if callable(pilot) else lookup(PILOTS, pilot, "pilot")
        self.pilot = pilot

    def prepare(self, problem, recipe):
        """Check that the rule applies, find the noise level, and disturb the observations."""
        if not isinstance(problem.operator, Identity):
            task = problem.task.replace("_", "-")
            raise InputError(f"fusion is for denoising, and this is {task}; use another rule")
        super().prepare(problem, recipe)
        # At first the fit is far behind the pilot, and the estimated errors differ by chance only.
        self.shortest_wait = max(self.shortest_wait, recipe.iterations // 2)
        stated = self.sigma is not None or problem.sigma is not None
        self.levels, self.alone = self.level, False
        if not stated:
            self.levels, self.alone = _measured(problem.observation, self.level)
        if self.alone:
            self.first = 0
        denoised = [problem] if self.alone else self.problems
        self._work = [self._begin(each.observation) for each in denoised]
        self._image = None  # the pilot's, once it is ready
        self._corrected = None, None  # the chosen image before and after `unclip`

    def initial(self, image):
        """Add what the disturbance changes in the average, and the weight of the chosen image."""
        state = super().initial(image)
        del state["divergence"]
        weight = scalar(1.0, image.device)
        return state | {"change": torch.zeros_like(image), "chosen_weight": weight}

    @property
    def weight(self):
        """The weight of the fit in the chosen image, from 0 to 1; the pilot has the rest."""
        return float(self.state.get("chosen_weight", 1.0))

    @property
    def made_of(self):
        """What the chosen image is made of, in words."""
        name = WRITTEN[self.pilot] if isinstance(self.pilot, str) else "the pilot"
        if self.alone and self.weight == 0:
            return f"{name} alone"
        return f"{self.weight:.0%} fit, {1 - self.weight:.0%} {name}"

    @property
    def chosen(self):
        """The image that the rule would return now, corrected where the noise was clipped."""
        image = super().chosen
        if image is None or self._image is None or self.alone:
            return image
        if self._corrected[0] is not image:
            black, white = noise.clipped_ends(self.problem.observation, image, self.levels)
            right = noise.unclip(image, self.levels, black, white) if black or white else image
            self._corrected = image, right
        return self._corrected[1]

    def go_on(self):
        """Stop no more, and go on choosing: for a fit that is resumed beyond its own end."""
        self.patience = ENDLESS
        self.state["stop"] = torch.zeros_like(self.state["stop"])

    def look(self, step):
        """Choose the best mixture so far; stop when it is long past, or if the pilot is all."""
        super().look(step)
        self.stop_when(self.alone and self._image is not None and self.patience < ENDLESS)

    def choose(self, step, where=True):
        """Choose the mixture of this step, unless the rule has already decided to stop."""
        image, weight = self._mixture
        self.keep(where, chosen=image, chosen_at=step.iteration, chosen_weight=weight)

    def score(self, step):
        """Return the estimated mean squared error of the best mixture of average and pilot."""
        change = self._change(step.outputs)
        change = self.state["change"] = change.lerp(self.state["change"], step.weight)
        self._mixture = step.average, scalar(1.0, change.device)
        if self._image is None and not self._continue_pilot():
            return math.inf
        if self.alone:
            self._mixture = self._image, scalar(0.0, change.device)
            return 0.0
        if step.iteration % self.EVERY and step.iteration > 10 * self.EVERY:
            return math.inf
        apart = only(step.average - self._image, self.noisy)
        length = apart.square().mean()
        gain = (apart * self._toward).mean() - (self._covariance(change) - self._own_covariance)
        weight = (gain / length.clamp(min=1e-12)).clamp(0, 1)
        self._mixture = self._image.lerp(step.average, weight), scalar(weight, change.device)
        return self._own_error - 2 * weight * gain + weight.square() * length

    def _begin(self, noisy):
        """Return a generator that denoises an image by the pilot, a part at a time."""
        if inspect.isgeneratorfunction(self._denoise):
            return self._denoise(noisy, self.levels)
        return _in_one_part(self._denoise, noisy, self.levels)

    def _continue_pilot(self):
        """Do a part of the pilot's work, so that the fit can go on; return whether all is done."""
        for _ in range(MORE if self.alone else 1):
            with hardware.pool_of(len(self._work), 1) as pool:
                images = list(pool.map(_next, self._work))
            if images[0] is not None:
                break
        if any(image is None for image in images):
            return False
        self._work = []
        device = self.problem.observation.device
        images = [image.to(device) for image in images]
        self._image = sum(images) / len(images)
        if not self.alone:
            self._judge(images)
        return True

    def _judge(self, images):
        """Estimate the error of the pilot's image, for the SURE of mixtures."""
        if torch.is_tensor(self.levels):
            self._variance = self.levels.to(self._image).square()
        else:
            clean = noise.unclip(self._image, self.level)
            self._variance = noise.clipped_std(clean, self.level).square()
        observation = self.problem.observation
        self._toward = only(observation - self._image, self.noisy)
        self._own_covariance = self._covariance(self._change(images))
        variance = only(self._variance, self.noisy).mean()
        self._own_error = self._toward.square().mean() - variance + 2 * self._own_covariance

    def _change(self, images):
        """Return what the disturbance ε b of the observation changes in the pixels of an image.

        `images` are made from the observations + ε b and - ε b. If there is the first only, the
        observation is subtracted: neither it nor the undisturbed image has to do with b.
        """
        if len(images) > 1:
            return (images[0] - images[1]) / 2
        return images[0] - self.problem.observation

    def _covariance(self, change):
        """Return the mean covariance of an image's pixels with their noise."""
        return (self.b * self._variance * change).sum() / (self.epsilon * self.pixels)


def _next(work):
    """Do the next part of the work; return the image if it was the last one."""
    try:
        return next(work)
    except StopIteration as done:
        return done.value


def _in_one_part(denoise, noisy, levels):
    """Denoise in a generator that yields nothing, by a function that knows no parts."""
    yield
    image = denoise(noisy, levels)
    if not (torch.is_tensor(image) and image.shape == noisy.shape and image.isfinite().all()):
        wanted = f"a finite image of shape {tuple(noisy.shape)}, like the noisy one"
        raise InputError(f"the pilot must return {wanted}")
    return image.to(noisy)


def _bm3d(noisy, levels):
    from .. import baselines, problems  # imported here: they take long to load

    level = min(1.0, float(torch.as_tensor(levels).square().mean().sqrt()))
    return baselines.bm3d(
        problems.Problem(noisy.clamp(0, 1), sigma=level).varied(observation=noisy)
    )


PILOTS = {"nl-ridge": nl_ridge.in_parts, "bm3d": _bm3d}
"""The denoisers that can be named: a function of a noisy image and its noise level, or a generator
of parts of its work."""

WRITTEN = {"nl-ridge": "NL-Ridge", "bm3d": "BM3D"}
"""The names of the denoisers as they are written in a text."""

TWICE = 2
"""Factor of the level that the pilot is told if neighbouring pixels have similar noise: what they
share looks like structure. On three bundled images through a simulated camera at ISO 1600 and 6400,
2 gave the best mean of 1, 1.4, 2 and 2.8: for NL-Ridge, 0.3 to 2.2 dB above that of 1."""

WEAK = 1 / 255
"""Level below which similar noise in neighbouring pixels cannot be told from texture."""

MORE = 8
"""Parts of the pilot's work in an iteration whose fit does not count."""

ENDLESS = 1e6
"""Patience of a rule that stops no more."""

EVEN = 0.25
"""Levels that differ from their mean by less than this fraction are taken for one level."""


def _measured(observation, level):
    """Return what the pilot is told of the noise, and whether its image alone is the result.

    The level of the noise is a number, or a map if it depends on the brightness. Raise InputError
    if there is hardly any noise.
    """
    middle = noise.excerpt(observation)  # decides, as it does for `recipes.best`
    estimate = noise.rough(middle)
    alone = noise.correlation(middle, estimate) > noise.INDEPENDENT
    if noise.level(middle, estimate) <= (WEAK if alone else 0):
        raise InputError("the noise is too weak to be measured: give sigma, or use the recipe lab")
    if middle.shape != observation.shape:
        estimate = noise.rough(observation)
    levels = noise.level_map(observation, estimate)
    if alone:
        return TWICE * levels, True
    noisy = levels[levels > 0]
    even = (noisy / level - 1).abs().quantile(0.9) < EVEN
    return level if even else levels, False
