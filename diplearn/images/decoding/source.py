"""Read the bytes of an image from a path, a pipe, bytes or a file object."""

import io
import re
from pathlib import Path
from typing import NamedTuple

from ...errors import ImageError
from . import limits

# Formats of photographs and scans, all tested; a file cannot make Pillow use another decoder.
_FORMATS = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "TIFF": rb"(II|MM)(\x2a\0|\0\x2a|\x2b\0|\0\x2b)",
    "BMP": rb"BM",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF....WEBP",
    "PPM": rb"P[1-6f]\s",
}


class File(NamedTuple):
    """The name, format and bytes of an image file (see `opened`)."""

    name: str
    format: str
    data: bytes


def opened(source, what="the image"):
    """Read the bytes of an image file, so that several functions can use them.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object or File
        As in `images.read`; a File is returned unchanged.
    what : str, optional
        Name in error messages of an image without a file name.

    Returns
    -------
    File
        The name for messages, the format, and the bytes. Functions that read an image accept it
        in place of a path.

    Examples
    --------
    >>> from importlib import resources
    >>> from diplearn import images
    >>> file = opened(resources.files("skimage") / "data" / "retina.jpg")
    >>> images.read(file, longest=100).shape, images.about(file).dpi  # the file is read once
    (torch.Size([3, 100, 100]), (150.0, 150.0))
    """
    if isinstance(source, File):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return _read_to_the_end(io.BytesIO(bytes(source)), what)
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        name = "standard input" if name == "<stdin>" else name
        return _read_to_the_end(source, name if isinstance(name, str) else what)
    if isinstance(source, str) and re.match("(?i)[a-z][a-z0-9+.-]+://", source):
        raise ImageError(f"{source} is a URL; download the file, and give the path of your copy")
    with _open(source) as file:
        return _read_to_the_end(file, str(Path(source)))


def _open(source):
    try:
        path = Path(source)
        if not path.is_dir():
            return path.open("rb")
    except TypeError:
        kind = type(source).__name__
        raise ImageError(f"a {kind} is neither a path, nor bytes, nor a binary file") from None
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {source}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = getattr(error, "strerror", None) or error  # without the file's name
        raise ImageError(f"cannot read {source}: {reason}") from error
    raise ImageError(f"{path} is a folder; name an image file in it")


def _read_to_the_end(file, name):
    """Read a whole file, or only its first 16 bytes if they do not begin an image."""
    content = io.BytesIO()  # getvalue() makes no copy
    try:
        _read_up_to(16, file, content)
        kind = _format(content.getvalue(), name)
        _read_up_to(limits.LARGEST_FILE, file, content)
    except ImageError:
        raise
    except Exception as error:  # a user's own file object may fail in any way
        raise ImageError(f"cannot read {name}: {error}") from error
    if content.tell() >= limits.LARGEST_FILE:
        most = limits.LARGEST_FILE // 1_000_000
        raise ImageError(f"{name} is larger than {most} MB: too large to read")
    return File(name, kind, content.getvalue())


def _read_up_to(count, file, content):
    """Read until `content` has `count` bytes; a pipe may need many reads for this."""
    while (most := count - content.tell()) > 0:
        piece = file.read(min(most, 2**20))
        if not piece:
            break
        if isinstance(piece, str):
            raise TypeError('it was opened as text; open it with "rb"')
        content.write(piece)


def _format(head, name):
    if not head:
        raise ImageError(f"{name} is empty")
    for kind, start in _FORMATS.items():
        if re.match(start, head, re.DOTALL):
            return kind
    nameless = {"the image": "the data are", "the mask": "the data of the mask are"}
    subject = nameless.get(name, f"{name} is")
    raise ImageError(f"{subject} not an image that can be read (known: {', '.join(_FORMATS)})")
