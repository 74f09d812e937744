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
from diplearn.figures import contact_sheet

clean = dip.images.load("astronaut", size=64)
targets = dip.problems.impedance(clean, sigma=25 / 255, seed=0)
plain = dip.lab(members=1, input_noise=0.0, iterations=160, stop="count")

# %% [markdown]
# ## 1 · Find the confound
#
# Board and colour noise differ in at least four points: the board repeats; it has one channel instead of three; it has two values instead of
# many; its power lies at one frequency. To test "because it repeats", the control has to keep the one channel and the
# two values, and repeat nothing: the board's own pixels, shuffled. (Their power is then spread over all frequencies. This cannot be
# kept apart from repeating: what repeats has power at few frequencies only.)

# %%
i = torch.arange(64)
board = (0.1 + 0.8 * ((i[:, None] + i) % 2).float())[None]
order = torch.randperm(64 * 64, generator=torch.Generator().manual_seed(0))
control = board.flatten()[order].view(1, 64, 64)
wanted = {
    (name, seed): {"problem": dip.Problem(target), "recipe": plain, "seed": seed}
    for name, target in {"board": board, "control": control}.items()
    for seed in range(3)
}
runs = dip.fits(wanted)
my_board, my_control = runs["board", 0], runs["control", 0]

check.checkerboard(my_board, my_control)

# %%
contact_sheet(
    {"board, iteration 160": my_board.last, "control, iteration 160": my_control.last},
    alt="A regular checkerboard, and pixels that are black or white at random",
    width=6,
)

# %%
both = {
    name: {share: [reached(runs[name, s], share) for s in range(3)] for share in (0.8, 0.95)}
    for name in ("board", "control")
}
for name, found in both.items():
    print(f"{name}: 80 % after {found[0.8]} iterations, 95 % after {found[0.95]}")
medians = {name: {k: np.median(v) for k, v in found.items()} for name, found in both.items()}
assert check.checkerboard(my_board, my_control)
assert medians["control"][0.8] < 1.35 * medians["board"][0.8]
assert medians["control"][0.95] < 1.6 * medians["board"][0.95]

# %% [markdown]
# *A sample answer.* No. Random pixels with the board's two values and one channel are reached nearly as fast: three seeds each are
# within a few iterations of each other at 80 %. The board was fast because it has one channel, and colour noise is slow
# because it has three (section 2). At 95 %, the board is ahead by something like a fifth: if repetition helps, it helps late, and
# little. How far this reaches: one size, one recipe, and a board that repeats at the scale of single pixels. It says
# nothing about patterns that repeat at a larger scale.
#
# ## 2 · Two curves fall alike
#
# *A sample answer.* There are two possibilities. Either the network does not tie pixels to each other: 1x1 filters without upsampling, or no network at
# all. Then it has no prior for images, and I would not denoise with it. Or it is so fast that the optimiser sets the pace for both targets, as with
# the plain 3x3 networks: the curves fall alike, and there is a prior all the same. The curves cannot tell these two apart. I would ask for fits to
# image + noise and to shuffled image + noise, and compare how much noise is in when 80 % of the image is; or for the same curves at a tenth
# of the learning rate.
#
# ## 3 · Shut the doors
#
# Fine detail has a short cut: the skip of the finest level takes the full-size noise $z$ through one filter, straight
# to the last layer. We close that one door, and leave the others open.

# %%
shut = plain.replace(options={"skip": (0, 4, 4, 4, 4)})
my_image = dip.fit(targets["image"], shut, progress=False)
my_shuffled = dip.fit(targets["shuffled pixels"], shut, progress=False)

check.tells_apart(my_image, my_shuffled)

# %% [markdown]
# And with *all* skips shut?

# %%
assert check.tells_apart(my_image, my_shuffled)
none = plain.replace(options={"skip": (0,) * 5})
for name, run in {"image": my_image, "shuffled pixels": my_shuffled}.items():
    without = dip.fit(targets[name], none, progress=False)
    print(f"{name}: {reached(run, 0.8)} iterations; without any skip {reached(without, 0.8)}")
    assert reached(without, 0.8) > 1.3 * reached(run, 0.8)

# %% [markdown]
# (`inf`: not in 160 iterations.) The shuffled pixels go out of reach, but the image takes longer, too: its own fine detail has
# to pass through the coarsest level. Lesson 06 shows where that is what one wants.
#
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
# *A sample answer.* The last layer is a weighted sum that goes through a sigmoid, and
# $1 - \operatorname{sigmoid}(t) = \operatorname{sigmoid}(-t)$: change the signs of the last weights, and every network that makes the image
# makes its negative. Random weights have either sign with equal probability. So the two targets meet the *same* distribution of
# networks, and differ only by chance.

# %%
assert check.negative(my_ratio)
