"""HTML and SVG as text, for pages and panels."""

import html
import string
from pathlib import Path


def asset(name):
    """Return the text of a script, a style sheet or a template that lies beside this module."""
    return Path(__file__).with_name(name).read_text("utf-8")


def filled(template, **values):
    """Return a template with its $names replaced by values, which must be escaped already."""
    return string.Template(asset(template)).substitute(values)


def element(tag, *content, **attributes):
    """Return an element with content that is escaped already; `stroke_width=1` is `stroke-width`.

    >>> element("line", x1=0, stroke_width=1, class_="thin")
    '<line x1="0" stroke-width="1" class="thin"></line>'
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{written}>{''.join(map(str, content))}</{tag}>"
