"""What f_θ can be. Each is a plain module from z (1, C, H, W) to an image (1, 1 or 3, H, W)."""

import contextlib
import copy

from torch import nn

from ..errors import InputError
from .decoder import DeepDecoder
from .hourglass import Hourglass
from .pixels import Pixels
from .resnet import ResNet
from .unet import UNet

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
    name : str
        ``"hourglass"``, ``"decoder"``, ``"unet"``, ``"resnet"`` or ``"pixels"``.
    inputs : int
        Channels of z.
    shape : tuple of int
        (C, H, W) of the image that the network shall make.
    **options
        What else the network's class takes.

    Returns
    -------
    torch.nn.Module
        With fresh weights from torch's own generator.

    Raises
    ------
    InputError
        No network has that name, or it has no such option.

    Examples
    --------
    >>> network = build("hourglass", 32, (3, 256, 256), down=(32,) * 5)
    >>> type(network).__name__
    'Hourglass'
    """
    if name not in BY_NAME:
        raise InputError(f"no network is called {name!r}; there are {', '.join(BY_NAME)}")
    channels, height, width = shape
    if name == "pixels":
        required = {"outputs": channels, "height": height, "width": width}
    else:
        required = {"inputs": inputs, "outputs": channels}
    try:
        return BY_NAME[name](**required, **options)
    except TypeError as error:
        raise InputError(f"the network {name!r}: {error}") from None


class Ensemble(nn.Module):
    """Several networks side by side, fitted each by itself; their mean is the image.

    The paper averages two runs by hand (its section on denoising); this is the same.

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
        """Make the mean of the members' images."""
        return sum(member(z) for member in self.members) / len(self.members)


def members(network):
    """Return the networks of an ensemble, or a network alone, as a list."""
    return list(network.members) if isinstance(network, Ensemble) else [network]


def parameter_count(network):
    """Count the numbers that a fit may change."""
    return sum(parameter.numel() for parameter in network.parameters())


@contextlib.contextmanager
def untouched(network):
    """Lend a copy of a network, to try what must leave no trace; one that cannot be copied, itself.

    Parameters
    ----------
    network : torch.nn.Module
        If it cannot be copied, it is lent itself, and its buffers are restored afterwards.

    Yields
    ------
    torch.nn.Module
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
