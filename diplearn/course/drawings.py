"""Drawings of ideas: a filter, the hourglass, the loop of a fit, a mask, a null space.

Each function returns a figure without alternative text, which the lesson gives it.
"""

import numpy as np
from matplotlib.patches import FancyBboxPatch, Rectangle

from .. import images, operators
from ..figures import BLUE, GREEN, GREY, ORANGE, Figure
from ..images import to_array

__all__ = ["convolution", "hourglass", "loop", "masking", "null_space"]

_PALE_BLUE, _PALE_ORANGE, _PALE_GREEN, _PALE_GREY = "#cfe3f1", "#f8dccb", "#cdeae1", "#ececec"


def convolution():
    """Draw a 3x3 filter at two places of an image, and the output pixel that belongs to each.

    Returns
    -------
    Figure

    Examples
    --------
    >>> [axis.get_title() for axis in convolution().axes]
    ['input: 8x6 pixels', 'filter: 3x3 weights', 'output: 6x4 pixels']
    """
    image = np.zeros((6, 8))
    image[:, 4:] = 1  # a border between dark and light
    weights = np.array([[-1, 0, 1]] * 3)
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3))
    output = (windows * weights).sum((2, 3))
    figure = Figure(figsize=(9.5, 3.9))
    axes = figure.subplots(1, 3, width_ratios=(8, 3.4, 6))
    _grid(axes[0], image, "input: 8x6 pixels")
    _grid(axes[1], weights, "filter: 3x3 weights", low=-1)
    _grid(axes[2], output, "output: 6x4 pixels", high=3)
    for (row, column), colour in (((0, 0), BLUE), ((2, 3), ORANGE)):
        axes[0].add_patch(_frame((column, row), 3, colour))
        axes[2].add_patch(_frame((column, row), 1, colour))
        terms = windows[row, column].sum(axis=0)
        added = (
            f"−1·{terms[0]:.0f} + 0·{terms[1]:.0f} + 1·{terms[2]:.0f} = {output[row, column]:.0f}"
        )
        axes[1].text(1.5, 3.75 if row == 0 else 4.5, added, color=colour, ha="center", fontsize=12)
    axes[1].text(1.5, 5.3, "(the three columns, added up)", ha="center", fontsize=10, color="0.3")
    axes[1].set_ylim(5.4, -0.4)
    return figure


def _grid(axis, values, title, low=0, high=1):
    """Draw pixels as squares with their values in them."""
    rows, columns = values.shape
    axis.imshow(values, cmap="gray", vmin=low - 0.6, vmax=high + 0.25, extent=(0, columns, rows, 0))
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value < (low + high) / 2 else "black"
        axis.text(
            column + 0.5, row + 0.5, f"{value:.0f}".replace("-", "−"), ha="center", va="center",
            fontsize=12, color=colour,
        )  # fmt: skip
        axis.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="0.6", lw=0.6))
    axis.set_title(title, fontsize=12)
    axis.set_axis_off()


def _frame(place, size, colour):
    return Rectangle(place, size, size, fill=False, edgecolor=colour, lw=3.5, zorder=5)


def hourglass(size=64, channels=(16, 32, 64, 64, 64), skip=4):
    """Draw the hourglass: sizes and channels of its levels, and its skip connections.

    Parameters
    ----------
    size : int, optional
        Side of the square image in pixels.
    channels : sequence of int, optional
        Channels of the levels, from the finest to the coarsest; those of the recipe `lab`.
    skip : int, optional
        Channels of each skip connection.

    Returns
    -------
    Figure

    Examples
    --------
    >>> any("64x64" in text.get_text() for text in hourglass().axes[0].texts)
    True
    """
    figure = Figure(figsize=(9, 4.8))
    axis = figure.subplots()
    depth = len(channels)
    sides = [size / 2**level for level in range(depth + 1)]
    widths = [32, *channels]  # z has 32 channels
    down = [(1.35 * level, -level) for level in range(depth + 1)]
    up = [(1.35 * (2 * depth - level), -level) for level in range(depth)]
    for level, (x, y) in enumerate(down):
        _block(axis, x, y, sides[level], widths[level], _PALE_BLUE, BLUE, z=level == 0)
        if level:
            _arrow(axis, down[level - 1], (x, y), BLUE)
    for level in reversed(range(depth)):
        x, y = up[level]
        below = down[depth] if level == depth - 1 else up[level + 1]
        _block(axis, x, y, sides[level], channels[level], _PALE_GREEN, GREEN)
        _arrow(axis, below, (x, y), GREEN)
        _arrow(axis, down[level], (x, y), GREY, dashed=True)
        words = f"skip, {skip} channels" if level < depth - 1 else "skip"
        axis.text(
            (down[level][0] + x) / 2, y + 0.09, words, ha="center", va="bottom", fontsize=11,
            color="0.3",
        )  # fmt: skip
    end = up[0][0] + 1.6
    _arrow(axis, up[0], (end, 0), ORANGE)
    words = f"image\n{size}x{size}\n3 ch."
    _box(axis, end, 0, words, _PALE_ORANGE, ORANGE, size=9.5 if size >= 100 else 11)
    axis.text(1.7, -4.2, "halve:\n3x3 filters, stride 2", color=BLUE, ha="center", fontsize=11)
    axis.text(
        end - 2.6, -4.2, "double: bilinear upsampling,\nthen 3x3 filters", color=GREEN, ha="center",
        fontsize=11,
    )  # fmt: skip
    axis.set(xlim=(-0.8, end + 0.75), ylim=(-depth - 0.5, 0.75))
    axis.set_axis_off()
    return figure


def _block(axis, x, y, side, channels, fill, edge, z=False):
    words = f"{side:.0f}x{side:.0f}\n{channels} ch."
    _box(axis, x, y, ("z\n" if z else "") + words, fill, edge, size=9.5 if side >= 100 else 11)


def _box(axis, x, y, words, fill, edge, width=1.16, height=0.68, size=11):
    """Draw a box with words around a point."""
    height = height + 0.2 * max(0, words.count("\n") - 1)
    axis.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0.02,rounding_size=0.08",
            facecolor=fill,
            edgecolor=edge,
            lw=1.8,
            zorder=3,
        )  # fmt: skip
    )
    axis.text(x, y, words, ha="center", va="center", fontsize=size, zorder=4, linespacing=1.15)


def _arrow(axis, start, end, colour, dashed=False, bend=0.0, shrink=26):
    axis.annotate(
        "", end, start, zorder=2,
        arrowprops={
            "arrowstyle": "-|>", "color": colour, "lw": 1.8, "mutation_scale": 16,
            "linestyle": "--" if dashed else "-", "connectionstyle": f"arc3,rad={bend}",
            "shrinkA": shrink, "shrinkB": shrink,
        },
    )  # fmt: skip


def loop():
    """Draw one iteration of a fit: z, the network, its image, the energy, the gradient's way back.

    Returns
    -------
    Figure

    Examples
    --------
    >>> len(loop().axes)
    1
    """
    figure = Figure(figsize=(9.5, 3.5))
    axis = figure.subplots()
    boxes = (
        (0, "z\nfixed noise", _PALE_GREY, GREY),
        (2.3, "network $f_θ$\nweights θ", _PALE_BLUE, BLUE),
        (4.6, "image\n$x = f_θ(z)$", _PALE_GREEN, GREEN),
        (6.9, "energy\n$E(x; x_0)$", _PALE_ORANGE, ORANGE),
    )
    for x, words, fill, edge in boxes:
        _box(axis, x, 0, words, fill, edge, width=1.5, height=0.8, size=13)
    _box(axis, 6.9, 1.45, "observation $x_0$", _PALE_GREY, GREY, width=1.8, height=0.55, size=13)
    for x in (0, 2.3, 4.6):
        _arrow(axis, (x + 0.77, 0), (x + 1.53, 0), "0.2", shrink=0)
    _arrow(axis, (6.9, 1.14), (6.9, 0.43), "0.2", shrink=0)
    axis.plot([6.9, 6.9, 2.3, 2.3], [-0.44, -1.15, -1.15, -0.7], color=ORANGE, lw=2.2, ls="--")
    _arrow(axis, (2.3, -0.8), (2.3, -0.43), ORANGE, shrink=0)
    axis.text(
        4.6, -1.25, "backwards: the gradient $∂E/∂θ$ says how each weight has to change,\n"
        "and the optimiser changes it a little; z and $x_0$ stay as they are",
        ha="center", va="top", fontsize=12, color=ORANGE,
    )  # fmt: skip
    axis.text(3.45, 0.62, "forwards", ha="center", fontsize=12, color="0.2")
    axis.set(xlim=(-0.9, 7.95), ylim=(-2.1, 1.85))
    axis.set_axis_off()
    return figure


def masking(name="chelsea", missing=0.5):
    """Draw what a mask does: the image, the mask, and their product, the observation.

    Parameters
    ----------
    name : str, optional
        A bundled image.
    missing : float, optional
        Fraction of the pixels that are missing.

    Returns
    -------
    Figure

    Examples
    --------
    >>> len(masking().axes)
    3
    """
    image = images.load(name, size=48)
    mask = operators.Mask.pixels(48, 48, missing=missing, seed=0)
    shown = {
        "image $x$": image,
        "mask $m$: 1 known, 0 missing": mask.known.float(),
        "observation $x_0 = m ⊙ x$": mask(image),
    }
    figure = Figure(figsize=(9.5, 3.5))
    for axis, (title, each), sign in zip(figure.subplots(1, 3), shown.items(), ("⊙", "=", "")):
        axis.imshow(to_array(each), cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=12)
        axis.set_axis_off()
        axis.text(1.05, 0.5, sign, transform=axis.transAxes, ha="center", va="center", fontsize=20)
    return figure


def null_space():
    """Draw images as points of a plane: what A sees of an image, and what A does not see.

    Returns
    -------
    Figure

    Examples
    --------
    >>> len(null_space().axes)
    1
    """
    figure = Figure(figsize=(8.5, 4.4))
    axis = figure.subplots()
    along, across = np.array([0.94, 0.34]), np.array([-0.34, 0.94])  # seen, and unseen
    seen = 2.6 * along
    line = np.array([seen - 1.5 * across, seen + 2.6 * across])
    axis.plot(*line.T, color=BLUE, lw=4, solid_capstyle="round", zorder=2)
    axis.annotate(
        "all images with $A x = x_0$:\nE = 0 along this line", seen - 1.1 * across, (18, -8),
        textcoords="offset points", color=BLUE, fontsize=12, va="center",
    )  # fmt: skip
    axis.annotate("", 4.2 * along, (0, 0), arrowprops={"arrowstyle": "-|>", "color": "0.35"})
    axis.text(*(4.25 * along), " what A sees", color="0.25", fontsize=12, va="center")
    null = np.array([-1.2 * across, 2.6 * across])
    axis.annotate("", null[1], null[0], arrowprops={"arrowstyle": "<|-|>", "color": GREY})
    axis.text(
        *(null[1] + (-0.1, 0.1)), "null space: $A v = 0$,\nwhat A does not see", color="0.25",
        fontsize=12, ha="center", va="bottom",
    )  # fmt: skip
    points = (
        (0, "$A^{+} x_0$: nothing unseen", "s", BLUE, (14, -4)),
        (1.05, "another explanation", "o", GREY, (12, 0)),
        (1.9, "the truth $x$", "*", ORANGE, (12, 0)),
    )
    for height, words, marker, colour, aside in points:
        place = seen + height * across
        size = 17 if marker == "*" else 11
        axis.plot(*place, marker, color=colour, ms=size, mec="white", zorder=4)
        axis.annotate(words, place, aside, textcoords="offset points", fontsize=12, va="center")
    truth = seen + 1.9 * across
    axis.annotate(
        "", 1.9 * across, (0, 0), arrowprops={"arrowstyle": "-|>", "color": ORANGE, "lw": 2.4}
    )
    axis.plot(*np.array([1.9 * across, truth]).T, color=ORANGE, lw=1.2, ls=":")
    axis.annotate(
        "v, the unseen\npart of x", 0.95 * across, (-12, 0), textcoords="offset points",
        color=ORANGE, fontsize=12, ha="right", va="center",
    )  # fmt: skip
    axis.plot(0, 0, "o", color="0.2", ms=6)
    axis.text(-0.1, -0.08, "black image", ha="right", va="top", fontsize=11, color="0.3")
    axis.set(aspect="equal", xlim=(-2.4, 6.3), ylim=(-1.5, 3.7))
    axis.set_axis_off()
    return figure
