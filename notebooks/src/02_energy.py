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
# # 02 · Energy: from Bayes to E(x; x0) + R(x), and to no R at all
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/02_energy.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/02_energy.ipynb)
#
# **When you are through, you will be able to**
#
# - derive the energy of a restoration task from Bayes' rule, and say what its weight means;
# - write the data terms of denoising, super-resolution and inpainting, and draw where they are zero;
# - restore an image with total variation, and choose its weight without the truth;
# - write a deep image prior from nothing in thirty lines of PyTorch;
# - draw the path of a fit through the space of images, and say what a network does to a gradient.
#
# **Computing:** about two minutes on two cores. **Study:** about 70 minutes, exercises included.
# **Needs:** lesson 01, and three words of PyTorch: a *tensor* is an array; a *module* holds weights and maps tensors to tensors;
# `energy.backward()` computes the gradient of the energy with respect to every weight.
# **Words and symbols:** [glossary](glossary.md).

# %% tags=["folded"]
# On Colab: install the course
import sys

if "google.colab" in sys.modules:  # Colab brings torch; only the course itself is missing there
    import subprocess

    address = "diplearn[compare] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

# %%
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check
from diplearn.energy import data_term

torch.set_num_threads(1)  # images this small: one core is quicker than two that wait

# %% tags=["folded"]
# More imports, for tables and figures
import copy
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from diplearn.course import drawings
from diplearn.course.show import reveal, show
from diplearn.figures import BLUE, COLOURS, GREY, ORANGE, Figure, contact_sheet
from diplearn.images import to_array
from diplearn.widgets import scrub

# %% [markdown]
# ## 1 · The challenge
#
# Three things may have happened to a photograph $x$: noise was added; or it was made four times smaller in each
# direction; or half of its pixels were lost. In all three cases what is left is
#
# $$x_0 = A\,x + n,$$
#
# with an **operator** $A$, a linear map from images to observations, and noise $n$ (here zero in the last two tasks).
#
# > **Predict.** What is $A$ in each of the three tasks? And if there were no noise, from which of the three
# > observations could the photograph be computed exactly?

# %%
clean = dip.images.load("chelsea", size=128)  # to measure against; no method below ever sees it
problems = {
    "denoising": dip.denoising(clean, sigma=25 / 255, seed=0),
    "super-resolution": dip.super_resolution(clean, factor=4),
    "inpainting": dip.inpainting(clean, mask=0.5, seed=0),
}

# %% tags=["folded"]
# Show the three observations, and their operators
operators = {
    "denoising": ("x itself", "dip.Identity()", "yes: x₀ = x"),
    "super-resolution": ("x, blurred and sampled at every 4th pixel", "dip.Downsample(4)", "no"),
    "inpainting": ("m ⊙ x, with m = 1 at known pixels and 0 elsewhere", "dip.Mask(m)", "no"),
}
table = pd.DataFrame(operators, index=["A x", "in the package", "exact without noise?"]).T
observed = {f"x₀, {task}": problem.observation for task, problem in problems.items()}
reveal(table, contact_sheet(observed, width=8), text="02 operators")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# In denoising $A$ is the identity. The other operators throw information away. Super-resolution keeps one number of
# sixteen. Inpainting keeps half of them, by a **mask** $m$ of ones and zeros; ⊙ multiplies two images pixel by pixel.
#
# </details>

# %%
show(drawings.masking(), text="02 masking")

# %% [markdown]
# How badly an image $x$ explains the observation is measured by the **data term**. The formula is the same for all
# three tasks:
#
# $$E(x; x_0) = \tfrac1N \lVert A x - x_0 \rVert^2,$$
#
# where $N$ is the number of values in $x_0$. In two of the tasks, images other than the photograph explain the observation
# perfectly. We make such an **impostor** from a cup of coffee, changed as little as possible until $A x = x_0$:

# %%
coffee = 0.25 + 0.5 * dip.images.load("coffee", size=128)
pairs, energies = {}, {}
for task in ("super-resolution", "inpainting"):
    problem = problems[task]
    impostor = problem.operator.project(coffee, problem.observation)  # A x = x0
    pairs |= {f"x₀, {task}": problem.observation, f"an impostor, {task}": impostor}
    energies[f"an impostor, {task}"] = f"E = {data_term(impostor, problem):.4f}"

# %% tags=["folded"]
# Show each observation and its impostor
energies |= {name: "" for name in pairs if name not in energies}
show(contact_sheet(pairs, 4, energies), text="02 impostors")

# %% tags=["folded"]
# What the text claims, asserted
for task, problem in problems.items():
    if task != "denoising":
        assert data_term(pairs[f"an impostor, {task}"], problem) < 1e-6
        assert dip.psnr(pairs[f"an impostor, {task}"], clean) < 27  # and it is another image

# %% [markdown]
# ## 2 · From Bayes to an energy
#
# Bayes' rule says how probable an image is once we have seen $x_0$:
#
# $$p(x \mid x_0) \;\propto\; p(x_0 \mid x)\; p(x).$$
#
# The first factor describes the noise. If the noise is Gaussian and independent from pixel to pixel, then
# $p(x_0 \mid x) \propto \exp\!\big(-\tfrac{1}{2\sigma^2} \lVert A x - x_0\rVert^2\big)$. The most probable image, the MAP
# (maximum a posteriori) estimate, minimises $-\log p(x \mid x_0)$. Multiplied by the constant $2\sigma^2/N$, this becomes
# (Geman & Geman 1984)
#
# $$x^* = \arg\min_x\; E(x; x_0) + R(x), \qquad R(x) = -\tfrac{2\sigma^2}{N} \log p(x). \tag{1}$$
#
# So the operator and the *noise* determine $E$, and what we believe about *images* determines the **regulariser** $R$, whose
# weight grows with σ. As σ goes to zero, $R$ only chooses *among* the images with $E = 0$.
#
# ### A world of two pixels
#
# If an image has just two pixels, $x = (a, b)$, each point of a plane is an image. Let the prior say "neighbours are alike",
# $R(x) = \tfrac1{10}\,|a - b|$. We are told $a = 0.8$ and $b = 0.3$, both with noise; or only that their mean is 0.55; or
# only that $a = 0.8$.
#
# > **Predict.** Where in the plane is $E = 0$ in each of the three cases? And where does $E + R$ have its
# > minimum?

# %% tags=["folded"]
# Draw E over the plane of all images with two pixels
a, b = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201))
worlds = {  # E over the plane, and where it is zero
    "denoising: a and b, noisy": (((a - 0.8) ** 2 + (b - 0.3) ** 2) / 2, ([0.8], [0.3])),
    "super-resolution: the mean": (((a + b) / 2 - 0.55) ** 2, ([0.1, 1], [1, 0.1])),
    "inpainting: a alone": ((a - 0.8) ** 2 / 2, ([0.8, 0.8], [0, 1])),
}
R = 0.1 * abs(a - b)
plane = Figure(figsize=(10, 4.2))
for axis, (name, (energy, zero)) in zip(plane.subplots(1, 3, sharey=True), worlds.items()):
    axis.contourf(a, b, np.sqrt(energy), 12, cmap="Blues_r", alpha=0.55)  # darker: smaller E
    marker = "s" if len(zero[0]) == 1 else None  # a point, or a line
    axis.plot(*zero, marker=marker, color=BLUE, lw=5, ms=11, label="E = 0")
    axis.set_title(name)

# %% tags=["folded"]
# Add R and the minimum of E + R to the drawing
for axis, (energy, _) in zip(plane.axes, worlds.values()):
    axis.plot([0, 1], [0, 1], "--", color="0.25", lw=1.5, label="R = 0: a flat image")
    least = (energy + R).argmin()
    axis.plot(a.flat[least], b.flat[least], "o", color=ORANGE, ms=12, label="E + R smallest")
    axis.set(xlabel="pixel a", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    axis.set(xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
plane.axes[0].set_ylabel("pixel b")
legend = plane.axes[0].get_legend_handles_labels()
plane.legend(*legend, loc="outside lower center", ncols=3, frameon=False)
reveal(plane, text="02 plane")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# In denoising, $E$ alone has exactly one minimum, and it is the wrong image: $x_0$, noise and all. $R$ has to pull *away* from it,
# and how far is a compromise. In the other two tasks $E$ is zero on a whole line, along which the data say nothing. There $R$
# need not fight the data: it picks a place on the line.
#
# </details>
#
# ## 3 · An R that somebody wrote down: total variation
#
# "Neighbours are alike", for all pixels of an image, is **total variation** (Rudin, Osher & Fatemi 1992): the
# length of the image's gradient, summed. $\partial_1 x$ and $\partial_2 x$ are differences between neighbours:
#
# $$R(x) = \frac{\lambda}{N} \operatorname{TV}(x) = \frac{\lambda}{N} \sum_{\text{pixels, colours}}
# \sqrt{(\partial_1 x)^2 + (\partial_2 x)^2}.$$
#
# In Bayes' words the prior is $p(x) \propto e^{-\beta \operatorname{TV}(x)}$, with $\lambda = 2\sigma^2\beta$. Nobody
# knows β, so λ has to be chosen. We optimise the pixels directly: the package's `pixels` is no network, but
# $f_\theta(z) = \theta$.
#
# The optimiser is **Adam** (Kingma & Ba 2015). It follows a running mean of the recent gradients instead of the last
# gradient alone, and it divides the step of each number by the typical size of that number's gradients, so that all numbers
# move at about the same pace ([details](https://pytorch.org/docs/stable/generated/torch.optim.Adam.html)).


# %%
def total_variation(problem, weight, iterations=200):
    """Minimise E(x; x0) + weight / N * TV(x) over the pixels of x."""
    recipe = dip.Recipe(
        network="pixels",
        optimiser="adam",
        learning_rate=0.03,
        final_rate=0,  # ever smaller steps, to arrive
        tv_weight=weight / problem.observation.numel(),
        iterations=iterations,
    )
    return dip.fit(problem, recipe, device="cpu", progress=False).last


# %% [markdown]
# Choosing λ with the cat's truth would be cheating, so we choose it on three *other* images.
#
# > **Predict.** Sketch the PSNR over λ. What does the image look like at either end? Does the best λ depend on the image?

# %%
weights = (0.01, 0.05, 0.1, 0.14, 0.2, 0.4, 1)
others = {name: dip.images.load(name, size=128) for name in ("astronaut", "coffee", "rocket")}
scores = {}
for name, image in {**others, "our cat": clean}.items():
    noisy = dip.denoising(image, sigma=25 / 255, seed=0)
    images = {weight: total_variation(noisy, weight) for weight in weights}
    scores[name] = [dip.psnr(x, image) for x in images.values()]
best = weights[np.mean([scores[name] for name in others], axis=0).argmax()]

# %% tags=["folded"]
# Draw the PSNR over λ
chart = Figure(figsize=(8, 3.6))
axis = chart.subplots()
for (name, values), colour in zip(scores.items(), (GREY, COLOURS[3], COLOURS[4], BLUE)):
    axis.semilogx(weights, values, "o-", color=colour, lw=3 if name == "our cat" else 1.4)
    axis.text(1.1, values[-1], name, color=colour, va="center", fontsize=12)
axis.axvline(best, color=ORANGE, ls="--")
axis.text(best * 0.96, 18, "best mean of\nthe other three", color=ORANGE, ha="right", fontsize=11)
axis.set(xlabel="weight λ of total variation", ylabel="PSNR in dB", xlim=(0.008, 2.4))
axis.spines[["top", "right"]].set_visible(False)
axis.grid(alpha=0.25)

# %% tags=["folded"]
# Show the cat for four weights, below the curves
x0, cat = problems["denoising"].observation, dict(zip(weights, scores["our cat"]))
smooth = {"λ = 0: x₀": x0} | {f"λ = {w}": images[w] for w in (0.05, best, 1)} | {"truth": clean}
decibels = {name: f"{dip.psnr(x, clean):.1f} dB" for name, x in smooth.items() if name != "truth"}
numbers = {"best": best, "lost": max(cat.values()) - cat[best]}
reveal(chart, contact_sheet(smooth, captions=decibels), text="02 weights", **numbers)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# With little weight the noise stays; with much, whole regions melt into one colour. The best λ is not the same for all
# images, but the maximum is broad enough for one λ to serve. What is still wrong with the best image comes from the belief
# behind it: a cat has fur, and total variation charges for every hair.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert cat[best] > max(cat.values()) - 0.5  # chosen on other images, it suits this one
assert cat[best] > cat[0.01] + 3 and cat[best] > cat[1] + 3
assert weights[0] < best < weights[-1]  # not at the edge of the grid

# %% [markdown]
# ## 4 · The step: no R at all
#
# Now the idea of the paper. Do not put a price on images. *Write them differently*: as the
# output of a network for a fixed random input, and look for the network's weights,
#
# $$\theta^* = \arg\min_\theta\; E\big(f_\theta(z);\, x_0\big), \qquad x^* = f_{\theta^*}(z). \tag{2}$$
#
# One may call that an $R$: zero for images that the network can make, infinite for all others. But our
# network can make nearly *every* image, so this $R$ forbids nearly nothing. What matters is the **path** of the search.

# %%
show(drawings.loop(), text="02 loop")

# %% [markdown]
# ### Thirty lines
#
# Each `block` of the hourglass is a convolution (lesson 01), a batch norm, and `LeakyReLU`, which multiplies negative values
# by 0.2: without it, a stack of convolutions would be a linear map. **Batch norm** gives each channel (each of the images
# that a layer makes) mean 0 and variance 1, and then a learned scale and offset. Without it, signals would grow or fade from
# layer to layer ([more](https://d2l.ai/chapter_convolutional-modern/batch-norm.html)). A `Level` halves the image with a convolution at every
# other pixel (`stride=2`), hands it to the level below, doubles the size of what comes back, and merges it with a **skip**:
# four channels made directly from the level's input.

# %%
show(drawings.hourglass(128, channels=(32,) * 5), text="02 hourglass")


# %%
def block(inputs, outputs, stride=1):
    filters = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    return nn.Sequential(filters, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))


class Level(nn.Module):
    def __init__(self, levels, width=32):
        super().__init__()
        self.skip, self.down = nn.Conv2d(width, 4, 1), block(width, width, stride=2)
        self.below = Level(levels - 1) if levels > 1 else nn.Identity()
        self.up = block(width + 4, width)

    def forward(self, x):
        below = nn.functional.interpolate(self.below(self.down(x)), scale_factor=2, mode="bilinear")
        return self.up(torch.cat([self.skip(x), below], dim=1))


# %%
def deep_prior(problem, network, z, iterations):
    """Fit θ step by step; yield energy and image of every iteration."""
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
    for _ in range(iterations):
        x = network(z)[0]  # x = f_θ(z)
        energy = (problem.operator(x) - problem.observation).square().mean()  # E(x; x0)
        energy.backward()  # the gradient with respect to θ
        optimiser.step()
        optimiser.zero_grad()
        yield energy.item(), x.detach()


# %%
def fresh(seed, side, order=torch.channels_last):  # the order in memory: for speed
    torch.manual_seed(seed)
    network = nn.Sequential(Level(5), nn.Conv2d(32, 3, 1), nn.Sigmoid())  # f_θ
    z = 0.1 * torch.rand(1, 32, side, side)  # noise, drawn once
    return network.to(memory_format=order), z.contiguous(memory_format=order)


# %% [markdown]
# That is a deep image prior. Let it loose on the noisy cat:

# %%
problem = problems["denoising"]
network, z = fresh(0, 128)
twin = copy.deepcopy(network)  # the same weights once more, for later
energies, images = zip(*deep_prior(problem, network, z, 300))

# %% tags=["folded"]
# Show five of the images
frames = {f"iteration {k}": images[k - 1] for k in (1, 10, 40, 150, 300)}
decibels = {name: f"{dip.psnr(x, clean):.1f} dB" for name, x in frames.items()}
show(contact_sheet(frames, captions=decibels), text="02 frames")

# %% [markdown]
# ### The same through the package
#
# `dip.fit` runs this very loop, with our network and $z$ and a recipe without any additions:

# %%
by_hand = dip.Recipe(optimiser="adam", learning_rate=0.01, iterations=50)
run = dip.fit(problem, by_hand, network=twin, z=z, device="cpu", progress=False)
difference = np.abs(run.history.loss / np.array(energies[:50]) - 1).max()
print(f"50 energies, and the largest relative difference is below 1e-5: {difference < 1e-5}")
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# ### One loop, three operators
#
# Nothing in `deep_prior` or `total_variation` knows the task. Without noise a small weight
# will do, by equation (1); we take λ = 0.001. Beside both we put the pixels alone, with no $R$ and
# no network. As the deep prior we take the course's recipe `lab` with one network: the loop above with another hourglass,
# another optimiser, an average of recent images, and fresh noise added to $z$ in each iteration (lesson 09). No fit is
# stopped early.
#
# > **Predict.** In which of the three tasks will the network's last image be much worse than its best? And how well
# > will the pixels alone do in each of the three?

# %%
wanted = {}
for task, problem in problems.items():
    iterations = 300 if problem.sigma else 200
    recipe = dip.lab(problem.task, members=1, iterations=iterations, stop="count")
    for seed in range(3):
        wanted[task, seed] = {"problem": problem, "recipe": recipe, "seed": seed, "device": "cpu"}
runs = dip.fits(wanted, cores=2, progress=False)  # two at a time, each on one core

# %% tags=["folded"]
# Collect the scores of all methods
tv = {task: total_variation(p, best if p.sigma else 0.001, 1000) for task, p in problems.items()}
peaks, lasts, scores = {}, {}, {}
for task, each in problems.items():
    ours = [runs[task, seed] for seed in range(3)]
    peak = peaks[task] = np.array([run.oracle_psnr for run in ours])
    last = lasts[task] = np.array([run.history.psnr_average.iloc[-1] for run in ours])
    scores[task] = {
        "pixels alone": f"{dip.psnr(total_variation(each, weight=0), clean):.1f}",
        "total variation": f"{dip.psnr(tv[task], clean):.1f}",
        "deep prior: best": f"{peak.mean():.1f} ± {peak.std(ddof=1):.1f}",
        "deep prior: last": f"{last.mean():.1f} ± {last.std(ddof=1):.1f}",
    }

# %% tags=["folded"]
# Show the table, and the images of total variation and of the deep prior
pictures = {f"TV, {task}": image for task, image in tv.items()}
pictures |= {f"deep prior's last, {task}": runs[task, 0].average for task in problems}
decibels = {name: f"{dip.psnr(x, clean):.1f} dB" for name, x in pictures.items()}
sheet, large = contact_sheet(pictures, 3, decibels, width=8), problems["super-resolution"]
least = large.operator.project(torch.zeros_like(clean), large.observation)  # no prior at all
reveal(pd.DataFrame(scores).T, sheet, text="02 tasks", least=dip.psnr(least, clean))

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# In **denoising** the last image is much worse than the best one: the network, too, goes on to the noise (move the slider
# below). In the other tasks the last image is the best one, or nearly. Section 5 shows why. The pixels alone give back the
# noise in denoising, and in inpainting the missing pixels stay as they began. In super-resolution $x_0$ fixes the coarse cat,
# and the rest is faint noise.
#
# On this cat the deep prior leads in all three tasks, in denoising if somebody stops it at the right moment
# (lesson 08 does so without the truth). A fit takes longer than total variation.
#
# </details>

# %%
scrub(runs["denoising", 0], frames=20)

# %% tags=["folded"]
# What the text claims, asserted
assert (lasts["denoising"] < peaks["denoising"] - 0.7).all()
assert (peaks["inpainting"] - lasts["inpainting"]).max() < 0.3
assert (peaks["super-resolution"] - lasts["super-resolution"]).max() < 0.3
assert all(peaks[task].mean() > dip.psnr(tv[task], clean) for task in problems)

# %% [markdown]
# ### The bare loop, and its spots
#
# Without the recipe's additions, our thirty lines are no better than total variation in super-resolution, and they cover
# the cat with **spots**. Fits with different seeds all explain $x_0$, so what differs between their images is something that $A$ cannot
# see. Do the spots come from $z$, which is noise? The skips of the two finest levels carry $z$ past the coarse levels, to
# where few filters are left to smooth it. So we fix these two skips at zero, and change nothing else.

# %%
small = dip.images.load("chelsea", size=64)
enlarge = dip.super_resolution(small, factor=4)


def silenced(network):
    """Fix the skips of the two finest levels at zero."""
    for level in (network[0], network[0].below):
        level.skip.requires_grad_(False)
        level.skip.weight.data.zero_()
    return network


# %% tags=["folded"]
# Fit the network with and without these skips, with three seeds each, and keep the last 50 images
kinds = {"all skips": lambda network: network, "two skips silenced": silenced}


def enlarged(network, z):
    fit = deep_prior(enlarge, network, z, 200)
    return torch.stack([x for _, x in islice(fit, 150, None)])


late = {}
with ThreadPoolExecutor(2) as cores:  # two at a time
    for kind, change in kinds.items():
        networks, zs = zip(*(fresh(seed, 64) for seed in range(3)))
        for seed, images in enumerate(cores.map(enlarged, map(change, networks), zs)):
            late[kind, seed] = images


# %% tags=["folded"]
# Measure the spots: what three seeds do not have in common
def spots(images):
    return float(torch.stack(images).std(0).square().mean().sqrt())


rows = {}
for kind in kinds:
    three = [late[kind, seed] for seed in range(3)]
    last = [images[-1] for images in three]
    decibels = [dip.psnr(x, small) for x in last]
    rows[kind] = {
        "PSNR in dB": f"{np.mean(decibels):.1f} ± {np.std(decibels, ddof=1):.1f}",
        "spots": spots(last), "spots in the mean of 50 iterations": spots([x.mean(0) for x in three]),
        "PSNR of the mean of three seeds": f"{dip.psnr(torch.stack(last).mean(0), small):.1f}",
    }  # fmt: skip

# %% tags=["folded"]
# Show the images, and what differs between the seeds
flat = total_variation(enlarge, 0.001, 1000)
shown = {"truth": small, f"TV: {dip.psnr(flat, small):.1f} dB": flat}
for kind in kinds:
    last = torch.stack([late[kind, seed][-1] for seed in range(3)])
    shown |= {kind: last[0], f"spots, {kind}": (0.5 + 4 * (last[0] - last.mean(0))).clamp(0, 1)}
with_, without = (rows[kind]["spots"] for kind in kinds)
table = pd.DataFrame(rows).T.style.format("{:.3f}", subset=list(rows["all skips"])[1:3])
show(table, contact_sheet(shown, 3, width=8), text="02 spots", with_=with_, without=without)

# %% [markdown]
# Without the two skips the spots shrink by half, and no PSNR is lost. With all skips and a smooth $z$ there are hardly any
# spots either (not shown): they come from $z$. Averaging over
# iterations does not remove spots, since $z$ stands still. Averaging over seeds does in part, for each seed has its own.
# Where the data say nothing, the image shows what the *structure* makes of $z$.

# %% tags=["folded"]
# What the text claims, asserted
assert without < 0.6 * with_
kept = {
    kind: rows[kind]["spots in the mean of 50 iterations"] / rows[kind]["spots"] for kind in kinds
}
assert kept["all skips"] > 0.8
means = {kind: np.mean([dip.psnr(late[kind, s][-1], small) for s in range(3)]) for kind in kinds}
assert means["two skips silenced"] > means["all skips"] - 0.2  # three seeds: ahead by 0.3
assert means["all skips"] < dip.psnr(flat, small) + 0.2

# %% [markdown]
# ## 5 · A map of the path
#
# An image of 64×64 pixels in three colours is a point in a space of 12,288 dimensions, and a fit is a path through it.
# **Principal components** give the best flat map: the plane in which the paths' points are spread most. For
# each of two tasks we fit three seeds, add the truth and the observation, and draw a map.
#
# On the same maps we draw a fit without the network: same energy, same start, but *the pixels are optimised directly*, by
# plain gradient descent,
#
# $$x \leftarrow x - \eta \nabla_{\!x} E(x), \qquad \nabla_{\!x} E = \tfrac2N A^\top (A x - x_0),$$
#
# where $A^\top = A$ in these two tasks.
#
# > **Predict.** Sketch both maps, each with the start, the truth, $x_0$, and two paths: that of the network and that of the
# > pixels. Where does each path end, and how near does it pass to the truth?

# %%
tasks = {"denoising": dip.denoising(small, 25 / 255), "inpainting": dip.inpainting(small, 0.5)}


def network_path(problem, network, z, iterations=600):
    """Images along one fit, spread evenly over the logarithm of the iteration."""
    kept = {30, 100, *np.geomspace(1, iterations, 120).astype(int).tolist()}
    fit = deep_prior(problem, network, z, iterations)
    return {k: x for k, (_, x) in enumerate(fit, 1) if k in kept}


# %%
def pixel_path(problem, x, steps=150):
    """Images along gradient descent over the pixels."""
    path = [x]
    for _ in range(steps):
        x = x - 0.04 * problem.operator(problem.operator(x) - problem.observation)
        path.append(x)
    return path


# %% tags=["folded"]
# Walk all paths, two fits at a time
begun = {(task, seed): fresh(seed, 64) for task in tasks for seed in range(3)}
with ThreadPoolExecutor(2) as cores:
    going = {key: cores.submit(network_path, tasks[key[0]], *begun[key]) for key in begun}
paths = {task: [going[task, seed].result() for seed in range(3)] for task in tasks}
straight = {task: pixel_path(each, paths[task][0][1]) for task, each in tasks.items()}


def root(x):
    return float(x.square().mean().sqrt())  # the root of the mean square


# %% tags=["folded"]
# Find the plane in which images are spread most; put images on it
def flat_map(images):
    rows = torch.stack([x.flatten() for x in images])
    centre, size = rows.mean(0), rows.shape[1] ** 0.5
    axes = torch.linalg.svd(rows - centre, full_matrices=False).Vh[:2]
    axes = axes * torch.sign(axes @ (small.flatten() - rows[0]))[:, None]  # truth: above, right
    return lambda some: (torch.stack([x.flatten() for x in some]) - centre) @ axes.T / size


maps = {}
for task, each in tasks.items():
    landmarks = [small, each.observation]
    maps[task] = flat_map([x for way in paths[task] for x in way.values()] + landmarks)


# %% tags=["folded"]
# Draw the paths: dots for the network, a line for the pixels
def draw(axis, task):
    for way in paths[task]:
        across, up = maps[task](list(way.values())).T
        axis.plot(across, up, color="0.7", lw=1, zorder=1)
        dots = axis.scatter(across, up, c=list(way), s=16, cmap="viridis", norm=LogNorm(1, 600))
    across, up = maps[task](straight[task]).T
    axis.plot(across, up, color=ORANGE, lw=3, zorder=3)
    axis.plot(across[-1], up[-1], "X", color=ORANGE, ms=13, mec="white", zorder=5)
    for x, sign, size in ((small, "*", 19), (tasks[task].observation, "s", 15)):
        place = maps[task]([x])[0].tolist()
        axis.plot(*place, sign, mfc="none", mec="black", mew=2, ms=size, zorder=4)
    axis.set_title(task, fontsize=14)
    return dots


# %% tags=["folded"]
# Leave room around the paths
def room(axis, task):
    every = [x for way in paths[task] for x in way.values()] + [small, tasks[task].observation]
    places = maps[task](every)
    centre = (places.amax(0) + places.amin(0)) / 2
    reach = 0.92 * (places.amax(0) - places.amin(0)).max()
    (left, low), (right, high) = centre - reach, centre + reach
    axis.set(xlim=(left, right), ylim=(low, high), xticks=[], yticks=[], aspect="equal")


# %% tags=["folded"]
# Put a small image there, tied to its place on the map
def picture(axis, task, x, words, place, colour="black"):
    thread = {"arrowstyle": "-", "color": "0.45", "lw": 0.8}
    options = {"boxcoords": "axes fraction", "pad": 0.1, "zorder": 6, "arrowprops": thread}
    image, dot = OffsetImage(to_array(x), zoom=0.78), maps[task]([x])[0].tolist()
    axis.add_artist(AnnotationBbox(image, dot, place, **options))
    aside = {"transform": axis.transAxes, "ha": "center", "va": "bottom", "fontsize": 12}
    back = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axis.text(place[0], place[1] + 0.09, words, color=colour, zorder=7, bbox=back, **aside)


# %% tags=["folded"]
# Draw both maps, with images along the paths
chart = Figure(figsize=(5.8, 10.6))
for axis, task in zip(chart.subplots(2, 1), tasks):
    dots, way, noisy = draw(axis, task), paths[task][0], task == "denoising"
    room(axis, task)
    ten = min(k for k in way if k >= 10)
    picture(axis, task, way[1], "start", (0.1, 0.5))
    picture(axis, task, way[ten], f"iteration {ten}", (0.13, 0.84))
    picture(axis, task, way[30], "iteration 30", (0.38, 0.84))
    picture(axis, task, small, "truth", (0.64, 0.84) if noisy else (0.89, 0.57))
    picture(axis, task, way[600], "iteration 600", (0.87, 0.66) if noisy else (0.87, 0.27))
    picture(axis, task, tasks[task].observation, "x₀", (0.89, 0.27) if noisy else (0.89, 0.84))
    picture(axis, task, straight[task][-1], "pixels, end", (0.58, 0.15), ORANGE)

# %% tags=["folded"]
# Show them
words = "iteration of the network"
bar = chart.colorbar(dots, ax=chart.axes, label=words, location="bottom", aspect=40)
bar.set_ticks([1, 3, 10, 30, 100, 300], labels=["1", "3", "10", "30", "100", "300"])
reveal(chart, text="02 map")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# In **denoising** the network's path passes by the truth and runs on towards $x_0$, the only image with $E = 0$. The truth is no
# resting place, so **one must stop**. In **inpainting** the path ends beside the truth, where it reaches the huge set of images
# with $E = 0$. There nothing pulls any more, and **whoever waits loses next to nothing**.
#
# The pixels go straight. In denoising $-\nabla E = \tfrac2N (x_0 - x)$ always points to $x_0$: image and noise come in at the same
# rate. In inpainting the gradient is zero at every missing pixel, so these pixels stay what they were. That end has $E = 0$, too,
# and is useless. Energy and data are the same in both fits. The *coordinates* are not.
#
# A flat map hides all other dimensions, so we also measure distances in the whole space.
#
# </details>

# %% tags=["folded"]
# Draw the distances to the truth and to the observation
chart = Figure(figsize=(7.2, 3.4))
for axis, (task, each) in zip(chart.subplots(1, 2, sharey=True), tasks.items()):
    for way in paths[task]:
        to_data = [root(each.operator(x) - each.observation) for x in way.values()]
        axis.semilogx(list(way), [root(x - small) for x in way.values()], color=ORANGE)
        axis.semilogx(list(way), to_data, "--", color=BLUE)
    if each.sigma:
        axis.axhline(each.sigma, color="black", ls=":")
        axis.text(1, each.sigma + 0.004, "σ")
    axis.set(title=task, xlabel="iteration", ylim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
chart.axes[0].set_ylabel("distance, root mean square")
for place, words, colour in (((3, 0.06), "to the truth", ORANGE), ((9, 0.16), "√E, to x₀", BLUE)):
    chart.axes[0].text(*place, words, color=colour, fontsize=12)

# %% tags=["folded"]
# Measure how near each path comes to the truth, and where it ends
ratios = {}
for task, ways in paths.items():
    far = torch.tensor([[root(x - small) for x in way.values()] for way in ways])
    ratios[task] = far[:, -5:].mean(1) / far.min(1).values
nearest = [min(way.values(), key=lambda x: root(x - small)) for way in paths["denoising"]]
energies = [data_term(x, tasks["denoising"]).sqrt().item() * 255 for x in nearest]
ends = [list(way.values())[-1] for way in paths["denoising"]]
left = [root(x - tasks["denoising"].observation) / tasks["denoising"].sigma for x in ends]
close = [root(x - small) / tasks["denoising"].sigma for x in nearest]

# %% tags=["folded"]
# The control: how near do the pixels come to the truth, by gradient descent and by Adam?
direct = [root(x - small) / tasks["denoising"].sigma for x in straight["denoising"]]
pixels = paths["denoising"][0][1].clone().requires_grad_()
adam = torch.optim.Adam([pixels], lr=0.01)  # the network's optimiser, and its learning rate
for _ in range(300):
    adam.zero_grad()
    data_term(pixels, tasks["denoising"]).backward()
    adam.step()
    direct.append(root(pixels.detach() - small) / tasks["denoising"].sigma)

# %% tags=["folded"]
# Show both
numbers = {"low": min(energies), "high": max(energies), "left": max(left), "close": min(close)}
numbers |= {"ratio": float(ratios["denoising"].min()), "wait": float(ratios["inpainting"].max())}
numbers["direct"] = min(direct)
show(chart, text="02 distances", **numbers)

# %% [markdown]
# Where the denoising path is nearest to the truth, √E is about σ, the distance of the truth itself from the observation.
# A rule to stop can be made of that (lesson 08).

# %% tags=["folded"]
# What the text claims, asserted
assert ratios["denoising"].min() > 1.4 and ratios["inpainting"].max() < 1.15
assert 20 < min(energies) and max(energies) < 29
assert 0.15 < min(left) and max(left) < 0.6
assert 0.3 < min(close) and max(close) < 0.6
assert min(direct) > 1.4 * max(close)  # the pixels, by Adam, too
known = tasks["inpainting"].operator.known.bool().expand(3, -1, -1)
assert torch.equal(straight["inpainting"][-1][~known], straight["inpainting"][0][~known])

# %% [markdown]
# ### What the coordinates do to a step
#
# To first order, a small step of gradient descent on the weights θ moves the image by
#
# $$\Delta x = -\eta\, J J^\top \nabla_{\!x} E, \qquad J = \partial f_\theta(z) / \partial \theta,$$
#
# while a step on the pixels is $\Delta x = -\eta \nabla_{\!x} E$. The network applies a *filter* $J J^\top$ to the same gradient.
#
# This holds for plain gradient descent, and our fits use Adam. Adam multiplies the gradient of each weight by a factor of
# its own, so that $J D J^\top$ with a diagonal $D$ takes the place of $J J^\top$, and it adds up past gradients. The
# formula does not cover that, so we measure. We take three steps from the image after 30 iterations of
# denoising: gradient descent on the pixels; gradient descent on the weights; and the step with which the fit, by Adam, went on.
#
# > **Predict.** All three use the same gradient, $\tfrac2N (x - x_0)$. What does each step look like, as an image?


# %%
def three_steps(seed, problem=tasks["denoising"]):
    """The image after 30 iterations, and three steps from there."""
    network, z = fresh(seed, 64)
    fit = deep_prior(problem, network, z, 32)
    list(islice(fit, 30))
    twin = copy.deepcopy(network)
    x = twin(z)[0]
    data_term(x, problem).backward()
    with torch.no_grad():
        for weights in twin.parameters():
            weights -= 1e-3 * weights.grad
        by_descent = twin(z)[0] - x
    (_, same), (_, after) = fit  # iterates 31 and 32: Adam's step lies between
    return x.detach(), (problem.observation - x).detach(), by_descent, after - same


# %% tags=["folded"]
# Measure how much each step has in common with the noise, and with what is missing of the truth
def cosine(a, b):
    return float((a * b).sum() / (a.norm() * b.norm()))


names = ("pixels, gradient descent", "weights, gradient descent", "weights, Adam")
steps = [three_steps(seed) for seed in range(3)]
noise = tasks["denoising"].observation - small
along, towards = {}, {}
for number, name in enumerate(names, 1):
    along[name] = [cosine(each[number], noise) for each in steps]
    towards[name] = [cosine(each[number], small - each[0]) for each in steps]

# %% tags=["folded"]
# Show the three steps, and the cosines
shown = {"x, the image so far": steps[0][0]}
for name, step in zip(names, steps[0][1:]):
    shown[f"step: {name}"] = (0.5 + step / (6 * step.std())).clamp(0, 1)
sheet = contact_sheet(shown, 2, width=6)
cosines = {"cosine with the noise": along, "cosine with truth − x": towards}
table = {
    title: {name: ", ".join(f"{value:.2f}" for value in three) for name, three in each.items()}
    for title, each in cosines.items()
}
reveal(sheet, pd.DataFrame(table), text="02 steps")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The step of the pixels is the residual $x_0 - x$, mostly noise. Gradient descent on the weights sends the *same*
# gradient through $J J^\top$, and next to nothing of the noise is left. **The same is true of Adam's step.** Nor are
# these steps random directions: they keep a part of what is missing of the truth.
#
# A single weight moves thousands of pixels, *neighbours together*. What neighbours have in common adds up; noise,
# which pulls each neighbour in a different direction, cancels. (Sharing weights is not enough: lesson 03 has a network of 1×1
# filters.) Later in the fit the noise comes through as well: the eigenvalues of $J J^\top$ say which directions pass, and how
# fast (lesson 10).
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
pixels, *weights = (np.array(along[name]) for name in names)
assert pixels.min() > 0.6 and np.abs(weights).max() < 0.15
assert min(min(towards[name]) for name in names[1:]) > 0.08

# %% [markdown]
# ## What to take away
#
# 1. $E$ comes from the operator and the noise, $R$ from what we believe about images; Bayes adds them up.
# 2. In denoising $E$ has one minimum, and it is the wrong image. In inpainting and super-resolution $E$ has far
#    too many. A regulariser helps in both cases, and its weight has to be chosen.
# 3. The deep image prior has no $R$. It changes the **coordinates** of the search, and with them the path.
# 4. The path of denoising leads past the truth towards $x_0$: stop. That of inpainting ends beside the truth: wait.
# 5. Early in the fit, a step of the network passes what neighbours have in common, and next to no noise.
#
# ## Exercises
#
# Put your answer in the place of `None`, or into the text (double-click). [Worked answers](solutions/02_energy.ipynb).
#
# **1. Two pixels by hand.** $x_0 = (0.8, 0.3)$, $E = \tfrac12[(a - 0.8)^2 + (b - 0.3)^2]$, $R = w\,|a - b|$. From which weight $w$
# on is the best image flat?
#
# <details><summary>A first hint</summary>
#
# While $a > b$, the absolute value is $a - b$. Set both derivatives of $E + R$ to zero: how does each pixel move as $w$ grows?
#
# </details>

# %%
my_weight = None

check.two_pixels(my_weight)

# %% [markdown]
# **2. Back to Bayes.** We found λ = 0.14 at σ = 25/255. Which β does that mean in $p(x) \propto e^{-\beta \operatorname{TV}(x)}$?
# If the noise were twice as strong, and β stayed, which λ would follow? On photographs the best λ grows more slowly, nearly
# like σ. What does that say about the prior?
#
# <details><summary>A first hint</summary>
#
# Compare $\tfrac{\lambda}{N} \operatorname{TV}(x)$ with the $R$ of equation (1).
#
# </details>
#
# *Your answer:*

# %%
my_beta = None

check.beta(my_beta)

# %% [markdown]
# **3. What is optimised?** Pages on the web say: "The deep image prior optimises the noise $z$ until the network's output looks
# like the observation." Which line of this lesson contradicts them? What would you change to do what they say, and would it
# restore the cat?
#
# <details><summary>A first hint</summary>
#
# What does the optimiser get?
#
# </details>
#
# *Your answer:*

# %% [markdown]
# **4. Structure and R together.** Both may be had at once (Liu et al. 2019). A network that can make every image goes on
# towards the minimum of $E + R$, the image of total variation: the end of a fit is known in advance.
# Find a λ for which the fit below *need not be stopped*: this end is at most half a decibel below the fit's best average,
# and the best average is 5 dB above the noisy image. What has the network then added to total variation? And what does a smaller λ
# give to someone who can stop?
#
# <details><summary>A first hint</summary>
#
# How good is the image of total variation? Section 3 has the curve.
#
# </details>
#
# *Your answer:*

# %%
both = dip.lab(members=1, input_noise=0, optimiser="adam", iterations=600, stop="count")
my_run = None  # dip.fit(tasks["denoising"], both.replace(tv_weight=.../small.numel()))

check.no_need_to_stop(my_run)

# %% [markdown]
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision
#   128 (2020), section 2.
#   [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - L. Rudin, S. Osher, E. Fatemi, *Nonlinear total variation based noise removal algorithms*, Physica D
#   60 (1992). [doi:10.1016/0167-2789(92)90242-F](https://doi.org/10.1016/0167-2789(92)90242-F).
# - S. Geman, D. Geman, *Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images*,
#   IEEE TPAMI 6 (1984).
#   [doi:10.1109/TPAMI.1984.4767596](https://doi.org/10.1109/TPAMI.1984.4767596).
# - D. P. Kingma, J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015.
#   [arXiv:1412.6980](https://arxiv.org/abs/1412.6980).
# - J. Liu, Y. Sun, X. Xu, U. S. Kamilov, *Image restoration using total variation regularized deep image prior*,
#   ICASSP 2019. [arXiv:1810.12864](https://arxiv.org/abs/1810.12864).
