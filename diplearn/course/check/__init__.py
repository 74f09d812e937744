"""Checks of the answers to the lessons' exercises: ``check.own_network(my_fit)``.

Each check takes the learner's answer and returns a `Verdict`, which a notebook displays: right,
with the reason; or wrong, with a hint. None means that there is no answer yet. The text of each
exercise is in its lesson. Lessons of your own can use `number` and `function`, on which most checks
build.
"""

import lazy_loader

__all__ = ["function", "number"]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "numbers": "amdahl best_weight beta by_chance less_is_more "
        "four_fillings negative noise_ceiling photon_energy two_pixels".split(),
        "functions": "degrees_of_freedom error_without_truth neighbours "
        "own_error stabilised tangent_kernel unseen_by_blocks".split(),
        "fits": "cheaper checkerboard follows fooled no_need_to_stop no_prior "
        "one_factor own_hole own_network reached tells_apart twin without_mask".split(),
        "verdict": "OPEN Verdict function number".split(),
    },
)
