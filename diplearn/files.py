"""Write files atomically, and check beforehand that they can be written.

What `replacing` and `write_new` guarantee, and where:

- After a kill or with a full disk, the file is the old or the new one, never a part: the content
  goes to a temporary file in the same folder (`_temporary`), which is synchronised (`_finish`) and
  then renamed.
- A new file has the permissions of the user's umask (`_create`); a replaced file keeps its
  permissions and, where possible, its owner (`_finish`).
- Symbolic links are followed; folders, devices, pipes, sockets and read-only files are refused
  (`_target`).
- Temporary files are removed after an error, or after a kill by the next save in that folder
  (`_tidy`). A process locks its temporary file. Other computers on a network may not see the lock,
  so the file's name contains a code of the computer.
- An error names the user's file, not the temporary one (`_naming`).
- Two processes that write new files at once get different names (`write_new`).

Windows has no such locks and renames no open files: there, a temporary file counts as abandoned
after a day.
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
    """Yield a temporary file that replaces `path` if the block ends without an error.

    The file is empty and has the suffix of `path`, up to 32 bytes. Write into this file; do not
    replace it. InputError means that `path` can never be written, OSError that the system refused.

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
    """Write bytes to a new file with the first free name of an iterable; return this name.

    The names are paths in one folder. The iterable is not advanced beyond the returned name.

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


# Checks before anything is written.


def check_writable(path):
    """Raise InputError now if `path` could not be written later.

    >>> check_writable("no/such/folder/out.png")
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: cannot write no/such/folder/out.png: there is no folder no/such/folder
    """  # noqa: E501 (the message is one line)
    try:
        target, earlier = _target(path)
        for folder in (Path(path).parent, target.parent):  # of a link, and of its target
            if not folder.is_dir():
                raise InputError(
                    f"cannot write {_shown(path)}: there is no folder {_shown(folder)}"
                )
        # Only a real file tests a folder against read-only disks, quotas and permissions.
        with _temporary(target, earlier):
            pass
    except OSError as error:
        raise InputError(f"cannot write {_shown(path)}: {error.strerror}") from None


def check_readable(path):
    """Raise InputError unless `path` is a regular file, which can be read more than once.

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
    """Return the file behind a link or path and its stat, or None for a new file, if writable."""
    try:
        # Not of the resolved path: the links in /dev/fd show their kind only to stat.
        earlier = os.stat(path)
    except FileNotFoundError:
        earlier = None
    except ValueError as error:  # a character that is not allowed in names, such as NUL
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
    """Return in words what a stat belongs to, or None for a regular file."""
    if not stat.S_ISREG(found.st_mode):
        return KINDS.get(stat.S_IFMT(found.st_mode), "not a regular file")


def _shown(path):
    """Return a path for a message, with escapes for line breaks and the like."""
    return str(path) if str(path).isprintable() else ascii(str(path))


@contextlib.contextmanager
def _naming(target):
    """Make OSErrors name the user's file instead of the temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None


# The temporary file, from its creation to its final name.


@contextlib.contextmanager
def _ready(target, earlier):
    """Yield a writable temporary file, and the permissions of the final file."""
    with _temporary(target, earlier) as temporary:
        made = temporary.stat()
        if made.st_mode & 0o600 != 0o600:  # the umask denies the owner access
            temporary.chmod(0o600)
        _tidy(target.parent, made.st_mtime)
        yield temporary, (earlier or made).st_mode & 0o777


@contextlib.contextmanager
def _temporary(target, earlier):
    """Yield an empty file beside `target`, locked during the block and removed after it."""
    with _naming(target):
        temporary, file = _create(target, 0o666 if earlier is None else earlier.st_mode & 0o777)
    with contextlib.closing(file):
        try:
            yield temporary
        finally:
            with contextlib.suppress(OSError):  # it was renamed, or its folder is gone
                temporary.unlink()


def _create(target, mode):
    """Create a locked file beside `target`; return its path, and the file object with the lock."""
    # A longer suffix is not that of a format, and would make the name too long.
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= 32 else ""
    while True:
        temporary = target.with_name(f".diplearn-{HOST}-{secrets.token_hex(8)}{suffix}")
        # The kernel applies the umask, which a process can only read by changing it.
        file = open(temporary, "x+b", opener=lambda name, flags: os.open(name, flags, mode | 0o600))
        if fcntl is None:
            file.close()  # Windows cannot rename an open file
            return temporary, file
        with contextlib.suppress(OSError):  # a disk without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # another process removed the file before it was locked


def _finish(temporary, earlier, mode):
    """Synchronise the file with the disk; set its permissions, and the earlier file's owner."""
    with open(temporary, "rb+") as written:
        os.fsync(written.fileno())
    made = temporary.stat()
    if earlier and (made.st_uid, made.st_gid) != (earlier.st_uid, earlier.st_gid):
        with contextlib.suppress(OSError):  # only root may give a file away
            os.chown(temporary, earlier.st_uid, earlier.st_gid)
    if stat.S_IMODE(made.st_mode) != mode:
        temporary.chmod(mode)


def _named(temporary, name):
    """Rename a file if the name is free; return whether it was."""
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


# Temporary files that killed processes have left.

_rests = {}  # folder -> when it may be searched again, by time.monotonic


def _tidy(folder, now):
    """Remove abandoned files from a folder, in at most 1 % of the running time."""
    begun = time.monotonic()
    if begun < _rests.get(folder, 0):
        return
    _remove_abandoned(folder, now)
    ended = time.monotonic()
    if len(_rests) > 1000:
        _rests.clear()
    _rests[folder] = ended + 100 * (ended - begun)  # a folder of 100,000 files takes long


def _remove_abandoned(folder, now):
    """Remove the temporary files of killed processes; `now` is the file system's time."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = TEMPORARY.fullmatch(entry.name)
            if not found or not entry.is_file(follow_symlinks=False):
                continue
            with contextlib.suppress(OSError):  # locked, gone, or another user's file
                old = now - entry.stat().st_mtime > DAY
                if old or (fcntl and found[1] == HOST):  # other computers' locks may be invisible
                    _remove_unlocked(entry.path)


def _remove_unlocked(path):
    """Remove a file, or raise OSError if a running process holds its lock."""
    if fcntl is None:
        os.unlink(path)
        return
    with open(path, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
