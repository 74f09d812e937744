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
# # Worked exercises · 02 Energy
#
# Back to the lesson: [02_energy.ipynb](../02_energy.ipynb)

# %%
import torch

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import curves
from diplearn.figures import contact_sheet

torch.set_num_threads(1)

# %% [markdown]
# ## 1 · Two pixels by hand
#
# While $a > b$, $R = w\,(a - b)$, and the derivatives of $E + R$ are $(a - 0.8) + w$ and $(b - 0.3) - w$. They are zero at
# $a = 0.8 - w$ and $b = 0.3 + w$: the two pixels move towards each other, each by $w$, whatever their distance. They meet where
# $0.8 - w = 0.3 + w$. From there on they stay together at their mean, 0.55, for however large a $w$.

# %%
my_weight = (0.8 - 0.3) / 2
verdict = check.two_pixels(my_weight)
assert verdict
verdict

# %% [markdown]
# A small difference between neighbours vanishes, a large one (an edge) stays and loses a little contrast. That is all that total
# variation knows.
#
# ## 2 · Back to Bayes
#
# $R(x) = -\tfrac{2\sigma^2}{N} \log p(x) = \tfrac{2\sigma^2}{N}\,\beta \operatorname{TV}(x)$ up to a constant. So
# $\lambda = 2\sigma^2\beta$.

# %%
my_beta = 0.14 / (2 * (25 / 255) ** 2)
verdict = check.beta(my_beta)
assert verdict
verdict

# %% [markdown]
# β belongs to the images and σ to the camera, so with twice the noise λ = 4 · 0.14 = 0.56. That is what Bayes says *if* the prior
# were true. It is not: images are not drawn from $e^{-\beta \operatorname{TV}}$. In practice the best λ grows more slowly, nearly as σ does
# (`help(dip.baselines.tv)` has measured it on six images).

# %% [markdown]
# ## 3 · Your own R


# %%
def my_tv(image):
    """Lengths of all gradients, added up."""
    across = image[:, :-1, 1:] - image[:, :-1, :-1]
    down = image[:, 1:, :-1] - image[:, :-1, :-1]
    return (across**2 + down**2).sqrt().sum()


assert check.tv_function(my_tv)
check.tv_function(my_tv)

# %% [markdown]
# The package adds 10⁻¹² under the root: where the image is flat, the root of zero has no derivative, and PyTorch would return
# `nan`.
#
# ## 4 · Structure and R together
#
# Total variation alone did best with λ = 0.14 (lesson, section 3). The network does a part of the work, so a little less will do.

# %%
small = dip.images.load("chelsea", size=64)
problem = dip.denoising(small, 25 / 255)
long = dip.lab(members=1, input_noise=0, optimiser="adam", iterations=800, stop="count")
recipes = {f"λ = {w}": long.replace(tv_weight=w / small.numel()) for w in (0, 0.03, 0.1)}
runs = dip.fits({name: {"problem": problem, "recipe": r} for name, r in recipes.items()})
my_run = runs["λ = 0.1"]
verdict = check.no_need_to_stop(my_run)
assert verdict
verdict

# %%
curves(runs, alt="Without R the PSNR peaks and falls; with much R it stays")

# %%
shown = {f"{name}, best average": run.oracle for name, run in runs.items()}
shown |= {f"{name}, last": run.last for name, run in runs.items()}
captions = {name: f"{dip.psnr(x, small):.1f} dB" for name, x in shown.items()}
alt = "The best: three cats, the last one soft. The end: noise, less noise, the same soft cat"
contact_sheet(shown, 3, captions, width=8, alt=alt)

# %%
nothing, little, much = runs.values()
end = {name: run.history.psnr_average.iloc[-1] for name, run in runs.items()}
assert end["λ = 0.1"] > end["λ = 0"] + 2  # nobody has to stop this one
assert much.oracle_at > 1.5 * nothing.oracle_at
assert little.oracle_psnr > max(nothing.oracle_psnr, much.oracle_psnr) + 0.3

# %% [markdown]
# With λ = 0.1 nobody has to know when to stop. In decibels that costs nothing here: its best is as good as the best without $R$. But
# look at the fur: total variation charges for every hair in this fit, too, and it takes far longer to its best. A
# third of that weight, λ = 0.03, gives a better best than either, and must be stopped again. (Is that luck? Two more seeds
# will tell.) If you know when to stop, $R$ is a help; if you do not, it is an insurance.
