"""Helpers of the benchmarks; each one writes, and later replaces, its section of RESULTS.md."""

import datetime
import platform
import re
from pathlib import Path

import torch
import typer
from tqdm.auto import tqdm

from diplearn.errors import InputError
from diplearn.files import replacing

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def markdown(frame, digits=2):
    """Return a data frame, its index included, as a Markdown table."""
    frame = frame.round(digits).astype(object).where(frame.notna(), "").reset_index()
    lines = ["| " + " | ".join(map(str, frame.columns)) + " |"]
    lines.append("|" + "---|" * len(frame.columns))
    lines += ["| " + " | ".join(str(value) for value in row) + " |" for row in frame.values]
    return "\n".join(lines) + "\n"


def machine(on_gpu=False):
    """Return a sentence: the processor or GPU, the versions and the date."""
    place = f"{platform.machine()}, {torch.get_num_threads()} CPU threads"
    if torch.backends.cpu.get_cpu_capability() != "DEFAULT":
        place += f" ({torch.backends.cpu.get_cpu_capability()})"
    if on_gpu and torch.cuda.is_available():
        place = torch.cuda.get_device_name()
    return (
        f"{place}; Python {platform.python_version()}, torch {torch.__version__}; "
        f"{datetime.date.today().isoformat()}."
    )


def put_section(path, title, text):
    """Replace one section of a Markdown file, or add it."""
    old = path.read_text("utf-8") if path.exists() else "# Results\n"
    section = f"## {title}\n\n{text.strip()}\n"
    pattern = rf"(?ms)^## {re.escape(title)}\n.*?(?=^## |\Z)"
    if re.search(pattern, old):
        new = re.sub(pattern, lambda _: section + "\n", old).rstrip() + "\n"
    else:
        new = f"{old.rstrip()}\n\n{section}"
    with replacing(path) as temporary:
        temporary.write_text(new, encoding="utf-8")


def run_missing(wanted, store, words):
    """Run the cases that are not stored yet; print each one's row in the words of `words(row)`."""
    missing = store.missing(wanted)
    for key, work in tqdm(missing.items(), "cases", disable=not missing):
        result = work()
        store.put(key, *result)
        tqdm.write(f"{key}: {words(result.row)}")


def start(command):
    """Run a benchmark from the command line; show an InputError as one line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
