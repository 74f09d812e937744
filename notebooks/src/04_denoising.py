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
# # 04 · Denoising: what is taken in, what is left out
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/04_denoising.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/04_denoising.ipynb)
#
# **When you are through, you will be able to**
#
# - read a residual, and measure how much of the noise and of the detail a fit has taken in;
# - test a prior against a rival that is strong enough;
# - predict from two runs what the mean of many will gain, in part without the truth;
# - compare denoisers honestly, and say where no prior of this lesson helps.
#
# **Computing:** about two minutes on two cores. **Study:** about 75 minutes, exercises included.
#
# **Needs:** lesson 01; lesson 02 helps. No GPU is used, and nothing is downloaded.
#
# **Words and symbols:** [glossary](glossary.md).

# %% tags=["folded"]
# Install the course where it is missing: on Colab
import sys

if "google.colab" in sys.modules:  # Colab brings torch
    import subprocess

    address = "diplearn[compare] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

# %%
import numpy as np
import pandas as pd
import torch

import diplearn as dip
from diplearn.course import check, data

# %% tags=["folded"]
# What only the figures need
from diplearn.course.show import reveal, show
from diplearn.figures import BLUE, COLOURS, GREEN, GREY, ORANGE, Figure, contact_sheet
from diplearn.widgets import compare, scrub

# %% [markdown]
# ## 1 · A fit that nobody stopped
#
# In lesson 01 a fit restored a noisy cat, and then sank back into the noise. Here we ask **what comes in, and in which order**. We begin with 50,000
# iterations of one network, on a cat of 128x128 pixels with noise of σ = 25/255. That takes half an
# hour, so some of its images are stored (moving averages; `benchmarks/overfitting.py`).
#
# We added the noise $n = x_0 - x$ ourselves, so we can look for it in a restored image $\hat x$:
#
# $$a = \frac{\langle \hat x - x,\; n\rangle}{\lVert n\rVert^2} \tag{1}$$
#
# is the **share of the noise** that has come in. It is 0 for the truth, 1 for the observation, and 1/2 for
# the mean of the two. What a fit has left out of the observation is its **residual**, $x_0 - \hat x$. It needs
# no truth.
#
# > **Predict.** How much of the noise is in after 100, 400, 2,400 and 50,000 iterations? (The paper stops
# > its JPEG example at 2,400, and shows it overfitted at 50,000.) What should an ideal residual look like?


# %%
def share(change, part):
    """How much of a part there is in a change: its coefficient."""
    return float((change * part).sum() / part.square().sum())


def noise_in(image, problem):
    """Share of the noise that is in the image: 0 for the truth, 1 for the observation."""
    return share(image - problem.truth, problem.observation - problem.truth)


# %%
record = np.load(data.path("overfitting.npz"))
cat = dip.denoising(dip.images.load("chelsea", size=128), sigma=25 / 255, seed=0)
film = {k: dip.images.from_array(record[f"image_{k}"]) for k in (100, 400, 2400, 50_000)}
shares = {k: noise_in(image, cat) for k, image in film.items()}


# %% tags=["folded"]
# Show the images, and below them the residuals in grey, three times as strong
def left_out(image, problem, times):
    """The residual in grey, so many times as strong, around mid-grey."""
    residual = (problem.observation - image).mean(dim=0, keepdim=True)
    return (0.5 + times * residual).clamp(0, 1)


shown, captions = {f"{k:,} iterations": image for k, image in film.items()}, {}
for k, image in film.items():
    score = dip.psnr(image, cat.truth)
    captions[f"{k:,} iterations"] = f"noise in: {shares[k]:.0%}; {score:.1f} dB"
    shown[f"residual at {k:,}, ×3"] = left_out(image, cat, 3)
reveal(contact_sheet(shown, columns=4, captions=captions, width=12), text="04 film")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# An ideal residual is the noise and nothing else: grain in which nobody recognises a cat. At 100 iterations, less than a tenth of the noise
# is in the image, and the residual looks ideal. (It is not: more than half of the cat's fine detail is left out, too; section 5.) Later the residual fades,
# because the noise moves into the image: two thirds by 2,400 iterations, almost nine tenths by 50,000.
#
# The paper's network learns more slowly and has more noise on its input, so its 2,400 iterations say nothing about ours.
# *Iterations of different recipes cannot be compared; what has come in, can.*
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert shares[100] < 0.15 and shares[2400] > 0.5 and shares[50_000] > 0.8

# %% [markdown]
# ## 2 · Detail against noise
#
# That a smooth sky comes before grainy noise would surprise nobody. So we look at **fine detail** only.
# Let $H x$ be what a slight blur takes away from $x$: edges, texture, and most of any noise. Of the fine
# noise and of the fine detail, the shares
#
# $$a = \frac{\langle H (\hat x - x),\; H n\rangle}{\lVert H n\rVert^2}, \qquad
#   b = \frac{\langle H \hat x,\; H x\rangle}{\lVert H x\rVert^2} \tag{2}$$
#
# have come in. Both are about 0 for a flat image, about 1 for the observation. A good prior has $b$ large while $a$ is still
# small. How large must $b$ be? That takes **rivals**.
#
# - *The same rate.* If detail and noise came in alike, $b$ would equal $a$.
# - *A Gaussian blur*, from strong to weak. It lets slow waves pass first, of which photographs have more than noise.
# - *The best linear filter.* Photographs vary in brightness and hardly in colour; noise varies in all three channels
#   alike. So for every wavelength and every colour axis (brightness, red against blue, green against both), this filter chooses a factor from 0 to 1, and
#   it *sees the truth* when it chooses. No filter of this kind has more detail for the same noise.
#
# Where the network is above the third rival, it uses something besides wavelength and colour.
#
# > **Predict.** The images: a cup of coffee, a photographer, a brick wall, grass. Draw $b$ over $a$ for
# > the three rivals and for the network. On which images does the network beat the best
# > linear filter?


# %%
def fine(image):
    """What a slight blur takes away."""
    return image - dip.Blur(1.0)(image)


def come_in(image, problem):
    """Shares of the fine noise and of the fine detail: a and b of equation (2)."""
    truth, noise = problem.truth, problem.observation - problem.truth
    return share(fine(image - truth), fine(noise)), share(fine(image), fine(truth))


# %%
greedy = dip.lab(members=1, input_noise=0, iterations=64, stop="count")  # nothing holds it back
pictures = ("coffee", "camera", "brick", "grass")
noisy = {k: dip.denoising(dip.images.load(k, size=128), sigma=25 / 255) for k in pictures}
paths = {(name, seed): [] for name in pictures for seed in range(3)}


def note(name, seed):
    """After each iteration of one fit, note what has come in."""
    return lambda run, step: paths[name, seed].append(come_in(step.output, noisy[name]))


# %%
wanted = {
    (name, seed): {"problem": noisy[name], "recipe": greedy, "seed": seed} for name, seed in paths
}
runs = dip.fits({key: fit | {"callback": note(*key)} for key, fit in wanted.items()})

# %% tags=["folded"]
# The best linear filter: which share of noise it lets in for which share of detail
axes = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]])
axes = axes / axes.norm(dim=1, keepdim=True)  # of colour


def best_filter(problem, rings=40):
    """Shares a and b, as parts of the spectrum are let in, the richest in detail first."""
    parts = fine(problem.truth), fine(problem.observation - problem.truth)
    if len(problem.truth) == 3:
        parts = [torch.einsum("kc,chw->khw", axes, part) for part in parts]
    down, across = (torch.fft.fftfreq(side) for side in problem.truth.shape[1:])
    ring = ((down[:, None] ** 2 + across**2).sqrt() / 0.71 * rings).long()
    ring = torch.stack([ring + rings * axis for axis in range(len(problem.truth))]).flatten()
    powers = [torch.fft.fft2(part).abs().square().flatten() for part in parts]
    return in_order(*(torch.bincount(ring, power) for power in powers))


# %% tags=["folded"]
# The rivals' shares of noise and detail
def in_order(detail, noise):
    """Shares of noise and detail: those rings first that have the most detail for their noise."""
    order = (detail / noise.clamp(min=1e-9)).argsort(descending=True)
    return [(power[order].cumsum(0) / power.sum()).numpy() for power in (noise, detail)]


filters, blurs = {name: best_filter(problem) for name, problem in noisy.items()}, {}
for name, problem in noisy.items():
    views = [dip.Blur(width)(problem.observation) for width in np.geomspace(4, 0.3, 25)]
    blurs[name] = np.array([come_in(view, problem) for view in views])


# %% tags=["folded"]
# How much of the noise each has let in when half of the detail is in
def price(a, b):
    """Share of the noise at which half of the detail is in."""
    return float(np.interp(0.5, np.maximum.accumulate(b), a))


paths = {key: np.array(path) for key, path in paths.items()}
by_seed = pd.DataFrame({k: [price(*paths[k, s].T) for s in range(3)] for k in pictures})
prices = pd.DataFrame({"network": by_seed.mean(), "its standard deviation": by_seed.std()})
prices["best linear filter"] = [price(*filters[k]) for k in pictures]
prices["Gaussian blur"] = [price(*blurs[k].T) for k in pictures]

# %% tags=["folded"]
# Draw b over a: the network, and its rivals
figure = Figure(figsize=(8, 8))
for axis, name in zip(figure.subplots(2, 2, sharex="row", sharey=True).flat, pictures):
    axis.plot([0, 1], [0, 1], color="0.6", ls=":", lw=1.2)
    axis.plot(*blurs[name].T, color=GREY, lw=1.4)
    axis.plot(*filters[name], color=ORANGE, ls="--", lw=2)
    for seed in range(3):
        axis.plot(*paths[name, seed].T, color=BLUE, lw=1.6)
    axis.set(title=name, xlim=(0, 0.4 if name in pictures[:2] else 1), ylim=(0, 1))
    axis.spines[["top", "right"]].set_visible(False)

# %% tags=["folded"]
# Name axes and lines, and show the result
figure.supxlabel("share of the fine noise that is in, a")
figure.supylabel("share of the fine detail that is in, b")
words = {"network": (0.005, 0.72, BLUE), "best linear filter": (0.2, 0.77, ORANGE)}
words |= {"Gaussian blurs": (0.24, 0.43, "0.35"), "a = b": (0.28, 0.2, "0.5")}
for word, (a, b, colour) in words.items():
    figure.axes[0].text(a, b, word, color=colour, fontsize=11)
reveal(figure, prices.style.format("{:.1%}"), text="04 against")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# When half of the cup's detail is in, a blur has let in a quarter of the noise, and the network 2 %. But the best linear
# filter has let in 4 %: most of the network's lead over the blur can be had with wavelength and colour alone. *The
# stronger the rival, the more a win is worth.*
#
# On the cup and the photographer, the network is ahead even of the best filter. Their fine detail is long edges. An edge agrees
# with itself along its length, and noise agrees with nothing; a filter, which does the same everywhere, cannot follow an edge. On
# the wall the network is level with the filter, or behind: the seed decides. On grass it lets in two thirds more noise
# than the filter, hardly less than a blur. Grass is irregular grain, and to this network grain is noise.
#
# Tried beside the lesson: on the astronaut the two are level, on the cat's fur the filter is ahead. A filter that also tells directions apart stays
# behind on cup and photographer, and is far ahead on the wall, whose joints have two.
#
# </details>

# %%
scrub(runs["coffee", 0], frames=20)

# %% tags=["folded"]
# What the text claims, asserted
net, best, blur = (prices[k] for k in ("network", "best linear filter", "Gaussian blur"))
assert net["coffee"] < 0.8 * best["coffee"] < 0.3 * blur["coffee"]
assert net["camera"] < best["camera"] - 0.015
assert best["brick"] - 0.04 < net["brick"] < blur["brick"]
assert net["grass"] > best["grass"] + 0.05
assert come_in(film[100], cat)[1] < 0.5  # section 1: more than half of the detail is left out

# %% [markdown]
# ## 3 · Single iterate, moving average, many runs
#
# For denoising the paper reports three means over nine colour photographs, σ = 25: 29.22 dB for a single iterate after 1,800
# iterations, 30.43 dB for a moving average of the iterates, and 31.00 dB for the mean of two runs' averages. Why should
# averaging *restored* images help, when all of them have seen the same noise?
#
# Let several runs differ in nothing but their seed: in the first weights, in $z$, and in the noise on $z$. Split the
# error into a part $s$ that all runs share, and a part $o_i$ that run $i$ has alone:
#
# $$\hat x_i - x = s + o_i, \qquad S = \tfrac1N \lVert s \rVert^2, \qquad O = \tfrac1N \lVert o_i \rVert^2 .$$
#
# The own parts are independent, and 0 on average over the seeds. So the mean of $M$ runs has the mean squared error
#
# $$S + \frac{O}{M}. \tag{3}$$
#
# That is a gain of $10 \log_{10} \frac{M}{1 + (M - 1)\,\rho}$ decibels over a single run, where $\rho = \frac{S}{S + O}$ is the correlation of the errors of two
# runs. And in the *difference* of two runs the shared part cancels:
#
# $$\tfrac1N \lVert \hat x_1 - \hat x_2 \rVert^2 \approx 2\,O . \tag{4}$$
#
# The truth does not occur in (4). **What averaging can remove is known without the truth.** What will
# remain, $S$, is not.
#
# > **Predict.** A moving average over the iterations of *one* run also removes a part of the error: of $S$, of $O$, or of both? Which of
# > the two is larger, before and after? (The paper's numbers and (3) help.)

# %%
coffee, alone = noisy["coffee"], dip.lab(members=1, iterations=150, stop="count")
sextet = dip.fits({s: {"problem": coffee, "recipe": alone, "seed": s} for s in range(6)})
results = {
    "single iterate": [run.last for run in sextet.values()],
    "moving average": [run.average for run in sextet.values()],
}


def mse(image, other):
    """Mean squared difference."""
    return float((image - other).square().mean())


# %%
parts = {}
for kind, (one, two, *_) in results.items():
    own = mse(one, two) / 2  # (4)
    shared = (mse(one, coffee.truth) + mse(two, coffee.truth)) / 2 - own
    parts[kind] = {"shared, S": shared, "own, O": own}

# %% tags=["folded"]
# Draw the two parts as stacked bars
figure = Figure(figsize=(8, 2.2))
axis = figure.subplots()
for place, (shared, own) in enumerate(part.values() for part in parts.values()):
    axis.barh(place, shared * 1e4, color=BLUE)
    axis.barh(place, own * 1e4, left=shared * 1e4, color=ORANGE)
axis.set_yticks(range(2), list(parts))
axis.set(xlabel="mean squared error, times 10⁻⁴", ylim=(1.6, -0.6))
axis.spines[["top", "right"]].set_visible(False)
first = parts["single iterate"]["shared, S"] * 1e4
axis.text(first / 2, 0, "shared by the runs, S", color="white", ha="center", va="center")
axis.text(first * 1.04, 0, "own, O", color="white", va="center")
reveal(figure, text="04 parts")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The moving average leaves $S$ as it is, and cuts $O$ to about a quarter. A single iterate flickers: fresh noise is added to $z$ in each iteration, and each step of the
# optimiser overshoots a little. The flicker of one run has nothing to do with that of another, so it belongs to $O$; a mean over
# iterations removes it just as a mean over runs would, and costs no second fit.
#
# $S$ is the larger part, and no mean over runs touches it. (The moving average lags behind its fit, so it has less noise and less
# detail; on the cup the two balance. On another image, tried beside the lesson, $S$ grew by a tenth.)
#
# </details>
#
# Runs 1 and 2 have given $S$ and $O$. The other four have not been looked at.
#
# > **Predict.** With the numbers below and (3): which PSNR has the mean of the *four other* moving averages? Which would the mean of infinitely
# > many have? How many single iterates match one moving average?

# %%
for kind, part in parts.items():
    print(f"{kind}: S = {part['shared, S'] * 1e4:.1f}e-4, O = {part['own, O'] * 1e4:.1f}e-4")

# %%
rows = {}
for kind, (_, _, *others) in results.items():
    for count in (1, 2, 4):
        groups = [others[i : i + count] for i in range(0, 4, count)]
        errors = [mse(sum(group) / count, coffee.truth) for group in groups]
        expected = parts[kind]["shared, S"] + parts[kind]["own, O"] / count  # (3)
        rows[kind, count] = [-10 * np.log10(error) for error in (expected, np.mean(errors))]
table = pd.DataFrame(rows, index=["predicted from runs 1 and 2", "measured with runs 3 to 6"]).T

# %% tags=["folded"]
# Which part of S is noise? Two more runs, fitted to another noise on the same cup, do not share it
anew = dip.denoising(coffee.truth, sigma=25 / 255, seed=1)
duo = dip.fits({s: {"problem": anew, "recipe": alone, "seed": s} for s in (6, 7)})
errors = [
    [image - coffee.truth for image in images]
    for images in (results["moving average"][:2], [run.average for run in duo.values()])
]
not_noise = np.mean([float((first * second).mean()) for first in errors[0] for second in errors[1]])
within = np.mean([float((first * second).mean()) for first, second in errors])
let_in = 1 - not_noise / within

# %% tags=["folded"]
# The numbers of the caption
table.index.names = ["", "runs"]
missed = (table.iloc[:, 0] - table.iloc[:, 1]).abs().max()
falls = {}
for kind, (_, _, *others) in results.items():
    one = np.mean([mse(image, coffee.truth) for image in others])
    falls[kind] = 0.75 * parts[kind]["own, O"], one - mse(sum(others) / 4, coffee.truth)

# %% tags=["folded"]
# Show the table
numbers = {"limit": -10 * np.log10(parts["moving average"]["shared, S"]), "let_in": let_in}
numbers |= dict(zip(("said", "fell"), 1e4 * np.array(falls["moving average"])))
reveal(table.style.format("{:.2f} dB"), text="04 four", missed=missed, **numbers)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Two runs predict the other four to about 0.1 dB. One moving average is as good as the mean of four single iterates. The mean of four
# moving averages gains four tenths of a decibel more, and that of infinitely many six tenths. The mean of two already has half of this: that is why the
# `lab` recipe fits two networks.
#
# What is in $S$? Two runs on *another* noise share with the first runs only what is not noise: two thirds of $S$. That is detail which no run has or all have made up
# alike, and black that clipped noise brightens (a sixth of $S$, measured beside the lesson). The other third is noise that all runs let in. More runs mend
# none of this. A *different* method can, where it is wrong in other places ([04b](04b_other_noise.ipynb)).
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
single, averaged = parts["single iterate"], parts["moving average"]
assert averaged["own, O"] < 0.4 * single["own, O"]
assert 0.8 < averaged["shared, S"] / single["shared, S"] < 1.2
assert all(part["shared, S"] > part["own, O"] for part in parts.values())
assert missed < 0.25 and 0.15 < let_in < 0.5
assert all(abs(said / fell - 1) < 0.3 for said, fell in falls.values())
measured = table.iloc[:, 1]
assert abs(measured["moving average", 1] - measured["single iterate", 4]) < 0.3
assert measured["moving average", 4] > measured["moving average", 1] + 0.2

# %% [markdown]
# ## 4 · Beside the classics
#
# Three images, three seeds; every method is told σ. Besides the
# classics there is `guided`, lesson 01's mixture of the deep prior with NL-Ridge. One fit of two networks serves for both: SURE, the
# `lab` recipe's stopping rule (lesson 08), chooses the deep prior's own image, and `guided` chooses a mixture. Clipped noise
# brightens black; `noise.unclip` corrects that for all methods alike ([04b](04b_other_noise.ipynb)).
#
# > **Predict.** Will one method win on all three images? On which one is BM3D, which looks for *patches that repeat*,
# > furthest ahead of the deep prior? Can a mixture be better than both of its halves?

# %%
sigma, recipe = 25 / 255, dip.guided(iterations=160)
trials = {
    (name, seed): dip.denoising(dip.images.load(name, size=128), sigma, seed=seed)
    for name in ("coffee", "brick", "grass")
    for seed in range(3)
}

# %%
rules = {key: dip.stopping.Sure() for key in trials}
for key, problem in trials.items():
    rules[key].prepare(problem, recipe)


def both(key):
    """A fit by `guided`, which shows each of its steps to SURE as well."""
    arguments = {"problem": trials[key], "recipe": recipe, "seed": key[1]}
    return arguments | {"callback": lambda run, step: rules[key](step)}


mixed = dip.fits({key: both(key) for key in trials})


# %%
def corrected(image, problem):
    """Undo what clipping did to the mean of the noise, where it was clipped."""
    ends = dip.noise.clipped_ends(problem.observation, image, sigma)
    return dip.noise.unclip(image, sigma, *ends) if any(ends) else image


restored, scores = {}, {}
for key, problem in trials.items():
    restored[key], _ = dip.baselines.compare(problem)
    restored[key]["deep image prior"] = rules[key].chosen.clamp(0, 1)
    for method, image in restored[key].items():
        restored[key][method] = corrected(image, problem)
    restored[key]["guided"] = mixed[key].output  # corrects itself
    scores[key] = {k: dip.psnr(image, problem.truth) for k, image in restored[key].items()}

# %% tags=["folded"]
# Means and spread; and a blur whose width the truth has chosen, as nobody could
scores = pd.DataFrame(scores).T
for key, problem in trials.items():
    views = [dip.Blur(width)(problem.observation) for width in np.geomspace(0.3, 2, 20)]
    scores.loc[key, "best blur"] = max(dip.psnr(view, problem.truth) for view in views)
mean, spread = scores.groupby(level=0, sort=False).mean(), scores.groupby(level=0, sort=False).std()
looks = {"total variation": "s", "wavelets": "^", "non-local means": "v", "best blur": "|"}
looks |= {"NL-Ridge": "P", "BM3D": "D", "deep image prior": "o", "guided": "*"}
colours = dict(zip(looks, (*COLOURS[3:6], "0.3", GREEN, ORANGE, BLUE, "black")))

# %% tags=["folded", "figure:04_classics"]
# Draw the scores
figure = Figure(figsize=(9, 5))
axis = figure.subplots()
for place, method in enumerate(looks):
    rows, colour = np.arange(3) + 0.1 * (place - 3.5), colours[method]
    middle, half = mean[method], spread[method]
    axis.hlines(rows, middle - half, middle + half, color=colour)
    axis.plot(middle, rows, looks[method], color=colour, ms=9, label=method, ls="")
axis.hlines([0.5, 1.5], *axis.get_xlim(), color="0.85", lw=0.8)
axis.set_yticks(range(3), mean.index)
axis.set(xlabel="PSNR in dB, mean of three seeds", ylim=(2.5, -0.5))
axis.spines[["top", "right"]].set_visible(False)
figure.legend(frameon=False, loc="outside lower center", ncols=4)
reveal(figure, mean[list(looks)].style.format("{:.1f}"), text="04 classics")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# BM3D and NL-Ridge are ahead of the deep prior alone: by 0.5 to 1 dB on the cup, by two on the wall, one brick many times over, and by 0.1 to 0.3 on grass. Total variation, wavelets and
# non-local means are behind it on all three images. On grass *no method reaches the plain blur*, whose width the truth has chosen.
#
# The mixture is better than both of its halves on all three images, by 0.1 to 0.3 dB; on the wall BM3D is as good. A weaker method can help a better one, if it is wrong in other
# places.
#
# On the paper's nine photographs, shrunk to 256x256 pixels, we measured 31.66 dB for `guided`, 31.43 for BM3D and 31.41 for NL-Ridge, all corrected
# (three seeds, spread 0.01; `benchmarks/RESULTS.md`). At full size, the images that the paper's authors published score 31.29 dB
# (the text says 31.00), and those of CBM3D, BM3D for colour, 31.42 dB.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
classics = mean[["BM3D", "NL-Ridge"]]
lead = classics.sub(mean["deep image prior"], axis=0)
assert lead.loc["coffee"].between(0.1, 1.6).all() and (lead.loc["brick"] > 1.1).all()
assert lead.loc["grass"].max() < 0.8 and (lead.loc["grass"] > -0.2).all()
for behind in ("total variation", "wavelets", "non-local means"):
    assert (mean[behind] < mean["deep image prior"] - 0.1).all()
gain = mean["guided"] - mean[["deep image prior", "NL-Ridge"]].max(axis=1)
assert (gain > 0.02).all() and gain.max() < 0.7
assert abs(mean.loc["brick", "guided"] - mean.loc["brick", "BM3D"]) < 0.4
assert mean.loc["grass"].drop("best blur").max() < mean.loc["grass", "best blur"] + 0.02

# %% [markdown]
# ## 5 · What is left out
#
# Back to the residual, and to a cat of 451x300 pixels. `benchmarks/full_size.py` made these images, with three
# seeds of each fit.

# %%
large, scored = data.full_size("denoising")

# %% tags=["folded"]
# Show two details of each image
names = {"BM3D": "BM3D", "lab": "deep image prior", "guided": "guided", "truth": "truth"}
places, side, sheet, captions = {"whiskers": (212, 40), "fur": (40, 120)}, 84, {}, {}
for where, (top, left) in places.items():
    for method, name in names.items():
        title = f"{name}, {where}"
        sheet[title] = large[method][:, top : top + side, left : left + side]
        if method in scored.index and where == "whiskers":
            captions[title] = f"whole image: {scored.psnr[method]:.1f} dB"
show(contact_sheet(sheet, 4, captions, width=11), text="04 full")

# %% tags=["folded"]
# Show the lower left of two residuals
problem = dip.Problem(large["noisy"], truth=large["truth"], sigma=sigma)
rest = {names[k]: left_out(large[k], problem, 2.5)[:, 120:, :240] for k in ("lab", "BM3D")}
kept = {method: come_in(large[method], problem)[1] for method in ("lab", "BM3D", "NL-Ridge")}
sheet = contact_sheet({f"residual of {k}, ×2.5": image for k, image in rest.items()}, width=11)
show(sheet, text="04 residuals", lab=kept["lab"], bm3d=kept["BM3D"], ridge=kept["NL-Ridge"])

# %%
compare(large["BM3D"], large["lab"], names=("BM3D", "deep image prior"))

# %% tags=["folded"]
# What the text claims, asserted
assert kept["lab"] < min(kept["BM3D"], kept["NL-Ridge"]) - 0.1
assert scored.psnr["BM3D"] > scored.psnr["lab"] + 0.7
assert scored.psnr["guided"] > scored.psnr["BM3D"]

# %% [markdown]
# In the deep prior's residual lie the whiskers and the fur that its image lacks. **Structure in the residual is image that was thrown away.** A residual is
# a witness that needs no truth.
#
# > **Predict.** In the deep prior's residual of *grass* nothing can be recognised. Is less fine detail lost than on the wall, or more?

# %%
chosen = ("BM3D", "NL-Ridge", "deep image prior", "guided")
taken = {
    (name, method, seed): come_in(images[method], trials[name, seed])
    for (name, seed), images in restored.items()
    for method in chosen
}
taken = pd.DataFrame(taken, index=["fine noise in, a", "fine detail in, b"]).T
average = taken.groupby(level=[0, 1], sort=False).mean()

# %% tags=["folded"]
# Show grass, its residual, and the table
problem, images = trials["grass", 0], restored["grass", 0]
row = {"truth": problem.truth, "noisy": problem.observation}
row |= {name: images[name] for name in ("BM3D", "deep image prior")}
row["residual of the deep prior, ×2"] = left_out(images["deep image prior"], problem, 2)
reveal(contact_sheet(row, width=12), average.style.format("{:.0%}"), text="04 grass")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# More: six tenths against three. A fifth of the fine noise is in. The residual shows nothing but grain, because *grass is grain*.
# Structure in a residual proves a loss; its absence proves nothing. On the wall BM3D and NL-Ridge keep more detail than the deep prior, with no more noise: they look for what
# repeats. On grass BM3D keeps even less than the deep prior, and NL-Ridge pays for more with almost twice the noise. A prior says what images are made of: long
# edges, repeated patches. Where an image is made of something else, no optimiser helps.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
kept, noise_let_in = (average[column].unstack() for column in average.columns[::-1])
assert kept.loc["grass", "deep image prior"] < kept.loc["brick", "deep image prior"] - 0.15
assert kept.loc["grass", "BM3D"] < kept.loc["grass", "deep image prior"]
assert noise_let_in.loc["grass", "NL-Ridge"] > 1.3 * noise_let_in.loc["grass", "deep image prior"]
for classic in ("BM3D", "NL-Ridge"):
    assert kept.loc["brick", classic] > kept.loc["brick", "deep image prior"] + 0.03
    assert noise_let_in.loc["brick", classic] < noise_let_in.loc["brick", "deep image prior"] + 0.02

# %% [markdown]
# ## What to take away
#
# 1. What counts is not the iteration but **what has come in**: of the detail, and of the noise.
# 2. A prior is worth what it adds to a **strong rival**. The network beat even the best linear filter on two images with long edges, and not on bricks and grass.
# 3. The error of a run has a **shared** part, which no mean over runs touches, and an **own** part, which $M$ runs divide by $M$. The difference of
#    two runs shows the own part without the truth.
# 4. NL-Ridge and BM3D were ahead of the deep prior alone, most on the bricks. A **mixture** was better than both of its halves.
# 5. Structure in the **residual** is image thrown away. Its absence proves nothing.
#
# Next: [04b](04b_other_noise.ipynb), other noise and other data terms.
#
# ## Exercises
#
# Worked answers: [solutions/04_denoising.ipynb](solutions/04_denoising.ipynb).
#
# **1. What averaging can remove.** Write `my_own(images)`: from a list of results, however many, and without the truth, estimate the mean square
# $O$ of the error that each has alone. For `results["moving average"]`: by how much does
# the mean squared error fall from one run to the mean of all six?
#
# <details><summary>A first hint</summary>
#
# Write (4) for every pair of results. Or think of one pixel: how do its six values vary around their mean?
#
# </details>

# %%
my_own = None

check.own_error(my_own)

# %% [markdown]
# **2. A residual's colour.** Write `my_neighbours(residual)`: the correlation of
# a pixel with the one to its right. It is 0 for white noise. Measure it for residuals of section 3. Its sign may surprise you: which part of the noise has the fit
# *not* left out?
#
# <details><summary>A first hint</summary>
#
# Shift the residual by one pixel against itself; `torch.corrcoef` takes two rows of numbers. What does white noise become when its slow waves are taken away?
#
# </details>
#
# *Your answer:*

# %%
my_neighbours = None

check.neighbours(my_neighbours)

# %% [markdown]
# **3. The perfect residual.** A colleague shows you a method whose residual is white, has the standard deviation σ, and shows no trace of the image, whatever the image is. Yet
# its results are worthless. What might it do? Which measure of this lesson gives it away? How could you find out without the truth?
#
# <details><summary>A first hint</summary>
#
# Nothing says that what is subtracted must be the noise in the image.
#
# </details>
#
# *Your answer:*
#
# **4. Two photographs.** You have two photographs of one scene, with independent noise. Method A averages the photographs and fits once. Method B fits each
# photograph and averages the results. Which is better, and why? Argue with $S$ and $O$, then try it.
#
# <details><summary>A first hint</summary>
#
# What do the two results of B share? The mean of two photographs has noise of σ/√2. From one photograph's `problem`, `problem.varied(observation=..., sigma=...)` makes that of the mean.
#
# </details>
#
# *Your answer:*
#
# **5. Neither noise nor detail.** An image has $a = 0$ and $b = 1$ in equation (2). Must its fine detail be right? If not, what do $a$ and $b$ not see, and how
# much of it is in the results of section 3?
#
# <details><summary>A first hint</summary>
#
# Split the error $H(\hat x - x)$ into a multiple of $Hn$, a multiple of $Hx$, and a rest.
#
# </details>
#
# *Your answer:*
#
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision 128
#   (2020). [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, *Image denoising by sparse 3-D transform-domain
#   collaborative filtering*, IEEE Transactions on Image Processing 16 (2007).
#   [doi:10.1109/TIP.2007.901238](https://doi.org/10.1109/TIP.2007.901238).
# - A. Buades, B. Coll, J.-M. Morel, *A non-local algorithm for image denoising*, CVPR 2005, on residuals as "method noise".
#   [doi:10.1109/CVPR.2005.38](https://doi.org/10.1109/CVPR.2005.38).
# - S. Herbreteau, C. Kervrann, *A unified framework of nonlocal parametric methods for image denoising*,
#   SIAM Journal on Imaging Sciences (2025).
#   [doi:10.48550/arXiv.2402.13816](https://doi.org/10.48550/arXiv.2402.13816).
# - A. Krogh, J. Vedelsby, *Neural network ensembles, cross validation, and active learning*, NIPS 7 (1994), on equation (4).
#   [papers.neurips.cc](https://papers.neurips.cc/paper_files/paper/1994/hash/b8c37e33defde51cf91e1e03e51657da-Abstract.html).
