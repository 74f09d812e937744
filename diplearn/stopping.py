"""When to stop, without seeing the truth. A rule is fed one iterate at a time.

rule = Discrepancy()
rule.prepare(problem, recipe)
for step in dip.iterate(problem, recipe):
if rule(step):
break
"""

import math

from .errors import InputError
from .operators import Identity


class Count:
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
        if iterations is not None and iterations < 1:
            raise InputError(f"{iterations} iterations make no fit; ask for at least 1")
        self.iterations = iterations

    def prepare(self, problem, recipe):
        """Take the recipe's number where none was given."""
        if self.iterations is None:
            self.iterations = recipe.iterations

    def __call__(self, step):
        """Say whether to stop at this step."""
        return step.iteration >= self.iterations

    def settings(self):
        """Return what builds the rule again."""
        return {"iterations": self.iterations}


class Discrepancy:
    """Stop when the picture differs from the observation by as much as the noise does.

    Morozov's principle: a picture that explains x0 better than the truth itself would must be
    explaining noise. It needs the noise level; where the problem states none, it is estimated.

    Parameters
    ----------
    sigma : float, optional
        Noise level; by default the problem's, or an estimate from the observation.
    factor : float, optional
        Stop at `factor` times the noise's mean square. A little under 1: the best picture on the
        way has always explained a little of the noise as well.
    patience : int, optional
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

    def __init__(self, sigma=None, factor=0.93, patience=20):
        self.sigma, self.factor, self.patience = sigma, factor, patience

    def prepare(self, problem, recipe):
        """Check that the rule applies, and find the noise level."""
        if not isinstance(problem.operator, Identity) or problem.task == "jpeg":
            raise InputError(
                "the discrepancy rule needs independent noise on every pixel, and this is "
                f"{problem.task.replace('_', '-')}; use a fixed count of iterations"
            )
        self.sigma = problem.noise_level() if self.sigma is None else self.sigma
        if self.sigma < 1 / 255:
            raise InputError(
                "the discrepancy rule needs noise, and this problem has none; "
                "use a fixed count of iterations"
            )
        self.observation = problem.observation

    def __call__(self, step):
        """Say whether to stop at this step."""
        if step.iteration < self.patience:
            return False
        picture = step.average
        residual = (picture - self.observation.to(picture.device)).square().mean()
        return bool(residual <= self.factor * clipped_variance(picture, self.sigma))

    def settings(self):
        """Return what builds the rule again."""
        return {"sigma": self.sigma, "factor": self.factor, "patience": self.patience}


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


BY_NAME = {rule.name: rule for rule in (Count, Discrepancy)}


def choose(stop, problem, recipe):
    """Turn what a caller may hand in as a stopping rule into one, prepared for a fit.

    Parameters
    ----------
    stop : rule, str, int or None
        A rule is taken as it is; a name is one of `BY_NAME`; a number is a `Count`. None takes the
        recipe's rule where it applies, and the recipe's number of iterations where it does not.
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
    if stop is None:
        rule = _named(recipe.stop)
        try:
            rule.prepare(problem, recipe)
        except InputError:  # such as a denoising problem without noise
            rule = Count()
            rule.prepare(problem, recipe)
        return rule
    if isinstance(stop, str):
        stop = _named(stop)
    elif isinstance(stop, int):
        stop = Count(stop)
    if not (callable(stop) and hasattr(stop, "prepare")):
        raise InputError("a stopping rule is a number, a name, or has prepare() and is callable")
    stop.prepare(problem, recipe)
    return stop


def _named(name):
    if name not in BY_NAME:
        raise InputError(f"no stopping rule is called {name!r}; there are {', '.join(BY_NAME)}")
    return BY_NAME[name]()
