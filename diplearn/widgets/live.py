"""Panels: a fit that is watched while it runs, and steered.

A button's event reaches the `Worker`, which sets an `Event` that the fit looks at between two
iterations; the worker's thread then calls the panel, which changes its `Views`. No button touches a
network. With ipykernel 7 a button's message arrives on another thread while a cell runs; elsewhere
the message waits until the cell ends, and the kernel's interrupt takes the place of Stop.
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
    """A box that has something to say on a page without a kernel, too."""

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        bundle["text/html"] = (
            "<p>▶ <b>This is interactive</b>, but only with a kernel: open this notebook in "
            "Jupyter and run the cell.</p>"
        )
        return bundle


class Panel(Box):
    """A fit with buttons, as `watch` makes it.

    Its parts are `controls` (the settings), `worker` (the thread of the fit), `views` (what is
    shown), and the buttons `start`, `pause`, `step`, `stop` and `restart`.

    Parameters
    ----------
    problem : Problem or callable, optional
        The problem, or a function that returns it: see `renew`.
    recipe, iterations, seed, size
        As in `watch`.

    Examples
    --------
    >>> panel = Panel(iterations=3, size=64)
    >>> panel.start.click()
    >>> panel.run.stopped_at
    3
    """

    EVERY = 0.125  # seconds from one image to the next, at least

    def __init__(self, problem=None, recipe=None, iterations=None, seed=0, size=128):
        self.controls = Controls(problem, recipe, iterations, seed, size)
        self.views = Views()
        self.worker = Worker(self.controls, self._begin, self._look, self._rest)
        self._seen = []  # (iteration, time) of the images that were shown last
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

    # For the caller.

    @property
    def running(self):
        """Whether a fit is going on."""
        return self.worker.running

    @property
    def run(self):
        """The iterations so far, as a `Run`; None before the first.

        While a fit is going on, this waits until the fit rests, so that "Run All" cannot overtake
        it. A fit that failed raises its error here; Start goes on from the iterations it had made.
        """
        self._wait(lambda: self.running)
        if self.worker.error is not None:
            raise self.worker.error
        return self.worker.run

    def fit(self):
        """Wait for the end of the fit, after starting it if nobody has, and return the run.

        Whoever runs the whole notebook gets a finished fit from this line; whoever pressed the
        buttons gets the fit that they made. A paused fit is waited for. A fit that another panel
        halted goes on when the other panel's fit rests. The kernel's interrupt does what Stop does.

        Returns
        -------
        Run
        """
        if not self.running and (self.worker.fresh or self.worker.error is not None):
            self._start()
        self._wait(self._goes_on)
        return self.run

    def on_rest(self, callback):
        """Call ``callback(run)`` whenever a fit with the present settings comes to rest.

        Parameters
        ----------
        callback : callable
            It is called on the thread of the fit.
        """
        self.worker.callbacks.append(lambda run: self.controls.changed or callback(run))

    def renew(self):
        """Ask for the problem again: the next Start begins a new fit."""
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
        """Return whether `fit` must go on waiting; first start a fit that was displaced, again."""
        other = self.worker.displaced_by
        if other is not None and not other.running:
            self._start()
        return self.running or self.worker.waiting

    # What the buttons do. They may be pressed on any thread.

    def _start(self, button=None, step=False):
        if self.running:
            return
        self.worker.error = None
        run, count = self.worker.run, self.controls.target
        if not self.worker.fresh and run.diverged:
            self.views.warn(self._standing())
        elif not self.worker.fresh and not step and run.stopped_at >= count:
            self.views.warn(
                f"{run.stopped_at} iterations have been made: choose more, or press Restart."
            )
        else:
            self.worker.start(step=step)

    def _step(self, button=None):
        self._start(step=True)

    def _pause(self, button=None):
        self.worker.pause()

    def _stop(self, button=None):
        self.worker.stop()
        if not self.running:  # otherwise the fit's thread does so when it rests
            self._refresh()

    def _restart(self, button=None):
        self.worker.stop()
        self.worker.join()
        self.worker.start(again=True)

    # What the worker calls.

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

    # What is shown.

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
        """Enable only the buttons that would do something."""
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
            words = "gave up: the loss diverged three times; a lower learning rate may help"
        elif run.stopped_by_rule:
            words = f"stopped by itself ({run.stopped_by}); the image is that of {run.chosen_at}"
        else:
            words = "done; raise the iterations and press Start to go on"
        return f"iteration {run.stopped_at}: {words}"


_STYLE = f"<style>{asset('style.css')}</style>"


def reach_while_a_cell_runs(box):
    """Have a widget's messages delivered where the page sends them, on the subshell for widgets."""
    # The name is ipykernel's own, as seen in 7.4.0. It delivers a message on the shell on which the
    # widget spoke last: for a panel the main one, where Stop would wait until a running cell ends.
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
    any time: a higher count goes on with the same fit, a lower one ends it. Changing any other
    setting makes the next Start begin a new fit.

    Parameters
    ----------
    problem : Problem, optional
        What is to be restored. By default, image, task and noise are chosen in the panel.
    recipe : Recipe or str, optional
        ``"lab"`` (the default), ``"paper"``, or a recipe.
    iterations : int, optional
        Where the slider stands at first; by default at the recipe's number.
    seed : int, optional
        The seed of the fit, and of the noise that the panel adds.
    size : int, optional
        Side in pixels of an image that is chosen in the panel.

    Returns
    -------
    Panel
        Show it at the end of a cell. `panel.run` is the run so far; `panel.fit()` waits for the end
        of the fit, and starts it if nobody has.

    Raises
    ------
    InputError
        `problem` is not a problem, no recipe has that name, or a number is out of its range.

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
