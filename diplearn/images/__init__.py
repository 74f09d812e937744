"""Images as tensors: bundled, read, downloaded, written, checked.

An image is a float32 tensor (C, H, W) with values in [0, 1]; C is 1 (grey) or 3 (RGB). A file or
an array that cannot be used as an image raises ImageError, whose message says why.
"""

from .bundled import BUNDLED, fetch, load, names, paper_names
from .decoding.limits import LARGEST_AREA
from .decoding.source import opened
from .masks import read_erased, read_mask, shrink_known
from .reading import About, about, read
from .resizing import centre_square, shrink
from .tensors import SMALLEST_SIDE, check, from_array, to_array, to_uint8
from .tensors import as_tensor as as_tensor  # for use inside the package, like the `as` below
from .tensors import check_finite as check_finite
from .tensors import check_form as check_form
from .writing import WRITABLE, encode, write
from .writing import check_suffix as check_suffix
from .writing import image_format as image_format

__all__ = [
    "BUNDLED", "LARGEST_AREA", "SMALLEST_SIDE", "WRITABLE", "About", "about",
    "centre_square", "check", "encode", "fetch", "from_array", "load", "names", "opened",
    "paper_names", "read", "read_erased", "read_mask", "shrink", "shrink_known", "to_array",
    "to_uint8", "write",
]  # fmt: skip
