"""Where a fit computes: device, precision, determinism, and the threads that do the work."""

import contextlib
import os
import shutil
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from .errors import InputError

READ_EVERY = 50
"""On a device that works ahead: iterations between two looks at what it computed."""

SMALL = 3e10
"""Networks below this cost (parameters x pixels) run on one core each; the lab's at 256x256 do."""


def works_ahead(device):
    """Whether a device executes asynchronously, so that reading a value has to wait for it."""
    return device.type != "cpu"


def due(device, iteration):
    """Whether to read values from a device at this iteration."""
    return not works_ahead(device) or iteration % READ_EVERY == 0


def read(scalars):
    """Return the values of tensors without dimensions, all of them in one wait for their device."""
    return torch.stack(scalars).tolist() if scalars else []


def wide(device):
    """Return the widest floating type of a device: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def find(device=None):
    """Return the device to fit on: the one that is asked for, or the best that is there."""
    if device is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
        device = "mps" if torch.backends.mps.is_available() else name
    try:
        found = torch.empty(0, device=device).device  # with its index: "cuda" is "cuda:0"
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"there is no device {device!r} here: {error}") from None
    if found.type == "meta":
        raise InputError("nothing is computed on the device 'meta': name another")
    return found


def layout(device):
    """Return how images lie in memory; a GPU's reproducible algorithms lose by channels last."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def precision(wanted, device):
    """bfloat16 pays where a processor multiplies it natively; elsewhere it is emulated."""
    if wanted == "auto":  # not on a GPU, where its casts cost more than it saves: RESULTS.md
        native = device.type == "cpu" and cpu_has_bfloat16()
        wanted = "bfloat16" if native else "float32"
    return getattr(torch, wanted)


def cpu_has_bfloat16():
    """Whether the processor has instructions for bfloat16."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # older releases cannot tell
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def can_compile():
    """Whether `torch.compile` finds what it needs for a CPU."""
    compilers = (os.environ.get("CXX"), "g++", "clang++", "cl")
    headers = os.path.join(sysconfig.get_path("include"), "Python.h")
    return os.path.exists(headers) and any(shutil.which(name) for name in compilers if name)


def compiled(network, device):
    """Let PyTorch compile a network; the weights stay those of the module that was handed in."""
    if device.type == "cpu" and not can_compile():
        raise InputError(
            "compiled=True needs a C++ compiler and Python's headers, and there are none: install "
            "them (on Debian g++ and python3-dev), or leave compiled out"
        )
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return torch.compile(network, mode=mode, dynamic=False)


class _Determinism:
    """PyTorch's switches for deterministic algorithms, on while anybody inside needs them.

    The switches belong to the process. Fits on several threads therefore count themselves: the
    first turns the switches on, and the last puts back what the first had found.
    """

    def __init__(self):
        self._lock, self._inside, self._before = threading.Lock(), 0, None

    def __enter__(self):
        with self._lock:
            if self._inside == 0:
                self._before = (
                    torch.are_deterministic_algorithms_enabled(),
                    torch.is_deterministic_algorithms_warn_only_enabled(),
                    torch.utils.deterministic.fill_uninitialized_memory,
                    torch.backends.cudnn.deterministic,
                    torch.backends.cudnn.benchmark,
                )
                # No filling: it would be one more kernel for every tensor, and nobody reads it.
                self._set(True, True, False, True, False)
            self._inside += 1

    def __exit__(self, *error):
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._set(*self._before)

    @staticmethod
    def _set(on, warn_only, fill, deterministic, benchmark):
        torch.use_deterministic_algorithms(on, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = benchmark


_determinism = _Determinism()


def reproducible(device):
    """Return a context in which a GPU gives the same bits each time; a CPU always does."""
    return _determinism if device.type == "cuda" else contextlib.nullcontext()


_counting = threading.Lock()


class Hands:
    """Threads of a fit's own, which do its work with their share of the CPU's cores.

    Several cores on one small network wait for each other at every layer: a fifth of the time on
    an idle machine, and nearly all of it on a busy one. With a core for each network, the result
    does not depend on how many there are, either. The caller's thread keeps all its cores, and an
    interrupt that meets the caller never cuts an iteration in half.

    Parameters
    ----------
    networks : list of torch.nn.Module
        The recipe's networks, all of one size.
    shape : tuple of int
        (C, H, W) of the image.
    device : torch.device
        A GPU needs no threads: everything is then done on the caller's.
    """

    def __init__(self, networks, shape, device):
        self._conductor = self._players = None
        if works_ahead(device):
            return
        work = sum(p.numel() for p in networks[0].parameters()) * shape[-2] * shape[-1]
        with _counting:
            cores = torch.get_num_threads()
            count = min(len(networks), cores)
            share = 1 if work <= SMALL else cores // count
            try:
                self._conductor = _threads(1, share)
                if count > 1:
                    self._players = _threads(count, share)
            except BaseException:
                self.__exit__()
                raise
            finally:
                torch.set_num_threads(cores)  # each thread has its own number; this is for new ones

    def run(self, work, *arguments):
        """Call `work` on the thread that does all but the networks' own steps."""
        if self._conductor is None:
            return work(*arguments)
        return self._conductor.submit(work, *arguments).result()

    def map(self, work, *each):
        """Call `work` for each, side by side; return the results in order. For use inside `run`."""
        if self._players is None:
            return [work(*arguments) for arguments in zip(*each)]
        return [one.result() for one in [self._players.submit(work, *a) for a in zip(*each)]]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for pool in (self._conductor, self._players):
            if pool is not None:
                pool.shutdown()


def _limit(cores):
    torch.set_num_threads(cores)
    # A thread takes the process's number when it first asks: now, and not after that was put back.
    torch.get_num_threads()


def _threads(count, cores):
    """Start threads that compute on so many cores each."""
    pool = ThreadPoolExecutor(count, initializer=_limit, initargs=(cores,))
    meet = threading.Barrier(count)
    try:
        list(pool.map(lambda _: meet.wait(), range(count)))  # all have begun
    except BaseException:  # the system gives no more threads: let those go that wait
        meet.abort()
        pool.shutdown()
        raise
    return pool


def share_of(count, cores):
    """Return a pool of `count` threads for whole fits, each of which may use so many cores."""
    with _counting:
        before = torch.get_num_threads()
        try:
            return _threads(count, cores)
        finally:
            torch.set_num_threads(before)
