"""Image files whose header has been read and whose pixels have not."""


class Encoded:
    """An image file whose pixels are not decoded yet; each subclass is one decoder.

    `load` is called once. Then `rows(top, bottom)` returns stored rows, (h, W, bands + alpha), in
    which the value `white` means 1, and `release` frees them.
    """

    bands = 1  # channels without alpha: 1 is grey, 3 RGB, 4 CMYK
    alpha = False  # True if a last channel is alpha
    white = 255
    bits = 8  # per channel, 8 or 16
    negative = False  # True if the value 0 means white
    premultiplied = False  # True if the colours are multiplied by alpha
    orientation = 1  # EXIF's code, 1 to 8
    icc = exif = dpi = None
    png = None  # the chunks of a PNG
    space = None  # function that converts the colours to sRGB; None if they are sRGB
    transparent = False  # True if some pixel is; known after decoding
    drafts = False  # True if `draft` can decode it at a fraction of its size
    bytes_per_pixel = 4  # memory that decoding takes
    held = 0  # bytes in memory until the pixels are decoded, such as the file's content

    def __init__(self, name, width, height):
        self.name, self.width, self.height, self.remarks = name, width, height, []

    @property
    def size(self):
        """Return the width and height of the upright image."""
        stored = self.width, self.height
        return stored[::-1] if self.orientation > 4 else stored

    def note_frames(self, several):
        """Add a remark if the file has more than one frame."""
        if several:
            self.remarks.append("has more than one frame; only the first is read")

    def release(self):
        """Free the decoded pixels once they have been copied."""
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
