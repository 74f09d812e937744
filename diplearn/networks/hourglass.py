"""The paper's network: an encoder-decoder ("hourglass") with narrow skip connections.

Ulyanov, Vedaldi & Lempitsky, Deep Image Prior, IJCV 128 (2020), section 4 and its figure of the
architecture, doi:10.1007/s11263-020-01303-4. The paper's symbols are in brackets.
"""

import torch
from torch import nn

from ..errors import InputError
from .layers import Mix, conv, mirror_padded, norm, upsampled


class Hourglass(nn.Module):
    """f_θ: an encoder that halves the image at each level, and a decoder with skip connections.

    Parameters
    ----------
    inputs : int, optional
        Channels of z.
    outputs : int, optional
        Channels of the image: 1 or 3.
    down, up : sequence of int, optional
        Channels of each level of the encoder (n_d) and decoder (n_u), from the full resolution to
        the coarsest; of equal length. By default `up` equals `down`.
    skip : sequence of int, optional
        Channels of each level's skip connection (n_s), one number per level; 0 for none.
    down_filter, up_filter, skip_filter : int, optional
        Odd filter sizes in the encoder (k_d), decoder (k_u) and skip connections (k_s).
    pointwise : bool, optional
        Follow each convolution of the decoder with a 1x1 convolution.
    upsampling : str or sequence of str, optional
        ``"bilinear"`` or ``"nearest"``, for all levels or for each.
    padding : str, optional
        ``"reflect"`` as published, ``"zeros"`` or ``"replicate"``.
    merge_norm : bool, optional
        Normalise the concatenated skip connection and coarser level before the convolution, as
        published. Without this layer, and with ``padding="zeros"``, an iteration takes about half
        the time and the images are as good.
    sigmoid : bool, optional
        Map the output into (0, 1).

    Examples
    --------
    The paper's denoising network has 2,217,831 parameters:

    >>> sum(p.numel() for p in Hourglass().parameters())
    2217831
    """

    def __init__(
        self,
        inputs=32,
        outputs=3,
        down=(128,) * 5,
        up=None,
        skip=(4,) * 5,
        *,
        down_filter=3,
        up_filter=3,
        skip_filter=1,
        pointwise=True,
        upsampling="bilinear",
        padding="reflect",
        merge_norm=True,
        sigmoid=True,
    ):
        super().__init__()
        up = down if up is None else up
        depth = len(down)
        modes = (upsampling,) * depth if isinstance(upsampling, str) else tuple(upsampling)
        if not depth == len(up) == len(skip) == len(modes) or depth == 0:
            raise InputError(
                f"down, up, skip and upsampling must name the same levels; they name "
                f"{depth}, {len(up)}, {len(skip)} and {len(modes)}"
            )
        if not set(modes) <= {"bilinear", "nearest"}:
            raise InputError(f"upsampling is bilinear or nearest, not {upsampling!r}")
        # At the coarsest level, reflection padding needs more pixels than it adds.
        self.multiple = 2**depth
        self.smallest = self.multiple * (max(down_filter, up_filter) // 2 + 1)
        self.levels = nn.ModuleList()
        for level in range(depth):
            self.levels.append(
                Level(
                    inputs=inputs if level == 0 else down[level - 1],
                    down=down[level],
                    below=up[level + 1] if level + 1 < depth else down[level],
                    up=up[level],
                    skip=skip[level],
                    filters=(down_filter, up_filter, skip_filter),
                    pointwise=pointwise,
                    mode=modes[level],
                    padding=padding,
                    merge_norm=merge_norm,
                )
            )
        self.to_image = conv(up[0], outputs, 1)
        self.sigmoid = sigmoid

    def forward(self, z):
        """Make an image (1, outputs, H, W) from z (1, inputs, H, W)."""
        height, width = z.shape[-2:]
        x = mirror_padded(z, self.multiple, self.smallest)
        coming_down = []
        for level in self.levels:
            coming_down.append(x)
            x = level.encode(x)
        for level, above in zip(reversed(self.levels), reversed(coming_down)):
            x = level.decode(x, above)
        x = self.to_image(x)[..., :height, :width]
        return torch.sigmoid(x) if self.sigmoid else x


class Level(nn.Module):
    """One level of the hourglass: its encoder, its skip connection and its decoder."""

    def __init__(
        self, inputs, down, below, up, skip, filters, pointwise, mode, padding, merge_norm
    ):
        super().__init__()
        down_filter, up_filter, skip_filter = filters
        self.encode = nn.Sequential(
            *block(inputs, down, down_filter, padding, stride=2),
            *block(down, down, down_filter, padding),
        )
        self.skip = nn.Sequential(*block(inputs, skip, skip_filter, padding)) if skip else None
        self.mode = mode
        self.norm = norm(skip + below) if merge_norm else None
        sources = [skip + below] if merge_norm or not skip else [skip, below]
        self.mix = Mix(sources, up, up_filter, padding)
        self.after = nn.Sequential(
            *normalised(up), *(block(up, up, 1, padding) if pointwise else ())
        )

    def decode(self, below, above):
        """Upsample the coarser level (`below`) and merge it with the skip connection of `above`."""
        parts = [upsampled(below, self.mode)]
        if self.skip is not None:
            parts.insert(0, self.skip(above))
        if self.norm is not None:
            parts = [self.norm(torch.cat(parts, dim=1))]
        return self.after(self.mix(*parts))


def block(inputs, outputs, size, padding, stride=1):
    """Return convolution, normalisation and activation, the unit of hourglass, U-Net and ResNet."""
    return conv(inputs, outputs, size, stride, padding), *normalised(outputs)


def normalised(channels):
    """Return normalisation and activation."""
    return norm(channels), nn.LeakyReLU(0.2, inplace=True)
