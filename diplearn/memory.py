"""Will a fit fit? Peak memory is estimated before the work starts, not met in the middle of it."""

from pathlib import Path

import psutil
import torch

from . import hardware, networks
from .errors import MemoryShortage
from .images import SMALLEST_SIDE
from .randomness import borrowed_state

CPU = torch.device("cpu")

# What the parts of a fit take, as measured with all the package's networks from 128 to 1024 px,
# in float32 and bfloat16 (tests/test_memory.py measures some of it again).
_BASE = 150_000_000  # what PyTorch loads and sets up for a first fit
_ACTIVATIONS = 1.5  # kept for the backward pass; their gradients and scratch space on top
_WEIGHTS = 12  # with gradients, Adam's moments, the last good state and the state of the run
_IMAGES = 20  # observation, truth, iterate, averages, and copies on the way
_SAVING = 16  # extra copies while a run is saved: the serialised tensors, and the archive


def estimate(network, channels, shape, autocast, count=1, saved=False):
    """Estimate the bytes that fitting a network takes beyond what the process holds already.

    Two small forward passes count what the backward pass will want to see again; a line through
    the two, over the number of pixels, leads to an image of any size.

    Parameters
    ----------
    network : torch.nn.Module
        Takes (1, channels, H, W).
    channels : int
        Of z.
    shape : tuple of int
        (C, H, W) of the image.
    autocast : callable
        Returns the context in which the network runs.
    count : int, optional
        How many such networks are fitted side by side.
    saved : bool, optional
        Whether the run will be saved to a file.

    Returns
    -------
    int
        Bytes, within about a third of what was measured. A network that takes images of one
        size only is counted without its activations.
    """
    return _Cost(network, channels, autocast, count, saved).of(shape)


class _Cost:
    """The estimate as a function of the shape; without `autocast`, of the weights alone."""

    def __init__(self, network, channels, autocast, count, saved=False, device=CPU):
        self.channels = channels
        self.copies, self.images = (each + saved * _SAVING for each in (_WEIGHTS, _IMAGES))
        self.weights = count * sum(p.numel() * p.element_size() for p in network.parameters())
        # As hardware.Hands has it: a GPU is given one network after the other.
        self.at_once = 1 if hardware.works_ahead(device) else min(count, torch.get_num_threads())
        self.per_pixel = self.constant = 0
        side = max(64, getattr(network, "smallest", 0))  # below, the network would fill it up
        try:
            small, large = (
                _activations(network, channels, (side, width), autocast)
                for width in (side, 2 * side)
            )
            self.per_pixel = (large - small) / side**2
            self.constant = max(0, small - self.per_pixel * side**2)
        except Exception:  # a network of the user's own, for one size of image
            pass

    def of(self, shape):
        images, height, width = shape
        padded = (-(-height // 32) * 32) * (-(-width // 32) * 32)  # as most networks do inside
        return int(
            _BASE
            + _ACTIVATIONS * self.at_once * (self.per_pixel * padded + self.constant)
            + self.copies * self.weights
            + 4 * height * width * (self.channels + self.images * images)
        )


def _activations(network, channels, size, autocast):
    """Bytes that a forward pass keeps for the backward pass, but for the weights."""
    device = next(network.parameters()).device
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold its graph, which holds it: for ever

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    gpus = [device] if device.type == "cuda" else []
    # A copy, and a random state of its own: running means and dropout must not notice.
    with networks.untouched(network) as copied, borrowed_state(gpus), hooks, autocast():
        own |= {p.untyped_storage().data_ptr() for p in copied.parameters()}
        output = copied(torch.zeros(1, channels, *size, device=device))
    if output.shape[-2:] != size:
        raise ValueError("the image does not follow the size of z")
    return sum(size for pointer, size in kept.items() if pointer not in own)


def available(device):
    """Return the bytes that a device, or the container that we are in, can still give.

    Parameters
    ----------
    device : torch.device
        Where a fit would run.

    Returns
    -------
    int or float
    """
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved  # earlier fits gave that back
    return min(psutil.virtual_memory().available, _container_room())


def _container_room(groups="/proc/self/cgroup", root="/sys/fs/cgroup"):
    """Return what the control groups that we are in still allow (Binder, Docker, Slurm)."""
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
        # Each group above has a limit of its own. Inside a container the path may be the host's,
        # and does not exist; the walk then ends at the container's own group.
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
    """Bytes of files that were read and can be forgotten: they count as used, but are not lost."""
    try:
        words = [line.split() for line in (group / "memory.stat").read_text().splitlines()]
    except OSError:
        return 0
    sizes = {name: int(size) for name, size in words}
    return sizes.get("total_inactive_file", sizes.get("inactive_file", 0))


def check(network, count, channels, problem, autocast, device, saved=False):
    """Raise MemoryShortage, naming a size that would fit, if a fit would not.

    Parameters
    ----------
    network, count, channels, autocast, saved
        As in `estimate`.
    problem : Problem
        What is to be restored.
    device : torch.device
        Where the fit will run.

    Returns
    -------
    int
        The estimate in bytes.

    Raises
    ------
    MemoryShortage
        The estimate is more than what is left.
    """
    return _demand(_Cost(network, channels, autocast, count, saved, device), problem, device)


def check_weights(network, count, channels, problem, device):
    """Raise MemoryShortage if weights and images alone would not fit; nothing is computed.

    Parameters
    ----------
    network : torch.nn.Module
        On the device "meta", without weights.
    count, channels, problem, device
        As in `check`.
    """
    _demand(_Cost(network, channels, None, count), problem, device)


def _demand(cost, problem, device):
    room, needed = available(device), cost.of(problem.shape)
    if needed <= room:
        return needed
    factor = getattr(problem.operator, "factor", 1)  # the advice is about the small image
    longest = _longest_that_fits(cost, problem.shape, factor, 0.9 * room)
    advice = (
        f"it would fit with images.read(path, longest={longest}), "
        f"or --longest {longest} on the command line"
        if longest
        else "even a small image would not fit; choose a narrower network, or a larger machine"
    )
    height, width = problem.shape[-2:]
    raise MemoryShortage(
        f"a fit at {width}x{height} pixels needs about {needed / 1e9:.1f} GB of memory, and "
        f"{max(0, room) / 1e9:.1f} GB are free; {advice}"
    )


def _longest_that_fits(cost, shape, factor, room):
    """Return the longer side, in steps of 16 pixels, of what fits; 0 if nothing does."""
    height, width = shape[-2] // factor, shape[-1] // factor
    for longest in range(max(height, width) // 16 * 16, 0, -16):
        ratio = longest / max(height, width)
        sides = [round(side * ratio) for side in (height, width)]
        if min(sides) < SMALLEST_SIDE:
            return 0
        if cost.of((shape[0], *(side * factor for side in sides))) <= room:
            return longest
    return 0
