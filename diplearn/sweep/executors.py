"""Executors for a sweep: one thread of this process, worker processes, or Dask."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from ..errors import InputError, whole

_local = threading.local()


class Stopped(OSError):
    """The disk, a worker or the scheduler failed and the sweep ended; finished fits are kept."""


def current_halt():
    """Return the event that ends this thread's fit early, or None in other executors."""
    return getattr(_local, "halt", None)


class _Halting:
    """An executor that ends its fits early when an error, such as a second Ctrl-C, occurs."""

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self.halt.set()
        self.shutdown(cancel_futures=True)


class Here(_Halting, ThreadPoolExecutor):
    """One thread of this process, so that Ctrl-C, which only the main thread gets, cuts no fit."""

    def __init__(self):
        self.halt = threading.Event()
        super().__init__(1, initializer=_begin, initargs=(self.halt,))


class Workers(_Halting, ProcessPoolExecutor):
    """Worker processes that ignore Ctrl-C and end when this process ends."""

    def __init__(self, count):
        context = multiprocessing.get_context("spawn")  # PyTorch's threads do not survive a fork
        self.halt = context.Event()
        super().__init__(
            count, mp_context=context, initializer=_begin_process, initargs=(self.halt,)
        )

    def submit(self, *args, **kwargs):
        """Submit work; block SIGINT meanwhile, so that a new worker ignores it while it imports."""
        with _interrupts_blocked():
            return super().submit(*args, **kwargs)


def _begin(halt):
    _local.halt = halt


def _begin_process(halt):
    _begin(halt)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)  # the parent was killed: its results would be lost


@contextlib.contextmanager
def _interrupts_blocked():
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def workers(count=None, threads=1):
    """Make an executor of worker processes.

    Parameters
    ----------
    count : int, optional
        Number of processes; by default one for every `threads` cores.
    threads : int, optional
        Cores for each fit; pass the same number to `sweep`.

    Returns
    -------
    concurrent.futures.Executor
        Use it in a ``with`` block, and in a script under ``if __name__ == "__main__":``, since
        each worker imports the script.

    Examples
    --------
    >>> with workers(2) as executor:  # doctest: +SKIP
    ...     table = sweep(cases, executor)
    """
    threads = whole(threads, "threads", 1)
    if count is None:
        affinity = getattr(os, "sched_getaffinity", None)  # the cores of a cluster's job
        cores = len(affinity(0)) if affinity else os.cpu_count()
        count = max(1, cores // threads)
    return Workers(whole(count, "workers", 1))


@contextlib.contextmanager
def cluster(address, timeout=10):
    """Connect to a running Dask scheduler.

    Parameters
    ----------
    address : str
        Such as ``"tcp://127.0.0.1:8786"``.
    timeout : float, optional
        Seconds to wait for the scheduler.

    Yields
    ------
    concurrent.futures.Executor
        The client's `get_executor()`. If a worker dies, Dask moves its cases, running or waiting,
        to other workers. A case that has lost four workers (Dask's `allowed-failures`) counts as
        failed, and the next sweep tries it again.

    Raises
    ------
    InputError
        Dask is not installed, or the address is invalid.
    Stopped
        No scheduler answers at the address.

    Examples
    --------
    >>> with cluster("tcp://127.0.0.1:8786") as executor:  # doctest: +SKIP
    ...     table = sweep(cases, executor)
    """
    client = _client(address, timeout)
    logger = logging.getLogger("distributed.client")
    with contextlib.ExitStack() as after:
        after.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)  # `Stopped` replaces Dask's log messages
        after.enter_context(client)
        if not client.scheduler_info()["workers"]:
            warnings.warn(
                f"the scheduler has no workers yet; start some with: dask worker {address}",
                RuntimeWarning,
                stacklevel=3,
            )
        yield client.get_executor(pure=False)


def _client(address, timeout):
    try:
        from distributed import Client
    except ImportError:
        raise InputError("Dask is not installed: pip install 'diplearn[cluster]'") from None
    try:
        return Client(address, timeout=timeout, set_as_default=False)
    except OSError:
        raise Stopped(
            f"no Dask scheduler answers at {address}; start one with: dask scheduler"
        ) from None
    except ValueError as error:
        raise InputError(f"--scheduler {address}: {error}") from None
