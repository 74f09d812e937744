"""Show the progress of a fit: a bar in a terminal or notebook, a few lines in a pipe."""

import contextlib
import os
import sys
import time

from tqdm import tqdm

LINES = 10
"""Number of lines that a whole fit writes into a pipe."""


class Progress:
    """A progress bar, or lines, with the time left and a few words such as the loss.

    There are `total` iterations, of which `done` were made earlier; `unit` is the bar's name for
    one of them.
    """

    def __init__(self, total, done=0, show=True, unit="it"):
        self.total, self.begun_at = total, done
        self.started = time.monotonic()
        self.bar = None
        self.lines = show and sys.stderr is not None  # None: a program without a console
        if self.lines and (_in_notebook() or sys.stderr.isatty()):
            self.lines = False
            file = sys.stdout if _in_notebook() else sys.stderr  # notebooks show stderr in red
            # In a terminal of unknown size (expect, some containers), the bar would be empty.
            size = {"ncols": 80, "nrows": 24} if _columns() == 0 else {"dynamic_ncols": True}
            with self._or_lines():
                self.bar = tqdm(
                    total=total, initial=done, unit=unit, mininterval=0.25, file=file, **size
                )

    def update(self, iteration, loss, psnr=None):
        """Show that an iteration is done, its loss and, if the truth is known, its PSNR."""
        quality = "" if psnr is None else f", PSNR {psnr:.2f} dB"
        self.tell(iteration, f"loss {loss:.5f}{quality}")

    def tell(self, done, words):
        """Show how many iterations are done, and a few words about the last one."""
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
        """Switch to lines if the bar fails: the terminal is gone, or TQDM_BAR_FORMAT is invalid."""
        try:
            yield
        except Exception:
            if self.bar is not None:
                self.bar.disable = True  # or the bar would try again when it is deleted
            self.bar, self.lines = None, True

    def _line(self, words):
        try:
            print(words, file=sys.stderr, flush=True)
        except (OSError, ValueError):  # the reader is gone; the fit continues
            self.lines = False

    def close(self):
        """Close the bar and leave it on the screen."""
        if self.bar is not None:
            with self._or_lines():
                self.bar.close()


def _in_notebook():
    """Return whether standard output belongs to a notebook's kernel."""
    return type(sys.stdout).__module__.startswith("ipykernel")


def _columns():
    """Return the width that the terminal reports, or None if there is no terminal."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return None
