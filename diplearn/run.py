"""Run: what a fit leaves behind. History, snapshots, the chosen picture; saved and loaded whole."""

import io
import json
import math
import zipfile
from importlib import metadata

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from . import images, metrics, operators
from .errors import InputError
from .files import check_writable, replacing
from .problems import Problem
from .recipes import Recipe

FORMAT = 1
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
        What the stopping rule chose; it never saw the truth. (C, H, W) in [0, 1], as the others.
    last, average : torch.Tensor
        The last iterate, and the moving average of the iterates.
    stopped_at : int
        Iterations that were made.
    stopped_by : str
        The rule's name, or "halted", "interrupted", "setbacks".
    snapshots : dict
        Iteration -> the iterate as (H, W) or (H, W, 3) uint8, log-spaced, at most
        `SNAPSHOT_MEMORY` bytes in all.
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
        self.output = self.last = self.average = None
        self.stopped_at, self.stopped_by = 0, ""
        self.snapshots = {}
        self.state = None
        self._rows = []  # iteration, seconds, loss, psnr, psnr_average
        self._best = (-math.inf, 0, None)  # psnr, iteration, picture: of the averages
        self._spacing = 1.1  # ratio of one snapshot's iteration to the next

    # What a learner looks at.

    @property
    def history(self):
        """Table of the fit, a row an iteration: seconds, loss, psnr, psnr_average (NaN: no truth).

        Returns
        -------
        pandas.DataFrame
            Indexed by iteration, counted from 1. `psnr` is the single iterate's.
        """
        columns = ["iteration", "seconds", "loss", "psnr", "psnr_average"]
        table = pd.DataFrame(self._rows, columns=columns)
        return table.astype({"iteration": int}).set_index("iteration")

    @property
    def seconds(self):
        """Seconds that the iterations took."""
        return self._rows[-1][1] if self._rows else 0.0

    @property
    def psnr(self):
        """PSNR of `output` in dB; raises InputError where there is no truth."""
        return metrics.psnr(self.output, self.problem.need_truth("run.psnr"))

    @property
    def oracle(self):
        """The best of the averages, chosen with the truth at hand: nobody has it in practice."""
        self.problem.need_truth("run.oracle")
        return self._best[2]

    @property
    def oracle_psnr(self):
        """PSNR of `oracle` in dB."""
        self.problem.need_truth("run.oracle_psnr")
        return self._best[0]

    @property
    def oracle_at(self):
        """Iteration of `oracle`."""
        self.problem.need_truth("run.oracle_at")
        return self._best[1]

    def __repr__(self):
        quality = ""
        if self.problem.truth is not None and self.output is not None:
            quality = f", {self.psnr:.2f} dB (oracle {self.oracle_psnr:.2f} at iteration {self.oracle_at})"
        return (
            f"<Run {self.problem.task}, {self.recipe.name} recipe, seed {self.seed}: "
            f"{self.stopped_at} iterations in {self.seconds:.0f} s, "
            f"stopped by {self.stopped_by or 'nobody yet'}{quality}>"
        )

    # What a fit writes down.

    def record(self, step, seconds):
        """Take note of one step.

        Parameters
        ----------
        step : Step
            As `iterate` yields it.
        seconds : float
            Since the fit began.
        """
        truth = self.problem.truth
        single, averaged = _psnr(step.output, truth), _psnr(step.average, truth)
        self._rows.append((step.iteration, seconds, float(step.loss), single, averaged))
        if averaged > self._best[0]:
            self._best = (averaged, step.iteration, step.average)
        if self._due(step.iteration):
            self.snapshots[step.iteration] = images.to_uint8(step.output)
            self._thin()
        self.last, self.average, self.stopped_at = step.output, step.average, step.iteration

    def _due(self, iteration):
        last = max(self.snapshots, default=0)
        return iteration >= max(last + 1, math.floor(last * self._spacing))

    def _thin(self):
        """Keep the memory's promise: drop every other snapshot, and take fewer from now on."""
        while (
            len(self.snapshots) > 2
            and sum(frame.nbytes for frame in self.snapshots.values()) > SNAPSHOT_MEMORY
        ):
            kept = sorted(self.snapshots)[::-1][::2]
            self.snapshots = {k: self.snapshots[k] for k in reversed(kept)}
            self._spacing = self._spacing**2

    def finish(self, stopped_by, output, state):
        """Close the record: why the fit stopped, the picture that was chosen, how to go on."""
        self.stopped_by, self.output, self.state = stopped_by, output, state
        self.snapshots.setdefault(self.stopped_at, images.to_uint8(self.last))
        self._thin()

    # Files.

    def save(self, path):
        """Save everything, so that `load` gives the run back and `resume` goes on bit for bit.

        Parameters
        ----------
        path : str or path-like
            One file, a zip archive: run.json (settings), state.safetensors (weights, Adam's
            moments, generators, pictures), arrays.npz (history, snapshots), output.png. Nothing
            in it is executable. It is written whole or not at all.

        Raises
        ------
        InputError
            The folder cannot be written, or the operator is one that the package does not know.
        OSError
            The disk is full; an earlier file survives.

        Examples
        --------
        >>> run.save("astronaut.dip")  # doctest: +SKIP
        """
        check_writable(path)
        tensors, numbers = self.state
        about = {
            "format": FORMAT,
            "diplearn": metadata.version("diplearn"),
            "torch": torch.__version__,
            "seed": self.seed,
            "recipe": vars(self.recipe),
            "problem": _describe(self.problem),
            "own_network": self.state_is_own_network,
            "stopped_at": self.stopped_at,
            "stopped_by": self.stopped_by,
            "best": self._best[:2],
            "spacing": self._spacing,
            "numbers": numbers,
        }
        pictures = {
            "observation": self.problem.observation, "truth": self.problem.truth,
            "output": self.output, "last": self.last, "average": self.average,
            "oracle": self._best[2],
            **{k: v for k, v in self.problem.operator.settings().items() if torch.is_tensor(v)},
        }  # fmt: skip
        kept = {f"picture.{k}": v for k, v in pictures.items() if v is not None}
        kept |= {f"state.{k}": v for k, v in tensors.items()}
        arrays = {"history": np.array(self._rows, dtype=np.float64)}
        arrays |= {f"snapshot_{k}": frame for k, frame in self.snapshots.items()}
        frame = io.BytesIO()
        Image.fromarray(images.to_uint8(self.output)).save(frame, format="PNG")
        packed = io.BytesIO()
        np.savez(packed, **arrays)
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr("run.json", json.dumps(about, indent=1))
            # clone: safetensors refuses two names for one memory (output may be the average)
            plain = {k: v.detach().cpu().contiguous().clone() for k, v in kept.items()}
            archive.writestr("state.safetensors", save_tensors(plain))
            archive.writestr("arrays.npz", packed.getvalue())
            archive.writestr("output.png", frame.getvalue())

    @property
    def state_is_own_network(self):
        """Whether the network was handed in rather than built by the recipe."""
        return bool(self.state and self.state[1].get("own_network"))

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
            The file is missing, damaged, or of another kind or version.

        Examples
        --------
        >>> Run.load("missing.dip")
        Traceback (most recent call last):
        ...
        diplearn.errors.InputError: there is no file missing.dip
        """
        try:
            with zipfile.ZipFile(path) as archive:
                about = json.loads(archive.read("run.json"))
                if about["format"] != FORMAT:
                    raise InputError(
                        f"{path} was saved by diplearn {about['diplearn']} in a format that this "
                        "version does not read"
                    )
                tensors = load_tensors(archive.read("state.safetensors"))
                with np.load(io.BytesIO(archive.read("arrays.npz")), allow_pickle=False) as stored:
                    arrays = dict(stored)
            return cls._rebuild(about, tensors, arrays)
        except FileNotFoundError:
            raise InputError(f"there is no file {path}") from None
        except InputError:
            raise
        except (
            OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, SafetensorError,
            NotImplementedError, EOFError,
        ) as error:  # fmt: skip
            raise InputError(f"{path} is not a saved run, or it is damaged: {error}") from error

    @classmethod
    def _rebuild(cls, about, tensors, arrays):
        pictures = {k[8:]: v for k, v in tensors.items() if k.startswith("picture.")}
        recipe = Recipe(**about["recipe"])
        run = cls(_problem(about["problem"], pictures), recipe, about["seed"])
        run.output, run.last, run.average = (pictures[k] for k in ("output", "last", "average"))
        run.stopped_at, run.stopped_by = about["stopped_at"], about["stopped_by"]
        run._best = (*about["best"], pictures.get("oracle"))
        run._spacing = about["spacing"]
        run._rows = [(int(row[0]), *row[1:]) for row in arrays["history"].tolist()]
        frames = {int(k[9:]): v for k, v in arrays.items() if k.startswith("snapshot_")}
        run.snapshots = {k: frames[k] for k in sorted(frames)}
        run.state = (
            {k[6:]: v for k, v in tensors.items() if k.startswith("state.")},
            about["numbers"],
        )
        return run

    def film(self, path, seconds=6.0):
        """Write the iterations as an animated picture, each frame with its number.

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
        frames = [_labelled(frame, f"iteration {k}") for k, frame in sorted(self.snapshots.items())]
        pause = max(20, round(1000 * seconds / len(frames)))
        lengths = [pause] * (len(frames) - 1) + [pause + 1000]
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
    picture = Image.fromarray(frame).convert("RGB")
    scale = max(1, -(-160 // picture.width))
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.NEAREST)
    canvas = Image.new("RGB", (picture.width, picture.height + 22), "white")
    canvas.paste(picture, (0, 0))
    font = ImageFont.load_default(size=14)
    ImageDraw.Draw(canvas).text((6, picture.height + 3), words, fill="black", font=font)
    return canvas


def _psnr(picture, truth):
    """PSNR without leaving the device more than once; NaN without a truth."""
    if truth is None:
        return math.nan
    error = (picture.clamp(0, 1) - truth.to(picture.device)).square().mean().item()
    return -10 * math.log10(error) if error > 0 else math.inf


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


def _problem(about, pictures):
    settings = dict(about["settings"])
    if about["operator"] == "Mask":
        settings["known"] = pictures["known"]
    operator = operators.BY_NAME[about["operator"]](**settings)
    return Problem(
        pictures["observation"], operator, pictures.get("truth"), about["sigma"], about["task"]
    )
