"""To stop early is the whole lesson: however a fit is ended, what it has reached is kept."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

import diplearn as dip
from diplearn import fitting, images
from diplearn.recipes import Recipe
from diplearn.run import Run

TINY = Recipe(options={"down": (8, 16), "skip": (4, 4)}, z_channels=4, iterations=5000)

posix = pytest.mark.skipif(os.name != "posix", reason="signals to another process: POSIX only")


@pytest.fixture(autouse=True)
def handler():
    """Every test leaves Ctrl-C as it found it: as pytest's own, which is Python's."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def problem():
    return dip.denoising(images.load("camera", size=32))


def rule(at, act):
    """Return a rule that never stops a fit, but acts at one iteration."""

    class Rule:
        name = "never"

        def prepare(self, problem, recipe):
            pass

        def __call__(self, step):
            if step.iteration == at:
                act()
            return False

    return Rule()


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_returns_the_run_so_far(problem, tmp_path):
    """Also into its file, from which it goes on."""
    path = tmp_path / "fit.dip"
    run = dip.fit(problem, TINY, stop=rule(7, interrupt), progress=False, save=path)
    assert (run.stopped_by, run.stopped_at, len(run.history)) == ("interrupted", 7, 7)
    assert torch.equal(Run.load(path).output, run.output)
    assert dip.resume(run, 9, progress=False).stopped_by == "count"


@posix
def test_an_interrupt_ends_many_fits(problem):
    """Those under way at their next iteration; the others never begin."""
    begun, endless = [], TINY.but(iterations=1_000_000)

    def look(run, step):
        begun.append(run.seed)
        if step.iteration == 3:
            os.kill(os.getpid(), signal.SIGINT)

    each = {"problem": problem, "recipe": endless, "callback": look}
    with pytest.raises(KeyboardInterrupt):
        dip.fits({seed: {**each, "seed": seed} for seed in range(4)}, cores=1, progress=False)
    assert set(begun) == {0}


def test_an_interrupt_while_saving_waits_for_the_file(problem, tmp_path, monkeypatch):
    save = Run.save

    def interrupted(run, path):
        interrupt()
        save(run, path)

    monkeypatch.setattr(Run, "save", interrupted)
    run = dip.fit(problem, TINY, stop=3, progress=False, save=tmp_path / "fit.dip")
    assert run.stopped_by == "count" and Run.load(tmp_path / "fit.dip").stopped_at == 3


def test_the_second_interrupt_ends_at_once_and_keeps_what_there_is(problem, tmp_path):
    twice, path = rule(3, lambda: (interrupt(), interrupt())), tmp_path / "fit.dip"
    with pytest.raises(KeyboardInterrupt) as caught:
        dip.fit(problem, TINY, stop=twice, progress=False, save=path)
    assert caught.value.run.stopped_at == Run.load(path).stopped_at == 3


def test_the_handler_is_restored_when_a_fit_fails(problem):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        dip.fit(problem, TINY, stop=rule(2, fail), progress=False)


def test_where_interrupts_are_ignored_they_stay_ignored(problem):
    """As in the background of a shell, or under nohup."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run = dip.fit(problem, TINY, iterations=5, stop=rule(2, interrupt), progress=False)
    assert run.stopped_at == 5 and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_an_event_halts_a_fit_in_a_thread(problem):
    halt, going, runs = threading.Event(), threading.Event(), []

    def work():
        stop = rule(3, going.set)
        runs.append(dip.fit(problem, TINY, stop=stop, progress=False, halt=halt))

    thread = threading.Thread(target=work)
    thread.start()
    assert going.wait(30)
    halt.set()
    thread.join(30)
    assert not thread.is_alive()
    assert runs[0].stopped_by == "halted" and 3 <= runs[0].stopped_at < 5000


def test_a_fit_that_was_halted_before_it_began_makes_one_iteration(problem):
    halt = threading.Event()
    halt.set()
    assert dip.fit(problem, TINY, progress=False, halt=halt).stopped_at == 1


def test_interruptible_outside_the_main_thread_leaves_signals_alone():
    seen = []

    def work():
        with fitting.interruptible() as flag:
            seen.append((flag.is_set(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.default_int_handler)]


# From outside, through the command line.


def command(folder, *options):
    """Start a fit that would take minutes."""
    images.write(images.load("camera", size=32), folder / "photo.png")
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from diplearn.cli import main; print('begun', flush=True); main(sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code,
         "denoise", str(folder / "photo.png"), "--iterations", "1000", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    return process


def under_way(process):
    """Wait for the first line of progress."""
    line = process.stderr.readline()
    assert line.startswith("100/1000: loss"), line + process.stderr.read()


@posix
def test_ctrl_c_writes_the_best_so_far_and_exits_130(tmp_path):
    process = command(tmp_path, "--save", str(tmp_path / "fit.dip"))
    under_way(process)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "photo-denoised.png: " in out and out.endswith("interrupted\n")
    assert "Traceback" not in errors
    assert images.read(tmp_path / "photo-denoised.png").shape == (1, 32, 32)
    run = Run.load(tmp_path / "fit.dip")
    assert run.stopped_by == "interrupted" and 100 <= run.stopped_at < 1000


@posix
def test_a_request_to_end_is_answered_too(tmp_path):
    """SIGTERM comes from a shutdown, or from a cluster whose time is up."""
    process = command(tmp_path)
    under_way(process)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 143 and out.endswith("ended\n") and "Traceback" not in errors
    assert (tmp_path / "photo-denoised.png").exists()


@posix
@pytest.mark.parametrize("seconds", [0.02, 0.5, 1.2])
def test_ctrl_c_before_the_first_iteration_is_one_line(tmp_path, seconds):
    """While torch is still being imported, mostly."""
    process = command(tmp_path)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in errors
    if not out:  # on a quick machine the last of them may come later
        assert errors == "diplearn: interrupted; nothing was written\n"
        assert list(tmp_path.iterdir()) == [tmp_path / "photo.png"]
