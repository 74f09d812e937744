"""Random numbers that depend on a seed and a purpose.

Layers can only draw their weights from PyTorch's global random state. It is seeded for them and
restored afterwards, under a lock. Code outside this package does not take the lock: if another
thread draws random numbers at that moment, it draws from the seeded state.
"""

import contextlib
import threading
import zlib

import numpy as np
import torch

from .errors import whole


def generator(seed, purpose, device="cpu"):
    """Return a random number generator for a seed and a purpose, such as ``"noise"``.

    If the noise on an image and the network's input z were both drawn with seed 0, they would come
    from the same random bits: the network would find the noise in z and overfit early (measured:
    28.1 instead of 30.6 dB).

    >>> import torch
    >>> draws = [torch.rand(1, generator=generator(0, p)).item() for p in ("noise", "z", "z")]
    >>> draws[0] == draws[1], draws[1] == draws[2]
    (False, True)
    """
    return torch.Generator(device).manual_seed(derived(seed, purpose))


def derived(seed, purpose):
    """Return a 63-bit seed that depends on a seed and a purpose."""
    sequence = np.random.SeedSequence([whole(seed, "seed", 0), zlib.crc32(purpose.encode())])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


_lock = threading.RLock()


@contextlib.contextmanager
def borrowed_state(gpus=()):
    """Restore PyTorch's global random state, and that of the given GPUs, at the end of the block.

    The lock admits one thread at a time: fits that begin at the same moment would otherwise seed
    each other's networks.

    >>> before = torch.get_rng_state()
    >>> with borrowed_state():
    ...     _ = torch.manual_seed(1)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    with _lock, torch.random.fork_rng(devices=list(gpus)):
        yield


@contextlib.contextmanager
def seeded(seed, purpose, device):
    """Seed PyTorch's global random state for one purpose, and restore it at the end of the block.

    >>> def draw():
    ...     with seeded(0, "dropout", torch.device("cpu")):
    ...         return torch.rand(1).item()
    >>> draw() == draw()
    True
    """
    with borrowed_state([device] if device.type == "cuda" else []):
        torch.manual_seed(derived(seed, purpose))
        yield
