"""The errors that diplearn raises on purpose; each message says what was wrong and what to do."""

import sys
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)


class InputError(ValueError):
    """An argument or a file that cannot be used."""


class ImageError(InputError):
    """A file that cannot be read as an image, or an array that is not an image."""


class MemoryShortage(InputError, MemoryError):
    """A fit would need more memory than the machine has; the message names sizes that fit."""


def whole(value, name, smallest, largest=None):
    """Return `value` as an int if it is a whole number in the range; raise InputError otherwise.

    The range includes `smallest` and `largest`. 4 and 4.0 are whole numbers; 2.5, NaN, True and "4"
    are not.

    >>> whole(4.0, "factor", 2)
    4
    >>> whole(2.5, "factor", 2)
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: factor=2.5 must be a whole number of at least 2
    """
    try:
        truth = type(value).__name__.startswith("bool")  # also NumPy's
        found = int(value) if value == int(value) and not truth else None
    except (TypeError, ValueError, OverflowError):  # None, NaN, infinity
        found = None
    if found is None or found < smallest or (largest is not None and found > largest):
        wanted = f"of at least {smallest}" if largest is None else f"from {smallest} to {largest}"
        raise InputError(f"{name}={value!r} must be a whole number {wanted}")
    return found


def one_line(error):
    """Return the message of another library's error as one line of at most 300 characters."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) < 300 else f"{words[:297]}..."


def lookup(table, name, what):
    """Return ``table[name]``, or raise an InputError that lists the names in the table.

    >>> lookup({"adam": 1, "muon": 2}, "sgd", "optimiser")
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: no optimiser is called 'sgd'; there are adam, muon
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise InputError(f"no {what} is called {name!r}; there are {', '.join(table)}")


def warn(words):
    """Issue a RuntimeWarning at the line of the user's code that called the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(words, RuntimeWarning, stacklevel=level)
