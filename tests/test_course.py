"""The course part: the method does not need it, and what it stores can be read."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd

import diplearn
from diplearn.course import data

ROOT = Path(diplearn.__file__).parent


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
