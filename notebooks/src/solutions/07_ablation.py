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
# # Worked exercises · 07 Ablation
#
# Back to the lesson: [07_ablation.ipynb](../07_ablation.ipynb)

# %%
import itertools

import numpy as np

import diplearn as dip
from diplearn.course import check
from diplearn.figures import COLOURS, Figure

camera = dip.images.load("camera", size=64)
photo = dip.denoising(camera, sigma=25 / 255, seed=0)
shape = {"down": (16, 32, 32), "skip": (4,) * 3}
base = dip.lab(members=1, iterations=150, stop="count").replace(options=shape)

# %% [markdown]
# ## 1 · Apart


# %%
def my_apart(a, b):
    """Say whether all of one lie above all of the other."""
    return min(a) > max(b) or min(b) > max(a)


assert check.apart(my_apart)
check.apart(my_apart)

# %% [markdown]
# ## 2 · By chance
#
# Sort the six values. If the recipes are equally good, all $\binom{6}{3} = 20$ ways to say which three belong to the
# first are equally probable. In two of them the recipes are apart: its three are the lowest, or the highest.

# %%
ways = list(itertools.combinations(range(6), 3))
my_probability = np.mean([my_apart(own, set(range(6)) - set(own)) for own in ways])
verdict = check.by_chance(my_probability)
assert verdict
verdict

# %% [markdown]
# So three seeds are few: of ten changes that do nothing, one will look like a discovery. With five seeds each it
# is $2 / \binom{10}{5} = 2/252$, less than one in a hundred. That is the argument for five.
#
# ## 3 · Equal size
#
# A block has two banks of 3x3 filters from width to width, $18\,w^2$ numbers. Four blocks make $72\,w^2$, the first
# layer adds $288\,w$; $w = 29$ gives about 69,000 with that, and a little more for the biases and the scales of
# the normalisation.

# %%
rival = dip.networks.build("hourglass", 32, photo.shape, **base.options)
my_network = dip.networks.build("resnet", 32, photo.shape, width=29, blocks=4)
verdict = check.equal_size(my_network, rival)
assert verdict
verdict

# %% [markdown]
# ## 4 · An ablation of one's own: the filters' size
#
# Prediction: filters of 1x1 on the way up cannot smooth what bilinear upsampling leaves, but there is little to smooth;
# those on the way down still see neighbours. A slightly lower peak, and a later fall.

# %%
small = dip.denoising(dip.images.load("coins", size=48), sigma=25 / 255, seed=0)
factor = {"3x3 (base)": {}, "1x1": {"options": {"up_filter": 1}}}
my_levels = {
    name: [dip.fit(small, base.replace(**c), seed=s, progress=False) for s in range(3)]
    for name, c in factor.items()
}
verdict = check.one_factor(my_levels)
assert verdict
verdict

# %%
figure = Figure("PSNR over iterations with filters of 3x3 and of 1x1", figsize=(6, 3.2))
axis = figure.subplots()
for colour, (name, runs) in zip(COLOURS, my_levels.items()):
    psnr = np.array([run.history.psnr_average for run in runs])
    along = np.arange(1, psnr.shape[1] + 1)
    axis.fill_between(along, psnr.min(0), psnr.max(0), color=colour, alpha=0.25, lw=0)
    axis.semilogx(along, psnr.mean(0), color=colour, lw=2, label=name)
axis.set(xlabel="iteration", ylabel="PSNR of the average, dB", xlim=(10, None), ylim=(20, None))
ticks = (10, 20, 50, 100)
axis.set_xticks(ticks, ticks)
axis.set_xticks([], minor=True)
axis.legend(frameon=False)
figure

# %%
for name, changes in factor.items():
    recipe = base.replace(**changes)
    net = dip.networks.build(recipe.network, recipe.z_channels, small.shape, **recipe.options)
    peak = np.array([run.oracle_psnr for run in my_levels[name]])
    when = np.array([run.oracle_at for run in my_levels[name]])
    print(
        f"{name:12s}{dip.networks.parameter_count(net):8,} parameters, peaks {np.sort(peak).round(1)}, at {np.sort(when)}"
    )

# %% [markdown]
# The pace was right, and sure: with 1x1 filters on the way up, the peak comes twice as late, for all seeds. The height was not
# shown: the means differ by less than the seeds of one level do. And it was *two* changes: 1x1 filters also cut the
# parameters by a third, and fewer parameters alone are slower (section 2 of the lesson). To tell the two apart, take a third level: 3x3
# filters and fewer channels, with as many parameters as the 1x1 network.
