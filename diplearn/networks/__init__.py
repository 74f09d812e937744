"""The networks f_θ, each a module from z (1, C_z, H, W) to an image (1, C, H, W).

C_z is the recipe's `z_channels`, and C is 1 or 3. Any `torch.nn.Module` with these shapes will do;
pass it to ``dip.fit`` as ``network=``:

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
        (C, H, W) of the output image.
    **options
        Further arguments of the network's class; an unknown one raises InputError.

    Returns
    -------
    torch.nn.Module
        With weights drawn from PyTorch's global random state.

    Examples
    --------
    >>> type(build("hourglass", 32, (3, 256, 256), down=(32,) * 5)).__name__
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
    """Several networks with the same z, fitted separately; the output is the mean of their images.

    The paper averages two runs (in its section on denoising), which has the same effect.
    """

    def __init__(self, members):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, z):
        """Return the mean of the members' images."""
        return sum(member(z) for member in self.members) / len(self.members)


def members(network):
    """Return the networks of an ensemble as a list; a single network becomes a list of one."""
    return list(network.members) if isinstance(network, Ensemble) else [network]


def parameter_count(network):
    """Count the parameters of a network.

    Parameters
    ----------
    network : torch.nn.Module

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
    """Lend a copy of a network for a trial run; afterwards the network is as before.

    A network that cannot be copied is lent itself; its parameters and buffers are restored
    afterwards.
    """
    try:
        copied = copy.deepcopy(network)
    except Exception:  # the network holds a lock or an open file, for example
        before = {name: value.clone() for name, value in network.state_dict().items()}
        try:
            yield network
        finally:
            network.load_state_dict(before)
    else:
        yield copied
