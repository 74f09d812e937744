"""A real JupyterLab, a real Voilà and a real chromium, for the tests in this folder.

Without chromium these tests are left out, unless DIPLEARN_BROWSER names one: then it must work.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import chromium
import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = chromium.find()
SCREENSHOTS = os.environ.get("SCREENSHOTS")  # not empty: leave images for the README

if CHROMIUM is None:
    collect_ignore_glob = ["test_*.py"]


def pytest_report_header():
    return f"browser tests: {CHROMIUM or 'left out, there is no chromium (DIPLEARN_BROWSER)'}"


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


class Server:
    """A server process, its address and its token."""

    def __init__(self, program, options, folder):
        self.port, self.token = free_port(), secrets.token_hex(16)
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        environment = os.environ | {
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "HOME": str(folder),
        }
        quiet = folder / "config/lab/user-settings/@jupyterlab/apputils-extension"
        quiet.mkdir(parents=True, exist_ok=True)
        asked = '{"fetchNews": "false", "checkForUpdates": false}'  # nobody is here to answer
        (quiet / "notification.jupyterlab-settings").write_text(asked)
        command = [sys.executable, str(ROOT / "tools" / program), "--no-browser", *options(self)]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.wait()

    def wait(self):
        for _ in range(600):
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            try:
                urllib.request.urlopen(f"{self.address}/api", timeout=2)
                return
            except urllib.error.HTTPError:  # it is there, and asks for the token
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"no answer in a minute: {self.log.read_text()[-2000:]}")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


@pytest.fixture(scope="session")
def desk(tmp_path_factory):
    """A folder to work in, with copies of the lessons and the figures that they show."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("notebooks", "figures"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def lab(desk):
    """What `make lab` starts, in the folder with the copies."""
    server = Server(
        "lab.py",
        lambda server: [
            f"--port={server.port}", "--ip=127.0.0.1", f"--IdentityProvider.token={server.token}",
            f"--ServerApp.root_dir={desk}", "--LabApp.expose_app_in_browser=True",
        ],
        desk,
    )  # fmt: skip
    yield server
    server.close()


def playground(folder, *options):
    return Server(
        "playground.py",
        lambda server: [
            f"--port={server.port}", "--Voila.ip=127.0.0.1", f"--token={server.token}", *options
        ],
        folder,
    )  # fmt: skip


@pytest.fixture(scope="session")
def voila(tmp_path_factory):
    """What `make playground` starts."""
    server = playground(tmp_path_factory.mktemp("voila"))
    yield server
    server.close()


@pytest.fixture
def impatient_voila(tmp_path):
    """The same, where a kernel that nobody uses is left alone for three seconds."""
    server = playground(
        tmp_path,
        "--MappingKernelManager.cull_idle_timeout=3",
        "--MappingKernelManager.cull_interval=1",
    )
    yield server
    server.close()


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser):
    """A page that fails its test if anything on its console is an error."""
    context = browser.new_context(viewport={"width": 1300, "height": 900}, accept_downloads=True)
    page, errors = context.new_page(), []

    def listen(message):
        # Fonts and MathJax that a server's own page takes from the web are not our business.
        elsewhere = "127.0.0.1" not in (message.location.get("url") or "127.0.0.1")
        if message.type == "error" and not elsewhere:
            errors.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.errors = errors
    yield page
    context.close()


class Notebook:
    """A notebook, open in JupyterLab, its kernel ready."""

    READY = """() => {
        const panel = window.jupyterapp && jupyterapp.shell.currentWidget;
        return panel && panel.context && panel.context.isReady && panel.sessionContext.isReady
            && panel.sessionContext.session
            && panel.sessionContext.session.kernel.status === 'idle';
    }"""

    def __init__(self, page, server, path):
        self.page = page
        own = secrets.token_hex(4)  # a workspace in which no other notebook is open
        page.goto(f"{server.address}/lab/workspaces/{own}/tree/{path}?token={server.token}")
        page.wait_for_function(self.READY, timeout=60_000, polling=100)
        page.evaluate("() => { jupyterapp.shell.collapseLeft() }")

    def command(self, name):
        """Give a command of JupyterLab's, and do not wait for it."""
        self.page.evaluate("name => { jupyterapp.commands.execute(name) }", name)

    def run_all(self, seconds=300, last=None):
        """Run all cells, and wait for the last one (or another) to have its number."""
        self.command("notebook:run-all-cells")
        numbers = """last => {
            const cells = jupyterapp.shell.currentWidget.content.widgets
                .filter(cell => cell.model.type === 'code').map(cell => cell.model);
            const number = cells[last === null ? cells.length - 1 : last].executionCount;
            return number !== null && number !== undefined;
        }"""
        self.page.wait_for_function(numbers, arg=last, timeout=1000 * seconds, polling=100)

    def show(self, beginning):
        """Bring the cell that begins so into sight: JupyterLab draws only those in sight."""
        self.page.evaluate(
            """beginning => {
                const notebook = jupyterapp.shell.currentWidget.content;
                const at = notebook.widgets.findIndex(
                    cell => cell.model.sharedModel.source.startsWith(beginning));
                notebook.activeCellIndex = at;
                return notebook.scrollToItem(at, 'start');
            }""",
            beginning,
        )

    def value(self, expression):
        """Let the kernel compute a number or a word, on its shell channel."""
        return self.page.evaluate(
            """async code => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({code: '', silent: false, store_history: false,
                    user_expressions: {value: code}});
                const reply = (await future.done).content;
                const value = (reply.user_expressions || {}).value || {};
                return value.data ? value.data['text/plain'] : JSON.stringify(value);
            }""",
            expression,
        )

    def errors(self):
        """What went wrong in cells."""
        return self.page.locator(".jp-OutputArea-output[data-mime-type*='error']").all_inner_texts()


def pixels(page, selector):
    """The pixels of an element, as an array."""
    import io

    import numpy as np
    from PIL import Image

    shot = page.locator(selector).first.screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def keep(page, name):
    """Leave a screenshot in figures/, for the README, where SCREENSHOTS asks for it."""
    if SCREENSHOTS:
        path = ROOT / "figures" / f"{name}.jpeg"
        page.screenshot(path=path, type="jpeg", quality=85)


def notebook(folder, name, *cells):
    """Write a notebook of these cells."""
    import nbformat

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata["kernelspec"] = {
        "display_name": "Python 3", "language": "python", "name": "python3"
    }  # fmt: skip
    nbformat.write(made, folder / name)
    return name
