"""Images of Pillow's: their pixels, upright, in a mode that has a plain meaning."""

import numpy as np
from PIL import Image, ImageOps

from ...errors import ImageError
from .encoded import Encoded

_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # of a pixel


def plain_mode(image):
    """Name the mode that holds the same image as grey, RGB, CMYK or numbers, perhaps with alpha."""
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
        """Let a JPEG be decoded at an eighth, a quarter or half of its sides."""
        self.image.draft(None, (self.width // scale, self.height // scale))
        self.width, self.height = self.image.size

    def load(self):
        """Decode all pixels."""
        with self.image.fp:  # Pillow would keep the file's bytes for further frames
            load(self.image)

    def rows(self, top, bottom):
        """Return rows in the plain mode."""
        strip = self.image.crop((0, top, self.width, bottom))
        if strip.mode != self.mode:
            strip = strip.convert(self.mode)
        values = np.asarray(strip)
        return values.reshape(*values.shape[:2], -1)


def load(image):
    """Decode an image of Pillow's; of a TIFF without Pillow's limit, which would count bytes."""
    if image.format == "TIFF":
        image.im = Image.new(image.mode, image.size).im
        image.load()
        image.fp = None
    image.load()
    return image


# Images that a user has opened with Pillow.


def upright(image):
    """Decode an image, and turn it as its EXIF data say."""
    try:
        image.load()
    except Exception as error:  # closed, or of a file that is damaged or gone
        raise ImageError(f"the pixels of a Pillow image cannot be had: {error}") from None
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data count as none
        return image


def pixels(image):
    """Return the grey or RGB pixels of an upright image, or its numbers; refuse transparency."""
    if transparency(image) is not None:
        raise ImageError(
            "the image is transparent in places: lay it over a colour first, or drop its alpha "
            "channel with image.convert('RGB')"
        )
    # Of CMYK, Pillow's 8-bit conversion: what `image.convert("RGB")` shows a user.
    return np.asarray(_converted(image, plain_mode(image).removesuffix("A").replace("CMYK", "RGB")))


def transparency(image):
    """Return the alpha channel of an image; None where all of the image is opaque."""
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
