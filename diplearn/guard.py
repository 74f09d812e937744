"""What a Ctrl-C, a closed terminal or a scheduler does to a command: a fit is ended, never lost."""

import atexit
import os
import signal
import threading

ENDS = ("SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGBREAK")
"""What a scheduler, a shutdown or a closed terminal sends, beside Ctrl-C's SIGINT.

SIGQUIT (Ctrl-\\) is not among them: it is how a person ends a program that does not listen.
"""


class _Ended(KeyboardInterrupt):
    """CPython kills a process that a plain KeyboardInterrupt left once, whatever its exit code."""


class Guard:
    """Answer signals while a command runs, and tell truly what it has written by then.

    Before the first iteration there is nothing to keep, and a signal ends the command. From then on
    it ends the fit, whose result is written; only a second Ctrl-C ends the writing, too. When all
    is written, signals are ignored.

    Attributes
    ----------
    halt : threading.Event
        Set when the fit is to end after its present iteration.
    number : int or None
        The first signal that came, where `fit` did not answer it by itself (it does Ctrl-C).
    code : int
        Exit code of the command.

    Examples
    --------
    >>> with Guard() as guard:
    ...     guard.finish(0)
    >>> guard.halt.is_set(), guard.told()
    (False, 'interrupted; nothing was written')
    """

    def __init__(self):
        self.halt, self.number, self.code = threading.Event(), None, 0
        self._fitting = self._done = self._interrupted = False
        self._handlers = {}  # signal -> what answered it before
        self._stamps = {}  # file -> what it was when the command began
        self._sent = []

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, None) for name in ("SIGINT", *ENDS)):
                # Ignored ones stay so: in the background of a shell, or under nohup.
                if number and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._answer)
        return self

    def __exit__(self, *error):
        # The process is about to end, in a quiet way: of all that is done then, this comes first.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _answer(self, number, frame):
        if self._done:
            return
        self.number = self.number or number
        if not self._fitting or (number == signal.SIGINT and self._interrupted):
            raise _Ended
        self._interrupted |= number == signal.SIGINT
        self.halt.set()

    def check(self):
        """Raise KeyboardInterrupt if a signal came that somebody's ``except:`` kept from us.

        As in NumPy, which then fails in another way while it is imported.
        """
        if self.number is not None and not self._fitting:
            raise _Ended

    def began(self, run, step):
        """Take note, as the callback of `fit`, that there is something to keep from now on."""
        self._fitting = True

    def finish(self, code):
        """Take note of the exit code, and that all is written."""
        self.code, self._done = code, True

    def ended_by(self):
        """Exit code of a command that a signal ended, as shells have it: 128 and its number."""
        return 128 + (self.number or signal.SIGINT)

    # What was written.

    def watch(self, *paths):
        """Take note of how files are before they are written.

        Parameters
        ----------
        *paths : pathlib.Path or None
            None is left out.
        """
        self._stamps |= {path: _stamp(path) for path in paths if path is not None}

    def forget(self, path):
        """Watch a file no longer: it was another program's after all."""
        del self._stamps[path]

    def sends(self, what):
        """Record an output that is not a file, such as standard output."""
        self._sent.append(what)

    def told(self):
        """Tell in a line what was written before the end came."""
        written = [str(path) for path, stamp in self._stamps.items() if _stamp(path) != stamp]
        written = ", ".join(written + self._sent)
        how = "interrupted" if self.ended_by() == 128 + signal.SIGINT else "ended"
        return f"{how}; {written} was written before" if written else f"{how}; nothing was written"


def _stamp(path):
    """Tell one content of a file from the next."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
