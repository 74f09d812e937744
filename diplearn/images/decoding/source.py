"""Where the bytes of an image come from: a path, a pipe, bytes, a file object."""

import io
import re
from pathlib import Path
from typing import NamedTuple

from ...errors import ImageError
from . import limits

# Formats that photographs and scans have: a file cannot choose a decoder that nobody has tested.
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
    """The bytes of an image file, read once: see `opened`."""

    name: str
    format: str
    data: bytes


def opened(source, what="the image"):
    """Read the bytes of an image file, so that they can be decoded more than once.

    Every function that reads an image also takes the result in place of a path.

    Parameters
    ----------
    source : str, path-like, bytes, binary file object or File
        As in `images.read`; what was opened already is returned as it is.
    what : str, optional
        How messages call an image that has no file name.

    Returns
    -------
    File
        The name for messages, the format, and the bytes.

    Raises
    ------
    ImageError
        The file is missing, empty, too large, or of no known format.

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
        raise ImageError(f"{source} is an address; download the file, then name it here")
    with _open(source) as file:
        return _read_to_the_end(file, str(Path(source)))


def _open(source):
    try:
        path = Path(source)
        if not path.is_dir():
            return path.open("rb")
    except TypeError:
        kind = type(source).__name__
        raise ImageError(f"a {kind} is neither a path nor bytes nor a binary file") from None
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {source}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = getattr(error, "strerror", None) or error  # without the name, which we say
        raise ImageError(f"cannot read {source}: {reason}") from error
    raise ImageError(f"{path} is a folder; name an image file in it")


def _read_to_the_end(file, name):
    """Read a whole file, or only its first bytes if no image starts like that."""
    content = io.BytesIO()  # its getvalue() makes no copy
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
    """Read until `content` has so many bytes, however few a pipe hands out at a time."""
    while (most := count - content.tell()) > 0:
        piece = file.read(min(most, 2**20))
        if not piece:
            break
        if isinstance(piece, str):
            raise TypeError('it is opened as text; open it with "rb"')
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
