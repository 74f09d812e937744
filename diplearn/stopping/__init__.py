"""Rules that decide when to stop a fit without seeing the truth.

A rule is shown one iteration (`Step`) at a time. It chooses the best image so far and says when the
fit may stop:

    rule = HoldOut()
    rule.prepare(problem, recipe)
    for step in dip.iterate(problem, recipe, problems=rule.problems):
        if rule(step):
            break
    rule.chosen, rule.chosen_at

`fit` does the same, with ``fit(problem, stop=rule)``. A rule of your own derives from `Rule`, or is
a function of a step.
"""

from .choice import BY_NAME, automatic, choose
from .choice import describe as describe
from .choice import is_ours as is_ours
from .choice import rebuild as rebuild
from .fusion import Fusion
from .rule import Count, EarlyStopping, Rule
from .rules import (
    Discrepancy,
    ExponentialVariance,
    HoldOut,
    Oracle,
    Plateau,
    Sure,
    WindowedVariance,
)

__all__ = [
    "BY_NAME",
    "Count",
    "Discrepancy",
    "EarlyStopping",
    "ExponentialVariance",
    "Fusion",
    "HoldOut",
    "Oracle",
    "Plateau",
    "Rule",
    "Sure",
    "WindowedVariance",
    "automatic",
    "choose",
]
