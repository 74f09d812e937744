"""Open JupyterLab at the first lesson. Runs in `.venv`; arguments are JupyterLab's own options."""

import os
import sys
from pathlib import Path

from jupyterlab.labapp import main

ROOT = Path(__file__).resolve().parent.parent
FIRST_LESSON = "notebooks/01_motivation.ipynb"

# Use the kernel of .venv, even where the user has registered a "python3" kernel of their own.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"

options = [
    f"--LabApp.default_url=/lab/tree/{FIRST_LESSON}",
    "--LanguageServerManager.autodetect=False",  # so that the address is the last thing printed
]
if not any("root_dir" in argument for argument in sys.argv[1:]):
    options.append(f"--ServerApp.root_dir={ROOT}")
if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    options.append("--no-browser")
if hasattr(os, "geteuid") and os.geteuid() == 0:
    options.append("--allow-root")
sys.exit(main(options + sys.argv[1:]))
