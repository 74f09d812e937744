"""The playground: an image of one's own, spoilt or not, restored and downloaded."""

import base64
import html
import io
from importlib import resources

import anywidget
import ipywidgets as w
import numpy as np
import torch
import traitlets
from PIL import Image

from .. import images, operators, problems
from ..errors import ImageError, InputError
from ..figures import ORANGE
from ..images import encode
from ..problems import Problem
from .live import _WIDE, Box, Panel
from .upload import LARGEST, Upload

NOISY, NOISE, HOLE, SMALL = "it is noisy", "add noise to it", "it has a hole", "it is too small"
UPLOADED = "your upload"


class Mark(anywidget.AnyWidget):
    """An image on which a hole is painted with the mouse.

    Attributes
    ----------
    image, hole : str
        Data URLs: what is shown; what was painted, transparent elsewhere ("" for nothing).
    brush : int
        Width of the brush in pixels of the image.
    """

    _esm = (resources.files(__package__) / "mark.js").read_text("utf-8")
    image = traitlets.Unicode("").tag(sync=True)
    hole = traitlets.Unicode("").tag(sync=True)
    brush = traitlets.Int(12).tag(sync=True)

    def show(self, image):
        """Take another image, a tensor, with nothing painted on it."""
        self.hole = ""
        self.image = _address(image)

    def known(self, height, width):
        """Return the pixels that were not painted.

        Parameters
        ----------
        height, width : int
            Of the image.

        Returns
        -------
        torch.Tensor
            (1, H, W), 1 where the image is known and 0 in the hole.

        Raises
        ------
        ImageError
            What was painted is no PNG of that size.
        """
        if not self.hole:
            return torch.ones(1, height, width)
        alpha = _alpha(self.hole, height, width)
        return torch.from_numpy((alpha < 128).astype(np.float32))[None]


def _address(image, about=None):
    """Return an image as a PNG in a data URL."""
    return "data:image/png;base64," + base64.b64encode(encode(image, "PNG", about)).decode()


def _alpha(address, height, width):
    """Return the opacity of a PNG of this size, from its data URL; refuse all else."""
    kind, _, data = address.partition(",")
    try:
        if kind != "data:image/png;base64":
            raise ValueError(f"it is called {kind[:40]!r}")
        image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=["PNG"])
        if image.size != (width, height):
            raise ValueError("it has {}x{} pixels".format(*image.size))
        return np.asarray(image.convert("RGBA"))[..., 3]
    except Exception as error:  # a decoder may fail in any way on damaged bytes
        raise ImageError(
            f"the painted hole is not a PNG of {width}x{height} pixels ({error}); press Clear and "
            "paint it again"
        ) from error


class Playground(Box):
    """A page to play on: see `playground`."""

    def __init__(self, size=192):
        self._image = self._upload = self._about = None
        self.upload = Upload(accept="image/*", description="Upload yours")
        self.bundled = w.Dropdown(options=images.names(), value="chelsea", description="or take")
        self.longest = w.Dropdown(
            options=[96, 128, 192, 256, 384], value=size, description="longest side",
            style=_WIDE,
        )  # fmt: skip
        self.task = w.ToggleButtons(options=[NOISY, NOISE, HOLE, SMALL], value=NOISE)
        self.noise = w.IntSlider(25, 5, 75, 5, description="noise σ / 255", style=_WIDE)
        self.mark = Mark()
        self.brush = w.IntSlider(12, 2, 60, description="brush")
        self.clear = w.Button(description="Clear", tooltip="take the paint off the image")
        self.told = w.HTML(layout=w.Layout(min_height="22px"))
        self.download = w.HTML(layout=w.Layout(min_height="30px"))
        self.painting = w.VBox([self.mark, w.HBox([self.brush, self.clear])])
        self.panel = Panel(self._problem, size=size)
        self.panel.alone.value = True
        self.panel.showing.value = "average"
        for hidden in (self.panel.controls, self.panel.step):
            hidden.layout.display = "none"
        super().__init__(
            [
                _heading(1, "Your image"), w.HTML(_WHAT_IS_TAKEN),
                self.upload, w.HBox([self.bundled, self.longest], layout=_ROW), self.told,
                _heading(2, "What is wrong with it?"), self.task, self.noise, self.painting,
                _heading(3, "Restore it"), self.panel,
                _heading(4, "Take it home"), self.download,
            ]
        )  # fmt: skip
        w.jslink((self.brush, "value"), (self.mark, "brush"))
        self.clear.on_click(lambda _: setattr(self.mark, "hole", ""))
        self.upload.observe(self._take_upload, "value")
        for control in (self.bundled, self.longest):
            control.observe(self._take, "value")
        for control in (self.task, self.noise):
            control.observe(self._renew, "value")
        self.mark.observe(self._renew, "hole")
        self.panel.on_rest(self._offer)
        self._take()

    def _take_upload(self, change):
        """Take an uploaded image; one that cannot be read leaves everything as it was."""
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
        """Take what is chosen, in the size that is chosen."""
        chosen = self.bundled.value
        self._work_on(self._upload if chosen == UPLOADED else chosen)

    def _work_on(self, source):
        """Show an uploaded file's bytes, or a bundled image's name; False if that fails."""
        longest = self.longest.value
        try:
            if isinstance(source, bytes):
                file = io.BytesIO(source)
                file.name = "the uploaded file"  # for what is said of it
                image, about = images.read(file, longest=longest), images.about(source)
            else:
                image, about = images.shrink(images.load(source), longest), None
        except InputError as error:
            self._refuse(error)
            return False
        self._image, self._about = image, about
        height, width = image.shape[-2:]
        self.upload.note, self.told.value = "", f"{width}×{height} pixels are worked on."
        self.mark.show(self._image)
        self._renew()
        return True

    def _refuse(self, error):
        words = html.escape(f"{error}. The image below is still the one before.")
        style = f"color: {ORANGE}; line-height: 1.4"
        self.told.value = f'<div role="alert" style="{style}">{words}</div>'

    def _renew(self, change=None):
        self.noise.layout.display = "" if self.task.value == NOISE else "none"
        self.painting.layout.display = "" if self.task.value == HOLE else "none"
        self.download.value = "It can be downloaded here when it is restored."
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
            small = images.shrink(image, self.longest.value // 2)  # it grows by 4
            return Problem(small, operators.Downsample(4))
        known = self.mark.known(*image.shape[-2:])
        if known.min() > 0:
            raise InputError("Paint the hole first: drag over the image above.")
        return Problem(image, operators.Mask(known), sigma=0.0)

    def _offer(self, run):
        """Put a link below the image once the fit rests."""
        source = _address(run.output, self._about)
        self.download.value = (
            f'<a download="restored.png" href="{source}"><b>Download the restored image</b></a> '
            f"(PNG, iteration {run.chosen_at})"
        )


_ROW = w.Layout(flex_flow="row wrap")
_WHAT_IS_TAKEN = (
    '<div style="line-height: 1.4">Upload a PNG, JPEG, TIFF, BMP, GIF, WebP or PPM file of at most '
    f"{LARGEST // 10**6} MB, or take one of the bundled images.</div>"
)


def _heading(number, words):
    return w.HTML(f"<h3>{number} · {words}</h3>")


def playground(size=192):
    """Restore an image of your own: upload it, say what is wrong, fit, download.

    Parameters
    ----------
    size : int, optional
        The longest side that is worked on at first, in pixels: one of 96, 128, 192, 256, 384.

    Returns
    -------
    Playground
        Show it at the end of a cell. Nothing leaves the machine on which the kernel runs.

    Examples
    --------
    >>> page = playground(size=96)
    >>> page.panel.iterations.value
    500
    """
    return Playground(size)
