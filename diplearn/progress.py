"""Progress for people: a bar in a terminal or notebook, a few quiet lines in a pipe."""

import sys
import time

from tqdm import tqdm


class Progress:
    """Show how far a fit is, its pace, the time left, the loss and (truth known) the PSNR.

    Parameters
    ----------
    total, done : int
        Iterations in all, and those done already.
    show : bool
        Whether to show anything.
    """

    def __init__(self, total, done=0, show=True):
        self.total = total
        self.bar = None
        self.lines = show and not _interactive()
        self.next_line = 0.1 * total
        self.started, self.first = time.monotonic(), done
        if show and not self.lines:
            self.bar = tqdm(
                total=total,
                initial=done,
                unit="it",
                dynamic_ncols=True,
                mininterval=0.25,
                leave=True,
                file=sys.stderr,
            )

    def update(self, iteration, loss, psnr=None):
        """Take note of one iteration."""
        if self.bar is not None:
            quality = "" if psnr is None else f", PSNR {psnr:.2f} dB"
            self.bar.set_postfix_str(f"loss {loss:.5f}{quality}", refresh=False)
            self.bar.update(1)
        elif self.lines and iteration >= self.next_line:
            self.next_line += 0.1 * self.total
            pace = (time.monotonic() - self.started) / max(1, iteration - self.first)
            left = pace * (self.total - iteration)
            quality = "" if psnr is None else f", PSNR {psnr:.2f} dB"
            print(
                f"{iteration}/{self.total}: loss {loss:.5f}{quality}, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    def close(self):
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()


def _interactive():
    """Return whether somebody is watching: a terminal, or a notebook's kernel."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
