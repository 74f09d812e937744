"""Write images to files, with the metadata of the original file."""

import io
import struct
import warnings
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin, features

from ..errors import InputError
from ..files import replacing
from .decoding import exif
from .tensors import check, to_array, to_uint8

WRITABLE = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")
"""Formats of `write` and `encode`."""


def write(image, path, about=None):
    """Write an image to a file; if that fails, an earlier file of this name is kept.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W) with values in [0, 1], of any size.
    path : str or path-like
        The suffix decides the format: .png, .jpg, .tif, .bmp, .webp or .ppm.
    about : About, optional
        As in `encode`.

    Raises
    ------
    InputError
        The suffix is unknown, or the format cannot hold an image of this size.
    OSError
        The folder is not writable, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> from diplearn import images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(images.load("camera", size=64), Path(folder, "small.png"))
    ...     images.read(Path(folder, "small.png")).shape
    torch.Size([1, 64, 64])
    """
    check_suffix(path)
    content = encode(image, image_format(path), about)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def encode(image, format, about=None):
    """Return the bytes of an image file, for a pipe or a network.

    Colour images in PNG, JPEG, TIFF and WebP are marked as sRGB.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W) with values in [0, 1], of any size.
    format : str
        One of `WRITABLE`, or a file suffix such as ``"jpg"``.
    about : About, optional
        Metadata of the original file. PNG, TIFF and PPM keep 16 bits per channel; PNG, JPEG, TIFF
        and WebP keep EXIF, with updated image size and colour space; PNG, JPEG, TIFF and BMP keep
        the resolution.

    Returns
    -------
    bytes
        The whole file.

    Raises
    ------
    InputError
        The format is unknown, or cannot hold an image of this size.

    Warns
    -----
    UserWarning
        EXIF and resolution cannot be stored and are left out.

    Examples
    --------
    >>> from diplearn import images
    >>> encode(images.load("camera", size=64), "png")[1:4]
    b'PNG'
    """
    image = check(image, smallest=1)
    name = image_format(f"image.{str(format).lstrip('.')}")
    if name not in WRITABLE:
        raise InputError(f"no format is called {format!r}; there are {', '.join(WRITABLE)}")
    deep = about is not None and about.bits == 16 and name in ("PNG", "TIFF", "PPM")
    samples = _to_uint16(image) if deep else to_uint8(image)
    options = _colour_and_quality(name, image.shape[0])
    kept = {} if about is None else _kept(name, about, *samples.shape[:2])
    try:
        return _encoded(samples, name, options | kept)
    except Exception as error:  # metadata can be wrong in many ways; the image matters more
        if not kept:
            sides = f"{samples.shape[1]}x{samples.shape[0]}"
            raise InputError(f"{name} cannot hold a {sides} image: {error}") from error
    content = encode(image, name, about._replace(exif=None, dpi=None))
    warnings.warn(f"EXIF and resolution cannot be kept in {name}; they are left out", stacklevel=2)
    return content


def image_format(path):
    """Return Pillow's format for the suffix of a path, or None."""
    return Image.registered_extensions().get(Path(path).suffix.lower())


def check_suffix(path, formats=WRITABLE):
    """Raise InputError unless the suffix of `path` belongs to one of the formats."""
    if image_format(path) not in formats:
        known = ", ".join(sorted(f".{name.lower()}" for name in formats))
        raise InputError(f"{path}: files with this suffix cannot be written (known: {known})")


def _to_uint16(image):
    return (to_array(image) * 65535 + 0.5).astype(np.uint16, order="C")  # rows are contiguous


def _colour_and_quality(name, channels):
    options = {"quality": 95} if name == "JPEG" else {}
    if channels == 3 and name == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add(b"sRGB", b"\0")  # perceptual intent
    elif channels == 3 and name in ("JPEG", "TIFF", "WEBP"):
        options["icc_profile"] = _srgb_profile()
    return options


@lru_cache(maxsize=1)
def _srgb_profile():
    """Return the bytes of an sRGB profile, or None if Pillow was built without LittleCMS."""
    if not features.check("littlecms2"):
        return None
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # LittleCMS writes today's date; with a fixed date, the same image gives the same file.
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


def _kept(name, about, height, width):
    """Return Pillow's options for the metadata that the format can store."""
    kept = {}
    if about.exif and name in ("PNG", "JPEG", "TIFF", "WEBP"):
        kept["exif"] = exif.for_file(about.exif, height, width)
    if about.dpi and name in ("PNG", "JPEG", "TIFF", "BMP"):
        kept["dpi"] = tuple(about.dpi)
    return {key: value for key, value in kept.items() if value is not None}


def _encoded(samples, name, options):
    """Encode with Pillow, which has no mode for colours of 16 bits: those are written here."""
    if samples.dtype == np.uint8 or samples.ndim == 2:
        return _by_pillow(samples, name, options)
    if name == "PPM":
        head = b"P6\n%d %d\n65535\n" % samples.shape[1::-1]
        return head + samples.astype(">u2").tobytes()
    return _deep_tiff(samples, options) if name == "TIFF" else _deep_png(samples, options)


def _by_pillow(samples, name, options):
    memory = io.BytesIO()
    Image.fromarray(samples).save(memory, name, **options)
    return memory.getvalue()


def _deep_tiff(samples, options):
    """Let Pillow write the bytes as an 8-bit image of twice the width, then correct the header."""
    wide = samples.astype("<u2").view(np.uint8).reshape(len(samples), -1, 3)
    content = bytearray(_by_pillow(wide, "TIFF", options))
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    for at in range(first + 2, first + 2 + 12 * entries, 12):
        tag, kind, _, value = struct.unpack_from("<HHII", content, at)
        if tag == exif.Tag.ImageWidth:  # 16 or 32 bits
            struct.pack_into("<H" if kind == 3 else "<I", content, at + 8, samples.shape[1])
        elif tag == exif.Tag.BitsPerSample:  # three numbers, stored outside the entry
            struct.pack_into("<3H", content, value, 16, 16, 16)
    return bytes(content)


def _deep_png(samples, options):
    """Let Pillow write one row of 8-bit colours, and replace it by the 16-bit pixels."""
    height, width, _ = samples.shape
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), 2, np.uint8)  # filter 2: minus the row above
    filtered[:, 1:] = rows
    filtered[1:, 1:] -= rows[:-1]
    around = _by_pillow(np.zeros((1, width, 3), np.uint8), "PNG", options)
    signature, metadata = around[:8], around[33 : around.rindex(b"IDAT") - 4]  # after IHDR
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    pixels = _chunk(b"IDAT", zlib.compress(filtered.tobytes()))
    return signature + _chunk(b"IHDR", header) + metadata + pixels + _chunk(b"IEND", b"")


def _chunk(kind, data):
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
