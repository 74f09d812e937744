"""Make the lessons: notebooks/src/**/NN_topic.py (jupytext percent) -> executed notebooks.

A cell tagged "figure:NAME" also leaves its image in figures/, for the README. The code of a cell
tagged "folded" is folded: plots, helpers and checks, which are not what the lesson teaches.

python notebooks/build.py            every lesson that changed; where only prose did, without running it
python notebooks/build.py 01         those whose name begins with 01
python notebooks/build.py --all      everything, also what has not changed
python notebooks/build.py --check    build nothing; fail if a notebook differs from its source
"""

import argparse
import base64
import hashlib
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"


def sources():
    """Every lesson's source, in order."""
    return sorted(SOURCES.rglob("[0-9][0-9]*_*.py"))


def target(source):
    """Where the notebook of a source lies: src/01_x.py -> 01_x.ipynb."""
    return HERE / source.relative_to(SOURCES).with_suffix(".ipynb")


def read(source):
    """Turn a source into a notebook that has not been executed."""
    notebook = jupytext.read(source)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        }
    )
    for number, cell in enumerate(notebook.cells):  # the same ids each time: a quiet diff
        cell.id = hashlib.sha256(f"{number}{cell.source}".encode()).hexdigest()[:8]
        if is_folded(cell):
            cell.metadata["jupyter"] = {"source_hidden": True}  # JupyterLab, and the exported page
            cell.metadata["cellView"] = "form"  # Colab
    return notebook


def is_folded(cell):
    """True if a reader sees the code of a cell only on demand."""
    return "folded" in cell.metadata.get("tags", [])


def words(cells):
    """Count the words of the prose, without formulas and addresses."""
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return len(re.findall(r"\w+", re.sub(r"\$\$?.*?\$\$?|\(http\S*\)", "", prose, flags=re.S)))


def visible_lines(cells):
    """Count the lines of code that a reader sees."""
    shown = [cell for cell in cells if cell.cell_type == "code" and not is_folded(cell)]
    return sum(len(cell.source.splitlines()) for cell in shown)


def study_minutes(cells):
    """Estimate the time of study: reading, predicting and the exercises, rounded to 5 minutes."""
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    predictions = prose.count("**Predict.**")
    exercises = len(re.findall(r"^\*\*\d+\. ", prose, flags=re.M))
    reading = words(cells) / 130 + visible_lines(cells) / 12
    return 5 * round((reading + 2 * predictions + 7 * exercises) / 5)


def drift(source):
    """Say how a notebook differs from its source, or return None."""
    path = target(source)
    if not path.exists():
        return f"{path.name} has not been built"
    built, wanted = nbformat.read(path, as_version=4), read(source)
    old, new = ([(c.cell_type, c.source) for c in n.cells] for n in (built, wanted))
    if old != new:
        changed = next(
            (i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new))
        )
        return f"{path.name} differs from its source from cell {changed} on"
    for number, cell in enumerate(built.cells):
        if cell.cell_type == "code" and cell.execution_count is None:
            return f"{path.name}: cell {number} has not been executed"
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return f"{path.name}: cell {number} ended in an error"
    return None


def retell(source):
    """Give an executed lesson its new prose, and return whether that was all that had changed."""
    path, notebook = target(source), read(source)
    if not path.exists():
        return False
    old, new = (
        [cell for cell in n.cells if cell.cell_type == "code"]
        for n in (nbformat.read(path, as_version=4), notebook)
    )
    same = [(c.source, c.metadata.get("tags")) for c in old] == [
        (c.source, c.metadata.get("tags")) for c in new
    ]
    if not same or any(cell.execution_count is None for cell in old):
        return False
    for was, now in zip(old, new):
        now.outputs, now.execution_count = was.outputs, was.execution_count
    write(notebook, path)
    print(f"{path.name}: only prose changed, its results stay")
    return True


def write(notebook, path):
    """Write a notebook, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    nbformat.write(notebook, temporary)
    temporary.replace(path)


def build(source):
    """Execute a lesson and write it, whole or not at all."""
    notebook = read(source)
    path = target(source)
    path.parent.mkdir(exist_ok=True)
    begun = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = last_lines(output.text)
    keep_figures(notebook)
    write(notebook, path)
    kilobytes = path.stat().st_size / 1024
    print(f"{path.name}: {time.perf_counter() - begun:.0f} s, {kilobytes:.0f} KiB")


def keep_figures(notebook):
    """Write the images of tagged cells where the README finds them."""
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("figure:"):
                [(kind, image, _)] = pictures(cell)
                figures = HERE.parent / "figures"
                figures.mkdir(exist_ok=True)
                name = tag.removeprefix("figure:") + "." + kind
                (figures / name).write_bytes(base64.b64decode(image))


def pictures(cell):
    """List the images that a cell shows: format, base64, and alternative text."""
    found = []
    for output in cell.get("outputs", []):
        for kind, data in output.get("data", {}).items():
            if kind.startswith("image/"):
                alt = output.metadata.get(kind, {}).get("alt", "")
                found.append((kind.removeprefix("image/"), data, alt))
            elif kind == "text/html":  # the results below a prediction
                image = r'<img src="data:image/(\w+);base64,([^"]+)" alt="([^"]*)">'
                found += re.findall(image, data) if "dip-guess" in data else []
    return found


def last_lines(text):
    """Keep of a progress bar what a terminal would show in the end."""
    lines = [re.split(r"\r+(?!\n)", line.rstrip("\r"))[-1] for line in text.split("\n")]
    return "\n".join(lines)


def main():
    """Build what was asked for; 1 if a notebook differs from its source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of the lessons' names")
    parser.add_argument("--all", action="store_true", help="also what has not changed")
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args()
    found = [s for s in sources() if not options.names or s.name.startswith(tuple(options.names))]
    if not found:
        parser.error(f"no lesson's name begins with {' or '.join(options.names)}")
    if options.check:
        drifts = [difference for source in found if (difference := drift(source))]
        print("\n".join(drifts) or f"{len(found)} notebooks agree with their sources")
        return 1 if drifts else 0
    for source in found:
        asked = options.all or options.names
        if asked or (drift(source) and not retell(source)):
            print(f"building {source.name} ...", flush=True)
            build(source)
    return 0


if __name__ == "__main__":
    sys.exit(main())
