"""Read PNG: check its chunks, and keep 16 bits per channel, for which Pillow has no mode."""

import contextlib
import io
import struct
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

from ...errors import ImageError
from .encoded import Encoded
from .pillow import PillowImage

_LARGEST_PROFILE = 16_000_000  # bytes
_OF_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def opened(data, name):
    """Read the header of a PNG."""
    chunks, pixels = _chunks(data, name)
    header = chunks.get(b"IHDR", b"")
    if len(header) == 13 and header[8] == 16:
        encoded = DeepPng(name, header, b"".join(pixels[b"IDAT"]), chunks.get(b"tRNS"))
    else:  # Pillow gets only the pixels: of other chunks it may warn, or read them as frames
        kept = b"".join([data[:8], *pixels["as stored"]])
        image = PngImagePlugin.PngImageFile(io.BytesIO(kept))
        encoded = PillowImage(name, _with_key(image, header))
    encoded.png, encoded.exif = chunks, chunks.get(b"eXIf") or _exif_in_text(chunks)
    if b"iCCP" in chunks:
        encoded.icc = _inflated(chunks[b"iCCP"].partition(b"\0")[2][1:])
    if len(chunks.get(b"pHYs", b"")) == 9:
        x, y, unit = struct.unpack(">IIB", chunks[b"pHYs"])
        encoded.dpi = (x * 0.0254, y * 0.0254) if unit == 1 else None
    encoded.note_frames(struct.unpack(">I", chunks.get(b"acTL", b"\0\0\0\1")[:4])[0] > 1)
    return encoded


def _chunks(data, name):
    """Return two dicts: the first chunk of each kind, and the chunks that hold the pixels.

    In the second dict, "as stored" lists whole chunks, and b"IDAT" only the bodies of that kind.
    Damaged chunks are left out; if they belong to the pixels, the file is refused.
    """
    chunks, pixels = {}, {b"IDAT": [], "as stored": []}
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        body, checksum = view[at + 8 : end - 4], view[end - 4 : end]
        sound = end <= len(data) and zlib.crc32(view[at + 4 : end - 4]) == int.from_bytes(checksum)
        if kind in _OF_PIXELS:
            pixels["as stored"].append(view[at:end])
            if not sound:
                raise ImageError(f"{name} is damaged or not an image: a wrong checksum")
        if kind == b"IDAT":
            pixels[kind].append(body)
        elif sound:
            chunks.setdefault(kind, bytes(body))
        at = end
        if kind == b"IEND":
            break
    return chunks, pixels


def _with_key(image, header):
    """Scale the transparent grey value as Pillow scales the pixels, which Pillow forgets to do."""
    key, (depth, kind) = image.info.get("transparency"), header[8:10]
    if key is not None and kind == 0:
        most = 2**depth - 1
        image.info["transparency"] = (key & most) * 255 // most
    return image


def _inflated(data):
    """Decompress at most 16 MB of data; return None if they are damaged."""
    try:
        return zlib.decompressobj().decompress(data, _LARGEST_PROFILE)
    except zlib.error:
        return None


def _exif_in_text(chunks):
    """Return EXIF data from text chunks, where ImageMagick put them before PNG had eXIf."""
    key = b"Raw profile type exif\0"
    text, packed = chunks.get(b"tEXt", b""), chunks.get(b"zTXt", b"")
    if packed.startswith(key) and not text.startswith(key):
        text = key + (_inflated(packed[len(key) + 1 :]) or b"")
    if text.startswith(key):
        with contextlib.suppress(ValueError):
            return bytes.fromhex("".join(text[len(key) :].decode("latin-1").split("\n")[3:]))
    return None


class DeepPng(Encoded):
    """A PNG of 16 bits per channel, which Pillow unpacks twice: once to high bytes, once to low.

    For one or two channels, all bytes fit into one Pillow image.
    """

    bits, white = 16, 65535
    modes = {  # PNG colour type -> Pillow's mode, and one or two raw modes
        0: ("I;16", "I;16B"),
        2: ("RGB", "RGB;16B", "RGB;16L"),
        4: ("RGBA", "RGBA"),
        6: ("RGBA", "RGBA;16B", "RGBA;16L"),
    }

    def __init__(self, name, header, data, key):
        width, height, _, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
        super().__init__(name, width, height)
        self.data, self.interlaced = data, interlaced
        self.mode, *self.raw = self.modes[kind]
        self.bands, self.alpha = (3 if kind & 2 else 1), bool(kind & 4)
        self.bytes_per_pixel = 4 * len(self.raw)
        self.key = None  # the colour of transparent pixels
        if key and not self.alpha:
            self.key, self.alpha = np.frombuffer(key, ">u2", self.bands), True

    def load(self):
        """Unpack the pixels."""
        size = self.width, self.height
        self.images = [
            Image.frombytes(self.mode, size, self.data, "zip", (raw, self.interlaced))
            for raw in self.raw
        ]
        self.data = None

    def rows(self, top, bottom):
        """Return rows as 16-bit numbers."""
        box = 0, top, self.width, bottom
        parts = [np.asarray(image.crop(box)) for image in self.images]
        if len(parts) == 2:
            values = parts[0].astype(np.uint16) << 8 | parts[1]
        elif self.mode == "I;16":
            values = parts[0][..., None]
        else:
            values = parts[0].view(">u2").astype(np.uint16)
        if self.key is not None:
            opaque = (values != self.key).any(axis=-1, keepdims=True)
            values = np.concatenate([values, opaque * np.uint16(65535)], axis=-1)
        return values
