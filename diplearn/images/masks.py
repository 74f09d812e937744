"""Which pixels are known: masks, what was erased, and both for a smaller image."""

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
    """Read which pixels of an image are known.

    Where a file is transparent in places, exactly those pixels are missing. Otherwise black pixels
    are missing and white ones known; grey ones, as at the edges of letters, are missing too.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object, File or PIL.Image.Image
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
        The mask is not black and white (a photograph), or as in `read`.

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
    """Read an image of which a part was erased, and is transparent.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object or File
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
    """Return the alpha or the colours of a Pillow image."""
    image = pillow.upright(image)
    alpha = pillow.transparency(image)
    values = scaled(pillow.pixels(image) if alpha is None else np.asarray(alpha))
    return check(values, "the mask", smallest=1)


def _of_file(file):
    """Return the alpha or the colours of a file."""
    encoded = formats.parse(file, colours=False)
    warn(encoded)
    if encoded.alpha:
        alpha = pixels.decoded(AlphaOnly(encoded))
        if alpha.min() < 1:
            return alpha
        encoded = formats.parse(file, colours=False)
    return pixels.decoded(encoded)


def _edge(kind):
    """How grey a black or white pixel may be: JPEG rings by up to a fifth around edges."""
    return 0.2 if kind in ("JPEG", "WEBP") else 0.02


_NO_MASK = (
    "{} is no mask, since {:.0%} of it is neither black nor white: a mask is white where the "
    "image is known and black, or transparent, where it is missing"
)
_NO_HOLE = (
    "{} does not show what was erased, since {:.0%} of it is half transparent: erase wholly what "
    "is missing, or name a mask"
)


def _black_and_white(values, name, refusal=_NO_MASK):
    """Return the values of a mask if nearly all are black or white; raise ImageError if not.

    A grey pixel with no black or white within two pixels is not an edge. In masks, also after JPEG
    or a slight blur, such pixels number under 2 % of the smaller class (bright or dark); in most
    photographs more than 100 %. And at least 39 % of a mask was as good as black or white, of
    photographs at most 23 %.
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
    """Bring down an image of which only a part is known, and say what is known of the result.

    A pixel of the small image is a weighted mean of many. It counts as known where the absolute
    weights of missing pixels sum up to less than one grey level, 1/255. Since mid-grey stands for
    these, a known pixel is within half a grey level of what the whole image would give.

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
        Less than half of what was known stays known.

    Examples
    --------
    >>> from diplearn import images
    >>> known = torch.ones(1, 400, 600, dtype=torch.bool)
    >>> known[:, 100:200, 100:200] = False
    >>> image, known = shrink_known(images.load("coffee"), known, 300)
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
    """Return the (fewer, pixels) matrix by which `resized` works along an axis."""
    return resizing.resized(torch.eye(pixels)[None], (fewer, pixels))[0]
