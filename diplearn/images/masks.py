"""Masks of known pixels: from a mask file, from transparency, and for a smaller image."""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..errors import ImageError
from . import resizing
from .decoding import formats, pillow, pixels
from .decoding.encoded import AlphaOnly
from .decoding.source import opened
from .reading import decoded, warn
from .tensors import as_tensor, check, scaled


def read_mask(source, invert=False):
    """Read a mask that shows which pixels of an image are known.

    If parts of the file are transparent, exactly those pixels are missing. Otherwise white pixels
    are known; black pixels, and grey pixels such as those at the edges of letters, are missing.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object, File or PIL.Image.Image
        As in `read`.
    invert : bool, optional
        Count white or opaque pixels as missing instead.

    Returns
    -------
    torch.Tensor
        (1, H, W) bool, True where a pixel is known.

    Raises
    ------
    ImageError
        The file is not black and white, such as a photograph, or `read` would refuse it.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> Image.linear_gradient("L").point(lambda grey: 255 * (grey > 63)).save(file, "PNG")
    >>> read_mask(file.getvalue()).sum().item()  # 192 rows of 256 known pixels
    49152
    """
    if isinstance(source, Image.Image):
        values, name, kind = _of_pillow(source), "the mask", source.format
    else:
        file = opened(source, "the mask")
        values, name, kind = _of_file(file), file.name, file.format
    values = _black_and_white(values.mean(dim=0, keepdim=True), name)
    edge = _edge(kind)
    return values < edge if invert else values > 1 - edge


def read_erased(source):
    """Read an image in which the user has erased a part, so that this part is transparent.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object or File
        As in `read`.

    Returns
    -------
    image : torch.Tensor
        (C, H, W) float32 in [0, 1], white where it was erased.
    known : torch.Tensor
        (1, H, W) bool, True where a pixel is opaque.

    Raises
    ------
    ImageError
        Too many pixels are half transparent, or `read` would refuse the file.

    Examples
    --------
    >>> from diplearn import images
    >>> image, known = read_erased(images.encode(torch.zeros(3, 16, 32), "PNG"))
    >>> image.shape, known.all().item()  # nothing was erased
    (torch.Size([3, 16, 32]), True)
    """
    file = opened(source)
    image, encoded = decoded(file)
    warn(encoded)
    if not encoded.transparent:
        return image, torch.ones(1, *image.shape[1:], dtype=torch.bool)
    alpha = pixels.decoded(AlphaOnly(formats.parse(file, colours=False)))
    return image, _black_and_white(alpha, file.name, _NO_HOLE) > 1 - _edge(file.format)


def _of_pillow(image):
    """Return the alpha channel of a Pillow image, or its colours if it is opaque."""
    image = pillow.upright(image)
    alpha = pillow.transparency(image)
    values = scaled(pillow.pixels(image) if alpha is None else np.asarray(alpha))
    return check(values, "the mask", smallest=1)


def _of_file(file):
    """Return the alpha channel of a file, or its colours if it is opaque."""
    encoded = formats.parse(file, colours=False)
    warn(encoded)
    if encoded.alpha:
        alpha = pixels.decoded(AlphaOnly(encoded))
        if alpha.min() < 1:
            return alpha
        encoded = formats.parse(file, colours=False)
    return pixels.decoded(encoded)


def _edge(kind):
    """Return how far black and white pixels may deviate: JPEG rings by up to 0.2 near edges."""
    return 0.2 if kind in ("JPEG", "WEBP") else 0.02


_NO_MASK = (
    "{} is not a mask, since {:.0%} of its pixels are neither black nor white: a mask is white "
    "where the image is known, and black or transparent where it is missing"
)
_NO_HOLE = (
    "{} does not show what was erased, since {:.0%} of its pixels are half transparent: erase "
    "the missing pixels completely, or name a mask"
)


def _black_and_white(values, name, refusal=_NO_MASK):
    """Return the values of a mask if nearly all are black or white; raise ImageError otherwise.

    Pixels that have no black or white pixel within two pixels ("stray" pixels) are not on an edge.
    Their number, relative to the bright or the dark pixels, whichever are fewer, is under 2 % in
    masks, even after JPEG or a slight blur, and over 100 % in most photographs. The share of almost
    black or white pixels was at least 39 % in masks and at most 23 % in photographs.
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


def shrink_known(image, known, longest):
    """Shrink an image with missing pixels, and return which pixels of the result are known.

    A pixel of the small image is a weighted mean of many original pixels. It counts as known if
    the absolute weights of the missing ones sum to at most 1/255, one grey level. Missing pixels
    are set to mid-grey first, so that the error of a known pixel is at most half a grey level.

    Parameters
    ----------
    image : torch.Tensor
        (C, H, W); its missing pixels may have any value, even NaN.
    known : torch.Tensor
        (H, W), (1, H, W) or (C, H, W), True where a pixel is known.
    longest : int
        Largest allowed length of the longer side in pixels, as in `shrink`.

    Returns
    -------
    image : torch.Tensor
        (C, h, w), 0 where pixels are missing.
    known : torch.Tensor
        (1, h, w) or (C, h, w) bool.

    Raises
    ------
    ImageError
        Image and mask differ in size, no known pixels would be left, or `shrink` would refuse.

    Warns
    -----
    UserWarning
        The share of known pixels falls to less than half of what it was.

    Examples
    --------
    >>> from diplearn import images
    >>> known = torch.ones(1, 400, 600, dtype=torch.bool)
    >>> known[:, 100:200, 100:200] = False
    >>> image, known = shrink_known(images.load("coffee"), known, 300)
    >>> image.shape, (~known).sum().item()  # more than 50x50, since the filter is wide
    (torch.Size([3, 200, 300]), 2904)
    """
    image, known = as_tensor(image), as_tensor(known, "the mask") > 0
    known = known[None] if known.ndim == 2 else known
    channels = (1, image.shape[0])
    if known.ndim != 3 or known.shape[1:] != image.shape[1:] or known.shape[0] not in channels:
        raise ImageError(
            f"the mask has shape {tuple(known.shape)} and the image {tuple(image.shape)}; "
            "they must have the same size"
        )
    small = resizing.shrink(torch.where(known, image, 0.5), longest)
    if small.shape != image.shape:
        rows, columns = (
            _resampling_weights(*sides).abs().to(image)
            for sides in zip(image.shape[1:], small.shape[1:])
        )
        before = float(known.float().mean())
        known = rows @ (~known).to(image) @ columns.T <= 1 / 255
        if 0 < (after := float(known.float().mean())) < before / 2:
            warnings.warn(
                f"longest={longest} leaves {after:.1%} of the image known, instead of "
                f"{before:.1%}: take a larger longest",
                stacklevel=2,
            )
    if not known.any():
        raise ImageError(
            f"longest={longest} leaves no pixel known, since each small pixel is computed from "
            "some missing ones: take a larger longest, or leave it out"
        )
    return torch.where(known, small, 0), known


def _resampling_weights(pixels, fewer):
    """Return the (fewer, pixels) matrix that `resized` applies along one axis."""
    return resizing.resized(torch.eye(pixels)[None], (fewer, pixels))[0]
