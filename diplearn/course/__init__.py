"""What only the lessons use: the answers' checks, their drawings, the theory, and stored results.

The method stands alone: nothing outside this folder imports from it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["check", "data", "figures", "theory"]
)
