"""Pages and panels without a browser, through `.value = ...` and `.click()`."""

import base64
import io
import json
import re
import threading
import time
import types

import numpy as np
import pytest
import torch
from PIL import Image

import diplearn as dip
from diplearn import images, operators, recipes, widgets
from diplearn.figures import RULE_COLOURS
from diplearn.fitting import fit
from diplearn.widgets import chart, controls, live, page, play
from diplearn.widgets import upload as upload_module

ipywidgets = pytest.importorskip("ipywidgets")
SEVEN = ipywidgets.__version__.startswith("7.")  # Colab's: the tests pass with both


@pytest.fixture(scope="module")
def run():
    problem = dip.denoising(images.load("chelsea", size=48), sigma=25 / 255)
    return fit(problem, recipes.lab(members=1), iterations=30, progress=False)


def decoded(source):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


# Pages.


def jumps(data):
    """The buttons of a page: name -> the iteration that they go to."""
    found = re.findall(r'data-at="(\d+)" data-jump="([^"]*)"', data["markup"])
    return {name: data["positions"][int(at)] for at, name in found}


def test_scrub_holds_frames_captions_and_marks(run):
    data = widgets.scrub(run, marks={"mine": 5}, frames=8).data
    assert data["positions"] == sorted(set(data["positions"])) and data["positions"][0] == 1
    observation, restored, truth = data["panes"]
    assert observation["subtracted"] and truth["subtracted"] and "subtracted" not in restored
    assert len(restored["frames"]) == len(restored["captions"]) == len(data["positions"])
    assert len(data["positions"]) <= 8 + 3
    assert jumps(data) == {"count": run.chosen_at, "oracle": run.oracle_at, "mine": 5}
    assert data["positions"][data["start"]] == run.chosen_at
    chosen = decoded(restored["frames"][data["start"]]).astype(int)
    assert np.abs(chosen - images.to_uint8(run.output)).mean() < 5
    assert f"{run.psnr:.2f} dB" in restored["captions"][data["start"]]


def test_a_mark_of_ones_own_has_no_colour_of_a_rule_that_is_shown(run):
    marks = page._marks(run, run.stopped_at, {"mine": 5, "es-wmv": 3, "yours": 6})
    colours = {name: colour for name, _, colour in marks}
    assert len(set(colours.values())) == len(colours) == 5
    assert all(colours[name] == RULE_COLOURS[name] for name in ("es-wmv", "oracle"))


def test_frames_are_the_runs_own_snapshots(run):
    data = widgets.scrub(run, frames=6).data
    first = decoded(data["panes"][1]["frames"][0]).astype(int)
    assert np.abs(first - run.snapshots[1]).mean() < 10  # noise, as JPEG
    assert np.abs(first - run.snapshots[run.stopped_at]).mean() > 10


def test_scrub_lays_runs_side_by_side(run):
    data = widgets.scrub({"a": run, "b": run}, frames=5).data
    assert [pane["title"] for pane in data["panes"]] == ["a", "b"]
    assert jumps(data) == {} and "</i>a</span>" in data["markup"]
    [energy, psnr] = data["charts"]
    assert len(energy) == len(psnr) == 1 + 2  # the line, and a dot for each run
    assert all(len(path) == len(data["positions"]) for path in energy)


def test_without_a_truth_there_is_no_psnr_and_no_oracle():
    problem = dip.Problem(images.load("camera", size=32))
    run = fit(problem, recipes.lab(members=1), iterations=5, progress=False)
    data = widgets.scrub(run).data
    assert len(data["charts"]) == 1 and "energy E" in data["markup"]
    assert list(jumps(data)) == ["count"]
    assert len(data["panes"]) == 2


def test_a_smaller_observation_is_shown_but_not_subtracted():
    problem = dip.super_resolution(images.load("camera", size=64))
    run = fit(problem, recipes.lab("super_resolution", members=1), iterations=3, progress=False)
    data = widgets.scrub(run).data
    assert [pane.get("subtracted") for pane in data["panes"]] == [False, None, True]
    assert "its difference from the truth" in data["markup"]
    assert "its difference from the observation" not in data["markup"]
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
    assert list(targets) == ["image", "image + noise", "shuffled pixels", "noise"]
    image, shuffled = targets["image"].observation, targets["shuffled pixels"].observation
    assert torch.equal(image.flatten().sort().values, shuffled.flatten().sort().values)
    assert not torch.equal(image, shuffled)
    recipe = recipes.lab(members=1, input_noise=0.0)
    runs = {k: fit(v, recipe, stop=3, progress=False) for k, v in targets.items()}
    assert len(widgets.impedance(runs).data["panes"]) == 4


def test_names_may_be_anything(run):
    """Numbers, as dip.fits is often given; and what would be markup, were it not escaped."""
    shown = widgets.scrub({0: run, 1: run, "<b>": run}, marks={3: 2}, frames=4)
    assert [pane["title"] for pane in shown.data["panes"]] == ["0", "1", "<b>"]
    assert list(jumps(shown.data)) == ["3"]
    html = shown._html()
    assert "<b>" not in html.replace(page.asset("page.js"), "") and "0, 1, &lt;b&gt;" in html
    markup = widgets.scrub({"<u>": run, "<s>": run}, marks={"<tt>": 2}, frames=4).data["markup"]
    assert not re.search("<(u|s|tt)>", markup) and {"&lt;u&gt;", "&lt;tt&gt;"} <= set(
        re.findall("&lt;[a-z]*&gt;", markup)
    )
    assert "<u>" not in widgets.compare(run.output, run.output, ("<u>", "b")).data["markup"]


@pytest.mark.parametrize("values", [[1.0], [3.0, 3.0], [1e-9, 5.0], [0.02, 0.03], [-2.0, 40.0]])
def test_a_chart_survives_its_values(values):
    curve = chart.Curve("a", "red", list(enumerate(values, 1)))
    drawn = chart.Chart("PSNR", [curve], log=min(values) > 0)
    words = drawn.draw()
    assert "nan" not in words and "<polyline" in words and 'text-anchor="end">' in words
    assert drawn.draw(line=True).count("dip-moves") == words.count("dip-moves") + 1
    line, dots = drawn.paths([1, 2, 9])
    assert [x for x, _ in line] == [drawn.x(1), drawn.x(2), drawn.x(9)]
    assert dots[0] == [drawn.x(1), drawn.y(values[0])]
    assert dots[2] == [drawn.x(len(values)), drawn.y(values[-1])]  # the nearest there is


def test_the_parts_that_a_page_moves_are_as_many_as_their_paths(run):
    for shown in (widgets.scrub(run, frames=4), widgets.scrub({"a": run, "b": run}, frames=4)):
        drawn = shown.data["markup"].split("<svg")[1:]
        assert [svg.count("dip-moves") for svg in drawn] == list(map(len, shown.data["charts"]))


def test_runs_side_by_side_rest_half_way_where_they_differ():
    targets = dip.problems.impedance(images.load("camera", size=48))
    recipe = recipes.lab(members=1, input_noise=0.0, iterations=120, stop="count")
    runs = {n: fit(targets[n], recipe, progress=False) for n in ("image", "noise")}
    data = widgets.impedance(runs, frames=16).data
    rests = data["positions"][data["start"]]
    assert 5 < rests < 40
    lead = runs["noise"].history.loss - runs["image"].history.loss
    assert lead[rests] > 5 * lead[1] and lead[rests] > 1.2 * lead[120]


# Panels.


def status(panel):
    return re.sub("<.*?>", "", panel.views.status.value)


@pytest.fixture
def panel():
    made = live.watch(size=64, iterations=12)
    made.controls.recipe.value = "lab"
    made.controls.iterations.value = 12
    yield made
    made.stop.click()
    made.worker.join()


def test_start_fits_and_shows(panel):
    before = panel.views.restored.value
    assert panel.pause.disabled and panel.stop.disabled and not panel.start.disabled
    panel.start.click()
    assert panel.start.disabled and not panel.stop.disabled
    run = panel.run
    assert run.stopped_at == 12 and status(panel).startswith("iteration 12: done")
    assert panel.views.restored.value != before and "<polyline" in panel.views.curves.value
    assert not panel.start.disabled and panel.stop.disabled


def test_a_watched_fit_is_the_same_fit(panel):
    run = panel.fit()
    problem = dip.denoising(images.load("astronaut", size=64), 25 / 255, seed=0)
    alone = fit(problem, "lab", iterations=12, progress=False)
    assert torch.equal(run.output, alone.output)


def test_a_larger_count_goes_on_with_the_same_fit(panel):
    first = panel.fit().history.copy()
    panel.start.click()
    assert "12 iterations have been made" in status(panel)
    panel.controls.iterations.value = 20
    panel.start.click()
    history = panel.run.history
    assert len(history) == 20 and history.loss[:12].equals(first.loss)
    straight = fit(panel.run.problem, "lab", iterations=20, progress=False)
    assert history.loss.equals(straight.history.loss)


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_pause_step_and_stop(panel):
    panel.controls.iterations.value = 2000
    panel.start.click()
    until(lambda: panel.worker.run is not None and panel.worker.run.stopped_at > 3)
    panel.pause.click()
    paused = panel.run.stopped_at
    assert 3 < paused < 2000 and "paused" in status(panel)
    panel.step.click()
    assert panel.run.stopped_at == paused + 1 and "paused" in status(panel)
    panel.start.click()
    until(lambda: panel.worker.run.stopped_at > paused + 3)
    panel.stop.click()
    stopped = panel.run.stopped_at
    assert paused + 3 < stopped < 2000 and len(panel.run.history) == stopped
    assert panel.run.output is not None


def test_the_slider_reaches_a_running_fit(panel):
    panel.controls.iterations.value = 2000
    panel.start.click()
    until(lambda: panel.worker.run is not None and panel.worker.run.stopped_at > 3)
    panel.controls.iterations.value = panel.worker.run.stopped_at + 5
    until(lambda: not panel.running)
    assert panel.run.stopped_at < 100
    assert "done" in status(panel)


def test_a_fit_that_waits_ends_with_stop_even_when_paused(panel):
    panel.controls.iterations.value = 2000
    panel.start.click()
    until(lambda: panel.worker.run is not None)
    panel.pause.click()
    panel.worker.join()
    waiting = threading.Thread(target=panel.fit, daemon=True)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive() and not panel.running
    panel.stop.click()
    waiting.join(60)
    assert not waiting.is_alive() and panel.run.stopped_at < 2000


def test_other_settings_begin_another_fit(panel):
    panel.fit()
    panel.controls.seed.value = 1
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
    for task in panel.controls.task.options:
        panel.controls.task.value = task
        assert "Start" in status(panel), task
    panel.controls.recipe.value = "paper"
    assert panel.controls.iterations.value == recipes.paper("jpeg").iterations
    panel.controls.network.value = "decoder"
    assert panel.controls.recipe_for(panel.controls.problem()).network == "decoder"


def test_what_goes_wrong_is_said_and_the_panel_lives_on():
    broken = live.watch(dip.Problem(torch.rand(1, 32, 32)), recipes.lab(z="given"), iterations=3)
    broken.start.click()
    broken.worker.join()
    assert "hand it in" in status(broken) and not broken.start.disabled
    with pytest.raises(dip.InputError, match="hand it in"):
        broken.fit()


def test_one_panel_at_a_time(panel):
    other = live.watch(size=64, iterations=2000)
    other.start.click()
    until(lambda: other.worker.run is not None)
    panel.start.click()
    assert not other.running and "paused" in status(other)
    assert panel.run.stopped_at == 12


def in_threads(*calls, seconds=120):
    """Call all of them at the same time, and fail where one does not return."""
    ready = threading.Barrier(len(calls))

    def call(one):
        ready.wait()
        one()

    threads = [threading.Thread(target=call, args=(one,), daemon=True) for one in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), "it waits for ever"


def watched(seed, iterations=8):
    problem = dip.denoising(images.load("camera", size=32), sigma=25 / 255)
    return live.watch(problem, recipes.lab(members=1), iterations=iterations, seed=seed)


def test_two_panels_that_are_waited_for_at_once_are_fitted_one_after_the_other(monkeypatch):
    together, most = set(), []

    def look(panel, run, step):
        together.add(panel)
        most.append(len({each for each in together if each.running}))
        time.sleep(0.01)  # so that the other one comes in between

    monkeypatch.setattr(live.Panel, "_look", look)
    one, other = watched(0), watched(1)
    in_threads(one.fit, other.fit)
    assert one.run.stopped_at == other.run.stopped_at == 8 and max(most) == 1
    alone = fit(one.run.problem, one.run.recipe, iterations=8, progress=False)
    assert torch.equal(one.run.output, alone.output)  # halted on the way or not


def test_buttons_of_three_panels_pressed_at_once_leave_one_fit_running():
    panels = [watched(seed, iterations=2000) for seed in range(3)]
    for _ in range(10):
        in_threads(*(p.start.click for p in panels), *(p.restart.click for p in panels))
        assert sum(p.running for p in panels) == 1
    in_threads(*(p.pause.click for p in panels), *(p.step.click for p in panels))
    in_threads(*(p.stop.click for p in panels))
    for each in panels:
        each.worker.join()
        assert each.run is not None


def test_who_looks_on_can_start_another_panel():
    """And may ask for the run, though the fit's own thread asks."""
    one, other = watched(0), watched(1)
    seen = []
    one.on_rest(lambda run: (seen.append((run, one.run)), other.start.click()))
    one.fit()
    until(lambda: other.worker.run is not None and not other.running)
    assert other.run.stopped_at == 8 and seen == [(one.run, one.run)]


class Breaks(operators.Identity):
    """An operator that does something else at chosen calls: one an iteration."""

    def __init__(self, at, what):
        super().__init__()
        self.at, self.what, self.calls = at, what, 0

    def __call__(self, image):
        self.calls += image.requires_grad
        return self.what(image) if self.calls in self.at else super().__call__(image)


@pytest.mark.filterwarnings("ignore:the loss was nan:RuntimeWarning")
@pytest.mark.parametrize("alone", [False, True])
def test_a_fit_that_gave_up_is_not_said_to_have_stopped_by_itself(alone):
    broken = Breaks(range(10, 10**6), lambda image: image * float("nan"))
    problem = dip.Problem(images.load("camera", size=32), broken, sigma=0.1)
    panel = live.watch(problem, recipes.lab(members=1), iterations=50)
    panel.controls.alone.value = alone
    run = panel.fit()
    assert run.stopped_by == "diverged"
    assert "gave up" in status(panel) and "learning rate" in status(panel)
    assert "by itself" not in status(panel) and "rule" not in panel.views.captions[1].value
    for button in (panel.start, panel.step):
        button.click()
        assert not panel.running and "gave up" in status(panel)
    problem.operator.at = ()
    panel.controls.rate.value /= 2
    panel.start.click()
    assert panel.run.stopped_at == 50 or alone


def test_after_an_error_start_makes_the_same_fit():
    errors = [RuntimeError("the <b>disk</b> & all")]

    def once(image):
        if errors:
            raise errors.pop()
        return image

    broken = Breaks({5}, once)
    panel = live.watch(dip.Problem(images.load("camera", size=32), broken), iterations=12)
    panel.start.click()
    with pytest.raises(RuntimeError, match="all"):
        _ = panel.run
    assert "&lt;b&gt;disk" in panel.views.status.value and not panel.start.disabled
    panel.start.click()
    run = panel.run
    straight = fit(dip.Problem(run.problem.observation), iterations=12, progress=False)
    assert run.history.loss.equals(straight.history.loss)


def test_after_an_error_start_goes_on_with_the_run_that_the_error_holds(panel, monkeypatch):
    def fails(*arguments, **options):
        error = RuntimeError("no more")
        error.run = fit(*arguments, **options | {"iterations": 7})
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(controls, "fit", fails)
        panel.start.click()
        with pytest.raises(RuntimeError, match="no more") as told:
            _ = panel.run
    assert "no more; Start goes on from iteration 7" in status(panel)
    assert panel.fit() is told.value.run and panel.run.stopped_at == 12
    straight = fit(panel.run.problem, "lab", iterations=12, progress=False)
    assert panel.run.history.loss.equals(straight.history.loss)


def test_it_may_stop_by_itself():
    problem = dip.denoising(images.load("rocket", size=48), sigma=50 / 255)
    panel = live.watch(problem, recipes.lab(members=2), iterations=400)
    panel.controls.alone.value = True
    run = panel.fit()
    assert run.stopped_by == "sure" and run.stopped_at < 400
    assert "stopped by the rule sure" in status(panel)
    assert panel.controls.image not in panel.controls.children  # the problem was given


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


def test_looking_on_costs_little(panel, monkeypatch):
    """At most eight images a second are drawn, and of a long fit no more than of a short one."""
    run, painted, now = panel.fit(), [], [0.0]
    monkeypatch.setattr(panel.views, "paint", lambda run, words: painted.append(now[0]))
    monkeypatch.setattr(live.time, "perf_counter", lambda: now[0])
    panel._seen = []
    for k in range(1, 1001):  # a hundred iterations a second
        now[0] = k / 100
        panel._look(run, types.SimpleNamespace(iteration=k))
    assert 70 <= len(painted) <= 81
    rows = [(k, 0.0, 1 / k, 20.0, 25.0) for k in range(1, 5001)]
    long = types.SimpleNamespace(problem=run.problem, rows=rows)
    curves = [curve for each in chart.charts({"": long}) for curve in each.curves]
    assert len(curves) == 3 and all(len(curve.points) <= chart.POINTS for curve in curves)


def test_moving_sliders_leaves_no_memory_behind(panel):
    known = ipywidgets.Widget.widgets if SEVEN else ipywidgets.widgets.widget._instances
    before = len(known)
    for value in range(200):
        panel.controls.noise.value = 5 * (value % 15)
    assert len(known) == before


@pytest.mark.skipif(SEVEN, reason="ipywidgets 7 shows itself, and asks for no other form")
def test_a_page_without_a_kernel_says_what_a_panel_is(panel):
    assert "kernel" in panel._repr_mimebundle_()["text/html"]


# Playground.


def upload(page_, data, piece=2**20, name="mine.png"):
    """Send what the page's script sends when a file was chosen."""
    about = {"id": f"{time.time_ns()}", "name": name, "type": "image/png", "size": len(data)}
    for at in range(0, max(len(data), 1), piece):
        page_.upload._handle_custom_msg(about | {"at": at}, [memoryview(data[at : at + piece])])


def as_png(array):
    memory = io.BytesIO()
    Image.fromarray(array).save(memory, format="PNG")
    return memory.getvalue()


def painted(height, width):
    """What the page sends after a stroke: a transparent image with something painted on it."""
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
    page_.panel.controls.iterations.value = 8
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


def test_playground_gives_back_the_depth_and_the_resolution_of_the_upload():
    """A scan of 16 bits and 300 dpi came back with 8 bits, and with nothing said of its colours."""
    page_ = play.playground(size=96)
    scan = images.About(16, None, (300.0, 300.0))
    upload(page_, images.encode(images.load("coffee", size=64), "PNG", scan))
    page_.task.value = play.NOISE
    page_.panel.controls.iterations.value = 4
    page_.panel.start.click()
    until(lambda: "download=" in page_.download.value)
    address = re.search(r'href="([^"]*)"', page_.download.value).group(1)
    content = base64.b64decode(address.partition(",")[2])
    about = images.about(content)
    assert about.bits == 16 and about.dpi == pytest.approx((300, 300), abs=0.1)
    assert b"sRGB" in content and images.read(content).shape == (3, 64, 64)
    page_.bundled.value = "camera"  # which says nothing
    page_.panel.start.click()
    until(lambda: "download=" in page_.download.value)
    address = re.search(r'href="([^"]*)"', page_.download.value).group(1)
    assert images.about(base64.b64decode(address.partition(",")[2])).bits == 8


def shown_by(page_):
    return decoded(page_.mark.image)


def test_an_upload_comes_in_pieces_of_any_size():
    page_, mine = play.playground(size=96), images.to_uint8(images.load("coffee", size=64))
    for piece in (1000, 10**7):
        upload(page_, as_png(mine), piece)
        assert np.array_equal(shown_by(page_), mine)
        page_.bundled.value = "camera"
        assert not np.array_equal(shown_by(page_), mine)


def test_the_kernel_answers_each_piece_and_takes_no_more_than_was_said():
    button, sent = upload_module.Upload(largest=100), []
    button.send = sent.append

    def piece(at, data, size=100, name="a"):
        about = {"id": name, "name": name, "type": "", "size": size, "at": at}
        button._handle_custom_msg(about, [memoryview(data)])
        return sent[-1]["received"]

    assert piece(0, b"x" * 60) == 60
    assert piece(0, b"x" * 60) == 60 and button.value == ()  # twice: it is not added again
    assert piece(60, b"y" * 41) == 60  # more than the file has
    assert piece(0, b"z" * 10, name="b") == 10  # another file was chosen meanwhile
    assert piece(10, b"z" * 90, name="b") == 100
    assert button.value == ({"name": "b", "type": "", "size": 100, "content": b"z" * 100},)
    assert piece(0, b"x" * 101, size=101, name="c") == 0 and button.value == ()


def test_the_largest_upload_is_said_above_the_button():
    page_ = play.playground()
    words = [getattr(child, "value", "") for child in page_.children]
    at = page_.children.index(page_.upload)
    assert f"at most {page_.upload.largest / 1e6:g} MB" in words[at - 1]


def test_what_was_chosen_last_is_worked_on_whatever_its_size():
    page_ = play.playground(size=96)
    mine = images.to_uint8(images.load("coffee", size=64))
    upload(page_, as_png(mine))
    assert page_.bundled.value == play.UPLOADED
    page_.longest.value = 128
    assert np.array_equal(shown_by(page_), mine)
    for name in ("camera", "chelsea"):  # the one that was there at first, too
        page_.bundled.value = name
        for longest in (96, 192):
            page_.longest.value = longest
            wanted = images.to_uint8(images.shrink(images.load(name), longest))
            assert np.array_equal(shown_by(page_), wanted), name
    page_.bundled.value = play.UPLOADED
    assert np.array_equal(shown_by(page_), mine)
    page_.bundled.value = "coffee"
    upload(page_, as_png(mine))  # the same file again
    assert np.array_equal(shown_by(page_), mine)


def test_a_bad_upload_is_said_and_changes_nothing():
    page_ = play.playground(size=96)
    mine = images.to_uint8(images.load("coffee", size=64))
    for before in ("chelsea", play.UPLOADED):
        for bad in (b"no image", b"", as_png(np.zeros((8, 8), np.uint8))):
            upload(page_, bad)
            assert "the uploaded file" in page_.told.value and "/tmp" not in page_.told.value
            assert "still the previous one" in page_.told.value
            assert page_.bundled.value == before
            page_.longest.value = 128 if page_.longest.value == 96 else 96
            assert "is fitted at" in page_.told.value
        upload(page_, as_png(mine))
    assert np.array_equal(shown_by(page_), mine)


def test_what_a_decoder_says_is_no_markup(monkeypatch):
    def read(path, longest):
        raise dip.ImageError(f"{path} is damaged: <img src=x onerror=alert(1)>")

    page_ = play.playground(size=96)
    monkeypatch.setattr(images, "read", read)
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    upload(page_, png.getvalue())
    assert "<img" not in page_.told.value and "&lt;img src=x" in page_.told.value


def as_url(image, format="PNG", kind="image/png", **options):
    memory = io.BytesIO()
    image.save(memory, format=format, **options)
    return f"data:{kind};base64," + base64.b64encode(memory.getvalue()).decode()


@pytest.mark.parametrize(
    "hole",
    [
        as_url(Image.new("RGB", (64, 64)), "JPEG"),
        as_url(Image.new("RGB", (64, 64)), "JPEG", "image/jpeg"),
        as_url(Image.new("L", (64, 64)), "TIFF"),
        as_url(Image.new("RGBA", (64, 63))),
        as_url(Image.new("1", (9000, 9000))),
        as_url(Image.new("RGBA", (64, 64)))[:-40],
        "data:image/png;base64,no base64!",
        "data:,",
        "nonsense",
    ],
    ids=["jpeg", "said", "tiff", "size", "bomb", "cut", "base64", "nothing", "nonsense"],
)
def test_a_hole_is_a_png_of_the_images_size_and_nothing_else(hole):
    page_ = play.playground(size=96)
    upload(page_, as_png(images.to_uint8(images.load("coffee", size=64))))
    page_.task.value = play.HOLE
    page_.mark.hole = hole
    assert "not a PNG of 64x64 pixels" in status(page_.panel)
    with pytest.raises(dip.ImageError, match="paint it again"):
        page_.mark.known(64, 64)
    page_.mark.hole = painted(64, 64)
    assert "Start begins" in status(page_.panel)


@pytest.mark.parametrize("task", [play.NOISY, play.NOISE, play.SMALL])
def test_playground_makes_each_problem(task):
    page_ = play.playground(size=96)
    page_.task.value = task
    problem = page_.panel.controls.problem()
    assert (problem.truth is not None) == (task == play.NOISE)
    assert problem.shape[-1] == (192 if task == play.SMALL else 96)


def test_jpeg_bytes_of_grey_and_colour():
    for channels in (1, 3):
        made = Image.open(io.BytesIO(page.jpeg_bytes(torch.rand(channels, 16, 24))))
        assert made.size == (24, 16)
