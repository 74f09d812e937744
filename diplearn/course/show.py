"""Results as the lessons show them: captioned in print, and hidden under a prediction.

Captions and alternative texts lie in ``captions/NN.toml``, one file for each lesson, so that the
code of a cell does not say what the reader is about to see.
"""

import base64
import functools
import html
import tomllib
from pathlib import Path

from ..errors import InputError

__all__ = ["reveal", "show"]

_STYLE = (Path(__file__).parent / "reveal.css").read_text("utf-8")


def show(*results, text, **numbers):
    """Display results, and the caption below them.

    Parameters
    ----------
    *results
        Figures, tables, pages of `diplearn.widgets`, or strings, which are shown as printed text.
    text : str
        Lesson and name of the texts, such as "03 energies": the table ``[energies]`` of
        ``captions/03.toml``, with a ``caption`` and, for a figure, its alternative text ``alt``.
    **numbers
        Values for the caption: ``{gap:.1f}`` in the file is replaced by the keyword `gap`.

    Raises
    ------
    InputError
        There is no such text, or a value for it is missing.

    Examples
    --------
    >>> show("1.5 dB", text="00 example")  # doctest: +ELLIPSIS
    1.5 dB
    ...
    """
    from IPython.display import Markdown, display  # a notebook has IPython

    texts = _texts(text, numbers)
    for result in _described(results, texts):
        print(result) if isinstance(result, str) else display(result)
    if texts.get("caption"):
        display(Markdown(f"*{texts['caption']}*"))


def reveal(*results, text, **numbers):
    """Return results that stay hidden until the reader opens them, below a box for a guess.

    The box and the button are plain HTML: they work in JupyterLab, in Colab and in an exported
    page, without a kernel. What is typed into the box is not kept.

    Parameters
    ----------
    *results, text, **numbers
        As in `show`.

    Returns
    -------
    Hidden
        Displayed at the end of a notebook cell.

    Raises
    ------
    InputError
        There is no such text, or a value for it is missing.

    Examples
    --------
    >>> "<details>" in reveal("42", text="00 example")._repr_mimebundle_()["text/html"]
    True
    """
    texts = _texts(text, numbers)
    caption = html.escape(texts.get("caption", ""))
    shown = "".join(_as_html(result) for result in _described(results, texts))
    return Hidden(shown + (f'<p class="dip-caption">{caption}</p>' if caption else ""))


class Hidden:
    """Results as HTML, under a button."""

    def __init__(self, results):
        self.results = results

    def _repr_mimebundle_(self, include=None, exclude=None):
        page = (
            f"<style>{_STYLE}</style>"
            '<div class="dip-guess"><label>Your prediction '
            '<textarea rows="2" placeholder="Write it down first."></textarea></label>'
            f"<details><summary>Show the result</summary>{self.results}</details></div>"
        )
        return {"text/html": page, "text/plain": "A result, hidden until you open it."}


def _texts(name, numbers):
    """Return the texts of that name, with the numbers filled in."""
    lesson, _, name = name.partition(" ")
    texts = _lesson(lesson)
    if name not in texts:
        raise InputError(f"captions/{lesson}.toml has no [{name}]; it has {', '.join(texts)}")
    try:
        return {key: value.format(**numbers) for key, value in texts[name].items()}
    except KeyError as missing:
        raise InputError(f"the text [{name}] needs a value for {missing}") from None


@functools.cache
def _lesson(number):
    path = Path(__file__).parent / "captions" / f"{number}.toml"
    if not path.is_file():
        raise InputError(f"there are no captions for lesson {number}")
    return tomllib.loads(path.read_text("utf-8"))


def _described(results, texts):
    """Give figures their alternative text; several figures share it."""
    for result in results:
        if hasattr(result, "alt") and "alt" in texts:
            result.alt = texts["alt"]
    return results


def _as_html(result):
    if isinstance(result, str):
        return f"<pre>{html.escape(result)}</pre>"
    if not hasattr(result, "_repr_mimebundle_"):
        return result._repr_html_()
    bundle = result._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    if "text/html" in data:
        return data["text/html"]
    [kind] = [kind for kind in data if kind.startswith("image/")]
    image = base64.b64encode(data[kind]).decode()
    return f'<img src="data:{kind};base64,{image}" alt="{html.escape(result.alt)}">'
