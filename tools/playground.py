"""Serve lesson 11 as a page. Runs in `.venv`; arguments are Voilà's own options."""

import os
import sys
from pathlib import Path

from traitlets.config import Config
from voila.app import main

# Use the kernel of .venv, even where the user has registered a "python3" kernel of their own.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"


def let_the_page_end_its_kernel(request, notebook, cwd):
    """Set the cookie without which the server refuses the page's last word, said as it closes."""
    _ = request.xsrf_token  # reading it sets the cookie


config = Config()
config.VoilaConfiguration.prelaunch_hook = let_the_page_end_its_kernel
# A browser that crashed says nothing: its kernel, some 300 MB, goes after ten minutes in which it
# had no page and no fit.
config.MappingKernelManager.cull_idle_timeout = 600
config.MappingKernelManager.cull_interval = 60
# Here the page itself is shown, and not the picture of it for readers without a kernel.
config.TagRemovePreprocessor.remove_cell_tags = {"without-kernel"}

options = [
    str(Path(__file__).resolve().parent.parent / "notebooks" / "11_your_image.ipynb"),
    # JupyterLab's other extensions do nothing on a page but fail to load.
    "--VoilaConfiguration.extension_denylist=jupyterlab-jupytext",
    "--VoilaConfiguration.extension_denylist=@voila-dashboards/jupyterlab-preview",
]
if not any(argument.startswith("--token") for argument in sys.argv[1:]):
    options.append("--token")  # made anew, and printed with the address
if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    options.append("--no-browser")
sys.exit(main(options + sys.argv[1:], config=config))
