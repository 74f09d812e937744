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

coffee = dip.images.load("coffee", size=96)
base = dip.lab("inpainting", members=1, iterations=100, stop="count")
base = base.replace(options={"down": (16, 32, 32, 32, 32)})


def psnr_inside(image, problem):
    """As in the lesson."""
    missing = (problem.operator.known == 0).expand_as(problem.truth)
    return float(-10 * torch.log10((image - problem.truth)[missing].square().mean()))


# %% [markdown]
# ## 1 · Your own hole
#
# Success: plain wood, of which there is more all around. Failure: the bowl of the spoon, about which the rest of the image tells
# little. Both rectangles have 18 by 18 pixels, 3.5 % of the image.


# %%
def hole_at(image, top, left, height=24, width=24):
    """As in the lesson."""
    known = torch.ones(1, *image.shape[1:])
    known[:, top : top + height, left : left + width] = 0
    return dip.inpainting(image, Mask(known, "hole"))


holes = {"wood": hole_at(coffee, 3, 76, 18, 18), "spoon": hole_at(coffee, 59, 54, 18, 18)}
wanted = {
    (name, seed): {"problem": problem, "recipe": base, "seed": seed}
    for name, problem in holes.items()
    for seed in range(3)
}
runs = dip.fits(wanted)
inside = {
    name: [psnr_inside(runs[name, s].output, holes[name]) for s in range(3)] for name in holes
}

# %%
shown, captions = {}, {}
for name, problem in holes.items():
    shown |= {f"{name}: x₀": problem.observation, f"{name}: filled": runs[name, 0].output}
    captions[f"{name}: filled"] = f"{inside[name][0]:.1f} dB inside"
contact_sheet(
    shown | {"truth": coffee},
    columns=3,
    captions=captions,
    width=7,
    alt="A hole in plain wood, filled so that it hardly shows, and a spoon without its bowl",
)

# %%
my_hole = runs["spoon", 0]

check.own_hole(my_hole)

# %%
print({name: [f"{decibels:.1f} dB" for decibels in three] for name, three in inside.items()})
assert min(inside["wood"]) > max(inside["spoon"]) + 2
assert check.own_hole(my_hole)

# %% [markdown]
# *A sample answer.* Of the wood the fit knows the colour, from all sides of the hole. Of the spoon it knows the handle, and where the bowl
# meets the hole's rim; that a spoon ends in an oval is not in this image. The holes are equally large, so here it is the
# content that decides, not the distance. Much of the difference is contrast: a flat patch of the wood's own mean colour would have 26.6 dB there, as much as the fit, and the spoon's own mean
# 13.0 dB, more than the fit; biharmonic filling has 30.0 and 12.0 dB. So PSNR would not have told me which filling looks right.
#
# ## 2 · Forget the mask
#
# Without the mask, $E$ asks for black letters, and they come along with the image's own fine detail: after some dozens of iterations one can
# read them.

# %%
x0 = dip.inpainting(coffee, Mask.text(96, 96, lines=6)).observation
my_forgotten = dip.fit(dip.Problem(x0), iterations=300, progress=False)
contact_sheet(
    {"x₀": x0} | pick(my_forgotten.snapshots, 5),
    columns=3,
    width=7,
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
# *A sample answer.* The data term. The prior does not know dirt from image: letters are sharp shapes, and the network fits them as it fits the edges of the spoon.
# Only the mask says that they do not count. This is why removing an object begins with drawing its mask.
#
# ## 3 · Four fillings
#
# Let $\mu$ be the mean of all plausible fillings of a pixel and $s^2$ their variance. The average of $M$ independent ones has mean $\mu$ and
# variance $s^2/M$, and is independent of the truth:
#
# $$\mathbb E(\bar x - x)^2 = \mathbb E(\bar x - \mu)^2 + \mathbb E(x - \mu)^2 = s^2 \left(1 + \tfrac1M\right).$$
#
# With $M = 4$ that is 1.25 times the error of $\mu$ alone.

# %%
my_decibels = float(10 * torch.tensor(1 + 1 / 4).log10())
print(f"{my_decibels:.2f} dB")

check.four_fillings(my_decibels)

# %% [markdown]
# With more pieces the average comes nearer and nearer to the mean of all, which is grey: each piece is a wall, and their average is none. Does the wall agree? We average
# pieces of it, and count at 200 places.

# %%
brick = dip.images.load("brick", size=96)
random = torch.Generator().manual_seed(0)
corners = torch.randint(0, 72, (200, 17, 2), generator=random).tolist()
means = {}
for M in (1, 4, 16):
    errors, grey = [], []
    for (i, j), *others in corners:
        truth = brick[0, i : i + 24, j : j + 24]
        pieces = [brick[0, a : a + 24, b : b + 24] for a, b in others[:M]]
        errors.append((sum(pieces) / M - truth).square().mean())
        grey.append((brick.mean() - truth).square().mean())
    means[M] = float(10 * (sum(errors) / sum(grey)).log10())
    print(
        f"{M:2d} pieces: {means[M]:.2f} dB below the grey; the formula says {10 * torch.tensor(1 + 1 / M).log10():.2f}"
    )

# %%
assert check.four_fillings(my_decibels)
assert means[1] > means[4] + 0.8 > means[16] + 0.8
assert abs(means[1] - 3.01) < 1.2 and abs(means[4] - my_decibels) < 0.8

# %% [markdown]
# (The pieces of a real wall are not quite independent of each other, and the mean of the whole wall is not the mean around each hole.)
#
# ## 4 · Read a table
#
# *A sample answer.* First: what is it inside? Copying the known 94 % gives 12.2 dB to both; inside, they have 16.6 and 16.1 dB. Second: what does a flat
# patch of the mean colour have, or a blur? If it has 17 dB, the table ranks two methods by how much they dare. Third: how many images, holes and
# seeds, and what is the spread? Half a decibel on one image is nothing. Fourth: may I see the fillings, and a number that does not want every pixel in its place?
