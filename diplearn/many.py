"""Several fits side by side, in one process."""

import contextlib
import math
import threading
from concurrent.futures import as_completed

import torch

from . import hardware, inputs, prepare, recipes
from .errors import InputError, whole
from .fitting import checked_problem, fit
from .progress import Progress

__all__ = ["fits"]

FITS_ON_A_GPU = 1
"""Fits that share a GPU: on an H200, four at once took as long as four in a row."""


def fits(wanted, *, cores=None, progress=True, resumable=False):
    """Make several fits side by side, each on cores of its own.

    A single small network keeps one core busy and leaves the others idle: several fits share the
    machine well. They run on threads of this process, as many at a time as there are cores for
    their networks and memory for all of them, and on a GPU one after the other. The results are
    those of `fit`. For more fits than the memory holds, or to keep the results, see `sweep`.

    Parameters
    ----------
    wanted : dict
        Name -> the arguments of one `fit`, as a dict.
    cores : int, optional
        The number of cores that all fits share; by default as many as PyTorch would use.
    progress : bool, optional
        Show a bar that counts fits.
    resumable : bool, optional
        Let each run keep its network, and what `resume` needs; without them a run is curves and
        images only.

    Returns
    -------
    dict
        Name -> Run, in the same order.

    Raises
    ------
    InputError
        Something in one of the fits does not fit together; the others end at their next iteration.
    KeyboardInterrupt
        After Ctrl-C: fits that are going on end at their next iteration, and the others do not
        begin. This error, like every other one, has the runs so far in its attribute `runs`.

    Examples
    --------
    >>> from diplearn import denoising, images, lab
    >>> problem, recipe = denoising(images.load("camera", size=32)), lab(members=1, iterations=5)
    >>> runs = fits({s: {"problem": problem, "recipe": recipe, "seed": s} for s in range(3)})
    >>> list(runs)
    [0, 1, 2]
    """
    halt = threading.Event()

    def one(**arguments):
        run = fit(**{"halt": halt, **arguments, "progress": False})
        return run if resumable else _light(run)

    if not (isinstance(wanted, dict) and all(isinstance(each, dict) for each in wanted.values())):
        raise InputError("many fits are named in a dict: name -> a dict of the arguments of fit")
    cores = torch.get_num_threads() if cores is None else whole(cores, "cores", 1)
    pool = hardware.pool_of(*_at_once(list(wanted.values()), cores))
    bar = Progress(len(wanted), show=progress and len(wanted) > 0, unit="fit")
    futures = {name: pool.submit(one, **arguments) for name, arguments in wanted.items()}
    try:
        with contextlib.closing(bar):
            for done, future in enumerate(as_completed(futures.values()), 1):
                future.result()  # an error is raised now, and not after the last fit
                bar.tell(done, "")
        return {name: future.result() for name, future in futures.items()}
    except BaseException as error:
        halt.set()
        with contextlib.suppress(KeyboardInterrupt):  # a second one: the fits end anyway
            pool.shutdown(cancel_futures=True)
        error.runs = dict(_finished(futures, resumable))
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _at_once(wanted, cores):
    """Return how many of these fits may run at a time, and the number of cores for each."""
    members, needed, devices = [1], [1], set()
    for arguments in wanted:
        problem = checked_problem(arguments.get("problem"))
        recipe = recipes.choose(arguments.get("recipe"), problem)
        device = hardware.find(arguments.get("device"))
        will_save = arguments.get("save") is not None
        channels = inputs.channels(recipe, problem.shape, arguments.get("z"))
        network = arguments.get("network")
        needed.append(prepare.check_memory(problem, recipe, network, channels, device, will_save))
        members.append(recipe.members)
        devices.add(device)
    share = min(cores, max(members))
    count = max(1, cores // share)
    if any(hardware.asynchronous(device) for device in devices):
        count = min(count, FITS_ON_A_GPU)
    free = min((hardware.available(device) for device in devices), default=math.inf)
    return int(max(1, min(count, free // max(needed)))), share


def _light(run):
    """Drop the networks of a run, and what else `resume` would need."""
    run.network = run.packed = None
    return run


def _finished(futures, resumable):
    """Yield name and run of each fit that has ended, also of those that an error ended."""
    for name, future in futures.items():
        if future.cancelled() or not future.done():
            continue
        error = future.exception()
        run = future.result() if error is None else getattr(error, "run", None)
        if run is not None:
            yield name, run if resumable else _light(run)
