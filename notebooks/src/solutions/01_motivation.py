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
import pandas as pd
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import curves
from diplearn.figures import contact_sheet

small = dip.denoising(dip.images.load("chelsea", size=96), sigma=25 / 255, seed=0)
noisy = dip.psnr(small.observation, small.truth)

# %% [markdown]
# ## 1 · Which prior for which job?
#
# A sample answer; others are as good if they name the data, the operator and the assumption.
#
# (a) *Noise2Noise*: there are pairs of noisy exposures, and the task is noise alone. It assumes that the two exposures show the same scene
# with independent noise. If the dish moved between them, or if both have the same pattern of dead pixels, the network learns a blurred image, or
# learns to keep the pattern. (*Noise2Void* would do with one exposure of each, and needs noise that is independent from pixel to pixel.)
#
# (b) *The deep image prior* with a mask for the scratches: there is no other image, and the operator is not noise alone. It assumes that what was
# lost is like what surrounds it. If a scratch covers a face, there will be no face.
#
# (c) *Plug-and-play* or *diffusion posterior sampling*: there are many clean images of the same kind, and the operator will change. Both are
# trained once. They assume that the next map is like the 10,000. On a map in another style, the diffusion model may draw roads that
# the museum's maps would have had there.

# %% [markdown]
# ## 2 · No network
#
# Every pixel is a weight of its own, and the energy is a sum over pixels: each of them moves
# straight to its noisy value and knows nothing of its neighbours. On the way the image is a blend
# of the start and of $x_0$, a fainter or a stronger version of the noisy image; nowhere does it come much closer
# to the truth. The best PSNR is about that of $x_0$ itself. (The optimiser gathers speed and overshoots: the small hump of the
# curve, and its dip, are the pixels' swinging around their goals.)

# %%
recipe = dip.lab(network="pixels", learning_rate=0.02)
my_run = dip.fit(small, recipe, iterations=300, progress=False)

check.no_prior(my_run)

# %%
curves(
    my_run, alt="The PSNR rises to that of the noisy image, overshoots a little, and stays there"
)

# %% [markdown]
# **The reply.** The claim counts weights. The pixels have as many weights as the image has numbers, and nothing good lies on
# their path, so the good image of section 4 does not come from the number of weights, nor from stopping early as such. Three networks
# with different random weights all pass through a good image, at about the same iteration: that is not luck. What the network changes is the *order*: it reaches
# the image long before the noise.

# %%
best = my_run.history.psnr.max()
assert check.no_prior(my_run)
assert abs(best - noisy) < 1.5  # no prior, no gain worth the name

# %% [markdown]
# ## 3 · Your own structure
#
# Halve the resolution twice, work there, bring it up again: five convolutions are enough. The second network has as
# many, with as many channels, but 1x1 filters and no change of resolution; a pixel cannot see its
# neighbours, and so the structure says nothing about images.

# %%
torch.manual_seed(0)
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
shown |= {"structured, the last": my_fit.output, "1x1 filters, the last": flat.output}
captions = {k: f"{dip.psnr(p, small.truth):.1f} dB" for k, p in shown.items()}
contact_sheet(shown, captions=captions, alt="Noisy; restored; noisy again; a grainy flat brown")

# %% [markdown]
# The check looks at the best average on the way. Nobody stopped this fit (`dip.Recipe` has no rule), and by iteration
# 300 it has taken up much of the noise. The 1x1 network's image is unfinished after as many iterations, and
# what there is of it is as grainy as $x_0$.

# %%
assert check.own_network(my_fit) and not check.own_network(flat)
assert my_fit.psnr > noisy + 1 > flat.psnr

# %% [markdown]
# ## 4 · What does it know about cats?

# %%
truth = small.truth
order = torch.randperm(96 * 96, generator=torch.Generator().manual_seed(0))
targets = {
    "the cat": truth,
    "upside down": truth.flip(-2),
    "shuffled": truth.flatten(1)[:, order].reshape(truth.shape),
}
bare = dip.lab(
    iterations=120, stop="count", members=1, input_noise=0, average_window=None, average=0
)
problems = {name: dip.denoising(each, sigma=25 / 255, seed=0) for name, each in targets.items()}
fits = dip.fits(
    {
        (n, s): {"problem": p, "recipe": bare, "seed": s}
        for n, p in problems.items()
        for s in range(3)
    },
    progress=False,
)

# %%
gains = pd.Series(
    {
        k: run.oracle_psnr - dip.psnr(run.problem.observation, run.problem.truth)
        for k, run in fits.items()
    }
)
table = gains.unstack().reindex(list(targets))
table.agg(["mean", "std"], axis=1).style.format("{:.2f} dB")

# %% [markdown]
# A network that was trained on cats has seen eyes above noses, and would expect them there: we would expect it to do worse upside down (not run here). Ours gains the same either way up, within
# the spread over the seeds: nothing about cats has gone in. With shuffled pixels it gains a third of that, although no colour has changed. So it does
# know something, and not about cats: it prefers images whose *neighbouring pixels agree*.
#
# And the third that is left? It needs no neighbours. Most colours of the photograph lie near their mean, and to move every noisy pixel towards that mean, by a
# factor that follows from σ alone, gains as much:

# %%
pixels = small.observation.flatten(1)
mean = pixels.mean(1, keepdim=True)
keep = 1 - small.sigma**2 / (pixels - mean).square().mean()  # the share that is not noise
shrunk = (mean + keep * (pixels - mean)).reshape(truth.shape)
to_the_mean = dip.psnr(shrunk, truth) - noisy

colours = torch.cov(pixels)  # how the three colours vary together
mix = torch.eye(3) - small.sigma**2 * torch.linalg.inv(colours)
mixed = (mean + mix @ (pixels - mean)).reshape(truth.shape)
by_colours = dip.psnr(mixed, truth) - noisy
print(
    f"towards the mean: {to_the_mean:.1f} dB; colours mixed within each pixel: {by_colours:.1f} dB"
)

# %% [markdown]
# The second number is the best that a linear filter can do *within* each pixel, by using that the three colours of a photograph vary together. It is a warning: more
# than half of a gain of 7 dB could be had without any knowledge of shapes. The rest could not. (Shuffled pixels have another
# spectrum as well; lesson 03 compares such targets with care.)

# %%
means = table.mean(axis=1)
assert abs(means["the cat"] - means["upside down"]) < 0.5
assert means["shuffled"] < means["the cat"] - 3
assert abs(means["shuffled"] - to_the_mean) < 1
assert means["the cat"] > by_colours + 1.5
