"""Checks of exercises whose answer is a number: the right one, the reason, and common mistakes."""

from functools import partial

from .verdict import number

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

# Lesson 04b: the mean deviance of the truth, where x = 1 is 20 photons.
photon_energy = partial(
    number,
    right=0.025,
    why="the variance x/p over 2x is 1/2p, at any brightness",
    slips={
        0.05: "there is a 2 in (2)",
        0.5: "that is in photons; the energy is per unit of brightness: divide by p",
        0.1: "the 2 belongs under the fraction bar: 1 / 2p",
        10.0: "divide by 2p, instead of multiplying",
        0.00125: "the variance of x₀ is x/p; the photons' variance, p x, is divided by p² once",
    },
    tolerance=0.02,
)

# Lesson 04b: the best weight of a, if SURE is 0.0015 for a, 0.0021 for b, and ‖a − b‖²/N = 0.0010.
best_weight = partial(
    number,
    right=0.8,
    why="c = 0.0013; the mixture's error is 0.00146, the plain mean's 0.00155: worse than a's",
    slips={
        0.2: "that is the weight of b",
        0.583: "that is for errors that are not correlated, c = 0",
        0.5: "that is for equal errors",
        -0.5: "there is 2c in (4), not c",
    },
    tolerance=0.01,
)

# Lesson 05: the factor for unseen detail with much = 0.8 and right = 0.5.
less_is_more = partial(
    number,
    right=0.625,
    why="from 0.8 down to 0.5; the error falls from 0.84 to 0.75 of ‖v‖²",
    slips={
        0.5: "that is the best amount; by what must 0.8 be multiplied to become that?",
        1.6: "the other way round: 0.8 is more than the best amount",
        0.75: "that is the share of the error that is left",
        0.4: "that is much · right; the best amount is right itself",
        1.25: "more detail, up to that of the truth, makes the error larger",
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

# Lesson 09: how many times as fast an iteration is if 36 % of its time become seven times as fast.
amdahl = partial(
    number,
    right=1.446,
    why="64 ms of 100 stay, and 36 become 5.1: 100 / 69.1",
    slips={
        7.0: "all else takes as long as before",
        1.5625: "that is for convolutions that take no time at all",
        0.691: "that is the time that is left; how many times as fast is that?",
        2.398: "that is for 68 %; with 36 %, convolutions are the smaller part",
        3.16: "the iteration is not 100 ms + 6 · 36 ms; how long do the convolutions take now?",
        2.52: "how long do the convolutions take now, and how long the rest?",
    },
    tolerance=0.01,
)

# Lesson 10b: the PSNR if the noise that a deep decoder of 25,000 weights lets in were its only
# error, for a colour photograph of 512x512 pixels and σ = 25/255.
noise_ceiling = partial(
    number,
    right=35.15,
    why="(p/N) σ² = 0.000306",
    slips={
        30.38: "N counts three channels",
        14.98: "that is for σ = 1",
        25.06: "the error is a mean square: σ²",
        20.17: "that is the noisy image's own PSNR",
        -12.98: "σ in units of [0, 1]",
    },
    tolerance=0.01,
)

# Lesson 06: the mean of four independent fillings, each with twice the squared error of the mean of
# all, in decibels below that mean: its squared error is 1 + 1/4 times as large.
four_fillings = partial(
    number,
    right=0.969,
    why="the mean of M of them has the squared error s² (1 + 1/M): with more and more of them it "
    "comes near the mean of all, and looks like a blur",
    slips={
        -0.969: "count how far it is below: a positive number",
        3.01: "that is one filling alone; averaging makes its own part smaller",
        1.94: "a factor of the squared error is 10 log₁₀ of it, not 20",
        1.25: "that is the factor of the squared error; how many decibels is it?",
        0.25: "that is the fillings' own part; the truth's variance stays",
        -6.02: "the fillings' own part is a quarter; the truth's variance stays",
        6.02: "the fillings' own part is a quarter; the truth's variance stays",
        1.76: "that is two fillings",
    },
    tolerance=0.02,
)
