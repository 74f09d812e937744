"""Run a sweep: submit the cases that are not done, store their results, and tabulate them."""

import contextlib
import itertools
import json
import textwrap
import warnings
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from pathlib import Path

import lazy_loader
import torch

from .. import images, networks, stopping
from ..errors import InputError, whole
from ..files import check_writable, replacing
from ..interrupts import interruptible
from ..progress import Progress
from ..results import Store, to_json
from .cases import blaming, forget_images, one_line
from .executors import Here, Stopped
from .one_fit import failed, run_case

pd = lazy_loader.load("pandas")  # imported on first use, since it takes 34 MB

SHEET = 200
"""Largest number of images on the contact sheet."""

TICK = 0.2
"""Seconds between two checks for Ctrl-C."""

_DIED = "a worker process died, perhaps because memory ran out: try fewer workers"


def sweep(cases, executor=None, *, results="sweep", threads=1, progress=True):
    """Fit every case that has no result yet, and store each result at once.

    Parameters
    ----------
    cases : iterable of Case
        From `grid`, `read`, or your own code.
    executor : concurrent.futures.Executor, optional
        `workers()`, `cluster(address)`, a Dask client's ``get_executor()``, or another whose
        ``submit`` returns a `concurrent.futures.Future`. By default, the fits run one after
        another in this process.
    results : str or path-like, optional
        Folder for the results, which is created if necessary.
    threads : int, optional
        Cores for each fit; with another number, the last bits of the results differ.
    progress : bool, optional
        Show a bar with the time left, or a few lines in a pipe.

    Returns
    -------
    pandas.DataFrame
        A row for each finished case, as in `table`. The row of a failed case holds the error, and
        the next sweep tries the case again. The folder also gets the table as table.csv and the
        images as sheet.png.

    Raises
    ------
    InputError
        A case cannot be fitted or the folder cannot be written; this is raised before any fit.
    Stopped
        The disk is full, a worker process died, or the Dask scheduler is gone; finished fits are
        kept.

    Warns
    -----
    RuntimeWarning
        The contact sheet could not be drawn, or Ctrl-C was pressed. After Ctrl-C, no fit begins;
        fits that are running here or in `workers` are finished and kept, unless Ctrl-C is pressed
        again. Under Dask, running fits are lost, because a client does not know them.

    Examples
    --------
    >>> import tempfile
    >>> from diplearn.sweep import grid
    >>> cases = grid(image="camera", size=32, seed=[0, 1], changes={"iterations": 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = sweep(cases, results=folder, progress=False)
    >>> done["stopped_at"].tolist()
    [2, 2]
    """
    threads, store = whole(threads, "threads", 1), _store(results)
    if not (executor is None or hasattr(executor, "submit")):
        raise InputError(f"executor={executor!r} has no submit(); sweep.workers() makes one")
    forget_images()
    keys = [_checked(case) for case in cases]
    if not keys:
        raise InputError("there are no cases: nothing to do")
    store.make_folder()
    for name in ("table.csv", "sheet.png"):
        check_writable(store.folder / name)
    missing = store.missing(dict(keys))
    with contextlib.closing(_Keeper(store, len(dict(keys)), len(missing), progress)) as keeper:
        try:
            with Here() if executor is None else contextlib.nullcontext(executor) as chosen:
                _run_all(missing, chosen, threads, keeper.keep)
            rows = _table(store, keys)
            _write_summary(store, keys, rows)
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if error.filename else error
            raise Stopped(f"{reason}; {keeper.tally()}") from error
        finally:
            forget_images()
    if keeper.done < keeper.total:
        warnings.warn(f"interrupted: {keeper.tally()}", RuntimeWarning, stacklevel=2)
    return rows


def _checked(case):
    """Return the key of a case and the case; raise InputError if the case cannot be fitted."""
    problem, recipe, key = case.resolve()
    with blaming(case):
        if recipe.z == "given":
            raise InputError("its recipe takes z from the caller, which a sweep cannot do")
        stopping.choose(None, problem, recipe)
        with torch.device("meta"):  # builds a network without weights, at no cost
            networks.build(recipe.network, recipe.z_channels, problem.shape, **recipe.options)
        to_json(case.about())
    return key, case


def _run_all(missing, executor, threads, keep):
    """Submit all cases, and call `keep` with each result when it arrives."""
    waiting = {}
    try:
        with interruptible() as interrupted:
            for key, case in missing.items():
                waiting[_submit(executor, case, key, threads)] = case, key
            while waiting:
                done, _ = wait(waiting, TICK, FIRST_COMPLETED)
                for future in done:
                    keep(_outcome(future, *waiting.pop(future)))
                if interrupted.is_set():  # cancel() returns False for a fit that has begun
                    waiting = {f: what for f, what in waiting.items() if not f.cancel()}
    finally:
        for future in waiting:
            future.cancel()


def _submit(executor, case, key, threads):
    try:
        future = executor.submit(run_case, case, key, threads)
    except BrokenExecutor:
        raise Stopped(_DIED) from None
    except RuntimeError as error:
        raise Stopped(f"the executor takes no more cases: {error}") from None
    if not isinstance(future, Future):
        raise InputError(
            f"submit() of {type(executor).__name__} does not return a concurrent.futures.Future; "
            "with a Dask client, use its get_executor()"
        )
    return future


def _outcome(future, case, key):
    """Return the Result of a case, or None; raise Stopped if the executor broke."""
    if future.cancelled():  # by the executor
        raise Stopped("the executor cancelled its cases, as Dask does if its scheduler is gone")
    error = future.exception()
    if isinstance(error, BrokenExecutor):
        raise Stopped(_DIED)
    if isinstance(error, KeyboardInterrupt):  # Ctrl-C reached a worker of the user's executor
        return None
    return future.result() if error is None else failed(case, key, error)


class _Keeper:
    """Stores and counts the results."""

    def __init__(self, store, total, missing, progress):
        self.store, self.total, self.done = store, total, total - missing
        self.bar = Progress(total, self.done, progress and missing > 0, unit="fit")
        self.close = self.bar.close

    def keep(self, result):
        """Store one Result; None is a fit that was ended early."""
        if result is None:
            return
        row, image, curve = result
        self.store.put(row["key"], row, None if image is None else images.from_array(image), curve)
        self.done += 1
        reached = row["error"] or f"{row['psnr']:.2f} dB"
        words = " ".join(filter(None, [Path(row["image"]).name, str(row["label"]), reached]))
        self.bar.tell(self.done, words[:60])

    def tally(self):
        """Return a sentence: how many cases are done, and how to continue."""
        return (
            f"{self.done} of {self.total} cases are kept in {self.store.folder}; run the same "
            "sweep again for the others"
        )


# The table and the contact sheet.


def _store(folder):
    return Store(folder, ("row", "image", "curve"), _is_whole)


def _is_whole(key, result):
    """Return whether a stored row is that of a sweep, and its curve, if read, belongs to it."""
    row = result.row
    pd.json_normalize(row)  # raises if the row is nested too deeply
    flat = [value for name, value in row.items() if name not in ("arguments", "changes")]
    if row["key"] != key or any(isinstance(value, (dict, list)) for value in flat):
        return False
    if row["error"] is not None:
        return result.curve is None
    measured = ("psnr", "oracle_psnr", "oracle_at", "chosen_at", "stopped_at", "loss", "seconds")
    if not all(isinstance(row[name], (int, float)) for name in measured):
        return False
    return result.curve is None or result.curve.index[-1] == row["stopped_at"]


def table(results, cases=None):
    """Read the stored rows of a sweep.

    Parameters
    ----------
    results : str or path-like
        The folder.
    cases : iterable of Case, optional
        The cases to read, in this order; by default all in the folder.

    Returns
    -------
    pandas.DataFrame
        A row for each case with a result: the case, its scores (dB, iterations, seconds), the
        versions, and `error` if it failed. Arguments and changes have columns such as
        "arguments.sigma" and "changes.learning_rate".

    Raises
    ------
    InputError
        The folder does not exist, or a case cannot be used.

    Examples
    --------
    >>> rows = table("results/denoised")  # doctest: +SKIP
    >>> rows.groupby("label").psnr.agg(["mean", "std"])  # doctest: +SKIP
    """
    store = _store(results)
    if not store.folder.is_dir():
        raise InputError(f"there is no folder {store.folder}")
    if cases is None:
        return pd.json_normalize([_renamed(row) for row in store.rows()])
    return _table(store, [(case.key(), case) for case in cases])


def _table(store, keys):
    found = [(store.get(key, ("row",)), case) for key, case in keys]
    # Cases that differ only in label or spelling share a result; each row shows its own case.
    rows = [
        _renamed(result.row) | json.loads(to_json(case.about())) for result, case in found if result
    ]
    return pd.json_normalize(rows)


def _renamed(row):
    """Return a row with the present names of its columns: an image was once called a picture."""
    return {"image" if name == "picture" else name: value for name, value in row.items()}


def _write_summary(store, keys, rows):
    """Write the table, and the contact sheet if it can be drawn."""
    with replacing(store.folder / "table.csv") as temporary:
        # A file name may contain bytes that are not valid characters.
        rows.to_csv(temporary, index=False, errors="surrogateescape")
    kept = ((case, result) for key, case in keys if (result := store.get(key)))
    shown = list(itertools.islice(kept, SHEET))
    if not shown:
        return
    try:
        with replacing(store.folder / "sheet.png") as temporary:
            _sheet(shown).savefig(temporary, dpi=100)
    except Exception as error:  # a drawing must not end hours of work
        warnings.warn(
            one_line(f"the contact sheet was not drawn: {error}"), RuntimeWarning, stacklevel=3
        )


def _sheet(shown):
    """Draw the results, each with its PSNR and the settings in which its case differs."""
    from ..figures import contact_sheet  # imports matplotlib, which no worker needs

    named = dict(zip(_titles([case for case, _ in shown]), (result for _, result in shown)))
    return contact_sheet(
        {title: result.image for title, result in named.items()},
        captions={title: f"{result.row['psnr']:.2f} dB" for title, result in named.items()},
        alt="The result of each fit",
    )


def _titles(cases):
    parts = list(zip(*(case.parts() for case in cases)))
    telling = [words for words in parts if len(set(words)) > 1] or parts[:1]
    titles = [textwrap.fill(", ".join(words), 26, max_lines=4) for words in zip(*telling)]
    if len(set(titles)) == len(titles):
        return titles
    return [f"{number}. {title}" for number, title in enumerate(titles, 1)]
