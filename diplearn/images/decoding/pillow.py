"""Pixels of Pillow images, upright and converted to grey, RGB, CMYK or numbers."""

import numpy as np
from PIL import Image, ImageOps

from ...errors import ImageError
from .encoded import Encoded

_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # per pixel


def plain_mode(image):
    """Return the mode of the same image as grey, RGB, CMYK or numbers, perhaps with alpha."""
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return mode
    if "A" in image.getbands() or "transparency" in image.info:
        return "LA" if mode in ("1", "L", "LA") else "RGBA"
    if mode in ("1", "L"):
        return "L"
    return mode if mode == "CMYK" else "RGB"


class PillowImage(Encoded):
    """A file that Pillow decodes without loss."""

    def __init__(self, name, image):
        super().__init__(name, *image.size)
        self.image, self.mode = image, plain_mode(image)
        self.alpha = self.mode.endswith("A")
        self.bands = Image.getmodebands(self.mode) - self.alpha
        self.bytes_per_pixel = _BYTES.get(image.mode, 4)
        if self.mode.startswith("I"):
            self.bits, self.white = 16, 65535
        elif self.mode == "F":
            self.bits, self.white = 16, 1
        self.icc, self.exif, self.dpi = map(image.info.get, ("icc_profile", "exif", "dpi"))
        self.note_frames(getattr(image, "is_animated", False))

    def draft(self, scale):
        """Decode a JPEG at 1/scale of its sides, where scale is 2, 4 or 8."""
        self.image.draft(None, (self.width // scale, self.height // scale))
        self.width, self.height = self.image.size

    def load(self):
        """Decode all pixels."""
        with self.image.fp:  # else Pillow would keep the file's bytes for further frames
            load(self.image)

    def rows(self, top, bottom):
        """Return rows in the mode that `plain_mode` chose."""
        strip = self.image.crop((0, top, self.width, bottom))
        if strip.mode != self.mode:
            strip = strip.convert(self.mode)
        values = np.asarray(strip)
        return values.reshape(*values.shape[:2], -1)


def load(image):
    """Decode a Pillow image; bypass its size limit for a TIFF, which here counts bytes."""
    if image.format == "TIFF":
        image.im = Image.new(image.mode, image.size).im
        image.load()
        image.fp = None
    image.load()
    return image


# Images that the user has opened with Pillow.


def upright(image):
    """Decode an image and rotate it as its EXIF data prescribe."""
    try:
        image.load()
    except Exception as error:  # it was closed, or its file is damaged or gone
        raise ImageError(f"the pixels of a Pillow image cannot be read: {error}") from None
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # ignore damaged EXIF data
        return image


def pixels(image):
    """Return the grey or RGB pixels of an opaque upright image, or its numbers."""
    if transparency(image) is not None:
        raise ImageError(
            "the image is transparent in places: blend it with a background first, or drop its "
            "alpha channel with image.convert('RGB')"
        )
    # CMYK is converted by Pillow with 8 bits, like `image.convert("RGB")` for the user.
    return np.asarray(_converted(image, plain_mode(image).removesuffix("A").replace("CMYK", "RGB")))


def transparency(image):
    """Return the alpha channel of an image, or None if the whole image is opaque."""
    if image.mode not in ("LA", "PA", "RGBA", "La", "RGBa") and "transparency" not in image.info:
        return None
    straight = _converted(image, "LA") if image.mode == "La" else image
    alpha = _converted(straight, "RGBA").getchannel("A")
    return alpha if alpha.getextrema()[0] < 255 else None


def _converted(image, mode):
    try:
        return image if image.mode == mode else image.convert(mode)
    except Exception as error:
        raise ImageError(f"an image of mode {image.mode} cannot be converted: {error}") from None
