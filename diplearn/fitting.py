"""The fit itself. `iterate` is the paper's equation as a generator; `fit` runs it and keeps a Run.

θ* = argmin_θ E(f_θ(z); x0),    x* = f_θ*(z)        (equation 2 of the paper)
"""

import contextlib
import copy
import dataclasses
import functools
import itertools
import math
import os
import shutil
import signal
import sysconfig
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed

import torch

from . import memory, networks, optimisers, recipes, stopping
from .energy import energy
from .errors import InputError, whole
from .progress import Progress
from .randomness import borrowed_state, derived, generator
from .run import Run, works_ahead

GOOD_EVERY = 50
"""Iterations between two looks at whether the fit is well; a good state is kept at each."""

SPIKE = 10 ** (5 / 10)
"""A loss that grew by 5 dB since the last good state is a spike: the published rule."""

SHIFTS = 64
"""How far shifted input noise can be shifted, in pixels each way."""

SMALL = 3e10
"""Weights times pixels up to which a network gets one core; the lab's at 256x256 are below."""

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
        The machine has too little memory for a picture of this size.

    Warns
    -----
    RuntimeWarning
        The loss spiked or was not finite, and the fit went back to its last good state.

    Notes
    -----
    Where the time goes (lab recipe, 256x256, two cores with bfloat16): convolutions 43 %, batch
    norm 16 %, upsampling 12 %, optimisers 13 %, activations 6 %; the rest is noise, energy,
    average and the interpreter. Nothing is measured and nothing copied that the next iteration
    does not need; on a GPU the loss is read only at every `GOOD_EVERY`-th iteration.

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
    recipe = recipes.choose(recipe, problem)
    if state is None:
        state = State.begin(problem, recipe, network, seed=seed, device=device, z=z)
    problem = problem.to(state.device)
    shown = [each.to(state.device) for each in shown or [problem]]
    exact = recipe.project and not problem.sigma

    with Crew(state.members, problem.shape, state.device) as crew:
        while state.iteration < recipe.iterations and state.setbacks < SETBACKS:
            state.set_rate(recipe.rate(state.iteration))
            z = state.noisy_input()
            made = crew.map(state.descend, range(len(state.members)), itertools.cycle(shown), z=z)
            output, loss = (_mean(each) for each in zip(*made))

            state.iteration += 1
            kept = output
            if exact:
                kept = problem.operator.project(output, problem.observation).clamp(0, 1)
            weight = recipe.averaging(state.iteration) if state.average is not None else 0.0
            state.add_to_average(kept, weight)
            if state.is_well(loss):
                outputs = [output for output, _ in made]
                yield Step(state.iteration, loss, output, state.average, outputs, weight)


class Crew:
    """Threads that fit a recipe's networks side by side, each with its share of the CPU's cores.

    Several cores on one small network wait for each other at every layer: a fifth of the time on
    an idle machine, and nearly all of it on a busy one. With a core for each network, the result
    does not depend on how many there are, either.

    Parameters
    ----------
    members : list of torch.nn.Module
        The networks, all of one size.
    shape : tuple of int
        (C, H, W) of the picture.
    device : torch.device
        A GPU needs no threads.
    """

    def __init__(self, members, shape, device):
        self.pool, self.cores = None, torch.get_num_threads()
        hands = min(len(members), self.cores)
        work = sum(p.numel() for p in members[0].parameters()) * shape[-2] * shape[-1]
        share = 1 if work <= SMALL else self.cores // hands
        if device.type != "cpu" or share == self.cores:
            return
        torch.set_num_threads(share)
        if hands > 1:
            self.pool = ThreadPoolExecutor(
                hands, initializer=torch.set_num_threads, initargs=(share,)
            )

    def map(self, work, *each, **same):
        """Call `work` for each; return the results in order."""
        mapped = map if self.pool is None else self.pool.map
        return list(mapped(functools.partial(work, **same), *each))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.pool is not None:
            self.pool.shutdown()
        torch.set_num_threads(self.cores)  # for threads to come, too: the crew's set it for all


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
        self.precision = _precision(recipe.precision, self.device)
        self.forward = self.members
        if recipe.compiled:
            self.forward = [_compiled(member, self.device) for member in self.members]
        exact = own_network or recipe.z != "noise"  # coordinates and pictures keep their digits
        self.z = z if exact else z.to(self.precision)
        self._begin_noise()
        self.iteration, self.setbacks, self.rate_factor = 0, 0, 1.0
        self.average = None
        self.good = None  # the last good state: (loss, weights, moments, average)

    @classmethod
    def begin(cls, problem, recipe, network=None, *, seed=0, device=None, z=None):
        """Build network, z and generator from a seed, and check that the fit is possible."""
        device = _device(device)
        z = _input(problem, recipe, seed, z).to(device)
        own = network is not None
        if not own:
            network = _build(problem, recipe, z.shape[1], seed)
        network = network.to(device, memory_format=torch.channels_last).train()
        z = z.contiguous(memory_format=torch.channels_last)
        _check_network(network, z, problem.shape, own)
        state = cls(network, z, recipe, seed, own)
        factor = getattr(problem.operator, "factor", 1)
        memory.check(network, z.shape[1], problem.shape, state.autocast, device, factor)
        return state

    def autocast(self):
        """Return the context in which the network runs."""
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def set_rate(self, rate):
        """Set the learning rate, less after each setback."""
        for optimiser in itertools.chain(*self.optimisers):
            for group in optimiser.param_groups:
                group["lr"] = rate * self.rate_factor

    def descend(self, number, problem, z):
        """Make one step with one of the networks: θ moves against the gradient of E(f_θ(z); x0)."""
        network = self.forward[number]
        with reproducible(self.device):
            with self.autocast():
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
            self.canvas = canvas.to(self.z.device, self.z.dtype, memory_format=torch.channels_last)

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

    def is_well(self, loss):
        """Keep a good state from time to time; go back to the last one when the fit broke.

        The loss is looked at in every iteration on a CPU; a GPU, which works ahead, must not wait.
        """
        due = self.iteration % GOOD_EVERY == 0
        if not due and self.iteration > 1 and works_ahead(self.device):
            return True
        value = float(loss)
        broken = not math.isfinite(value)
        if broken or (due and self.good is not None and value > SPIKE * self.good[0]):
            self._go_back(value)
            return False
        if due or self.good is None:
            self._keep(value)
        return True

    def _keep(self, loss):
        weights = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        moments = copy.deepcopy(self._moments())
        self.good = (loss, weights, moments, self.average.clone())

    def _go_back(self, loss):
        self.setbacks += 1
        told = f"the loss was {loss:g} at iteration {self.iteration}"
        if self.good is None:
            self.setbacks = SETBACKS
            raise InputError(f"{told}: nothing can be fitted; is the network's output finite?")
        _, weights, moments, average = self.good
        self.network.load_state_dict(weights)
        self._set_moments(copy.deepcopy(moments))
        self.average = average.clone()
        self.rate_factor /= 2  # the same way again would end in the same place
        what_next = (
            "the fit goes on from its last good state at half the learning rate"
            if self.setbacks < SETBACKS
            else "this was the third time: the fit stops with the best so far; "
            "a lower learning rate may help"
        )
        warnings.warn(f"{told}; {what_next}", RuntimeWarning, stacklevel=4)

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
        tensors |= _flat("network", self.network.state_dict())
        tensors |= _flat_moments("moments", self._moments())
        loss = None
        if self.good is not None:
            loss, weights, moments, average = self.good
            tensors |= _flat("good.network", weights) | _flat_moments("good.moments", moments)
            tensors["good.average"] = average
        numbers = {
            "iteration": self.iteration,
            "setbacks": self.setbacks,
            "rate_factor": self.rate_factor,
            "good_loss": loss,
            "own_network": self.own_network,
            "seed": self.seed,
            "generator": self.generator.device.type,
        }
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, numbers

    @classmethod
    def unpack(cls, packed, problem, recipe, network=None, device=None):
        """Build the state again from what `pack` returned."""
        tensors, numbers = packed
        device = _device(device)
        z = tensors["z"].to(device).contiguous(memory_format=torch.channels_last)
        if network is None:
            if numbers["own_network"]:
                raise InputError(
                    "this run's network was your own: hand the same module in as network="
                )
            network = _build(problem, recipe, z.shape[1], seed=0)  # its weights follow
        network = network.to(device, memory_format=torch.channels_last).train()
        state = cls(network, z, recipe, numbers["seed"], numbers["own_network"])
        if numbers["generator"] == state.generator.device.type:
            state.generator.set_state(tensors["generator"])
        else:  # the noise is another, equally random, and not the first iterations' again
            state.generator.manual_seed(derived(numbers["iteration"], "input noise"))
        try:
            network.load_state_dict(_unflat("network", tensors))
        except RuntimeError as error:
            raise InputError(f"the saved weights are those of another network: {error}") from error
        state._set_moments(_unflat_moments("moments", tensors))
        state.average = tensors["average"].to(device)
        state.iteration, state.setbacks = numbers["iteration"], numbers["setbacks"]
        state.rate_factor = numbers["rate_factor"]
        if numbers["good_loss"] is not None:
            state.good = (
                numbers["good_loss"],
                _unflat("good.network", tensors),
                _unflat_moments("good.moments", tensors),
                tensors["good.average"].to(device),
            )
        return state


@contextlib.contextmanager
def reproducible(device):
    """Ask a GPU for algorithms that give the same bits each time; a CPU's always do."""
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
            yield
    finally:
        torch.use_deterministic_algorithms(before)


def _flat(prefix, tensors):
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _unflat(prefix, tensors):
    start = len(prefix) + 1
    return {k[start:]: v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


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
    for name, tensor in _unflat(prefix, tensors).items():
        optimiser, parameter, key = name.split(".")
        if tensor.ndim == 4:  # as the weights lie in memory
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        moments.setdefault(int(optimiser), {}).setdefault(int(parameter), {})[key] = tensor
    return moments


def _device(device):
    if device is not None:
        try:
            device = torch.device(device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"there is no device {device!r} here: {error}") from None
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _precision(wanted, device):
    """bfloat16 pays only where the processor multiplies it natively; elsewhere it is emulated."""
    if wanted == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = device.type == "cpu" and _cpu_has_bfloat16()
        wanted = "bfloat16" if native else "float32"
    return getattr(torch, wanted)


def can_compile():
    """Return whether `torch.compile` finds what it needs for a CPU."""
    compilers = (os.environ.get("CXX"), "g++", "clang++", "cl")
    headers = os.path.join(sysconfig.get_path("include"), "Python.h")
    return os.path.exists(headers) and any(shutil.which(name) for name in compilers if name)


def _compiled(network, device):
    """Let PyTorch compile a network; the weights stay those of the module that was handed in."""
    if device.type == "cpu" and not can_compile():
        raise InputError(
            "compiled=True needs a C++ compiler and Python's headers, and there are none: install "
            "them (on Debian g++ and python3-dev), or leave compiled out"
        )
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return torch.compile(network, mode=mode, dynamic=False)


def _cpu_has_bfloat16():
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # older releases cannot tell
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def _input(problem, recipe, seed, z):
    """Z: what the caller handed in, or the recipe's noise or mesh, as large as the picture."""
    height, width = problem.shape[-2:]
    if z is not None:
        if z.ndim != 4 or z.shape[0] != 1 or tuple(z.shape[-2:]) != (height, width):
            raise InputError(
                f"z has shape {tuple(z.shape)}; it must be (1, channels, {height}, {width})"
            )
        return z.detach().float()
    if recipe.z == "given":
        raise InputError("this recipe takes its input from you: hand it in as z=")
    if recipe.z == "mesh":
        rows, columns = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
        return torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1])[None]
    shape = (1, recipe.z_channels, height, width)
    return torch.rand(shape, generator=generator(seed, "z")) * recipe.z_scale


def _build(problem, recipe, channels, seed):
    """Build the recipe's network from a seed, and leave the global random state as it was."""
    members = []
    for number in range(int(recipe.members)):
        with borrowed_state():
            torch.manual_seed(derived(seed, f"weights {number}" if number else "weights"))
            member = networks.build(recipe.network, channels, problem.shape, **recipe.options)
        if recipe.start_at_mean:
            _start_at_mean(member, problem)
        members.append(member)
    return members[0] if len(members) == 1 else networks.Ensemble(members)


def _start_at_mean(network, problem):
    """Let the first output have the observation's mean colour instead of mid-grey."""
    last = getattr(network, "picture", None)
    if getattr(last, "bias", None) is None:
        return
    known = problem.operator(torch.ones(problem.shape)).mean(dim=(1, 2))  # 1 but for a mask
    mean = (problem.observation.cpu().mean(dim=(1, 2)) / known).clamp(0.02, 0.98)
    with torch.no_grad():
        last.bias.copy_(torch.logit(mean) if getattr(network, "sigmoid", False) else mean)


def _check_network(network, z, shape, own):
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError("the network has no parameters to fit")
    if not own:
        return  # the package's own make pictures of any size: tested
    height, width = shape[-2:]
    try:
        # On a copy, with a random state of its own: running means and dropout must not notice.
        with torch.no_grad(), borrowed_state():
            made = tuple(copy.deepcopy(network)(z).shape)
    except Exception as error:
        raise InputError(f"the network cannot take z of shape {tuple(z.shape)}: {error}") from error
    if made != (1, *shape):
        raise InputError(f"the network makes {made} out of z; wanted is {(1, *shape)}")


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
    """Restore one picture: run `iterate` until a rule stops it, and keep what happened.

    Parameters
    ----------
    problem : Problem
        What is to be restored.
    recipe : Recipe or str, optional
        ``"lab"`` (the default), ``"paper"``, or a recipe.
    network : torch.nn.Module, optional
        A network of your own, trained in place.
    stop : rule, str or int, optional
        A stopping rule, its name, or a number of iterations; by default the recipe's rule, and
        its number of iterations at most.
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
        recorded so far.

    Returns
    -------
    Run
        Also when the fit was halted or interrupted (Ctrl-C, the notebook's stop button).

    Raises
    ------
    InputError
        Something does not fit together; said before the first iteration.
    MemoryShortage
        The machine has too little memory for a picture of this size.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> problem = denoising(images.load("camera", size=64), sigma=25 / 255)
    >>> fit(problem, iterations=20, progress=False).stopped_by
    'count'
    """
    recipe = recipes.choose(recipe, problem)
    if iterations is not None:
        recipe = recipe.but(iterations=iterations)
        stop = iterations if stop is None else stop  # who asks for a number gets it
    rule = stopping.choose(stop, problem, recipe)
    run = Run(problem, recipe, seed)
    if save is not None:
        run.check_savable(save)
    state = State.begin(problem, recipe, network, seed=seed, device=device, z=z)
    run.network = state.network
    return _advance(run, state, rule, progress, halt, save, callback)


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
        pictures only.

    Returns
    -------
    dict
        Name -> Run, in the same order.

    Raises
    ------
    InputError
        Something of one of the fits does not fit together; the others end at their next iteration.
    KeyboardInterrupt
        Somebody stopped it; so do fits that are under way, and the others do not begin.

    Notes
    -----
    As many run at a time as there are cores for their networks. The results are those of `fit`,
    one after the other. For more fits than fit in memory, or that should be kept: `sweep`.

    Examples
    --------
    >>> from diplearn import denoising, images, lab
    >>> problem, recipe = denoising(images.load("camera", size=32)), lab(members=1, iterations=5)
    >>> runs = fits({s: {"problem": problem, "recipe": recipe, "seed": s} for s in range(3)})
    >>> list(runs)
    [0, 1, 2]
    """

    def one(**arguments):
        run = fit(**arguments)
        if not resumable:
            run.network = run.state = None
        return run

    before, halt = torch.get_num_threads(), threading.Event()
    cores = before if cores is None else whole(cores, "cores", 1)
    members = [recipes.choose(w.get("recipe"), w["problem"]).members for w in wanted.values()]
    share = min(cores, max(members, default=1))  # cores for each fit
    pool = ThreadPoolExecutor(
        max(1, cores // share), initializer=torch.set_num_threads, initargs=(share,)
    )
    bar = Progress(len(wanted), show=progress and len(wanted) > 0, unit="fit")
    try:
        with contextlib.closing(bar):
            waiting = {
                name: pool.submit(one, **{"halt": halt, **arguments, "progress": False})
                for name, arguments in wanted.items()
            }
            for done, future in enumerate(as_completed(waiting.values()), 1):
                future.result()  # an error is told now, and not after the last fit
                bar.tell(done, "")
        return {name: future.result() for name, future in waiting.items()}
    finally:
        halt.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # for threads to come, too


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
        The number of iterations to reach in all. More than the recipe's change the recipe's, and
        with it a learning rate that decays towards the end. By default the recipe's.
    stop : rule, str or int, optional
        A stopping rule for the iterations to come; by default the recipe's, unless it is what
        ended the run.
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
        The run has made that many iterations already, or has nothing to go on from.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> problem = denoising(images.load("camera", size=64))
    >>> run = fit(problem, iterations=20, stop=5, progress=False)
    >>> resume(run, progress=False).stopped_at
    20
    """
    if run.state is None:
        raise InputError("this run holds nothing to go on from")
    if iterations is not None and iterations > run.recipe.iterations:
        run.recipe = run.recipe.but(iterations=iterations)
    goal = run.recipe.iterations if iterations is None else iterations
    if goal <= run.stopped_at:
        raise InputError(
            f"the run has made {run.stopped_at} iterations already; ask for more than that"
        )
    if stop is None and (iterations is not None or _ended(run)):
        stop = goal  # otherwise the recipe's rule decides, as it would have without the pause
    rule = stopping.choose(stop, run.problem, run.recipe)
    if save is not None:
        run.check_savable(save)
    if network is None and run.own_network:
        network = run.network
    state = State.unpack(run.state, run.problem, run.recipe, network, device)
    _remind(rule, run.state, state.device)
    run.network = state.network
    return _advance(run, state, rule, progress, halt, save, callback)


def _ended(run):
    """Say whether the recipe's own rule has spoken already."""
    rule = stopping.choose(None, run.problem, run.recipe)
    return run.stopped_by == rule.name


SAVE_EVERY = 60.0
"""Seconds between two saves on the way."""


def _advance(run, state, rule, progress, halt, save, callback):
    """Drive the iterations, write them down, and close the record however they end."""
    total = min(run.recipe.iterations, getattr(rule, "iterations", run.recipe.iterations))
    bar = Progress(total, run.stopped_at, progress)
    begun = time.perf_counter() - run.seconds
    saved = time.perf_counter()
    with interruptible() as interrupted, contextlib.closing(bar):
        shown = getattr(rule, "shown", None)
        for step in iterate(run.problem, run.recipe, state=state, shown=shown):
            loss, psnr = run.record(step, begun)
            bar.update(step.iteration, loss, None if math.isnan(psnr) else psnr)
            if callback is not None:
                callback(run, step)
            if rule(step):
                stopped_by = rule.name
                break
            if interrupted.is_set() or (halt is not None and halt.is_set()):
                stopped_by = "interrupted" if interrupted.is_set() else "halted"
                break
            if save is not None and time.perf_counter() - saved > SAVE_EVERY:
                _close(run, state, rule, "unfinished")
                _save(run, save)
                saved = time.perf_counter()
        else:
            stopped_by = "setbacks" if state.setbacks >= SETBACKS else "count"
        _close(run, state, rule, stopped_by)
        if save is not None:
            _save(run, save)
    return run


def _close(run, state, rule, stopped_by):
    """Write down what the rule chose, and all that is needed to go on."""
    chosen, at = getattr(rule, "chosen", None), getattr(rule, "chosen_at", 0)
    if chosen is None:  # a rule of the user's own only says when
        chosen, at = state.average, state.iteration
    tensors, numbers = state.pack()
    now = getattr(rule, "now", {})
    tensors |= {f"rule.{k}": v.cpu().clone() for k, v in now.items() if torch.is_tensor(v)}
    numbers["rule"] = {
        "name": rule.name,
        "now": {k: v for k, v in now.items() if not torch.is_tensor(v)},
    }
    # Pixels without a network may leave [0, 1]; a picture does not.
    run.finish(stopped_by, chosen.clamp(0, 1), at, (tensors, numbers))


def _remind(rule, packed, device):
    """Give a rule back what it had seen before the pause, if it is the same rule."""
    tensors, numbers = packed
    before = numbers.get("rule", {})
    if before.get("name") == rule.name and hasattr(rule, "now"):
        seen = {k: v.to(device) for k, v in _unflat("rule", tensors).items()}
        rule.now |= before["now"] | seen


def _save(run, path):
    """Save, but lose no fit to a disk that is full: the run is still in memory."""
    try:
        run.save(path)
    except OSError as error:
        warnings.warn(
            f"the run could not be saved to {path}: {error.strerror or error}; an earlier file is "
            "as it was",
            RuntimeWarning,
            stacklevel=4,
        )


@contextlib.contextmanager
def interruptible():
    """Turn Ctrl-C into a flag, so that an iteration is never cut in half; twice means at once.

    Yields
    ------
    threading.Event
        Set once the interrupt came. Outside the main thread it is never set.
    """
    flag = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    elsewhere = threading.current_thread() is not threading.main_thread()
    if elsewhere or before in (signal.SIG_IGN, None):  # ignored, as in the background of a shell
        yield flag
        return

    def take_note(number, frame):
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    signal.signal(signal.SIGINT, take_note)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
