"""The lessons: built from their sources, executed, and in the form that a lesson has.

That they *run* is nbval's business: pytest collects the notebooks themselves.
"""

import importlib.util
import itertools
import re
import tomllib
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
_spec = importlib.util.spec_from_file_location("build", NOTEBOOKS / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)

SOURCES = build.sources()
PAGE = build.SOURCES / "11_your_image.py"  # to play on: nothing is taught there
LESSONS = [s for s in SOURCES if s.parent == build.SOURCES and s != PAGE]
SECOND = [s for s in LESSONS if "**Study:**" in s.read_text("utf-8")]  # in the second form


def label(source):
    return str(source.relative_to(build.SOURCES))


@pytest.mark.parametrize("source", SOURCES, ids=label)
def test_the_notebook_is_what_its_source_says(source):
    assert build.drift(source) is None


def test_every_notebook_has_a_source():
    built = {path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert built == {build.target(source) for source in SOURCES}


def test_drift_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "SOURCES", tmp_path / "src")
    source = tmp_path / "src" / "01_x.py"
    source.parent.mkdir()
    source.write_text("# %% [markdown]\n# # Title\n\n# %%\nprint(1 + 1)\n", encoding="utf-8")
    assert "has not been built" in build.drift(source)
    build.build(source)
    assert build.drift(source) is None
    source.write_text(source.read_text().replace("1 + 1", "1 + 2"), encoding="utf-8")
    assert "from cell 1 on" in build.drift(source)


def test_new_prose_needs_no_run_and_new_code_does(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "SOURCES", tmp_path / "src")
    source = tmp_path / "src" / "01_x.py"
    source.parent.mkdir()
    text = "# %% [markdown]\n# # Title\n\n# %%\nimport time\nprint(time.time())\n"
    source.write_text(text, encoding="utf-8")
    assert not build.retell(source)  # never run so far
    build.build(source)
    result = nbformat.read(build.target(source), as_version=4).cells[1].outputs
    source.write_text(text.replace("Title", "A better title"), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["build.py"])
    assert build.drift(source) and build.main() == 0 and build.drift(source) is None
    assert nbformat.read(build.target(source), as_version=4).cells[1].outputs == result
    source.write_text(text.replace("print", "repr"), encoding="utf-8")
    assert not build.retell(source)
    assert build.main() == 0 and build.drift(source) is None
    assert nbformat.read(build.target(source), as_version=4).cells[1].outputs != result


def test_a_name_that_no_lesson_has_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["build.py", "99"])
    with pytest.raises(SystemExit):
        build.main()
    assert "no lesson's name begins with 99" in capsys.readouterr().err


@pytest.mark.parametrize("source", LESSONS, ids=label)
def test_a_lesson_has_the_form_of_a_lesson(source):
    cells = build.read(source).cells
    prose = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    code = [c.source for c in cells if c.cell_type == "code"]
    time = "**Computing:**" if source in SECOND else "**Time:**"
    for part in ("mybinder.org", "colab", "able to", time, "Predict", "take away",
                 "Exercises", "solutions/", "References", "doi.org", "glossary.md"):  # fmt: skip
        assert part in prose, f"{source.name} has no {part!r}"
    words = build.words(cells)
    assert 800 <= words <= (2500 if source in SECOND else 2800), f"{words} words"
    assert all(len(c.splitlines()) <= 15 for c in code), "a cell of more than 15 lines"
    checked = sum(bool(re.search(r"^check\.", c, flags=re.M)) for c in code)
    assert (1 if source in SECOND else 3) <= checked <= 5
    figures = [c for c in code if re.search(r"^(contact_sheet|curves)\(", c, flags=re.M)]
    assert all("alt=" in c for c in figures), "an image without alternative text"


@pytest.mark.parametrize("source", SECOND, ids=label)
def test_a_lesson_shows_what_it_teaches_and_hides_what_it_asks(source):
    cells = build.read(source).cells
    lines = build.visible_lines(cells)
    assert lines <= 150, f"{lines} visible lines of code"
    for cell in cells:
        if build.is_folded(cell):
            assert cell.source.startswith("# "), f"a folded cell has no title: {cell.source[:60]}"
        elif cell.cell_type == "code":
            assert "alt=" not in cell.source, f"the answer is in the code: {cell.source[:60]}"
            assert "assert " not in cell.source, f"an assert that is seen: {cell.source[:60]}"
    for number, cell in enumerate(cells):
        if "> **Predict.**" in cell.source:
            first, after = cells[number + 1 :], []
            for later in first:  # the code up to the next prose
                if later.cell_type == "markdown":
                    after = later.source
                    break
            block = list(itertools.takewhile(lambda c: c.cell_type == "code", first))
            assert any("reveal(" in c.source for c in block), f"not hidden: {cell.source[-80:]}"
            assert after.startswith("<details>"), f"explained in the open: {after[:80]}"


@pytest.mark.parametrize("source", SECOND, ids=label)
def test_exercises_have_a_hint_and_some_want_a_sentence(source):
    prose = "\n".join(c.source for c in build.read(source).cells if c.cell_type == "markdown")
    _, exercises = prose.split("## Exercises")
    exercises = re.split(r"^\*\*\d+\. ", exercises.split("## References")[0], flags=re.M)[1:]
    assert 3 <= len(exercises) <= 5
    for exercise in exercises:
        assert "<summary>A first hint</summary>" in exercise, exercise[:60]
    assert sum("*Your answer:*" in exercise for exercise in exercises) >= 2
    solution = (build.SOURCES / "solutions" / source.name).read_text("utf-8")
    for number in range(1, len(exercises) + 1):
        assert f"## {number} · " in solution


@pytest.mark.parametrize("source", SECOND, ids=label)
def test_a_lesson_says_how_long_it_takes_to_study(source):
    cells = build.read(source).cells
    said = re.search(r"\*\*Study:\*\* about (\d+) minutes", cells[0].source)
    assert said and int(said[1]) == build.study_minutes(cells)


@pytest.mark.parametrize("source", SECOND, ids=label)
def test_every_caption_is_used_once_and_exists(source):
    number = source.name.split("_")[0]
    path = NOTEBOOKS.parent / "diplearn" / "course" / "captions" / f"{number}.toml"
    used = re.findall(rf'text="{number} ([^"]+)"', source.read_text("utf-8"))
    texts = tomllib.loads(path.read_text("utf-8"))
    assert sorted(used) == sorted(texts)


@pytest.mark.parametrize("source", SECOND, ids=label)
def test_claims_are_listed(source):
    number = source.name.split("_")[0]
    claims = (NOTEBOOKS / "claims.md").read_text("utf-8")
    assert re.search(rf"^## {number} ", claims, flags=re.M)


@pytest.mark.parametrize("source", SOURCES, ids=label)
def test_a_notebook_is_small_and_shows_real_results(source):
    path = build.target(source)
    assert path.stat().st_size < 3 * 1024 * 1024
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    text = path.read_text("utf-8")
    assert not re.search(r"/(home|root|tmp|Users)/", text), "a path of the machine that built it"
    images = [picture for cell in notebook.cells for picture in build.pictures(cell)]
    assert source not in LESSONS or len(images) >= 5
    assert all(alt for _, _, alt in images)


def test_a_progress_bar_is_stored_as_it_ended():
    assert build.last_lines("0%\r50%\r100%\ndone\n") == "100%\ndone\n"
