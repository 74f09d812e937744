"""Files written whole or not at all, and checked before the long work starts."""

import contextlib
import os
import tempfile
from pathlib import Path

from .errors import InputError


@contextlib.contextmanager
def replacing(path):
    """Write a file so that a kill at any moment leaves the old file or the new one.

    Parameters
    ----------
    path : str or path-like
        Where the file shall be.

    Yields
    ------
    pathlib.Path
        A temporary file beside `path`, with the same suffix. It takes the place of `path` when the
        block ends well; it is removed when the block raises.

    Raises
    ------
    OSError
        The folder cannot be written, or the disk is full. The earlier file is untouched.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     notes = Path(folder, "notes.txt")
    ...     with replacing(notes) as temporary:
    ...         written = temporary.write_text("whole or not at all")
    ...     notes.read_text()
    'whole or not at all'
    """
    path = Path(path).resolve()  # through a symbolic link, as an ordinary `open` writes
    # A short prefix, so that the longest name which `path` may have works here too.
    handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=".new-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.chmod(_mode(path))
        yield temporary
        with open(temporary, "rb+") as written:  # on the disk before it gets its name
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _mode(path):
    """Permissions as an ordinary `open` would give them: mkstemp's own are for secrets."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def check_writable(path):
    """Raise now if `path` could not be written later.

    Parameters
    ----------
    path : str or path-like
        The file that a fit will write when it ends.

    Raises
    ------
    InputError
        The folder is missing, is not a folder or refuses new files; `path` is a folder, is
        read-only, or is a name that no file can have.

    Examples
    --------
    >>> check_writable("no/such/folder/out.png")
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: cannot write no/such/folder/out.png: there is no folder no/such/folder
    """  # noqa: E501 (the message is one line)
    path = Path(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # a name with a NUL byte, or too long for the disk, fails here
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; name a file in it")
        if not path.parent.is_dir():
            raise InputError(f"cannot write {path}: there is no folder {path.parent}")
        if path.exists() and not os.access(path, os.W_OK):
            raise InputError(f"cannot write {path}: the file is read-only")
        # The only honest test of a folder: read-only disks, quotas and permissions all show here.
        with tempfile.NamedTemporaryFile(dir=path.parent):
            pass
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write {path}: {reason}") from None
