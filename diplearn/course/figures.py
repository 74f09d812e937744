"""Figures that only the lessons draw: curves of a fit, choices of rules, predictions, close-ups."""

import math

import numpy as np
from matplotlib.patches import Rectangle

from ..figures import COLOURS, GREEN, GREY, ORANGE, RULE_COLOURS, Figure, show_literally
from ..images import to_array

__all__ = ["choices", "closeups", "curves", "pick", "predicted_gains"]

# Stopping rule -> marker, the same in every figure, like its colour.
_MARKERS = {
    "hold-out": "o",
    "sure": "s",
    "discrepancy": "D",
    "es-wmv": "^",
    "es-emv": "v",
    "oracle": "*",
}


def pick(snapshots, count=5):
    """Choose a few snapshots of a run, evenly spaced in the logarithm of the iteration.

    Parameters
    ----------
    snapshots : dict
        Iteration -> image, as in ``run.snapshots``.
    count : int, optional
        How many to choose at most; the first and the last are always chosen.

    Returns
    -------
    dict
        "iteration k" -> image, as `contact_sheet` takes it.

    Examples
    --------
    >>> pick({1: "a", 2: "b", 3: "c", 10: "d", 100: "e"}, 3)
    {'iteration 1': 'a', 'iteration 10': 'd', 'iteration 100': 'e'}
    """
    kept = sorted(snapshots)
    wanted = np.geomspace(kept[0], kept[-1], count)
    chosen = sorted({min(kept, key=lambda k: abs(math.log(k / w))) for w in wanted})
    return {f"iteration {k}": snapshots[k] for k in chosen}


def curves(runs, marks=None, floor=None, alt="", width=10.0, over="iteration"):
    """Draw energy and, if the truth is known, PSNR of single iterates (thin) and average (thick).

    Parameters
    ----------
    runs : Run or dict
        One run, or name -> run.
    marks : dict, optional
        Name -> position of a vertical line, in the unit of `over`.
    floor : float, optional
        Energy of a horizontal line, such as σ², the energy of the noise alone.
    alt, width
        As in `contact_sheet`.
    over : {"iteration", "seconds"}, optional
        Unit of the horizontal axis, which is logarithmic.

    Returns
    -------
    Figure

    Examples
    --------
    >>> import torch, diplearn as dip
    >>> run = dip.fit(dip.Problem(torch.rand(1, 16, 16)), stop=2, progress=False)
    >>> len(curves(run).axes)  # no truth, no PSNR
    1
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
            show_literally(*axis.legend(frameon=False, fontsize=9).get_texts())
    return figure


def choices(curve, chosen, alt="", width=10.0, below=4.0):
    """Draw PSNR over the iterations, and mark each stopping rule's choice on the curve.

    Parameters
    ----------
    curve : pandas.Series or sequence of float
        PSNR in dB: a series indexed by iteration, or one value for each iteration from 1 on.
    chosen : dict
        Rule -> iteration. A rule has the same colour and marker in every figure; a variant of a
        rule, named like "sure, wrong σ", has a hollow marker.
    alt, width
        As in `contact_sheet`.
    below : float, optional
        Least range of the axis below the best PSNR, in decibels; a lower choice extends the range.

    Returns
    -------
    Figure

    Examples
    --------
    >>> figure = choices([20.0, 25.0, 24.0], {"sure": 3})
    >>> [line.get_label() for line in figure.axes[0].lines if ":" in line.get_label()]
    ['best: 2', 'sure: 3']
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
        known = rule in _MARKERS
        colour, marker = (RULE_COLOURS[rule], _MARKERS[rule]) if known else next(others)
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
    show_literally(*legend.get_texts())
    return figure


def predicted_gains(gains, alt="", width=10.0):
    """Draw measured gains over predicted ones: one panel for each image, one mark for each pair.

    Parameters
    ----------
    gains : dict
        Image -> pair -> list of (predicted, measured) in decibels, one for each seed. A pair has
        the same colour and marker in all panels.
    alt, width
        As in `contact_sheet`.

    Returns
    -------
    Figure

    Examples
    --------
    >>> figure = predicted_gains({"cat": {"two priors": [(0.3, 0.4), (0.2, 0.2)]}})
    >>> figure.axes[0].get_title()
    'cat'
    """
    alt = alt or "Measured gains over predicted ones: " + ", ".join(gains)
    figure = Figure(alt, figsize=(width, 0.38 * width))
    axes = figure.subplots(1, len(gains), sharex=True, sharey=True, squeeze=False)[0]
    pairs = list(dict.fromkeys(pair for panel in gains.values() for pair in panel))
    looks = dict(zip(pairs, zip(COLOURS * 2, "osD^vPX" * 2)))
    values = [v for panel in gains.values() for dots in panel.values() for dot in dots for v in dot]
    ends = min(values) - 0.15, max(values) + 0.15
    for axis, (name, panel) in zip(axes, gains.items()):
        axis.plot(ends, ends, color=GREY, lw=1, ls=":", label="as predicted")
        for pair, dots in panel.items():
            colour, marker = looks[pair]
            axis.plot(*zip(*dots), marker, color=colour, ms=8, alpha=0.75, label=pair)
        for line in (axis.axhline, axis.axvline):
            line(0, color="0.85", lw=1, zorder=0)
        axis.set(title=name, xlabel="predicted gain in dB", xlim=ends, ylim=ends, aspect="equal")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("measured gain in dB")
    handles, labels = axes[0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside right center", frameon=False)
    show_literally(*legend.get_texts())
    return figure


def closeups(images, places, side=24, alt="", width=10.0):
    """Show the first image whole with frames, and beside it what all images show in the frames.

    Parameters
    ----------
    images : dict
        Name -> image (C, H, W) in [0, 1], all of the same size.
    places : dict
        Caption -> (row, column) of the middle of a frame; one row of close-ups for each.
    side : int, optional
        Pixels on each side of a frame. A frame that would leave the image is moved inside.
    alt, width
        As in `contact_sheet`.

    Returns
    -------
    Figure

    Examples
    --------
    >>> import torch
    >>> images = {name: torch.rand(1, 48, 48) for name in ("truth", "noisy")}
    >>> len(closeups(images, {"a corner": (0, 0), "middle": (24, 24)}).axes)
    5
    """
    alt = alt or "Close-ups of " + ", ".join(images)
    rows, columns = len(places), len(places) + len(images)  # the whole image is as wide as high
    one = width / columns
    figure = Figure(alt, photographs=True, figsize=(width, rows * one + 0.35))
    grid = figure.add_gridspec(rows, columns)
    arrays = {name: to_array(image) for name, image in images.items()}
    first, *_ = arrays.values()
    whole = figure.add_subplot(grid[:, : columns - len(images)])
    _show(whole, first)
    show_literally(whole.set_title(f"{next(iter(images))}, whole", fontsize=10))
    for row, (colour, (caption, place)) in enumerate(zip(COLOURS, places.items())):
        top, left = (
            min(max(0, middle - side // 2), size - side) for middle, size in zip(place, first.shape)
        )
        box = whole.add_patch(Rectangle((left - 0.5, top - 0.5), side, side))
        box.set(fill=False, edgecolor=colour, linewidth=2.5)
        for column, (name, array) in enumerate(arrays.items(), columns - len(images)):
            axis = figure.add_subplot(grid[row, column])
            _show(axis, array[top : top + side, left : left + side], colour)
            show_literally(axis.set_title(name if row == 0 else "", fontsize=10))
        figure.axes[-len(images)].set_ylabel(caption, fontsize=10, color=colour)
    return figure


def _show(axis, array, frame=None):
    """Show an image without ticks, in a coloured frame or none."""
    axis.imshow(array, cmap="gray", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(visible=frame is not None, color=frame, linewidth=2.5)
