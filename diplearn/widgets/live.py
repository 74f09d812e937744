"""Panels: a fit that is watched while it runs, with a hand on its iteration count.

The fit has a thread of its own, so that a notebook stays awake, and buttons reach it: they set
events, and never touch a network. With ipykernel 7 a button's message arrives while a cell runs, on
another thread; elsewhere it waits until the cell ends, and the kernel's interrupt stands in for it.
"""

import contextlib
import html
import threading
import time
import weakref

import ipywidgets as w
import numpy as np

from .. import images, networks, problems, recipes, stopping
from ..errors import InputError, whole
from ..figures import GREEN, ORANGE
from ..fitting import fit, resume
from ..metrics import psnr
from ..problems import Problem
from .page import charts, jpeg_bytes
from .plot import plot

TASKS = {
    "denoising": lambda clean, sigma, seed: problems.denoising(clean, sigma, seed),
    "half of the pixels missing": lambda clean, sigma, seed: problems.inpainting(
        clean, 0.5, sigma, seed
    ),
    "super-resolution ×4": lambda clean, sigma, seed: problems.super_resolution(
        clean, 4, sigma=sigma, seed=seed
    ),
    "JPEG, quality 10": lambda clean, sigma, seed: problems.jpeg(clean, 10),
}

LONGEST = 2000
"""Iterations that the slider goes up to, at least."""

LARGEST_SEED = 10**9
_RECIPES_OWN = "the recipe's"
_WIDE = {"description_width": "92px"}


class Box(w.VBox):
    """A box that says something on a page without a kernel, too."""

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        bundle["text/html"] = (
            "<p>▶ <b>Here is something to play with</b>, once a kernel runs: open this notebook in "
            "Jupyter and run the cell.</p>"
        )
        return bundle


class Panel(Box):
    """A fit with buttons: see `watch`.

    Attributes
    ----------
    run : Run or None
        The iterations so far. While a fit is running, asking for it waits until it rests, so that
        "Run All" cannot overtake it. A fit that failed raises its error here; Start goes on with
        the iterations that it had made.
    """

    EVERY = 0.125  # seconds from one image to the next, at least: then they are below 0.25
    _busy = None  # the panel whose fit is running: two at once would only be in each other's way
    _lock = threading.RLock()  # one for all panels; nobody waits for a fit while holding it

    def __init__(self, problem=None, recipe=None, iterations=None, seed=0, size=128):
        self._given, self._version = problem, 0
        self._halt, self._resting, self._callbacks = threading.Event(), threading.Event(), []
        self._resting.set()
        self._thread = self._run = self._error = self._key_of_run = self._goal = None
        self._paused, self._halted_by, self._seen = False, None, []
        self._build_controls(recipe, iterations, seed, size)
        self._build_views()
        super().__init__([self._style(), w.HBox([self.controls, self.views], layout=_wrapped())])
        self.add_class("dip-panel")
        reach_while_a_cell_runs(self)
        self._preview()
        self._refresh()

    # What is to be seen.

    def _build_controls(self, recipe, iterations, seed, size):
        given = recipes.NAMES.get(recipe, recipe) if isinstance(recipe, str) else recipe
        self._own_recipe = None if isinstance(recipe, str | None) else given
        names = ["lab", "paper"] if self._own_recipe is None else [self._own_recipe.name]
        self.image = _dropdown("image", images.names(), "astronaut")
        self.side = _dropdown("size", sorted({64, 96, 128, 192, 256, size}), size)
        self.task = _dropdown("task", list(TASKS), "denoising")
        self.noise = w.IntSlider(25, 0, 75, 5, description="noise σ / 255", style=_WIDE)
        self.recipe = _dropdown("recipe", names, recipe if isinstance(recipe, str) else names[0])
        self.network = _dropdown("network", [_RECIPES_OWN, *networks.BY_NAME], _RECIPES_OWN)
        self.iterations = w.IntSlider(
            iterations or 500, 1, max(LONGEST, iterations or 0), description="iterations",
            style=_WIDE, continuous_update=False,
        )  # fmt: skip
        self.rate = w.FloatLogSlider(
            0.01, min=-5, max=0, step=0.05, description="learning rate", style=_WIDE,
            readout_format=".4f",
        )  # fmt: skip
        self.seed = w.BoundedIntText(seed, 0, LARGEST_SEED, description="seed", style=_WIDE)
        self.alone = w.Checkbox(False, description="may stop by itself", style=_WIDE)
        self.showing = _dropdown("showing", ["single iterate", "average"], "single iterate")
        self.start = _button("Start", "begin the fit, or go on with it", "play")
        self.pause = _button("Pause", "halt; Start goes on", "pause")
        self.step = _button("Step", "make one iteration", "step-forward")
        self.stop = _button("Stop", "end the fit; panel.run holds it", "stop")
        self.restart = _button("Restart", "begin again from the seed", "refresh")
        for button, act in (
            (self.start, self._on_start), (self.pause, self._on_pause), (self.step, self._on_step),
            (self.stop, self._on_stop), (self.restart, self._on_restart),
        ):  # fmt: skip
            button.on_click(act)
        source = [] if self._given is not None else [self.image, self.side, self.task, self.noise]
        settings = [self.recipe, self.network, self.rate, self.seed, self.alone]
        for control in (self.task, self.recipe, self.network):
            control.observe(self._take_defaults, "value")
        for control in (*source, *settings, self.iterations):
            control.observe(self._refresh, "value")
        for control in source:
            control.observe(self._preview, "value")
        if iterations is None:
            self._take_defaults()
        self.buttons = w.HBox([self.start, self.pause, self.step, self.stop, self.restart])
        self.iterations.layout.flex = "1 1 260px"
        self.controls = w.VBox([*source, *settings], layout=w.Layout(width="320px"))

    def _build_views(self):
        self.observation, self.restored, self.truth = (w.Image(format="jpeg") for _ in range(3))
        self.captions = [w.HTML() for _ in range(3)]
        views = (self.observation, self.restored, self.truth)
        self._panes = [
            w.VBox([view, words], layout=w.Layout(min_width="0", flex="0 1 auto"))
            for view, words in zip(views, self.captions)
        ]
        self.status = w.HTML(layout=w.Layout(height="28px", flex="1 1 240px", margin="2px 8px"))
        self.curves = w.HTML(layout=w.Layout(min_height="196px"))
        self.views = w.VBox(
            [
                w.HBox([self.iterations, self.showing], layout=_wrapped()),
                w.HBox([self.buttons, self.status], layout=_wrapped()),
                w.HBox(self._panes), self.curves,
            ],
            layout=w.Layout(flex="1 1 520px", min_width="0"),
        )  # fmt: skip

    @staticmethod
    def _style():
        return w.HTML(f"<style>{_STYLE}</style>", layout=w.Layout(height="0", margin="0"))

    # What is to be fitted.

    def _recipe(self, problem):
        chosen = self._own_recipe or recipes.choose(self.recipe.value, problem)
        if self.network.value != _RECIPES_OWN:
            chosen = chosen.replace(network=self.network.value)
        return chosen.replace(learning_rate=self.rate.value)

    def _problem(self):
        if self._given is not None:
            return self._given() if callable(self._given) else self._given
        clean = images.load(self.image.value, size=self.side.value)
        return TASKS[self.task.value](clean, self.noise.value / 255, self.seed.value)

    def _key(self):
        """All that a running fit depends on, but for the iteration count."""
        controls = (
            self.image, self.side, self.task, self.noise, self.recipe, self.network, self.rate,
            self.seed, self.alone,
        )  # fmt: skip
        return self._version, *(control.value for control in controls)

    def renew(self):
        """Take note that the problem is another one: the next Start begins a new fit."""
        self._version += 1
        self._take_defaults()
        self._refresh()
        self._preview()

    def _take_defaults(self, change=None):
        """Set iteration count and learning rate as the recipe has them."""
        try:
            problem = self._problem()
            chosen = self._own_recipe or recipes.choose(self.recipe.value, problem)
        except InputError:
            return  # _preview tells about it
        self.rate.value = chosen.learning_rate
        self.iterations.max = max(LONGEST, chosen.iterations)
        self.iterations.value = chosen.iterations

    # What the buttons do. They may be pressed on any thread.

    @property
    def running(self):
        """Whether a fit is going on."""
        return not self._resting.is_set()

    @property
    def run(self):
        """The run so far; waits while a fit is going on."""
        self._wait(lambda: self.running)
        if self._error is not None:
            raise self._error
        return self._run

    def fit(self):
        """Wait for the fit's end, after starting it if nobody has, and return the run.

        Who runs the whole notebook gets a finished fit from this line, and who pressed the buttons
        gets theirs. A fit that another panel halted goes on when the other's rests. The kernel's
        interrupt does what Stop does.

        Returns
        -------
        Run
        """
        if not self.running and (self._fresh() or self._error is not None):
            self._on_start()
        self._wait(self._goes_on)
        return self.run

    def _goes_on(self):
        """Whether the fit is to be waited for; starts it again once another panel's fit rests."""
        if self._halted_by is not None and not self._halted_by.running:
            self._on_start()
        return self.running or self._waits()

    def on_rest(self, callback):
        """Call ``callback(run)`` whenever a fit of the present settings comes to rest.

        Parameters
        ----------
        callback : callable
            It is called on the fit's own thread.
        """
        self._callbacks.append(callback)

    def _wait(self, going_on):
        if threading.current_thread() is self._thread:
            return  # who looks on would wait for the fit, and the fit for who looks on
        try:
            while going_on():
                time.sleep(0.02)
        except KeyboardInterrupt:
            self._on_stop()
            self._join()

    def _fresh(self):
        """Whether the next fit is another one than the last."""
        return self._run is None or self._key() != self._key_of_run

    def _waits(self):
        """Whether the fit was halted before its end, so that Start would go on with it."""
        run = self._run
        ended = run is not None and (
            run.stopped_by == _GAVE_UP or _by_a_rule(run) or run.stopped_at >= self.iterations.value
        )
        return (self._paused or self._halted_by is not None) and not ended

    def _on_start(self, _=None):
        run, fresh = self._run, self._fresh()
        if self.running:
            return
        if not fresh and self.iterations.value <= run.stopped_at:
            self._error = None
            self._tell(f"{run.stopped_at} iterations are made: choose more, or Restart.", ORANGE)
        elif not fresh and run.stopped_by == _GAVE_UP:
            self._tell(self._standing(), ORANGE)
        else:
            self._begin()

    def _on_pause(self, _=None):
        with self._lock:
            self._paused, self._halted_by = self.running, None
            self._halt.set()

    def _on_stop(self, _=None):
        with self._lock:
            self._paused, self._halted_by = False, None
            self._halt.set()
            self._refresh()

    def _on_step(self, _=None):
        run, fresh = self._run, self._fresh()
        if self.running:
            return
        if not fresh and run.stopped_by == _GAVE_UP:
            self._tell(self._standing(), ORANGE)
        else:
            self._begin(goal=1 if fresh else run.stopped_at + 1)

    def _on_restart(self, _=None):
        self._on_stop()
        self._join()
        self._begin(again=True)

    def _join(self):
        if threading.current_thread() is not self._thread:
            self._resting.wait()

    @contextlib.contextmanager
    def _alone(self):
        """Hold the lock once no other panel's fit is running; halt one that is."""
        while True:
            with self._lock:
                other = Panel._busy and Panel._busy()
                own = other is None or other is self or threading.current_thread() is other._thread
                if own or not other.running:
                    yield
                    return
                other._halted_by = self
                other._halt.set()
            other._join()

    def _begin(self, again=False, goal=None):
        """Start the thread that fits, up to the slider's iteration or to a goal."""
        with self._alone():
            if self.running:
                return  # somebody else was quicker
            Panel._busy = weakref.ref(self)
            self._halt.clear()
            self._error, self._goal = None, goal
            self._paused, self._halted_by = goal is not None, None
            self._seen = []
            if again or self._fresh():
                self._run, self._key_of_run = None, self._key()
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._resting.clear()
            self._thread.start()
            self._refresh()

    # The fit, on its own thread.

    def _work(self):
        looking = {"progress": False, "halt": self._halt, "callback": self._look}
        rule = "auto" if self.alone.value else None
        run = self._run
        try:
            if run is None:
                problem, goal = self._problem(), self._wanted()
                run = fit(
                    problem, self._recipe(problem), stop=rule, iterations=goal,
                    seed=self.seed.value, **looking,
                )  # fmt: skip
            elif _by_a_rule(run):  # and whoever is at the slider wants more
                resume(run, self._wanted(), **looking)
            else:
                resume(run, self._wanted(), stop=rule, **looking)
            while run.stopped_by == "count" and self._wanted() > run.stopped_at:
                if self._halt.is_set():
                    break
                resume(run, self._wanted(), stop=rule, **looking)  # the slider was moved up
            self._run = run
        except Exception as error:  # whatever it was: the panel tells it, and stays usable
            self._error, self._paused = error, False
            self._run = getattr(error, "run", None) or run  # what Start can go on from
        run = None if self._error is not None or self._fresh() else self._run
        try:
            self._rest()
        finally:
            self._resting.set()
        if run is not None:
            for callback in self._callbacks:
                callback(run)

    def _wanted(self):
        return self._goal or self.iterations.value

    def _look(self, run, step):
        """Show what there is, now and then; called after every iteration."""
        self._run = run
        if self._goal is None and step.iteration >= self.iterations.value:
            self._halt.set()  # also when the slider was moved down in the meantime
        now = time.perf_counter()
        if not self._seen or now - self._seen[-1][1] >= self.EVERY:
            self._seen = [*self._seen[-10:], (step.iteration, now)]
            self._paint(run, self._pace(run))

    def _rest(self):
        """Show how the fit stands, once it does."""
        if self._error is not None:
            words = str(self._error) or type(self._error).__name__
            if self._run is not None:
                words += f"; Start goes on from iteration {self._run.stopped_at}"
            self._tell(words, ORANGE)
        else:
            self._paint(self._run, self._standing(), resting=True)
        self._refresh(resting=True)

    def _pace(self, run):
        (k0, t0), (k1, t1) = self._seen[0], self._seen[-1]
        words = f"iteration {k1} of {self._wanted()}"
        if t1 > t0:
            pace = (k1 - k0) / (t1 - t0)
            left = max(0, self._wanted() - k1) / pace
            words += f" · {pace:.1f} iterations/s · {left:.0f} s left"
        return words

    def _standing(self):
        run = self._run
        words = f"iteration {run.stopped_at}: "
        if self._waits():
            return words + "paused; Start goes on"
        if run.stopped_by == _GAVE_UP:
            return words + "gave up: the loss diverged three times; a lower learning rate may help"
        if _by_a_rule(run):
            return words + f"stopped by itself ({run.stopped_by}), image of {run.chosen_at}"
        return words + "done; a higher iteration count and Start go on"

    # Views.

    def _preview(self, change=None):
        """Show the problem before its fit."""
        try:
            problem = self._problem()
        except InputError as error:
            self._tell(str(error), ORANGE)
            return
        self._tell("Start begins the fit.")
        self._lay_out(problem)
        self.restored.value = jpeg_bytes(np.full((self._height, self._width), 128, np.uint8))
        self.captions[1].value = _caption("restored", "nothing yet")
        self.curves.value = plot("energy E", [])

    def _lay_out(self, problem):
        """Show observation and truth, each as large as the image that is sought."""
        truth = problem.truth
        height, width = problem.shape[-2:]
        scale = max(1, 256 // max(height, width)) if max(height, width) <= 256 else 1
        self._width, self._height = width * scale, height * scale
        for view in (self.observation, self.restored, self.truth):
            view.layout.width, view.layout.max_width = f"{self._width}px", "100%"
        self.observation.value = self._enlarged(images.to_uint8(problem.observation))
        alike = truth is not None and problem.observation.shape == truth.shape
        words = f"{psnr(problem.observation, truth):.2f} dB" if alike else ""
        self.captions[0].value = _caption("observation", words)
        self._panes[2].layout.display = "none" if truth is None else ""
        if truth is not None:
            self.truth.value = self._enlarged(images.to_uint8(truth))
            self.captions[2].value = _caption("truth", "")

    def _enlarged(self, array):
        """Repeat pixels until the image has its place's size; the bytes of a JPEG."""
        rows = np.arange(self._height) * array.shape[0] // self._height
        columns = np.arange(self._width) * array.shape[1] // self._width
        return jpeg_bytes(array[rows][:, columns])

    def _paint(self, run, standing, resting=False):
        """Show the present image, the curves, and words on how the fit stands."""
        averaged = self.showing.value == "average"
        shown, words = (run.average, "average") if averaged else (run.last, "single iterate")
        if resting and run.stopped_by == _GAVE_UP:
            shown, words = run.output, f"kept from iteration {run.chosen_at}"
        elif resting and _by_a_rule(run):
            shown, words = run.output, f"the rule's choice, {run.chosen_at}"
        if run.problem.truth is not None:
            words += f", {psnr(shown, run.problem.truth):.2f} dB"
        marks = []
        if run.problem.truth is not None:
            marks.append(("best", run.oracle_at, GREEN))
        drawn = (plot(c["label"], c["series"], c["log"], marks) for c in charts({"": run}))
        curves, image = "".join(drawn), self._enlarged(images.to_uint8(shown))
        # All at once, so that the page is drawn once: it takes its time from the fit.
        self.restored.value, self.curves.value = image, curves
        self.captions[1].value = _caption(f"iteration {run.stopped_at}", words)
        self._tell(standing)

    def _tell(self, words, colour="inherit"):
        self.status.value = (
            f'<div role="status" style="color: {colour}; font-variant-numeric: tabular-nums">'
            f"{html.escape(words)}</div>"
        )

    def _refresh(self, change=None, resting=False):
        """Let only those buttons be pressed that would do something."""
        running = self.running and not resting
        self.start.disabled = self.step.disabled = running
        self.pause.disabled = not running
        self.stop.disabled = not (running or self._waits())
        self.restart.disabled = self._run is None and not running
        changed = self._run is not None and self._key() != self._key_of_run
        if changed and not running:
            self._tell("Start begins a new fit: the settings have changed.")


_STYLE = """
.dip-panel .widget-image { margin: 2px 8px 0 0; max-width: 98%; object-fit: contain; height: auto; }
.dip-panel svg { width: 49%; max-width: 400px; height: auto; }
.dip-panel .widget-html-content { line-height: 1.4; }
.dip-panel .jupyter-button { width: auto; padding: 0 9px; }
"""
_GAVE_UP = "diverged"


def _by_a_rule(run):
    """Whether a stopping rule ended the run, and not a count, a button or an error."""
    return run.stopped_by in stopping.BY_NAME and run.stopped_by != "count"


def reach_while_a_cell_runs(box):
    """Let a widget's messages arrive where the page sends them, on the subshell for widgets.

    ipykernel 7.4 hands them to the shell on which the widget spoke last instead. For a panel that
    is the main one, where a running cell would keep a press of Stop waiting for its end.

    Parameters
    ----------
    box : ipywidgets.Widget
        With all that is in it.
    """
    for widget in (box, *getattr(box, "children", ())):
        if hasattr(widget.comm, "_reply_subshell_for"):
            widget.comm._reply_subshell_for = lambda data, subshell: subshell
        if widget is not box:
            reach_while_a_cell_runs(widget)


def _dropdown(name, options, value):
    return w.Dropdown(options=options, value=value, description=name, style=_WIDE)


def _button(name, what, icon):
    return w.Button(description=name, tooltip=what, icon=icon, layout=w.Layout(width="auto"))


def _wrapped():
    return w.Layout(flex_flow="row wrap", align_items="flex-start")


def _caption(name, words):
    return f"<b>{html.escape(name)}</b><br>{html.escape(words)}&nbsp;"


def watch(problem=None, recipe=None, iterations=None, seed=0, size=128):
    """Watch a fit while it runs, and lay a hand on its iteration count.

    Start, Pause, Step, Stop and Restart do what they say. The slider may be moved at any time: a
    higher count goes on with the same fit, a lower one ends it. Other settings begin a new fit.

    Parameters
    ----------
    problem : Problem, optional
        What is to be restored. By default it is put together in the panel: image, task, noise.
    recipe : Recipe or str, optional
        ``"lab"`` (the default), ``"paper"``, or a recipe.
    iterations : int, optional
        Where the slider stands at first; by default at the recipe's number.
    seed : int, optional
        Of the fit, and of the noise that the panel adds.
    size : int, optional
        Pixels of a side, of an image that is chosen in the panel.

    Returns
    -------
    Panel
        Show it at the end of a cell. `panel.run` is the run so far; `panel.fit()` waits for it, and
        starts it if nobody has.

    Raises
    ------
    InputError
        The problem is none, or a number is out of its range.

    Examples
    --------
    >>> panel = watch(size=64, iterations=3)
    >>> panel.fit().stopped_at
    3
    """
    if problem is not None and not isinstance(problem, Problem):
        raise InputError("watch takes a problem, such as dip.denoising(clean), or nothing")
    if isinstance(recipe, str):
        recipes.choose(recipe, problem or problems.denoising(images.load("camera", size=64)))
    whole(size, "size", 16, 512)
    whole(seed, "seed", 0, LARGEST_SEED)
    if iterations is not None:
        whole(iterations, "iterations", 1)
    return Panel(problem, recipe, iterations, seed, size)
