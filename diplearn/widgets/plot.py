"""Curves as SVG text: quick enough to be drawn five times a second beside a fit."""

import html
import math

WIDTH, HEIGHT = 400, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 24, 30


def plot(label, series, log=False, marks=()):
    """Draw curves over the iterations, on a logarithmic axis.

    Parameters
    ----------
    label : str
        What the curves are of.
    series : list of dict
        name, colour, points [[iteration, value], ...]; as `page.py` gathers them.
    log : bool, optional
        Whether the values' axis is logarithmic, too.
    marks : list of tuple, optional
        (name, iteration, colour): dashed lines.

    Returns
    -------
    str
        An SVG element; text and axes take the colour of the page's text.
    """
    points = [point for each in series for point in each["points"]]
    if not points:
        return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"></svg>'
    scale = math.log10 if log else float
    low, high = (f(scale(v) for _, v in points) for f in (min, max))
    room = 0.06 * ((high - low) or 1)
    low, high, end = low - room, high + room, math.log(max(2, *(k for k, _ in points)))

    def x(k):
        return LEFT + math.log(k) / end * (WIDTH - LEFT - RIGHT)

    def y(v):
        return TOP + (high - scale(v)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [_text(LEFT, 13, label, "start", "bold")]
    along = LEFT + 20 + 7 * len(label)
    for each in series:
        if each["name"]:
            parts.append(f'<circle cx="{along}" cy="9" r="4" fill="{each["colour"]}"/>')
            parts.append(_text(along + 8, 13, each["name"], "start"))
            along += 26 + 6 * len(each["name"])
    for tick in _decades(low, high) if log else _round_numbers(low, high):
        parts.append(_line(LEFT, WIDTH - RIGHT, y(tick), y(tick), "#8884"))
        parts.append(_text(LEFT - 5, y(tick) + 4, f"{tick:.1g}" if log else f"{tick:g}", "end"))
    for k in (10**power for power in range(1 + int(end / math.log(10)))):
        parts.append(_text(x(k), HEIGHT - BOTTOM + 15, str(k), "middle"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 3, "iteration", "end"))
    for name, k, colour in marks:
        parts.append(_line(x(k), x(k), TOP, HEIGHT - BOTTOM, colour, "4 3", name))
    for each in series:
        line = " ".join(f"{x(k):.1f},{y(v):.1f}" for k, v in each["points"])
        width = 1 if each.get("thin") else 2
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{each["colour"]}" '
            f'stroke-width="{width}"/>'
        )
        k, v = each["points"][-1]
        parts.append(f'<circle cx="{x(k):.1f}" cy="{y(v):.1f}" r="4" fill="{each["colour"]}"/>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)} over the iterations">{"".join(parts)}</svg>'
    )


def _text(x, y, words, anchor, weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-size="11" font-family="sans-serif" fill="currentColor">{html.escape(words)}</text>'
    )


def _line(x1, x2, y1, y2, colour, dashes="", name=""):
    return (
        f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-dasharray="{dashes}"><title>{html.escape(name)}</title></line>'
    )


def _decades(low, high):
    powers = range(math.ceil(low), math.floor(high) + 1)
    return [10.0**power for power in powers] or [10 ** ((low + high) / 2)]


def _round_numbers(low, high):
    rough = (high - low) / 4
    unit = 10 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough * 0.999)
    first = math.ceil(low / step)
    return [round(step * i, 6) for i in range(first, math.floor(high / step) + 1)]
