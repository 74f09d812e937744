"""Many fits: here, in processes and on a real Dask cluster; nothing that is done is done again."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import psutil
import pytest

from diplearn import InputError, cli, images, sweep
from diplearn.progress import Progress
from diplearn.sweep import Case, grid, run_case

TINY = {
    "options": {"down": [8, 16], "skip": [4, 4]},
    "z_channels": 4,
    "members": 1,
    "iterations": 40,
    "stop": "count",
}
FILE = """
pictures = ["camera", "coins"]
size = 24
seeds = 3
[base]
members = 1
z_channels = 4
iterations = {iterations}
stop = "count"
options = {{ down = [8, 16], skip = [4, 4] }}
[vary.depth]
1 = {{ options = {{ down = [8], skip = [4] }} }}
"""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
PATIENCE = 240  # seconds: a machine may be busy

posix = pytest.mark.skipif(os.name != "posix", reason="signals to another process: POSIX only")


@pytest.fixture(scope="module")
def cases():
    return grid(picture=["camera", "coins"], size=[16, 24], seed=range(3), changes=TINY)


@pytest.fixture(scope="module")
def serial(cases, tmp_path_factory):
    """What a sweep in this process makes of the cases: its table and its folder."""
    folder = tmp_path_factory.mktemp("serial")
    return sweep.sweep(cases, results=folder, progress=False), folder


@pytest.fixture
def few(monkeypatch):
    """Return three quick cases."""
    return grid(picture="camera", size=16, seed=range(3), changes=TINY | {"iterations": 3})


@pytest.fixture
def no_fit(monkeypatch):
    def begun(*_, **__):
        pytest.fail("a fit began")

    monkeypatch.setattr(sweep, "run_case", begun)


def equal(rows, others):
    """Compare two tables bit for bit, but for the seconds."""
    pd.testing.assert_frame_equal(
        rows.drop(columns="seconds"), others.drop(columns="seconds"), check_exact=True
    )
    return True


def equal_files(folder, other):
    """Compare pictures and curves bit for bit, but for the seconds."""
    for path in other.glob("*.json"):
        assert (folder / path.name).with_suffix(".png").read_bytes() == path.with_suffix(
            ".png"
        ).read_bytes()
        curves = (pd.read_csv(d / f"{path.stem}.csv") for d in (folder, other))
        assert equal(*curves)
    return True


def stored(folder):
    return sorted(path.name for path in folder.glob("*.json"))


def diplearn(*words):
    """Run the program in this process; return its exit code."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return end.value.code or 0


def until(true, what):
    """Wait for something to become true."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


# Cases.


def test_a_key_names_what_decides_the_fit_and_nothing_else(tmp_path, monkeypatch):
    plain = Case("camera", size=32)
    same = [
        Case("camera", size=32, label="another"),
        Case("camera", size=32, arguments={"sigma": 25 / 255, "seed": 0}),
        Case("camera", size=32, changes={"members": 2}),  # as the lab recipe has it
        Case("camera", size=32, recipe=plain.make()[1]),
    ]
    others = [
        Case("coins", size=32),
        Case("camera", size=33),
        Case("camera", size=32, seed=1),
        Case("camera", size=32, arguments={"sigma": 0.1}),
        Case("camera", size=32, arguments={"seed": 1}),
        Case("camera", size=32, task="jpeg"),
        Case("camera", size=32, recipe="paper"),
        Case("camera", size=32, changes={"options": {"down": [16] * 5}}),
    ]
    assert {case.key() for case in same} == {plain.key()}
    assert len({case.key() for case in [plain, *others]}) == len(others) + 1
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99.0")
    assert plain.key() == same[0].key()


def test_the_key_of_a_file_is_that_of_its_bytes(tmp_path):
    path = tmp_path / "own.png"
    images.write(images.load("camera", size=32), path)
    before = Case(str(path)).key()
    (tmp_path / "moved").mkdir()
    shutil.copy(path, tmp_path / "moved")
    assert Case(str(tmp_path / "moved/own.png")).key() == before
    images.write(images.load("coins", size=32), path)
    assert Case(str(path)).key() != before


def test_a_grid_has_every_combination():
    cases = grid(picture=["camera", "coins"], size=(16, 24), seed=range(2), changes=[{}, TINY])
    assert len(cases) == len(set(map(str, cases))) == 16
    assert [case.seed for case in cases[:4]] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "axes, saying",
    [
        ({"picture": []}, "picture is empty"),
        ({"seed": 1}, "needs picture="),
        ({"picture": "camera", "sigma": 0.1}, "a case has no 'sigma'; it has picture, size"),
    ],
)
def test_a_grid_of_nothing_is_refused(axes, saying):
    with pytest.raises(InputError, match=re.escape(saying)):
        grid(**axes)


@pytest.mark.parametrize(
    "wrong, saying",
    [
        ({"picture": "camra"}, "no picture is called 'camra'; the bundled ones are astronaut"),
        ({"picture": "none.png"}, "no picture is called 'none.png'"),
        ({"size": 1000}, "size=1000 must be a whole number from 16 to 512"),
        ({"task": "painting"}, "no task is called 'painting'; there are denoising, jpeg"),
        ({"arguments": {"sgma": 1}}, "'denoising' has no 'sgma'; it has sigma, seed"),
        ({"arguments": {"sigma": 25}}, "did you mean 25/255?"),
        ({"arguments": 3}, "takes a table of sigma, seed, not 3"),
        ({"recipe": "best"}, "no recipe is called 'best'; there are lab, paper"),
        ({"changes": {"depth": 3}}, "a recipe has no 'depth'; it has name, network"),
        ({"changes": {"optimiser": "sgd"}}, "'sgd' is unknown; there are adam, muon"),
        ({"changes": {"learning_rate": "fast"}}, "not supported between"),
        ({"changes": {"network": "vgg"}}, "no network is called 'vgg'; there are hourglass"),
        ({"changes": {"options": {"width": 3}}}, "unexpected keyword argument 'width'"),
        ({"changes": {"options": {"down": [8]}}}, "must name the same levels"),
        ({"changes": {"stop": "never"}}, "no stopping rule is called 'never'; there are auto"),
        ({"changes": {"z": "given"}}, "takes z from the caller"),
        ({"seed": -1}, "seed=-1 must be a whole number"),
    ],
)
def test_a_case_that_cannot_be_fitted_is_refused_before_any_fit(no_fit, tmp_path, wrong, saying):
    good, bad = Case("camera", size=32), Case(**({"picture": "camera", "size": 32} | wrong))
    with pytest.raises(InputError, match=re.escape(saying)) as refused:
        sweep.sweep([good, bad], results=tmp_path / "results")
    assert str(refused.value).startswith(str(bad))
    assert not (tmp_path / "results").exists()


# Results.


def test_every_case_leaves_a_row_a_picture_and_a_curve(serial, cases):
    rows, folder = serial
    assert rows["picture"].tolist() == [case.picture for case in cases]
    assert (rows["stopped_at"] == 40).all() and rows["error"].isna().all()
    assert (rows["threads"] == 1).all() and (rows["parameters"] > 1000).all()
    for row, case in zip(rows.itertuples(), cases):
        picture, truth = images.read(folder / f"{row.key}.png"), case.make()[0].truth
        assert picture.shape == truth.shape
        curve = pd.read_csv(folder / f"{row.key}.csv")
        assert curve["iteration"].tolist() == list(range(1, 41))
        assert curve["psnr_average"].max() == row.oracle_psnr and curve["loss"].iloc[-1] == row.loss
    assert len(pd.read_csv(folder / "table.csv")) == len(cases)
    assert images.read(folder / "sheet.png").shape[-1] == 1000
    equal(sweep.table(folder, cases), rows)
    assert set(sweep.table(folder)["key"]) == set(rows["key"])


def test_only_what_is_missing_is_done(few, tmp_path, monkeypatch):
    """Also what is damaged; but not what another version of the package has made."""
    sweep.sweep(few[:2], results=tmp_path, progress=False)
    older = tmp_path / f"{few[0].key()}.json"
    older.write_text(older.read_text().replace('"diplearn": "0', '"diplearn": "99.0'))
    (tmp_path / f"{few[1].key()}.json").write_text("{")
    made = []
    monkeypatch.setattr(sweep, "run_case", lambda *a: made.append(a[0].seed) or run_case(*a))
    rows = sweep.sweep(few, results=tmp_path, progress=False)
    assert sorted(made) == [1, 2]
    assert rows["seed"].tolist() == [0, 1, 2] and rows["diplearn"][0].startswith("99")
    sweep.sweep(few, results=tmp_path, progress=False)
    assert sorted(made) == [1, 2]


def test_a_result_serves_all_cases_that_differ_in_their_names_alone(few, tmp_path):
    twins = [few[0], Case(**{**vars(few[0]), "label": "twin"})]
    rows = sweep.sweep(twins, results=tmp_path, progress=False)
    assert rows["label"].tolist() == ["", "twin"] and len(stored(tmp_path)) == 1


def test_a_case_that_fails_is_a_row_and_is_tried_again(few, tmp_path, monkeypatch):
    fit = sweep.fit

    def fails(problem, recipe, *, seed, **options):
        if seed == 1:
            raise RuntimeError("the card\ncaught fire")
        return fit(problem, recipe, seed=seed, **options)

    monkeypatch.setattr(sweep, "fit", fails)
    rows = sweep.sweep(few, results=tmp_path, progress=False)
    assert rows["error"].tolist()[1] == "RuntimeError: the card caught fire"
    assert rows["error"].isna().sum() == rows["psnr"].notna().sum() == 2

    monkeypatch.setattr(sweep, "fit", fit)
    rows = sweep.sweep(few, results=tmp_path, progress=False)
    assert rows["error"].isna().all() and rows["psnr"].notna().all()


def test_when_all_cases_fail_there_is_a_table_all_the_same(few, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "fit", lambda *_, **__: 1 / 0)
    rows = sweep.sweep(few, results=tmp_path, progress=False)
    assert rows["error"].tolist() == ["ZeroDivisionError: division by zero"] * 3
    assert (tmp_path / "table.csv").exists() and not (tmp_path / "sheet.png").exists()


def test_a_worker_that_would_make_another_fit_says_so(few):
    """It has another version of diplearn, or another file under the same name."""
    row = run_case(few[0], few[1].key()).row
    assert "another version of diplearn" in row["error"] and row["key"] == few[1].key()


def test_progress_counts_fits_and_says_what_is_left(few, tmp_path, capfd):
    sweep.sweep(few, results=tmp_path)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all(" dB, " in line and line.endswith(" s left") for line in lines)
    sweep.sweep(few, results=tmp_path)
    assert capfd.readouterr().err == ""  # nothing to do, nothing to show


def test_a_bar_that_begins_half_way_knows_its_pace(monkeypatch, capfd):
    bar = Progress(10, 5, unit="fit")
    monkeypatch.setattr("time.monotonic", lambda: bar.started + 2)
    bar.tell(6, "good")
    assert capfd.readouterr().err == "6/10: good, 8 s left\n"


# Where fits run.


def test_threads_give_the_same_rows(serial, cases, tmp_path):
    with ThreadPoolExecutor(3) as executor:
        rows = sweep.sweep(cases[:4], executor, results=tmp_path, progress=False)
    assert equal(rows, serial[0][:4])


def test_worker_processes_give_the_same_rows(serial, cases, tmp_path):
    with sweep.workers(2) as executor:
        rows = sweep.sweep(cases, executor, results=tmp_path, progress=False)
    assert equal(rows, serial[0]) and equal_files(tmp_path, serial[1])


def test_a_worker_process_that_dies_ends_the_sweep_and_keeps_what_is_done(
    cases, tmp_path, monkeypatch
):
    store = sweep._store

    def kill(folder, result):
        store(folder, result)
        for child in psutil.Process().children(recursive=True):
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()

    monkeypatch.setattr(sweep, "_store", kill)
    with pytest.raises(sweep.Stopped, match="a worker process died.* of 12 cases are kept"):
        with sweep.workers(1) as executor:
            sweep.sweep(cases, executor, results=tmp_path, progress=False)
    assert 1 <= len(stored(tmp_path)) < 12


# The disk.


def test_a_disk_that_is_full_ends_the_sweep_and_keeps_what_is_done(few, tmp_path, monkeypatch):
    replacing, written = sweep.replacing, []

    @contextlib.contextmanager
    def full(path):
        with replacing(path) as temporary:
            yield temporary
            written.append(path)
            if len(written) > 3:  # two files for the first case; the second's row finds no room
                raise OSError(28, "No space left on device", str(temporary))

    monkeypatch.setattr(sweep, "replacing", full)
    with pytest.raises(sweep.Stopped, match="No space left on device; 1 of 3 cases are kept in"):
        sweep.sweep(few, results=tmp_path, progress=False)
    assert len(stored(tmp_path)) == 1 and not list(tmp_path.glob(".*"))

    monkeypatch.setattr(sweep, "replacing", replacing)
    assert len(sweep.sweep(few, results=tmp_path, progress=False)) == len(stored(tmp_path)) == 3


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that refuses even root")
@pytest.mark.parametrize(
    "folder, saying",
    [
        ("/proc/self", "cannot write /proc/self/table.csv"),
        ("/proc/self/new", "cannot make the folder /proc/self/new"),
        ("file/new", "cannot make the folder file/new: Not a directory"),
        ("file", "cannot make the folder file: File exists"),
    ],
)
def test_a_folder_that_refuses_is_found_out_before_any_fit(
    few, tmp_path, monkeypatch, no_fit, folder, saying
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(InputError, match=saying):
        sweep.sweep(few, results=folder)


# Files.


def test_the_file_in_the_docstring_is_read(tmp_path):
    text = sweep.__doc__.split("from a TOML file:\n")[1].split("Here that makes")[0]
    images.write(images.load("coffee", size=80), tmp_path / "photo.jpg")
    (tmp_path / "many.toml").write_text(textwrap.dedent(text))
    cases = sweep.read(tmp_path / "many.toml")
    assert len(cases) == len({case.key() for case in cases}) == 30
    labels = ["base", "depth 2", "depth 3", "learning rate slow", "learning rate fast"]
    assert list(dict.fromkeys(case.label for case in cases)) == labels
    assert cases[0].arguments == {"sigma": 25 / 255}
    problem, recipe = cases[6].make()
    assert recipe.options["down"] == [16, 32] and recipe.options["padding"] == "zeros"
    assert (recipe.members, recipe.iterations) == (1, 400)
    assert cases[3].picture == str(tmp_path / "photo.jpg")


def test_a_file_may_name_several_problems_and_another_recipe_for_a_level(tmp_path):
    path = tmp_path / "many.toml"
    path.write_text("""
        pictures = "camera"
        size = 32
        seeds = [4]
        problem = [{task = "inpainting", mask = 0.3}, {task = "super_resolution", kernel = "box"}]
        [vary.recipe]
        paper = {recipe = "paper", iterations = 7}
    """)
    cases = sweep.read(path)
    made = [case.make() for case in cases]
    assert [problem.task for problem, _ in made] == ["inpainting", "super_resolution"] * 2
    assert [recipe.name for _, recipe in made] == ["lab", "lab", "paper", "paper"]
    assert made[3][1].iterations == 7 and {case.seed for case in cases} == {4}


@pytest.mark.parametrize(
    "text, saying",
    [
        ("picture = ['camera']", "a sweep has no 'picture'; it has pictures, size, seeds, problem"),
        ("seeds = 3", "names no pictures"),
        ("pictures = []", "pictures is empty"),
        ("pictures = [3]", "pictures holds 3"),
        ("pictures = 'camera'\nseeds = 0", "seeds is empty"),
        ("pictures = 'camera'\nseeds = 'two'", "seeds='two' must be a whole number"),
        ("pictures = 'camera'\nproblem = []", "problem is empty"),
        ("pictures = 'camera'\nproblem = 'jpeg'", "it must be a table"),
        ("pictures = 'camera'\n[problem]\nsgma = 1", "has no 'sgma'; it has sigma, seed"),
        ("pictures = 'camera'\n[problem]\ntask = 'x'", "no task is called 'x'; there are denois"),
        ("pictures = 'camera'\n[base]\ndepth = 3", "base has no 'depth'; it has recipe, name"),
        ("pictures = 'camera'\nbase = 3", "base takes a table"),
        ("pictures = 'camera'\n[base]\nrecipe = 'best'", "no recipe is called 'best'"),
        ("pictures = 'camera'\n[vary]", "vary is empty"),
        ("pictures = 'camera'\n[vary.depth]", "vary.depth is empty"),
        ("pictures = 'camera'\n[vary.depth]\n2 = {dwn = 1}", "vary.depth.2 has no 'dwn'"),
        ("pictures = 'camera'\n[vary.depth]\n2 = 3", "vary.depth.2 takes a table"),
        ("pictures = ['camera', 'camra']", "no picture is called 'camra'; the bundled ones are"),
        ("pictures = 'camera'\nsize = 5000", "size=5000 must be a whole number"),
        ("pictures = ", "cannot be read as TOML"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_before_any_fit(
    tmp_path, monkeypatch, capfd, no_fit, text, saying
):
    monkeypatch.chdir(tmp_path)
    Path("many.toml").write_text(text)
    assert diplearn("sweep", "many.toml") == 2
    out, errors = capfd.readouterr()
    assert out == "" and errors.count("\n") == 1, errors
    assert errors.startswith("diplearn: ") and saying in errors, errors
    assert os.listdir() == ["many.toml"]


@pytest.mark.parametrize(
    "words, saying",
    [
        ("missing.toml", "there is no file missing.toml"),
        (".", "cannot be read as TOML"),
        ("many.toml --workers 0", "'--workers'"),
        ("many.toml --workers 2 --scheduler tcp://127.0.0.1:1", "name one of them"),
        ("many.toml --limit 0", "'--limit'"),
        ("many.toml --scheduler nowhere://x", "--scheduler nowhere://x: unknown address scheme"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(tmp_path, monkeypatch, capfd, words, saying):
    monkeypatch.chdir(tmp_path)
    Path("many.toml").write_text("pictures = 'camera'\nsize = 32")
    assert diplearn("sweep", *words.split()) == 2
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1 and saying in errors, errors


def test_the_ablation_can_be_run():
    cases = sweep.read(Path(__file__).parents[1] / "benchmarks/ablation.toml")
    keys = {sweep._checked(case)[0] for case in cases}
    assert len(keys) == len(cases) == 25 * 3 * 3
    assert {case.picture for case in cases} == {"camera", "coins", "motorcycle"}
    _, recipe = cases[0].make()
    assert (recipe.members, recipe.iterations, recipe.stop) == (1, 400, "count")


# The command.


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return what starts the program on a file of 12 cases, in a session of its own."""
    monkeypatch.chdir(tmp_path)
    started = []

    def start(*words, iterations=40):
        Path("many.toml").write_text(FILE.format(iterations=iterations))
        program = [sys.executable, "-m", "diplearn.cli", "sweep", "many.toml", *map(str, words)]
        ready = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 (unattended)
        process = subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=ENVIRONMENT, start_new_session=True, preexec_fn=ready,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_the_command_does_a_part_and_then_the_rest(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("many.toml").write_text(FILE.format(iterations=2))
    assert diplearn("sweep", "many.toml", "--limit", 2, "--threads", 1) == 0
    assert capfd.readouterr().out == "many/table.csv: 2 of 2 cases, 0 failed\n"
    assert len(stored(tmp_path / "many")) == 2
    monkeypatch.setattr(sweep, "fit", lambda *_, **__: 1 / 0)
    assert diplearn("sweep", "many.toml", "--limit", 3) == 1
    out, errors = capfd.readouterr()
    assert out == "many/table.csv: 3 of 3 cases, 1 failed\n"
    assert "the first that failed: ZeroDivisionError: division by zero" in errors


@posix
@pytest.mark.parametrize("workers", [(), ("--workers", 2)], ids=["here", "workers"])
def test_ctrl_c_loses_nothing(tmp_path, command, workers):
    """It goes to the whole group, as a terminal sends it; what runs is finished and kept."""
    process = command(*workers, iterations=150)
    folder = tmp_path / "many"
    until(lambda: folder.exists() and stored(folder), "the first result")
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=PATIENCE)
    kept = len(stored(folder))
    assert process.returncode == 130 and 1 <= kept < 12, errors
    assert f"diplearn: interrupted: {kept} of 12 cases are kept in many, and the same" in errors
    assert out == f"many/table.csv: {kept} of 12 cases, 0 failed\n"
    assert "Traceback" not in errors
    rows = sweep.table(folder)
    assert (rows["stopped_at"] == 150).all()  # no half of a fit is kept


@posix
@pytest.mark.parametrize("workers", [(), ("--workers", 1)], ids=["here", "workers"])
def test_the_second_ctrl_c_ends_at_once(tmp_path, command, workers):
    process = command(*workers, iterations=1_000_000)
    until(lambda: psutil.Process(process.pid).cpu_times().user > 0.1, "the program")
    until((tmp_path / "many").exists, "the folder")
    time.sleep(3)  # the fit begins, or is about to
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "ended at once; what was done before is kept" in errors
    assert "Traceback" not in errors and stored(tmp_path / "many") == []


@posix
def test_workers_do_not_outlive_a_program_that_is_killed(tmp_path, command):
    process = command("--workers", 1, iterations=1_000_000)
    workers = []

    def begun():
        workers[:] = psutil.Process(process.pid).children(recursive=True)
        return any(worker.cpu_times().user > 1 for worker in workers)

    until(begun, "a worker")
    time.sleep(2)
    process.kill()
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert alive == []


# Dask, for real.


class Dask:
    """A scheduler and workers, started from their command lines; everything dies with the test."""

    def __init__(self, folder):
        pytest.importorskip("distributed")
        self.folder, self.started = folder, []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", self.port)
        until(self.answers, "the scheduler")

    def start(self, *words):
        log = self.folder / f"dask-{len(self.started)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, words), "--no-dashboard"],
                stdout=out, stderr=out, env=ENVIRONMENT, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def worker(self, *words):
        local = self.folder / "dask"
        words = (self.address, "--nthreads", 1, "--local-directory", local, *words)
        process = self.start("worker", *words)
        log = self.folder / f"dask-{len(self.started) - 1}.log"
        until(lambda: "Registered to" in log.read_text(), "a worker")
        return process

    def answers(self):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True

    def end(self):
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def dask(tmp_path):
    cluster = Dask(tmp_path)
    yield cluster
    cluster.end()


@pytest.fixture
def after(monkeypatch):
    """Return what arranges for something to happen when so many results are kept."""
    store, kept = sweep._store, []

    def arrange(count, act):
        def hooked(folder, result):
            store(folder, result)
            kept.append(result.row["key"])
            if len(kept) == count:
                act()

        monkeypatch.setattr(sweep, "_store", hooked)
        return kept

    return arrange


@posix
def test_a_worker_that_is_killed_half_way_costs_nothing(dask, serial, cases, tmp_path, after):
    """Every case is done, is kept once, and has the row that a serial run gives it."""
    victim, _ = (dask.worker("--no-nanny") for _ in range(2))
    kept = after(4, victim.kill)
    with sweep.cluster(dask.address) as executor:
        rows = sweep.sweep(cases, executor, results=tmp_path / "results", progress=False)
    assert victim.wait(PATIENCE) == -signal.SIGKILL
    assert sorted(kept) == sorted(set(kept)) == sorted(rows["key"])
    assert stored(tmp_path / "results") == stored(serial[1])
    assert equal(rows, serial[0]) and equal_files(tmp_path / "results", serial[1])


@posix
def test_a_worker_that_runs_out_of_memory_fails_its_case_and_the_sweep_goes_on(dask, few, tmp_path):
    """Dask may blame what stood in line on that worker too: the next sweep does it."""
    dask.worker("--nanny", "--memory-limit", "600MB")
    large = Case("retina", size=1024, changes={"members": 1, "iterations": 5})
    with sweep.cluster(dask.address) as executor:
        options = {"results": tmp_path / "results", "progress": False}
        rows = sweep.sweep([*few, large], executor, **options)
        assert rows["error"][3].startswith("KilledWorker: ")
        assert rows["error"].dropna().str.startswith("KilledWorker: ").all()
        rows = sweep.sweep(few, executor, **options)
    assert rows["error"].isna().all() and rows["psnr"].notna().all()


@posix
def test_a_scheduler_that_goes_away_is_one_line_and_the_results_are_kept(
    dask, tmp_path, monkeypatch, capfd, after
):
    """As the command is used; then the rest is done without it."""
    monkeypatch.chdir(tmp_path)
    Path("many.toml").write_text(FILE.format(iterations=40))
    dask.worker("--no-nanny")
    kept = after(2, dask.scheduler.kill)
    assert diplearn("sweep", "many.toml", "--scheduler", dask.address) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if "s left" not in line]
    assert f"Dask does when its scheduler goes away; {len(kept)} of 12 cases are kept" in errors[-1]
    assert len(errors) == 1 and errors[0].startswith("diplearn: "), errors
    assert len(stored(tmp_path / "many")) == len(kept) >= 2

    assert diplearn("sweep", "many.toml", "--limit", len(kept) + 1) == 0
    assert len(stored(tmp_path / "many")) <= len(kept) + 1


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path, monkeypatch, capfd):
    pytest.importorskip("distributed")
    monkeypatch.setattr(sweep.cluster.__wrapped__, "__defaults__", (1,))  # not ten seconds
    (tmp_path / "many.toml").write_text("pictures = 'camera'\nsize = 32")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    assert diplearn("sweep", tmp_path / "many.toml", "--scheduler", address) == 2
    errors = capfd.readouterr().err
    assert errors.startswith(f"diplearn: no Dask scheduler answers at {address}"), errors


@posix
def test_a_scheduler_without_workers_is_said(dask):
    with pytest.warns(RuntimeWarning, match=f"start some with: dask worker {dask.address}"):
        with sweep.cluster(dask.address):
            pass


def test_without_dask_the_command_says_what_to_install(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "distributed", None)
    (tmp_path / "many.toml").write_text("pictures = 'camera'\nsize = 32")
    assert diplearn("sweep", tmp_path / "many.toml", "--scheduler", "tcp://127.0.0.1:1") == 2
    assert "pip install 'diplearn[cluster]'" in capfd.readouterr().err


def test_a_row_is_plain_json(serial):
    _, folder = serial
    row = json.loads((folder / stored(folder)[0]).read_text())
    assert row["changes"] == TINY and row["device"] and row["torch"]
