"""One fit of a sweep, from its case to its result: the part that is sent to an executor."""

import threading
from importlib import metadata

import torch

from .. import images, networks
from ..errors import InputError
from ..fitting import fit
from ..results import Result
from .cases import one_line
from .executors import current_halt

_ONE_AT_A_TIME = threading.Lock()
"""Held during a fit. The number of cores for new threads is PyTorch's global setting: fits that
overlap in one process would change it for each other, and none could put it back."""


def run_case(case, key, threads=1):
    """Make one fit; return its Result, with the image as uint8, or None if it was ended early.

    `key` is the case's key in the process that sent it; the key must be the same here. If the fit
    fails, the row of the result holds the error.
    """
    made, halt = [], current_halt()
    # In a forked process, the thread that came along waits for ever for the OpenMP helpers of its
    # parent; a new thread gets new ones. A daemon thread does not keep a worker from ending.
    work = threading.Thread(
        target=lambda: made.append(_result(case, key, threads, halt)), daemon=True
    )
    work.start()
    work.join()
    return made.pop()


def _result(case, key, threads, halt):
    try:
        with _ONE_AT_A_TIME:
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            try:
                run = _run(case, key, halt)
            finally:
                torch.set_num_threads(before)
        if run.cut_short:
            return None
        row = {"key": key} | case.about() | _reached(run, threads)
        return Result(row, images.to_uint8(run.output), run.history)
    except BaseException as error:  # whatever it is, it concerns this case only
        return failed(case, key, error)


def _run(case, key, halt):
    problem, recipe, own_key = case.resolve()
    if own_key != key:
        raise InputError(
            "the worker makes another fit of this case: it has another version of diplearn, or its "
            f"file {case.image} differs"
        )
    return fit(problem, recipe, seed=case.seed, progress=False, halt=halt)


def failed(case, key, error):
    """Return the result of a case that failed: a row with the error."""
    said = one_line(f"{type(error).__name__}: {error}")
    return Result({"key": key} | case.about() | {"error": said})


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
