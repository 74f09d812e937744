"""Many fits: in this process, in worker processes or on a Dask cluster; kept as they arrive.

    from diplearn import sweep

    cases = sweep.grid(image=["camera", "coins"], size=64, seed=range(3))
    with sweep.workers() as executor:
        table = sweep.sweep(cases, executor, results="denoised")

A `Case` says what to fit; `grid` makes many of them, and so does `read`, from a TOML file:

    images = ["camera", "photo.jpg"]       # bundled, the paper's, or files beside this one
    size = 64                                # centre squares; without it, whole images
    seeds = 3                                # 0, 1 and 2; or a list

    [problem]                                # or several tables [[problem]]
    task = "denoising"                       # and what that function of `problems` takes
    sigma = "25/255"

    [base]                                   # fields of the recipe, other than lab's own
    recipe = "lab"
    members = 1
    iterations = 400

    [vary.depth]                             # one factor at a time, around the base:
    2 = { options = { down = [16, 32], skip = [4, 4] } }
    3 = { options = { down = [16, 32, 64], skip = [4, 4, 4] } }

    [vary."learning rate"]
    slow = { learning_rate = 0.003 }
    fast = { learning_rate = 0.03 }

Here that makes five recipes (base, depth 2, depth 3, learning rate slow and fast), each for two
images and three seeds: 30 cases.

A result has the name of its case: a hash of everything that decides the fit. The same sweep again,
or a longer one, does only what is missing or damaged. Three files hold it: KEY.json (the row),
KEY.png (the image that the stopping rule chose) and KEY.csv (its curve).

The bits of a fit depend on how many cores share it. Each fit gets `threads` cores, one by default,
wherever it runs: on one machine, a row is the same in this process, in a worker and under Dask.
"""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import itertools
import json
import logging
import math
import multiprocessing
import os
import signal
import tempfile
import textwrap
import threading
import tomllib
import typing
import warnings
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from importlib import metadata
from pathlib import Path

import lazy_loader
import numpy as np
import torch

from . import images, networks, problems, recipes, stopping
from .errors import InputError, whole
from .files import check_writable, replacing
from .fitting import fit
from .interrupts import interruptible
from .progress import Progress

pd = lazy_loader.load("pandas")  # 34 MB that a worker does without

MOST = 100_000
"""Cases of one sweep, at most: a number with too many zeros should not fill the memory."""

SHEET = 200
"""Images on the contact sheet, at most."""

TICK = 0.2
"""Seconds between two looks at whether Ctrl-C was pressed."""


class Stopped(OSError):
    """The disk, a worker or the scheduler failed, and a sweep ended; what was done is kept."""


# What to fit.

IN_EVERY_KEY = frozenset(
    "network options z z_channels z_scale input_noise noise_kind optimiser learning_rate momentum "
    "members final_rate iterations stop average average_window project start_at_mean data_term "
    "tv_weight precision compiled sigma seed factor kernel mask quality width".split()
)
"""Settings of recipes and tasks that a case's key always holds. One that is not listed here, since
it is younger, is left out at its default: results that are stored already are found again."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One fit of a sweep: plain values, so that it can be sent, hashed and written down.

    Parameters
    ----------
    image : str or path-like
        A name as `images.load` takes it, or a file.
    size : int, optional
        Take the centre square at this size; by default the whole image.
    task : str
        One of `problems.TASKS`.
    arguments : dict
        What that function of `problems` takes, such as ``{"sigma": 0.1}``. Its `seed` is the
        case's, unless it is given here.
    recipe : str or Recipe
        ``"lab"``, ``"paper"``, or a recipe.
    changes : dict
        Fields of the recipe to change, as `Recipe.but` takes them.
    seed : int
        Of the fit and of the noise.
    label : str
        What to call it in tables and figures. It decides nothing.

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
        """List the words that tell this case from others."""
        size = "" if self.size is None else f" at {self.size}"
        changes = [str(self.label)] if self.label else _words(self.changes)
        return [
            f"{Path(str(self.image)).name}{size}",
            " ".join([str(self.task).replace("_", "-"), *_words(self.arguments)]),
            ", ".join([str(_name(self.recipe)), *changes]),
            f"seed {self.seed}",
        ]

    def make(self):
        """Read the image, and make of the case what `fit` takes.

        Returns
        -------
        problem : Problem
            With its truth.
        recipe : Recipe
            Complete.

        Raises
        ------
        InputError
            The image, the task, the recipe or a value does not exist or cannot be used; the
            message begins with the case.
        """
        return self._made()[:2]

    def _made(self):
        """Return problem, recipe and key: the image is read once for all of them."""
        with _blaming(self):
            arguments, defaults = self._arguments()
            image, file = _image(self.image, self.size)
            problem = getattr(problems, self.task)(image, **arguments)
            recipe = recipes.choose(self.recipe, problem).replace(**self.changes)
            settings = _telling(dataclasses.asdict(recipe), dataclasses.asdict(type(recipe)()))
            settings.pop("name", None)
            decides = {
                # "picture", as it was called when the first results were stored
                "picture": Path(self.image).name if file else self.image,
                "file": file,
                "size": self.size,
                "task": self.task,
                "arguments": _telling(arguments, defaults),
                "recipe": settings,
                "seed": self.seed,
            }
            key = hashlib.sha256(_json(decides, sort_keys=True).encode()).hexdigest()[:16]
            return problem, recipe, key

    def _arguments(self):
        """Return all that the problem's function takes, seed included, and its defaults."""
        if self.task not in problems.TASKS:
            known = ", ".join(problems.TASKS)
            raise InputError(f"no task is called {self.task!r}; there are {known}")
        _, *known = inspect.signature(getattr(problems, self.task)).parameters.values()
        defaults = {parameter.name: parameter.default for parameter in known}
        values = {"seed": whole(self.seed, "seed", 0)}
        values |= _only(defaults, self.arguments, f"the task {self.task!r}")
        return {name: values.get(name, default) for name, default in defaults.items()}, defaults

    def key(self):
        """Hash everything that decides the fit; the file names of the result begin with it.

        A file's image goes in with its bytes, the recipe with every field (those that were added
        later: where they are not at their defaults). What does not go in: the label, the
        package's version, the machine.

        Returns
        -------
        str
            16 hexadecimal digits.

        Raises
        ------
        InputError
            As `make`.

        Examples
        --------
        >>> plain = Case("camera", size=64)
        >>> plain.key() == Case("camera", size=64, arguments={"sigma": 25 / 255}).key()
        True
        >>> plain.key() == Case("camera", size=64, seed=1).key()
        False
        """
        return self._made()[2]


@contextlib.contextmanager
def _blaming(source):
    """Let every error begin with what is wrong: a case, or a file of cases."""
    try:
        yield
    except Exception as error:
        said = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(_line(f"{source}: {said}")) from error


def _line(words):
    return " ".join(str(words)[:2000].split())


def _words(values):
    if not isinstance(values, dict):  # a mistake, about to be said
        return [str(values)]
    return [f"{name}={value}" for name, value in values.items()]


def _name(recipe):
    return getattr(recipe, "name", recipe)


def _telling(values, defaults):
    return {k: v for k, v in values.items() if k in IN_EVERY_KEY or v != defaults[k]}


def _json(values, **options):
    def plain(value):
        if isinstance(value, (np.generic, np.ndarray)):
            return value.tolist()
        raise InputError(f"{value!r} is no plain value: a number, a text, a list or a table")

    return json.dumps(values, default=plain, **options)


def _is_own(image):
    return image not in images.BUNDLED and image not in images.paper_names()


def _image(name, size):
    """Load by name or read a file; what is neither is most likely a name that is misspelt."""
    if not isinstance(name, str):
        raise InputError(f"image={name!r} must be a name")
    if size is not None:
        size = whole(size, "size", images.SMALLEST_SIDE)
    stamp = None
    if _is_own(name) and os.path.isfile(name):
        about = os.stat(name)
        stamp = about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
    image, file = _read(name, size, stamp)
    return image.clone(), file


@functools.lru_cache(maxsize=8)
def _read(name, size, stamp):
    """Read an image once for all its cases; `stamp` says which state of a file is meant."""
    if stamp is None:
        return images.load(name, size=size), None
    with open(name, "rb") as file:
        return images.read(name, size=size), hashlib.file_digest(file, "sha256").hexdigest()


def _only(known, given, whose):
    """Return `given`, a table, if it has no other keys than the known ones."""
    if not isinstance(given, dict):
        raise InputError(f"{whose} takes a table of {', '.join(known)}, not {given!r}")
    for unknown in set(given) - set(known):
        raise InputError(f"{whose} has no {unknown!r}; it has {', '.join(known)}")
    return given


def grid(**axes):
    """Make a case of every combination.

    Parameters
    ----------
    **axes
        Fields of `Case`. A list, a tuple, a range or an array is an axis of the grid; any other
        value is the same in all cases.

    Returns
    -------
    list of Case
        The first field given changes slowest.

    Raises
    ------
    InputError
        A case has no such field, an axis is empty, or there are more than `MOST` cases.

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
    _only([field.name for field in dataclasses.fields(Case)], axes, "a case")
    if "image" not in axes:
        raise InputError("a grid needs image=, a name or a list of names")
    axis = (list, tuple, range, np.ndarray)
    listed = {k: v[: MOST + 1] if isinstance(v, axis) else [v] for k, v in axes.items()}
    _check_count(**listed)
    return [Case(**dict(zip(listed, point))) for point in itertools.product(*listed.values())]


def _check_count(**axes):
    for name, values in axes.items():
        if not len(values):
            raise InputError(f"{name} is empty: there are no cases")
    if math.prod(map(len, axes.values())) > MOST:
        raise InputError(f"there are more than {MOST:,} cases: make several sweeps of them")


# Cases from a file.

KEYS = ("images", "size", "seeds", "problem", "base", "vary")
"""What a TOML file may hold."""


def read(path):
    """Read the cases of a TOML file; the top of this module shows one.

    Parameters
    ----------
    path : str or path-like
        The file. Images that it names are looked for beside it.

    Returns
    -------
    list of Case
        Every image, problem and seed with the base recipe, then the same with the first level
        of the first factor, and so on.

    Raises
    ------
    InputError
        The file is missing or no TOML in UTF-8, or holds an unknown key, a value that nothing
        takes, nothing to do, or more than `MOST` cases.

    Examples
    --------
    >>> read("missing.toml")
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: there is no file missing.toml
    """
    path = Path(path)
    try:
        described = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows marks its texts
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8: save it with that encoding") from None
    except (OSError, ValueError, RecursionError) as error:  # a folder, no TOML, too deep
        raise InputError(_line(f"{path} cannot be read as TOML: {error}")) from None
    with _blaming(path):
        _check_value(described, "")
        return _cases(described, path.parent)


def _check_value(value, where, depth=0):
    """Refuse what no setting is, wherever it stands in the file."""
    if isinstance(value, (dict, list)):
        if depth > 6:
            raise InputError(f"{where} is nested too deeply")
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _check_value(inner, f"{where}.{name}".lstrip("."), depth + 1)
    elif not isinstance(value, (str, int, float)):
        raise InputError(f"{where} is a date or a time, which nothing here takes")
    elif not isinstance(value, str) and not abs(value) < 2**63:
        raise InputError(f"{where} must be a finite number of at most 64 bits")


def _cases(described, folder):
    _only(KEYS, described, "a sweep")
    if "images" not in described:
        raise InputError('it names no images: images = ["camera"]')
    names = [_located(name, folder) for name in _listed(described["images"])]
    seeds = described.get("seeds", 1)
    seeds = seeds if isinstance(seeds, list) else range(whole(seeds, "seeds", 0, MOST))
    tasks = [_problem(table) for table in _listed(described.get("problem", {}))]
    levels = list(_levels(described))
    _check_count(images=names, seeds=seeds, problem=tasks, vary=levels)
    return [
        Case(image, described.get("size"), *task, *recipe, seed, label)
        for label, recipe in levels
        for task in tasks
        for image in names
        for seed in seeds
    ]


def _listed(given):
    return given if isinstance(given, list) else [given]


def _located(name, folder):
    if not isinstance(name, str):
        raise InputError(f"images holds {name!r}: it must hold names")
    found = folder / name
    return str(found.resolve()) if _is_own(name) and os.path.isfile(found) else name


def _problem(table):
    """Split a table into the task and its arguments; numbers may be written as "25/255"."""
    if not isinstance(table, dict):
        raise InputError(f"problem is {table!r}: it must be a table, as in [problem]")
    arguments = {name: _number(name, value) for name, value in table.items() if name != "task"}
    return table.get("task", "denoising"), arguments


def _number(name, value):
    try:
        top, *bottom = map(float, value.split("/", 1))
        number = top / bottom[0] if bottom else top
    except (AttributeError, ValueError):  # no text; a text that is no number
        return value
    except ZeroDivisionError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} = {value!r} must be a finite number")
    return number


def _levels(described):
    """Yield a label, and the recipe with its changes: the base, then each level of each factor."""
    base = _fields(described.get("base", {}), "base")
    if "vary" not in described:
        yield "", _recipe(base)
        return
    yield "base", _recipe(base)
    factors = _filled(described["vary"], "vary", "a table for each factor, as in [vary.depth]")
    for factor, levels in factors:
        holds = "levels, as in slow = { learning_rate = 0.003 }"
        for level, changes in _filled(levels, f"vary.{factor}", holds):
            changes = _fields(changes, f"vary.{factor}.{level}")
            yield f"{factor} {level}", _recipe(_merged(base, changes))


def _filled(table, where, holds):
    if not (isinstance(table, dict) and table):
        raise InputError(f"{where} is empty: it holds {holds}")
    return table.items()


def _fields(table, where):
    known = ["recipe", *(field.name for field in dataclasses.fields(recipes.Recipe))]
    if not isinstance(_only(known, table, where).get("options", {}), dict):
        raise InputError(f"{where}.options is {table['options']!r}: it must be a table")
    return table


def _merged(base, changes):
    """Lay changes over the base's, as `Recipe.but` does: options join, unless the network goes."""
    if "options" in changes and "options" in base and "network" not in changes:
        changes = changes | {"options": base["options"] | changes["options"]}
    return base | changes


def _recipe(fields):
    return fields.get("recipe", "lab"), {k: v for k, v in fields.items() if k != "recipe"}


# One fit, wherever it runs.


class Result(typing.NamedTuple):
    """What a fit sends back.

    Attributes
    ----------
    row : dict
        The case, what was reached, and what with; or an error.
    image : numpy.ndarray or None
        (H, W) or (H, W, 3) uint8: what the stopping rule chose.
    curve : str or None
        The run's history as CSV.
    """

    row: dict
    image: np.ndarray | None = None
    curve: str | None = None


_own = threading.local()  # in a worker's thread: `halt`, the event that ends its fit early

_ALONE = threading.Lock()
"""One fit at a time in a process, where PyTorch has one number of cores for all new threads.

It is part of a fit's result, and the end of another fit would change it.
"""


def run_case(case, key, threads=1):
    """Make one fit: what is sent to an executor.

    Parameters
    ----------
    case : Case
        What to fit.
    key : str
        The case's key where it was sent from: it must be the same here.
    threads : int, optional
        Cores for the fit.

    Returns
    -------
    Result or None
        With an error in its row if the fit failed; None if it was ended early.
    """
    made, halt = [], getattr(_own, "halt", None)
    # In a new thread, OpenMP starts afresh: in a process that was forked, the thread that there is
    # waits for ever for helpers that it had before. As a daemon, it lets a worker end at any time.
    thread = threading.Thread(
        target=lambda: made.append(_run(case, key, threads, halt)), daemon=True
    )
    thread.start()
    thread.join()
    return made.pop()


def _run(case, key, threads, halt):
    try:
        with _ALONE, contextlib.ExitStack() as after:
            after.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
            problem, recipe, own = case._made()
            if own != key:
                raise InputError(
                    "the worker makes another fit of this case: it has another version of "
                    f"diplearn, or its file {case.image} differs"
                )
            run = fit(problem, recipe, seed=case.seed, progress=False, halt=halt)
        if run.stopped_by in ("halted", "interrupted"):
            return None
        return Result(
            _about(case, key) | _reached(run, threads),
            images.to_uint8(run.output),
            run.history.to_csv(),
        )
    except BaseException as error:  # whatever it is, it is this case's alone
        return _failed(case, key, error)


def _about(case, key):
    about = {field.name: getattr(case, field.name) for field in dataclasses.fields(Case)}
    return {"key": key} | about | {"recipe": _name(case.recipe)}


def _failed(case, key, error):
    return Result(_about(case, key) | {"error": _line(f"{type(error).__name__}: {error}")})


def _reached(run, threads):
    measured = ("psnr", "oracle_psnr", "oracle_at", "chosen_at", "stopped_at", "stopped_by")
    return {name: getattr(run, name) for name in measured} | {
        "loss": float(run.history["loss"].iloc[-1]),
        "parameters": networks.parameter_count(run.network),
        "seconds": run.seconds,
        "threads": threads,
        "device": next(run.network.parameters()).device.type,
        "diplearn": metadata.version("diplearn"),
        "torch": torch.__version__,
        "error": None,
    }


# Where fits run.


class _Halting:
    """An executor whose fits end at their next iteration when its `with` block is left in haste."""

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self.halt.set()
        self.shutdown(cancel_futures=True)


class _Here(_Halting, ThreadPoolExecutor):
    """One thread of this process; Ctrl-C meets the main thread, and no fit in the middle."""

    def __init__(self):
        self.halt = threading.Event()
        super().__init__(1, initializer=_begin, initargs=(self.halt,))


class _Workers(_Halting, ProcessPoolExecutor):
    """Processes that leave Ctrl-C to this one."""

    def __init__(self, count):
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.halt = context.Event()
        super().__init__(
            count, mp_context=context, initializer=_begin_process, initargs=(self.halt,)
        )

    def submit(self, *args, **kwargs):
        """Begin a process where one is wanted; it is born deaf to Ctrl-C, imports included."""
        with _interrupts_held():
            return super().submit(*args, **kwargs)


def _begin(halt):
    _own.halt = halt


def _begin_process(halt):
    _begin(halt)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    """Do not outlive a process that was killed: nobody would take the results."""
    multiprocessing.parent_process().join()
    os._exit(1)


@contextlib.contextmanager
def _interrupts_held():
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def workers(count=None, threads=1):
    """Make an executor of worker processes, as many as the cores allow.

    Parameters
    ----------
    count : int, optional
        Processes; by default one for every `threads` cores.
    threads : int, optional
        Cores for each fit, as `sweep` is told.

    Returns
    -------
    concurrent.futures.Executor
        For a ``with`` block. In a script, that must stand under ``if __name__ == "__main__":``,
        since each worker imports the script.

    Raises
    ------
    InputError
        The numbers are not positive.

    Examples
    --------
    >>> with workers(2) as executor:  # doctest: +SKIP
    ...     table = sweep(cases, executor)
    """
    threads = whole(threads, "threads", 1)
    if count is None:
        affinity = getattr(os, "sched_getaffinity", None)  # what a cluster's job was given
        cores = len(affinity(0)) if affinity else os.cpu_count()
        count = max(1, cores // threads)
    return _Workers(whole(count, "workers", 1))


@contextlib.contextmanager
def cluster(address, timeout=10):
    """Connect to a Dask scheduler that is running.

    Parameters
    ----------
    address : str
        Such as ``"tcp://127.0.0.1:8786"``.
    timeout : float, optional
        Seconds to wait for it.

    Yields
    ------
    concurrent.futures.Executor
        As `Client.get_executor` makes it. Dask gives the cases of a worker that died to others; a
        case whose workers died four times (Dask's `allowed-failures`) counts as failed, and one
        that stood in line behind it each time is blamed with it. The next sweep tries both again.

    Raises
    ------
    InputError
        Dask is not installed, or the address is none.
    Stopped
        Nobody answers there.

    Examples
    --------
    >>> with cluster("tcp://127.0.0.1:8786") as executor:  # doctest: +SKIP
    ...     table = sweep(cases, executor)
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError("Dask is not installed: pip install 'diplearn[cluster]'") from None
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except OSError:
        raise Stopped(
            f"no Dask scheduler answers at {address}; start one with: dask scheduler"
        ) from None
    except ValueError as error:
        raise InputError(f"--scheduler {address}: {error}") from None
    logger = logging.getLogger("distributed.client")
    with contextlib.ExitStack() as after:
        after.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)  # what it would log, Stopped says in a line
        after.enter_context(client)
        if not client.scheduler_info()["workers"]:
            warnings.warn(
                f"the scheduler waits for workers; start some with: dask worker {address}",
                RuntimeWarning,
                stacklevel=3,
            )
        yield client.get_executor(pure=False)


# Many fits.


def sweep(cases, executor=None, *, results="sweep", threads=1, progress=True):
    """Fit every case that is not done yet; keep each result as it arrives.

    Parameters
    ----------
    cases : iterable of Case
        From `grid`, `read`, or your own.
    executor : concurrent.futures.Executor, optional
        Where the fits run: `workers()`, `cluster(address)`, a Dask client's ``get_executor()``,
        or any other whose ``submit`` returns a `concurrent.futures.Future`. By default one fit
        after the other in this process.
    results : str or path-like, optional
        Folder for the results; it is made if it is not there.
    threads : int, optional
        Cores for each fit. Rows are the same bit for bit only where this is the same.
    progress : bool, optional
        Show a bar with the time left, or a few lines in a pipe.

    Returns
    -------
    pandas.DataFrame
        A row for each case that is done, as `table` gives it; a case that failed has its error
        there, and is tried again by the next sweep. The folder also gets it as table.csv, and the
        images as sheet.png.

    Raises
    ------
    InputError
        A case cannot be fitted or the folder cannot be written; said before the first fit.
    Stopped
        The disk is full, a worker process died, or the Dask scheduler went away. What was done is
        kept.

    Warns
    -----
    RuntimeWarning
        Ctrl-C came. No further fit is begun; those that run here or in `workers` are finished and
        kept, unless it comes again. (Dask's are given up: nothing tells which ones run.) Or the
        contact sheet cannot be drawn: all the rest is there.

    Examples
    --------
    >>> import tempfile
    >>> cases = grid(image="camera", size=32, seed=[0, 1], changes={"iterations": 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = sweep(cases, results=folder, progress=False)
    >>> done["stopped_at"].tolist()
    [2, 2]
    """
    threads, folder = whole(threads, "threads", 1), Path(results)
    if not (executor is None or hasattr(executor, "submit")):
        raise InputError(f"executor={executor!r} has no submit(); sweep.workers() makes one")
    _read.cache_clear()
    keys = [_checked(case) for case in cases]
    if not keys:
        raise InputError("there are no cases: nothing to do")
    _prepare(folder)
    missing = {key: case for key, case in keys if _kept(folder, key) is None}
    with contextlib.closing(_Keeper(folder, len(dict(keys)), len(missing), progress)) as keeper:
        try:
            with _Here() if executor is None else contextlib.nullcontext(executor) as chosen:
                _gather(missing, chosen, threads, keeper.keep)
            rows = _table(folder, keys)
            _finish(folder, keys, rows)
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if error.filename else error
            raise Stopped(f"{reason}; {keeper.tally()}") from error
        finally:
            _read.cache_clear()  # whole images
    if keeper.done < keeper.total:
        warnings.warn(f"interrupted: {keeper.tally()}", RuntimeWarning, stacklevel=2)
    return rows


def _checked(case):
    """Return the case's key and the case, if it can be fitted: nobody waits for an error."""
    problem, recipe, key = case._made()
    with _blaming(case):
        if recipe.z == "given":
            raise InputError("its recipe takes z from the caller, and a sweep hands in none")
        stopping.choose(None, problem, recipe)
        with torch.device("meta"):  # a network without weights costs nothing
            networks.build(recipe.network, recipe.z_channels, problem.shape, **recipe.options)
        _json(_about(case, key))
    return key, case


def _prepare(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from None
    check_writable(folder / "table.csv")
    check_writable(folder / "sheet.png")


def _gather(missing, executor, threads, keep):
    """Hand all cases to the executor, and every result to `keep` when it arrives."""
    keys, waiting = {}, set()
    try:
        with interruptible() as interrupted:
            for key, case in missing.items():
                future = _submitted(executor, case, key, threads)
                keys[future] = (case, key)
                waiting.add(future)
            while waiting:
                done, waiting = wait(waiting, TICK, FIRST_COMPLETED)
                for future in done:
                    keep(_outcome(future, *keys.pop(future)))
                if interrupted.is_set():  # cancel() says no where a fit has begun
                    waiting = {future for future in waiting if not future.cancel()}
    finally:
        for future in waiting:
            future.cancel()


def _submitted(executor, case, key, threads):
    try:
        future = executor.submit(run_case, case, key, threads)
    except BrokenExecutor:
        raise Stopped(_DIED) from None
    except RuntimeError as error:
        raise Stopped(f"the executor takes no more cases: {error}") from None
    if not isinstance(future, Future):
        raise InputError(
            f"submit() of {type(executor).__name__} returns no concurrent.futures.Future; "
            "a Dask client has get_executor() for this"
        )
    return future


_DIED = "a worker process died, perhaps for want of memory: fewer workers need less"


def _outcome(future, case, key):
    """Return what came of a case; an executor that broke is no case's fault."""
    if future.cancelled():  # not by us
        raise Stopped("the executor gave up its cases, as Dask does when its scheduler goes away")
    error = future.exception()
    if isinstance(error, BrokenExecutor):
        raise Stopped(_DIED)
    if isinstance(error, KeyboardInterrupt):  # it came to a worker, too: the case is not done
        return None
    return future.result() if error is None else _failed(case, key, error)


class _Keeper:
    """Writes results as they arrive, and tells how many there are."""

    def __init__(self, folder, total, missing, progress):
        self.folder, self.total, self.done = folder, total, total - missing
        self.bar = Progress(total, self.done, progress and missing > 0, unit="fit")
        self.close = self.bar.close

    def keep(self, result):
        """Write one result; what was ended early leaves none."""
        if result is None:
            return
        _store(self.folder, result)
        self.done += 1
        row = result.row
        reached = row["error"] or f"{row['psnr']:.2f} dB"
        words = " ".join(filter(None, [Path(row["image"]).name, str(row["label"]), reached]))
        self.bar.tell(self.done, words[:60])

    def tally(self):
        """Say what there is, and how the rest is had."""
        return (
            f"{self.done} of {self.total} cases are kept in {self.folder}, and the same again "
            "does the rest"
        )


# Results on the disk.


def _store(folder, result):
    """Write a result; its row comes last, since a case with a row is done."""
    image, curve, row = (_place(folder, result.row["key"], s) for s in (".png", ".csv", ".json"))
    if result.image is not None:
        images.write(images.from_array(result.image), image)
        with replacing(curve) as temporary:
            temporary.write_text(result.curve, encoding="utf-8")
    with replacing(row) as temporary:
        temporary.write_text(_json(result.row, indent=1), encoding="utf-8")


def _place(folder, key, suffix):
    """Return where a file goes; what stands there and cannot be replaced, as a folder, is moved."""
    path = folder / f"{key}{suffix}"
    if os.path.lexists(path) and not (path.is_file() and os.access(path, os.W_OK)):
        path.rename(Path(tempfile.mkdtemp(prefix="damaged-", dir=folder), path.name))
    return path


def _row(folder, key):
    """Return the stored row, or None where there is none that can be used."""
    path = folder / f"{key}.json"
    measured = ("psnr", "oracle_psnr", "oracle_at", "chosen_at", "stopped_at", "loss", "seconds")
    try:
        row = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        pd.json_normalize(row)  # it fails where a row is nested beyond measure
        flat = [value for name, value in row.items() if name not in ("arguments", "changes")]
        numbers = [row[name] for name in measured] if row["error"] is None else []
        good = row["key"] == key and not any(isinstance(value, (dict, list)) for value in flat)
        return row if good and all(isinstance(n, (int, float)) for n in numbers) else None
    except Exception:  # what is no row can fail in any way
        return None


def _kept(folder, key):
    """Return a result that is whole, or None: what is damaged is done again."""
    row, image, curve = _row(folder, key), folder / f"{key}.png", folder / f"{key}.csv"
    if row is None or row["error"] is not None or not (image.is_file() and curve.is_file()):
        return None
    try:
        text = curve.read_text(encoding="utf-8")
        last = text.splitlines()[-1] if text.endswith("\n") else ""  # else it was cut off
        if not (text.startswith("iteration,") and last.startswith(f"{row['stopped_at']},")):
            return None
        return Result(row, images.to_uint8(images.read(image)))
    except (OSError, ValueError):
        return None


def table(results, cases=None):
    """Read the rows that a sweep left.

    Parameters
    ----------
    results : str or path-like
        The folder.
    cases : iterable of Case, optional
        Whose rows, in this order; by default all that are there.

    Returns
    -------
    pandas.DataFrame
        What each case is, what it reached (dB, iterations, seconds) and what with; `error` where
        it failed. Cases without a result have no row. A case's arguments and changes have columns
        such as "arguments.sigma" and "changes.learning_rate".

    Raises
    ------
    InputError
        There is no such folder, or a case cannot be resolved.

    Examples
    --------
    >>> rows = table("results/denoised")  # doctest: +SKIP
    >>> rows.groupby("label").psnr.agg(["mean", "std"])  # doctest: +SKIP
    """
    folder = Path(results)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    if cases is not None:
        return _table(folder, [(case.key(), case) for case in cases])
    rows = [_row(folder, path.stem) for path in sorted(folder.glob("*.json"))]
    return pd.json_normalize([row for row in rows if row is not None])


def _table(folder, keys):
    rows = [(_row(folder, key), case) for key, case in keys]
    # One result may serve cases that differ in label or spelling: each row tells its own.
    told = [row | json.loads(_json(_about(case, row["key"]))) for row, case in rows if row]
    return pd.json_normalize(told)


def _finish(folder, keys, rows):
    """Write the table, and the contact sheet where it can be drawn."""
    with replacing(folder / "table.csv") as temporary:
        # A file name may hold bytes that are no character.
        rows.to_csv(temporary, index=False, errors="surrogateescape")
    kept = ((case, result) for key, case in keys if (result := _kept(folder, key)))
    shown = list(itertools.islice(kept, SHEET))
    if not shown:
        return
    try:
        with replacing(folder / "sheet.png") as temporary:
            _sheet(shown).savefig(temporary, dpi=100)
    except Exception as error:  # hours of work must not end with an image of them
        warnings.warn(
            _line(f"the contact sheet was not drawn: {error}"), RuntimeWarning, stacklevel=3
        )


def _sheet(shown):
    """Draw the chosen images, each with what tells its case from the others, and its PSNR."""
    from .figures import contact_sheet  # matplotlib: no worker needs it

    named = dict(zip(_titles([case for case, _ in shown]), (result for _, result in shown)))
    return contact_sheet(
        {title: result.image for title, result in named.items()},
        captions={title: f"{result.row['psnr']:.2f} dB" for title, result in named.items()},
        alt="What each fit chose",
    )


def _titles(cases):
    parts = list(zip(*(case.parts() for case in cases)))
    telling = [words for words in parts if len(set(words)) > 1] or parts[:1]
    titles = [textwrap.fill(", ".join(words), 26, max_lines=4) for words in zip(*telling)]
    if len(set(titles)) == len(titles):
        return titles
    return [f"{number}. {title}" for number, title in enumerate(titles, 1)]
