"""The benchmarks run, resume, and say what they measured."""

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from diplearn import stopping

FOLDER = Path(__file__).parents[1] / "benchmarks"


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
    small = ["--picture", "camera", "--size", 32, "--times", 0.12, "--results", folder]
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
    gone.unlink()
    assert run(*arguments).exit_code == 0
    after = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert set(after) == set(before)
    assert [path for path in after if after[path] != before[path]] == [gone]


@pytest.mark.parametrize(
    "wrong",
    [("--task", "gaussian-26"), ("--picture", "no-such"), ("--report", "--seeds", 1)],
    ids=["task", "picture", "nothing stored"],
)
def test_bad_input_ends_before_the_work(tmp_path, wrong):
    _, run = command("stopping")
    answer = run("--results", tmp_path / "results", *wrong)
    assert answer.exit_code != 0
    assert not list(tmp_path.rglob("*.json"))
