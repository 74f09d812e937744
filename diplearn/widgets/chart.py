"""Charts of fits: curves over the iterations, on a logarithmic axis, drawn as SVG.

Pages and panels show the same chart; a page moves some of its parts (see `Chart.paths`).
"""

import html
import math
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..figures import COLOURS, GREEN, ORANGE  # noqa: F401  (all widgets take them from here)
from .markup import element

WIDTH, HEIGHT = 400, 176
LEFT, RIGHT, TOP, BOTTOM = 46, 390, 8, 146  # edges of the plotting area

POINTS = 160
"""Number of points per curve, evenly spaced in the logarithm of the iteration."""


class Curve(NamedTuple):
    """A curve of a chart; its points are pairs (iteration, value)."""

    name: str
    colour: str
    points: list
    width: float = 2


class Chart:
    """Curves with common axes; `log` makes the vertical axis logarithmic, too."""

    def __init__(self, label, curves, log=False):
        self.label, self.curves, self.log = label, curves, log
        self._scale = math.log10 if log else float
        points = [point for curve in curves for point in curve.points]
        values = [self._scale(value) for _, value in points]
        room = 0.06 * (max(values) - min(values) or 1)
        self._low, self._high = min(values) - room, max(values) + room
        self._end = math.log(max(2, *(iteration for iteration, _ in points)))

    def x(self, iteration):
        """Return the horizontal position of an iteration, in units of the SVG."""
        return round(LEFT + math.log(iteration) / self._end * (RIGHT - LEFT), 1)

    def y(self, value):
        """Return the vertical position of a value, in units of the SVG."""
        up = (self._scale(value) - self._low) / (self._high - self._low)
        return round(BOTTOM - up * (BOTTOM - TOP), 1)

    def paths(self, iterations):
        """Return the positions of each movable part: the vertical line, then a dot per curve.

        Each part has one position per iteration. A dot is at the nearest point of its curve.
        """
        line = [[self.x(k), 0] for k in iterations]
        return [line, *([self._nearest(c, k) for k in iterations] for c in self.curves)]

    def _nearest(self, curve, iteration):
        k, value = min(curve.points, key=lambda point: abs(math.log(point[0] / iteration)))
        return [self.x(k), self.y(value)]

    def draw(self, marks=(), line=False):
        """Return legend and curves as HTML; text and axes take the colour of the page's text.

        `marks` are (name, iteration, colour) of dashed vertical lines. `line` adds the line that a
        page moves.
        """
        svg = element(
            "svg", *self._axes(), *self._inside(marks, line), viewBox=f"0 0 {WIDTH} {HEIGHT}",
            font_size=11, fill="currentColor", role="img",
            aria_label=f"{self.label} over the iterations",
        )  # fmt: skip
        legend = [
            element("span", dot(curve.colour), html.escape(curve.name))
            for curve in self.curves
            if curve.name
        ]
        legend = element("b", html.escape(self.label)), *legend
        return element("div", element("div", *legend, class_="dip-legend"), svg, class_="dip-chart")

    def _axes(self):
        ticks = _log_ticks if self.log else _ticks
        for tick in ticks(self._low, self._high):
            y = self.y(tick)
            yield element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, stroke="#8884")
            yield element("text", f"{tick:g}", x=LEFT - 5, y=y + 4, text_anchor="end")
        for k in (10**power for power in range(1 + int(self._end / math.log(10)))):
            yield element("text", k, x=self.x(k), y=BOTTOM + 15, text_anchor="middle")
        yield element("text", "iteration", x=RIGHT, y=HEIGHT - 3, text_anchor="end")

    def _inside(self, marks, line):
        for name, k, colour in marks:
            title = element("title", html.escape(name))
            yield _vertical(title, x=self.x(k), stroke=colour, stroke_dasharray="4 3")
        for curve in self.curves:
            points = " ".join(f"{self.x(k)},{self.y(value)}" for k, value in curve.points)
            looks = {"fill": "none", "stroke": curve.colour, "stroke_width": curve.width}
            yield element("polyline", points=points, **looks)
        if line:
            yield _vertical(x=0, stroke="currentColor", class_="dip-moves")
        for curve in self.curves:
            k, value = curve.points[-1]
            looks = {"r": 4, "fill": curve.colour, "stroke": "#fff", "class_": "dip-moves"}
            yield element("circle", transform=f"translate({self.x(k)},{self.y(value)})", **looks)


def dot(colour):
    """Return a coloured dot that stands before the name of a curve or of a mark."""
    return element("i", style=f"background: {colour}")


def _vertical(*title, x, **looks):
    return element("line", *title, x1=x, x2=x, y1=TOP, y2=BOTTOM, **looks)


def _ticks(low, high):
    """Return about four round numbers between low and high."""
    rough = (high - low) / 4
    unit = 10 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.999)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low, high):
    """Return round numbers with logarithms from low to high: powers of ten, if there are two."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) > 1:
            return ticks
    return _ticks(10**low, 10**high)


def charts(runs):
    """Return the charts of name -> run: the energy and, if every run has a truth, the PSNR."""
    energies, qualities = [], []
    for (name, run), colour in zip(runs.items(), COLOURS * 3):
        iterations, _, losses, psnr, psnr_average = np.array(run.rows).T
        energies.append(_curve(name, colour, iterations, losses))
        if run.problem.truth is not None:
            if len(runs) == 1:
                qualities.append(_curve("single iterate", COLOURS[4], iterations, psnr, width=1))
            qualities.append(_curve(name or "average", colour, iterations, psnr_average))
    drawn = [Chart("energy E", energies, log=True)]
    if len(qualities) >= len(runs):
        drawn.append(Chart("PSNR in dB", qualities))
    return drawn


def _curve(name, colour, iterations, values, width=2):
    good = np.isfinite(values)
    iterations, values = iterations[good], np.maximum(values[good], 1e-12)
    if not len(values):
        raise InputError("the history of a run holds no finite numbers")
    wanted = np.geomspace(iterations[0], iterations[-1], POINTS)
    kept = np.unique(np.searchsorted(iterations, wanted).clip(max=len(iterations) - 1))
    points = [(int(iterations[i]), float(f"{values[i]:.4g}")) for i in kept]
    return Curve(name, colour, points, width)
