"""Run: what a fit leaves behind. History, snapshots, the chosen image; saved and loaded whole."""

import io
import json
import math
import os
import time
import zipfile
from importlib import metadata

import lazy_loader
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from . import hardware, images, metrics, operators
from .errors import InputError, one_line, whole
from .files import check_readable, check_writable, replacing
from .problems import Problem
from .recipes import Recipe

pd = lazy_loader.load("pandas")  # 34 MB that a fit does without

FORMAT = 4
"""Version of the saved file; a reader refuses what it does not know."""

SNAPSHOT_MEMORY = 64_000_000
"""Bytes that a run's snapshots may take together."""


class Run:
    """What a fit leaves behind, and what it needs to go on.

    Attributes
    ----------
    problem, recipe, seed, network
        What was fitted, how, from which seed, and the fitted network.
    output : torch.Tensor
        What the stopping rule chose (so far, while the fit is going on); it never saw the truth.
        (C, H, W) in [0, 1], as the others.
    last, average : torch.Tensor
        The last iterate, and the moving average of the iterates.
    stopped_at : int
        Iterations that were made.
    chosen_at : int
        Iteration of `output`: earlier, where the rule had to see more to be sure.
    stopped_by : str
        The rule's name; "halted", "interrupted", "diverged"; "failed" where an error ended the fit;
        "unfinished" in a file that was saved on the way.
    rule : Rule or None
        What decided when to stop; None in a run that was loaded.
    saved_at : int
        Iterations that had been made when the run was last saved; 0 if it never was.
    state : tuple or None
        Tensors and numbers from which the fit can go on as if it had never stopped.

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
        self.state = self.rule = None
        self._chosen = (None, 0)  # image, iteration
        self._close = None  # brings output and state up to date, while a fit is going on
        self._rows = []  # iteration, seconds, loss, psnr, psnr_average
        self._truth = problem.truth  # goes once to where the iterates are
        self._waiting = []  # iteration, numbers still on their device, average
        self._begun = 0.0  # on time.perf_counter's clock
        self._best = (-math.inf, 0, None)  # psnr, iteration, image: of the averages
        self._frames = {}  # snapshots, but for the last iterate
        self._spacing = 1.1  # ratio of one snapshot's iteration to the next

    # What a learner looks at.

    @property
    def output(self):
        """What the stopping rule chose, (C, H, W) in [0, 1]; None before the first iteration."""
        if self._close is None or not torch.is_tensor(self.rule.chosen):
            return self._chosen[0]
        return self.rule.chosen.clamp(0, 1)

    @property
    def chosen_at(self):
        """Iteration of `output`: earlier than the last, where the rule had to see more."""
        going_on = self._close is not None and self.rule.chosen is not None
        return self.rule.chosen_at if going_on else self._chosen[1]

    @property
    def going_on(self):
        """Whether a fit is at work on this run."""
        return self._close is not None

    @property
    def rule_name(self):
        """Name of the rule that the fit was begun with; "" before the first iteration."""
        return self.state[1]["rule"]["name"] if self.state else ""

    @property
    def stopped_by_rule(self):
        """Whether a stopping rule ended the fit, rather than a fixed count or somebody."""
        return self.stopped_by == self.rule_name != "count"

    @property
    def diverged(self):
        """Whether the fit gave up: its loss broke again after several rollbacks."""
        return self.stopped_by == "diverged"

    @property
    def cut_short(self):
        """Whether somebody ended the fit before its time."""
        return self.stopped_by in ("interrupted", "halted")

    @property
    def history(self):
        """Table of the fit, a row an iteration: seconds, loss, psnr, psnr_average (NaN: no truth).

        Returns
        -------
        pandas.DataFrame
            Indexed by iteration, counted from 1. `psnr` is the single iterate's.
        """
        columns = ["iteration", "seconds", "loss", "psnr", "psnr_average"]
        table = pd.DataFrame(self.rows, columns=columns)
        return table.astype({"iteration": int}).set_index("iteration")

    @property
    def rows(self):
        """The history's rows as a list of tuples: what `history` makes a table of."""
        self._read()
        return self._rows

    @property
    def seconds(self):
        """Seconds that the iterations took."""
        return self.rows[-1][1] if self.rows else 0.0

    @property
    def snapshots(self):
        """Iterates on the way, log-spaced, at most `SNAPSHOT_MEMORY` bytes; and the last one.

        Returns
        -------
        dict
            Iteration -> (H, W) or (H, W, 3) uint8.
        """
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
        """Iteration of `oracle`."""
        self.problem.need_truth("run.oracle_at")
        return self.best[1]

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

    # What a fit writes down.

    def record(self, step, begun):
        """Take note of one step.

        Parameters
        ----------
        step : Step
            As `iterate` yields it.
        begun : float
            When the fit began, on the clock of `time.perf_counter`.

        Returns
        -------
        loss, psnr_average : float
            As in the history's newest row that was read.

        Notes
        -----
        A GPU works ahead of Python, until Python wants a number. Losses and errors therefore stay
        where they are until a snapshot is due, or `hardware.READ_EVERY` of them wait.
        """
        if self._truth is not None:
            self._truth = self._truth.to(step.output.device)
        numbers = [step.loss, *(_error(x, self._truth) for x in (step.output, step.average))]
        self._waiting.append((step.iteration, numbers, step.average))
        self._begun = begun
        self.last, self.average, self.stopped_at = step.output, step.average, step.iteration
        due = step.iteration >= self._next_frame()
        if due:
            shown = step.output.nan_to_num()  # a device that works ahead may have broken
            self._frames[step.iteration] = images.to_uint8(shown)
            self._thin()
        patience = hardware.READ_EVERY if hardware.works_ahead(step.loss.device) else 1
        if due or len(self._waiting) >= patience:
            self._read()
        _, _, loss, _, averaged = self._rows[-1]
        return loss, averaged

    def _read(self):
        """Read the numbers that wait, all at once, and write their rows."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        told = hardware.read([number for _, numbers, _ in waiting for number in numbers])
        last, now = self._rows[-1][1] if self._rows else 0.0, time.perf_counter() - self._begun
        triples = zip(told[::3], told[1::3], told[2::3])
        for done, ((iteration, _, average), (loss, *errors)) in enumerate(zip(waiting, triples), 1):
            seconds = last + (now - last) * done / len(waiting)  # nobody looked in between
            single, averaged = (_decibels(error) for error in errors)
            self._rows.append((iteration, seconds, loss, single, averaged))
            if averaged > self._best[0]:
                self._best = (averaged, iteration, average)

    @property
    def best(self):
        """PSNR, iteration and image of the best average so far; no image without a truth."""
        self._read()
        return self._best

    def _next_frame(self):
        last = max(self._frames, default=0)
        return max(last + 1, math.floor(last * self._spacing))

    def _thin(self):
        """Enforce the memory cap: drop every other snapshot, and take fewer from now on."""
        frame = next(iter(self._frames.values()))
        while len(self._frames) > 1 and (len(self._frames) + 1) * frame.nbytes > SNAPSHOT_MEMORY:
            kept = sorted(self._frames)[::-1][::2]
            self._frames = {k: self._frames[k] for k in reversed(kept)}
            self._spacing = self._spacing**2

    def begin(self, rule, network, close):
        """Mark the run as in progress; `close` updates output and state on demand."""
        self.rule, self.network, self._close = rule, network, close

    def end(self):
        """Take note that the fit has ended."""
        self._close = None

    def finish(self, stopped_by, output, chosen_at, state):
        """Close the record: why the fit stopped, the image that was chosen, how to go on."""
        self._read()
        self.stopped_by, self.state = stopped_by, state
        self._chosen = (output, chosen_at)

    def remember(self):
        """Return what is recorded now, to come back to."""
        self._read()
        return self.stopped_at, self.last, self.average, self._best

    def recall(self, then, average):
        """Take back what was recorded since `remember`: the fit broke, and nobody had looked."""
        self._waiting = []
        self.stopped_at, self.last, self.average, self._best = then
        self._rows = [row for row in self._rows if row[0] <= self.stopped_at]
        self._frames = {k: v for k, v in self._frames.items() if k <= self.stopped_at}

    @property
    def own_network(self):
        """Whether the network was handed in rather than built by the recipe."""
        return bool(self.state and self.state[1].get("own_network"))

    # Files.

    def check_savable(self, path):
        """Raise InputError now if `save` could not write this run to `path` later."""
        if not isinstance(path, str | os.PathLike) or not os.fspath(path):
            raise InputError(f"save={path!r} is no name of a file")
        check_writable(path)
        json.dumps(self._settings(), default=_plain)

    def save(self, path):
        """Save everything, so that `load` gives the run back and `resume` goes on bit for bit.

        Parameters
        ----------
        path : str or path-like
            One file, a zip archive: run.json (settings), tensors.safetensors (weights, Adam's
            moments, generators, history, images), output.png (to look at). Nothing in it is
            executable. It is written whole or not at all.

        Raises
        ------
        InputError
            The folder cannot be written, the operator is one that the package does not know, or
            the run has not begun.
        OSError
            The disk is full; an earlier file survives.

        Examples
        --------
        >>> run.save("astronaut.dip")  # doctest: +SKIP
        """
        if self._close is not None and self.stopped_at:
            self._close("unfinished")  # from a callback
        if self.state is None:
            raise InputError("this run has not begun: there is nothing to save")
        self.check_savable(path)
        tensors, numbers = self.state
        psnr, iteration, oracle = self.best
        about = self._settings() | {
            "stopped_at": self.stopped_at,
            "stopped_by": self.stopped_by,
            "chosen_at": self.chosen_at,
            "oracle": None if oracle is None else [psnr, iteration],
            "spacing": self._spacing,
            "numbers": numbers,
        }
        problem = self.problem
        kept = {
            "observation": problem.observation, "truth": problem.truth, "output": self.output,
            "last": self.last, "average": self.average, "oracle": oracle,
            "history": torch.tensor(self.rows, dtype=torch.float64),
            **named("operator", problem.operator.settings()),
            **named("frame", {k: torch.from_numpy(v) for k, v in self._frames.items()}),
            **named("state", tensors),
        }  # fmt: skip
        kept = _apart({k: v.detach().cpu() for k, v in kept.items() if torch.is_tensor(v)})
        shown = io.BytesIO()
        Image.fromarray(images.to_uint8(self.output)).save(shown, format="PNG")
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr("run.json", json.dumps(about, default=_plain, indent=1))
            archive.writestr("tensors.safetensors", save_tensors(kept))
            archive.writestr("output.png", shown.getvalue())
        self.saved_at = self.stopped_at

    def _settings(self):
        return {
            "format": FORMAT,
            "diplearn": metadata.version("diplearn"),
            "torch": torch.__version__,
            "seed": self.seed,
            "recipe": vars(self.recipe),
            "problem": _describe(self.problem),
        }

    @classmethod
    def load(cls, path):
        """Load a run that `save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        Run
            Its `network` is None until `resume` builds it again.

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
        try:
            check_readable(path)
            with zipfile.ZipFile(path) as archive:
                if any(entry.compress_type for entry in archive.infolist()):
                    # `save` packs nothing, so what is read is never larger than the file
                    raise InputError(f"{path} was packed again by another program")
                about = json.loads(archive.read("run.json"))
                if about["format"] != FORMAT:
                    raise InputError(
                        f"{path} was saved by diplearn {about['diplearn']}, in a format that "
                        "this version does not read"
                    )
                tensors = load_tensors(archive.read("tensors.safetensors"))
            run = cls._rebuild(about, tensors)
        except InputError:
            raise
        except Exception as error:  # damaged bytes may fail in any way
            raise InputError(
                f"{path} is not a saved run, or it is damaged: {one_line(error)}"
            ) from error
        return run

    @classmethod
    def _rebuild(cls, about, tensors):
        # A damaged value must be found here, not as a riddle in the middle of the next fit.
        recipe = dict(about["recipe"])
        recipe["options"] = {k: _tuples(v) for k, v in recipe["options"].items()}
        problem = _problem(about["problem"], tensors)
        run = cls(problem, Recipe(**recipe), int(about["seed"]))
        output, run.last, run.average = (
            _image(tensors[k], problem.shape) for k in ("output", "last", "average")
        )
        run.stopped_at = run.saved_at = whole(about["stopped_at"], "stopped_at", 1)
        run.stopped_by = _string(about["stopped_by"])
        run._chosen = (output, whole(about["chosen_at"], "chosen_at", 0, run.stopped_at))
        if about["oracle"] is not None:
            psnr, iteration = about["oracle"]
            run._best = (float(psnr), int(iteration), _image(tensors["oracle"], problem.shape))
        run._spacing = float(about["spacing"])
        if not 1 < run._spacing < 1e6:
            raise ValueError(f"snapshots at a spacing of {run._spacing}")
        run._rows = [
            (int(iteration), seconds, loss, single, averaged)
            for iteration, seconds, loss, single, averaged in tensors["history"].tolist()
        ]
        like = images.to_uint8(run.last)
        frames = {int(k): v.numpy() for k, v in under("frame", tensors).items()}
        run._frames = {k: _shaped(frames[k], like.shape).astype(like.dtype) for k in sorted(frames)}
        run.state = (under("state", tensors), _numbers(about["numbers"], run.stopped_at))
        return run

    def film(self, path, seconds=6.0):
        """Write the iterations as an animated image, each frame with its number.

        Parameters
        ----------
        path : str or path-like
            The suffix decides: .gif, .webp or .png (animated PNG).
        seconds : float, optional
            How long it plays before it starts again; the last frame stays for a second more.

        Raises
        ------
        InputError
            The suffix is none of these, or the folder cannot be written.

        Examples
        --------
        >>> run.film("astronaut.gif")  # doctest: +SKIP
        """
        check_film(path)
        if self.last is None:
            raise InputError("this run has not begun: there is nothing to show")
        shown = self.snapshots
        frames = [_labelled(shown[k], f"iteration {k}") for k in sorted(shown)]
        pause = max(20, round(1000 * seconds / len(shown)))
        lengths = [pause] * (len(shown) - 1) + [pause + 1000]
        with replacing(path) as temporary:
            frames[0].save(
                temporary, save_all=True, append_images=frames[1:], duration=lengths, loop=0
            )


def check_film(path):
    """Raise InputError now if a film could not be written to `path` later."""
    images.check_suffix(path, ("GIF", "WEBP", "PNG"))
    check_writable(path)


def _labelled(frame, words):
    """Put a caption under a frame, at least wide enough to be read."""
    image = Image.fromarray(frame).convert("RGB")
    scale = max(1, -(-160 // image.width))
    image = image.resize((image.width * scale, image.height * scale), Image.NEAREST)
    canvas = Image.new("RGB", (image.width, image.height + 22), "white")
    canvas.paste(image, (0, 0))
    font = ImageFont.load_default(size=14)
    ImageDraw.Draw(canvas).text((6, image.height + 3), words, fill="black", font=font)
    return canvas


def _error(image, truth):
    """Mean squared error, a scalar that stays on the image's device; NaN without a truth."""
    if truth is None:
        return torch.full((), math.nan, device=image.device)
    return (image.clamp(0, 1) - truth).square().mean()


def _decibels(error):
    """PSNR of a mean squared error, for a range of 1; NaN stays NaN."""
    return math.inf if error == 0 else -10 * math.log10(error)


def _describe(problem):
    kind = type(problem.operator).__name__
    if operators.BY_NAME.get(kind) is not type(problem.operator):
        raise InputError(
            f"a run with an operator of your own ({kind}) cannot be saved: the file could not say "
            f"what it does; the package's are {', '.join(operators.BY_NAME)}"
        )
    settings = problem.operator.settings()
    return {
        "task": problem.task,
        "sigma": problem.sigma,
        "operator": kind,
        "settings": {k: v for k, v in settings.items() if not torch.is_tensor(v)},
    }


def _problem(about, tensors):
    settings = {**about["settings"], **under("operator", tensors)}
    operator = operators.BY_NAME[about["operator"]](**settings)
    observation, truth = tensors["observation"], tensors.get("truth")
    if truth is None:  # before Problem computes with a size that was damaged
        _shaped(tensors["output"], operator.image_shape(observation.shape))
    return Problem(observation, operator, truth, about["sigma"], about["task"])


def named(prefix, values):
    """Put a prefix before each name of a dict."""
    return {f"{prefix}.{name}": value for name, value in values.items()}


def under(prefix, tensors):
    """Return what `named` put under a prefix."""
    return {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def _apart(tensors):
    """Give each tensor a memory of its own: safetensors refuses two names for one."""
    seen = set()
    for name, tensor in tensors.items():
        tensors[name] = tensor = tensor.contiguous()
        if tensor.untyped_storage().data_ptr() in seen:
            tensors[name] = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
    return tensors


def _image(tensor, shape):
    """Return the tensor if it is an image of this shape."""
    if tensor.dtype != torch.float32 or not tensor.isfinite().all():
        raise ValueError(f"an image of {tensor.dtype}, or with values that are not finite")
    return _shaped(tensor, shape)


_NUMBERS = {
    "iteration": int, "setbacks": int, "rate_factor": float, "good_loss": float | None,
    "good_at": int, "own_network": bool, "seed": int, "generator": str, "rule": dict,
}  # fmt: skip


def _numbers(numbers, stopped_at):
    """Return the numbers of a saved state, if they can be those of a fit."""
    for name, kind in _NUMBERS.items():
        if not isinstance(numbers[name], kind):
            raise ValueError(f"{name}={numbers[name]!r}")
    rule = numbers["rule"]
    _string(rule["name"])
    if not isinstance(rule["settings"], dict | None) or not isinstance(rule["now"], dict):
        raise ValueError(f"a rule with {rule!r}")
    # Iterations that were taken back are counted, and not recorded.
    whole(numbers["iteration"], "iteration", stopped_at, stopped_at + 4 * hardware.READ_EVERY)
    return numbers


def _string(value):
    if not isinstance(value, str):
        raise ValueError(f"{value!r} where a name belongs")
    return value


def _shaped(array, shape):
    """Return the array if it has the shape; what `load` finds wrong is worded there."""
    if tuple(array.shape) != tuple(shape):
        raise ValueError(f"an image of shape {tuple(array.shape)} where {tuple(shape)} belongs")
    return array


def _tuples(value):
    """JSON knows lists only; recipes write tuples, and are compared."""
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _plain(value):
    """Write NumPy's numbers as Python's; what else JSON cannot write, a run cannot keep."""
    if hasattr(value, "item"):
        return value.item()
    raise InputError(f"a run cannot be saved with {value!r} in its settings: plain values only")
