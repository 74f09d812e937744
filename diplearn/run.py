"""Run: the record of a fit. Its history, its snapshots, and the image that was chosen."""

import math
import time

import lazy_loader
import torch

from . import hardware, images, metrics

pd = lazy_loader.load("pandas")  # 34 MB that a fit does not need

__all__ = ["Run"]

SNAPSHOT_MEMORY = 64_000_000
"""Bytes that the snapshots of a run may take together."""


class Run:
    """The record of a fit, and what the fit needs to go on.

    Attributes
    ----------
    problem, recipe, seed, network
        What was fitted, how, from which seed, and the fitted network (None in a run from a file).
    output : torch.Tensor
        The image that the stopping rule chose (so far, while the fit is going on), (C, H, W) in
        [0, 1]. The rule never saw the truth.
    last, average : torch.Tensor
        The last iterate, and the moving average of the iterates, (C, H, W).
    stopped_at : int
        The number of iterations that were made.
    chosen_at : int
        The iteration of `output`, often earlier than `stopped_at`: a rule needs later iterations to
        know which image was best.
    stopped_by : str
        The name of the rule; or "halted", "interrupted", "diverged" (after three rollbacks),
        "failed" (by an error), "unfinished" (in a file that was saved while the fit went on).
    rule : Rule or None
        The stopping rule; None in a run from a file.
    saved_at : int
        The number of iterations when the run was last saved; 0 if it never was.

    Examples
    --------
    >>> from diplearn import denoising, fit, images
    >>> problem = denoising(images.load("camera", size=64))
    >>> run = fit(problem, iterations=3, progress=False)
    >>> run.stopped_at, run.output.shape
    (3, torch.Size([1, 64, 64]))
    """

    def __init__(self, problem, recipe, seed=0, network=None):
        self.problem, self.recipe, self.seed, self.network = problem, recipe, seed, network
        self.last = self.average = None
        self.stopped_at, self.stopped_by, self.saved_at = 0, "", 0
        self.rule = None
        self.state = None  # the live fit, while it is going on
        self.packed = None  # afterwards: a copy of the fit, see `checkpoint.pack`
        self._chosen = (None, 0)  # image, iteration: once the fit has ended
        self._rows = []  # iteration, seconds, loss, psnr, psnr_average
        self._truth = problem.truth  # moved once to the device of the iterates
        self._unread = []  # iteration, numbers on the device, average
        self._best = (-math.inf, 0, None)  # psnr, iteration, image: of the averages
        self._frames = {}  # the snapshots without the last iterate
        self._spacing = 1.1  # ratio between the iterations of two snapshots

    # What a learner looks at.

    @property
    def output(self):
        """The image that the stopping rule chose, (C, H, W) in [0, 1]; None before the first step.

        If the rule chose nothing, it is the moving average.
        """
        if not self.going_on or not torch.is_tensor(self.rule.chosen):
            return self._chosen[0]
        return self.rule.chosen.float().clamp(0, 1)

    @property
    def chosen_at(self):
        """The iteration of `output`.

        Often earlier than `stopped_at`: a rule needs later iterations to know which image was best.
        """
        going_on = self.going_on and self.rule.chosen is not None
        return self.rule.chosen_at if going_on else self._chosen[1]

    @property
    def going_on(self):
        """Whether a fit is at work on this run."""
        return self.state is not None

    @property
    def rule_name(self):
        """The name of the stopping rule that the fit was begun with."""
        if self.rule is not None:
            return self.rule.name
        return self.packed[1]["rule"]["name"] if self.packed else ""

    @property
    def made_of(self):
        """What `output` is made of, in words, if not of the fit alone; not known from a file."""
        return self.rule.made_of if self.rule is not None else ""

    @property
    def own_network(self):
        """Whether the network was handed in, rather than built by the recipe."""
        if self.state is not None:
            return self.state.own_network
        return bool(self.packed and self.packed[1]["own_network"])

    @property
    def stopped_by_rule(self):
        """Whether a stopping rule ended the fit, rather than a fixed count or the user."""
        return self.stopped_by == self.rule_name != "count"

    @property
    def diverged(self):
        """Whether the fit gave up, because its loss broke again after several rollbacks."""
        return self.stopped_by == "diverged"

    @property
    def cut_short(self):
        """Whether the user ended the fit."""
        return self.stopped_by in ("interrupted", "halted")

    @property
    def history(self):
        """The fit as a pandas.DataFrame: seconds, loss, psnr, psnr_average for each iteration.

        `psnr` is that of the single iterate. Both are NaN where the truth is unknown.
        """
        columns = ["iteration", "seconds", "loss", "psnr", "psnr_average"]
        table = pd.DataFrame(self.rows, columns=columns)
        return table.astype({"iteration": int}).set_index("iteration")

    @property
    def rows(self):
        """The rows of `history` as a list of tuples, each beginning with its iteration."""
        self._read()
        return self._rows

    @property
    def seconds(self):
        """The seconds that the iterations took."""
        return self.rows[-1][1] if self.rows else 0.0

    @property
    def snapshots(self):
        """Iterates at log-spaced iterations, and the last one: iteration -> (H, W[, 3]) uint8."""
        if self.last is None:
            return {}
        return {**self._frames, self.stopped_at: images.to_uint8(self.last)}

    @property
    def psnr(self):
        """PSNR of `output` in dB; raises InputError where there is no truth."""
        return metrics.psnr(self.output, self.problem.need_truth("run.psnr"))

    @property
    def oracle(self):
        """The best of the averages, chosen with the truth at hand: nobody has it in practice."""
        self.problem.need_truth("run.oracle")
        return self.best[2]

    @property
    def oracle_psnr(self):
        """PSNR of `oracle` in dB."""
        self.problem.need_truth("run.oracle_psnr")
        return self.best[0]

    @property
    def oracle_at(self):
        """The iteration of `oracle`."""
        self.problem.need_truth("run.oracle_at")
        return self.best[1]

    @property
    def best(self):
        """PSNR, iteration and image of the best average so far; without a truth, no image."""
        self._read()
        return self._best

    def __repr__(self):
        quality = ""
        if self.problem.truth is not None and self.output is not None:
            best = f"oracle {self.oracle_psnr:.2f} at iteration {self.oracle_at}"
            quality = f", {self.psnr:.2f} dB ({best})"
        return (
            f"<Run {self.problem.task}, {self.recipe.name} recipe, seed {self.seed}: "
            f"{self.stopped_at} iterations in {self.seconds:.0f} s, "
            f"stopped by {self.stopped_by or 'nobody yet'}, "
            f"image of iteration {self.chosen_at}{quality}>"
        )

    # What a fit records.

    def begin(self, state, rule):
        """Note that a fit with this state and this rule begins, or goes on."""
        self.state, self.rule, self.network = state, rule, state.network
        self._began = time.perf_counter() - self.seconds

    def end(self, stopped_by, packed):
        """Note why the fit ended, and what its rule chose; return what is wrong with the choice."""
        self._read()
        *self._chosen, trouble = self._choice()
        self.stopped_by, self.packed, self.state = stopped_by, packed, None
        return trouble

    def record(self, step):
        """Record one step; return loss and PSNR (of the average) of the newest one that was read.

        A GPU executes asynchronously until a value is read. Losses and errors therefore stay on the
        device until a snapshot is due, or until `hardware.READ_EVERY` of them are there.
        """
        if self._truth is not None:
            self._truth = self._truth.to(step.output.device)
        numbers = [step.loss, *(_error(x, self._truth) for x in (step.output, step.average))]
        self._unread.append((step.iteration, numbers, step.average))
        self.last, self.average, self.stopped_at = step.output, step.average, step.iteration
        due = step.iteration >= self._next_frame()
        if due:
            finite = step.output.nan_to_num()  # on a GPU, a loss that broke may not be read yet
            self._frames[step.iteration] = images.to_uint8(finite)
            self._thin()
        patience = hardware.READ_EVERY if hardware.asynchronous(step.loss.device) else 1
        if due or len(self._unread) >= patience:
            self._read()
        _, _, loss, _, averaged = self._rows[-1]
        return loss, averaged

    def remember(self):
        """Return what is recorded now, for `recall`."""
        self._read()
        return self.stopped_at, self.last, self.average, self._best

    def recall(self, then):
        """Drop what was recorded since `remember`: the fit was rolled back."""
        self._unread = []
        self.stopped_at, self.last, self.average, self._best = then
        self._rows = [row for row in self._rows if row[0] <= self.stopped_at]
        self._frames = {k: v for k, v in self._frames.items() if k <= self.stopped_at}

    def _read(self):
        """Read the numbers that are still on the device, and append their rows."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        values = hardware.read([number for _, numbers, _ in unread for number in numbers])
        last, now = self._rows[-1][1] if self._rows else 0.0, time.perf_counter() - self._began
        triples = zip(values[::3], values[1::3], values[2::3])
        for done, ((iteration, _, average), (loss, *errors)) in enumerate(zip(unread, triples), 1):
            seconds = last + (now - last) * done / len(unread)  # not timed one by one
            single, averaged = (_decibels(error) for error in errors)
            self._rows.append((iteration, seconds, loss, single, averaged))
            if averaged > self._best[0]:
                self._best = (averaged, iteration, average)

    def _next_frame(self):
        last = max(self._frames, default=0)
        return max(last + 1, math.floor(last * self._spacing))

    def _thin(self):
        """Enforce the memory cap: drop every other snapshot, and space the next ones wider."""
        frame = next(iter(self._frames.values()))
        while len(self._frames) > 1 and (len(self._frames) + 1) * frame.nbytes > SNAPSHOT_MEMORY:
            kept = sorted(self._frames)[::-1][::2]
            self._frames = {k: self._frames[k] for k in reversed(kept)}
            self._spacing = self._spacing**2

    def _choice(self):
        """Return the rule's image, its iteration, and None; or the average, and what is wrong."""
        try:
            chosen, at, wrong = self.rule.chosen, int(self.rule.chosen_at), None
            if chosen is None or at == 0:  # the rule never called `choose`
                chosen, at = self.average, self.stopped_at
            elif chosen.shape != self.average.shape:
                wrong = f"of shape {tuple(chosen.shape)} instead of {tuple(self.average.shape)}"
            elif not chosen.is_floating_point():
                wrong = f"of {chosen.dtype}"
            elif not chosen.isfinite().all():
                wrong = "with values that are not finite"
            elif not 0 <= at <= self.state.iteration:
                wrong = f"of iteration {at}, which was not made"
        except Exception as error:  # a rule of the user's own may fail in any way
            wrong = f"that cannot be used ({error})"
        if wrong is not None:
            chosen, at = self.average, self.stopped_at
            wrong = f"the rule {self.rule.name!r} chose an image {wrong}; error.run holds the "
            wrong += "average instead"
        # Pixels without a network may leave [0, 1]; an image does not.
        return None if chosen is None else chosen.float().clamp(0, 1), at, wrong

    # Files.

    def save(self, path):
        """Save everything, so that `load` restores the run and `resume` continues it bit for bit.

        Parameters
        ----------
        path : str or path-like
            One file, a zip archive: run.json (settings), tensors.safetensors (weights, moments,
            generators, history, images), output.png (to look at). Nothing in it is executable. It
            is written whole or not at all.

        Raises
        ------
        InputError
            The folder cannot be written, the operator or the rule's state is one that the file
            cannot describe, or the run has not begun.
        OSError
            The disk is full; an earlier file survives.

        Examples
        --------
        >>> run.save("astronaut.dip")  # doctest: +SKIP
        """
        from . import checkpoint  # which imports this module

        checkpoint.save(self, path)

    @staticmethod
    def load(path):
        """Load a run that `save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        Run
            Its `network` and `rule` are None until `resume` builds them again.

        Raises
        ------
        InputError
            The file is missing, damaged, or of another kind or version. Nothing else is raised,
            whatever the bytes.

        Examples
        --------
        >>> Run.load("missing.dip")
        Traceback (most recent call last):
        ...
        diplearn.errors.InputError: there is no file missing.dip
        """
        from . import checkpoint

        return checkpoint.load(path)

    def film(self, path, seconds=6.0):
        """Write the iterations as an animated image, each frame with its number.

        Parameters
        ----------
        path : str or path-like
            The suffix decides: .gif, .webp or .png (animated PNG).
        seconds : float, optional
            How long the film plays before it starts again; the last frame stays a second longer.

        Raises
        ------
        InputError
            The suffix is none of these, or the folder cannot be written.

        Examples
        --------
        >>> run.film("astronaut.gif")  # doctest: +SKIP
        """
        from . import film

        film.write(self, path, seconds)


def _error(image, truth):
    """Return the mean squared error, a scalar on the image's device; NaN without a truth."""
    if truth is None:
        return torch.full((), math.nan, device=image.device)
    return (image.clamp(0, 1) - truth).square().mean()


def _decibels(error):
    return math.inf if error == 0 else -10 * math.log10(error)  # NaN stays NaN
