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
from PIL import Image, ImageOps

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

# Decoders that a photograph or a scan needs, and no others: a file cannot choose an exotic one.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")


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
        return read(resources.files("skimage") / "data" / BUNDLED[name][0], size=size)
    if name in _paper_pictures():
        return read(fetch(name), size=size)
    raise ImageError(
        f"no picture is called {name!r}; the bundled ones are {', '.join(names())} "
        "(a file of your own: images.read(path); the paper's: images.paper_names())"
    )


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
        The camera's data (EXIF) with the orientation reset, since `read` has applied it.
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
        As in `read`.

    Returns
    -------
    About
        Bits per channel, EXIF and resolution; for `write(picture, path, about=...)`.

    Raises
    ------
    ImageError
        As in `read`.
    """
    return About(8, None, None)  # not yet: the signature only


def read(source, size=None, longest=None, smallest=SMALLEST_SIDE):
    """Read a picture from a file.

    Whatever the file holds becomes a grey or RGB picture: palettes and CMYK are converted, 16-bit
    grey keeps its precision, a camera's rotation (EXIF) is applied, of an animation the first frame
    is taken and transparency is laid over white; the last two are said in a warning. Integers wider
    than 16 bits must lie between 0 and 65535, floating values (TIFF) between 0 and 1.

    Parameters
    ----------
    source : str, path-like, bytes or binary file object
        A PNG, JPEG, TIFF, BMP, GIF, WebP or PPM file; a pipe will do. Bytes are the file's content.
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
        The file is missing, empty, damaged, no picture, too large or too small. Nothing else is
        raised, whatever the bytes.

    Warns
    -----
    UserWarning
        The file holds more than one frame, or is transparent in places.

    Examples
    --------
    >>> read("missing.png")
    Traceback (most recent call last):
    ...
    diplearn.errors.ImageError: there is no file missing.png
    """
    path = Path(source)
    picture = _to_tensor(_decode(path), path)
    if min(picture.shape[-2:]) < smallest:
        raise ImageError(
            f"{path} is {_sides(picture)} pixels; a picture needs at least "
            f"{smallest} on each side"
        )
    if size is not None:
        picture = centre_square(picture, size)
    if longest is not None:
        picture = shrink(picture, longest)
    return picture


def _decode(path):
    """Open and decode with Pillow; every way in which that fails becomes an ImageError."""
    try:  # a path may hold a NUL byte or be too long: also the caller's mistake, said the same way
        if path.is_dir():
            raise ImageError(f"{path} is a folder; name a picture file in it")
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is empty")
        file = path.open("rb")
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read {path}: {error}") from error
    try:
        with file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
            with Image.open(file, formats=_FORMATS) as image:
                width, height = image.size
                if width * height > LARGEST_AREA:
                    raise ImageError(
                        f"{path} claims {width}x{height} pixels; more than "
                        f"{LARGEST_AREA // 1_000_000} million are refused: make it smaller first"
                    )
                frames = getattr(image, "n_frames", 1)
                image.load()
                picture = _upright(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} is refused, its pixels are too many: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is not a picture that can be read (known: {', '.join(_FORMATS)})"
        ) from error
    except Exception as error:  # a decoder may fail in any way on damaged bytes
        raise ImageError(f"{path} is damaged or not a picture: {error}") from error
    if frames > 1:
        warnings.warn(f"{path} holds {frames} frames; the first is taken", stacklevel=3)
    return picture


def _upright(image):
    """Turn a photograph as its EXIF orientation says; metadata may be damaged, and is then void."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image.copy()


def _to_tensor(image, path):
    """Turn any Pillow mode into a picture of one or three channels in [0, 1]."""
    if image.mode in _SIXTEEN_BIT:
        return _from_numpy(np.asarray(image), 65535)
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        top = 65535 if image.mode == "I" else 1
        if not (values.min() >= 0 and values.max() <= top):  # so that NaN is refused too
            raise ImageError(
                f"{path} holds values from {values.min():g} to {values.max():g}; "
                f"between 0 and {top} can be read"
            )
        return _from_numpy(values, top)
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    try:
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            if image.getextrema()[3][0] < 255:
                warnings.warn(f"{path} is transparent in places; white shows there", stacklevel=3)
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert(mode)
    except Exception as error:
        raise ImageError(f"{path} has colours that cannot be converted: {error}") from error
    return _from_numpy(np.asarray(image), 255)


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
    side = min(height, width)
    try:
        size = whole(size, "size", SMALLEST_SIDE, side)
    except InputError as error:
        raise ImageError(f"{error}, the shorter side of this {_sides(picture)} picture") from None
    top, left = (height - side) // 2, (width - side) // 2
    return _resize(picture[:, top : top + side, left : left + side], size, size)


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
    height, width = picture.shape[-2:]
    try:
        ratio = whole(longest, "longest", SMALLEST_SIDE) / max(height, width)
    except InputError as error:
        raise ImageError(str(error)) from None
    if ratio >= 1:
        return picture
    height, width = round(height * ratio), round(width * ratio)
    if min(height, width) < SMALLEST_SIDE:
        raise ImageError(
            f"longest={longest} would leave {width}x{height} pixels; "
            f"a picture needs at least {SMALLEST_SIDE} on each side"
        )
    return _resize(picture, height, width)


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
