"""Where a fit computes: device, memory layout, precision, determinism, threads, free memory.

Every decision that depends on the hardware is made here. A setting that belongs to the whole
process is in force only while the code of this package runs, never while the caller's does.
"""

import contextlib
import os
import shutil
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import torch

from .errors import InputError

READ_EVERY = 50
"""Iterations between two synchronisations with a device that executes asynchronously."""

SMALL = 3e10
"""Networks below this cost (parameters x pixels) run on one core each; the lab's at 256x256 do."""


def asynchronous(device):
    """Whether a device executes asynchronously: reading a value then forces a synchronisation."""
    return device.type != "cpu"


def due(device, iteration):
    """Whether values may be read from a device at this iteration."""
    return not asynchronous(device) or iteration % READ_EVERY == 0


def read(scalars):
    """Return the values of scalar tensors, with a single synchronisation."""
    return torch.stack(scalars).tolist() if scalars else []


def wide(device):
    """Return the widest floating type of a device: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def find(device=None):
    """Return the device to fit on: the requested one, or by default a GPU if there is one."""
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
    """Return the memory format of images: a GPU's deterministic algorithms are slower in NHWC."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def precision(wanted, device):
    """Return the type of the network's arithmetic; "auto" is bfloat16 where that is faster.

    It is faster on a CPU with instructions for it. On a GPU its casts cost more than it saves.
    """
    if wanted == "auto":
        native = device.type == "cpu" and cpu_has_bfloat16()
        wanted = "bfloat16" if native else "float32"
    return getattr(torch, wanted)


def autocast(precision, device):
    """Return the context in which a network computes in this precision."""
    enabled = precision != torch.float32
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


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
    """Return a compiled version of a network, which shares the network's weights."""
    if device.type == "cpu" and not can_compile():
        raise InputError(
            "compiled=True needs a C++ compiler and Python's headers, and there are none: install "
            "them (on Debian g++ and python3-dev), or leave compiled out"
        )
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return torch.compile(network, mode=mode, dynamic=False)


class _Determinism:
    """A context in which PyTorch's switches for deterministic algorithms are on.

    The switches belong to the process, and several fits may run on threads. The first one to enter
    turns the switches on, and the last one to leave restores what the first had found.
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
                # Without filling uninitialised memory, which costs a kernel for every tensor.
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
    """Return a context in which a GPU gives the same bits each time, as a CPU always does."""
    return _determinism if device.type == "cuda" else contextlib.nullcontext()


_torch_threads = threading.RLock()  # held while PyTorch's thread count is changed


def side_by_side(count, device):
    """Return how many of the networks of a fit are computed at the same time."""
    with _torch_threads:
        return 1 if asynchronous(device) else min(count, torch.get_num_threads())


def threads_for(networks, shape):
    """Return how many threads fit these networks side by side, and the cores that each one uses.

    Several cores on one small network wait for each other at every layer, which costs a fifth of
    the time on an idle machine and nearly all of it on a busy one.
    """
    with _torch_threads:
        cores = torch.get_num_threads()
    count = min(len(networks), cores)
    cost = sum(p.numel() for p in networks[0].parameters()) * shape[-2] * shape[-1]
    return count, 1 if cost <= SMALL else cores // count


class ThreadPool:
    """The threads that do the work of a fit, each with its share of the cores.

    One thread runs the iterations, the others a network each. The caller's thread keeps all its
    cores, and an interrupt, which reaches only the caller, cannot cut an iteration in half. A GPU
    needs no threads: its work is done on the caller's.
    """

    def __init__(self, networks, shape, device):
        self._leader = self._workers = None
        if asynchronous(device):
            return
        count, share = threads_for(networks, shape)
        self._leader = pool_of(1, share)
        try:
            self._workers = pool_of(count, share) if count > 1 else None
        except BaseException:
            self.__exit__()
            raise

    def run(self, work, *arguments):
        """Call `work` on the thread that runs the iterations, and return its result."""
        if self._leader is None:
            return work(*arguments)
        return self._leader.submit(work, *arguments).result()

    def map(self, work, *each):
        """Call `work` for each item, side by side; to be called inside `run`."""
        if self._workers is None:
            return [work(*arguments) for arguments in zip(*each)]
        futures = [self._workers.submit(work, *arguments) for arguments in zip(*each)]
        return [future.result() for future in futures]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for pool in (self._leader, self._workers):
            if pool is not None:
                pool.shutdown()


def pool_of(count, cores):
    """Start a pool of `count` threads, each of which computes on so many cores."""
    with _torch_threads:
        before = torch.get_num_threads()
        try:
            return _started(count, cores)
        finally:
            torch.set_num_threads(before)  # for threads that are not of this pool


def _started(count, cores):
    pool = ThreadPoolExecutor(count, initializer=_limit, initargs=(cores,))
    meeting = threading.Barrier(count)
    try:
        list(pool.map(lambda _: meeting.wait(), range(count)))  # until all threads have begun
    except BaseException:  # the system refuses another thread: release those that wait
        meeting.abort()
        pool.shutdown()
        raise
    return pool


def _limit(cores):
    torch.set_num_threads(cores)
    # A thread copies PyTorch's thread count when it first asks for it: now, while it is `cores`.
    torch.get_num_threads()


def available(device):
    """Return the free memory of a device in bytes; for a CPU, what its container still allows."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved  # freed by earlier fits
    return min(psutil.virtual_memory().available, _container_room())


def _container_room(groups="/proc/self/cgroup", root="/sys/fs/cgroup"):
    """Return what the control groups of this process still allow (Binder, Docker, Slurm)."""
    try:
        lines = Path(groups).read_text().splitlines()
    except OSError:  # not Linux
        return float("inf")
    room = float("inf")
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "":  # version 2
            top, names = Path(root), ("memory.max", "memory.current")
        elif "memory" in kinds.split(","):  # version 1
            top, names = Path(root, "memory"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        # Each parent group has a limit, too. Inside a container the path may be the host's, which
        # does not exist there; the walk then ends at the container's own group.
        here = top / path.strip("/")
        for group in (here, *here.parents):
            room = min(room, _group_room(group, *names))
            if group == top:
                break
    return room


def _group_room(group, limit, usage):
    try:
        allowed, used = int((group / limit).read_text()), int((group / usage).read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return float("inf")
    return allowed - used + _reclaimable(group)


def _reclaimable(group):
    """Return the bytes of cached files, which count as used but can be freed at any time."""
    try:
        words = [line.split() for line in (group / "memory.stat").read_text().splitlines()]
    except OSError:
        return 0
    sizes = {name: int(size) for name, size in words}
    return sizes.get("total_inactive_file", sizes.get("inactive_file", 0))
