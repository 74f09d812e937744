"""A hand on the iterations: pages that need no kernel, and panels that watch a fit live.

`scrub`, `compare` and `impedance` make pages of HTML that stay alive when exported. `watch` and
`playground` are ipywidgets, and need a running kernel.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "live": ["Panel", "watch"],
        "play": ["Mark", "Playground", "playground"],
        "page": ["Page", "compare", "impedance", "scrub"],
        "upload": ["Upload"],
    },
)
