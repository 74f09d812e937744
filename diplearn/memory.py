"""Will a fit fit? Peak memory is estimated before the work starts, not met in the middle of it."""

import copy
from pathlib import Path

import psutil
import torch

from . import networks
from .errors import MemoryShortage
from .images import SMALLEST_SIDE
from .randomness import borrowed_state

# What the parts of a fit take, as measured with all the package's networks from 128 to 1024 px,
# in float32 and bfloat16 (tests/test_memory.py measures some of it again).
_BASE = 150_000_000  # what PyTorch loads and sets up for a first fit
_ACTIVATIONS = 1.5  # kept for the backward pass; their gradients and scratch space on top
_WEIGHTS = 12  # with gradients, Adam's moments, the last good state and the state of the run
_PICTURES = 20  # observation, truth, iterate, averages, and copies on the way


def estimate(network, channels, shape, autocast):
    """Estimate the bytes that fitting a network takes beyond what the process holds already.

    Two small forward passes count what the backward pass will want to see again; a line through
    the two, over the number of pixels, leads to a picture of any size.

    Parameters
    ----------
    network : torch.nn.Module
        Takes (1, channels, H, W).
    channels : int
        Of z.
    shape : tuple of int
        (C, H, W) of the picture.
    autocast : callable
        Returns the context in which the network runs.

    Returns
    -------
    int
        Bytes, within about a third of what was measured. A network that takes pictures of one
        size only is counted without its activations.
    """
    return _Cost(network, channels, autocast).of(shape)


class _Cost:
    """The estimate as a function of the picture's shape."""

    def __init__(self, network, channels, autocast):
        self.channels = channels
        self.weights = sum(p.numel() * p.element_size() for p in network.parameters())
        members = networks.members(network)
        cores = torch.get_num_threads() if next(network.parameters()).device.type == "cpu" else 1
        self.at_once = min(len(members), cores)  # as fitting.Crew has it
        network = members[0]
        side = max(64, getattr(network, "smallest", 0))  # below, the network would fill it up
        try:
            small, large = (
                _activations(network, channels, (side, width), autocast)
                for width in (side, 2 * side)
            )
            self.per_pixel = (large - small) / side**2
            self.constant = max(0, small - self.per_pixel * side**2)
        except Exception:  # a network of the user's own, for one size of picture
            self.per_pixel = self.constant = 0

    def of(self, shape):
        pictures, height, width = shape
        padded = (-(-height // 32) * 32) * (-(-width // 32) * 32)  # as most networks do inside
        return int(
            _BASE
            + _ACTIVATIONS * self.at_once * (self.per_pixel * padded + self.constant)
            + _WEIGHTS * self.weights
            + 4 * height * width * (self.channels + _PICTURES * pictures)
        )


def _activations(network, channels, size, autocast):
    """Bytes that a forward pass keeps for the backward pass, but for the weights."""
    # A copy, and a random state of its own: running means and dropout must not notice.
    network = copy.deepcopy(network)
    device = next(network.parameters()).device
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold its graph, which holds it: for ever

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    gpus = [device] if device.type == "cuda" else []
    with borrowed_state(gpus), hooks, autocast():
        output = network(torch.zeros(1, channels, *size, device=device))
    if output.shape[-2:] != size:
        raise ValueError("the picture does not follow the size of z")
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


def check(network, channels, shape, autocast, device, factor=1):
    """Raise MemoryShortage, naming a size that would fit, if a fit would not.

    Parameters
    ----------
    network, channels, shape, autocast
        As in `estimate`.
    device : torch.device
        Where the fit will run.
    factor : int, optional
        How many times larger the picture is than the one that the user has: the advice is about
        the latter.

    Raises
    ------
    MemoryShortage
        The estimate is more than what is left.
    """
    cost, room = _Cost(network, channels, autocast), available(device)
    if cost.of(shape) <= room:
        return
    longest = _longest_that_fits(cost, shape, factor, 0.9 * room)
    advice = (
        f"it would fit with images.read(path, longest={longest}), "
        f"or --longest {longest} on the command line"
        if longest
        else "even a small picture would not fit; choose a narrower network, or a larger machine"
    )
    raise MemoryShortage(
        f"a fit at {shape[-1]}x{shape[-2]} pixels needs about {cost.of(shape) / 1e9:.1f} GB of "
        f"memory, and {max(0, room) / 1e9:.1f} GB are free; {advice}"
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
