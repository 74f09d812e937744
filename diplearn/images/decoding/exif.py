"""Read and write TIFF directories, which hold the metadata of TIFF files and EXIF data."""

import math
import re
import struct
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag

# TIFF type -> bytes per value; types from 16 on belong to BigTIFF.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 18: "u8"}
_RATIONAL = 5
_MOST_ENTRIES = 1000

# Tags on the origin of a TIFF file: they are kept in the result's EXIF data.
_ORIGIN = (Tag.ImageDescription, Tag.Make, Tag.Model, Tag.Software, Tag.DateTime, Tag.Artist,
           Tag.Copyright)  # fmt: skip
# Tags on how a TIFF file stores its pixels; the first set has one value each.
SINGLE = {Tag.ImageWidth, Tag.ImageLength, Tag.Compression, Tag.PhotometricInterpretation,
          Tag.FillOrder, Tag.SamplesPerPixel, Tag.RowsPerStrip, Tag.PlanarConfiguration,
          Tag.Predictor, Tag.TileWidth, Tag.TileLength, 292, 293, 332, *range(512, 516),
          531}  # fmt: skip
STORAGE = SINGLE | {Tag.BitsPerSample, Tag.StripOffsets, Tag.StripByteCounts, Tag.TileOffsets,
                    Tag.TileByteCounts, Tag.ExtraSamples, Tag.SampleFormat, Tag.YCbCrSubSampling,
                    320, 347, *range(517, 522), 529, 532}  # fmt: skip
# Tags that would be wrong in a file made from a TIFF file.
_OUTDATED = STORAGE | {Tag.NewSubfileType, Tag.SubfileType, Tag.Orientation, Tag.SubIFDs,
                       Tag.InterColorProfile}  # fmt: skip


class Entry(NamedTuple):
    """An entry of a directory: its values as bytes, and their place in the data."""

    kind: int
    count: int
    raw: bytes
    place: int = 0


class Directory:
    """A directory (IFD) of a TIFF file or of EXIF data; `entries` maps tags to entries."""

    def __init__(self, data, at=None):
        if data[:2] not in (b"II", b"MM"):
            raise ValueError("no byte order")
        self.data, self.order = data, "<" if data[:2] == b"II" else ">"
        self.big = self._number("H", 2) == 43 or data[2:4] in (b"\x2b\x00", b"\x00\x2b")
        long, inline = ("Q", 8) if self.big else ("L", 4)
        if at is None:
            at = self._number(long, 8 if self.big else 4)
        count = self._number("Q" if self.big else "H", at)
        start, width = (at + 8, 20) if self.big else (at + 2, 12)
        self.link = start + width * count  # where the address of the next directory is
        if not 0 < count <= _MOST_ENTRIES or self.link > len(data):
            raise ValueError("its directory is damaged")
        self.entries, self.lost = {}, set()  # lost: tags whose values lie outside the data
        for here in range(start, self.link, width):
            tag, kind = self._number("H", here), self._number("H", here + 2)
            values, place = self._number(long, here + 4), here + width - inline
            size = SIZES.get(kind, 0) * values
            if size > inline:
                place = self._number(long, place)
            if 0 < size <= len(data) - place:
                raw = data[place : place + size]
                self.entries.setdefault(tag, Entry(kind, values, raw, place))
            elif values:
                self.lost.add(tag)
        try:
            self.next = self._number(long, self.link)
        except struct.error:
            self.next = 0

    def _number(self, kind, at):
        return struct.unpack_from(self.order + kind, self.data, at)[0]

    def __getitem__(self, tag):
        """Return the values of a tag as a list of numbers, which may be empty."""
        entry = self.entries.get(tag)
        if entry and entry.kind in INTEGERS:
            return np.frombuffer(entry.raw, self.order + INTEGERS[entry.kind]).tolist()
        if entry and entry.kind == _RATIONAL:
            pairs = np.frombuffer(entry.raw, self.order + "u4").reshape(-1, 2).tolist()
            return [top / bottom if bottom else 0.0 for top, bottom in pairs]
        return []

    def first(self, tag, default=None):
        """Return the first value of a tag, or the default."""
        return (self[tag] or [default])[0]

    def sub(self, tag):
        """Return the directory that a tag points to, or None."""
        try:
            return Directory(self.data, self.first(tag)) if self[tag] else None
        except (ValueError, struct.error):
            return None

    def set_to_1(self, content, tag):
        """Set a tag of integers, if it exists, to 1 in `content`, a copy of the data."""
        entry = self.entries.get(tag)
        if entry and entry.kind in INTEGERS:
            number = np.array(1, self.order + INTEGERS[entry.kind]).tobytes()
            content[entry.place : entry.place + len(number)] = number

    def dpi(self):
        """Return dots per inch (x, y), or None."""
        x, y, unit = map(self.first, (Tag.XResolution, Tag.YResolution, Tag.ResolutionUnit))
        scale = {None: 1, 2: 1, 3: 2.54}.get(unit)
        return (x * scale, y * scale) if x and y and scale else None

    def adobe_rgb(self):
        """Return the entry that marks a camera's image as Adobe RGB (DCF standard), or None."""
        camera = self.sub(Tag.ExifOffset)
        options = camera and camera.sub(Tag.ExifInteroperabilityOffset)
        entry = options and options.entries.get(1)
        return entry if entry and entry.raw[:3] == b"R03" else None


def parsed(data):
    """Return the first directory of EXIF data, or None if they are damaged or empty."""
    try:
        return Directory((data or b"").removeprefix(b"Exif\0\0"))
    except (ValueError, struct.error):
        return None


def apply(encoded, data):
    """Set a file's orientation and resolution from valid EXIF or XMP; return if it is Adobe RGB."""
    tags = parsed(encoded.exif)
    turned = tags.first(Tag.Orientation) if tags else None
    if turned is None and (found := re.search(rb'tiff:Orientation(?:="|>)([1-8])', data)):
        turned = int(found[1])
    turned = turned or encoded.orientation
    encoded.orientation = turned if turned in range(1, 9) else 1
    dpi = encoded.dpi or (tags and tags.dpi()) or (0, 0)
    dpi = tuple(float(dots) for dots in dpi)
    encoded.dpi = dpi if all(math.isfinite(dots) and dots > 0 for dots in dpi) else None
    return bool(tags and tags.adobe_rgb())


def for_result(data):
    """Return EXIF data changed to describe an upright sRGB image without thumbnail, or None."""
    tags = parsed(data)
    if tags is None:
        return None
    changed = bytearray(tags.data)
    tags.set_to_1(changed, Tag.Orientation)
    if tags.link + 4 <= len(changed):
        changed[tags.link : tags.link + 4] = bytes(4)  # the next directory holds the thumbnail
    if camera := tags.sub(Tag.ExifOffset):
        camera.set_to_1(changed, Tag.ColorSpace)
    if entry := tags.adobe_rgb():
        changed[entry.place : entry.place + 3] = b"R98"
    return b"Exif\0\0" + bytes(changed)


def for_file(data, height, width):
    """Return EXIF data for a new file of this size, or None if they are damaged."""
    try:
        exif = Image.Exif()
        exif.load(for_result(data))
        for tag in _OUTDATED:
            exif.pop(tag, None)
        camera = exif.get_ifd(Tag.ExifOffset)
        sides = {Tag.ExifImageWidth: width, Tag.ExifImageHeight: height}
        camera.update({tag: side for tag, side in sides.items() if tag in camera})
        return exif.tobytes()
    except Exception:
        return None


def of_tiff(tags):
    """Return the tags on a TIFF file's origin as EXIF data, or None."""
    plain = {tag: tags.entries[tag] for tag in _ORIGIN if tag in tags.entries}
    inner = {tag: tags.sub(tag) for tag in (Tag.ExifOffset, Tag.GPSInfo)}
    inner = {tag: directory for tag, directory in inner.items() if directory}
    if not (plain or inner) or tags.big:
        return None
    order = tags.order
    pointers = {tag: Entry(4, 1, bytes(4)) for tag in inner}
    at, tail = 8 + len(written(plain | pointers, 8, order)), b""
    for tag, directory in inner.items():
        pointers[tag] = Entry(4, 1, struct.pack(order + "L", at + len(tail)))
        directory.entries.pop(Tag.ExifInteroperabilityOffset, None)
        tail += written(directory.entries, at + len(tail), order)
    return head(8, order) + written(plain | pointers, 8, order) + tail


def head(at, order):
    """Return the first 8 bytes of a TIFF file whose directory is at offset `at`."""
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, at)


def written(entries, at, order):
    """Return the bytes of a directory that will be at offset `at`."""
    body = at + 2 + 12 * len(entries) + 4
    table, values = struct.pack(order + "H", len(entries)), b""
    for tag, (kind, count, raw, _) in sorted(entries.items()):
        table += struct.pack(order + "HHL", tag, kind, count)
        if len(raw) <= 4:
            table += raw.ljust(4, b"\0")
        else:
            table += struct.pack(order + "L", body + len(values))
            values += raw + b"\0" * (len(raw) % 2)
    return table + bytes(4) + values
