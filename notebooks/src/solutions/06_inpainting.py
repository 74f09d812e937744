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
# # Worked exercises · 06 Inpainting
#
# Back to the lesson: [06_inpainting.ipynb](../06_inpainting.ipynb)

# %%
import torch

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import pick
from diplearn.figures import contact_sheet
from diplearn.operators import Mask

small = dip.images.load("coffee", size=96)

# %% [markdown]
# ## 1 · Where it counts
#
# The mask has one channel and the image three: `expand_as` gives each of the three numbers of a pixel its mask. Choosing
# with a boolean mask, and then taking the mean, divides by the right count by itself.


# %%
def my_inside(image, truth, known):
    """PSNR over the missing pixels."""
    missing = (known == 0).expand_as(truth)
    return -10 * torch.log10((image - truth)[missing].square().mean())


check.psnr_inside(my_inside)

# %%
assert check.psnr_inside(my_inside)

# %% [markdown]
# ## 2 · Your own hole
#
# Easy: plain wood, of which there is more all around. Hard: the bowl of the spoon, of which the rest of the image tells
# little.

# %%
places = {"easy": (slice(4, 20), slice(76, 94)), "hard": (slice(58, 78), slice(54, 72))}
runs = {}
for name, (rows, columns) in places.items():
    mask = torch.ones(1, 96, 96)
    mask[:, rows, columns] = 0
    runs[name] = dip.fit(dip.inpainting(small, mask), progress=False)

# %%
shown, captions = {}, {}
for name, run in runs.items():
    inside = my_inside(run.output, small, run.problem.operator.known)
    shown |= {f"{name}: x₀": run.problem.observation, f"{name}: filled": run.output}
    captions[f"{name}: filled"] = f"{inside:.1f} dB inside"
contact_sheet(
    shown | {"truth": small},
    captions=captions,
    alt="A hole in plain wood, filled so that it hardly shows, and a spoon without its bowl",
)

# %%
my_hole = runs["hard"]

check.own_hole(my_hole)

# %%
assert my_inside(runs["easy"].output, small, runs["easy"].problem.operator.known) > 22

assert check.own_hole(my_hole)

# %% [markdown]
# ## 3 · Forget the mask
#
# Without the mask, $E$ asks for black letters, and they come along with the image's own edges: after some thirty iterations one can
# read them. They are sharp, repeated shapes, and the network likes those as much. The prior does not know dirt from image.
# *The data term does.*

# %%
x0 = dip.inpainting(dip.images.load("coffee", size=128), Mask.text(128, 128)).observation
my_forgotten = dip.fit(dip.Problem(x0), iterations=300, progress=False)
contact_sheet(
    {"x₀": x0} | pick(my_forgotten.snapshots, 4),
    alt="The text comes with the image, and is there in the end",
)

# %%
letters = (x0 == 0).all(0).numpy()
for iteration, frame in pick(my_forgotten.snapshots, 6).items():
    print(f"{iteration}: the letters' mean is {frame[letters].mean() / 255:.2f}")

# %%
check.without_mask(my_forgotten)

# %%
assert check.without_mask(my_forgotten)

# %% [markdown]
# ## 4 · Across the hole
#
# One level of this network goes down once and up once: a few pixels. Each further level works on a grid
# that is twice as coarse, so what it adds is twice as long. We ask the gradient instead of counting.


# %%
def receptive_field(levels):
    """As in the lesson."""
    torch.manual_seed(0)
    options = {**dip.lab("inpainting").options, "down": (32,) * levels, "skip": (0,) * levels}
    network = dip.networks.build("hourglass", 32, (1, 96, 96), **options)
    z = torch.rand(1, 32, 96, 96, requires_grad=True)
    network(z)[0, 0, 48, 48].backward()
    return z.grad[0].abs().sum(0)


fields = {levels: receptive_field(levels) for levels in (1, 2, 3, 4)}
seen = {k: (f[48] > 0.1 * f.max()).nonzero().flatten() for k, f in fields.items()}
for levels, columns in seen.items():
    print(f"levels: {levels}; columns {columns.min()} to {columns.max()}, around 48")
reach = {levels: bool(columns.min() < 28) for levels, columns in seen.items()}
my_levels = min(levels for levels, seen in reach.items() if seen)

check.sees_across(my_levels, reach)

# %%
assert check.sees_across(my_levels, reach)
