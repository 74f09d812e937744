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

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import choices
from diplearn.stopping import HoldOut

clean = dip.images.load("coffee", size=96)

# %% [markdown]
# ## 1 · Morozov


# %%
def my_rule(image, observation, sigma):
    """Stop once the image explains the observation as well as the truth would."""
    return (image - observation).square().mean() <= sigma**2


assert check.discrepancy_rule(my_rule)
check.discrepancy_rule(my_rule)

# %% [markdown]
# ## 2 · Salt and pepper
#
# The truth differs from the observation in a tenth of the pixels, by 0.5 each. So its energy is
# 0.1 · 0.5² = 0.025, and σ is the root of that. The rule does not ask what the noise looks like, only how
# strong it is. (Whether the squared error is a good data term for dead pixels is another question; the
# absolute error is a better one.)

# %%
my_sigma = (0.1 * 0.5**2) ** 0.5
assert check.salt_sigma(my_sigma)
check.salt_sigma(my_sigma)

# %% [markdown]
# ## 3 · Fool it
#
# Stein's estimate weighs the reaction with σ². State a σ that is far too small, and the reaction hardly
# counts: what is left is the energy, which falls for ever.

# %%
noisy = dip.denoising(clean, sigma=50 / 255, seed=0)
my_problem = dip.Problem(noisy.observation, truth=clean, sigma=25 / 255)
my_run = dip.fit(my_problem, iterations=240, stop="sure", progress=False)
assert check.fooled(my_run)
check.fooled(my_run)

# %%
choices(my_run.history.psnr_average, {"sure": my_run.chosen_at}, alt="SURE chose far past the best")

# %% [markdown]
# Stated is 25, true is 50: the rule believes that three quarters of the noise's energy are image, and never says
# stop (the last iteration is the end of the budget). Dead pixels fool it as well (the table in section 7): they are
# not Gaussian, and how a fit reacts to a small disturbance says little about pixels that jump from one end to the
# other.
#
# ## 4 · Validation, spent

# %%
problem = dip.denoising(clean, sigma=25 / 255, seed=0)
rows = []
for seed in range(2):
    for fraction in (0.01, 0.05, 0.2):
        rule = HoldOut(fraction=fraction, seed=seed)
        run = dip.fit(problem, dip.lab(), stop=rule, seed=seed, progress=False)
        rows.append((fraction, run.oracle_psnr - run.psnr, run.oracle_psnr))
table = pd.DataFrame(rows, columns=["hidden", "gap in dB", "best PSNR on the way"])
costs = table.groupby("hidden").mean()
assert 0.1 < costs.iloc[0, 1] - costs.iloc[2, 1] < 1
costs.style.format("{:.2f}").format_index("{:.0%}")

# %% [markdown]
# Hidden pixels are paid for by the *image*: with a fifth of them hidden the best on the way is poorer by some
# tenths of a decibel, since the fit misses what it was not shown. The choice on the other hand is good with
# few of them already; compare the gaps with the spread over more seeds before you believe in a difference. The
# package hides 5 %, which costs a tenth or less: on an image of 32 pixels, one per cent is ten pixels.
