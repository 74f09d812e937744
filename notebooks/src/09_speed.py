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
# # 09 · Speed: half an hour, or about a minute
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/09_speed.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/09_speed.ipynb)
#
# **When you are through, you will be able to**
#
# - count what an iteration multiplies, profile where its time goes, and keep the two apart;
# - tell remedies for the *iteration* from remedies for their *number*, and measure one at a time;
# - name the cheapest rival of a speed-up, and run it;
# - ask the right questions about "fifty times faster".
#
# **Computing:** about two minutes on two cores. **Study:** about 70 minutes, exercises included.
#
# **Needs:** lesson 01; lessons 02 (Adam, batch norm) and 04 (averages) help. No GPU, no download.
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
import math
import time
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch.profiler import profile

import diplearn as dip
from diplearn.course import check
from diplearn.course.show import reveal, show
from diplearn.widgets import scrub

# %% [markdown]
# ## 1 · The bill
#
# Every image is a fit of its own: the price of having no training set. With the published settings a network of two million weights
# is run forwards and backwards about 1,800 times for *one* image: half an hour on two cores at 256x256 pixels. The course uses a recipe of its own, `lab`; this lesson takes
# it apart. The bill has two factors,
#
# $$\text{seconds} \;=\; \text{seconds per iteration} \;\times\; \text{iterations},$$
#
# and different means bring them down.

# %%
clean = dip.images.load("motorcycle", size=128)  # was not used to tune the recipe
problem = dip.denoising(clean, sigma=25 / 255, seed=0)

# %% tags=["folded"]
# Show the task, with what this and the drawings below need
import contextlib
import os

import matplotlib

from diplearn.figures import BLUE, COLOURS, GREY, ORANGE, Figure, contact_sheet

matplotlib.rcParams["font.size"] = 12  # legible on a telephone, too
show(contact_sheet({"x₀": problem.observation, "truth": clean}, width=6), text="09 task")

# %% [markdown]
# ## 2 · What an iteration computes
#
# A convolution from $C$ to $C'$ channels with filters of $k \times k$ weights multiplies $C\,C'\,k^2$ numbers at each pixel of its
# output. What a layer computes is also written to memory, and read again by the next layer and in the backward pass. We count multiplications and numbers written, for the published hourglass of lesson 02, with
# 128 channels at all five levels, and for the *narrow* one of `lab`, with 16 and 32 channels at the two largest levels and 64 below.
#
# > **Predict.** Each level has half the side of the one above. What share of the published network's multiplications happens at full size?


# %%
def costs(network):
    """Millions of multiplications, and of numbers written, by the side of the image written."""
    rows = []

    def note(module, inputs, output):
        filters = getattr(module, "weight", None)
        taps = 0 if filters is None else math.prod(filters.shape[1:])
        rows.append((output.shape[-1], output.numel() * taps / 1e6, output.numel() / 1e6))

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(note)
    with torch.no_grad():
        network(torch.rand(1, 32, 256, 256))
    return pd.DataFrame(rows, columns=["side", "multiplied", "written"]).groupby("side").sum()


# %%
narrow = {"down": (16, 32, 64, 64, 64)}
kinds = {"published": {}, "narrow": narrow}
counted = {kind: costs(dip.networks.Hourglass(**options)) for kind, options in kinds.items()}

# %% tags=["folded"]
# Show the table
table = pd.concat(counted, axis=1).sort_index(ascending=False)
share = table["published", "multiplied"] / table["published", "multiplied"].sum()
fewer = table["published"].sum() / table["narrow"].sum()
numbers = {"full": 100 * share[256], "two": 100 * (share[256] + share[128])}
numbers |= {"times": fewer.multiplied, "writes": fewer.written}
table.loc["all"] = table.sum()
reveal(table.style.format("{:.1f}"), text="09 counts", **numbers)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# If every level did all its work at its own size, the full size would have a share of $1 / (1 + \tfrac14 + \tfrac1{16} + \dots) = \tfrac34$. It has 57 %, since
# the first layer already halves the image (hence six rows): only the way up works at full size.
# The two largest sizes take 87 %. There the narrow network has few channels; below, channels are cheap.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert round(100 * share[256]) == 57 and round(numbers["two"]) == 87
assert 15 < fewer.multiplied < 17 and 4.5 < fewer.written < 5.5

# %% [markdown]
# ## 3 · Where the time goes
#
# The narrow network makes a sixteenth of the multiplications, and writes a fifth of the numbers. A count cannot say what an iteration *waits* for. A **[profiler](https://docs.pytorch.org/docs/stable/profiler.html)** can: it notes when each
# operation begins and ends. Here is an iteration of the published fit, on **one core**, with either network.
#
# > **Predict.** How many times faster is an iteration with the narrow network? Name one kind of operation
# > that takes *as long as before*.


# %%
def iteration_of(network):
    """Return a function that makes one iteration of the published fit."""
    network = network.to(memory_format=torch.channels_last)  # the layout that CPUs are fastest with
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
    z = (torch.rand(1, 32, 128, 128) / 10).to(memory_format=torch.channels_last)

    def iteration():
        x = network(z + torch.randn_like(z) / 30)[0]  # fresh noise on z
        optimiser.zero_grad()
        dip.energy.data_term(x, problem).backward()
        optimiser.step()

    return iteration


# %% tags=["folded"]
# Keep the profiler from printing two lines of its own


@contextlib.contextmanager
def quiet():
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


# %%
cores = torch.get_num_threads()
torch.set_num_threads(1)  # one core, until section 5
profiles = {}
for kind, options in kinds.items():
    iteration = iteration_of(dip.networks.Hourglass(**options))
    iteration()  # the first one also reserves memory
    with quiet(), profile() as measured:
        for _ in range(5):
            iteration()
    profiles[kind] = {e.key: e.self_cpu_time_total / 5000 for e in measured.key_averages()}

# %% tags=["folded"]
# Sort the operations by kind
words = {  # kind -> parts of the names of PyTorch's operations
    "convolution": ("conv",),
    "batch norm": ("batch_norm", "BatchNorm"),
    "activation": ("relu", "sigmoid", "Relu", "Sigmoid"),
    "reflection padding": ("reflection_pad", "ReflectionPad"),
    "random numbers": ("normal_", "randn"),
    "upsampling": ("upsample", "Bilinear", "replication_pad"),
    "optimiser": ("adam", "Adam"),
}

# %% tags=["folded"]
# Add up the milliseconds of each kind


def kind_of(operation):
    found = [kind for kind, parts in words.items() if any(part in operation for part in parts)]
    return found[0] if found else "copies and the rest"


spent = pd.DataFrame(
    {name: pd.Series(each).groupby(kind_of).sum() for name, each in profiles.items()}
).loc[[*words, "copies and the rest"]]

# %% tags=["folded"]
# Draw the milliseconds of each kind, for both networks
figure = Figure(figsize=(7.5, 4.2))
axis = figure.subplots()
for place, (_, row) in enumerate(spent.iterrows()):
    axis.plot(row, [place] * 2, color="0.8", lw=3, zorder=0)
    axis.text(row.max() * 1.25, place, f"÷ {row.published / row.narrow:.1f}", va="center")
for name, colour, marker in zip(spent, (ORANGE, BLUE), "so"):
    axis.scatter(spent[name], range(len(spent)), s=70, color=colour, marker=marker, label=name)
axis.set_yticks(range(len(spent)), spent.index)
axis.set(xscale="log", ylim=(len(spent) - 0.5, -0.5), xlabel="milliseconds of an iteration")
axis.set_xlim(right=2.6 * spent.max().max())
axis.spines[["top", "right"]].set_visible(False)
_ = figure.legend(loc="outside upper center", ncols=2, frameon=False)

# %% tags=["folded"]
# Show the shares
total = spent.sum()
parts = (100 * spent / total).round()
ratio = total.published / total.narrow
said = {"ratio": ratio, "before": parts.published["convolution"]}
said |= {"after": parts.narrow["convolution"], "random": parts.narrow["random numbers"]}
reveal(figure, text="09 profile", **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The iteration becomes five to six times faster, and not sixteen. Convolutions took two thirds of the published network's time; of the narrow one's they take
# less than half. **Random numbers** take as long as before: $z$ has 32 channels with either network, so 520,000 numbers are drawn
# in each iteration. They were 4 % of the time, and are a fifth of it now.
#
# This is *Amdahl's law*: what a remedy leaves alone becomes the next thing that you wait for. If a share $s$ of the time is made $k$ times faster, the whole
# becomes $1 / (1 - s + s/k)$ times faster, and never more than $1/(1 - s)$ times.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert 3 < ratio < 9 and parts.published["convolution"] > 55 and parts.narrow["convolution"] < 55
assert 0.6 < spent.published["random numbers"] / spent.narrow["random numbers"] < 1.7
assert parts.narrow["random numbers"] > 2 * parts.published["random numbers"]

# %% [markdown]
# ### Is it memory?
#
# A usual explanation: a processor multiplies fast and fetches slowly, so a small network "waits for memory". To test it, we time single
# operations (forwards), and compare each with two limits of the same core. What comes near neither limit waits for something else.


# %%
def milliseconds(work, times=10):
    """Time of a call on the processor: the shortest of ten. Other programs' time is not counted."""
    spans = []
    for _ in range(times):
        start = time.process_time()
        work()
        spans.append(time.process_time() - start)
    return 1000 * min(spans)


# %% tags=["folded"]
# The operations: what to call, and how many millions of numbers they multiply and move
def operations(channels):
    x = torch.rand(1, channels, 128, 128).to(memory_format=torch.channels_last)
    other, n, layers = torch.empty_like(x), x.numel() / 1e6, dip.networks.layers
    three, one = (layers.conv(channels, channels, size, padding="zeros") for size in (3, 1))
    norm, mirror = layers.norm(channels), torch.nn.ReflectionPad2d(1)
    return {
        "copy": (lambda: other.copy_(x), 0, 2 * n),
        "3x3 convolution": (lambda: three(x), 9 * channels * n, 2 * n),
        "1x1 convolution": (lambda: one(x), channels * n, 2 * n),
        "batch norm": (lambda: norm(x), 0, 3 * n),  # it reads twice
        "reflection padding": (lambda: mirror(x), 0, 2 * n),
        "random numbers": (lambda: torch.randn_like(x), 0, n),
    }


# %% tags=["folded"]
# Measure them
matrix = torch.rand(1024, 1024)
peak = 1024**3 / 1e6 / milliseconds(lambda: matrix @ matrix)  # millions a millisecond
limits = {}
with torch.no_grad():
    for channels in (128, 16):
        for name, (work, multiplied, moved) in operations(channels).items():
            took = milliseconds(work)
            if name == "copy":
                copied = moved / took
            else:
                limits[name, channels] = multiplied / took / peak, moved / took / copied

# %% tags=["folded"]
# Show how near they come
limits = pd.DataFrame(limits, index=["of the product's rate", "of the copy's rate"]).T
shown = limits.unstack().loc[list(dict.fromkeys(limits.index.get_level_values(0)))]
shown.columns.names = ["", "channels"]
show(shown.style.format("{:.0%}"), text="09 limits")

# %% [markdown]
# The 3x3 convolution multiplies at the core's limit with 128 channels, and at two thirds of it with 16: it does not wait for memory. Batch norm and padding seem to, with 128 channels:
# they come nearer to the copy's rate. The rival is the *cache*, a core's small and fast memory: 16 channels fit into it, which makes the *copy* twice as fast, and these two hardly faster
# ([claims](claims.md)). Memory holds these two up in part with 128 channels, and not with 16.
#
# Random numbers come near neither limit, because of their order in memory: our $z$ keeps the channels of a pixel side by side, as suits convolutions, and PyTorch then draws number by number, in 11 ms.
# In the usual order it draws many at once, in 1.3 ms. So the narrow network waits for a little of everything. *"It waits for memory" is a guess until it is measured.*

# %% tags=["folded"]
# What the text claims, asserted (with a wide margin: other processors have other limits)
rates = limits.iloc[:, 0]
assert min(rates["3x3 convolution"]) > 0.25 > max(rates["random numbers"])
assert limits.loc["random numbers"].to_numpy().max() < 0.2
assert limits["of the copy's rate"]["batch norm"].max() > 0.25

# %% [markdown]
# ## 4 · A ladder, one rung at a time
#
# Five remedies. Each changes one thing, and keeps the changes before it; all are measured on one core, in turns, three times:
#
# - **narrow**: the network of section 2;
# - **noise cut from a canvas**: draw one canvas of random numbers, and cut each iteration's noise out of it at a new place;
# - **zeros for padding**: the published reflection at the border copies every tensor once more;
# - **no norm at the merges**: where a skip joins what comes from below, both are normalised already;
# - **bfloat16**: numbers with a float32's range, a third of its digits and half its bytes, which some processors multiply several times
#   faster.
#
# > **Predict.** By the profile of the narrow network, how many times faster can an iteration become at most if random
# > numbers cost nothing? If padding costs nothing? Is *narrow* worth as much if it comes last?

# %%
rung = dip.paper()
ladder = {"published": rung}
for name, change in {
    "narrow": {"options": narrow},
    "noise cut from a canvas": {"noise_kind": "shifted"},
    "zeros for padding": {"options": {"padding": "zeros"}},
    "no norm at the merges": {"options": {"merge_norm": False}},
    "bfloat16": {"precision": "auto"},  # float32 where the processor has no bfloat16
}.items():
    rung = rung.replace(**change)
    ladder[name] = rung


# %%
def pace(recipe, iterations=5):
    """Milliseconds of one core for an iteration: the median, without the first."""
    marks = [time.process_time()]
    for step in dip.iterate(problem, recipe):
        marks.append(time.process_time())
        if step.iteration == iterations:
            return 1000 * np.median(np.diff(marks)[1:])


rounds = pd.DataFrame([{name: pace(recipe) for name, recipe in ladder.items()} for _ in range(3)])

# %% tags=["folded"]
# The control of the order: take each rung back, alone, from the top of the ladder
back = {
    "narrow": {"options": {"down": (128,) * 5}},
    "noise cut from a canvas": {"noise_kind": "gaussian"},
    "zeros for padding": {"options": {"padding": "reflect"}},
    "no norm at the merges": {"options": {"merge_norm": True}},
    "bfloat16": {"precision": "float32"},
}
top = ladder["bfloat16"]
alone = [{n: pace(top.replace(**change)) for n, change in back.items()} for _ in range(3)]
middle = rounds.median()
climbed = {name: middle.iloc[i] / middle.iloc[i + 1] for i, name in enumerate(back)}
taken = (pd.DataFrame(alone).median() / middle["bfloat16"]).to_dict()
torch.set_num_threads(cores)  # all cores again

# %% tags=["folded"]
# Draw the ladder
figure = Figure(figsize=(7.5, 3.6))
axis = figure.subplots()
for place, name in enumerate(ladder):
    axis.barh(place, middle[name], color=ORANGE if place == 0 else BLUE)
    axis.plot(rounds[name], [place] * 3, "|", color="black", ms=11)
    axis.text(rounds[name].max(), place, f"  {middle[name]:.0f}", va="center")
axis.set_yticks(range(6), list(ladder))
axis.set(ylim=(5.6, -0.6), xlabel="milliseconds of one core for an iteration")
axis.set_xlim(right=1.15 * rounds.max().max())
axis.spines[["top", "right"]].set_visible(False)

# %% tags=["folded"]
# Show it, with what the profile lets expect
most = 1 / (1 - spent.narrow / spent.narrow.sum())
allowed = {"noise cut from a canvas": most["random numbers"]}
allowed["zeros for padding"] = most["reflection padding"]
times = lambda each: {name: f"{value:.2f}" for name, value in each.items()}  # noqa: E731
columns = {
    "times faster, in this order": times(climbed),
    "times faster, as the last": times(taken),
    "expected from the profile": times(allowed),
}
native = "has" if dip.hardware.cpu_has_bfloat16() else "does not have"
facts = pd.DataFrame(columns, index=list(back)).fillna("")
numbers = {"all": middle.iloc[0] / middle.iloc[-1], "first": climbed["narrow"], "native": native}
reveal(figure, facts.style, text="09 ladder", **numbers)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The narrow network makes an iteration more than five times faster, the other four rungs together another two times. The profile let us expect nearly 1.3 times from the noise, and next to nothing
# from padding. About that was measured. A profile says where to look; the rung itself is the measurement.
#
# The canvas has a *cheap rival*: draw Gaussian numbers in the usual order, and copy them. Beside the lesson this made the narrow network 1.2 times faster, the canvas 1.3 times: the order in memory was most of the gain.
#
# The order counts: as the last rung *narrow* is worth less, for one because bfloat16 makes the published network, busy with multiplying, about
# two times faster, and the narrow one about 1.3 times.
#
# *Quality* (beside the lesson, 64x64 pixels): cut noise, zeros and bfloat16 change less than the spread of three seeds. Without the norm at the merges a fit peaks as high, but after 128 iterations
# instead of 170: compared after 110, it had looked 0.6 dB better.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert 3 < climbed["narrow"] < 9 and climbed["noise cut from a canvas"] > 1.08

# %% [markdown]
# ## 5 · Fewer iterations
#
# Now the other factor. The published fit uses Adam, which divides the step of each weight by the typical size of its gradients (lesson 02).
# **Muon** takes the running mean of the gradients of a layer's filters as one matrix. If $G = U S V^\top$ is its singular value
# decomposition, Muon steps along $U V^\top$: all singular values become one. (Biases, the scales of batch norm and the last layer stay with Adam.) Here is one layer before the first step:

# %% tags=["folded"]
# The gradient of one layer, and Muon's step
torch.manual_seed(0)
network = dip.networks.build("hourglass", 32, problem.shape, **dip.lab().options)
first = network(torch.rand(1, 32, 128, 128) / 10)[0]
dip.energy.data_term(first, problem).backward()
gradient = network.levels[3].encode[3].weight.grad.flatten(1)  # 64 filters of 64 x 3 x 3
made = dip.optimisers.orthogonalize([gradient])[0]

# %% tags=["folded"]
# Draw their singular values
figure = Figure(figsize=(7, 3))
axis = figure.subplots()
for name, matrix, colour in zip(("the gradient's", "of Muon's step"), (gradient, made), COLOURS):
    values = torch.linalg.svdvals(matrix)
    axis.semilogy(values / values[0], color=colour, lw=2)
    axis.text(25, 0.05 if name[0] == "t" else 1.1, name, color=colour)
axis.set(xlabel="number", ylabel="singular value / largest", ylim=(1e-3, 2.5))
axis.spines[["top", "right"]].set_visible(False)
show(figure, text="09 singular")

# %% [markdown]
# Muon does not compute the decomposition: five rounds of small matrix products push all singular values towards one.
#
# Muon's step differs from a gradient step in *two* ways. Its singular values are level, and its **length** is fixed by the learning rate, however small the gradient.
# A third racer has the second property without the first: it scales $G$ to the length of Muon's
# step. Each has the best learning rate of its own grid ([claims](claims.md)).
#
# > **Predict.** Rank the three, by iterations to the same PSNR: Adam, Muon, and the gradient at Muon's length.


# %%
def three_seeds(problem, recipes):
    """Fit with three seeds: name -> list of runs."""
    wanted = {
        (name, seed): {"problem": problem, "recipe": recipe, "seed": seed}
        for name, recipe in recipes.items()
        for seed in range(3)
    }
    runs = dip.fits(wanted, progress=False)
    return {name: [runs[name, seed] for seed in range(3)] for name in recipes}


def gradient_at_length(matrices):
    """Scale each matrix to the length that Muon's step has; its singular values stay unequal."""
    return [m / m.norm() * min(m.shape) ** 0.5 for m in matrices]


# %% tags=["folded"]
# The three recipes, each with its best learning rate and long enough for it
small = dip.denoising(dip.images.load("motorcycle", size=96), sigma=25 / 255, seed=0)
muon = dip.lab(members=1, iterations=180, stop="count")
adam = muon.replace(optimiser="adam", learning_rate=0.003, iterations=280)
scaled = muon.replace(learning_rate=0.005, iterations=220)

# %%
races = three_seeds(small, {"Muon": muon, "Adam": adam})
with mock.patch.object(dip.optimisers, "orthogonalize", gradient_at_length):
    races |= three_seeds(small, {"gradient at Muon's length": scaled})

# %% tags=["folded"]
# Draw the race
level, reached = 24, {}
figure = Figure(figsize=(7.5, 4))
axis = figure.subplots()
for colour, (name, three) in zip(COLOURS, races.items()):
    curves = np.array([run.history.psnr_average for run in three])
    along = np.arange(1, curves.shape[1] + 1)
    axis.fill_between(along, curves.min(0), curves.max(0), color=colour, alpha=0.25, lw=0)
    axis.plot(along, curves.mean(0), color=colour, lw=2, label=name)
    reached[name] = [(c >= level).argmax() + 1 if c.max() >= level else np.inf for c in curves]
_ = axis.axhline(level, color="0.6", ls=":")

# %% tags=["folded"]
# Show it
axis.set(xlabel="iteration", ylabel="PSNR of the average in dB", ylim=(18, None))
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False, loc="lower right")
middle_of = {name: np.median(each) for name, each in reached.items()}
said = f"iterations to {level} dB (the three seeds):"
for name, counts in reached.items():
    told = [f"{n:.0f}" if n < np.inf else f"not in {len(races[name][0].history)}" for n in counts]
    said += f"\n{name}: {', '.join(sorted(told))}"
reveal(figure, said, text="09 race", times=middle_of["Adam"] / middle_of["Muon"])

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Muon comes to 24 dB after about 80 iterations, Adam after about 230: nearly **three times** as many. The gradient at Muon's length takes about 175. Only its singular values differ from Muon's: level
# ones save more than half of these iterations, the larger part of the lead. The rest is *not* the fixed length: Adam's step does not depend on the gradient's size either. Adam
# scales each weight by itself, the third racer a whole layer; this was not taken apart.
#
# The usual reading, not tested here: small singular values belong to fine and faint structure, which otherwise comes last. Noise is fine and faint, too: Muon's curve turns sooner (exercise 2). A
# faster optimiser makes the question of when to stop more pressing (lesson 08).
#
# Is that still the deep image prior? Energy, network and $z$ are the same; only the path through weight space has changed. Why the path matters *at all* is an open question ([10b](10b_open_questions.ipynb)).
#
# </details>
#
# The same race as images. Where is Muon when Adam has found the outlines?

# %%
scrub({name: three[0] for name, three in races.items()}, frames=16)

# %% tags=["folded"]
# What the text claims, asserted
assert 2 < middle_of["Adam"] / middle_of["Muon"] < 4.5
assert 1.5 * middle_of["Muon"] < middle_of["gradient at Muon's length"] < 1.1 * middle_of["Adam"]

# %% [markdown]
# ## 6 · Two small networks, or one wide?
#
# The lab recipe fits two networks and takes their mean. Where they differ, at least one is wrong; the mean removes a part of these errors (lesson 04). Two fits are twice the work. Is it
# spent well? The rival is *one* network with all channels doubled, whose iteration takes a bit more than twice the time.
#
# > **Predict.** Which gains more over one small network: the mean of two of them, or one network that is twice as wide?

# %%
wide = muon.replace(options={"down": (32, 64, 128, 128, 128)}, iterations=150)
of_wide = three_seeds(small, {"wide": wide})["wide"]
runs = races["Muon"]
pairs = [(runs[0], runs[1]), (runs[1], runs[2]), (runs[2], runs[0])]
means = [dip.psnr((one.average + two.average) / 2, small.truth) for one, two in pairs]

# %% tags=["folded"]
# Draw the three
ends = {
    "one small network": [dip.psnr(run.average, small.truth) for run in runs],
    "mean of two small networks": means,
    "one wide network": [run.oracle_psnr for run in of_wide],
}
figure = Figure(figsize=(7, 2.2))
axis = figure.subplots()
for place, values in enumerate(ends.values()):
    axis.scatter(values, [place] * 3, s=80, color=(GREY, BLUE, ORANGE)[place], alpha=0.8)
axis.set_yticks(range(3), list(ends))
axis.set(ylim=(2.5, -0.5), xlabel="PSNR in dB")
axis.grid(axis="x", alpha=0.3)
axis.spines[["top", "right"]].set_visible(False)

# %% tags=["folded"]
# Show the gains of the two
gain = np.mean(ends["mean of two small networks"]) - np.mean(ends["one small network"])
other = np.mean(ends["one wide network"]) - np.mean(ends["one small network"])
peaks = [run.oracle_at for run in of_wide]
cost = dict(zip(("small", "wide"), (pace(muon), pace(wide))))
share = 100 * np.mean(peaks) * cost["wide"] / (2 * 180 * cost["small"])
said = {"gain": gain, "other": other, "wide": f"{min(peaks)} to {max(peaks)}", "share": share}
reveal(figure, text="09 two", **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The mean of two gains a third of a decibel, the wide network nothing, although the truth chose its iteration. What two fits have in common, more width does not mend; what a
# fit has alone, a second fit halves. Three decibels, as for independent errors, are out of reach: the errors have the correlation $\rho = 0.84$ (below), and lesson 04's $10 \log_{10} \frac{2}{1 + \rho}$ gives 0.36 dB.
#
# Two networks also suit two cores, one each: that takes a quarter less time than one after the other (`benchmarks/RESULTS.md`).
#
# </details>

# %% tags=["folded"]
# Where two fits are wrong: their errors in grey, and what the text claims, asserted
grey = [0.5 + 3 * (run.average - small.truth).mean(dim=0, keepdim=True) for run in runs[:2]]
mean_error = sum(grey) / 2
sheet = {"error, seed 0": grey[0], "error, seed 1": grey[1], "error of their mean": mean_error}
flat = torch.stack([(run.average - small.truth).flatten() for run in runs[:2]])
rho = torch.corrcoef(flat)[0, 1].item()
assert 0.1 < gain < 1 and rho > 0.5 and other < gain - 0.1
assert all(run.oracle_at < len(run.history) for run in of_wide)
show(contact_sheet(sheet, width=8), text="09 errors", rho=rho)

# %% [markdown]
# ## 7 · What is certain need not be fitted
#
# In inpainting and super-resolution the observation can be exact, $x_0 = A\,x$. Of all images that explain $x_0$ exactly, the one nearest to an output
# $\hat x$ is its projection $P\hat x = \hat x + A^{+}(x_0 - A\,\hat x)$ (lesson 05). For a mask, $P$ puts the known pixels back. `lab` applies $P$ to the outputs on their way into the average,
# and never to the fit.
#
# > **Predict.** Half of the pixels are missing, at random. How many decibels does $P$ gain at the first iteration, and how many late in the fit? And how many *in the missing pixels only*?

# %%
holes = dip.inpainting(small.truth, mask=0.5)  # half of the pixels, at random
one = dip.lab("inpainting", members=1, iterations=90, stop="count")
filled = three_seeds(holes, {"plain": one.replace(project=False), "projected": one})

# %% tags=["folded"]
# Compare the averages: over all pixels, and over the missing ones
missing = holes.operator.project(torch.ones(3, 96, 96), torch.zeros_like(holes.observation)) > 0.5


def inside(run):
    error = (run.average - small.truth)[missing]
    return -10 * math.log10(error.square().mean())


# %% tags=["folded"]
# Show the gains
kept, plain = (
    np.array([run.history.psnr_average for run in filled[name]]) for name in ("projected", "plain")
)
gains = kept - plain
rows = {
    "over all pixels, iteration 1": gains[:, 0],
    "over all pixels, iteration 90": gains[:, -1],
    "over the missing pixels, iteration 90": np.array(
        [inside(p) - inside(q) for p, q in zip(filled["projected"], filled["plain"])]
    ),
}
told = "\n".join(f"gain {n}: {g.min():.2f} to {g.max():.2f} dB" for n, g in rows.items())
reveal(told, text="09 certain")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Half of the pixels are known, so half of the squared error goes at once: 3 dB. Late in the fit the network has learned the known pixels, and little is left to gain.
# In the missing pixels the gain is zero: the two fits are identical, and $P$ does not touch these pixels.
# The projection is bookkeeping, and no faster fit. Ask *where* a
# method is better.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert abs(gains[:, 0] - 3).max() < 0.5 and (0 < gains[:, -1]).all()
assert gains[:, -1].max() < gains[:, 0].min()
assert abs(rows["over the missing pixels, iteration 90"]).max() < 0.01

# %% [markdown]
# ## 8 · The bill
#
# Everything together, on the first image, which no setting was tuned on:

# %%
begun = time.process_time()
run = dip.fit(problem)
spent_on = time.process_time() - begun
images, _ = dip.baselines.compare(problem)

# %% tags=["folded"]
# Show the lab recipe's image beside BM3D's, and the two bills
sheet = {"x₀": problem.observation, "lab": run.output, "BM3D": images["BM3D"], "truth": clean}
told = {n: f"{dip.psnr(x, clean):.2f} dB" for n, x in sheet.items() if n != "truth"}
ahead = dip.psnr(images["BM3D"], clean) - run.psnr
patience = 1.8 * middle["published"]  # 1,800 iterations, in seconds
bill = f"published: 1,800 iterations x {middle['published']:.0f} ms = {patience:.0f} s of one core"
bill += f"\nlab: {run.stopped_at} iterations of two networks = {spent_on:.0f} s of one core"
assert ahead > 0.3 and patience > 5 * spent_on
show(contact_sheet(sheet, columns=2, captions=told, width=8), bill, text="09 result", ahead=ahead)

# %% [markdown]
# BM3D is well ahead, and takes seconds: `lab` is fast *for a deep image prior*.
#
# A ratio of times means nothing without the quality at both ends. The published fit was run once on each of six images, on two cores with bfloat16
# (`benchmarks/RESULTS.md`; its seconds are those of float32). The truth chose each best average.
#
# | 256x256 pixels | published: best average (dB) | after (s) | lab: best average (dB) | after (s) |
# |---|---|---|---|---|
# | F16 | 30.93 | 1558 | 31.0 to 31.2, three seeds | 25 to 27 |
# | baboon | 25.85, rising | 1644 | 25.92, rising | 51 |
# | astronaut | 29.21, rising | 2063 | 29.14, rising | 49 |
# | camera | 29.66, rising | 1484 | 29.41 | 22 |
# | kodim03 | 32.59 | 1218 | 32.10 | 19 |
# | page, 176x176 | 27.63 | 680 | 27.03 | 16 |
#
# The lab recipe is at its best 32 to 67 times sooner; **the quality does not hold everywhere**: from 0.3 dB better, on the image that the recipe was tuned on, to 0.6 dB worse.
#
# **On a GPU** less is known. On one NVIDIA H200, at 512x512 pixels, the published recipe's iteration takes 16 ms in a plain loop, and took 23 ms in this package: 30 to 40 seconds for 1,800.
# *Not measured* there: the lab recipe, and the time to a quality.
#
# **What did not help** (few images; not run again): more channels at the top, nearest-neighbour upsampling, a decaying learning rate, fewer channels of $z$, `torch.compile`.
#
# ## What to take away
#
# 1. Time is seconds per iteration times iterations. Change one thing at a time.
# 2. What an operation waits for is **measured**, not counted.
# 3. Amdahl: what a remedy leaves alone becomes the next thing that you wait for.
# 4. **Muon** reaches the same quality sooner than Adam, and the noise, too; level singular values explain most of its lead.
# 5. Two small networks end higher than a wide one.
# 6. "Faster" is a statement about **two** curves, at a stated quality, on a stated machine.
#
# ## Exercises
#
# Double-click a cell to write into it. Worked answers: [solutions/09_speed.ipynb](solutions/09_speed.ipynb).
#
# **1. Seven times as fast.** In a profile of a narrow network, convolutions take 36 % of an iteration. A processor with bfloat16 makes them seven times as fast, and leaves all
# else as it is. How many times as fast is the iteration? And if convolutions took 68 %, as in a wide network?
#
# <details><summary>A first hint</summary>
#
# Of 100 ms, how long do the convolutions take, before and after? And the rest?
#
# </details>

# %%
my_times = None  # with 36 %

check.amdahl(my_times)

# %% [markdown]
# **2. Only the optimiser.** A friend replaces Adam by Muon in the published recipe and keeps the 1,800 iterations. "Muon is worse: my image is full of noise." What happened, and how would you test it?
#
# *Your answer:*
#
# <details><summary>A first hint</summary>
#
# What does a curve do after its peak? Where is Muon's?
#
# </details>
#
# **3. "Fifty times faster."** An abstract says: "Our method restores an image in 20 seconds, fifty times faster than the deep image prior." Its appendix says: ours ran on a
# recent GPU; the deep image prior's public code ran with its 3,000 iterations on a CPU; ours has 0.4 dB less, on one image, the one of our
# ablation. Which rivals would you run, the cheapest first?
#
# *Your answer:*
#
# <details><summary>A first hint</summary>
#
# Seconds per iteration times iterations, at a quality: which of the three differ for a reason other than the method?
#
# </details>
#
# **4. Your own recipe.** Restore `small` in two thirds of the lab recipe's time, and lose less than half a decibel: `my_run = dip.fit(small, dip.lab(...))`. Which factor do you attack?
#
# <details><summary>A first hint</summary>
#
# Input noise makes a fit slow, and keeps its curve from turning early.
#
# </details>

# %%
reference = dip.fit(small, progress=False)
my_run = None

check.cheaper(my_run, reference)

# %% [markdown]
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision
#   128 (2020). [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - K. Jordan et al., [*Muon*](https://kellerjordan.github.io/posts/muon/) (2024); the size of a step: J. Liu et al. (2025),
#   [arXiv:2502.16982](https://arxiv.org/abs/2502.16982).
# - S. Williams et al., *Roofline*, Communications of the ACM 52 (2009), for the two limits of section 3.
#   [doi:10.1145/1498765.1498785](https://doi.org/10.1145/1498765.1498785).
