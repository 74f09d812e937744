"""The playground: upload an image, say what is wrong with it, restore it, download the result."""

import html

import ipywidgets as w

from .. import images, operators, problems
from ..errors import InputError
from ..problems import Problem
from .chart import ORANGE
from .controls import WIDE
from .live import Box, Panel
from .mark import Mark, png_url
from .upload import LARGEST, Upload

NOISY, NOISE, HOLE, SMALL = "it is noisy", "add noise to it", "it has a hole", "it is too small"
UPLOADED = "your upload"


class Playground(Box):
    """The page that `playground` returns."""

    def __init__(self, size=192):
        self._image = self._upload = self._about = None
        self.upload = Upload(accept="image/*", description="Upload yours")
        self.bundled = w.Dropdown(options=images.names(), value="chelsea", description="or take")
        self.longest = w.Dropdown(
            options=[96, 128, 192, 256, 384], value=size, description="longest side", style=WIDE
        )
        self.task = w.ToggleButtons(options=[NOISY, NOISE, HOLE, SMALL], value=NOISE)
        self.noise = w.IntSlider(25, 5, 75, 5, description="noise σ / 255", style=WIDE)
        self.mark = Mark()
        self.brush = w.IntSlider(12, 2, 60, description="brush")
        self.clear = w.Button(description="Clear", tooltip="take the paint off the image")
        self.told = w.HTML(layout=w.Layout(min_height="22px"))
        self.download = w.HTML(layout=w.Layout(min_height="30px"))
        self.painting = w.VBox([self.mark, w.HBox([self.brush, self.clear])])
        self.panel = Panel(self._problem, "best", size=size)
        self.panel.controls.alone.value = True
        self.panel.views.showing.value = "average"
        for hidden in (self.panel.controls, self.panel.step):
            hidden.layout.display = "none"
        row = w.HBox([self.bundled, self.longest], layout=w.Layout(flex_flow="row wrap"))
        super().__init__(
            [
                _heading(1, "Your image"), w.HTML(_WHAT_IS_TAKEN), self.upload, row, self.told,
                _heading(2, "What is wrong with it?"), self.task, self.noise, self.painting,
                _heading(3, "Restore it"), self.panel,
                _heading(4, "Take it home"), self.download,
            ]
        )  # fmt: skip
        self._connect()
        self._take()

    def _connect(self):
        w.jslink((self.brush, "value"), (self.mark, "brush"))
        self.clear.on_click(lambda _: setattr(self.mark, "hole", ""))
        self.upload.observe(self._take_upload, "value")
        for control in (self.bundled, self.longest):
            control.observe(self._take, "value")
        for control in (self.task, self.noise):
            control.observe(self._renew, "value")
        self.mark.observe(self._renew, "hole")
        self.panel.on_rest(self._offer)

    def _take_upload(self, change):
        """Take an uploaded image; if the file cannot be read, keep the previous image."""
        if not change["new"]:
            return  # an upload has begun
        data = bytes(change["new"][-1]["content"])
        self.told.value = "Reading the image …"
        if self._work_on(data):
            self._upload = data
            self.bundled.unobserve(self._take, "value")
            self.bundled.options = (UPLOADED, *images.names())
            self.bundled.value = UPLOADED
            self.bundled.observe(self._take, "value")

    def _take(self, change=None):
        """Take the chosen image in the chosen size."""
        chosen = self.bundled.value
        self._work_on(self._upload if chosen == UPLOADED else chosen)

    def _work_on(self, source):
        """Show an uploaded file (bytes) or a bundled image (name); return False if that fails."""
        longest = self.longest.value
        try:
            if isinstance(source, bytes):
                file = images.opened(source, "the uploaded file")
                image, about = images.read(file, longest=longest), images.about(file)
            else:
                image, about = images.shrink(images.load(source), longest), None
        except InputError as error:
            words = html.escape(f"{error}. The image below is still the previous one.")
            style = f"color: {ORANGE}; line-height: 1.4"
            self.told.value = f'<div role="alert" style="{style}">{words}</div>'
            return False
        self._image, self._about = image, about
        height, width = image.shape[-2:]
        self.upload.note = ""
        self.told.value = f"The image is fitted at {width}×{height} pixels."
        self.mark.show(image)
        self._renew()
        return True

    def _renew(self, change=None):
        """Show the controls and the problem of the chosen task."""
        self.noise.layout.display = "" if self.task.value == NOISE else "none"
        self.painting.layout.display = "" if self.task.value == HOLE else "none"
        self.download.value = "The restored image can be downloaded here once the fit rests."
        self.panel.renew()

    def _problem(self):
        image = self._image
        if image is None:
            raise InputError("there is no image yet")
        if self.task.value == NOISY:
            return Problem(image)
        if self.task.value == NOISE:
            return problems.denoising(image, self.noise.value / 255)
        if self.task.value == SMALL:
            small = images.shrink(image, self.longest.value // 2)  # restored at 4 times this size
            return Problem(small, operators.Downsample(4))
        known = self.mark.known(*image.shape[-2:])
        if known.min() > 0:
            raise InputError("Paint the hole first: drag over the image above.")
        return Problem(image, operators.Mask(known), sigma=0.0)

    def _offer(self, run):
        """Put a link to the restored image below the panel."""
        source = png_url(run.output, self._about)
        self.download.value = (
            f'<a download="restored.png" href="{source}"><b>Download the restored image</b></a> '
            f"(PNG, {run.made_of or f'iteration {run.chosen_at}'})"
        )


_WHAT_IS_TAKEN = (
    '<div style="line-height: 1.4">Upload a PNG, JPEG, TIFF, BMP, GIF, WebP or PPM file of at most '
    f"{LARGEST // 10**6} MB, or take one of the bundled images.</div>"
)


def _heading(number, words):
    return w.HTML(f"<h3>{number} · {words}</h3>")


def playground(size=192):
    """Restore an image of your own: upload it, say what is wrong with it, fit, download the result.

    Parameters
    ----------
    size : int, optional
        First choice of the fitted image's longest side in pixels: 96, 128, 192, 256 or 384.

    Returns
    -------
    Playground
        Show it at the end of a cell. The image stays on the machine on which the kernel runs.

    Examples
    --------
    >>> page = playground(size=96)
    >>> page.panel.controls.iterations.value
    500
    """
    return Playground(size)
