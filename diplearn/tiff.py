"""TIFF: what its directory says, and samples as they are stored, of any depth.

Pillow reads the deeper kinds of TIFF at 8 bits, some of them wrongly. So each file gets a new,
clean directory before Pillow and libtiff see it. Where samples are stored as numbers the directory
declares each plane a grey image of bytes: libtiff undoes the compression, and the numbers are
put together here. What else there is (JPEG, fax, palettes) is decoded as it stands.
"""

import io
import math
import struct

import numpy as np
from PIL import Image, TiffImagePlugin

from .errors import ImageError

# Bytes of a value, for each of TIFF's types.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}  # BigTIFF's
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 18: "u8"}
_MOST_SEGMENTS = 100_000
_MOST_ENTRIES = 1000

_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_SAMPLES, _ROWS, _PLANAR, _PREDICTOR = 277, 278, 284, 317
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets, byte counts
_TILE_WIDTH, _TILE_LENGTH, _EXTRA, _FORMAT, _SUBSAMPLING = 322, 323, 338, 339, 530
_RESOLUTION, _ICC = (282, 283, 296), 34675
ORIENTATION, EXIF, GPS, INTEROPERABILITY, COLOUR_SPACE = 274, 34665, 34853, 40965, 40961
_CAMERA = (270, 271, 272, 305, 306, 315, 33432)  # description, make, model, software, date, artist
# What describes an image's data and nothing else; of these, what has one value only.
_SINGLE = {_WIDTH, _LENGTH, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _ROWS, _PLANAR}
_SINGLE |= {_PREDICTOR, _TILE_WIDTH, _TILE_LENGTH, 292, 293, 332, *range(512, 516), 531}
_KEPT = _SINGLE | {_BITS, *_STRIPS, *_TILES, _EXTRA, _FORMAT, 320, 347, *range(517, 522)}
_KEPT |= {529, _SUBSAMPLING, 532}

_BYTEWISE = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits"}
_BYTEWISE |= {34925: "LZMA", 50000: "Zstandard"}
_MOST_RATIO = {5: 4000, 8: 1032, 32946: 1032, 32773: 64}  # no compression of the kind does better
_NO_PREDICTOR = (1, 32773)
_KINDS = {0: ("grey", 1), 1: ("grey", 1), 2: ("RGB", 3), 5: ("CMYK", 4)}
_NOT_IMAGES = {4: "a mask", 9: "ICC Lab", 10: "ITU Lab", 32803: "a camera's raw data"}
_NOT_IMAGES |= {34892: "a camera's raw data", 32844: "logarithmic", 32845: "logarithmic"}


class Directory:
    """One directory (IFD) of a TIFF file or of EXIF data: tag -> (type, count, place, bytes)."""

    def __init__(self, data, at=None):
        if data[:2] not in (b"II", b"MM"):
            raise ValueError("no byte order")
        self.data, self.order = data, "<" if data[:2] == b"II" else ">"
        self.big = self._number("H", 2) == 43 or data[2:4] in (b"\x2b\x00", b"\x00\x2b")
        if at is None:
            at = self._number("Q", 8) if self.big else self._number("L", 4)
        count = self._number("Q" if self.big else "H", at)
        start, width, inline = at + (8 if self.big else 2), *((20, 8) if self.big else (12, 4))
        if not 0 < count <= _MOST_ENTRIES or start + width * count > len(data):
            raise ValueError("its directory is damaged")
        self.entries, self.lost = {}, set()  # lost: the tags whose values are not in the data
        for here in range(start, start + width * count, width):
            tag, kind = self._number("H", here), self._number("H", here + 2)
            values = self._number("Q" if self.big else "L", here + 4)
            size, place = _SIZES.get(kind, 0) * values, here + width - inline
            if size > inline:
                place = self._number("Q" if self.big else "L", place)
            if 0 < size <= len(data) - place:
                self.entries.setdefault(tag, (kind, values, place, data[place : place + size]))
            elif values:
                self.lost.add(tag)
        self.link = start + width * count  # where the place of the next directory stands
        try:
            self.next = self._number("Q" if self.big else "L", self.link)
        except struct.error:
            self.next = 0

    def _number(self, kind, at):
        return struct.unpack_from(self.order + kind, self.data, at)[0]

    def __getitem__(self, tag):
        """The values as a list of numbers; empty where there are none."""
        kind, count, _, raw = self.entries.get(tag, (0, 0, 0, b""))
        if kind in _INTEGERS:
            return np.frombuffer(raw, self.order + _INTEGERS[kind]).tolist()
        if kind == 5:
            pairs = np.frombuffer(raw, self.order + "u4").reshape(-1, 2).tolist()
            return [top / bottom if bottom else 0.0 for top, bottom in pairs]
        return []

    def first(self, tag, default=None):
        """The first value, or what else is to be assumed."""
        return (self[tag] or [default])[0]

    def reset(self, content, tag):
        """Let a tag of integers, if it is there, be 1 in a copy of the bytes."""
        kind, count, place, _ = self.entries.get(tag, (0, 0, 0, b""))
        if kind in _INTEGERS:
            number = np.array(1, self.order + _INTEGERS[kind]).tobytes()
            content[place : place + len(number)] = number

    def sub(self, tag):
        """The directory that a tag points to, or None."""
        try:
            return Directory(self.data, self.first(tag)) if self[tag] else None
        except (ValueError, struct.error):
            return None

    def dpi(self):
        """Dots per inch (x, y), or None."""
        x, y, unit = (self.first(tag) for tag in _RESOLUTION)
        scale = {None: 1, 2: 1, 3: 2.54}.get(unit)
        return (x * scale, y * scale) if x and y and scale else None


def loaded(image):
    """Decode without Pillow's pixel limit: ours was checked before; Pillow's would count bytes."""
    image.im = Image.new(image.mode, image.size).im
    image.load()
    image.fp = None
    return image


def written(entries, at, order):
    """Write a directory that will stand at a place: tag -> (type, count, bytes)."""
    body = at + 2 + 12 * len(entries) + 4
    head, values = struct.pack(order + "H", len(entries)), b""
    for tag, (kind, count, raw) in sorted(entries.items()):
        head += struct.pack(order + "HHL", tag, kind, count)
        if len(raw) <= 4:
            head += raw.ljust(4, b"\0")
        else:
            head += struct.pack(order + "L", body + len(values))
            values += raw + b"\0" * (len(raw) % 2)
    return head + bytes(4) + values


class Tiff:
    """A TIFF file's first image, not decoded yet."""

    def __init__(self, data, name):
        self.data, self.name, self.stream = data, name, None
        self.tags = tags = Directory(data)
        if tags.lost & (_KEPT | {_ICC}):  # a default in the place of one is another image
            raise self._damaged("the end of it is missing")
        self.width, self.height = tags.first(_WIDTH, 0), tags.first(_LENGTH, 0)
        self.photometric = tags.first(_PHOTOMETRIC, 0)
        self.compression = tags.first(_COMPRESSION, 1)
        self.planes = tags.first(_PLANAR, 1)
        if min(self.width, self.height) < 1 or self.planes not in (1, 2):
            raise self.refused("says nothing sensible about its pixels")
        if tags.first(254, 0) & 1 and tags[330]:
            raise self.refused("starts with a thumbnail, as a camera's raw file does; develop it")
        if self.photometric in _NOT_IMAGES:
            raise self.refused(f"is {_NOT_IMAGES[self.photometric]}, neither grey nor RGB")
        self._layout()
        self._segments()

    def refused(self, why):
        """The error that says why, and what helps."""
        return ImageError(
            f"{self.name} {why} and cannot be read; save it as RGB or grey with 8 or 16 bits"
        )

    def _damaged(self, how):
        return ImageError(f"{self.name} is damaged or not an image: {how}")

    def _layout(self):
        """Samples a pixel, their depth and format, and which of them are alpha."""
        tags = self.tags
        self.kind, colours = _KINDS.get(self.photometric, ("other", 0))
        bits, formats = tags[_BITS] or [1], tags[_FORMAT] or [1]
        self.samples = tags.first(_SAMPLES, 1)
        self.bits, self.format = bits[0], formats[0]
        if len(set(bits)) > 1 or len(set(formats)) > 1:
            raise self.refused(f"has channels of different depths ({bits})")
        # One to four bits of grey are Pillow's: fax, scans, palettes.
        self.numeric = (
            self.kind != "other"
            and self.compression in _BYTEWISE
            and (self.bits > 4 or self.samples > 1)
        )
        self.alpha, self.ignored = None, 0
        if self.kind == "other":
            return self._check_other()
        extra = tags[_EXTRA][: max(0, self.samples - colours)]
        spare = self.samples - colours
        if spare < 0:
            raise self.refused(f"has {self.samples} channels and calls them {self.kind}")
        if spare and extra[:1] in ([1], [2]):
            self.alpha = "premultiplied" if extra[0] == 1 else "straight"
        elif spare == 1 and not extra and self.kind == "RGB":
            self.alpha = "straight"  # older programs leave the tag out
        elif spare and self.kind == "grey":
            raise self.refused(f"holds {self.samples} channels that are no RGB")
        self.ignored = spare - bool(self.alpha)
        self._check_numbers()

    def _check_numbers(self):
        if not self.numeric:
            if self.bits > 8:
                raise self.refused(
                    f"has {self.bits} bits per channel in compression {self.compression}"
                )
            return
        if self.format in (3, 6) or self.bits > 16:
            words = {1: "-bit integers", 2: "-bit integers", 3: "-bit floating values"}
            known = self.format in words and self.bits in (16, 32, 64)
            if not known or self.samples > 1 or (self.format < 3 and self.bits > 32):
                raise self.refused(
                    f"holds {self.samples} channel{'s' * (self.samples > 1)} of {self.bits}"
                    + words.get(self.format, "-bit complex values")
                )
        elif self.format == 2 and self.bits not in (8, 16):
            raise self.refused(f"holds signed numbers of {self.bits} bits")
        elif self.format > 4:
            raise self.refused(f"holds samples of an unknown format ({self.format})")

    def _check_other(self):
        if self.bits > 8:
            raise self.refused(f"has {self.bits} bits per channel and is no RGB and no grey")
        square = (self.tags[_SUBSAMPLING] or [2, 2]) == [1, 1]
        if self.photometric == 6 and self.compression == 1 and not square:
            raise self.refused("is uncompressed YCbCr with coarser colours")

    def _segments(self):
        """Strips or tiles: how many a plane has; absurd ones are refused."""
        tags = self.tags
        self.tiled = bool(tags[_TILES[0]])
        self.tile = (
            (tags.first(_TILE_WIDTH, 0), tags.first(_TILE_LENGTH, 0))
            if self.tiled
            else (self.width, min(tags.first(_ROWS, self.height), self.height))
        )
        if min(self.tile) < 1 or math.prod(self.tile) > 4 * self.width * self.height + 2**20:
            raise self.refused("is cut into pieces of no sensible size")
        across, down = -(-self.width // self.tile[0]), -(-self.height // self.tile[1])
        self.segments = across * down
        if self.segments > _MOST_SEGMENTS:
            raise self.refused(f"is cut into {self.segments} pieces")
        self._check_segments(down)

    def _check_segments(self, down):
        """Refuse pieces that the file does not hold, and ones too short for their pixels."""
        offsets, counts = (self.tags[tag] for tag in (_TILES if self.tiled else _STRIPS))
        planes = self.samples if self.planes == 2 else 1
        if self.compression == 6:  # JPEG of the old kind may say in another way where it is
            return
        if len(offsets) < self.segments * planes:
            raise self._damaged("pieces of it are missing")
        row = self._bytes_of(self.tile[0])
        sizes = [row * self.tile[1]] * self.segments
        if not self.tiled:
            sizes[-1] = row * (self.height - (down - 1) * self.tile[1])
        sizes *= planes
        if self.compression == 1:  # the byte counts may be absent or wrong: nobody needs them
            counts, offsets = sizes, offsets[: len(sizes)]
        elif sum(counts) > len(self.data):
            raise self._damaged("pieces of it overlap")
        if len(offsets) != len(counts) or any(
            not 8 <= start <= len(self.data) - count
            for start, count in zip(offsets, counts, strict=True)
        ):
            raise self._damaged("pieces of it are missing")
        most = _MOST_RATIO.get(self.compression, math.inf)
        if any(size > most * count for size, count in zip(sizes, counts, strict=False)):
            raise self._damaged("it holds fewer bytes than its pixels need")

    def icc(self):
        """The colour profile, or None."""
        return self.tags.entries[_ICC][3] if _ICC in self.tags.entries else None

    def exif(self):
        """What a camera or a scanner wrote, as a block of EXIF data of its own; or None."""
        entries = {t: self.tags.entries[t] for t in _CAMERA if t in self.tags.entries}
        inner = {t: self.tags.sub(t) for t in (EXIF, GPS)}
        inner = {tag: directory for tag, directory in inner.items() if directory}
        if not (entries or inner) or self.tags.big:
            return None
        order = self.tags.order
        block = (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, 8)
        plain = {tag: (kind, count, raw) for tag, (kind, count, _, raw) in entries.items()}
        pointers = {tag: (4, 1, bytes(4)) for tag in inner}
        at = len(block) + len(written({**plain, **pointers}, 8, order))
        tail = b""
        for tag, directory in inner.items():
            pointers[tag] = 4, 1, struct.pack(order + "L", at + len(tail))
            content = {
                t: (kind, count, raw) for t, (kind, count, _, raw) in directory.entries.items()
            }
            content.pop(INTEROPERABILITY, None)
            tail += written(content, at + len(tail), order)
        return block + written({**plain, **pointers}, 8, order) + tail

    def image(self):
        """Pillow's image of it, for what is not stored as numbers."""
        return self._opened({tag: self._entry(tag) for tag in _KEPT if tag in self.tags.entries})

    def _entry(self, tag):
        kind, count, _, raw = self.tags.entries[tag]
        if tag in _SINGLE:
            count, raw = 1, raw[: _SIZES[kind]]
        if kind in (13, 16, 18):  # BigTIFF's wide numbers, as an ordinary directory has them
            numbers = np.frombuffer(raw, self.tags.order + _INTEGERS[kind])
            kind, raw = 4, numbers.astype(self.tags.order + "u4").tobytes()
        return kind, count, raw

    def _opened(self, entries):
        order = self.tags.order
        if self.stream is None:  # the one copy, of which each plane gets the end
            self.end = len(self.data) + len(self.data) % 2
            self.stream = io.BytesIO(self.data)
            self.data = self.tags.data = None
        file = self.stream
        file.seek(self.end)  # a gap is filled with zeros
        file.write(written(entries, self.end, order))
        file.seek(0)
        file.write((b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, self.end))
        file.seek(0)
        return TiffImagePlugin.TiffImageFile(file)

    def bytes_image(self, plane):
        """One plane (all there is, but for planar files) as Pillow's grey image of bytes."""
        tags, order = self.tags, self.tags.order
        short = lambda value: (3, 1, struct.pack(order + "H", value))  # noqa: E731
        long = lambda value: (4, 1, struct.pack(order + "L", value))  # noqa: E731
        entries = {
            _WIDTH: long(self._bytes_of(self.tile[0]) * -(-self.width // self.tile[0])),
            _LENGTH: long(self.height),
            _BITS: short(8),
            _COMPRESSION: short(self.compression),
            _PHOTOMETRIC: short(1),
            _SAMPLES: short(1),
            _FILL_ORDER: short(2 if tags.first(_FILL_ORDER) == 2 else 1),
        }
        if self.tiled:
            entries[_TILE_WIDTH] = long(self._bytes_of(self.tile[0]))
            entries[_TILE_LENGTH] = long(self.tile[1])
        else:
            entries[_ROWS] = long(self.tile[1])
        for tag in _TILES if self.tiled else _STRIPS:
            if tag in tags.entries:
                kind, _, raw = self._entry(tag)
                width = _SIZES[kind] * self.segments
                entries[tag] = kind, self.segments, raw[plane * width : (plane + 1) * width]
        return self._opened(entries)

    def _interleaved(self):
        return 1 if self.planes == 2 else self.samples

    def _bytes_of(self, width):
        return -(-width * self._interleaved() * self.bits // 8)

    def numbers(self, rows):
        """Turn (h, bytes) of one plane into (h, W, samples) numbers."""
        wide = self._bytes_of(self.tile[0])
        pieces = [
            self._undone(np.ascontiguousarray(rows[:, at : at + wide]))
            for at in range(0, rows.shape[1], wide)
        ]
        whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
        return whole[:, : self.width]

    def _undone(self, rows):
        """Undo a predictor, within one piece; (h, w, samples) of it."""
        samples, predictor = self._interleaved(), self.tags.first(_PREDICTOR, 1)
        if predictor == 1 or self.compression in _NO_PREDICTOR:  # where libtiff heeds none, either
            return self._unpacked(rows, self._letter()).reshape(len(rows), -1, samples)
        if predictor == 2 and self.bits in (8, 16, 32, 64):  # differences of neighbours
            numbers = self._unpacked(rows, "u").reshape(len(rows), -1, samples)
            plain = np.cumsum(numbers, axis=1, dtype=numbers.dtype)
            return plain.view(f"{self._letter()}{self.bits // 8}")
        if predictor == 3 and self.format == 3:  # bytes sorted by significance, then differences
            plain = np.cumsum(rows.reshape(len(rows), -1, samples), axis=1, dtype=np.uint8)
            plain = plain.reshape(len(rows), self.bits // 8, -1).transpose(0, 2, 1)
            numbers = np.ascontiguousarray(plain).view(f">f{self.bits // 8}")
            return numbers.reshape(len(rows), -1, samples)
        raise self.refused(f"uses predictor {predictor}")

    def _letter(self):
        return {2: "i", 3: "f"}.get(self.format, "u")

    def _unpacked(self, rows, letter):
        if self.bits in (8, 16, 32, 64):
            numbers = rows.view(f"{self.tags.order}{letter}{self.bits // 8}")
            return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
        # Packed tightly, as 12 bits may be; each row starts on a byte.
        count = min(rows.shape[1] * 8 // self.bits, self.tile[0] * self._interleaved())
        bits = np.unpackbits(rows, axis=1)[:, : count * self.bits]
        weights = (1 << np.arange(self.bits - 1, -1, -1)).astype(np.float32)
        return (bits.reshape(len(rows), count, self.bits) @ weights).astype(np.uint16)

    @property
    def white(self):
        """The number that stands for 1."""
        if self.format == 3:
            return 1
        return 65535 if self.bits > 16 else 2 ** (self.bits - (self.format == 2)) - 1
