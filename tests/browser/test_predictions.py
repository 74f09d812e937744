"""What a reader is asked to predict stays hidden until the reader opens it."""

import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT, Notebook, notebook
from nbclient import NotebookClient

sys.path.insert(0, str(ROOT / "notebooks"))
import build

HIDDEN = """import torch
from diplearn.course.show import reveal
from diplearn.figures import contact_sheet
reveal(contact_sheet({"a": torch.rand(1, 32, 32)}), text="00 example")"""
IMAGE, GUESS, BUTTON = ".dip-guess img", ".dip-guess textarea", ".dip-guess summary"


def test_in_jupyterlab_a_guess_comes_before_the_result(page, lab, desk):
    book = Notebook(page, lab, notebook(desk, "guess.ipynb", HIDDEN))
    book.run_all(60)
    page.wait_for_selector(GUESS)
    assert not page.locator(IMAGE).is_visible()
    page.click(GUESS)
    page.keyboard.type("dd aa: it gets blurred")  # shortcuts: delete and insert cells
    page.click(BUTTON)
    assert page.locator(IMAGE).is_visible()
    assert page.input_value(GUESS) == "dd aa: it gets blurred"
    cells = page.evaluate("jupyterapp.shell.currentWidget.content.widgets.length")
    assert cells == 1 and not book.errors() and not page.errors


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A page of three cells, one of them folded, exported as the lecturers' notes say."""
    folder = tmp_path_factory.mktemp("page")
    source = folder / "98_demo.py"
    folded = '# %% tags=["folded"]\n# The helper\nhelper = 1\n'
    shown = '# %%\ncontact_sheet({"a": torch.rand(1, 32, 32)}, alt="Grey \\"noise\\"")\n'
    source.write_text(f"# %%\n{HIDDEN}\n\n{folded}\n{shown}", encoding="utf-8")
    made = build.read(source)
    NotebookClient(made, kernel_name="python3").execute()
    nbformat.write(made, folder / "demo.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--template", "notebooks/page"]
    subprocess.run([*command, str(folder / "demo.ipynb")], cwd=ROOT, check=True)
    return folder / "demo.html"


@pytest.mark.parametrize("width", [1200, 400])
def test_on_a_page_results_and_folded_code_open_on_demand(page, exported, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"file://{exported}", wait_until="domcontentloaded")
    code = page.locator("text=helper = 1").first
    assert not page.locator(IMAGE).is_visible() and not code.is_visible()
    page.click(BUTTON)
    assert page.locator(IMAGE).is_visible() and not code.is_visible()
    page.click("#open-all")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator("summary:has-text('The helper')").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.get_attribute(".jp-RenderedImage img", "alt") == 'Grey "noise"'
