"""Make `.venv`: the package with its extras, pinned by constraints.txt, and torch's CPU build.

Run by every `make` command. A stamp inside `.venv` says what it was made from; while it matches,
nothing happens. It is written first as "unfinished" and only at the end for real, so a set-up that
was killed or that failed is never trusted: whatever does not match is removed and made anew (what
was downloaded is in pip's cache). A failure is one sentence on stderr.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "made-from.txt"
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = "lab,compare,cluster,dev"
TORCH = os.environ.get("TORCH") or "cpu"  # or what `uv --torch-backend` knows: auto, cu130, ...
GIGABYTES = 2.5  # .venv, and what is unpacked on the way

FULL_DISK = (
    f"The disk is full: free {GIGABYTES} GB where {VENV} goes and in the temporary folder, "
    "then call make again."
)
OFFLINE = (
    "The package index, or torch's own, cannot be reached: check the network or the proxy, "
    "then call make again."
)
NO_BUILD = (
    f"A package has no build for Python {platform.python_version()} on {platform.platform()} "
    "(REASON): name another Python with PYTHON=..., then call make again."
)
CAUSES = [  # what pip, uv or Python print, and what that means
    (r"No space left on device|quota exceeded|not enough space on the disk", FULL_DISK),
    (r"NewConnectionError|NameResolutionError|name resolution|timed out|dns error", OFFLINE),
    (r"error sending request|ProxyError|Connection (refused|reset|broken|aborted)", OFFLINE),
    (r"No matching distribution|No solution found", NO_BUILD),
]


class SetupError(Exception):
    """What stands in the way of `.venv`, as one sentence for the user."""


def explain(output):
    """Turn what a failed command printed into one sentence."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no reason given"]
    last = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1])
    last = last.removeprefix("ERROR: ").rstrip(".")
    if shutil.disk_usage(ROOT).free < 50e6:  # not every failure for lack of room says so
        return FULL_DISK
    for pattern, sentence in CAUSES:
        if re.search(pattern, output, re.IGNORECASE):
            return sentence.replace("REASON", last)
    return f"{VENV} could not be made: {last}."


def run(*command):
    """Run a command, let its progress through and keep what it says on stderr for `explain`."""
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode:
        raise SetupError(explain(done.stderr))


def pip_install(*requirements):
    """Install into `.venv`, at the versions of constraints.txt."""
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    run(PYTHON, "-m", "pip", "install", *quiet, "--constraint", CONSTRAINTS, *requirements)


def install_torch():
    """Install the pinned torch, on Linux without the gigabytes of CUDA that pip would bring."""
    version = re.search(r"^torch==(\S+)", CONSTRAINTS.read_text(), re.MULTILINE)[1]
    if TORCH == "cpu":
        build = f"{version}+cpu" if sys.platform == "linux" else version
        try:
            return pip_install(f"torch=={build}")
        except SetupError as error:
            if sys.platform != "linux" or str(error) in (FULL_DISK, OFFLINE):
                raise
    # Most package indexes lack the +cpu builds; uv knows where they are.
    pip_install("uv")
    uv = [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, "--constraint", CONSTRAINTS]
    run(*uv, "--torch-backend", TORCH, f"torch=={version}")


def fingerprint():
    """Everything that decides what is in `.venv`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [
        project["build-system"],
        project["project"],
        project["tool"]["setuptools"],
        CONSTRAINTS.read_text(encoding="utf-8"),
        Path(__file__).read_text(encoding="utf-8"),
        sys.version_info[:2],
        TORCH,
        str(ROOT),  # a moved folder needs a new .venv
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def ready():
    """Whether `.venv` is complete and up to date."""
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text() == fingerprint()


def remove():
    """Delete `.venv`, its stamp last: if this is interrupted, it is still known as ours."""
    for path in VENV.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != STAMP:
            path.unlink()
    STAMP.unlink(missing_ok=True)
    VENV.rmdir()


def make():
    """Make `.venv` from nothing."""
    try:
        import ensurepip  # noqa: F401  (Debian ships both modules in a package of their own)
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            f"{sys.executable} has no venv module: install it (on Debian and Ubuntu: "
            f"apt install python3.{sys.version_info[1]}-venv), then call make again."
        ) from None
    if VENV.exists():
        if not STAMP.exists() and any(VENV.iterdir()):
            raise SetupError(f"{VENV} was not made by make: move it away, then call make again.")
        remove()
    if shutil.disk_usage(ROOT).free < GIGABYTES * 1e9:
        raise SetupError(FULL_DISK)

    print("Making .venv: downloads of about 500 MB, a few minutes, once.", flush=True)
    VENV.mkdir()
    STAMP.write_text("unfinished")
    try:
        # The interpreter behind an activated .venv, which may have been the one just removed.
        run(getattr(sys, "_base_executable", sys.executable), "-m", "venv", VENV)
        install_torch()
        pip_install("setuptools")
        pip_install("--no-build-isolation", "--editable", f".[{EXTRAS}]")
        STAMP.write_text(fingerprint())
    except (SetupError, OSError):
        remove()
        raise


if __name__ == "__main__":
    try:
        if not ready():
            make()
    except SetupError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(explain(str(error)))
    except KeyboardInterrupt:
        sys.exit("The set-up was interrupted: call make again to begin it anew.")
