"""The browser itself."""

import os
import subprocess
import sys

from conftest import CHROMIUM


def test_a_page_opens(page):
    page.goto("data:text/html,<p>hello")
    assert page.locator("p").inner_text() == "hello"
    assert not page.errors


def test_the_browser_may_be_named_as_it_is_called_on_path(tmp_path):
    (tmp_path / "a-browser").write_text(f'#!/bin/sh\nexec "{CHROMIUM}" "$@"\n')
    (tmp_path / "a-browser").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"{__file__}::test_a_page_opens"],
        env=os.environ | {"PATH": path, "DIPLEARN_BROWSER": "a-browser"},
        capture_output=True,
        text=True,
    )
    assert "1 passed" in done.stdout and f"browser tests: {tmp_path}/a-browser" in done.stdout
