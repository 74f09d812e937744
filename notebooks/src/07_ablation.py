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
# # 07 · Ablation: which parts of the network are the prior?
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/07_ablation.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/07_ablation.ipynb)
#
# **When you are through, you will be able to**
#
# - say what each choice in a recipe does to the prior: to the height of the best image, to when it comes, and to how fast
#   it is lost again;
# - tell a difference from the luck of the seed;
# - give an example of a choice that helps one task and hurts another;
# - plan an ablation of your own that a sceptical reader would believe.
#
# **Time:** nearly four minutes of computing on two cores.
# **Needs:** lessons 01 and 03. Nothing is downloaded, no GPU is used.
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

import diplearn as dip
from diplearn.course import check, data
from diplearn.figures import BLUE, COLOURS, Figure, contact_sheet
from diplearn.widgets import scrub

# %% [markdown]
# ## 1 · The challenge
#
# Skips of four channels, bilinear upsampling, noise for an input, Muon at a rate of 0.01: a recipe is a list of choices.
# *Which of them are the prior, and which are habit?* To find out, change one thing, and leave all else as it is: an
# **ablation**.
#
# Our **base** is the lab recipe with one network instead of two, three levels instead of five, at most 32 channels wide,
# and nobody to stop it. The images are small, so that a fit takes seconds, and we can afford about a hundred.

# %%
shape = {"down": (16, 32, 32), "skip": (4,) * 3}
base = dip.lab(members=1, iterations=140, stop="count").replace(options=shape)
camera = dip.images.load("camera", size=64)
photo = dip.denoising(camera, sigma=25 / 255, seed=0)
hole = torch.ones(1, 64, 64)
hole[:, 22:42, 22:42] = 0
holed = dip.inpainting(camera, mask=hole)
dead = dip.Problem(dip.degrade.salt_and_pepper(camera, amount=0.2, seed=0), truth=camera)
wall = dip.denoising(dip.images.load("brick", size=64), sigma=25 / 255, seed=0)
problems = {"photograph": photo, "with a hole": holed, "dead pixels": dead, "brick wall": wall}
shown = {name: problem.observation for name, problem in problems.items()}
contact_sheet(shown, width=8, alt="A noisy photographer; with a hole; with dots; a brick wall")

# %% [markdown]
# Helpers: the first fits each change from three seeds, unless that was done before.

# %%
kept, ablations = {}, {}


def make(wanted):
    """Fit the base, with each of some changes, from three seeds."""
    new = {}
    for problem, changes in wanted:
        recipe = base.replace(**changes)
        for seed in range(3):
            new[id(problem), repr(recipe), seed] = dict(problem=problem, recipe=recipe, seed=seed)
    kept.update(dip.fits({key: case for key, case in new.items() if key not in kept}))


# %%
def fits(problem, changes):
    """The base, with some changes, fitted from three seeds."""
    make([(problem, changes)])
    return [kept[id(problem), repr(base.replace(**changes)), seed] for seed in range(3)]


def curves(problem, changes):
    """PSNR of the average over iterations, a row for each seed; of a hole: inside alone."""
    rows = np.array([run.history.psnr_average for run in fits(problem, changes)])
    copied = -10 * np.log10(1 - float(hole.mean()))  # dB for pixels that need no filling
    return rows - copied if problem is holed else rows


# %%
def study(name, levels, problems, alt):
    """Draw PSNR over iterations for each level."""
    ablations[name] = levels
    make([(problem, changes) for problem in problems.values() for changes in levels.values()])
    figure = Figure(alt, figsize=(3 + 3.6 * len(problems), 3.2))
    axes = np.ravel(figure.subplots(1, len(problems)))
    for axis, (title, problem) in zip(axes, problems.items()):
        drawn = [curves(problem, changes) for changes in levels.values()]
        for colour, level, psnr in zip(COLOURS, levels, drawn):
            draw(axis, psnr, colour, level)
        low, high = min(psnr[:, -1].min() for psnr in drawn), max(psnr.max() for psnr in drawn)
        start = 10 if problem is photo else 4  # the others begin, or peak, earlier
        axis.set(title=title, xlim=(start, None), ylim=(min(low, high - 4) - 0.3, high + 0.3))
    axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


# %%
def draw(axis, psnr, colour, label):
    """Draw the mean of some curves, the band between lowest and highest, and a dot at the peak."""
    along, mean = np.arange(1, psnr.shape[1] + 1), psnr.mean(0)
    axis.fill_between(along, psnr.min(0), psnr.max(0), color=colour, alpha=0.25, lw=0)
    peak = [mean.argmax()]
    axis.semilogx(along, mean, color=colour, lw=2, label=label, marker="o", markevery=peak)
    ticks = [k for k in (5, 10, 20, 50, 100, 200) if k <= axis.dataLim.x1]
    axis.set_xticks(ticks, ticks)
    axis.set_xticks([], minor=True)
    axis.set(xlabel="iteration", ylabel="PSNR of the average, dB")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)


study("base", {"base": {}}, {"": photo}, alt="PSNR over iterations: it rises, peaks, and falls")

# %% [markdown]
# Such a curve has three numbers. The **peak** is the best image on the way: what somebody gets who knows when to
# stop (lesson 08). The **pace** is the iteration of the peak. The **fall** is what is lost by going on *for as long again*.
# Why not simply what is left after 140 iterations? That would flatter whatever is slow: a fit that ends at its own
# peak has lost nothing. The axis is logarithmic, so "as long again" is the same distance behind every peak.


# %%
def peaks(problem, changes):
    """The best PSNR on the way, for each of three seeds."""
    return curves(problem, changes).max(1)


def paces(problem, changes):
    """The iteration of the peak, for each of three seeds."""
    return curves(problem, changes).argmax(1) + 1


# %%
def falls(problem, changes):
    """The dB lost at twice the pace, for each of three seeds; nan if the fit ends before."""
    lost = []
    for row, pace in zip(curves(problem, changes), paces(problem, changes)):
        lost.append(row.max() - row[2 * pace - 1] if 2 * pace <= len(row) else np.nan)
    return np.array(lost)


def numbers(problem, levels):
    """Print the three numbers of each level: the means of three seeds."""
    for name, changes in levels.items():
        peak, pace, fall = (f(problem, changes).mean() for f in (peaks, paces, falls))
        behind = "not followed so far" if np.isnan(fall) else f"then falls by {fall:.1f} dB"
        print(f"{name:30s} {peak:.1f} dB at iteration {pace:3.0f}, {behind}")


# %% [markdown]
# ## 2 · The shape of the network
#
# **Depth.** An hourglass halves the image level by level, and brings it up again. At the third level of a
# 64x64 image there are 8x8 pixels left, at the fifth 2x2.
#
# > **Predict.** Five levels, three, one. What happens to the peak? What to the pace?

# %%
depth = {"3 levels (base)": {}}
depth["5 levels"] = {"options": {"down": (16, 32, 32, 32, 32), "skip": (4,) * 5}, "iterations": 155}
depth["1 level"] = {"options": {"down": (16,), "skip": (4,)}, "iterations": 200}
study("depth", depth, {"": photo}, alt="PSNR over iterations for one level, three and five")

# %%
one, five = depth["1 level"], depth["5 levels"]
numbers(photo, depth)
assert peaks(photo, one).mean() < peaks(photo, {}).mean() - 0.2
assert abs(peaks(photo, five).mean() - peaks(photo, {}).mean()) < 0.4  # no difference to speak of

# %% [markdown]
# **Explain.** With one level the network sees a few pixels around each, and must average over those: the peak is
# lower, and sits later. (It also has 10,400 parameters instead of 69,000.) Between three levels and five the difference
# is no larger than between seeds: *at this size*, two more levels buy no better image.
#
# **Width.** Half of the channels everywhere, or twice as many; that is 19,000 or 257,000 parameters
# instead of 69,000.
#
# > **Predict.** The narrow network has five parameters for each pixel, the wide one more than sixty. Which overfits, and
# > which is the better prior?

# %%
width = {"base": {}}
for label, factor, iterations in (("half", 1 / 2, 225), ("twice", 2, 110)):
    channels = [int(factor * channels) for channels in base.options["down"]]
    width[label] = {"options": {"down": channels}, "iterations": iterations}
study("width", width, {"": photo}, alt="PSNR over iterations for three widths")

# %%
half, twice = width["half"], width["twice"]
numbers(photo, width)
assert paces(photo, half).min() > paces(photo, {}).max()
assert paces(photo, {}).mean() > paces(photo, twice).mean()
assert max(peaks(photo, c).mean() for c in width.values()) - peaks(photo, half).mean() < 0.5
assert np.nanmean(falls(photo, half)) < np.nanmean(falls(photo, twice))

# %% [markdown]
# **Explain.** The peaks differ by a tenth or two of a decibel, no more than the seeds do; the paces could hardly be less
# alike. Many parameters find the image sooner, and then the noise sooner. Who cannot stop in time
# should take a narrow one, and it is cheaper, too.
#
# **Skips.** The thin skip connections hand fine detail past the coarse levels, straight from $z$ to the output.
# We try them on the noisy photograph, and on the one with a hole, of which only the inside counts.
#
# > **Predict.** Without skips, all detail must come up from the coarsest level. Is that good for the noise? For the
# > hole?

# %%
skips = {"4 channels (base)": {}, "none": {"options": {"skip": (0,) * 3}, "iterations": 270}}
study("skips", skips, {"": photo}, alt="PSNR over iterations, with skips and without")

# %%
numbers(photo, skips)
none = skips["none"]
assert paces(photo, none).min() > 1.4 * paces(photo, {}).max()
assert peaks(photo, none).mean() < peaks(photo, {}).mean() + 0.3
assert np.nanmean(falls(photo, none)) < np.nanmean(falls(photo, {}))

# %% [markdown]
# **Explain.** Without skips the peak comes about twice as late, and less is lost behind it, for the noise has the same long
# way as the detail. It is no higher. (With five levels the way is longer, and the peak lower: section 8.) And the hole?

# %%
filling = {name: {**changes, "iterations": 90} for name, changes in skips.items()}
make([(holed, changes) for changes in filling.values()])
shown, captions, inside = {}, {}, {}
for first, (name, changes) in zip(("truth", "x₀"), filling.items()):
    shown[first] = camera if first == "truth" else holed.observation
    label = "no skips" if name == "none" else "skips"
    inside[name] = curves(holed, changes)[:, -1]
    for seed, run in enumerate(fits(holed, changes)):
        shown[f"{label}, seed {seed}"] = run.output
        captions[f"{label}, seed {seed}"] = f"{inside[name][seed]:.1f} dB inside"
shown = {name: image[:, 14:50, 14:50] for name, image in shown.items()}
alt = "A hole, filled from three seeds with skips, and from three without; truth and x₀"
contact_sheet(shown, columns=4, captions=captions, width=8, alt=alt)

# %%
means = [decibels.mean() for decibels in inside.values()]
differ, spread = np.ptp(means), np.ptp([*inside.values()])
print(f"hole: the levels' means differ by {differ:.1f} dB, single fits by {spread:.1f} dB")
assert spread > differ

# %% [markdown]
# Each seed invents another arm. What is behind the hole is not in the observation, and
# one start differs from the next by more than one architecture from the other. The paper finds that skips hurt a
# large hole, on a much larger photograph. With three seeds on an image of 64 pixels **we cannot show it, and
# cannot deny it**. With one fit each, we could have told either story.
#
# ## 3 · Upsampling
#
# On the way up each level doubles its size: *bilinear* upsampling interpolates between neighbours, *nearest*
# repeats each value as a block of 2x2. Neither is learned. We try the photograph, and a brick wall, which is all texture.
#
# > **Predict.** Which has the higher peak on the photograph, and which on the bricks? Which is sooner?

# %%
upsampling = {"bilinear (base)": {}, "nearest": {"options": {"upsampling": "nearest"}}}
upsampling["nearest"]["iterations"] = 102
kinds = {"photograph": photo, "brick wall": wall}
study("upsampling", upsampling, kinds, alt="PSNR over iterations for two ways to upsample")

# %%
nearest = upsampling["nearest"]
for name, problem in kinds.items():
    print(name)
    numbers(problem, upsampling)
    assert abs(peaks(problem, nearest).mean() - peaks(problem, {}).mean()) < 0.7
    assert paces(problem, nearest).mean() < 0.9 * paces(problem, {}).mean()
    assert np.nanmean(falls(problem, nearest)) > np.nanmean(falls(problem, {})) + 0.2

# %% [markdown]
# **Explain.** Little difference in height (but section 8: the coins lose 0.8 dB), a large one in time: nearest upsampling is at the peak
# in about two thirds of the iterations, and the fall behind it is almost twice as deep. Interpolation is a low-pass filter on each
# level, with no parameters at all. Liu et al. (2023) call *unlearnt* upsampling, of either kind, the main driving force
# of the method.
#
# ## 4 · The input
#
# **What $z$ is.** The base's $z$ is noise, 32 channels of it, in [0, 0.1]. The alternatives: a larger
# scale; or a **mesh grid**, two smooth ramps that tell every pixel its row and its column.
#
# > **Predict.** Which of them is at its peak sooner than the base, and which later?

# %%
inputs = {
    "noise, 32 channels (base)": {},
    "noise, ten times as large": {"z_scale": 1.0, "iterations": 100},
    "mesh grid": {"z": "mesh", "z_channels": 2, "iterations": 350},
}
study("input", inputs, {"": photo}, alt="PSNR over iterations for three inputs")

# %%
mesh, large = inputs["mesh grid"], inputs["noise, ten times as large"]
numbers(photo, inputs)
assert paces(photo, mesh).min() > 1.3 * paces(photo, {}).max()
assert paces(photo, large).max() < paces(photo, {}).min()
assert peaks(photo, large).mean() < peaks(photo, {}).mean() - 0.3

# %% [markdown]
# **Explain.** The mesh is smooth, and fine detail must be made from it, one fold of a ramp after the other. That
# takes time: the peak comes two to three times as late, and a little lower; the fall is gentler. But why on earth should the
# *scale* of $z$ matter, when the network normalises what its first layer makes of it?
#
# **Input noise.** The base adds fresh noise to $z$ in every iteration, with a standard deviation of 0.02. $z$ itself
# has 0.029, being uniform on [0, 0.1].
#
# > **Predict.** What do you expect of no noise, and of twice as much? And what of a $z$ ten times as large
# > *with noise ten times as large*?

# %%
noise = {
    "0.02 (base)": {},
    "none": {"input_noise": 0.0, "iterations": 100},
    "0.04": {"input_noise": 0.04, "iterations": 185},
    "0.2, on a z ten times as large": {"input_noise": 0.2, "z_scale": 1.0},
}
study("input noise", noise, {"": photo}, alt="PSNR over iterations for four kinds of input noise")

# %%
numbers(photo, noise)
both, much = noise["0.2, on a z ten times as large"], noise["0.04"]
assert abs(curves(photo, both)[:, -1] - curves(photo, {})[:, -1]).max() < 0.3  # but for rounding
assert abs(peaks(photo, both).mean() - peaks(photo, {}).mean()) < 0.3
assert peaks(photo, noise["none"]).mean() < peaks(photo, {}).mean() - 0.3
assert paces(photo, noise["none"]).max() < paces(photo, {}).min()
assert paces(photo, much).min() > 1.2 * paces(photo, {}).max()

# %% [markdown]
# **Explain.** Input noise is one of the strongest brakes in the recipe. Fine detail in the
# output would need exact values in the input, and they change in every iteration; what is coarse survives. Without it, the peak
# itself is lower, and sooner; with twice as much it is later, and some tenths higher.
#
# The fourth curve lies on the first. The network divides by the standard deviation after its first layer
# (*batch normalisation*), and so it knows only the *ratio* of noise to $z$. With "ten times as large" above we
# had made the noise ten times weaker. **One number in the recipe is not always one
# factor**; the mesh grid, whose values go up to 1, was fitted with little noise as well.
#
# ## 5 · The way down
#
# The steps are not the network. Are they part of the prior? Learning rate and optimiser must be judged together:
# to compare two optimisers at one rate is to compare how well that rate suits them.
#
# > **Predict.** Adam moves every weight by about the same amount, Muon whole banks of filters along the
# > directions that were neglected (lesson 09). At its own best rate, does one of them find a *better* image, or
# > only find it sooner?

# %%
rates = {"Muon": (0.01, 0.03, 0.1), "Adam": (0.003, 0.01, 0.03)}
tried = {("Muon", rate): {"learning_rate": rate} for rate in rates["Muon"]}
tried["Muon", 0.1]["iterations"] = 202
for rate, iterations in zip(rates["Adam"], (215, 245, 310)):  # it gets twice the time
    adam = {"optimiser": "adam", "iterations": iterations, "learning_rate": rate}
    tried["Adam", rate] = adam
make([(photo, changes) for changes in tried.values()])
ablations["learning rate"] = {f"η = {rate}": tried["Muon", rate] for rate in rates["Muon"]}
ablations["optimiser"] = {"Adam": tried["Adam", 0.01]}

# %%
figure = Figure("Peak, and iteration of the peak, over the learning rate", figsize=(9.5, 3.2))
ticks = sorted({*rates["Muon"], *rates["Adam"]})
labels = {"peak, dB": peaks, "iteration of the peak": paces}
for axis, (label, measure) in zip(figure.subplots(1, 2), labels.items()):
    for colour, (optimiser, along) in zip(COLOURS, rates.items()):
        values = np.array([measure(photo, tried[optimiser, rate]) for rate in along])
        axis.fill_between(along, values.min(1), values.max(1), color=colour, alpha=0.25, lw=0)
        axis.semilogx(along, values.mean(1), color=colour, lw=2, marker="o", label=optimiser)
    axis.set(xlabel="learning rate η", ylabel=label, xticks=ticks, xticklabels=ticks)
    axis.set_xticks([], minor=True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
axis.legend(frameon=False)
figure

# %%
best = {}
for name, along in rates.items():
    best[name] = max(along, key=lambda rate: peaks(photo, tried[name, rate]).mean())
own = {name: tried[name, rate] for name, rate in best.items()}
numbers(photo, {f"{name}, η = {best[name]}": changes for name, changes in own.items()})
for rate in rates["Adam"]:
    hurried = curves(photo, tried["Adam", rate])[:, :130].max(1).mean()
    print(f"Adam, η = {rate}: stopped at 130, {hurried:.1f} dB")
assert abs(peaks(photo, own["Muon"]).mean() - peaks(photo, own["Adam"]).mean()) < 0.5
assert paces(photo, own["Adam"]).min() > 1.5 * paces(photo, own["Muon"]).max()

# %% [markdown]
# **Explain.** At its best rate Adam needs more than twice as many iterations as Muon at its own, and finds about as good an image:
# the bands overlap. (Between 0.01 and 0.03 its height hardly changes.) Stopped at 130, it would be poorer by more than half a decibel
# at one rate, by one and a half at another, and Muon would seem to have "the better prior": a claim about a budget and a
# rate, not about a prior. What is left is a difference in *pace*.
#
# ## 6 · The loss
#
# The data term is the mean of the squares. Its rival is the mean of the absolute values, `l1`. Both get the
# photograph with Gaussian noise, and with a fifth of its pixels dead: black or white.
#
# > **Predict.** Which loss wins where? By how much?

# %%
loss = {"squares (base)": {}, "absolute values": {"data_term": "l1"}}
kinds = {"Gaussian noise": photo, "dead pixels": dead}
study("loss", loss, kinds, alt="PSNR over iterations for two losses and two kinds of noise")

# %%
gaussian, pixels = (peaks(p, loss["absolute values"]) - peaks(p, {}).mean() for p in kinds.values())
print(f"absolute values: {gaussian.mean():+.1f} dB on Gaussian noise, {pixels.mean():+.1f} on dead")
assert gaussian.mean() < -0.2 and pixels.min() > 3

# %% [markdown]
# **Explain.** The loss belongs to the *noise*, not to the image. For squares, one pixel that is wrong by 0.5 is worth
# a hundred that are wrong by 0.05, and the network hurries to reproduce it; absolute values count it ten times. For Gaussian
# noise the squares are right: they are, up to constants, minus the logarithm of its probability (lesson 02). **The same
# change is worth several decibels, or costs most of one.** An ablation on one problem is an answer about one problem.
#
# ## 7 · Families of equal size
#
# Hourglass (our base), U-Net (skips as wide as the network), ResNet (no coarse level at all), deep decoder (1x1 filters
# and upsampling): which *family* has the best prior? The widths are such that all have about the same number of
# parameters.

# %%
families = {
    "hourglass": {},
    "U-Net": {"network": "unet", "options": {"widths": (16, 28, 34)}, "iterations": 155},
    "ResNet": {"network": "resnet", "options": {"width": 21}},
    "decoder": {"network": "decoder", "z_channels": 151, "options": {"width": 151, "layers": 3}},
}
for name, changes in families.items():
    recipe = base.replace(**changes)
    net = dip.networks.build(recipe.network, recipe.z_channels, photo.shape, **recipe.options)
    print(f"{name:16s}{dip.networks.parameter_count(net):8,} parameters")
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# The deep decoder starts from 16x16 pixels of $z$, with as many channels as it is wide. Each family gets the learning
# rate that suits it, tuned on *another* image: the one that we report would flatter the tuned.
#
# > **Predict.** Put them in order: height of the peak, and steepness of the fall.

# %%
astronaut = dip.denoising(dip.images.load("astronaut", size=48), sigma=25 / 255, seed=0)
pairs = [(name, rate) for name in families for rate in (0.01, 0.03)]
recipes = {
    p: base.replace(**families[p[0]]).replace(learning_rate=p[1], iterations=75) for p in pairs
}
tuned = dip.fits({p: {"problem": astronaut, "recipe": recipe} for p, recipe in recipes.items()})
for name, changes in families.items():
    trials = {rate: tuned[name, rate].oracle_psnr for rate in (0.01, 0.03)}
    changes["learning_rate"] = max(trials, key=trials.get)
families["decoder"]["iterations"] = 240  # slow, again
print({name: changes["learning_rate"] for name, changes in families.items()})

# %%
study("family", families, {"": photo}, alt="PSNR over iterations for four families of networks")

# %%
numbers(photo, families)
height = {name: peaks(photo, changes) for name, changes in families.items()}
for name in ("hourglass", "U-Net", "decoder"):
    assert height[name].min() > height["ResNet"].max() + 0.4
assert paces(photo, families["decoder"]).min() > 1.5 * paces(photo, families["ResNet"]).max()

# %%
scrub({name: fits(photo, families[name])[0] for name in families}, frames=20)

# %% [markdown]
# **Explain.** Three very different networks reach about the same height. One is more than a decibel poorer: the ResNet, which
# has the same 3x3 filters as the hourglass, and no coarse level. The deep decoder is the reverse, all coarse grids and
# upsampling, with filters of a single pixel; it is about three times as late.
# What the three good ones share, and the ResNet lacks, is **coarse grids**; its
# identity path, which carries $z$ unfiltered to the output, is a second difference. The depth study points the same way.
#
# ## 8 · All of it in one figure
#
# Each row is a change: mean (dot) and range (bar) of three seeds. The grey stripe is the base. (No dot: the
# fit was not followed so far.)


# %%
def overview(axis, measure, rows):
    """Draw each level, and the base: mean and range of three seeds."""
    own = measure(photo, {})
    axis.axvspan(np.nanmin(own), np.nanmax(own), color="0.85", lw=0)
    for y, (_, _, changes) in enumerate(rows):
        values = measure(photo, changes)
        if not np.isnan(values).any():
            axis.plot([values.min(), values.max()], [y, y], color=BLUE, lw=3)
            axis.plot(values.mean(), y, "o", color=BLUE)
    for y in range(1, len(rows)):
        if rows[y][0] != rows[y - 1][0]:
            axis.axhline(y - 0.5, color="0.8", lw=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", alpha=0.25)


# %% tags=["figure:07_ablation"]
rows = [(f, level, c) for f, levels in ablations.items() for level, c in levels.items()]
rows = [row for row in rows if base.replace(**row[2]) != base and row[1] != "hourglass"]
figure = Figure(f"Peak, pace and fall of {len(rows)} changes", figsize=(10, 6.5))
titles = {"peak: how good?": peaks, "pace: how late?": paces, "fall: how steep?": falls}
axes = figure.subplots(1, 3, sharey=True)
for axis, (title, measure) in zip(axes, titles.items()):
    overview(axis, measure, rows)
    axis.set_title(title)
axes[0].set_yticks(range(len(rows)), [f"{factor}: {level}" for factor, level, _ in rows])
axes[0].set(xlabel="dB", ylim=(len(rows) - 0.5, -0.5))
axes[1].set(xlabel="iteration", xscale="log", xticks=[50, 100, 200], xticklabels=[50, 100, 200])
axes[1].set_xticks([], minor=True)
axes[2].set_xlabel("dB lost at twice the pace")
figure

# %%
moved = [abs(peaks(photo, c).mean() - peaks(photo, {}).mean()) for f, _, c in rows]
late = [paces(photo, c).mean() / paces(photo, {}).mean() for f, _, c in rows]
print(f"{len(rows)} changes; median change of the peak {np.median(moved):.1f} dB")
print(f"the paces go from {min(late):.1f} to {max(late):.1f} times the base's")
steep = np.array([falls(photo, c).mean() for _, _, c in rows])
known = ~np.isnan(steep)
tie = np.corrcoef(np.log(late)[known], steep[known])[0, 1]
print(f"correlation of fall and pace: {tie:.1f}")
assert tie < -0.2
assert np.median(moved) < 0.6 and max(late) > 2.5 * min(late)

# %% [markdown]
# **Explain.** Compare the panels. Most changes move the peak by a few tenths of a decibel, and its iteration by a factor: **most
# of a recipe does not decide *what* the network prefers, but *when* the noise comes in.** What is slow mostly falls more gently, too.
#
# The stripe is the range of three seeds. Three more:

# %%
short = base.replace(iterations=90)
more = dip.fits({s: {"problem": photo, "recipe": short, "seed": s} for s in (3, 4, 5)})
more = np.sort([run.oracle_psnr for run in more.values()])
print("the base, seeds 0 to 2:", np.sort(peaks(photo, {})).round(2), "3 to 5:", more.round(2))

# %% [markdown]
# Here the two ranges agree. That was not certain, for three numbers are a poor measure of their own spread.
#
# ### The winner, tested
#
# Among the highest peaks is that of more input noise, 0.04. Shall the package take it?
#
# > **Predict.** On the brick wall, which had no say in the choice: will 0.04 win again? By more than the seeds
# > differ?

# %%
winner = {"0.02 (base)": {}, "0.04": noise["0.04"]}
again = {"photograph, where it won": photo, "brick wall, fresh": wall}
study("winner", winner, again, alt="PSNR over iterations for the base and the winner, twice")

# %%
for name, problem in again.items():
    gain = peaks(problem, winner["0.04"]) - peaks(problem, {}).mean()
    print(
        f"{name}: {gain.mean():+.2f} dB, single seeds {gain.min():+.2f} to {gain.max():+.2f};",
        end=" ",
    )
    print(f"the base's own three lie {np.ptp(peaks(problem, {})):.2f} dB apart")
    assert -0.4 < gain.mean() < 0.7  # a few tenths of a decibel, at most

# %% [markdown]
# **Explain.** On the photograph the winner leads by more than the base's own three seeds lie apart. But it was the best of 18
# changes, so *some* change had to stand there. That it leads on the wall as well is worth more, for nothing was chosen
# there. Still, two images cannot tell. We need more of them.
#
# ### A larger sweep
#
# `diplearn sweep benchmarks/ablation.toml` makes 225 fits in about half an hour: 25 recipes, three images, three seeds, the
# lab recipe's full depth and width, 400 iterations. Its table is stored with the course. Each mark
# is one fit, as a difference from the base's *with the same image and seed*; the **end** is what is left after 400 iterations.
#
# > **Predict.** How many of the 24 changes, more input noise among them, move the peak the same way on *all three* images,
# > by more than 0.2 dB?

# %%
stored = pd.read_csv(data.path("ablation.csv"))
stored = stored.rename(columns={"oracle_psnr": "peak", "psnr": "end"})
each = stored.set_index(["label", "image", "seed"])[["peak", "end"]].sort_index()
apart = (each - each.loc["base"]).drop("base", level="label")
levels = [level for level in stored.label.unique() if level != "base"]

# %%
figure = Figure("225 fits: the end of a change is sure, its peak seldom", figsize=(10, 7.5))
looks = {"camera": ("o", BLUE), "coins": ("s", COLOURS[1]), "motorcycle": ("^", COLOURS[2])}
for axis, measure in zip(figure.subplots(1, 2, sharey=True), ("peak", "end")):
    for image, (marker, colour) in looks.items():
        dots = apart[measure].xs(image, level="image").unstack("seed").loc[levels]
        y = np.repeat(range(len(levels)), 3)
        axis.plot(dots.to_numpy().ravel(), y, marker, color=colour, ms=7, alpha=0.7, label=image)
    axis.axvline(0, color="0.5", lw=1)
    axis.grid(alpha=0.25)
    axis.set(xlabel="dB against the base", title=f"the {measure}")
figure.legend(*axis.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
figure.axes[0].set_yticks(range(len(levels)), levels)
figure.axes[0].invert_yaxis()
figure

# %% [markdown]
# (*skips lowest*: on the deepest level alone; *width 128*: 128 channels on every level, as published; *z scale 1*: the noise in
# $z$ ten times as large; *input noise gaussian*: drawn afresh, not shifted; *data term l1*: absolute values.)

# %%
peaks_of = apart.peak.groupby(level=["label", "image"]).mean().unstack("image").loc[levels]
worse, better = (peaks_of < -0.2).all(axis=1), (peaks_of > 0.2).all(axis=1)
print(f"higher on all three: {', '.join(peaks_of.index[better]) or 'none'}")
print(f"lower on all three: {', '.join(peaks_of.index[worse])}")
always = (apart.peak > 0).groupby(level="label").all()
print(f"higher in all nine fits: {', '.join(always.index[always])}")
print(peaks_of.loc[["input noise 1/30", "input noise 0.1"]].round(2).to_string())
typical = apart.groupby("label").mean().abs().median()
print(f"median change: peak {typical.peak:.1f} dB, end {typical.end:.1f} dB")
side = np.sign(apart.end).groupby("label").sum().abs() == 9
print(f"the end: {side.sum()} of {len(levels)} changes on one side with all nine fits")
assert typical.end > 2.5 * typical.peak and better.sum() == 0 < worse.sum()
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# **Explain.** Six changes are worse on all three. By more than 0.2 dB, none is better on all three; but look at *input
# noise 1/30*, the paper's own value: a little better in all nine fits. That is the only candidate here, a neighbour of our
# winner, and it deserves fresh images. Still more noise, 0.1, is none: it lifts the coins by half a decibel, and lowers
# the other two. The right half is another story: there, most rows stand clear of zero with all nine fits. What a change does
# to the pace is sure, what it does to the peak seldom.
#
# ## 9 · How to do it honestly
#
# 1. **One factor at a time**, and look for the second that moves along (section 4).
# 2. **Several seeds, all of them shown** (section 2).
# 3. **Tune for each.** The loser at *your* learning rate may draw level at its own (section 5).
#    Lucic et al. (2018) found most GANs equally good once all were tuned.
# 4. **Equal size, or equal time;** say which. A single number at a fixed iteration rewards whoever peaks there.
# 5. **Do not report the best of many.** What looks best is a guess; test it on a *fresh* image (section 8).
# 6. **Another image, another task,** before you say "better" (section 6). Seeds vary the start of one
#    fit, not the image. (Bouthillier et al. 2021 count what else varies.)
# 7. **Report what did not matter.**
#
# ## What to take away
#
# 1. A fit has three numbers: the height of its peak, its pace, and the fall behind it.
# 2. The peak seems to need coarse grids: without them, half a decibel or more is gone. More depth, width and
#    the kind of upsampling change it little, at this size (but section 8: the coins lose 0.8 dB).
# 3. Width, skips, upsampling, $z$, input noise and learning rate set the *pace* at which noise comes in.
# 4. The loss belongs to the noise. What helps on one problem hurts on another.
# 5. A difference within the spread of the seeds has not been shown: say so.
#
# ## Exercises
#
# Put your answer in the place of `None`. Worked answers:
# [solutions/07_ablation.ipynb](solutions/07_ablation.ipynb).
#
# **1. Apart.** Write `my_apart(a, b)` for two lists of PSNRs, a seed each: whether *all* of one lie above *all*
# of the other.

# %%
my_apart = None

check.apart(my_apart)

# %% [markdown]
# **2. By chance.** Two recipes are *equally good*; each gets three seeds, so that all six values come from one
# distribution. With what probability are they "apart" in the sense of exercise 1? (In how many orders can six
# different values be coloured, three and three?)

# %%
my_probability = None

check.by_chance(my_probability)

# %% [markdown]
# **3. Equal size.** A ResNet of *four* blocks shall stand beside the hourglass of section 7. Build it with
# `dip.networks.build("resnet", 32, photo.shape, width=…, blocks=4)`, with as many parameters, to 2 %.

# %%
rival = dip.networks.build(
    "hourglass", 32, photo.shape, **base.replace(**families["hourglass"]).options
)
my_network = None

check.equal_size(my_network, rival)

# %% [markdown]
# **4. An ablation of your own.** Choose a factor that this lesson left out (`help(dip.networks.Hourglass)`: the
# filters' sizes, the padding, `merge_norm`; or the average's window), a problem, two levels at least and three seeds each.
# Write down your prediction first. Hand in a dictionary: level → list of runs.

# %%
my_levels = None  # {"3x3 (base)": [dip.fit(...), ...], "5x5": [...]}

check.one_factor(my_levels)

# %% [markdown]
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision
#   128 (2020). [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - Y. Liu, J. Li, Y. Pang, D. Nie, P.-T. Yap, *The devil is in the upsampling: architectural decisions made
#   simpler for denoising with deep image prior*, ICCV 2023. [arXiv:2304.11409](https://arxiv.org/abs/2304.11409).
# - R. Heckel, P. Hand, *Deep Decoder*, ICLR 2019. [arXiv:1810.03982](https://arxiv.org/abs/1810.03982).
# - M. Lucic, K. Kurach, M. Michalski, S. Gelly, O. Bousquet, *Are GANs created equal? A large-scale study*,
#   NeurIPS 2018. [arXiv:1711.10337](https://arxiv.org/abs/1711.10337).
# - X. Bouthillier et al., *Accounting for variance in machine learning benchmarks*, MLSys 2021.
#   [arXiv:2103.03098](https://arxiv.org/abs/2103.03098).
