"""The settings of a panel: the problem, the recipe and the seed."""

import functools

import ipywidgets as w

from .. import images, networks, problems, recipes
from ..errors import InputError
from ..fitting import fit, resume
from ..recipes import Recipe

TASKS = {
    "denoising": problems.denoising,
    "half of the pixels missing": functools.partial(problems.inpainting, mask=0.5),
    "super-resolution ×4": functools.partial(problems.super_resolution, factor=4),
    "JPEG, quality 10": lambda clean, sigma, seed: problems.jpeg(clean, 10),
}

LONGEST = 2000
"""The slider for the iterations reaches at least this number."""

LARGEST_SEED = 10**9
RECIPES_OWN = "the recipe's"
WIDE = {"description_width": "92px"}


class Controls(w.VBox):
    """Sliders and menus for the problem, the recipe and the seed, from which a fit is made.

    `problem` is a problem, a function that returns one, or None. With None, the controls include
    menus for image, task and noise level.
    """

    def __init__(self, problem, recipe, iterations, seed, size):
        self._given, self._renewed, self._begun_with = problem, 0, None
        self._own_recipe = recipe if isinstance(recipe, Recipe) else None
        names = list(recipes.NAMES) if self._own_recipe is None else [recipe.name]
        self.image = dropdown("image", images.names(), "astronaut")
        self.side = dropdown("size", sorted({64, 96, 128, 192, 256, size}), size)
        self.task = dropdown("task", list(TASKS), "denoising")
        self.noise = w.IntSlider(25, 0, 75, 5, description="noise σ / 255", style=WIDE)
        self.recipe = dropdown("recipe", names, recipe if recipe in names else names[0])
        self.network = dropdown("network", [RECIPES_OWN, *networks.BY_NAME], RECIPES_OWN)
        self.rate = w.FloatLogSlider(
            0.01, min=-5, max=0, step=0.05, description="learning rate", style=WIDE,
            readout_format=".4f",
        )  # fmt: skip
        self.seed = w.BoundedIntText(seed, 0, LARGEST_SEED, description="seed", style=WIDE)
        self.alone = w.Checkbox(False, description="may stop by itself", style=WIDE)
        self.iterations = w.IntSlider(
            iterations or 500, 1, max(LONGEST, iterations or 0), description="iterations",
            style=WIDE, continuous_update=False, layout=w.Layout(flex="1 1 260px"),
        )  # fmt: skip
        self.source = [self.image, self.side, self.task, self.noise]
        self.method = [self.recipe, self.network, self.rate, self.seed, self.alone]
        shown = [*(self.source if problem is None else []), *self.method]
        super().__init__(shown, layout=w.Layout(width="320px"))
        for control in (self.task, self.recipe, self.network):
            control.observe(self.take_defaults, "value")
        if iterations is None:
            self.take_defaults()

    @property
    def target(self):
        """The number of iterations on the slider."""
        return self.iterations.value

    @property
    def changed(self):
        """Whether the settings, except the iterations, differ from those of the last new fit."""
        return self._settings() != self._begun_with

    def _settings(self):
        return self._renewed, *(control.value for control in (*self.source, *self.method))

    def renew(self):
        """Note that the function that was passed as `problem` now returns another problem."""
        self._renewed += 1
        self.take_defaults()

    def take_defaults(self, change=None):
        """Set the iterations and the learning rate to those of the recipe."""
        try:
            chosen = self._chosen_recipe(self.problem())
        except InputError:
            return  # the panel shows the error
        self.rate.value = chosen.learning_rate
        self.iterations.max = max(LONGEST, chosen.iterations)
        self.iterations.value = chosen.iterations

    def problem(self):
        """Return the problem to be solved."""
        if self._given is not None:
            return self._given() if callable(self._given) else self._given
        clean = images.load(self.image.value, size=self.side.value)
        make = TASKS[self.task.value]
        return make(clean, sigma=self.noise.value / 255, seed=self.seed.value)

    def recipe_for(self, problem):
        """Return the recipe with the chosen network and learning rate."""
        chosen = self._chosen_recipe(problem).replace(learning_rate=self.rate.value)
        own = self.network.value == RECIPES_OWN
        return chosen if own else chosen.replace(network=self.network.value)

    def _stop(self, recipe):
        """Return the rule that was asked for; None takes the recipe's, which may make the image."""
        return "auto" if self.alone.value and not recipe.mixes else None

    def _chosen_recipe(self, problem):
        return self._own_recipe or recipes.choose(self.recipe.value, problem)

    def fit(self, run, iterations, **options):
        """Begin a fit with these settings if `run` is None; otherwise continue the run."""
        if run is not None:
            # Beyond the iteration at which a rule stopped, only the slider ends the fit.
            stop = None if run.stopped_by_rule else self._stop(run.recipe)
            return resume(run, iterations, stop=stop, **options)
        self._begun_with = self._settings()
        problem = self.problem()
        recipe = self.recipe_for(problem)
        stop = self._stop(recipe)
        options |= {"stop": stop, "iterations": iterations, "seed": self.seed.value}
        return fit(problem, recipe, **options)


def dropdown(name, options, value):
    """Return a menu whose label is as wide as the labels of the other controls."""
    return w.Dropdown(options=options, value=value, description=name, style=WIDE)
