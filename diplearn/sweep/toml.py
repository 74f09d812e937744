"""Read cases from a TOML file; the docstring of the package shows an example."""

import dataclasses
import math
import os
import tomllib
from pathlib import Path

from .. import recipes
from ..errors import InputError, whole
from .cases import MOST, Case, blaming, check_count, is_own, one_line, only

KEYS = ("images", "size", "seeds", "problem", "base", "vary")
"""The keys that a file may have at the top level."""


def read(path):
    """Read cases from a TOML file; ``help("diplearn.sweep")`` shows an example.

    Parameters
    ----------
    path : str or path-like
        The file; its own images are in the same folder.

    Returns
    -------
    list of Case
        All images, problems and seeds with the base recipe, then the same with the first level of
        the first factor, and so on.

    Raises
    ------
    InputError
        The file is missing or not TOML in UTF-8, has an unknown key or an invalid value, or
        describes no cases or more than 100,000.

    Examples
    --------
    >>> read("missing.toml")
    Traceback (most recent call last):
    ...
    diplearn.errors.InputError: there is no file missing.toml
    """
    path = Path(path)
    try:
        described = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows adds a BOM
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text: save it in this encoding") from None
    except (OSError, ValueError, RecursionError) as error:  # a folder, not TOML, nested too deeply
        raise InputError(one_line(f"{path} cannot be read as TOML: {error}")) from None
    with blaming(path):
        _check_value(described, "")
        return _cases(described, path.parent)


def _check_value(value, where, depth=0):
    """Refuse values that no setting takes, at any depth."""
    if isinstance(value, (dict, list)):
        if depth > 6:
            raise InputError(f"{where} is nested too deeply")
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _check_value(inner, f"{where}.{name}".lstrip("."), depth + 1)
    elif not isinstance(value, (str, int, float)):
        raise InputError(f"{where} is a date or a time, which no setting takes")
    elif not isinstance(value, str) and not abs(value) < 2**63:
        raise InputError(f"{where} must be a finite number of at most 64 bits")


def _cases(described, folder):
    only(KEYS, described, "a sweep")
    if "images" not in described:
        raise InputError('it names no images; add, for example, images = ["camera"]')
    names = [_located(name, folder) for name in _listed(described["images"])]
    seeds = described.get("seeds", 1)
    seeds = seeds if isinstance(seeds, list) else range(whole(seeds, "seeds", 0, MOST))
    tasks = [_task(table) for table in _listed(described.get("problem", {}))]
    levels = list(_levels(described))
    check_count(images=names, seeds=seeds, problem=tasks, vary=levels)
    return [
        Case(image, described.get("size"), *task, *recipe, seed, label)
        for label, recipe in levels
        for task in tasks
        for image in names
        for seed in seeds
    ]


def _listed(given):
    return given if isinstance(given, list) else [given]


def _located(name, folder):
    """Return the path of an image file beside the TOML file; return other names unchanged."""
    if not isinstance(name, str):
        raise InputError(f"images holds {name!r}: it must be a list of names")
    found = folder / name
    return str(found.resolve()) if is_own(name) and os.path.isfile(found) else name


def _task(table):
    """Split a table into the task and its arguments."""
    if not isinstance(table, dict):
        raise InputError(f"problem is {table!r}: it must be a table, as in [problem]")
    arguments = {name: _number(name, value) for name, value in table.items() if name != "task"}
    return table.get("task", "denoising"), arguments


def _number(name, value):
    """Return a text such as "25/255" as a number; return other values unchanged."""
    try:
        top, *bottom = map(float, value.split("/", 1))
        number = top / bottom[0] if bottom else top
    except (AttributeError, ValueError):  # not a text, or not a number
        return value
    except ZeroDivisionError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} = {value!r} must be a finite number")
    return number


def _levels(described):
    """Yield labels and recipes: the base, then each level of each factor."""
    base = _fields(described.get("base", {}), "base")
    if "vary" not in described:
        yield "", _recipe(base)
        return
    yield "base", _recipe(base)
    factors = _filled(described["vary"], "vary", "a table for each factor, as in [vary.depth]")
    for factor, levels in factors:
        holds = "levels, as in slow = { learning_rate = 0.003 }"
        for level, changes in _filled(levels, f"vary.{factor}", holds):
            changes = _fields(changes, f"vary.{factor}.{level}")
            yield f"{factor} {level}", _recipe(_merged(base, changes))


def _filled(table, where, holds):
    if not (isinstance(table, dict) and table):
        raise InputError(f"{where} is empty: it holds {holds}")
    return table.items()


def _fields(table, where):
    known = ["recipe", *(field.name for field in dataclasses.fields(recipes.Recipe))]
    if not isinstance(only(known, table, where).get("options", {}), dict):
        raise InputError(f"{where}.options is {table['options']!r}: it must be a table")
    return table


def _merged(base, changes):
    """Apply changes to the base; like `Recipe.replace`, merge the options of the same network."""
    if "options" in changes and "options" in base and "network" not in changes:
        changes = changes | {"options": base["options"] | changes["options"]}
    return base | changes


def _recipe(fields):
    """Return the values of `recipe` and `changes` for a case."""
    return fields.get("recipe", "lab"), {k: v for k, v in fields.items() if k != "recipe"}
