"""The display of a panel: the images, their captions, the curves, and the status line."""

import html

import ipywidgets as w
import numpy as np

from .. import images
from ..metrics import psnr
from .chart import GREEN, ORANGE, charts
from .controls import dropdown
from .page import jpeg_bytes


class Views(w.VBox):
    """Observation, restored image and truth above the curves; `status` is placed by the panel."""

    def __init__(self):
        self.observation, self.restored, self.truth = (w.Image(format="jpeg") for _ in range(3))
        self.captions = [w.HTML() for _ in range(3)]
        self._images = (self.observation, self.restored, self.truth)
        self._panes = [
            w.VBox([image, words], layout=w.Layout(min_width="0", flex="0 1 auto"))
            for image, words in zip(self._images, self.captions)
        ]
        self.showing = dropdown("showing", ["single iterate", "average"], "single iterate")
        self.status = w.HTML(layout=w.Layout(min_height="28px", flex="1 1 240px", margin="2px 8px"))
        self.curves = w.HTML(layout=w.Layout(min_height="196px"))
        super().__init__([w.HBox(self._panes), self.curves])

    def preview(self, problem):
        """Show a problem before its fit."""
        height, width = problem.shape[-2:]
        enlarged = max(1, 256 // max(height, width))
        self._height, self._width = height * enlarged, width * enlarged
        for view in self._images:
            view.layout.width, view.layout.max_width = f"{self._width}px", "100%"
        observed, truth = problem.observation, problem.truth
        alike = truth is not None and observed.shape == truth.shape
        quality = f"{psnr(observed, truth):.2f} dB" if alike else ""
        self.observation.value = self._enlarged(images.to_uint8(observed))
        self.captions[0].value = _caption("observation", quality)
        self.restored.value = jpeg_bytes(np.full((self._height, self._width), 128, np.uint8))
        self.captions[1].value = _caption("restored", "nothing yet")
        self._panes[2].layout.display = "none" if truth is None else ""
        if truth is not None:
            self.truth.value = self._enlarged(images.to_uint8(truth))
            self.captions[2].value = _caption("truth", "")
        self.curves.value = ""

    def paint(self, run, words, resting=False):
        """Show the present image, the curves, and `words` on the progress of the fit."""
        shown, kind = self._shown(run, resting)
        best = []
        if run.problem.truth is not None:
            kind += f", {psnr(shown, run.problem.truth):.2f} dB"
            best = [("best", run.oracle_at, GREEN)]
        drawn = "".join(chart.draw(best) for chart in charts({"": run}))
        image = self._enlarged(images.to_uint8(shown))
        # All values change together, so that the page is drawn once: drawing slows the fit.
        self.restored.value = image
        self.curves.value = f'<div class="dip-charts">{drawn}</div>'
        self.captions[1].value = _caption(f"iteration {run.stopped_at}", kind)
        self.tell(words)

    def _shown(self, run, resting):
        """Return the image to be shown, and its description."""
        if resting and run.diverged:
            return run.output, f"kept from iteration {run.chosen_at}"
        if resting and run.stopped_by_rule:
            return run.output, run.made_of or f"the rule's choice, {run.chosen_at}"
        if run.recipe.mixes and (resting or self.showing.value == "average"):
            return run.output, f"mixture, {run.chosen_at}"
        if self.showing.value == "average":
            return run.average, "average"
        return run.last, "single iterate"

    def _enlarged(self, array):
        """Repeat pixels until the image fills its place, and return the image as JPEG."""
        rows = np.arange(self._height) * array.shape[0] // self._height
        columns = np.arange(self._width) * array.shape[1] // self._width
        return jpeg_bytes(array[rows][:, columns])

    def tell(self, words, colour="inherit"):
        """Write the status line, which screen readers read out."""
        self.status.value = (
            f'<div role="status" style="color: {colour}; font-variant-numeric: tabular-nums">'
            f"{html.escape(words)}</div>"
        )

    def warn(self, words):
        """Write the status line in the colour of warnings."""
        self.tell(words, ORANGE)


def _caption(name, words):
    return f"<b>{html.escape(name)}</b><br>{html.escape(words)}&nbsp;"
