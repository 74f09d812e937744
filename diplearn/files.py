"""Files written whole or not at all, and checked before the long work starts."""

import contextlib
import os
import platform
import re
import secrets
import stat
import time
import zlib
from pathlib import Path

from .errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

DAY = 24 * 60 * 60  # seconds
HOST = f"{zlib.crc32(os.fsencode(platform.node())):08x}"
TEMPORARY = re.compile(r"\.diplearn-([0-9a-f]{8})-[0-9a-f]{16}(\..*)?", re.DOTALL)
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


@contextlib.contextmanager
def replacing(path):
    """Write a file so that a kill at any moment leaves the old file or the new one.

    What a killed process left of an earlier save in the same folder is removed on the way.

    Parameters
    ----------
    path : str or path-like
        Where the file shall be. A symbolic link is followed, as an ordinary `open` does.

    Yields
    ------
    pathlib.Path
        A temporary file beside `path`, with the same suffix (unless that is longer than 32 bytes).
        Write into it; do not put another file in its place. It takes the place of `path` when the
        block ends well; it is removed when the block raises.

    Raises
    ------
    InputError
        `path` is a folder, a device, a pipe, a socket, a read-only file, or a name that no file
        can have.
    OSError
        The folder is not there or cannot be written, the name is too long, its links go round in a
        circle, or the disk is full. The earlier file is untouched.

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
    target, earlier = _target(path)
    with _ready(target, earlier) as (temporary, mode):
        yield temporary
        with _naming(target):
            _finish(temporary, earlier, mode)
            os.replace(temporary, target)


def write_new(content, names):
    """Write a new file, whole or not at all, under the first of some names that is free.

    Two processes that write at the same time get two names: neither writes over the other.

    Parameters
    ----------
    content : bytes
    names : iterable of pathlib.Path
        All in one folder.

    Returns
    -------
    pathlib.Path
        The name that the file has got. No later one was asked for.

    Raises
    ------
    OSError
        The folder is not there or cannot be written, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     names = Path(folder, "a.txt"), Path(folder, "b.txt")
    ...     [write_new(b"", names).name for _ in range(2)]
    ['a.txt', 'b.txt']
    """
    names = iter(names)
    name = next(names)
    with _ready(name, None) as (temporary, mode), _naming(name):
        temporary.write_bytes(content)
        _finish(temporary, None, mode)
        while not _named(temporary, name):
            name = next(names)
    return name


def _named(temporary, name):
    """Give a file another name if that is free; return whether it was."""
    try:
        os.link(temporary, name)
    except FileExistsError:
        return False
    except OSError:  # a disk without links
        try:
            open(name, "xb").close()  # now the name is ours
        except FileExistsError:
            return False
        os.replace(temporary, name)
    return True


def check_writable(path):
    """Raise now if `path` could not be written later.

    Parameters
    ----------
    path : str or path-like
        The file that a fit will write when it ends.

    Raises
    ------
    InputError
        The folder is missing, is not a folder or refuses new files; `path` is a folder, a device,
        a pipe, a socket, a read-only file, or a name that no file can have.

    Examples
    --------
    >>> check_writable("no/such/folder/out.png")
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: cannot write no/such/folder/out.png: there is no folder no/such/folder
    """  # noqa: E501 (the message is one line)
    try:
        target, earlier = _target(path)
        for folder in (Path(path).parent, target.parent):  # of a link, and of what it points to
            if not folder.is_dir():
                raise InputError(
                    f"cannot write {_shown(path)}: there is no folder {_shown(folder)}"
                )
        # The only honest test of a folder: read-only disks, quotas and permissions all show here.
        with _temporary(target, earlier):
            pass
    except OSError as error:
        raise InputError(f"cannot write {_shown(path)}: {error.strerror}") from None


def check_readable(path):
    """Raise if `path` is not an ordinary file, which can be read more than once and to its end.

    Parameters
    ----------
    path : str or path-like
        The file that will be read.

    Raises
    ------
    InputError
        There is no such file; `path` is a folder, a device, a pipe, a socket, or a name that no
        file can have.

    Examples
    --------
    >>> check_readable("no/such/run.dip")
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: there is no file no/such/run.dip
    """
    try:
        kind = _kind(os.stat(path))
    except FileNotFoundError:
        raise InputError(f"there is no file {_shown(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {_shown(path)}: {reason}") from None
    if kind is not None:
        raise InputError(f"cannot read {_shown(path)}: it is {kind}; name a file")


def _target(path):
    """Return the file behind `path`, links followed, and its stat: None where it is a new file."""
    try:
        # Not of the real path: the links in /dev/fd show what they are to stat alone.
        earlier = os.stat(path)
    except FileNotFoundError:
        earlier = None
    except ValueError as error:  # a NUL, or a character that the disk's names cannot have
        raise InputError(f"cannot write {_shown(path)}: {error}") from None
    target = Path(os.path.realpath(path))
    if earlier is None:
        return target, None
    if kind := _kind(earlier):
        advice = "name a file in it" if kind == "a folder" else "name another file"
        raise InputError(f"cannot write {_shown(path)}: it is {kind}; {advice}")
    if not os.access(path, os.W_OK):
        raise InputError(f"cannot write {_shown(path)}: the file is read-only")
    return target, earlier


def _kind(found):
    """Say what a thing is that is no ordinary file."""
    if not stat.S_ISREG(found.st_mode):
        return KINDS.get(stat.S_IFMT(found.st_mode), "no ordinary file")


def _shown(path):
    """Show a path in a message of one line."""
    return str(path) if str(path).isprintable() else ascii(str(path))


@contextlib.contextmanager
def _naming(target):
    """Let an error of the system's name the user's file, and not the temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None


@contextlib.contextmanager
def _ready(target, earlier):
    """Make a temporary file to write into, and say which permissions it shall have in the end.

    What killed processes left beside it is removed.
    """
    with _temporary(target, earlier) as temporary:
        made = temporary.stat()
        if made.st_mode & 0o600 != 0o600:  # under a umask that takes away one's own rights
            temporary.chmod(0o600)
        _tidy(target.parent, made.st_mtime)
        yield temporary, (earlier or made).st_mode & 0o777


@contextlib.contextmanager
def _temporary(target, earlier):
    """Make an empty file beside `target`, locked while the block runs and gone after it."""
    with _naming(target):
        temporary, file = _create(target, 0o666 if earlier is None else earlier.st_mode & 0o777)
    with contextlib.closing(file):
        try:
            yield temporary
        finally:
            with contextlib.suppress(OSError):  # it has become `target`, or its folder is gone
                temporary.unlink()


def _create(target, mode):
    # A long suffix names no format, and would make the name too long.
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= 32 else ""
    while True:
        temporary = target.with_name(f".diplearn-{HOST}-{secrets.token_hex(8)}{suffix}")
        # The kernel applies the umask: to ask for it would mean to change it, for all threads.
        file = open(temporary, "x+b", opener=lambda name, flags: os.open(name, flags, mode | 0o600))
        if fcntl is None:
            file.close()  # Windows renames no open file
            return temporary, file
        with contextlib.suppress(OSError):  # a disk without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # another process removed it before it was locked


def _finish(temporary, earlier, mode):
    """Put a file on the disk; give it its permissions, and the owner of what it replaces."""
    with open(temporary, "rb+") as written:
        os.fsync(written.fileno())
    made = temporary.stat()
    if earlier and (made.st_uid, made.st_gid) != (earlier.st_uid, earlier.st_gid):
        with contextlib.suppress(OSError):  # only root may give a file away
            os.chown(temporary, earlier.st_uid, earlier.st_gid)
    if stat.S_IMODE(made.st_mode) != mode:
        temporary.chmod(mode)


_rests = {}  # folder -> when it may be looked through again


def _tidy(folder, now):
    """Remove what was abandoned, unless that would take more than a hundredth of the time."""
    begun = time.monotonic()
    if begun < _rests.get(folder, 0):
        return
    _remove_abandoned(folder, now)
    ended = time.monotonic()
    if len(_rests) > 1000:
        _rests.clear()
    _rests[folder] = ended + 100 * (ended - begun)  # a large folder takes long


def _remove_abandoned(folder, now):
    """Remove the temporary files of killed processes; `now` is the time by the disk's own clock."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = TEMPORARY.fullmatch(entry.name)
            if not found or not entry.is_file(follow_symlinks=False):
                continue
            with contextlib.suppress(OSError):  # it is locked, gone, or somebody else's
                old = now - entry.stat().st_mtime > DAY
                if old or (fcntl and found[1] == HOST):  # another computer's lock may not be seen
                    _remove_unlocked(entry.path)


def _remove_unlocked(path):
    if fcntl is None:
        os.unlink(path)
        return
    with open(path, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
