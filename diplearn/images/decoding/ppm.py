"""Read PGM and PPM; those with 16 bits per channel without Pillow, which reduces them to 8."""

import io
import re

import numpy as np
from PIL import PpmImagePlugin

from .encoded import Encoded
from .pillow import PillowImage


def opened(data, name):
    """Read the header of a PBM, PGM, PPM or PFM file."""
    gap = rb"(?:\s|#[^\n\r]*[\n\r])+"
    header = re.match(rb"P([2356])" + 3 * (gap + rb"(\d{1,9})") + rb"\s", data)
    deep = header is not None and 255 < int(header[4]) < 65536
    if deep and header[1] in b"56":
        return DeepPpm(name, header, data)
    encoded = PillowImage(name, PpmImagePlugin.PpmImageFile(io.BytesIO(data)))
    if deep and header[1] == b"3":
        encoded.remarks.append("is plain text with more than 8 bits per channel; 8 are read")
    return encoded


class DeepPpm(Encoded):
    """A PGM or PPM file with 16 bits per channel."""

    bits = 16

    def __init__(self, name, header, data):
        kind, width, height, white = (int(group) for group in header.groups())
        super().__init__(name, width, height)
        self.white, self.bands = white, 3 if kind == 6 else 1
        self.bytes_per_pixel = 2 * self.bands
        self.data, self.start = data, header.end()

    def load(self):
        """View the bytes as numbers."""
        count = self.width * self.height * self.bands
        values = np.frombuffer(self.data, ">u2", count, self.start)
        self.data = None
        self.values = values.reshape(self.height, self.width, self.bands)

    def rows(self, top, bottom):
        """Return rows as 16-bit numbers."""
        return self.values[top:bottom].astype(np.uint16)
