"""Progress for people: a bar in a terminal or notebook, a few quiet lines in a pipe."""

import contextlib
import os
import sys
import time

from tqdm import tqdm

LINES = 10
"""How many lines a whole fit writes into a pipe."""


class Progress:
    """Show how far a fit is, its pace, the time left, the loss and (truth known) the PSNR.

    Parameters
    ----------
    total, done : int
        Iterations in all, and those done already.
    show : bool
        Whether to show anything.
    unit : str
        What is counted: ``"it"`` for iterations.
    """

    def __init__(self, total, done=0, show=True, unit="it"):
        self.total, self.begun_at = total, done
        self.started = time.monotonic()
        self.bar = None
        self.lines = show and sys.stderr is not None  # None: a program without a console
        if self.lines and (_in_notebook() or sys.stderr.isatty()):
            self.lines = False
            file = sys.stdout if _in_notebook() else sys.stderr  # which a page paints red
            # A terminal that states no size (expect, some containers) would get an empty bar.
            size = {"ncols": 80, "nrows": 24} if _columns() == 0 else {"dynamic_ncols": True}
            with self._or_lines():
                self.bar = tqdm(
                    total=total, initial=done, unit=unit, mininterval=0.25, file=file, **size
                )

    def update(self, iteration, loss, psnr=None):
        """Take note of one iteration."""
        quality = "" if psnr is None else f", PSNR {psnr:.2f} dB"
        self.tell(iteration, f"loss {loss:.5f}{quality}")

    def tell(self, done, words):
        """Take note of one more that is done, and of what there is to say about it."""
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
        """Give the bar up where it fails: no reason to lose the fit.

        The terminal may be gone, or TQDM_BAR_FORMAT may hold garbage.
        """
        try:
            yield
        except Exception:
            if self.bar is not None:
                self.bar.disable = True  # or it would try again when it is deleted
            self.bar, self.lines = None, True

    def _line(self, words):
        try:
            print(words, file=sys.stderr, flush=True)
        except (OSError, ValueError):  # the reader went away: no reason to lose the fit
            self.lines = False

    def close(self):
        """Leave the bar as it stands."""
        if self.bar is not None:
            with self._or_lines():
                self.bar.close()


def _in_notebook():
    """Return whether what is printed goes to a notebook's kernel."""
    return type(sys.stdout).__module__.startswith("ipykernel")


def _columns():
    """Return the width that the terminal states, or None where there is no terminal."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return None
