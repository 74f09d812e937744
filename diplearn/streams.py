"""Standard input, output and error of a command, which may be terminals, pipes or closed."""

import contextlib
import os
import sys
import warnings

from .errors import InputError

_closed = set()
"""Names of the streams that were closed at the start, as by `>&-` in a shell."""


def open_closed():
    """Open closed streams on the null device; else the next file would get a stream's number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _closed.add(name)
            handle = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            setattr(sys, name, open(handle, "w" if number else "r"))


def source(name):
    """Return the name of a file unchanged, or standard input for `-`."""
    if name != "-":
        return name
    if "stdin" in _closed or sys.stdin.isatty():
        raise InputError("- reads an image from standard input: pipe one into it")
    return sys.stdin.buffer


def check_stdout():
    """Raise InputError if standard output cannot receive an image."""
    if "stdout" in _closed or sys.stdout.isatty():
        raise InputError("--out - writes to standard output, which must be a pipe or a file")


def take_stdout():
    """Return a handle of standard output for the image, and redirect all else to standard error.

    Otherwise the output of a library (MKL_VERBOSE=1 makes MKL print) would damage the image. The
    redirection is never undone, because a library may buffer its output until the process ends.
    """
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return own


def say(line):
    """Print a line to standard output, with escapes for characters that it cannot encode."""
    encoding = sys.stdout.encoding or "utf-8"
    with contextlib.suppress(OSError):  # the reader is gone, but the result is written
        print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def complain(message):
    """Print a line to standard error, above the progress bar if there is one."""
    line = "diplearn: " + " ".join(str(message).split())
    with contextlib.suppress(OSError):  # the terminal is gone
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr)


@contextlib.contextmanager
def warnings_as_lines():
    """Print each warning as one line, without the source line that Python adds."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # with PYTHONWARNINGS=error a warning would end a fit
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        warnings.showwarning = lambda message, *_, **__: complain(message)
        yield


def flush():
    """Flush both streams, so that Python reports no error at exit if a pipe's reader is gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
