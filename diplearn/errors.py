"""The errors that diplearn raises on purpose: one sentence each, what was wrong and what to do."""


class InputError(ValueError):
    """What was handed in cannot be used; the message says what was found and what to do."""


class ImageError(InputError):
    """A picture that cannot be read, or an array that is no picture."""


class MemoryShortage(InputError, MemoryError):
    """A fit would need more memory than the machine has; the message names sizes that fit."""
