"""Crop and shrink images, antialiased."""

import torch.nn.functional as F

from ..errors import ImageError, InputError, whole
from .tensors import SMALLEST_SIDE, as_tensor


def centre_square(image, size):
    """Crop the centre square and shrink it to `size` x `size` pixels.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W).
    size : int
        Pixels per side, from 16 to the shorter side of the image.

    Returns
    -------
    torch.Tensor
        (C, size, size), antialiased, clipped to [0, 1].

    Examples
    --------
    >>> from diplearn import images
    >>> centre_square(images.load("coffee"), 128).shape
    torch.Size([3, 128, 128])
    """
    image = as_tensor(image)
    (top, left, height, width), sides = plan_square(*image.shape[-2:], size)
    square = image[:, top : top + height, left : left + width]
    return resized(square, sides).clamp(0, 1)


def shrink(image, longest):
    """Shrink an image until its longer side has at most `longest` pixels.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W).
    longest : int
        Pixels; a smaller image is returned unchanged. The shorter side must keep 16 pixels.

    Returns
    -------
    torch.Tensor
        (C, h, w), antialiased, clipped to [0, 1].

    Examples
    --------
    >>> from diplearn import images
    >>> shrink(images.load("coffee"), 300).shape  # 600x400 before
    torch.Size([3, 200, 300])
    """
    image = as_tensor(image)
    sides = shrunk_sides(*image.shape[-2:], longest)
    return image if sides == image.shape[-2:] else resized(image, sides).clamp(0, 1)


def resized(image, sides):
    """Resize a (C, H, W) image by antialiased bicubic interpolation, without clipping."""
    if image.shape[-2:] == sides:
        return image
    return F.interpolate(image[None], sides, mode="bicubic", antialias=True)[0]


def plan_square(height, width, size):
    """Return the centre square (top, left, height, width) and its final (height, width)."""
    side = min(height, width)
    try:
        size = whole(size, "size", SMALLEST_SIDE, side)
    except InputError as error:
        raise ImageError(f"{error}, the shorter side of this {width}x{height} image") from None
    return ((height - side) // 2, (width - side) // 2, side, side), (size, size)


def shrunk_sides(height, width, longest, smallest=SMALLEST_SIDE):
    """Return the (height, width) to which `shrink` brings an image."""
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
