"""A residual network at full resolution: deep, and without any bottleneck.

He et al., CVPR 2016, doi:10.1109/CVPR.2016.90; the paper tries it on large holes.
"""

import torch
from torch import nn

from .hourglass import block
from .layers import conv, norm


class ResNet(nn.Module):
    """f_θ: a chain of residual blocks, each at the resolution of the image.

    Parameters
    ----------
    inputs, outputs, sigmoid
        As in `Hourglass`.
    width : int, optional
        Channels of every block.
    blocks : int, optional
        Number of blocks.

    Examples
    --------
    >>> ResNet(width=8, blocks=2)(torch.rand(1, 32, 17, 31)).shape
    torch.Size([1, 3, 17, 31])
    """

    def __init__(self, inputs=32, outputs=3, width=32, blocks=8, sigmoid=True):
        super().__init__()
        self.start = nn.Sequential(conv(inputs, width), nn.LeakyReLU(0.2, inplace=True))
        self.blocks = nn.ModuleList(
            nn.Sequential(*block(width, width, 3, "reflect"), conv(width, width), norm(width))
            for _ in range(blocks)
        )
        self.to_image = conv(width, outputs)
        self.sigmoid = sigmoid

    def forward(self, z):
        """Make an image (1, outputs, H, W) from z (1, inputs, H, W)."""
        x = self.start(z)
        for residual in self.blocks:
            x = x + residual(x)
        x = self.to_image(x)
        return torch.sigmoid(x) if self.sigmoid else x
