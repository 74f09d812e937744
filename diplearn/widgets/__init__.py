"""Widgets with which a reader moves through the iterations of a fit.

`scrub`, `compare` and `impedance` make HTML pages that need no kernel and still work in an exported
notebook. `watch` and `playground` make panels of ipywidgets, which need a running kernel.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "live": ["watch"],
        "page": ["compare", "impedance", "scrub"],
        "play": ["playground"],
    },
)
