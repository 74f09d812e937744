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
# - count what one iteration multiplies and what it moves through memory, and say which of the two
#   you are waiting for;
# - tell remedies that make an *iteration* cheaper from remedies that need *fewer* of them, and
#   measure either on your own machine;
# - say what each remedy costs in quality, with its spread over seeds;
# - read a claim such as "fifty times faster" and ask the right questions.
#
# **Time:** about three minutes of computing on two cores.
# **Needs:** lesson 01. Nothing is downloaded, no GPU is used.
# **Words and symbols:** [glossary](glossary.md).

# %%
import sys

if "google.colab" in sys.modules:  # Colab brings torch; only the course itself is missing there
    import subprocess

    address = "diplearn[compare] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

# %%
import math
import time

import pandas as pd
import torch

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import curves
from diplearn.figures import BLUE, COLOURS, Figure, contact_sheet
from diplearn.widgets import scrub

# %% [markdown]
# ## 1 · The challenge
#
# Every image is a fit of its own; that is the price of having no training set. With the published
# settings the price is steep: a network of two million parameters, run forwards and backwards some
# 1,800 times, for *one* image. At 256 × 256 that is about half an hour on two cores. Nobody learns from a film of
# somebody else's run, so the course uses a recipe of its own, `lab`. This lesson takes it apart.

# %%
clean = dip.images.load("motorcycle", size=160)  # was not used to tune the recipe
problem = dip.denoising(clean, sigma=25 / 255, seed=0)
contact_sheet({"x₀": problem.observation, "truth": clean}, width=6, alt="A motorcycle under noise")

# %% [markdown]
# The bill has two factors:
#
# $$\text{seconds} \;=\; \text{seconds per iteration} \;\times\; \text{iterations}.$$
#
# They are brought down by entirely different means, and it pays to keep them apart.
#
# ## 2 · Where an iteration's time goes
#
# A convolution from $C$ to $C'$ channels with filters of $k \times k$ multiplies
# $C\,C'\,k^2$ numbers at each of its output's pixels. And everything that a layer computes has to be
# written to memory and read again: by the next layer, and once more on the way back. Let us count
# both, for the published network and for the lab's, by the side of the image that a layer makes.
#
# > **Predict.** The hourglass has five levels, each with half the side of the one above. With 128 channels on
# > all of them, what share of the multiplications happens at the full size?


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
narrow = dip.networks.build("hourglass", 32, (3, 256, 256), **dip.lab().options)
counted = {"published": costs(dip.networks.Hourglass()), "lab": costs(narrow)}
table = pd.concat(counted, axis=1).sort_index(ascending=False)
table.style.format("{:.1f}").set_caption(
    "millions of numbers, one pass forwards, by side in pixels"
)

# %%
share = table["published", "multiplied"][256] / table["published", "multiplied"].sum()
fewer = table["published"].sum() / table["lab"].sum()
print(f"the full size takes {share:.0%} of the published network's multiplications")
print(
    f"the lab's network multiplies {fewer.multiplied:.0f} times less, writes {fewer.written:.0f} times less"
)
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# **Explain.** Halving the side quarters the pixels; that alone would give three quarters. It is 57 %, because
# the first layer of the way down already halves the image (hence six rows, down to 8), and only the way up
# works at full size. The two largest sizes take 87 %. That is where the lab's network is narrow (16 and 32
# channels), and it is wide only where that is cheap (64 channels from the third level on).
#
# But look at the two ratios. The multiplications shrink far more than the memory traffic. A processor
# multiplies very fast and fetches slowly: once there is little to multiply, you wait for the
# fetching. From there on every *pass* over the large tensors counts, however little is computed in it:
# padding, normalisation, activation, interpolation, noise.
#
# ### A ladder of remedies
#
# Each rung below changes one thing and keeps the others. We measure the time of an iteration, here and
# now.
#
# > **Predict.** The first rung is the narrow network. Will an iteration become 16 times faster, or 6?


# %%
def pace(recipe, iterations=8):
    """Seconds that an iteration takes: the median, without the first two."""
    marks = [time.perf_counter()]
    for step in dip.iterate(problem, recipe):
        marks.append(time.perf_counter())
        if step.iteration == iterations:
            break
    return torch.tensor(marks).double().diff()[2:].median().item()


# %%
rung = dip.paper()
ladder = {"published": rung}
for name, change in {
    "narrow at the top": {"options": {"down": (16, 32, 64, 64, 64)}},
    "bfloat16 if the CPU has it": {"precision": "auto"},
    "zeros for padding": {"options": {"padding": "zeros"}},
    "one normalisation less": {"options": {"merge_norm": False}},
    "noise cut from a canvas": {"noise_kind": "shifted"},
}.items():
    rung = rung.replace(**change)
    ladder[name] = rung
paces = {name: pace(recipe) for name, recipe in ladder.items()}

# %%
alt = "Milliseconds per iteration: a large first step, then the five narrow rungs by themselves"
figure = Figure(alt, figsize=(10, 2.8))
axes = figure.subplots(1, 2, width_ratios=(1, 1))
milliseconds = {name: 1000 * seconds for name, seconds in paces.items()}
for axis, names in zip(axes, (list(paces), list(paces)[1:])):
    lengths = [milliseconds[name] for name in names]
    bars = axis.barh(names, lengths, color=BLUE)
    axis.bar_label(bars, labels=[f"{length:.0f}" for length in lengths], padding=4)
    axis.invert_yaxis()
    axis.set(xlabel="milliseconds per iteration", xlim=(0, 1.2 * max(lengths)))
    axis.spines[["top", "right"]].set_visible(False)
axes[1].set_title("without the published network")
figure

# %%
first, second, *_, last = paces.values()
able = getattr(torch.cpu, "get_capabilities", dict)()  # older releases of torch cannot tell
native = able.get("avx512_bf16") or able.get("amx_bf16")
print("bfloat16: this processor", "has it" if native else "does not have it")
print(f"the first rung: {first / second:.1f} times; the others together: {second / last:.1f} times")
assert second < first  # by how much: on an idle machine, nearer to 6 than to 16

# %% [markdown]
# (The published network gets all cores, a narrow one a single core: at its many small layers several
# cores would mostly wait for each other, and on a busy machine they would do nothing else.)
#
# **Explain.** The first rung is the large one, and nearer to the ratio of the writing (6) than to that of the
# multiplying (16); and that with one core instead of two. What the others are worth depends on the processor. One that multiplies bfloat16 by itself
# climbs all of them. On one that does not, `"auto"` stays with float32, and that rung is as long as the one
# before:
#
# - **bfloat16** keeps the exponent of a float32 and a third of its digits: half the bytes, and some recent
#   processors multiply it several times faster. Energies, averages and the optimiser stay in float32.
# - **Padding by reflection** copies every large tensor once more; zeros are free. What a border of
#   zeros tells the network about where the image ends turned out to do no harm.
# - **The normalisation of what is merged** reads and writes the widest tensor of the level; the next
#   normalisation makes it nearly redundant.
# - **Input noise**: two million Gaussian numbers are drawn for each iteration of the published recipe.
#   Instead, draw one canvas a little larger than $z$, and cut it out at a random place each time.
#
# Two more are in the code of the package and not on the ladder: the skip and what comes from below are
# convolved separately and added, instead of being copied into one tensor first; and the gradient of
# the bilinear interpolation is written as the convolution that it is (`networks/layers.py`).
#
# ## 3 · Fewer iterations
#
# The other factor. The published fit uses Adam, which scales every single weight's step by the size of its
# recent gradients. **Muon** writes the running mean of the gradients of a layer's filters as one matrix $G$,
# with the singular value decomposition $G = U S V^\top$, and steps along $U V^\top$: all singular values become
# one.
#
# > **Predict.** The gradient of a layer's filters has a few large singular values and many small ones. What
# > happens to a fit if the small ones are listened to as much as the large ones?

# %%
photo = dip.denoising(dip.images.load("motorcycle", size=128), sigma=25 / 255, seed=0)
network = dip.networks.build("hourglass", 32, photo.shape, **dip.lab().options)
first = network(torch.rand(1, 32, 128, 128) / 10)[0]
dip.energy.data_term(first, photo).backward()
gradient = network.levels[3].encode[3].weight.grad.flatten(1)  # 64 filters of 64 x 3 x 3
figure = Figure("Singular values: steep for the gradient, level for the step", figsize=(7, 2.8))
axis = figure.subplots()
made = dip.optimisers.orthogonalize([gradient])[0]
for name, matrix, colour in zip(("the gradient's", "Muon's step"), (gradient, made), COLOURS):
    values = torch.linalg.svdvals(matrix)
    axis.semilogy(values / values[0], color=colour, label=name, lw=2)
axis.set(xlabel="number", ylabel="singular value / largest", ylim=(1e-3, 2))
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False)
figure

# %% [markdown]
# That is one layer's gradient before the first step. It spans more than two powers of ten; the step is nearly
# level. (The last value is zero before and after: the image has 8 x 8 = 64 pixels at this level, and the
# normalisation, which takes their mean away, leaves 63 degrees of freedom.) It is not a decomposition but five
# rounds of a few matrix products that push all singular values towards one, and cost a few milliseconds.
#
# Now the race, on a small image: the same network, the same noise, the same averaging. Two optimisers are to be
# compared each at its own learning rate (lesson 07). Muon's is the recipe's 0.01; for Adam, 0.003 was the best of
# seven between 0.001 and 0.1 for as many iterations. Two seeds each; and Adam once at 0.01, the published rate.

# %%
small = dip.denoising(dip.images.load("motorcycle", size=96), sigma=25 / 255, seed=0)
single = dip.lab(members=1, iterations=240, stop="count")
racers = {f"Adam, {r}": single.replace(optimiser="adam", learning_rate=r) for r in (0.01, 0.003)}
racers["Muon, 0.01"] = single
starts = [(name, seed) for seed in range(2) for name in racers if (name, seed) != ("Adam, 0.01", 1)]
started = {(n, s): {"problem": small, "recipe": racers[n], "seed": s} for n, s in starts}
finished = dip.fits(started)  # side by side, on a core each
races = {name: [run for (n, _), run in finished.items() if n == name] for name in racers}
curves({name: runs[0] for name, runs in races.items()}, alt="Muon peaks early, Adam still climbs")

# %% [markdown]
# The same race as images, under one slider (single iterates; the curves below them are the averages'): where is
# Muon when Adam has found the outlines?

# %%
scrub({name: runs[0] for name, runs in races.items()}, frames=20)


# %%
def seconds_to(run, level):
    """When the average first reached a PSNR."""
    history = run.history
    return history.seconds[history.psnr_average >= level].min()


level = min(run.oracle_psnr for run in races["Adam, 0.003"]) - 0.1
race = pd.DataFrame(
    [(n, seconds_to(r, level), r.oracle_psnr, r.oracle_at) for n, rs in races.items() for r in rs],
    columns=["optimiser", f"s to {level:.1f} dB", "best dB", "at iteration"],
)
race.groupby("optimiser").agg(["min", "max"]).style.format("{:.1f}", na_rep="not reached")

# %%
muon, adam = (race[race.optimiser == n].iloc[:, 1].mean() for n in ("Muon, 0.01", "Adam, 0.003"))
print(f"Adam at its better rate takes {adam / muon:.1f} times as long to the same quality")
assert muon < adam

# %% [markdown]
# **Explain.** At either rate Adam still climbs when Muon has passed its best image. The usual reading, which this
# lesson does not test: the small singular values belong to fine and faint structure, which Adam's fit reaches
# last, and Muon's together with the rest. Noise is fine and faint, too: Muon's curve also *turns* earlier, so there
# is less time in which to notice. A faster optimiser makes the question of when to stop more pressing (lesson
# 08).
#
# Is that still the deep image prior? The energy, the network and the fixed $z$ are the same, and the
# prior is still nowhere but in the structure. What has changed is the path through weight space. That
# the path matters *at all* is one of the open questions of lesson 10.
#
# ## 4 · Two small fits instead of a large one
#
# Different seeds end at different results. What the results have in common is the image; where they
# differ, they are wrong. So average them; the paper gains half a decibel from two runs.
#
# > **Predict.** If the errors of two fits were independent, their mean would have half the squared
# > error: 3 dB more. What do you expect of the race's two fits with Muon?

# %%
outputs = [run.output for run in races["Muon, 0.01"]]
mean = torch.stack(outputs).mean(dim=0)
alone = [dip.psnr(x, small.truth) for x in outputs]
gain = dip.psnr(mean, small.truth) - sum(alone) / 2
print(f"alone {alone[0]:.2f} and {alone[1]:.2f} dB; their mean gains {gain:.2f} dB")
assert 0.1 < gain < 1

# %%
errors = {f"error, seed {s}": 0.5 + 3 * (outputs[s] - small.truth) for s in range(2)}
errors["error of their mean"] = 0.5 + 3 * (mean - small.truth)
captions = dict.fromkeys(errors, "three times as strong; grey is none")
alt = "Two error images that resemble each other, and their mean"
contact_sheet(errors, captions=captions, width=8, alt=alt)

# %%
pair = torch.stack([(x - small.truth).flatten() for x in outputs])
rho = torch.corrcoef(pair)[0, 1].item()
expected = {count: 10 * math.log10(count / (1 + (count - 1) * rho)) for count in (2, 4, 1000)}
print(f"correlation of the two errors: {rho:.2f}")
print("so we expect:", ", ".join(f"{gain:.2f} dB from {n}" for n, gain in expected.items()))
assert abs(gain - expected[2]) < 0.1

# %% [markdown]
# **Explain.** A few tenths, not three decibels: the errors resemble each other. From their correlation ρ follows the
# gain of the mean of $n$ fits, $10 \log_{10}(n / (1 + (n - 1)\rho))$. Both fits have smoothed away the same fine
# texture, and both have taken up a part of the *same* noise. Averaging removes what is peculiar to a seed. It
# cannot remove what the structure does to every fit.
#
# The lab recipe fits two networks side by side (`members=2`), each on its own energy and on a core of
# its own, where nobody waits for anybody; what you see as its output is their mean. Four would be
# better by a tenth or two again and cost twice as much.
#
# ## 5 · What is certain need not be fitted
#
# Noise makes every pixel uncertain. But in super-resolution and inpainting the observation can be exact:
# $x_0 = A\,x$, where $A$ throws a part of the image away. The network then spends most of its
# iterations on the part that we *have*. There is a shorter way. Of all images that explain $x_0$
# exactly, the one nearest to the output $\hat x$ is its projection
#
# $$P\hat x \;=\; \hat x + A^{+}\,(x_0 - A\,\hat x)$$
#
# with the pseudo-inverse $A^{+}$. For a mask, $P$ puts the known pixels back. For a downsampler it adds
# what the output's small image lacks, spread smoothly. Only the part that $A$ loses is left to the network.
#
# > **Predict.** $P$ never touches the fit: it is applied to the outputs on their way into the average.
# > When does it gain most, early or late in the fit?

# %%
holes = dip.inpainting(small.truth, mask=0.5)  # half of the pixels, at random
one = dip.lab("inpainting", members=1, iterations=120, stop="count")
ways = {"all fitted": one.replace(project=False), "projected": one}
filled = dip.fits({name: {"problem": holes, "recipe": recipe} for name, recipe in ways.items()})
curves(filled, alt="The projected average is ahead by decibels early, by tenths at the end")

# %%
plain, kept = (run.history.psnr_average for run in filled.values())
earlier = (kept >= plain.iloc[-1]).idxmax()
gains = kept - plain
print(f"gain at the first iteration {gains.iloc[0]:.1f} dB, at the last {gains.iloc[-1]:.1f} dB")
print(f"where the plain average ends, the projected one was after {earlier / len(plain):.0%}")
assert kept.iloc[-1] > plain.iloc[-1] and earlier < len(plain)
assert abs(gains.iloc[0] - 3) < 0.5

# %% [markdown]
# **Explain.** The two fits are identical, and so are their energies and single iterates; only the averages
# differ. Early on the output is about as wrong in the known pixels as in the missing ones. Half of the pixels are
# known, so half of the squared error goes at once: 3 dB. Late in the fit the network has learned the known
# pixels, and little is left to gain. For images with noise the projection would put the noise back, so `lab`
# leaves it out as soon as a problem states one.
#
# ## 6 · The bill
#
# Everything together, on the first image, which no setting was tuned on:

# %%
run = dip.fit(problem)
run

# %%
each = run.seconds / run.stopped_at
patience = 1800 * paces["published"]
print(f"published: 1,800 iterations x {paces['published']:.2f} s = {patience / 60:.0f} minutes")
print(f"lab:       {run.stopped_at} iterations x {each:.3f} s = {run.seconds:.0f} seconds")

# %%
images, classics = dip.baselines.compare(problem)
shown = {"noisy": problem.observation, "lab": run.output, "BM3D": images["BM3D"], "truth": clean}
captions = {n: f"{dip.psnr(p, clean):.2f} dB" for n, p in shown.items() if n != "truth"}
assert dip.psnr(images["BM3D"], clean) > run.psnr + 0.3
contact_sheet(shown, captions=captions, alt="Noisy, the lab recipe's, BM3D's, and the truth")

# %% [markdown]
# (256 × 256 are two and a half times as many pixels, and take both about that much longer: half an hour, and about a
# minute.) BM3D is ahead by most of a decibel, in a few seconds: the lab recipe is fast for a deep image prior, not
# for a denoiser.
#
# A ratio of times means nothing without the quality at both ends. You cannot wait for the published
# fit in a lesson, so we did, once (`benchmarks/RESULTS.md`). The image is F16 of the paper at 256 × 256, σ =
# 25/255; the machine had two cores with bfloat16 instructions. The published fit ran to iteration 1,900 in bfloat16
# on one core; its seconds are its iterations times the pace of float32 on two, measured in the same hour as the
# lab's fits.
#
# | | best average | seconds to it | seconds to the published best |
# |---|---|---|---|
# | published, one seed | 30.9 dB | 1,558 | 1,558 |
# | lab, three seeds (of fit and noise) | 31.1 ± 0.1 dB | 25 to 27 | 18 to 22: 72 to 85 times less |
#
# On a processor without bfloat16 the lab's fit takes more than one and a half times as long.
#
# That is one image, and the recipe was tuned on it. We ran the published fit on five others, one seed each (where
# it was still rising, it ended there):
#
# | image | published, best average | seconds to it | lab, best average | seconds to it |
# |---|---|---|---|---|
# | baboon: texture | 25.85 dB, still rising | 1,644 | 25.92 dB | 51 |
# | astronaut: many small things | 29.21 dB, still rising | 2,063 | 29.14 dB | 49 |
# | camera: grey, with sky and grass | 29.66 dB, still rising | 1,484 | 29.41 dB | 22 |
# | kodim03: smooth | 32.59 dB | 1,218 | 32.10 dB | 19 |
# | page: text, 176 × 176 | 27.63 dB | 680 | 27.03 dB | 16 |
#
# The speed holds; **the quality does not everywhere**: from a little better to 0.6 dB worse. One image had hidden
# that. In fits of one seed, three wider networks (32 to 64 channels) with more input noise (0.03) win back what is
# missing on camera, and about half of it on the last two, in two to three times the lab's seconds.
#
# For four-fold super-resolution the paper reports 31.80 dB on Bird (luminance, 2,000 iterations); the lab recipe
# reaches 32.9 in 350. Where half of the pixels are missing, it has 38.3 dB on the paper's House (standard deviation
# 0.2 over three masks), in less than a minute: 0.9 dB *less* than the paper's 39.16 after 11,000 iterations. All
# three were still rising when they ended: there, patience pays.
#
# Measure your own image with `make bench ARGS="--image NAME"`; it goes on where you stop it.
#
# ### What did not help
#
# An honest list is as long as the ladder; measured on two or three images of 256 pixels where nothing else is
# said.
#
# - *Compiling the network* (`torch.compile`): a tenth less for each step of the published network at 128 pixels,
#   after 45 seconds until the first.
# - *More channels* at the top (32, 64): up to 0.2 dB better, twice the time. Two networks buy more.
# - *Nearest-neighbour upsampling*: fits faster, ends 0.3 dB lower, and its curve turns more sharply.
# - *A higher learning rate*, or one that decays: another path to the same peak.
# - *Shifting the image* against the network's grid from one member to the next: no gain.
# - *Fewer inputs* $z$ (8 or 16 channels instead of 32): hardly faster, slightly worse.
#
# ## What to take away
#
# 1. Time is seconds per iteration times iterations; different remedies for either.
# 2. A narrow network waits for **memory**, not for arithmetic: count the passes over large tensors.
# 3. **Muon** reaches the same quality sooner than Adam, also with Adam at a rate of its own; and it reaches the
#    noise sooner, too.
# 4. Averaging two fits removes what is peculiar to a seed, not the structure's bias.
# 5. What the observation says for certain can be put in, and need not be waited for.
# 6. "Faster" is a statement about **two** curves, at a stated quality, on a stated machine.
#
# ## Exercises
#
# Worked answers: [solutions/09_speed.ipynb](solutions/09_speed.ipynb).
#
# **1. Count.** Write `my_count(inputs, outputs, size, side)`: how many numbers does a convolution
# multiply whose output is a square image of `side` pixels?

# %%
my_count = None

check.multiplications(my_count)

# %% [markdown]
# **2. Level.** Write `my_orthogonal(matrix)` with `torch.linalg.svd`: the same singular vectors, all
# singular values one. How much slower is it than `dip.optimisers.orthogonalize`?

# %%
my_orthogonal = None

check.orthogonal(my_orthogonal)

# %% [markdown]
# **3. Your own recipe.** Find a recipe that restores `small` in two thirds of the lab recipe's time or
# less, and loses less than half a decibel: `my_run = dip.fit(small, dip.lab(...))`. Say first which of
# the two factors you will attack.

# %%
reference = dip.fit(small, progress=False)
my_run = None

check.cheaper(my_run, reference)

# %% [markdown]
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision
#   128 (2020). [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - K. Jordan et al., *Muon: an optimizer for hidden layers in neural networks* (2024).
#   [kellerjordan.github.io/posts/muon](https://kellerjordan.github.io/posts/muon/).
# - J. Liu et al., *Muon is scalable for LLM training* (2025), for the size of a step.
#   [arXiv:2502.16982](https://arxiv.org/abs/2502.16982).
# - D. Kingma, J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015.
#   [arXiv:1412.6980](https://arxiv.org/abs/1412.6980).
# - R. Heckel, P. Hand, *Deep decoder*, ICLR 2019: smaller still.
#   [arXiv:1810.03982](https://arxiv.org/abs/1810.03982).
