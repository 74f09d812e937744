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
    code = "import sys; from diplearn import fit, run, baselines, course, images; course.check.twin"
    drawn = "{'matplotlib', 'ipywidgets', 'IPython'} & set(sys.modules)"
    assert python(f"{code}; print(sorted({drawn}))") == "[]"


def imported(module, files):
    """The modules of the package that a module imports at its top."""
    package = module.split(".")
    if files[module].name != "__init__.py":
        package.pop()
    for node in ast.parse(files[module].read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            parents = package[: len(package) + 1 - node.level]
            base = ".".join(parents + ([node.module] if node.module else []))
            for alias in node.names:
                yield name if (name := f"{base}.{alias.name}") in files else base


def test_there_are_no_circles_between_the_modules():
    """Data flows one way: nobody imports, at the top, what imports them."""
    files = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        files[".".join(parts).removesuffix(".__init__")] = path
    passed = set()

    def reach(module, path=()):
        assert module not in path, f"a circle: {' -> '.join((*path, module))}"
        if module not in passed:
            for other in imported(module, files):
                reach(other, (*path, module))
            passed.add(module)

    for module in files:
        reach(module)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_run(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def own(module):
    """The functions and classes that a module defines."""
    for thing in vars(module).values():
        kind = inspect.isfunction(thing) or inspect.isclass(thing)
        if kind and thing.__module__ == module.__name__:
            yield thing


def public():
    """The names that a module or package lists in its `__all__`: what lessons and users call."""
    for name in ("diplearn", *MODULES):
        module = importlib.import_module(name)
        for label in getattr(module, "__all__", ()):
            thing = getattr(module, label)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                yield f"{thing.__module__}.{thing.__qualname__}"


PUBLIC = set(public())


def has(section, text):
    return f"\n{section}\n{'-' * len(section)}\n" in text


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_say_what_their_reader_needs(name):
    """Public names get full numpydoc, with an example; everything else gets a sentence."""
    for thing in own(importlib.import_module(name)):
        label = f"{name}.{thing.__qualname__}"
        text = inspect.getdoc(thing) or ""
        if label not in PUBLIC:
            assert "\n---" not in text, f"{label} is not in __all__: a sentence is enough"
            assert text or thing.__name__.startswith("_"), f"{label} has no docstring"
        elif not issubclass(thing, Exception) if inspect.isclass(thing) else True:
            takes = inspect.signature(thing).parameters
            assert not takes or has("Parameters", text) or has("Attributes", text), label
            assert has("Examples", text), f"{label} shows no example"
            if inspect.isfunction(thing):
                given = any(has(each, text) for each in ("Returns", "Yields", "Raises"))
                assert given, f"{label} does not say what it returns"
