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
# - say what each choice in a recipe changes: how good the best image is, when it comes, what overfitting then costs;
# - tell a difference from the luck of a seed, the edge of a grid and the end of a budget;
# - test whether two recipes with the same PSNR make the same image;
# - plan an ablation of your own that a sceptical reader would believe.
#
# **Computing:** about two and a half minutes on two cores. **Study:** about 70 minutes, exercises included.
#
# **Needs:** lessons 01 and 03; lesson 02 helps. No GPU, no download.
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
from torch import nn

import diplearn as dip
from diplearn.course import check, data
from diplearn.course.show import reveal, show
from diplearn.figures import BLUE, COLOURS, ORANGE, Figure
from diplearn.widgets import scrub

# %% [markdown]
# ## 1 · One change at a time
#
# Four skip channels, bilinear upsampling, noise as the input, Muon at a learning rate of 0.01: a recipe is a list of choices.
# *Which of them are the prior, and which are habit?* To find out, we change one and leave the others alone: an **ablation**.
#
# Our **base** is the recipe `lab` with one network, three levels and at most 32
# channels.
#
# A fixed budget would cut off a slow fit before its best image. So each fit here ends at *twice* the iteration of its best average. This
# rule sees the truth: it is an instrument, not a method.

# %%
shape = {"down": (16, 32, 32), "skip": (4,) * 3}
base = dip.lab(members=1, iterations=900).replace(options=shape)
camera = dip.images.load("camera", size=64)
photo = dip.denoising(camera, sigma=25 / 255, seed=0)


def past_the_best(truth, times):
    """A rule that ends a fit at `times` the iteration of its best average."""
    best = [0.0, 0]  # its PSNR, its iteration

    def rule(step):
        best[:] = max(best, [dip.psnr(step.average, truth), step.iteration])
        return step.iteration >= max(60, times * best[1])

    return rule


# %%
def three_seeds(problem, changes, times=2):
    """Fit the base, with each of some changes, from three seeds: name -> list of runs."""
    wanted = {}
    for name, change in changes.items():
        for seed in range(3):
            case = {"problem": problem, "recipe": base.replace(**change), "seed": seed}
            wanted[name, seed] = case | {"stop": past_the_best(problem.truth, times)}
    fitted = dip.fits(wanted)
    return {name: [fitted[name, seed] for seed in range(3)] for name in changes}


runs = three_seeds(photo, {"base": {}})


# %% tags=["folded"]
# The three numbers of a fit: peak, iteration of the peak, and loss by overfitting
peak = lambda run: run.oracle_psnr  # noqa: E731
at = lambda run: run.oracle_at  # noqa: E731


def lost(run):
    """The dB lost at twice the iteration of the peak; NaN if the fit ends before."""
    return run.oracle_psnr - run.history.psnr_average.get(2 * run.oracle_at, np.nan)


def mean(measure, three):
    return np.mean([measure(run) for run in three])


# %% tags=["folded"]
# How curves and tables are drawn
matplotlib.rcParams["font.size"] = 12  # legible on a telephone, too


def draw(axis, three, colour, label):
    """Draw the mean of three curves, the band between lowest and highest, a dot at the peak."""
    last = min(len(run.history) for run in three)
    rows = np.array([run.history.psnr_average[:last] for run in three])
    along, middle = np.arange(1, last + 1), rows.mean(0)
    axis.fill_between(along, rows.min(0), rows.max(0), color=colour, alpha=0.2, lw=0)
    look = {"color": colour, "lw": 2.2, "marker": "o", "markevery": [middle.argmax()]}
    axis.semilogx(along, middle, label=label, **look)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)


# %% tags=["folded"]
# How axes and tables look
def iterations(axis, start=10, marks=(10, 20, 50, 100, 200, 400)):
    axis.set(xlabel="iteration", xlim=(start, None))
    axis.set_xticks(marks, marks)
    axis.minorticks_off()


# %% tags=["folded"]
# A table of the three numbers
low_high = lambda three: f"({min(map(peak, three)):.1f} to {max(map(peak, three)):.1f})"  # noqa: E731


def table(names):
    """A row for each change: means of three seeds, and their lowest and highest peak."""
    rows = {}
    for name in names:
        three = runs[name]
        rows[name] = {
            "peak, dB": f"{mean(peak, three):.1f} {low_high(three)}",
            "iteration": f"{mean(at, three):.0f}",
            "lost by overfitting, dB": f"{mean(lost, three):.1f}",
        }
    return pd.DataFrame(rows).T.style


# %% tags=["folded"]
# Draw the base, and its three numbers
figure = Figure(figsize=(7, 3.8))
axis = figure.subplots()
draw(axis, runs["base"], BLUE, "base")
top, best_at = mean(peak, runs["base"]), mean(at, runs["base"])
fall, grey = mean(lost, runs["base"]), {"color": "0.35", "lw": 1}
axis.plot([best_at, best_at, 10], [16, top, top], "--", **grey)
axis.annotate("", (2 * best_at, top), (2 * best_at, top - fall), arrowprops={"arrowstyle": "<->"})
axis.text(10.5, top + 0.25, "peak PSNR")
axis.text(best_at / 1.04, 16.5, "iteration of the peak", ha="right")
axis.text(2 * best_at, top + 0.25, "loss by overfitting", ha="right")
axis.set(ylabel="PSNR of the average, dB", ylim=(16, top + 1.2))
iterations(axis)
axis.set_xlim(10, 2.2 * best_at)
show(figure, text="07 base", peak=top, at=best_at, lost=fall)

# %% [markdown]
# Such a curve has three numbers: the **peak PSNR**, that of the best image on the way, for somebody who knows when
# to stop (lesson 08); the **iteration of the peak**; and the **loss by overfitting**, which is what going on *for as long again*
# costs.
#
# ## 2 · The shape of the network
#
# - **Depth.** The base halves the image three times, to 8x8 pixels. We try one level and five. One level has 10,400 weights instead of
#   69,000: a confound (lesson 03). So one level comes a second time, wider, with as many weights as the base.
# - **Width.** Half or twice as many channels: 19,000 or 257,000 weights.
# - **Upsampling.** *Bilinear* interpolates between neighbours; *nearest* repeats each value as a block of 2x2.
# - **Skips.** Without them, all detail must come up from the coarsest grid.
#
# > **Predict.** Which changes move the peak by more than the seeds differ, and which only its iteration? Does the network with
# > five weights per pixel overfit sooner, or the one with sixty?

# %%
shapes = {
    "1 level": {"options": {"down": (16,), "skip": (4,)}},
    "1 level, as many weights": {"options": {"down": (52,), "skip": (4,)}},
    "5 levels": {"options": {"down": (16, 32, 32, 32, 32), "skip": (4,) * 5}},
    "half the channels": {"options": {"down": (8, 16, 16)}},
    "twice the channels": {"options": {"down": (32, 64, 64)}},
    "nearest upsampling": {"options": {"upsampling": "nearest"}},
    "no skips": {"options": {"skip": (0,) * 3}},
}
runs |= three_seeds(photo, shapes)

# %% tags=["folded"]
# Draw the curves of the shapes
figure, names = Figure(figsize=(7, 7)), list(shapes)
panels = {"depth": names[:3], "width": names[3:5], "upsampling": names[5:6], "skips": names[6:]}
axes = figure.subplots(2, 2, sharex=True, sharey=True)
for axis, (title, names) in zip(axes.flat, panels.items()):
    for colour, name in zip(COLOURS, ["base", *names]):
        draw(axis, runs[name], colour, name)
    axis.set_title(title, loc="left")
    axis.legend(framealpha=0.9, edgecolor="white", fontsize=10, loc="lower right")
    iterations(axis, marks=(10, 30, 100, 300))
    axis.set(ylim=(19, 27), ylabel="PSNR, dB")
    axis.label_outer()

# %% tags=["folded"]
# Show them, and the table
below = {name: mean(peak, runs["base"]) - mean(peak, runs[name]) for name in shapes}
wide = [runs[name] for name in ("base", "half the channels", "twice the channels")]
heights, times = ([mean(measure, three) for three in wide] for measure in (peak, at))
said = {"few": below["1 level"], "many": below["1 level, as many weights"]}
said |= {"widths": max(heights) - min(heights), "factor": max(times) / min(times)}
reveal(figure, table(["base", *shapes]), text="07 shape", **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# **Depth.** *One level* loses about half a decibel at the peak, with few weights and with many (at other learning rates, too: not
# shown). It lacks not weights, but coarse grids, and also *reach*: a pixel of the output depends on fewer places of $z$
# (section 5 tries reach without coarse grids). Five levels differ from three by no more than the seeds do, at this size.
#
# **Width** hardly moves the peak, but it moves its iteration: many weights find the image sooner, and then the noise, too. Whoever cannot
# stop in time should take a narrow network.
#
# **Nearest upsampling** peaks sooner, and overfitting costs much more. **No skips**: the peak is as high and comes twice as late, perhaps
# since detail must take the long path, too. (With five levels, the peak is lower, too: section 7.)
#
# </details>


# %% tags=["folded"]
# How many times as late as the base's a peak is
def later(name):
    return mean(at, runs[name]) / mean(at, runs["base"])


# %% tags=["folded"]
# Asserted, for the shapes
assert min(below["1 level"], below["1 level, as many weights"]) > 0.25
assert abs(below["5 levels"]) < 0.5 and abs(below["no skips"]) < 0.5
assert max(heights) - min(heights) < 0.5
assert later("half the channels") > 1.25 and later("twice the channels") < 0.85
assert later("1 level") > 1.6 * later("1 level, as many weights")
assert later("no skips") > 1.4 and later("nearest upsampling") < 0.85
assert mean(lost, runs["nearest upsampling"]) > mean(lost, runs["base"]) + 0.4

# %% [markdown]
# ## 3 · The input
#
# The base's $z$ is noise, uniform on [0, 0.1], with a standard deviation of 0.029. In every
# iteration fresh noise of standard deviation 0.02 is added: the **input noise**.
#
# > **Predict.** How do peak and iteration change without input noise, and with twice as much? Does the *size* of $z$ matter, although the
# > network normalises whatever its first layer makes of $z$ (batch norm)? And what if $z$ and input noise are *both* ten times as large?

# %%
inputs = {
    "no input noise": {"input_noise": 0.0},
    "twice the input noise": {"input_noise": 0.04},
    "z ten times as large": {"z_scale": 1.0},
    "both ten times as large": {"z_scale": 1.0, "input_noise": 0.2},
}
runs |= three_seeds(photo, inputs)

# %% tags=["folded"]
# Draw the curves of the inputs
figure = Figure(figsize=(7, 4.6))
axis = figure.subplots()
for colour, name in zip((BLUE, ORANGE, COLOURS[2], COLOURS[3], "black"), ["base", *inputs]):
    draw(axis, runs[name], colour, name)
axis.lines[-1].set(linestyle=":", linewidth=3)
iterations(axis)
axis.set(ylim=(20, 27.5), ylabel="PSNR of the average, dB")
axis.legend(frameon=False, loc="lower right", fontsize=10)
base_peak = mean(peak, runs["base"])  # + 0.0: no "-0.0" in print
beside = {name: round(mean(peak, runs[name]) - base_peak, 1) + 0.0 for name in inputs}
said = dict(zip(("none", "twice", "z", "both"), beside.values()))
reveal(figure, table(["base", *inputs]), text="07 inputs", **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Input noise is a strong brake. Fine detail in the output needs exact values in the input, and these
# change in every iteration; what is coarse survives. Without input noise the peak is lower and sooner; with twice as much, higher and about twice as
# late.
#
# A larger $z$ acts like less input noise. The network divides by the standard deviation after each of its first layers, so it knows only
# the *ratio* of input
# noise to $z$. The dotted curve is the control: with both ten times as
# large it lies on the base's. **One number in the recipe is not always one factor.**
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert later("no input noise") < 0.85 and later("twice the input noise") > 1.3
assert later("z ten times as large") < 0.85
assert mean(peak, runs["no input noise"]) < mean(peak, runs["base"]) - 0.2
assert abs(mean(peak, runs["both ten times as large"]) - mean(peak, runs["base"])) < 0.3

# %% [markdown]
# ## 4 · The learning rate
#
# To compare two optimisers at one learning rate is to compare how well that rate suits them. So Muon and Adam (lesson 09) get a grid each, which
# goes on until the best rate has a worse one on either side, and every fit goes on past its peak. The table is stored:
# three seeds at each rate (`benchmarks/learning_rates.py`).
#
# > **Predict.** Sketch, over the learning rate, the peak PSNR and the iteration of the peak, for both optimisers. At its own best rate,
# > does one of the two find a better image?

# %%
rates = pd.read_csv(data.path("learning_rates.csv"))
tried = rates[rates.image == "camera"].groupby(["optimiser", "rate"])
tried = tried[["peak", "at"]].agg(["mean", "min", "max"])
best = tried.peak["mean"].groupby("optimiser").idxmax()  # of each optimiser

# %% tags=["folded"]
# Draw peak and iteration over the learning rate
figure = Figure(figsize=(7, 6.4))
axes = figure.subplots(2, 1, sharex=True)
for axis, column, label in zip(axes, ("peak", "at"), ("peak PSNR, dB", "iteration of the peak")):
    for colour, name in zip((BLUE, ORANGE), ("muon", "adam")):
        values = tried.loc[name][column]
        axis.fill_between(values.index, values["min"], values["max"], color=colour, alpha=0.2, lw=0)
        look = {"color": colour, "lw": 2.2, "marker": "o", "label": name.title()}
        axis.semilogx(values.index, values["mean"], **look)
    axis.set_ylabel(label)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
ticks = sorted(tried.index.unique("rate"))
axes[1].set_xticks(ticks, [f"{rate:g}" for rate in ticks])
axes[1].minorticks_off()

# %% tags=["folded"]
# Show them
axes[0].set_ylim(25.5, 27)
axes[1].set(xlabel="learning rate η", yscale="log")
axes[1].set_yticks([50, 100, 200, 400], ["50", "100", "200", "400"])
axes[1].legend(frameon=False)
axes[1].minorticks_off()
said = {}
for name in ("muon", "adam"):
    said |= {f"{name}_{c}": tried.loc[best[name]][c]["mean"] for c in ("peak", "at")}
    said[name] = best[name][1]
    said[f"{name}_times"] = (
        tried.loc[name]["at"]["mean"].iloc[-1] / tried.loc[name]["at"]["mean"].min()
    )
reveal(figure, text="07 rates", **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# At its own best rate Muon is ahead by about 0.3 dB, and the ranges of the three seeds touch. With six other seeds (not in the table)
# the lead is 0.2 dB on average, from -0.1 to +0.7: a better image is not shown. A difference in time is: Adam takes 2.5 times as many iterations.
# Stopped after 130, Adam is 0.6 to 1.0 dB below its own peak, and Muon's "prior" seems much better.
#
# The surprise: beyond some rate, a larger one peaks *later*, with both optimisers.
#
# </details>
#
# ### What counts in a step
#
# After each convolution but the last, batch norm divides by the standard deviation. So the image does not change when all filters of such a
# layer are multiplied by a number,
# and what counts is the *relative* step $\lVert\Delta\theta\rVert / \lVert\theta\rVert$. We note it at three rates. In a fourth
# fit, at 0.1, each layer's filters are scaled back to their first norm after every step.


# %%
def watcher(steps, hold):
    """Note the relative step of all filters; if `hold`, keep the norm of every layer."""
    start, before = [], []

    @torch.no_grad()
    def note(run, step):
        layers = [p for p in run.network.parameters() if p.ndim == 4]
        start[:] = start or [layer.norm() for layer in layers]
        for layer, norm in zip(layers, start):
            layer.mul_(norm / layer.norm() if hold else 1)
        now = torch.cat([layer.flatten() for layer in layers])
        steps.append(float((now - before.pop()).norm() / now.norm()) if before else np.nan)
        before.append(now)

    return note


# %%
steps, wanted = {}, {}
cases = [(0.01, False, 0), (0.1, False, 0), (0.3, False, 0), *[(0.1, True, s) for s in range(3)]]
for rate, hold, seed in cases:
    key = rate, hold, seed
    steps[key] = []
    case = {"problem": photo, "recipe": base.replace(learning_rate=rate), "seed": seed}
    case |= {"stop": past_the_best(camera, 1.5), "callback": watcher(steps[key], hold)}
    wanted[key] = case
watched = dip.fits(wanted)

# %% tags=["folded"]
# Draw the relative steps
figure = Figure(figsize=(7, 4.2))
axis = figure.subplots()
for colour, (rate, hold, seed) in zip((BLUE, ORANGE, COLOURS[2], COLOURS[3]), cases):
    own = steps[rate, hold, seed]
    label = f"η = {rate}" + ", norm held" * hold
    axis.loglog(range(1, len(own) + 1), own, color=colour, lw=2.2, label=label)
    when = watched[rate, hold, seed].oracle_at
    axis.plot(when, own[when - 1], "o", color=colour, ms=9)
along = np.array([4, 400])
axis.loglog(along, 1.15 / along, ":", color="0.4", label="proportional to 1 / iteration")
axis.set(xlabel="iteration", ylabel="relative step of the filters", xlim=(2, 400))
axis.legend(frameon=False, fontsize=10, loc="lower left")
axis.grid(alpha=0.25)

# %% tags=["folded"]
# Show them
held = [watched[0.1, True, seed] for seed in range(3)]
free = {
    "free": tried.loc["muon", 0.1]["peak"]["mean"],
    "free_at": tried.loc["muon", 0.1]["at"]["mean"],
}
show(figure, text="07 steps", peak=mean(peak, held), at=mean(at, held), **free)

# %% tags=["folded"]
# What the text claims, asserted
for name, rate in best:
    when = tried.loc[name]["at"]["mean"]
    assert when.index[0] < rate < when.index[-1]  # the best is at no edge
    assert when.iloc[-1] > 1.25 * when.min()
late = [np.mean(steps[rate, False, 0][19:40]) for rate in (0.1, 0.3)]
assert 0.7 < late[0] / late[1] < 1.4
assert mean(peak, held) < free["free"] - 0.3

# %% [markdown]
# The relative steps at 0.1 and 0.3 soon coincide, and fall like one over the iteration $t$: Muon's steps
# have a fixed length, proportional to
# $\eta$. The norm of the filters grows about in proportion to $\eta\,t$, and so the relative step is $\eta / (\eta\,t) = 1/t$: **the
# learning rate cancels**
# (Arora et al. 2019, for gradient descent). Only the first steps are larger, a tenth of the filters and more; too large, it
# seems: after 20 iterations the image is 4 dB worse at 0.3 than in the base. From then on a large rate is no faster: most of its step then
# lengthens the filters; what *turns* them is 2.7 % of their norm in the base, 2.6 at 0.1, 1.6 at 0.3 (one seed). So it peaks later.
#
# The control: with the norms held, the relative step stays above a tenth, and the best image is about two decibels worse; given 500
# iterations, one decibel (two seeds, not shown). So the growing filters are
# a decay of the learning rate that nobody wrote into the recipe, and large rates live on it.

# %% [markdown]
# ## 5 · Families of equal size
#
# Five kinds of network, with about 70,000 weights each:
#
# - the **hourglass**, our base;
# - the **U-Net**: an hourglass whose skips are as wide as the network;
# - the **deep decoder** (lesson 03): upsampling from 16x16 pixels, and 1x1 filters only;
# - the **ResNet**: 3x3 filters at full size, in blocks that *add* to what they are given, so that it can also pass unfiltered;
# - **plain 3x3**: eight layers of 3x3 filters at full size, without that addition.
#
# Each has a learning rate tuned on *another* photograph, with a worse one tried on either side. The rest of the recipe was chosen with
# the hourglass.
#
# > **Predict.** Put the five in order of their peak. Which part do you expect the good ones to share?


# %%
def plain(inputs, outputs, width=31, depth=8):
    """3x3 filters at full size, layer after layer: no coarse grid, no identity path."""
    layers = []
    for channels in (inputs, *[width] * (depth - 1)):
        layers += [nn.Conv2d(channels, width, 3, padding=1)]
        layers += [nn.BatchNorm2d(width, track_running_stats=False), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width, outputs, 1), nn.Sigmoid())


# %%
dip.networks.BY_NAME["plain"] = plain
families = {
    "hourglass": {},
    "U-Net": {"network": "unet", "options": {"widths": (16, 28, 34)}},
    "deep decoder": {"network": "decoder", "z_channels": 151},
    "ResNet": {"network": "resnet", "options": {"width": 21}},
    "plain 3x3": {"network": "plain"},
}
families["deep decoder"]["options"] = {"width": 151, "layers": 3}
# %%
tuned = rates[rates.image == "astronaut"].groupby(["family", "rate"]).peak.mean()
for name, change in families.items():
    change["learning_rate"] = tuned[name].idxmax()
runs |= three_seeds(photo, families)

# %% tags=["folded"]
# Draw the curves of the families
figure = Figure(figsize=(7, 4.6))
axis = figure.subplots()
for colour, name in zip(COLOURS, families):
    draw(axis, runs[name], colour, name)
iterations(axis)
axis.set(ylim=(19, 27.5), ylabel="PSNR of the average, dB")
_ = axis.legend(frameon=False, loc="lower right", fontsize=10)

# %% tags=["folded"]
# Count the weights, and show the families
found = table(families).data.iloc[:, :2]
found.insert(0, "learning rate", [f"{change['learning_rate']:g}" for change in families.values()])
sizes = []
for change in families.values():
    recipe = base.replace(**change)
    made = dip.networks.build(recipe.network, recipe.z_channels, photo.shape, **recipe.options)
    sizes.append(f"{dip.networks.parameter_count(made):,}")
found.insert(0, "weights", sizes)
found["peak on astronaut, dB"] = [f"{tuned[name].max():.1f}" for name in families]
height = {name: mean(peak, runs[name]) for name in families}
lead = max(height.values()) - height["plain 3x3"]
rest = height["plain 3x3"] - height["ResNet"]
reveal(figure, found.style, text="07 families", lead=lead, rest=rest)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The hourglass leads. U-Net, deep decoder and plain 3x3 are equal within the spread of the seeds, although plain 3x3 has *no coarse grid*,
# and no filter of the decoder sees a neighbour. Neither is necessary. On the other photograph (last column) the
# U-Net is level with the hourglass, and the decoder well behind.
#
# The ResNet is last on both. Missing coarse grids are not why: plain 3x3 has none. Suspects are
# left: the ResNet's identity path, twice as many layers, fewer channels, other padding. And tuning counts: at a rate of 0.01, plain 3x3 is a
# decibel lower (one seed), and coarse grids would have looked necessary.
#
# </details>

# %%
scrub({name: runs[name][0] for name in families}, frames=15)

# %% tags=["folded"]
# What the text claims, asserted
coarse = [height[name] for name in ("hourglass", "U-Net", "deep decoder")]
assert min(*coarse, height["plain 3x3"]) > height["ResNet"] + 0.6
assert abs(height["plain 3x3"] - height["U-Net"]) < 0.6

# %% [markdown]
# ## 6 · All of it, and the images themselves
#
# Most peaks so far are close to the base's. But two images can be equally wrong
# in different places. For two recipes $a$ and $b$ we want the squared distance of their *mean* images, $\bar x_a$ and $\bar x_b$, over all
# seeds. With independent seeds
#
# $$\lVert \bar x_a - \bar x_b \rVert^2 = \mathbb E\lVert x_a - x_b\rVert^2 - \tfrac12\,\mathbb E\lVert x_a - x_a'\rVert^2 - \tfrac12\,\mathbb E\lVert x_b - x_b'\rVert^2 ,$$
#
# where $x_a$ and $x_a'$ are two seeds' best images. We state it in percent of the base's mean
# squared error: two images as wrong as the base, whose errors have nothing in common, are 200 % apart. Controls: the base from
# *other* seeds, and two methods without a network, total variation and NL-Ridge.
#
# > **Predict.** At how many percent do you expect the changes that leave the PSNR as it was? And total variation?


# %%
def distance(a, b):
    """Squared distance, per pixel, of the mean images of two lists from different seeds."""

    def between(some, others):
        pairs = [(x, y) for i, x in enumerate(some) for j, y in enumerate(others) if i != j]
        return np.mean([float((x - y).square().mean()) for x, y in pairs]) if pairs else 0.0

    return between(a, b) - (between(a, a) + between(b, b)) / 2


# %%
again = {}
for seed in (3, 4, 5):
    again[seed] = {"problem": photo, "recipe": base, "seed": seed}
    again[seed]["stop"] = past_the_best(camera, times=1.25)
runs["base, seeds 3 to 5"] = list(dip.fits(again).values())
images = {name: [run.oracle for run in three] for name, three in runs.items()}
error = np.mean([float((x - camera).square().mean()) for x in images["base"]])
far = {name: 100 * distance(images["base"], each) / error for name, each in images.items()}

# %% tags=["folded"]
# Gather the rows of the overview
far |= {
    name: 100 * distance(images["base"], [method(photo).clamp(0, 1)]) / error
    for name, method in {
        "total variation": dip.baselines.tv,
        "NL-Ridge": dip.baselines.nl_ridge,
    }.items()
}
groups = [list(shapes), list(inputs)]
groups += [list(families), ["base, seeds 3 to 5"], ["total variation", "NL-Ridge"]]
rows = [name for group in groups for name in group]
edges = np.cumsum([len(group) for group in groups])[:-1] - 0.5

# %% tags=["folded"]
# Draw the overview
figure = Figure(figsize=(7, 9.6))
axes = figure.subplots(1, 4, sharey=True)
for axis, measure in zip(axes, (peak, at, lost, None)):
    for y, name in enumerate(rows):
        if measure is None:
            axis.plot(far[name], y, "s", color=ORANGE)
        elif name in runs:
            values = [measure(run) for run in runs[name]]
            axis.plot([min(values), max(values)], [y, y], color=BLUE, lw=3)
            axis.plot(np.mean(values), y, "o", color=BLUE)
    if measure:
        values = [measure(run) for run in runs["base"]]
        axis.axvspan(min(values), max(values), color="0.8", lw=0, zorder=0)

# %% tags=["folded"]
# Give the panels titles and lines
titles = ("peak, dB", "its iteration", "overfitting\ncosts, dB", "distance\nfrom base, %")
for axis, title in zip(axes, titles):
    axis.hlines(edges, *axis.get_xlim(), color="0.8", lw=0.8)
    axis.set_title(title, fontsize=11)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", alpha=0.25)

# %% tags=["folded", "figure:07_ablation"]
# Show it
axes[0].set_yticks(range(len(rows)), rows, fontsize=10)
axes[0].set_ylim(len(rows) - 0.5, -0.5)
axes[1].set_xscale("log")
axes[1].set_xticks([50, 200], ["50", "200"])
axes[1].minorticks_off()
axes[3].axvline(0, color="0.5", lw=0.8)
changed = [name for name in rows if name in runs and "seeds" not in name]
near = [n for n in changed if abs(mean(peak, runs[n]) - mean(peak, runs["base"])) < 0.3]
said = {"same": len(near), "all": len(changed), "low": abs(min(far[n] for n in near))}
said |= {"high": max(far[n] for n in near), "ridge": far["NL-Ridge"]}
reveal(figure, text="07 overview", again=far["base, seeds 3 to 5"], **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Width, more levels, and $z$ together with input noise leave the mean image where it was, as other seeds do: these choices decide *when* to
# stop, and not what the network prefers.
#
# Elsewhere, equal PSNR hides different images: no skips are at about 6 %, nearest upsampling at 9, U-Net at 10, plain 3x3 at 13, the deep
# decoder at 19,
# all within 0.3 dB of the base. (A tenfold learning rate alone, row *hourglass*: 3.) Total variation is at 28. **How a network is connected is the prior; its width is the clock.**
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert far["base, seeds 3 to 5"] < 6 and min(far["NL-Ridge"], far["total variation"]) > 15
assert max(far[n] for n in ("5 levels", "half the channels", "twice the channels")) < 6
assert far["deep decoder"] > 10

# %% [markdown]
# ## 7 · A larger sweep, and the winner tested
#
# `diplearn sweep benchmarks/ablation.toml` made 225 fits, whose table is stored: 25 recipes, three photographs, three seeds, with the full
# depth and width of `lab`. We compare each fit with the base's *of the same image and seed*.
#
# > **Predict.** Of the 24 changes, how many raise or lower the *peak* in all nine fits alike? How many move its *iteration* the
# > same way in all nine?

# %%
stored = pd.read_csv(data.path("ablation.csv")).set_index(["label", "image", "seed"])
each = pd.DataFrame({"peak": stored.oracle_psnr, "octaves": np.log2(stored.oracle_at)})
apart = (each - each.loc["base"]).drop("base", level="label")
alike = np.sign(apart).groupby("label").sum().abs() == 9

# %% tags=["folded"]
# Draw the sweep
names = [name for name in stored.index.unique("label") if name != "base"]
looks = {"camera": ("o", BLUE), "coins": ("s", ORANGE), "motorcycle": ("^", COLOURS[2])}
cut = stored.oracle_at >= 390  # of 400: the best may have been still to come
figure = Figure(figsize=(7, 9))
for axis, measure in zip(figure.subplots(1, 2, sharey=True), apart):
    for image, (marker, colour) in looks.items():
        for y, name in enumerate(names):
            for seed in range(3):
                x = apart[measure][name, image, seed]
                face = "white" if cut[name, image, seed] else colour
                axis.plot(x, y, marker, color=colour, mfc=face, ms=6, alpha=0.75)
        axis.plot([], [], marker, color=colour, label=image)
figure.axes[0].set_yticks(range(len(names)), names, fontsize=10)
figure.axes[0].invert_yaxis()

# %% tags=["folded"]
# Show it
for axis in figure.axes:
    axis.axvline(0, color="0.5", lw=1)
    axis.grid(alpha=0.25)
figure.axes[0].set_title("peak, dB against the base", fontsize=11)
axis.set_title("its iteration, times the base's", fontsize=11)
axis.set_xticks([-1, 0, 1, 2], ["½", "1", "2", "4"])
handles = axis.get_legend_handles_labels()
figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
reveal(figure, text="07 sweep", peak=alike.peak.sum(), late=alike.octaves.sum())

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Eight for the peak, eighteen for its iteration. What a change does to the *time* is mostly the same everywhere; its
# effect on the peak mostly depends on the image: *nearest upsampling* costs 0.8 dB on the coins, and nothing on the others.
#
# Seven of the eight lower the peak. One is the data term `l1`; with dead pixels it *gains* several decibels (lesson 04b):
# an ablation on one problem is an answer about one problem. And hollow marks warn: on the motorcycle, one level and the lowest rate were
# still improving after 400 iterations, so that "worse on all images" is not shown for these two.
# *One* change raises the peak: input noise of 1/30, as published.
#
# </details>
#
# *Some* change of 24 had to be best. So we test this candidate on two fresh photographs.

# %%
fresh = {}
for name in ("brick", "retina"):
    picture = dip.images.load(name, size=64).mean(dim=0, keepdim=True)
    problem = dip.denoising(picture, sigma=25 / 255, seed=0)
    candidate = {"base": {}, "input noise 1/30": {"input_noise": 1 / 30}}
    fresh[name] = three_seeds(problem, candidate, times=1.25)

# %% tags=["folded"]
# Show the test
rows = {}
for name, both in fresh.items():
    gains = [peak(b) - peak(a) for a, b in zip(both["base"], both["input noise 1/30"])]
    rows[name] = {k: f"{mean(peak, three):.2f}" for k, three in both.items()}
    rows[name]["gain, seed by seed"] = ", ".join(f"{gain:+.2f}" for gain in gains)
show(pd.DataFrame(rows).T.style, text="07 fresh")
for both in fresh.values():
    assert mean(peak, both["input noise 1/30"]) > mean(peak, both["base"])

# %% [markdown]
# The candidate is ahead for all six pairs of seeds, by 0.4 and 0.3 dB on average. So it is more than luck, at this size.
#
# ## 8 · How to do it honestly
#
# 1. **One factor at a time**, and look for a second that moves along.
# 2. **Several seeds, all shown.**
# 3. **Tune for each, past the best** (Lucic et al. 2018: most GANs are equally good, once tuned).
# 4. **Let every fit pass its peak.**
# 5. **The best of many is a candidate**, to be tested on fresh images and tasks (Bouthillier et al. 2021).
# 6. **Report what did not matter.**
#
# ## What to take away
#
# 1. The number of weights, levels beyond three and (with three levels) skips hardly matter for the peak, at this size. Not even coarse
#    grids are necessary (they may add half a decibel).
# 2. Nearly everything sets the *time* at which image and noise come in. Skips, upsampling and family also change the image, at equal PSNR.
# 3. With batch norm, the relative step counts, and it falls by itself: beyond some learning rate, a larger one is not faster.
#
# ## Exercises
#
# Put your answer in the place of `None`, or of the dots (a double click opens the cell). Worked answers:
# [solutions/07_ablation.ipynb](solutions/07_ablation.ipynb).
#
# **1. By chance.** Two recipes are *equally good*; each gets three seeds, so that all six peaks come from one
# distribution. With what probability do all three of one recipe lie above all three of the other, whichever that is?
#
# <details><summary>A first hint</summary>
#
# In how many orders can three red and three blue balls lie in a row?
#
# </details>

# %%
my_probability = None

check.by_chance(my_probability)

# %% [markdown]
# You try 18 changes that do nothing. How many will lie apart like this? What would you do about it?
#
# *Your answer:* ...

# %% [markdown]
# **2. The mesh grid.** In the sweep, $z$ as a **mesh grid** (two smooth ramps from 0 to 1, each pixel's row and column) has its peak twice
# as late as noise.
# Somebody concludes: "A smooth input is slow." The input noise was 0.02 for both. What else
# differs? Run the control with three seeds (`z="mesh", z_channels=2`), and say what is left of the conclusion.
#
# <details><summary>A first hint</summary>
#
# See the dotted curve of section 3. The standard deviation of a ramp from 0 to 1 is 0.29.
#
# </details>
#
# *Your answer:* ...

# %% [markdown]
# **3. The referee.** A paper writes: "We fit `camera` for 150 iterations with our optimiser X, and with Adam at 0.01. Of ten settings
# of X the best reaches 26.4 dB, Adam 25.6 dB. So X has the better prior." Name three objections, each with the cheapest experiment that
# would answer it.
#
# <details><summary>A first hint</summary>
#
# Where is Adam's peak at this rate, in section 4?
#
# </details>
#
# *Your answer:* ...

# %% [markdown]
# **4. An ablation of your own.** Choose a factor that this lesson left out (`help(dip.networks.Hourglass)`: filter sizes, padding,
# `merge_norm`), a problem, two settings (*levels*) of the factor and three seeds each.
# Write down your prediction first. Hand in a dictionary: level → list of runs.
#
# <details><summary>A first hint</summary>
#
# `three_seeds` returns such a dictionary. Does the number of weights move along with your factor?
#
# </details>

# %%
my_levels = None  # {"3x3 (base)": [dip.fit(...), ...], "5x5": [...]}

check.one_factor(my_levels)

# %% [markdown]
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, IJCV 128 (2020). [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - S. Arora, Z. Li, K. Lyu, *Theoretical analysis of auto rate-tuning by batch normalization*, ICLR 2019.
#   [arXiv:1812.03981](https://arxiv.org/abs/1812.03981).
# - M. Lucic et al., *Are GANs created equal? A large-scale study*,
#   NeurIPS 2018. [arXiv:1711.10337](https://arxiv.org/abs/1711.10337).
# - X. Bouthillier et al., *Accounting for variance in machine learning benchmarks*, MLSys 2021.
#   [arXiv:2103.03098](https://arxiv.org/abs/2103.03098).
