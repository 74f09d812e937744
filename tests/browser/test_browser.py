"""What the widgets do in JupyterLab, in Voilà and on a page without a kernel, by its pixels."""

import contextlib
import re
import time

import numpy as np
import psutil
import pytest
from conftest import ROOT, Notebook, keep, notebook, pixels
from PIL import Image

import diplearn as dip
from diplearn.widgets import compare, scrub
from diplearn.widgets.mark import Mark, png_url

WITH_WIDGETS = [
    path.stem
    for path in sorted((ROOT / "notebooks" / "src").glob("[0-9][0-9]*_*.py"))
    if re.search(r"^(scrub|impedance)\(", path.read_text("utf-8"), re.MULTILINE)
]

WATCH = """import torch; torch.set_num_threads(1)
from diplearn.widgets import watch
panel = watch({})
panel"""


@pytest.fixture(scope="module")
def run():
    problem = dip.denoising(dip.images.load("astronaut", size=256), sigma=25 / 255)
    return dip.fit(problem, dip.lab(members=1), iterations=40, progress=False)


SCRUBBED = ".dip[data-live]:has(figure:nth-of-type(2))"  # a lesson may hold a divider before it
IDLE = "jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
STATUS = "(document.querySelector('.dip-panel [role=status]') || {innerText: ''}).innerText"


def wait(page, condition, seconds=30):
    """Wait for a condition; asked for only now and then, since the page has its own work to do."""
    page.wait_for_function(condition, timeout=1000 * seconds, polling=100)


def slide(page, position, selector=".dip input[type=range]"):
    """Move a page's slider, and say how many milliseconds it took until the next frame."""
    return page.evaluate(
        """([selector, position]) => new Promise(done => {
            const slider = document.querySelector(selector), begun = performance.now();
            slider.value = position;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
            requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun)));
        })""",
        [selector, position],
    )


def test_a_page_without_a_kernel_scrubs(page, run, tmp_path):
    scrub(run, marks={"early": 7}).save(tmp_path / "scrub.html")
    begun = time.perf_counter()
    page.goto(f"file://{tmp_path}/scrub.html")
    page.wait_for_selector(".dip[data-live] canvas")
    loaded = time.perf_counter() - begun
    page.wait_for_timeout(300)
    last = len(scrub(run, marks={"early": 7}).data["positions"]) - 1
    slide(page, last)
    late = pixels(page, "figure:nth-of-type(2) canvas")
    assert late.shape == (256, 256, 3)
    times = [slide(page, position) for position in range(last + 1)]
    slide(page, 0)
    early = pixels(page, "figure:nth-of-type(2) canvas")
    assert np.abs(late - early).mean() > 10
    assert "iteration 1 " in page.locator("output").inner_text()
    page.click("[data-jump=early]")
    assert "iteration 7 " in page.locator("output").inner_text()
    print(f"load {loaded:.2f} s, a move {np.median(times):.0f} ms, at most {max(times):.0f} ms")
    assert loaded < 2 and np.median(times) < 50
    assert not page.errors


@pytest.mark.parametrize("name", WITH_WIDGETS)
def test_an_exported_lesson_scrubs_without_a_kernel(page, name, tmp_path):
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter().from_filename(ROOT / "notebooks" / f"{name}.ipynb")
    (tmp_path / "lesson.html").write_text(html, encoding="utf-8")
    page.goto(f"file://{tmp_path}/lesson.html", wait_until="domcontentloaded")
    page.wait_for_selector(f"{SCRUBBED} canvas")
    canvas = f"{SCRUBBED} figure:nth-of-type(2) canvas"
    page.locator(canvas).first.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    late = pixels(page, canvas)
    slide(page, 0, f"{SCRUBBED} input[type=range]")
    assert np.abs(late - pixels(page, canvas)).mean() > 5
    assert not page.errors


def test_difference_zoom_keys_and_play(page, run, tmp_path):
    scrub(run).save(tmp_path / "scrub.html")
    page.goto(f"file://{tmp_path}/scrub.html")
    page.wait_for_timeout(500)
    iterate = "figure:nth-of-type(2) canvas"
    plain = pixels(page, iterate)
    page.select_option(".dip select", "truth")
    difference = pixels(page, iterate)
    assert abs(difference.mean() - 127) < 12 and np.abs(difference - plain).mean() > 10
    page.select_option(".dip select", "image")
    box = page.locator(iterate).bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 120, steps=4)
    page.mouse.up()
    assert page.locator("text=whole image").is_visible()
    closer = pixels(page, iterate)
    assert np.abs(closer - plain).mean() > 5
    truth = pixels(page, "figure:nth-of-type(3) canvas")
    page.locator(iterate).press("ArrowRight")
    assert np.abs(pixels(page, "figure:nth-of-type(3) canvas") - truth).mean() > 1  # all panes move
    page.click("text=whole image")
    assert np.abs(pixels(page, iterate) - plain).mean() < 1
    page.locator(iterate).press("+")
    assert np.abs(pixels(page, iterate) - plain).mean() > 5
    page.locator(iterate).press("-")
    assert np.abs(pixels(page, iterate) - plain).mean() < 1
    slide(page, 0)
    page.click("[aria-label=play]")
    wait(page, "Number(document.querySelector('input[type=range]').value) > 3")
    page.click("[aria-label=pause]")
    page.locator("input[type=range]").press("End")
    assert f"iteration {run.stopped_at} " in page.locator("output").inner_text()
    assert not page.errors


def test_the_curves_follow_the_slider_and_a_click_on_them_moves_it(page, run, tmp_path):
    shown = scrub({"a": run, "b": run})
    shown.save(tmp_path / "scrub.html")
    page.goto(f"file://{tmp_path}/scrub.html")
    curves = page.locator(".dip-chart svg").first
    moved = """svg => [...svg.querySelectorAll('.dip-moves')]
        .map(part => part.transform.baseVal[0].matrix).map(({e, f}) => [e, f])"""
    paths = shown.data["charts"][0]  # of the line and of two dots
    last = len(shown.data["positions"]) - 1
    for position in (0, last):
        slide(page, position)
        wanted = [path[position] for path in paths]
        assert np.allclose(curves.evaluate(moved), wanted, atol=1e-3)
    box = curves.bounding_box()
    for position in (last // 2, last, 0):
        x = paths[0][position][0] * box["width"] / 400
        curves.click(position={"x": x, "y": 60})
        assert page.locator("input[type=range]").input_value() == str(position)
    assert not page.errors


def test_the_divider_moves_with_mouse_and_keyboard(page, run, tmp_path):
    compare(run.problem.observation, run.output, ("noisy", "restored")).save(tmp_path / "c.html")
    page.goto(f"file://{tmp_path}/c.html")
    page.wait_for_timeout(300)
    middle = pixels(page, ".dip-divider")
    page.locator("input[type=range]").press("End")
    noisy = pixels(page, ".dip-divider")
    page.locator("input[type=range]").press("Home")
    restored = pixels(page, ".dip-divider")
    assert np.abs(np.diff(noisy, axis=1)).mean() > 1.5 * np.abs(np.diff(restored, axis=1)).mean()
    half = middle.shape[1] // 2
    assert np.abs(middle[:, : half - 8] - noisy[:, : half - 8]).mean() < 2
    assert np.abs(middle[:, half + 8 :] - restored[:, half + 8 :]).mean() < 2
    box = page.locator(".dip-divider").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 20, steps=3)
    page.mouse.up()
    assert abs(float(page.locator("input[type=range]").input_value()) - 70) < 2
    page.select_option(".dip select", "4")
    assert page.locator(".dip-divider > div").bounding_box()["width"] > 1000
    assert not page.errors


def test_200_moves_leave_no_memory_behind(page, run, tmp_path):
    scrub(run).save(tmp_path / "scrub.html")
    page.goto(f"file://{tmp_path}/scrub.html")
    page.select_option(".dip select", "truth")
    session = page.context.new_cdp_session(page)

    def used():
        session.send("HeapProfiler.collectGarbage")
        return session.send("Runtime.getHeapUsage")["usedSize"] / 1e6

    for position in range(20):
        slide(page, position)
    before = used()
    for move in range(200):
        slide(page, move % 20)
    after = used()
    print(f"heap {before:.1f} MB, after 200 moves {after:.1f} MB")
    assert after - before < 3


def test_watch_starts_stops_pauses_and_goes_on(page, lab, desk):
    path = notebook(
        desk, "watch.ipynb",
        WATCH.format("size=128, iterations=60"),
        "panel.running",
    )  # fmt: skip
    desk_book = Notebook(page, lab, path)
    desk_book.run_all(60)
    page.wait_for_selector(".dip-panel")
    view = ".dip-panel .widget-image >> nth=1"
    seen = [pixels(page, view)]
    page.click("button:has-text('Start')")
    while "done" not in page.locator(".dip-panel [role=status]").inner_text():
        now = pixels(page, view)
        if np.abs(now - seen[-1]).mean() > 0.5:
            seen.append(now)
        page.wait_for_timeout(50)
    assert len(seen) > 3, "fewer than three images on the way"
    print(f"{len(seen) - 1} different images in {desk_book.value('panel.run.seconds')} s")
    assert desk_book.value("panel.run.stopped_at") == "60"

    # A larger count goes on with the same fit.
    first = desk_book.value("round(float(panel.run.history.loss[30]), 9)")
    slider = page.locator(".dip-panel .widget-slider:has-text('iterations') .widget-readout")
    slider.fill("1500")
    slider.press("Enter")
    page.click("button:has-text('Start')")
    wait(page, f"/iteration (6[5-9]|[789]\\d|\\d{{3}}) of/.test({STATUS})")
    page.click("button:has-text('Pause')")
    wait(page, f"{STATUS}.includes('paused')")
    paused = int(desk_book.value("panel.run.stopped_at"))
    assert 60 < paused < 1500
    assert desk_book.value("round(float(panel.run.history.loss[30]), 9)") == first
    page.click("button:has-text('Step')")
    wait(page, f"{STATUS}.startsWith('iteration {paused + 1}:')")
    keep(page, "watch")

    # Stop, while it runs: back within two seconds, the iterations so far in panel.run.
    page.click("button:has-text('Start')")
    page.wait_for_timeout(1500)
    begun = time.perf_counter()
    page.click("button:has-text('Stop')")
    page.wait_for_selector("button:has-text('Stop')[disabled]")
    assert time.perf_counter() - begun < 2
    stopped = int(desk_book.value("panel.run.stopped_at"))
    assert paused < stopped < 1500
    assert desk_book.value("len(panel.run.history)") == str(stopped)
    assert not desk_book.errors() and not page.errors


def test_run_all_waits_for_the_panel_and_stop_works_in_a_running_cell(page, lab, desk):
    path = notebook(
        desk, "wait.ipynb",
        WATCH.format("size=64, iterations=2000"),
        "run = panel.fit()",
        "after = run.stopped_at",
    )  # fmt: skip
    book = Notebook(page, lab, path)
    book.run_all(60, last=0)
    wait(page, f"/iteration \\d+ of/.test({STATUS})")
    page.wait_for_timeout(1000)
    page.click("button:has-text('Stop')")  # while the second cell is running
    begun = time.perf_counter()
    wait(page, IDLE)
    assert time.perf_counter() - begun < 3
    assert 0 < int(book.value("after")) < 2000
    assert not book.errors() and not page.errors


def test_the_kernels_interrupt_does_what_stop_does(page, lab, desk):
    path = notebook(
        desk, "interrupt.ipynb",
        WATCH.format("size=64, iterations=2000"),
        "run = panel.fit()",
    )  # fmt: skip
    book = Notebook(page, lab, path)
    book.run_all(60, last=0)
    wait(page, f"/iteration \\d+ of/.test({STATUS})")
    book.command("notebook:interrupt-kernel")
    wait(page, IDLE)
    assert 0 < int(book.value("run.stopped_at")) < 2000
    assert not book.errors() and not page.errors


# Every lesson is run without a browser as well, and its exported page is tested above.
@pytest.mark.parametrize("name", ["01_motivation", "08_stopping", "09_speed"])
def test_a_lesson_runs_and_its_widgets_move(page, lab, desk, name):
    book = Notebook(page, lab, f"notebooks/{name}.ipynb")
    book.run_all(600)
    assert not book.errors()
    book.show("scrub(")
    page.wait_for_selector(".dip[data-live] canvas", timeout=30_000)
    canvas = ".dip[data-live] figure:nth-of-type(2) canvas"
    page.locator(canvas).first.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    if name == "01_motivation":
        keep(page, "scrub")
    late = pixels(page, canvas)
    slide(page, 0, ".dip[data-live] input[type=range]")
    assert np.abs(late - pixels(page, canvas)).mean() > 5
    if name == "01_motivation":
        book.show("compare(")
        page.wait_for_selector(".dip-divider", timeout=30_000)
        page.wait_for_timeout(1000)
        keep(page, "compare")
    assert not page.errors


def test_voila_uploads_marks_fits_and_downloads(page, voila, tmp_path):
    image = dip.images.load("coffee", size=96)
    dip.images.write(image, tmp_path / "mine.png")
    page.goto(f"{voila.address}/?token={voila.token}")
    page.wait_for_selector(".dip-panel", timeout=120_000)
    with page.expect_file_chooser() as chooser:
        page.click("button:has-text('Upload yours')")
    chooser.value.set_files(tmp_path / "mine.png")
    page.wait_for_selector("text=96×96 pixels")
    page.click("button:has-text('it has a hole')")
    page.locator(".dip-mark").scroll_into_view_if_needed()
    before = pixels(page, ".dip-mark")
    box = page.locator(".dip-mark").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 130, box["y"] + 100, steps=8)
    page.mouse.up()
    assert np.abs(pixels(page, ".dip-mark") - before).mean() > 3
    wait(page, f"{STATUS}.includes('Start begins')")
    readout = page.locator(".dip-panel .widget-slider:has-text('iterations') .widget-readout")
    readout.fill("60")
    readout.press("Enter")
    page.click(".dip-panel button:has-text('Start')")
    page.wait_for_selector("a[download]", timeout=120_000)
    page.locator(".dip-panel").scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    keep(page, "playground")
    with page.expect_download() as download:
        page.click("a[download]")
    download.value.save_as(tmp_path / "restored.png")
    restored = np.asarray(Image.open(tmp_path / "restored.png")).astype(int)
    truth = dip.images.to_uint8(image).astype(int)
    assert restored.shape == truth.shape
    error = np.abs(restored - truth).mean(axis=2)
    assert error[:20].mean() < 4, "far from the hole the image is as it was"
    assert error.max() > 4 and np.median(error) < 4
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_timeout(500)
    chart = page.locator(".dip-panel .dip-chart svg").first.bounding_box()
    status = page.locator(".dip-panel [role=status]").bounding_box()
    below = page.locator(".dip-panel .widget-image").first.bounding_box()
    assert chart["x"] + chart["width"] <= 390, "the curve is cut on a phone"
    assert status["y"] + status["height"] <= below["y"] + 1, "the images hide the status"
    assert not page.errors


MARK = """async ([script, image]) => {
    const {default: {render}} = await import(`data:text/javascript,${encodeURIComponent(script)}`);
    const state = {image, hole: "", brush: 12}, changed = {};
    window.model = {
        get: name => state[name],
        set: (name, value) => { state[name] = value; (changed[`change:${name}`] || (() => {}))(); },
        on: (event, call) => { changed[event] = call; },
        save_changes: () => {},
    };
    render({model, el: document.body});
}"""


def test_a_hole_is_painted_with_mouse_pen_finger_and_keyboard(page):
    url = png_url(dip.images.load("camera", size=64))
    page.goto("data:text/html,<body style='margin: 0'>")
    page.evaluate(MARK, [(ROOT / "diplearn" / "widgets" / "mark.js").read_text("utf-8"), url])
    wait(page, "document.querySelector('canvas').width === 256")
    session, mark = page.context.new_cdp_session(page), Mark()

    def painted():
        """The rows of the image that have paint on them."""
        mark.hole = page.evaluate("model.get('hole')")
        return np.flatnonzero((mark.known(64, 64)[0] == 0).any(dim=1))

    def pen(kind, x, y):
        about = {"button": "left", "buttons": int(kind != "mouseReleased"), "pointerType": "pen"}
        session.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y} | about)

    def finger(kind, *points):
        points = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def by_mouse():
        page.mouse.move(40, 40)
        page.mouse.down()
        page.mouse.move(200, 40, steps=4)
        page.mouse.up()

    def by_pen():
        pen("mousePressed", 40, 120)
        pen("mouseMoved", 200, 120)
        pen("mouseReleased", 200, 120)

    def by_finger():
        finger("touchStart", (40, 200))
        finger("touchMove", (200, 200))
        finger("touchEnd")

    for stroke, row in ((by_mouse, 10), (by_pen, 30), (by_finger, 50)):
        stroke()
        assert abs(painted().mean() - row) < 1 and len(painted()) in range(11, 15)
        assert 400 < (mark.known(64, 64) == 0).sum() < 700
        page.evaluate("model.set('hole', '')")
        assert len(painted()) == 0
    page.evaluate("model.set('image', model.get('image'))")  # the cursor is in the middle again
    page.wait_for_timeout(300)
    for key in ("ArrowUp", "ArrowUp", " ", "ArrowUp"):
        page.locator("canvas").press(key)
    assert abs(painted().mean() - (32 - 12)) < 1 and len(painted()) in range(11, 15)
    assert not page.errors


def choose_file(page, path):
    with page.expect_file_chooser() as chooser:
        page.click("button:has-text('Upload yours')")
    chooser.value.set_files(path)


def noise(path, megabytes):
    """An image of noise, which no PNG makes smaller, and what is seen of it in the playground."""
    side = int((megabytes * 1e6 / 3) ** 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)
    return path


NOTE = "document.querySelector('.dip-upload-note').innerText"
CHOSEN = "[...document.querySelectorAll('select')].map(each => each.value)"


def uploads_of_every_size(page, folder):
    """Upload files below and above what a server takes as one message, and one that is refused."""
    for megabytes in (1, 12):
        page.select_option("select:has(option[value=chelsea])", "chelsea")
        page.wait_for_selector("text=192×128 pixels")
        choose_file(page, noise(folder / "noise.png", megabytes))
        page.wait_for_selector("text=192×192 pixels", timeout=120_000)
        wait(page, f"{CHOSEN}.includes('your upload') && {NOTE} === ''")
    with open(folder / "<b>large.png", "wb") as large:
        large.truncate(100_000_001)
    refused = f"{NOTE}.startsWith('<b>large.png has 100.1 MB, and at most 100 MB can be')"
    choose_file(page, folder / "<b>large.png")
    wait(page, refused)
    assert page.is_visible("text=192×192 pixels")
    dip.images.write(dip.images.load("coffee", size=96), folder / "small.png")
    choose_file(page, folder / "small.png")
    page.wait_for_selector("text=96×96 pixels", timeout=60_000)
    assert page.evaluate(NOTE) == ""
    choose_file(page, folder / "<b>large.png")
    wait(page, refused)
    page.select_option("select:has(option[value=chelsea])", "chelsea")
    wait(page, f"{NOTE} === ''")


def test_uploads_of_every_size_arrive_in_voila_or_are_refused(page, voila, tmp_path):
    page.goto(f"{voila.address}/?token={voila.token}")
    page.wait_for_selector(".dip-panel", timeout=120_000)
    assert page.is_visible("text=at most 100 MB")
    uploads_of_every_size(page, tmp_path)
    assert not page.errors


def test_uploads_of_every_size_arrive_in_jupyterlab_or_are_refused(page, lab, desk, tmp_path):
    book = Notebook(page, lab, "notebooks/11_your_image.ipynb")
    book.run_all(60)
    page.wait_for_selector(".dip-panel", timeout=60_000)
    uploads_of_every_size(page, tmp_path)
    assert not book.errors() and not page.errors


def kernels(server):
    found = set()
    for child in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ends just now
            if "ipykernel_launcher" in child.cmdline():
                found.add(child.pid)
    return found


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.2)


def test_a_kernel_ends_with_its_page(page, voila):
    before = kernels(voila)
    page.goto(f"{voila.address}/?token={voila.token}")
    page.wait_for_selector(".dip-panel", timeout=120_000)
    [kernel] = kernels(voila) - before
    page.reload()
    page.wait_for_selector(".dip-panel", timeout=120_000)
    until(lambda: kernel not in kernels(voila))
    page.close(run_before_unload=True)  # as a hand closes a tab
    until(lambda: kernels(voila) <= before)
    # What would end it otherwise; the next test has no ten minutes.
    assert "idle durations > 600 seconds at 60 second intervals" in voila.log.read_text()


def test_the_kernel_of_a_page_that_crashed_ends_too(browser, impatient_voila):
    """A page that is open keeps its kernel, and so does a fit, though nobody sees it."""
    page = browser.new_page()
    page.goto(f"{impatient_voila.address}/?token={impatient_voila.token}")
    page.wait_for_selector(".dip-panel", timeout=120_000)
    page.wait_for_timeout(8000)
    [kernel] = kernels(impatient_voila)
    page.click(".dip-panel button:has-text('Start')")
    wait(page, f"/iteration \\d+ of/.test({STATUS})")
    page.context.close()  # the page has no time for a last word
    worked = lambda: psutil.Process(kernel).cpu_times().user  # noqa: E731
    enough = worked() + 10  # on two cores: longer than an idle kernel would be left
    until(lambda: worked() > enough)
    until(lambda: not kernels(impatient_voila), 300)


@pytest.mark.parametrize(("server", "path"), [("lab", "/api/kernels"), ("voila", "/")])
def test_without_the_token_nothing_is_served(server, path, request, browser):
    address = request.getfixturevalue(server).address
    page = browser.new_page()
    answer = page.goto(f"{address}{path}")
    refused = answer.status in (401, 403) or "/login" in page.url
    assert refused and not page.locator(".dip-panel").count()
    page.close()
