"""Figures: images side by side, and the colours that all figures and widgets share.

A figure is displayed at the end of a notebook cell, with alternative text for readers who cannot
see it. Outside a notebook, ``figure.savefig(path)`` writes it to a file.
"""

import io
import math

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as _Figure

from .errors import InputError
from .images import to_array

__all__ = [
    "BLUE",
    "COLOURS",
    "GREEN",
    "GREY",
    "ORANGE",
    "RULE_COLOURS",
    "Figure",
    "contact_sheet",
]

# Okabe and Ito's palette, whose colours people with any kind of colour vision can tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", GREY)

# Stopping rule -> its colour in every figure and on every slider.
RULE_COLOURS = {
    "hold-out": BLUE,
    "sure": ORANGE,
    "oracle": GREEN,
    "es-wmv": "#CC79A7",
    "es-emv": "#56B4E9",
    "discrepancy": "#E69F00",
    "count": GREY,
}


class Figure(_Figure):
    """A matplotlib figure with alternative text, which needs no pyplot.

    Parameters
    ----------
    alt : str
        Description of the figure for readers who cannot see it.
    photographs : bool
        Store the figure in notebooks as JPEG: as PNG, noisy photographs take megabytes.
    **options
        Options of matplotlib's Figure.

    Examples
    --------
    >>> figure = Figure("A line that rises from left to right", figsize=(4, 3))
    >>> _ = figure.subplots().plot([0, 1], color=BLUE)
    >>> figure.alt
    'A line that rises from left to right'
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
    """Show images side by side, each under its name.

    Parameters
    ----------
    images : dict
        Name -> image, at least one: a tensor (C, H, W) in [0, 1], or a uint8 array as in
        ``run.snapshots``.
    columns : int, optional
        Images in a row; by default at most five.
    captions : dict, optional
        Name -> second line of the title, such as a PSNR.
    alt : str, optional
        Alternative text; by default the names.
    width : float, optional
        Width of the figure in inches of 100 pixels.

    Returns
    -------
    Figure

    Examples
    --------
    >>> import torch
    >>> sheet = contact_sheet({"black": torch.zeros(1, 32, 32), "white": torch.ones(1, 32, 32)})
    >>> len(sheet.axes)
    2
    """
    if not images:
        raise InputError("there is no image to show: the dict of images is empty")
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
        show_literally(title)
    return figure


def show_literally(*texts):
    """Draw texts as they are: matplotlib would read dollar signs as formulas."""
    for text in texts:
        text.set_parse_math(False)
        # A file name may contain bytes that are not valid characters, which matplotlib cannot draw.
        text.set_text(text.get_text().encode(errors="replace").decode())


def _shown(image):
    return image if isinstance(image, np.ndarray) else to_array(image)
