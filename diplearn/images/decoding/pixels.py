"""The pixels of a file as a tensor, converted band by band: they are never all there as floats."""

import numpy as np
import torch

from ...errors import ImageError
from .. import resizing
from . import limits

_BAND = 2**19  # pixels that are converted at a time


def whole(height, width):
    """Plan to keep all of an image, in its own size."""
    return (0, 0, height, width), (height, width)


def decoded(file, plan=whole):
    """Decode a file of which the header is known to (C, H, W) float32 in [0, 1].

    `plan` takes the height and width of the upright image, and returns the part that is cut out
    (top, left, height, width) and the (height, width) that the part is brought down to. What has
    to be said of the pixels is added to `file.remarks`.
    """
    _bring_down(file, plan)
    part, sides = plan(*file.size[::-1])
    _check_memory(file, part, sides)
    with limits.failures_as_image_errors(file.name):
        file.load()
        return _image(file, part, sides)


def _bring_down(file, plan):
    """Refuse what is too large, unless as a JPEG it can be decoded at half its sides or less."""
    area = file.width * file.height
    if not file.drafts or area <= limits.LARGEST_AREA:
        return limits.check_area(file.name, *file.size)
    (_, _, height, width), wanted = plan(*file.size[::-1])
    ratio = min(height / wanted[0], width / wanted[1])
    for scale in (2, 4, 8):
        if area / scale**2 <= limits.LARGEST_AREA and scale <= ratio:
            return file.draft(scale)
    advice = ", or read it with longest=1024" if ratio < 2 else ""
    limits.check_area(file.name, *file.size, advice)


def _check_memory(file, part, sides):
    """Refuse what would take more than half of the memory that is free."""
    from ... import memory  # not above: it imports networks, which need no images

    pixels = file.width * file.height
    channels = 1 if file.bands == 1 else 3
    depth = max(file.bytes_per_pixel, (file.bands + file.alpha) * (1 if file.white == 255 else 2))
    stored = pixels * (file.bytes_per_pixel + (depth if file.orientation > 1 else 0))
    shrunk = sides[0] if sides[0] != part[2] else 0
    result = 4 * channels * sides[1] * (part[2] + shrunk)
    needed = max(2 * file.held, stored + max(file.held, result)) + 100 * _BAND
    room = memory.available(torch.device("cpu"))
    if needed > room / 2 and needed > 100_000_000:
        raise ImageError(
            f"{file.name} has {file.width}x{file.height} pixels; to read them takes "
            f"{needed / 1e9:.1f} GB of memory, and {room / 1e9:.1f} GB are free: make it smaller "
            "first, or read it with longest=1024"
        )


def _image(file, part, sides):
    """Convert each band to floats, as narrow as the result; then bring the height down."""
    rows = _upright_rows(file)
    top, left, height, width = part
    step = max(1, _BAND // file.size[0])
    bands = [(at, min(at + step, top + height)) for at in range(top, top + height, step)]
    _check_range(file, rows, bands)
    result = torch.empty(1 if file.bands == 1 else 3, height, sides[1])
    highest, lowest_alpha = 0, 1
    for start, end in bands:
        values = rows(start, end)[:, left : left + width]
        highest = max(highest, int(values[..., : file.bands].max() * (file.white == 65535)))
        floats, alpha = _floats(file, values)
        lowest_alpha = min(lowest_alpha, alpha)
        strip = torch.from_numpy(np.ascontiguousarray(floats.transpose(2, 0, 1)))
        result[:, start - top : end - top] = resizing.resized(strip, (end - start, sides[1]))
    file.release()
    file.transparent = lowest_alpha < 1
    if 0 < highest < 2**14 and not file.negative:
        file.remarks.append(
            f"has 16 bits per channel, but its values reach {highest} of 65535 only "
            f"({highest.bit_length()} bits in a 16-bit file?); it is read as dark as it is"
        )
    return resizing.resized(result, sides).clamp_(0, 1)


def _upright_rows(file):
    """Return a function from (top, bottom) to rows of the upright image."""
    if file.orientation == 1:
        return file.rows
    stored, step = None, max(1, _BAND // file.width)
    for top in range(0, file.height, step):
        rows = file.rows(top, min(top + step, file.height))
        if stored is None:
            stored = np.empty((file.height, *rows.shape[1:]), rows.dtype)
        stored[top : top + step] = rows
    file.release()
    if file.orientation > 4:
        stored = stored.transpose(1, 0, 2)
    down = -1 if file.orientation in (3, 4, 7, 8) else 1
    across = -1 if file.orientation in (2, 3, 6, 7) else 1
    upright = stored[::down, ::across]
    return lambda top, bottom: upright[top:bottom]


def _check_range(file, rows, bands):
    """Refuse numbers outside [0, white]: nobody knows what they mean."""
    kind = rows(*bands[0])[:1].dtype
    if kind.kind == "u" and file.white == np.iinfo(kind).max:
        return
    low, high = np.inf, -np.inf
    for band in bands:
        values = rows(*band)
        low, high = np.minimum(low, values.min()), np.maximum(high, values.max())
    if not (low >= 0 and high <= file.white):  # so that NaN is refused too
        raise ImageError(
            f"{file.name} holds values from {low:g} to {high:g}; between 0 and {file.white} can be "
            "read"
        )


def _floats(file, values):
    """Turn stored rows into sRGB in [0, 1] over white, (h, w, C); also return the least alpha."""
    stored = values[..., : file.bands]
    floats = np.empty(stored.shape, np.float32)
    floats[...] = file.white - stored if file.negative else stored
    floats /= file.white
    alpha = None
    if file.alpha and (least := values[..., -1].min()) < file.white:
        alpha = values[..., file.bands :].astype(np.float32) / file.white
    if alpha is not None and file.premultiplied:
        floats = np.divide(floats, alpha, out=np.ones_like(floats), where=alpha > 0).clip(0, 1)
    if file.space is not None:
        floats = file.space(floats)
    elif file.bands == 4:
        floats = (1 - floats[..., :3]) * (1 - floats[..., 3:])
    if alpha is None:
        return floats, 1
    floats *= alpha
    floats += 1 - alpha
    return floats, float(least) / file.white
