"""The benchmarks run, resume, and say what they measured."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

import diplearn as dip
from diplearn import baselines, images, noise, stopping

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
    assert set(noisy.rule) == set(stopping.BY_NAME) - {"fusion"}
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


@pytest.mark.parametrize("name", ["time_to_quality", "stopping", "speed", "denoising"])
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


@pytest.fixture
def denoising(monkeypatch, tmp_path):
    """The comparison of denoisers; a faster method plays BM3D, which takes seconds per image."""
    monkeypatch.setattr(baselines, "bm3d", baselines.non_local_means)
    module, run = command("denoising")
    small = ["--size", 32, "--iterations", 12, "--results", tmp_path / "store"]
    return module, lambda *more: run(*small, "--out", tmp_path / "R.md", *more), tmp_path


def test_all_denoisers_are_compared(denoising):
    module, run, folder = denoising
    answer = run("--image", "coffee", "--sigma", 25, "--seeds", 1)
    assert answer.exit_code == 0, answer.output
    rows = pd.read_csv(folder / "denoisers-at-32x32.csv").set_index(["image", "seed", "method"])
    assert len(rows) == len(module.METHODS) and rows.index.is_unique
    clean = images.load("coffee", size=32)
    problem = dip.denoising(clean, 25 / 255, seed=0)
    row = rows.loc["coffee", 0, "noisy"]
    assert row.psnr == pytest.approx(dip.psnr(problem.observation, clean), abs=1e-3)
    assert row.ssim == pytest.approx(dip.ssim(problem.observation, clean), abs=1e-4)
    fit = dip.fit(problem, dip.recipes.guided(iterations=12), seed=0, progress=False)
    row = rows.loc["coffee", 0, "guided"]
    assert row.weight == pytest.approx(fit.rule.weight, abs=0.02)
    assert row.psnr == pytest.approx(fit.psnr, abs=0.05)
    rules = rows.loc["coffee", 0].rule
    assert rules["lab"] == "sure" and rules["guided"] == rules["guided with BM3D"] == "fusion"
    assert (rows.seconds > 0).all() and rows.weight.notna().sum() == 2
    told = (folder / "R.md").read_text("utf-8")
    assert "## denoisers at 32x32\n" in told and "- guided − BM3D unclipped: " in told
    assert "| method | coffee | mean | spread | SSIM | CPU seconds | peak MB |" in told
    assert "| σ = 25 | guided with BM3D |" in told and "at most 12 iterations" in told
    assert (folder / "denoisers-at-32x32.png").stat().st_size > 10_000


def test_each_case_has_its_own_image_level_and_noise(denoising):
    _, run, folder = denoising
    names = ["--image", "camera", "--image", "coffee"]
    assert run(*names, "--sigma", 25, "--sigma", 50, "--method", "noisy").exit_code == 0
    rows = pd.read_csv(folder / "denoisers-at-32x32.csv")
    assert len(rows) == 2 * 2 * 3
    for row in rows.itertuples():
        problem = dip.denoising(images.load(row.image, size=32), row.level / 255, row.seed)
        assert row.psnr == pytest.approx(dip.psnr(problem.observation, problem.truth), abs=1e-3)


def test_bm3d_is_corrected_only_where_noise_was_clipped(denoising):
    module, _, _ = denoising
    problem = dip.denoising(images.load("coffee", size=64), 50 / 255)
    image, told = module.METHODS["BM3D unclipped"](problem, 0, None)
    plain, _ = module.METHODS["BM3D"](problem, 0, None)
    assert told["black"] and (image - plain).abs().max() > 0.02
    assert image.equal(noise.unclip(plain, 50 / 255, **told))
    grey = dip.denoising(0.4 + 0.2 * problem.truth, 0.05)
    image, told = module.METHODS["BM3D unclipped"](grey, 0, None)
    assert told == {"black": False, "white": False}
    plain, _ = module.METHODS["BM3D"](grey, 0, None)
    assert (image - plain).abs().max() < 1e-6


def test_tables_of_denoisers_say_what_the_rows_say(denoising):
    module, _, _ = denoising
    psnr = {  # method -> image -> seed
        "BM3D": {"a": (30.0, 30.2), "b": (20.0, 20.0)},
        "guided": {"a": (31.0, 31.4), "b": (19.5, 19.9)},
    }
    rows = pd.DataFrame(
        {"image": image, "seed": seed, "method": method, "psnr": value}
        for method, of_image in psnr.items()
        for image, values in of_image.items()
        for seed, value in enumerate(values)
    ).assign(ssim=0.9, cpu_seconds=[1, 2, 3, 4, 5, 6, 7, 8], peak_mb=400.0, level=25)
    table = module.shown(module.table(rows))
    assert table.loc["BM3D"].to_list() == [
        "30.10", "20.00", "25.05", "0.07", "0.900", "2.5", "400",
    ]  # fmt: skip
    assert table.loc["guided", "mean"] == "25.45" and table.loc["guided", "spread"] == "0.28"
    assert module.difference(rows, "guided", "BM3D") == (
        "guided − BM3D: +0.40 ± 0.21 dB; worst image: b, -0.30 dB; ahead on 1 of 2."
    )
    once = module.shown(module.table(rows[rows.seed == 0]))
    assert once.loc["guided", "spread"] == ""
    assert "±" not in module.difference(rows[rows.seed == 0], "guided", "BM3D")


def test_denoisers_resume_and_know_one_image_from_another(denoising, tmp_path):
    _, run, folder = denoising
    (tmp_path / "other").mkdir()
    paths = [tmp_path / "same.png", tmp_path / "other" / "same.png"]
    for name, path in zip(("coffee", "chelsea"), paths):
        images.write(images.load(name, size=48), path)
    these = ["--image", paths[0], "--image", paths[1], "--sigma", 25, "--seeds", 1]
    fast = [*these, "--method", "noisy", "--method", "total variation"]

    def stored():
        return {path: path.stat().st_mtime_ns for path in (folder / "store").glob("*.json")}

    assert run(*fast).exit_code == 0
    before = stored()
    gone = min(before)
    gone.write_text("{}")
    assert run(*fast).exit_code == 0
    after = stored()
    assert set(after) == set(before) and len(after) == 4  # two images of one name
    assert [path for path in after if after[path] != before[path]] == [gone]
    for more in (["--grey"], ["--seeds", 2], ["--sigma", 50], ["--size", 48]):
        number = len(stored())
        assert run(*fast, *more).exit_code == 0
        assert len(stored()) == number + 4
    assert all(path.stat().st_mtime_ns == at for path, at in after.items())
    images.write(images.load("astronaut", size=48), paths[0])  # another image in the same file
    number = len(stored())
    assert run(*fast).exit_code == 0
    assert len(stored()) == number + 2
    told = (folder / "R.md").read_text("utf-8")
    assert "## denoisers at 32x32, grey\n" in told and "## denoisers at 48x48\n" in told


def test_an_interrupted_fit_is_not_stored(denoising, monkeypatch):
    module, run, folder = denoising
    real = dip.fit

    def interrupted(*arguments, **options):
        return real(*arguments, **options, halt=lambda: True)

    monkeypatch.setattr(module.dip, "fit", interrupted)
    answer = run("--image", "camera", "--sigma", 25, "--method", "noisy", "--method", "lab")
    assert answer.exit_code != 0
    assert [path.stem for path in (folder / "store").glob("*.json")] == [
        "camera-32-12-gaussian-25-0-noisy"
    ]


def test_denoisers_of_a_camera_s_noise(denoising):
    module, run, folder = denoising
    answer = run("--camera", "--image", "coffee", "--seeds", 1, "--label", "one image")
    assert answer.exit_code == 0, answer.output
    rows = pd.read_csv(folder / "denoisers-on-a-camera-at-32x32-one-image.csv")
    assert set(rows.method) == set(module.ON_CAMERA) and set(rows["noise level"]) == {
        "ISO 1600", "ISO 6400",
    }  # fmt: skip
    psnr = rows.pivot_table("psnr", "level", "method")
    assert (psnr["BM3D chosen by the truth"] >= psnr["BM3D"]).all()  # the grid contains the level
    assert psnr.noisy[1600] > psnr.noisy[6400] + 1
    rules = rows.set_index(["level", "method"]).rule
    assert set(rules[:, "lab chosen by the truth"]) == {"oracle"}
    assert set(rules[:, "lab"]) == {"hold-out"}
    told = (folder / "R.md").read_text("utf-8")
    assert "lab − BM3D chosen by the truth: " in told and "ISO 6400:" in told


def test_a_file_s_luma_is_that_of_its_colours(denoising, tmp_path):
    module, _, _ = denoising
    green = torch.zeros(3, 32, 32)
    green[1] = 1
    images.write(green, tmp_path / "green.png")
    luma = module.load(str(tmp_path / "green.png"), 32, grey=True)
    assert luma.shape == (1, 32, 32) and luma[0, 0, 0].item() == pytest.approx(0.587)


def test_denoisers_that_do_not_apply_cost_nothing(denoising):
    _, run, folder = denoising
    assert "no method" in run("--method", "nonsense").output
    assert "no method" in run("--camera", "--method", "guided with BM3D").output
    assert "leave --sigma out" in run("--camera", "--sigma", 25).output
    assert run("--image", "no-such").exit_code != 0
    assert not (folder / "store").exists()
