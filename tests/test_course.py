"""The course part: the method does not need it, and what it stores can be read."""

import ast
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import diplearn as dip
from diplearn.course import data

ROOT = Path(dip.__file__).parent


def test_the_method_stands_alone():
    """Nothing outside `course` imports from it."""
    for path in set(ROOT.rglob("*.py")) - set((ROOT / "course").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert "course" not in imported, path


def test_the_stored_results_are_there():
    with np.load(data.path("overfitting.npz")) as record:
        assert {"curve", "image_100", "image_50000"} <= set(record)
    assert {"label", "image", "seed", "psnr"} <= set(pd.read_csv(data.path("ablation.csv")))
    assert {"rule", "gap", "stopped_at"} <= set(pd.read_csv(data.path("stopping.csv")))


def test_every_best_learning_rate_has_a_worse_one_on_either_side():
    table = pd.read_csv(data.path("learning_rates.csv"))
    for case, rows in table.groupby(["image", "family", "optimiser"]):
        mean = rows.groupby("rate").peak.mean()
        assert mean.index.min() < mean.idxmax() < mean.index.max(), case
        assert (rows["at"] < rows.iterations).all(), case


@pytest.mark.parametrize(("task", "picture"), data.SHOWN.items())
def test_the_images_at_full_size_have_the_scores_of_the_table(task, picture):
    images, table = data.full_size(task)
    clean = dip.images.shrink(dip.images.load(picture), 512)
    assert images["truth"].equal(clean) and set(table.index) == set(images) - {"truth", "x₀"}
    how = {"luma": True, "shave": 4} if task == "super_resolution" else {}
    scores = pd.read_csv(data.path("full_size/scores.csv"))
    scores = scores[(scores.task == task) & (scores.picture == picture) & (scores.seed == 0)]
    scores = scores[scores["size"] == "x".join(map(str, clean.shape[1:]))].set_index("method")
    for method in table.index:
        image = images[method]
        assert image.shape == clean.shape and 0 <= image.min() <= image.max() <= 1
        lost = scores.psnr[method] - dip.psnr(image, clean, **how)  # by JPEG
        assert -0.05 < lost < 0.25, method
        assert dip.ssim(image, clean, **how) == pytest.approx(scores.ssim[method], abs=0.02), method
        if table.seeds[method] > 1:
            assert 0 < table.psnr_std[method] < 1
            assert table.psnr[method] == pytest.approx(scores.psnr[method], abs=1)


def test_full_size_says_what_there_is():
    with pytest.raises(dip.InputError, match="denoising"):
        data.full_size("deblurring")


def test_the_images_at_full_size_take_little_space():
    files = list(data.path("full_size").iterdir())
    assert {file.suffix for file in files} == {".jpg", ".csv"}
    assert sum(file.stat().st_size for file in files) < 2.5e6


@pytest.mark.parametrize("task", ["denoising", "super_resolution"])
def test_all_that_the_benchmark_tries_is_stored(task, monkeypatch):
    folder = Path(__file__).parents[1] / "benchmarks"
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    spec = importlib.util.spec_from_file_location("full_size", folder / "full_size.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    stored = pd.read_csv(data.path("full_size/scores.csv")).query("task == @task")
    found = {(row.picture, row.method, row.seed) for row in stored.itertuples()}
    assert found == {(case.picture, case.method, case.seed) for case in benchmark.plan(task, 3)}
    assert len(stored) == len(benchmark.plan(task, 3))
