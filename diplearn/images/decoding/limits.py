"""What is refused, and how a decoder's failures are worded."""

import contextlib
import zlib

from PIL import Image

from ...errors import ImageError

LARGEST_FILE = 1_000_000_000
"""Bytes that are read of a file at most."""

LARGEST_AREA = 100_000_000
"""Pixels: a file that claims more is refused before it is decoded (a decompression bomb)."""


def check_area(name, width, height, advice=""):
    """Raise ImageError if an image has too many pixels."""
    if width * height > LARGEST_AREA:
        raise ImageError(
            f"{name} claims {width}x{height} pixels; more than {LARGEST_AREA // 1_000_000} million "
            f"are refused: make it smaller first{advice}"
        )


@contextlib.contextmanager
def failures_as_image_errors(name):
    """Turn whatever a decoder raises into an ImageError: damaged bytes can make it fail anyhow."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is refused, its pixels are too many: {error}") from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is; make it smaller") from error
    except Exception as error:
        # Only these come with a message that helps the user.
        clear = isinstance(error, (OSError, SyntaxError, zlib.error)) and error.__cause__ is None
        reason = f": {error}" if clear else ""
        raise ImageError(f"{name} is damaged or not an image{reason}") from error
