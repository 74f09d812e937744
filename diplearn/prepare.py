"""All that is checked and built before the first iteration: memory, input, network."""

import functools

import torch

from . import hardware, inputs, memory, networks
from .errors import InputError, one_line
from .randomness import borrowed_state, derived
from .state import State


def new_state(problem, recipe, network=None, *, seed=0, device=None, z=None, will_save=False):
    """Return the state of a new fit; raise InputError or MemoryShortage if it is not possible."""
    device, own = hardware.find(device), network is not None
    channels = inputs.channels(recipe, problem.shape, z)
    check_memory(problem, recipe, network, channels, device, will_save)
    z = place_input(inputs.fixed(recipe, problem.shape, seed, z), device)
    if not own:
        network = build(problem, recipe, channels, seed)
    place(network, device)
    if own:
        try_out(network, z, problem.shape)
    return State(network, z, recipe, seed, own)


def check_memory(problem, recipe, network, channels, device, will_save=False):
    """Return the estimate of a fit's memory in bytes; raise MemoryShortage if that is too much.

    Nothing large is made before the check: neither z nor networks, nor what a rule hides.
    """
    if network is not None:
        check_module(network)
        count = 1
    else:
        count = recipe.members
        with torch.device("meta"):  # without weights, which may be too large themselves
            weightless = _member(recipe, channels, problem.shape)
        memory.check(memory.Estimate(weightless, channels, None, count), problem, device)
        with borrowed_state():
            network = _member(recipe, channels, problem.shape)
    precision = hardware.precision(recipe.precision, device)
    autocast = functools.partial(hardware.autocast, precision, device)
    estimate = memory.Estimate(network, channels, autocast, count, will_save, device)
    return memory.check(estimate, problem, device)


def place_input(z, device):
    """Return z on the device, in the memory format that is fastest there."""
    return z.to(device).contiguous(memory_format=hardware.layout(device))


def place(network, device):
    """Move a network to the device, in the memory format that is fastest there."""
    flat = all(parameter.ndim < 5 for parameter in network.parameters())
    network.to(device, **({"memory_format": hardware.layout(device)} if flat else {}))
    network.train()


def build(problem, recipe, channels, seed):
    """Build the recipe's networks, each from weights of its own that follow from the seed."""
    members = []
    for number in range(recipe.members):
        with borrowed_state():
            torch.manual_seed(derived(seed, f"weights {number}" if number else "weights"))
            member = _member(recipe, channels, problem.shape)
        if recipe.start_at_mean:
            _start_at_mean(member, problem)
        members.append(member)
    return members[0] if len(members) == 1 else networks.Ensemble(members)


def _member(recipe, channels, shape):
    try:
        return networks.build(recipe.network, channels, shape, **recipe.options).float()
    except InputError:
        raise
    except Exception as error:  # options may have any type and value
        words = f"the network {recipe.network!r} cannot be built: {one_line(error)}"
        raise InputError(words) from error


def _start_at_mean(network, problem):
    """Set the last bias so that the first output has the observation's mean colour."""
    last = getattr(network, "to_image", None)
    if getattr(last, "bias", None) is None:
        return
    known = problem.operator(torch.ones(problem.shape)).mean(dim=(1, 2))  # below 1 for a mask only
    mean = (problem.observation.cpu().mean(dim=(1, 2)) / known).clamp(0.02, 0.98)
    mean = mean.where(known > 0, 0.5)  # mid-grey for a channel that is wholly missing
    with torch.no_grad():
        last.bias.copy_(torch.logit(mean) if getattr(network, "sigmoid", False) else mean)


def check_module(network):
    """Raise InputError unless a user's network has parameters that can be fitted."""
    if not isinstance(network, torch.nn.Module):
        raise InputError(
            f"network={network!r} is not a torch.nn.Module: hand in an instance of one"
        )
    lazy = torch.nn.parameter.UninitializedTensorMixin
    if any(isinstance(p, lazy) for p in network.parameters()):
        raise InputError("the network has lazy parameters: call it once, before the fit")
    fitted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not fitted:
        raise InputError("the network has no parameters to fit")
    if any(parameter.is_complex() for parameter in fitted):
        raise InputError("the network has complex parameters; real ones can be fitted")
    if any(parameter.is_inference() for parameter in fitted):
        raise InputError("the network was made in inference mode: make it outside, to be fitted")
    if not all(torch.is_tensor(value) for value in network.state_dict().values()):
        raise InputError("the network has an extra state that is no tensor: it could not be kept")


def try_out(network, z, shape):
    """Raise InputError unless a user's network makes an image of this shape out of z."""
    try:
        # On a copy, with a random state of its own: running means and dropout are not affected.
        gpus = [z.device] if z.device.type == "cuda" else []
        with networks.untouched(network) as copied, borrowed_state(gpus), torch.enable_grad():
            made = copied(z)
    except Exception as error:
        words = f"the network cannot take z of shape {tuple(z.shape)}: {one_line(error)}"
        raise InputError(words) from error
    if not torch.is_tensor(made):
        kind = type(made).__name__
        raise InputError(f"the network makes a {kind} out of z; a tensor is expected")
    if tuple(made.shape) != (1, *shape):
        found = tuple(made.shape)
        raise InputError(f"the network makes {found} out of z; expected is {(1, *shape)}")
    if made.device != z.device:
        raise InputError(f"the network's output is on {made.device}; z is on {z.device}")
    if made.is_complex() or not made.is_floating_point():
        raise InputError(f"the network makes {made.dtype}; real floating numbers are expected")
    if not made.requires_grad:
        raise InputError("the network's output has no gradient: is it detached?")
