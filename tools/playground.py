"""Serve lesson 11 as a page. Runs in `.venv`; arguments are Voilà's own options."""

import os
import sys
from pathlib import Path

from voila.app import main

# Use the kernel of .venv, even where the user has registered a "python3" kernel of their own.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"

options = [
    str(Path(__file__).resolve().parent.parent / "notebooks" / "11_your_picture.ipynb"),
    # JupyterLab's other extensions do nothing on a page but fail to load.
    "--VoilaConfiguration.extension_denylist=jupyterlab-jupytext",
    "--VoilaConfiguration.extension_denylist=@voila-dashboards/jupyterlab-preview",
]
if not any(argument.startswith("--token") for argument in sys.argv[1:]):
    options.append("--token")  # made anew, and printed with the address
if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    options.append("--no-browser")
sys.exit(main(options + sys.argv[1:]))
