"""The stopping rules that watch something: hidden pixels, estimates, variances, changes."""

import math

import torch

from ..energy import misfit
from ..errors import InputError, whole
from ..noise import clipped_variance
from ..operators import Hidden, Identity, Mask
from ..randomness import generator
from .rule import EarlyStopping, Rule, real, scalar, wide

__all__ = [
    "Discrepancy",
    "ExponentialVariance",
    "HoldOut",
    "Oracle",
    "Plateau",
    "Sure",
    "WindowedVariance",
]


class HoldOut(EarlyStopping):
    """Hide a few pixels from the fit, and choose the iteration that predicts them best.

    What a network learns about the image helps it to predict pixels that it has never seen; what
    it learns about the noise does not. Each of the recipe's networks is denied other pixels, so
    that together they have seen all of them. The only assumption is that the noise has mean zero
    and is independent from pixel to pixel.

    The hidden pixels have a price. In 120 fits at 128x128 pixels, the chosen image was on average
    0.12 dB below the best one of the same fit, and 0.26 dB below the best one of a fit to which all
    pixels were shown: 0.33 dB for weak noise (10/255), since the error itself is small there, and
    0.24 dB for strong noise (50/255). At worst these losses were 1.14 and 1.25 dB.

    Where the noise is not independent, as in a photograph, a hidden pixel is predicted best by a
    network that has fitted the noise of its neighbours. There, whole blocks of pixels are hidden,
    and only the pixels in their middle are judged, whose noise is unlike that of all pixels that
    were seen.

    Parameters
    ----------
    fraction : float, optional
        Fraction of the pixels that is hidden from each network, in (0, 0.2].
    seed : int, optional
        Decides which pixels are hidden.
    patience : float, optional
        Stop when the lowest score is this fraction of its own iteration ago.
    start : int, optional
        Choose no image before this iteration.
    block : int, optional
        Width of the hidden blocks in pixels: 1 for independent noise; 4 for a camera's, which
        reaches two or three pixels far (see `noise.autocovariance`).

    Raises
    ------
    InputError
        When prepared for JPEG's errors, which are alike in neighbouring pixels.

    Notes
    -----
    Memory: the values of the hidden pixels.
    Ding et al., A validation approach to over-parameterized matrix and image recovery (2022),
    arXiv:2209.10675, hold out pixels of one network.

    Examples
    --------
    >>> from diplearn import denoising, images, lab
    >>> rule = HoldOut(fraction=0.1)
    >>> rule.prepare(denoising(images.load("camera", size=64)), lab(members=2))
    >>> len(rule.problems)
    2
    """

    name = "hold-out"

    def __init__(self, fraction=0.05, seed=0, patience=0.3, start=8, block=1):
        super().__init__(patience, start)
        self.fraction, self.seed = real("fraction", fraction, 0, 0.2), whole(seed, "seed", 0)
        self.block = whole(block, "block", 1)

    def prepare(self, problem, recipe):
        """Draw the hidden pixels, and make the problems in which they are missing."""
        if problem.task == "jpeg":
            raise InputError(
                "the hold-out rule needs noise that differs from pixel to pixel, and JPEG's errors "
                "do not; use a fixed count of iterations"
            )
        observation = problem.observation
        draws = self._draws(*observation.shape[1:])
        known = torch.ones_like(observation, dtype=torch.bool)
        if isinstance(problem.operator, Mask):
            known &= problem.operator.known.to(known.device) > 0
        self.hidden, self.problems, places = [], [], []
        for number in range(recipe.members):
            low = number * self.fraction % 1
            drawn = ((draws >= low) & (draws < low + self.fraction)).to(known.device)
            judged = (drawn & known & self._middle(*draws.shape[1:]).to(known.device)).flatten()
            if not judged.any():
                raise InputError("too few pixels are known to hide some of them")
            self.hidden.append(drawn & known)
            places.append(judged.nonzero()[:, 0])
            self.problems.append(
                problem.varied(
                    operator=Hidden(problem.operator, ~drawn), observation=observation * ~drawn
                )
            )
        self.held_out = [(at, observation.flatten()[at]) for at in places]  # places, true values
        self.problem, self.data_term = problem, recipe.data_term

    def _draws(self, height, width):
        """Draw a number for each pixel, (1, H, W), which is the same for all pixels of a block."""
        blocks = (1, -(-height // self.block), -(-width // self.block))
        draws = torch.rand(blocks, generator=generator(self.seed, "hold-out"))
        draws = draws.repeat_interleave(self.block, 1).repeat_interleave(self.block, 2)
        return draws[:, :height, :width]

    def _middle(self, height, width):
        """Return which pixels lie in the middle of a block: one, or two by two; (H, W)."""
        margin = (self.block - 1) // 2
        rows, columns = (
            (torch.arange(side) % self.block - (self.block - 1) / 2).abs()
            <= (self.block - 1) / 2 - margin
            for side in (height, width)
        )
        return rows[:, None] & columns

    def initial(self, image):
        """Add the averaged prediction of each network's hidden pixels to the state."""
        predictions = {
            f"predicted {number}": torch.zeros(len(places), device=image.device)
            for number, (places, _) in enumerate(self.held_out)
        }
        return super().initial(image) | predictions

    def move(self, device):
        """Move the hidden pixels to the device of the fit."""
        self.problem = self.problem.to(device)
        self.held_out = [tuple(each.to(device) for each in pair) for pair in self.held_out]

    def score(self, step):
        """Compare predicted with hidden pixels, by the data term of the fit.

        Squares would let a few dead pixels drown what all the others say.
        """
        scores, first = [], self.state["steps"] == 1
        for number, (output, (places, observed)) in enumerate(zip(step.outputs, self.held_out)):
            predicted = self.problem.operator(output).flatten()[places]
            if not first:
                predicted = predicted.lerp(self.state[f"predicted {number}"], step.weight)
            self.state[f"predicted {number}"] = predicted
            scores.append(misfit(predicted, observed, self.data_term))
        return torch.stack(scores).mean()


class Sure(EarlyStopping):
    """Choose by SURE, Stein's unbiased estimate of the error that needs no truth.

    For Gaussian noise of a known level σ, the expected mean squared error of an estimate x is that
    of ‖x − x0‖²/N − σ² + 2 σ² div/N. The divergence div says how strongly the estimate follows its
    observation. Two of the recipe's networks measure it during the fit: one is fitted to x0 + ε b,
    the other to x0 − ε b, with fixed noise b and a small ε. The difference of their images along b,
    over 2 ε, is div; the mean of their images is not disturbed. A single network is fitted to
    x0 + ε b, and its image is compared with that observation.

    Parameters
    ----------
    sigma : float, optional
        Noise level; by default the problem's, or an estimate from the observation.
    probe : float, optional
        ε, as a fraction of σ.
    seed : int, optional
        Seed of b.
    patience : float, optional
        Stop when the lowest score is this fraction of its own iteration ago.
    start : int, optional
        Choose no image before this iteration.

    Raises
    ------
    InputError
        When prepared for a problem without noise, with an operator that is neither the identity
        nor a mask, or for a recipe with the data term "poisson".

    Notes
    -----
    Where the noise is clipped at black and white, the estimate is off by a constant. Memory: one
    image.
    Stein (1981), doi:10.1214/aos/1176345632; Monte-Carlo divergence: Ramani, Blu & Unser (2008),
    doi:10.1109/TIP.2008.2001404; for the deep image prior: Jo, Chun & Choi (ICCV 2021),
    arXiv:2108.12841, who differentiate through a noisy input instead.

    Examples
    --------
    >>> from diplearn import denoising, images, lab
    >>> rule = Sure()
    >>> rule.prepare(denoising(images.load("camera", size=64), sigma=0.1), lab())
    >>> rule.level
    0.1
    """

    name = "sure"
    EVERY = 4  # iterations between two estimates: the fit moves slowly, and an estimate costs time

    def __init__(self, sigma=None, probe=0.1, seed=0, patience=0.3, start=8):
        super().__init__(patience, start)
        self.sigma = None if sigma is None else real("sigma", sigma, 0, 1)
        self.probe, self.seed = real("probe", probe, 0, 10), whole(seed, "seed", 0)

    def prepare(self, problem, recipe):
        """Check that the rule applies, find the noise level, and disturb the observations."""
        _refuse_photons(recipe, "SURE")
        if problem.task == "jpeg" or not isinstance(problem.operator, Identity | Mask):
            raise InputError(
                "SURE needs independent Gaussian noise on every known pixel, and this is "
                f"{problem.task.replace('_', '-')}; use hold-out or a fixed count of iterations"
            )
        self.level = _noise_level(self.sigma, problem, "SURE")
        self.noisy = _noisy_channels(problem)
        b = torch.randn(problem.observation.shape, generator=generator(self.seed, "probe"))
        b = problem.operator(b.to(problem.observation))
        self.b = b if self.noisy is None else b * _indicator(self.noisy, b)
        self.epsilon, self.pixels = self.probe * self.level, int(self.b.count_nonzero())
        # Not clipped to [0, 1]: the two observations must differ by 2 ε b everywhere.
        self.problems = [
            problem.varied(observation=problem.observation + sign * self.epsilon * self.b)
            for sign in (1, -1)[: min(2, recipe.members)]
        ]
        self.problem = problem

    def initial(self, image):
        """Add the divergence to the state."""
        return super().initial(image) | {"divergence": scalar(0.0, image.device)}

    def move(self, device):
        """Move the problems and b to the device of the fit."""
        self.problem, self.b = self.problem.to(device), self.b.to(device)
        self.problems = [each.to(device) for each in self.problems]

    def score(self, step):
        """Estimate the mean squared error of the averaged image."""
        problem, pixels = self.problem, self.pixels
        if len(step.outputs) > 1:
            apart = (step.outputs[0] - step.outputs[1]) / 2
            own = 0.0
        else:
            apart = step.outputs[0] - self.problems[0].observation
            own = 1.0
        along = scalar(self.b.flatten() @ apart.flatten(), apart.device)
        divergence = along / (self.epsilon * pixels) + own
        divergence = divergence + (self.state["divergence"] - divergence) * step.weight
        self.state["divergence"] = divergence  # the average's, since all of this is linear
        if step.iteration % self.EVERY and step.iteration > 10 * self.EVERY:
            return math.inf
        residual = only(problem.operator(step.average) - problem.observation, self.noisy)
        variance = clipped_variance(only(step.average, self.noisy), self.level)
        return residual.square().sum() / pixels - variance + 2 * variance * divergence.float()


class Discrepancy(Rule):
    """Stop when the image differs from the observation by as much as the noise does.

    This is Morozov's principle: an image that explains the observation better than the truth would
    must be explaining noise. The rule needs the noise level, and estimates it where the problem
    states none.

    Parameters
    ----------
    sigma : float, optional
        Noise level; by default the problem's, or an estimate from the observation.
    factor : float, optional
        Stop at `factor` times the noise's mean square: a little under 1, because even the best
        image of a fit explains a little of the noise.
    start : int, optional
        Never stop before this many iterations.

    Raises
    ------
    InputError
        When prepared for a problem without noise, with an operator that is neither the identity
        nor a mask, or for a recipe with the data term "poisson".

    Notes
    -----
    The observation was clipped to [0, 1], which removes a part of the noise where the image is
    nearly black or white. `clipped_variance` computes the noise that is left, with the present
    image in the place of the truth.
    Morozov, Methods for Solving Incorrectly Posed Problems (1984), doi:10.1007/978-1-4612-5280-1.

    Examples
    --------
    >>> from diplearn import denoising, images, lab
    >>> rule = Discrepancy(factor=1)
    >>> problem = denoising(images.load("camera", size=64), sigma=0.1)
    >>> rule.prepare(problem, lab())
    >>> rule.level
    0.1
    """

    name = "discrepancy"

    def __init__(self, sigma=None, factor=0.93, start=20):
        super().__init__()
        self.sigma = None if sigma is None else real("sigma", sigma, 0, 1)
        self.factor, self.start = real("factor", factor, 0, 1e6), whole(start, "start", 0)

    def prepare(self, problem, recipe):
        """Check that the rule applies, and find the noise level."""
        _refuse_photons(recipe, "the discrepancy rule")
        if problem.task == "jpeg" or not isinstance(problem.operator, Identity | Mask):
            raise InputError(
                "the discrepancy rule needs independent noise on every known pixel, and this is "
                f"{problem.task.replace('_', '-')}; use a fixed count of iterations"
            )
        self.level = _noise_level(self.sigma, problem, "the discrepancy rule")
        self.problem, self.noisy = problem, _noisy_channels(problem)

    def move(self, device):
        """Move the problem to the device of the fit."""
        self.problem = self.problem.to(device)

    def look(self, step):
        """Stop when the residual is as small as the noise."""
        self.choose(step)
        if step.iteration < self.start:
            return
        problem, noisy = self.problem, self.noisy
        residual = only(problem.operator(step.average) - problem.observation, noisy)
        known = only(problem.operator(torch.ones_like(step.average)), noisy).mean()
        allowed = self.factor * clipped_variance(only(step.average, noisy), self.level)
        self.stop_when(residual.square().mean() <= allowed * known)


class WindowedVariance(EarlyStopping):
    """ES-WMV: choose the average at the end of the window in which the outputs vary least.

    A fit slows down as it comes near the image, and speeds up again as it turns to the noise. The
    variance over the last outputs therefore has a valley in between. To be safe from a valley
    at the very start, nothing is chosen during the first two windows.

    Parameters
    ----------
    window : float, optional
        Length of the window, as a fraction of the recipe's iterations.
    patience : float, optional
        Stop when the lowest score is this fraction of its own iteration ago.
    start : int, optional
        Choose no image before this iteration, and none during the first two windows.

    Notes
    -----
    Memory: `BLOCKS` sums of images in float64, instead of a stack of images.
    Wang, Li et al., Early stopping for deep image prior (TMLR 2023), arXiv:2112.06074.

    Examples
    --------
    >>> from diplearn import denoising, images, lab
    >>> rule = WindowedVariance(window=0.1)
    >>> rule.prepare(denoising(images.load("camera", size=64)), lab(iterations=500))
    >>> rule.block * rule.BLOCKS
    50
    """

    name = "es-wmv"
    BLOCKS = 5

    def __init__(self, window=0.05, patience=0.3, start=30):
        super().__init__(patience, start)
        self.window = real("window", window, 0, 1)

    def prepare(self, problem, recipe):
        """Scale the window to the length of the fit."""
        self.block = self._scale = max(2, round(self.window * recipe.iterations / self.BLOCKS))
        self.first = max(self.start, 2 * self.block * self.BLOCKS)

    def initial(self, image):
        """Add sums of outputs and of their squares to the state, one of each for every block."""
        empty = {}
        for number in range(self.BLOCKS):
            empty[f"sum {number}"] = image.new_zeros(image.shape, dtype=wide(image))
            empty[f"squares {number}"] = scalar(0.0, image.device)
        return super().initial(image) | empty

    def score(self, step):
        """Return the variance over the outputs of the window, averaged over the pixels."""
        number, place = divmod(self.state["steps"] - 1, self.block)
        here = number % self.BLOCKS
        total, squares = f"sum {here}", f"squares {here}"
        output = step.output.to(wide(step.output))
        if place == 0:
            self.state[total] = torch.zeros_like(output)
            self.state[squares] = scalar(0.0, output.device)
        self.state[total] = self.state[total] + output
        self.state[squares] = self.state[squares] + output.square().mean()
        if place < self.block - 1 or number < self.BLOCKS - 1:
            return self.state["score"]  # the window is not complete
        count = self.block * self.BLOCKS
        mean = sum(self.state[f"sum {i}"] for i in range(self.BLOCKS)) / count
        squares = sum(self.state[f"squares {i}"] for i in range(self.BLOCKS)) / count
        return squares - mean.square().mean()


class ExponentialVariance(EarlyStopping):
    """ES-EMV: like `WindowedVariance`, with weights that decay into the past.

    Parameters
    ----------
    window : float, optional
        Length over which the weights fall to 1/e, as a fraction of the recipe's iterations.
    patience : float, optional
        Stop when the lowest score is this fraction of its own iteration ago.
    start : int, optional
        Choose no image before this iteration, and none during the first three windows.

    Notes
    -----
    Memory: one image in float64. The source is that of `WindowedVariance`, in its section on the
    exponential form.

    Examples
    --------
    >>> from diplearn import denoising, images, lab
    >>> rule = ExponentialVariance(window=0.1)
    >>> rule.prepare(denoising(images.load("camera", size=64)), lab(iterations=500))
    >>> rule.rate
    0.02
    """

    name = "es-emv"

    def __init__(self, window=0.025, patience=0.3, start=30):
        super().__init__(patience, start)
        self.window = real("window", window, 0, 1)

    def prepare(self, problem, recipe):
        """Scale the window to the length of the fit."""
        self.rate = self._scale = 1 / max(2.0, self.window * recipe.iterations)
        self.first = max(self.start, math.ceil(3 / self.rate))

    def initial(self, image):
        """Add the weighted mean and variance to the state."""
        mean = image.new_zeros(image.shape, dtype=wide(image))
        return super().initial(image) | {"mean": mean, "variance": scalar(0.0, image.device)}

    def score(self, step):
        """Return the weighted variance of the outputs, averaged over the pixels."""
        output = step.output.to(wide(step.output))
        mean = output if self.state["steps"] == 1 else self.state["mean"]
        apart = output - mean
        self.state["mean"] = mean + self.rate * apart
        spread = apart.square().mean()
        self.state["variance"] = (1 - self.rate) * (self.state["variance"] + self.rate * spread)
        return self.state["variance"]


class Plateau(Rule):
    """Stop when the image no longer changes: for problems without noise, which nothing can overfit.

    Parameters
    ----------
    tolerance : float, optional
        Root mean square of the change over the last fifth of the fit, in the units of [0, 1].
    start : int, optional
        Never stop before this many iterations.

    Notes
    -----
    Memory: one image.

    Examples
    --------
    >>> from diplearn import fit, images, super_resolution
    >>> problem = super_resolution(images.load("camera", size=64))
    >>> fit(problem, stop=Plateau(tolerance=0.02), progress=False).stopped_by
    'plateau'
    """

    name = "plateau"

    def __init__(self, tolerance=0.4 / 255, start=50):
        super().__init__()
        self.tolerance, self.start = real("tolerance", tolerance, 0, 1), whole(start, "start", 0)

    def initial(self, image):
        """Add an earlier image and its iteration to the state."""
        return super().initial(image) | {"before": torch.zeros_like(image), "before_at": 0}

    def look(self, step):
        """Stop when the image has hardly changed since the earlier one."""
        self.choose(step)
        if step.iteration < 1.25 * self.state["before_at"]:
            return
        change = (step.average - self.state["before"]).square().mean().sqrt()
        self.state |= {"before": step.average, "before_at": step.iteration}
        if step.iteration >= self.start:
            self.stop_when(change < self.tolerance)


class Oracle(EarlyStopping):
    """Choose the best image by looking at the truth. Other rules are measured against this one.

    Parameters
    ----------
    patience : float, optional
        Stop when the lowest error is this fraction of its own iteration ago.
    start : int, optional
        Choose no image before this iteration.

    Raises
    ------
    InputError
        When prepared for a problem without truth.

    Examples
    --------
    >>> from diplearn import denoising, fit, images
    >>> problem = denoising(images.load("camera", size=64))
    >>> run = fit(problem, stop=Oracle(), iterations=20, progress=False)
    >>> run.chosen_at == run.oracle_at
    True
    """

    name = "oracle"

    def __init__(self, patience=1.0, start=1):
        super().__init__(patience, start)

    def prepare(self, problem, recipe):
        """Take the truth."""
        self.truth = problem.need_truth("the oracle")

    def move(self, device):
        """Move the truth to the device of the fit."""
        self.truth = self.truth.to(device)

    def score(self, step):
        """Return the mean squared error, which is lowest where the PSNR is highest."""
        kind = wide(step.average)
        return (step.average.clamp(0, 1).to(kind) - self.truth.to(kind)).square().mean()


def _refuse_photons(recipe, name):
    """Raise InputError if the recipe's data term says that the noise depends on the brightness."""
    if recipe is not None and recipe.data_term == "poisson":
        raise InputError(
            f'{name} assumes noise of one level, and the data term "poisson" noise that depends on '
            "the brightness; use hold-out or a fixed count of iterations"
        )


def _noisy_channels(problem):
    """Return the channels that contain noise, or None for all: a black channel contains none."""
    low, high = (
        bound(dim=(1, 2)) for bound in (problem.observation.amin, problem.observation.amax)
    )
    noisy = (high > low).nonzero()[:, 0].tolist()
    return None if len(noisy) in (0, len(low)) else noisy


def only(image, channels):
    """Return some channels of an image; all for None."""
    return image if channels is None else torch.stack([image[c] for c in channels])


def _indicator(channels, like):
    indicator = torch.zeros(len(like), 1, 1, device=like.device)
    indicator[channels] = 1
    return indicator


def _noise_level(sigma, problem, name):
    sigma = problem.noise_level() if sigma is None else sigma
    if sigma < 1 / 255:
        raise InputError(
            f"{name} needs noise, and this problem has none; use a fixed count of iterations"
        )
    return sigma
