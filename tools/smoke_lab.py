"""Run `make lab` as a user would: wait for its address, open the page and the lesson, stop it.

Standard library only: `python tools/smoke_lab.py [seconds to wait, 60 unless said]`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)(/lab/tree/\S+\.ipynb)\?token=(\w+)")


def kill(process):
    """End make and the server that it started."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], check=False)
    else:
        os.killpg(process.pid, signal.SIGKILL)


def smoke(limit=60, **env):
    """Return the seconds until the lesson answered at the address that `make lab` printed."""
    # Not `make` inside `make`, where this runs as a test.
    env = {name: value for name, value in os.environ.items() if "MAKE" not in name} | env
    env.pop("JUPYTER_TOKEN", None)
    start = time.monotonic()
    make = subprocess.Popen(
        ["make", "lab", "ARGS=--no-browser --port 0"],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    watchdog = threading.Timer(limit, kill, [make])
    watchdog.start()
    try:
        printed = ""
        for line in make.stdout:
            printed += line
            if found := ADDRESS.search(line):
                break
        else:
            raise RuntimeError(f"make lab printed no address within {limit} s:\n{printed}")
        threading.Thread(target=make.stdout.read, daemon=True).start()

        server, page, token = found.groups()
        headers = {"Authorization": f"token {token}"}

        def ask(path, **kwargs):
            request = Request(server + path, headers=headers, **kwargs)
            while True:
                try:
                    with urlopen(request, timeout=limit) as answer:
                        return answer.read().decode()
                except URLError as error:  # JupyterLab prints its address before it listens there
                    if isinstance(error, HTTPError) or make.poll() is not None:
                        raise
                    time.sleep(0.1)

        if "jupyter-config-data" not in ask(page):
            raise RuntimeError(f"{page} is not JupyterLab's page")
        lesson = json.loads(ask(page.replace("/lab/tree/", "/api/contents/")))
        if lesson["type"] != "notebook" or not lesson["content"]["cells"]:
            raise RuntimeError(f"{page} is not a notebook with cells")
        seconds = time.monotonic() - start
        ask("/api/shutdown", method="POST")
        if make.wait(limit) != 0:
            raise RuntimeError(f"make lab ended with exit status {make.returncode}")
        return seconds
    finally:
        watchdog.cancel()
        if make.poll() is None:
            kill(make)


if __name__ == "__main__":
    print(f"make lab: the lesson was there after {smoke(*map(float, sys.argv[1:])):.1f} s")
