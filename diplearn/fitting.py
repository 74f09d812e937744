"""The fit itself. `iterate` is the paper's equation as a generator; `fit` runs it and keeps a Run.

θ* = argmin_θ E(f_θ(z); x0),    x* = f_θ*(z)        (equation 2 of the paper)
"""

import contextlib
import copy
import dataclasses
import functools
import itertools
import math
import threading
import time
import warnings
from concurrent.futures import as_completed

import torch

from . import hardware, memory, networks, optimisers, recipes, stopping
from .energy import energy
from .errors import InputError, one_line, whole
from .hardware import Hands
from .interrupts import interruptible
from .problems import Problem
from .progress import Progress
from .randomness import borrowed_state, derived, generator, seeded
from .run import Run, named, under

GOOD_EVERY = hardware.READ_EVERY
"""Iterations between two good states that are kept; a GPU is asked then how the fit is doing."""

SPIKE = 10 ** (5 / 10)
"""A loss that grew by 5 dB since the last good state is a spike: the published rule."""

SHIFTS = 64
"""How far shifted input noise can be shifted, in pixels each way."""

SETBACKS = 3
"""How often a fit may fall back before it gives up."""


@dataclasses.dataclass
class Step:
    """One iteration, as `iterate` yields it.

    Attributes
    ----------
    iteration : int
        Counted from 1.
    loss : torch.Tensor
        The energy, a scalar; ``float(step.loss)`` reads it.
    output : torch.Tensor
        f_θ(z), the single iterate, (C, H, W), before the weights moved.
    average : torch.Tensor
        Moving average of the outputs so far, (C, H, W); of the projected ones, where the recipe
        says so (see `Recipe.project`).
    outputs : list of torch.Tensor
        The single iterates of the recipe's networks, of which `output` is the mean.
    weight : float
        What the average gave to its past; 1 - weight went to the present output.
    """

    iteration: int
    loss: torch.Tensor
    output: torch.Tensor
    average: torch.Tensor
    outputs: list
    weight: float


def iterate(
    problem, recipe=None, network=None, *, seed=0, device=None, z=None, state=None, shown=None
):
    """Fit f_θ(z) to one observation, one iteration at a time.

    Parameters
    ----------
    problem : Problem
        What is to be restored.
    recipe : Recipe or str, optional
        ``"lab"`` (the default), ``"paper"``, or a recipe.
    network : torch.nn.Module, optional
        A network of your own, from (1, z_channels, H, W) to (1, C, H, W); it is trained in place.
        By default the recipe's.
    seed : int, optional
        Of the weights, of z and of the input noise. The global random state is not touched.
    device : str or torch.device, optional
        By default CUDA or MPS where there is one, else the CPU.
    z : torch.Tensor, optional
        The fixed input (1, C, H, W), instead of the recipe's.
    state : State, optional
        Go on from here (see `resume`) instead of starting afresh.
    shown : list of Problem, optional
        What each of the recipe's networks is fitted to, where a stopping rule hides something from
        them (its `shown`); by default the problem itself.

    Yields
    ------
    Step
        Until the recipe's iterations are made, or the fit fell back three times.

    Raises
    ------
    InputError
        Something does not fit together; said before the first iteration.
    MemoryShortage
        The machine has too little memory for an image of this size.

    Warns
    -----
    RuntimeWarning
        The loss spiked or was not finite, and the fit went back to its last good state.

    Notes
    -----
    On a CPU the work is done on threads of the fit's own (see `hardware.Hands`); the caller's
    thread has all its cores between two steps. A GPU works ahead of Python: there the loss is read
    only at every `GOOD_EVERY`-th iteration, so that steps may be yielded that turn out to be broken
    later, and are then taken back.

    Where the time goes (lab recipe, 256x256, two cores with bfloat16): convolutions 43 %, batch
    norm 16 %, upsampling 12 %, optimisers 13 %, activations 6 %; the rest is noise, energy,
    average and the interpreter. Nothing is measured and nothing copied that the next iteration
    does not need.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> problem = denoising(images.load("camera", size=64))
    >>> for step in iterate(problem, "lab"):
    ...     if step.iteration == 5:
    ...         break
    >>> step.output.shape
    torch.Size([1, 64, 64])
    """
    recipe = recipes.choose(recipe, _checked(problem))
    if state is None:
        state = State.begin(problem, recipe, network, seed=seed, device=device, z=z)
    state.recipe = recipe
    with Hands(state.members, problem.shape, state.device) as hands:
        yield from _iterations(problem, state, shown, hands)


def _checked(problem):
    if not isinstance(problem, Problem):
        words = f"there is a {type(problem).__name__} where a problem belongs"
        raise InputError(f"{words}: make one with dip.Problem(image) or dip.denoising(clean)")
    return problem


def _iterations(problem, state, shown, hands, note=None, depth=3):
    """Yield step after step.

    `note` is called with each on the threads of the fit, as a part of the iteration that an
    interrupt cannot cut off; `depth` leads a warning to the line of whoever began the fit.
    """
    problem = problem.to(state.device)
    shown = [each.to(state.device) for each in shown or [problem]]
    while state.iteration < state.recipe.iterations and not state.given_up:
        step, trouble = hands.run(_one_iteration, problem, state, shown, hands, note)
        if trouble:
            warnings.warn(trouble, RuntimeWarning, stacklevel=depth)
        else:
            yield step


def _one_iteration(problem, state, shown, hands, note):
    """Make one iteration; return its step, and what went wrong if the fit had to go back."""
    recipe = state.recipe
    state.look_back_here()
    state.set_rate(recipe.rate(state.iteration))
    with state.all_or_nothing():
        z = state.noisy_input()
        descend = functools.partial(state.descend, z=z)
        made = hands.map(descend, range(len(state.members)), itertools.cycle(shown))
        outputs, losses = zip(*made)
    output, loss = _mean(outputs), _mean(losses)

    state.iteration += 1
    kept = output
    if recipe.project and not problem.sigma:
        kept = problem.operator.project(output, problem.observation).clamp(0, 1)
    weight = recipe.averaging(state.iteration) if state.average is not None else 0.0
    state.add_to_average(kept, weight)
    step = Step(state.iteration, loss, output, state.average, list(outputs), weight)
    trouble = state.trouble(loss)
    if note is not None and not trouble:
        note(step)
    return step, trouble


def _mean(tensors):
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(dim=0)


class State:
    """All that changes while a fit goes on: what must be kept to go on as if it had never stopped.

    Parameters
    ----------
    network : torch.nn.Module
        f_θ with its weights.
    z : torch.Tensor
        The fixed input.
    recipe : Recipe
        Decides noise, precision and optimiser.
    seed : int
        Of the input noise.
    own_network : bool
        Whether the network was handed in.
    """

    def __init__(self, network, z, recipe, seed, own_network=False):
        self.network, self.recipe, self.seed = network, recipe, seed
        self.members = networks.members(network)
        self.device, self.own_network = z.device, own_network
        self.optimisers = [
            optimisers.build(recipe.optimiser, member, recipe.learning_rate, recipe.momentum)
            for member in self.members
        ]
        network.zero_grad()  # a network of the caller's own may bring gradients along
        self.precision = hardware.precision(recipe.precision, self.device)
        self.forward = self.members
        if recipe.compiled:
            self.forward = [hardware.compiled(member, self.device) for member in self.members]
        exact = own_network or recipe.z != "noise"  # coordinates and images keep their digits
        self.z = z if exact else z.to(self.precision)
        self._begin_noise()
        self.iteration, self.setbacks, self.rate_factor = 0, 0, 1.0
        self.average = None
        self.good = None  # the last good state: (loss, weights, moments, average)
        self.good_at = 0  # its iteration
        self.unread = []  # losses that nobody has looked at
        self.followers = []  # what else goes back with the fit: the rule, and the run
        self.followers_then = None  # as they were in the last good state

    @classmethod
    def begin(cls, problem, recipe, network=None, *, seed=0, device=None, z=None, saved=False):
        """Build network, z and generator from a seed, after a check that the fit is possible."""
        device, own = hardware.find(device), network is not None
        channels = _channels(recipe, z, problem.shape)
        _check_memory(problem, recipe, network, channels, device, saved)
        z = _input(problem, recipe, seed, z).to(device)
        z = z.contiguous(memory_format=hardware.layout(device))
        if not own:
            network = _build(problem, recipe, channels, seed)
        _place(network, device)
        if own:
            _check_network(network, z, problem.shape)
        return cls(network, z, recipe, seed, own)

    @property
    def given_up(self):
        """Whether the fit fell back too often."""
        return self.setbacks >= SETBACKS

    @contextlib.contextmanager
    def all_or_nothing(self):
        """Leave the generator as it was, and no gradients, where an iteration fails."""
        before = self.generator.get_state()
        try:
            yield
        except BaseException:
            self.generator.set_state(before)
            self.network.zero_grad()
            raise

    def autocast(self):
        """Return the context in which the network runs."""
        return _autocast(self.precision, self.device)

    def randomness(self):
        """Return the context in which a network of the user's own draws random numbers (dropout).

        They follow from the seed and the iteration, so that a fit that goes on draws the same.
        """
        if not self.own_network:
            return contextlib.nullcontext()
        return seeded(self.seed, f"network {self.iteration}", self.device)

    def set_rate(self, rate):
        """Set the learning rate, less after each setback."""
        for optimiser in itertools.chain(*self.optimisers):
            for group in optimiser.param_groups:
                group["lr"] = rate * self.rate_factor

    def descend(self, number, problem, z):
        """Make one step with one of the networks: θ moves against the gradient of E(f_θ(z); x0)."""
        network = self.forward[number]
        with hardware.reproducible(self.device):
            with self.autocast(), self.randomness():
                output = network(z)[0]  # f_θ(z)
            output = output.float()
            if self.recipe.compiled:
                output = output.clone()  # a CUDA graph writes its next output to the same place
            loss = energy(output, problem, self.recipe.data_term, self.recipe.tv_weight)
            loss.backward()
            for optimiser in self.optimisers[number]:
                optimiser.step()
                optimiser.zero_grad()
        return output.detach(), loss.detach()

    def _begin_noise(self):
        shifted = self.recipe.noise_kind == "shifted"
        # The shifts are numbers that Python needs: a GPU would have to be waited for.
        self.generator = generator(self.seed, "input noise", "cpu" if shifted else self.device)
        self.canvas = None
        if shifted and self.recipe.input_noise:
            height, width = self.z.shape[-2:]
            shape = (*self.z.shape[:2], height + SHIFTS - 1, width + SHIFTS - 1)
            canvas = torch.rand(shape, generator=generator(self.seed, "canvas")).sub_(0.5)
            canvas = canvas.mul_(self.recipe.input_noise * math.sqrt(12))  # U(0, 1): 1 / √12
            layout = hardware.layout(self.device)
            self.canvas = canvas.to(self.device, self.z.dtype, memory_format=layout)

    def noisy_input(self):
        """Z, with fresh noise added: a regularisation of the paper (its section on denoising)."""
        size = self.recipe.input_noise
        if size == 0:
            return self.z
        if self.canvas is not None:
            top, left = torch.randint(SHIFTS, (2,), generator=self.generator).tolist()
            height, width = self.z.shape[-2:]
            return self.z + self.canvas[..., top : top + height, left : left + width]
        noise = torch.empty_like(self.z)
        if self.recipe.noise_kind == "uniform":
            bound = size * math.sqrt(3)  # U(-a, a) has the standard deviation a / √3
            noise.uniform_(-bound, bound, generator=self.generator)
        else:
            noise.normal_(0, size, generator=self.generator)
        return noise.add_(self.z)

    def add_to_average(self, output, weight):
        """Let the moving average follow the outputs."""
        self.average = output if self.average is None else output.lerp(self.average, weight)

    def trouble(self, loss):
        """Look whether the fit is well: keep a good state now and then, go back where it broke.

        A CPU's loss is looked at in every iteration; a GPU, which works ahead, must not wait.

        Returns
        -------
        str or None
            What went wrong, after the fit went back.
        """
        self.unread.append(loss)
        first, last = self.iteration == 1, self.iteration == self.recipe.iterations
        if first or last or hardware.due(self.device, self.iteration):
            return self.look(seen=False)
        return None

    def look(self, seen=True):
        """Look at the losses that nobody has looked at; see `trouble`.

        `seen` says that rule and record know the last of these iterations, too.
        """
        losses, self.unread = hardware.read(self.unread), []
        since = self.iteration - len(losses) + 1
        for iteration, value in enumerate(losses, since):
            due = iteration % GOOD_EVERY == 0
            spiked = due and self.good is not None and value > SPIKE * self.good[0]
            if spiked or not math.isfinite(value):
                return self._go_back(value, iteration, seen or iteration < self.iteration)
            if iteration == self.iteration and (due or self.good is None):
                self._keep(value)
        return None

    def _keep(self, loss):
        weights = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        moments = copy.deepcopy(self._moments())
        self.good = (loss, weights, moments, self.average.clone())
        self.good_at = self.iteration
        self.followers_then = None  # once they have seen this step

    def look_back_here(self):
        """Note what rule and run hold, if the state is a good one that they have seen."""
        if self.followers_then is None:
            self.followers_then = [follower.remember() for follower in self.followers]

    def _go_back(self, loss, iteration, seen):
        """Put the last good state back, and say what happened.

        Where rule and record have `seen` what is broken, they go back as well, and it is made anew.
        """
        self.setbacks += 1
        told = f"the loss was {loss:g} at iteration {iteration}"
        if self.good is None:
            self.setbacks = SETBACKS
            raise InputError(f"{told}: the fit cannot start; is the network's output finite?")
        _, weights, moments, average = self.good
        self.network.load_state_dict(weights)
        self._set_moments(copy.deepcopy(moments))
        self.average = average.clone()
        self.rate_factor /= 2  # the same way again would end in the same place
        if seen:
            self.iteration = self.good_at
            for follower, then in zip(self.followers, self.followers_then or ()):
                follower.recall(then, self.average)
        what_next = (
            "this was the third time: the fit stops with the best so far; "
            "a lower learning rate may help"
            if self.given_up
            else "the fit goes on from its last good state at half the learning rate"
        )
        return f"{told}; {what_next}"

    def follow(self, *followers):
        """Let others go back with the fit; what they hold now is good."""
        self.followers, self.followers_then = list(followers), None
        if self.good is not None and hardware.works_ahead(self.device):
            self._keep(self.good[0])  # a fit that goes on: they do not know the last good state

    def _moments(self):
        """Optimiser -> parameter -> name -> tensor."""
        every = itertools.chain(*self.optimisers)
        return {i: optimiser.state_dict()["state"] for i, optimiser in enumerate(every)}

    def _set_moments(self, moments):
        for i, optimiser in enumerate(itertools.chain(*self.optimisers)):
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": moments.get(i, {}), "param_groups": groups})

    def pack(self):
        """Return the state as tensors by name and plain numbers, to be saved or to go on from."""
        tensors = {"z": self.z, "average": self.average, "generator": self.generator.get_state()}
        tensors |= named("network", self.network.state_dict())
        tensors |= _flat_moments("moments", self._moments())
        loss = None
        if self.good is not None:
            loss, weights, moments, average = self.good
            tensors |= named("good.network", weights) | _flat_moments("good.moments", moments)
            tensors["good.average"] = average
        numbers = {
            "iteration": self.iteration,
            "setbacks": self.setbacks,
            "rate_factor": self.rate_factor,
            "good_loss": loss,
            "good_at": self.good_at,
            "own_network": self.own_network,
            "seed": self.seed,
            "generator": self.generator.device.type,
        }
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, numbers

    @classmethod
    def unpack(cls, packed, problem, recipe, network=None, device=None, saved=False):
        """Build the state again from what `pack` returned; InputError where that is damaged."""
        tensors, numbers = packed
        own, device = network is not None, hardware.find(device)
        if numbers["own_network"] and not own:
            raise InputError("this run's network was your own: hand the same module in as network=")
        if own:
            _check_module(network)
        with _damaged_is_an_input_error():
            z = _check_z(tensors["z"], problem.shape)
        _check_memory(problem, recipe, network, z.shape[1], device, saved)
        if not own:
            network = _build(problem, recipe, z.shape[1], seed=0)  # its weights follow
        _place(network, device)
        z = z.to(device).contiguous(memory_format=hardware.layout(device))
        try:
            network.load_state_dict(under("network", tensors))
        except RuntimeError as error:
            words = f"the saved weights are those of another network: {one_line(error)}"
            raise InputError(words) from error
        state = cls(network, z, recipe, numbers["seed"], numbers["own_network"])
        with _damaged_is_an_input_error():
            state._take(tensors, numbers)
        return state

    def _take(self, tensors, numbers):
        """Take over what was saved, once it is known to fit: optimisers do not look before use."""
        wanted = {name: (t.shape, t.dtype) for name, t in self.network.state_dict().items()}
        like = torch.empty(self._image_shape(tensors), device="meta")
        if numbers["generator"] == self.generator.device.type:
            self.generator.set_state(tensors["generator"])
        else:  # another device: reseed, so that the noise of the first iterations is not repeated
            self.generator.manual_seed(derived(numbers["iteration"], "input noise"))
        self._set_moments(self._checked_moments(_unflat_moments("moments", tensors)))
        self.average = _alike(tensors["average"], like).to(self.device)
        self.iteration = whole(numbers["iteration"], "iteration", 1)
        setbacks = whole(numbers["setbacks"], "setbacks", 0, SETBACKS)
        self.setbacks = 0 if setbacks == SETBACKS else setbacks  # who goes on wants to try again
        self.rate_factor = float(numbers["rate_factor"])
        if not 0 < self.rate_factor <= 1:
            raise ValueError(f"rate_factor={self.rate_factor}")
        if numbers["good_loss"] is None:
            return
        weights = under("good.network", tensors)
        if {name: (t.shape, t.dtype) for name, t in weights.items()} != wanted:
            raise ValueError("the last good weights are those of another network")
        moments = self._checked_moments(_unflat_moments("good.moments", tensors))
        average = _alike(tensors["good.average"], like).to(self.device)
        self.good = (float(numbers["good_loss"]), weights, moments, average)
        self.good_at = whole(numbers["good_at"], "good_at", 1, self.iteration)

    def _image_shape(self, tensors):
        return tensors["average"].shape if self.average is None else self.average.shape

    def _checked_moments(self, moments):
        """Return moments if they have the names, shapes and types that the optimisers expect."""
        every, layout = list(itertools.chain(*self.optimisers)), hardware.layout(self.device)
        if not set(moments) <= set(range(len(every))):
            raise ValueError("moments of an optimiser that this fit does not have")
        for number, of_parameters in moments.items():
            parameters = [p for group in every[number].param_groups for p in group["params"]]
            for place, tensors in of_parameters.items():
                if not 0 <= place < len(parameters):
                    raise ValueError("moments of a parameter that the network does not have")
                wanted = optimisers.moments(every[number], parameters[place])
                if {k: (tuple(v.shape), v.dtype) for k, v in tensors.items()} != wanted:
                    raise ValueError("moments whose shapes are not those of their parameter")
                for name, tensor in tensors.items():
                    if tensor.ndim == 4:  # as the weights lie in memory
                        tensors[name] = tensor.contiguous(memory_format=layout)
        return moments


def _alike(image, like):
    """Return the image if its shape and type are as wanted."""
    if (image.shape, image.dtype) != (like.shape, like.dtype):
        raise ValueError(f"an image of shape {tuple(image.shape)}, {image.dtype}")
    if not image.isfinite().all():
        raise ValueError("an image with values that are not finite")
    return image


@contextlib.contextmanager
def _damaged_is_an_input_error():
    """Word what is wrong with a saved state: a damaged value may fail in any way."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        words = f"{type(error).__name__}, {one_line(error)}"
        raise InputError(f"the saved fit is damaged, and cannot go on: {words}") from error


def _flat_moments(prefix, moments):
    """Optimiser -> parameter -> name -> tensor, with one name each."""
    return {
        f"{prefix}.{i}.{j}.{name}": tensor
        for i, parameters in moments.items()
        for j, each in parameters.items()
        for name, tensor in each.items()
    }


def _unflat_moments(prefix, tensors):
    moments = {}
    for name, tensor in under(prefix, tensors).items():
        optimiser, parameter, key = name.split(".")
        moments.setdefault(int(optimiser), {}).setdefault(int(parameter), {})[key] = tensor
    return moments


def _check_z(z, shape):
    """Return z if it can be one."""
    if not torch.is_tensor(z) or z.ndim != 4 or z.shape[0] != 1 or z.shape[2:] != shape[1:]:
        found = tuple(z.shape) if torch.is_tensor(z) else f"none, but is a {type(z).__name__}"
        raise InputError(f"z has shape {found}; it must be (1, channels, {shape[1]}, {shape[2]})")
    if not z.is_floating_point() or z.layout != torch.strided or z.is_meta or z.shape[1] == 0:
        raise InputError(
            f"z is {z.dtype}, {z.layout}, on {z.device}: floating numbers are expected"
        )
    return z


def _channels(recipe, z, shape):
    """Return how many channels z will have."""
    if z is not None:
        return _check_z(z, shape).shape[1]
    return 2 if recipe.z == "mesh" else recipe.z_channels


def _input(problem, recipe, seed, z):
    """Z: what the caller handed in, or the recipe's noise or mesh, as large as the image."""
    height, width = problem.shape[-2:]
    if z is not None:
        return z.detach().float()
    if recipe.z == "given":
        raise InputError("this recipe takes its input from you: hand it in as z=")
    if recipe.z == "mesh":
        rows, columns = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
        return torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1])[None]
    shape = (1, recipe.z_channels, height, width)
    return torch.rand(shape, generator=generator(seed, "z")) * recipe.z_scale


def _autocast(precision, device):
    enabled = precision != torch.float32
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _check_memory(problem, recipe, network, channels, device, saved):
    """Raise MemoryShortage before anything large is made: z, the networks, what a rule hides."""
    autocast = functools.partial(_autocast, hardware.precision(recipe.precision, device), device)
    if network is not None:
        _check_module(network)
        count = 1
    else:
        count = recipe.members
        with torch.device("meta"):  # without weights, which may themselves be too many
            weightless = _member(recipe, channels, problem.shape)
        memory.check_weights(weightless, count, channels, problem, device)
        with borrowed_state():
            network = _member(recipe, channels, problem.shape)
    return memory.check(network, count, channels, problem, autocast, device, saved)


def _place(network, device):
    """Bring a network to its device, ready to be fitted."""
    flat = all(parameter.ndim < 5 for parameter in network.parameters())
    network.to(device, **({"memory_format": hardware.layout(device)} if flat else {}))
    network.train()


def _member(recipe, channels, shape):
    """Build one of the recipe's networks; what its options say may be of any kind."""
    try:
        return networks.build(recipe.network, channels, shape, **recipe.options).float()
    except InputError:
        raise
    except Exception as error:
        words = f"the network {recipe.network!r} cannot be built: {one_line(error)}"
        raise InputError(words) from error


def _build(problem, recipe, channels, seed):
    """Build the recipe's network from a seed, and leave the global random state as it was."""
    members = []
    for number in range(int(recipe.members)):
        with borrowed_state():
            torch.manual_seed(derived(seed, f"weights {number}" if number else "weights"))
            member = _member(recipe, channels, problem.shape)
        if recipe.start_at_mean:
            _start_at_mean(member, problem)
        members.append(member)
    return members[0] if len(members) == 1 else networks.Ensemble(members)


def _start_at_mean(network, problem):
    """Let the first output have the observation's mean colour instead of mid-grey."""
    last = getattr(network, "to_image", None)
    if getattr(last, "bias", None) is None:
        return
    known = problem.operator(torch.ones(problem.shape)).mean(dim=(1, 2))  # 1 but for a mask
    mean = (problem.observation.cpu().mean(dim=(1, 2)) / known).clamp(0.02, 0.98)
    mean = mean.where(known > 0, 0.5)  # of a channel that is wholly missing nothing is known
    with torch.no_grad():
        last.bias.copy_(torch.logit(mean) if getattr(network, "sigmoid", False) else mean)


def _check_module(network):
    """Raise InputError unless this is a network with something to fit."""
    if not isinstance(network, torch.nn.Module):
        raise InputError(f"network={network!r} is no torch.nn.Module: hand in an instance of one")
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


def _check_network(network, z, shape):
    """Try a network of the user's own; raise InputError unless it makes an image to fit."""
    try:
        # On a copy, with a random state of its own: running means and dropout must not notice.
        with networks.untouched(network) as copied, borrowed_state(_gpus(z.device)):
            with torch.enable_grad():
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


def _gpus(device):
    return [device] if device.type == "cuda" else []


def fit(
    problem,
    recipe=None,
    network=None,
    *,
    stop=None,
    iterations=None,
    seed=0,
    device=None,
    z=None,
    progress=True,
    halt=None,
    save=None,
    callback=None,
):
    """Restore one image: run `iterate` until a rule stops it, and keep what happened.

    Parameters
    ----------
    problem : Problem
        What is to be restored.
    recipe : Recipe or str, optional
        ``"lab"`` (the default), ``"paper"``, or a recipe.
    network : torch.nn.Module, optional
        A network of your own, trained in place.
    stop : rule, callable, str or int, optional
        A stopping rule, its name, a number of iterations, or a function of a `Step` that says
        whether to stop; by default the recipe's rule, and its number of iterations at most.
    iterations : int, optional
        Make this many iterations instead of the recipe's; with `stop`, at most this many.
    seed, device, z
        As in `iterate`.
    progress : bool, optional
        Show a bar in a terminal or notebook, a few lines in a pipe.
    halt : threading.Event, optional
        Anything with ``is_set()``: the fit ends after the iteration in which it is set.
    save : str or path-like, optional
        Save the run here when it ends, and once a minute on the way.
    callback : callable, optional
        Called as ``callback(run, step)`` after every iteration, to look on: `run` holds what was
        recorded so far, and ``run.save(path)`` saves it. The images of a step are the fit's own:
        read them, and do not write into them.

    Returns
    -------
    Run
        Also when the fit was halted or interrupted (Ctrl-C, the notebook's stop button).

    Raises
    ------
    InputError
        Something does not fit together; said before the first iteration.
    MemoryShortage
        The machine has too little memory for an image of this size.
    Exception
        What a callback, a rule or a network of your own raised, or a second Ctrl-C: as it came,
        after the run so far was saved (with `save`), and with that run as its attribute `run`.

    Warns
    -----
    RuntimeWarning
        The fit went back to its last good state, or the run could not be saved; the fit is kept.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> problem = denoising(images.load("camera", size=64), sigma=25 / 255)
    >>> fit(problem, iterations=20, progress=False).stopped_by
    'count'
    """
    recipe = recipes.choose(recipe, _checked(problem))
    if iterations is not None:
        recipe = recipe.replace(iterations=iterations)
        stop = recipe.iterations if stop is None else stop  # who asks for a number gets it
    _check_helpers(halt, callback)
    run = Run(problem, recipe, seed)
    if save is not None:
        run.check_savable(save)
    begin = functools.partial(State.begin, seed=seed, device=device, z=z, saved=save is not None)
    state = begin(problem, recipe, network)
    rule = stopping.choose(stop, problem, recipe)
    return _advance(run, state, rule, recipe.iterations, progress, halt, save, callback)


def _check_helpers(halt, callback):
    if halt is not None and not callable(getattr(halt, "is_set", None)):
        raise InputError(f"halt={halt!r} has no is_set(): hand in a threading.Event")
    if callback is not None and not callable(callback):
        raise InputError(f"callback={callback!r} cannot be called")


def fits(wanted, *, cores=None, progress=True, resumable=False):
    """Make several fits side by side, each on cores of its own.

    A single small network keeps one core busy and leaves the others idle; to compare recipes, or
    seeds, fits that know nothing of each other can share the machine. They run in this process:
    nothing has to be started, and memory is taken only for those that are running.

    Parameters
    ----------
    wanted : dict
        Name -> what `fit` is to be given, as a dict of its arguments.
    cores : int, optional
        How many cores they share; by default as many as PyTorch would use.
    progress : bool, optional
        Show a bar that counts fits.
    resumable : bool, optional
        Let each run keep its network, and what `resume` needs; without them it is curves and
        images only.

    Returns
    -------
    dict
        Name -> Run, in the same order.

    Raises
    ------
    InputError
        Something of one of the fits does not fit together; the others end at their next iteration.
    KeyboardInterrupt
        Somebody stopped it; fits that are under way end at their next iteration, and the others do
        not begin. This error, and every other one, has the runs so far in its attribute `runs`.

    Notes
    -----
    As many run at a time as there are cores for their networks and memory for all of them; on a
    GPU at most `ON_A_GPU`. The results are those of `fit`, one after the other. For more fits than
    fit in memory, or that should be kept: `sweep`.

    Examples
    --------
    >>> from diplearn import denoising, images, lab
    >>> problem, recipe = denoising(images.load("camera", size=32)), lab(members=1, iterations=5)
    >>> runs = fits({s: {"problem": problem, "recipe": recipe, "seed": s} for s in range(3)})
    >>> list(runs)
    [0, 1, 2]
    """
    halt = threading.Event()

    def one(**arguments):
        run = fit(**{"halt": halt, **arguments, "progress": False})
        return run if resumable else _without_network(run)

    if not (isinstance(wanted, dict) and all(isinstance(each, dict) for each in wanted.values())):
        raise InputError("many fits are named in a dict: name -> a dict of what fit is to be given")
    cores = torch.get_num_threads() if cores is None else whole(cores, "cores", 1)
    each, share = _at_once(list(wanted.values()), cores)
    bar = Progress(len(wanted), show=progress and len(wanted) > 0, unit="fit")
    pool = hardware.share_of(each, share)
    waiting = {name: pool.submit(one, **arguments) for name, arguments in wanted.items()}
    try:
        with contextlib.closing(bar):
            for done, future in enumerate(as_completed(waiting.values()), 1):
                future.result()  # an error is told now, and not after the last fit
                bar.tell(done, "")
        return {name: future.result() for name, future in waiting.items()}
    except BaseException as error:
        halt.set()
        with contextlib.suppress(KeyboardInterrupt):  # once more: each ends at its next iteration
            pool.shutdown(cancel_futures=True)
        error.runs = dict(_what_there_is(waiting, resumable))
        raise
    finally:
        pool.shutdown(cancel_futures=True)


ON_A_GPU = 1
"""Fits that share a GPU: four together took as long as one after the other, on an H200."""


def _at_once(wanted, cores):
    """Return how many fits may run at a time, and the cores for each."""
    devices = {hardware.find(w.get("device")) for w in wanted}
    members, costs = [1], [1]
    for arguments in wanted:
        recipe = recipes.choose(arguments.get("recipe"), _checked(arguments.get("problem")))
        members.append(recipe.members)
        costs.append(_cost(arguments, recipe))
    share = min(cores, max(members))
    count = max(1, cores // share)
    if any(hardware.works_ahead(device) for device in devices):
        count = min(count, ON_A_GPU)
    room = min((memory.available(device) for device in devices), default=math.inf)
    return int(max(1, min(count, room // max(costs)))), share


def _cost(arguments, recipe):
    """Estimate what one of many fits takes, as it will itself before it begins."""
    problem, network = arguments["problem"], arguments.get("network")
    device, saved = hardware.find(arguments.get("device")), arguments.get("save") is not None
    channels = _channels(recipe, arguments.get("z"), problem.shape)
    return _check_memory(problem, recipe, network, channels, device, saved)


def _without_network(run):
    run.network = run.state = None
    return run


def _what_there_is(waiting, resumable):
    """Yield the runs of the fits that ended, one way or another."""
    for name, future in waiting.items():
        if future.cancelled() or not future.done():
            continue
        error = future.exception()
        run = future.result() if error is None else getattr(error, "run", None)
        if run is not None:
            yield name, run if resumable else _without_network(run)


def resume(
    run,
    iterations=None,
    *,
    stop=None,
    network=None,
    device=None,
    progress=True,
    halt=None,
    save=None,
    callback=None,
):
    """Go on with a run, bit for bit as if it had never stopped.

    Parameters
    ----------
    run : Run
        As `fit` returned or `Run.load` read it. It is extended in place.
    iterations : int, optional
        The number of iterations to reach in all, if no rule stops the fit earlier. More than the
        recipe's change the recipe's, and with it a learning rate that decays towards the end. By
        default the recipe's.
    stop : rule, callable, str or int, optional
        A stopping rule for the iterations to come; by default the one that the fit was begun with,
        unless it is what ended the run. A rule of your own must be handed in again for a run that
        was loaded from a file.
    network : torch.nn.Module, optional
        The module that was fitted, where it was your own.
    device, progress, halt, save, callback
        As in `fit`.

    Returns
    -------
    Run
        The same run.

    Raises
    ------
    InputError
        The run has made that many iterations already, has nothing to go on from, or is damaged.
    MemoryShortage
        This machine has too little memory for the fit.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> problem = denoising(images.load("camera", size=64))
    >>> run = fit(problem, iterations=20, stop=5, progress=False)
    >>> resume(run, progress=False).stopped_at
    20
    """
    if not isinstance(run, Run):
        raise InputError(f"there is a {type(run).__name__} where a run belongs: see Run.load")
    if run.going_on:
        raise InputError("the fit of this run is going on; it cannot be resumed in the meantime")
    if run.state is None:
        raise InputError("this run holds nothing to go on from")
    _check_helpers(halt, callback)
    goal = run.recipe.iterations if iterations is None else whole(iterations, "iterations", 1)
    if goal <= run.stopped_at:
        raise InputError(
            f"the run has made {run.stopped_at} iterations already; ask for more than that"
        )
    if save is not None:
        run.check_savable(save)
    if network is None and run.own_network:
        network = run.network
    recipe = run.recipe.replace(iterations=max(goal, run.recipe.iterations))
    unpack = functools.partial(State.unpack, device=device, saved=save is not None)
    state = unpack(run.state, run.problem, recipe, network)
    counted = iterations is not None and run.rule_name == "count"
    if stop is None and (counted or run.stopped_by == run.rule_name):
        stop = goal
    rule = _rule_again(run, recipe, stop, state)
    run.recipe = recipe
    return _advance(run, state, rule, goal, progress, halt, save, callback)


def _rule_again(run, recipe, stop, state):
    """Return the rule for the iterations to come, with what it knew of those that were made."""
    tensors, numbers = run.state
    with _damaged_is_an_input_error():
        before = {name: numbers["rule"][name] for name in ("name", "settings", "scale")}
        now = numbers["rule"]["now"] | under("rule", tensors)
        if before["settings"] is not None and not now:
            raise ValueError("nothing of what its rule knew")
    if stop is None:
        if before["settings"] is None and run.rule is None:
            raise InputError(
                f"this fit was begun with a rule of your own ({before['name']!r}), which the file "
                "does not hold: hand it in again as stop="
            )
        if before["settings"] is None:
            return run.rule  # it remembers by itself
        rule = stopping.rebuilt(before, run.problem, recipe)
    else:
        rule = stopping.choose(stop, run.problem, recipe)
    if stopping.about(rule) == before:
        now = {k: v.to(state.device) if torch.is_tensor(v) else v for k, v in now.items()}
        with _damaged_is_an_input_error():
            rule.recall(now, state.average)
    return rule


SAVE_EVERY = 60.0
"""Seconds between two saves on the way."""


def _advance(run, state, rule, goal, progress, halt, save, callback):
    """Drive the iterations up to a goal, and close the record however they end."""
    total = min(goal, getattr(rule, "iterations", goal))
    bar = Progress(total, run.stopped_at, progress)
    state.follow(rule, run)
    run.begin(rule, state.network, functools.partial(_close, run, state, rule))
    try:
        with (
            interruptible() as interrupted,
            contextlib.closing(bar),
            Hands(state.members, run.problem.shape, state.device) as hands,
        ):
            ends = functools.partial(_ended_by, rule, goal, interrupted, halt)
            stopped_by = _drive(run, state, rule, hands, bar, ends, save, callback)
            trouble = _close(run, state, rule, stopped_by)
            run.end()
            if save is not None:
                _save(run, save)
    except BaseException as error:  # also a second Ctrl-C: what was reached is not lost
        run.end()
        if run.stopped_at:
            _rescue(run, state, rule, save, error)
        raise
    if trouble:
        error = InputError(trouble)
        error.run = run
        raise error
    return run


def _rescue(run, state, rule, save, error):
    """Close and save what an error ended, and hand it over with the error."""
    error.run = run
    try:
        _close(run, state, rule, "failed")
    except Exception as another:
        error.add_note(f"diplearn: the run in error.run could not be closed: {another}")
        return
    if save is not None:
        _save(run, save)
    error.add_note(f"diplearn: error.run holds the {run.stopped_at} iterations that were made")


def _drive(run, state, rule, hands, bar, ends, save, callback):
    """Make iterations until something ends them; return what that was."""
    begun, saved = time.perf_counter() - run.seconds, time.perf_counter()
    own, said = isinstance(rule, stopping.Own), {}

    def note(step):
        said["numbers"] = run.record(step, begun)
        said["stop"] = not own and rule(step)

    for step in _iterations(run.problem, state, rule.shown, hands, note, depth=5):
        loss, psnr = said["numbers"]
        bar.update(step.iteration, loss, None if math.isnan(psnr) else psnr)
        stop = rule(step) if own else said["stop"]  # first: what a callback saves is then whole
        if callback is not None:
            callback(run, step)
        if reason := ends(step, stop):
            if not (trouble := state.look()):
                return reason
            warnings.warn(trouble, RuntimeWarning, stacklevel=4)  # a GPU's fit had gone back
            if reason in ("interrupted", "halted"):
                return reason
        if save is not None and time.perf_counter() - saved > SAVE_EVERY:
            _save(run, save)
            saved = time.perf_counter()
    return "diverged" if state.given_up else "count"


def _ended_by(rule, goal, interrupted, halt, step, stop):
    """Return what ends the fit after this step, or None."""
    if stop:
        return rule.name
    if interrupted.is_set():
        return "interrupted"
    if halt is not None and halt.is_set():
        return "halted"
    return "count" if step.iteration >= goal else None


def _close(run, state, rule, stopped_by):
    """Write down what the rule chose, and all that is needed to go on; return what was wrong."""
    if broken := state.look():  # a device that works ahead may have broken since
        warnings.warn(broken, RuntimeWarning, stacklevel=4)
    chosen, at, trouble = _choice(rule, state)
    tensors, numbers = state.pack()
    tensors |= named("rule", {k: v.cpu() for k, v in rule.now.items() if torch.is_tensor(v)})
    now = {k: v for k, v in rule.now.items() if not torch.is_tensor(v)}
    numbers["rule"] = stopping.about(rule) | {"now": now}
    # Pixels without a network may leave [0, 1]; an image does not.
    run.finish(stopped_by, chosen.clamp(0, 1), at, (tensors, numbers))
    return trouble


def _choice(rule, state):
    """Return the rule's image and its iteration; the average, and why, where it is none."""
    average = (state.average, state.iteration)
    try:
        chosen, at = rule.chosen, int(rule.chosen_at)
        if chosen is None:
            return *average, None
        if chosen.shape != state.average.shape:
            found = f"of shape {tuple(chosen.shape)} instead of {tuple(state.average.shape)}"
        elif not chosen.is_floating_point():
            found = f"of {chosen.dtype}"
        elif not chosen.isfinite().all():
            found = "with values that are not finite"
        elif not 0 <= at <= state.iteration:
            found = f"of iteration {at}, which was not made"
        else:
            return chosen.float(), at, None
    except Exception as error:
        found = f"that cannot be used ({error})"
    words = f"the rule {rule.name!r} chose an image {found}; error.run holds the average instead"
    return *average, words


def _save(run, path):
    """Save, but lose no fit to a failure, whatever it is: the run is still in memory."""
    try:
        run.save(path)
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"the run could not be saved to {path}: {reason}; an earlier file is as it was",
            RuntimeWarning,
            stacklevel=4,
        )
