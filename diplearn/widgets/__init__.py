"""Widgets that put the iterations of a fit into the reader's hand.

`scrub`, `compare` and `impedance` make pages of HTML that need no kernel, and so stay alive in an
exported notebook. `watch` and `playground` make panels of ipywidgets, which need a running kernel.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "live": ["Panel", "watch"],
        "page": ["Page", "compare", "impedance", "scrub"],
        "play": ["playground"],
    },
)
