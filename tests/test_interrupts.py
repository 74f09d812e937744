"""To stop early is the whole lesson: however a fit is ended, what it has reached is kept."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import torch

import diplearn as dip
from diplearn import cli, images, interrupts, networks, stopping
from diplearn.interrupts import ENDS, Guard
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

    class Never(stopping.Rule):
        name = "never"

        def __call__(self, step):
            if step.iteration == at:
                act()
            return False

    return Never()


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
    begun, endless = [], TINY.replace(iterations=1_000_000)

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
        with interrupts.interruptible() as flag:
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
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_request_to_end_is_answered_too(tmp_path, name):
    """From a shutdown or a cluster whose time is up, or a terminal that is closed; also twice."""
    number = getattr(signal, name)
    process = command(tmp_path)
    under_way(process)
    process.send_signal(number)
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number and out.endswith("ended\n")
    assert "Traceback" not in errors
    assert images.read(tmp_path / "photo-denoised.png").shape == (1, 32, 32)


@posix
def test_a_request_that_is_ignored_stays_so(tmp_path):
    """As under nohup, whose whole purpose that is."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a new process inherits it
    try:
        process = command(tmp_path, "--iterations", "120")
    finally:
        signal.signal(signal.SIGHUP, before)
    line = process.stderr.readline()
    assert line.startswith("12/120: loss"), line
    process.send_signal(signal.SIGHUP)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "photo-denoised.png: 120 iterations" in out, errors


# Ctrl-C at each step of a command: what is said about what was written is true.


@pytest.fixture
def image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.write(images.load("camera", size=32), "photo.png")
    (tmp_path / "photo-denoised.png").write_bytes(b"of before")
    (tmp_path / "fit.dip").write_bytes(b"of before")
    return tmp_path


def restored(folder, capfd):
    """Run the command; return its exit code, what it said last, and the files that are new."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    words = "denoise photo.png --iterations 3 --save fit.dip --film fit.gif --out result.png"
    with pytest.raises(SystemExit) as end:
        cli.main(words.split())
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    new = {name for name, content in after.items() if before.get(name) != content}
    return end.value.code, capfd.readouterr().err.splitlines()[-1], new


def interrupting(monkeypatch, owner, name, times=1, after=False):
    """Let Ctrl-C come whenever a function is called, before or after it does its work."""
    work = getattr(owner, name)

    def interrupted(*args, **kwargs):
        if after:
            result = work(*args, **kwargs)
        for _ in range(times):
            interrupt()
        return result if after else work(*args, **kwargs)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize(
    "owner, name",
    [
        (cli, "_import"),  # imports
        (images, "read"),
        (cli, "_check_overwriting"),
        (dip, "fit"),
        (networks, "build"),
    ],
)
def test_before_the_first_iteration_nothing_is_written(image, capfd, monkeypatch, owner, name):
    interrupting(monkeypatch, owner, name)
    code, said, new = restored(image, capfd)
    assert (code, said, new) == (130, "diplearn: interrupted; nothing was written", set())


ALL = {"result.png", "fit.dip", "fit.gif"}


@pytest.mark.parametrize(
    "owner, name, after",
    [
        (dip, "fit", True),
        (images, "write", False),
        (images, "write", True),
        (Run, "save", False),
        (Run, "film", False),
        (Run, "film", True),
        (Guard, "finish", True),
    ],
)
def test_after_the_fit_ctrl_c_costs_no_result(image, capfd, monkeypatch, owner, name, after):
    interrupting(monkeypatch, owner, name, after=after)
    code, said, new = restored(image, capfd)
    assert code == 0 and new == ALL, said


@pytest.mark.parametrize(
    "owner, name, after, written",
    [
        (dip, "fit", True, {"fit.dip"}),
        (images, "write", False, {"fit.dip"}),
        (images, "write", True, {"fit.dip", "result.png"}),
        (Run, "film", False, {"fit.dip", "result.png"}),
        (Run, "film", True, ALL),
    ],
)
def test_the_second_ctrl_c_ends_the_writing_and_tells_what_there_is(
    image, capfd, monkeypatch, owner, name, after, written
):
    interrupting(monkeypatch, owner, name, times=2, after=after)
    code, said, new = restored(image, capfd)
    assert code == 130 and new == written
    start, end = "diplearn: interrupted; ", " was written before"
    assert said.startswith(start) and said.endswith(end), said
    assert set(said[len(start) : -len(end)].split(", ")) == written


REQUESTS = [name for name in ENDS if hasattr(signal, name)]


@posix
@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_during_the_fit_ends_it_and_keeps_all(image, capfd, monkeypatch, name):
    number, record = getattr(signal, name), Run.record

    def asked(run, step, *rest):
        if step.iteration == 2:
            signal.raise_signal(number)
            signal.raise_signal(number)
        return record(run, step, *rest)

    monkeypatch.setattr(Run, "record", asked)
    code, said, new = restored(image, capfd)
    assert code == 128 + number and new == ALL, said
    assert Run.load("fit.dip").stopped_by == "halted"


@posix
@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_before_the_first_iteration_ends_the_command(image, capfd, monkeypatch, name):
    number = getattr(signal, name)
    monkeypatch.setattr(images, "read", lambda *_, **__: signal.raise_signal(number))
    before = signal.getsignal(number)
    code, said, new = restored(image, capfd)
    assert (code, said, new) == (128 + number, "diplearn: ended; nothing was written", set())
    assert signal.getsignal(number) == before


@posix
@pytest.mark.parametrize("swallowed", ["", "except BaseException: raise ImportError"])
def test_ctrl_c_while_torch_is_imported_is_one_line(tmp_path, swallowed):
    """Also where a library makes another error of it, as NumPy does now and then."""
    code = (
        "import builtins, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from diplearn.cli import main\n"
        "real = builtins.__import__\n"
        "def interrupted(name, *args, **kwargs):\n"
        "    try:\n"
        "        if name == 'torch': signal.raise_signal(signal.SIGINT)\n"
        f"    {swallowed or 'finally: pass'}\n"
        "    return real(name, *args, **kwargs)\n"
        "builtins.__import__ = interrupted\n"
        "main(['denoise', 'photo.png'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 130
    assert done.stderr == "diplearn: interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


@posix
def test_ctrl_c_while_the_process_ends_is_not_heard(tmp_path):
    """Libraries tidy up then, and would print what happened to them."""
    images.write(images.load("camera", size=32), tmp_path / "photo.png")
    code = (
        "import atexit, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from diplearn import cli, fitting\n"
        "atexit.register(signal.raise_signal, signal.SIGINT)\n"  # as torch: once it is imported
        "cli.main(['denoise', 'photo.png', '--iterations', '1'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0 and "1/1" in done.stderr
    assert "Traceback" not in done.stderr and "KeyboardInterrupt" not in done.stderr
    assert images.read(tmp_path / "photo-denoised.png").shape == (1, 32, 32)


@posix
def test_the_exit_code_counts_where_exec_was_interrupted(tmp_path):
    """CPython ends ``python -m`` by SIGINT after a plain KeyboardInterrupt has left an exec."""
    (tmp_path / "command.py").write_text(
        "import signal, sys\n"
        "from diplearn.interrupts import Guard\n"
        "guard = Guard()\n"
        "with guard:\n"
        "    try: exec('signal.raise_signal(signal.SIGTERM)')\n"
        "    except KeyboardInterrupt: pass\n"
        "    try: exec('guard.check()')\n"
        "    except KeyboardInterrupt: pass\n"
        "sys.exit(guard.signal_code())\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-m", "command"], cwd=tmp_path, env=environment)
    assert done.returncode == 143
