"""The few pieces that the networks share."""

import torch
import torch.nn.functional as F
from torch import nn


def conv(inputs, outputs, size=3, stride=1, padding="reflect"):
    """Return a convolution that keeps the size (or halves it, with stride 2)."""
    mode = padding if size > 1 else "zeros"  # 1x1 filters need no padding at all
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, padding_mode=mode)


def norm(channels):
    """Batch norm over the one image; it never keeps running means, for there is no test set."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


class Mix(nn.Module):
    """A convolution of several inputs side by side, without copying them into one tensor first."""

    def __init__(self, inputs, outputs, size, padding):
        super().__init__()
        self.shares = nn.ModuleList(conv(each, outputs, size, padding=padding) for each in inputs)
        for share in self.shares[1:]:
            share.bias = None  # one is enough

    def forward(self, *parts):
        """Convolve each part with filters of its own, and add up."""
        first, *others = (share(part) for share, part in zip(self.shares, parts))
        return sum(others, start=first)


def upsampled(x, mode):
    """Bring an image to twice its size, ``"bilinear"`` or ``"nearest"``."""
    return Bilinear.apply(x) if mode == "bilinear" else F.interpolate(x, scale_factor=2)


class Bilinear(torch.autograd.Function):
    """Bilinear interpolation to twice the size, with a gradient that is quick to compute.

    The gradient is a convolution with (1 3 3 1) / 4 along each axis, in steps of two pixels. On a
    CPU, PyTorch's own takes ten times as long, a fifth of the whole iteration; on a GPU, its order
    of summation is random.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        """Interpolate; the outermost pixels are continued."""
        return F.interpolate(x, scale_factor=2, mode="bilinear")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep nothing: the map is linear."""

    @staticmethod
    def jvp(ctx, tangent):
        """Push a tangent forward: the map itself."""
        return Bilinear.forward(tangent)

    @staticmethod
    def backward(ctx, gradient):
        """Pull a gradient back."""
        # Made where it is needed: to copy numbers to a GPU would mean to wait for it.
        place = torch.arange(4, dtype=gradient.dtype, device=gradient.device)
        ramp = 1 - (place - 1.5).abs() / 2  # 1/4 3/4 3/4 1/4
        channels = gradient.shape[1]
        kernel = ramp.outer(ramp).expand(channels, 1, 4, 4)
        # What was continued adds up. (F.pad takes a slow way when asked for determinism.)
        edged = torch.ops.aten.replication_pad2d(gradient, (1, 1, 1, 1))
        return F.conv2d(edged, kernel, stride=2, groups=channels)


def mirror_padded(z, multiple, smallest):
    """Continue z by mirroring, below and to the right, until the network can halve its sides.

    Unlike reflection padding this also works where the image is smaller than what is added.

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
