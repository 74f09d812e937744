"""Limits on the size of a file, and messages for the errors of decoders."""

import contextlib
import zlib

from PIL import Image

from ...errors import ImageError

LARGEST_FILE = 1_000_000_000
"""Largest file that is read, in bytes."""

LARGEST_AREA = 100_000_000
"""Largest image in pixels; larger ones may be decompression bombs and are not decoded."""


def check_area(name, width, height, advice=""):
    """Raise ImageError if an image has too many pixels."""
    if width * height > LARGEST_AREA:
        raise ImageError(
            f"{name} has {width}x{height} pixels; more than {LARGEST_AREA // 1_000_000} million "
            f"are refused: make it smaller first{advice}"
        )


@contextlib.contextmanager
def failures_as_image_errors(name):
    """Turn every error of a decoder into an ImageError; damaged files can cause any error."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is refused, since it has too many pixels: {error}") from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is; make it smaller") from error
    except Exception as error:
        # Only these errors have messages that help the user.
        clear = isinstance(error, (OSError, SyntaxError, zlib.error)) and error.__cause__ is None
        reason = f": {error}" if clear else ""
        raise ImageError(f"{name} is damaged or not an image{reason}") from error
