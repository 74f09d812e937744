"""Read image files as tensors, and read their metadata."""

import warnings
from typing import NamedTuple

from ..errors import ImageError
from .decoding import exif, formats, pixels
from .decoding.source import opened
from .resizing import plan_square, shrink, shrunk_sides
from .tensors import SMALLEST_SIDE


def read(source, size=None, longest=None, smallest=SMALLEST_SIDE):
    """Read an image from a file.

    The result is grey or sRGB, rotated as EXIF prescribes, with the full bit depth of the file.
    Transparent pixels are blended with white, and only the first frame of an animation is read.

    Colours are converted to sRGB with the ICC profile (relative colorimetric if it has curves and
    a matrix, perceptual with 8 bits if it has a table), with PNG's chunks cICP, sRGB, gAMA and cHRM
    (in the standard's order), or according to a camera's Adobe RGB tag. Colours outside sRGB are
    clipped. Without a usable colour space, the values are treated as sRGB, and CMYK is converted
    by a formula.

    A TIFF file may have 8 or 16 bits per channel (grey, RGB, CMYK, with or without alpha), or be a
    fax, a palette image, Lab or YCbCr. It may also have one channel of integers of more than 16
    bits between 0 and 65535, or one of floating-point values between 0 and 1.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object or File
        A PNG, JPEG, TIFF, BMP, GIF, WebP or PPM file of at most 1 GB: its path (also of a pipe),
        its bytes, an open file, or the result of `opened`.
    size : int, optional
        Crop the centre square and shrink it to `size` x `size` pixels, antialiased.
    longest : int, optional
        Shrink the image until its longer side has at most `longest` pixels.
    smallest : int, optional
        Required pixels per side; use 1 for a small observation, such as that of `Downsample(4)`.

    Returns
    -------
    torch.Tensor
        (C, H, W) float32 in [0, 1]; C is 1 or 3.

    Raises
    ------
    ImageError
        The file is missing, damaged, too small or not an image; or it has more than 100 million
        pixels (a JPEG may have more if `size` or `longest` at least halves its sides); or reading
        it would take more than half of the free memory. No other error is raised for any bytes.

    Warns
    -----
    UserWarning
        Some frames or channels are not read, some pixels are transparent, the colours cannot be
        converted exactly, or a 16-bit file holds fewer bits, such as 12 (its values are not
        rescaled).

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
    """Return the image and its `Encoded` file, whose `remarks` are complete."""
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
    """Show the remarks on a file as warnings that point at the caller's caller."""
    for remark in encoded.remarks:
        warnings.warn(f"{encoded.name} {remark}", stacklevel=3)
    if transparency and encoded.transparent:
        words = f"{encoded.name} has transparent pixels; they are shown as white"
        warnings.warn(words, stacklevel=3)


class About(NamedTuple):
    """The metadata of an image file (see `about`).

    Attributes
    ----------
    bits : int
        Bits per channel, as read: 8 or 16.
    exif : bytes or None
        The camera's EXIF data, changed to describe the result of `read`: upright, sRGB, and
        without a thumbnail.
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
    """Read the metadata of an image file, which `write` can store with a result.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object or File
        As in `read`; the pixels are not decoded.

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
