"""Make one fit of a sweep: the function that is sent to an executor."""

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
"""Held during a fit, since PyTorch's number of threads is global: of two fits at once in a process,
each would change it for the other."""


def run_case(case, key, threads=1):
    """Return the Result of one fit, with the image as uint8, or None if it was ended early.

    `key` is the case's key in the sending process; this process must compute the same one. If the
    fit fails, the row of the Result holds the error.
    """
    made, halt = [], current_halt()
    # In a forked process, the main thread would hang, waiting for the OpenMP threads of its parent;
    # a new thread starts its own. As a daemon, it does not keep a worker from ending.
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
    except BaseException as error:  # every error concerns this case only
        return failed(case, key, error)


def _run(case, key, halt):
    problem, recipe, own_key = case.resolve()
    if own_key != key:
        raise InputError(
            "the worker would make a different fit: its version of diplearn differs, or its file "
            f"{case.image} does"
        )
    return fit(problem, recipe, seed=case.seed, progress=False, halt=halt)


def failed(case, key, error):
    """Return the Result of a failed case: a row with the error."""
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
