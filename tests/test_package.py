"""The package as a whole: its face, its layers, its docstrings."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import diplearn

ROOT = Path(diplearn.__file__).parent
MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(diplearn.__path__, "diplearn.")
    if "__main__" not in m.name
)


def python(code):
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_face_offers_what_the_lessons_use():
    for name in diplearn.__all__:
        assert getattr(diplearn, name) is not None
    assert {"fit", "iterate", "denoising", "Problem", "Run", "images"} <= set(diplearn.__all__)


def test_functions_are_not_shadowed_by_modules():
    """`dip.fit` must stay a function whatever was imported before."""
    code = "import diplearn.fitting, diplearn.energy, diplearn as dip; dip.iterate"
    assert python(f"{code}; print(callable(dip.fit), callable(dip.jpeg))") == "True True"


def test_importing_the_package_does_not_wait_for_torch():
    assert python("import sys, diplearn.cli; print('torch' in sys.modules)") == "False"


def test_the_core_needs_no_matplotlib_and_no_widgets():
    code = "import sys; from diplearn import fit, run, baselines, check, images"
    drawn = "{'matplotlib', 'ipywidgets', 'IPython'} & set(sys.modules)"
    assert python(f"{code}; print(sorted({drawn}))") == "[]"


def test_there_are_no_circles_between_the_modules():
    """Data flows one way: nobody imports, at the top, what imports them."""
    imports = {}
    for path in ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        imports[module.removesuffix(".__init__")] = {
            alias
            for node in ast.parse(path.read_text("utf-8")).body
            if isinstance(node, ast.ImportFrom) and node.level == 1 and "." not in module
            for alias in ([node.module] if node.module else [n.name for n in node.names])
        }

    def reach(module, path=()):
        assert module not in path, f"a circle: {' -> '.join((*path, module))}"
        for other in imports.get(module, ()):
            reach(other, (*path, module))

    for module in imports:
        reach(module)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_run(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_are_documented(name):
    """A sentence for everything; parameters and result for all that is more than a helper."""
    module = importlib.import_module(name)
    for label, thing in vars(module).items():
        own = inspect.isfunction(thing) and thing.__module__ == name
        if label.startswith("_") or not own or name.endswith("cli"):
            continue
        text = inspect.getdoc(thing)
        assert text, f"{name}.{label} has no docstring"
        if inspect.signature(thing).parameters and len(text.splitlines()) > 1:
            assert "Parameters\n----------" in text, f"{name}.{label} explains no parameters"
