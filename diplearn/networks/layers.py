"""The layers that the networks share."""

import torch
import torch.nn.functional as F
from torch import nn


def conv(inputs, outputs, size=3, stride=1, padding="reflect"):
    """Return a convolution that keeps the size of the image (or halves it, with stride 2)."""
    mode = padding if size > 1 else "zeros"  # 1x1 filters need no padding
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, padding_mode=mode)


def norm(channels):
    """Batch norm over the one image: it never keeps running means, for there is no test set."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


class Mix(nn.Module):
    """A convolution of several tensors that need not be concatenated first."""

    def __init__(self, inputs, outputs, size, padding):
        super().__init__()
        self.shares = nn.ModuleList(conv(each, outputs, size, padding=padding) for each in inputs)
        for share in self.shares[1:]:
            share.bias = None  # one bias is enough

    def forward(self, *parts):
        """Convolve each part with its own filters, and add the results."""
        first, *others = (share(part) for share, part in zip(self.shares, parts))
        return sum(others, start=first)


def upsampled(x, mode):
    """Return x at twice its size, by ``"bilinear"`` or ``"nearest"`` interpolation."""
    return Bilinear.apply(x) if mode == "bilinear" else F.interpolate(x, scale_factor=2)


class Bilinear(torch.autograd.Function):
    """Bilinear interpolation to twice the size, with a fast gradient.

    The gradient is a convolution with (1 3 3 1) / 4 along each axis, with stride 2. PyTorch's own
    gradient takes ten times as long on a CPU, a fifth of the whole iteration, and sums in random
    order on a GPU.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        """Interpolate; beyond the edges, the outermost pixels are repeated."""
        return F.interpolate(x, scale_factor=2, mode="bilinear")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Save nothing: the gradient of a linear map does not depend on x."""

    @staticmethod
    def jvp(ctx, tangent):
        """Return the directional derivative: a linear map is its own derivative."""
        return Bilinear.forward(tangent)

    @staticmethod
    def backward(ctx, gradient):
        """Return the gradient with respect to x: the adjoint of the interpolation."""
        # The kernel is made on the device: copying it to a GPU would force a synchronisation.
        place = torch.arange(4, dtype=gradient.dtype, device=gradient.device)
        ramp = 1 - (place - 1.5).abs() / 2  # 1/4 3/4 3/4 1/4
        channels = gradient.shape[1]
        kernel = ramp.outer(ramp).expand(channels, 1, 4, 4)
        # Repeated edge pixels add up. (F.pad would take a slow path in deterministic mode.)
        edged = torch.ops.aten.replication_pad2d(gradient, (1, 1, 1, 1))
        return F.conv2d(edged, kernel, stride=2, groups=channels)


def mirror_padded(z, multiple, smallest):
    """Extend z by mirroring, at the bottom and on the right, until the network can halve its sides.

    Each side becomes a multiple of `multiple` and at least `smallest`. Unlike PyTorch's reflection
    padding, this also works if more pixels are added than z has.
    """
    for axis in (-2, -1):
        side = z.shape[axis]
        wanted = max(smallest, -(-side // multiple) * multiple)
        if wanted > side:
            place = torch.arange(wanted, device=z.device) % (2 * side)
            mirrored = torch.minimum(place, 2 * side - 1 - place)  # 0 1 ... n-1 n-1 ... 1 0 0 1 ...
            z = z.index_select(axis, mirrored)
    return z
