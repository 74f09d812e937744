"""RESULTS.md: a section for each benchmark, replaced when it is measured again."""

import datetime
import json
import platform
import re
from pathlib import Path

import torch
import typer

from diplearn.errors import InputError
from diplearn.files import replacing

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def stored(path):
    """Return what is stored as JSON, or None: what cannot be read is measured again."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def markdown(frame, digits=2):
    """Write a data frame, its index included, as a Markdown table."""
    frame = frame.round(digits).astype(object).where(frame.notna(), "").reset_index()
    lines = ["| " + " | ".join(map(str, frame.columns)) + " |"]
    lines.append("|" + "---|" * len(frame.columns))
    lines += ["| " + " | ".join(str(value) for value in row) + " |" for row in frame.values]
    return "\n".join(lines) + "\n"


def machine(on_gpu=False):
    """Say where, with what and when something was measured."""
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
    """Replace a section of the results, or add it; the others stay as they are."""
    old = path.read_text("utf-8") if path.exists() else "# Results\n"
    section = f"## {title}\n\n{text.strip()}\n"
    pattern = rf"(?ms)^## {re.escape(title)}\n.*?(?=^## |\Z)"
    if re.search(pattern, old):
        new = re.sub(pattern, lambda _: section + "\n", old).rstrip() + "\n"
    else:
        new = f"{old.rstrip()}\n\n{section}"
    with replacing(path) as temporary:
        temporary.write_text(new, encoding="utf-8")


def start(command):
    """Run a benchmark from the command line; what is wrong with its input is one line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
