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
import numpy as np
import torch

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import curves
from diplearn.figures import contact_sheet

clean = dip.images.load("camera", size=192)
problem = dip.super_resolution(clean, factor=4)
x0, A = problem.observation, problem.operator

# %% [markdown]
# ## 1 · Less is more
#
# The best amount equals the correlation, 0.5. There is 0.8 already, so the factor is 0.5 / 0.8 = 0.625. By equation (2) the error falls
# from 1 + 0.64 − 0.8 = 0.84 to 1 − 0.25 = 0.75 of what it would be without any detail.

# %%
my_factor = 0.5 / 0.8

verdict = check.less_is_more(my_factor)
assert verdict
verdict

# %% [markdown]
# ## 2 · By hand
#
# What is seen of a block is its mean. The rest is what remains when the mean is subtracted; it adds up to zero in every
# block, so its own small image is black. That is the projection on the null space, without any matrix.


# %%
def my_unseen(image):
    """What the means of 4x4 blocks do not see."""
    channels, height, width = image.shape
    means = image.reshape(channels, height // 4, 4, width // 4, 4).mean(dim=(2, 4))
    return image - means.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)


verdict = check.unseen_by_blocks(my_unseen)
assert verdict
verdict

# %% [markdown]
# This downsampler has no mesh: each large pixel has the same weight, 1/16, in just one small pixel, so a flat grey
# is its own smallest explanation, and its unseen part is zero.

# %%
hidden = my_unseen(clean)
assert dip.Downsample(4, kernel="box")(hidden).abs().max() < 1e-5  # the package's own says so, too
assert my_unseen(torch.full((1, 8, 8), 0.5)).abs().max() == 0
contact_sheet(
    {"image": clean, "what blocks see": clean - hidden, "what they do not": 0.5 + hidden},
    width=9,
    alt="A photograph, the same in coarse blocks, and its fine detail in grey",
)

# %% [markdown]
# ## 3 · A twin
#
# The sum of the truth and anything from the null space has the right $x_0$, but it may leave [0, 1], and clipping
# spoils $x_0$. One could add less detail where the image is nearly black or white, but a *weighted* image
# is no longer in the null space. So we alternate: clip, go to the nearest image with the right
# $x_0$, and so on. These are alternating projections. For convex sets that meet, as these two do in the
# truth, they end in a point of both (Bregman 1965).

# %%
random = torch.rand(clean.shape, generator=torch.Generator().manual_seed(0))
my_twin = clean + 2 * A.project(random, torch.zeros_like(x0))
for _ in range(300):
    my_twin = A.project(my_twin.clamp(0, 1), x0)

verdict = check.twin(my_twin.clamp(0, 1), problem)
assert verdict
verdict

# %%
contact_sheet(
    {"truth": clean, "twin": my_twin, "A of the truth": x0, "A of the twin": A(my_twin)},
    width=11,
    alt="A photograph, the same under grain, and two equal small images",
)

# %% [markdown]
# ## 4 · The wrong kernel
#
# The small image was made with means of blocks. One fit knows this, the other believes in Lanczos2.

# %%
observed = dip.Downsample(4, kernel="box")(clean)
problems = {
    kernel: dip.Problem(observed, dip.Downsample(4, kernel=kernel), truth=clean)
    for kernel in ("box", "lanczos2")
}
recipe = dip.lab("super_resolution", members=1, iterations=200)
runs = dip.fits(
    {
        (kernel, seed): {"problem": each, "recipe": recipe, "seed": seed}
        for kernel, each in problems.items()
        for seed in range(3)
    }
)
scores = {
    kernel: [dip.psnr(runs[kernel, s].output, clean, luma=True, shave=4) for s in range(3)]
    for kernel in problems
}
for kernel, three in scores.items():
    print(f"fitted with {kernel}: {np.mean(three):.2f} ± {np.std(three):.2f} dB, three seeds")
assert min(scores["box"]) > max(scores["lanczos2"])

# %%
both = {kernel: runs[kernel, 0] for kernel in problems}
curves(both, alt="Both energies fall alike. The averages begin far above the single iterates")

# %% [markdown]
# *A sample answer:* $E$ does not betray the mistake. $A$ has full rank with either kernel, so every small image is explained
# exactly by some large ones, and both energies fall alike. But under the wrong $A$ other images explain it, and
# only the truth tells that they are worse. The kernel of a real camera is unknown: the lens, the sensor and the
# owner's hand are in it. To find the kernel together with the image is called *blind* super-resolution. A supervised
# network that was trained with another kernel suffers in the same way, and has no line in which to change it.
#
# One thing in the figure asks for an explanation: the averages begin some ten decibels above the single iterates. A first
# iterate is a grey cloud. But before an output enters the average, the recipe adds $A^{+}(x_0 - A x)$ to it, which sets
# the part that $A$ sees right. So already the first average comes within a few decibels of $A^{+}x_0$:

# %%
for kernel, run in both.items():
    single, average = run.history[["psnr", "psnr_average"]].iloc[0]
    empty = run.problem.operator.project(torch.zeros_like(clean), observed)
    print(
        f"{kernel}: the first iterate {single:.1f} dB, the first average {average:.1f} dB, ", end=""
    )
    print(f"A⁺x₀ {dip.psnr(empty, clean):.1f} dB")
    assert -4 < average - dip.psnr(empty, clean) < 1 and average > single + 5

# %% [markdown]
# ## 5 · Two witnesses
#
# *A sample answer:* Nothing in the photograph decides. All three results have $E = 0$, so they differ in the null space of $A$ only, and there
# only the prior speaks. That two methods agree shows that they have similar priors, or leave the same things out; in section 8 two seeds
# agreed far better with each other than with the truth. How right an invention is can be measured only with the truth,
# which the judge does not have. I would tell the judge which parts of the digit lie in the null space, and show two
# digits, both of which make exactly this photograph; exercise 3 is how to make the second. What would help is more data: another photograph of the same plate.
