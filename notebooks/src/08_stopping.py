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
# # 08 · Stopping: knowing when, without seeing the truth
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/08_stopping.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/08_stopping.ipynb)
#
# **When you are through, you will be able to**
#
# - say why the energy that a fit minimises cannot tell you when to stop;
# - derive rules that can, say what each of them assumes, and break it on purpose;
# - choose a rule for a problem of your own, and read a table that compares rules.
#
# **Computing:** about two minutes on two cores. **Study:** about 65 minutes, exercises included.
#
# **Needs:** lesson 01, integration by parts. No GPU, no download.
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

import diplearn as dip
from diplearn.course import check, data
from diplearn.course.show import reveal, show
from diplearn.figures import BLUE, GREEN, GREY, ORANGE, RULE_COLOURS, Figure, contact_sheet
from diplearn.noise import clipped_variance
from diplearn.stopping import Discrepancy, ExponentialVariance, HoldOut, Sure, WindowedVariance
from diplearn.widgets import scrub

# %% [markdown]
# ## 1 · The challenge
#
# A deep image prior restores an image *on the way* to reproducing the noise. What happens if nobody stops the fit?
# We kept the record of such a fit (`python benchmarks/overfitting.py` makes it again): a noisy cat, one network of the recipe `lab`, no stopping rule.
#
# > **Predict.** After 50,000 iterations, will the image be worse than after 400? Worse than the noisy
# > observation $x_0$ itself?

# %%
record = np.load(data.path("overfitting.npz"))
iteration, energy, single, average = record["curve"].T  # PSNR of single iterates, and of averages

# %% tags=["folded"]
# Draw some of the images
matplotlib.rcParams["font.size"] = 12  # legible on a telephone, too
best = int(iteration[average.argmax()])
cat = dip.denoising(dip.images.load("chelsea", size=128), sigma=25 / 255, seed=0)
images = {"x₀": cat.observation}
captions = {"x₀": f"{dip.psnr(cat.observation, cat.truth):.1f} dB"}
for k in (100, 400, 2400, 50_000):
    images[f"{k:,} iterations"] = record[f"image_{k}"]
    captions[f"{k:,} iterations"] = f"{np.interp(k, iteration, average):.1f} dB"
sheet = contact_sheet(images, captions=captions, alt="See the caption")


# %% tags=["folded"]
# Draw the two curves
def plain(axis, **labels):
    """Set labels, and take away the frame at the top and at the right."""
    axis.set(**labels)
    axis.spines[["top", "right"]].set_visible(False)


figure = Figure(figsize=(7, 5.2))
upper, lower = figure.subplots(2, 1, sharex=True)
upper.loglog(iteration, energy, color=BLUE)
upper.axhline((25 / 255) ** 2, color="0.5", ls=":", label="σ²")
lower.semilogx(iteration, average, color=BLUE, lw=2)
plain(upper, ylabel="energy E")
plain(lower, ylabel="PSNR in dB", xlabel="iteration")

# %% tags=["folded"]
# Show images and curves
for axis in (upper, lower):
    axis.axvline(best, color=ORANGE, ls="--", label=f"best image: iteration {best}")
upper.legend(frameon=False)
left = average[-1] - dip.psnr(cat.observation, cat.truth)
reveal(sheet, figure, text="08 endless", best=best, left=left)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The last image is about 5 dB worse than that of iteration 400, and less than a decibel better than the observation. The energy, which is
# all that the fit sees of itself, falls through the best iteration without a sign.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert 0 < left < 1 and best < 100

# %% [markdown]
# Why is there no sign? Let $x_0 = x + n$, and let $\hat x = f_\theta(z)$ be the image so far. Expand the square:
#
# $$\underbrace{\tfrac1N \lVert \hat x - x\rVert^2}_{\text{error}} \;=\; \underbrace{\tfrac1N \lVert \hat x -
# x_0\rVert^2}_{\text{energy}} \;-\; \underbrace{\tfrac1N \lVert n\rVert^2}_{\approx\, \sigma^2} \;+\; 2\,\underbrace{\tfrac1N \langle
# \hat x - x,\, n\rangle}_{\text{learned noise}} \tag{1}$$
#
# We want the error. The fit knows the energy. Between them stands the last term: how far the image agrees with *this* noise. Progress
# towards the cat and progress towards the noise both lower the energy; only the second makes this term grow. Of the four rules below, the first
# uses the σ² in (1), the second makes the last term vanish, the third estimates it, and the fourth does without (1).
#
# ## 2 · Knowing the noise: the discrepancy principle
#
# How well does the *truth* explain the observation? $E(x; x_0) = \tfrac1N \lVert n \rVert^2 \approx \sigma^2$. An image that explains $x_0$
# better than the truth does is explaining noise. So stop when the energy falls to σ² (Morozov 1984):
#
# ```python
# if (step.average - x0).square().mean() <= 0.93 * sigma**2:
#     break
# ```
#
# The factor 0.93 was found by trial on four other images: the best image on the way has always learned a
# little noise. And because a camera clips to [0, 1], dark and bright pixels have
# *less* noise than σ; the package's rule allows for that.
#
# > **Predict.** If you believe in a σ that is 15 % too large, do you stop too early or too late? And if it is 15 % too
# > small? Which mistake costs more?

# %%
clean, sigma = dip.images.load("camera", size=96), 25 / 255
problems = [dip.denoising(clean, sigma=sigma, seed=seed) for seed in range(3)]


# %%
def watcher(problem, recipe, rules, rows):
    """A callback for a fit: ask other rules after each iteration, and note what they watch."""
    for rule in rules.values():
        rule.prepare(problem, recipe)

    def look(run, step):
        row = {"own": run.rule.state.get("score"), "degrees": run.rule.state.get("divergence")}
        row["energy"] = (step.average - problem.observation).square().mean()
        row["error"] = (step.average - problem.truth).square().mean()
        for name, rule in rules.items():
            rule(step)  # says whether to stop; we let the fit go on
            row[name] = rule.state.get("score")
        rows.append(row)

    return look


# %% tags=["folded"]
# Make several fits, each with a watcher
def watched(cases, recipe):
    """Fit each case: problem, stop, other rules. Return the runs, and what was watched."""
    notes, wanted = {name: [] for name in cases}, {}
    for name, (problem, stop, rules) in cases.items():
        wanted[name] = {"problem": problem, "recipe": recipe, "stop": stop, "seed": name[1]}
        wanted[name]["callback"] = watcher(problem, recipe, rules, notes[name])
    runs = dip.fits(wanted, progress=False)
    tables = {name: pd.DataFrame(rows).astype(float) for name, rows in notes.items()}
    return runs, {name: table.set_axis(table.index + 1) for name, table in tables.items()}


# %%
levels = {"discrepancy": sigma, "too large": 1.15 * sigma, "too small": 0.85 * sigma}
rules, cases = [], {}
for seed, problem in enumerate(problems):
    rules.append({name: Discrepancy(level) for name, level in levels.items()})
    rules[seed] |= {"es-wmv": WindowedVariance(), "es-emv": ExponentialVariance()}
    cases["all pixels", seed] = problem, 200, rules[seed]  # 200 iterations, nothing hidden
    cases["hold-out", seed] = problem, HoldOut(seed=seed), {}  # section 3
    cases["sure", seed] = problem, Sure(seed=seed), {}  # section 4
runs, tables = watched(cases, dip.lab())

# %% tags=["folded"]
# Draw what discrepancy chose
curve = [runs["all pixels", seed].history.psnr_average for seed in range(3)]
figure, lost, top = Figure(figsize=(7, 3.4)), {}, curve[0].max()
axis = figure.subplots()
axis.plot(curve[0], color=GREY, lw=2.2)
axis.plot(curve[0].idxmax(), top, "*", color=GREEN, ms=14)
for name, key in {"discrepancy": "right", "too large": "large", "too small": "small"}.items():
    values = [c.max() - c[each[name].chosen_at] for c, each in zip(curve, rules)]
    lost[key] = f"{min(values):.1f} to {max(values):.1f} dB"
    place = rules[0][name].chosen_at, curve[0][rules[0][name].chosen_at]
    axis.plot(*place, "D", color=RULE_COLOURS["discrepancy"], ms=9)
    words, shift = f"σ {'' if key == 'right' else 'too '}{key}", (6, 6 if key == "small" else -18)
    axis.annotate(words, place, shift, textcoords="offset points")
plain(axis, xlabel="iteration", ylabel="PSNR in dB", xlim=(20, None), ylim=(top - 5, top + 0.5))
reveal(figure, text="08 discrepancy", **lost)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# With the right σ the rule stops near the top. With σ
# 15 % too large it stops far too early, and loses two decibels; with σ 15 % too small it stops too late, and loses half a decibel, since the curve of this photograph falls more slowly
# than it rose. That is how this rule **breaks**: it is as good as your knowledge of the noise.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
for each in rules:
    at = [each[name].chosen_at for name in ("too large", "discrepancy", "too small")]
    assert at[0] < 0.7 * at[1] < 0.7 * at[2]

# %% [markdown]
# ## 3 · Pixels that the fit has not seen: hold-out
#
# The second idea is validation, known from machine learning. Hide a few pixels $h$ from the fit, and watch how well the fit
# predicts them. A hidden pixel is noisy, too; does that matter? Take equation (1) over the hidden pixels only. If their noise $n_h$ has mean zero
# and is independent of all noise that the fit *has* seen, the image cannot have learned any of it, and in expectation the last term is zero:
#
# $$\mathbb E\,\lVert \hat x_h - x_{0,h} \rVert^2 = \mathbb E\,\lVert \hat x_h - x_h\rVert^2 +
# \mathbb E\,\lVert n_h \rVert^2 . \tag{2}$$
#
# That is the error at the hidden pixels, which stand for all, plus a constant: where one is lowest, so is the other. No
# σ is needed, and the noise need not be Gaussian: photon noise will do.
#
# Noise2Void (Krull et al. 2019) and Noise2Self (Batson & Royer 2019) train denoisers on this argument; Ding et al. (2022) stop one network with it. The package fits two networks and hides 5 % of the pixels from each, different ones, so that
# every pixel is seen by at least one.

# %%
rule = HoldOut()
rule.prepare(problems[0], dip.lab())
first, second = (shown.observation for shown in rule.problems)

# %% tags=["folded"]
# Show what the networks see
sheet = {"x₀": problems[0].observation, "network 1 sees": first, "network 2 sees": second}
show(contact_sheet(sheet, width=7), text="08 hidden")

# %% [markdown]
# ## 4 · How the fit reacts: Stein's estimate
#
# The third rule hides nothing: it computes the *expected value* of the last term in (1).
# Look at one pixel, with Gaussian noise $n_i$ of density $p(n_i)$, all other noise held fixed. Then $n_i\, p = -\sigma^2 p'$. Integrate by parts:
#
# $$\mathbb E[(\hat x_i - x_i)\, n_i] = \mathbb E[\hat x_i\, n_i] = \int \hat x_i\, n_i\, p\; dn_i = -\sigma^2 \int \hat x_i\, p'\, dn_i
# = \sigma^2 \int \frac{\partial \hat x_i}{\partial n_i}\, p\; dn_i = \sigma^2\, \mathbb E\Bigl[\frac{\partial \hat x_i}{\partial x_{0,i}}\Bigr]$$
#
# (the first step because $n_i$ has mean zero and $x_i$ is fixed; the boundary terms vanish because $p$ does). Sum over the pixels, put this into (1), and you have **SURE**, Stein's unbiased risk estimate (1981):
#
# $$\mathbb E[\text{error}] = \mathbb E\Bigl[\text{energy} - \sigma^2 + 2\sigma^2\, \tfrac1N \operatorname{div} \hat x\Bigr],
# \qquad \operatorname{div} \hat x = \sum_i \frac{\partial \hat x_i}{\partial x_{0,i}}. \tag{3}$$
#
# The **divergence** says how strongly the image follows its observation. A method that copies $x_0$ has $N$; one that ignores it, 0; a projection
# on $k$ dimensions has $k$. Statisticians call it the **effective degrees of freedom** (Efron 2004). For a linear filter that multiplies
# wave $i$ by $g_i$, it is the sum of these *filter factors*: lesson 10 computes them for a network.
#
# How does one differentiate a fit with respect to its data? The recipe `lab` fits
# *two* networks, so let them see slightly different things: $x_0 + \varepsilon b$ and $x_0 - \varepsilon b$, with
# standard normal noise $b$ and a small ε. In the mean of the two images $f^+$ and $f^-$ the disturbance cancels. Their difference tells the divergence:
# $\operatorname{div} \hat x \approx \langle b, f^+ - f^-\rangle / 2\varepsilon$ (Ramani, Blu & Unser 2008). In this inner
# product, what each pixel owes to its own $b_i$ adds up; what it owes to the others', or to the networks' different seeds, nearly averages out. (Jo et al. 2021 brought SURE to the deep image prior.)
#
# > **Predict.** Sketch the degrees of freedom *per pixel*, $\frac1N \operatorname{div} \hat x$, over the iterations. Where do they start? How large are they at the best
# > image, nearer to 0 or to 1?

# %% tags=["folded"]
# Draw the degrees of freedom per pixel
figure = Figure(figsize=(7, 3.4))
axis, found, N = figure.subplots(), [], clean.numel()
for seed in range(3):
    table = tables["sure", seed]
    axis.plot(table.degrees, color=ORANGE, lw=1.5)
    found.append((table.error.idxmin(), table.degrees[table.error.idxmin()]))
axis.plot(*zip(*found), "*", color=GREEN, ms=14, label="best images")
plain(axis, xlabel="iteration", ylabel="degrees of freedom per pixel")
axis.axhline(0, color="0.7", lw=0.8)
axis.legend(frameon=False)
degrees = np.mean([d for _, d in found])
reveal(figure, text="08 degrees", degrees=degrees, numbers=degrees * N, pixels=N)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# They start near zero, since the first outputs have learned next to nothing (the scatter is chance), and rise
# steadily. The best images follow 12 to 18 % of a disturbance. After that, the fit learns more noise than image.
#
# </details>
#
# Is the estimate (3) right? In a picture of a coffee cup, where a quarter of the values are nearly black, it is too low. One suspect is **clipping**: noise that
# is cut off at black has a positive mean. The control: the same noise, not clipped. (In both, the noise's true mean square replaces the
# first σ² in (3).)

# %%
coffee = dip.images.load("coffee", size=96)
cases = {}
for seed in range(3):
    noise = torch.randn(coffee.shape, generator=torch.Generator().manual_seed(seed))
    cut = dip.Problem((coffee + sigma * noise).clamp(0, 1), truth=coffee, sigma=sigma)
    cases["clipped", seed] = cut, Sure(seed=seed), {}
    cases["not clipped", seed] = cut.varied(observation=coffee + sigma * noise), Sure(seed=seed), {}
_, by_clipping = watched(cases, dip.lab())


# %% tags=["folded"]
# Compare true and estimated error
def estimated(kind, seed):
    """True error, equation (3), and how much too low the second is at the best image."""
    table, problem = by_clipping[kind, seed], cases[kind, seed][0]
    strength = float((problem.observation - coffee).square().mean())  # of this noise, exactly
    estimate = table.energy - strength + 2 * sigma**2 * table.degrees
    return table.error, estimate, (table.error - estimate)[table.error.idxmin()]


kinds = "clipped", "not clipped"
gap = {kind: [1e4 * estimated(kind, seed)[2] for seed in range(3)] for kind in kinds}

# %% tags=["folded"]
# Draw both
figure = Figure(figsize=(7, 5.4))
for axis, kind in zip(figure.subplots(2, 1, sharex=True, sharey=True), kinds):
    for seed in range(3):
        error, estimate, _ = estimated(kind, seed)
        axis.loglog(error, color="0.6", lw=4)
        axis.loglog(estimate.clip(lower=1e-5), color=ORANGE, lw=1.2)
    axis.set_title(f"{kind}: true error (grey), estimate (orange)", loc="left", fontsize=11)
    plain(axis, xlabel="iteration", ylabel="mean squared error", xlim=(8, None), ylim=(7e-4, 0.03))
    axis.set_yticks([0.001, 0.003, 0.01, 0.03], ["0.001", "0.003", "0.01", "0.03"])
    axis.set_xticks([10, 20, 50, 100], ["10", "20", "50", "100"])
    axis.minorticks_off()
    axis.label_outer()

# %% tags=["folded"]
# Show it, and assert that clipping explains the gap
clipped, free = (np.mean(gap[kind]) for kind in kinds)
show(figure, text="08 clipping", clipped=clipped, free=free)
assert min(gap["clipped"]) > 1.5 and abs(free) < 0.4 * clipped

# %% [markdown]
# With clipped noise, the estimate is too low by a quarter to a third of the error; without clipping, by nothing that three seeds can tell from
# zero. So clipping explains the gap. From iteration 40 on, the gap changes little: the *depth* of the valley is wrong, but its *place* is as good as without clipping
# (at most 0.2 dB below the best, in both). SURE **breaks** where the integration by parts does: at noise that is not Gaussian, or of another σ.
#
# ## 5 · How the fit moves: running variance
#
# The last idea needs neither equation (1) nor σ. A fit learns the image fast and the noise slowly (lesson 03).
# So watch its speed: how much the last few outputs differ from each other (Wang et
# al. 2023: `es-wmv` takes a window, `es-emv` weights that decay).
#
# > **Predict.** When do the outputs differ least from each other: at the start, near the best image, or at the end?

# %% tags=["folded"]
# Name each rule's signal
SHOWN = {  # rule -> column of the table, and what it is
    "discrepancy": ("energy", "the energy, and the level where it stops"),
    "hold-out": ("own", "mean square of the residual at hidden pixels"),
    "sure": ("own", "estimated error"),
    "es-wmv": ("es-wmv", "variance of the last 25 outputs"),
}


# %% tags=["folded"]
# Find each rule's fit and choice
def fit_of(rule):
    """The fit in which a rule was asked: hold-out and SURE change what the networks see."""
    return rule if rule in ("hold-out", "sure") else "all pixels"


def choice(rule, seed):
    """The iteration that a rule chose, and the PSNR of its image."""
    run = runs[fit_of(rule), seed]
    k = run.chosen_at if rule in ("hold-out", "sure") else rules[seed][rule].chosen_at
    return k, run.history.psnr_average[k]


# %% tags=["folded"]
# Draw the four signals below the curve, seed 0
figure = Figure(figsize=(7, 9))
top, *below = figure.subplots(5, 1, sharex=True, height_ratios=(2.2, 1, 1, 1, 1))
for rule in ("all pixels", "hold-out", "sure"):
    colour, width = RULE_COLOURS.get(rule, GREY), 1.5 if rule in RULE_COLOURS else 4
    top.plot(runs[rule, 0].history.psnr_average, color=colour, lw=width)
for axis, (rule, (column, what)) in zip(below, SHOWN.items()):
    signal, colour = 1000 * tables[fit_of(rule), 0][column], RULE_COLOURS[rule]
    signal, (k, quality) = signal[np.isfinite(signal)], choice(rule, 0)
    axis.plot(signal, color=colour, lw=1.8)
    _ = [place.axvline(k, color=colour, ls="--", lw=1) for place in (top, axis)]
    top.plot(k, quality, "o", color=colour, ms=9, label=f"{rule}: {k}")
    axis.set_title(f"{rule}: {what}, in thousandths", loc="left", fontsize=11)
    low, high = signal.min(), signal[signal.index >= 40].iloc[0]
    plain(axis, ylim=(low - 0.1 * (high - low), high))


# %% tags=["folded"]
# What each rule lost
def span(values):
    """The lowest and the highest of three values."""
    return f"{min(values):.2f} to {max(values):.2f}"


table, price = {}, {}
for rule in [*SHOWN, "es-emv"]:
    chosen = [choice(rule, seed) for seed in range(3)]
    own = [runs[fit_of(rule), seed].oracle_psnr - chosen[seed][1] for seed in range(3)]
    price[rule] = [curve[seed].max() - chosen[seed][1] for seed in range(3)]
    row = {"chosen": ", ".join(str(k) for k, _ in chosen), "lost, same fit": span(own)}
    table[rule] = row | {"lost, all pixels shown": span(price[rule])}

# %% tags=["folded"]
# Show signals and losses
best, highest = curve[0].idxmax(), curve[0].max()
top.plot(best, highest, "*", color=GREEN, ms=14, label=f"best: {best}")
plain(top, ylabel="PSNR in dB", ylim=(highest - 3, highest + 0.3), xscale="log", xlim=(20, 200))
below[0].axhline(930 * float(clipped_variance(clean, sigma)), color="0.5", ls=":")
below[-1].set_xlabel("iteration")
below[-1].set_xticks([20, 50, 100, 200], ["20", "50", "100", "200"])
below[-1].minorticks_off()
top.legend(frameon=False, loc="upper left")
reveal(figure, pd.DataFrame(table).T.style, text="08 signals", best=best)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The outputs differ most at the start, when each step still changes the whole picture, and least near the best image: `es-wmv` is lowest at iterations
# 75 to 95, `es-emv` at 111 to 124, and the best images came at 91 to 97. Both choose nothing before their window has been filled twice or more: the
# variance of a *single* output is zero, the lowest score of all.
#
# **How a valley rule decides.** Hold-out, SURE and running variance each compute a *score* that should be low. They keep the image with the lowest score so
# far, and stop when this score is 30 % of its own iteration ago (if found at iteration 200, a wait of 60; never less than 30).
# Discrepancy stops at a level: the energy has no valley.
#
# On this photograph all rules come within half a decibel; which comes nearest changes with the seed: three fits cannot rank them. Hold-out's own
# fit (blue) is poorer: see section 7.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert all(max(lost) < 1.2 for lost in price.values())
for seed in range(3):
    variances = tables["all pixels", seed]["es-wmv"]
    assert variances[60:150].min() < 0.3 * variances.iloc[30] < 0.3 * variances.iloc[:29].max()

# %% [markdown]
# ## 6 · Breaking hold-out: noise that is not independent
#
# Hidden pixels are a test only if their noise cannot be guessed from their neighbours'. Let us blur the
# noise, and keep its strength.
#
# > **Predict.** Will hold-out stop too early, or too late? Does it help to hide *blocks* of 4x4 pixels, and to judge only those in
# > their middle? And discrepancy, which asks only how *strong* the noise is?

# %%
cases = {}
for seed in range(3):
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    noise = dip.Blur(1.0)(noise)  # a Gaussian blur with a standard deviation of one pixel
    smooth = (clean + sigma * noise / noise.std()).clamp(0, 1)
    problem = dip.Problem(smooth, truth=clean, sigma=sigma)
    cases["pixels", seed] = problem, HoldOut(seed=seed), {"discrepancy": Discrepancy()}
    blocks = HoldOut(fraction=0.1, block=4, start=50, seed=seed)
    cases["blocks", seed] = problem, blocks, {}
fooled, _ = watched(cases, dip.lab(iterations=200))

# %% tags=["folded"]
# What was lost
quality = {"oracle": [], "discrepancy": [], "hold-out, blocks": [], "hold-out, pixels": []}
for seed in range(3):
    history = fooled["pixels", seed].history.psnr_average
    quality["oracle"].append(history.max())
    quality["discrepancy"].append(history[cases["pixels", seed][2]["discrepancy"].chosen_at])
    for hidden in ("blocks", "pixels"):
        quality[f"hold-out, {hidden}"].append(fooled[hidden, seed].psnr)
table = pd.DataFrame({name: {"PSNR in dB": span(q)} for name, q in quality.items()}).T
worse = np.mean(quality["oracle"]) - np.mean(quality["hold-out, pixels"])
level = [255 * dip.Problem(cases["pixels", s][0].observation).noise_level() for s in range(3)]

# %% tags=["folded"]
# Show it, and the pictures of the first seed
run = fooled["pixels", 0]
sheet = {"smooth noise": run.problem.observation, "hold-out, pixels": run.output}
sheet |= {"hold-out, blocks": fooled["blocks", 0].output, "oracle": run.oracle}
captions = {name: f"{dip.psnr(image, clean):.1f} dB" for name, image in sheet.items()}
sheet = contact_sheet(sheet, columns=4, captions=captions, width=8)
reveal(sheet, table.style, text="08 smooth", worse=worse, estimated=np.mean(level))

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Far too late: hold-out never stopped within 200 iterations. Blotches
# are *easy* for the network, and tell it the noise of the hidden pixel between: the last term of (1) is no longer zero. Compression and cameras make
# such noise.
#
# From the middle of a hidden block, the next visible pixel is two steps away and shares less of the noise: the choices are about half a
# decibel below the oracle's (0.2 to 0.9 in a rerun). Discrepancy is not fooled, but only because we told it σ: the finest detail suggests a fifth of it.
# To the prior a blotch is an image: even the oracle's choice is 5 dB below that of section 2.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
fair, blocks, pixels = (
    np.array(quality[k]) for k in ("oracle", "hold-out, blocks", "hold-out, pixels")
)
assert (fair - pixels > 0.7).all() and max(level) < 10
assert (blocks > pixels).all() and (blocks - pixels).mean() > 0.3

# %% [markdown]
# ## 7 · Which one, then?
#
# `dip.fit` chooses by itself (`stop="auto"`): SURE where the noise is Gaussian and you state its σ; hidden
# pixels where nothing is known, or blocks if neighbouring pixels turn out to have similar noise; without noise a **plateau**
# (stop when the image no longer changes); for JPEG a fixed number of iterations.
#
# One image proves nothing. `python benchmarks/stopping.py` compared the rules on five images of 128 pixels, none used
# for tuning: ten tasks, three seeds each. `gap` is what a rule loses in decibels against the best image *of the same fit*: 0.12 dB on average for hold-out,
# less than for any other rule.
#
# > **Predict.** Hold-out hides 5 % of the pixels from each network. What does it lose against the best image of a fit that was shown
# > *all* pixels? Is the difference larger with weak noise (σ = 10/255) or
# > with strong noise (50/255)?

# %%
measured = pd.read_csv(data.path("stopping.csv"))  # price: against the fit with all pixels shown
measured["cost"] = measured.ms / measured.ms_step  # of the time of an iteration
compared = ["hold-out", "sure", "discrepancy", "es-wmv", "es-emv", "plateau"]
columns = {"gap": ["count", "mean", "max"], "price": ["mean", "max"], "cost": "mean"}
by_rule = measured.groupby("rule").agg(columns).loc[compared]
by_task = measured.pivot_table(index="task", columns="rule", values=["gap", "price"])

# %% tags=["folded"]
# Draw both losses, task by task
tasks = {"gaussian-10": "σ = 10", "gaussian-25": "σ = 25", "gaussian-50": "σ = 50"}
tasks |= {"gaussian-25-unknown": "σ = 25, not stated", "half-missing-25": "half missing, σ = 25"}
tasks |= {"poisson": "photons", "salt-and-pepper": "dead pixels"}
figure = Figure(figsize=(7, 5))
axis = figure.subplots()
for row, task in enumerate(tasks):
    for line, rule in enumerate(("hold-out", "sure", "discrepancy", "es-wmv")):
        gap, full = (max(by_task[kind][rule][task], 0.01) for kind in ("gap", "price"))
        place, colour = row + 0.18 * line - 0.27, RULE_COLOURS[rule]
        axis.plot([gap, full], [place, place], color=colour, lw=1.5)
        axis.plot(gap, place, "o", color=colour, mfc="white", ms=7)
        axis.plot(full, place, "o", color=colour, ms=7, label=None if row else rule)

# %% tags=["folded"]
# Finish it, and sum up in a table
plain(axis, xlabel="lost, in dB", xscale="log", ylim=(len(tasks) - 0.5, -0.5))
axis.set_yticks(range(len(tasks)), tasks.values())
axis.set_xticks([0.01, 0.1, 1, 10], ["≤ 0.01", "0.1", "1", "10"])
axis.minorticks_off()
above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 4}
axis.legend(frameon=False, columnspacing=1, handletextpad=0.2, **above)
heads = "cases", "gap, mean", "gap, worst", "price, mean", "price, worst", "cost"
summary = by_rule.set_axis(heads, axis=1).sort_values("price, mean")
table = summary.style.format("{:.2f}").format("{:.0f}", "cases").format("{:.1%}", "cost")
hiding = by_task["price"]["hold-out"] - by_task["gap"]["hold-out"]
told = {"weak": hiding["gaussian-10"], "strong": hiding["gaussian-50"]}
told |= {kind: summary[f"{kind}, mean"]["hold-out"] for kind in ("gap", "price")}
reveal(figure, table, text="08 fair", **told)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Twice as much, since a hidden pixel has to be guessed from its neighbours. In decibels, hiding costs more with weak noise. In mean squared error
# it costs more with strong noise, 0.8 instead of 0.3 · 10⁻⁴; but there the whole error is nine times as large, and decibels count shares of it.
# At σ = 10/255, hold-out loses 0.33 dB, more than SURE, discrepancy and running variance; by the first measure only SURE was better.
#
# Over all its tasks hold-out loses least, and at worst 1.25 dB; JPEG it refuses. SURE loses least where the noise is Gaussian and σ stated, and decibels
# with photons and dead pixels. Running variance fails where half of the pixels are missing; `plateau` was made for problems without noise.
#
# Can the loss be won back? In twelve other fits, taking nine tenths of each hidden pixel from the network that saw it, instead of half, won back
# 0.11 of 0.44 dB at σ = 10/255, and 0.03 of 0.16 at 25/255, at no cost.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
price = by_task["price"]
assert summary["price, mean"]["hold-out"] > 1.9 * summary["gap, mean"]["hold-out"]
assert price.loc["gaussian-10", compared[:5]].idxmax() == "hold-out"
assert 1.2 < summary["price, worst"]["hold-out"] < 1.26
assert price["hold-out"].isna()[["jpeg-10", "jpeg-30"]].all()
stated = ["gaussian-10", "gaussian-25", "gaussian-50", "half-missing-25"]
assert price.sure[stated].max() < 0.2 and price.sure["salt-and-pepper"] > 6
assert (price.sure[stated] < price["hold-out"][stated]).all()

# %% [markdown]
# What the rules of `stop="auto"` lost, task by task (`count`: a fixed number of iterations):

# %%
cases, losses = measured[measured.default], ["gap", "price"]
shipped = cases.groupby(["task", "rule"])[losses].agg(["mean", "max"])

# %% tags=["folded"]
# Show it
heads = "gap, mean", "gap, worst", "price, mean", "price, worst"
show(shipped.set_axis(heads, axis=1).style.format("{:.2f}"), text="08 shipped")

# %% [markdown]
# And by eye? Below is the fit of section 2, and a button for each rule's choice (`count`:
# the end of the fit). Would you have seen which one is the oracle's?

# %% tags=["folded"]
# Where the rules chose
marks = {name: choice(name, 0)[0] for name in ("hold-out", "sure", "discrepancy", "es-wmv")}

# %%
scrub(runs["all pixels", 0], marks=marks, frames=24)

# %% [markdown]
# ## What to take away
#
# 1. error = energy − σ² + 2 · learned noise. The energy alone cannot tell you when to stop.
# 2. **Discrepancy** needs σ, exactly. **Hold-out** needs noise of mean zero, independent from pixel to pixel.
#    **SURE** needs Gaussian noise of known σ. **Running variance** needs a fit whose slowing down is visible.
# 3. Every rule can be fooled, and *how* follows from what it assumes.
# 4. Judge a rule by what it loses against the best image of the *undisturbed* fit, over many images, and
#    by its worst case. A rule that hides data changes the fit, and pays for that.
#
# ## Exercises
#
# Put your answer in the place of `None`, or of the dots (a double click). Worked answers:
# [solutions/08_stopping.ipynb](solutions/08_stopping.ipynb).
#
# **1. Degrees of freedom of any denoiser.** Write `my_degrees(denoise, x0)`: the degrees of freedom *per pixel* of the function
# `denoise`, estimated with one disturbance of your own. Then predict, and measure: does a 3x3 median follow its observation more than
# a 3x3 mean?
#
# <details><summary>A first hint</summary>
#
# Section 4 needs two networks. Here you may call one function twice.
#
# </details>

# %%
my_degrees = None

check.degrees_of_freedom(my_degrees)

# %% [markdown]
# **2. Fool it.** Make a problem on which SURE, `stop="sure"`, loses more than a decibel.
# `dip.Problem(observation, truth=clean, sigma=...)` takes whatever noise you invent. Which line of its derivation have you broken?
#
# <details><summary>A first hint</summary>
#
# Equation (3) needs two things that the rule cannot check: σ, and Gaussian noise.
#
# </details>

# %%
my_run = None  # dip.fit(my_problem, stop="sure", iterations=...)

check.fooled(my_run)

# %% [markdown]
# *Your answer:* ...
#
# **3. Validation, spent.** Hide a fifth of the pixels from each network, or one in a hundred, instead of 5 %:
# `stop=HoldOut(fraction=0.2)`; 64 pixels and three seeds will do. Does the *choice* get better? Does the *image*? Which
# numbers answer each question?
#
# <details><summary>A first hint</summary>
#
# `run.oracle_psnr - run.psnr` judges the choice. For the image you need one more fit, which has seen all.
#
# </details>
#
# *Your answer:* ...

# %% [markdown]
# **4. "Our rule loses 0.05 dB,"** a paper says, on ten images. Which four questions do you ask?
#
# <details><summary>A first hint</summary>
#
# Which numbers were subtracted? What was chosen by looking at the ten images?
#
# </details>
#
# *Your answer:* ...
#
# ## References
#
# - V. A. Morozov, *Methods for Solving Incorrectly Posed Problems*, Springer (1984).
#   [doi:10.1007/978-1-4612-5280-1](https://doi.org/10.1007/978-1-4612-5280-1).
# - C. Stein, *Estimation of the mean of a multivariate normal distribution*, Annals of Statistics 9 (1981).
#   [doi:10.1214/aos/1176345632](https://doi.org/10.1214/aos/1176345632).
# - B. Efron, *The estimation of prediction error: covariance penalties and cross-validation*, Journal of the American Statistical
#   Association 99 (2004). [doi:10.1198/016214504000000692](https://doi.org/10.1198/016214504000000692).
# - S. Ramani, T. Blu, M. Unser, *Monte-Carlo SURE*, IEEE Transactions on Image Processing 17 (2008).
#   [doi:10.1109/TIP.2008.2001404](https://doi.org/10.1109/TIP.2008.2001404).
# - Y. Jo, S. Y. Chun, J. Choi, *Rethinking deep image prior for denoising*, ICCV 2021.
#   [arXiv:2108.12841](https://arxiv.org/abs/2108.12841).
# - H. Wang et al., *Early stopping for deep image prior*, TMLR (2023).
#   [arXiv:2112.06074](https://arxiv.org/abs/2112.06074).
# - L. Ding et al., *A validation approach to over-parameterized matrix and image recovery* (2022).
#   [arXiv:2209.10675](https://arxiv.org/abs/2209.10675).
# - J. Batson, L. Royer, *Noise2Self: blind denoising by self-supervision*, ICML 2019.
#   [arXiv:1901.11365](https://arxiv.org/abs/1901.11365).
# - A. Krull, T.-O. Buchholz, F. Jug, *Noise2Void: learning denoising from single noisy images*, CVPR 2019.
#   [arXiv:1811.10980](https://arxiv.org/abs/1811.10980).
