"""An image on which a hole is painted, in a notebook or on a page."""

import base64
import io
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets
from PIL import Image

from ..errors import ImageError
from ..images import encode


class Mark(anywidget.AnyWidget):
    """An image on which a hole is painted with mouse, pen, finger or keyboard.

    `image` and `hole` are data URLs. `hole` is "" if nothing is painted; otherwise it is
    transparent except in the hole. `brush` is the width of the brush in pixels of the image.
    """

    _esm = Path(__file__).with_name("mark.js")
    image = traitlets.Unicode("").tag(sync=True)
    hole = traitlets.Unicode("").tag(sync=True)
    brush = traitlets.Int(12).tag(sync=True)

    def show(self, image):
        """Show another image, a tensor, and remove the painted hole."""
        self.hole = ""
        self.image = png_url(image)

    def known(self, height, width):
        """Return a mask (1, H, W): 1 where the image is known, and 0 in the painted hole."""
        if not self.hole:
            return torch.ones(1, height, width)
        opacity = _opacity(self.hole, height, width)
        return torch.from_numpy((opacity < 128).astype(np.float32))[None]


def png_url(image, about=None):
    """Return an image as a PNG in a data URL."""
    return "data:image/png;base64," + base64.b64encode(encode(image, "PNG", about)).decode()


def _opacity(url, height, width):
    """Return the opacity of a PNG of this size, given its data URL, or raise ImageError."""
    try:
        data = url.partition(",")[2]
        image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=["PNG"])
        if image.size != (width, height):
            raise ValueError("it has {}x{} pixels".format(*image.size))
        return np.asarray(image.convert("RGBA"))[..., 3]
    except Exception as error:  # a decoder may fail in any way on damaged bytes
        raise ImageError(
            f"the painted hole is not a PNG of {width}x{height} pixels ({error}); press Clear and "
            "paint it again"
        ) from error
