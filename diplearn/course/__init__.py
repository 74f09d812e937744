"""Modules that only the lessons use: checks of answers, figures, theory and stored results.

Nothing outside this folder imports from it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["check", "data", "drawings", "figures", "show", "theory"]
)
