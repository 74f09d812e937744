"""Answers to the lessons' exercises: a check says what is right, or gives a hint.

Each returns a `Verdict`, which a notebook shows; it never raises, so that a lesson with unfinished
exercises still runs from top to bottom. There is a file for each lesson; all their names are here.
"""

from .ablation import apart, equal_size, one_factor
from .denoising import constant, four_runs, neighbours, stabilised
from .energy import beta, no_need_to_stop, tv_function, two_pixels
from .impedance import checkerboard, negative, reached, tells_apart, two_shares
from .inpainting import own_hole, psnr_inside, sees_across, without_mask
from .motivation import no_prior, numbers_per_parameter, own_network, psnr_function
from .speed import cheaper, multiplications, orthogonal
from .stopping import discrepancy_rule, fooled, salt_sigma
from .super_resolution import alias, dimensions, twin, unseen_by_blocks
from .theory import follows, spectral_error, tangent_kernel
from .verdict import OPEN, Verdict, number

__all__ = [
    "OPEN",
    "Verdict",
    "alias",
    "apart",
    "beta",
    "cheaper",
    "checkerboard",
    "constant",
    "dimensions",
    "discrepancy_rule",
    "equal_size",
    "follows",
    "fooled",
    "four_runs",
    "multiplications",
    "negative",
    "neighbours",
    "no_need_to_stop",
    "no_prior",
    "number",
    "numbers_per_parameter",
    "one_factor",
    "orthogonal",
    "own_hole",
    "own_network",
    "psnr_function",
    "psnr_inside",
    "reached",
    "sees_across",
    "spectral_error",
    "salt_sigma",
    "stabilised",
    "tangent_kernel",
    "tells_apart",
    "tv_function",
    "twin",
    "two_pixels",
    "two_shares",
    "unseen_by_blocks",
    "without_mask",
]
