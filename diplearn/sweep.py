"""Many fits: in this process, in worker processes or on a Dask cluster; kept as they arrive.

    from diplearn import sweep

    cases = sweep.grid(picture=["camera", "coins"], size=64, seed=range(3))
    with sweep.workers() as executor:
        table = sweep.sweep(cases, executor, results="denoised")

A `Case` says what to fit; `grid` makes many of them, and so does `read`, from a TOML file:

    pictures = ["camera", "photo.jpg"]       # bundled, the paper's, or files beside this one
    size = 64                                # centre squares; without it, whole pictures
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
pictures and three seeds: 30 cases.

A result has the name of its case: a hash of everything that decides the fit. The same sweep again,
or a longer one, does only what is missing. Three files hold it: KEY.json (the row), KEY.png (the
picture that the stopping rule chose) and KEY.csv (its curve).

The bits of a fit depend on how many cores share it. Each fit gets `threads` cores, one by default,
wherever it runs: on one machine, a row is the same in this process, in a worker and under Dask.
"""

import contextlib
import dataclasses
import hashlib
import inspect
import itertools
import json
import logging
import multiprocessing
import os
import signal
import textwrap
import threading
import tomllib
import typing
import warnings
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from fractions import Fraction
from importlib import metadata
from pathlib import Path

import lazy_loader
import numpy as np
import torch

from . import images, networks, problems, recipes, stopping
from .errors import InputError, whole
from .files import check_writable, replacing
from .fitting import fit, interruptible
from .progress import Progress

pd = lazy_loader.load("pandas")  # 34 MB that a worker does without

SHEET = 200
"""Pictures on the contact sheet, at most."""

TICK = 0.2
"""Seconds between two looks at whether Ctrl-C was pressed."""


class Stopped(OSError):
    """The disk, a worker or the scheduler failed, and a sweep ended; what was done is kept."""


# What to fit.


@dataclasses.dataclass(frozen=True)
class Case:
    """One fit of a sweep: plain values, so that it can be sent, hashed and written down.

    Parameters
    ----------
    picture : str
        A name as `images.load` takes it, or a file.
    size : int, optional
        Take the centre square at this size; by default the whole picture.
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

    picture: str
    size: int | None = None
    task: str = "denoising"
    arguments: dict = dataclasses.field(default_factory=dict)
    recipe: str | recipes.Recipe = "lab"
    changes: dict = dataclasses.field(default_factory=dict)
    seed: int = 0
    label: str = ""

    def __str__(self):
        return ", ".join(self.parts())

    def parts(self):
        """List the words that tell this case from others."""
        size = "" if self.size is None else f" at {self.size}"
        changes = [self.label] if self.label else _words(self.changes)
        return [
            f"{Path(str(self.picture)).name}{size}",
            " ".join([str(self.task).replace("_", "-"), *_words(self.arguments)]),
            ", ".join([str(_name(self.recipe)), *changes]),
            f"seed {self.seed}",
        ]

    def make(self):
        """Read the picture, and make of the case what `fit` takes.

        Returns
        -------
        problem : Problem
            With its truth.
        recipe : Recipe
            Complete.

        Raises
        ------
        InputError
            The picture, the task, the recipe or a value does not exist or cannot be used; the
            message begins with the case.
        """
        try:
            arguments = self._arguments()
            problem = getattr(problems, self.task)(_picture(self.picture, self.size), **arguments)
            return problem, recipes.choose(self.recipe, problem).but(**self.changes)
        except (TypeError, ValueError, AttributeError) as error:  # InputError is a ValueError
            raise InputError(f"{self}: {error}") from error

    def _arguments(self):
        """Return all that the problem's function takes, defaults and seed included."""
        if self.task not in problems.TASKS:
            known = ", ".join(problems.TASKS)
            raise InputError(f"no task is called {self.task!r}; there are {known}")
        _, *known = inspect.signature(getattr(problems, self.task)).parameters.values()
        values = {parameter.name: parameter.default for parameter in known}
        if "seed" in values:
            values["seed"] = self.seed
        return values | _only(values, self.arguments, f"the task {self.task!r}")

    def key(self):
        """Hash everything that decides the fit; the file names of the result begin with it.

        A file's picture goes in with its bytes, the recipe with every field. What does not go in:
        the label, the package's version, the machine.

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
        return self._key(self.make()[1])

    def _key(self, recipe):
        settings = dataclasses.asdict(recipe)
        settings.pop("name")
        file = None
        if _is_file(self.picture):
            file = hashlib.sha256(Path(self.picture).read_bytes()).hexdigest()
        decides = {
            "picture": Path(self.picture).name if file else self.picture,
            "file": file,
            "size": self.size,
            "task": self.task,
            "arguments": self._arguments(),
            "recipe": settings,
            "seed": self.seed,
        }
        text = json.dumps(decides, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _words(values):
    if not isinstance(values, dict):  # a mistake, about to be said
        return [str(values)]
    return [f"{name}={value}" for name, value in values.items()]


def _name(recipe):
    return getattr(recipe, "name", recipe)


def _is_file(picture):
    return picture not in images.BUNDLED and picture not in images.paper_names()


def _picture(name, size):
    """Load by name or read a file; what is neither is most likely a name that is misspelt."""
    if _is_file(name) and Path(name).is_file():
        return images.read(name, size=size)
    return images.load(name, size=size)


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
        Fields of `Case`. A list, a tuple or a range is an axis of the grid; any other value is
        the same in all cases.

    Returns
    -------
    list of Case
        The first field given changes slowest.

    Raises
    ------
    InputError
        A case has no such field, or an axis is empty.

    Examples
    --------
    >>> cases = grid(picture=["camera", "coins"], size=64, seed=range(3))
    >>> len(cases)
    6
    >>> grid(picture="camera", seed=[])
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: seed is empty: there are no cases
    """
    _only([field.name for field in dataclasses.fields(Case)], axes, "a case")
    if "picture" not in axes:
        raise InputError("a grid needs picture=, a name or a list of names")
    listed = {k: v if isinstance(v, (list, tuple, range)) else [v] for k, v in axes.items()}
    for name, values in listed.items():
        if not len(values):
            raise InputError(f"{name} is empty: there are no cases")
    return [Case(**dict(zip(listed, point))) for point in itertools.product(*listed.values())]


# Cases from a file.

KEYS = ("pictures", "size", "seeds", "problem", "base", "vary")
"""What a TOML file may hold."""


def read(path):
    """Read the cases of a TOML file; the top of this module shows one.

    Parameters
    ----------
    path : str or path-like
        The file. Pictures that it names are looked for beside it.

    Returns
    -------
    list of Case
        Every picture, problem and seed with the base recipe, then the same with the first level
        of the first factor, and so on.

    Raises
    ------
    InputError
        The file is missing or no TOML, or holds an unknown key or nothing to do.

    Examples
    --------
    >>> read("missing.toml")
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: there is no file missing.toml
    """
    path = Path(path)
    try:
        described = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:  # a folder, no text, no TOML
        raise InputError(f"{path} cannot be read as TOML: {error}") from None
    try:
        return _cases(described, path.parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _cases(described, folder):
    _only(KEYS, described, "a sweep")
    if "pictures" not in described:
        raise InputError('it names no pictures: pictures = ["camera"]')
    given = described["pictures"]
    pictures = [_located(name, folder) for name in (given if isinstance(given, list) else [given])]
    seeds = described.get("seeds", 1)
    seeds = seeds if isinstance(seeds, list) else list(range(whole(seeds, "seeds", 0)))
    given = described.get("problem", {})
    tasks = [_problem(table) for table in (given if isinstance(given, list) else [given])]
    for name, values in (("pictures", pictures), ("seeds", seeds), ("problem", tasks)):
        if not values:
            raise InputError(f"{name} is empty: there are no cases")
    return [
        Case(picture, described.get("size"), *task, *recipe, seed, label)
        for label, recipe in _levels(described)
        for task in tasks
        for picture in pictures
        for seed in seeds
    ]


def _located(name, folder):
    if not isinstance(name, str):
        raise InputError(f"pictures holds {name!r}: it must hold names")
    found = folder / name
    return str(found.resolve()) if _is_file(name) and found.is_file() else name


def _problem(table):
    """Split a table into the task and its arguments; numbers may be written as "25/255"."""
    if not isinstance(table, dict):
        raise InputError(f"problem is {table!r}: it must be a table, as in [problem]")
    arguments = {name: _number(value) for name, value in table.items() if name != "task"}
    return table.get("task", "denoising"), arguments


def _number(value):
    with contextlib.suppress(ValueError, TypeError, ZeroDivisionError):
        return float(Fraction(value)) if isinstance(value, str) else value
    return value


def _levels(described):
    """Yield a label, and the recipe with its changes: the base, then each level of each factor."""
    base = _fields(described.get("base", {}), "base")
    factors = described.get("vary", {})
    varied = "vary" in described
    yield ("base" if varied else ""), _recipe(base)
    if varied and not (isinstance(factors, dict) and factors):
        raise InputError("vary is empty: it holds a table for each factor, as in [vary.depth]")
    for factor, levels in factors.items():
        if not (isinstance(levels, dict) and levels):
            raise InputError(
                f"vary.{factor} is empty: it holds levels, as in slow = {{ learning_rate = 0.003 }}"
            )
        for level, changes in levels.items():
            changes = _fields(changes, f"vary.{factor}.{level}")
            yield f"{factor} {level}", _recipe(_merged(base, changes))


def _fields(table, where):
    known = ["recipe", *(field.name for field in dataclasses.fields(recipes.Recipe))]
    return _only(known, table, where)


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
    picture : numpy.ndarray or None
        (H, W) or (H, W, 3) uint8: what the stopping rule chose.
    curve : str or None
        The run's history as CSV.
    """

    row: dict
    picture: np.ndarray | None = None
    curve: str | None = None


_own = threading.local()  # in a worker's thread: `halt`, the event that ends its fit early

_ALONE = threading.Lock()
"""One fit at a time in a process: weights are drawn from torch's global generator."""


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
    try:
        if case.key() != key:
            raise InputError(
                "the worker makes another fit of this case: it has another version of diplearn, "
                f"or its file {case.picture} differs"
            )
        problem, recipe = case.make()
        with _ALONE, _cores(threads):
            halt = getattr(_own, "halt", None)
            run = fit(problem, recipe, seed=case.seed, progress=False, halt=halt)
    except Exception as error:  # whatever it is, it is this case's alone
        return _failed(case, key, error)
    if run.stopped_by in ("halted", "interrupted"):
        return None
    return Result(
        _about(case, key) | _measured(run) | _made_with(run, threads),
        images.to_uint8(run.output),
        run.history.to_csv(),
    )


def _about(case, key):
    about = {field.name: getattr(case, field.name) for field in dataclasses.fields(Case)}
    return {"key": key} | about | {"recipe": _name(case.recipe)}


def _failed(case, key, error):
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return Result(_about(case, key) | {"error": words})


def _measured(run):
    return {
        "psnr": run.psnr,
        "oracle_psnr": run.oracle_psnr,
        "oracle_at": run.oracle_at,
        "chosen_at": run.chosen_at,
        "stopped_at": run.stopped_at,
        "stopped_by": run.stopped_by,
        "loss": float(run.history["loss"].iloc[-1]),
        "parameters": networks.parameter_count(run.network),
        "seconds": run.seconds,
    }


def _made_with(run, threads):
    return {
        "threads": threads,
        "device": next(run.network.parameters()).device.type,
        "diplearn": metadata.version("diplearn"),
        "torch": torch.__version__,
        "error": None,
    }


@contextlib.contextmanager
def _cores(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    with _quiet("distributed.client"), client:  # what it would log, Stopped says in a line
        if not client.scheduler_info()["workers"]:
            warnings.warn(
                f"the scheduler waits for workers; start some with: dask worker {address}",
                RuntimeWarning,
                stacklevel=3,
            )
        yield client.get_executor(pure=False)


@contextlib.contextmanager
def _quiet(name):
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


# Many fits.


def sweep(cases, executor=None, *, results="sweep", threads=1, progress=True):
    """Fit every case that is not done yet; keep each result as it arrives.

    Parameters
    ----------
    cases : iterable of Case
        From `grid`, `read`, or your own.
    executor : concurrent.futures.Executor, optional
        Where the fits run: `workers()`, `cluster(address)`, a Dask client's ``get_executor()``,
        or any other. By default one fit after the other in this process.
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
        pictures as sheet.png.

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
        kept, unless it comes again. (Dask's are given up: nothing tells which ones run.)

    Examples
    --------
    >>> import tempfile
    >>> cases = grid(picture="camera", size=32, seed=[0, 1], changes={"iterations": 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = sweep(cases, results=folder, progress=False)
    >>> done["stopped_at"].tolist()
    [2, 2]
    """
    threads, folder = whole(threads, "threads", 1), Path(results)
    keys = [_checked(case) for case in cases]
    if not keys:
        raise InputError("there are no cases: nothing to do")
    _prepare(folder)
    missing = {key: case for key, case in keys if not _is_done(folder, key)}
    with contextlib.closing(_Keeper(folder, len(dict(keys)), len(missing), progress)) as keeper:
        try:
            with _Here() if executor is None else contextlib.nullcontext(executor) as chosen:
                _gather(missing, chosen, threads, keeper.keep)
            rows = _table(folder, keys)
            _finish(folder, keys, rows)
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if error.filename else error
            raise Stopped(f"{reason}; {keeper.tally()}") from error
    if keeper.done < keeper.total:
        warnings.warn(f"interrupted: {keeper.tally()}", RuntimeWarning, stacklevel=2)
    return rows


def _checked(case):
    """Return the case's key and the case, if it can be fitted: nobody waits for an error."""
    problem, recipe = case.make()
    try:
        if recipe.z == "given":
            raise InputError("its recipe takes z from the caller, and a sweep hands in none")
        stopping.choose(None, problem, recipe)
        with torch.device("meta"):  # a network without weights costs nothing
            networks.build(recipe.network, recipe.z_channels, problem.shape, **recipe.options)
        return case._key(recipe), case
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{case}: {error}") from error


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
        return executor.submit(run_case, case, key, threads)
    except BrokenExecutor:
        raise Stopped(_DIED) from None


_DIED = "a worker process died, perhaps for want of memory: fewer workers need less"


def _outcome(future, case, key):
    """Return what came of a case; an executor that broke is no case's fault."""
    if future.cancelled():  # not by us
        raise Stopped("the executor gave up its cases, as Dask does when its scheduler goes away")
    error = future.exception()
    if isinstance(error, BrokenExecutor):
        raise Stopped(_DIED)
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
        words = " ".join(filter(None, [Path(row["picture"]).name, row["label"], reached]))
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
    stem = folder / result.row["key"]
    if result.picture is not None:
        images.write(images.from_array(result.picture), stem.with_suffix(".png"))
        with replacing(stem.with_suffix(".csv")) as temporary:
            temporary.write_text(result.curve, encoding="utf-8")
    with replacing(stem.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(result.row, indent=1), encoding="utf-8")


def _row(folder, key):
    """Return the stored row, or None where there is none that can be read."""
    try:
        row = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return row if isinstance(row, dict) and row.get("key") == key else None


def _is_done(folder, key):
    row = _row(folder, key)
    kept = all((folder / f"{key}{suffix}").exists() for suffix in (".png", ".csv"))
    return row is not None and row.get("error") is None and kept


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
    # One result may serve two cases that differ in their labels alone.
    named = [row | {"label": case.label} for row, case in rows if row is not None]
    return pd.json_normalize(named)


def _finish(folder, keys, rows):
    """Write the table and the contact sheet."""
    with replacing(folder / "table.csv") as temporary:
        rows.to_csv(temporary, index=False)
    shown = [(key, case) for key, case in keys if _is_done(folder, key)][:SHEET]
    if shown:
        with replacing(folder / "sheet.png") as temporary:
            _sheet(folder, shown).savefig(temporary, dpi=100)


def _sheet(folder, shown):
    """Draw the chosen pictures, each with what tells its case from the others, and its PSNR."""
    from .figures import contact_sheet  # matplotlib: no worker needs it

    titles = _titles([case for _, case in shown])
    pictures = {title: images.read(folder / f"{key}.png") for title, (key, _) in zip(titles, shown)}
    captions = {
        title: f"{_row(folder, key)['psnr']:.2f} dB" for title, (key, _) in zip(titles, shown)
    }
    return contact_sheet(pictures, captions=captions, alt="What each fit chose")


def _titles(cases):
    parts = list(zip(*(case.parts() for case in cases)))
    telling = [words for words in parts if len(set(words)) > 1] or parts[:1]
    return [textwrap.fill(", ".join(words), 26) for words in zip(*telling)]
