"""A fit on its own thread, so that the notebook stays responsive and buttons can reach the fit."""

import contextlib
import threading
import time
import weakref


class Worker:
    """Begins, continues and halts a fit between two iterations; any thread may call it.

    One worker fits at a time, since two would slow each other down. Starting a worker halts the
    running one, which may continue once the new one rests.
    """

    _lock = threading.RLock()  # shared by all workers; never held while waiting for a fit
    _latest = None  # a weak reference to the worker that was started last

    def __init__(self, controls, on_begin, on_step, on_rest):
        """`on_begin()`, `on_step(run, step)` and `on_rest()` update the display, on any thread."""
        self.run = self.error = None  # the run so far; the error with which the fit failed
        self.paused = False  # whether the reader paused the fit and may continue it
        self.displaced_by = None  # the worker whose start halted this one
        self.callbacks = []  # called with the run whenever a fit rests without an error
        self._controls = controls
        self._on_begin, self._on_step, self._on_rest = on_begin, on_step, on_rest
        self._halt, self._resting = threading.Event(), threading.Event()
        self._resting.set()
        self._thread = self._goal = None

    @property
    def running(self):
        """Whether a fit is running."""
        return not self._resting.is_set()

    @property
    def fresh(self):
        """Whether the next start begins a new fit instead of continuing the last one."""
        return self.run is None or self._controls.changed

    @property
    def waiting(self):
        """Whether the fit was halted before its end, so that a start continues it."""
        halted, run = self.paused or self.displaced_by is not None, self.run
        if not halted or run is None:
            return halted
        return not (run.diverged or run.stopped_by_rule or run.stopped_at >= self._controls.target)

    @property
    def goal(self):
        """The iteration to reach: a step's, or that of the slider, which may move at any time."""
        return self._goal or self._controls.target

    def start(self, again=False, step=False):
        """Continue the fit on a thread, or begin `again`; with `step`, make one iteration."""
        with self._alone():
            if self.running:
                return  # another thread has started this worker
            Worker._latest = weakref.ref(self)
            if again or self.fresh:
                self.run = None
            self.error, self.paused, self.displaced_by = None, step, None
            self._goal = (self.run.stopped_at if self.run else 0) + 1 if step else None
            self._halt.clear()
            self._resting.clear()
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._on_begin()
            self._thread.start()

    def pause(self):
        """Halt the fit after this iteration; a caller who waits for its end keeps waiting."""
        with self._lock:
            self.paused, self.displaced_by = self.running, None
            self._halt.set()

    def stop(self):
        """End the fit after this iteration."""
        with self._lock:
            self.paused, self.displaced_by = False, None
            self._halt.set()

    def join(self):
        """Wait until the fit rests; on the fit's own thread, return at once."""
        if not self._is_here:
            self._resting.wait()

    def wait(self, going_on):
        """Wait while `going_on()` is true; the kernel's interrupt raises KeyboardInterrupt."""
        while not self._is_here and going_on():
            time.sleep(0.02)

    @property
    def _is_here(self):
        return threading.current_thread() is self._thread

    @contextlib.contextmanager
    def _alone(self):
        """Hold the lock while no other worker is running; halt a running one first."""
        while True:
            with self._lock:
                other = Worker._latest and Worker._latest()
                if other is None or other is self or not other.running or other._is_here:
                    yield
                    return
                other.displaced_by = self
                other._halt.set()
            other.join()

    def _work(self):
        run = self.run
        try:
            run = self._fit(run)
            while run.stopped_by == "count" and run.stopped_at < self.goal:
                if self._halt.is_set():
                    break
                run = self._fit(run)  # the slider was moved up in the meantime
            self.run = run
        except Exception as error:  # the panel shows any error, and stays usable
            self.error, self.paused = error, False
            self.run = getattr(error, "run", None) or run  # the next start continues this run
        run, failed = self.run, self.error is not None
        try:
            self._on_rest()
        finally:
            self._resting.set()
        if not failed:
            for callback in self.callbacks:
                callback(run)

    def _fit(self, run):
        options = {"progress": False, "halt": self._halt, "callback": self._look}
        return self._controls.fit(run, self.goal, **options)

    def _look(self, run, step):
        self.run = run
        if self._goal is None and step.iteration >= self._controls.target:
            self._halt.set()  # the slider may have been moved down in the meantime
        self._on_step(run, step)
