"""Where the browser of the browser tests is."""

import os
import shutil

import pytest

NAMES = ("chromium", "google-chrome", "chromium-browser")


def find(named=None):
    """Return the path of a chromium, or None where there is none.

    DIPLEARN_BROWSER, a path or a name on PATH, is the only candidate where it is set: it must be
    there. Playwright launches paths alone, so that a name is looked up here.
    """
    named = named or os.environ.get("DIPLEARN_BROWSER")
    if not named:
        return next(filter(None, map(shutil.which, NAMES)), None)
    path = shutil.which(named)
    if path is None:
        raise pytest.UsageError(
            f"DIPLEARN_BROWSER={named} is no program: name a chromium, by its path or as it is "
            "called on PATH, or leave DIPLEARN_BROWSER unset."
        )
    return os.path.abspath(path)
