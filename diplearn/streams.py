"""Standard input, output and error of a command, whether they are terminals, pipes or closed."""

import contextlib
import os
import sys
import warnings

from .errors import InputError

_closed = set()
"""Names of the streams that were closed when the program began, as by `>&-` in a shell."""


def open_closed():
    """Open closed streams on the null device, or the next file would get the number of one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _closed.add(name)
            handle = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            setattr(sys, name, open(handle, "w" if number else "r"))


def source(name):
    """Return what images are read from: the name of a file, or standard input for `-`."""
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
    """Return a handle of standard output for the image alone; all else goes to standard error.

    A library that prints, such as MKL with MKL_VERBOSE=1, would damage the image. The redirection
    lasts until the process ends, because a library may buffer its output until then.
    """
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return own


def say(line):
    """Print a line to standard output, with escapes for what the encoding lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    with contextlib.suppress(OSError):  # nobody reads: the result is written all the same
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
    """Show each warning as one sentence, without the source line that Python adds."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # PYTHONWARNINGS=error would end a fit at a warning
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        warnings.showwarning = lambda message, *_, **__: complain(message)
        yield


def flush():
    """Avoid Python's complaint, at exit, about a pipe whose reader went away."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
