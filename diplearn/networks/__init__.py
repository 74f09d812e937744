"""The networks f_θ, each a module from z (1, C_z, H, W) to an image (1, C, H, W).

A network of your own is any `torch.nn.Module` that does the same; ``dip.fit`` takes it as
``network=``. C_z is the recipe's `z_channels`, and C is 1 or 3:

>>> import torch
>>> network = torch.nn.Sequential(
...     torch.nn.Conv2d(32, 64, 5, padding=2),
...     torch.nn.LeakyReLU(),
...     torch.nn.Conv2d(64, 3, 5, padding=2),
...     torch.nn.Sigmoid(),  # so that the values are in (0, 1)
... )
>>> network(torch.rand(1, 32, 48, 40)).shape
torch.Size([1, 3, 48, 40])
"""

import contextlib
import copy

from torch import nn

from ..errors import InputError, lookup
from .decoder import DeepDecoder
from .hourglass import Hourglass
from .pixels import Pixels
from .resnet import ResNet
from .unet import UNet

__all__ = [
    "BY_NAME",
    "DeepDecoder",
    "Ensemble",
    "Hourglass",
    "Pixels",
    "ResNet",
    "UNet",
    "build",
    "parameter_count",
]

BY_NAME = {
    "hourglass": Hourglass,
    "decoder": DeepDecoder,
    "unet": UNet,
    "resnet": ResNet,
    "pixels": Pixels,
}


def build(name, inputs, shape, **options):
    """Build a network by its name.

    Parameters
    ----------
    name : {"hourglass", "decoder", "unet", "resnet", "pixels"}
        The architecture.
    inputs : int
        Channels of z.
    shape : tuple of int
        (C, H, W) of the image that the network is to make.
    **options
        Further arguments of the network's class.

    Returns
    -------
    torch.nn.Module
        With fresh weights, drawn from PyTorch's global random state.

    Raises
    ------
    InputError
        No network has that name, or its class does not take one of the options.

    Examples
    --------
    >>> network = build("hourglass", 32, (3, 256, 256), down=(32,) * 5)
    >>> type(network).__name__
    'Hourglass'
    """
    kind = lookup(BY_NAME, name, "network")
    channels, height, width = shape
    if kind is Pixels:
        required = {"outputs": channels, "height": height, "width": width}
    else:
        required = {"inputs": inputs, "outputs": channels}
    try:
        return kind(**required, **options)
    except TypeError as error:
        raise InputError(f"the network {name!r}: {error}") from None


class Ensemble(nn.Module):
    """Several networks, each fitted by itself; the output is the mean of their images.

    The paper averages two runs by hand (its section on denoising), with the same effect.

    Parameters
    ----------
    members : iterable of torch.nn.Module
        Networks that take the same z.

    Examples
    --------
    >>> import torch
    >>> pair = Ensemble([Hourglass(8, 1, (8, 8), skip=(4, 4)) for _ in range(2)])
    >>> pair(torch.rand(1, 8, 32, 32)).shape
    torch.Size([1, 1, 32, 32])
    """

    def __init__(self, members):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, z):
        """Return the mean of the members' images."""
        return sum(member(z) for member in self.members) / len(self.members)


def members(network):
    """Return the networks of an ensemble, or a network alone, as a list."""
    return list(network.members) if isinstance(network, Ensemble) else [network]


def parameter_count(network):
    """Count the parameters of a network.

    Parameters
    ----------
    network : torch.nn.Module
        Any network.

    Returns
    -------
    int

    Examples
    --------
    >>> parameter_count(Pixels(3, 10, 10))
    300
    """
    return sum(parameter.numel() for parameter in network.parameters())


@contextlib.contextmanager
def untouched(network):
    """Lend a copy of a network for a trial run; lend the network itself if it cannot be copied.

    In the second case, its parameters and buffers are restored afterwards.
    """
    try:
        copied = copy.deepcopy(network)
    except Exception:  # it holds a lock, or an open file
        before = {name: value.clone() for name, value in network.state_dict().items()}
        try:
            yield network
        finally:
            network.load_state_dict(before)
    else:
        yield copied
