"""Image files read as tensors, and what else they say."""

import warnings
from typing import NamedTuple

from ..errors import ImageError
from .decoding import exif, formats, pixels
from .decoding.source import opened
from .resizing import plan_square, shrink, shrunk_sides
from .tensors import SMALLEST_SIDE


def read(source, size=None, longest=None, smallest=SMALLEST_SIDE):
    """Read an image from a file.

    The result is a grey or sRGB image, upright as EXIF says, with all bits that the file has. Of an
    animation the first frame is taken; transparency is laid over white.

    Colours become sRGB: by an ICC profile (relative colorimetric where it is curves and a matrix,
    perceptual at 8 bits where it is a table), by PNG's chunks cICP, sRGB, gAMA and cHRM (in the
    standard's order), or by a camera's mark of Adobe RGB. Colours outside sRGB are clipped. A file
    without a colour space, or with one that cannot be applied, is taken for sRGB; CMYK is then
    converted by a formula.

    A TIFF file may have 8 or 16 bits per channel (grey, RGB, CMYK, with or without alpha), be a
    fax, a palette, Lab or YCbCr, or hold one channel of other numbers: integers of more than 16
    bits between 0 and 65535, or floating values between 0 and 1.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object or File
        A PNG, JPEG, TIFF, BMP, GIF, WebP or PPM file of at most 1 GB: its path (a pipe's, too), its
        content, an open file, or what `opened` returned.
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
        The file is missing, damaged, no image or too small; it has more than 100 million pixels (a
        JPEG may, if `size` or `longest` at least halves its sides), or reading it takes more than
        half of the free memory. Nothing else is raised, whatever the bytes.

    Warns
    -----
    UserWarning
        The file has more frames or channels than are read, is transparent in places, has colours
        that cannot be converted exactly, or never uses the upper ones of its 16 bits per channel
        (a 12-bit image: the values are not changed).

    Examples
    --------
    >>> read("missing.png")
    Traceback (most recent call last):
    ...
    diplearn.errors.ImageError: there is no file missing.png
    """
    image, encoded = decoded(source, size, longest, smallest)
    warn(encoded, transparency=True)
    return image


def decoded(source, size=None, longest=None, smallest=SMALLEST_SIDE, colours=True):
    """Return the image, and the `Encoded` file with all that is to be said of it."""
    encoded = formats.parse(opened(source), colours)

    def plan(height, width):
        if min(height, width) < smallest:
            raise ImageError(
                f"{encoded.name} is {width}x{height} pixels; an image needs at least "
                f"{smallest} on each side"
            )
        if size is not None:
            return plan_square(height, width, size)
        part, sides = pixels.whole(height, width)
        return part, sides if longest is None else shrunk_sides(*sides, longest, smallest)

    image = pixels.decoded(encoded, plan)
    if size is not None and longest is not None:
        image = shrink(image, longest)
    return image, encoded


def warn(encoded, transparency=False):
    """Pass on what is to be said of a file, as warnings in the caller's caller."""
    for remark in encoded.remarks:
        warnings.warn(f"{encoded.name} {remark}", stacklevel=3)
    if transparency and encoded.transparent:
        words = f"{encoded.name} is transparent in places; white shows there"
        warnings.warn(words, stacklevel=3)


class About(NamedTuple):
    """What a file says about its image beside the pixels (see `about`).

    Attributes
    ----------
    bits : int
        Bits per channel, as read: 8 or 16.
    exif : bytes or None
        The camera's data (EXIF), brought up to date with what `read` does: the orientation is
        upright, the colour space sRGB, and there is no thumbnail.
    dpi : tuple of float or None
        The resolution (x, y) in dots per inch.

    Examples
    --------
    >>> About(bits=16, exif=None, dpi=(300.0, 300.0)).bits
    16
    """

    bits: int
    exif: bytes | None
    dpi: tuple[float, float] | None


def about(source):
    """Say what a file holds beside its pixels, so that `write` can keep it for a result.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object or File
        As in `read`, and refused with the same errors before the pixels are decoded.

    Returns
    -------
    About
        Bits per channel, EXIF and resolution.

    Examples
    --------
    >>> from importlib import resources
    >>> about(resources.files("skimage") / "data" / "retina.jpg")
    About(bits=8, exif=None, dpi=(150.0, 150.0))
    """
    encoded = formats.parse(opened(source))
    return About(encoded.bits, exif.for_result(encoded.exif), encoded.dpi)
