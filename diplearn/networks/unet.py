"""A U-Net: an hourglass whose skip connections have as many channels as the network itself.

Ronneberger, Fischer & Brox, MICCAI 2015, arXiv:1505.04597; the paper tries it on large holes.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .hourglass import block
from .layers import mirror_padded


class UNet(nn.Module):
    """f_θ: two convolutions per level, average pooling, and full-width skip connections.

    Parameters
    ----------
    inputs, outputs, sigmoid
        As in `Hourglass`.
    widths : sequence of int, optional
        Channels of each level, from the full resolution to the coarsest.
    upsampling : str, optional
        ``"bilinear"`` or ``"nearest"``.

    Examples
    --------
    >>> UNet(widths=(8, 16))(torch.rand(1, 32, 17, 31)).shape
    torch.Size([1, 3, 17, 31])
    """

    def __init__(
        self,
        inputs=32,
        outputs=3,
        widths=(16, 32, 64, 128, 128),
        upsampling="bilinear",
        sigmoid=True,
    ):
        super().__init__()
        self.encoders = nn.ModuleList(
            double(inputs if level == 0 else widths[level - 1], width)
            for level, width in enumerate(widths)
        )
        self.decoders = nn.ModuleList(
            double(fine + coarse, fine) for fine, coarse in zip(widths[:-1], widths[1:])
        )
        self.to_image = nn.Conv2d(widths[0], outputs, 1)
        self.multiple = 2 ** (len(widths) - 1)
        self.upsampling, self.sigmoid = upsampling, sigmoid

    def forward(self, z):
        """Make an image (1, outputs, H, W) from z (1, inputs, H, W)."""
        height, width = z.shape[-2:]
        x = mirror_padded(z, self.multiple, 2 * self.multiple)
        skips = []
        for level, encode in enumerate(self.encoders):
            x = encode(x if level == 0 else F.avg_pool2d(x, 2))
            skips.append(x)
        for decode, skip in zip(reversed(self.decoders), reversed(skips[:-1])):
            x = F.interpolate(x, scale_factor=2, mode=self.upsampling)
            x = decode(torch.cat([skip, x], dim=1))
        x = self.to_image(x)[..., :height, :width]
        return torch.sigmoid(x) if self.sigmoid else x


def double(inputs, outputs):
    """Return two convolutions, each with normalisation and activation."""
    return nn.Sequential(
        *block(inputs, outputs, 3, "reflect"), *block(outputs, outputs, 3, "reflect")
    )
