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
# - restore an image with total variation, and find its weight;
# - write a deep image prior from nothing in thirty lines of PyTorch;
# - draw the way of a fit through the space of images, and say from the map when one must stop.
#
# **Time:** about two minutes of computing on two cores.
# **Needs:** lesson 01. Nothing is downloaded, no GPU is used.
# **Words and symbols:** [glossary](glossary.md).

# %%
import sys

if "google.colab" in sys.modules:  # Colab brings torch; only the course itself is missing there
    import subprocess

    address = "diplearn[compare] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

# %%
import copy
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import torch
from matplotlib.colors import LogNorm
from torch import nn

import diplearn as dip
from diplearn.course import check
from diplearn.energy import data_term
from diplearn.figures import BLUE, COLOURS, GREY, ORANGE, Figure, contact_sheet
from diplearn.widgets import compare, scrub

# %%
torch.set_num_threads(1)  # images this small: one core is quicker than two that wait

# %% [markdown]
# ## 1 · The challenge
#
# Three things may have happened to a photograph $x$. Noise was added; or it was made four times smaller;
# or half of its pixels were lost. Each time we write what is left as
#
# $$x_0 = A\,x + n,$$
#
# with an **operator** $A$, a linear map from images to observations, and noise $n$.
#
# > **Predict.** What is $A$ in each of the three? Which of them could be undone exactly, were there no noise?
#
# | task | $A x$ | in the package |
# |---|---|---|
# | denoising | $x$ itself | `dip.Identity()` |
# | super-resolution | $x$, filtered and made smaller | `dip.Downsample(4)` |
# | inpainting | $m \odot x$: 1 where a pixel is known, 0 where it is missing | `dip.Mask(m)` |

# %%
clean = dip.images.load("chelsea", size=96)  # to measure against; no method below ever sees it
problems = {
    "denoising": dip.denoising(clean, sigma=25 / 255, seed=0),
    "super-resolution": dip.super_resolution(clean, factor=4),
    "inpainting": dip.inpainting(clean, mask=0.5, seed=0),
}
coffee = 0.25 + 0.5 * dip.images.load("coffee", size=96)
impostors = {
    task: problem.operator.project(coffee, problem.observation)  # nearest to the coffee with E = 0
    for task, problem in problems.items()
}
impostors["denoising"] = problems["denoising"].observation  # here no other image has E = 0

# %%
shown = {f"x₀, {task}": problem.observation for task, problem in problems.items()}
shown |= {f"an impostor, {task}": impostor for task, impostor in impostors.items()}
captions = dict.fromkeys(shown, "E = 0") | {
    "x₀, denoising": "a cat, and noise",
    "x₀, super-resolution": "a cat, four times smaller",
    "x₀, inpainting": "half of a cat",
}
contact_sheet(
    shown, 3, captions, width=8, alt="What is left of a cat; below: cats with cups in their detail"
)

# %% [markdown]
# The upper row is what we are given. The lower row holds images that **explain the upper one perfectly**:
# make the second one four times smaller, and you get the small cat above it, although all of its fine detail is
# that of a table with coffee cups. Half of the third one's pixels are coffee. The **data term** of all three tasks
# is the same formula,
#
# $$E(x; x_0) = \tfrac1N \lVert A x - x_0 \rVert^2,$$
#
# $N$ being the number of values in $x_0$, and for all three impostors it is zero.

# %%
for task, problem in problems.items():
    energies = [data_term(x, problem).item() for x in (impostors[task], clean)]
    print(f"{task:16s} E of the impostor {energies[0]:.4f}, of the truth {energies[1]:.4f}")
    assert energies[0] < 1e-6 and energies[0] <= energies[1] + 1e-6
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## 2 · From Bayes to an energy
#
# Where does that formula come from? Bayes' rule says how probable an image is once we have seen $x_0$:
#
# $$p(x \mid x_0) \;\propto\; p(x_0 \mid x)\; p(x).$$
#
# The first factor is the noise. If it is Gaussian and independent from pixel to pixel,
# $p(x_0 \mid x) \propto \exp\!\big(-\tfrac{1}{2\sigma^2} \lVert A x - x_0\rVert^2\big)$. The most probable image
# makes $-\log p(x \mid x_0)$ small. Multiply that by the constant $2\sigma^2/N$, and (Geman & Geman 1984)
#
# $$x^* = \arg\min_x\; E(x; x_0) + R(x), \qquad R(x) = -\tfrac{2\sigma^2}{N} \log p(x). \tag{1}$$
#
# So the operator and the *noise* decide on $E$; what we believe about *images* decides on $R$; and σ decides
# how much the second weighs. Without noise $R$ becomes infinitely light: it then only chooses *among* the
# images with $E = 0$.
#
# ### A world of two pixels
#
# All of this can be drawn if an image has just two pixels, $x = (a, b)$: each point of a plane is an image.
# Let the prior say "neighbours are alike", $R(x) = \tfrac1{10}\,|a - b|$.
#
# > **Predict.** Where in the plane is $E = 0$ if both pixels are seen with noise? If only $a$ is seen? If only
# > their mean is seen? And where does $R$ pull to?

# %%
a, b = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201))
worlds = {  # E over the plane, and where it is zero
    "denoising: a and b, noisy": (((a - 0.8) ** 2 + (b - 0.3) ** 2) / 2, ([0.8], [0.3])),
    "super-resolution: the mean": (((a + b) / 2 - 0.55) ** 2, ([0.1, 1], [1, 0.1])),
    "inpainting: a alone": ((a - 0.8) ** 2 / 2, ([0.8, 0.8], [0, 1])),
}
R = 0.1 * abs(a - b)

# %%
figure = Figure("E is zero at a point or along a line; R picks a place on it", figsize=(10, 4.2))
for axis, (name, (energy, zero)) in zip(figure.subplots(1, 3, sharey=True), worlds.items()):
    axis.contourf(a, b, np.sqrt(energy), 12, cmap="Blues_r", alpha=0.55)  # darker: smaller E
    marker = "s" if len(zero[0]) == 1 else None  # a point, or a line
    axis.plot(*zero, marker=marker, color=BLUE, lw=5, ms=11, label="E = 0")
    axis.plot([0, 1], [0, 1], "--", color="0.25", lw=1.5, label="R = 0: a flat image")
    best = (energy + R).argmin()
    axis.plot(a.flat[best], b.flat[best], "o", color=ORANGE, ms=12, label="E + R smallest")
    axis.set(title=name, xlabel="pixel a", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    axis.set(xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
figure.axes[0].set_ylabel("pixel b")
figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
figure

# %% [markdown]
# **Explain.** The darker the blue, the smaller is $E$. In denoising, $E$ alone has exactly one answer, and it is the wrong one: $x_0$, noise and all. $R$
# has to pull *away* from it, and how far is a compromise. In the other two tasks, $E$ is zero on a whole line:
# the data say nothing along it. $R$ need not fight against the data there, it only picks a place on the line.
# Keep these two situations in mind; they come back in section 5.
#
# ## 3 · An R that somebody wrote down: total variation
#
# "Neighbours are alike", for all pixels of an image, is **total variation** (Rudin, Osher & Fatemi 1992), the
# length of the gradient, added up:
#
# $$R(x) = \frac{\lambda}{N} \operatorname{TV}(x) = \frac{\lambda}{N} \sum_{\text{pixels, colours}}
# \sqrt{(\partial_1 x)^2 + (\partial_2 x)^2}.$$
#
# In Bayes' words the prior is $p(x) \propto e^{-\beta \operatorname{TV}(x)}$, with $\lambda = 2\sigma^2\beta$. Nobody
# knows β, so λ is a knob. We minimise over the pixels themselves: the "network" called `pixels` is no network,
# $f_\theta(z) = \theta$.


# %%
def total_variation(problem, weight, iterations=200):
    """Minimise E(x; x0) + weight / N * TV(x) over the pixels."""
    recipe = dip.Recipe(
        network="pixels",
        learning_rate=0.03,
        final_rate=0,  # ever smaller steps, to arrive
        tv_weight=weight / problem.observation.numel(),
        iterations=iterations,
    )
    return dip.fit(problem, recipe, device="cpu", progress=False).last


# %% [markdown]
# > **Predict.** Draw the PSNR over λ from 0 to very large. What does the image look like at either end? Does
# > the best λ depend on the image?
#
# To choose λ by looking at the cat's truth would be cheating. We choose it on three *other* images.

# %%
weights = (0.01, 0.02, 0.05, 0.1, 0.14, 0.2, 0.4, 1)
others = {name: dip.images.load(name, size=96) for name in ("astronaut", "coffee", "rocket")}
scores = {}
for name, image in {**others, "our cat": clean}.items():
    noisy = dip.denoising(image, sigma=25 / 255, seed=0)
    images = {weight: total_variation(noisy, weight) for weight in weights}
    scores[name] = [dip.psnr(x, image) for x in images.values()]
best = weights[np.mean([scores[name] for name in others], axis=0).argmax()]
print(f"the best weight on the other three: λ = {best}")
# NBVAL_CHECK_OUTPUT

# %%
figure = Figure("PSNR over the weight of R: too little, right, too much", figsize=(8, 3.4))
axis = figure.subplots()
for (name, values), colour in zip(scores.items(), (GREY, COLOURS[3], COLOURS[4], BLUE)):
    axis.semilogx(
        weights, values, "o-", color=colour, lw=3 if name == "our cat" else 1.2, label=name
    )
axis.axvline(best, color=ORANGE, ls="--", label=f"chosen: λ = {best}")
axis.set(xlabel="weight λ of total variation", ylabel="PSNR in dB")
axis.grid(alpha=0.25)
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
figure

# %%
x0 = problems["denoising"].observation
shown = {"λ = 0: x₀": x0} | {f"λ = {w}": images[w] for w in (0.02, best, 1)} | {"truth": clean}
captions = {name: f"{dip.psnr(x, clean):.1f} dB" for name, x in shown.items() if name != "truth"}
for name, words in zip(list(shown)[1:4], ("too little", "right", "too much")):
    captions[name] = f"{words}: {captions[name]}"
contact_sheet(shown, captions=captions, alt="Noise; less noise; a clean cat in patches; smears")

# %% [markdown]
# **Explain.** With little weight the noise stays; with much, whole regions melt into one colour. The best λ is
# not the same for all images (a rocket before the sky may have more than an astronaut), but the top is broad
# enough for one λ to serve. In denoising $E + R$ is strictly convex, so there is no luck in it, and no spread to show: every
# start ends in the same image. What is wrong with it is the belief itself. A cat has fur, and total variation charges
# for every hair.

# %%
cat = dict(zip(weights, scores["our cat"]))
assert cat[best] > max(cat.values()) - 0.5  # chosen on other images, it suits this one
assert cat[best] > cat[0.02] + 3 and cat[best] > cat[1] + 3

# %% [markdown]
# ## 4 · The step: no R at all
#
# Now the idea of the paper (Ulyanov, Vedaldi & Lempitsky). Do not price images. *Write them differently*: as what a
# network makes of a fixed random input, and look for its weights,
#
# $$\theta^* = \arg\min_\theta\; E\big(f_\theta(z);\, x_0\big), \qquad x^* = f_{\theta^*}(z). \tag{2}$$
#
# One may still call that an $R$: zero for images that the network can make, infinite for all others. But our
# network can make nearly *every* image, so this $R$ forbids nearly nothing. What matters is the **way** there.
#
# ### Thirty lines
#
# A **convolution** slides a small filter, here 3×3 weights, over an image and takes a weighted sum at each place;
# with `stride=2` it visits only every other place, and the image comes out half as large. A layer makes many
# images at once, its **channels**, each a weighted sum over all channels before it; a 1×1 filter mixes the channels
# of one pixel, and sees no neighbour. A `block` is a convolution, a **normalisation** (each channel gets mean 0 and
# variance 1, then a learned scale), and a bend, without which the whole would be linear: `LeakyReLU` divides what is
# negative by five. A `Level` halves, leaves the smaller image to the level below, doubles what comes back, and merges
# it with a thin **skip** of four channels that took no detour. At the end a sigmoid brings every number between 0 and 1.


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
# That is a deep image prior; there is nothing else to it. Let it loose on the noisy cat.
#
# > **Predict.** $E$ is all it minimises, and $E$ is zero at the noisy image. What will be there after 10, 40, 150
# > and 400 iterations?

# %%
problem = problems["denoising"]
network, z = fresh(0, 96)
twin = copy.deepcopy(network)  # the same weights once more, for later
energies, images = zip(*deep_prior(problem, network, z, 400))

frames = {f"iteration {k}": images[k - 1] for k in (1, 10, 40, 150, 400)}
captions = {name: f"{dip.psnr(x, clean):.1f} dB" for name, x in frames.items()}
contact_sheet(
    frames, captions=captions, alt="Clouds, a smear, a soft cat, a sharp cat, a noisy cat"
)

# %% [markdown]
# Clouds, a smear, a cat, and then noise. Nobody mentioned smoothness.
#
# ### The same through the package
#
# `dip.fit` runs this very loop. We hand in our network with the same weights, the same $z$, and a recipe that
# switches off everything that the loop does not have: one network, no noise on $z$, Adam (Kingma & Ba 2015) at a
# constant rate.

# %%
by_hand = dip.Recipe(name="by hand", optimiser="adam", learning_rate=0.01, iterations=400)
run = dip.fit(problem, by_hand, network=twin, z=z, device="cpu", progress=False)

difference = np.abs(run.history.loss / np.array(energies) - 1).max()
print(f"400 energies, and the largest relative difference is below 1e-5: {difference < 1e-5}")
assert difference < 1e-5
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# The same numbers. (Sums in another order would be rounded otherwise, and a fit amplifies that: after
# a few hundred iterations it would be elsewhere.) What the package adds is around the loop: it keeps the
# history, the images, and averages. Move through them:

# %%
scrub(run, frames=20)

# %% [markdown]
# ### One loop, three operators
#
# Nothing in `deep_prior` knows the task. Total variation can do that, too: same $R$, other $A$. Two of the problems
# have no noise, so by equation (1) a small weight will do; we take λ = 0.003. We put both beside the pixels alone, with
# no $R$ and no network, and let three seeds of the network show their spread.
#
# > **Predict.** In which of the three tasks will the network's last image be much worse than its best? And what will
# > the pixels alone come to, in each of the three?

# %%
wanted = {}
for task, seed in itertools.product(problems, range(3)):
    network, z = fresh(seed, 96)
    wanted[task, seed] = {"problem": problems[task], "recipe": by_hand, "network": network, "z": z}
    wanted[task, seed]["device"] = "cpu"
del wanted["denoising", 0]  # we have that one
runs = dip.fits(wanted, cores=2) | {("denoising", 0): run}  # two at a time, each on one core
prior = {task: [runs[task, seed] for seed in range(3)] for task in problems}


# %%
def spread(runs):
    """Mean and spread over seeds: of the last twenty iterates, and of the best."""
    last = torch.tensor([run.history.psnr.iloc[-20:].mean() for run in runs])
    best = torch.tensor([run.history.psnr.max() for run in runs])
    names = ("deep prior: last", "± of last", "deep prior: best", "± of best")
    return dict(zip(names, (last.mean(), last.std(), best.mean(), best.std())))


tv, rows = {}, {}
for task, each in problems.items():
    alone = total_variation(each, weight=0)
    tv[task] = total_variation(each, weight=best if each.sigma else 0.003)
    rows[task] = {"no R": dip.psnr(alone, clean), "TV": dip.psnr(tv[task], clean)}
    rows[task] |= {name: float(value) for name, value in spread(prior[task]).items()}

# %%
table = pd.DataFrame(rows).T
words = "PSNR in dB; last: the mean of 20 iterates; best: the best iterate; three seeds"
table.style.format("{:.1f}").set_caption(words)

# %%
shown = {f"TV, {task}": tv[task] for task in problems}
shown |= {f"deep prior's last, {task}": runs[0].last for task, runs in prior.items()}
captions = {name: f"{dip.psnr(x, clean):.1f} dB" for name, x in shown.items()}
alt = "TV makes patches; the deep prior makes fur, and in denoising noise"
contact_sheet(shown, 3, captions, width=8, alt=alt)

# %%
compare(tv["denoising"], prior["denoising"][0].oracle, names=("total variation", "deep prior"))

# %% [markdown]
# **Explain.** On the noise, the best iterate of the bare thirty lines is ahead of total variation, if somebody stops at the
# right moment (the divider shows the average that is best; lesson 08 chooses it without the truth). On the other two
# tasks, at this small size, total variation is level with it or ahead: for scattered missing pixels smoothness is a good
# belief, and in super-resolution even the pixels alone, with no R, come near: the small image fixes all the long waves,
# and at this size there is little left for a prior to win. Lessons 05 and 06 do both in earnest. Here, compare the columns
# *last* and *best*. In **denoising** the last iterate is far below the best one. In **inpainting** and
# **super-resolution** it is within a few tenths of a decibel. Same network, same loop. Why?

# %%
last, top = table["deep prior: last"], table["deep prior: best"]
assert top["denoising"] > table["TV"]["denoising"] + 0.3
assert last["denoising"] < top["denoising"] - 1.5
assert last["inpainting"] > top["inpainting"] - 0.5
assert last["super-resolution"] > top["super-resolution"] - 0.4
assert top["super-resolution"] > table["no R"]["super-resolution"] > top["super-resolution"] - 1.5
assert table["TV"]["super-resolution"] > top["super-resolution"]  # and so we say

# %% [markdown]
# ## 5 · A map of the way
#
# An image of 64×64 pixels in three colours is a point in a space of 12,288 dimensions. A fit is a path through it.
# **Principal components** give the best flat map of such a path: the plane in which its points are spread most. We fit
# each task with three seeds, gather the iterates, add the truth and the observation, and look down on that plane.
# Distances are root mean squares per value: 0.1 is the length of the noise.
#
# > **Predict.** Where is the denoising path going? How near does it pass to the truth? And where does inpainting end,
# > for which the images with $E = 0$ fill not a point but half of all dimensions?

# %%
small = dip.images.load("chelsea", size=64)
tasks = {"denoising": dip.denoising(small, 25 / 255), "inpainting": dip.inpainting(small, 0.5)}


def path(problem, network, z, iterations=700):
    """Images along one fit, spread evenly over the logarithm of the iteration."""
    kept = {30, 100, *np.geomspace(1, iterations, 120).astype(int).tolist()}
    fit = deep_prior(problem, network, z, iterations)
    return {k: x for k, (_, x) in enumerate(fit, 1) if k in kept}


begun = {(task, seed): fresh(seed, 64) for task in tasks for seed in range(3)}
with ThreadPoolExecutor(2) as cores:  # two at a time
    ways = {key: cores.submit(path, tasks[key[0]], *start) for key, start in begun.items()}
paths = {task: [ways[task, seed].result() for seed in range(3)] for task in tasks}


# %%
def root(x):
    """Root of the mean square."""
    return float(x.square().mean().sqrt())


def flat_map(images):
    """The plane in which images are spread most; return the function that puts them on it."""
    rows = torch.stack([x.flatten() for x in images])
    centre, size = rows.mean(0), rows.shape[1] ** 0.5
    axes = torch.linalg.svd(rows - centre, full_matrices=False).Vh[:2]
    axes = axes * torch.sign(axes @ (small.flatten() - rows[0]))[:, None]  # truth: above, right
    return lambda some: (torch.stack([x.flatten() for x in some]) - centre) @ axes.T / size


# %%
maps = {}
for task, each in tasks.items():
    landmarks = [small, each.observation]
    maps[task] = flat_map([x for way in paths[task] for x in way.values()] + landmarks)


# %%
def mark(axis, task, x, name, sign, size):
    """Mark one image on a map, by name; hollow, so that the path can be seen in it."""
    place = maps[task]([x])[0].tolist()
    axis.plot(*place, sign, mfc="none", mec="black", mew=1.5, ms=size, zorder=4)
    aside = {"start": (14, -9), "x₀": (-7, -22), "truth": (8, 9)}[name]
    axis.annotate(name, place, aside, textcoords="offset points", weight="bold")


# %%
def draw(axis, task):
    """Three paths on their map, coloured by iteration, with the truth and the observation."""
    for way in paths[task]:
        across, up = maps[task](list(way.values())).T
        axis.plot(across, up, color="0.7", lw=1, zorder=1)
        dots = axis.scatter(across, up, c=list(way), s=16, cmap="viridis", norm=LogNorm(1, 700))
    mark(axis, task, tasks[task].observation, "x₀", "s", 14)
    mark(axis, task, small, "truth", "*", 16)
    mark(axis, task, paths[task][0][1], "start", "o", 10)
    axis.set(title=task, xlabel="along the first component", ylabel="along the second")
    axis.margins(0.18)
    axis.set_aspect("equal", adjustable="datalim")
    return dots


# %% tags=["figure:02_map"]
figure = Figure(
    "Denoising passes by the truth on to x₀; inpainting ends beside it", figsize=(10, 4.8)
)
for axis, task in zip(figure.subplots(1, 2), tasks):
    dots = draw(axis, task)
figure.colorbar(dots, ax=figure.axes, label="iteration", shrink=0.8)
figure

# %% [markdown]
# **Explain.** Three seeds, one road. In **denoising** it comes from clouds of colour, swings towards the truth, passes by, and
# runs on towards $x_0$, the only image with $E = 0$. (Where we break off, about a third of the noise's length is still
# to go.) The truth is no place to rest; it is a place on
# the way. So **one must stop**. In **inpainting** the path ends beside the truth, on the edge of the huge set where
# $E = 0$: there the energy has nothing more to say, and so nothing pulls any more. **Whoever waits loses next to nothing.** (And
# $x_0$, with its black holes, is off the road: it was never the aim.)
#
# A map of two dimensions flattens the rest, as a subway map does. On it, the path runs nearly through the truth; in
# all dimensions it does not. So measure the distances in the whole space:

# %%
alt = "Distance to truth: falls, then rises in denoising; falls and stays in inpainting"
figure = Figure(alt, figsize=(10, 3.3))
for axis, (task, each) in zip(figure.subplots(1, 2, sharey=True), tasks.items()):
    for way in paths[task]:
        to_data = [root(each.operator(x) - each.observation) for x in way.values()]
        axis.semilogx(list(way), [root(x - small) for x in way.values()], color=ORANGE)
        axis.semilogx(list(way), to_data, color=BLUE)
    if each.sigma:
        axis.axhline(each.sigma, color="black", ls=":")
    axis.set(title=task, xlabel="iteration", ylim=(0, None))
names = ["to the truth", "to the observation, √E", "σ"]
figure.axes[0].set_ylabel("distance, root mean square")
lines = figure.axes[0].lines
figure.legend(lines[:2] + lines[-1:], names, loc="outside right upper", frameon=False)
figure

# %%
for task, ways in paths.items():
    far = torch.tensor([[root(x - small) for x in way.values()] for way in ways])
    ratio = far[:, -5:].mean(1) / far.min(1).values
    print(f"{task}: the end is {ratio.min():.2f} to {ratio.max():.2f} times as far as the nearest")
    assert ratio.min() > 1.5 if task == "denoising" else ratio.max() < 1.15
nearest = [min(way.values(), key=lambda x: root(x - small)) for way in paths["denoising"]]
energies = [data_term(x, tasks["denoising"]).sqrt().item() * 255 for x in nearest]
print(f"√E at the nearest points, on the scale to 255: {np.round(energies, 1)}; σ is 25")
assert 20 < min(energies) and max(energies) < 29
ends = [list(way.values())[-1] for way in paths["denoising"]]
left = [root(x - tasks["denoising"].observation) / tasks["denoising"].sigma for x in ends]
print(f"and at the end it is {np.round(left, 2)} of σ: that much is left to x₀")
assert 0.15 < min(left) and max(left) < 0.55

# %% [markdown]
# The nearest point of the denoising path is still away from the truth by nearly half the length of the noise. That is what this
# prior leaves; the map could not show it. And look where it lies: √E is then about σ, the distance of the truth itself from the
# observation. A rule to stop can be made of that (lesson 08).
#
# ## 6 · Parameters against pixels
#
# Now take the network away: same energy, same start, but the numbers that move are the pixels. The optimiser changes, too:
# in place of Adam, plain gradient descent, $x \leftarrow x - \eta \nabla E(x)$, of which one can say by hand where it goes.
#
# > **Predict.** Draw this path into both maps before you look. (What is $\nabla E$ in denoising? At a missing pixel?)


# %%
def pixel_descent(problem, x, steps=150):
    """Gradient descent on E over the pixels; return the images on the way."""
    rate, way = 0.02 * problem.observation.numel(), [x]
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(data_term(x, problem), x)
        x = (x - rate * gradient).detach()
        way.append(x)
    return way


starts = {task: paths[task][0][1] for task in tasks}  # the untrained network's first image
straight = {task: pixel_descent(each, starts[task]) for task, each in tasks.items()}

# %%
figure = Figure(
    "Over the pixels: straight to x₀; in inpainting, far from the truth", figsize=(10, 4.8)
)
for axis, task in zip(figure.subplots(1, 2), tasks):
    dots = draw(axis, task)
    across, up = maps[task](straight[task]).T
    axis.plot(across, up, color="black", lw=2.5, label="over the pixels", zorder=3)
    axis.plot(across[-1], up[-1], "X", color="black", ms=12, zorder=5)
lines = axis.get_legend_handles_labels()
figure.legend(*lines, loc="outside lower center", frameon=False)
figure.colorbar(dots, ax=figure.axes, label="iteration of the network", shrink=0.8)
figure

# %% tags=["figure:02_landmarks"]
shown = {}
for task in tasks:
    shown |= {f"{task}, iteration {k}": paths[task][0][k] for k in (1, 30, 100, 700)}
    shown[f"{task}, over the pixels"] = straight[task][-1]
captions = {name: f"{dip.psnr(x, small):.1f} dB" for name, x in shown.items()}
contact_sheet(
    shown, 5, captions, alt="Along the paths: clouds, a soft cat, a cat; then noise, or a cat"
)

# %%
there, back = tasks["denoising"].observation, starts["denoising"]
for x in straight["denoising"][:-1]:
    share = root(x - there) / root(back - there)
    assert root(x - (share * back + (1 - share) * there)) < 1e-5  # on the line from start to x₀
known = tasks["inpainting"].operator.known.bool()
end, begun = straight["inpainting"][-1], starts["inpainting"]
assert torch.equal(end[~known.expand(3, -1, -1)], begun[~known.expand(3, -1, -1)])
top = max(dip.psnr(x, small) for x in straight["denoising"])
reached = [max(dip.psnr(x, small) for x in way.values()) for way in paths["denoising"]]
print(
    f"best on the way: over the pixels {top:.1f} dB, over the weights {min(reached):.1f} dB or more"
)
assert top < min(reached) - 4

# %% [markdown]
# **Explain.** A straight line. In denoising $-\nabla E = \tfrac2N (x_0 - x)$ always points to $x_0$: image and noise come in at the
# same rate. In inpainting the gradient is zero at every missing pixel, so these stay what they were. The
# end has $E = 0$ as well, and is useless. (The column "no R" in section 4 is this fit with Adam, from nearly black random
# pixels. In denoising it has the same end; in the other tasks the end depends on the start.) The energy is the same in
# both fits, and so are the data. The *coordinates* are not.
#
# ### What the coordinates do to a step
#
# To first order, a small step of gradient descent over θ moves the image by
#
# $$\Delta x = -\eta\, J J^\top \nabla_{\!x} E, \qquad J = \partial f_\theta(z) / \partial \theta,$$
#
# while over the pixels $\Delta x = -\eta \nabla_{\!x} E$. The network looks at the same gradient through a *filter* $J J^\top$. Let us see
# what it lets pass, after 30 iterations of denoising.
#
# > **Predict.** Both steps come from the same gradient, $\tfrac2N (x - x_0)$. What does the step over the pixels look like, as a
# > image? And the step over the weights?


# %%
def two_steps(seed):
    """The steps that pixels and network would make after 30 iterations, and the image."""
    network, z = fresh(seed, 64)
    list(deep_prior(tasks["denoising"], network, z, 30))
    x = network(z)[0]
    data_term(x, tasks["denoising"]).backward()
    with torch.no_grad():
        for weights in network.parameters():
            weights -= 1e-3 * weights.grad
        return there - x, network(z)[0] - x, x.detach()


def cosine(a, b):
    """1 for the same direction, 0 for orthogonal ones."""
    return float((a * b).sum() / (a.norm() * b.norm()))


# %%
steps = [two_steps(seed) for seed in range(3)]
over_pixels, over_weights, x = steps[0]
shown = {"x, the image so far": x, "step over the pixels": over_pixels}
shown["step over the weights"] = over_weights
for name in list(shown)[1:]:
    shown[name] = (0.5 + shown[name] / (6 * shown[name].std())).clamp(0, 1)
contact_sheet(shown, width=8, alt="A soft cat; a step full of noise; a step without any")

# %%
noise = there - small
for name, which in (("pixels", 0), ("weights", 1)):
    shares = [cosine(each[which], noise) for each in steps]
    print(f"cosine between the step over the {name} and the noise: {np.round(shares, 2) + 0.0}")
    assert min(shares) > 0.6 if which == 0 else max(map(abs, shares)) < 0.1

# %% [markdown]
# **Explain.** (Grey is no change; each step is drawn with a contrast of its own.) The step over the pixels is mostly noise: it is
# the residual $x_0 - x$. The step over the weights is the *same* gradient after $J J^\top$, and of the noise next to nothing is
# left: a single weight moves thousands of pixels, and *neighbours together*. What neighbours have in common adds up; noise,
# which pulls each another way, cancels. (Sharing alone is not enough: lesson 03 has a network of 1×1 filters. And what passes is
# no short cut to the truth: here mostly the colour of large areas.) In time the noise comes through, too, as the first map shows. Which directions pass, and how fast, is a
# matter of the eigenvalues of $J J^\top$: lesson 10.
#
# ## What to take away
#
# 1. $E$ comes from the operator and the noise, $R$ from what we believe about images; Bayes adds them up.
# 2. In denoising $E$ has one minimum, and it is the wrong one. In inpainting and super-resolution it has far
#    too many. An $R$ that is written down, such as total variation, answers both, and has a weight to be found.
# 3. The deep image prior has no $R$. It changes the **coordinates** of the search, and with them the way.
# 4. The way of denoising leads past the truth towards $x_0$: stop. That of inpainting ends beside the truth: wait.
# 5. Over the pixels the same energy leads straight to the noisy image, or leaves missing pixels as they were.
#
# ## Exercises
#
# Put your answer in the place of `None`. Worked answers:
# [solutions/02_energy.ipynb](solutions/02_energy.ipynb).
#
# **1. Two pixels by hand.** $x_0 = (0.8, 0.3)$, $E = \tfrac12[(a - 0.8)^2 + (b - 0.3)^2]$, $R = w\,|a - b|$. From which weight $w$
# on is the best image flat? (Set the derivatives to zero while $a > b$.)

# %%
my_weight = None

check.two_pixels(my_weight)

# %% [markdown]
# **2. Back to Bayes.** We found λ = 0.14 at σ = 25/255. Which β does that mean in $p(x) \propto e^{-\beta \operatorname{TV}(x)}$? And if the
# noise were twice as strong, and β stayed: which λ?

# %%
my_beta = None

check.beta(my_beta)

# %% [markdown]
# **3. Your own R.** Write `my_tv(image)` for a tensor (C, H, W): the isotropic total variation, summed over pixels and channels,
# without smoothing. (Leave out the last row and column, or continue the border.)

# %%
my_tv = None

check.tv_function(my_tv)

# %% [markdown]
# **4. Structure and R together.** Nobody forbids both (Liu et al. 2019). Find a weight with which the fit below *need not
# be stopped*: after 800 iterations its average lies at most half a decibel below its best, which is still 5 dB
# above the noisy image. What does it cost? Compare with the best on the way without any R.

# %%
long = dip.lab(members=1, input_noise=0, optimiser="adam", iterations=800, stop="count")
my_run = None  # dip.fit(tasks["denoising"], long.replace(tv_weight=.../small.numel()))

check.no_need_to_stop(my_run)

# %% [markdown]
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision
#   128 (2020), section 2. It has the map of section 5 as a sketch.
#   [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - L. Rudin, S. Osher, E. Fatemi, *Nonlinear total variation based noise removal algorithms*, Physica D
#   60 (1992). [doi:10.1016/0167-2789(92)90242-F](https://doi.org/10.1016/0167-2789(92)90242-F).
# - S. Geman, D. Geman, *Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images*,
#   IEEE Transactions on Pattern Analysis and Machine Intelligence 6 (1984): from Bayes to energies.
#   [doi:10.1109/TPAMI.1984.4767596](https://doi.org/10.1109/TPAMI.1984.4767596).
# - D. P. Kingma, J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015.
#   [arXiv:1412.6980](https://arxiv.org/abs/1412.6980).
# - J. Liu, Y. Sun, X. Xu, U. S. Kamilov, *Image restoration using total variation regularized deep image prior*,
#   ICASSP 2019. [arXiv:1810.12864](https://arxiv.org/abs/1810.12864).
