"""An image file between its header and its pixels."""


class Encoded:
    """An image file whose header is known and whose pixels are not decoded yet.

    A subclass decodes them: `load` is called once; then `rows(top, bottom)` returns rows as they
    are stored, (h, W, bands and alpha), in which `white` stands for 1; `release` frees them.
    """

    bands = 1  # channels without alpha: 1 is grey, 3 RGB, 4 CMYK
    alpha = False  # whether another channel, the last one, is alpha
    white = 255
    bits = 8  # per channel, 8 or 16
    negative = False  # whether 0 stands for white
    premultiplied = False  # whether the colours are multiplied by alpha
    orientation = 1  # of EXIF, 1 to 8
    icc = exif = dpi = None
    png = None  # the chunks of a PNG
    space = None  # what converts the colours to sRGB, None where they are sRGB
    transparent = False  # somewhere; known after decoding
    drafts = False  # whether `draft` can decode it at a fraction of its sides
    bytes_per_pixel = 4  # that decoding takes
    held = 0  # bytes that are held until the pixels are decoded, such as the file's own

    def __init__(self, name, width, height):
        self.name, self.width, self.height, self.remarks = name, width, height, []

    @property
    def size(self):
        """Width and height as a viewer shows the image."""
        stored = self.width, self.height
        return stored[::-1] if self.orientation > 4 else stored

    def note_frames(self, several):
        """Remark that the file holds more than one frame, if it does."""
        if several:
            self.remarks.append("holds more than one frame; the first is taken")

    def release(self):
        """Free the pixels, which have been copied."""
        self.image = self.images = self.values = None


class AlphaOnly(Encoded):
    """The alpha channel of another file, as a grey image."""

    def __init__(self, encoded):
        super().__init__(encoded.name, encoded.width, encoded.height)
        self.encoded, self.load, self.release = encoded, encoded.load, encoded.release
        for name in ("remarks", "orientation", "white", "bytes_per_pixel", "held"):
            setattr(self, name, getattr(encoded, name))

    def rows(self, top, bottom):
        """Return rows of the alpha channel."""
        return self.encoded.rows(top, bottom)[..., self.encoded.bands :]
