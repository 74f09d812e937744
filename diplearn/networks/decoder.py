"""The deep decoder: only 1x1 convolutions and upsampling.

Heckel & Hand, Deep Decoder, ICLR 2019, arXiv:1810.03982. With fewer parameters than pixels it
cannot fit the noise. It also shows that the upsampling makes a prior without spatial filters.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .layers import norm


class DeepDecoder(nn.Module):
    """f_θ: a small tensor whose channels are mixed and upsampled, layer by layer.

    Parameters
    ----------
    inputs, outputs, sigmoid
        As in `Hourglass`; `inputs` is k in the paper.
    width : int, optional
        Channels of each layer.
    layers : int, optional
        Number of layers; each but the last doubles the size.

    Examples
    --------
    >>> DeepDecoder(layers=3)(torch.rand(1, 64, 48, 40)).shape
    torch.Size([1, 3, 48, 40])
    """

    def __init__(self, inputs=64, outputs=3, width=64, layers=6, sigmoid=True):
        super().__init__()
        self.mix = nn.ModuleList(
            nn.Conv2d(inputs if layer == 0 else width, width, 1, bias=False)
            for layer in range(layers)
        )
        self.norms = nn.ModuleList(norm(width) for _ in range(layers))
        self.to_image = nn.Conv2d(width, outputs, 1, bias=False)
        self.sigmoid = sigmoid

    def forward(self, z):
        """Make an image (1, outputs, H, W) from a corner of z (1, inputs, H, W)."""
        height, width = z.shape[-2:]
        doublings = len(self.mix) - 1
        # The decoder starts from a small tensor, but z is as large as the image: take a corner.
        x = z[..., : _start(height, doublings), : _start(width, doublings)]
        for layer, (mix, normalise) in enumerate(zip(self.mix, self.norms)):
            x = mix(x)
            if layer < doublings:
                x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = normalise(F.relu(x))
        x = self.to_image(x)[..., :height, :width]
        return torch.sigmoid(x) if self.sigmoid else x


def _start(side, doublings):
    return max(2, -(-side // 2**doublings))
