"""Ctrl-C and other signals: a fit ends after its present iteration, and its result is kept.

`interruptible` is what a fit uses, in a notebook or a script; `Guard` is what a whole command uses.
"""

import atexit
import contextlib
import os
import signal
import threading

ENDS = ("SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGBREAK")
"""Signals of a scheduler, a shutdown or a closed terminal, besides SIGINT (Ctrl-C).

SIGQUIT (Ctrl-\\) is left alone: with it a user ends a program that does not respond.
"""


@contextlib.contextmanager
def interruptible():
    """Yield an event that the first Ctrl-C sets; the second raises KeyboardInterrupt at once.

    Outside the main thread, and where SIGINT is ignored, the event is never set.
    """
    interrupted = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    elsewhere = threading.current_thread() is not threading.main_thread()
    if elsewhere or before in (signal.SIG_IGN, None):  # ignored, as in the background of a shell
        yield interrupted
        return

    def note(number, frame):
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


class _Ended(KeyboardInterrupt):
    """CPython kills a process that a plain KeyboardInterrupt left once, whatever its exit code."""


class Guard:
    """Answer the signals that a command receives, and report truthfully what it has written.

    - Before the first iteration there is nothing to keep: a signal ends the command.
    - During the fit and the writing, a signal sets `halt`: the fit ends, its result is written.
      A second Ctrl-C ends the writing, too.
    - When everything is written, signals are ignored.

    `code` is the command's exit code; `number` is the first signal that the guard answered (during
    a fit, the fit itself answers Ctrl-C: see `interruptible`).

    >>> with Guard() as guard:
    ...     guard.finish(0)
    >>> guard.halt.is_set(), guard.report()
    (False, 'interrupted; nothing was written')
    """

    def __init__(self):
        self.halt, self.number, self.code = threading.Event(), None, 0
        self._fitting = self._done = self._interrupted = False
        self._handlers = {}  # signal -> its handler before
        self._stamps = {}  # file -> its stamp when the command began
        self._sent = []

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, None) for name in ("SIGINT", *ENDS)):
                # A signal that is ignored stays so: in the background of a shell, or under nohup.
                if number and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._answer)
        return self

    def __exit__(self, *error):
        # Exit handlers run last in, first out: no Ctrl-C disturbs those of other libraries.
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
        """Raise KeyboardInterrupt if a signal came before the fit and a library swallowed it.

        NumPy does so: an interrupted import of NumPy fails with another error.
        """
        if self.number is not None and not self._fitting:
            raise _Ended

    def began(self, run, step):
        """Note, as the callback of `fit`, that from now on there is a result to keep."""
        self._fitting = True

    def finish(self, code):
        """Note the exit code, and that everything is written."""
        self.code, self._done = code, True

    def signal_code(self):
        """Return the exit code of a command that a signal ended, as shells count: 128 + signal."""
        return 128 + (self.number or signal.SIGINT)

    def how(self):
        """Return how the command was stopped: by Ctrl-C or by another signal."""
        return "interrupted" if self.signal_code() == 128 + signal.SIGINT else "ended"

    # What was written.

    def watch(self, *paths):
        """Remember the state of files that the command is going to write."""
        self._stamps |= {path: _stamp(path) for path in paths}

    def forget(self, path):
        """Stop watching a file: another program has written it."""
        del self._stamps[path]

    def sends(self, what):
        """Record an output that is not a file, such as standard output."""
        self._sent.append(what)

    def report(self):
        """Say how the command was stopped, and what it had written by then."""
        written = [str(path) for path, stamp in self._stamps.items() if _stamp(path) != stamp]
        written = ", ".join(written + self._sent)
        return f"{self.how()}; {written or 'nothing'} was written" + (" before" if written else "")


def _stamp(path):
    """Return what changes when a file is written."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
