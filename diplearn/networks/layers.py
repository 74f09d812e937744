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


def continued(z, height, width):
    """Continue z by mirroring to at least (height, width), below and to the right.

    Unlike reflection padding this also works where the picture is smaller than what is added.

    Parameters
    ----------
    z : torch.Tensor
        (..., H, W).
    height, width : int
        Pixels wanted; at least H and W.

    Returns
    -------
    torch.Tensor
        (..., height, width).
    """
    if z.shape[-2:] == (height, width):
        return z
    rows, columns = (
        _mirrored(now, wanted, z.device) for now, wanted in zip(z.shape[-2:], (height, width))
    )
    return z.index_select(-2, rows).index_select(-1, columns)


def _mirrored(now, wanted, device):
    """0, 1, ..., n-1, n-1, ..., 1, 0, 0, 1, ... : `wanted` of them."""
    place = torch.arange(wanted, device=device) % (2 * now)
    return torch.minimum(place, 2 * now - 1 - place)


def round_up(side, multiple):
    """Return the smallest multiple that is at least `side`."""
    return -(-side // multiple) * multiple
