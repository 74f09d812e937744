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
# - say what each choice in a recipe does to the prior: to the height of the best picture, and to how fast it
#   is lost again;
# - tell a difference from the luck of the seed;
# - give an example of a choice that helps one task and hurts another;
# - plan an ablation of your own that a sceptical reader would believe.
#
# **Time:** about five minutes of computing on two cores.
# **Needs:** lessons 01 and 03. Nothing is downloaded, no GPU is used.
# **Words and symbols:** [glossary](glossary.md).

# %%
import sys

if "google.colab" in sys.modules:  # Colab brings torch; only the course itself is missing there
    import subprocess

    address = "diplearn[compare] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

# %%
from importlib import resources

import numpy as np
import pandas as pd
import torch

import diplearn as dip
from diplearn.figures import COLOURS, Figure, contact_sheet
from diplearn.widgets import scrub

# %% [markdown]
# ## 1 · The challenge
#
# Five levels, skips of four channels, bilinear upsampling, noise for an input, Muon at a rate of 0.01: a
# recipe is a list of choices. *Which of them are the prior, and
# which are habit?* To find out, take one thing away, or change it, and leave all else as it is. That is an
# **ablation**.
#
# Our **base** is the lab recipe with one network instead of two, at most 32 channels wide, and nobody to stop it. The
# pictures are small, so that a fit takes seconds, and we can afford about a hundred.

# %%
base = dip.lab(members=1, iterations=130, stop="count").but(options={"down": (16, 32, 32, 32, 32)})
camera = dip.images.load("camera", size=64)
photo = dip.denoising(camera, sigma=25 / 255, seed=0)
hole = torch.ones(1, 64, 64)
hole[:, 22:42, 22:42] = 0
holed = dip.inpainting(camera, mask=hole)
dead = dip.Problem(dip.operators.salt_and_pepper(camera, amount=0.2, seed=0), truth=camera)
wall = dip.denoising(dip.images.load("brick", size=64), sigma=25 / 255, seed=0)
problems = {"photograph": photo, "with a hole": holed, "dead pixels": dead, "texture": wall}
shown = {name: problem.observation for name, problem in problems.items()}
contact_sheet(shown, width=8, alt="A noisy photographer; with a hole; with dots; a brick wall")

# %% [markdown]
# Helpers: the first makes three fits from three seeds for each change, unless they were made before; the second hands
# them out; the third draws them. Fits know nothing of each other, so `dip.fits` gives each core one of its own.

# %%
kept, ablations = {}, {}


def make(wanted):
    """Fit the base, with each of some changes, from three seeds."""
    new = {}
    for problem, changes in wanted:
        recipe = base.but(**changes)
        for seed in range(3):
            new[id(problem), repr(recipe), seed] = dict(problem=problem, recipe=recipe, seed=seed)
    kept.update(dip.fits({key: case for key, case in new.items() if key not in kept}))


# %%
def fits(problem, changes):
    """The base, with some changes, fitted from three seeds."""
    make([(problem, changes)])
    return [kept[id(problem), repr(base.but(**changes)), seed] for seed in range(3)]


# %%
def study(name, levels, problems, alt):
    """Draw PSNR over iterations for each level: the mean of three seeds, their band, the peak."""
    ablations[name] = levels
    make([(problem, changes) for problem in problems.values() for changes in levels.values()])
    figure = Figure(alt, figsize=(3 + 3.6 * len(problems), 3.2))
    axes = np.ravel(figure.subplots(1, len(problems)))
    for axis, (title, problem) in zip(axes, problems.items()):
        for colour, (level, changes) in zip(COLOURS, levels.items()):
            psnr = np.array([run.history.psnr_average for run in fits(problem, changes)])
            draw(axis, psnr, colour, level)
        highest = axis.dataLim.y1
        axis.set(title=title, xlabel="iteration", xlim=(4, None), ylim=(highest - 7, highest + 0.5))
    axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


# %%
def draw(axis, psnr, colour, label):
    """Draw the mean of some curves, the band between lowest and highest, and a dot at the peak."""
    along, mean = np.arange(1, psnr.shape[1] + 1), psnr.mean(0)
    axis.fill_between(along, psnr.min(0), psnr.max(0), color=colour, alpha=0.25, lw=0)
    axis.semilogx(
        along, mean, color=colour, lw=2, label=label, marker="o", markevery=[mean.argmax()]
    )
    axis.set_ylabel("PSNR of the average, dB")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)


study("base", {"base": {}}, {"": photo}, alt="The PSNR rises, peaks, and falls")

# %% [markdown]
# Each curve has two numbers, and both matter. The **peak** is the best picture on the way: what somebody gets
# who knows when to stop (lesson 08). The **end** is what is left of it after 130 iterations: what somebody
# gets who does not. A good prior has a high peak and a gentle slope behind it.


# %%
def peaks(problem, changes):
    """The best PSNR on the way, for each of three seeds."""
    return np.array([run.oracle_psnr for run in fits(problem, changes)])


def ends(problem, changes):
    """The PSNR that is left at the end, for each of three seeds."""
    return np.array([run.history.psnr_average.iloc[-1] for run in fits(problem, changes)])


# %% [markdown]
# ## 2 · The shape of the network
#
# **Depth.** An hourglass halves the picture level by level, and brings it up again. At the fifth level of a
# 64x64 picture there are four pixels left.
#
# > **Predict.** Take levels away from below: five, two, one. What happens to the peak? What to the end?

# %%
depth = {"5 levels (base)": {}}
for levels in (2, 1):
    shape = {"down": base.options["down"][:levels], "skip": (4,) * levels}
    depth[f"{levels} level" + "s" * (levels > 1)] = {"options": shape}
study("depth", depth, {"": photo}, alt="One level: a lower peak; two and five levels: the same")

# %%
one, two = depth["1 level"], depth["2 levels"]
assert peaks(photo, one).mean() < peaks(photo, {}).mean() - 0.2
assert abs(peaks(photo, two).mean() - peaks(photo, {}).mean()) < 0.4  # no difference to speak of

# %% [markdown]
# **Explain.** With one level the network sees a few pixels around each, and must average over those: the peak is
# lower, and sits later. Between two levels and five lies a tenth of a decibel, which section 8 will show to be
# nothing: *at this size*, three more levels buy no better picture.
#
# **Width.** A quarter of the channels everywhere, or twice as many; that is 10,500 or 490,000 parameters
# instead of 130,000.
#
# > **Predict.** The narrow network has fewer than three parameters for each pixel, the wide one 120. Which overfits, and which is
# > the better prior?

# %%
width = {"base": {}}
for label, factor in (("a quarter", 1 / 4), ("twice", 2)):
    channels = [int(factor * channels) for channels in base.options["down"]]
    width[label] = {"options": {"down": channels}}
width["a quarter"]["iterations"] = 220  # it is slow: let it reach its peak
study("width", width, {"": photo}, alt="Narrow: a late peak that stays; wide: early, and it falls")

# %%
quarter, twice = width["a quarter"], width["twice"]
assert ends(photo, quarter).min() > ends(photo, {}).max() + 0.7
assert ends(photo, {}).min() > ends(photo, twice).max() + 0.7

# %% [markdown]
# **Explain.** The peaks differ by a tenth or two of a decibel, no more than the seeds do; the slopes behind them could hardly be less alike.
# Width sets the *pace*: many parameters find the picture sooner, and then the noise sooner. Who cannot stop in time
# should take a narrow one, and it is cheaper, too.
#
# **Skips.** The thin skip connections hand fine detail past the coarse levels, straight from $z$ to the output.
# We look at two tasks: the noisy photograph, and the one with a hole.
#
# > **Predict.** Without skips, all detail must come up from the coarsest level. Is that good for the noise? For the
# > hole?

# %%
skips = {"4 channels (base)": {}, "none": {"options": {"skip": (0,) * 5}, "iterations": 220}}
pair = {"denoising": photo, "a hole": holed}
study("skips", skips, pair, alt="Noise: no skips, no fall. Hole: the bands cover each other")

# %%
none = skips["none"]
assert peaks(photo, none).mean() < peaks(photo, {}).mean() - 0.25  # a price at the top ...
lost = {name: peaks(photo, c) - ends(photo, c) for name, c in skips.items()}
assert lost["none"].max() < 0.5 < lost["4 channels (base)"].min()  # ... and a gain for who goes on
spread = np.ptp(np.concatenate([peaks(holed, c) for c in skips.values()]))
differ = np.ptp([peaks(holed, c).mean() for c in skips.values()])
assert spread > 1.5 * differ
print(f"hole: the levels' means differ by {differ:.1f} dB, single fits by {spread:.1f} dB")

# %% [markdown]
# **Explain.** On the left, a bargain with two sides: without skips (and with more iterations) the peak is lower by about half a decibel,
# for some of the picture's finest detail never gets through; and afterwards next to nothing is lost, for the noise
# does not get through either. On the right the bands cover each other. Here is why.

# %%
filled = {}
for level in ("4 channels (base)", "none"):
    for seed, run in enumerate(fits(holed, skips[level])):
        filled[f"{level.replace('4 channels (base)', 'skips')}, seed {seed}"] = run.output
captions = {name: f"{dip.psnr(picture, camera):.1f} dB" for name, picture in filled.items()}
filled = {name: p[:, 14:50, 14:50] for name, p in ({"the truth": camera} | filled).items()}
contact_sheet(filled, columns=7, captions=captions, alt="Six ways to fill the hole, all different")

# %% [markdown]
# Each seed invents another arm. What is behind the hole is not in the observation, and
# one start differs from the next by more than one architecture from the other. The paper finds that skips hurt a
# large hole, on a much larger photograph. With three seeds on a picture of 64 pixels **we cannot show it, and
# cannot deny it**. If we had made one fit each, we could have told either story.
#
# ## 3 · Upsampling
#
# On the way up each level doubles its size: *bilinear* upsampling interpolates between neighbours, *nearest*
# repeats each value as a block of 2x2. Neither is learned. Let us hold two kinds of pictures
# against them: the photograph with its sky, and a brick wall, which is all texture.
#
# > **Predict.** Which of the two has the higher peak on the sky, and which on the bricks? Which falls faster?

# %%
upsampling = {"bilinear (base)": {}, "nearest": {"options": {"upsampling": "nearest"}}}
kinds = {"photograph": photo, "texture": wall}
study("upsampling", upsampling, kinds, alt="Same peaks; after them, nearest falls faster")

# %%
nearest = upsampling["nearest"]
for problem in kinds.values():
    assert abs(peaks(problem, nearest).mean() - peaks(problem, {}).mean()) < 0.5
    assert ends(problem, nearest).max() < ends(problem, {}).min() - 0.7

# %% [markdown]
# **Explain.** No difference in height, a large one in time: nearest upsampling is at the peak in about half of the
# iterations, and loses nearly all of the gain behind it. Interpolation is a low-pass filter on each level, five in a row, with
# no parameters at all; without it the noise comes in sooner. Liu et al. (2023) call it the driving force of the method.
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
    "noise, ten times as large": {"z_scale": 1.0},
    "mesh grid": {"z": "mesh", "z_channels": 2},
}
study("input", inputs, {"": photo}, alt="A mesh grid: later, lower, and it stays")

# %%
mesh, large = inputs["mesh grid"], inputs["noise, ten times as large"]
assert (peaks(photo, mesh) - ends(photo, mesh)).max() < 0.3  # it does not fall
assert ends(photo, large).max() < ends(photo, {}).min() - 1

# %% [markdown]
# **Explain.** The mesh is smooth, and fine detail must be made from it, one fold of a ramp after the other. That
# takes time: the peak comes twice as late, or later, a little lower, and the fall is gentle. But why on earth should the
# *scale* of $z$ matter, when the network normalises what its first layer makes of it?
#
# **Input noise.** The base adds fresh noise to $z$ in every iteration, with a standard deviation of 0.02. $z$ itself
# has 0.029, being uniform on [0, 0.1].
#
# > **Predict.** What do you expect of no noise, and of five times as much? And what of a $z$ ten times as large
# > *with noise ten times as large*?

# %%
noise = {
    "0.02 (base)": {},
    "none": {"input_noise": 0.0},
    "0.1": {"input_noise": 0.1, "iterations": 220},  # slow, again
    "0.2, on a z ten times as large": {"input_noise": 0.2, "z_scale": 1.0},
}
study("input noise", noise, {"": photo}, alt="More noise: later, and less of a fall")

# %%
both = noise["0.2, on a z ten times as large"]
assert abs(ends(photo, both) - ends(photo, {})).max() < 0.3  # the same fit, but for rounding
assert abs(peaks(photo, both).mean() - peaks(photo, {}).mean()) < 0.3
for less, more in ((noise["none"], {}), ({}, noise["0.1"])):
    assert ends(photo, more).min() > ends(photo, less).max() + 0.5

# %% [markdown]
# **Explain.** Input noise is the strongest brake in the recipe. Fine detail in the output would need
# exact values in the input, and they change in every iteration; what is coarse survives. Without it, the peak
# itself is lower; with five times as much it takes nearly three times as long, and hardly falls.
#
# The fourth curve lies on the first. The network divides by the standard deviation after its first layer
# (*batch normalisation*), and so it knows only the *ratio* of noise to $z$. With "ten times as large" above we believed
# that we changed the scale, and had made the noise ten times weaker. **One number in the recipe is not always one
# factor**; the mesh grid, whose values go up to 1, was fitted with little noise as well.
#
# ## 5 · The way down
#
# The steps are not the network. Are they part of the prior? Learning rate and optimiser must be judged together:
# to compare two optimisers at one rate is to compare how well that rate suits them.
#
# > **Predict.** Adam moves every weight by about the same amount, Muon whole banks of filters along the
# > directions that were neglected (lesson 09). At its own best rate, does one of them find a *better* picture, or
# > only find it sooner?

# %%
rates = {"muon": (0.01, 0.03, 0.1), "adam": (0.01, 0.1)}
slow = {"optimiser": "adam", "iterations": 260, "learning_rate": 0.01}
ablations["optimiser"] = {"base": {}, "Adam, twice the iterations": slow}
ablations["learning rate"] = {f"η = {rate}": {"learning_rate": rate} for rate in rates["muon"]}
height, when = {}, {}
for optimiser, budget in {"muon": 130, "adam": 260}.items():  # Adam gets twice the time
    base_of_it = {"optimiser": optimiser, "iterations": budget}
    tried = [{**base_of_it, "learning_rate": rate} for rate in rates[optimiser]]
    make([(photo, changes) for changes in tried])
    height[optimiser] = np.array([peaks(photo, changes) for changes in tried])
    when[optimiser] = np.array([[r.oracle_at for r in fits(photo, changes)] for changes in tried])

# %%
figure = Figure("Peak, and iteration of the peak, over the learning rate", figsize=(9.5, 3.2))
left, right = figure.subplots(1, 2)
for axis, measured in ((left, height), (right, when)):
    for colour, (optimiser, values) in zip(COLOURS, measured.items()):
        along = rates[optimiser]
        axis.fill_between(along, values.min(1), values.max(1), color=colour, alpha=0.25, lw=0)
        axis.semilogx(along, values.mean(1), color=colour, lw=2, marker="o", label=optimiser)
    axis.set(xlabel="learning rate η", xticks=rates["muon"], xticklabels=rates["muon"])
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
left.set_ylabel("peak, dB")
right.set_ylabel("iteration of the peak")
left.legend(frameon=False)
figure

# %%
best = {name: values.mean(1).max() for name, values in height.items()}
print({name: f"{value:.1f} dB" for name, value in best.items()})
assert abs(best["muon"] - best["adam"]) < 0.5
fast = {"optimiser": "adam", "iterations": 260, "learning_rate": 0.1}
hurried = np.array([run.history.psnr_average[:130].max() for run in fits(photo, fast)])
print(f"Adam, η = 0.1: {height['adam'][1].mean():.1f} dB; in half the time {hurried.mean():.1f} dB")
assert when["adam"].min() > 1.5 * when["muon"].max()
assert hurried.max() < peaks(photo, {}).min() - 1

# %% [markdown]
# **Explain.** Given its time, Adam finds a picture nearly as good; Muon finds its own in half
# of the iterations or fewer. Had both been given the base's 130, Adam at 0.1 would seem poorer by decibels, and Muon to have
# "the better prior": a claim about a budget, not about a prior. What is left is a difference in *pace*.
#
# ## 6 · The loss
#
# The data term is the mean of the squares. Its rival is the mean of the absolute values, `l1`. We give both the
# photograph with Gaussian noise, and the same photograph with a fifth of its pixels dead: black or white.
#
# > **Predict.** Which loss wins where? By how much?

# %%
loss = {"squares (base)": {}, "absolute values": {"data_term": "l1"}}
kinds = {"Gaussian noise": photo, "dead pixels": dead}
study("loss", loss, kinds, alt="Gaussian: squares ahead. Dead pixels: absolute values, by far")

# %%
gaussian, pixels = (peaks(p, loss["absolute values"]) - peaks(p, {}).mean() for p in kinds.values())
print(f"absolute values: {gaussian.mean():+.1f} dB on Gaussian noise, {pixels.mean():+.1f} on dead")
assert gaussian.mean() < -0.2 and pixels.min() > 3

# %% [markdown]
# **Explain.** The loss belongs to the *noise*, not to the picture. For squares, one pixel that is wrong by 0.5 is worth
# a hundred that are wrong by 0.05, and the network hurries to reproduce it; absolute values count it ten times. For Gaussian
# noise the squares are right: they are minus its logarithm (lesson 02). **The same change is worth several decibels, or costs
# about one.** An ablation on one problem is an answer about one problem.
#
# ## 7 · Families of equal size
#
# Hourglass, U-Net (skips as wide as the network), ResNet (no coarse level at all), deep decoder (1x1 filters
# and upsampling): which *family* has the best prior? The widths are chosen so that all have the same number of
# parameters, for you saw what width does.

# %%
families = {
    "hourglass": {"options": {"down": (8, 16, 32, 32, 32)}},
    "U-Net": {"network": "unet", "options": {"widths": (9, 16, 20, 32, 32)}},
    "ResNet": {"network": "resnet", "options": {"width": 25}},
    "decoder": {"network": "decoder", "z_channels": 182, "options": {"width": 182, "layers": 3}},
}
for name, changes in families.items():
    recipe = base.but(**changes)
    net = dip.networks.build(recipe.network, recipe.z_channels, photo.shape, **recipe.options)
    print(f"{name:16s}{dip.networks.parameter_count(net):8,} parameters")
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# The deep decoder starts from 16x16 pixels of $z$ and mixes their channels. As it was published, it has as many of
# those as it is wide, and we give it that: with the 32 of the others it crawls. Each family also gets the learning rate that suits it, from *another* picture: what was tuned on the picture
# that we report would be flattered by it.
#
# > **Predict.** Put them in order: height of the peak, and steepness of the fall.

# %%
astronaut = dip.denoising(dip.images.load("astronaut", size=64), sigma=25 / 255, seed=0)
pairs = [(name, rate) for name in families for rate in (0.01, 0.03)]
recipes = {p: base.but(**families[p[0]]).but(learning_rate=p[1]) for p in pairs}
tuned = dip.fits({p: {"problem": astronaut, "recipe": recipe} for p, recipe in recipes.items()})
for name, changes in families.items():
    trials = {rate: tuned[name, rate].oracle_psnr for rate in (0.01, 0.03)}
    changes["learning_rate"] = max(trials, key=trials.get)
print({name: changes["learning_rate"] for name, changes in families.items()})

# %%
study("family", families, {"": photo}, alt="Three alike; the ResNet peaks low, and falls")

# %%
height = {name: peaks(photo, changes) for name, changes in families.items()}
print({name: f"{values.mean():.1f} dB" for name, values in height.items()})
for name in ("hourglass", "U-Net", "decoder"):
    assert height[name].min() > height["ResNet"].max() + 0.5
assert ends(photo, families["ResNet"]).max() < height["ResNet"].min() - 1.5

# %%
scrub({name: fits(photo, families[name])[0] for name in families}, frames=20)

# %% [markdown]
# **Explain.** Three very different networks reach about the same height. One is more than a decibel poorer, and gives way to the
# noise at once: the ResNet, which has the same 3x3 filters as the hourglass, and no coarse level. The deep decoder
# is the reverse, all coarse grids and upsampling, with filters of a single pixel, and it holds out longest. **The
# prior sits in the coarse grids.** Move the slider: at the same iteration the ResNet's picture is grainy already.
#
# ## 8 · All of it in one figure
#
# Each row is a level: the mean of three seeds (dot) and their range (bar), as a difference from the base's mean. The grey
# stripe is the base itself. (The slow ones, a quarter, no skips, more
# input noise and Adam, were given more iterations, to reach their peaks.)


# %%
def overview(axis, measure, rows):
    """Draw each level's difference from the base: mean and range of three seeds."""
    own = measure(photo, {})
    axis.axvspan(*(own.min() - own.mean(), own.max() - own.mean()), color="0.85")
    for y, (factor, _, changes) in enumerate(rows):
        colour = COLOURS[list(ablations).index(factor) % len(COLOURS)]
        values = measure(photo, changes) - own.mean()
        axis.plot([values.min(), values.max()], [y, y], color=colour, lw=3, solid_capstyle="round")
        axis.plot(values.mean(), y, "o", color=colour)
    axis.axvline(0, color="0.5", lw=1)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", alpha=0.25)


# %% tags=["figure:07_ablation"]
rows = [(f, level, c) for f, levels in ablations.items() for level, c in levels.items()]
rows = [row for row in rows if base.but(**row[2]) != base]
figure = Figure("What each change does to the peak and to the end", figsize=(10, 7))
left, right = figure.subplots(1, 2, sharey=True)
overview(left, peaks, rows)
overview(right, ends, rows)
left.set_yticks(range(len(rows)), [f"{factor}: {level}" for factor, level, _ in rows])
left.invert_yaxis()
left.set(xlabel="dB", title="the peak: how good is the best picture?")
right.set(xlabel="dB", title="the end: how much of it is left?")
figure

# %%
top = [abs(peaks(photo, c).mean() - peaks(photo, {}).mean()) for f, _, c in rows if f != "family"]
slope = [abs(ends(photo, c).mean() - ends(photo, {}).mean()) for f, _, c in rows if f != "family"]
print(f"median change: peak {np.median(top):.1f} dB, end {np.median(slope):.1f} dB")
assert np.median(slope) > 2.5 * np.median(top)

# %% [markdown]
# **Explain.** Compare the two sides. Most changes move the peak by half a decibel or less, and the end by one to three: **most
# of a recipe does not decide *what* the network prefers, but *how long* the preference lasts.**
#
# How good is the stripe? It is the range of three seeds. Three more:

# %%
more = dip.fits({s: {"problem": photo, "recipe": base, "seed": s} for s in (3, 4, 5)})
more = [run.oracle_psnr for run in more.values()]
print(
    "the base, seeds 0 to 2:", np.sort(peaks(photo, {})).round(2), "3 to 5:", np.sort(more).round(2)
)

# %% [markdown]
# Three numbers are a poor measure of their own spread: compare the two rows. (On another machine, whose arithmetic rounds
# differently, both are different again.)
#
# ### The winner, tested
#
# Among the highest peaks is that of η = 0.03, three times the base's rate. Shall the package take it?
#
# > **Predict.** On the brick wall, which had no say in the choice: will η = 0.03 win again? By more than the seeds
# > differ?

# %%
winner = {"η = 0.01 (base)": {}, "η = 0.03": {"learning_rate": 0.03}}
again = {"photograph, where it won": photo, "brick wall, fresh": wall}
study("winner", winner, again, alt="Ahead by a hair on the photograph, by a little on the wall")

# %%
for name, problem in again.items():
    gain = peaks(problem, winner["η = 0.03"]) - peaks(problem, {}).mean()
    print(f"{name}: {gain.mean():+.2f} dB, single seeds {gain.min():+.2f} to {gain.max():+.2f}")
    assert -0.1 < gain.mean() < 0.4  # a few tenths of a decibel, at most

# %% [markdown]
# **Explain.** On the picture that chose it, the winner's lead is no larger than the spread of its own seeds. On the wall
# it wins again, by a tenth or two of a decibel. A discovery? It was the best of twenty levels, so *some* level had to stand there;
# and three seeds that stand clear of three others do so by luck once in ten times (exercise 2). Two pictures cannot
# tell. We need more of them.
#
# ### From a loop to a sweep
#
# Two pictures are two pictures. `ablations` is a plain dictionary, factor → level → changes, and can be written as a file.
# `benchmarks/ablation.toml` is one: 25 recipes, three pictures, three seeds, the lab recipe's full width, 400 iterations. The command
#
#     diplearn sweep benchmarks/ablation.toml --results ablation --workers 2
#
# makes its 225 fits on two cores in about half an hour, keeps what is done, and goes on where it was
# interrupted. A small table of what came out is stored with the course; that is what you see here. Each dot is one fit,
# as a difference from the base's *with the same picture and seed*.
#
# > **Predict.** How many of the 24 changes, η = 0.03 among them, move the peak the same way on *all three* pictures,
# > by more than 0.2 dB?

# %%
stored = pd.read_csv(resources.files("diplearn") / "data" / "ablation.csv")
stored["end"] = stored.psnr - stored.oracle_psnr
stored = stored.rename(columns={"oracle_psnr": "peak"})
each = stored.set_index(["label", "picture", "seed"])[["peak", "end"]].sort_index()
apart = (each - each.loc["base"]).drop("base", level="label")
levels = [level for level in stored.label.unique() if level != "base"]

# %%
figure = Figure("225 fits: the pace of a change is sure, its peak seldom", figsize=(10, 6.6))
for axis, measure in zip(figure.subplots(1, 2, sharey=True), ("peak", "end")):
    for picture, colour in zip(("camera", "coins", "motorcycle"), COLOURS):
        dots = apart[measure].xs(picture, level="picture").unstack("seed").loc[levels]
        for seed in dots:
            label = picture if seed == 0 else None
            axis.plot(dots[seed], range(len(levels)), ".", color=colour, alpha=0.8, label=label)
    axis.axvline(0, color="0.5", lw=1)
    axis.grid(alpha=0.25)
    axis.set(xlabel="dB against the base", title=f"the {measure}")
axis.legend(frameon=False, fontsize=8)
figure.axes[0].set_yticks(range(len(levels)), levels)
figure.axes[0].invert_yaxis()
figure

# %%
peaks_of = apart.peak.groupby(level=["label", "picture"]).mean().unstack("picture").loc[levels]
worse, better = (peaks_of < -0.2).all(axis=1), (peaks_of > 0.2).all(axis=1)
print(f"higher on all three: {', '.join(peaks_of.index[better]) or 'none'}")
print(f"lower on all three: {', '.join(peaks_of.index[worse])}")
typical = apart.groupby("label").mean().abs().median()
print(f"median change: peak {typical.peak:.1f} dB, end {typical.end:.1f} dB")
assert typical.end > 2.5 * typical.peak and better.sum() == 0 < worse.sum()
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# **Explain.** What all three pictures agree on is a list of ways to do *worse*. No change does better than the base on all
# three by a clear margin. Our winner, η = 0.03, lifts the coins by half a decibel, and the photographer and the motorcycle by nothing: whoever
# tries one picture makes a discovery, and whoever tries three shrugs. The right half is another story: there, most rows stand clear of
# zero with all nine dots. What a recipe sets reliably is the pace at which noise comes in.
#
# ## 9 · How to do it honestly
#
# The rules of the method, and where you saw them:
#
# 1. **One factor at a time**, and look for the second that moves along: a scale is also a
#    noise level (section 4), width and depth are also numbers of parameters (section 7).
# 2. **Several seeds, all of them shown.** The hole told either story with one (section 2).
# 3. **Tune for each.** The loser at *your* learning rate may be the winner at its own (section 5).
#    Lucic et al. (2018) found most GANs equally good once all were tuned.
# 4. **Equal size, or equal time;** say which. And equal stopping: we show the peak *and* the end, because a
#    single number at a fixed iteration rewards whoever happens to peak there.
# 5. **Do not report the best of many.** Of twenty levels some are ahead by chance (exercise 2). What
#    looks best is a guess; test it on a *fresh* picture, as you just did.
# 6. **Another picture, another task,** before you say "better" (section 6). The seeds vary the start of one
#    fit. They say nothing about other pictures, nor about another draw of the noise. (Bouthillier et al. 2021 count
#    what else varies.)
# 7. **Report what did not matter.** It is most of what you found.
#
# ## What to take away
#
# 1. A prior has two numbers: the height of its peak, and the slope behind it.
# 2. The peak needs coarse grids: without them, a decibel and more is gone. Depth beyond two levels, width and
#    the kind of upsampling change it little, at this size.
# 3. Width, skips, upsampling, $z$, input noise and learning rate set the *pace* at which noise comes in.
# 4. The loss belongs to the noise. What helps on one problem hurts on another.
# 5. A difference within the spread of the seeds is no difference: say so.
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

dip.check.apart(my_apart)

# %% [markdown]
# **2. By chance.** Two recipes are *equally good*; each gets three seeds, so that all six values come from one
# distribution. With what probability are they "apart" in the sense of exercise 1? (In how many orders can six
# different values be coloured, three and three?) And in ten such comparisons, how many do you expect?

# %%
my_probability = None

hints = {0.05: "either of the two may be the one on top", 1.0: "that is the count in ten"}
dip.check.number(my_probability, 0.1, "2 / 20, and so about one comparison in ten", hints)

# %% [markdown]
# **3. Equal size.** A ResNet of *four* blocks shall stand beside the hourglass of section 7. Build it with
# `dip.networks.build("resnet", 32, photo.shape, width=…, blocks=4)`, with as many parameters, to 2 %.

# %%
rival = dip.networks.build(
    "hourglass", 32, photo.shape, **base.but(**families["hourglass"]).options
)
my_network = None

dip.check.equal_size(my_network, rival)

# %% [markdown]
# **4. An ablation of your own.** Choose a factor that this lesson left out (`help(dip.networks.Hourglass)`: the
# filters' sizes, the padding, `merge_norm`; or the average's window), a problem, two levels at least and three seeds each.
# Write down your prediction first. Hand in a dictionary: level → list of runs.

# %%
my_levels = None  # {"3x3 (base)": [dip.fit(...), ...], "5x5": [...]}

dip.check.one_factor(my_levels)

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
