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
# # 03 · Impedance: why the image comes before the noise
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/03_impedance.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/03_impedance.ipynb)
#
# **When you are through, you will be able to**
#
# - do the experiment on which the whole method rests, and put a number on *impedance*;
# - say which part of a network makes it, by taking the parts away one by one;
# - read the order in which a fit finds things off its frequency bands;
# - say what impedance is not.
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
import matplotlib
import numpy as np
import pandas as pd
import torch
from skimage.filters import gaussian
from torch import nn

import diplearn as dip
from diplearn.course import check
from diplearn.figures import COLOURS, Figure, contact_sheet
from diplearn.widgets import compare, impedance

# %% [markdown]
# ## 1 · The challenge
#
# A large network can come as close as one likes to nearly any image (not every large network: see section 3).
# So it can come close to each of these four. The third has the very same pixels as the first, in another order;
# the fourth is Gaussian noise with the first one's mean and standard deviation, cut off at black and white.

# %%
clean = dip.images.load("astronaut", size=64)
targets = dip.problems.impedance(clean, sigma=25 / 255, seed=0)
noisy = dip.denoising(clean, sigma=25 / 255, seed=0)  # the second once more, with its truth
assert torch.equal(noisy.observation, targets["image + noise"].observation)
targets["image + noise"] = noisy
contact_sheet(
    {name: target.observation for name, target in targets.items()},
    alt="An astronaut; the same with noise; the same pixels shuffled; grain",
)

# %% [markdown]
# To each of them we fit a fresh network of its own,
#
# $$\min_\theta E\big(f_\theta(z); x_0\big) = \min_\theta \tfrac1N \lVert f_\theta(z) - x_0\rVert^2,$$
#
# with the same architecture, the same $z$, the same optimiser, and no noise added to $z$. What differs is the
# target, and nothing else (Ulyanov, Vedaldi & Lempitsky). The network is the **hourglass** of lesson 01. All its sums are *convolutions*: the
# same small filter at every place. It halves its input five times and brings it up again (*upsampling*); on each
# level it merges what comes back with a thin copy that took no detour (a *skip*).
#
# > **Predict.** Sketch the four energies over the iterations, on a logarithmic axis, before you go on.
# > Which falls fastest? Do all reach zero? Where do "shuffled" and "noise" lie, which have no structure at
# > all, but the first has an image's colours?

# %%
# One network, nothing added to z. The optimiser is that of the recipe "lab": Muon, at a rate of 0.01.
plain = dip.lab(members=1, input_noise=0.0, iterations=250, stop="count")
wanted = {
    (name, seed): {"problem": target, "recipe": plain, "seed": seed}
    for name, target in targets.items()
    for seed in range(3)
}
fitted = dip.fits(wanted, resumable=True)  # each keeps its network: to count the weights later
runs = {name: [fitted[name, seed] for seed in range(3)] for name in targets}


# %%
colours = dict(zip(targets, COLOURS))


def draw(axis, name, fits):
    """Draw the mean energy of some fits, and the band between the lowest and the highest."""
    losses = np.array([run.history.loss for run in fits])
    along = np.arange(1, losses.shape[1] + 1)
    axis.fill_between(along, losses.min(0), losses.max(0), color=colours[name], alpha=0.25, lw=0)
    dashes = "--" if name == "shuffled pixels" else "-"  # so that a curve below shows
    axis.loglog(along, losses.mean(0), dashes, color=colours[name], lw=2, label=name)


# %% tags=["figure:03_impedance"]
figure = Figure("Four energies: image, noisy image, shuffled, noise", figsize=(8, 3.6))
axis = figure.subplots()
for name, three in runs.items():
    draw(axis, name, three)
axis.axhline((25 / 255) ** 2, color="0.5", ls=":", label="σ²")
axis.set(xlabel="iteration", ylabel="energy E")
axis.legend(frameon=False)
figure

# %% [markdown]
# The bands span three seeds. The *image* is reproduced many times better, after the same number of steps, than
# the same pixels in disorder. The *noisy image* goes along with the clean one at first, and then bends: it has
# explained the astronaut, and what is left is noise, which comes even more slowly than the noise on the right
# of the sheet. At the end it has met the shuffled pixels. And these are easier than the noise: each pixel keeps
# its colour, and its three values are nearly equal; in the noise all three are drawn by themselves.
#
# Move through it with your own hand, from the left. At which iteration could you say what the first image is?

# %%
impedance({name: three[0] for name, three in runs.items()}, frames=20)

# %%
last = {name: np.mean([run.history.loss.iloc[-1] for run in three]) for name, three in runs.items()}
print({name: f"{loss:.5f}" for name, loss in last.items()})
assert last["image"] < last["image + noise"] < last["noise"]
assert 4 * last["image"] < last["shuffled pixels"] < last["noise"]
assert 0.6 < last["image + noise"] / last["shuffled pixels"] < 1.6  # they have met

# %% [markdown]
# ## 2 · The number behind the word
#
# In electricity, impedance is how hard a current is to drive. Here it is how hard a target is to reach.
# Let us count: how many iterations until a given share of the target's variance is explained?
# A fit that explains 90 % has $E = 0.1\,\operatorname{Var}(x_0)$.


# %%
def iterations_to(run, share):
    """The first iteration at which that share of the target's variance is explained."""
    variance = run.problem.observation.var()
    there = run.history.index[run.history.loss <= (1 - share) * float(variance)]
    return there.min() if len(there) else np.inf


shares = (0.5, 0.8, 0.9, 0.95)
numbers = {
    name: [np.median([iterations_to(run, share) for run in three]) for share in shares]
    for name, three in runs.items()
}
table = pd.DataFrame(numbers, index=[f"{share:.0%} explained" for share in shares]).T
shown = table.style.format(lambda n: "> 250" if n == np.inf else f"{n:.0f}")
shown.set_caption("iterations, the median of three seeds")

# %% [markdown]
# **Explain.** Half of the variance is cheap for the image: large dark and bright areas (a mosaic of 64 flat tiles
# explains more than half). For shuffled pixels there are no areas; every pixel is news. The number to remember is the
# *ratio* between the columns' ends: it is what makes a moment possible at which the image is there and the
# noise is not.


# %%
def times(a, b):
    """How many times as long a takes as b; if it was never reached, more than which number."""
    return f"{a / b:.1f}" if np.isfinite(a) else f"> {plain.iterations / b:.1f}"


ratios = {at: times(table[at]["noise"], table[at]["image"]) for at in table}
print("noise takes so many times as long as the image:", ratios)
assert (table.loc["noise"] > 2 * table.loc["image"]).all()
tiles = clean.unfold(1, 8, 8).unfold(2, 8, 8)
left = (tiles - tiles.mean((-1, -2), keepdim=True)).square().mean()
assert left < 0.5 * clean.var()  # the mosaic
half = table.iloc[:, :2]  # before the noisy image's noise comes in
assert (half.loc["image + noise"] * 1.5 < half.loc["shuffled pixels"]).all()
assert (half.loc["shuffled pixels"] < half.loc["noise"]).all()

# %% [markdown]
# ## 3 · What makes it? Take the parts away
#
# Four ways to write the same 64x64 pixels, from much structure to none. The rest of the recipe stays:
#
# - the **hourglass**: 3x3 filters, so that every value is computed from its neighbours; five coarser levels; upsampling; skips;
# - the **deep decoder** (Heckel & Hand): 1x1 filters, so that no pixel ever looks at its neighbours, but *upsampling*;
# - a **1x1 network** on the full-size noise $z$: neither neighbours nor upsampling;
# - the **pixels themselves**: $f_\theta(z) = \theta$ (no filters, which is what Muon moves: they get Adam).
#
# > **Predict.** Which of them can tell the image from its shuffled pixels? Put them in order, and say
# > what you expect of the second, in which no pixel sees another.


# %%
def pointwise(channels=64, layers=4):
    """1x1 filters without upsampling: every pixel is made from its own 32 values of z."""
    stack, inputs = [], 32
    for _ in range(layers):
        stack += [nn.Conv2d(inputs, channels, 1), nn.BatchNorm2d(channels), nn.LeakyReLU(0.2)]
        inputs = channels
    return nn.Sequential(*stack, nn.Conv2d(inputs, 3, 1), nn.Sigmoid())


# %%
kinds = {
    "deep decoder": plain.replace(network="decoder", z_channels=64, options={}),
    "1x1, no upsampling": plain,
    "pixels": plain.replace(network="pixels", options={}),
}
three_targets = ("image", "shuffled pixels", "noise")


def one(kind, name, seed):
    """What `dip.fit` is given, to fit one of these kinds to one of the targets."""
    torch.manual_seed(seed)  # for the weights of the network that is ours
    own = pointwise() if kind == "1x1, no upsampling" else None
    return {"problem": targets[name], "recipe": kinds[kind], "network": own, "seed": seed}


# %%
cases = [(kind, name, seed) for kind in kinds for name in three_targets for seed in range(2)]
fitted = dip.fits({case: one(*case) for case in cases}, resumable=True)
families = {"hourglass": {name: runs[name] for name in three_targets}} | {
    kind: {name: [fitted[kind, name, seed] for seed in range(2)] for name in three_targets}
    for kind in kinds
}

# %%
figure = Figure("Only hourglass and decoder tell image from shuffled pixels", figsize=(10, 3.2))
for axis, (kind, by_target) in zip(figure.subplots(1, 4, sharey=True), families.items()):
    for name, fits in by_target.items():
        draw(axis, name, fits)
    axis.set(title=kind, xlabel="iteration", ylim=(1e-4, 0.3))
figure.axes[0].set_ylabel("energy E")
handles = figure.axes[0].get_legend_handles_labels()
figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
figure

# %%
ratio = {}
for kind, by_target in families.items():
    weights = sum(each.numel() for each in by_target["image"][0].network.parameters())
    at = {name: np.median([iterations_to(r, 0.8) for r in by_target[name]]) for name in by_target}
    ratio[kind] = at["shuffled pixels"] / at["image"]
    told = times(at["shuffled pixels"], at["image"])
    print(f"{kind:20s}{weights:9,d} weights; shuffled pixels take {told} times as long")
assert ratio["hourglass"] > 2
assert min(iterations_to(r, 0.5) for r in families["deep decoder"]["shuffled pixels"]) == np.inf
assert 0.8 < ratio["1x1, no upsampling"] < 1.25 and ratio["pixels"] == 1

# %% [markdown]
# **Explain.** For the *pixels*, image and shuffled pixels have one and the same curve: the energy is a sum
# over pixels and does not care where each of them lies. The *1x1 network* is a function from 32 random
# values to a colour; pixels that are neighbours in the image are no neighbours for it. It too has no
# opinion, although it has thousands of weights and is called a convolutional network.
#
# The *deep decoder* has 1x1 filters as well, and yet it is the strictest of the four: in these iterations it does
# not even explain half of the shuffled pixels' variance. What it has is **upsampling**: whatever is made on a coarse grid and
# brought up is smooth. The *hourglass* lies between: its coarse levels prefer what is smooth, its skips let
# the rest pass, late. So the prior does not sit in the learned filters, and not in the number of weights.
# It sits in **how the pixels are tied to each other**: coarse grids, upsampling, small shared filters.
#
# ## 4 · Low bands first
#
# "Smooth before rough" can be measured. The Fourier transform writes an image as a sum of waves; five
# rings of it, from the longest waves to the shortest, are five *bands*. For each of them,
# **frequency-band correspondence** (Shi et al.; Chakrabarty & Maji looked at deep image priors first) asks which share of
# the target's amplitude the fit has, in the mean of its three colours. We follow the fit to the *noisy* image, and so
# all five must come to 1 in the end.
#
# > **Predict.** In which order do the five bands arrive in the hourglass? And when the pixels themselves are
# > fitted?


# %%
flat = clean.mean()


def share(image, direction):
    """How much of a direction an image holds: 0 nothing, 1 all of it."""
    return float((image * direction).sum() / direction.square().sum())


noise = noisy.observation - clean
noise = noise - share(noise, clean - flat) * (clean - flat)  # why: section 5
noise = noise - noise.mean()


# %%
def follow(recipe):
    """Bands reached, and shares of image and noise, in every iteration of one fit."""
    bands, shares = [], []
    for step in dip.iterate(noisy, recipe, seed=0):
        bands.append(dip.metrics.band_correspondence(step.output, noisy.observation))
        image, grain = share(step.output - flat, clean - flat), share(step.output - clean, noise)
        shares.append((image, grain))
    return np.array(bands), np.array(shares)


# %%
followed = {"hourglass": follow(plain), "pixels": follow(kinds["pixels"])}

# %%
figure = Figure("Hourglass: bands one after the other; pixels: all at once", figsize=(10, 3.4))
for axis, (kind, (bands, _)) in zip(figure.subplots(1, 2, sharey=True), followed.items()):
    for band in range(5):
        colour = matplotlib.colormaps["viridis"](band / 4.5)
        axis.semilogx(np.arange(1, len(bands) + 1), bands[:, band], color=colour, lw=2)
    axis.set(title=kind, xlabel="iteration", ylim=(0, 1.15))
    axis.axhline(1, color="0.6", ls=":")
figure.axes[0].set_ylabel("share of the band's amplitude")
names = ("band 1: longest waves", "2", "3", "4", "band 5: finest detail")
figure.legend(figure.axes[1].lines[:5], names, loc="outside lower center", ncols=5, frameon=False)
figure


# %%
def back(bands):
    """For each band, the iteration from which on it stays above 0.85."""
    return [int(np.flatnonzero(below)[-1]) + 2 for below in (bands < 0.85).T]


for kind, (bands, _) in followed.items():
    print(f"{kind}: bands 1 to 5 are there from iterations {back(bands)} on")
first, *_, fifth = back(followed["hourglass"][0])
assert fifth > 3 * first
assert max(back(followed["pixels"][0])) < 2 * min(back(followed["pixels"][0]))


# %%
def in_bands(power):
    """Percent of the power in each of the five rings; the mean, which is no wave, is left out."""
    along = np.fft.fftfreq(64)
    ring = np.minimum((np.hypot(along[:, None], along) * 10).astype(int), 4)
    power[0, 0] = 0
    return 100 * np.bincount(ring.ravel(), power.ravel()) / power.sum()


power = {"image": clean, "noise": noise}
power = {name: np.abs(np.fft.fft2(x.mean(0).numpy())) ** 2 for name, x in power.items()}
power["number of waves"] = np.ones((64, 64))
table = pd.DataFrame({name: in_bands(each) for name, each in power.items()}, range(1, 6)).T
assert table[1]["image"] > 60 and abs(table.loc["noise"] - table.loc["number of waves"]).max() < 3
table.style.format("{:.0f} %").set_caption("share of the bands 1 to 5")

# %% [markdown]
# **Explain.** In the hourglass the bands arrive one after the other, the longest waves first. (At the start the fine
# bands are not empty: a random network's output is rough, and the dark noise from which the pixels start has a third
# of band 5. The measure sees only how *strong* a wave is, not where its crests lie. So look at when each band comes
# *back* to 1.) In the fit of the pixels, all bands rise together, but for that start. The order matters: a photograph
# has most of its energy in the long waves (the last table). White noise has the same in every *wave*, and most waves are short. That is
# the impedance, in the language of waves.
#
# ## 5 · The window
#
# Now the question behind everything. The observation is $x_0 = x + n$. How much of the image $x$, and how
# much of the noise $n$, is in the output after each iteration? Both are known here, so we can project on
# them, as one does with vectors: with $f = f_\theta(z)$, $\langle f - x,\, n\rangle / \langle n, n\rangle$ is 0 when
# the output has nothing of the noise, and 1 when it has all of it. (Cut off at black and white, the noise took 3 % of
# the image's contrast with it. We count that to the image, so its share ends at 0.97, and the two directions
# are orthogonal.)

# %% tags=["figure:03_window"]
figure = Figure("Hourglass: the image is there before the noise", figsize=(10, 3.2))
for axis, (kind, (_, shares)) in zip(figure.subplots(1, 2, sharey=True), followed.items()):
    along = np.arange(1, len(shares) + 1)
    axis.semilogx(along, shares[:, 0], color=COLOURS[0], lw=2.5, label="share of the image")
    axis.semilogx(along, shares[:, 1], color=COLOURS[1], lw=2.5, label="share of the noise")
    if kind == "hourglass":
        axis.fill_between(
            along, *shares.T, shares[:, 0] > shares[:, 1], color=COLOURS[0], alpha=0.12
        )
    axis.set(title=kind, xlabel="iteration", ylim=(-0.05, 1.05))
figure.axes[0].set_ylabel("share in the output")
figure.axes[0].legend(frameon=False, loc="upper left")
figure

# %%
there = int(np.argmax(followed["hourglass"][1][:, 0] > 0.92))  # the first iterate with the image
image, grain = followed["hourglass"][1][there]
print(f"iteration {there + 1}: {image:.0%} of the image, {grain:.0%} of the noise")
same = followed["pixels"][1]
assert grain < 0.3 and np.argmax(same[:, 0] > 0.92) > 0 and same[same[:, 0] > 0.92][0, 1] > 0.7

# %% [markdown]
# The shaded area on the left is the **window**: the image is there, the noise is not. On the right there is
# no window; with every step one gets as much of the one as of the other. *To denoise with a deep image prior
# is to stop inside the window.* (Where it is, without knowing $x$ and $n$, is the subject of lesson 08.)
#
# ## 6 · What impedance is not
#
# **Not a count of weights.** The hourglass has 383,151 weights for 12,288 numbers, and its four curves were still falling
# when we stopped. The deep decoder has twice as many as the image has numbers, and yet shuffled pixels hardly move
# it: it ties the pixels so tightly that its weights do not help.
#
# **Not just blur.** If "low bands first" were all, the best iterate would be a blurred observation. Let us
# blur it, as well as can be, with the truth as judge:

# %%
widths = np.linspace(0.2, 2, 19)
blurred = [torch.tensor(gaussian(noisy.observation.numpy(), w, channel_axis=0)) for w in widths]
best_blur = max(blurred, key=lambda image: dip.psnr(image, clean))
best = [fit.history.psnr.max() for fit in runs["image + noise"]]
print(f"best blur {dip.psnr(best_blur, clean):.1f} dB, best iterates {np.round(best, 1)} dB")
assert min(best) > dip.psnr(best_blur, clean) + 0.5

# %%
average = runs["image + noise"][0].oracle
compare(best_blur, average, names=("the best blur", "the best average of the fit"))

# %% [markdown]
# One explanation: the network brings a *sharp* contour early, for it has to be made only once and shifted along,
# while a blur takes the contour away together with the noise. What is cheap for the network is then
# what **repeats at many places and scales**. You will meet an image that is nothing but the finest detail, and
# nevertheless cheap, in the exercises.
#
# **Not a law about all noise.** What counts as noise is what the network reaches late. Sand and grass come
# late too (lesson 04), and a stain that is smooth comes early.
#
# ## What to take away
#
# 1. The same network reproduces an image in about a third of the iterations that its shuffled pixels take:
#    **impedance** is a number that you can measure.
# 2. It is made by the way in which the network ties pixels to each other. Without coarse grids and filters
#    that see neighbours, a network with thousands of weights has no prior at all.
# 3. In a fit to a noisy image, long waves come first; between the arrival of the image and that of the
#    noise there is a **window**.
# 4. Impedance is an *order in time*, no wall: who waits gets the noise.
#
# Why the order is what it is, computed from the network's Jacobian: lesson 10.
#
# ## Exercises
#
# Put your answer in the place of `None`. Worked answers:
# [solutions/03_impedance.ipynb](solutions/03_impedance.ipynb).
#
# **1. Two directions at once.** Section 5 first made the noise orthogonal to the image. Do without: write
# `my_shares(image, clean, noise)`, which returns the two numbers $a$ and $b$ for which `a * clean + b * noise` comes
# nearest to the image, although clean and noise are *not* orthogonal.

# %%
my_shares = None

check.two_shares(my_shares)

# %% [markdown]
# **2. The finest image of all.** A checkerboard of single pixels has *all* of its energy at the highest
# frequency. Say first: does it come as late as the noise? Then make it (`torch.arange(64)`, 64x64 pixels,
# values 0.1 and 0.9), fit `plain` to it as a `dip.Problem`, and explain what you see.

# %%
my_board = None  # dip.fit(dip.Problem(...), plain)

check.checkerboard(my_board)

# %% [markdown]
# **3. Shut the doors.** Keep the optimiser of `plain`, with which section 3 printed the hourglass's ratio, and change the
# *network*, so that shuffled pixels take at least *four* times as long as the image to 80 %, while the image
# still takes at most 60 iterations. Hand in the two fits. (`plain.replace(options={**plain.options, ...})`;
# `help(dip.networks.Hourglass)` lists what can be changed. Where could fine detail slip through?)

# %%
my_image = None  # dip.fit(targets["image"], ...)
my_shuffled = None  # dip.fit(targets["shuffled pixels"], ...)

check.tells_apart(my_image, my_shuffled)

# %% [markdown]
# **4. A photographic negative.** Has `1 - clean` a higher impedance than `clean`, in iterations to 80 %? Give the
# ratio of the two medians over three seeds, as `my_ratio`, and say why you could have known.

# %%
my_ratio = None

check.negative(my_ratio)

# %% [markdown]
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision
#   128 (2020), section 2 and figure 2.
#   [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - R. Heckel, P. Hand, *Deep Decoder: concise image representations from untrained non-convolutional networks*,
#   ICLR 2019. [arXiv:1810.03982](https://arxiv.org/abs/1810.03982).
# - Z. Shi, P. Mettes, S. Maji, C. Snoek, *On measuring and controlling the spectral bias of the deep image
#   prior*, International Journal of Computer Vision 130 (2022).
#   [doi:10.1007/s11263-021-01572-7](https://doi.org/10.1007/s11263-021-01572-7).
# - P. Chakrabarty, S. Maji, *The spectral bias of the deep image prior*, 2019.
#   [arXiv:1912.08905](https://arxiv.org/abs/1912.08905).
