"""Files to images: PNG, JPEG, TIFF, BMP, GIF, WebP and PPM, with all the bits that a file has.

Every way in which bytes can fail to be an image ends as an ImageError. No setting of the process
is changed. Warning filters are left alone: whatever would make Pillow warn is removed from the
bytes first.
"""

import contextlib
import io
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)

from . import colour, tiff
from .errors import ImageError

LARGEST_FILE = 1_000_000_000
"""Bytes: no file is read further."""

_BAND = 2**19  # pixels that are converted at a time
_MOST_SCANS = 100  # a progressive JPEG of a few kB could ask for thousands, each over all pixels
_LARGEST_PROFILE = 16_000_000

# Decoders that a photograph or a scan needs, and no others: a file cannot choose an exotic one.
_FORMATS = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "TIFF": rb"(II|MM)(\x2a\0|\0\x2a|\x2b\0|\0\x2b)",
    "BMP": rb"BM",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF....WEBP",
    "PPM": rb"P[1-6f]\s",
}
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # bytes a pixel


# The bytes.


def content(source, what="the image"):
    """Read a path, bytes or a binary file object: the name for messages, the format, the bytes."""
    if isinstance(source, (bytearray, memoryview)):
        source = bytes(source)
    if isinstance(source, bytes):
        return what, *_drained(io.BytesIO(source), what)
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) else what
        name = "standard input" if name == "<stdin>" else name
        return name, *_drained(source, name)
    if isinstance(source, str) and re.match("(?i)[a-z][a-z0-9+.-]+://", source):
        raise ImageError(f"{source} is an address; download the file, then name it here")
    try:  # a path may hold a NUL byte or be too long: also the caller's mistake, said the same way
        path = Path(source)
        if path.is_dir():
            raise ImageError(f"{path} is a folder; name an image file in it")
        file = path.open("rb")
    except ImageError:
        raise
    except TypeError:
        kind = type(source).__name__
        raise ImageError(f"a {kind} is neither a path nor bytes nor a binary file") from None
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {source}") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error  # not the number, and the name once
        raise ImageError(f"cannot read {source}: {why}") from error
    with file:
        return str(path), *_drained(file, path)


def _drained(file, name):
    """Read a file to its end, or no further than its first bytes if they are no image's."""
    whole = io.BytesIO()  # hands its bytes out without a copy
    try:
        _read(file, 16, whole)
        if not whole.tell():
            raise ImageError(f"{name} is empty")
        kind = _format_of(whole.getvalue())
        if kind is None:
            whose = {"the image": "the data are", "the mask": "the data of the mask are"}
            whose, known = whose.get(name, f"{name} is"), ", ".join(_FORMATS)
            raise ImageError(f"{whose} not an image that can be read (known: {known})")
        _read(file, LARGEST_FILE, whole)
    except ImageError:
        raise
    except Exception as error:  # somebody's own file object may fail in any way
        raise ImageError(f"cannot read {name}: {error}") from error
    if whole.tell() >= LARGEST_FILE:
        raise ImageError(f"{name} is larger than {LARGEST_FILE // 1_000_000} MB: too large to read")
    return kind, whole.getvalue()


def _read(file, end, whole):
    """Read on until there are so many bytes, however few a pipe hands out at a time."""
    while (most := end - whole.tell()) > 0:
        piece = file.read(min(most, 2**20))
        if not piece:
            break
        if isinstance(piece, str):
            raise TypeError('it is opened as text; open it with "rb"')
        whole.write(piece)


def _format_of(head):
    return next((k for k, start in _FORMATS.items() if re.match(start, head, re.DOTALL)), None)


# Opened: the header is known, the pixels are not decoded yet.


class Opened:
    """What a file says before its pixels are decoded, and how to get at them.

    Attributes: `width`, `height` as stored; `orientation` (EXIF, 1 to 8); `bits`, 8 or 16 a
    channel; `bytes_per_pixel` that decoding takes; `held`, bytes that are there until then, such as
    the file's; `icc`, `exif`, `dpi`, `png`; `remarks`; `transparent`, known when it is decoded.
    """

    orientation, bits, icc, exif, dpi, png, key, space = 1, 8, *[None] * 6
    white, bytes_per_pixel, premultiplied, negative, drafts = 255, 4, False, False, False
    held, transparent = 0, False

    def __init__(self, name, width, height):
        self.name, self.width, self.height, self.remarks = name, width, height, []

    @property
    def size(self):
        """Width and height as a viewer shows the image."""
        stored = self.width, self.height
        return stored[::-1] if self.orientation > 4 else stored

    def release(self):
        """Forget the pixels, which have been copied."""
        self.image = self.images = self.values = None


class _Pillow(Opened):
    """What Pillow decodes rightly."""

    def __init__(self, name, image):
        super().__init__(name, *image.size)
        self.image, info = image, image.info
        if getattr(image, "is_animated", False):
            self.remarks.append("holds more than one frame; the first is taken")
        self.icc, self.dpi = info.get("icc_profile"), info.get("dpi")
        self.exif = info.get("exif")
        self._set_mode()

    def _set_mode(self):
        mode, bands = self.image.mode, self.image.getbands()
        self.bytes_per_pixel = _STORED.get(mode, 4)
        if mode.startswith("I") or mode == "F":
            self.mode, self.bits = mode, 16
            self.white = 1 if mode == "F" else 65535
        elif "A" in bands or "transparency" in self.image.info:
            self.mode = "LA" if mode in ("L", "LA", "1") else "RGBA"
        elif mode in ("1", "L", "CMYK"):
            self.mode = mode.replace("1", "L")
        else:
            self.mode = "RGB"
        self.alpha = self.mode.endswith("A")
        self.bands = Image.getmodebands(self.mode) - self.alpha

    def draft(self, scale):
        """Let a JPEG be decoded at an eighth, a quarter or half of its sides."""
        self.image.draft(None, (self.width // scale, self.height // scale))
        self.width, self.height = self.image.size

    def load(self):
        with self.image.fp:  # Pillow would keep the file's bytes for further frames
            if self.image.format == "TIFF":
                tiff.loaded(self.image)
            self.image.load()

    def rows(self, top, bottom):
        strip = self.image.crop((0, top, self.width, bottom))
        if strip.mode != self.mode:
            strip = strip.convert(self.mode)
        values = np.asarray(strip)
        return values.reshape(*values.shape[:2], -1)


class _Deep(Opened):
    """Two images of Pillow's whose bytes, put together, are the 16-bit channels of a PNG."""

    bits, white = 16, 65535

    def __init__(self, name, header, data, key):
        width, height, _, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
        super().__init__(name, width, height)
        self.data, self.interlaced = data, interlaced
        # Mode and raw modes: the first raw mode yields a pixel's high bytes, the second its low
        # ones; with one or two channels, all its bytes fit into one image.
        self.mode, *self.raw = {
            0: ("I;16", "I;16B"),
            2: ("RGB", "RGB;16B", "RGB;16L"),
            4: ("RGBA", "RGBA"),
            6: ("RGBA", "RGBA;16B", "RGBA;16L"),
        }[kind]
        self.bands, self.alpha = (3 if kind & 2 else 1), bool(kind & 4)
        self.bytes_per_pixel = 4 * len(self.raw)
        if key and not self.alpha:
            self.key, self.alpha = np.frombuffer(key, ">u2", self.bands), True

    def load(self):
        size = self.width, self.height
        self.images = [
            Image.frombytes(self.mode, size, self.data, "zip", (raw, self.interlaced))
            for raw in self.raw
        ]
        self.data = None

    def rows(self, top, bottom):
        box = 0, top, self.width, bottom
        parts = [np.asarray(image.crop(box)) for image in self.images]
        if self.mode == "I;16":
            values = parts[0][..., None]
        elif len(parts) == 1:
            values = parts[0].view(">u2").astype(np.uint16)
        else:
            values = parts[0].astype(np.uint16) << 8 | parts[1]
        if self.key is not None:
            opaque = (values != self.key).any(axis=-1, keepdims=True)
            values = np.concatenate([values, opaque * np.uint16(65535)], axis=-1)
        return values


class _Numbers(Opened):
    """Samples of a TIFF file that are stored as numbers."""

    def __init__(self, name, file):
        super().__init__(name, file.width, file.height)
        self.file, self.white = file, file.white
        self.bits = 8 if file.bits <= 8 else 16
        self.bands = {"grey": 1, "RGB": 3, "CMYK": 4}[file.kind]
        self.alpha, self.premultiplied = bool(file.alpha), file.alpha == "premultiplied"
        self.negative = file.photometric == 0
        self.bytes_per_pixel = -(-file.samples * file.bits // 8)

    def load(self):
        planes = self.bands + self.alpha if self.file.planes == 2 else 1
        self.images = [tiff.loaded(self.file.bytes_image(plane)) for plane in range(planes)]
        self.file.stream.close()

    def rows(self, top, bottom):
        parts = [
            self.file.numbers(np.asarray(image.crop((0, top, image.width, bottom))))
            for image in self.images
        ]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        return values[..., : self.bands + self.alpha]


class _Netpbm(Opened):
    """PGM and PPM with 16 bits a channel."""

    bits, alpha = 16, False

    def __init__(self, name, header, data):
        kind, width, height, white = (int(group) for group in header.groups())
        super().__init__(name, width, height)
        self.white, self.bands = white, 3 if kind == 6 else 1
        self.bytes_per_pixel = 2 * self.bands
        self.data, self.start = data, header.end()

    def load(self):
        count = self.width * self.height * self.bands
        values = np.frombuffer(self.data, ">u2", count, self.start)
        self.data = None
        self.values = values.reshape(self.height, self.width, self.bands)

    def rows(self, top, bottom):
        return self.values[top:bottom].astype(np.uint16)


class _Alpha(Opened):
    """The alpha channel of another opened file, in the place of its colours."""

    bands, alpha = 1, False

    def __init__(self, file):
        super().__init__(file.name, file.width, file.height)
        self.file, self.remarks, self.orientation = file, file.remarks, file.orientation
        self.white, self.bytes_per_pixel, self.held = file.white, file.bytes_per_pixel, file.held

    def load(self):
        self.file.load()

    def rows(self, top, bottom):
        return self.file.rows(top, bottom)[..., self.file.bands :]

    def release(self):
        self.file.release()


def alpha_only(file):
    """Return an opened file with transparency as a grey image of its alpha channel."""
    return _Alpha(file)


def opened(kind, data, name, largest, colours=True):
    """Open a file, its pixels not decoded yet; what cannot be opened becomes an ImageError.

    Parameters
    ----------
    kind : str
    data : bytes
    name : str
        As `content` found them.
    largest : int
        Pixels; decoders that take their memory on opening get no more.
    colours : bool, optional
        Look for what turns the file's colours into sRGB.

    Returns
    -------
    Opened
    """
    try:
        width, height = _claimed(kind, data)
        if width * height > largest:
            raise _too_large(name, width, height, largest)
        file = _OPENERS[kind](data, name)
        file.held += len(data)
        adobe_rgb = _understand(file, data)
        if colours:
            _find_colours(file, adobe_rgb)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is refused, its pixels are too many: {error}") from error
    except Exception as error:  # a decoder may fail in any way on damaged bytes
        raise _damaged(name, error) from error
    return file


def _damaged(name, error):
    """The ImageError for what a decoder raised; its reason only where it is one for a reader."""
    clear = isinstance(error, (OSError, SyntaxError, zlib.error)) and error.__cause__ is None
    return ImageError(f"{name} is damaged or not an image" + (f": {error}" if clear else ""))


def _claimed(kind, data):
    """Width and height in the headers of the two formats whose decoders take memory on opening."""
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


def _too_large(name, width, height, largest, advice=""):
    return ImageError(
        f"{name} claims {width}x{height} pixels; more than {largest // 1_000_000} million are "
        f"refused: make it smaller first{advice}"
    )


def _open_with(plugin):
    return lambda data, name: _Pillow(name, plugin(io.BytesIO(data)))


def _open_webp(data, name):
    file = _Pillow(name, WebPImagePlugin.WebPImageFile(io.BytesIO(data)))
    file.bytes_per_pixel = 16  # two canvases of the decoder's, its answer, Pillow's image
    return file


def _open_jpeg(data, name):
    if data.count(b"\xff\xda") > _MOST_SCANS:
        raise ImageError(f"{name} is refused: a JPEG of more than {_MOST_SCANS} scans")
    # Pillow warns of damaged EXIF data: the marker is spoilt, the data are read here.
    marker = re.compile(rb"(\xff\xe1..)Exif\0\0", re.DOTALL)
    file = _Pillow(name, JpegImagePlugin.JpegImageFile(io.BytesIO(marker.sub(rb"\1Exif--", data))))
    if found := marker.search(data):
        length = struct.unpack(">H", found[1][2:])[0]
        file.exif = data[found.start() + 4 : found.start() + 2 + length]
    file.drafts, bands = True, len(file.image.getbands())
    if file.image.info.get("progressive"):
        file.bytes_per_pixel += 2 * bands  # coefficients of the whole image
    frames = _directory(file.image.info.get("mp", b""))
    if frames and (frames.first(0xB001) or 1) > 1:
        file.remarks.append("holds more than one frame; the first is taken")
    return file


def _open_png(data, name):
    chunks = _chunks(data, name)
    header = chunks.get(b"IHDR", b"")
    if len(header) == 13 and header[8] == 16:
        file = _Deep(name, header, b"".join(chunks[b"IDAT"]), chunks.get(b"tRNS"))
    else:  # without what Pillow may warn about or take for more frames
        image = PngImagePlugin.PngImageFile(io.BytesIO(b"".join(chunks["kept"])))
        _mend_key(image, header)
        file = _Pillow(name, image)
    del chunks[b"IDAT"], chunks["kept"]
    file.png, file.exif = chunks, chunks.get(b"eXIf") or _text_exif(chunks)
    if b"iCCP" in chunks:
        file.icc = _inflated(chunks[b"iCCP"].partition(b"\0")[2][1:])
    if len(chunks.get(b"pHYs", b"")) == 9:
        x, y, unit = struct.unpack(">IIB", chunks[b"pHYs"])
        file.dpi = (x * 0.0254, y * 0.0254) if unit == 1 else None
    if struct.unpack(">I", chunks.get(b"acTL", b"\0\0\0\1")[:4])[0] > 1:
        file.remarks.append("holds more than one frame; the first is taken")
    return file


def _mend_key(image, header):
    """Give the transparent grey the scale of the samples: Pillow leaves it as it is stored."""
    key, (depth, kind) = image.info.get("transparency"), header[8:10]
    if key is not None and kind == 0:
        most = 2**depth - 1
        image.info["transparency"] = (key & most) * 255 // most


def _chunks(data, name):
    """A PNG's chunks: IDAT's as a list; of the others, whole ones, the first of each kind.

    Under "kept" is what the pixels need, as it stands in the file.
    """
    chunks, at, view = {b"IDAT": [], "kept": [data[:8]]}, 8, memoryview(data)
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        body, whole = view[at + 8 : end - 4], False
        if end <= len(data):
            whole = zlib.crc32(view[at + 4 : end - 4]) == int.from_bytes(view[end - 4 : end])
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            chunks["kept"].append(view[at:end])
            if not whole:
                raise ImageError(f"{name} is damaged or not an image: a wrong checksum")
        if kind == b"IDAT":
            chunks[kind].append(body)
        elif whole:
            chunks.setdefault(kind, bytes(body))
        at = end
        if kind == b"IEND":
            break
    return chunks


def _inflated(data):
    """Decompress a small thing; None if it is damaged or not small."""
    try:
        return zlib.decompressobj().decompress(data, _LARGEST_PROFILE)
    except zlib.error:
        return None


def _text_exif(chunks):
    """EXIF as ImageMagick and others hid it in PNG before there was a chunk for it."""
    key = b"Raw profile type exif\0"
    for kind, skip in ((b"tEXt", 0), (b"zTXt", 1)):
        body = chunks.get(kind, b"")
        if body.startswith(key):
            text = body[len(key) + skip :]
            text = _inflated(text) if skip else text
            with contextlib.suppress(ValueError, IndexError, AttributeError):
                return bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))
    return None


def _open_tiff(data, name):
    file = tiff.Tiff(data, name)
    exif = file.exif()  # before the file is handed over to Pillow
    result = _Numbers(name, file) if file.numeric else _Pillow(name, file.image())
    result.icc = file.icc() if file.photometric != 8 else None  # Lab has become sRGB already
    result.dpi = file.tags.dpi()
    result.exif, result.orientation = exif, file.tags.first(tiff.ORIENTATION, 1)
    if file.compression != 1:  # libtiff unpacks a piece at a time, which may be the whole
        samples = file.samples if file.planes == 1 else 1
        result.held = math.prod(file.tile) * samples * file.bits // 8
    if file.ignored:
        result.remarks.append(
            f"holds {file.samples} channels; the ones beside {file.kind} are left out"
        )
    if 0 < file.tags.next < len(data):
        result.remarks.append("holds more than one frame; the first is taken")
    return result


def _open_netpbm(data, name):
    gap = rb"(?:\s|#[^\n\r]*[\n\r])+"
    header = re.match(rb"P([2356])" + 3 * (gap + rb"(\d{1,9})") + rb"\s", data)
    if header is None or not 255 < int(header[4]) < 65536:
        return _Pillow(name, PpmImagePlugin.PpmImageFile(io.BytesIO(data)))
    if header[1] in b"56":
        return _Netpbm(name, header, data)
    file = _Pillow(name, PpmImagePlugin.PpmImageFile(io.BytesIO(data)))
    if header[1] == b"3":
        file.remarks.append("is plain text of more than 8 bits per channel, which are read as 8")
    return file


_OPENERS = {
    "PNG": _open_png,
    "JPEG": _open_jpeg,
    "TIFF": _open_tiff,
    "BMP": _open_with(BmpImagePlugin.BmpImageFile),
    "GIF": _open_with(GifImagePlugin.GifImageFile),
    "WEBP": _open_webp,
    "PPM": _open_netpbm,
}


# What goes with the pixels.


def _directory(data):
    try:
        return tiff.Directory(data[6:] if data[:6] == b"Exif\0\0" else data)
    except (ValueError, struct.error):
        return None


def _understand(file, data):
    """Take orientation and resolution from EXIF and XMP (void if damaged); True if Adobe RGB."""
    tags = _directory(file.exif or b"")
    turned = tags.first(tiff.ORIENTATION) if tags else None
    if turned is None and (found := re.search(rb'tiff:Orientation(?:="|>)([1-8])', data)):
        turned = int(found[1])
    file.orientation = turned or file.orientation
    if file.orientation not in range(1, 9):
        file.orientation = 1
    dpi = file.dpi or (tags and tags.dpi()) or (0, 0)
    dpi = tuple(float(dots) for dots in dpi)
    file.dpi = dpi if all(math.isfinite(dots) and dots > 0 for dots in dpi) else None
    camera = tags and tags.sub(tiff.EXIF)
    interoperable = camera and camera.sub(tiff.INTEROPERABILITY)
    return bool(interoperable) and interoperable.entries.get(1, [b""])[-1][:3] == b"R03"


def _find_colours(file, adobe_rgb):
    file.space, remark = colour.conversion(file.bands, file.icc, file.png, adobe_rgb)
    if remark:
        file.remarks.append(remark)
    elif file.bands == 4 and file.space is None:
        file.remarks.append("is CMYK without a colour profile; its colours are approximate")
    if file.space and file.space.bits < file.bits:
        file.remarks.append("has a colour profile that is applied with 8 bits per channel")
        file.bits = 8


def exif_for_result(exif):
    """EXIF data for the image as it is now: upright, sRGB, without a stale thumbnail; or None."""
    exif = exif and (exif[6:] if exif[:6] == b"Exif\0\0" else exif)
    tags = _directory(exif or b"")
    if tags is None:
        return None
    changed = bytearray(exif)
    tags.reset(changed, tiff.ORIENTATION)
    if tags.link + 4 <= len(changed):
        changed[tags.link : tags.link + 4] = bytes(4)
    camera = tags.sub(tiff.EXIF)
    if camera:
        camera.reset(changed, tiff.COLOUR_SPACE)
    interoperable = camera and camera.sub(tiff.INTEROPERABILITY)
    if interoperable and interoperable.entries.get(1, [b""])[-1][:3] == b"R03":
        place = interoperable.entries[1][2]
        changed[place : place + 3] = b"R98"
    return b"Exif\0\0" + bytes(changed)


# Decoded.


def decoded(file, plan, largest):
    """Decode an opened file to an image.

    Parameters
    ----------
    file : Opened
    plan : callable
        From (height, width), upright, to what is wanted of them: ((top, left, height, width),
        (height, width)), the part that is cut out and the size that it is brought down to.
    largest : int
        Pixels that are decoded at most.

    Returns
    -------
    torch.Tensor
        (C, H, W) float32 in [0, 1]. What has to be said is in `file.remarks`.
    """
    _bring_down(file, plan, largest)
    part, sides = plan(*file.size[::-1])
    _check_room(file, part, sides)
    try:
        file.load()
        return _image(file, part, sides)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{file.name} needs more memory than there is; make it smaller") from error
    except Exception as error:  # a decoder may fail in any way on damaged bytes
        raise _damaged(file.name, error) from error


def _bring_down(file, plan, largest):
    """Refuse what is too large; a JPEG can be decoded at half its sides, or less."""
    area = file.width * file.height
    if area <= largest:
        return
    (_, _, height, width), wanted = plan(*file.size[::-1])
    small = min(height / wanted[0], width / wanted[1])
    for scale in (2, 4, 8):
        if file.drafts and area / scale**2 <= largest and scale <= small:
            return file.draft(scale)
    advice = ", or read it with longest=1024" if file.drafts and small < 2 else ""
    raise _too_large(file.name, *file.size, largest, advice)


def _check_room(file, part, sides):
    """Refuse what would take more than half of the memory that is free."""
    from . import hardware  # not above: it imports networks, which need no images

    pixels = file.width * file.height
    channels = 1 if file.bands == 1 else 3
    depth = max(file.bytes_per_pixel, (file.bands + file.alpha) * (1 if file.white == 255 else 2))
    stored = pixels * (file.bytes_per_pixel + (depth if file.orientation > 1 else 0))
    shrunk = sides[0] if sides[0] != part[2] else 0
    result = 4 * channels * sides[1] * (part[2] + shrunk)
    needed = max(2 * file.held, stored + max(file.held, result)) + 100 * _BAND
    room = hardware.available(torch.device("cpu"))
    if needed > room / 2 and needed > 100_000_000:
        raise ImageError(
            f"{file.name} has {file.width}x{file.height} pixels; to read them takes "
            f"{needed / 1e9:.1f} GB of memory, and {room / 1e9:.1f} GB are free: make it smaller "
            "first, or read it with longest=1024"
        )


def _image(file, part, sides):
    """Convert band by band, each as narrow as it will be: pixels are never all there as floats."""
    rows, whole_range = _upright_rows(file), range(0, file.size[1])
    top, left, height, width = part
    step = max(1, _BAND // file.size[0])
    bands = [(at, min(at + step, top + height)) for at in whole_range[top : top + height : step]]
    _check_range(file, rows, bands)
    result = torch.empty(1 if file.bands == 1 else 3, height, sides[1])
    highest, lowest_alpha = 0, 1
    for start, end in bands:
        values = rows(start, end)[:, left : left + width]
        highest = max(highest, int(values[..., : file.bands].max() * (file.white == 65535)))
        floats, alpha = _floats(file, values)
        lowest_alpha = min(lowest_alpha, alpha)
        strip = torch.from_numpy(np.ascontiguousarray(floats.transpose(2, 0, 1)))
        result[:, start - top : end - top] = _resized(strip, (end - start, sides[1]))
    file.release()
    file.transparent = lowest_alpha < 1
    if 0 < highest < 2**14 and not file.negative:
        file.remarks.append(
            f"has 16 bits per channel, but its values reach {highest} of 65535 only "
            f"({highest.bit_length()} bits in a 16-bit file?); it is read as dark as it is"
        )
    return _resized(result, sides).clamp_(0, 1)


def _upright_rows(file):
    """A function from (top, bottom) to rows of the upright image."""
    if file.orientation == 1:
        return file.rows
    whole, step = None, max(1, _BAND // file.width)
    for top in range(0, file.height, step):
        rows = file.rows(top, min(top + step, file.height))
        if whole is None:
            whole = np.empty((file.height, *rows.shape[1:]), rows.dtype)
        whole[top : top + step] = rows
    file.release()
    if file.orientation > 4:
        whole = whole.transpose(1, 0, 2)
    down = -1 if file.orientation in (3, 4, 7, 8) else 1
    across = -1 if file.orientation in (2, 3, 6, 7) else 1
    upright = whole[::down, ::across]
    return lambda top, bottom: upright[top:bottom]


def _check_range(file, rows, bands):
    """Refuse numbers beyond what stands for white: nobody knows what they mean."""
    kind = rows(*bands[0])[:1].dtype
    if kind.kind == "u" and file.white == np.iinfo(kind).max:
        return
    low, high = np.inf, -np.inf
    for band in bands:
        values = rows(*band)
        low, high = np.minimum(low, values.min()), np.maximum(high, values.max())
    if not (low >= 0 and high <= file.white):  # so that NaN is refused too
        raise ImageError(
            f"{file.name} holds values from {low:g} to {high:g}; between 0 and {file.white} can be "
            "read"
        )


def _floats(file, values):
    """Turn (h, w, bands and alpha) as stored into sRGB in [0, 1] over white; the least alpha."""
    stored = values[..., : file.bands]
    floats = np.empty(stored.shape, np.float32)
    floats[...] = file.white - stored if file.negative else stored
    floats /= file.white
    alpha = None
    if file.alpha and (least := values[..., -1].min()) < file.white:
        alpha = values[..., file.bands :].astype(np.float32) / file.white
    if alpha is not None and file.premultiplied:
        floats = np.divide(floats, alpha, out=np.ones_like(floats), where=alpha > 0).clip(0, 1)
    if file.space is not None:
        floats = file.space(floats)
    elif file.bands == 4:
        floats = (1 - floats[..., :3]) * (1 - floats[..., 3:])
    if alpha is None:
        return floats, 1
    floats *= alpha
    floats += 1 - alpha
    return floats, float(least) / file.white


def _resized(image, sides):
    if image.shape[-2:] == sides:
        return image
    return F.interpolate(image[None], sides, mode="bicubic", antialias=True)[0]
