"""Images as tensors: bundled, read, downloaded, written, checked.

An image is a float32 tensor (C, H, W) with values in [0, 1]; C is 1 (grey) or 3 (RGB).
"""

import csv
import io
import os
import struct
import warnings
import zlib
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, PngImagePlugin, features

from . import decode
from .errors import ImageError, InputError, whole
from .files import replacing

SMALLEST_SIDE = 16
"""Pixels: below this a network with five halvings has nothing left to look at."""

LARGEST_AREA = 100_000_000
"""Pixels: a file that claims more is refused before it is decoded (a decompression bomb)."""

# The images that scikit-image carries inside its wheel: nothing to download, free to use.
# name -> (file, what it shows)
BUNDLED = {
    "astronaut": ("astronaut.png", "Eileen Collins, NASA, 512x512, colour"),
    "brick": ("brick.png", "a brick wall, 512x512, grey"),
    "camera": ("camera.png", "a photographer, 512x512, grey"),
    "chelsea": ("chelsea.png", "a cat, 451x300, colour"),
    "coffee": ("coffee.png", "a cup of coffee, 600x400, colour"),
    "coins": ("coins.png", "Greek coins from Pompeii, 384x303, grey"),
    "grass": ("grass.png", "grass, 512x512, grey"),
    "gravel": ("gravel.png", "gravel, 512x512, grey"),
    "hubble": ("hubble_deep_field.jpg", "galaxies, 1000x872, colour"),
    "moon": ("moon.png", "the surface of the Moon, 512x512, grey"),
    "motorcycle": ("motorcycle_left.png", "a motorcycle in a garage, 741x500, colour"),
    "page": ("page.png", "a scanned page of text, 384x191, grey"),
    "retina": ("retina.jpg", "the retina of an eye, 1411x1411, colour"),
    "rocket": ("rocket.jpg", "a rocket on its pad, 640x427, colour"),
    "text": ("text.png", "handwriting, 448x172, grey"),
}

WRITABLE = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")
"""Formats that `write` and `encode` know."""


def load(name, size=None):
    """Load a bundled image, or one of the paper's.

    Parameters
    ----------
    name : str
        One of `names()`, such as ``"astronaut"``; or one of `paper_names()`, such as
        ``"denoising/F16_GT.png"``, which is downloaded once (see `fetch`).
    size : int, optional
        Take the centre square and bring it down to `size` x `size` pixels, antialiased.
        Default: the whole image.

    Returns
    -------
    torch.Tensor
        The image, (C, H, W) float32 in [0, 1].

    Raises
    ------
    ImageError
        No image has that name, or it is smaller than `size`.

    Examples
    --------
    >>> load("astronaut", size=256).shape
    torch.Size([3, 256, 256])
    """
    if name in BUNDLED:
        path = resources.files("skimage") / "data" / BUNDLED[name][0]
    elif name in _paper_images():
        path = fetch(name)
    else:
        raise ImageError(
            f"no image is called {name!r}; the bundled ones are {', '.join(names())} "
            "(a file of your own: images.read(path); the paper's: images.paper_names())"
        )
    # Profiles are left aside, as scikit-image does: the lessons' numbers are of these pixels.
    return _read(path, size, colours=False)


def names():
    """List the bundled images.

    Returns
    -------
    list of str
        Names for `load`; these need no network.

    Examples
    --------
    >>> names()[:3]
    ['astronaut', 'brick', 'camera']
    """
    return sorted(BUNDLED)


class About(NamedTuple):
    """What a file says about its image beside the pixels (see `about`).

    Attributes
    ----------
    bits : int
        Bits per channel, as read: 8 or 16.
    exif : bytes or None
        The camera's data (EXIF) as Pillow writes them. As `read` has turned the image,
        converted it to sRGB and perhaps made it smaller, the orientation is reset, the colour space
        is sRGB and the thumbnail is dropped.
    dpi : tuple of float or None
        The resolution (x, y) in dots per inch.
    """

    bits: int
    exif: bytes | None
    dpi: tuple[float, float] | None


def about(source):
    """Say what a file holds beside its pixels, so that a result can keep it.

    Parameters
    ----------
    source : str, path-like, bytes or binary file object
        As in `read`; a file object is read to its end, so hand bytes to both.

    Returns
    -------
    About
        Bits per channel, EXIF and resolution; for `write(image, path, about=...)`.

    Raises
    ------
    ImageError
        As in `read`, but for what only the pixels show.

    Examples
    --------
    >>> about(resources.files("skimage") / "data" / "retina.jpg")
    About(bits=8, exif=None, dpi=(150.0, 150.0))
    """
    name, kind, data = decode.content(source)
    file = decode.opened(kind, data, name, LARGEST_AREA)
    return About(file.bits, decode.exif_for_result(file.exif), file.dpi)


def read(source, size=None, longest=None, smallest=SMALLEST_SIDE):
    """Read an image from a file.

    Whatever the file holds becomes a grey or sRGB image. Palettes are converted, a camera's
    rotation (EXIF) is applied, 16 bits per channel keep their precision. Of an animation the first
    frame is taken; transparency is laid over white.

    Colours become sRGB: by the file's ICC profile (relative colorimetric where it is curves and a
    matrix, perceptual at 8 bits where it is a table), by PNG's chunks cICP, sRGB, gAMA and cHRM (in
    the order that the standard gives them), or by a camera's mark of Adobe RGB. Colours outside
    sRGB are clipped. CMYK without a profile is converted by a formula. What names no space is
    taken for sRGB, and so is a profile that cannot be applied.

    TIFF may have 8 or 16 bits per channel (grey, RGB, CMYK, with or without alpha), be a fax, a
    palette, Lab or YCbCr, or be one channel of other numbers: integers of more than 16 bits must
    lie between 0 and 65535, floating values between 0 and 1. Everything else is refused.

    Parameters
    ----------
    source : str, path-like, bytes or binary file object
        A PNG, JPEG, TIFF, BMP, GIF, WebP or PPM file of at most 1 GB. A path may lead to a pipe
        (``/dev/stdin``); bytes are the file's content; a file object is read to its end.
    size : int, optional
        Take the centre square and bring it down to `size` x `size` pixels, antialiased.
    longest : int, optional
        Bring the whole image down until its longer side has at most `longest` pixels.
    smallest : int, optional
        Pixels that each side must have: 1 for a small observation, such as that of `Downsample(4)`.

    Returns
    -------
    torch.Tensor
        The image, (C, H, W) float32 in [0, 1]; C is 1 or 3.

    Raises
    ------
    ImageError
        The file is missing, empty, damaged, no image or too small; it claims more than 100
        million pixels (a JPEG may, if `size` or `longest` lets it be decoded at half its sides or
        less), or more than half of the free memory would be needed. Nothing else is raised,
        whatever the bytes.

    Warns
    -----
    UserWarning
        The file holds more than one frame or more channels than are read, is transparent in places,
        has colours that cannot be converted exactly, or has 16 bits per channel of which the upper
        ones are never used (12 bits in a file of 16: the values are not changed).

    Examples
    --------
    >>> read("missing.png")
    Traceback (most recent call last):
    ...
    diplearn.errors.ImageError: there is no file missing.png
    """
    return _read(source, size, longest, smallest)


def read_erased(source):
    """Read an image and what is known of it: all but what was erased, which is transparent.

    Parameters
    ----------
    source : str, path-like, bytes or binary file object
        As in `read`.

    Returns
    -------
    image : torch.Tensor
        The image, (C, H, W) float32 in [0, 1], white where it was erased.
    known : torch.Tensor
        (1, H, W) bool, True where a pixel is opaque.

    Raises
    ------
    ImageError
        The image is half transparent, rather than erased in places; or as in `read`.

    Warns
    -----
    UserWarning
        As `read`, but for transparency.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(torch.zeros(3, 16, 32), Path(folder, "black.png"))
    ...     image, known = read_erased(Path(folder, "black.png"))
    >>> image.shape, known.all().item()  # nothing was erased
    (torch.Size([3, 16, 32]), True)
    """
    name, kind, data = decode.content(source)
    image, file = _decoded(data, name=name)
    for remark in file.remarks:
        warnings.warn(f"{name} {remark}", stacklevel=2)
    if not file.transparent:
        return image, torch.ones(1, *image.shape[1:], dtype=torch.bool)
    alpha = decode.opened(kind, data, name, LARGEST_AREA, colours=False)
    alpha = _black_and_white(_whole(decode.alpha_only(alpha)), name, _NO_HOLE)
    return image, alpha > 1 - _edge(kind)


def _read(source, size=None, longest=None, smallest=SMALLEST_SIDE, colours=True):
    image, file = _decoded(source, size, longest, smallest, colours)
    if file.transparent:
        file.remarks.append("is transparent in places; white shows there")
    for remark in file.remarks:
        warnings.warn(f"{file.name} {remark}", stacklevel=3)
    return image


def _decoded(source, size=None, longest=None, smallest=SMALLEST_SIDE, colours=True, name=None):
    """Return the image, and the file with what is to be said of it."""
    found, kind, data = decode.content(source)
    name = name or found
    file = decode.opened(kind, data, name, LARGEST_AREA, colours)
    del data  # what has to be decoded, `file` holds

    def plan(height, width):
        """What is cut out, and how large it shall become: known before anything is decoded."""
        if min(height, width) < smallest:
            raise ImageError(
                f"{name} is {width}x{height} pixels; an image needs at least "
                f"{smallest} on each side"
            )
        if size is not None:
            side = _square(height, width, size)
            return ((height - side) // 2, (width - side) // 2, side, side), (int(size), int(size))
        sides = (height, width) if longest is None else _shrunk(height, width, longest, smallest)
        return (0, 0, height, width), sides

    image = decode.decoded(file, plan, LARGEST_AREA)
    if size is not None and longest is not None:
        image = shrink(image, longest)
    return image, file


def _from_numpy(values, top):
    """Scale (H, W) or (H, W, C) from [0, top] to (C, H, W) in [0, 1].

    The only copy is the result: a camera's 24 million pixels are 290 MB as float32.
    """
    planes = np.atleast_3d(values).transpose(2, 0, 1)
    image = np.empty(planes.shape, np.float32)
    image[...] = planes
    image /= top
    return torch.from_numpy(image)


def from_array(array):
    """Make an image from an array as NumPy, scikit-image, matplotlib and Pillow have it.

    Parameters
    ----------
    array : array_like or PIL.Image.Image
        (H, W) or (H, W, C), C = 1 or 3; uint8, uint16, bool, or floating in [0, 1]. A tensor may
        be on any device.

    Returns
    -------
    torch.Tensor
        The image, (C, H, W) float32 in [0, 1]; a Pillow image is turned as its EXIF data say.

    Raises
    ------
    ImageError
        The shape or the values are not an image's, a masked array has masked values, or a Pillow
        image is transparent.

    Examples
    --------
    >>> import numpy as np
    >>> from_array(np.full((32, 48, 3), 255, np.uint8)).shape
    torch.Size([3, 32, 48])
    """
    array = _plain_array(array)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ImageError(
            f"an array of shape {array.shape} is not (H, W), (H, W, 1) or (H, W, 3); "
            "a tensor that is (C, H, W) already needs no conversion"
        )
    if array.dtype.kind not in "buif":
        raise ImageError(f"an array of {array.dtype} holds no numbers that an image could have")
    return check(_from_numpy(array, _white(array)))


def _white(array):
    return {"uint8": 255, "uint16": 65535}.get(array.dtype.name, 1)


def _plain_array(array):
    """Return a NumPy array of what a caller may mean by one; palettes become colours."""
    if isinstance(array, Image.Image):
        return _pixels(array)
    if isinstance(array, torch.Tensor):
        array = _present(array, "the array").detach().cpu().to_dense()
        return (array.float() if _unknown_to_numpy(array) else array).numpy()
    _refuse_masked(array, "the array")
    try:
        return np.asarray(array)
    except Exception as error:  # rows of different lengths, foreign objects
        raise ImageError(f"a {type(array).__name__} that is no array: {error}") from None


def _unknown_to_numpy(tensor):
    return tensor.dtype == torch.bfloat16 or str(tensor.dtype).startswith("torch.float8")


def _present(tensor, what):
    if tensor.is_meta:
        raise ImageError(f"{what} is a tensor on device meta, which holds no values")
    if "float4" in str(tensor.dtype):
        raise ImageError(f"{what} holds {tensor.dtype}, which PyTorch cannot convert")
    return tensor


def _pixels(image):
    """Return grey or RGB pixels of a Pillow image, whose own array may hold palette indices."""
    try:
        image.load()
    except Exception as error:  # closed, or of a file that is damaged or gone
        raise ImageError(f"the pixels of a Pillow image cannot be had: {error}") from None
    image = _upright(image)
    if image.mode in ("1", "L", "RGB", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image)
    if _transparency(image) is not None:
        raise ImageError(
            "the image is transparent in places: lay it over a colour first, or drop its alpha "
            "channel with image.convert('RGB')"
        )
    try:
        return np.asarray(image.convert("L" if image.mode == "LA" else "RGB"))
    except Exception as error:
        raise ImageError(f"an image of mode {image.mode} cannot be converted: {error}") from None


def _upright(image):
    """Return a Pillow image as a viewer shows it: a camera's rotation (EXIF) is applied."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data, which `read` leaves aside, too
        return image


def _transparency(image):
    """Return the upright alpha channel of a Pillow image; None where all of it is opaque."""
    if image.mode not in ("LA", "PA", "RGBA", "La", "RGBa") and "transparency" not in image.info:
        return None
    image = _upright(image)
    try:
        whole = image.convert("LA") if image.mode == "La" else image
        alpha = whole.convert("RGBA").getchannel("A")
    except Exception as error:
        raise ImageError(f"the transparency of an image cannot be understood: {error}") from None
    return alpha if alpha.getextrema()[0] < 255 else None


def as_tensor(values, what="the image"):
    """Return an array of numbers as a tensor, whatever holds it.

    Parameters
    ----------
    values : torch.Tensor or array_like
        A tensor is returned as it is, on its device. An array may have any byte order and any
        strides, and may be read-only; nested lists and tables of numbers are arrays too.
    what : str, optional
        How the message names it.

    Returns
    -------
    torch.Tensor
        Of the same shape, and of the same type where PyTorch has it.

    Raises
    ------
    ImageError
        It holds no numbers, or masked ones, or is an image of Pillow (see `from_array`).

    Examples
    --------
    >>> import numpy as np
    >>> as_tensor(np.array([[0.5, 1]], ">f4")).tolist()
    [[0.5, 1.0]]
    """
    if isinstance(values, torch.Tensor):
        values = _present(values, what)
        return values if values.layout is torch.strided else values.to_dense()
    if isinstance(values, Image.Image):
        raise ImageError(f"{what} is a Pillow image, not a tensor; use images.from_array(image)")
    _refuse_masked(values, what)
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "buif":
            raise TypeError
    except Exception:  # words, rows of different lengths, foreign objects
        words = f"{what} is a {type(values).__name__}, not a tensor"
        if isinstance(values, np.ndarray):
            words = f"{what} is an array of {values.dtype}, not a tensor, and holds no numbers"
        elif isinstance(values, str | os.PathLike):
            reader = "read_mask" if what == "the mask" else "read"
            words += f"; images.{reader}(path) reads a file"
        raise ImageError(words) from None
    native = np.dtype("f8") if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, native, ["C_CONTIGUOUS", "WRITEABLE"]))


def _refuse_masked(values, what):
    """Raise ImageError for an array of which NumPy's own mask hides a part, also within a list."""
    if isinstance(values, list | tuple):
        for value in values:
            _refuse_masked(value, what)
    elif np.ma.is_masked(values):
        raise ImageError(
            f"{what} is a masked array with {np.ma.count_masked(values)} masked values: use "
            "array.filled(0) as the image, and Mask(~numpy.ma.getmaskarray(array)), channels "
            "first, as the problem's operator"
        )


def to_array(image):
    """Turn an image into a NumPy array as scikit-image and matplotlib want it.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W), C = 1 or 3, on any device.

    Returns
    -------
    numpy.ndarray
        (H, W) or (H, W, 3) float32, clipped to [0, 1].

    Examples
    --------
    >>> to_array(torch.full((3, 16, 20), 1.5)).shape
    (16, 20, 3)
    """
    array = as_tensor(image).detach().float().clamp(0, 1).cpu().numpy().transpose(1, 2, 0)
    return array[..., 0] if array.shape[2] == 1 else array


def to_uint8(image):
    """Round an image to the 8 bits that a screen shows.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W), C = 1 or 3.

    Returns
    -------
    numpy.ndarray
        (H, W) or (H, W, 3) uint8.

    Examples
    --------
    >>> to_uint8(torch.full((3, 16, 20), 0.5)).shape
    (16, 20, 3)
    """
    return (to_array(image) * 255 + 0.5).astype(np.uint8)


def write(image, path, about=None):
    """Write an image to a file, whole or not at all.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W) with values in [0, 1], of any size: a small observation is an image too.
    path : str or path-like
        The suffix decides the format: .png, .jpg, .tif, .bmp, .webp, .ppm.
    about : About, optional
        What the file that the image comes from says beside its pixels; kept as `encode` says.

    Raises
    ------
    InputError
        The suffix is none of an image's, or the format cannot hold an image of this size.
    OSError
        The folder cannot be written, or the disk is full; an earlier file survives.

    Warns
    -----
    UserWarning
        What `about` says cannot be written; the image is.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(load("camera", size=64), Path(folder, "small.png"))
    ...     read(Path(folder, "small.png")).shape
    torch.Size([1, 64, 64])
    """
    check_suffix(path)
    content = encode(image, image_format(path), about)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def encode(image, format, about=None):
    """Return the bytes of an image's file, to be written to a pipe or sent over a network.

    A colour image is marked as sRGB where the format can say so (PNG, JPEG, TIFF, WebP).

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W) with values in [0, 1], of any size.
    format : str
        One of `WRITABLE`, or a suffix that stands for it, such as ``"jpg"``.
    about : About, optional
        Where ``about.bits`` is 16, PNG, TIFF and PPM get 16 bits per channel. The camera's data
        (EXIF) are kept by PNG, JPEG, TIFF and WebP, with what describes the pixels (orientation,
        size, colour space) brought up to date; the resolution by PNG, JPEG, TIFF and BMP.

    Returns
    -------
    bytes

    Raises
    ------
    InputError
        No such format, or it cannot hold an image of this size.

    Warns
    -----
    UserWarning
        What `about` says cannot be written; the image is.

    Examples
    --------
    >>> encode(load("camera", size=64), "png")[1:4]
    b'PNG'
    """
    image = check(image, smallest=1)
    name = image_format(f"image.{str(format).lstrip('.')}")
    if name not in WRITABLE:
        raise InputError(f"no format is called {format!r}; there are {', '.join(WRITABLE)}")
    deep = about is not None and about.bits == 16 and name in ("PNG", "TIFF", "PPM")
    samples = _to_uint16(image) if deep else to_uint8(image)
    options = _colour_and_quality(name, image)
    kept = {} if about is None else _kept(name, about, image)
    try:
        return _encoded(samples, name, options | kept)
    except Exception as error:  # metadata can be wrong in many ways, and must not cost the image
        if not kept:
            raise InputError(f"{name} cannot hold a {_sides(image)} image: {error}") from error
    content = encode(image, name, about._replace(exif=None, dpi=None))
    warnings.warn(f"EXIF and resolution cannot be kept in {name}; they are left out", stacklevel=2)
    return content


def _to_uint16(image):
    return (to_array(image) * 65535 + 0.5).astype(np.uint16, order="C")  # row by row


def _colour_and_quality(name, image):
    options = {"quality": 95} if name == "JPEG" else {}
    if image.shape[0] == 3 and name == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add(b"sRGB", b"\0")  # perceptual intent
    elif image.shape[0] == 3 and name in ("JPEG", "TIFF", "WEBP"):
        options["icc_profile"] = _srgb_profile()
    return options


@lru_cache(maxsize=1)
def _srgb_profile():
    """Return the bytes of an sRGB profile, or None where Pillow was built without profiles."""
    if not features.check("littlecms2"):
        return None
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Its date is that of this moment: with a fixed one, the same image gives the same file.
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


def _kept(name, about, image):
    """Return Pillow's options for the metadata that a format can keep."""
    kept = {}
    if about.exif and name in ("PNG", "JPEG", "TIFF", "WEBP"):
        kept["exif"] = _updated_exif(about.exif, image)
    if about.dpi and name in ("PNG", "JPEG", "TIFF", "BMP"):
        kept["dpi"] = tuple(about.dpi)
    return {key: value for key, value in kept.items() if value is not None}


# Tags that tell how a file stores its pixels: they are the old file's.
_STORAGE = (*range(254, 260), 262, 266, 273, 274, 277, 278, 279, 284, 317, *range(320, 326), 330,
            338, 339, 347, *range(512, 522), *range(529, 533), 34675)  # fmt: skip
_CAMERA, _WIDTH, _HEIGHT = 0x8769, 0xA002, 0xA003


def _updated_exif(content, image):
    """Bring up to date what EXIF says about the pixels; None where it is damaged."""
    try:
        exif = Image.Exif()
        exif.load(decode.exif_for_result(content))
        for tag in _STORAGE:
            exif.pop(tag, None)
        camera = exif.get_ifd(_CAMERA)
        now = {_WIDTH: image.shape[2], _HEIGHT: image.shape[1]}
        camera.update({tag: value for tag, value in now.items() if tag in camera})
        return exif.tobytes()
    except Exception:
        return None


def _encoded(samples, name, options):
    """Encode with Pillow; 16 bits of colour, which it has no mode for, with a little help."""
    memory = io.BytesIO()
    deep_colour = samples.dtype == np.uint16 and samples.ndim == 3
    if deep_colour and name == "PPM":
        head = b"P6\n%d %d\n65535\n" % samples.shape[1::-1]
        return head + samples.astype(">u2").tobytes()
    if deep_colour and name == "TIFF":  # the same bytes as 8-bit pixels, twice as many in a row
        wide = samples.astype("<u2").view(np.uint8).reshape(len(samples), -1, 3)
        Image.fromarray(wide).save(memory, name, **options)
        return _deep_tiff(memory.getvalue(), samples.shape[1])
    if deep_colour:
        Image.fromarray(np.zeros_like(samples, np.uint8)).save(memory, name, **options)
        return _deep_png(memory.getvalue(), samples)
    Image.fromarray(samples).save(memory, name, **options)
    return memory.getvalue()


def _deep_tiff(content, width):
    """Let an 8-bit RGB file of Pillow's say that its rows hold `width` pixels of 16 bits."""
    content = bytearray(content)
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    for at in range(first + 2, first + 2 + 12 * entries, 12):
        tag, kind, _, value = struct.unpack_from("<HHII", content, at)
        if tag == 256:  # the width, 16 or 32 bits
            struct.pack_into("<H" if kind == 3 else "<I", content, at + 8, width)
        elif tag == 258:  # bits per sample, three of them: too long for the entry itself
            struct.pack_into("<3H", content, value, 16, 16, 16)
    return bytes(content)


def _deep_png(content, samples):
    """Put 16-bit pixels in the place of the 8-bit ones that Pillow wrote."""
    rows = samples.astype(">u2").view(np.uint8).reshape(len(samples), -1)
    filtered = np.full((len(rows), rows.shape[1] + 1), 2, np.uint8)  # filter 2: less the row above
    filtered[:, 1:] = rows
    filtered[1:, 1:] -= rows[:-1]
    pixels, made, at = zlib.compress(filtered.tobytes()), [content[:8]], 8
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        data = content[at + 8 : at + 8 + length]
        at += length + 12
        if kind == b"IHDR":
            data = data[:8] + b"\x10" + data[9:]
        if kind == b"IDAT":
            data, pixels = pixels, None  # the first gets all, the others nothing
        if data is not None:
            body = kind + data
            made += [struct.pack(">I", len(data)), body, struct.pack(">I", zlib.crc32(body))]
    return b"".join(made)


def image_format(path):
    """Name the format that Pillow would write for this suffix, or None.

    Parameters
    ----------
    path : str or path-like
        Only its suffix counts.

    Returns
    -------
    str or None

    Examples
    --------
    >>> image_format("photo.JPG"), image_format("notes.docx")
    ('JPEG', None)
    """
    return Image.registered_extensions().get(Path(path).suffix.lower())


def check_suffix(path, formats=WRITABLE):
    """Raise InputError unless the suffix of `path` is that of one of the formats.

    Parameters
    ----------
    path : str or path-like
        Where a file shall be written.
    formats : sequence of str, optional
        Names as `image_format` gives them.

    Raises
    ------
    InputError
        With the suffixes that would do.

    Examples
    --------
    >>> check_suffix("result.docx", ["PNG", "GIF"])
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: result.docx: the suffix names no format that can be written \
(.gif, .png)
    """
    if image_format(path) not in formats:
        known = ", ".join(sorted(f".{name.lower()}" for name in formats))
        raise InputError(f"{path}: the suffix names no format that can be written ({known})")


def centre_square(image, size):
    """Cut out the centre square and bring it down to `size` x `size` pixels.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W).
    size : int
        Pixels per side; at most the shorter side of the image.

    Returns
    -------
    torch.Tensor
        (C, size, size), antialiased, clipped to [0, 1].

    Raises
    ------
    ImageError
        `size` is larger than the image, smaller than 16 or no whole number.

    Examples
    --------
    >>> centre_square(load("coffee"), 128).shape
    torch.Size([3, 128, 128])
    """
    image = as_tensor(image)
    height, width = image.shape[-2:]
    side, size = _square(height, width, size), int(size)
    top, left = (height - side) // 2, (width - side) // 2
    return _resize(image[:, top : top + side, left : left + side], size, size)


def _square(height, width, size):
    """The side of the centre square; raise ImageError if it cannot be brought down to `size`."""
    try:
        whole(size, "size", SMALLEST_SIDE, min(height, width))
    except InputError as error:
        raise ImageError(f"{error}, the shorter side of this {width}x{height} image") from None
    return min(height, width)


def shrink(image, longest):
    """Bring a whole image down until its longer side has at most `longest` pixels.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W).
    longest : int
        Pixels; an image that is small enough already is returned as it is.

    Returns
    -------
    torch.Tensor
        (C, h, w), antialiased, clipped to [0, 1].

    Raises
    ------
    ImageError
        The shorter side would fall under 16 pixels, or `longest` is no whole number.

    Examples
    --------
    >>> shrink(load("coffee"), 300).shape  # 600x400 before
    torch.Size([3, 200, 300])
    """
    image = as_tensor(image)
    sides = _shrunk(*image.shape[-2:], longest, SMALLEST_SIDE)
    return image if sides == image.shape[-2:] else _resize(image, *sides)


def _shrunk(height, width, longest, smallest):
    """The sides that `shrink` leaves."""
    try:
        ratio = whole(longest, "longest", smallest) / max(height, width)
    except InputError as error:
        raise ImageError(str(error)) from None
    if ratio >= 1:
        return height, width
    height, width = round(height * ratio), round(width * ratio)
    if min(height, width) < smallest:
        raise ImageError(
            f"longest={longest} would leave {max(width, 1)}x{max(height, 1)} pixels; "
            f"an image needs at least {smallest} on each side"
        )
    return height, width


def _resize(image, height, width):
    if image.shape[-2:] == (height, width):
        return image.clone()
    resized = F.interpolate(image[None], (height, width), mode="bicubic", antialias=True)
    return resized[0].clamp(0, 1)


def shrink_known(image, known, longest):
    """Bring down an image of which only a part is known, and say what is known of the result.

    A pixel of the small image is a weighted mean of many, and the antialiasing filter has
    negative weights too. It counts as known where the absolute weights of the missing pixels sum
    up to less than one grey level, 1/255. Mid-grey stands for what is missing, so that a known
    pixel is within half a grey level of what the whole image would give.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W); its missing pixels may hold anything, NaN too.
    known : torch.Tensor
        (H, W), (1, H, W) or (C, H, W), True where a pixel is known.
    longest : int
        Pixels of the longer side, as in `shrink`.

    Returns
    -------
    image : torch.Tensor
        (C, h, w), 0 where it is missing.
    known : torch.Tensor
        (1, h, w) or (C, h, w) bool.

    Raises
    ------
    ImageError
        The two differ in size, nothing would stay known, or as in `shrink`.

    Warns
    -----
    UserWarning
        Less than half of the part that was known stays known.

    Examples
    --------
    >>> known = torch.ones(1, 400, 600, dtype=torch.bool)
    >>> known[:, 100:200, 100:200] = False
    >>> image, known = shrink_known(load("coffee"), known, 300)
    >>> image.shape, (~known).sum().item()  # not 50x50: the filter reaches further
    (torch.Size([3, 200, 300]), 2904)
    """
    image, known = as_tensor(image), as_tensor(known, "the mask") > 0
    known = known[None] if known.ndim == 2 else known
    channels = (1, image.shape[0])
    if known.ndim != 3 or known.shape[1:] != image.shape[1:] or known.shape[0] not in channels:
        raise ImageError(
            f"the mask has shape {tuple(known.shape)} and the image {tuple(image.shape)}; "
            "they must be of the same size"
        )
    small = shrink(torch.where(known, image, 0.5), longest)
    if small.shape != image.shape:
        rows, columns = (
            _resampling_weights(*sides).abs().to(image)
            for sides in zip(image.shape[1:], small.shape[1:])
        )
        before = float(known.float().mean())
        known = rows @ (~known).to(image) @ columns.T <= 1 / 255
        if 0 < (after := float(known.float().mean())) < before / 2:
            warnings.warn(
                f"longest={longest} leaves {after:.1%} of the image known, where {before:.1%} "
                "were: take a larger longest",
                stacklevel=2,
            )
    if not known.any():
        raise ImageError(
            f"longest={longest} leaves nothing known, since something missing goes into every "
            "pixel: take a larger one, or none"
        )
    return torch.where(known, small, 0), known


def _resampling_weights(pixels, fewer):
    """Return the (fewer, pixels) matrix by which `_resize` works along an axis."""
    if fewer == pixels:
        return torch.eye(pixels)
    eye = torch.eye(pixels)[None, None]
    return F.interpolate(eye, (fewer, pixels), mode="bicubic", antialias=True)[0, 0]


def read_mask(source, invert=False):
    """Read which pixels of an image are known.

    Where the file is transparent in places, those are missing and the rest is known, whatever its
    colours. Otherwise white is known and black is missing. Grey at the edges of letters and what
    JPEG leaves around edges is allowed, and such pixels are missing; a photograph is refused.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object or PIL.Image.Image
        As in `read`.
    invert : bool, optional
        The other way round: white, or opaque, is missing.

    Returns
    -------
    torch.Tensor
        (1, H, W) bool, True where a pixel is known.

    Raises
    ------
    ImageError
        The mask is not black and white, or as in `read`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write((torch.arange(32) > 7).float().expand(1, 16, 32), Path(folder, "mask.png"))
    ...     read_mask(Path(folder, "mask.png")).sum().item()  # 16 rows of 24 known pixels
    384
    """
    from_pillow = isinstance(source, Image.Image)
    values, name, kind = (_mask_of_image if from_pillow else _mask_of_file)(source)
    values = _black_and_white(values.mean(dim=0, keepdim=True), name)
    edge = _edge(kind)
    return values < edge if invert else values > 1 - edge


def _edge(kind):
    """JPEG rings by up to a fifth around edges; elsewhere a grey pixel is partly missing."""
    return 0.2 if kind in ("JPEG", "WEBP") else 0.02


def _mask_of_image(image):
    """Return alpha or colours of a Pillow image, its name, and its format."""
    alpha = _transparency(image)
    pixels = _pixels(image) if alpha is None else np.asarray(alpha)
    values = check(_from_numpy(pixels, _white(pixels)), "the mask", smallest=1)
    return values, "the mask", image.format


def _mask_of_file(source):
    """Return alpha or colours of a file, its name, and its format."""
    name, kind, data = decode.content(source, "the mask")
    name = name if isinstance(source, str | os.PathLike) else "the mask"

    file = decode.opened(kind, data, name, LARGEST_AREA, colours=False)
    for remark in file.remarks:
        warnings.warn(f"{name} {remark}", stacklevel=3)
    if file.alpha:
        alpha = _whole(decode.alpha_only(file))
        if alpha.min() < 1:
            return alpha, name, kind
        file = decode.opened(kind, data, name, LARGEST_AREA, colours=False)
    return _whole(file), name, kind


def _whole(file):
    return decode.decoded(file, lambda *sides: ((0, 0, *sides), sides), LARGEST_AREA)


_NO_MASK = (
    "{} is no mask, since {:.0%} of it is neither black nor white: a mask is white where the "
    "image is known and black, or transparent, where it is missing"
)
_NO_HOLE = (
    "{} does not show what was erased, since {:.0%} of it is half transparent: erase wholly what "
    "is missing, or name a mask"
)


def _black_and_white(values, name, refusal=_NO_MASK):
    """Return the mask's values if they are nearly two, black and white; raise ImageError if not.

    A grey pixel with no black or white within two pixels is not an edge. In masks, also after JPEG
    or a slight blur, such pixels number under 2 % of the smaller class (bright or dark); in most
    photographs more than 100 %. And at least 39% of a mask was as good as black or white, of
    photographs at most 23%.
    """
    low, high = float(values.min()), float(values.max())
    if low < 0.1 and (high > 0.9 or values.unique().numel() == 2):  # 16 and 235, or 0 and 1 of 255
        values = (values - low) / (high - low)
    clear = ((values < 0.1) | (values > 0.9)).float()
    stray = int((F.max_pool2d(clear, 5, stride=1, padding=2) == 0).sum())
    bright = int((values > 0.5).sum())
    extreme = float(((values < 0.02) | (values > 0.98)).float().mean())
    if stray > 0.1 * min(bright, values.numel() - bright) or extreme < 0.3:
        raise ImageError(refusal.format(name, 1 - extreme))
    return values


def check(image, what="the image", smallest=SMALLEST_SIDE):
    """Return `image` if it is one; say clearly what is wrong with it if not.

    Parameters
    ----------
    image : torch.Tensor or array_like
        What should be (C, H, W), floating, finite, in [0, 1], C = 1 or 3, at least 16x16.
    what : str, optional
        How the message names it.
    smallest : int, optional
        Pixels that each side must have.

    Returns
    -------
    torch.Tensor
        The same image as contiguous float32.

    Raises
    ------
    ImageError
        With the shape, or the range, that was found.

    Examples
    --------
    >>> check(torch.rand(32, 32, 3))
    Traceback (most recent call last):
    ...
    diplearn.errors.ImageError: the image has shape (32, 32, 3), which looks like (H, W, C); \
diplearn wants (C, H, W): use images.from_array(array), or image.permute(2, 0, 1)
    """
    image = as_tensor(image, what)
    shape = tuple(image.shape)
    if len(shape) != 3 or shape[0] not in (1, 3):
        if len(shape) == 3 and shape[2] in (1, 3):
            raise ImageError(
                f"{what} has shape {shape}, which looks like (H, W, C); diplearn wants (C, H, W): "
                "use images.from_array(array), or image.permute(2, 0, 1)"
            )
        raise ImageError(f"{what} has shape {shape}; an image is (C, H, W) with C = 1 or 3")
    if min(shape[1:]) < smallest:
        raise ImageError(
            f"{what} is {_sides(image)} pixels; at least {smallest} on each side are needed"
        )
    if not image.is_floating_point():
        raise ImageError(
            f"{what} holds {image.dtype}; divide by its largest possible value to get [0, 1], "
            "or use images.from_array(array)"
        )
    image = image.detach().to(torch.float32).contiguous()
    check_range(image, what)
    return image


def check_range(values, what):
    """Raise ImageError, naming the range found, unless all values are finite and in [0, 1].

    Parameters
    ----------
    values : torch.Tensor
        Of any shape but empty.
    what : str
        How the message names them.

    Raises
    ------
    ImageError
        With the range, or the number of broken values, that was found.

    Examples
    --------
    >>> check_range(torch.tensor([-0.5, 1.0]), "the image")
    Traceback (most recent call last):
    ...
    diplearn.errors.ImageError: the image holds values from -0.5 to 1; they must be in [0, 1]
    """
    broken = int((~torch.isfinite(values)).sum())
    if broken:
        raise ImageError(f"{what} has {broken} values that are NaN or infinite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageError(f"{what} holds values from {low:g} to {high:g}; they must be in [0, 1]")


def _sides(image):
    return f"{image.shape[-1]}x{image.shape[-2]}"


# The paper's own images: not part of the package, fetched when somebody asks for one.


@lru_cache(maxsize=1)
def _paper_images():
    """Read the list of the paper's images: name -> (address, SHA-256)."""
    with (resources.files("diplearn") / "paper_images.csv").open(encoding="utf-8") as lines:
        return {row["name"]: (row["url"], row["sha256"]) for row in csv.DictReader(lines)}


def paper_names():
    """List the images that the authors published with the paper.

    Returns
    -------
    list of str
        Names for `load` and `fetch`, such as ``"denoising/F16_GT.png"``.

    Examples
    --------
    >>> "denoising/F16_GT.png" in paper_names()
    True
    """
    return sorted(_paper_images())


def fetch(name):
    """Download one of the paper's images, once, and check that it is the right one.

    Parameters
    ----------
    name : str
        One of `paper_names()`.

    Returns
    -------
    pathlib.Path
        The file: in the folder that the environment variable DIPLEARN_DATA_DIR names if it is
        there (under the same name, folders included), else in the user's cache. Nothing is ever
        written to the former.

    Raises
    ------
    ImageError
        No such name; no network; or the checksum does not match (a bad download is not kept).

    Examples
    --------
    >>> fetch("denoising/F16_GT.png")  # doctest: +SKIP
    PosixPath('/home/ada/.cache/diplearn/denoising/F16_GT.png')
    """
    import pooch  # only here: most users never download

    if name not in _paper_images():
        raise ImageError(f"the paper has no image {name!r}; see images.paper_names()")
    url, sha256 = _paper_images()[name]
    local = os.environ.get("DIPLEARN_DATA_DIR")
    if local and (Path(local) / name).is_file():
        path = Path(local) / name
        if pooch.file_hash(str(path)) != sha256:
            raise ImageError(f"{path} is not the published file (its SHA-256 differs)")
        return path
    folder, file = os.path.split(name)
    target = pooch.os_cache("diplearn") / folder
    try:  # pooch compares checksums before the file gets its name
        return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=file, path=target))
    except Exception as error:  # the network fails in many ways; the remedy is the same
        raise ImageError(
            f"cannot download {name} ({error}); without a network, point DIPLEARN_DATA_DIR "
            "at a folder that holds it"
        ) from error
