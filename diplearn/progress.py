"""The progress of a fit: a bar in a terminal or notebook, a few lines in a pipe."""

import contextlib
import os
import sys
import time

from tqdm import tqdm

LINES = 10
"""How many lines a whole fit writes into a pipe."""


class Progress:
    """Show how much of a fit is done, its speed, the time left, and a few words such as the loss.

    `total` iterations are counted, of which `done` were made before; `unit` is what the bar calls
    them, "it" for iterations.
    """

    def __init__(self, total, done=0, show=True, unit="it"):
        self.total, self.begun_at = total, done
        self.started = time.monotonic()
        self.bar = None
        self.lines = show and sys.stderr is not None  # None: a program without a console
        if self.lines and (_in_notebook() or sys.stderr.isatty()):
            self.lines = False
            file = sys.stdout if _in_notebook() else sys.stderr  # notebooks paint stderr red
            # A terminal that states no size (expect, some containers) would get an empty bar.
            size = {"ncols": 80, "nrows": 24} if _columns() == 0 else {"dynamic_ncols": True}
            with self._or_lines():
                self.bar = tqdm(
                    total=total, initial=done, unit=unit, mininterval=0.25, file=file, **size
                )

    def update(self, iteration, loss, psnr=None):
        """Show that an iteration is done, with its loss and, if the truth is known, its PSNR."""
        quality = "" if psnr is None else f", PSNR {psnr:.2f} dB"
        self.tell(iteration, f"loss {loss:.5f}{quality}")

    def tell(self, done, words):
        """Show how many are done, and some words about the last one."""
        if self.bar is not None:
            with self._or_lines():
                self.bar.set_postfix_str(words, refresh=False)
                self.bar.update(done - self.bar.n)
        elif self.lines and done * LINES // self.total > (done - 1) * LINES // self.total:
            pace = (time.monotonic() - self.started) / (done - self.begun_at)
            left = pace * (self.total - done)
            self._line(f"{done}/{self.total}: {words}, {left:.0f} s left")

    @contextlib.contextmanager
    def _or_lines(self):
        """Fall back to lines if the bar fails, so that the fit goes on.

        The terminal may be gone, or the variable TQDM_BAR_FORMAT may hold garbage.
        """
        try:
            yield
        except Exception:
            if self.bar is not None:
                self.bar.disable = True  # or the bar would try again when it is deleted
            self.bar, self.lines = None, True

    def _line(self, words):
        try:
            print(words, file=sys.stderr, flush=True)
        except (OSError, ValueError):  # nobody reads any more: the fit goes on
            self.lines = False

    def close(self):
        """Close the bar, and leave it on the screen as it is."""
        if self.bar is not None:
            with self._or_lines():
                self.bar.close()


def _in_notebook():
    """Return whether what is printed goes to a notebook's kernel."""
    return type(sys.stdout).__module__.startswith("ipykernel")


def _columns():
    """Return the width that the terminal states, or None if there is no terminal."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return None
