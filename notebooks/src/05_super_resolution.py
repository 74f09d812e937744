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
# # 05 · Super-resolution: many images, one small one
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/05_super_resolution.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/05_super_resolution.ipynb)
#
# **When you are through, you will be able to**
#
# - draw what a downsampler keeps and what it loses, and make an image out of what it loses;
# - say why the data term alone decides nothing here, and what decides in each of five methods;
# - tell from a spectrum who paints fine detail, and whether it is the right detail;
# - say what a trained network knows that this one cannot.
#
# **Time:** about two minutes of computing on two cores.
# **Needs:** lesson 01; lesson 02 helps. Nothing is downloaded, no GPU is used.
# **Words and symbols:** [glossary](glossary.md).

# %%
import sys

if "google.colab" in sys.modules:  # Colab brings torch; only the course itself is missing there
    import subprocess

    address = "diplearn[compare] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

# %%
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

import diplearn as dip
from diplearn.course import check
from diplearn.figures import BLUE, COLOURS, ORANGE, Figure, contact_sheet
from diplearn.widgets import compare, scrub

# %% [markdown]
# ## 1 · The challenge
#
# Somebody sends you a photograph, and it is tiny. You would like it four times as wide and four times as
# high: for each pixel that you have, sixteen. This is **super-resolution**, ×4.

# %%
clean = dip.images.load("camera", size=192)  # kept aside: only to measure against
problem = dip.super_resolution(clean, factor=4)
x0, A = problem.observation, problem.operator
contact_sheet(
    {"x₀, 48x48 pixels": x0, "what we would like, 192x192": clean},
    width=7,
    alt="A small, coarse photograph of a man with a camera, and the fine one",
)

# %% [markdown]
# The small image came about by a known **operator** $A$, and there is no noise:
#
# $$x_0 = A\,x, \qquad E(x; x_0) = \tfrac1N \lVert A\,x - x_0\rVert^2 ,$$
#
# where $N$ counts the pixels of $x_0$.
#
# ## 2 · What a downsampler keeps
#
# $A$ is linear. Each small pixel is a weighted mean of large ones, and the weights are the same around
# every small pixel (they make a **kernel**). Ours is Lanczos2, as in the paper. To the left its
# weights, a row of the matrix that acts along one axis. To the right its frequency response: how much
# of a wave is left, after weighing, as a function of the wave's frequency. (The fastest wave that
# pixels can show goes up and down every two pixels: half a cycle per pixel.)

# %%
row = A.matrix(192)[24]
response = np.abs(np.fft.rfft(row, 4096))
figure = Figure("A kernel that rings a little; its response falls around 1/8", figsize=(10, 3))
left, right = figure.subplots(1, 2)
left.stem(np.arange(192)[86:110], row[86:110], basefmt=" ")
left.set(xlabel="large pixel", ylabel="weight", title="one small pixel's weights")
right.plot(np.fft.rfftfreq(4096), response, color=BLUE, lw=2)
right.axvline(1 / 8, color=ORANGE, ls="--", label="the fastest wave of x₀: 1/8")
right.axvspan(1 / 8, 0.5, color="0.92", zorder=0)
right.set(xlabel="cycles per large pixel", ylabel="share that is left", title="what A lets through")
right.legend(frameon=False)
figure

# %% [markdown]
# The small image has a pixel for every four, so its fastest wave has 1/8 of a cycle per large pixel.
# Faster ones (grey) would appear in it as wrong, slower waves; that is called *aliasing*, and the kernel
# is there to take them away first. (It fades out from about 0.05 to 0.2, so a few slip through.) What it
# takes away is gone: the fine detail that we want back is exactly
# what $A$ was built to remove.
#
# How much is gone? Count.

# %%
large, small = clean.numel(), x0.numel()
rank = np.linalg.matrix_rank(A.matrix(192)) ** 2
print(f"{large:,} unknowns, {rank:,} equations: {large - rank:,} directions that A does not see")
assert rank == small
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# Those directions are the **null space** of $A$: all images $v$ with $A\,v = 0$. Fifteen dimensions of
# sixteen. It is not a strange place; here is how to go there with any photograph $u$. Let $A^{+}$ be
# the pseudo-inverse of $A$. Then $A^{+}A\,u$ is the part of $u$ that $A$ sees, and
#
# $$v = u - A^{+}A\,u$$
#
# is the rest, the projection of $u$ on the null space.
#
# > **Predict.** Take the rest of a wall of bricks, and add it to our photograph. What will the sum look
# > like in large? And made small?


# %%
def unseen(image):
    """The part of an image that A does not see: its projection on the null space."""
    return A.project(image, torch.zeros(A.observed_shape(image.shape), dtype=image.dtype))


# %%
others = {name: dip.images.load(name, size=192) for name in ("brick", "gravel", "chelsea")}
many = {"the truth x": clean.double()}
for name, other in others.items():
    grey = other.mean(0, keepdim=True).double()
    # one and a half times, to be seen well; any multiple is as invisible to A
    many[f"x + 1.5 · unseen part of {name}"] = clean.double() + 1.5 * unseen(grey)
small_ones = {f"A of image {k}": A(image) for k, image in enumerate(many.values(), 1)}
contact_sheet(
    {**many, **small_ones},
    columns=4,
    width=12,
    alt="Four very different large images; four equal small ones",
)

# %%
apart = max(float((A(image) - A(clean.double())).abs().max()) for image in many.values())
large_apart = {name: dip.psnr(image, clean) for name, image in list(many.items())[1:]}
print(f"the small ones differ by less than 1e-12: {apart < 1e-12}")
print({name: f"{value:.1f} dB" for name, value in large_apart.items()})
assert apart < 1e-12 and max(large_apart.values()) < 25

# %% [markdown]
# **Explain.** Four different photographs, and to the data term they are one: all have $E = 0$, to the last
# digit. Nothing that only looks at $x_0$ can tell them apart. This is worse than noise. With noise the
# data term pulled towards something that was nearly right; here it has *no opinion at all* on fifteen
# sixteenths of the answer. The prior has to bring all of it.
#
# ## 3 · No prior: the start decides
#
# What happens if we minimise $E$ all the same, over the pixels themselves? Gradient descent steps from
# $x$ to
#
# $$x - \eta\, A^{\mathsf T} (A\,x - x_0). \tag{1}$$
#
# ($A^{\mathsf T}$ is the **adjoint**, the transposed matrix.) We begin three times: with grey, with random
# pixels, with the cat.
#
# > **Predict.** Every step has the form $A^{\mathsf T} y$, and such an image is perpendicular to the null
# > space: $\langle A^{\mathsf T} y, v \rangle = \langle y, A v \rangle = 0$. So what do the three descents
# > end in? What becomes of the random pixels?


# %%
def descend(x, steps=2000):
    """Gradient descent on half the sum of squares, over the pixels themselves: equation (1)."""
    eta = 1 / np.linalg.norm(A.matrix(192), 2) ** 4  # ‖A‖²: the kernel acts along both axes
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (0.5 * (A(x) - x0).square().sum()).backward()
        x = x - eta * x.grad
    return x.detach()


# %%
starts = {
    "grey": torch.full_like(clean, 0.5),
    "random": torch.rand(clean.shape, generator=torch.Generator().manual_seed(0)),
    "a cat": others["chelsea"].mean(0, keepdim=True),
}
ends = {name: descend(start) for name, start in starts.items()}

# %%
sheet = {f"from {name}": start for name, start in starts.items()}
sheet |= {f"after descent from {name}": end for name, end in ends.items()}
captions = {
    f"after descent from {name}": f"E = {(A(end) - x0).square().mean():.0e}, "
    f"{dip.psnr(end, clean, luma=True, shave=4):.1f} dB"
    for name, end in ends.items()
}
contact_sheet(sheet, columns=3, captions=captions, width=8, alt="What A cannot see stays for ever")

# %%
for name, start in starts.items():
    foretold = A.project(start, x0)  # start + A⁺(x₀ − A start): what A sees is set, the rest stays
    assert (ends[name] - foretold).abs().max() < 0.01 and A(ends[name]).sub(
        x0
    ).square().mean() < 1e-6
print("each descent keeps the unseen part of its start")
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# **Explain.** All three explain $x_0$, and none moved a hair in the null space. *Without a prior, the
# start is the prior.* Grey has almost no unseen part, but for the border; from black one gets exactly
# $A^{+} x_0$, the explanation with the smallest norm.
#
# ## 4 · Who fills the null space
#
# Here are two ways to fill it, three that leave it nearly or quite empty, and no prior at all beside them:
#
# - **bicubic** and **Lanczos** put a smooth curve through the small pixels. They do not know $A$;
# - **$A^{+} x_0$** knows $A$, and leaves the null space empty;
# - **total variation** (lesson 02) chooses the explanation with the least edge: length times height. How
#   much it counts is a weight; we tell it the best of three, which nobody would know;
# - the **deep prior**: of all explanations the one that the network meets first, three seeds. In the end the
#   package adds $A^{+}(x_0 - A x)$, so that $E$ is exactly zero.
#
# In this field one measures on luma, the brightness, and leaves four pixels out along each side; so do we.
#
# > **Predict.** The smooth ones have no fine detail, the random start has plenty. Which is nearer to the
# > truth? Can one beat $A^{+}x_0$ at all?


# %%
def score(image, shave=4):
    """PSNR in dB, as super-resolution tables measure it."""
    return dip.psnr(image, clean, luma=True, shave=shave)


recipe = dip.lab("super_resolution", members=1, iterations=250)
fitted = dip.fits({s: {"problem": problem, "recipe": recipe, "seed": s} for s in range(3)})
runs = list(fitted.values())

# %%
pixels = dip.lab("super_resolution", network="pixels", options={}, optimiser="adam", members=1)
pixels = pixels.replace(input_noise=0.0, z_channels=1, precision="float32", learning_rate=0.02)
pixels = pixels.replace(project=False, final_rate=0.0, iterations=600, stop="count")
smooth = [
    dip.fit(problem, pixels.replace(tv_weight=weight), progress=False).last
    for weight in (3e-7, 1e-6, 3e-6)
]

# %%
ways = {
    "no prior": ends["random"],
    "bicubic": dip.baselines.interpolate(problem),
    "Lanczos": dip.baselines.lanczos(problem),
    "A⁺x₀": A.project(torch.zeros_like(clean), x0),
    "total variation": max(smooth, key=score),
    "deep prior": runs[0].output,
}
scores = {name: score(image) for name, image in ways.items()}
three = [score(run.output) for run in runs]
captions = {name: f"{value:.1f} dB" for name, value in scores.items()}
large = ways | {"truth": clean, "x₀": x0}
contact_sheet(
    large, columns=4, captions=captions, width=12, alt="From grain over blur to sharp edges"
)

# %%
print(f"deep prior {np.mean(three):.2f} ± {np.std(three):.2f} dB, three seeds")
assert min(three) > max(scores["bicubic"], scores["Lanczos"]) + 0.8
assert scores["total variation"] > scores["A⁺x₀"] > scores["bicubic"] > scores["no prior"] + 5
exact = score(A.project(ways["total variation"], x0))  # with the part that A sees set right
assert -0.15 < np.mean(three) - exact < 0.6 and np.mean(three) > scores["total variation"]
print(f"total variation {scores['total variation']:.2f} dB; with E brought to zero {exact:.2f} dB")

# %%
compare(ways["total variation"], runs[0].output, names=("total variation", "deep prior"))

# %%
scrub(runs[0], frames=20)

# %% [markdown]
# Sharp outlines, a lawn of cotton wool, and a tripod that stays a blur. (The slider's PSNR counts the
# border, too.) PSNR does not say *why* one method is ahead. So look into the null space alone, where the
# truth has an unseen part $v$ and a method has one, $\hat v$. How **much** did it paint there, $\lVert\hat v\rVert / \lVert
# v\rVert$? How **right** is it, $\cos(\hat v, v)$? Of an image that explains $x_0$ the whole error is
# there, and
#
# $$\lVert \hat v - v \rVert^2 = \lVert v\rVert^2 \,(1 + \text{much}^2 - 2 \cdot \text{much} \cdot
#   \text{right}). \tag{2}$$
#
# To paint pays only if right / much > 1/2. (We measure both without eight pixels along each side, where
# every kernel is cut off and all methods look alike.)


# %%
wanted = unseen(clean)[..., 8:-8, 8:-8]


def painted(image):
    """How much an image has in the null space, against the truth, and how right that is."""
    mine = unseen(image)[..., 8:-8, 8:-8]
    alike = float((mine * wanted).sum() / (mine.norm() * wanted.norm()).clamp(min=1e-6))
    return {"much": float(mine.norm() / wanted.norm()), "right": alike}


# %%
rows = {name: {"PSNR": scores[name]} | painted(image) for name, image in ways.items()}
table = pd.DataFrame(rows).T
right = [painted(run.output)["right"] for run in runs]
print(f"the deep prior's three seeds: right {min(right):.2f} to {max(right):.2f}")
assert abs(np.mean(right) - table.right["total variation"]) < 0.12
assert min(*right, table.right["total variation"]) > table.right["Lanczos"] + 0.15
table.style.format("{:.2f}")

# %%
some = ("bicubic", "Lanczos", "total variation", "deep prior")
unseen_parts = {f"{name}: unseen": 0.5 + 2 * unseen(ways[name])[..., 8:-8, 8:-8] for name in some}
unseen_parts |= {"the truth: unseen": 0.5 + 2 * wanted}
contact_sheet(
    unseen_parts, columns=5, width=12, alt="Unseen parts: faint edges, clear edges, edges and grass"
)

# %% [markdown]
# **Explain.** Noise in the null space is right for nothing, and costs 12 dB. Bicubic is even behind
# $A^{+}x_0$, which paints nothing: it blurs what $A$ *did* see. Total variation and the deep prior paint the
# same: outlines. An edge in the small image tells where an edge in the large one is, *if you believe in
# edges*. That is all a prior does. The two are level: they paint about as much, and about as right. The deep
# prior is ahead by one to three tenths of a decibel in the mean, and nobody had to tell it a weight. Nobody
# finds the lawn: nothing in $x_0$ tells where a blade of grass stands.
#
# ## 5 · Edges and spectra
#
# Two looks at the same thing. A cut through the image shows edges; the **spectrum** shows waves, in
# bands of frequency. Around 1/8 of a cycle per pixel $A$ fades out: slower waves came through, from 0.2 on
# nothing did, and what is there was painted.
#
# > **Predict.** Draw, over frequency, how much of the truth's amplitude each method has, and its
# > correlation with the truth. Which curve tells you that an image *looks* sharp, and which that it
# > *is* right?


# %%
def spectrum(image, bands=20):
    """Fourier coefficients, and the band of frequencies to which each belongs."""
    window = np.outer(np.hanning(192), np.hanning(192))  # so that the borders do not count as edges
    waves = np.fft.fftn((image - image.mean())[0].numpy() * window)
    down, across = np.meshgrid(np.fft.fftfreq(192), np.fft.fftfreq(192), indexing="ij")
    return waves, (np.hypot(down, across) * 2 * bands).astype(int)


def much_and_right(image, bands=20):
    """In each band: amplitude against the truth's, and the correlation with it."""
    (mine, band), (true, _) = spectrum(image), spectrum(clean)
    add = lambda values: np.bincount(band.flat, values.flat)[:bands]  # noqa: E731
    own, theirs, both = add(abs(mine) ** 2), add(abs(true) ** 2), add((mine * true.conj()).real)
    return np.sqrt(own / theirs), both / np.sqrt(own * theirs)


# %%
def draw(axis, name, lines):
    """A method's lines in its colour; the truth's thick and grey."""
    colours = {"truth": "0.7", "bicubic": COLOURS[2], "A⁺x₀": "0.2", "total variation": COLOURS[3]}
    looks = {"color": colours.get(name, BLUE), "lw": 4 if name == "truth" else 1.7}
    axis.plot(*lines, label=name, ls="--" if name == "A⁺x₀" else "-", **looks)


# %%
names = ("bicubic", "A⁺x₀", "total variation", "deep prior")

# %% tags=["figure:05_spectra"]
figure = Figure("What looks sharp, and what is right, are two curves", figsize=(10, 7))
(back, tripod), (much, right) = figure.subplots(2, 2)
for name, image in {"truth": clean, **{name: ways[name] for name in names}}.items():
    draw(back, name, (range(12, 36), image[0, 60, 12:36]))
    draw(tripod, name, (range(95, 135), image[0, 135, 95:135]))
    for axis, line in zip((much, right), much_and_right(image)):
        draw(axis, name, ((np.arange(20) + 0.5) / 40, line))
back.set(title="across his back", xlabel="pixel", ylabel="grey value")
tripod.set(title="across the tripod", xlabel="pixel", ylabel="grey value")
much.set(title="how much is there", xlabel="cycles per pixel", ylabel="amplitude over the truth's")
right.set(title="how right it is", xlabel="cycles per pixel", ylabel="correlation with the truth")
_ = [axis.axvline(1 / 8, color=ORANGE, ls="--", label="1/8") for axis in (much, right)]
back.legend(frameon=False)
much.legend(frameon=False, fontsize=9, ncols=2, loc="upper right", bbox_to_anchor=(1, 0.92))
figure


# %%
def told(images, low, high):
    """How much is painted in a range of frequencies, and how right, in the mean of some images."""
    here = slice(round(40 * low), round(40 * high))
    return np.mean([np.array(much_and_right(p))[:, here].mean(axis=1) for p in images], axis=0)


ranges = {"around 1/8": (0.1, 0.175), "0.2 to 0.35": (0.2, 0.35), "above 0.4": (0.4, 0.5)}
found = {name: [ways[name]] for name in names} | {"deep prior": [run.output for run in runs]}
spectra = {
    f"{where}: {what}": {name: told(images, *ends)[i] for name, images in found.items()}
    for where, ends in ranges.items()
    for i, what in enumerate(("much", "right"))
}
spectra = pd.DataFrame(spectra)
spectra.style.format("{:.2f}")

# %%
deep, tv = spectra.loc["deep prior"], spectra.loc["total variation"]
assert min(deep["around 1/8: right"], tv["around 1/8: right"]) > spectra.iloc[1, 1] + 0.03
assert deep["0.2 to 0.35: right"] > tv["0.2 to 0.35: right"] > spectra.iloc[1, 3] + 0.1
assert tv["above 0.4: much"] > deep["above 0.4: much"] + 0.03
assert max(deep["above 0.4: right"], tv["above 0.4: right"]) < 0.3

# %% [markdown]
# **Explain.** His back is an edge of the kind that priors believe in: long, and with plain grey on both
# sides. Total variation and the deep prior climb it nearly as steeply as the truth. The legs of the tripod
# are one pixel wide, a line lighter and a line darker; in this row they all but cancel in the small image,
# and no prior brings them back. Well below 1/8 the deep prior is right, since $E$ asks for it. Around 1/8
# the waves come through weakened and mixed (aliasing), and all methods grow wrong. From 0.2 to 0.35, where
# all is painted, the deep prior is a little more often right than total variation. Among the fastest waves
# both paint nearly at random; total variation, whose stairs are sharp, paints more.
#
# ## 6 · Eight times
#
# At ×8 there is one equation for 64 unknowns. The recipe does not change, but for fewer iterations; the
# operator does.
#
# > **Predict.** Will the lead over bicubic grow or shrink? What will become of the face?

# %%
tiny = dip.super_resolution(clean, factor=8)
fitted = dip.fits(
    {s: {"problem": tiny, "recipe": recipe.replace(iterations=150), "seed": s} for s in range(3)}
)
eight = [run.output for run in fitted.values()]
smooth = [
    dip.fit(tiny, pixels.replace(tv_weight=weight), progress=False).last
    for weight in (3e-7, 1e-6, 3e-6)
]

# %%
shown = {
    "x₀, 24x24": tiny.observation,
    "bicubic": dip.baselines.interpolate(tiny),
    "Lanczos": dip.baselines.lanczos(tiny),
    "A⁺x₀": tiny.operator.project(torch.zeros_like(clean), tiny.observation),
    "total variation": max(smooth, key=lambda image: score(image, 8)),
    "deep prior": eight[0],
}
marks = {name: score(image, 8) for name, image in list(shown.items())[1:]}
captions = {name: f"{mark:.1f} dB" for name, mark in marks.items()}
alt = "At x8 the deep prior is sharp, and wrong"
contact_sheet(shown | {"truth": clean}, columns=4, captions=captions, width=12, alt=alt)

# %%
deep = [score(image, 8) for image in eight]
print(f"x8: deep prior {np.mean(deep):.2f} ± {np.std(deep):.2f} dB; ", end="")
print(f"bicubic {marks['bicubic']:.2f}, total variation {marks['total variation']:.2f}")
agree = lambda a, b: dip.psnr(a, b, luma=True, shave=8)  # noqa: E731
apart = agree(*eight[:2])
smooth_ones = agree(shown["bicubic"], shown["Lanczos"])
print(f"two seeds agree to {apart:.0f} dB, bicubic and Lanczos to {smooth_ones:.0f}; ", end="")
print(f"the deep prior and total variation to {agree(eight[0], shown['total variation']):.0f}")
assert min(deep) > marks["bicubic"] + 0.7 and abs(np.mean(deep) - marks["total variation"]) < 0.5
assert apart > max(deep) + 5 and smooth_ones > apart

# %% [markdown]
# **Explain.** The lead over bicubic is about as large as at ×4, and yet the image is worse than it looks:
# sharp outlines where there were none, half a face, no tripod. Total variation is level again. And mark this
# well: **two seeds agree with each other far better than with the truth.** They share $x_0$ and a prior, and
# leave the same things out; bicubic and Lanczos agree even better. That repeated fits agree is no proof that
# they are right.
#
# ## 7 · What a trained network knows
#
# Networks that were trained on other photographs fill the null space better. LapSRN went to school with 291 of
# them, SRResNet with 350,000. Here is what the paper reports on two customary sets of images, ×4.
# (Published numbers, not measured here.)

# %%
published = pd.DataFrame(
    {
        "Set5": [26.56, 28.44, 28.86, 29.90, 31.59, 32.10],
        "Set14": [24.93, 26.05, 26.42, 27.00, 28.13, 28.53],
    },
    index=["no prior", "bicubic", "TV", "deep prior", "LapSRN, trained", "SRResNet, trained"],
)

# %%
figure = Figure("Trained networks lead the deep prior by one to two decibels", figsize=(8, 2.9))
axis = figure.subplots()
for column, colour, marker in (("Set14", ORANGE, "s"), ("Set5", BLUE, "o")):
    axis.plot(published[column], range(6), marker, color=colour, ms=8, label=column)
axis.set(xlabel="PSNR in dB on luma, x4, as the paper reports it", ylim=(5.5, -0.5))
axis.set_yticks(range(6), published.index)
axis.grid(alpha=0.25)
axis.legend(frameon=False)
figure

# %% [markdown]
# What do they know? Train one and see. Ours is small: from a small pixel and its neighbours, 5×5 of
# them, it foretells the 4×4 large pixels that belong there. Four photographs are its school. Some images
# are easier than others, whoever has learned what; so we train two students, and each image is in the
# school of one of them only.
#
# > **Predict.** $A^{+} x_0$ paints nothing. How many decibels above it will a student be on the images
# > that it has learned from? And on others?


# %%
def looks_of(small):
    """A small pixel and its neighbours, 5x5 of them in a row, without their mean; and that mean."""
    around = F.unfold(F.pad(small[:, None], (2, 2, 2, 2), mode="replicate"), 5)
    rows = around.transpose(1, 2).flatten(0, 1)
    mean = rows.mean(1, keepdim=True)
    return rows - mean, mean


def pairs(name):
    """Questions and answers from a photograph: looks of small pixels, and the 4x4 large ones."""
    large = dip.images.load(name, size=192)
    looks, mean = looks_of(A(large))
    return looks, F.unfold(large[:, None], 4, stride=4).transpose(1, 2).flatten(0, 1) - mean


# %%
def teach(school):
    """Train a student on some photographs."""
    torch.manual_seed(0)
    questions, answers = (torch.cat(parts) for parts in zip(*map(pairs, school)))
    layers = [nn.Linear(25, 64), nn.LeakyReLU(), nn.Linear(64, 64), nn.LeakyReLU()]
    student = nn.Sequential(*layers, nn.Linear(64, 16))
    optimiser = torch.optim.Adam(student.parameters(), lr=0.002)
    for _ in range(3000):
        some = torch.randint(len(questions), (512,))
        error = (student(questions[some]) - answers[some]).square().mean()
        error.backward()
        optimiser.step()
        optimiser.zero_grad()
    return student


# %%
@torch.no_grad()
def enlarge(small, student):
    """Ask a student for 4x4 pixels in place of each, and hold on to what is known."""
    looks, mean = looks_of(small)
    channels, height, width = small.shape
    made = (student(looks) + mean).reshape(channels, height * width, 16).transpose(1, 2)
    return A.project(F.fold(made, (4 * height, 4 * width), 4, stride=4)[:, 0], small)


# %%
def gain(name, student):
    """Decibels above the image that paints nothing."""
    large = dip.images.load(name, size=192)
    empty = A.project(torch.zeros_like(large), A(large))
    images = (enlarge(A(large), student), empty)
    marks = [dip.psnr(each, large, luma=True, shave=4) for each in images]
    return marks[0] - marks[1]


# %%
schools = (
    ("astronaut", "chelsea", "coffee", "rocket"),
    ("camera", "coins", "retina", "motorcycle"),
)
students = [teach(school) for school in schools]
in_school = {name: gain(name, students[i]) for i in (0, 1) for name in schools[i]}
elsewhere = {name: gain(name, students[1 - i]) for i in (0, 1) for name in schools[i]}

# %%
figure = Figure("A student does better on what it learned from", figsize=(9, 3))
axis = figure.subplots()
looks = ((in_school, ORANGE, "in its school"), (elsewhere, BLUE, "not in its school"))
for side, (gained, colour, label) in zip((-0.2, 0.2), looks):
    bars = axis.bar(np.arange(8) + side, list(gained.values()), 0.38, color=colour, label=label)
    axis.bar_label(bars, fmt="%+.1f", padding=2, fontsize=8)
ahead = np.mean(three) - scores["A⁺x₀"]
axis.plot(list(in_school).index("camera") + 0.2, ahead, "kD", ms=7, label="deep prior")
axis.axhline(0, color="black", lw=0.8)
axis.set_xticks(range(8), list(in_school))
axis.set(ylabel="dB above A⁺x₀", ylim=(-1.9, 3))
axis.legend(frameon=False, ncols=3, loc="upper right")
axis.spines[["top", "right"]].set_visible(False)
figure

# %%
known, new = (np.mean(list(each.values())) for each in (in_school, elsewhere))
print(f"an image in the school {known:+.1f} dB, the same not in the school {new:+.1f} dB")
assert known > 0.7 and -0.8 < new < 0.4 and all(in_school[k] > elsewhere[k] for k in elsewhere)
assert abs(in_school["camera"] - ahead) < 0.6 and elsewhere["camera"] < ahead - 0.3

# %% [markdown]
# **Explain.** On the images from its school a student gains more than a decibel in the mean; on the
# others, no more than some up and some down: what it has learned holds for its own four. Real ones go to
# school with hundreds of photographs, or hundreds of thousands, hold about a million numbers, and do well on
# images that they have never seen, as the published table says. What they fill the null space with is *what
# such places looked like in other images*: windows, fur, letters. The deep prior has never seen another
# image (and yet is level, on the photographer, with the student that learned from him). It knows that
# edges are long, that things repeat and that regions are plain, because its convolutions say so. The gap in
# the published table is the price of ignorance.
#
# It buys something, too. A trained network paints what is *usual*; in a scan of a rare disease that is
# dangerous. It was trained for one $A$; for another kernel it must go to school again, while we changed one
# line. Where photographs abound, take a trained network. Where there are none, or none that may be
# trusted, fit this one, and show what it painted.
#
# ## What to take away
#
# 1. A downsampler has a **null space**: images that it cannot see. At ×4 that is fifteen dimensions of
#    sixteen. All that a method *adds* lives there.
# 2. **Without a prior the start decides**: descent never moves in the null space.
# 3. Painting there pays only if right / much > 1/2. Sharp is not right.
# 4. The deep prior beats bicubic by more than a decibel, and is level with total variation at its best
#    weight; on the paper's Set5 and Set14 it leads TV by 1.0 and 0.6 dB. By the same published tables, a
#    network trained on many photographs beats the deep prior.
# 5. That several fits **agree** does not mean that they are right: they share $x_0$ and a prior.
#
# ## Exercises
#
# Worked answers: [solutions/05_super_resolution.ipynb](solutions/05_super_resolution.ipynb).
#
# **1. Count.** An image has 240×160 pixels, and $A$ makes it eight times smaller each way. How many dimensions has
# the null space?

# %%
my_dimensions = None

check.dimensions(my_dimensions)

# %% [markdown]
# **2. By hand.** The simplest downsampler takes the mean of each 4×4 block. Write `my_unseen(image)`:
# the part of an image (C, H, W) that it cannot see. (No matrix is needed.)

# %%
my_unseen = None

check.unseen_by_blocks(my_unseen)

# %% [markdown]
# **3. A twin.** Make an image that lies within [0, 1], that is at most 25 dB like the photographer, and that
# has the same $x_0$. (Clipping spoils $x_0$; how do you stay inside?)

# %%
my_twin = None

check.twin(my_twin, problem)

# %% [markdown]
# **4. Aliasing.** Forget the kernel, and take every fourth pixel. A wave has 0.15 cycles per large pixel.
# Which frequency, in cycles per *small* pixel, does it show in the small image?

# %%
my_alias = None

check.alias(my_alias)

# %% [markdown]
# **5. The wrong kernel.** Somebody made the small image with `kernel="box"`, and you fit with Lanczos2. What
# happens, and why does a camera's owner care? No check here.
#
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision 128
#   (2020), its section on super-resolution.
#   [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - W.-S. Lai, J.-B. Huang, N. Ahuja, M.-H. Yang, *Deep Laplacian pyramid networks for fast and accurate
#   super-resolution* (LapSRN), CVPR 2017.
#   [doi:10.1109/CVPR.2017.618](https://doi.org/10.1109/CVPR.2017.618).
# - C. Ledig et al., *Photo-realistic single image super-resolution using a generative adversarial network*
#   (SRResNet, SRGAN), CVPR 2017. [doi:10.1109/CVPR.2017.19](https://doi.org/10.1109/CVPR.2017.19).
# - C. E. Duchon, *Lanczos filtering in one and two dimensions*, Journal of Applied Meteorology 18 (1979).
#   [doi:10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2](https://doi.org/10.1175/1520-0450(1979)018%3C1016:LFIOAT%3E2.0.CO;2).
# - J. Schwab, S. Antholzer, M. Haltmeier, *Deep null space learning for inverse problems*, Inverse
#   Problems 35 (2019). [doi:10.1088/1361-6420/aaf14a](https://doi.org/10.1088/1361-6420/aaf14a).
