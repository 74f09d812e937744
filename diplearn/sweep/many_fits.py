"""The sweep: hand out the cases that are not done, keep what comes back, and make a table of it."""

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

pd = lazy_loader.load("pandas")  # 34 MB; importing this module should not cost them

SHEET = 200
"""The largest number of images on the contact sheet."""

TICK = 0.2
"""Seconds between two looks at whether Ctrl-C was pressed."""

_DIED = "a worker process died, perhaps for want of memory: fewer workers need less"


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
        Folder for the results; it is made if it does not exist.
    threads : int, optional
        Cores for each fit. Rows are the same bit for bit only if this number is the same.
    progress : bool, optional
        Show a bar with the time left, or a few lines in a pipe.

    Returns
    -------
    pandas.DataFrame
        A row for each case that is done, as `table` gives it. A case that failed has its error in
        its row, and the next sweep tries it again. The folder also gets the table as table.csv,
        and the images as sheet.png.

    Raises
    ------
    InputError
        A case cannot be fitted or the folder cannot be written; this is raised before any fit.
    Stopped
        The disk is full, a worker process died, or the Dask scheduler went away. Finished fits are
        kept.

    Warns
    -----
    RuntimeWarning
        Ctrl-C was pressed. No further fit begins; those that are running here or in `workers` are
        finished and kept, unless Ctrl-C is pressed again. (Under Dask they are given up, because a
        client does not learn which ones are running.) Or the contact sheet could not be drawn.

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
    """Return a case and its key; raise now if it cannot be fitted, and not hours later."""
    problem, recipe, key = case.resolve()
    with blaming(case):
        if recipe.z == "given":
            raise InputError("its recipe takes z from the caller, and a sweep hands in none")
        stopping.choose(None, problem, recipe)
        with torch.device("meta"):  # a network without weights costs nothing
            networks.build(recipe.network, recipe.z_channels, problem.shape, **recipe.options)
        to_json(case.about())
    return key, case


def _run_all(missing, executor, threads, keep):
    """Submit all cases, and hand every result to `keep` when it arrives."""
    waiting = {}
    try:
        with interruptible() as interrupted:
            for key, case in missing.items():
                waiting[_submit(executor, case, key, threads)] = case, key
            while waiting:
                done, _ = wait(waiting, TICK, FIRST_COMPLETED)
                for future in done:
                    keep(_outcome(future, *waiting.pop(future)))
                if interrupted.is_set():  # cancel() returns False where a fit has begun
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
            f"submit() of {type(executor).__name__} returns no concurrent.futures.Future; "
            "a Dask client has get_executor() for this"
        )
    return future


def _outcome(future, case, key):
    """Return the result of a case, or None; an executor that broke is not the fault of a case."""
    if future.cancelled():  # and not by us
        raise Stopped("the executor gave up its cases, as Dask does when its scheduler goes away")
    error = future.exception()
    if isinstance(error, BrokenExecutor):
        raise Stopped(_DIED)
    if isinstance(error, KeyboardInterrupt):  # Ctrl-C reached a foreign worker: not done
        return None
    return future.result() if error is None else failed(case, key, error)


class _Keeper:
    """Stores results as they arrive, and counts them."""

    def __init__(self, store, total, missing, progress):
        self.store, self.total, self.done = store, total, total - missing
        self.bar = Progress(total, self.done, progress and missing > 0, unit="fit")
        self.close = self.bar.close

    def keep(self, result):
        """Store one result; a fit that was ended early has none."""
        if result is None:
            return
        row, image, curve = result
        self.store.put(row["key"], row, None if image is None else images.from_array(image), curve)
        self.done += 1
        reached = row["error"] or f"{row['psnr']:.2f} dB"
        words = " ".join(filter(None, [Path(row["image"]).name, str(row["label"]), reached]))
        self.bar.tell(self.done, words[:60])

    def tally(self):
        """Return a sentence: how many cases are done, and how to get the others."""
        return (
            f"{self.done} of {self.total} cases are kept in {self.store.folder}, and the same "
            "again does the rest"
        )


# The table and the contact sheet.


def _store(folder):
    return Store(folder, ("row", "image", "curve"), _is_whole)


def _is_whole(key, result):
    """Return whether a stored row is one of a sweep, and its curve, if it was read, the row's."""
    row = result.row
    pd.json_normalize(row)  # which fails for a row that is nested too deeply
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
        The case, what it reached (dB, iterations, seconds), and with which versions; `error` where
        it failed. Cases without a result have no row. A case's arguments and changes have columns
        such as "arguments.sigma" and "changes.learning_rate".

    Raises
    ------
    InputError
        There is no such folder, or a case does not exist or cannot be used.

    Examples
    --------
    >>> rows = table("results/denoised")  # doctest: +SKIP
    >>> rows.groupby("label").psnr.agg(["mean", "std"])  # doctest: +SKIP
    """
    store = _store(results)
    if not store.folder.is_dir():
        raise InputError(f"there is no folder {store.folder}")
    if cases is None:
        return pd.json_normalize(store.rows())
    return _table(store, [(case.key(), case) for case in cases])


def _table(store, keys):
    found = [(store.get(key, ("row",)), case) for key, case in keys]
    # One result may serve several cases, which differ in label or spelling: each row tells its own.
    rows = [result.row | json.loads(to_json(case.about())) for result, case in found if result]
    return pd.json_normalize(rows)


def _write_summary(store, keys, rows):
    """Write the table, and the contact sheet if it can be drawn."""
    with replacing(store.folder / "table.csv") as temporary:
        # A file name may hold bytes that are no character.
        rows.to_csv(temporary, index=False, errors="surrogateescape")
    kept = ((case, result) for key, case in keys if (result := store.get(key)))
    shown = list(itertools.islice(kept, SHEET))
    if not shown:
        return
    try:
        with replacing(store.folder / "sheet.png") as temporary:
            _sheet(shown).savefig(temporary, dpi=100)
    except Exception as error:  # hours of work must not end with an error about a drawing
        warnings.warn(
            one_line(f"the contact sheet was not drawn: {error}"), RuntimeWarning, stacklevel=3
        )


def _sheet(shown):
    """Draw the images that the rules chose, each with its PSNR and what sets its case apart."""
    from ..figures import contact_sheet  # matplotlib: no worker needs it

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
