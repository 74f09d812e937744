"""Many fits: here, in processes and on a real Dask cluster; nothing that is done is done again."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from diplearn import InputError, cli, images, problems, recipes, results, sweep
from diplearn.progress import Progress
from diplearn.results import Store
from diplearn.sweep import Case, grid, many_fits, one_fit
from diplearn.sweep import cases as sweep_cases
from diplearn.sweep.one_fit import run_case

TINY = {
    "options": {"down": [8, 16], "skip": [4, 4]},
    "z_channels": 4,
    "members": 1,
    "iterations": 40,
    "stop": "count",
}
FILE = """
images = ["camera", "coins"]
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
    return grid(image=["camera", "coins"], size=[16, 24], seed=range(3), changes=TINY)


@pytest.fixture(scope="module")
def serial(cases, tmp_path_factory):
    """What a sweep in this process makes of the cases: its table and its folder."""
    folder = tmp_path_factory.mktemp("serial")
    return sweep.sweep(cases, results=folder, progress=False), folder


@pytest.fixture(scope="module")
def few():
    """Return three quick cases."""
    return grid(image="camera", size=16, seed=range(3), changes=TINY | {"iterations": 3})


@pytest.fixture(scope="module")
def serial_few(few, tmp_path_factory):
    """What a sweep makes of them: its table and its folder."""
    folder = tmp_path_factory.mktemp("few")
    return sweep.sweep(few, results=folder, progress=False), folder


@pytest.fixture
def no_fit(monkeypatch):
    def begun(*_, **__):
        pytest.fail("a fit began")

    monkeypatch.setattr(many_fits, "run_case", begun)


def equal(rows, others):
    """Compare two tables bit for bit, but for the seconds."""
    pd.testing.assert_frame_equal(
        rows.drop(columns="seconds"), others.drop(columns="seconds"), check_exact=True
    )
    return True


def equal_files(folder, other):
    """Compare images and curves bit for bit, but for the seconds."""
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


def test_results_that_were_stored_before_are_found_again(tmp_path):
    """These keys are in people's folders: a change of them would do all of it again."""
    path = tmp_path / "own.png"
    images.write(images.load("coffee", size=40), path)
    size = {"size": 32}
    keys = {
        "53c4e8976e5ed90d": Case("camera", **size),
        "a453da8168063c7a": Case("camera", **size, recipe="paper"),
        "e9cb23c7773da63f": Case("coins", **size, task="jpeg", arguments={"quality": 30}),
        "90211105488400fd": Case("camera", **size, task="deblurring"),
        "c29c667bf0d30a2a": Case("camera", **size, recipe=recipes.lab("jpeg", tv_weight=0.1)),
    }
    assert {key: case.key() for key, case in keys.items()} == {key: key for key in keys}


def test_a_field_that_is_added_leaves_the_keys_of_earlier_results_alone(monkeypatch):
    """A recipe's or a task's, once LATER has it; at another value it is another fit.

    Without an entry in LATER the keys change, and the test above fails: nobody can forget it.
    """
    before = Case("camera", size=32).key()

    @dataclasses.dataclass(frozen=True)
    class Later(recipes.Recipe):
        weight_decay: float = 0.0
        schedule: dict = dataclasses.field(default_factory=dict)

    denoising = problems.denoising

    def later(clean, sigma=25 / 255, seed=0, clip=True):
        return denoising(clean, sigma, seed)

    settings = {"recipe.weight_decay": 0.0, "recipe.schedule": {}, "denoising.clip": True}
    monkeypatch.setattr(recipes, "Recipe", Later)
    monkeypatch.setattr(problems, "denoising", later)
    for forgotten in settings:
        rest = {name: value for name, value in settings.items() if name != forgotten}
        monkeypatch.setattr(sweep_cases, "LATER", rest)
        assert Case("camera", size=32).key() != before
    monkeypatch.setattr(sweep_cases, "LATER", settings)
    assert Case("camera", size=32).key() == before
    others = [{"changes": {"weight_decay": 0.1}}, {"arguments": {"clip": False}}]
    keys = {Case("camera", size=32, **other).key() for other in others}
    assert len(keys | {before}) == 3


def test_equal_cases_have_equal_hashes_and_keys():
    given = {"arguments": {"sigma": 0.1}, "changes": TINY, "recipe": recipes.lab()}
    case, twin = (Case("camera", size=32, seed=1, **given) for _ in range(2))
    numpy = Case("camera", size=np.int64(32), seed=np.uint8(1), **given)
    other = Case("camera", size=32, seed=1, **given | {"changes": {}})
    assert {case, twin, numpy, other} == {case, other} and hash(case) == hash(numpy)
    assert case.key() == numpy.key() != other.key()


def test_numbers_of_numpy_and_paths_are_values_like_others(tmp_path):
    path = tmp_path / "own.png"
    images.write(images.load("camera", size=16), path)
    changes = TINY | {"iterations": np.int64(2), "learning_rate": np.float32(0.5)}
    cases = grid(image=[path], seed=np.arange(2), size=np.int64(16), changes=changes)
    rows = sweep.sweep(cases, results=tmp_path / "results", progress=False)
    assert rows["error"].isna().all() and rows["seed"].tolist() == [0, 1]
    assert rows["image"].tolist() == [str(path)] * 2
    plain = Case(str(path), size=16, changes=TINY | {"iterations": 2, "learning_rate": 0.5})
    assert plain.key() == cases[0].key()


def test_each_image_is_read_once(tmp_path, monkeypatch):
    """By all cases of a sweep in this process, and by a fit elsewhere."""
    path, read = tmp_path / "own.png", []
    images.write(images.load("camera", size=16), path)
    real, load = images.read, images.load
    monkeypatch.setattr(images, "read", lambda p, **o: read.append(Path(p).stem) or real(p, **o))
    monkeypatch.setattr(images, "load", lambda p, **o: read.append(p) or load(p, **o))
    changes = TINY | {"iterations": 1}
    cases = grid(image=[str(path), "coins"], size=16, seed=range(2), changes=changes)
    sweep.sweep(cases, results=tmp_path / "results", progress=False)
    assert read.count("own") == 1 and read.count("coins") == 1

    read.clear()
    sweep_cases.forget_images()
    run_case(cases[0], cases[0].key())
    assert read == ["own"]


def test_a_problem_of_a_case_is_the_callers_own():
    case = Case("camera", size=16)
    problem, _ = case.make()
    problem.truth.zero_()
    assert case.make()[0].truth.max() > 0


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
    cases = grid(image=["camera", "coins"], size=(16, 24), seed=range(2), changes=[{}, TINY])
    assert len(cases) == len(set(map(str, cases))) == 16
    assert [case.seed for case in cases[:4]] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "axes, saying",
    [
        ({"image": []}, "image is empty"),
        ({"seed": 1}, "needs image="),
        ({"image": "camera", "seed": range(10**30)}, "more than 100,000 cases"),
        ({"image": "camera", "seed": range(400), "size": range(400)}, "more than 100,000 cases"),
        ({"image": "camera", "sigma": 0.1}, "a case has no 'sigma'; it has image, size"),
    ],
)
def test_a_grid_of_nothing_is_refused(axes, saying):
    with pytest.raises(InputError, match=re.escape(saying)):
        grid(**axes)


@pytest.mark.parametrize(
    "wrong, saying",
    [
        ({"image": "camra"}, "no image is called 'camra'; the bundled images are astronaut"),
        ({"image": "none.png"}, "no image is called 'none.png'"),
        ({"size": 1000}, "size=1000 must be a whole number from 16 to 512"),
        ({"task": "painting"}, "no task is called 'painting'; there are denoising, jpeg"),
        ({"arguments": {"sgma": 1}}, "'denoising' has no 'sgma'; it has sigma, seed"),
        ({"arguments": {"sigma": 25}}, "did you mean 25/255?"),
        ({"arguments": 3}, "takes a table of sigma, seed, not 3"),
        ({"recipe": "bests"}, "no recipe is called 'bests'; there are lab, guided, paper, best"),
        ({"changes": {"depth": 3}}, "a recipe has no 'depth'; it has name, network"),
        ({"changes": {"optimiser": "sgd"}}, "'sgd' is unknown; there are adam, muon"),
        ({"changes": {"learning_rate": "fast"}}, "learning_rate='fast' must be a number"),
        ({"changes": {"network": "vgg"}}, "no network is called 'vgg'; there are hourglass"),
        ({"changes": {"options": {"width": 3}}}, "unexpected keyword argument 'width'"),
        ({"changes": {"options": {"down": [8]}}}, "must name the same levels"),
        ({"changes": {"stop": "never"}}, "no stopping rule is called 'never'; there are auto"),
        ({"changes": {"z": "given"}}, "takes z from the caller"),
        ({"seed": -1}, "seed=-1 must be a whole number"),
        ({"seed": True, "task": "jpeg"}, "seed=True must be a whole number"),
        ({"seed": [1]}, "seed=[1] must be a whole number"),
        ({"size": [32, 64]}, "size=[32, 64] must be a whole number"),
        ({"image": "x" * 300}, "no image is called 'xxx"),
        ({"image": "a\0b"}, "no image is called 'a\\x00b'"),
        ({"image": ["camera"]}, "image=['camera'] must be a name"),
        ({"recipe": ""}, "no recipe is called ''"),
        ({"recipe": {}}, "no recipe is called {}"),
        ({"changes": 3}, "must be a mapping"),
        ({"changes": {"compiled": "no"}}, "compiled='no' must be true or false"),
        ({"arguments": {"sigma": "loud"}}, "TypeError: "),
        ({"label": object()}, "is not a plain value"),
    ],
)
def test_a_case_that_cannot_be_fitted_is_refused_before_any_fit(no_fit, tmp_path, wrong, saying):
    good, bad = Case("camera", size=32), Case(**({"image": "camera", "size": 32} | wrong))
    with pytest.raises(InputError, match=re.escape(saying)) as refused:
        sweep.sweep([good, bad], results=tmp_path / "results")
    assert str(refused.value).startswith(str(bad))
    assert not (tmp_path / "results").exists()


# Results.


def test_every_case_leaves_a_row_a_image_and_a_curve(serial, cases):
    rows, folder = serial
    assert rows["image"].tolist() == [case.image for case in cases]
    assert (rows["stopped_at"] == 40).all() and rows["error"].isna().all()
    assert (rows["threads"] == 1).all() and (rows["parameters"] > 1000).all()
    for row, case in zip(rows.itertuples(), cases):
        image, truth = images.read(folder / f"{row.key}.png"), case.make()[0].truth
        assert image.shape == truth.shape
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
    monkeypatch.setattr(many_fits, "run_case", lambda *a: made.append(a[0].seed) or run_case(*a))
    rows = sweep.sweep(few, results=tmp_path, progress=False)
    assert sorted(made) == [1, 2]
    assert rows["seed"].tolist() == [0, 1, 2] and rows["diplearn"][0].startswith("99")
    sweep.sweep(few, results=tmp_path, progress=False)
    assert sorted(made) == [1, 2]


@pytest.mark.parametrize(
    "name, damage",
    [
        ("png", lambda path: path.write_bytes(b"")),
        ("png", lambda path: path.write_bytes(path.read_bytes()[:-40])),
        ("png", lambda path: (path.unlink(), path.mkdir(), (path / "kept").touch())),
        ("png", lambda path: (path.unlink(), path.symlink_to("nowhere/at-all"))),
        pytest.param("png", lambda path: (path.unlink(), os.mkfifo(path)), marks=posix),
        ("csv", lambda path: path.write_text("")),
        ("csv", lambda path: path.write_bytes(b"\xff\0" * 99)),
        ("csv", lambda path: path.write_text(path.read_text()[:-60])),
        ("csv", lambda path: (path.unlink(), path.mkdir())),
        ("json", lambda path: path.write_bytes(b"\xff\xfe")),
        ("json", lambda path: (path.unlink(), path.mkdir())),
        pytest.param("json", lambda path: (path.unlink(), os.mkfifo(path)), marks=posix),
        ("json", lambda path: path.write_text("[" * 100_000)),
        ("json", lambda path: path.write_text(f"[{path.read_text()}]")),
        ("json", lambda path: rewrite(path, key="another")),
        ("json", lambda path: rewrite(path, psnr=...)),
        ("json", lambda path: rewrite(path, psnr="31 dB")),
        ("json", lambda path: rewrite(path, psnr={"mean": 31})),
        ("json", lambda path: rewrite(path, image={"name": "camera"})),
        ("json", lambda path: rewrite(path, changes=nested(700))),
        ("json", lambda path: rewrite(path, error=...)),
        ("json", lambda path: rewrite(path, error=["a list"])),
    ],
)
def test_a_result_that_is_damaged_is_done_again(few, serial_few, tmp_path, name, damage):
    """Whatever stands in its place; and what is no file of ours is moved, not lost."""
    shutil.copytree(serial_few[1], tmp_path, dirs_exist_ok=True)
    damage(tmp_path / f"{few[1].key()}.{name}")
    assert len(sweep.table(tmp_path)) >= 2  # nothing that can be read is in the way of the rest
    rows = sweep.sweep(few, results=tmp_path, progress=False)
    assert equal(rows, serial_few[0]) and equal_files(tmp_path, serial_few[1])
    assert stored(tmp_path) == stored(serial_few[1])


def rewrite(path, **values):
    """Change values of a stored row; those that are ... go."""
    row = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in row.items() if v is not ...}))


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


def test_what_stood_in_the_place_of_a_result_is_moved(few, tmp_path):
    place = tmp_path / f"{few[0].key()}.png"
    place.mkdir()
    (place / "notes.txt").write_text("somebody's")
    sweep.sweep(few[:1], results=tmp_path, progress=False)
    moved = list(tmp_path.glob("damaged-*/*.png/notes.txt"))
    assert place.is_file() and [path.read_text() for path in moved] == ["somebody's"]


def test_a_contact_sheet_that_fails_fails_alone(few, tmp_path, monkeypatch):
    monkeypatch.setattr(many_fits, "_sheet", lambda shown: 1 / 0)
    with pytest.warns(RuntimeWarning, match="the contact sheet was not drawn: division by zero"):
        rows = sweep.sweep(few, results=tmp_path, progress=False)
    assert len(rows) == len(pd.read_csv(tmp_path / "table.csv")) == 3


def test_odd_names_of_files_reach_the_table_and_the_contact_sheet(tmp_path):
    """Formulas, bytes that are no character, line breaks; and one name in two folders."""
    names = ["a$b$c.png", "$x_{$.png", "two\nlines.png", "é\udcff.png", "one/x.png", "two/x.png"]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        images.write(images.load("camera", size=16 + number), tmp_path / name)
    cases = grid(image=[tmp_path / name for name in names], changes=TINY | {"iterations": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = sweep.sweep(cases, results=tmp_path / "results", progress=False)
    assert rows["error"].isna().all()
    kept = pd.read_csv(tmp_path / "results/table.csv", encoding_errors="surrogateescape")
    assert kept["image"].tolist() == [case.image for case in cases]
    store = many_fits._store(tmp_path / "results")
    shown = [(case, store.get(case.key())) for case in cases]
    assert len([axis for axis in many_fits._sheet(shown).axes if axis.images]) == len(names)


def test_a_result_serves_all_cases_that_differ_in_their_names_alone(few, tmp_path):
    twins = [few[0], Case(**{**vars(few[0]), "label": "twin"})]
    rows = sweep.sweep(twins, results=tmp_path, progress=False)
    assert rows["label"].tolist() == ["", "twin"] and len(stored(tmp_path)) == 1


def test_a_case_that_fails_is_a_row_and_is_tried_again(few, tmp_path, monkeypatch):
    fit = one_fit.fit

    def fails(problem, recipe, *, seed, **options):
        if seed == 1:
            raise RuntimeError("the card\ncaught fire")
        return fit(problem, recipe, seed=seed, **options)

    monkeypatch.setattr(one_fit, "fit", fails)
    rows = sweep.sweep(few, results=tmp_path, progress=False)
    assert rows["error"].tolist()[1] == "RuntimeError: the card caught fire"
    assert rows["error"].isna().sum() == rows["psnr"].notna().sum() == 2

    monkeypatch.setattr(one_fit, "fit", fit)
    rows = sweep.sweep(few, results=tmp_path, progress=False)
    assert rows["error"].isna().all() and rows["psnr"].notna().all()


def test_when_all_cases_fail_there_is_a_table_all_the_same(few, tmp_path, monkeypatch):
    monkeypatch.setattr(one_fit, "fit", lambda *_, **__: 1 / 0)
    rows = sweep.sweep(few, results=tmp_path, progress=False)
    assert rows["error"].tolist() == ["ZeroDivisionError: division by zero"] * 3
    assert (tmp_path / "table.csv").exists() and not (tmp_path / "sheet.png").exists()


def test_a_worker_that_would_make_another_fit_says_so(few):
    """It has another version of diplearn, or another file under the same name."""
    row = run_case(few[0], few[1].key()).row
    assert "its version of diplearn differs" in row["error"] and row["key"] == few[1].key()


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


def test_no_image_is_kept_after_a_sweep(few, tmp_path):
    sweep.sweep(few, results=tmp_path, progress=False)
    assert sweep_cases._read.cache_info().currsize == 0


def test_threads_give_the_same_rows(serial, cases, tmp_path):
    with ThreadPoolExecutor(3) as executor:
        rows = sweep.sweep(cases[:4], executor, results=tmp_path, progress=False)
    assert equal(rows, serial[0][:4])


def test_worker_processes_give_the_same_rows(serial, cases, tmp_path):
    with sweep.workers(2) as executor:
        rows = sweep.sweep(cases, executor, results=tmp_path, progress=False)
    assert equal(rows, serial[0]) and equal_files(tmp_path, serial[1])


FORK = """
import multiprocessing, signal, sys, torch
from concurrent.futures import ProcessPoolExecutor
from diplearn import sweep

torch.set_num_threads(2)
(torch.rand(2000, 2000) @ torch.rand(2000, 2000)).exp().sum()  # on two cores
changes = {"options": {"down": [8, 16], "skip": [4, 4]}, "members": 2, "iterations": 3}
cases = sweep.grid(image="camera", size=128, changes=changes)
threads = int(sys.argv[1])
here = sweep.sweep(cases, results="here", threads=threads, progress=False)
fork = multiprocessing.get_context("fork")
# A worker that waits for ever is ended by the alarm, and the pool is broken.
with ProcessPoolExecutor(1, fork, initializer=signal.alarm, initargs=[120]) as executor:
    rows = sweep.sweep(cases, executor, results="forked", threads=threads, progress=False)
assert rows["error"].isna().all() and rows["loss"].equals(here["loss"]), rows
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_process_fits_after_torch_was_used_on_two_cores(tmp_path, threads):
    """It waited for ever for PyTorch's threads, which stay behind in the parent."""
    program = [sys.executable, "-W", "ignore", "-c", FORK, str(threads)]
    subprocess.run(program, cwd=tmp_path, check=True, timeout=PATIENCE)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_process_pools_give_the_same_rows(few, serial_few, tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no {method} here")
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as executor:
        rows = sweep.sweep(few, executor, results=tmp_path, progress=False)
    assert equal(rows, serial_few[0])


class AtOnce(Executor):
    """An executor of the user's own: what is submitted is done before `submit` returns."""

    def submit(self, work, *args, **options):
        future = Future()
        future.set_result(work(*args, **options))
        return future


def test_an_executor_of_ones_own_will_do(few, serial_few, tmp_path):
    assert equal(sweep.sweep(few, AtOnce(), results=tmp_path, progress=False), serial_few[0])


class Promises:
    """As a Dask client, which is no executor."""

    def submit(self, *args, **options):
        return object()


def test_what_is_no_executor_is_one_sentence(few, tmp_path):
    over = ThreadPoolExecutor(1)
    over.shutdown()
    with pytest.raises(InputError, match=r"executor=8 has no submit\(\)"):
        sweep.sweep(few, 8, results=tmp_path)
    with pytest.raises(InputError, match="of Promises does not return a concurrent.futures.Future"):
        sweep.sweep(few, Promises(), results=tmp_path)
    with pytest.raises(sweep.Stopped, match="takes no more cases: .* 0 of 3 cases are kept"):
        sweep.sweep(few, over, results=tmp_path)


def test_a_worker_of_ones_own_that_ctrl_c_reaches_has_not_done_its_case(few, tmp_path):
    class Interrupted(Executor):
        def submit(self, *_):
            future = Future()
            future.set_exception(KeyboardInterrupt())
            return future

    with pytest.warns(RuntimeWarning, match="interrupted: 0 of 3 cases are kept"):
        rows = sweep.sweep(few, Interrupted(), results=tmp_path, progress=False)
    assert rows.empty and stored(tmp_path) == []


def test_a_fit_leaves_the_number_of_threads_as_it_was(few):
    before = torch.get_num_threads()
    run_case(few[0], few[0].key(), threads=before + 1)
    made = []
    thread = threading.Thread(target=lambda: made.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert torch.get_num_threads() == before == made[0]


def test_a_worker_process_that_dies_ends_the_sweep_and_keeps_what_is_done(
    cases, tmp_path, monkeypatch
):
    put = Store.put

    def kill(store, *result):
        put(store, *result)
        for child in psutil.Process().children(recursive=True):
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()

    monkeypatch.setattr(Store, "put", kill)
    with pytest.raises(sweep.Stopped, match="a worker process died.* of 12 cases are kept"):
        with sweep.workers(1) as executor:
            sweep.sweep(cases, executor, results=tmp_path, progress=False)
    assert 1 <= len(stored(tmp_path)) < 12


# The disk.


def test_a_disk_that_is_full_ends_the_sweep_and_keeps_what_is_done(few, tmp_path, monkeypatch):
    replacing, written = results.replacing, []

    @contextlib.contextmanager
    def full(path):
        with replacing(path) as temporary:
            yield temporary
            written.append(path)
            if len(written) > 3:  # two files for the first case; the second's row finds no room
                raise OSError(28, "No space left on device", str(temporary))

    monkeypatch.setattr(results, "replacing", full)
    with pytest.raises(sweep.Stopped, match="No space left on device; 1 of 3 cases are kept in"):
        sweep.sweep(few, results=tmp_path, progress=False)
    assert len(stored(tmp_path)) == 1 and not list(tmp_path.glob(".*"))

    monkeypatch.setattr(results, "replacing", replacing)
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
    text = sweep.__doc__.split("from a TOML file:\n")[1].split("These are five recipes")[0]
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
    assert cases[3].image == str(tmp_path / "photo.jpg")


def test_a_file_may_name_several_problems_and_another_recipe_for_a_level(tmp_path):
    path = tmp_path / "many.toml"
    path.write_text("""
        images = "camera"
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
        ("image = ['camera']", "a sweep has no 'image'; it has images, size, seeds, problem"),
        ("seeds = 3", "names no images"),
        ("images = []", "images is empty"),
        ("images = [3]", "images holds 3"),
        ("images = 'camera'\nseeds = 0", "seeds is empty"),
        ("images = 'camera'\nseeds = 'two'", "seeds='two' must be a whole number"),
        ("images = 'camera'\nproblem = []", "problem is empty"),
        ("images = 'camera'\nproblem = 'jpeg'", "it must be a table"),
        ("images = 'camera'\n[problem]\nsgma = 1", "has no 'sgma'; it has sigma, seed"),
        ("images = 'camera'\n[problem]\ntask = 'x'", "no task is called 'x'; there are denois"),
        ("images = 'camera'\n[base]\ndepth = 3", "base has no 'depth'; it has recipe, name"),
        ("images = 'camera'\nbase = 3", "base takes a table"),
        ("images = 'camera'\n[base]\nrecipe = 'bests'", "no recipe is called 'bests'"),
        ("images = 'camera'\n[vary]", "vary is empty"),
        ("images = 'camera'\n[vary.depth]", "vary.depth is empty"),
        ("images = 'camera'\n[vary.depth]\n2 = {dwn = 1}", "vary.depth.2 has no 'dwn'"),
        ("images = 'camera'\n[vary.depth]\n2 = 3", "vary.depth.2 takes a table"),
        ("images = ['camera', 'camra']", "no image is called 'camra'; the bundled images are"),
        ("images = 'camera'\nsize = 5000", "size=5000 must be a whole number"),
        ("images = ", "cannot be read as TOML"),
        (f"images = 'camera'\nseeds = {10**12}", "seeds=1000000000000 must be a whole number"),
        ("images = 'camera'\nseeds = 100_000\n[vary.x]\ny = {}", "more than 100,000 cases"),
        ("images = 'camera'\nseeds = true", "seeds=True must be a whole number"),
        ("images = 'camera'\nseeds = [0, nan]", "seeds.1 must be a finite number"),
        (f"images = 'camera'\nseeds = 0x1{'0' * 5000}", "seeds must be a finite number"),
        ("images = 'camera'\nseeds = 1979-05-27", "seeds is a date"),
        (f"images = '{'x' * 300}'", "no image is called 'xxx"),
        (f"images = {'[' * 90}{']' * 90}", "is nested too deeply"),
        (f"images{'.a' * 5000} = 1", "is nested too deeply"),
        ("images = {a = 1}", "images holds {'a': 1}"),
        ("images = 'camera'\n[problem]\nsigma = '9e999'", "sigma = '9e999' must be a finite"),
        ("images = 'camera'\n[problem]\nsigma = '1e999999999'", "must be a finite number"),
        ("images = 'camera'\n[problem]\nsigma = '1/0'", "sigma = '1/0' must be a finite"),
        ("images = 'camera'\n[problem]\nsigma = inf", "problem.sigma must be a finite number"),
        ("images = 'camera'\n[problem]\ntask = []", "no task is called []"),
        ("images = 'camera'\n[base]\noptions = 3", "base.options is 3: it must be a table"),
        ("images = 'camera'\n[base]\ncompiled = 'no'", "compiled='no' must be true or false"),
        ("images = 'camera'\n[base]\nrecipe = false", "no recipe is called False"),
        ("images = 'camera'\n[base]\nz_scale = -1", "z_scale=-1 is out of range"),
        ("images = 'camera'\n[vary.'two\\nlines']\nx = 3".replace("'", '"'), "vary.two lines.x"),
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
    "content",
    [
        "images = 'camera'\nsize = 32".encode("utf-8-sig"),
        b"images = 'camera'\r\nsize = 32\r\n",
        b"\xef\xbb\xbf\r\nimages = ['camera'] # \xc3\xa9\r\nsize = 32",
    ],
    ids=["byte order mark", "CRLF", "both"],
)
def test_a_file_that_windows_wrote_is_read(tmp_path, content):
    (tmp_path / "many.toml").write_bytes(content)
    assert sweep.read(tmp_path / "many.toml") == [Case("camera", size=32)]


@posix
def test_a_file_may_be_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=["images = 'camera'"])
    writer.start()
    assert sweep.read(tmp_path / "pipe") == [Case("camera")]
    writer.join()


@pytest.mark.parametrize(
    "content, saying",
    [
        (b"", "names no images"),
        (b"\xef\xbb\xbf", "names no images"),
        ("images = 'camera'".encode("utf-16"), "is not UTF-8 text"),
        ("images = 'camera'".encode("utf-16-le"), "cannot be read as TOML"),
        ("images = 'caméra'".encode("latin-1"), "is not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text"),
        (b"a = " + b"[" * 100_000, "cannot be read as TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_one_sentence(tmp_path, content, saying):
    (tmp_path / "many.toml").write_bytes(content)
    with pytest.raises(InputError, match=saying):
        sweep.read(tmp_path / "many.toml")


@pytest.mark.parametrize(
    "words, saying",
    [
        ("missing.toml", "there is no file missing.toml"),
        (".", "cannot be read as TOML"),
        ("many.toml --workers 0", "'--workers'"),
        ("many.toml --workers 2 --scheduler tcp://127.0.0.1:1", "give only one"),
        ("many.toml --limit 0", "'--limit'"),
        ("many.toml --scheduler nowhere://x", "--scheduler nowhere://x: unknown address scheme"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(tmp_path, monkeypatch, capfd, words, saying):
    monkeypatch.chdir(tmp_path)
    Path("many.toml").write_text("images = 'camera'\nsize = 32")
    assert diplearn("sweep", *words.split()) == 2
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1 and saying in errors, errors


def test_the_ablation_can_be_run():
    cases = sweep.read(Path(__file__).parents[1] / "benchmarks/ablation.toml")
    keys = {many_fits._checked(case)[0] for case in cases}
    assert len(keys) == len(cases) == 25 * 3 * 3
    assert {case.image for case in cases} == {"camera", "coins", "motorcycle"}
    _, recipe = cases[0].make()
    assert (recipe.members, recipe.iterations, recipe.stop) == (1, 400, "count")


# The command.


# The program, in all its processes; it says when a fit makes its first step, and when the first
# Ctrl-C was taken note of.
PROGRAM = """
import contextlib, pathlib
from diplearn import cli
from diplearn.sweep import many_fits, one_fit

fit, interruptible = one_fit.fit, many_fits.interruptible

def told(*things, **options):
    return fit(*things, **options, callback=lambda *_: pathlib.Path("fit began").touch())

@contextlib.contextmanager
def noted():
    with interruptible() as flag:
        take, flag.set = flag.set, lambda: (take(), pathlib.Path("interrupt noted").touch())
        yield flag

one_fit.fit, many_fits.interruptible = told, noted
if __name__ == "__main__":
    cli.main()
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return what starts the program on a file of 12 cases, in a session of its own."""
    monkeypatch.chdir(tmp_path)
    started = []

    def start(*words, iterations=40):
        Path("program.py").write_text(PROGRAM)
        Path("many.toml").write_text(FILE.format(iterations=iterations))
        program = [sys.executable, "program.py", "sweep", "many.toml", *map(str, words)]
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
    monkeypatch.setattr(one_fit, "fit", lambda *_, **__: 1 / 0)
    assert diplearn("sweep", "many.toml", "--limit", 3) == 1
    out, errors = capfd.readouterr()
    assert out == "many/table.csv: 3 of 3 cases, 1 failed\n"
    assert "the first error: ZeroDivisionError: division by zero" in errors


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
    assert f"diplearn: interrupted: {kept} of 12 cases are kept in many; run the same" in errors
    assert out == f"many/table.csv: {kept} of 12 cases, 0 failed\n"
    assert "Traceback" not in errors
    rows = sweep.table(folder)
    assert (rows["stopped_at"] == 150).all()  # no half of a fit is kept


@posix
@pytest.mark.parametrize("workers", [(), ("--workers", 1)], ids=["here", "workers"])
def test_the_second_ctrl_c_ends_at_once(tmp_path, command, workers):
    process = command(*workers, iterations=1_000_000)
    until((tmp_path / "fit began").exists, "a fit")
    os.killpg(process.pid, signal.SIGINT)
    until((tmp_path / "interrupt noted").exists, "the first Ctrl-C to arrive")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "stopped at once; the results of the finished cases are in many" in errors
    assert "Traceback" not in errors and stored(tmp_path / "many") == []


@posix
def test_workers_do_not_outlive_a_program_that_is_killed(tmp_path, command):
    process = command("--workers", 1, iterations=1_000_000)
    until((tmp_path / "fit began").exists, "a fit")
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
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
    put, kept = Store.put, []

    def arrange(count, act):
        def hooked(store, key, *result):
            put(store, key, *result)
            kept.append(key)
            if len(kept) == count:
                act()

        monkeypatch.setattr(Store, "put", hooked)
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
    assert f"Dask does if its scheduler is gone; {len(kept)} of 12 cases are kept" in errors[-1]
    assert len(errors) == 1 and errors[0].startswith("diplearn: "), errors
    assert len(stored(tmp_path / "many")) == len(kept) >= 2

    assert diplearn("sweep", "many.toml", "--limit", len(kept) + 1) == 0
    assert len(stored(tmp_path / "many")) <= len(kept) + 1


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path, monkeypatch, capfd):
    pytest.importorskip("distributed")
    monkeypatch.setattr(sweep.cluster.__wrapped__, "__defaults__", (1,))  # not ten seconds
    (tmp_path / "many.toml").write_text("images = 'camera'\nsize = 32")
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
    (tmp_path / "many.toml").write_text("images = 'camera'\nsize = 32")
    assert diplearn("sweep", tmp_path / "many.toml", "--scheduler", "tcp://127.0.0.1:1") == 2
    assert "pip install 'diplearn[cluster]'" in capfd.readouterr().err


def test_a_row_is_plain_json(serial):
    _, folder = serial
    row = json.loads((folder / stored(folder)[0]).read_text())
    assert row["changes"] == TINY and row["device"] and row["torch"]
