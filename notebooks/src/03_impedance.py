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
# # 03 · Impedance: what a network finds easy
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/03_impedance.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/03_impedance.ipynb)
#
# **When you are through, you will be able to**
#
# - do the experiment on which the method rests, and put a number on *impedance*;
# - find a confound in such an experiment, and remove it with one more fit;
# - say which parts of a network make impedance, by taking them away one by one;
# - say how far the frequencies of an image explain its impedance, and where that explanation ends.
#
# **Computing:** about two minutes on two cores. **Study:** about 70 minutes, exercises included.
#
# **Needs:** lesson 01; lesson 02 helps. No GPU, no download.
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
import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.patches import Rectangle
from scipy.fft import dctn, idctn
from torch import nn

import diplearn as dip
from diplearn.course import check
from diplearn.course.show import reveal, show
from diplearn.figures import BLUE, COLOURS, GREEN, GREY, ORANGE, Figure, contact_sheet
from diplearn.widgets import compare, impedance

# %% [markdown]
# ## 1 · Four targets
#
# The first target is a photograph; the second is that photograph plus noise.
# The third has the pixels of the first, in random order. The fourth is Gaussian noise
# with the photograph's mean colour and the covariance of its three channels: where red is high, green and blue
# mostly are, too.

# %%
clean = dip.images.load("astronaut", size=64)
targets = dip.problems.impedance(clean, sigma=25 / 255, seed=0)
targets["image + noise"] = dip.denoising(clean, sigma=25 / 255, seed=0)  # with its truth

# %% tags=["folded"]
# Show the four targets
matplotlib.rcParams["font.size"] = 12  # legible on a telephone, too
sheet = {name: target.observation for name, target in targets.items()}
show(contact_sheet(sheet, columns=2, width=7), text="03 targets")

# %% [markdown]
# To each target we fit a fresh network,
#
# $$\min_\theta E\big(f_\theta(z); x_0\big) = \min_\theta \tfrac1N \lVert f_\theta(z) - x_0\rVert^2,$$
#
# with the same architecture, $z$ and optimiser, and no noise added to $z$. Only the target $x_0$
# differs. The network is the **hourglass** of lesson 01: 3x3 convolutions, five levels that
# halve the image and enlarge it again (*upsampling*), and *skips*, thin connections from the way down to the way up.
#
# > **Predict.** Sketch the four energies over the iterations, on logarithmic axes. Which falls fastest?
# > Would all of them come near zero in the end? Where does "shuffled pixels" lie, and where "noise"?

# %%
# One network, nothing added to z. The optimiser is that of the recipe "lab": Muon, at a rate of 0.01.
plain = dip.lab(members=1, input_noise=0.0, iterations=160, stop="count")


def three_seeds(problems, recipe):
    """Fit each problem with three seeds: name -> list of runs."""
    wanted = {
        (name, seed): {"problem": problem, "recipe": recipe, "seed": seed}
        for name, problem in problems.items()
        for seed in range(3)
    }
    runs = dip.fits(wanted)
    return {name: [runs[name, seed] for seed in range(3)] for name in problems}


# %%
runs = three_seeds(targets, plain)

# %% tags=["folded", "figure:03_impedance"]
# Draw the four energies
figure = Figure(figsize=(7, 4.4))
axis = figure.subplots()
for colour, (name, three) in zip(COLOURS, runs.items()):
    losses = np.array([run.history.loss for run in three])
    along = np.arange(1, losses.shape[1] + 1)
    axis.fill_between(along, losses.min(0), losses.max(0), color=colour, alpha=0.25, lw=0)
    axis.loglog(along, losses.mean(0), "--" * ("sh" in name) or "-", color=colour, lw=2, label=name)
axis.axhline((25 / 255) ** 2, color="0.5", ls=":", label="σ²")
axis.set(xlabel="iteration", ylabel="energy E")
axis.legend(frameon=False, loc="lower left")
last = {name: np.mean([run.history.loss.iloc[-1] for run in three]) for name, three in runs.items()}
times = last["shuffled pixels"] / last["image"]
reveal(figure, text="03 energies", iterations=plain.iterations, times=times)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The energy of the *image* falls fastest: at the end it is several times lower than that of the same
# pixels in disorder. *Shuffled pixels* and *noise* fall together for most of the way. What they share is that
# neighbouring pixels have nothing to do with each other. All four curves still fall at the end:
# the network can come close to each target, but needs longer for some (after 1,200 iterations, to 1.4 % of the noise's variance).
#
# The *noisy image* first follows the clean one; its curve bends near σ², about the mean square of
# the noise (dotted). An output without any of the noise cannot get much below this line.
#
# </details>
#
# Move through the fits. At which iteration can you say what the first image is?

# %%
impedance({name: three[0] for name, three in runs.items()}, frames=20)

# %% tags=["folded"]
# What the text claims, asserted
assert 3 * last["image"] < last["shuffled pixels"] < 1.1 * last["noise"]
bend = runs["image + noise"][0].history.loss
assert bend.iloc[30:].max() < 2 * (25 / 255) ** 2 and bend.iloc[-1] > 2 * last["image"]

# %% [markdown]
# ## 2 · A number for it
#
# In an electric circuit, **impedance** is the voltage needed for each ampere that flows, and it depends on the frequency:
# a coil hardly hinders slow currents, and resists fast ones. The paper borrows the word: its network "offers high
# impedance to noise and low impedance to signal". What we spend here are iterations. How many does it take until
# a given share of the target's variance is explained? (80 % means $E = 0.2\,\operatorname{Var}(x_0)$.)


# %%
def iterations_to(run, share):
    """The first iteration at which that share of the target's variance is explained."""
    variance = float(run.problem.observation.var())
    there = run.history.index[run.history.loss <= (1 - share) * variance]
    return there.min() if len(there) else np.inf


shares_of_variance = (0.5, 0.8, 0.9, 0.95)
table = pd.DataFrame(
    {
        f"{share:.0%}": {n: np.median([iterations_to(r, share) for r in runs[n]]) for n in runs}
        for share in shares_of_variance
    }
)

# %% tags=["folded"]
# Show the table
to_80 = {name: [iterations_to(run, 0.8) for run in three] for name, three in runs.items()}
ratio = np.median(to_80["noise"]) / np.median(to_80["image"])
shown = table.style.format(lambda n: f"> {plain.iterations}" if n == np.inf else f"{n:.0f}")
show(shown, text="03 table", ratio=ratio)
assert ratio > 1.8 and np.median(to_80["shuffled pixels"]) > 1.8 * np.median(to_80["image"])

# %% [markdown]
# The three channels of our noise go together, as those of the photograph do. The paper's fourth target is
# "white noise", in public code uniform from 0 to 1, each channel by itself. Such noise differs from the
# photograph in *two* ways: its neighbours are independent, and so are its channels. Does the second matter?
#
# > **Predict.** Noise with one channel takes a certain number of iterations to 80 %. How many times as many does noise with
# > three independent channels take? And a photograph in colour, compared with the same photograph in grey?

# %%
draw = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
channels = {
    "photograph, grey": clean.mean(dim=0, keepdim=True),
    "noise, 1 channel": draw[:1],
    "noise, 2 independent channels": draw[[0, 1, 0]],  # its red and its blue are equal
    "noise, 3 independent channels": draw,
}
short = plain.replace(iterations=110)
of_channels = three_seeds({name: dip.Problem(x) for name, x in channels.items()}, short)


# %% tags=["folded"]
# Count the iterations to 80 % of all targets so far
to_80 |= {name: [iterations_to(r, 0.8) for r in three] for name, three in of_channels.items()}
middle = {name: np.median(values) for name, values in to_80.items()}
alone = middle["noise, 1 channel"] / middle["photograph, grey"]
both = middle["noise, 3 independent channels"] / middle["image"]
rows = {  # target -> label
    "photograph, grey": "photograph, grey",
    "image": "photograph, colour",
    "noise, 1 channel": "noise, 1 channel",
    "noise": "noise, photograph's colours",
    "noise, 2 independent channels": "noise, 2 independent channels",
    "noise, 3 independent channels": "noise, 3 independent channels",
}

# %% tags=["folded"]
# Draw the iterations
figure = Figure(figsize=(7, 3.8))
axis = figure.subplots()
for place, name in enumerate(rows):
    look = {"color": BLUE, "marker": "o"} if place < 2 else {"color": ORANGE, "marker": "s"}
    axis.scatter(to_80[name], [place] * 3, s=80, alpha=0.75, **look)
axis.set(xscale="log", xlim=(5, 130), ylim=(5.5, -0.5), xlabel="iterations to 80 %")
axis.set_yticks(range(6), list(rows.values()))
axis.set_xticks([5, 10, 20, 40, 80], ["5", "10", "20", "40", "80"])
axis.minorticks_off()
reveal(figure, text="03 channels", alone=alone, ratio=ratio, both=both)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Three independent channels take about two and a half times as many iterations as one. A photograph in colour takes hardly longer than in grey, for its channels
# go together: 89 % of the variance of its pixels lies along one direction of colour.
#
# A colour photograph against noise with independent channels gives a factor of five to six,
# and **about half of that factor is colour**. In grey, or with the colours of the photograph, the factor is about three; shuffling, which
# changes the arrangement alone, gives nearly as much (section 1). A second difference between two things that should differ in
# only one is called a **confound**. To find it, ask what else could have given the same output, and vary that alone.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert 1.4 < middle["noise, 2 independent channels"] / middle["noise, 1 channel"] < 2.4
assert middle["noise, 3 independent channels"] > 1.9 * middle["noise, 1 channel"]
assert both > 1.4 * ratio and both > 1.4 * alone > 1.4 * 1.7

# %% [markdown]
# ## 3 · Image and noise in one fit
#
# In denoising, image and noise are *in one target*, $x_0 = x + n$. Which of the
# two comes first? Since we make the noise, we know both. After each iteration we take the two numbers $a$ and $b$ for
# which $a\,x + b\,n$ comes nearest to the output $f = f_\theta(z)$,
#
# $$\min_{a,\,b}\; \lVert a\,x + b\,n - f \rVert^2 \qquad\text{(each image less its mean).}$$
#
# The clean image has a **share of the image** $a = 1$ and a **share of the noise** $b = 0$; the
# observation has $a = b = 1$. From here on we work in grey, so that colour explains nothing. Beside the hourglass we put **pixels**
# that are optimised directly, without a network: $f_\theta(z) = \theta$. Muon, the optimiser of `lab`, is made for filters, not for pixels; so both get
# Adam (lesson 02).
#
# > **Predict.** When $a$ reaches 90 %, how large is $b$: for the hourglass, and for the pixels?

# %%
grey = clean.mean(dim=0, keepdim=True)
noisy = dip.denoising(grey, sigma=25 / 255, seed=0)
adam = plain.replace(optimiser="adam", learning_rate=0.01, iterations=400)
pixels = adam.replace(network="pixels", options={})


def shares(output, problem):
    """The a and b with which a · image + b · noise comes nearest to the output."""
    two = torch.stack([problem.truth, problem.observation - problem.truth]).flatten(1)
    two = two - two.mean(dim=1, keepdim=True)
    return torch.linalg.solve(two @ two.T, two @ output.flatten())


# %% tags=["folded"]
# Note the shares, and for section 4 the bands, after each iteration of a fit
def watcher(problem, record):
    def note(run, step):
        bands = dip.metrics.band_correspondence(step.output, problem.observation)
        record.append([*shares(step.output, problem), *bands])

    return note


# %%
def follow(cases):
    """Fit (problem, recipe, network) with three seeds: name -> shares in every iteration."""
    wanted, records = {}, {}
    for name, (problem, recipe, network) in cases.items():
        for seed in range(3):
            torch.manual_seed(seed)
            each = {"problem": problem, "recipe": recipe, "seed": seed}
            each["network"] = network() if network else None  # None: the recipe's own
            records[name, seed] = []
            wanted[name, seed] = each | {"callback": watcher(problem, records[name, seed])}
    dip.fits(wanted)
    return {name: np.array([records[name, seed] for seed in range(3)]) for name in cases}


# %%
followed = follow({"hourglass": (noisy, adam, None), "pixels": (noisy, pixels, None)})

# %% tags=["folded"]
# Draw the shares of image and noise
figure = Figure(figsize=(7, 5.6))
for axis, (kind, three) in zip(figure.subplots(2, 1, sharex=True, sharey=True), followed.items()):
    along = np.arange(1, three.shape[1] + 1)
    for column, name in enumerate(("share of the image, a", "share of the noise, b")):
        values, colour = three[:, :, column], COLOURS[column]
        axis.fill_between(along, values.min(0), values.max(0), color=colour, alpha=0.25, lw=0)
        axis.semilogx(along, values.mean(0), color=colour, lw=2.4, label=name)
    inside = (three[:, :, 0].mean(0) > 0.9) & (three[:, :, 1].mean(0) < 0.3)
    if inside.any():
        axis.axvspan(
            *along[inside][[0, -1]], color=GREEN, alpha=0.25, lw=0, label="a > 0.9, b < 0.3"
        )
    axis.set_title(kind, loc="left")
    axis.set(ylim=(-0.05, 1.05), ylabel="share")


# %% tags=["folded", "figure:03_window"]
# Show the window
def noise_when(record, there):
    """The share of the noise when that share of the image is there; NaN if it never is."""
    reached = record[:, 0] > there
    return float(record[reached.argmax(), 1]) if reached.any() else np.nan


figure.axes[0].legend(frameon=False, loc="upper left")
axis.set_xlabel("iteration")
when = {kind: [noise_when(one, 0.9) for one in three] for kind, three in followed.items()}
percent = {kind: 100 * np.median(values) for kind, values in when.items()}
reveal(figure, text="03 window", network=percent["hourglass"], pixels=percent["pixels"])

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The shaded iterations are the **window**: more than 90 % of the image is there, and less than 30 % of the noise. When
# the pixels are optimised directly there is no window: each step brings nearly as much of the one as of the other. *To
# denoise with a deep image prior is to stop inside the window.* Lesson 08 asks how to find it without knowing $x$ and $n$.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert max(when["hourglass"]) < 0.3 and min(when["pixels"]) > 0.6

# %% [markdown]
# ## 4 · Band by band
#
# The Fourier transform writes an image as a sum of waves. Sort them by length into five **bands**: band 1 has the longest waves, band
# 5 the shortest, the finest detail. **Frequency-band correspondence** (Shi et al.) divides the strength of
# every wave in the output by its strength in the target, here the noisy image, and averages over a band: 0 means that the band is empty,
# 1 that its waves are as strong as in the target, wherever their crests lie.
#
# > **Predict.** In which order do the five bands arrive in the hourglass? And when the pixels are optimised
# > directly?

# %% tags=["folded"]
# Draw the five bands
figure = Figure(figsize=(7, 6))
for axis, (kind, three) in zip(figure.subplots(2, 1, sharex=True, sharey=True), followed.items()):
    for band, name in enumerate(("1: longest waves", "2", "3", "4", "5: finest detail")):
        look = {"color": matplotlib.colormaps["viridis"](band / 4.5), "lw": 2.2, "label": name}
        axis.semilogx(np.arange(1, three.shape[1] + 1), three[0, :, 2 + band], **look)
    axis.set_title(kind, loc="left")
    axis.set(ylim=(0, 1.4), ylabel="correspondence")
    axis.axhline(1, color="0.6", ls=":")
axis.set_xlabel("iteration")
handles = axis.get_legend_handles_labels()
_ = figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False)


# %% tags=["folded"]
# Show the bands, and the iteration from which on each band stays above 0.85
def back(bands):
    return [int(np.flatnonzero(below)[-1]) + 2 for below in (bands < 0.85).T]


came = {k: np.median([back(one[:, 2:]) for one in three], axis=0) for k, three in followed.items()}
words = "Iterations from which on bands 1 to 5 stay above 0.85 (medians of three seeds)"
words += "".join(f"\n{k}: {c.astype(int).tolist()}" for k, c in came.items())
reveal(figure, words, text="03 bands")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# In the hourglass the bands arrive one after the other, the longest waves first; when the pixels are optimised, all arrive
# at nearly the same time. (Look at when a band *stays* near 1: at the start the fine bands are not empty, since
# the first outputs are rough. Waves that are weak in the target can lift a mean above 1.)
#
# The order matters because image and noise fill the bands differently. A photograph has most of its power
# in the long waves. White noise has the same power in every wave, and most waves are short. So who brings the long waves first raises $a$ before $b$.
#
# </details>


# %% tags=["folded"]
# Show the power in the bands; and assert what the text claims
def in_bands(power):
    along = np.fft.fftfreq(64)
    ring = np.minimum((np.hypot(along[:, None], along) * 10).astype(int), 4)
    power[0, 0] = 0  # the mean is no wave
    return 100 * np.bincount(ring.ravel(), power.ravel()) / power.sum()


power = {"photograph": grey, "noise": noisy.observation - grey}
power = {name: np.abs(np.fft.fft2(x[0].numpy())) ** 2 for name, x in power.items()}
power = {name: in_bands(each) for name, each in (power | {"all waves": np.ones((64, 64))}).items()}
table = pd.DataFrame(power, [f"band {band}" for band in range(1, 6)]).T
assert table["band 1"]["photograph"] > 60 and came["hourglass"][4] > 3 * came["hourglass"][0]
assert came["pixels"].max() < 2 * came["pixels"].min()
show(table.style.format("{:.0f} %"), text="03 power")

# %% [markdown]
# ## 5 · What makes impedance? Take the parts away
#
# Six ways to make the same 64x64 pixels:

# %% tags=["folded"]
# The six networks: the side of the image at each layer, and a colour for the size of the filters
sides = {
    "hourglass: 3x3 filters, coarse grids, upsampling, skips":
        ([64, 32, 16, 8, 4, 2, 4, 8, 16, 32, 64], BLUE),
    "plain 3x3: 3x3 filters at full size, four layers": ([64] * 5, BLUE),
    "deep plain 3x3: the same, eight layers": ([64] * 9, BLUE),
    "deep decoder: 1x1 filters, upsampling": ([2, 4, 8, 16, 32, 64], ORANGE),
    "plain 1x1: 1x1 filters at full size, four layers": ([64] * 5, ORANGE),
    "pixels: no network, θ is the image": ([64], GREY),
}  # fmt: skip
arrow = {"arrowstyle": "->"}

# %% tags=["folded"]
# Draw the six networks
figure = Figure(figsize=(7, 7.6))
for axis, (name, (heights, colour)) in zip(figure.subplots(6, 1), sides.items()):
    for place, side in enumerate(heights):
        high = 0.25 + 0.75 * side / 64
        axis.add_patch(Rectangle((place, -high / 2), 0.5, high, color=colour, alpha=0.8, lw=0))
        axis.text(place + 0.25, -0.6, str(side), ha="center", va="top", fontsize=11)
        axis.annotate("", (place, 0), (place - 0.5, 0), arrowprops=arrow if place else None)
    for level, side in enumerate(heights[:5] if len(heights) == 11 else ()):  # the skips
        axis.plot((level + 0.5, 10 - level), [0.1 + 0.3 * side / 64] * 2, "--", color="0.4")
    axis.set_title(name, fontsize=12, loc="left")
    axis.set(xlim=(-0.2, 10.7), ylim=(-1, 0.6))
    axis.axis("off")
show(figure, text="03 networks")

# %% [markdown]
# The **deep decoder** (Heckel & Hand) has only 1x1 filters: no filter sees a neighbour. The *plain* networks
# stay at full size. To each we give two targets: the noisy photograph, and the *shuffled* photograph with the same noise
# added. A network that knows nothing of arrangement treats both alike. We note $b$ when
# $a$, the share of the image or of the shuffled image, reaches 80 %.
#
# > **Predict.** For which of the six do the two targets differ, and by how much? What do you
# > expect of plain 3x3, whose filters see neighbours, and of the deep decoder, whose filters do not?


# %%
def stack(size, width, depth=4):
    """Layers of filters at full size: no coarse grid, no upsampling."""
    layers = []
    for inputs in (32, *[width] * (depth - 1)):
        layers += [nn.Conv2d(inputs, width, size, padding=size // 2)]
        layers += [nn.BatchNorm2d(width, track_running_stats=False), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1), nn.Sigmoid())


# %%
brief = adam.replace(iterations=150)
decoder = adam.replace(network="decoder", z_channels=64, options={}, iterations=320)
kinds = {
    "hourglass": (brief, None),
    "deep decoder": (decoder, None),
    "plain 3x3": (brief.replace(iterations=60), lambda: stack(3, width=32)),
    "deep plain 3x3": (brief.replace(iterations=60), lambda: stack(3, width=32, depth=8)),
    "plain 1x1": (brief, lambda: stack(1, width=64)),
    "pixels": (pixels, None),
}

# %%
order = torch.randperm(64 * 64, generator=torch.Generator().manual_seed(0))
shuffled = dip.denoising(grey.flatten()[order].view_as(grey), sigma=25 / 255, seed=0)
cases = {(kind, "shuffled"): (shuffled, *kinds[kind]) for kind in kinds}
cases |= {(kind, "image"): (noisy, *kinds[kind]) for kind in kinds if kind not in followed}
parts = follow(cases) | {(kind, "image"): followed[kind] for kind in followed}


# %% tags=["folded"]
# Count weights, iterations, and the noise that is in when 80 % of the image is
def there(record):
    return (record[:, 0] > 0.8).argmax() + 1.0 if record[:, 0].max() > 0.8 else np.inf


rows, found = {}, {}
for kind, (recipe, network) in kinds.items():
    names = recipe.network, recipe.z_channels, (1, 64, 64)
    made = network() if network else dip.networks.build(*names, **recipe.options)
    found[kind] = {"weights": f"{dip.networks.parameter_count(made):,}"}
    for name in ("image", "shuffled"):
        rows[kind, name] = [noise_when(one, 0.8) for one in parts[kind, name]]
        steps = np.median([there(one) for one in parts[kind, name]])
        told = "not reached" if steps == np.inf else f"{steps:.0f}"
        found[kind][f"iterations, {name}"] = told

# %% tags=["folded"]
# Draw the noise
figure = Figure(figsize=(7, 4.3))
axis = figure.subplots()
for (kind, name), values in rows.items():
    look = {"color": BLUE, "marker": "o"} if name == "image" else {"color": ORANGE, "marker": "s"}
    label = f"{name} + noise" if kind == "hourglass" else None
    axis.scatter(values, [list(kinds).index(kind)] * 3, s=80, alpha=0.75, label=label, **look)
axis.set(xlim=(0, 1), ylim=(5.5, -0.5), xlabel="share of the noise, b, when a is 80 %")
axis.set_yticks(range(6), list(kinds))
figure.legend(loc="outside upper center", ncols=2, frameon=False)
median = {place: 100 * np.median(values) for place, values in rows.items()}
said = {"ordered": median["plain 3x3", "image"], "shuffled": median["plain 3x3", "shuffled"]}
said["deep"] = median["deep plain 3x3", "image"]
table = pd.DataFrame(found).T.style
reveal(figure, table, text="03 parts", hourglass=median["hourglass", "image"], **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# With the shuffled image, every network that comes to 80 % has let in about 70 to 85 % of the noise. **Pixels** and **plain 1x1** do the same
# with the image in order: they know nothing of arrangement. The energy is a sum over pixels, and does not
# care where each of them lies. Plain 1x1 turns the 32 random numbers that $z$ has at a place into a grey value, and
# cannot know which places are neighbours.
#
# **Plain 3x3** knows something: the image brings only about a fifth of the noise.
# Neighbouring outputs are made by the same filters from overlapping patches of $z$, 9 pixels wide. With **eight layers** the patches are 17
# pixels wide, and the image brings about 7 %. The **hourglass** and the
# **deep decoder** know as much, and yet no filter of the decoder sees a neighbour. What both have is **upsampling**:
# whatever is made on a coarse grid and enlarged is smooth. The hourglass also has skips, which let the rest pass later;
# the decoder has none, and does not come to 80 % of the shuffled image.
#
# So the prior is in whatever ties neighbouring pixels to each other: **coarse grids and upsampling**, or **many layers of shared
# filters**; a few layers do so weakly. The number of weights does not explain it (the table).
#
# A warning: counted in iterations, the plain 3x3 networks seem to know nothing. At this rate Adam needs about ten
# steps for *anything*, and so the optimiser sets their pace. At a tenth of the rate
# the iterations differ, and the shares of the noise stay ([claims](claims.md)).
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert all(abs(median[k, "image"] - median[k, "shuffled"]) < 12 for k in ("pixels", "plain 1x1"))
assert median["plain 3x3", "image"] + 25 < median["plain 3x3", "shuffled"]
assert max(median[k, "image"] for k in ("hourglass", "deep decoder", "deep plain 3x3")) < 15
assert median["hourglass", "shuffled"] > 2 * median["hourglass", "image"]
assert found["deep decoder"]["iterations, shuffled"] == "not reached"

# %% [markdown]
# ## 6 · Is it more than "long waves first"?
#
# The cheapest explanation of impedance is now: *the network fits long waves before short ones, and that is all*. Then only
# the strength of each wave would matter, and not where its crests lie. The **twin** of an image has waves of
# the same strength, with their crests at random places. We make twins of the photograph and of a drawing with
# long edges. A twin also has other grey values; a third pair, the
# shuffled drawing and its twin, shows what these do where there is no edge.


# %%
def twin(image, seed=0):
    """An image with the same mean and the same strength of every wave, whose crests have moved."""
    random = torch.randn(image.shape[1:], generator=torch.Generator().manual_seed(seed))
    turn = torch.fft.fft2(random)
    mean = image.mean(dim=(1, 2), keepdim=True)
    return mean + torch.fft.ifft2(torch.fft.fft2(image - mean) * turn / turn.abs()).real


# %% tags=["folded"]
# A drawing of three flat shapes
row, column = np.indices((64, 64)) / 64 + 1 / 128
shapes = {
    (0.95, 0.55, 0.4): (column - 0.35) ** 2 + (row - 0.4) ** 2 < 0.06,
    (0.1, 0.15, 0.4): (column > 0.5) & (column < 0.9) & (row > 0.2) & (row < 0.6),
    (0.25, 0.55, 0.35): (row < 0.9) & (row - 0.65 > 0.6 * abs(column - 0.5)),
}
drawing = torch.full((3, 64, 64), 0.85)
for colour, inside in shapes.items():
    drawing[:, torch.tensor(inside)] = torch.tensor(colour)[:, None]

# %% tags=["folded"]
# Show the three pairs, with a third of their contrast: so no value leaves [0, 1]
lines = drawing.mean(dim=0, keepdim=True)
pairs = {"photograph": grey, "drawing": lines}
pairs["shuffled drawing"] = lines.flatten()[order].view_as(lines)
pairs |= {f"twin of the {name}": twin(image) for name, image in pairs.items()}
pairs = {name: image.mean() + (image - image.mean()) / 3 for name, image in pairs.items()}
assert all(0 <= image.min() and image.max() <= 1 for image in pairs.values())
show(contact_sheet(pairs, columns=3, width=7), text="03 pairs")

# %% [markdown]
# > **Predict.** Does an image take fewer iterations than its twin: to a coarse likeness (50 % of the variance),
# > and to a fine one (95 %)? For which pair will the difference be largest?

# %%
fine = plain.replace(iterations=90)
of_pairs = three_seeds({name: dip.Problem(x) for name, x in pairs.items()}, fine)

# %% tags=["folded"]
# Show the iterations of the pairs
levels = {
    f"{share:.0%}": {n: [iterations_to(run, share) for run in of_pairs[n]] for n in pairs}
    for share in shares_of_variance
}
told = lambda n: "> 90" if n == np.inf else f"{n:.0f}"  # noqa: E731
span = lambda ns: f"{told(np.median(ns))} ({told(min(ns))} to {told(max(ns))})"  # noqa: E731
medians = pd.DataFrame(levels).map(lambda ns: min(np.median(ns), 90))
longer = {n: medians.loc[f"twin of the {n}"] / medians.loc[n] for n in list(pairs)[:3]}
ends = {name.split()[0]: each["95%"] for name, each in longer.items()}
order_of = [name for n in longer for name in (n, f"twin of the {n}")]
reveal(pd.DataFrame(levels).loc[order_of].map(span).style, text="03 twins", **ends)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# To 50 %, an image and its twin take equally long: so far the strength of the waves is explanation
# enough. Later it is not. From 90 % on, the ranges no longer overlap: the twin of the photograph takes about a fifth longer than the photograph, and to 95 %
# the twin of the drawing nearly twice as long as the drawing. The shuffled drawing and its twin differ by a tenth, within the spread: other
# grey values alone do little. At an edge, waves of all lengths have their crests together, and the network brings
# such waves sooner than waves of equal strength whose crests are scattered.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert all(0.5 < each["50%"] < 1.7 for each in longer.values())
assert (
    ends["photograph"] > 1.02 and ends["drawing"] > 1.4 and ends["drawing"] > ends["shuffled"] + 0.3
)

# %% [markdown]
# ### Does it pay? Against the best linear filter
#
# A **radial linear filter** multiplies each wave by a number that depends on its length only; a Gaussian blur is one. Such a filter treats
# an image and its twin alike. So let the fit compete, in colour again, with the best of these filters: for each length of wave, for
# luminance and for colour, the *truth* chooses the factor with the least squared error. The truth also chooses the
# iteration of the fit. In practice neither can be done.


# %%
def best_linear(noisy, truth):
    """The best radial linear filter for luminance and colour, chosen with the truth."""
    waves, wanted = (dctn(x.numpy(), axes=(1, 2), norm="ortho") for x in (noisy, truth))
    ring = np.hypot(*np.indices(waves.shape[1:])).round().astype(int)  # one for each length

    def total(values):
        return np.bincount(ring.ravel(), values.sum(axis=0).ravel())[ring]

    grey = np.broadcast_to(waves.mean(0), waves.shape), np.broadcast_to(wanted.mean(0), waves.shape)
    result = 0
    for a, b in (grey, (waves - grey[0], wanted - grey[1])):  # luminance, colour
        result = result + total(a * b) / total(a * a) * a
    return torch.tensor(idctn(result, axes=(1, 2), norm="ortho")).clamp(0, 1)


# %%
contest = {"drawing": drawing, "retina": dip.images.load("retina", size=64)}
contest = {name: dip.denoising(x, sigma=25 / 255, seed=0) for name, x in contest.items()}
rivals = three_seeds(contest, fine) | {"astronaut": runs["image + noise"]}

# %% tags=["folded"]
# Show the contest; and what the text claims
scores = {}
for name, three in rivals.items():
    problem = three[0].problem
    fit = {
        "single iterate": [run.history.psnr.max() for run in three],
        "moving average": [run.oracle_psnr for run in three],
    }
    filtered = dip.psnr(best_linear(problem.observation, problem.truth), problem.truth)
    scores[name] = {"best linear filter": f"{filtered:.1f}"}
    for kind, values in fit.items():
        scores[name][f"best {kind}"] = f"{min(values):.1f} to {max(values):.1f}"
    lead = np.mean(fit["moving average"]) - filtered
    assert lead > 1.2 if name != "astronaut" else abs(lead) < 1.2
show(pd.DataFrame(scores).T.style, text="03 contest")

# %%
first = rivals["drawing"][0]
filtered = best_linear(first.problem.observation, first.problem.truth)
compare(filtered, first.oracle, names=("best linear filter", "best average of the fit"))

# %% [markdown]
# The best average of the fit is ahead by about 3.5 dB on the drawing and by 1 to 2.5 dB on the retina: it keeps long edges sharp. On the astronaut at this size it is slightly behind, and the best single
# iterate by more than a decibel. Five other photographs lie between 1.0 dB behind and 1.0 dB ahead ([claims](claims.md)). So **impedance is
# more than a blur where an image has long edges; on a small picture full of detail it denoises no better than a well-chosen blur**.
#
# Nor is impedance a law about noise as such: grass comes late, too (lesson 04).
#
# ## What to take away
#
# 1. The hourglass comes to 80 % of a photograph in about a third of the iterations that its shuffled pixels take:
#    **impedance** is a number that you can measure. Noise with independent channels takes twice as long again.
# 2. In one fit, the image comes before the noise; between the two arrivals there is a **window**.
# 3. Impedance is made by whatever ties neighbouring pixels to each other: coarse grids and upsampling, or many layers of shared filters.
# 4. "Long waves first" explains the coarse likeness. In fine detail, edges come sooner than their spectrum says.
# 5. Impedance is an *order in time*, no wall: whoever waits gets the noise.
#
# Why the order is what it is, computed from the network's Jacobian: lesson 10.
#
# ## Exercises
#
# Put your answer in the place of `None`, or of the dots (a double click opens the cell). Worked answers:
# [solutions/03_impedance.ipynb](solutions/03_impedance.ipynb).
#
# **1. Find the confound.** A checkerboard of single pixels has all of its power at the *highest* frequency. Fitted with
# `plain`, it takes about 28 iterations to 80 %; noise with three independent channels takes about 80. Somebody concludes: "The
# board is easy because it repeats, and filters love what repeats." Find a *control*: a target that differs from the board in
# that one point, and in no other. Fit both.
#
# <details><summary>A first hint</summary>
#
# `(i[:, None] + i) % 2` with `i = torch.arange(64)` makes the board; give it one channel and the values 0.1 and
# 0.9. List all points in which board and colour noise differ, and change only one.
#
# </details>

# %%
my_board = None  # dip.fit(dip.Problem(...), plain)
my_control = None

check.checkerboard(my_board, my_control)

# %% [markdown]
# Was the board fast because it repeats? What is your evidence, and how far does it reach?
#
# *Your answer:* ...

# %% [markdown]
# **2. Two curves fall alike.** With some network, the energies of an image and of its shuffled pixels fall alike. What do you know about this network? Which further experiment would you ask for?
#
# *Your answer:* ...
#
# <details><summary>A first hint</summary>
#
# Which networks of section 5 would show this? They are not all of one kind.
#
# </details>

# %% [markdown]
# **3. Shut the doors.** Keep the optimiser of `plain`, and change its *network*, so that shuffled pixels take at least *four*
# times as long as the image to 80 %, while the image still takes at most 60 iterations. Hand in the two fits.
# (`help(dip.networks.Hourglass)` lists its options; `plain.replace(options={...})` changes some.)
#
# <details><summary>A first hint</summary>
#
# Through which connection can fine detail reach the output without passing a coarse grid?
#
# </details>

# %%
my_image = None  # dip.fit(targets["image"], ...)
my_shuffled = None  # dip.fit(targets["shuffled pixels"], ...)

check.tells_apart(my_image, my_shuffled)

# %% [markdown]
# **4. A photographic negative.** Has `1 - clean` a higher impedance than `clean`, in iterations to 80 %? Give the
# ratio of the two medians over three seeds, as `my_ratio`. Then say why you could have known.
#
# <details><summary>A first hint</summary>
#
# The last layer is a weighted sum, followed by a sigmoid. What is 1 − sigmoid(t)?
#
# </details>

# %%
my_ratio = None

check.negative(my_ratio)

# %% [markdown]
# *Your answer:* ...
#
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
