"""When to stop, without seeing the truth. A rule is fed one iterate at a time.

rule = HoldOut()
rule.prepare(problem, recipe)
for step in dip.iterate(problem, recipe, shown=rule.shown):
    if rule(step):
        break
rule.chosen, rule.chosen_at
"""

import math

import torch

from . import metrics
from .energy import misfit
from .errors import InputError
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
        The picture that the rule would return now: an average of the past. None before the first
        step.
    chosen_at : int
        Its iteration.
    now : dict
        Numbers and tensors that change from step to step: what a saved run keeps of the rule.
    """

    name = ""
    shown = None

    def __init__(self):
        self.now = {"chosen_at": 0}

    @property
    def chosen(self):
        """The picture that the rule would return."""
        return self.now.get("chosen")

    @property
    def chosen_at(self):
        """Iteration of `chosen`."""
        return self.now["chosen_at"]

    def prepare(self, problem, recipe):
        """Check that the rule applies, before any work; raises InputError where it does not."""

    def __call__(self, step):
        """Take note of one step, and say whether to stop."""
        raise NotImplementedError

    def choose(self, step):
        """Let this step's average be the choice."""
        self.now |= {"chosen": step.average, "chosen_at": step.iteration}

    def settings(self):
        """Return what builds the rule again."""
        return {}


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
        if iterations is not None and iterations < 1:
            raise InputError(f"{iterations} iterations make no fit; ask for at least 1")
        self.iterations = iterations

    def prepare(self, problem, recipe):
        """Take the recipe's number where none was given."""
        if self.iterations is None:
            self.iterations = recipe.iterations

    def __call__(self, step):
        """Say whether to stop at this step."""
        self.choose(step)
        return step.iteration >= self.iterations

    def settings(self):
        """Return what builds the rule again."""
        return {"iterations": self.iterations}


class Valley(Rule):
    """Keep the picture at which a score was lowest; stop once it has not fallen for a while.

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
        self.patience, self.start = patience, start
        self.now["lowest"] = math.inf

    def score(self, step):
        """What should be low; infinite while nothing can be said yet."""
        raise NotImplementedError

    def __call__(self, step):
        """Take note of one step, and say whether to stop."""
        score = self.now["score"] = float(self.score(step))
        if step.iteration < self.start or self.now["lowest"] == score == math.inf:
            self.choose(step)
            return False
        if score < self.now["lowest"]:
            self.choose(step)
            self.now["lowest"] = score
        wait = max(self.LEAST, self.start, self.patience * self.chosen_at)
        return step.iteration - self.chosen_at >= wait

    def settings(self):
        """Return what builds the rule again."""
        return {"patience": self.patience, "start": self.start}


class HoldOut(Valley):
    """Hide a few pixels from the fit, and stop when they are predicted best.

    What is learned about the picture helps with pixels that were never seen; what is learned about
    the noise does not. Each of the recipe's networks is denied pixels of its own, so that their
    mean has seen them all. It needs to know nothing about the noise, but that one pixel's tells
    nothing about the next one's. Memory: the hidden pixels.

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
        if not 0 < fraction <= 0.2:
            raise InputError(f"fraction={fraction} is out of range: it must be in (0, 0.2]")
        self.fraction, self.seed = fraction, seed

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

    def score(self, step):
        """What is left unexplained in the hidden pixels, by the measure of the fit's data term.

        Squares would let a few dead pixels drown what the others say.
        """
        device = step.output.device
        operator = self.problem.to(device).operator
        scores = []
        for number, (output, (places, observed)) in enumerate(zip(step.outputs, self.looks)):
            predicted = operator(output).flatten()[places.to(device)]
            past = self.now.get(f"predicted {number}")
            averaged = predicted if past is None else predicted.lerp(past, step.weight)
            self.now[f"predicted {number}"] = averaged
            scores.append(misfit(averaged - observed.to(device), self.kind))
        return torch.stack(scores).mean()

    def settings(self):
        """Return what builds the rule again."""
        return {"fraction": self.fraction, "seed": self.seed} | super().settings()


class Sure(Valley):
    """Stein's unbiased estimate of the error: residual, and how far the fit follows the noise.

    For Gaussian noise of a known level, ‖x − x0‖²/N − σ² + 2 σ² div/N is the mean squared error in
    expectation (where noise is clipped at black and white, up to a constant). The divergence div
    says by how much the picture moves with its observation, and two of the recipe's networks
    measure it on the way: one is fitted to x0 + ε b and the other to x0 − ε b, with fixed noise b
    and a small ε. Half the difference of their pictures, along b and over ε, is div; what they
    have in common is not disturbed. A single network is fitted to x0 + ε b, and compared with
    that. Memory: one picture.

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
        self.sigma, self.probe, self.seed = sigma, probe, seed
        self.now["divergence"] = 0.0

    def prepare(self, problem, recipe):
        """Check that the rule applies, find the noise level, and build what the networks see."""
        if problem.task == "jpeg" or not isinstance(problem.operator, Identity | Mask):
            raise InputError(
                "SURE needs independent Gaussian noise on every known pixel, and this is "
                f"{problem.task.replace('_', '-')}; use hold-out or a fixed count of iterations"
            )
        self.sigma = _level(self.sigma, problem, "SURE")
        b = torch.randn(problem.observation.shape, generator=generator(self.seed, "probe"))
        self.b = problem.operator(b.to(problem.observation))
        self.epsilon, self.pixels = self.probe * self.sigma, int(self.b.count_nonzero())
        # Not clipped to [0, 1]: what the two networks see must differ by 2 ε b everywhere.
        self.shown = [
            problem.varied(observation=problem.observation + sign * self.epsilon * self.b)
            for sign in (1, -1)[: min(2, recipe.members)]
        ]
        self.problem = problem

    def score(self, step):
        """Estimate the mean squared error of the averaged picture."""
        device = step.output.device
        b, pixels = self.b.to(device), self.pixels
        if len(step.outputs) > 1:
            apart = (step.outputs[0] - step.outputs[1]) / 2
            own = 0.0
        else:
            apart = step.outputs[0] - self.shown[0].observation.to(device)
            own = 1.0
        divergence = float(b.flatten() @ apart.flatten()) / (self.epsilon * pixels) + own
        divergence += (self.now["divergence"] - divergence) * step.weight
        self.now["divergence"] = divergence  # the average's, since all of this is linear
        if step.iteration % self.EVERY and step.iteration > 10 * self.EVERY:
            return math.inf
        problem = self.problem.to(device)
        residual = problem.operator(step.average) - problem.observation
        variance = clipped_variance(step.average, self.sigma)
        return residual.square().sum() / pixels - variance + 2 * variance * divergence

    def settings(self):
        """Return what builds the rule again."""
        return {"sigma": self.sigma, "probe": self.probe, "seed": self.seed} | super().settings()


class Discrepancy(Rule):
    """Stop when the picture differs from the observation by as much as the noise does.

    Morozov's principle: a picture that explains x0 better than the truth itself would must be
    explaining noise. It needs the noise level; where the problem states none, it is estimated.
    Memory: none.

    Parameters
    ----------
    sigma : float, optional
        Noise level; by default the problem's, or an estimate from the observation.
    factor : float, optional
        Stop at `factor` times the noise's mean square. A little under 1: the best picture on the
        way has always explained a little of the noise as well.
    start : int, optional
        Never stop before this many iterations.

    Raises
    ------
    InputError
        When prepared for a problem without noise, or whose noise is not that of a denoising task.

    Notes
    -----
    The observation was clipped to [0, 1], which removes a part of the noise where the picture is
    nearly black or white. `clipped_variance` counts what is left, with the present picture in the
    truth's place.
    Morozov, Methods for Solving Incorrectly Posed Problems (1984), doi:10.1007/978-1-4612-5280-1.
    """

    name = "discrepancy"

    def __init__(self, sigma=None, factor=0.93, start=20):
        super().__init__()
        self.sigma, self.factor, self.start = sigma, factor, start

    def prepare(self, problem, recipe):
        """Check that the rule applies, and find the noise level."""
        if problem.task == "jpeg" or not isinstance(problem.operator, Identity | Mask):
            raise InputError(
                "the discrepancy rule needs independent noise on every known pixel, and this is "
                f"{problem.task.replace('_', '-')}; use a fixed count of iterations"
            )
        self.sigma = _level(self.sigma, problem, "the discrepancy rule")
        self.problem = problem

    def __call__(self, step):
        """Say whether to stop at this step."""
        self.choose(step)
        if step.iteration < self.start:
            return False
        problem = self.problem.to(step.average.device)
        residual = (problem.operator(step.average) - problem.observation).square().mean()
        known = problem.operator(torch.ones_like(step.average)).mean()
        allowed = self.factor * clipped_variance(step.average, self.sigma)
        return bool(residual <= allowed * known)

    def settings(self):
        """Return what builds the rule again."""
        return {"sigma": self.sigma, "factor": self.factor, "start": self.start}


def _level(sigma, problem, name):
    sigma = problem.noise_level() if sigma is None else sigma
    if sigma < 1 / 255:
        raise InputError(
            f"{name} needs noise, and this problem has none; use a fixed count of iterations"
        )
    return sigma


class WindowedVariance(Valley):
    """ES-WMV: stop where the outputs of a window vary least among each other.

    The fit slows down as it comes near the picture, and gets moving again as it turns to the noise.
    The variance over the last iterates has a valley in between, and often a false one before, while
    the fit has hardly begun: nothing is chosen in the first window's length. Memory: `BLOCKS` sums
    of pictures in float64, not a stack of pictures.

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
        self.window = window

    def prepare(self, problem, recipe):
        """Scale the window to the fit's length."""
        self.block = max(2, round(self.window * recipe.iterations / self.BLOCKS))
        self.start = max(self.start, 2 * self.block * self.BLOCKS)

    def score(self, step):
        """Mean over pixels of the variance over the window's iterates."""
        number, place = divmod(step.iteration - 1, self.block)
        here = number % self.BLOCKS
        total, squares = f"sum {here}", f"squares {here}"
        output = step.output.double()
        if place == 0 or total not in self.now:
            self.now[total], self.now[squares] = torch.zeros_like(output), 0.0
        self.now[total] = self.now[total] + output
        self.now[squares] += float(output.square().mean())
        if place < self.block - 1 or number < self.BLOCKS - 1:
            return self.now.get("score", math.inf)  # only whole windows
        count = self.block * self.BLOCKS
        mean = sum(self.now[f"sum {i}"] for i in range(self.BLOCKS)) / count
        return sum(self.now[f"squares {i}"] for i in range(self.BLOCKS)) / count - float(
            mean.square().mean()
        )

    def settings(self):
        """Return what builds the rule again."""
        return {"window": self.window} | super().settings()


class ExponentialVariance(Valley):
    """ES-EMV: the same with weights that decay into the past. Memory: one picture in float64.

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
        self.window = window

    def prepare(self, problem, recipe):
        """Scale the window to the fit's length."""
        self.rate = 1 / max(2.0, self.window * recipe.iterations)
        self.start = max(self.start, math.ceil(3 / self.rate))

    def score(self, step):
        """Mean over pixels of the weighted variance."""
        output = step.output.double()
        mean = self.now.get("mean", output)
        apart = output - mean
        self.now["mean"] = mean + self.rate * apart
        spread = float(apart.square().mean())
        past = self.now.get("variance", 0.0)
        self.now["variance"] = (1 - self.rate) * (past + self.rate * spread)
        return self.now["variance"]

    def settings(self):
        """Return what builds the rule again."""
        return {"window": self.window} | super().settings()


class Plateau(Rule):
    """Stop when the picture no longer changes: for problems without noise, where nothing turns.

    Memory: one picture.

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
        self.tolerance, self.start = tolerance, start

    def __call__(self, step):
        """Take note of one step, and say whether to stop."""
        self.choose(step)
        if step.iteration < 1.25 * self.now.get("before_at", 0):
            return False
        before = self.now.get("before", torch.zeros_like(step.average))
        change = (step.average - before).square().mean().sqrt()
        self.now |= {"before": step.average, "before_at": step.iteration}
        return bool(change < self.tolerance) and step.iteration >= self.start

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

    def score(self, step):
        """Minus the PSNR."""
        return -metrics.psnr(step.average.cpu(), self.truth.cpu())


def clipped_variance(picture, sigma):
    """Mean square of Gaussian noise after the noisy picture was clipped to [0, 1].

    Parameters
    ----------
    picture : torch.Tensor
        The clean picture, or what stands for it; values in [0, 1].
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
    return (_one_side(picture, sigma) + _one_side(1 - picture, sigma)).mean()


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
    stop : rule, str, int or None
        A rule is taken as it is; a name is "auto" or one of `BY_NAME`; a number is a `Count`. None
        takes the recipe's rule where it applies, and its number of iterations where it does not.
    problem : Problem
        What is to be restored.
    recipe : Recipe
        How.

    Returns
    -------
    object
        Something with ``prepare(problem, recipe)`` and ``__call__(step)``.

    Raises
    ------
    InputError
        No rule has that name, the number is not positive, or the rule does not apply.
    """
    if stop == "auto" or stop is None and recipe.stop == "auto":
        return _first(automatic(problem), problem, recipe)
    if stop is None:
        return _first([_named(recipe.stop), Count()], problem, recipe)
    if isinstance(stop, str):
        stop = _named(stop)
    elif isinstance(stop, int):
        stop = Count(stop)
    if not (callable(stop) and hasattr(stop, "prepare")):
        raise InputError("a stopping rule is a number, a name, or has prepare() and is callable")
    stop.prepare(problem, recipe)
    return stop


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
