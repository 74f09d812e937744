"""Pictures as tensors: bundled, read, downloaded, written, checked.

A picture is a float32 tensor (C, H, W) with values in [0, 1]; C is 1 (grey) or 3 (RGB).
"""

import csv
import os
import warnings
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from . import decode
from .errors import ImageError, InputError, whole
from .files import replacing

SMALLEST_SIDE = 16
"""Pixels: below this a network with five halvings has nothing left to look at."""

LARGEST_AREA = 100_000_000
"""Pixels: a file that claims more is refused before it is decoded (a decompression bomb)."""

# The pictures that scikit-image carries inside its wheel: nothing to download, free to use.
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


def load(name, size=None):
    """Load a bundled picture, or one of the paper's.

    Parameters
    ----------
    name : str
        One of `names()`, such as ``"astronaut"``; or one of `paper_names()`, such as
        ``"denoising/F16_GT.png"``, which is downloaded once (see `fetch`).
    size : int, optional
        Take the centre square and bring it down to `size` x `size` pixels, antialiased.
        Default: the whole picture.

    Returns
    -------
    torch.Tensor
        The picture, (C, H, W) float32 in [0, 1].

    Raises
    ------
    ImageError
        No picture has that name, or it is smaller than `size`.

    Examples
    --------
    >>> load("astronaut", size=256).shape
    torch.Size([3, 256, 256])
    """
    if name in BUNDLED:
        path = resources.files("skimage") / "data" / BUNDLED[name][0]
    elif name in _paper_pictures():
        path = fetch(name)
    else:
        raise ImageError(
            f"no picture is called {name!r}; the bundled ones are {', '.join(names())} "
            "(a file of your own: images.read(path); the paper's: images.paper_names())"
        )
    # Profiles are left aside, as scikit-image does: the lessons' numbers are of these pixels.
    return _read(path, size, colours=False)


def names():
    """List the bundled pictures.

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
    """What a file says about its picture beside the pixels (see `about`).

    Attributes
    ----------
    bits : int
        Bits per channel, as read: 8 or 16.
    exif : bytes or None
        The camera's data (EXIF) as Pillow writes them. As `read` has turned the picture,
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
        Bits per channel, EXIF and resolution; for `write(picture, path, about=...)`.

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
    return About(file.bits, decode.exif_for_result(file), file.dpi)


def read(source, size=None, longest=None, smallest=SMALLEST_SIDE):
    """Read a picture from a file.

    Whatever the file holds becomes a grey or sRGB picture. Palettes are converted, a camera's
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
        Bring the whole picture down until its longer side has at most `longest` pixels.
    smallest : int, optional
        Pixels that each side must have: 1 for a small observation, such as that of `Downsample(4)`.

    Returns
    -------
    torch.Tensor
        The picture, (C, H, W) float32 in [0, 1]; C is 1 or 3.

    Raises
    ------
    ImageError
        The file is missing, empty, damaged, no picture or too small; it claims more than 100
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


def _read(source, size=None, longest=None, smallest=SMALLEST_SIDE, colours=True):
    name, kind, data = decode.content(source)
    file = decode.opened(kind, data, name, LARGEST_AREA, colours)

    def plan(height, width):
        """What is cut out, and how large it shall become: known before anything is decoded."""
        if min(height, width) < smallest:
            raise ImageError(
                f"{name} is {width}x{height} pixels; a picture needs at least "
                f"{smallest} on each side"
            )
        if size is not None:
            side = _square(height, width, size)
            return ((height - side) // 2, (width - side) // 2, side, side), (int(size), int(size))
        sides = (height, width) if longest is None else _shrunk(height, width, longest, smallest)
        return (0, 0, height, width), sides

    picture = decode.decoded(file, plan, LARGEST_AREA)
    if size is not None and longest is not None:
        picture = shrink(picture, longest)
    for remark in file.remarks:
        warnings.warn(f"{name} {remark}", stacklevel=3)
    return picture


def _from_numpy(values, top):
    """Scale (H, W) or (H, W, C) from [0, top] to (C, H, W) in [0, 1].

    The only copy is the result: a camera's 24 million pixels are 290 MB as float32.
    """
    planes = np.atleast_3d(values).transpose(2, 0, 1)
    picture = np.empty(planes.shape, np.float32)
    picture[...] = planes
    picture /= top
    return torch.from_numpy(picture)


def from_array(array):
    """Make a picture from a NumPy array as scikit-image and matplotlib have it.

    Parameters
    ----------
    array : array_like
        (H, W) or (H, W, C), C = 1 or 3; uint8, uint16, bool, or floating in [0, 1].

    Returns
    -------
    torch.Tensor
        The picture, (C, H, W) float32 in [0, 1].

    Raises
    ------
    ImageError
        The shape or the values are not a picture's.

    Examples
    --------
    >>> import numpy as np
    >>> from_array(np.full((32, 48, 3), 255, np.uint8)).shape
    torch.Size([3, 32, 48])
    """
    array = np.asarray(array)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ImageError(
            f"an array of shape {array.shape} is not (H, W), (H, W, 1) or (H, W, 3); "
            "a tensor that is (C, H, W) already needs no conversion"
        )
    if array.dtype.kind not in "buif":
        raise ImageError(f"an array of {array.dtype} holds no numbers that a picture could have")
    return check(_from_numpy(array, {"uint8": 255, "uint16": 65535}.get(array.dtype.name, 1)))


def to_array(picture):
    """Turn a picture into a NumPy array as scikit-image and matplotlib want it.

    Parameters
    ----------
    picture : torch.Tensor
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
    array = picture.detach().float().clamp(0, 1).cpu().numpy().transpose(1, 2, 0)
    return array[..., 0] if array.shape[2] == 1 else array


def to_uint8(picture):
    """Round a picture to the 8 bits that a screen shows.

    Parameters
    ----------
    picture : torch.Tensor
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
    return (to_array(picture) * 255 + 0.5).astype(np.uint8)


def write(picture, path):
    """Write a picture to a file, whole or not at all.

    Parameters
    ----------
    picture : torch.Tensor
        (C, H, W) with values in [0, 1], of any size: a small observation is a picture too.
    path : str or path-like
        The suffix decides the format: .png, .jpg, .tif, .bmp, .webp, .ppm.

    Raises
    ------
    InputError
        The suffix is none of a picture's.
    OSError
        The folder cannot be written, or the disk is full; an earlier file survives.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(load("camera", size=64), Path(folder, "small.png"))
    ...     read(Path(folder, "small.png")).shape
    torch.Size([1, 64, 64])
    """
    check_suffix(path)
    image = Image.fromarray(to_uint8(check(picture, smallest=1)))
    with replacing(path) as temporary:
        image.save(temporary, **({"quality": 95} if image_format(path) == "JPEG" else {}))


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


def check_suffix(path, formats=("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")):
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


def centre_square(picture, size):
    """Cut out the centre square and bring it down to `size` x `size` pixels.

    Parameters
    ----------
    picture : torch.Tensor
        (C, H, W).
    size : int
        Pixels per side; at most the shorter side of the picture.

    Returns
    -------
    torch.Tensor
        (C, size, size), antialiased, clipped to [0, 1].

    Raises
    ------
    ImageError
        `size` is larger than the picture, smaller than 16 or no whole number.

    Examples
    --------
    >>> centre_square(load("coffee"), 128).shape
    torch.Size([3, 128, 128])
    """
    height, width = picture.shape[-2:]
    side, size = _square(height, width, size), int(size)
    top, left = (height - side) // 2, (width - side) // 2
    return _resize(picture[:, top : top + side, left : left + side], size, size)


def _square(height, width, size):
    """The side of the centre square; raise ImageError if it cannot be brought down to `size`."""
    try:
        whole(size, "size", SMALLEST_SIDE, min(height, width))
    except InputError as error:
        raise ImageError(f"{error}, the shorter side of this {width}x{height} picture") from None
    return min(height, width)


def shrink(picture, longest):
    """Bring a whole picture down until its longer side has at most `longest` pixels.

    Parameters
    ----------
    picture : torch.Tensor
        (C, H, W).
    longest : int
        Pixels; a picture that is small enough already is returned as it is.

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
    sides = _shrunk(*picture.shape[-2:], longest, SMALLEST_SIDE)
    return picture if sides == picture.shape[-2:] else _resize(picture, *sides)


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
            f"longest={longest} would leave {width}x{height} pixels; "
            f"a picture needs at least {smallest} on each side"
        )
    return height, width


def _resize(picture, height, width):
    if picture.shape[-2:] == (height, width):
        return picture.clone()
    resized = F.interpolate(picture[None], (height, width), mode="bicubic", antialias=True)
    return resized[0].clamp(0, 1)


def check(picture, what="the picture", smallest=SMALLEST_SIDE):
    """Return `picture` if it is one; say clearly what is wrong with it if not.

    Parameters
    ----------
    picture : torch.Tensor
        What should be (C, H, W), floating, finite, in [0, 1], C = 1 or 3, at least 16x16.
    what : str, optional
        How the message names it.
    smallest : int, optional
        Pixels that each side must have.

    Returns
    -------
    torch.Tensor
        The same picture as contiguous float32.

    Raises
    ------
    ImageError
        With the shape, or the range, that was found.

    Examples
    --------
    >>> check(torch.rand(32, 32, 3))
    Traceback (most recent call last):
    ...
    diplearn.errors.ImageError: the picture has shape (32, 32, 3), which looks like (H, W, C); \
diplearn wants (C, H, W): use images.from_array(array), or picture.permute(2, 0, 1)
    """
    if isinstance(picture, np.ndarray) and picture.dtype.kind in "buif":
        native = picture.dtype.newbyteorder("=")  # FITS and some TIFF files have the other order
        picture = torch.from_numpy(np.ascontiguousarray(picture, native))
    if not isinstance(picture, torch.Tensor):
        kind = type(picture).__name__
        raise ImageError(f"{what} is a {kind}, not a tensor; images.read(path) reads a file")
    shape = tuple(picture.shape)
    if len(shape) != 3 or shape[0] not in (1, 3):
        if len(shape) == 3 and shape[2] in (1, 3):
            raise ImageError(
                f"{what} has shape {shape}, which looks like (H, W, C); diplearn wants (C, H, W): "
                "use images.from_array(array), or picture.permute(2, 0, 1)"
            )
        raise ImageError(f"{what} has shape {shape}; a picture is (C, H, W) with C = 1 or 3")
    if min(shape[1:]) < smallest:
        raise ImageError(
            f"{what} is {_sides(picture)} pixels; at least {smallest} on each side are needed"
        )
    if not picture.is_floating_point():
        raise ImageError(
            f"{what} holds {picture.dtype}; divide by its largest possible value to get [0, 1], "
            "or use images.from_array(array)"
        )
    picture = picture.detach().to(torch.float32).contiguous()
    check_range(picture, what)
    return picture


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
    >>> check_range(torch.tensor([-0.5, 1.0]), "the picture")
    Traceback (most recent call last):
    ...
    diplearn.errors.ImageError: the picture holds values from -0.5 to 1; they must be in [0, 1]
    """
    broken = int((~torch.isfinite(values)).sum())
    if broken:
        raise ImageError(f"{what} has {broken} values that are NaN or infinite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageError(f"{what} holds values from {low:g} to {high:g}; they must be in [0, 1]")


def _sides(picture):
    return f"{picture.shape[-1]}x{picture.shape[-2]}"


# The paper's own pictures: not part of the package, fetched when somebody asks for one.


@lru_cache(maxsize=1)
def _paper_pictures():
    """Read the list of the paper's pictures: name -> (address, SHA-256)."""
    with (resources.files("diplearn") / "paper_pictures.csv").open(encoding="utf-8") as lines:
        return {row["name"]: (row["url"], row["sha256"]) for row in csv.DictReader(lines)}


def paper_names():
    """List the pictures that the authors published with the paper.

    Returns
    -------
    list of str
        Names for `load` and `fetch`, such as ``"denoising/F16_GT.png"``.

    Examples
    --------
    >>> "denoising/F16_GT.png" in paper_names()
    True
    """
    return sorted(_paper_pictures())


def fetch(name):
    """Download one of the paper's pictures, once, and check that it is the right one.

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

    if name not in _paper_pictures():
        raise ImageError(f"the paper has no picture {name!r}; see images.paper_names()")
    url, sha256 = _paper_pictures()[name]
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
