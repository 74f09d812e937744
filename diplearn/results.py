"""Store results of sweeps and benchmarks on disk: a row, an image and a curve for each key."""

import io
import json
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import lazy_loader
import numpy as np
import torch

from . import images
from .errors import InputError
from .files import replacing

pd = lazy_loader.load("pandas")  # imported on first use, since it takes 34 MB


class Result(NamedTuple):
    """The result of one key: a row of plain values, an image in [0, 1], and a DataFrame.

    Benchmarks also store lists of rows. The image is stored with 8 bits per value.
    """

    row: dict | list | None = None
    image: torch.Tensor | None = None
    curve: object = None


class Store:
    """A folder of results: KEY.json holds the row, KEY.png the image, KEY.csv the curve.

    A result is complete if all of the store's `parts` can be read and `check(key, result)` is true.
    A damaged result counts as missing, so that the caller computes it again.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(folder)
    ...     store.put("camera-0", {"psnr": 31.0})
    ...     store.get("camera-0").row, list(store.missing({"camera-0": 0, "camera-1": 1}))
    ({'psnr': 31.0}, ['camera-1'])
    """

    def __init__(self, folder, parts=("row",), check=None):
        self.folder, self.parts = Path(folder), parts
        self.check = check or (lambda key, result: True)

    def make_folder(self):
        """Create the folder if it does not exist; raise InputError if that is impossible."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {self.folder}: {error.strerror}") from None

    def get(self, key, parts=None):
        """Return the result, or None if one of its parts (default: all) is missing or damaged."""
        try:
            result = Result(**{part: self._read(key, part) for part in parts or self.parts})
            return result if self.check(key, result) else None
        except Exception:  # damaged files can cause any error
            return None

    def put(self, key, row=None, image=None, curve=None):
        """Write the parts of a result; the row comes last, since a result without it is missing."""
        if image is not None:
            images.write(image, self._place(key, "image"))
        if curve is not None:
            with replacing(self._place(key, "curve")) as temporary:
                curve.to_csv(temporary)
        if row is not None:
            with replacing(self._place(key, "row")) as temporary:
                temporary.write_text(to_json(row, indent=1), encoding="utf-8")

    def missing(self, wanted):
        """Return the items of a dict whose keys have no complete result yet."""
        return {key: value for key, value in wanted.items() if self.get(key) is None}

    def rows(self):
        """Return the rows of all results in the folder, even if their other parts are missing."""
        found = (self.get(path.stem, ("row",)) for path in sorted(self.folder.glob("*.json")))
        return [result.row for result in found if result is not None]

    def path(self, key, part):
        """Return the file of one part of a result."""
        return self.folder / f"{key}{_SUFFIXES[part]}"

    def _read(self, key, part):
        path = self.path(key, part)
        if not path.is_file():  # reading from a pipe would never end
            raise FileNotFoundError(path)
        return _READERS[part](path)

    def _place(self, key, part):
        """Return the path to write to; move a folder or a read-only file of this name aside."""
        path = self.path(key, part)
        if os.path.lexists(path) and not (path.is_file() and os.access(path, os.W_OK)):
            path.rename(Path(tempfile.mkdtemp(prefix="damaged-", dir=self.folder), path.name))
        return path


def to_json(values, **options):
    """Return plain values, including NumPy's, as JSON; raise InputError for other types."""

    def plain(value):
        if isinstance(value, (np.generic, np.ndarray)):
            return value.tolist()
        raise InputError(f"{value!r} is not a plain value: a number, string, list or dict")

    return json.dumps(values, default=plain, **options)


def _read_row(path):
    return json.loads(path.read_text(encoding="utf-8"))


def _read_curve(path):
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise ValueError("the last line was cut off")
    return pd.read_csv(io.StringIO(text), index_col=0)


_SUFFIXES = {"row": ".json", "image": ".png", "curve": ".csv"}
_READERS = {"row": _read_row, "image": images.read, "curve": _read_curve}
