"""HTML and SVG as text, for pages and panels."""

import html
import string
from pathlib import Path


def asset(name):
    """Return the text of a script, style sheet or template in this folder."""
    return Path(__file__).with_name(name).read_text("utf-8")


def filled(template, **values):
    """Return a template with its $names replaced by values; the values must be escaped already."""
    return string.Template(asset(template)).substitute(values)


def element(tag, *content, **attributes):
    """Return an HTML element from escaped content; the argument `stroke_width` is `stroke-width`.

    >>> element("line", x1=0, stroke_width=1, class_="thin")
    '<line x1="0" stroke-width="1" class="thin"></line>'
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{written}>{''.join(map(str, content))}</{tag}>"
