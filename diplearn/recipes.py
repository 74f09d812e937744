"""Recipes: all settings of a fit, in one frozen dataclass.

`lab` takes about a minute on two cores; `guided` mixes its image with a second denoiser's, or takes
the latter alone; `paper` is the published recipe, which calls for a GPU.
"""

import contextlib
import dataclasses
import math
import numbers

import numpy as np

from . import noise, optimisers
from .energy import DATA_TERMS
from .errors import InputError, lookup, whole
from .operators import Mask
from .stopping import Fusion

__all__ = ["Recipe", "best", "guided", "lab", "paper"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All settings of a fit except problem and seed; a value out of range raises InputError.

    Parameters
    ----------
    name : str
        The recipe's name in tables and figures.
    network : str
        One of `networks.BY_NAME`.
    options : dict
        Arguments of that network's class, such as ``{"down": (32,) * 5}``.
    z : {"noise", "mesh", "given"}
        The fixed input: uniform noise, the pixels' coordinates, or the caller's ``z``.
    z_channels : int
        Channels of z.
    z_scale : float
        The noise in z is U(0, z_scale).
    input_noise : float
        Standard deviation of the noise that each iteration adds to z; 0 for none.
    noise_kind : {"gaussian", "uniform", "shifted"}
        Distribution of the input noise. On a CPU, uniform noise is several times cheaper to draw.
        Shifted noise is nearly free: each iteration takes a random crop of one larger tensor of
        uniform noise.
    optimiser : {"adam", "muon"}
        See `optimisers`.
    learning_rate : float
        Step size of the optimiser.
    momentum : float
        Weight of the past in the optimiser's running mean of the gradients.
    members : int
        Number of networks that are fitted side by side from different initial weights; the output
        is their mean.
    final_rate : float
        Fraction of the learning rate at the last iteration, reached by cosine decay; 1 keeps the
        learning rate constant.
    iterations : int
        Number of iterations, unless a stopping rule ends the fit earlier.
    stop : str
        The stopping rule if the call of the fit names none: one of `stopping.BY_NAME`, or "auto".
    average : float
        Weight of the past in the moving average of the outputs; 0.99 in the paper.
    average_window : float or None
        If given, the window of the moving average is this fraction of the iterations so far, and
        `average` is ignored: a short fit then has a short window.
    project : bool
        Before an output enters the average, replace the content that the observation determines
        exactly (see `Operator.project`): the known pixels of a mask, or the content of the small
        image. Nothing is replaced if the problem's `sigma` is above 0.
    start_at_mean : bool
        Initialise the last layer's bias so that the first output has the observation's mean colour.
    data_term : {"mse", "l1", "poisson"}
        See `energy.data_term`.
    tv_weight : float
        Weight of the total variation; 0 for the deep image prior's own energy.
    precision : {"float32", "bfloat16", "auto"}
        Arithmetic of the network; "auto" is bfloat16 on a CPU with instructions for it. Energies,
        averages and Adam always use float32.
    compiled : bool
        Compile the network with `torch.compile`, which needs a C++ compiler on a CPU. Measured with
        the published network: on two cores at 128x128, 45 s before the first iteration, then 10 %
        less time per iteration; on an H200 at 512x512 in bfloat16, 41 s, then 28 % less.

    Examples
    --------
    >>> lab("denoising").replace(iterations=200).iterations
    200
    """

    name: str = "own"
    network: str = "hourglass"
    options: dict = dataclasses.field(default_factory=dict, hash=False)  # a dict has no hash
    z: str = "noise"
    z_channels: int = 32
    z_scale: float = 0.1
    input_noise: float = 0.0
    noise_kind: str = "gaussian"
    optimiser: str = "adam"
    learning_rate: float = 0.01
    momentum: float = 0.9
    members: int = 1
    final_rate: float = 1.0
    iterations: int = 1000
    stop: str = "count"
    average: float = 0.99
    average_window: float | None = None
    project: bool = False
    start_at_mean: bool = False
    data_term: str = "mse"
    tv_weight: float = 0.0
    precision: str = "float32"
    compiled: bool = False

    def __post_init__(self):
        for field in dataclasses.fields(self):  # the class is frozen: fields are only set here
            value = _checked(field, _python(getattr(self, field.name)))
            object.__setattr__(self, field.name, value)

    @property
    def mixes(self):
        """Whether the stopping rule makes the image: without it there is no mixture."""
        return self.stop == "fusion"

    def replace(self, **changes):
        """Return a copy with some fields changed.

        New `options` are merged into the present ones, unless `network` changes too: options belong
        to their network.

        >>> lab().replace(options={"skip": (0,) * 5}).options["padding"]
        'zeros'
        """
        known = [field.name for field in dataclasses.fields(self)]
        for unknown in set(changes) - set(known):
            raise InputError(f"a recipe has no {unknown!r}; it has {', '.join(known)}")
        same = changes.get("network", self.network) == self.network
        options = changes.get("options", {})
        if isinstance(options, dict):
            changes["options"] = {**(self.options if same else {}), **options}
        return dataclasses.replace(self, **changes)

    def rate(self, iteration):
        """Return the learning rate of an iteration, counted from 0."""
        done = min(1.0, iteration / self.iterations)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * cosine)

    def averaging(self, iteration):
        """Return the weight of the past in the moving average at an iteration, counted from 1."""
        if self.average_window is None:
            return self.average
        return 1 - 1 / max(1.0, self.average_window * iteration)


LARGEST = 1e6
"""The largest number in a recipe; far above this, float32 overflows."""

# Field -> the largest whole number that it may have; the smallest is 1.
_LARGEST_WHOLE = {"iterations": 10**12, "members": 1000, "z_channels": 10**12}

# Field -> the condition on its value, and the same in words.
_RANGES = {
    "z_scale": (lambda value: value > 0, "above 0"),
    "input_noise": (lambda value: value >= 0, "at least 0"),
    "learning_rate": (lambda value: value > 0, "above 0"),
    "momentum": (lambda value: 0 <= value < 1, "in [0, 1)"),
    "final_rate": (lambda value: 0 <= value <= 1, "in [0, 1]"),
    "average": (lambda value: 0 <= value < 1, "in [0, 1)"),
    "average_window": (lambda value: value is None or 0 < value <= 1, "None or in (0, 1]"),
    "tv_weight": (lambda value: value >= 0, "at least 0"),
}

# Field -> its possible values.
_CHOICES = {
    "z": ("noise", "mesh", "given"),
    "noise_kind": ("gaussian", "uniform", "shifted"),
    "optimiser": tuple(optimisers.BY_NAME),
    "data_term": tuple(DATA_TERMS),
    "precision": ("float32", "bfloat16", "auto"),
}


def _checked(field, value):
    """Return the value of a field, or raise an InputError that says what is allowed."""
    name = field.name
    _check_type(field, value)
    if name in _LARGEST_WHOLE:
        return whole(value, name, 1, _LARGEST_WHOLE[name])
    if name in _CHOICES and value not in _CHOICES[name]:
        known = ", ".join(_CHOICES[name])
        raise InputError(f"{name}={value!r} is unknown; there are {known}")
    if name in _RANGES:
        condition, words = _RANGES[name]
        if not condition(value):
            raise InputError(f"{name}={value!r} is out of range: it must be {words}")
    return value


_KINDS = {str: "text", dict: "a table", bool: "true or false", int: "a whole number"}


def _check_type(field, value):
    """Raise InputError for a value of the wrong type: the text "no", say, would count as true."""
    if field.type in (str, dict, bool):
        good = isinstance(value, field.type)
    else:
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        good = number and (field.type is int or abs(value) <= LARGEST)
        good = good or (value is None and field.default is None)
    if not good:
        wanted = _KINDS.get(field.type, f"a number of at most {LARGEST:g}")
        raise InputError(f"{field.name}={value!r} must be {wanted}")


def _python(value):
    """Turn NumPy's numbers into Python's, also inside lists and dicts."""
    if isinstance(value, dict):
        return {name: _python(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_python(each) for each in value)
    return value.item() if isinstance(value, np.generic) else value


def lab(task="denoising", **changes):
    """Return the course's recipe, which takes about a minute for 256x256 pixels on two cores.

    It differs from the published recipe as lesson 09 explains: two networks, narrow at high
    resolution, without reflection padding and without batch norm at the merges; Muon; input noise
    that is nearly free to draw; an average whose window grows with the fit; a first output of the
    observation's mean colour; and outputs that agree with what the observation determines exactly.

    Parameters
    ----------
    task : str, optional
        One of `problems.TASKS`.
    **changes
        Fields of the recipe to change.

    Returns
    -------
    Recipe

    Examples
    --------
    >>> lab("inpainting", members=1).learning_rate
    0.02
    """
    of_task = lookup(_LAB, task, "task")
    recipe = Recipe(
        name="lab",
        options={"down": (16, 32, 64, 64, 64), "padding": "zeros", "merge_norm": False},
        input_noise=0.02,
        noise_kind="shifted",
        optimiser="muon",
        members=2,
        iterations=500,
        stop="auto",
        average_window=1 / 4,
        project=True,
        start_at_mean=True,
        precision="auto",
    )
    return recipe.replace(**of_task).replace(**changes)


_LAB = {
    "denoising": {},
    "jpeg": {"iterations": 300},
    "super_resolution": {"iterations": 350},
    "inpainting": {  # with little noise to overfit, more channels and less input noise are better
        "options": {"down": (32, 64, 64, 64, 64)},
        "input_noise": 0.01,
        "learning_rate": 0.02,
        "iterations": 400,
    },
    "deblurring": {"iterations": 350},
}


def paper(task="denoising", *, sigma=25 / 255, factor=4, **changes):
    """Return the recipe that the authors published for a task.

    All these recipes have Adam, mean squared error, z ~ U(0, 0.1), reflection padding, float32 and
    an average with weight 0.99 (Ulyanov, Vedaldi & Lempitsky, Deep Image Prior, IJCV 128 (2020),
    appendix, and the authors' code). The paper does not treat deblurring, which gets the settings
    of super-resolution.

    Parameters
    ----------
    task : str, optional
        A task of `problems.TASKS` (``"inpainting"`` means ``"text"``), or one of the paper's
        special cases: ``"text"``, ``"small_hole"``, ``"large_hole"``, ``"missing_pixels"``,
        ``"prior_effect"``, ``"flash"``.
    sigma : float, optional
        Noise level, for denoising: more noise needs more input noise.
    factor : int, optional
        The factor of super-resolution.
    **changes
        Fields of the recipe to change.

    Returns
    -------
    Recipe

    Examples
    --------
    >>> paper("denoising").iterations
    3000
    """
    published = {
        "denoising": {"input_noise": 1 / 30 if sigma < 37 / 255 else 1 / 20, "iterations": 3000},
        "jpeg": {
            "options": {"down": (8, 16, 32, 64, 128), "skip": (0, 0, 0, 4, 4)},
            "z_channels": 3,
            "input_noise": 1 / 30,
            "iterations": 2400,
        },
        "super_resolution": {
            "input_noise": 0.03 if factor <= 4 else 0.05,
            "iterations": 2000 if factor <= 4 else 4000,
        },
        "deblurring": {"input_noise": 0.03, "iterations": 2000},
        "prior_effect": {"z_channels": 3, "input_noise": 1 / 30, "iterations": 2000},
        "text": {
            "options": {"skip": (128,) * 5, "upsampling": "nearest"},
            "input_noise": 0.03,
            "iterations": 6000,
        },
        "small_hole": {
            "options": {"skip": (0,) * 5, "upsampling": "nearest"},
            "z": "mesh",
            "z_channels": 2,
            "input_noise": 0.03,
            "iterations": 5000,
        },
        "large_hole": {
            "options": {
                "down": (16, 32, 64, 128, 128, 128),
                "skip": (0,) * 6,
                "upsampling": "nearest",
                "down_filter": 5,
                "pointwise": False,
            },
            "z_channels": 1,
            "iterations": 3000,
        },
        "missing_pixels": {"input_noise": 0.03, "learning_rate": 0.001, "iterations": 11000},
        "flash": {
            "options": {"upsampling": ("nearest", "nearest", "bilinear", "bilinear", "bilinear")},
            "z": "given",
            "z_channels": 3,
            "learning_rate": 0.1,
            "iterations": 600,
        },
    }
    published["inpainting"] = published["text"]
    return Recipe(name="paper").replace(**lookup(published, task, "task")).replace(**changes)


def guided(task="denoising", **changes):
    """Return the recipe that mixes the `lab` fit with the image of a second denoiser, NL-Ridge.

    The fit itself is that of `lab`. The rule `stopping.Fusion` makes and chooses the mixture, and
    returns the image of NL-Ridge alone if the level of the noise is not stated and neighbouring
    pixels have similar noise.

    Parameters
    ----------
    task : str, optional
        ``"denoising"``; there is no second denoiser for other tasks.
    **changes
        Fields of the recipe to change.

    Returns
    -------
    Recipe

    Raises
    ------
    InputError
        The task is another one.

    Examples
    --------
    >>> guided().stop
    'fusion'
    """
    if task != "denoising":
        raise InputError(f"the recipe guided denoises; for {task!r} take lab or paper")
    return lab(task, name="guided", stop="fusion").replace(**changes)


def best(problem):
    """Return `guided` for noise that it can measure, and `lab` elsewhere: for an image of your own.

    For a photograph, the result of `guided` is often the image of NL-Ridge alone.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    Recipe
        `guided` for noise that its rule `stopping.Fusion` accepts, and `lab` for all else.

    Examples
    --------
    >>> from diplearn import denoising, images, jpeg
    >>> clean = images.load("camera", size=64)
    >>> best(denoising(clean)).name, best(jpeg(clean)).name
    ('guided', 'lab')
    """
    if problem.task == "denoising":
        with contextlib.suppress(InputError):  # such as noise that is too weak to be measured
            part = noise.excerpt(problem.observation)
            Fusion().prepare(problem.varied(observation=part, truth=None), guided())
            return guided()
    return lab(problem.task)


NAMES = {"lab": lab, "guided": guided, "paper": paper, "best": best}


def choose(recipe, problem):
    """Return a recipe as it is, or make the named one for the problem; None is "lab".

    The recipe made depends on the problem's task, noise level, factor and kind of mask.
    """
    if isinstance(recipe, Recipe):
        return recipe
    made = lookup(NAMES, "lab" if recipe is None else recipe, "recipe")
    if made is best:
        return best(problem)
    task = problem.task
    if made is not paper:
        return made(task)
    if isinstance(problem.operator, Mask):
        task = {"pixels": "missing_pixels", "hole": "large_hole"}.get(problem.operator.kind, "text")
    factor = getattr(problem.operator, "factor", 4)
    sigma = problem.noise_level() if task == "denoising" else 0
    return paper(task, sigma=sigma, factor=factor)
