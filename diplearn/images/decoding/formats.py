"""Read the header of an image file of any format."""

import io
import re
import struct

from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, WebPImagePlugin

from ...errors import ImageError
from . import colour, exif, limits, png, ppm, tiff
from .pillow import PillowImage

_MOST_SCANS = 100  # a progressive JPEG of a few kB could ask for thousands, each over all pixels


def parse(file, colours=True):
    """Read the header of an opened file; if `colours` is false, ignore its colour space."""
    name, kind, data = file
    with limits.failures_as_image_errors(name):
        limits.check_area(name, *_claimed(kind, data))
        encoded = _OPENERS[kind](data, name)
        encoded.held += len(data)
        adobe_rgb = exif.apply(encoded, data)
        if colours:
            _find_colours(encoded, adobe_rgb)
    return encoded


def _claimed(kind, data):
    """Return the width and height in a GIF or WebP header, whose decoders allocate on opening."""
    if kind == "GIF":
        return struct.unpack_from("<HH", data, 6)
    if kind == "WEBP" and data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == "WEBP" and data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == "WEBP":
        return tuple(side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return 0, 0


def _find_colours(encoded, adobe_rgb):
    encoded.space, remark = colour.conversion(encoded.bands, encoded.icc, encoded.png, adobe_rgb)
    if remark:
        encoded.remarks.append(remark)
    elif encoded.bands == 4 and encoded.space is None:
        encoded.remarks.append("is CMYK without a colour profile, so its colours are approximate")
    if encoded.space and encoded.space.bits < encoded.bits:
        encoded.remarks.append("has a colour profile that is applied with 8 bits per channel")
        encoded.bits = 8


def _jpeg(data, name):
    if data.count(b"\xff\xda") > _MOST_SCANS:
        raise ImageError(f"{name} is refused, since it is a JPEG of more than {_MOST_SCANS} scans")
    # Hide the EXIF data, which are read here, from Pillow, which warns if they are damaged.
    marker = re.compile(rb"(\xff\xe1..)Exif\0\0", re.DOTALL)
    encoded = PillowImage(
        name, JpegImagePlugin.JpegImageFile(io.BytesIO(marker.sub(rb"\1Exif--", data)))
    )
    if found := marker.search(data):
        length = struct.unpack(">H", found[1][2:])[0]
        encoded.exif = data[found.start() + 4 : found.start() + 2 + length]
    encoded.drafts, info = True, encoded.image.info
    if info.get("progressive"):
        # The decoder stores the coefficients of the whole image, two bytes each.
        encoded.bytes_per_pixel += 2 * len(encoded.image.getbands())
    frames = exif.parsed(info.get("mp"))
    encoded.note_frames(frames and (frames.first(0xB001) or 1) > 1)
    return encoded


def _webp(data, name):
    encoded = PillowImage(name, WebPImagePlugin.WebPImageFile(io.BytesIO(data)))
    encoded.bytes_per_pixel = 16  # the decoder's two canvases and its result, Pillow's image
    return encoded


def _plain(plugin):
    return lambda data, name: PillowImage(name, plugin(io.BytesIO(data)))


_OPENERS = {
    "PNG": png.opened,
    "JPEG": _jpeg,
    "TIFF": tiff.opened,
    "BMP": _plain(BmpImagePlugin.BmpImageFile),
    "GIF": _plain(GifImagePlugin.GifImageFile),
    "WEBP": _webp,
    "PPM": ppm.opened,
}
