"""Recipes: everything that decides a fit, in one frozen dataclass.

`lab` is tuned for two cores and a minute; `paper` is the publication's own, for a GPU and patience.
"""

import dataclasses
import math
import numbers

import numpy as np

from . import optimisers
from .energy import DATA_TERMS
from .errors import InputError, whole
from .operators import Mask
from .problems import TASKS


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides a fit, but for the problem and the seed.

    Parameters
    ----------
    name : str
        What to call it in tables and figures.
    network : str
        One of `networks.BY_NAME`.
    options : dict
        What that network's class takes, such as ``{"down": (32,) * 5}``.
    z : {"noise", "mesh", "given"}
        The fixed input: uniform noise; the pixel's coordinates; or what the caller hands in.
    z_channels : int
        Channels of z.
    z_scale : float
        The noise is U(0, z_scale).
    input_noise : float
        Standard deviation of what is added to z afresh in every iteration; 0 for none.
    noise_kind : {"gaussian", "uniform", "shifted"}
        Its distribution. Uniform is several times cheaper to draw on a CPU; shifted is nearly free:
        uniform noise that is drawn once, somewhat larger than z, and cut out anew each time.
    optimiser : {"adam", "muon"}
        See `optimisers`.
    learning_rate : float
        Of the optimiser.
    momentum : float
        Weight of the past in its running mean of the gradients.
    members : int
        How many networks to fit side by side, each from weights of its own; the output is their
        mean.
    final_rate : float
        Fraction of the learning rate that is left at the last iteration, reached along half a
        cosine; 1 keeps it constant.
    iterations : int
        How many, if no rule stops the fit earlier.
    stop : str
        The stopping rule for fits that name no other: one of `stopping.BY_NAME`, or "auto".
    average : float
        Weight of the past in the moving average of the outputs, 0.99 in the paper.
    average_window : float or None
        If given, the average's window is this fraction of the iterations so far, and `average` is
        not used: a short fit gets a short memory.
    project : bool
        Before an output enters the average, give it what the observation says for certain (see
        `Operator.project`): the known pixels of a mask, the small image's content. A problem
        whose `sigma` is above 0 says nothing for certain, and is left alone.
    start_at_mean : bool
        Set the last layer's bias so that the first output has the observation's mean colour.
    data_term : {"mse", "l1"}
        See `energy.data_term`.
    tv_weight : float
        Weight of total variation; 0 for the deep image prior's own energy.
    precision : {"float32", "bfloat16", "auto"}
        Arithmetic of the network; "auto" takes bfloat16 on a CPU that has instructions for it.
        Energies, averages and Adam are float32 throughout.
    compiled : bool
        Let `torch.compile` fuse the network's steps. A CPU needs a C++ compiler for it. Measured
        with the published network: on two cores at 128x128, 45 s before the first iteration, then
        a tenth less for each; on an H200 at 512x512, in bfloat16, 41 s, then 28 % less.

    Raises
    ------
    InputError
        A value is of the wrong type or out of its range; the message says which and what is
        allowed.

    Examples
    --------
    >>> recipe = lab("denoising").replace(iterations=200)
    >>> recipe.iterations
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
        for field in dataclasses.fields(self):  # frozen: set once, here
            value = _python(getattr(self, field.name))
            _check_type(field, value)
            object.__setattr__(self, field.name, value)
        for name, most in (("iterations", 10**12), ("members", 1000), ("z_channels", 10**12)):
            object.__setattr__(self, name, whole(getattr(self, name), name, 1, most))
        _demand(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        _demand(0 <= self.final_rate <= 1, "final_rate", self.final_rate, "in [0, 1]")
        _demand(self.input_noise >= 0, "input_noise", self.input_noise, "at least 0")
        _demand(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        _demand(self.z_scale > 0, "z_scale", self.z_scale, "above 0")
        _demand(0 <= self.average < 1, "average", self.average, "in [0, 1)")
        window = self.average_window
        _demand(window is None or 0 < window <= 1, "average_window", window, "None or in (0, 1]")
        _demand(self.tv_weight >= 0, "tv_weight", self.tv_weight, "at least 0")
        _one_of("z", self.z, ("noise", "mesh", "given"))
        _one_of("noise_kind", self.noise_kind, ("gaussian", "uniform", "shifted"))
        _one_of("optimiser", self.optimiser, optimisers.NAMES)
        _one_of("data_term", self.data_term, DATA_TERMS)
        _one_of("precision", self.precision, ("float32", "bfloat16", "auto"))

    def replace(self, **changes):
        """Return the same recipe with some values changed.

        Parameters
        ----------
        **changes
            Fields of the recipe. `options` is merged into the present ones, unless another
            `network` is named: the options were the former network's.

        Returns
        -------
        Recipe

        Raises
        ------
        InputError
            A field does not exist, or its value is out of range.
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
        """Learning rate of one iteration, counted from 0."""
        done = min(1.0, iteration / self.iterations)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * cosine)

    def averaging(self, iteration):
        """Weight that the moving average gives to its past at one iteration, counted from 1."""
        if self.average_window is None:
            return self.average
        return 1 - 1 / max(1.0, self.average_window * iteration)


LARGEST = 1e6
"""What a recipe's numbers may be at most: float32 overflows far above."""

_KINDS = {str: "text", dict: "a table", bool: "true or false", int: "a whole number"}


def _python(value):
    """Turn NumPy's numbers into Python's, also inside lists and options."""
    if isinstance(value, dict):
        return {name: _python(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_python(each) for each in value)
    return value.item() if isinstance(value, np.generic) else value


def _check_type(field, value):
    """Refuse a value of another type: the text "no" would count as true."""
    wanted = _KINDS.get(field.type, f"a number of at most {LARGEST:g}")
    if field.type in (str, dict, bool):
        good = isinstance(value, field.type)
    else:
        good = isinstance(value, numbers.Real) and not isinstance(value, bool)
        small = field.type is int or (good and abs(value) <= LARGEST)
        good = (good and small) or (value is None and field.default is None)
    if not good:
        raise InputError(f"{field.name}={value!r} must be {wanted}")


def _demand(good, name, value, allowed):
    if not good:
        raise InputError(f"{name}={value!r} is out of range: it must be {allowed}")


def _one_of(name, value, allowed):
    if value not in allowed:
        raise InputError(f"{name}={value!r} is unknown; there are {', '.join(allowed)}")


def lab(task="denoising", **changes):
    """Return the recipe for two cores and about a minute at 256x256.

    Two networks, narrow where the image is large and without the published one's padding by
    reflection and its normalisation of what is merged; Muon, which needs a third of Adam's
    iterations; input noise that costs nothing to draw; an average whose window grows with the
    fit; an output that starts at the observation's mean, and that is given what the observation
    says for certain. Lesson 09 takes it apart.

    Parameters
    ----------
    task : str, optional
        One of `problems.TASKS`.
    **changes
        Fields of the recipe to change.

    Returns
    -------
    Recipe

    Raises
    ------
    InputError
        The task or a field is unknown.
    """
    _one_of("task", task, TASKS)
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
    return recipe.replace(**_LAB[task]).replace(**changes)


_LAB = {
    "denoising": {},
    "jpeg": {"iterations": 300},
    "super_resolution": {"iterations": 350},
    "inpainting": {  # little to overfit: more channels, less noise
        "options": {"down": (32, 64, 64, 64, 64)},
        "input_noise": 0.01,
        "learning_rate": 0.02,
        "iterations": 400,
    },
    "deblurring": {"iterations": 350},
}


def paper(task="denoising", *, sigma=25 / 255, factor=4, **changes):
    """Return the recipe that the authors published for a task.

    Parameters
    ----------
    task : str, optional
        A task of `problems.TASKS` ("inpainting" is then the text mask's), or one of the paper's
        special cases: ``"text"``, ``"small_hole"``, ``"large_hole"``, ``"missing_pixels"``,
        ``"prior_effect"``, ``"flash"``.
    sigma : float, optional
        Noise level, for denoising: a stronger noise gets a stronger input noise.
    factor : int, optional
        For super-resolution.
    **changes
        Fields of the recipe to change.

    Returns
    -------
    Recipe
        Adam, mean squared error, z ~ U(0, 0.1), reflection padding, float32, and an average with
        weight 0.99.

    Raises
    ------
    InputError
        The task or a field is unknown.

    Notes
    -----
    Ulyanov, Vedaldi & Lempitsky, Deep Image Prior, IJCV 128 (2020), appendix, and the authors'
    code. The paper says nothing on deblurring; it gets the settings of super-resolution.

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
    _one_of("task", task, tuple(published))
    return Recipe(name="paper").replace(**published[task]).replace(**changes)


NAMES = {"lab": lab, "paper": paper}


def choose(recipe, problem):
    """Turn what a caller may hand in as a recipe into one.

    Parameters
    ----------
    recipe : Recipe, str or None
        A recipe is taken as it is; ``"lab"`` (also for None) or ``"paper"`` is made for the
        problem: its task, its noise level, its factor, its kind of mask.
    problem : Problem
        What is to be restored.

    Returns
    -------
    Recipe

    Raises
    ------
    InputError
        No recipe has that name.
    """
    if isinstance(recipe, Recipe):
        return recipe
    recipe = "lab" if recipe is None else recipe
    if not (isinstance(recipe, str) and recipe in NAMES):
        raise InputError(f"no recipe is called {recipe!r}; there are {', '.join(NAMES)}")
    if recipe == "lab":
        return lab(problem.task)
    task = problem.task
    if isinstance(problem.operator, Mask):
        task = {"pixels": "missing_pixels", "hole": "large_hole"}.get(problem.operator.kind, "text")
    factor = getattr(problem.operator, "factor", 4)
    sigma = problem.noise_level() if task == "denoising" else 0
    return paper(task, sigma=sigma, factor=factor)
