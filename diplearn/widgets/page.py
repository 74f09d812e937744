"""Pages: interactive images in a notebook or an exported page, without a kernel.

Python writes the markup and the data; `page.js` makes them interactive.
"""

import base64
import hashlib
import html
import io
import itertools
import json
import math

import numpy as np
from PIL import Image

from .. import images, problems, recipes
from ..errors import InputError, whole
from ..figures import RULE_COLOURS
from ..files import check_writable, replacing
from ..fitting import fit
from ..images import to_uint8
from ..metrics import psnr
from ..run import Run
from .chart import COLOURS, charts, dot
from .markup import asset, element, filled


class Page:
    """An interactive page: HTML with its own script, which needs no kernel.

    A notebook shows the page at the end of a cell; the page still works when the notebook is
    exported. Where scripts do not run (on GitHub, or in a notebook that is not trusted), a still
    image is shown instead. `kind` names the script's function, `data` is the argument of that
    function, `still` is the still image as a data URL, and `alt` describes the page for screen
    readers.
    """

    def __init__(self, kind, data, still, alt):
        self.kind, self.data, self.still, self.alt = kind, data, still, alt

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": self._html(), "text/plain": self.alt}

    def _html(self):
        data = json.dumps(self.data, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c")
        key = hashlib.sha256(f"{self.kind}{data}".encode()).hexdigest()[:12]
        alt = html.escape(self.alt)
        return (
            f"<style>{asset('style.css')}</style>"
            f'<div class="dip" data-key="{key}" role="group" aria-label="{alt}">'
            f'<img src="{self.still}" alt="{alt}"><p>Run this cell to move it.</p></div>'
            f"<script>(() => {{\n{asset('page.js')}\n"
            f'start("{self.kind}", "{key}", {data});\n}})();</script>'
        )

    def save(self, path):
        """Write the page to a file, usually ``something.html``, which any browser can open."""
        check_writable(path)
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{html.escape(self.alt)}</title>"
            "<style>:root { color-scheme: light dark; }</style>"
            f"<body>{self._html()}</body></html>"
        )
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")


def jpeg_bytes(image, quality=88):
    """Encode an image, a tensor or a uint8 array as in `Run.snapshots`, as JPEG."""
    array = image if isinstance(image, np.ndarray) else to_uint8(image)
    memory = io.BytesIO()
    Image.fromarray(array).save(memory, format="JPEG", quality=quality, subsampling=0)
    return memory.getvalue()


def _source(image, quality=88):
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_bytes(image, quality)).decode()


def scrub(run, marks=None, frames=32):
    """Move through the iterations of a fit: its images, its curves, and what the rule chose.

    Drag over an image to zoom in, and click on a curve to go to that iteration. No kernel is
    needed.

    Parameters
    ----------
    run : Run or dict
        One run, shown between observation and truth; at first, the slider is at the iteration that
        the stopping rule chose. Or name -> run: runs of equal image size are shown side by side,
        and at first the slider is half-way through the iterations (on a logarithmic scale), where
        runs differ.
    marks : dict, optional
        Name -> iteration: buttons that go to that iteration. A single run always has buttons for
        its rule's choice and, if the truth is known, the oracle's choice.
    frames : int, optional
        Number of iterations to keep, evenly spaced in their logarithm. In the notebook, each takes
        the size of its JPEG, about 10 kB at 128x128 pixels.

    Returns
    -------
    Page

    Examples
    --------
    >>> from diplearn import denoising, fit, images
    >>> run = fit(denoising(images.load("camera", size=64)), iterations=20, progress=False)
    >>> scrub(run).data["positions"][-1]
    20
    """
    runs = {str(name): each for name, each in run.items()} if isinstance(run, dict) else {"": run}
    whole(frames, "frames", 2)
    _check_runs(runs)
    first = next(iter(runs.values()))
    single = first if len(runs) == 1 else None
    marks = _marks(single, first.stopped_at, marks or {})
    chosen = _chosen(single) if single else {}
    positions = _positions(runs, frames, {k for _, k, _ in marks} | set(chosen))
    # Several runs start half-way: at the end, all of them look finished.
    start = min(chosen, default=positions[len(positions) // 2 if len(runs) > 1 else -1])
    moving = [_moving(name, each, positions, chosen) for name, each in runs.items()]
    panes = _beside(single, moving) if single else moving
    drawn = charts(runs)
    data = {
        "width": first.problem.shape[-1],
        "height": first.problem.shape[-2],
        "positions": positions,
        "start": positions.index(start),
        "panes": panes,
        "charts": [chart.paths(positions) for chart in drawn],
    }
    data["markup"] = _scrub_markup(data, marks, drawn)
    what = ", ".join(name for name in runs if name) or first.problem.task.replace("_", "-")
    alt = f"The iterations of a fit ({what}), with a slider to move through them"
    return Page("scrub", data, moving[0]["frames"][-1], alt)


def _check_runs(runs):
    if not runs:
        raise InputError("there is no run to show: the dict of runs is empty")
    for each in runs.values():
        if not isinstance(each, Run) or each.last is None:
            raise InputError("scrub shows runs that have begun: pass what dip.fit returns")
    if len({each.problem.shape[-2:] for each in runs.values()}) > 1:
        raise InputError("the images of runs side by side must have the same size")


def _marks(run, last, wanted):
    """Return (name, iteration, colour) of a single run's rule and oracle, and of `wanted`."""
    for name, k in wanted.items():
        whole(k, f"the mark {str(name)!r}", 1, last)
    marks = {}
    if run is not None:
        marks[run.stopped_by or "last"] = run.chosen_at or run.stopped_at
        if run.problem.truth is not None:
            marks["oracle"] = run.oracle_at
    marks |= {str(name): k for name, k in wanted.items()}
    rules = {RULE_COLOURS[name] for name in marks if name in RULE_COLOURS}
    others = itertools.cycle([each for each in COLOURS[1:] if each not in rules] or COLOURS)
    return [(name, k, RULE_COLOURS.get(name) or next(others)) for name, k in marks.items()]


def _chosen(run):
    """Return iteration -> average, for the choices of the rule and of the oracle."""
    chosen = {run.chosen_at or run.stopped_at: run.output}
    if run.problem.truth is not None:
        chosen[run.oracle_at] = run.oracle
    return {k: to_uint8(image) for k, image in chosen.items() if image is not None}


def _positions(runs, frames, also):
    """Return the slider's iterations: snapshots evenly spaced in the logarithm, and `also`."""
    kept = sorted(set().union(*(each.snapshots for each in runs.values())))
    wanted = np.geomspace(kept[0], kept[-1], frames)
    return sorted({_nearest(kept, iteration) for iteration in wanted} | also)


def _nearest(iterations, wanted):
    return min(iterations, key=lambda k: abs(math.log(k / wanted)))


def _moving(name, run, positions, chosen):
    """Return the pane of a run, with an image and a caption for every position of the slider."""
    snapshots = run.snapshots
    rows = {int(row[0]): row for row in run.rows}
    frames, captions = [], []
    for position in positions:
        if position in chosen:
            frame, words, quality = chosen[position], "average up to iteration", rows[position][4]
            k = position
        else:
            k = _nearest(snapshots, position)
            frame, words, quality = snapshots[k], "iteration", rows[k][3]
        frames.append(_source(frame))
        captions.append(f"{words} {k}" + ("" if math.isnan(quality) else f"\n{quality:.2f} dB"))
    return {"title": name or "restored", "frames": frames, "captions": captions}


def _beside(run, moving):
    """Put the observation to the left of the moving pane and the truth, if known, to its right."""
    observed, truth = run.problem.observation, run.problem.truth
    alike = tuple(observed.shape) == tuple(run.problem.shape)
    words = f"{observed.shape[-1]}×{observed.shape[-2]} pixels"
    if truth is not None and alike:
        words = f"{psnr(observed, truth):.2f} dB"
    panes = [_still("observation", observed, words, alike), *moving]
    if truth is not None:
        panes.append(_still("truth", truth, "", True))
    return panes


def _still(title, image, words, subtracted):
    """Return a fixed pane; `subtracted` if it can be subtracted from the moving panes."""
    source = _source(image, 92)
    return {"title": title, "frames": [source], "words": words, "subtracted": subtracted}


def _scrub_markup(data, marks, drawn):
    enlarged = max(1, 256 // max(data["width"], data["height"]))
    width, height = data["width"] * enlarged, data["height"] * enlarged
    places = [data["positions"].index(k) for _, k, _ in marks]
    stills = [pane["title"] for pane in data["panes"] if pane.get("subtracted")]
    return filled(
        "scrub.html",
        row="dip-row" if len(data["panes"]) <= 4 else "",
        panes="".join(_pane(pane, width, height) for pane in data["panes"]),
        last=len(data["positions"]) - 1,
        ticks=f"dip-ticks-{'-'.join(map(str, places))}",  # pages that share an id have equal ticks
        options="".join(element("option", value=place) for place in places),
        jumps="".join(_jump(*mark, place) for mark, place in zip(marks, places)),
        hidden="" if stills else "hidden",
        differences="".join(
            element("option", f"4 × its difference from the {still}", value=still)
            for still in stills
        ),
        charts="".join(chart.draw(marks, line=True) for chart in drawn),
    )


def _pane(pane, width, height):
    canvas = element("canvas", width=width, height=height, tabindex=0, role="img")
    title = element("b", html.escape(pane["title"]))
    caption = element("figcaption", title, element("span", pane.get("words", "")))
    return element("figure", canvas, caption, style=f"flex: 0 1 {width}px")


def _jump(name, iteration, colour, place):
    words = html.escape(f"{name}: {iteration}")
    return element("button", dot(colour), words, data_at=place, data_jump=name)


def impedance(runs=None, frames=24, progress=True):
    """Show the impedance experiment: one network architecture fitted to four targets.

    The four fits are shown side by side under one slider, with their energy curves.

    Parameters
    ----------
    runs : dict, optional
        Name -> run. By default the four targets of `problems.impedance` are fitted now, from an
        image of 128x128 pixels, in less than a minute.
    frames : int, optional
        As in `scrub`.
    progress : bool, optional
        Show a progress bar for each fit.

    Returns
    -------
    Page

    Examples
    --------
    >>> page = impedance()  # doctest: +SKIP
    """
    if runs is None:
        # The experiment needs a plain fit: one network, without noise on its input.
        recipe = recipes.lab(members=1, input_noise=0.0, iterations=400, stop="count")
        targets = problems.impedance(images.load("astronaut", size=128))
        runs = {name: fit(each, recipe, progress=progress) for name, each in targets.items()}
    return scrub(runs, frames=frames)


def compare(a, b, names=("before", "after")):
    """Lay two images over each other, with a divider that mouse and keyboard move.

    Parameters
    ----------
    a, b : torch.Tensor
        Two images (C, H, W) in [0, 1] of equal proportions. A smaller image, such as the
        observation in super-resolution, is enlarged.
    names : tuple of str, optional
        The names of the images, shown above them.

    Returns
    -------
    Page

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> problem = denoising(images.load("camera", size=64))
    >>> compare(problem.observation, problem.truth, ("noisy", "clean")).data["width"]
    64
    """
    sizes = [tuple(each.shape[-2:]) for each in (a, b)]
    height, width = (max(sides) for sides in zip(*sizes))
    ratios = [(height / h, width / w) for h, w in sizes]
    if any(abs(across - down) / across > 0.1 for across, down in ratios):
        first, second = (f"{w}x{h}" for h, w in sizes)
        raise InputError(
            f"images of {first} and {second} pixels cannot be laid over each other: their "
            "proportions differ"
        )
    left, right = (html.escape(str(name)) for name in names)
    over, under = (_source(each.detach(), 95) for each in (a, b))
    enlarged = width * max(1, round(384 / max(width, height)))
    markup = filled(
        "compare.html",
        width=width, height=height, enlarged=enlarged,
        left=left, right=right, over=over, under=under,
    )  # fmt: skip
    data = {"width": width, "height": height, "markup": markup}
    return Page("compare", data, under, f"{names[0]} and {names[1]} under one divider")
