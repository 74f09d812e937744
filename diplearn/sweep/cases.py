"""The cases of a sweep: their settings, their keys, and grids of them."""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import itertools
import math
import os
from pathlib import Path

import numpy as np

from .. import images, problems, recipes
from ..errors import InputError, lookup, whole
from ..results import to_json

MOST = 100_000
"""Largest number of cases in a sweep, so that a mistyped number does not fill the memory."""

LATER = {}
"""Settings added after the first results were stored: "recipe.FIELD" or "TASK.ARGUMENT" -> the
value that gives the earlier behaviour. A setting with this value is left out of the key.

A new setting that is not listed here changes all keys, so that stored results are not found again;
a test with literal keys then fails.
"""


@dataclasses.dataclass(frozen=True)
class Case:
    """One fit of a sweep, described in plain values that can be sent, hashed and stored.

    Parameters
    ----------
    image : str or path-like
        A name for `images.load`, or a file.
    size : int, optional
        Crop the centre square and shrink it to this side; by default, use the whole image.
    task : str
        One of `problems.TASKS`.
    arguments : dict
        Arguments of the task's function in `problems`, such as ``{"sigma": 0.1}``. Its `seed` is
        that of the case, unless it is given here.
    recipe : str or Recipe
        ``"lab"``, ``"paper"``, or a recipe.
    changes : dict
        Changed fields of the recipe, as in `Recipe.replace`.
    seed : int
        Seed of the fit and of the noise.
    label : str
        Name in tables and figures, without influence on the fit.

    Examples
    --------
    >>> case = Case("camera", size=64, changes={"iterations": 200})
    >>> print(case)
    camera at 64, denoising, lab, iterations=200, seed 0
    >>> problem, recipe = case.make()
    >>> problem.shape, recipe.iterations
    ((1, 64, 64), 200)
    """

    image: str
    size: int | None = None
    task: str = "denoising"
    arguments: dict = dataclasses.field(default_factory=dict, hash=False)  # a dict has no hash
    recipe: str | recipes.Recipe = "lab"
    changes: dict = dataclasses.field(default_factory=dict, hash=False)
    seed: int = 0
    label: str = ""

    def __post_init__(self):
        if isinstance(self.image, os.PathLike):
            object.__setattr__(self, "image", os.fspath(self.image))

    def __str__(self):
        return ", ".join(self.parts())

    def parts(self):
        """Return the case in words: its image, task, recipe and seed."""
        size = "" if self.size is None else f" at {self.size}"
        changes = [str(self.label)] if self.label else _words(self.changes)
        return [
            f"{Path(str(self.image)).name}{size}",
            " ".join([str(self.task).replace("_", "-"), *_words(self.arguments)]),
            ", ".join([str(self.recipe_name()), *changes]),
            f"seed {self.seed}",
        ]

    def recipe_name(self):
        """Return the name of the recipe."""
        return getattr(self.recipe, "name", self.recipe)

    def about(self):
        """Return the case as the columns of a table."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return values | {"recipe": self.recipe_name()}

    def make(self):
        """Read the image, and return the problem (with its truth) and the complete recipe."""
        problem, recipe, _ = self.resolve()
        return problem, recipe

    def key(self):
        """Return a hash of all settings that affect the fit: 16 hexadecimal digits.

        It covers the bytes of an image file and all values of the recipe and of the task's
        arguments, but not the label, the version of the package or the machine.
        """
        return self.resolve()[2]

    def resolve(self):
        """Return the problem, the recipe and the key, for which the image is read once."""
        with blaming(self):
            function = lookup({t: getattr(problems, t) for t in problems.TASKS}, self.task, "task")
            arguments = _all_arguments(self, function)
            image, digest = _image(self.image, self.size)
            problem = function(image, **arguments)
            recipe = recipes.choose(self.recipe, problem).replace(**self.changes)
            return problem, recipe, _hash(self, arguments, recipe, digest)


def _words(values):
    if not isinstance(values, dict):  # `resolve` reports this mistake
        return [str(values)]
    return [f"{name}={value}" for name, value in values.items()]


def _all_arguments(case, function):
    """Return all arguments of the task except the image, including defaults and the seed."""
    _, *known = inspect.signature(function).parameters.values()
    values = {"seed": whole(case.seed, "seed", 0)}
    values |= only([each.name for each in known], case.arguments, f"the task {case.task!r}")
    return {each.name: values.get(each.name, each.default) for each in known}


def _hash(case, arguments, recipe, digest):
    settings = dataclasses.asdict(recipe)
    del settings["name"]
    decides = {
        "picture": Path(case.image).name if digest else case.image,  # as in the first keys
        "file": digest,
        "size": case.size,
        "task": case.task,
        "arguments": _without_later(case.task, arguments),
        "recipe": _without_later("recipe", settings),
        "seed": case.seed,
    }
    return hashlib.sha256(to_json(decides, sort_keys=True).encode()).hexdigest()[:16]


def _without_later(owner, values):
    later = LATER.items()
    return {k: value for k, value in values.items() if (f"{owner}.{k}", value) not in later}


def is_own(image):
    """Return whether an image is the user's own file, neither bundled nor the paper's."""
    return image not in images.BUNDLED and image not in images.paper_names()


def _image(name, size):
    """Return an image and the digest of its file, or None if the image is not a file."""
    if not isinstance(name, str):
        raise InputError(f"image={name!r} must be a name")
    if size is not None:
        size = whole(size, "size", images.SMALLEST_SIDE)
    stamp = None
    if is_own(name) and os.path.isfile(name):
        about = os.stat(name)
        stamp = about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
    image, digest = _read(name, size, stamp)
    return image.clone(), digest


@functools.lru_cache(maxsize=8)
def _read(name, size, stamp):
    """Read an image once for all of its cases; `stamp` changes when the file does."""
    if stamp is None:  # not a file; for a misspelt name, `load` lists the known names
        return images.load(name, size=size), None
    with open(name, "rb") as file:
        return images.read(name, size=size), hashlib.file_digest(file, "sha256").hexdigest()


def forget_images():
    """Free the memory of the images that cases have read."""
    _read.cache_clear()


@contextlib.contextmanager
def blaming(source):
    """Turn every error into an InputError whose message begins with a case or a file."""
    try:
        yield
    except Exception as error:
        said = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(one_line(f"{source}: {said}")) from error


def one_line(words):
    """Return a text as one line of at most 2,000 characters."""
    return " ".join(str(words)[:2000].split())


def only(known, given, whose):
    """Return a table if all of its keys are known; raise InputError otherwise."""
    if not isinstance(given, dict):
        raise InputError(f"{whose} takes a table of {', '.join(known)}, not {given!r}")
    for unknown in set(given) - set(known):
        raise InputError(f"{whose} has no {unknown!r}; it has {', '.join(known)}")
    return given


def grid(**axes):
    """Make a case for every combination of settings.

    Parameters
    ----------
    **axes
        Fields of `Case`. Lists, tuples, ranges and arrays are axes of the grid; other values are
        the same in all cases.

    Returns
    -------
    list of Case
        At most 100,000 cases; the first field changes slowest.

    Examples
    --------
    >>> cases = grid(image=["camera", "coins"], size=64, seed=range(3))
    >>> len(cases)
    6
    >>> grid(image="camera", seed=[])
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: seed is empty: there are no cases
    """
    only([field.name for field in dataclasses.fields(Case)], axes, "a case")
    if "image" not in axes:
        raise InputError("a grid needs image=: a name or a list of names")
    axis = (list, tuple, range, np.ndarray)
    listed = {k: v[: MOST + 1] if isinstance(v, axis) else [v] for k, v in axes.items()}
    check_count(**listed)
    return [Case(**dict(zip(listed, point))) for point in itertools.product(*listed.values())]


def check_count(**axes):
    """Raise InputError if the axes of a grid make no cases, or too many."""
    for name, values in axes.items():
        if not len(values):
            raise InputError(f"{name} is empty: there are no cases")
    if math.prod(map(len, axes.values())) > MOST:
        raise InputError(f"there are more than {MOST:,} cases: make several sweeps of them")
