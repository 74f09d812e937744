"""The "no prior" control of the paper: no network, the parameters are the pixels."""

import torch
from torch import nn


class Pixels(nn.Module):
    """f_θ(z) = θ: every pixel is a parameter, and z is not used.

    Parameters
    ----------
    outputs : int
        Channels of the image: 1 or 3.
    height, width : int
        Size of the image in pixels.

    Examples
    --------
    >>> Pixels(3, 16, 20)(torch.rand(1, 32, 16, 20)).shape
    torch.Size([1, 3, 16, 20])
    """

    def __init__(self, outputs, height, width):
        super().__init__()
        # The first image is uniform noise, like the z of the networks (paper, section 3.3).
        self.pixels = nn.Parameter(torch.rand(1, outputs, height, width) / 10)

    def forward(self, z):
        """Return the pixels, regardless of z."""
        return self.pixels
