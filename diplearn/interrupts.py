"""Ctrl-C as a flag: an iteration is finished before anything stops."""

import contextlib
import signal
import threading


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
