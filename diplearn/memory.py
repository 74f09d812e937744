"""Estimates of peak memory, made before a fit begins, so that no fit runs out of memory."""

import torch

from . import hardware, networks
from .errors import MemoryShortage
from .images import SMALLEST_SIDE
from .randomness import borrowed_state

# What the parts of a fit need, as measured with all the package's networks from 128 to 1024 pixels,
# in float32 and bfloat16 (tests/test_memory.py measures some of it again).
_BASE = 150_000_000  # what PyTorch loads and sets up for a first fit
_ACTIVATIONS = 1.5  # those kept for the backward pass, their gradients and scratch space
_WEIGHTS = 12  # with gradients, moments, the last checkpoint and copies
_IMAGES = 20  # observation, truth, iterate, averages, and copies
_SAVING = 16  # further copies while a run is saved: the serialised tensors, and the archive


class Estimate:
    """The memory in bytes that a fit needs beyond what the process holds, for images of any shape.

    Two small forward passes count what the backward pass needs of them, and a straight line over
    the number of pixels is drawn through both. What was measured differed by at most a third.
    Without `autocast`, or for a network that takes images of one size only, activations are not
    counted.
    """

    def __init__(self, network, channels, autocast, count=1, saved=False, device="cpu"):
        self.channels = channels  # of z
        self.copies, self.images = (each + saved * _SAVING for each in (_WEIGHTS, _IMAGES))
        self.weights = count * sum(p.numel() * p.element_size() for p in network.parameters())
        self.at_once = hardware.side_by_side(count, torch.device(device))
        self.per_pixel = self.constant = 0
        side = max(64, getattr(network, "smallest", 0))  # smaller images would be padded
        if autocast is None:
            return
        try:
            small, large = (
                _activations(network, channels, (side, width), autocast)
                for width in (side, 2 * side)
            )
            self.per_pixel = (large - small) / side**2
            self.constant = max(0, small - self.per_pixel * side**2)
        except Exception:  # a user's network, for images of one size
            pass

    def of(self, shape):
        """Return the estimate for an image of shape (C, H, W)."""
        images, height, width = shape
        padded = (-(-height // 32) * 32) * (-(-width // 32) * 32)  # as most networks do
        return int(
            _BASE
            + _ACTIVATIONS * self.at_once * (self.per_pixel * padded + self.constant)
            + self.copies * self.weights
            + 4 * height * width * (self.channels + self.images * images)
        )


def _activations(network, channels, size, autocast):
    """Return the bytes that a forward pass keeps for the backward pass, without the weights."""
    device = next(network.parameters()).device
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would refer to its graph, and the graph to it

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    gpus = [device] if device.type == "cuda" else []
    # On a copy, with a random state of its own: running means and dropout are not affected.
    with networks.untouched(network) as copied, borrowed_state(gpus), hooks, autocast():
        own |= {p.untyped_storage().data_ptr() for p in copied.parameters()}
        output = copied(torch.zeros(1, channels, *size, device=device))
    if output.shape[-2:] != size:
        raise ValueError("the image does not follow the size of z")
    return sum(size for pointer, size in kept.items() if pointer not in own)


def check(estimate, problem, device):
    """Return the estimate for a problem; raise MemoryShortage if there is not enough memory.

    The message names the largest image that would fit.
    """
    free, needed = hardware.available(device), estimate.of(problem.shape)
    if needed <= free:
        return needed
    factor = getattr(problem.operator, "factor", 1)  # the advice is about the small image
    longest = _longest_that_fits(estimate, problem.shape, factor, 0.9 * free)
    advice = (
        f"it would fit with images.read(path, longest={longest}), "
        f"or --longest {longest} on the command line"
        if longest
        else "even a small image would not fit; choose a narrower network, or a larger machine"
    )
    height, width = problem.shape[-2:]
    raise MemoryShortage(
        f"a fit at {width}x{height} pixels needs about {needed / 1e9:.1f} GB of memory, and "
        f"{max(0, free) / 1e9:.1f} GB are free; {advice}"
    )


def _longest_that_fits(estimate, shape, factor, room):
    """Return the longer side, in steps of 16 pixels, of what fits; 0 if nothing does."""
    height, width = shape[-2] // factor, shape[-1] // factor
    for longest in range(max(height, width) // 16 * 16, 0, -16):
        ratio = longest / max(height, width)
        sides = [round(side * ratio) for side in (height, width)]
        if min(sides) < SMALLEST_SIDE:
            return 0
        if estimate.of((shape[0], *(side * factor for side in sides))) <= room:
            return longest
    return 0
