"""Handle Ctrl-C and other signals: a fit ends after its current iteration and keeps its result.

A fit in a notebook or a script uses `interruptible`; the command line uses `Guard`.
"""

import atexit
import contextlib
import os
import signal
import threading

ENDS = ("SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGBREAK")
"""Signals besides SIGINT (Ctrl-C) that a scheduler, a shutdown or a closed terminal sends.

SIGQUIT (Ctrl-\\) is not handled, so that it still ends a program that does not respond.
"""


@contextlib.contextmanager
def interruptible():
    """Yield an event that the first Ctrl-C sets; a second one raises KeyboardInterrupt at once.

    Outside the main thread, or if SIGINT is ignored, the event is never set.
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
    """A KeyboardInterrupt with which the exit code counts; for the plain one, CPython sets it."""


class Guard:
    """Handle the signals that a command receives, and report which files it has written.

    - Before the first iteration, a signal ends the command at once.
    - During the fit and the writing, a signal sets `halt`: the fit ends and its result is written.
      A second Ctrl-C ends the command at once.
    - After the writing, signals are ignored.

    `code` is the exit code; `number` is the first signal that the guard handled (`interruptible`
    handles Ctrl-C during a fit).

    >>> with Guard() as guard:
    ...     guard.finish(0)
    >>> guard.halt.is_set(), guard.report()
    (False, 'interrupted; nothing was written')
    """

    def __init__(self):
        self.halt, self.number, self.code = threading.Event(), None, 0
        self._fitting = self._done = self._interrupted = False
        self._handlers = {}  # signal -> its earlier handler
        self._stamps = {}  # file -> its stamp before the command wrote it
        self._sent = []

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, None) for name in ("SIGINT", *ENDS)):
                # Ignored signals stay ignored, as in the background of a shell or under nohup.
                if number and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._answer)
        return self

    def __exit__(self, *error):
        # Exit handlers run in reverse order, so Ctrl-C is ignored during those of other libraries.
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
        """Raise KeyboardInterrupt if a signal came before the fit.

        A library may have replaced the exception: an interrupted import of NumPy raises another.
        """
        if self.number is not None and not self._fitting:
            raise _Ended

    def began(self, run, step):
        """Record, as the callback of `fit`, that there is a result to keep from now on."""
        self._fitting = True

    def finish(self, code):
        """Record the exit code, and that everything has been written."""
        self.code, self._done = code, True

    def signal_code(self):
        """Return the shell's exit code of a command that a signal ended: 128 + the signal."""
        return 128 + (self.number or signal.SIGINT)

    def how(self):
        """Return "interrupted" after Ctrl-C, and "ended" after another signal."""
        return "interrupted" if self.signal_code() == 128 + signal.SIGINT else "ended"

    # The files and streams that were written.

    def watch(self, *paths):
        """Remember the state of files that the command will write."""
        self._stamps |= {path: _stamp(path) for path in paths}

    def forget(self, path):
        """Stop watching a file that another program has written."""
        del self._stamps[path]

    def sends(self, what):
        """Record an output that is not a file, such as standard output."""
        self._sent.append(what)

    def report(self):
        """Return a sentence: how the command was stopped, and which outputs it had written."""
        written = [str(path) for path, stamp in self._stamps.items() if _stamp(path) != stamp]
        written = ", ".join(written + self._sent)
        return f"{self.how()}; {written or 'nothing'} was written" + (" before" if written else "")


def _stamp(path):
    """Return values that change when a file is written."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
