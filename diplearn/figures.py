"""Figures for lessons: contact sheets and curves. Plain objects in, a figure out.

A figure shows itself at the end of a notebook cell, with its description as alternative text for
those who cannot see it; outside a notebook, ``figure.savefig(path)`` writes it.
"""

import io
import math

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as _Figure

from .errors import InputError
from .images import to_array

# Okabe & Ito's colours: distinct to everybody.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", GREY)

# How `choices` marks a stopping rule, the same in every figure.
_MARKS = {
    "hold-out": (BLUE, "o"),
    "sure": (ORANGE, "s"),
    "discrepancy": (GREEN, "D"),
    "es-wmv": ("#CC79A7", "^"),
    "es-emv": ("#56B4E9", "v"),
    "oracle": ("#E69F00", "*"),
}


class Figure(_Figure):
    """A matplotlib figure that knows its alternative text and needs no pyplot.

    Parameters
    ----------
    alt : str
        What is to be seen, for a reader who does not see it.
    photographs : bool
        Whether a notebook stores it as JPEG: noisy photographs would fill megabytes as PNG.
    **options
        As matplotlib's Figure takes them.
    """

    def __init__(self, alt="", photographs=False, **options):
        super().__init__(layout="constrained", facecolor="white", **options)
        FigureCanvasAgg(self)
        self.alt = alt
        self.format = "jpeg" if photographs else "png"

    def _repr_mimebundle_(self, include=None, exclude=None):
        memory = io.BytesIO()
        quality = {"quality": 92, "subsampling": 0} if self.format == "jpeg" else {}
        self.savefig(memory, format=self.format, pil_kwargs=quality)
        kind = f"image/{self.format}"
        return {kind: memory.getvalue(), "text/plain": self.alt}, {kind: {"alt": self.alt}}


def contact_sheet(images, columns=None, captions=None, alt="", width=10.0):
    """Show images side by side, each with its name.

    Parameters
    ----------
    images : dict
        Name -> image: a tensor (C, H, W) in [0, 1], or uint8 as a run's snapshots are.
    columns : int, optional
        Images a row; by default all in one row up to five.
    captions : dict, optional
        Name -> a second line under the name, such as a PSNR.
    alt : str, optional
        Alternative text; by default the names.
    width : float, optional
        Inches, at 100 pixels each.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        There is no image to show.

    Examples
    --------
    >>> import torch
    >>> sheet = contact_sheet({"black": torch.zeros(1, 32, 32), "white": torch.ones(1, 32, 32)})
    >>> len(sheet.axes)
    2
    """
    if not images:
        raise InputError("there is no image to show")
    columns = columns or min(len(images), 5)
    rows = math.ceil(len(images) / columns)
    arrays = {name: _shown(image) for name, image in images.items()}
    tallest = max(array.shape[0] / array.shape[1] for array in arrays.values())
    lines = 2 if captions else 1
    height = rows * (width / columns * tallest + 0.24 * lines)
    alt = alt or "Images: " + ", ".join(map(str, images))
    figure = Figure(alt, photographs=True, figsize=(width, height))
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, array) in zip(axes, arrays.items()):
        axis.imshow(array, cmap="gray", vmin=0, vmax=1 if array.dtype.kind == "f" else 255)
        caption = (captions or {}).get(name, "")
        title = axis.set_title(f"{name}\n{caption}" if captions else name, fontsize=10)
        _show_literally(title)
    return figure


def _show_literally(*texts):
    """Draw each text as it stands: matplotlib takes what is between dollar signs for formulas."""
    for text in texts:
        text.set_parse_math(False)
        # A file name may hold bytes that are no character, and matplotlib draws characters only.
        text.set_text(text.get_text().encode(errors="replace").decode())


def _shown(image):
    return image if isinstance(image, np.ndarray) else to_array(image)


def pick(snapshots, count=5):
    """Choose a few of a run's snapshots, evenly spread over the logarithm of the iteration.

    Parameters
    ----------
    snapshots : dict
        Iteration -> frame, as ``run.snapshots``.
    count : int, optional
        How many; the first and the last are among them.

    Returns
    -------
    dict
        "iteration k" -> frame.
    """
    kept = sorted(snapshots)
    wanted = np.geomspace(kept[0], kept[-1], count)
    chosen = sorted({min(kept, key=lambda k: abs(math.log(k / w))) for w in wanted})
    return {f"iteration {k}": snapshots[k] for k in chosen}


def curves(runs, marks=None, floor=None, alt="", width=10.0, over="iteration"):
    """Draw energy and PSNR over the iterations, or the seconds, on a logarithmic axis.

    Parameters
    ----------
    runs : Run or dict
        One run, or name -> run.
    marks : dict, optional
        Name -> iteration: vertical lines in both drawings.
    floor : float, optional
        An energy to draw a line at: σ² is what noise alone amounts to.
    alt : str, optional
        Alternative text.
    width : float, optional
        Inches.
    over : {"iteration", "seconds"}, optional
        What runs along the axis; `marks` are in the same unit.

    Returns
    -------
    Figure
        The energy on the left; on the right, where the truth is known, the PSNR of the single
        iterates (thin) and of their average (thick).
    """
    runs = runs if isinstance(runs, dict) else {"": runs}
    known = all(run.problem.truth is not None for run in runs.values())
    alt = alt or "Energy" + (" and PSNR" if known else "") + " over the iterations"
    figure = Figure(alt, figsize=(width, 3.4))
    axes = np.atleast_1d(figure.subplots(1, 2 if known else 1))
    for colour, (name, run) in zip(COLOURS, runs.items()):
        history = run.history
        along = history["seconds"] if over == "seconds" else history.index
        label = f"{name} " if name else ""
        axes[0].loglog(along, history["loss"], color=colour, lw=1.2, label=name or None)
        if known:
            axes[1].semilogx(
                along, history["psnr"], color=colour, lw=0.7, alpha=0.6,
                label=f"{label}single iterate",
            )  # fmt: skip
            axes[1].semilogx(
                along, history["psnr_average"], color=colour, lw=2.2,
                label=f"{label}average",
            )  # fmt: skip
    axes[0].set(xlabel=over, ylabel="energy E", title="how well x₀ is explained")
    if floor is not None:
        axes[0].axhline(floor, color=ORANGE, ls=":", lw=1.5, label="noise alone")
    if known:
        axes[1].set(xlabel=over, ylabel="PSNR in dB", title="how close to the truth")
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        for colour, (name, iteration) in zip((GREY, GREEN, "black"), (marks or {}).items()):
            axis.axvline(iteration, color=colour, ls="--", lw=1, label=name)
        if axis.get_legend_handles_labels()[1]:
            _show_literally(*axis.legend(frameon=False, fontsize=9).get_texts())
    return figure


def choices(curve, chosen, alt="", width=10.0, below=4.0):
    """Draw PSNR over iterations, with what each stopping rule chose marked on the curve.

    Parameters
    ----------
    curve : pandas.Series or sequence of float
        PSNR in dB; a series by iteration, or a value for each iteration from 1.
    chosen : dict
        Name -> iteration. A rule has its own colour and sign in every figure; what follows a comma
        in the name makes it a variant, and the sign a hollow one.
    alt : str, optional
        Alternative text.
    width : float, optional
        Inches.
    below : float, optional
        Decibels below the best that are shown, at least; more, if a choice lies lower.

    Returns
    -------
    Figure
    """
    values = dict(curve.items() if hasattr(curve, "items") else enumerate(curve, 1))
    best = max(values, key=values.get)
    low = min([values[best] - below, *(values[k] - 0.4 for k in chosen.values())])
    first = min(k for k, value in values.items() if value >= low)
    figure = Figure(alt or "PSNR over iterations, and each rule's choice", figsize=(width, 3.4))
    axis = figure.subplots()
    axis.semilogx(list(values), list(values.values()), color=GREY, lw=2.2)
    axis.axvline(best, color=GREY, ls=":", lw=1, label=f"best: {best}")
    others, variants = zip(COLOURS * 2, "osD^vP*Xhd" * 2), iter("<>phd" * 4)
    for name, iteration in chosen.items():
        rule, *variant = name.split(", ")
        colour, marker = _MARKS.get(rule) or next(others)
        marker = next(variants) if variant else marker
        axis.plot(
            iteration, values[iteration], marker, color=colour, ms=13 if marker == "*" else 9,
            mew=1.8, mfc="white" if variant else colour, label=f"{name}: {iteration}",
        )  # fmt: skip
    ticks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if k in values]
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.minorticks_off()
    axis.set_xlim(0.9 * first, 1.1 * max(values))
    axis.set_ylim(low, values[best] + 0.1 * (values[best] - low))
    axis.set(xlabel="iteration", ylabel="PSNR in dB")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    legend = axis.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    _show_literally(*legend.get_texts())
    return figure
