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
# # Worked exercises · 01 Motivation
#
# Back to the lesson: [01_motivation.ipynb](../01_motivation.ipynb)

# %%
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import curves
from diplearn.figures import contact_sheet

small = dip.denoising(dip.images.load("chelsea", size=96), sigma=25 / 255, seed=0)
noisy = dip.psnr(small.observation, small.truth)

# %% [markdown]
# ## 1 · The yardstick


# %%
def my_psnr(image, truth):
    """Peak signal-to-noise ratio in decibels, of images whose peak is 1."""
    return 10 * torch.log10(1 / (image - truth).square().mean())


check.psnr_function(my_psnr)

# %% [markdown]
# The noisy image shows what the number means: a noise of σ has a mean squared error of σ², so
# −20 log₁₀(25/255) = 20.2 dB. Clipping to [0, 1] takes a little of the noise away.

# %%
print(f"{-20 * torch.log10(torch.tensor(25 / 255)):.2f} dB expected, {noisy:.2f} dB measured")
assert check.psnr_function(my_psnr)
assert abs(my_psnr(small.observation, small.truth) - noisy) < 1e-3

# %% [markdown]
# ## 2 · No bottleneck

# %%
x0 = dip.denoising(dip.images.load("chelsea", size=256)).observation
published = dip.networks.Hourglass()
my_ratio = sum(p.numel() for p in published.parameters()) / x0.numel()

check.numbers_per_parameter(my_ratio, published, x0)

# %% [markdown]
# Eleven numbers to adjust for every number to reproduce. Counting parameters does not explain why
# this works; the *order* in which the network reaches images does.
#
# ## 3 · No network
#
# Every pixel is a parameter of its own, and the energy is a sum over pixels: each of them walks
# straight to its noisy value and knows nothing of its neighbours. On the way the image is a blend
# of the start and of $x_0$, a fainter or a stronger version of the noisy image; nowhere does it come much closer
# to the truth. The best PSNR is about that of $x_0$ itself. (Adam gathers speed and overshoots: the small hump of the
# curve, and its dip, are the pixels' swinging around their goals.)

# %%
recipe = dip.lab(network="pixels", learning_rate=0.02)
my_run = dip.fit(small, recipe, iterations=300, progress=False)

check.no_prior(my_run)

# %%
curves(
    my_run, alt="The PSNR rises to that of the noisy image, overshoots a little, and stays there"
)

# %%
best = my_run.history.psnr.max()
assert check.no_prior(my_run)
assert abs(best - noisy) < 1.5  # no prior, no gain worth the name

# %% [markdown]
# ## 4 · Your own structure
#
# Halve the resolution twice, work there, bring it up again: five convolutions are enough. The second network has as
# many, with as many channels, but 1×1 filters and no change of resolution; a pixel cannot see its
# neighbours, and so the structure says nothing about images.

# %%
structured = nn.Sequential(
    nn.Conv2d(32, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(0.2),
    nn.Conv2d(32, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2),
    nn.Conv2d(32, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2),
    nn.Conv2d(32, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.LeakyReLU(0.2),
    nn.Conv2d(16, 3, 1), nn.Sigmoid(),
)  # fmt: skip
my_fit = dip.fit(small, dip.Recipe(iterations=300), structured, progress=False)

check.own_network(my_fit)

# %%
layers = []
for inputs, outputs in ((32, 32), (32, 32), (32, 32), (32, 16)):
    layers += [nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
pointwise = nn.Sequential(*layers, nn.Conv2d(16, 3, 1), nn.Sigmoid())
flat = dip.fit(small, dip.Recipe(iterations=300), pointwise, progress=False)

check.own_network(flat)

# %%
shown = {"noisy": small.observation, "structured, its best": my_fit.oracle}
shown |= {"structured, the last": my_fit.output, "1×1 filters, the last": flat.output}
captions = {k: f"{dip.psnr(p, small.truth):.1f} dB" for k, p in shown.items()}
contact_sheet(shown, captions=captions, alt="Noisy; restored; noisy again; a grainy flat brown")

# %% [markdown]
# The check looks at the best average on the way. Nobody stopped this fit (`dip.Recipe` has no rule), and by iteration
# 300 it has taken up much of the noise. The 1×1 network's image is unfinished after as many iterations, and
# what there is of it is as grainy as $x_0$.

# %%
assert check.numbers_per_parameter(my_ratio, published, x0)
assert check.own_network(my_fit) and not check.own_network(flat)
assert my_fit.psnr > noisy + 1 > flat.psnr
