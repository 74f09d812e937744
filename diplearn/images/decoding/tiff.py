"""Read TIFF with samples of any depth, of which Pillow keeps 8 bits, sometimes wrongly.

Each file gets a new directory before Pillow and libtiff read it. If its samples are plain numbers,
this directory declares each plane a grey image of bytes: libtiff decompresses the bytes, and the
numbers are assembled here. JPEG, fax and palettes are decoded by Pillow and libtiff alone.
"""

import io
import math
import struct

import numpy as np
from PIL import TiffImagePlugin

from ...errors import ImageError
from . import exif, pillow
from .encoded import Encoded
from .exif import Entry, Tag

_MOST_SEGMENTS = 100_000

_STRIPS = Tag.StripOffsets, Tag.StripByteCounts
_TILES = Tag.TileOffsets, Tag.TileByteCounts
_UNCOMPRESSED, _LZW, _OLD_JPEG, _PACKBITS, _DEFLATE = 1, 5, 6, 32773, (8, 32946)
# Lossless compressions of bytes; the last two are LZMA and Zstandard.
_BYTEWISE = {_UNCOMPRESSED, _LZW, _PACKBITS, *_DEFLATE, 34925, 50000}
_MOST_RATIO = {_LZW: 4000, _PACKBITS: 64, **dict.fromkeys(_DEFLATE, 1032)}  # upper bounds
_WHITE_IS_ZERO, _YCBCR, _LAB = 0, 6, 8
_KINDS = {0: ("grey", 1), 1: ("grey", 1), 2: ("RGB", 3), 5: ("CMYK", 4)}
_NOT_IMAGES = {4: "a mask", 9: "ICC Lab", 10: "ITU Lab", 32803: "a camera's raw data"}
_NOT_IMAGES |= {34892: "a camera's raw data", 32844: "logarithmic", 32845: "logarithmic"}
_UNSIGNED, _SIGNED, _FLOATING, _UNDEFINED = 1, 2, 3, 4  # formats of samples


def opened(data, name):
    """Read the header of a TIFF."""
    tiff = Tiff(data, name)
    origin = exif.of_tiff(tiff.tags)  # now, since Pillow gets the data
    encoded = Samples(tiff) if tiff.numeric else pillow.PillowImage(name, tiff.image())
    if tiff.photometric != _LAB and (profile := tiff.tags.entries.get(Tag.InterColorProfile)):
        encoded.icc = profile.raw
    else:
        encoded.icc = None  # Pillow converts Lab to sRGB
    encoded.dpi, encoded.exif = tiff.tags.dpi(), origin
    encoded.orientation = tiff.tags.first(Tag.Orientation, 1)
    if tiff.compression != _UNCOMPRESSED:  # libtiff unpacks one strip or tile, which may be all
        samples = tiff.samples if tiff.planes == 1 else 1
        encoded.held = math.prod(tiff.tile) * samples * tiff.bits // 8
    if tiff.ignored:
        encoded.remarks.append(f"has {tiff.samples} channels; only the {tiff.kind} ones are read")
    encoded.note_frames(0 < tiff.tags.next < tiff.size)
    return encoded


class Tiff:
    """The header of the first image of a TIFF file; unreadable kinds are refused."""

    def __init__(self, data, name):
        self.data, self.size, self.name, self.stream = data, len(data), name, None
        self.tags = tags = exif.Directory(data)
        if tags.lost & {*exif.STORAGE, Tag.InterColorProfile}:  # a default would change the image
            raise self._damaged("its end is missing")
        self.width, self.height = tags.first(Tag.ImageWidth, 0), tags.first(Tag.ImageLength, 0)
        self.photometric = tags.first(Tag.PhotometricInterpretation, 0)
        self.compression = tags.first(Tag.Compression, _UNCOMPRESSED)
        self.planes = tags.first(Tag.PlanarConfiguration, 1)  # 2: a plane per channel
        if min(self.width, self.height) < 1 or self.planes not in (1, 2):
            raise self.refused("has an invalid description of its pixels")
        if tags.first(Tag.NewSubfileType, 0) & 1 and tags[Tag.SubIFDs]:
            raise self.refused("starts with a thumbnail, like a camera's raw file; develop it")
        if self.photometric in _NOT_IMAGES:
            raise self.refused(f"is {_NOT_IMAGES[self.photometric]}, neither grey nor RGB")
        self._find_samples()
        self._find_segments()

    def refused(self, why):
        """Return an ImageError with the reason and the remedy."""
        return ImageError(
            f"{self.name} {why} and cannot be read; save it as RGB or grey with 8 or 16 bits"
        )

    def _damaged(self, how):
        return ImageError(f"{self.name} is damaged or not an image: {how}")

    def _find_samples(self):
        """Find the number, depth and format of the samples of a pixel, and which one is alpha."""
        bits, formats = self.tags[Tag.BitsPerSample] or [1], self.tags[Tag.SampleFormat] or [1]
        self.samples = self.tags.first(Tag.SamplesPerPixel, 1)
        self.bits, self.format = bits[0], formats[0]
        if len(set(bits)) > 1 or len(set(formats)) > 1:
            raise self.refused(f"has channels of different depths ({bits})")
        self.kind, self.bands = _KINDS.get(self.photometric, ("other", 0))
        self.alpha = self.premultiplied = self.numeric = False
        self.ignored = 0
        if self.kind == "other":
            self._check_other()
        else:
            # Pillow decodes a single channel of one to four bits, as in fax and scans.
            deep = self.bits > 4 or self.samples > 1
            self.numeric = deep and self.compression in _BYTEWISE
            self._find_alpha()
            self._check_numbers()

    def _check_other(self):
        if self.bits > 8:
            raise self.refused(f"has {self.bits} bits per channel and is neither RGB nor grey")
        square = (self.tags[Tag.YCbCrSubSampling] or [2, 2]) == [1, 1]
        if self.photometric == _YCBCR and self.compression == _UNCOMPRESSED and not square:
            raise self.refused("is uncompressed YCbCr with subsampled colours")

    def _find_alpha(self):
        spare = self.samples - self.bands
        if spare < 0:
            raise self.refused(f"has {self.samples} channels, too few for {self.kind},")
        extra = self.tags[Tag.ExtraSamples][:spare]
        self.premultiplied = extra[:1] == [1]
        # Older programs write RGB and alpha without the tag.
        untold = spare == 1 and not extra and self.kind == "RGB"
        self.alpha = self.premultiplied or extra[:1] == [2] or untold
        self.ignored = spare - self.alpha
        if spare and not self.alpha and self.kind == "grey":
            raise self.refused(f"has {self.samples} channels that are not RGB")

    def _check_numbers(self):
        bits, one = self.bits, self.samples == 1
        if not self.numeric:
            if bits > 8:
                raise self.refused(f"has {bits} bits per channel in compression {self.compression}")
            return
        readable, what = {
            _UNSIGNED: (bits <= 16 or (bits == 32 and one), "integers"),
            _SIGNED: (bits in (8, 16) or (bits == 32 and one), "signed integers"),
            _FLOATING: (bits in (16, 32, 64) and one, "floating values"),
            _UNDEFINED: (bits <= 16, "values of an undefined format"),
        }.get(self.format, (False, "complex values"))
        if not readable:
            channels = "1 channel" if one else f"{self.samples} channels"
            raise self.refused(f"has {channels} of {bits}-bit {what}")

    def _find_segments(self):
        """Find the size and number of strips or tiles of a plane; refuse absurd ones."""
        tags = self.tags
        self.tiled = bool(tags[Tag.TileOffsets])
        if self.tiled:
            self.tile = tags.first(Tag.TileWidth, 0), tags.first(Tag.TileLength, 0)
        else:
            self.tile = self.width, min(tags.first(Tag.RowsPerStrip, self.height), self.height)
        if min(self.tile) < 1 or math.prod(self.tile) > 4 * self.width * self.height + 2**20:
            raise self.refused("is cut into strips or tiles of an invalid size")
        across, down = -(-self.width // self.tile[0]), -(-self.height // self.tile[1])
        self.segments = across * down
        if self.segments > _MOST_SEGMENTS:
            raise self.refused(f"is cut into {self.segments} strips or tiles")
        if self.compression != _OLD_JPEG:  # old JPEG may locate its pixels by other tags
            self._check_segments(down)

    def _check_segments(self, down):
        """Refuse strips or tiles that lie outside the file or are too short for their pixels."""
        offsets, counts = (self.tags[tag] for tag in (_TILES if self.tiled else _STRIPS))
        planes = self.samples if self.planes == 2 else 1
        if len(offsets) < self.segments * planes:
            raise self._damaged("pieces of it are missing")
        row = self.bytes_of(self.tile[0])
        sizes = [row * self.tile[1]] * self.segments
        if not self.tiled:
            sizes[-1] = row * (self.height - (down - 1) * self.tile[1])
        sizes *= planes
        if self.compression == _UNCOMPRESSED:  # the byte counts are not used and may be wrong
            counts, offsets = sizes, offsets[: len(sizes)]
        elif sum(counts) > self.size:
            raise self._damaged("pieces of it overlap")
        if len(offsets) != len(counts) or any(
            not 8 <= start <= self.size - count for start, count in zip(offsets, counts)
        ):
            raise self._damaged("pieces of it are missing")
        most = _MOST_RATIO.get(self.compression, math.inf)
        if any(size > most * count for size, count in zip(sizes, counts)):
            raise self._damaged("it has fewer bytes than its pixels need")

    def interleaved(self):
        """Return the number of samples per pixel in one plane."""
        return 1 if self.planes == 2 else self.samples

    def bytes_of(self, width):
        """Return the bytes of `width` pixels in a row of a plane; each row starts on a byte."""
        return -(-width * self.interleaved() * self.bits // 8)

    def image(self):
        """Return a Pillow image of a file whose samples are not plain numbers."""
        return self._with_directory(
            {tag: self._entry(tag) for tag in exif.STORAGE if tag in self.tags.entries}
        )

    def image_of_bytes(self, plane):
        """Return one plane as a grey Pillow image of bytes; only planar files have several."""
        wide, order = self.bytes_of(self.tile[0]), self.tags.order
        numbers = {
            Tag.ImageWidth: wide * -(-self.width // self.tile[0]),
            Tag.ImageLength: self.height,
            Tag.BitsPerSample: 8,
            Tag.Compression: self.compression,
            Tag.PhotometricInterpretation: 1,
            Tag.SamplesPerPixel: 1,
            Tag.FillOrder: 2 if self.tags.first(Tag.FillOrder) == 2 else 1,
        }
        if self.tiled:
            numbers |= {Tag.TileWidth: wide, Tag.TileLength: self.tile[1]}
        else:
            numbers[Tag.RowsPerStrip] = self.tile[1]
        entries = {tag: Entry(4, 1, struct.pack(order + "L", n)) for tag, n in numbers.items()}
        for tag in _TILES if self.tiled else _STRIPS:
            if tag in self.tags.entries:
                entry = self._entry(tag)
                size = exif.SIZES[entry.kind] * self.segments
                raw = entry.raw[plane * size : (plane + 1) * size]
                entries[tag] = Entry(entry.kind, self.segments, raw)
        return self._with_directory(entries)

    def _entry(self, tag):
        """Return an entry for an ordinary directory; BigTIFF's wider numbers become 32 bits."""
        kind, count, raw, _ = self.tags.entries[tag]
        if tag in exif.SINGLE:
            count, raw = 1, raw[: exif.SIZES[kind]]
        if kind in (13, 16, 18):
            order = self.tags.order
            numbers = np.frombuffer(raw, order + exif.INTEGERS[kind])
            kind, raw = 4, numbers.astype(order + "u4").tobytes()
        return Entry(kind, count, raw)

    def _with_directory(self, entries):
        """Open the file in Pillow with a new directory, which is written after its end."""
        if self.stream is None:  # all planes share one copy of the data
            self.stream, self.end = io.BytesIO(self.data), self.size + self.size % 2
            self.data = self.tags.data = None
        self.stream.seek(self.end)  # a gap is filled with zeros
        self.stream.write(exif.written(entries, self.end, self.tags.order))
        self.stream.seek(0)
        self.stream.write(exif.head(self.end, self.tags.order))
        self.stream.seek(0)
        return TiffImagePlugin.TiffImageFile(self.stream)


class Samples(Encoded):
    """A TIFF file whose samples are stored as plain numbers."""

    def __init__(self, tiff):
        super().__init__(tiff.name, tiff.width, tiff.height)
        self.tiff, self.bits, self.bands = tiff, 8 if tiff.bits <= 8 else 16, tiff.bands
        self.alpha, self.premultiplied = tiff.alpha, tiff.premultiplied
        self.negative = tiff.photometric == _WHITE_IS_ZERO
        self.bytes_per_pixel = -(-tiff.samples * tiff.bits // 8)
        self.letter = {_SIGNED: "i", _FLOATING: "f"}.get(tiff.format, "u")  # NumPy's type code
        if tiff.format == _FLOATING:
            self.white = 1
        else:  # in integers of more than 16 bits, 65535 still means white
            depth = tiff.bits - (tiff.format == _SIGNED)
            self.white = 65535 if tiff.bits > 16 else 2**depth - 1

    def load(self):
        """Decompress all planes."""
        planes = self.bands + self.alpha if self.tiff.planes == 2 else 1
        self.images = [pillow.load(self.tiff.image_of_bytes(plane)) for plane in range(planes)]
        self.tiff.stream.close()

    def rows(self, top, bottom):
        """Return rows as numbers."""
        parts = [
            self._numbers(np.asarray(image.crop((0, top, image.width, bottom))))
            for image in self.images
        ]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        return values[..., : self.bands + self.alpha]

    def _numbers(self, rows):
        """Turn (h, bytes) of one plane into (h, W, samples) numbers."""
        wide = self.tiff.bytes_of(self.tiff.tile[0])
        pieces = [
            self._undone(np.ascontiguousarray(rows[:, at : at + wide]))
            for at in range(0, rows.shape[1], wide)
        ]
        whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
        return whole[:, : self.width]

    def _undone(self, rows):
        """Undo a predictor within one strip or tile; return (h, w, samples)."""
        tiff, shape = self.tiff, (len(rows), -1, self.tiff.interleaved())
        predictor = tiff.tags.first(Tag.Predictor, 1)
        if tiff.compression in (_UNCOMPRESSED, _PACKBITS):  # libtiff ignores the predictor here
            predictor = 1
        if predictor == 1:
            return self._unpacked(rows, self.letter).reshape(shape)
        if predictor == 2 and tiff.bits in (8, 16, 32, 64):  # differences of neighbours
            numbers = self._unpacked(rows, "u").reshape(shape)
            plain = np.cumsum(numbers, axis=1, dtype=numbers.dtype)
            return plain.view(f"{self.letter}{tiff.bits // 8}")
        if predictor == 3 and self.letter == "f":  # bytes sorted by significance, then differences
            plain = np.cumsum(rows.reshape(shape), axis=1, dtype=np.uint8)
            plain = plain.reshape(len(rows), tiff.bits // 8, -1).transpose(0, 2, 1)
            return np.ascontiguousarray(plain).view(f">f{tiff.bits // 8}").reshape(shape)
        raise tiff.refused(f"uses predictor {predictor}")

    def _unpacked(self, rows, letter):
        """Turn bytes into numbers of the file's bit depth."""
        bits = self.tiff.bits
        if bits in (8, 16, 32, 64):
            numbers = rows.view(f"{self.tiff.tags.order}{letter}{bits // 8}")
            return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
        # Other depths, such as 12 bits, are packed without gaps; each row starts on a byte.
        count = min(rows.shape[1] * 8 // bits, self.tiff.tile[0] * self.tiff.interleaved())
        digits = np.unpackbits(rows, axis=1)[:, : count * bits]
        weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.float32)
        return (digits.reshape(len(rows), count, bits) @ weights).astype(np.uint16)
