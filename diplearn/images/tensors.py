"""Convert images between tensors and arrays, and refuse what is not an image."""

import os

import numpy as np
import torch
from PIL import Image

from ..errors import ImageError
from .decoding import pillow

SMALLEST_SIDE = 16
"""Pixels; a network that halves an image five times needs 16 for anything to be left."""


def check(image, what="the image", smallest=SMALLEST_SIDE):
    """Check that a tensor or array is an image.

    Parameters
    ----------
    image : torch.Tensor or array_like
        (C, H, W) with C = 1 or 3, and finite values in [0, 1].
    what : str, optional
        Name of the image in error messages.
    smallest : int, optional
        Required pixels per side.

    Returns
    -------
    torch.Tensor
        The image as contiguous float32.

    Examples
    --------
    >>> check(torch.rand(32, 32, 3))
    Traceback (most recent call last):
    ...
    diplearn.errors.ImageError: the image has shape (32, 32, 3), which looks like (H, W, C); \
diplearn wants (C, H, W): use images.from_array(array), or image.permute(2, 0, 1)
    """
    image = check_form(image, what, smallest=smallest).detach().to(torch.float32).contiguous()
    check_finite(image, what)
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise ImageError(f"{what} holds values from {low:g} to {high:g}; they must be in [0, 1]")
    return image


def check_form(image, what="the image", shape=None, smallest=1):
    """Return an image as a floating-point tensor; check its shape, but not its values."""
    image = as_tensor(image, what)
    found = tuple(image.shape)
    if len(found) != 3 or found[0] not in (1, 3):
        if len(found) == 3 and found[2] in (1, 3):
            raise ImageError(
                f"{what} has shape {found}, which looks like (H, W, C); diplearn wants (C, H, W): "
                "use images.from_array(array), or image.permute(2, 0, 1)"
            )
        raise ImageError(f"{what} has shape {found}; an image is (C, H, W) with C = 1 or 3")
    if shape is not None and found != tuple(shape):
        raise ImageError(f"{what} has shape {found} and should have {tuple(shape)}")
    if min(found[1:]) < smallest:
        raise ImageError(
            f"{what} is {found[2]}x{found[1]} pixels; at least {smallest} on each side are needed"
        )
    if not image.is_floating_point():
        raise ImageError(
            f"{what} holds {image.dtype}; divide by its largest possible value to get [0, 1], "
            "or use images.from_array(array)"
        )
    return image


def check_finite(image, what="the image"):
    """Raise ImageError if some values of a tensor are NaN or infinite."""
    broken = int((~torch.isfinite(image)).sum())
    if broken:
        raise ImageError(f"{what} has {broken} values that are NaN or infinite")
    return image


def as_tensor(values, what="the image"):
    """Return an array, list or table of numbers as a tensor; return a dense tensor unchanged."""
    if isinstance(values, torch.Tensor):
        if values.is_meta:
            raise ImageError(f"{what} is a tensor on device meta, which holds no values")
        if "float4" in str(values.dtype):
            raise ImageError(f"{what} holds {values.dtype}, which PyTorch cannot convert")
        return values if values.layout is torch.strided else values.to_dense()
    if isinstance(values, Image.Image):
        raise ImageError(f"{what} is a Pillow image, not a tensor; use images.from_array(image)")
    array = _numbers(values, what)
    native = np.dtype("f8") if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, native, ["C_CONTIGUOUS", "WRITEABLE"]))


def _numbers(values, what):
    """Return values as a NumPy array of numbers, or raise ImageError."""
    _refuse_masked(values, what)
    try:
        array = np.asarray(values)
        if array.dtype.kind in "buif":
            return array
    except Exception:  # rows of different lengths, or an unknown object's own error
        pass
    words = f"{what} is a {type(values).__name__}, not a tensor"
    if isinstance(values, np.ndarray):
        words = f"{what} is an array of {values.dtype}, not a tensor, and holds no numbers"
    elif isinstance(values, str | os.PathLike):
        reader = "read_mask" if what == "the mask" else "read"
        words += f"; images.{reader}(path) reads a file"
    raise ImageError(words)


def _refuse_masked(values, what):
    """Refuse a NumPy masked array with masked values, also inside a list."""
    if isinstance(values, list | tuple):
        for value in values:
            _refuse_masked(value, what)
    elif np.ma.is_masked(values):
        raise ImageError(
            f"{what} is a masked array with {np.ma.count_masked(values)} masked values: use "
            "array.filled(0) as the image, and Mask(~numpy.ma.getmaskarray(array)), with the "
            "channels first, as the problem's operator"
        )


def from_array(array):
    """Make an image from an array of NumPy, scikit-image or matplotlib, or from a Pillow image.

    Parameters
    ----------
    array : array_like or PIL.Image.Image
        (H, W) or (H, W, C), C = 1 or 3; uint8, uint16, bool, or floating-point in [0, 1]. No
        part may be masked or transparent. A Pillow image is rotated as its EXIF data prescribe.

    Returns
    -------
    torch.Tensor
        (C, H, W) float32 in [0, 1].

    Examples
    --------
    >>> from_array(np.full((32, 48, 3), 255, np.uint8)).shape
    torch.Size([3, 32, 48])
    """
    if isinstance(array, Image.Image):
        array = pillow.pixels(pillow.upright(array))
    elif isinstance(array, torch.Tensor):
        tensor = as_tensor(array, "the array").detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    array = _numbers(array, "the array")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ImageError(
            f"an array of shape {array.shape} is not (H, W), (H, W, 1) or (H, W, 3); "
            "a (C, H, W) tensor needs no conversion"
        )
    return check(scaled(array))


def scaled(array):
    """Turn (H, W) or (H, W, C) into (C, H, W) float32; the largest uint8 or uint16 becomes 1.

    Only one copy is made, since the 24 million pixels of a photograph take 290 MB as float32.
    """
    planes = np.atleast_3d(array).transpose(2, 0, 1)
    image = np.empty(planes.shape, np.float32)
    image[...] = planes
    image /= {"uint8": 255, "uint16": 65535}.get(array.dtype.name, 1)
    return torch.from_numpy(image)


def to_array(image):
    """Convert an image to a NumPy array for scikit-image or matplotlib.

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
    """Round an image to 8 bits per channel.

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
