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
# # Worked exercises · 05 Super-resolution
#
# Back to the lesson: [05_super_resolution.ipynb](../05_super_resolution.ipynb)

# %%
import torch

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import curves
from diplearn.figures import contact_sheet

clean = dip.images.load("camera", size=192)
problem = dip.super_resolution(clean, factor=4)
x0, A = problem.observation, problem.operator

# %% [markdown]
# ## 1 · Count
#
# The small image has 30×20 = 600 pixels, so there are 600 equations for 38,400 unknowns. No equation says what
# the others say already (the rank is full, as in section 2 of the lesson), so each takes one dimension away.

# %%
my_dimensions = 240 * 160 - (240 // 8) * (160 // 8)

verdict = check.dimensions(my_dimensions)
assert verdict
verdict

# %% [markdown]
# ## 2 · By hand
#
# What is seen of a block is its mean. The rest is what stays when the mean is subtracted; it adds up to zero in every
# block, so its own small image is black. That is the projection on the null space, without any matrix.


# %%
def my_unseen(image):
    """What the means of 4x4 blocks do not see."""
    channels, height, width = image.shape
    means = image.reshape(channels, height // 4, 4, width // 4, 4).mean(dim=(2, 4))
    return image - means.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)


assert check.unseen_by_blocks(my_unseen)
check.unseen_by_blocks(my_unseen)

# %%
hidden = my_unseen(clean)
assert dip.Downsample(4, kernel="box")(hidden).abs().max() < 1e-5  # the package's own says so, too
contact_sheet(
    {"image": clean, "what blocks see": clean - hidden, "what they do not": 0.5 + hidden},
    width=9,
    alt="A photograph, the same in coarse blocks, and its fine detail in grey",
)

# %% [markdown]
# ## 3 · A twin
#
# A sum of the truth and anything from the null space has the right $x_0$, but it may leave [0, 1], and clipping
# is not allowed. One way out: add little where the image is nearly black or white. But an image that was
# *weighted* is in the null space no longer! So we alternate: clip, return to the images with the right
# $x_0$, and so on. These are alternating projections; for convex sets that meet, as these two do in the
# truth, they end in a point of both (Bregman 1965).

# %%
random = torch.rand(clean.shape, generator=torch.Generator().manual_seed(0))
my_twin = clean + 2 * A.project(random, torch.zeros_like(x0))
for _ in range(300):
    my_twin = A.project(my_twin.clamp(0, 1), x0)

check.twin(my_twin.clamp(0, 1), problem)

# %%
assert check.twin(my_twin.clamp(0, 1), problem)
contact_sheet(
    {"truth": clean, "twin": my_twin, "A of the truth": x0, "A of the twin": A(my_twin)},
    width=11,
    alt="A photograph, the same under grain, and two equal small images",
)

# %% [markdown]
# ## 4 · Aliasing
#
# Four large pixels are one small one: 0.15 cycles per large pixel are 4 · 0.15 = 0.6 per small pixel. Samples cannot tell 0.6
# from 1 − 0.6 = 0.4 cycles: at whole numbers both have the same values. So a faster wave is seen as a slower one.

# %%
t = torch.arange(8.0)
fast, slow = (torch.cos(2 * torch.pi * f * t) for f in (0.6, 0.4))
assert torch.allclose(fast, slow, atol=1e-5)
my_alias = 1 - 4 * 0.15

verdict = check.alias(my_alias)
assert verdict
verdict

# %% [markdown]
# ## 5 · The wrong kernel
#
# The small image was made with means of blocks, and the fit believes in Lanczos2. Its $E$ is brought to zero all
# the same: $A$ has full rank, so every small image is explained exactly by some large ones, whichever kernel one
# believes in. But what explains it under the wrong $A$ are other images. (One seed here.)

# %%
observed = dip.Downsample(4, kernel="box")(clean)
right, wrong = (
    dip.Problem(observed, dip.Downsample(4, kernel=kernel), truth=clean)
    for kernel in ("box", "lanczos2")
)
recipe = dip.lab("super_resolution", members=1, iterations=200)
both = {"box": right, "lanczos2": wrong}
runs = dip.fits({name: {"problem": each, "recipe": recipe} for name, each in both.items()})
scores = {k: dip.psnr(run.output, clean, luma=True, shave=4) for k, run in runs.items()}
print({kernel: f"{score:.2f} dB" for kernel, score in scores.items()})
assert scores["box"] > scores["lanczos2"]

# %%
curves(runs, alt="Both energies fall alike; the wrong kernel's PSNR ends below")

# %% [markdown]
# $E$ does not betray that its $A$ is wrong; only the truth does, by a few tenths of a decibel. A real camera's kernel is unknown: lens, sensor and the
# owner's hand are in it. To find it together with the image is called *blind* super-resolution. A network that was
# trained with one kernel suffers from the same, and there is no line in it to change.
