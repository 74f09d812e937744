"""All that changes while a fit goes on."""

import contextlib
import itertools

from . import hardware, inputs, networks, optimisers
from .randomness import seeded
from .rollback import Guard


class State:
    """The networks, their optimisers, the input, the average, and the iteration they are at."""

    def __init__(self, network, z, recipe, seed, own_network=False):
        self.network, self.recipe, self.seed = network, recipe, seed
        self.networks = networks.members(network)
        self.device, self.own_network = z.device, own_network
        self.optimisers = [
            optimisers.build(recipe.optimiser, each, recipe.learning_rate, recipe.momentum)
            for each in self.networks
        ]
        network.zero_grad()  # a user's network may bring gradients along
        self.precision = hardware.precision(recipe.precision, self.device)
        exact = own_network or recipe.z != "noise"  # coordinates and images keep their digits
        self.z = z if exact else z.to(self.precision)
        self.noise = inputs.InputNoise(recipe, self.z, seed)
        self.iteration, self.average = 0, None
        self.guard = Guard()
        self._callable = self.networks
        if recipe.compiled:
            self._callable = [hardware.compiled(each, self.device) for each in self.networks]

    def threads(self):
        """Return the pool of threads on which the iterations are made."""
        return hardware.ThreadPool(self.networks, self.z.shape, self.device)

    def set_learning_rate(self):
        """Set the rate of the next iteration: the recipe's, and less after each rollback."""
        rate = self.recipe.rate(self.iteration) * self.guard.rate_factor
        for optimiser in itertools.chain(*self.optimisers):
            for group in optimiser.param_groups:
                group["lr"] = rate

    def forward(self, number, z):
        """Return x = f_θ(z) of one of the networks, (C, H, W) in float32."""
        with hardware.autocast(self.precision, self.device), self._randomness():
            x = self._callable[number](z)[0]
        x = x.float()
        return x.clone() if self.recipe.compiled else x  # a CUDA graph reuses its output's memory

    def _randomness(self):
        """Seed the random numbers of a user's network (dropout) by the iteration."""
        if not self.own_network:
            return contextlib.nullcontext()
        return seeded(self.seed, f"network {self.iteration}", self.device)

    def update(self, number):
        """Make a step with the optimisers of one of the networks."""
        for optimiser in self.optimisers[number]:
            optimiser.step()
            optimiser.zero_grad()

    def add_to_average(self, image):
        """Let the moving average follow the outputs; return the weight that it gave to its past."""
        weight = self.recipe.averaging(self.iteration) if self.average is not None else 0.0
        self.average = image if self.average is None else image.lerp(self.average, weight)
        return weight

    @contextlib.contextmanager
    def undone_if_it_fails(self):
        """Restore the noise generator, and drop the gradients, if an iteration fails."""
        before = self.noise.generator.get_state()
        try:
            yield
        except BaseException:
            self.noise.generator.set_state(before)
            self.network.zero_grad()
            raise

    def moments(self):
        """Return the optimisers' moments: optimiser -> parameter -> name -> tensor."""
        every = itertools.chain(*self.optimisers)
        return {i: optimiser.state_dict()["state"] for i, optimiser in enumerate(every)}

    def set_moments(self, moments):
        """Restore what `moments` returned."""
        for i, optimiser in enumerate(itertools.chain(*self.optimisers)):
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": moments.get(i, {}), "param_groups": groups})
