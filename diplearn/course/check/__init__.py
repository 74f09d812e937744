"""Checks of the answers to the lessons' exercises: ``check.psnr_function(my_psnr)``.

Each takes the learner's answer and returns a `Verdict`, which a notebook shows: right, and why; or
a hint. None is no answer yet. The exercise in the lesson says what is asked for; `number` and
`function` do most of the work, and are what a lesson of one's own needs.
"""

import lazy_loader

__all__ = ["Verdict", "function", "number"]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "motivation": ["no_prior", "numbers_per_parameter", "own_network", "psnr_function"],
        "energy": ["beta", "no_need_to_stop", "tv_function", "two_pixels"],
        "impedance": ["checkerboard", "negative", "reached", "tells_apart", "two_shares"],
        "denoising": ["constant", "four_runs", "neighbours", "stabilised"],
        "super_resolution": ["alias", "dimensions", "twin", "unseen_by_blocks"],
        "inpainting": ["own_hole", "psnr_inside", "sees_across", "without_mask"],
        "ablation": ["apart", "by_chance", "equal_size", "one_factor"],
        "stopping": ["discrepancy_rule", "fooled", "salt_sigma"],
        "speed": ["cheaper", "multiplications", "orthogonal"],
        "theory": ["follows", "how_long", "spectral_error", "tangent_kernel"],
        "verdict": ["OPEN", "Verdict", "function", "number"],
    },
)
