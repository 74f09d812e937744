"""The benchmarks run, resume, and say what they measured."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from diplearn import stopping

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))  # as Python does for the folder of a script


def command(name):
    """Return a benchmark as a command that can be called, and its module."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = typer.Typer()
    app.command()(module.main)
    return module, lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopping") / "results"
    small = ["--image", "camera", "--size", 32, "--times", 0.12, "--results", folder]
    small += ["--out", folder.with_suffix(".md")]
    tasks = ["--task", "gaussian-25", "--task", "super-resolution", "--seeds", 1]
    module, run = command("stopping")
    answer = run(*small, *tasks)
    assert answer.exit_code == 0, answer.output
    return folder, module, run, [*small, *tasks], answer.output


def test_every_rule_that_applies_is_measured(measured):
    folder, _, _, _, told = measured
    rows = pd.read_csv(folder.with_suffix(".csv"))
    noisy = rows[rows.task == "gaussian-25"]
    assert set(noisy.rule) == set(stopping.BY_NAME)
    assert noisy[noisy.default].rule.tolist() == ["sure"]
    exact = rows[rows.task == "super-resolution"]
    assert "discrepancy" not in set(exact.rule) and exact[exact.default].rule.item() == "plateau"
    assert "default" in told and "mean gap" in told
    section = folder.with_suffix(".md").read_text("utf-8")
    assert (
        "## stopping rules, lab at 32x32\n" in section
        and "| super-resolution | plateau |" in section
    )
    assert folder.with_suffix(".png").stat().st_size > 10_000


def test_gaps_are_what_the_curve_says(measured):
    folder = measured[0]
    case = json.loads((folder / "gaussian-25-camera-32-lab-0.json").read_text())
    rows = pd.read_csv(folder.with_suffix(".csv")).query("task == 'gaussian-25'").set_index("rule")
    for row in case["rows"]:
        curve = case["curves"].get(row["rule"], case["curves"][""])
        assert curve[row["chosen_at"] - 1] == pytest.approx(row["psnr"], abs=2e-3)
        assert rows.loc[row["rule"], "gap"] == pytest.approx(max(curve) - row["psnr"], abs=2e-3)
        assert row["chosen_at"] <= row["stopped_at"] <= len(curve)
    assert rows.loc["oracle", "gap"] == pytest.approx(0, abs=1e-3)


def test_only_what_is_missing_is_measured_again(measured):
    folder, module, run, arguments, _ = measured
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    gone = min(before)
    for damage in (gone.unlink, lambda: gone.write_bytes(b""), lambda: gone.write_text("{}")):
        damage()
        assert run(*arguments).exit_code == 0
        after = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
        assert set(after) == set(before)
        assert [path for path in after if after[path] != before[path]] == [gone]


@pytest.mark.parametrize(
    "wrong",
    [("--task", "gaussian-26"), ("--image", "no-such"), ("--stored", "--seeds", 1)],
    ids=["task", "image", "nothing stored"],
)
def test_bad_input_ends_before_the_work(tmp_path, wrong):
    _, run = command("stopping")
    answer = run("--results", tmp_path / "results", *wrong)
    assert answer.exit_code != 0
    assert not list(tmp_path.rglob("*.json"))


@pytest.fixture
def tables(monkeypatch, tmp_path):
    """The tables' command on bundled images: people outside may not have the paper's."""
    module, run = command("paper_tables")
    real = module.images.load

    def load(name, size=None):
        name = Path(name).stem.removesuffix("_GT")
        return real({"F16": "camera", "baby": "coffee", "barbara": "coins"}[name], size=size or 48)

    monkeypatch.setattr(module.images, "load", load)
    small = ["--recipe", "lab", "--limit", 1, "--iterations", 4, "--results", tmp_path / "store"]
    return module, lambda *more: run(*small, "--out", tmp_path / "R.md", *more), tmp_path


@pytest.mark.parametrize(
    ("table", "methods"),
    [
        ("denoising", {"BM3D", "total variation", "mean of 2 runs"}),
        ("missing", {"biharmonic", "mean of 2 runs"}),
        ("super-resolution", {"no prior", "bicubic", "mean of 2 runs"}),
    ],
)
def test_a_table_holds_fits_classics_and_their_mean(tables, table, methods):
    _, run, folder = tables
    answer = run("--table", table, "--size", 40)
    assert answer.exit_code == 0, answer.output
    rows = pd.read_csv(folder / "store" / f"{table}.csv")
    assert methods | {"deep image prior"} <= set(rows.method)
    assert (rows.psnr > 5).all()
    told = (folder / "R.md").read_text("utf-8")
    assert f"## {table}\n" in told and "40x40" in told and "published" not in told
    assert (folder / "store" / f"{table}.png").stat().st_size > 5000


def test_tables_resume_and_keep_each_others_sections(tables):
    _, run, folder = tables
    assert run("--table", "missing", "--size", 40, "--seeds", 1).exit_code == 0
    stored = {p: p.stat().st_mtime_ns for p in (folder / "store").glob("missing-*.json")}
    assert run("--table", "denoising", "--size", 40, "--seeds", 1).exit_code == 0
    assert run("--table", "missing", "--size", 40, "--seeds", 2).exit_code == 0
    assert all(path.stat().st_mtime_ns == at for path, at in stored.items())
    told = (folder / "R.md").read_text("utf-8")
    assert told.count("## missing\n") == told.count("## denoising\n") == 1
    assert "2 seed(s)" in told and "mean of 2 runs" in told


@pytest.mark.parametrize("suffix", [".json", ".png"])
def test_a_fit_of_a_table_that_is_damaged_is_made_again(tables, suffix):
    _, run, folder = tables
    assert run("--table", "missing", "--size", 40, "--seeds", 1).exit_code == 0
    (fit,) = (folder / "store").glob("missing-*.png")
    before = fit.read_bytes()
    fit.with_suffix(suffix).write_bytes(b"")
    assert run("--table", "missing", "--size", 40, "--seeds", 1).exit_code == 0
    assert fit.read_bytes() == before and json.loads(fit.with_suffix(".json").read_text())


def test_full_images_stand_beside_the_published_numbers(tables):
    module, run, folder = tables
    rows = pd.DataFrame(
        [
            {
                "table": "denoising",
                "image": p,
                "method": "deep image prior",
                "psnr": 30,
                "seconds": 1,
            }
            for p in module.DENOISING[:2]
        ]
    )
    wide = module.by_image(rows, "denoising", full=True)
    assert wide.loc["deep image prior, published", "F16"] == 33.69
    assert wide.loc["deep image prior, published", "mean"] == pytest.approx((33.69 + 24.51) / 2)


def test_an_unknown_table_or_recipe_costs_nothing(tables):
    _, run, folder = tables
    assert "no table is called" in run("--table", "nonsense").output
    assert "no recipe is called" in run("--recipe", "nonsense").output
    assert not (folder / "store").exists()


def test_seconds_to_quality_beside_the_published_recipe(tmp_path):
    _, run = command("time_to_quality")
    small = ["--size", 32, "--seeds", 1, "--iterations", 12, "--results", tmp_path / "store"]
    answer = run(*small, "--out", tmp_path / "R.md")
    assert answer.exit_code == 0, answer.output
    told = (tmp_path / "R.md").read_text("utf-8")
    assert "## time to quality, denoising-25-motorcycle-32\n" in told
    assert "| lab |" in told and "| paper |" in told and "torch" in told
    curves = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "store").glob("*.csv")}
    assert len(curves) == 2
    assert run(*small, "--out", tmp_path / "R.md").exit_code == 0  # nothing is measured twice
    assert curves == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "store").glob("*.csv")}
    damaged = next((tmp_path / "store").glob("*-lab-0.csv"))
    damaged.write_bytes(b"\xff")
    damaged.with_suffix(".dip").write_bytes(b"no run")
    assert run(*small, "--out", tmp_path / "R.md").exit_code == 0
    assert len(pd.read_csv(damaged)) == 12 and not damaged.with_suffix(".dip").exists()
    curves[damaged.name] = damaged.stat().st_mtime_ns
    # Beside a stored curve the other recipes are measured in the same hour as the pace.
    assert run(*small, "--out", tmp_path / "R.md", "--against-stored").exit_code == 0
    later = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "store").glob("*.csv")}
    assert [name for name in curves if later[name] == curves[name]] == [
        name for name in curves if "-paper-" in name
    ]


def test_an_image_that_is_not_there_costs_no_time(tmp_path):
    _, run = command("time_to_quality")
    answer = run("--image", "no-such", "--results", tmp_path / "store", "--out", tmp_path / "R.md")
    assert answer.exit_code != 0 and not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["time_to_quality", "stopping", "speed"])
def test_bad_input_is_one_line(name, tmp_path):
    made = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", "--image", "no-such", "--results", tmp_path],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert made.returncode == 1 and made.stderr.startswith("error: ")
    assert made.stderr.count("\n") == 1 and "Traceback" not in made.stderr


def test_the_speed_of_an_iteration_is_told_beside_a_plain_loop(tmp_path):
    _, run = command("speed")
    small = ["--size", 32, "--iterations", 8, "--no-compiled"]
    answer = run(*small, "--results", tmp_path, "--out", tmp_path / "out.md")
    assert answer.exit_code == 0, answer.output
    table = pd.read_csv(tmp_path / "camera-32-cpu.csv", index_col=0)
    assert list(table.index) == [
        "plain loop", "fit, float32", "fit, auto", "2 fits at once, auto",
    ]  # fmt: skip
    assert table["times faster"].iloc[0] == 1 and (table["s/iteration"] > 0).all()
    assert (table.PSNR > 5).all() and table.PSNR.max() - table.PSNR.min() < 3  # the same fit
    assert "## seconds an iteration, camera-32-cpu\n" in (tmp_path / "out.md").read_text("utf-8")
    assert (tmp_path / "camera-32-cpu.png").stat().st_size > 10_000
