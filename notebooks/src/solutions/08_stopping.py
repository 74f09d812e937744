# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Worked exercises · 08 Stopping
#
# Back to the lesson: [08_stopping.ipynb](../08_stopping.ipynb)

# %%
import pandas as pd
import torch
from scipy.ndimage import median_filter, uniform_filter

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import choices
from diplearn.stopping import HoldOut

clean = dip.images.load("coffee", size=64)

# %% [markdown]
# ## 1 · Degrees of freedom of any denoiser
#
# Disturb in both directions, so that what is curved in `denoise` cancels, and look at the change *along* $b$.


# %%
def my_degrees(denoise, x0, epsilon=0.02):
    """The divergence of a denoiser at x0, divided by the number of values."""
    b = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    change = denoise(x0 + epsilon * b) - denoise(x0 - epsilon * b)
    return float((b * change).mean()) / (2 * epsilon)


assert check.degrees_of_freedom(my_degrees)
check.degrees_of_freedom(my_degrees)

# %%
noisy = dip.denoising(dip.images.load("camera"), sigma=25 / 255, seed=0).observation


def by(filtered):
    """A function of arrays, for tensors of one channel."""
    return lambda image: torch.from_numpy(filtered(image[0].numpy(), 3))[None]


found = {
    "copy": my_degrees(lambda image: image, noisy),
    "3x3 mean": my_degrees(by(uniform_filter), noisy),
    "3x3 median": my_degrees(by(median_filter), noisy),
}
print(", ".join(f"{name}: {degrees:.2f}" for name, degrees in found.items()))
assert abs(found["3x3 mean"] - 1 / 9) < 0.02 and abs(found["copy"] - 1) < 0.05

# %% [markdown]
# The matrix of the mean has 1/9 all along its diagonal. A median returns *one* of the nine values. In pure noise each of them has the same
# chance to be that one: the middle pixel is chosen in one place of nine, and there the derivative is 1. So both have about a ninth. (On slopes and
# edges the middle pixel is the middle value more often.) The two differ
# in what else they do: the mean moves a little with each of nine disturbances, the median with one of them entirely.
#
# ## 2 · Fool it
#
# Stein's estimate weighs the degrees of freedom with 2σ². State a σ that is far too small, and they hardly
# count: what is left is the energy, which falls for ever.

# %%
noisy = dip.denoising(clean, sigma=50 / 255, seed=0)
my_problem = dip.Problem(noisy.observation, truth=clean, sigma=25 / 255)
my_run = dip.fit(my_problem, iterations=160, stop="sure", progress=False)
assert check.fooled(my_run)
check.fooled(my_run)

# %%
choices(
    my_run.history.psnr_average,
    {"sure": my_run.chosen_at},
    alt="SURE chose far past the best",
    width=7,
)

# %% [markdown]
# *A sample answer.* The stated σ is 25/255, the true one 50/255: in $n_i\, p = -\sigma^2 p'$ the σ² is a quarter of the right one. The rule believes that three
# quarters of the noise's energy are image, and never says
# stop (the last iteration is the end of the budget). Dead pixels break the same line in another way (section 7): their density is no Gaussian, so
# that $n\,p$ is no multiple of $p'$. How a fit reacts to a small disturbance says little about pixels that jump from one end to the
# other.
#
# ## 3 · Validation, spent
#
# The choice is judged by what it loses against the best image of *its own* fit; the image by the best that was on the way, against the same for a fit that saw
# all pixels.

# %%
problem = dip.denoising(clean, sigma=25 / 255, seed=0)
wanted = {
    (fraction, seed): {
        "problem": problem,
        "recipe": dip.lab(),
        "stop": HoldOut(fraction=fraction, seed=seed) if fraction else 160,
        "seed": seed,
    }
    for fraction in (0, 0.01, 0.05, 0.2)
    for seed in range(4)
}
runs = dip.fits(wanted, progress=False)

# %%
rows = []
for (fraction, seed), run in runs.items():
    whole = runs[0, seed].oracle_psnr
    if fraction:
        gap, hiding = run.oracle_psnr - run.psnr, whole - run.oracle_psnr
        rows.append((fraction, gap, hiding, whole - run.psnr))
names = ["hidden", "choice: lost, same fit", "image: best on the way", "together: lost, all shown"]
table = pd.DataFrame(rows, columns=names).groupby("hidden").agg(["mean", "std"])
table.style.format("{:.2f}").format_index("{:.0%}")

# %% [markdown]
# *A sample answer.* The image pays: with a fifth of the pixels hidden, the best on the way is about half a decibel poorer; with one in a hundred it is hardly poorer at all.
# The choice does not get better with a fifth. With one in a hundred (41 of 4,096 pixels, in three colours) it seems worse than with 5 %, but the difference is as
# large as the spread over the four seeds. Together, 1 % and 5 % lose about the same: what fewer hidden pixels save in the image, a noisier score
# loses in the choice. On this picture, hiding fewer is no way out.
#
# ## 4 · "Our rule loses 0.05 dB"
#
# *A sample answer.* Against *what*: the best image of the same fit, or of a fit that nothing was taken from? On *average* or at *worst*, and how many seeds? On which images
# were its *parameters* chosen: on these ten? What does it *assume* of the noise, and what happens where that is false? A fifth question is its cost: a rule that waits for as
# long again as the fit has taken doubles the time.
