"""Panels: a fit with buttons, which a reader watches and steers while it runs.

A button's event reaches the `Worker`, which sets an `Event` that the fit reads between two
iterations; the worker's thread then calls the panel, which updates its `Views`. No button touches
a network. With ipykernel 7, a button's message arrives on another thread while a cell runs.
Otherwise the message arrives when the cell has ended; until then, the kernel's interrupt acts as
Stop.
"""

import time

import ipywidgets as w

from .. import images, problems, recipes
from ..errors import InputError, whole
from ..problems import Problem
from .controls import LARGEST_SEED, Controls
from .markup import asset
from .views import Views
from .worker import Worker


class Box(w.VBox):
    """A box that shows a message where no kernel is running."""

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        bundle["text/html"] = (
            "<p>▶ <b>This is interactive</b>, but only with a kernel: open this notebook in "
            "Jupyter and run the cell.</p>"
        )
        return bundle


class Panel(Box):
    """A fit with buttons; `watch` makes it.

    Its parts are `controls` (the settings), `worker` (the thread of the fit), `views` (images and
    curves), and the buttons `start`, `pause`, `step`, `stop` and `restart`.

    >>> panel = Panel(iterations=3, size=64)
    >>> panel.start.click()
    >>> panel.run.stopped_at
    3
    """

    EVERY = 0.125  # least number of seconds between two updates of the image

    def __init__(self, problem=None, recipe=None, iterations=None, seed=0, size=128):
        self.controls = Controls(problem, recipe, iterations, seed, size)
        self.views = Views()
        self.worker = Worker(self.controls, self._begin, self._look, self._rest)
        self._seen = []  # (iteration, time) of the latest updates
        self.start = _button("Start", "begin the fit, or go on with it", "play", self._start)
        self.pause = _button("Pause", "halt the fit; Start goes on", "pause", self._pause)
        self.step = _button("Step", "make one iteration", "step-forward", self._step)
        self.stop = _button("Stop", "end the fit; panel.run holds it", "stop", self._stop)
        self.restart = _button("Restart", "begin again from the seed", "refresh", self._restart)
        super().__init__([w.HTML(_STYLE, layout=w.Layout(height="0", margin="0")), self._rows()])
        self.add_class("dip-panel")
        reach_while_a_cell_runs(self)
        for control in (*self.controls.source, *self.controls.method, self.controls.iterations):
            control.observe(self._refresh, "value")
        for control in self.controls.source:
            control.observe(self._preview, "value")
        self._preview()
        self._refresh()

    def _rows(self):
        buttons = w.HBox([self.start, self.pause, self.step, self.stop, self.restart])
        right = [
            w.HBox([self.controls.iterations, self.views.showing], layout=_wrapped()),
            w.HBox([buttons, self.views.status], layout=_wrapped()),
            self.views,
        ]
        right = w.VBox(right, layout=w.Layout(flex="1 1 520px", min_width="0"))
        return w.HBox([self.controls, right], layout=_wrapped())

    # Methods for the user.

    @property
    def running(self):
        """Whether a fit is going on."""
        return self.worker.running

    @property
    def run(self):
        """The run so far; None before the first iteration.

        While a fit is running, this property waits until the fit rests, so that "Run All" cannot
        overtake the fit. If the fit failed, its error is raised here; Start continues from the
        iterations made so far.
        """
        self._wait(lambda: self.running)
        if self.worker.error is not None:
            raise self.worker.error
        return self.worker.run

    def fit(self):
        """Start the fit if it has not been started, wait for its end, and return the run.

        "Run All" thus gives a finished fit, and a reader who pressed the buttons gets the fit made
        with them. This method also waits for a paused fit. A fit that another panel halted
        continues when that panel's fit rests. The kernel's interrupt acts as Stop.
        """
        if not self.running and (self.worker.fresh or self.worker.error is not None):
            self._start()
        self._wait(self._goes_on)
        return self.run

    def on_rest(self, callback):
        """Call ``callback(run)`` on the fit's thread when a fit with the present settings rests."""
        self.worker.callbacks.append(lambda run: self.controls.changed or callback(run))

    def renew(self):
        """Call the function that makes the problem again: the next Start begins a new fit."""
        self.controls.renew()
        self._refresh()
        self._preview()

    def _wait(self, going_on):
        try:
            self.worker.wait(going_on)
        except KeyboardInterrupt:
            self._stop()
            self.worker.join()

    def _goes_on(self):
        """Return whether `fit` must wait; first restart a fit that another panel has halted."""
        other = self.worker.displaced_by
        if other is not None and not other.running:
            self._start()
        return self.running or self.worker.waiting

    # Actions of the buttons, which may run on any thread.

    def _start(self, button=None, step=False):
        if self.running:
            return
        self.worker.error = None
        run, count = self.worker.run, self.controls.target
        if not self.worker.fresh and run.diverged:
            self.views.warn(self._standing())
        elif not self.worker.fresh and not step and run.stopped_at >= count:
            self.views.warn(
                f"{run.stopped_at} iterations have been made: raise the number, or press Restart."
            )
        else:
            self.worker.start(step=step)

    def _step(self, button=None):
        self._start(step=True)

    def _pause(self, button=None):
        self.worker.pause()

    def _stop(self, button=None):
        self.worker.stop()
        if not self.running:  # otherwise the fit's thread refreshes the buttons when it rests
            self._refresh()

    def _restart(self, button=None):
        self.worker.stop()
        self.worker.join()
        self.worker.start(again=True)

    # Methods that the worker calls.

    def _begin(self):
        self._seen = []
        self._refresh()

    def _look(self, run, step):
        now = time.perf_counter()
        if not self._seen or now - self._seen[-1][1] >= self.EVERY:
            self._seen = [*self._seen[-10:], (step.iteration, now)]
            self.views.paint(run, self._pace())

    def _rest(self):
        run, error = self.worker.run, self.worker.error
        if error is None:
            self.views.paint(run, self._standing(), resting=True)
        else:
            words = str(error) or type(error).__name__
            if run is not None:
                words += f"; Start goes on from iteration {run.stopped_at}"
            self.views.warn(words)
        self._refresh(resting=True)

    # Updates of the display.

    def _preview(self, change=None):
        """Show the problem before its fit."""
        try:
            problem = self.controls.problem()
        except InputError as error:
            self.views.warn(str(error))
            return
        self.views.preview(problem)
        self.views.tell("Start begins the fit.")

    def _refresh(self, change=None, resting=False):
        """Enable only the buttons that have an effect now."""
        running = self.running and not resting
        self.start.disabled = self.step.disabled = running
        self.pause.disabled = not running
        self.stop.disabled = not (running or self.worker.waiting)
        self.restart.disabled = self.worker.run is None and not running
        if self.worker.run is not None and self.controls.changed and not running:
            self.views.tell("The settings have changed: Start begins a new fit.")

    def _pace(self):
        (k0, t0), (k1, t1) = self._seen[0], self._seen[-1]
        goal = self.worker.goal
        words = f"iteration {k1} of {goal}"
        if t1 > t0:
            pace = (k1 - k0) / (t1 - t0)
            words += f" · {pace:.1f} iterations/s · {max(0, goal - k1) / pace:.0f} s left"
        return words

    def _standing(self):
        run = self.worker.run
        if self.worker.waiting:
            words = "paused; Start goes on"
        elif run.diverged:
            words = "gave up: the loss diverged three times; try a lower learning rate"
        elif run.stopped_by_rule:
            words = f"stopped by the rule {run.stopped_by}; it chose iteration {run.chosen_at}"
            words += f": {run.made_of}" if run.made_of else ""
        else:
            words = "done; to go on, raise the number of iterations and press Start"
        return f"iteration {run.stopped_at}: {words}"


_STYLE = f"<style>{asset('style.css')}</style>"


def reach_while_a_cell_runs(box):
    """Have the widgets' messages delivered on the subshell for widgets, even while a cell runs."""
    # `_reply_subshell_for` is a private method of ipykernel 7.4.0. By default ipykernel delivers a
    # message on the shell on which the widget last sent one. For a panel this is the main shell,
    # where Stop would have to wait until the running cell ends.
    for widget in (box, *getattr(box, "children", ())):
        if hasattr(widget.comm, "_reply_subshell_for"):
            widget.comm._reply_subshell_for = lambda data, subshell: subshell
        if widget is not box:
            reach_while_a_cell_runs(widget)


def _button(name, tooltip, icon, act):
    button = w.Button(description=name, tooltip=tooltip, icon=icon, layout=w.Layout(width="auto"))
    button.on_click(act)
    return button


def _wrapped():
    return w.Layout(flex_flow="row wrap", align_items="flex-start")


def watch(problem=None, recipe=None, iterations=None, seed=0, size=128):
    """Watch a fit while it runs, and decide how many iterations it makes.

    The buttons are Start, Pause, Step (one iteration), Stop and Restart. The slider may be moved at
    any time: a higher number continues the same fit, a lower one ends it. After any other setting
    has been changed, Start begins a new fit.

    Parameters
    ----------
    problem : Problem, optional
        By default, image, task and noise are chosen in the panel.
    recipe : Recipe or str, optional
        ``"lab"`` (the default), ``"guided"``, ``"paper"``, ``"best"``, or a recipe.
    iterations : int, optional
        First position of the slider; by default the recipe's number.
    seed : int, optional
        Seed of the fit, and of the noise that the panel adds.
    size : int, optional
        Side in pixels of an image chosen in the panel, 16 to 512.

    Returns
    -------
    Panel
        Show it at the end of a cell. `panel.run` is the run so far; `panel.fit()` waits for the end
        of the fit, which it starts if necessary.

    Examples
    --------
    >>> panel = watch(size=64, iterations=3)
    >>> panel.fit().stopped_at
    3
    """
    if problem is not None and not isinstance(problem, Problem):
        raise InputError("watch takes a problem, such as dip.denoising(clean), or nothing")
    recipes.choose(recipe, problem or problems.denoising(images.load("camera", size=64)))
    whole(size, "size", 16, 512)
    whole(seed, "seed", 0, LARGEST_SEED)
    if iterations is not None:
        whole(iterations, "iterations", 1)
    return Panel(problem, recipe, iterations, seed, size)
