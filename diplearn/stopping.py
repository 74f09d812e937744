"""When to stop, without seeing the truth. A rule is fed one iterate at a time.

rule = HoldOut()
rule.prepare(problem, recipe)
for step in dip.iterate(problem, recipe, shown=rule.shown):
    if rule(step):
        break
rule.chosen, rule.chosen_at
"""

import copy
import math
import numbers

import torch

from . import hardware
from .energy import misfit
from .errors import InputError, one_line, whole
from .operators import Hidden, Identity, Mask
from .randomness import generator


class Rule:
    """What every rule offers; the ones below differ in what they watch.

    Attributes
    ----------
    name : str
        As `fit(stop=...)` and the command line take it.
    shown : list of Problem or None
        What each of the recipe's networks must be fitted to, where the rule hides something from
        them; set by `prepare`.
    chosen : torch.Tensor or None
        The image that the rule would return now: an average of the past. None before the first
        step.
    chosen_at : int
        Its iteration.
    now : dict
        Tensors and whole numbers that change from step to step: what a saved run keeps of the rule.

    Notes
    -----
    Scores and choices stay on the step's device. A GPU works ahead of Python, so that whether to
    stop is read there at every `hardware.READ_EVERY`-th iteration only; the choice is what it would
    have been without the delay, because it is frozen once the rule fires.
    """

    name = ""
    shown = None
    scale = None  # what `prepare` took from the fit's length

    def __init__(self):
        self.now = {}

    @property
    def chosen(self):
        """The image that the rule would return."""
        return self.now.get("chosen")

    @property
    def chosen_at(self):
        """Iteration of `chosen`."""
        return int(self.now.get("chosen_at", 0))

    def prepare(self, problem, recipe):
        """Check that the rule applies, before any work; raises InputError where it does not."""

    def __call__(self, step):
        """Take note of one step, and say whether to stop."""
        if not self.now:
            self.now = self.blank(step.average)
        self.move(step.average.device)
        self.now["steps"] += 1
        self.look(step)
        return hardware.due(step.average.device, step.iteration) and bool(self.now["done"])

    def look(self, step):
        """Take note of one step: `choose` something, and say when it is `done`."""
        raise NotImplementedError(f"{type(self).__name__} must define look(step) or __call__(step)")

    def choose(self, step, where=True):
        """Let this step's average be the choice, unless the rule has spoken."""
        where = ~self.now["done"] & where
        for name, value in (("chosen", step.average), ("chosen_at", step.iteration)):
            self.now[name] = torch.where(where, value, self.now[name])

    def done(self, when):
        """Say that the fit may stop, from the first time on that `when` holds."""
        self.now["done"] = self.now["done"] | when

    def blank(self, image):
        """Return what `now` holds before the first step of a fit of this image's shape."""
        at, no = torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.bool)
        where = image.device
        return {
            "steps": 0, "chosen": torch.zeros_like(image), "chosen_at": at.to(where),
            "done": no.to(where),
        }  # fmt: skip

    def move(self, device):
        """Bring what the rule looks at to the device of the fit."""

    def remember(self):
        """Return what `now` holds, to come back to."""
        return dict(self.now)

    def recall(self, now, image):
        """Come back to what `remember` returned; raises InputError where it is another rule's."""
        if now:
            wanted = {name: _kind(value) for name, value in self.blank(image).items()}
            if {name: _kind(value) for name, value in now.items()} != wanted:
                raise InputError(f"what the run holds of the rule {self.name!r} does not fit it")
        self.now = dict(now)

    def settings(self):
        """Return what builds the rule again."""
        return {}


def _kind(value):
    return (value.dtype, value.shape) if torch.is_tensor(value) else type(value)


class Own(Rule):
    """A rule of the user's own: a function of a step, or an object with more of a rule's members.

    Parameters
    ----------
    rule : callable
        Called with each `Step`; what it returns says whether to stop. It may have a `name`,
        ``prepare(problem, recipe)``, `shown`, and `chosen` with `chosen_at`.
    """

    def __init__(self, rule):
        super().__init__()
        self.rule = rule
        kind = type(rule).__name__
        self.name = str(getattr(rule, "name", None) or getattr(rule, "__name__", kind))
        self._average, self._at = None, 0

    @property
    def shown(self):
        """What the user's rule shows to the networks."""
        return getattr(self.rule, "shown", None)

    @property
    def chosen(self):
        """What the user's rule chose; the last average, if it only says when to stop."""
        chosen = getattr(self.rule, "chosen", None)
        return self._average if chosen is None else chosen

    @property
    def chosen_at(self):
        """Iteration of `chosen`."""
        own = getattr(self.rule, "chosen", None) is not None
        return int(getattr(self.rule, "chosen_at", self._at)) if own else self._at

    def prepare(self, problem, recipe):
        """Let the user's rule prepare itself, if it wants to."""
        getattr(self.rule, "prepare", lambda *_: None)(problem, recipe)

    def __call__(self, step):
        """Ask the user's rule."""
        self._average, self._at = step.average, step.iteration
        return bool(self.rule(step))

    def remember(self):
        """Return the last average; what the user's rule holds is not known."""
        return {"average": self._average, "at": self._at}

    def recall(self, now, image):
        """Come back to an earlier average; the user's rule stays as it is."""
        if now:
            self._average, self._at = now["average"], now["at"]


class Count(Rule):
    """Stop after a number of iterations.

    Parameters
    ----------
    iterations : int or None, optional
        How many; None leaves it to the recipe.

    Raises
    ------
    InputError
        The number is not positive.

    Examples
    --------
    >>> Count(0)
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: 0 iterations make no fit; ask for at least 1
    """

    name = "count"

    def __init__(self, iterations=None):
        super().__init__()
        if isinstance(iterations, numbers.Real) and iterations < 1:
            raise InputError(f"{iterations} iterations make no fit; ask for at least 1")
        self._given = iterations if iterations is None else whole(iterations, "iterations", 1)
        self.iterations = self._given

    def prepare(self, problem, recipe):
        """Take the recipe's number where none was given."""
        self.iterations = recipe.iterations if self._given is None else self._given

    def __call__(self, step):
        """Say whether to stop at this step: nothing has to be read for that."""
        super().__call__(step)
        return step.iteration >= self.iterations

    def look(self, step):
        """Choose the present average."""
        self.choose(step)

    def settings(self):
        """Return what builds the rule again."""
        return {"iterations": self._given}


class Valley(Rule):
    """Keep the image at which a score was lowest; stop once it has not fallen for a while.

    A subclass gives `score(step)`.

    Parameters
    ----------
    patience : float, optional
        Stop when the lowest score is this many times its own iteration ago: 0.3 at iteration 200
        is 60 iterations.
    start : int, optional
        Choose no iterate before this one.
    """

    LEAST = 30  # iterations to wait at least: scores are noisy

    def __init__(self, patience=0.3, start=30):
        super().__init__()
        self.patience = _number("patience", patience, 0, 1e6)
        self.start = self._given_start = whole(start, "start", 0)

    def blank(self, image):
        """Return what `now` holds before the first step."""
        nothing = _scalar(math.inf, image.device)
        return super().blank(image) | {"lowest": nothing, "score": nothing}

    def score(self, step):
        """What should be low, a number or a scalar; infinite while nothing can be said yet."""
        raise NotImplementedError

    def look(self, step):
        """Choose the step with the lowest score; be done when it is long ago."""
        score = self.now["score"] = _scalar(self.score(step), step.average.device)
        if self.now["steps"] < self.start:
            self.choose(step)
            return
        lowest = self.now["lowest"]
        nothing_yet = lowest.isinf() & score.isinf()
        lower = score < lowest
        self.choose(step, nothing_yet | lower)
        self.now["lowest"] = torch.where(lower, score, lowest)
        chosen_at = self.now["chosen_at"].to(score.dtype)
        wait = (self.patience * chosen_at).clamp(min=max(self.LEAST, self.start))
        self.done(~nothing_yet & (step.iteration - chosen_at >= wait))

    def settings(self):
        """Return what builds the rule again."""
        return {"patience": self.patience, "start": self._given_start}


class HoldOut(Valley):
    """Hide a few pixels from the fit, and stop when they are predicted best.

    What is learned about the image helps with pixels that were never seen; what is learned about
    the noise does not. Each of the recipe's networks is denied pixels of its own, so that their
    mean has seen them all. The only assumption is that the noise is independent from pixel to
    pixel. Memory: the hidden pixels.

    Parameters
    ----------
    fraction : float, optional
        Of the pixels, hidden from each network.
    seed : int, optional
        Which ones.
    patience, start
        See `Valley`.

    Raises
    ------
    InputError
        When prepared for JPEG's errors, which are alike in neighbouring pixels.

    Notes
    -----
    Ding et al., A validation approach to over-parameterized matrix and image recovery (2022),
    arXiv:2209.10675, hold out pixels of one network.
    """

    name = "hold-out"

    def __init__(self, fraction=0.05, seed=0, patience=0.3, start=8):
        super().__init__(patience, start)
        self.fraction, self.seed = _number("fraction", fraction, 0, 0.2), whole(seed, "seed", 0)

    def prepare(self, problem, recipe):
        """Choose the pixels, and build the problems from which they are missing."""
        if problem.task == "jpeg":
            raise InputError(
                "the hold-out rule needs noise that differs from pixel to pixel, and JPEG's errors "
                "do not; use a fixed count of iterations"
            )
        observation = problem.observation
        draws = torch.rand(1, *observation.shape[1:], generator=generator(self.seed, "hold-out"))
        known = torch.ones_like(observation, dtype=torch.bool)
        if isinstance(problem.operator, Mask):
            known &= problem.operator.known.to(known.device) > 0
        self.hidden, self.shown = [], []
        for number in range(recipe.members):
            low = number * self.fraction % 1
            drawn = ((draws >= low) & (draws < low + self.fraction)).to(known.device)
            hidden = drawn & known
            if not hidden.any():
                raise InputError("too few pixels are known to hide some of them")
            self.hidden.append(hidden)
            self.shown.append(
                problem.varied(
                    operator=Hidden(problem.operator, ~drawn), observation=observation * ~drawn
                )
            )
        places = [hidden.flatten().nonzero()[:, 0] for hidden in self.hidden]
        self.looks = [(at, observation.flatten()[at]) for at in places]
        self.problem, self.kind = problem, recipe.data_term

    def blank(self, image):
        """Return what `now` holds before the first step: no prediction of a hidden pixel."""
        nothing = {
            f"predicted {number}": torch.zeros(len(places), device=image.device)
            for number, (places, _) in enumerate(self.looks)
        }
        return super().blank(image) | nothing

    def move(self, device):
        """Bring the hidden pixels to the device of the fit."""
        self.problem = self.problem.to(device)
        self.looks = [tuple(each.to(device) for each in look) for look in self.looks]

    def score(self, step):
        """What is left unexplained in the hidden pixels, by the measure of the fit's data term.

        Squares would let a few dead pixels drown what the others say.
        """
        scores, first = [], self.now["steps"] == 1
        for number, (output, (places, observed)) in enumerate(zip(step.outputs, self.looks)):
            predicted = self.problem.operator(output).flatten()[places]
            if not first:
                predicted = predicted.lerp(self.now[f"predicted {number}"], step.weight)
            self.now[f"predicted {number}"] = predicted
            scores.append(misfit(predicted - observed, self.kind))
        return torch.stack(scores).mean()

    def settings(self):
        """Return what builds the rule again."""
        return {"fraction": self.fraction, "seed": self.seed} | super().settings()


class Sure(Valley):
    """Stein's unbiased estimate of the error: residual, and how far the fit follows the noise.

    For Gaussian noise of a known level, ‖x − x0‖²/N − σ² + 2 σ² div/N is the mean squared error in
    expectation (where noise is clipped at black and white, up to a constant). The divergence div
    says by how much the image moves with its observation, and two of the recipe's networks
    measure it on the way: one is fitted to x0 + ε b and the other to x0 − ε b, with fixed noise b
    and a small ε. Half the difference of their images, along b and over ε, is div; what they
    have in common is not disturbed. A single network is fitted to x0 + ε b, and compared with
    that. Memory: one image.

    Parameters
    ----------
    sigma : float, optional
        Noise level; by default the problem's, or an estimate from the observation.
    probe : float, optional
        ε, as a fraction of σ.
    seed : int, optional
        Of b.
    patience, start
        See `Valley`.

    Raises
    ------
    InputError
        When prepared for a problem without noise, or with another operator than the identity or a
        mask.

    Notes
    -----
    Stein (1981), doi:10.1214/aos/1176345632; Monte-Carlo divergence: Ramani, Blu & Unser (2008),
    doi:10.1109/TIP.2008.2001404; for the deep image prior: Jo, Chun & Choi (ICCV 2021),
    arXiv:2108.12841, who differentiate through a noisy input instead.
    """

    name = "sure"
    EVERY = 4  # iterations from one estimate to the next: the fit moves slowly, and this has a cost

    def __init__(self, sigma=None, probe=0.1, seed=0, patience=0.3, start=8):
        super().__init__(patience, start)
        self.sigma = self._given = None if sigma is None else _number("sigma", sigma, 0, 1)
        self.probe, self.seed = _number("probe", probe, 0, 10), whole(seed, "seed", 0)

    def blank(self, image):
        """Return what `now` holds before the first step: no divergence."""
        return super().blank(image) | {"divergence": _scalar(0.0, image.device)}

    def move(self, device):
        """Bring problem and probe to the device of the fit."""
        self.problem, self.b = self.problem.to(device), self.b.to(device)
        self.shown = [each.to(device) for each in self.shown]

    def prepare(self, problem, recipe):
        """Check that the rule applies, find the noise level, and build what the networks see."""
        if problem.task == "jpeg" or not isinstance(problem.operator, Identity | Mask):
            raise InputError(
                "SURE needs independent Gaussian noise on every known pixel, and this is "
                f"{problem.task.replace('_', '-')}; use hold-out or a fixed count of iterations"
            )
        self.sigma = _level(self._given, problem, "SURE")
        self.telling = _telling(problem)
        b = torch.randn(problem.observation.shape, generator=generator(self.seed, "probe"))
        b = problem.operator(b.to(problem.observation))
        self.b = b if self.telling is None else b * _only(self.telling, b)
        self.epsilon, self.pixels = self.probe * self.sigma, int(self.b.count_nonzero())
        # Not clipped to [0, 1]: what the two networks see must differ by 2 ε b everywhere.
        self.shown = [
            problem.varied(observation=problem.observation + sign * self.epsilon * self.b)
            for sign in (1, -1)[: min(2, recipe.members)]
        ]
        self.problem = problem

    def score(self, step):
        """Estimate the mean squared error of the averaged image."""
        problem, pixels = self.problem, self.pixels
        if len(step.outputs) > 1:
            apart = (step.outputs[0] - step.outputs[1]) / 2
            own = 0.0
        else:
            apart = step.outputs[0] - self.shown[0].observation
            own = 1.0
        along = _scalar(self.b.flatten() @ apart.flatten(), apart.device)
        divergence = along / (self.epsilon * pixels) + own
        divergence = divergence + (self.now["divergence"] - divergence) * step.weight
        self.now["divergence"] = divergence  # the average's, since all of this is linear
        if step.iteration % self.EVERY and step.iteration > 10 * self.EVERY:
            return math.inf
        residual = _of(problem.operator(step.average) - problem.observation, self.telling)
        variance = clipped_variance(_of(step.average, self.telling), self.sigma)
        return residual.square().sum() / pixels - variance + 2 * variance * divergence.float()

    def settings(self):
        """Return what builds the rule again."""
        return {"sigma": self._given, "probe": self.probe, "seed": self.seed} | super().settings()


class Discrepancy(Rule):
    """Stop when the image differs from the observation by as much as the noise does.

    Morozov's principle: an image that explains x0 better than the truth itself would must be
    explaining noise. It needs the noise level; where the problem states none, it is estimated.
    Memory: none.

    Parameters
    ----------
    sigma : float, optional
        Noise level; by default the problem's, or an estimate from the observation.
    factor : float, optional
        Stop at `factor` times the noise's mean square. A little under 1: the best image on the
        way has always explained a little of the noise as well.
    start : int, optional
        Never stop before this many iterations.

    Raises
    ------
    InputError
        When prepared for a problem without noise, or whose noise is not that of a denoising task.

    Notes
    -----
    The observation was clipped to [0, 1], which removes a part of the noise where the image is
    nearly black or white. `clipped_variance` counts what is left, with the present image in the
    truth's place.
    Morozov, Methods for Solving Incorrectly Posed Problems (1984), doi:10.1007/978-1-4612-5280-1.
    """

    name = "discrepancy"

    def __init__(self, sigma=None, factor=0.93, start=20):
        super().__init__()
        self.sigma = self._given = None if sigma is None else _number("sigma", sigma, 0, 1)
        self.factor, self.start = _number("factor", factor, 0, 1e6), whole(start, "start", 0)

    def prepare(self, problem, recipe):
        """Check that the rule applies, and find the noise level."""
        if problem.task == "jpeg" or not isinstance(problem.operator, Identity | Mask):
            raise InputError(
                "the discrepancy rule needs independent noise on every known pixel, and this is "
                f"{problem.task.replace('_', '-')}; use a fixed count of iterations"
            )
        self.sigma = _level(self._given, problem, "the discrepancy rule")
        self.problem, self.telling = problem, _telling(problem)

    def move(self, device):
        """Bring the problem to the device of the fit."""
        self.problem = self.problem.to(device)

    def look(self, step):
        """Be done when the residual is as small as the noise."""
        self.choose(step)
        if step.iteration < self.start:
            return
        problem, telling = self.problem, self.telling
        residual = _of(problem.operator(step.average) - problem.observation, telling)
        known = _of(problem.operator(torch.ones_like(step.average)), telling).mean()
        allowed = self.factor * clipped_variance(_of(step.average, telling), self.sigma)
        self.done(residual.square().mean() <= allowed * known)

    def settings(self):
        """Return what builds the rule again."""
        return {"sigma": self._given, "factor": self.factor, "start": self.start}


def _telling(problem):
    """Return the channels in which there is noise, or None for all: a black one holds none."""
    low, high = (
        bound(dim=(1, 2)) for bound in (problem.observation.amin, problem.observation.amax)
    )
    telling = (high > low).nonzero()[:, 0].tolist()
    return None if len(telling) in (0, len(low)) else telling


def _of(image, channels):
    return image if channels is None else torch.stack([image[c] for c in channels])


def _only(channels, like):
    kept = torch.zeros(len(like), 1, 1, device=like.device)
    kept[channels] = 1
    return kept


def _level(sigma, problem, name):
    sigma = problem.noise_level() if sigma is None else sigma
    if sigma < 1 / 255:
        raise InputError(
            f"{name} needs noise, and this problem has none; use a fixed count of iterations"
        )
    return sigma


class WindowedVariance(Valley):
    """ES-WMV: stop where the outputs of a window vary least among each other.

    The fit slows down as it comes near the image, and gets moving again as it turns to the noise.
    The variance over the last iterates has a valley in between, and often a false one before, while
    the fit has hardly begun: nothing is chosen in the first window's length. Memory: `BLOCKS` sums
    of images in float64, not a stack of images.

    Parameters
    ----------
    window : float, optional
        Length, as a fraction of the recipe's iterations.
    patience, start
        See `Valley`; `start` is the window's length where it is larger.

    Notes
    -----
    Wang, Li et al., Early stopping for deep image prior (TMLR 2023), arXiv:2112.06074.
    """

    name = "es-wmv"
    BLOCKS = 5

    def __init__(self, window=0.05, patience=0.3, start=30):
        super().__init__(patience, start)
        self.window = _number("window", window, 0, 1)

    def prepare(self, problem, recipe):
        """Scale the window to the fit's length."""
        self.block = self.scale = max(2, round(self.window * recipe.iterations / self.BLOCKS))
        self.start = max(self._given_start, 2 * self.block * self.BLOCKS)

    def blank(self, image):
        """Return what `now` holds before the first step: empty blocks."""
        empty = {}
        for number in range(self.BLOCKS):
            empty[f"sum {number}"] = image.new_zeros(image.shape, dtype=_wide(image))
            empty[f"squares {number}"] = _scalar(0.0, image.device)
        return super().blank(image) | empty

    def score(self, step):
        """Mean over pixels of the variance over the window's iterates."""
        number, place = divmod(self.now["steps"] - 1, self.block)
        here = number % self.BLOCKS
        total, squares = f"sum {here}", f"squares {here}"
        output = step.output.to(_wide(step.output))
        if place == 0:
            self.now[total] = torch.zeros_like(output)
            self.now[squares] = _scalar(0.0, output.device)
        self.now[total] = self.now[total] + output
        self.now[squares] = self.now[squares] + output.square().mean()
        if place < self.block - 1 or number < self.BLOCKS - 1:
            return self.now["score"]  # only whole windows
        count = self.block * self.BLOCKS
        mean = sum(self.now[f"sum {i}"] for i in range(self.BLOCKS)) / count
        squares = sum(self.now[f"squares {i}"] for i in range(self.BLOCKS)) / count
        return squares - mean.square().mean()

    def settings(self):
        """Return what builds the rule again."""
        return {"window": self.window} | super().settings()


class ExponentialVariance(Valley):
    """ES-EMV: the same with weights that decay into the past. Memory: one image in float64.

    Parameters
    ----------
    window : float, optional
        Length over which the weights fall to 1/e, as a fraction of the recipe's iterations.
    patience, start
        See `Valley`; `start` is three times that length where it is larger.

    Notes
    -----
    As `WindowedVariance`, section on the exponential form.
    """

    name = "es-emv"

    def __init__(self, window=0.025, patience=0.3, start=30):
        super().__init__(patience, start)
        self.window = _number("window", window, 0, 1)

    def prepare(self, problem, recipe):
        """Scale the window to the fit's length."""
        self.rate = self.scale = 1 / max(2.0, self.window * recipe.iterations)
        self.start = max(self._given_start, math.ceil(3 / self.rate))

    def blank(self, image):
        """Return what `now` holds before the first step."""
        mean = image.new_zeros(image.shape, dtype=_wide(image))
        return super().blank(image) | {"mean": mean, "variance": _scalar(0.0, image.device)}

    def score(self, step):
        """Mean over pixels of the weighted variance."""
        output = step.output.to(_wide(step.output))
        mean = output if self.now["steps"] == 1 else self.now["mean"]
        apart = output - mean
        self.now["mean"] = mean + self.rate * apart
        spread = apart.square().mean()
        self.now["variance"] = (1 - self.rate) * (self.now["variance"] + self.rate * spread)
        return self.now["variance"]

    def settings(self):
        """Return what builds the rule again."""
        return {"window": self.window} | super().settings()


class Plateau(Rule):
    """Stop when the image no longer changes: for problems without noise, where nothing turns.

    Memory: one image.

    Parameters
    ----------
    tolerance : float, optional
        Root mean square of the change, in the units of [0, 1], over the last fifth of the fit.
    start : int, optional
        Never stop before this many iterations.

    Examples
    --------
    >>> from diplearn import denoising, images, super_resolution
    >>> exact = super_resolution(images.load("camera", size=64))
    >>> choose("auto", exact, None).name
    'plateau'
    """

    name = "plateau"

    def __init__(self, tolerance=0.4 / 255, start=50):
        super().__init__()
        self.tolerance, self.start = _number("tolerance", tolerance, 0, 1), whole(start, "start", 0)

    def blank(self, image):
        """Return what `now` holds before the first step: an earlier image that is black."""
        return super().blank(image) | {"before": torch.zeros_like(image), "before_at": 0}

    def look(self, step):
        """Be done when the image has hardly changed."""
        self.choose(step)
        if step.iteration < 1.25 * self.now["before_at"]:
            return
        change = (step.average - self.now["before"]).square().mean().sqrt()
        self.now |= {"before": step.average, "before_at": step.iteration}
        if step.iteration >= self.start:
            self.done(change < self.tolerance)

    def settings(self):
        """Return what builds the rule again."""
        return {"tolerance": self.tolerance, "start": self.start}


class Oracle(Valley):
    """Not a rule: look at the truth, and keep the best. What the others are measured against.

    Parameters
    ----------
    patience, start
        See `Valley`.

    Raises
    ------
    InputError
        When prepared for a problem without truth.
    """

    name = "oracle"

    def __init__(self, patience=1.0, start=1):
        super().__init__(patience, start)

    def prepare(self, problem, recipe):
        """Take the truth."""
        self.truth = problem.need_truth("the oracle")

    def move(self, device):
        """Bring the truth to the device of the fit."""
        self.truth = self.truth.to(device)

    def score(self, step):
        """Mean squared error: it is least where the PSNR is highest."""
        wide = _wide(step.average)
        return (step.average.clamp(0, 1).to(wide) - self.truth.to(wide)).square().mean()


def _number(name, value, above, most):
    """Return a rule's setting as a Python number, if it is one in (above, most]."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and above < value <= most):
        raise InputError(f"{name}={value!r} is out of range: it must be in ({above}, {most:g}]")
    return float(value)


def _scalar(value, device):
    """Return a number as a scalar of the device's widest type, without waiting for the device."""
    wide = hardware.wide(device)
    if torch.is_tensor(value):
        return value.detach().to(device, wide)
    return torch.full((), float(value), dtype=wide, device=device)


def _wide(image):
    return hardware.wide(image.device)


def clipped_variance(image, sigma):
    """Mean square of Gaussian noise after the noisy image was clipped to [0, 1].

    Parameters
    ----------
    image : torch.Tensor
        The clean image, or what stands for it; values in [0, 1].
    sigma : float
        Standard deviation of the noise before clipping.

    Returns
    -------
    torch.Tensor
        A scalar, at most sigma².

    Notes
    -----
    For noise n ~ N(0, σ²) and a pixel x, clip(x + n) − x = clip(n) to [−x, 1 − x]. With
    φ and Φ of the standard normal law and t = a/σ, the side up to a distance a contributes
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


BY_NAME = {
    rule.name: rule
    for rule in (
        Count, HoldOut, Sure, Discrepancy, WindowedVariance, ExponentialVariance, Plateau, Oracle,
    )
}  # fmt: skip


def automatic(problem):
    """Return the rules that "auto" tries in turn; measured by benchmarks/stopping.py.

    Parameters
    ----------
    problem : Problem
        What is to be restored.

    Returns
    -------
    list of Rule
        SURE where the noise is Gaussian and its level is stated; hidden pixels where nothing is
        known about it; a plateau where there is none. JPEG's errors betray themselves to no rule
        that we know.
    """
    if problem.task == "jpeg":
        return [Count()]
    if problem.sigma:
        return [Sure(), HoldOut(), Count()]
    if problem.sigma is None and problem.task == "denoising":
        return [HoldOut(), Count()]
    return [Plateau(), Count()]


def choose(stop, problem, recipe):
    """Turn what a caller may hand in as a stopping rule into one, prepared for a fit.

    Parameters
    ----------
    stop : rule, callable, str, int or None
        A rule is taken as it is; a function of a step, or an object that can be called with one,
        says by what it returns whether to stop (see `Own`); a name is "auto" or one of `BY_NAME`;
        a number is a `Count`. None takes the recipe's rule where it applies, and its number of
        iterations where it does not.
    problem : Problem
        What is to be restored.
    recipe : Recipe
        How.

    Returns
    -------
    Rule

    Raises
    ------
    InputError
        No rule has that name, the number is not positive, or the rule does not apply.

    Examples
    --------
    >>> choose(lambda step: step.iteration == 7, None, None).name
    '<lambda>'
    """
    if isinstance(stop, str) and stop == "auto" or stop is None and recipe.stop == "auto":
        return _first(automatic(problem), problem, recipe)
    if stop is None:
        return _first([_named(recipe.stop), Count()], problem, recipe)
    rule = copy.copy(_rule(stop))  # one object may be handed to several fits at once
    rule.now = {}
    rule.name = str(rule.name or type(rule).__name__)
    rule.prepare(problem, recipe)
    _check_shown(rule, problem)
    return rule


def _check_shown(rule, problem):
    """Raise InputError unless what a rule shows to the networks are problems of the same size."""
    shown = rule.shown
    if shown is not None and not (
        isinstance(shown, list | tuple)
        and shown
        and all(getattr(each, "shape", None) == problem.shape for each in shown)
    ):
        raise InputError(
            f"the rule {rule.name!r} must show a list of problems with images of {problem.shape}"
        )


def _rule(stop):
    if isinstance(stop, Rule):
        return stop
    if isinstance(stop, str):
        return _named(stop)
    if isinstance(stop, type):
        raise InputError(f"stop={stop.__name__} is a class: hand in a rule, {stop.__name__}()")
    if callable(stop):
        return Own(stop)
    if isinstance(stop, bool):
        raise InputError(f"stop={stop} is neither a number of iterations nor a rule")
    try:
        return Count(stop)
    except InputError as error:
        if isinstance(stop, numbers.Real):
            raise
        raise InputError(
            f"a stopping rule is a number, a name, or a function of a step; not {stop!r}: {error}"
        ) from None


def rebuilt(about, problem, recipe):
    """Build a rule of the package again, from what a run holds of it, prepared for a fit.

    Parameters
    ----------
    about : dict
        What `about` returned.
    problem : Problem
        What is restored.
    recipe : Recipe
        How.

    Returns
    -------
    Rule or None
        None where it was a rule of the user's own.

    Raises
    ------
    InputError
        The settings are none of that rule's.
    """
    if about["settings"] is None:
        return None
    try:
        rule = BY_NAME[about["name"]](**about["settings"])
        rule.prepare(problem, recipe)
    except InputError:
        raise
    except Exception as error:  # a damaged value may fail in any way
        raise InputError(
            f"the rule that the run names cannot be built: {one_line(error)}"
        ) from error
    return rule


def about(rule):
    """Return what `rebuilt` wants to know; a rule of the user's own has no settings."""
    known = BY_NAME.get(rule.name) is type(rule)
    settings = rule.settings() if known else None
    return {"name": rule.name, "settings": settings, "scale": rule.scale}


def _first(rules, problem, recipe):
    """Return the first rule that applies; the last one always does."""
    for rule in rules:
        try:
            rule.prepare(problem, recipe)
        except InputError:  # such as a denoising problem without noise
            continue
        return rule
    raise AssertionError("a count always applies")


def _named(name):
    if name not in BY_NAME:
        known = ", ".join(["auto", *BY_NAME])
        raise InputError(f"no stopping rule is called {name!r}; there are {known}")
    return BY_NAME[name]()
