"""Write files whole or not at all, and find out beforehand what could not be written.

What `replacing` and `write_new` promise, and the function that keeps each promise:

- A kill or a full disk leaves the old file or the new one, never a part: the content is written to
  a temporary file in the same folder (`_temporary`), which gets the file's name when it is on the
  disk (`_finish`, then `os.replace`).
- A new file has the permissions that `open` would give it under the user's umask (`_create`); a
  file that is replaced keeps its permissions and, where possible, its owner (`_finish`).
- Symbolic links are followed. Folders, devices, pipes, sockets and read-only files are refused
  (`_target`).
- No temporary file stays for long: an error removes its own, and what a killed process left is
  removed by the next save in that folder (`_tidy`). A temporary file is locked while its process
  lives, and its name holds the computer's, because locks may not be seen across a network.
- An error names the user's file, not the temporary one (`_naming`).
- Two processes that write new files at once get two names (`write_new`).

On Windows there are no locks, and no open file can be renamed: there, a temporary file counts as
abandoned after a day.
"""

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
    """Yield a temporary file that takes the place of `path` if the block ends without an error.

    The temporary file is empty and has the suffix of `path` (unless that is longer than 32 bytes).
    Write into it; do not put another file in its place. InputError says what can never be written,
    OSError what the system refuses; the earlier file is then untouched.

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
    """Write bytes to a new file under the first free one of some names; return that name.

    The names are paths in one folder. No name after the one that is returned is asked for.

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


# What is known beforehand.


def check_writable(path):
    """Raise InputError now if `path` could not be written later.

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
    """Raise InputError unless `path` is an ordinary file, which can be read more than once.

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
    """Return the file behind `path`, links followed, and its stat: None if there is no file yet.

    Refuse what must not be replaced.
    """
    try:
        # Not of the real path: the links in /dev/fd reveal what they are to stat alone.
        earlier = os.stat(path)
    except FileNotFoundError:
        earlier = None
    except ValueError as error:  # a NUL, or a character that no name on this disk can have
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
    """Return what a thing is, by its stat, if it is not an ordinary file."""
    if not stat.S_ISREG(found.st_mode):
        return KINDS.get(stat.S_IFMT(found.st_mode), "not an ordinary file")


def _shown(path):
    """Return a path as a message of one line can show it."""
    return str(path) if str(path).isprintable() else ascii(str(path))


@contextlib.contextmanager
def _naming(target):
    """Let the system's errors name the user's file instead of the temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None


# A temporary file, from its creation to its last name.


@contextlib.contextmanager
def _ready(target, earlier):
    """Yield a temporary file that its process can write, and the permissions of the final file."""
    with _temporary(target, earlier) as temporary:
        made = temporary.stat()
        if made.st_mode & 0o600 != 0o600:  # under a umask that takes away the owner's own rights
            temporary.chmod(0o600)
        _tidy(target.parent, made.st_mtime)
        yield temporary, (earlier or made).st_mode & 0o777


@contextlib.contextmanager
def _temporary(target, earlier):
    """Yield an empty file beside `target`, locked during the block and gone after it."""
    with _naming(target):
        temporary, file = _create(target, 0o666 if earlier is None else earlier.st_mode & 0o777)
    with contextlib.closing(file):
        try:
            yield temporary
        finally:
            with contextlib.suppress(OSError):  # it has become `target`, or its folder is gone
                temporary.unlink()


def _create(target, mode):
    """Create a locked file beside `target`; return its path, and the file, open for the lock."""
    # A long suffix names no format, and would make the name too long.
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= 32 else ""
    while True:
        temporary = target.with_name(f".diplearn-{HOST}-{secrets.token_hex(8)}{suffix}")
        # The kernel applies the umask; to read it, one must change it for all threads.
        file = open(temporary, "x+b", opener=lambda name, flags: os.open(name, flags, mode | 0o600))
        if fcntl is None:
            file.close()  # Windows renames no open file
            return temporary, file
        with contextlib.suppress(OSError):  # a disk without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # another process removed the file before it was locked


def _finish(temporary, earlier, mode):
    """Put the content on the disk; set the permissions, and the owner of the file replaced."""
    with open(temporary, "rb+") as written:
        os.fsync(written.fileno())
    made = temporary.stat()
    if earlier and (made.st_uid, made.st_gid) != (earlier.st_uid, earlier.st_gid):
        with contextlib.suppress(OSError):  # only root may give a file away
            os.chown(temporary, earlier.st_uid, earlier.st_gid)
    if stat.S_IMODE(made.st_mode) != mode:
        temporary.chmod(mode)


def _named(temporary, name):
    """Give a file the name if no file has it; return whether it was free."""
    try:
        os.link(temporary, name)
    except FileExistsError:
        return False
    except OSError:  # a disk without links
        try:
            open(name, "xb").close()  # this claims the name
        except FileExistsError:
            return False
        os.replace(temporary, name)
    return True


# What killed processes left.

_rests = {}  # folder -> time of time.monotonic until which it is not searched again


def _tidy(folder, now):
    """Remove abandoned files from a folder, but spend at most a hundredth of the time on it."""
    begun = time.monotonic()
    if begun < _rests.get(folder, 0):
        return
    _remove_abandoned(folder, now)
    ended = time.monotonic()
    if len(_rests) > 1000:
        _rests.clear()
    _rests[folder] = ended + 100 * (ended - begun)  # a folder of 100,000 files takes long


def _remove_abandoned(folder, now):
    """Remove the temporary files of killed processes; `now` is the time by the disk's own clock."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = TEMPORARY.fullmatch(entry.name)
            if not found or not entry.is_file(follow_symlinks=False):
                continue
            with contextlib.suppress(OSError):  # it is locked, gone, or another user's
                old = now - entry.stat().st_mtime > DAY
                if old or (fcntl and found[1] == HOST):  # another computer's lock may be invisible
                    _remove_unlocked(entry.path)


def _remove_unlocked(path):
    """Remove a file unless a living process holds its lock: then raise OSError."""
    if fcntl is None:
        os.unlink(path)
        return
    with open(path, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
