"""Will a fit fit? Peak memory is estimated before the work starts, not met in the middle of it."""

from pathlib import Path

import psutil
import torch

from .errors import MemoryShortage

_PROBE = 128  # pixels: large enough that padding inside the network hardly counts


def estimate(network, channels, shape, autocast):
    """Estimate the bytes that fitting a network takes beyond what the process holds already.

    A forward pass at 128x128 counts what the backward pass will want to see again; that grows with
    the number of pixels. Weights, gradients, Adam's moments and the last good state do not.

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
    int or None
        Bytes, within about a third of what was measured; None if the network is of one size only.
    """
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(network.parameters()).device
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast():
            output = network(torch.rand(1, channels, _PROBE, _PROBE, device=device))
            output.square().mean()
    except (RuntimeError, ValueError):
        return None
    activations = sum(size for pointer, size in kept.items() if pointer not in own)
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    if tuple(output.shape[-2:]) != (_PROBE, _PROBE):
        return None
    pixels = shape[-2] * shape[-1]
    # Gradients and the convolutions' scratch space come on top of the activations; and there are
    # a dozen pictures: truth, observation, iterate, averages, snapshots.
    return int(
        activations * pixels / _PROBE**2 * _OVERHEAD + weights * 7 + 12 * pixels * shape[0] * 4
    )


_OVERHEAD = 1.5


def available(device):
    """Return the bytes that a device, or the container that we are in, can still give."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(psutil.virtual_memory().available, _container_room())


def _container_room():
    """What a control group still allows (Binder, Docker, Slurm), or infinity."""
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        folder = Path("/sys/fs/cgroup")
        try:
            return int((folder / limit).read_text()) - int((folder / usage).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return float("inf")


def check(network, channels, shape, autocast, device):
    """Raise MemoryShortage, naming a size that would fit, if a fit would not.

    Parameters
    ----------
    network, channels, shape, autocast
        As in `estimate`.
    device : torch.device
        Where the fit will run.

    Raises
    ------
    MemoryShortage
        The estimate is more than what is left.
    """
    needed = estimate(network, channels, shape, autocast)
    room = available(device)
    if needed is None or needed <= room:
        return
    ratio = (0.9 * room / needed) ** 0.5
    height, width = (int(side * ratio) // 16 * 16 for side in shape[-2:])
    advice = (
        f"it would fit at {width}x{height}: images.read(path, longest={max(height, width)}), "
        f"or --longest {max(height, width)} on the command line"
        if min(height, width) >= 16
        else "choose a narrower network, such as the lab recipe's"
    )
    raise MemoryShortage(
        f"a fit at {shape[-1]}x{shape[-2]} pixels needs about {needed / 1e9:.1f} GB of memory, "
        f"and {room / 1e9:.1f} GB are free; {advice}"
    )
