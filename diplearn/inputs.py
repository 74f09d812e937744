"""The input of the network: the fixed z, and the noise that is added to z in every iteration."""

import math

import torch

from . import hardware
from .errors import InputError
from .randomness import derived, generator

SHIFTS = 64
"""Positions along each axis at which shifted noise is cut from a canvas larger than z."""


def check(z, shape):
    """Return z if it fits an image of this shape; raise InputError if not."""
    if not torch.is_tensor(z) or z.ndim != 4 or z.shape[0] != 1 or z.shape[2:] != shape[1:]:
        found = tuple(z.shape) if torch.is_tensor(z) else f"none, but is a {type(z).__name__}"
        raise InputError(f"z has shape {found}; it must be (1, channels, {shape[1]}, {shape[2]})")
    if not z.is_floating_point() or z.layout != torch.strided or z.is_meta or z.shape[1] == 0:
        raise InputError(
            f"z is {z.dtype}, {z.layout}, on {z.device}: floating numbers are expected"
        )
    return z


def channels(recipe, shape, z=None):
    """Return the number of channels of z."""
    if z is not None:
        return check(z, shape).shape[1]
    return 2 if recipe.z == "mesh" else recipe.z_channels


def fixed(recipe, shape, seed, z=None):
    """Return z for an image of this shape: the caller's, or the recipe's noise or coordinates."""
    height, width = shape[-2:]
    if z is not None:
        return z.detach().float()
    if recipe.z == "given":
        raise InputError("this recipe takes its input from you: hand it in as z=")
    if recipe.z == "mesh":
        rows, columns = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
        return torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1])[None]
    noise = torch.rand((1, recipe.z_channels, height, width), generator=generator(seed, "z"))
    return noise * recipe.z_scale


class InputNoise:
    """Noise that is drawn anew in every iteration: a regularisation of the paper (section 4.1)."""

    def __init__(self, recipe, z, seed):
        self.size, self.kind = recipe.input_noise, recipe.noise_kind
        shifted = self.kind == "shifted"
        # Python needs the numbers of a shift, and reading them from a GPU forces a synchronisation.
        self.generator = generator(seed, "input noise", "cpu" if shifted else z.device)
        self.canvas = self._canvas(z, seed) if shifted and self.size else None

    def _canvas(self, z, seed):
        height, width = z.shape[-2:]
        shape = (*z.shape[:2], height + SHIFTS - 1, width + SHIFTS - 1)
        canvas = torch.rand(shape, generator=generator(seed, "canvas")).sub_(0.5)
        canvas = canvas.mul_(self.size * math.sqrt(12))  # U(0, 1) has the deviation 1 / √12
        return canvas.to(z.device, z.dtype, memory_format=hardware.layout(z.device))

    def add_to(self, z):
        """Return z with fresh noise added."""
        if self.size == 0:
            return z
        if self.canvas is not None:
            top, left = torch.randint(SHIFTS, (2,), generator=self.generator).tolist()
            height, width = z.shape[-2:]
            return z + self.canvas[..., top : top + height, left : left + width]
        noise = torch.empty_like(z)
        if self.kind == "uniform":
            bound = self.size * math.sqrt(3)  # U(-a, a) has the deviation a / √3
            noise.uniform_(-bound, bound, generator=self.generator)
        else:
            noise.normal_(0, self.size, generator=self.generator)
        return noise.add_(z)

    def position(self):
        """Return the type of the generator's device and its state, to be saved."""
        return self.generator.device.type, self.generator.get_state()

    def move_to(self, device_type, state, iteration):
        """Restore a saved position; on another kind of device the noise is seeded anew."""
        if device_type == self.generator.device.type:
            self.generator.set_state(state)
        else:  # by the iteration, so that the noise of the first iterations does not repeat
            self.generator.manual_seed(derived(iteration, "input noise"))
