"""The few pieces that the networks share."""

import torch
from torch import nn


def conv(inputs, outputs, size=3, stride=1, padding="reflect"):
    """Return a convolution that keeps the size (or halves it, with stride 2)."""
    mode = padding if size > 1 else "zeros"  # 1x1 filters need no padding at all
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, padding_mode=mode)


def norm(channels):
    """Batch norm over the one picture; it never keeps running means, for there is no test set."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


def continued(z, multiple, smallest):
    """Continue z by mirroring, below and to the right, until the network can halve its sides.

    Unlike reflection padding this also works where the picture is smaller than what is added.

    Parameters
    ----------
    z : torch.Tensor
        (..., H, W).
    multiple : int
        Each side becomes a multiple of this ...
    smallest : int
        ... and at least this.

    Returns
    -------
    torch.Tensor
        (..., H', W'); z itself where nothing is missing.
    """
    for axis in (-2, -1):
        side = z.shape[axis]
        wanted = max(smallest, -(-side // multiple) * multiple)
        if wanted > side:
            place = torch.arange(wanted, device=z.device) % (2 * side)
            mirrored = torch.minimum(place, 2 * side - 1 - place)  # 0 1 ... n-1 n-1 ... 1 0 0 1 ...
            z = z.index_select(axis, mirrored)
    return z
