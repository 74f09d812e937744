"""Checks of exercises whose answer is a number: the right one, the reason, and common mistakes."""

from functools import partial

from .verdict import check, no, number, yes

# Lesson 02: the smallest weight for which the best image of two pixels is constant.
two_pixels = partial(
    number,
    right=0.25,
    why="a = 0.8 − w and b = 0.3 + w meet at w = 0.25",
    slips={
        0.5: "both pixels move, each by w",
        0.55: "that is the flat image's value",
        0.15: "how far apart are the two pixels?",
    },
)

# Lesson 02: the β of the prior that belongs to λ = 0.14 at σ = 25/255.
_LAMBDA, _SIGMA = 0.14, 25 / 255
beta = partial(
    number,
    right=_LAMBDA / (2 * _SIGMA**2),
    why="β = λ / 2σ²; with twice the σ, λ is four times as large",
    slips={
        _LAMBDA / _SIGMA**2: "the Gaussian has a 2 in its exponent",
        2 * _SIGMA**2 * _LAMBDA: "the other way round",
        _LAMBDA / (2 * 25**2): "σ must be in the units of [0, 1]",
        _LAMBDA / (2 * _SIGMA): "σ must be squared",
    },
)

# Lesson 03: the time to fit the negative of an image, divided by the time to fit the image.
negative = partial(
    number,
    right=1.0,
    why="about 1: edges and shapes are the same; the last layer only has to change its signs",
    slips={2.0: "use the same recipe for both, and 80 % of each target's own variance"},
    tolerance=0.35,
)

# Lesson 04: the gain in dB of the mean of four results whose errors are correlated by 0.6.
four_runs = partial(
    number,
    right=1.55,
    why="10 log₁₀(4/(1 + 3ρ)); endlessly many gain 10 log₁₀(1/ρ) = 2.2",
    slips={
        6.02: "that is for ρ = 0",
        0.97: "that is for two results",
        3.1: "10, not 20: a squared error is a power",
    },
)

# Lesson 04: the constant with the least mean square error for a patch of 0.4 with a fifth of salt.
constant = partial(
    number,
    right=0.52,
    why="the mean, 0.8 · 0.4 + 0.2 · 1; l1 stays at 0.4",
    slips={
        0.4: "that is for l1: the median",
        0.7: "only a fifth is salt",
        0.32: "salt is 1, not 0",
    },
    tolerance=0.01,
)

# Lesson 04: the best weight of a, if SURE is 0.0015 for a, 0.0021 for b, and ‖a − b‖²/N = 0.0010.
best_weight = partial(
    number,
    right=0.8,
    why="c = 0.0013; the mixture's error is 0.00146, the plain mean's 0.00155: worse than a's",
    slips={
        0.2: "that is the weight of b",
        0.583: "that is for errors that are not correlated, c = 0",
        0.5: "that is for equal errors",
        -0.5: "there is 2c in (5), not c",
    },
    tolerance=0.01,
)

# Lesson 05: the number of dimensions of the null space, for 240x160 pixels at ×8.
dimensions = partial(
    number,
    right=37_800,
    why="38,400 unknowns less 600 equations",
    slips={
        600: "those are the equations",
        38_400: "those are the unknowns",
        33_600: "×8 is 64 times fewer pixels, not 8 times",
    },
    tolerance=0.001,
)

# Lesson 05: the frequency that 0.15 cycles per pixel appear to have in every fourth pixel.
alias = partial(
    number,
    right=0.4,
    why="4 · 0.15 = 0.6 is seen as 1 − 0.6: a slower wave",
    slips={
        0.6: "right so far, but the small image cannot show more than 1/2 cycle per pixel",
        0.1: "use cycles per small pixel; frequencies above 1/2 are folded back below 1/2",
    },
    tolerance=0.01,
)

# Lesson 07: the probability that two equally good recipes are "apart" with three seeds each.
by_chance = partial(
    number,
    right=0.1,
    why="2 / 20, and so about one comparison in ten",
    slips={0.05: "either recipe may be the better one", 1.0: "that is the number in ten"},
)

# Lesson 08: the noise level σ when a tenth of a grey image becomes black or white.
salt_sigma = partial(
    number,
    right=0.1581,
    why="√(0.1 · 0.5²)",
    slips={0.025: "that is the energy, σ²", 0.5: "only a tenth of the pixels are wrong"},
)

# Lesson 10: the number of steps until 90 % of a mode with λ = 1000 is fitted, at η = 10⁻⁵.
how_long = partial(
    number,
    right=230,
    why="ln(10) / (ηλ): each step leaves the share 1 − ηλ",
    slips={90: "a step fits a share of what is *left*", 115: "that is for the mode's energy"},
)


@check
def sees_across(answer, reach):
    """Lesson 06: the least number of levels with which a hole's centre depends on its rim."""
    right = min(levels for levels, seen in reach.items() if seen)
    if answer == right:
        return yes(f"with {right} levels it does, with {right - 1} it does not")
    if answer < right:
        return no(f"with {answer} levels the rim's influence is below a tenth")
    return no("fewer levels are enough; each level more than doubles how far a pixel sees")
