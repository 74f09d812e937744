"""Pages and panels without a browser, through `.value = ...` and `.click()`."""

import base64
import datetime
import io
import json
import re
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

import diplearn as dip
from diplearn import images, recipes, widgets
from diplearn.fitting import fit
from diplearn.widgets import live, page, play, plot

ipywidgets = pytest.importorskip("ipywidgets")
SEVEN = ipywidgets.__version__.startswith("7.")  # Colab's: the tests pass with both


@pytest.fixture(scope="module")
def run():
    problem = dip.denoising(images.load("chelsea", size=48), sigma=25 / 255)
    return fit(problem, recipes.lab(members=1), iterations=30, progress=False)


def decoded(source):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


# Pages.


def test_scrub_holds_frames_captions_and_marks(run):
    data = widgets.scrub(run, marks={"mine": 5}, frames=8).data
    assert data["positions"] == sorted(set(data["positions"])) and data["positions"][0] == 1
    observation, restored, truth = data["panes"]
    assert [observation["still"], truth["still"]] == ["observation", "truth"]
    assert len(restored["frames"]) == len(restored["captions"]) == len(data["positions"])
    assert len(data["positions"]) <= 8 + 3
    marks = {mark["name"]: mark for mark in data["marks"]}
    assert set(marks) == {"count", "oracle", "mine"} and marks["mine"]["iteration"] == 5
    assert data["positions"][marks["mine"]["at"]] == 5
    chosen = decoded(restored["frames"][marks["count"]["at"]]).astype(int)
    assert np.abs(chosen - images.to_uint8(run.output)).mean() < 5
    assert f"{run.psnr:.2f} dB" in restored["captions"][marks["count"]["at"]]
    assert data["positions"][data["start"]] == run.chosen_at


def test_frames_are_the_runs_own_snapshots(run):
    data = widgets.scrub(run, frames=6).data
    first = decoded(data["panes"][1]["frames"][0]).astype(int)
    assert np.abs(first - run.snapshots[1]).mean() < 10  # noise, as JPEG
    assert np.abs(first - run.snapshots[run.stopped_at]).mean() > 10


def test_scrub_lays_runs_side_by_side(run):
    data = widgets.scrub({"a": run, "b": run}, frames=5).data
    assert [pane["title"] for pane in data["panes"]] == ["a", "b"]
    assert data["marks"] == []
    assert [series["name"] for series in data["charts"][0]["series"]] == ["a", "b"]


def test_without_a_truth_there_is_no_psnr_and_no_oracle():
    problem = dip.Problem(images.load("camera", size=32))
    run = fit(problem, recipes.lab(members=1), iterations=5, progress=False)
    data = widgets.scrub(run).data
    assert [chart["label"] for chart in data["charts"]] == ["energy E"]
    assert [mark["name"] for mark in data["marks"]] == ["count"]
    assert len(data["panes"]) == 2


def test_a_smaller_observation_is_shown_but_not_subtracted():
    problem = dip.super_resolution(images.load("camera", size=64))
    run = fit(problem, recipes.lab("super_resolution", members=1), iterations=3, progress=False)
    assert widgets.scrub(run).data["panes"][0]["still"] == "small"
    assert widgets.compare(problem.observation, run.output).data["width"] == 64


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda run: widgets.scrub({}), "no run"),
        (lambda run: widgets.scrub("run.dip"), "what dip.fit returns"),
        (lambda run: widgets.scrub(dip.Run(run.problem, run.recipe)), "have begun"),
        (lambda run: widgets.scrub(run, frames=1), "frames=1"),
        (lambda run: widgets.scrub(run, marks={"far": 31}), "the mark 'far'=31"),
        (
            lambda run: widgets.compare(torch.zeros(1, 32, 32), torch.zeros(1, 32, 64)),
            "cannot be laid",
        ),
    ],
    ids=["none", "a name", "not begun", "one frame", "a mark beyond", "two shapes"],
)
def test_pages_refuse_what_they_cannot_show(run, wrong, words):
    with pytest.raises(dip.InputError, match=words):
        wrong(run)


def test_a_page_is_whole_and_stays_the_same(run, tmp_path):
    shown = widgets.scrub(run, marks={"</script><b>": 7}, frames=5)
    html = shown._repr_mimebundle_()["text/html"]
    assert (
        html
        == widgets.scrub(run, marks={"</script><b>": 7}, frames=5)._repr_mimebundle_()["text/html"]
    )
    assert html.count("<script>") == html.count("</script>") == 1
    assert "http:" not in html and "https:" not in html, "a page must not need the network"
    assert 'alt="' in html and "aria-label" in html
    data = re.search(r'start\("scrub", "\w+", (\{.*\})\);\n', html).group(1)
    assert json.loads(data) == json.loads(json.dumps(shown.data))
    shown.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
    with pytest.raises(dip.InputError):
        shown.save(tmp_path / "missing" / "page.html")


def test_a_page_is_small(run):
    assert len(widgets.scrub(run)._html()) < 250_000


def test_impedance_takes_runs(run):
    targets = dip.problems.impedance(images.load("camera", size=32))
    assert list(targets) == ["picture", "picture + noise", "shuffled pixels", "noise"]
    picture, shuffled = targets["picture"].observation, targets["shuffled pixels"].observation
    assert torch.equal(picture.flatten().sort().values, shuffled.flatten().sort().values)
    assert not torch.equal(picture, shuffled)
    recipe = recipes.lab(members=1, input_noise=0.0)
    runs = {k: fit(v, recipe, stop=3, progress=False) for k, v in targets.items()}
    assert len(widgets.impedance(runs).data["panes"]) == 4


@pytest.mark.parametrize("values", [[1.0], [3.0, 3.0], [1e-9, 5.0], [-2.0, 40.0]])
def test_a_plot_survives_its_values(values):
    series = [{"name": "a", "colour": "red", "points": list(enumerate(values, 1))}]
    drawn = plot.plot("PSNR", series, log=min(values) > 0)
    assert "nan" not in drawn and "polyline" in drawn
    assert plot.plot("PSNR", []).startswith("<svg")


def test_runs_side_by_side_rest_half_way_where_they_differ():
    targets = dip.problems.impedance(images.load("camera", size=48))
    recipe = recipes.lab(members=1, input_noise=0.0, iterations=120, stop="count")
    runs = {n: fit(targets[n], recipe, progress=False) for n in ("picture", "noise")}
    data = widgets.impedance(runs, frames=16).data
    rests = data["positions"][data["start"]]
    assert 5 < rests < 40
    lead = runs["noise"].history.loss - runs["picture"].history.loss
    assert lead[rests] > 5 * lead[1] and lead[rests] > 1.2 * lead[120]


# Panels.


def status(panel):
    return re.sub("<.*?>", "", panel.status.value)


@pytest.fixture
def panel():
    made = live.watch(size=64, iterations=12)
    made.recipe.value = "lab"
    made.iterations.value = 12
    yield made
    made.stop.click()
    made._join()


def test_start_fits_and_shows(panel):
    before = panel.restored.value
    assert panel.pause.disabled and panel.stop.disabled and not panel.start.disabled
    panel.start.click()
    assert panel.start.disabled and not panel.stop.disabled
    run = panel.run
    assert run.stopped_at == 12 and status(panel).startswith("iteration 12: done")
    assert panel.restored.value != before and "<polyline" in panel.curves.value
    assert not panel.start.disabled and panel.stop.disabled


def test_a_watched_fit_is_the_same_fit(panel):
    run = panel.fit()
    problem = dip.denoising(images.load("astronaut", size=64), 25 / 255, seed=0)
    alone = fit(problem, "lab", iterations=12, progress=False)
    assert torch.equal(run.output, alone.output)


def test_a_larger_count_goes_on_with_the_same_fit(panel):
    first = panel.fit().history.copy()
    panel.start.click()
    assert "12 iterations are made" in status(panel)
    panel.iterations.value = 20
    panel.start.click()
    history = panel.run.history
    assert len(history) == 20 and history.loss[:12].equals(first.loss)
    straight = fit(panel.run.problem, "lab", iterations=20, progress=False)
    assert history.loss.equals(straight.history.loss)


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_pause_step_and_stop(panel):
    panel.iterations.value = 2000
    panel.start.click()
    until(lambda: panel._run is not None and panel._run.stopped_at > 3)
    panel.pause.click()
    paused = panel.run.stopped_at
    assert 3 < paused < 2000 and "paused" in status(panel)
    panel.step.click()
    assert panel.run.stopped_at == paused + 1 and "paused" in status(panel)
    panel.start.click()
    until(lambda: panel._run.stopped_at > paused + 3)
    panel.stop.click()
    stopped = panel.run.stopped_at
    assert paused + 3 < stopped < 2000 and len(panel.run.history) == stopped
    assert panel.run.output is not None


def test_the_slider_reaches_a_running_fit(panel):
    panel.iterations.value = 2000
    panel.start.click()
    until(lambda: panel._run is not None and panel._run.stopped_at > 3)
    panel.iterations.value = panel._run.stopped_at + 5
    until(lambda: not panel.running)
    assert panel.run.stopped_at < 100
    assert "done" in status(panel)


def test_a_fit_that_waits_ends_with_stop_even_when_paused(panel):
    panel.iterations.value = 2000
    panel.start.click()
    until(lambda: panel._run is not None)
    panel.pause.click()
    panel._join()
    threading.Timer(0.2, panel.stop.click).start()
    begun = time.monotonic()
    assert panel.fit().stopped_at < 2000
    assert 0.1 < time.monotonic() - begun < 10


def test_other_settings_begin_another_fit(panel):
    panel.fit()
    panel.seed.value = 1
    assert "new fit" in status(panel)
    panel.start.click()
    run = panel.run
    assert run.seed == 1 and run.stopped_at == 12


def test_restart_begins_again(panel):
    first = panel.fit()
    panel.restart.click()
    second = panel.run
    assert second is not first and second.history.loss.equals(first.history.loss)


def test_every_task_and_recipe_can_be_shown(panel):
    for task in panel.task.options:
        panel.task.value = task
        assert "Start" in status(panel), task
    panel.recipe.value = "paper"
    assert panel.iterations.value == recipes.paper("jpeg").iterations
    panel.network.value = "decoder"
    assert panel._recipe(panel._problem()).network == "decoder"


def test_what_goes_wrong_is_said_and_the_panel_lives_on():
    broken = live.watch(dip.Problem(torch.rand(1, 32, 32)), recipes.lab(z="given"), iterations=3)
    broken.start.click()
    broken._join()
    assert "hand it in" in status(broken) and not broken.start.disabled
    with pytest.raises(dip.InputError, match="hand it in"):
        broken.fit()


def test_one_panel_at_a_time(panel):
    other = live.watch(size=64, iterations=2000)
    other.start.click()
    until(lambda: other._run is not None)
    panel.start.click()
    assert not other.running and "paused" in status(other)
    assert panel.run.stopped_at == 12


def test_it_may_stop_by_itself():
    problem = dip.denoising(images.load("rocket", size=48), sigma=50 / 255)
    panel = live.watch(problem, recipes.lab(members=2), iterations=400)
    panel.alone.value = True
    run = panel.fit()
    assert run.stopped_by == "sure" and run.stopped_at < 400
    assert "stopped by itself (sure)" in status(panel)
    assert panel.picture not in panel.controls.children  # the problem was given


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"problem": torch.zeros(1, 32, 32)}, "takes a problem"),
        ({"iterations": 0}, "iterations=0"),
        ({"seed": -1}, "seed=-1"),
        ({"recipe": "fast"}, "no recipe is called"),
        ({"size": 5}, "size=5"),
    ],
)
def test_watch_refuses_before_it_shows(arguments, words):
    with pytest.raises(dip.InputError, match=words):
        live.watch(**arguments)


def test_looking_on_costs_little(panel):
    """Eight pictures a second may take a tenth of the time: 12 ms each."""
    run = panel.fit()
    begun = time.thread_time()
    for _ in range(20):
        panel._paint(run, panel._pace(run))
    assert (time.thread_time() - begun) / 20 < 0.012


def test_moving_sliders_leaves_no_memory_behind(panel):
    known = ipywidgets.Widget.widgets if SEVEN else ipywidgets.widgets.widget._instances
    before = len(known)
    for value in range(200):
        panel.noise.value = 5 * (value % 15)
    assert len(known) == before


@pytest.mark.skipif(SEVEN, reason="ipywidgets 7 shows itself, and asks for no other form")
def test_a_page_without_a_kernel_says_what_a_panel_is(panel):
    assert "kernel" in panel._repr_mimebundle_()["text/html"]


# Playground.


def upload(page_, data):
    """Do what the page does when a file was chosen, in ipywidgets 7 as in 8."""
    about = {"name": "mine.png", "type": "image/png", "size": len(data)}
    if SEVEN:
        page_.upload.set_trait("value", {"mine.png": {"metadata": about, "content": data}})
    else:
        now = datetime.datetime.now(datetime.UTC)
        page_.upload.value = (about | {"content": memoryview(data), "last_modified": now},)


def as_png(array):
    memory = io.BytesIO()
    Image.fromarray(array).save(memory, format="PNG")
    return memory.getvalue()


def painted(height, width):
    """What the page sends after a stroke: a transparent picture with something painted on it."""
    hole = np.zeros((height, width, 4), np.uint8)
    hole[10:20, 10:30] = 255
    return "data:image/png;base64," + base64.b64encode(as_png(hole)).decode()


def test_playground_uploads_marks_fits_and_offers():
    page_ = play.playground(size=96)
    mine = images.to_uint8(images.load("coffee", size=64))
    upload(page_, as_png(mine))
    assert "64×64 pixels" in page_.told.value
    page_.task.value = play.HOLE
    assert "Paint the hole first" in status(page_.panel)
    page_.mark.hole = painted(64, 64)
    assert "Start begins" in status(page_.panel)
    page_.panel.iterations.value = 8
    assert "download=" not in page_.download.value
    page_.panel.start.click()
    run = page_.panel.run
    known = run.problem.operator.known
    assert known.shape[-2:] == (64, 64) and int((known == 0).sum()) == 200
    until(lambda: "download=" in page_.download.value)
    assert decoded(re.search(r'href="([^"]*)"', page_.download.value).group(1)).shape == (64, 64, 3)
    page_.clear.click()
    assert "Paint the hole first" in status(page_.panel)
    assert "download=" not in page_.download.value


def test_playground_says_what_is_wrong_with_a_file():
    page_ = play.playground()
    upload(page_, b"no picture")
    assert "the uploaded file" in page_.told.value and "/tmp" not in page_.told.value
    page_.bundled.value = "coffee"
    assert "pixels are worked on" in page_.told.value


@pytest.mark.parametrize("task", [play.NOISY, play.NOISE, play.SMALL])
def test_playground_makes_each_problem(task):
    page_ = play.playground(size=96)
    page_.task.value = task
    problem = page_.panel._problem()
    assert (problem.truth is not None) == (task == play.NOISE)
    assert problem.shape[-1] == (192 if task == play.SMALL else 96)


def test_uploads_of_ipywidgets_7_are_read_too():
    class Old:
        value = {"a.png": {"content": b"abc"}}

    assert play._uploaded(Old) == b"abc"


def test_jpeg_bytes_of_grey_and_colour():
    for channels in (1, 3):
        made = Image.open(io.BytesIO(page.jpeg_bytes(torch.rand(channels, 16, 24))))
        assert made.size == (24, 16)
