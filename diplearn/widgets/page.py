"""Pages: images that move under the hand without a kernel, in a notebook or an exported page.

Python gathers what there is to see (plain data: images, curves, marks), `page.js` shows it.
"""

import base64
import hashlib
import html
import io
import json
import math
from importlib import resources

import numpy as np
from PIL import Image

from .. import images, problems, recipes
from ..errors import InputError, whole
from ..figures import BLUE, COLOURS, GREEN, ORANGE
from ..files import check_writable, replacing
from ..fitting import fit
from ..images import to_uint8
from ..metrics import psnr
from ..run import Run

POINTS = 160
"""Points of a curve that are drawn, evenly spread over the logarithm of the iteration."""


class Page:
    """Something to look at and to move: HTML with its own script, which needs no kernel.

    A notebook shows it at the end of a cell, and an exported page keeps it alive. Where scripts do
    not run (GitHub, a notebook that is not trusted), a still image stands in its place.

    Parameters
    ----------
    kind : {"scrub", "compare"}
        Which function of the script shows it.
    data : dict
        What that function takes.
    still : str
        The image that stands in, as a data URL.
    alt : str
        What is to be seen, for a reader who does not see it.
    """

    def __init__(self, kind, data, still, alt):
        self.kind, self.data, self.still, self.alt = kind, data, still, alt

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": self._html(), "text/plain": self.alt}

    def _html(self):
        data = json.dumps(self.data, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c")
        key = hashlib.sha256(f"{self.kind}{data}".encode()).hexdigest()[:12]
        code, style = (_asset(name) for name in ("page.js", "page.css"))
        alt = html.escape(self.alt, quote=True)
        return (
            f"<style>{style}</style>"
            f'<div class="dip" data-key="{key}" role="group" aria-label="{alt}">'
            f'<img src="{self.still}" alt="{alt}"><p>Run this cell to move it.</p></div>'
            f'<script>(() => {{\n{code}\nstart("{self.kind}", "{key}", {data});\n}})();</script>'
        )

    def save(self, path):
        """Write a page of its own, to be opened in any browser.

        Parameters
        ----------
        path : str or path-like
            The file, usually ``something.html``.

        Raises
        ------
        InputError
            The folder cannot be written.
        """
        check_writable(path)
        title = html.escape(self.alt)
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{title}</title><style>:root {{ color-scheme: light dark; }}</style>"
            f"<body>{self._html()}</body></html>"
        )
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")


def _asset(name):
    return (resources.files(__package__) / name).read_text("utf-8")


def jpeg_bytes(image, quality=88):
    """Turn an image, a tensor or uint8 as snapshots are, into the bytes of a JPEG."""
    array = image if isinstance(image, np.ndarray) else to_uint8(image)
    memory = io.BytesIO()
    Image.fromarray(array).save(memory, format="JPEG", quality=quality, subsampling=0)
    return memory.getvalue()


def _source(image, quality=88):
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_bytes(image, quality)).decode()


def scrub(run, marks=None, frames=32):
    """Move through the iterations of a fit: the image, its curves, and what a rule chose.

    Drag over an image to look closer, click on a curve to go there. No kernel is needed.

    Parameters
    ----------
    run : Run or dict
        One run, shown beside observation and truth, at first where a rule stopped it; or name ->
        run, side by side, at first half-way (of the logarithm), where they differ.
    marks : dict, optional
        Name -> iteration: places to jump to. What a single run's own rule chose, and the oracle
        where the truth is known, are among them anyway.
    frames : int, optional
        How many iterations are kept, evenly spread over the logarithm: each costs its JPEG's size
        in the notebook, some 10 kB at 128x128 pixels.

    Returns
    -------
    Page

    Raises
    ------
    InputError
        A run has not begun, there is none, or runs of different sizes shall be side by side.

    Examples
    --------
    >>> from diplearn import denoising, fit, images
    >>> run = fit(denoising(images.load("camera", size=64)), iterations=20, progress=False)
    >>> scrub(run).data["positions"][-1]
    20
    """
    runs = {str(name): each for name, each in run.items()} if isinstance(run, dict) else {"": run}
    marks = {str(name): k for name, k in (marks or {}).items()}
    whole(frames, "frames", 2)
    if not runs:
        raise InputError("there is no run to show")
    for each in runs.values():
        if not isinstance(each, Run) or each.last is None:
            raise InputError("scrub shows runs that have begun: what dip.fit returns")
    if len({each.problem.shape[-2:] for each in runs.values()}) > 1:
        raise InputError("runs side by side must be of images of one size")
    first = next(iter(runs.values()))
    single = first if len(runs) == 1 else None
    places = _places(single, first.stopped_at, marks)
    chosen = _chosen(single) if single else {}
    positions = _positions(runs, frames, {k for _, k in places} | set(chosen))
    moving = [_moving(name, each, positions, chosen) for name, each in runs.items()]
    data = {
        "width": first.problem.shape[-1],
        "height": first.problem.shape[-2],
        "positions": positions,
        "start": positions.index(_rest(runs, chosen, positions)),
        "panes": _beside(single, moving) if single else moving,
        "charts": charts(runs),
        "marks": [
            {"name": name, "iteration": k, "at": positions.index(k), "colour": colour}
            for (name, k), colour in zip(places, _mark_colours())
        ],
    }
    what = ", ".join(name for name in runs if name) or first.problem.task.replace("_", "-")
    alt = f"The iterations of a fit ({what}), to be moved through with a slider"
    return Page("scrub", data, moving[0]["frames"][-1], alt)


def _rest(runs, chosen, positions):
    """Where the slider rests at first: at what was chosen, or where runs differ, half-way."""
    half_way = positions[len(positions) // 2]  # at the end all of them look finished
    return min(chosen, default=half_way if len(runs) > 1 else positions[-1])


def _mark_colours():
    yield from (ORANGE, GREEN, *COLOURS[3:], *COLOURS[3:] * 3)


def _places(run, last, marks):
    """Names and iterations to jump to: a single run's own choice and oracle, and the caller's."""
    for name, k in marks.items():
        whole(k, f"the mark {name!r}", 1, last)
    own = {}
    if run is not None:
        own[run.stopped_by or "last"] = run.chosen_at or run.stopped_at
        if run.problem.truth is not None:
            own["oracle"] = run.oracle_at
    return list((own | marks).items())


def _chosen(run):
    """Images that are averages, not single iterates: what the rule and the oracle chose."""
    chosen = {run.chosen_at or run.stopped_at: run.output}
    if run.problem.truth is not None:
        chosen[run.oracle_at] = run.oracle
    return {k: to_uint8(image) for k, image in chosen.items() if image is not None}


def _positions(runs, frames, also):
    """Iterations to stop at: snapshots spread over the logarithm, and those that are marked."""
    kept = sorted(set().union(*(each.snapshots for each in runs.values())))
    wanted = np.geomspace(kept[0], kept[-1], frames)
    return sorted({min(kept, key=lambda k: abs(math.log(k / w))) for w in wanted} | also)


def _moving(name, run, positions, chosen):
    snapshots = run.snapshots
    rows = {int(row[0]): row for row in run.rows}
    frames, captions = [], []
    for position in positions:
        k = min(snapshots, key=lambda kept: abs(math.log(kept / position)))
        averaged = position in chosen
        frames.append(_source(chosen[position] if averaged else snapshots[k]))
        words = f"average up to iteration {position}" if averaged else f"iteration {k}"
        quality = rows[position if averaged else k][4 if averaged else 3]
        captions.append(words if math.isnan(quality) else f"{words}\n{quality:.2f} dB")
    return {"title": name or "restored", "frames": frames, "captions": captions, "words": ""}


def _beside(run, moving):
    """Put observation and truth on the two sides of what moves."""
    problem = run.problem
    observed, truth = problem.observation, problem.truth
    alike = tuple(observed.shape) == tuple(problem.shape)
    words = f"{psnr(observed, truth):.2f} dB" if truth is not None and alike else ""
    size = f"{observed.shape[-1]}×{observed.shape[-2]} pixels"
    panes = [
        {
            "title": "observation",
            "frames": [_source(observed, 92)],
            "words": words or size,
            "still": "observation" if alike else "small",
        },
        *moving,
    ]
    if truth is not None:
        still = {"title": "truth", "frames": [_source(truth, 92)], "words": "", "still": "truth"}
        panes.append(still)
    return panes


def charts(runs):
    """Energy, and PSNR where the truth is known."""
    energies, qualities = [], []
    for (name, run), colour in zip(runs.items(), COLOURS * 3):
        history = np.array(run.rows)
        energies.append(_series(name, colour, history[:, 0], history[:, 2]))
        if run.problem.truth is not None:
            averaged = name or "average"
            if len(runs) == 1:
                single = _series("single iterate", "#56B4E9", history[:, 0], history[:, 3])
                qualities.append(single | {"thin": True})
            qualities.append(
                _series(averaged, BLUE if not name else colour, history[:, 0], history[:, 4])
            )
    drawn = [{"label": "energy E", "log": True, "series": energies}]
    if len(qualities) >= len(runs):
        drawn.append({"label": "PSNR in dB", "log": False, "series": qualities})
    return drawn


def _series(name, colour, iterations, values):
    good = np.isfinite(values)
    iterations, values = iterations[good], np.maximum(values[good], 1e-12)
    if not len(values):
        raise InputError("the history of a run holds no finite numbers")
    wanted = np.geomspace(iterations[0], iterations[-1], POINTS)
    kept = np.unique(np.searchsorted(iterations, wanted).clip(max=len(iterations) - 1))
    points = [[int(iterations[i]), float(f"{values[i]:.4g}")] for i in kept]
    return {"name": name, "colour": colour, "points": points}


def impedance(runs=None, frames=24, progress=True):
    """Show the impedance experiment: four targets, one slider, four curves.

    Parameters
    ----------
    runs : dict, optional
        Name -> run. By default the four targets of `problems.impedance` are fitted now, from an
        image of 128x128 pixels: less than a minute.
    frames : int, optional
        How many iterations are kept.
    progress : bool, optional
        Show a bar for each fit.

    Returns
    -------
    Page

    Raises
    ------
    InputError
        As in `scrub`.

    Examples
    --------
    >>> page = impedance()  # doctest: +SKIP
    """
    if runs is None:
        # One network without noise on its input: the plain descent that the experiment is about.
        recipe = recipes.lab(members=1, input_noise=0.0, iterations=400, stop="count")
        targets = problems.impedance(images.load("astronaut", size=128))
        runs = {name: fit(each, recipe, progress=progress) for name, each in targets.items()}
    return scrub(runs, frames=frames)


def compare(a, b, names=("before", "after")):
    """Lay two images under one divider, to be dragged, zoomed and moved with the keyboard.

    Parameters
    ----------
    a, b : torch.Tensor
        Two images (C, H, W) in [0, 1]. A smaller one, as the observation of a super-resolution,
        is enlarged.
    names : tuple of str, optional
        What to call them.

    Returns
    -------
    Page

    Raises
    ------
    InputError
        They are not of one shape, nor one a smaller version of the other.

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
        raise InputError(f"images of {sizes[0]} and {sizes[1]} pixels cannot be laid over another")
    sources = [_source(each.detach(), 95) for each in (a, b)]
    data = {"width": width, "height": height, "names": list(map(str, names)), "images": sources}
    alt = f"{names[0]} and {names[1]} under one divider"
    return Page("compare", data, sources[1], alt)
