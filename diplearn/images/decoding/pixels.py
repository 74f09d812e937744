"""Decode the pixels of a file to a tensor, in bands of rows to save memory."""

import numpy as np
import torch

from ... import hardware
from ...errors import ImageError
from .. import resizing
from . import limits

_BAND = 2**19  # pixels per band


def whole(height, width):
    """Return the plan that keeps the whole image in its size."""
    return (0, 0, height, width), (height, width)


def decoded(encoded, plan=whole):
    """Decode a file to (C, H, W) float32 in [0, 1], and add to `encoded.remarks`.

    `plan` takes the height and width of the upright image, and returns the part to crop (top,
    left, height, width) and the (height, width) to which this part is shrunk.
    """
    _bring_down(encoded, plan)
    part, sides = plan(*encoded.size[::-1])
    _check_memory(encoded, part, sides)
    with limits.failures_as_image_errors(encoded.name):
        encoded.load()
        return _image(encoded, part, sides)


def _bring_down(encoded, plan):
    """Refuse too large an image, unless it is a JPEG that can be decoded at a smaller size."""
    area = encoded.width * encoded.height
    if not encoded.drafts or area <= limits.LARGEST_AREA:
        return limits.check_area(encoded.name, *encoded.size)
    (_, _, height, width), wanted = plan(*encoded.size[::-1])
    ratio = min(height / wanted[0], width / wanted[1])
    for scale in (2, 4, 8):
        if area / scale**2 <= limits.LARGEST_AREA and scale <= ratio:
            return encoded.draft(scale)
    advice = ", or read it with longest=1024" if ratio < 2 else ""
    limits.check_area(encoded.name, *encoded.size, advice)


def _check_memory(encoded, part, sides):
    """Refuse an image whose decoding would take more than half of the free memory."""
    per_pixel = encoded.bytes_per_pixel
    if encoded.orientation > 1:  # rotating copies the rows
        sample = 1 if encoded.white == 255 else 2
        per_pixel += max(per_pixel, sample * (encoded.bands + encoded.alpha))
    stored = encoded.width * encoded.height * per_pixel
    # Floats: as wide as the result and as high as the part; and the result, if it is less high.
    rows = part[2] + (sides[0] if sides[0] != part[2] else 0)
    result = 4 * (1 if encoded.bands == 1 else 3) * sides[1] * rows
    needed = max(2 * encoded.held, stored + max(encoded.held, result)) + 100 * _BAND
    room = hardware.available(torch.device("cpu"))
    if needed > room / 2 and needed > 100_000_000:
        raise ImageError(
            f"{encoded.name} has {encoded.width}x{encoded.height} pixels; reading them takes "
            f"{needed / 1e9:.1f} GB of memory, and {room / 1e9:.1f} GB are free: make it smaller "
            "first, or read it with longest=1024"
        )


def _image(encoded, part, sides):
    """Convert each band to floats and shrink its width; at the end, shrink the height."""
    rows = _upright_rows(encoded)
    top, left, height, width = part
    step = max(1, _BAND // encoded.size[0])
    bands = [(at, min(at + step, top + height)) for at in range(top, top + height, step)]
    _check_range(encoded, rows, bands)
    result = torch.empty(1 if encoded.bands == 1 else 3, height, sides[1])
    highest, lowest_alpha = 0, 1
    for start, end in bands:
        values = rows(start, end)[:, left : left + width]
        highest = max(highest, int(values[..., : encoded.bands].max() * (encoded.white == 65535)))
        floats, alpha = _floats(encoded, values)
        lowest_alpha = min(lowest_alpha, alpha)
        strip = torch.from_numpy(np.ascontiguousarray(floats.transpose(2, 0, 1)))
        result[:, start - top : end - top] = resizing.resized(strip, (end - start, sides[1]))
    encoded.release()
    encoded.transparent = lowest_alpha < 1
    if 0 < highest < 2**14 and not encoded.negative:
        encoded.remarks.append(
            f"has 16 bits per channel, but its largest value is {highest} of 65535 "
            f"(a {highest.bit_length()}-bit image?); the values are not rescaled, so it is dark"
        )
    return resizing.resized(result, sides).clamp_(0, 1)


def _upright_rows(encoded):
    """Return a function that maps (top, bottom) to rows of the upright image."""
    if encoded.orientation == 1:
        return encoded.rows
    stored, step = None, max(1, _BAND // encoded.width)
    for top in range(0, encoded.height, step):
        rows = encoded.rows(top, min(top + step, encoded.height))
        if stored is None:
            stored = np.empty((encoded.height, *rows.shape[1:]), rows.dtype)
        stored[top : top + step] = rows
    encoded.release()
    if encoded.orientation > 4:
        stored = stored.transpose(1, 0, 2)
    down = -1 if encoded.orientation in (3, 4, 7, 8) else 1
    across = -1 if encoded.orientation in (2, 3, 6, 7) else 1
    upright = stored[::down, ::across]
    return lambda top, bottom: upright[top:bottom]


def _check_range(encoded, rows, bands):
    """Refuse numbers outside [0, white], since their meaning is unknown."""
    kind = rows(*bands[0])[:1].dtype
    if kind.kind == "u" and encoded.white == np.iinfo(kind).max:
        return
    low, high = np.inf, -np.inf
    for band in bands:
        values = rows(*band)
        low, high = np.minimum(low, values.min()), np.maximum(high, values.max())
    if not (low >= 0 and high <= encoded.white):  # written so that NaN is refused, too
        found = f"values from {low:g} to {high:g}; they must be between 0 and {encoded.white}"
        raise ImageError(f"{encoded.name} holds {found}")


def _floats(encoded, values):
    """Return stored rows as sRGB in [0, 1], (h, w, C), blended with white; and the least alpha."""
    stored = values[..., : encoded.bands]
    floats = np.empty(stored.shape, np.float32)
    floats[...] = encoded.white - stored if encoded.negative else stored
    floats /= encoded.white
    alpha = None
    if encoded.alpha and (least := values[..., -1].min()) < encoded.white:
        alpha = values[..., encoded.bands :].astype(np.float32) / encoded.white
    if alpha is not None and encoded.premultiplied:
        floats = np.divide(floats, alpha, out=np.ones_like(floats), where=alpha > 0).clip(0, 1)
    if encoded.space is not None:
        floats = encoded.space(floats)
    elif encoded.bands == 4:
        floats = (1 - floats[..., :3]) * (1 - floats[..., 3:])
    if alpha is None:
        return floats, 1
    floats *= alpha
    floats += 1 - alpha
    return floats, float(least) / encoded.white
