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
# # Worked exercises · 03 Impedance
#
# Back to the lesson: [03_impedance.ipynb](../03_impedance.ipynb)

# %%
import numpy as np
import torch

import diplearn as dip
from diplearn.course import check
from diplearn.course.check import reached
from diplearn.course.figures import pick
from diplearn.figures import contact_sheet

clean = dip.images.load("astronaut", size=64)
targets = dip.problems.impedance(clean, sigma=25 / 255, seed=0)
plain = dip.lab(members=1, input_noise=0.0, iterations=250, stop="count")

# %% [markdown]
# ## 1 · Two directions at once
#
# $\lVert a\,x + b\,n - p\rVert^2$ is smallest where its two derivatives are zero: two equations for two unknowns,
#
# $$a\,\langle x, x\rangle + b\,\langle x, n\rangle = \langle x, p\rangle, \qquad
# a\,\langle x, n\rangle + b\,\langle n, n\rangle = \langle n, p\rangle.$$
#
# Only if $\langle x, n\rangle = 0$ do they fall apart into two projections, and this is why the lesson made it so.


# %%
def my_shares(image, clean, noise):
    """The shares of image and noise: least squares in two unknowns."""
    two = torch.stack([clean.flatten(), noise.flatten()])
    return torch.linalg.solve(two @ two.T, two @ image.flatten())


check.two_shares(my_shares)

# %%
assert check.two_shares(my_shares)

# %% [markdown]
# ## 2 · The finest image of all

# %%
i = torch.arange(64)
board = 0.1 + 0.8 * ((i[:, None] + i) % 2).float().expand(1, 64, 64)
my_board = dip.fit(dip.Problem(board.contiguous()), plain, progress=False)

check.checkerboard(my_board)

# %%
contact_sheet(pick(my_board.snapshots, 5), alt="A checkerboard comes out of a mottled grey")

# %% [markdown]
# It is faster than the shuffled pixels and far faster than noise, although all of its energy is at the highest
# frequency there is. "Low frequencies first" describes photographs; it is not the whole of impedance. The
# network has to learn *one* tile, and its filters are used at every place. What is hard is not what is
# fine, but what is *different everywhere*.

# %%
shuffled = dip.fit(targets["shuffled pixels"], plain, progress=False)
print(f"checkerboard {reached(my_board, 0.8)}, shuffled pixels {reached(shuffled, 0.8)} iterations")
assert check.checkerboard(my_board)
assert reached(my_board, 0.8) < reached(shuffled, 0.8)

# %% [markdown]
# ## 3 · Shut the doors
#
# Fine detail has a short cut: the skip of the finest level takes the full-size noise $z$ through one filter, straight
# to the last layer. We close that one door, and leave the others open.

# %%
shut = plain.replace(options={**plain.options, "skip": (0, 4, 4, 4, 4)})
my_image = dip.fit(targets["image"], shut, progress=False)
my_shuffled = dip.fit(targets["shuffled pixels"], shut, progress=False)

check.tells_apart(my_image, my_shuffled)

# %% [markdown]
# And with *all* skips shut?

# %%
assert check.tells_apart(my_image, my_shuffled)
none = plain.replace(options={**plain.options, "skip": (0,) * 5})
for name, run in {"image": my_image, "shuffled pixels": my_shuffled}.items():
    without = dip.fit(targets[name], none, progress=False)
    print(f"{name}: {reached(run, 0.8)} iterations; without any skip {reached(without, 0.8)}")
    assert reached(without, 0.8) > 1.3 * reached(run, 0.8)

# %% [markdown]
# (`inf`: not in 250 iterations.) The shuffled pixels go out of reach, but the image takes longer, too: its own fine detail has
# to pass through the coarsest level. Lesson 06 shows where that is what one wants.

# %% [markdown]
# ## 4 · A photographic negative

# %%
medians = []
for target in (clean, 1 - clean):
    again = {s: {"problem": dip.Problem(target), "recipe": plain, "seed": s} for s in range(3)}
    medians.append(np.median([reached(run, 0.8) for run in dip.fits(again).values()]))
my_ratio = medians[1] / medians[0]
print([int(median) for median in medians])

check.negative(my_ratio)

# %% [markdown]
# The last layer is a weighted sum that goes through a sigmoid, and $1 - \operatorname{sigmoid}(t) = \operatorname{sigmoid}(-t)$:
# change the signs of the last weights, and every network that makes the image makes its negative. Random weights have
# either sign with equal probability. So the two targets meet the *same* distribution of networks, and differ only by
# chance.

# %%
assert check.negative(my_ratio)
