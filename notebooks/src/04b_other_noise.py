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
# # 04b · Other noise, other data terms; and two priors mixed
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/04b_other_noise.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/04b_other_noise.ipynb)
#
# **When you are through, you will be able to**
#
# - derive the data term from the noise: Gaussian noise, photons, dead pixels;
# - tell a gain of the data term from one of the stopping rule or the learning rate;
# - make noise equally strong at any brightness;
# - predict without the truth what a mixture of two methods gains;
# - undo what clipping does to a denoised image.
#
# **Computing:** about two minutes on two cores. **Study:** about 75 minutes, exercises included.
#
# **Needs:** lessons 01 and 02; lesson 04 for sections 5 and 6. Nothing is downloaded, no GPU is used.
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
import itertools

import numpy as np
import pandas as pd
import torch

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import closeups, predicted_gains
from diplearn.course.show import reveal, show
from diplearn.energy import data_term
from diplearn.figures import BLUE, COLOURS, GREEN, GREY, ORANGE, Figure, contact_sheet
from diplearn.widgets import scrub

# %% [markdown]
# ## 1 · The noise decides the data term
#
# In lesson 02 the energy came from Bayes' rule: the most probable image minimises
# $-\log p(x_0 \mid x) - \log p(x)$. The network replaces the prior $p(x)$. The other part, the **data term**,
# describes what happens to a pixel on its way from $x$ to $x_0$. So far that was Gaussian noise, and
# $-\log p(x_0 \mid x)$ was $(x - x_0)^2 / 2\sigma^2$: squares. Two other kinds of damage are common.
#
# **Photons.** If a pixel of brightness 1 receives $p$ photons on average, one of brightness
# $x$ counts $k$ of them with the probability $e^{-px} (px)^k / k!$, the Poisson distribution, and we observe
# $x_0 = k / p$. The negative logarithm is $p\,(x - x_0 \log x)$ plus terms without $x$. Subtract its lowest value,
# at $x = x_0$, and drop the factor $p$. What is left is the **deviance** (statisticians multiply it by $2p$):
#
# $$E(x; x_0) = \frac1N \sum \Bigl( x - x_0 + x_0 \log \frac{x_0}{x} \Bigr). \tag{1}$$
#
# It is 0 at $x = x_0$ and positive elsewhere. For small differences, Taylor's formula gives
#
# $$x - x_0 + x_0 \log \frac{x_0}{x} \approx \frac{(x - x_0)^2}{2x}: \tag{2}$$
#
# squares again, divided by the brightness, because the variance of photon noise is $x / p$.
#
# **Dead pixels.** A few pixels are black or white, whatever $x$ was, and all others are exact. Nearly every difference
# is 0, and a few are huge. A Gaussian density calls huge differences impossible; one with heavy tails does not, such as
# Laplace's, $e^{-|x - x_0| / s}$. Its negative logarithm gives the sum of $|x - x_0|$.
#
# In the package, these three data terms are called `mse`, `poisson` and `l1`.


# %%
def deviance(x, x0):
    """What a pixel costs if photons were counted: the term in the sum of (1)."""
    return x - x0 + torch.xlogy(x0, x0 / x)


x, x0 = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)).clamp(min=0.05)
ours, the_packages = deviance(x, x0).mean(), data_term(x, dip.Problem(x0), "poisson")
print(f"equation (1): {ours:.3f}; the package: {the_packages:.3f}")
# NBVAL_CHECK_OUTPUT

# %% tags=["folded"]
# Draw what one pixel costs, as a function of x
figure, along = Figure(figsize=(9, 3)), torch.linspace(0.002, 1, 500)
axes = figure.subplots(1, 2, sharey=True)
for axis, kind, seen in zip(axes, ("dark", "bright"), (0.1, 0.7)):
    costs = (along - seen).square(), (along - seen).abs(), deviance(along, torch.tensor(seen))
    for colour, cost in zip((BLUE, ORANGE, GREEN), costs):
        axis.plot(along, cost, color=colour, lw=2)
    axis.axvline(seen, color=GREY, ls=":", lw=1)
    axis.set(title=f"a {kind} pixel, x₀ = {seen}", xlabel="x", ylim=(-0.02, 0.62), xlim=(0, 1))
    axis.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("cost of the pixel")
for name, colour, x, y in (("mse", BLUE, 0.68, 0.22), ("l1", ORANGE, 0.44, 0.42)):
    axes[0].text(x, y, name, color=colour)
axes[0].text(0.84, 0.4, "poisson", color=GREEN)
show(figure, text="04b costs")

# %% [markdown]
# ## 2 · Dead pixels
#
# Which *one* number stands best for many pixels? The sum of squares is smallest at their **mean**, which every dead
# pixel drags along; the sum of absolute values at their **median**, which hardly notices a few. The gradients say the
# same: that of a square grows with the distance, that of an absolute value is ±1, however wrong the pixel is.
#
# A tenth of the photographer's pixels become salt or pepper: white or black. Each fit has one network,
# and *hold-out* chooses its iteration: a few pixels are kept back, and the fit is stopped when it predicts them best. That
# rule needs no noise level, and judges by the fit's own data term.
#
# > **Predict.** How many decibels lie between `mse` and `l1`: about 1, 4 or 8? Part of that may be due to the
# > iteration that was chosen. How much is left if the *truth* chooses the best iteration of each fit?


# %%
def fits(cases, seeds=range(3)):
    """Name -> the runs of a problem and a recipe, one for each seed."""
    runs = dip.fits(
        {
            (name, seed): {"problem": problem, "recipe": recipe, "seed": seed}
            for name, (problem, recipe) in cases.items()
            for seed in seeds
        }
    )
    return {name: [runs[name, seed] for seed in seeds] for name in cases}


# %%
images = {name: dip.images.load(name, size=96) for name in ("camera", "retina", "coins")}
photographer = images["camera"]
dead = dip.Problem(
    dip.degrade.salt_and_pepper(photographer, amount=0.1, seed=0), truth=photographer
)
one = dip.lab(members=1)
salted = fits({term: (dead, one.replace(data_term=term)) for term in ("mse", "l1")})


# %% tags=["folded"]
# Rivals, and how numbers are printed
def switching(problem):
    """The median of 3x3 pixels, for black and white pixels only."""
    suspect = (problem.observation == 0) | (problem.observation == 1)
    return torch.where(suspect, dip.baselines.median_filter(problem), problem.observation)


def told(values, digits=1):
    """Mean and, of several, standard deviation, as text."""
    spread = f" ± {np.std(values):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


# %% tags=["folded"]
# The table, and the pictures of the first seed
medians = {"median 3×3": dip.baselines.median_filter, "switching median": switching}
sheet = {"observation": dead.observation} | {k: method(dead) for k, method in medians.items()}
salt_table = {k: f"{dip.psnr(image, photographer):.1f}" for k, image in sheet.items()}
for term, runs in salted.items():
    salt_table[f"{term}, hold-out"] = told([run.psnr for run in runs])
    salt_table[f"{term}, best iteration"] = told([run.oracle_psnr for run in runs])
    sheet[term] = runs[0].output
captions = {name: f"{dip.psnr(image, photographer):.1f} dB" for name, image in sheet.items()}
salt_table = pd.DataFrame({"PSNR in dB": salt_table})

# %% tags=["folded"]
# The distance of the two fits, for the caption
chosen, best = (
    {term: [getattr(run, kind) for run in runs] for term, runs in salted.items()}
    for kind in ("psnr", "oracle_psnr")
)
gap, most = (np.mean(each["l1"]) - np.mean(each["mse"]) for each in (chosen, best))

# %%
shown = contact_sheet(sheet, columns=3, captions=captions, width=8)
reveal(shown, salt_table, text="04b dead", gap=gap, best=most)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# With `l1` the fit is eight decibels better, and more than six remain when the truth chooses both iterations, so the
# stopping is not to blame. (Nor is the learning rate: half or twice the rate changes the best results by 0.2 dB at
# most.) Under `mse` a dead pixel pulls hardest *because* it is wrong, and the fit must stop while the image is still
# blurred.
#
# Now the medians. The classic for this damage, the median of 3×3 pixels, is two decibels *behind* the
# fit. If it replaces black and white pixels only, it is five *ahead*: one can *see* which pixels are dead, and neither
# data term knows that. `l1` is for somebody who cannot see it. Exercise 5 gives the fit this knowledge, too.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
plain, switched = (dip.psnr(sheet[name], photographer) for name in medians)
assert gap > 5
assert min(best["l1"]) > max(best["mse"]) + 4.5
assert min(chosen["l1"]) > plain + 0.5 and switched > max(best["l1"]) + 2

# %% [markdown]
# ## 3 · Few photons
#
# Now a dark room. White receives 10 photons, so that the noise's standard deviation is a third of the brightness
# there, and all of it where a single photon falls. (Clipped counts would not be Poisson's, so we expose at half of the
# range: white is 0.5, and brightness 1 means $p$ = 20 photons.)
#
# One way to treat this noise is the likelihood, (1). An older way is to find a function $g$ whose values have the *same*
# noise everywhere, and to use squares. A count with the mean $v$ has the variance $v$, too, and $g(k)$ has nearly the
# variance $g'(v)^2\, v$. Set that to 1:
#
# $$g'(v) = \frac1{\sqrt v} \qquad\Longrightarrow\qquad g(k) = 2 \sqrt k. \tag{3}$$
#
# This is **variance stabilisation**. Anscombe (1948) adds 3/8 under the root, for small counts. Squaring the
# result would be too dark, since the square of a mean is less than the mean of the squares; Mäkitalo and Foi's inverse
# makes up for that.


# %%
white, p = 0.5, 20
low, high = 2 * (3 / 8) ** 0.5, 2 * (p + 3 / 8) ** 0.5  # of 0 and of p photons


def stabilised(x0):
    """Counts over p, on a scale from 0 to 1 on which the noise is the same everywhere."""
    return (2 * (p * x0 + 3 / 8).sqrt() - low) / (high - low)


def back(y):
    """The inverse of `stabilised`, for denoised images (Mäkitalo & Foi 2011)."""
    d = (low + (high - low) * y).clamp(min=low)
    root = (3 / 2) ** 0.5
    k = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 1 / 8
    return k.clamp(min=0) / p


# %% [markdown]
# Four fits, three seeds each, all with the same network, learning rate and stopping rule, hold-out. `mse`, `l1` and
# `poisson` see the counts; the fourth is an `mse` fit of the stabilised counts, brought back.
#
# > **Predict.** Order the four by their PSNR, and guess the distance in decibels from the first to the last. Where would a
# > likelihood that knows of the brightness gain most: in the bright parts of a picture, or in the dark ones?

# %%
rooms = {name: white * clean for name, clean in images.items()}
counted = {name: dip.degrade.poisson_noise(x, peak=p, seed=0) for name, x in rooms.items()}
cases = {}
for name, x0 in counted.items():
    problem = dip.Problem(x0, truth=rooms[name])
    for term in ("mse", "l1", "poisson"):
        cases[name, term] = problem, one.replace(data_term=term)
    even = dip.Problem(stabilised(x0), truth=stabilised(rooms[name]))
    cases[name, "stabilised mse"] = even, one
lit = fits(cases)


# %% tags=["folded"]
# Bring the fits back to the scale of the counts, and measure their PSNR
arms, light = ("mse", "l1", "poisson", "stabilised mse"), {}


def in_counts(arm, image):
    """A result on the scale of the counts."""
    return back(image) if arm == "stabilised mse" else image


for (name, arm), runs in lit.items():
    for kind in ("output", "oracle"):
        made = [in_counts(arm, getattr(run, kind)) / white for run in runs]
        light[name, arm, kind] = [dip.psnr(image, images[name]) for image in made]

# %% tags=["folded"]
# What two classics make of the stabilised counts, of the known level
classics = {}
for name, x0 in counted.items():
    problem = dip.Problem(stabilised(x0), sigma=1 / (high - low))
    made = {"NL-Ridge": dip.baselines.nl_ridge(problem), "BM3D": dip.baselines.bm3d(problem)}
    classics[name] = {k: dip.psnr(back(x) / white, images[name]) for k, x in made.items()}

# %% tags=["folded"]
# Draw the PSNR of each fit, and of the classics
figure, marks = Figure(figsize=(8.4, 6.6)), {"output": "o", "oracle": "*"}
*panels, last = figure.subplots(2, 2).flatten()
colours = dict(zip(arms, (BLUE, ORANGE, GREEN, COLOURS[3])))
for axis, name in zip(panels, rooms):
    for row, arm in enumerate(arms):
        for kind, shift in (("output", -0.13), ("oracle", 0.13)):
            dots = light[name, arm, kind], [row + shift] * 3, marks[kind]
            axis.plot(*dots, color=colours[arm], ms=8, alpha=0.7)
    axis.plot(classics[name].values(), (4, 5), "D", color=GREY, ms=7)
    axis.set(title=name, xlabel="PSNR in dB", ylim=(5.6, -0.6))
    axis.set_yticks(range(6), [*arms, *(f"{k}, stabilised" for k in classics[name])])
    axis.tick_params(labelleft=axis is not panels[1])

# %% tags=["folded"]
# What poisson gains on mse in dark, medium and bright pixels of each image
by_light = {}
for (name, clean), kind in itertools.product(images.items(), marks):
    part, squares = np.digitize(clean.flatten(), (0.2, 0.5)), {}
    for arm in ("mse", "poisson"):
        made = [getattr(run, kind).clamp(0, white) / white - clean for run in lit[name, arm]]
        error = torch.stack(made).square().mean(0).flatten().numpy()
        squares[arm] = np.array([error[part == third].mean() for third in range(3)])
    by_light[name, kind] = 10 * np.log10(squares["mse"] / squares["poisson"])

# %% tags=["folded"]
# Draw these gains
looks = dict(zip(images, (("0.15", "s"), (COLOURS[4], "^"), (COLOURS[5], "v"))))
for (name, kind), gains in by_light.items():
    (colour, mark), chosen = looks[name], kind == "output"
    style = {"ls": "-" if chosen else "--", "label": name if chosen else None}
    last.plot(range(3), gains, color=colour, marker=mark, lw=2, **style)
last.plot([], [], "--", color="0.4", lw=2, label="chosen by the truth")
last.axhline(0, color="0.85", lw=1, zorder=0)
last.set(title="poisson over mse", xlabel="true brightness", ylabel="gain in dB")
last.set_xticks(range(3), ["below 0.2", "0.2 to 0.5", "above 0.5"])

# %% tags=["folded"]
# Legends
for kind, label in (("output", "chosen by hold-out"), ("oracle", "chosen by the truth")):
    panels[0].plot([], [], marks[kind], color="0.4", label=label)
for axis in (panels[0], last):
    axis.legend(frameon=False, fontsize=9)
for axis in figure.axes:
    axis.spines[["top", "right"]].set_visible(False)

# %% tags=["folded"]
# The distances of the fits, for the caption
won = {
    kind: [np.mean(light[k, "poisson", kind]) - np.mean(light[k, "mse", kind]) for k in images]
    for kind in marks
}
numbers = {f"{kind}{n}": gain for kind, three in won.items() for n, gain in enumerate(three)}

# %%
reveal(figure, text="04b photons", **numbers)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# `poisson` is ahead of `mse`: by about a decibel on the photographer and the retina, by less than the seeds differ on the
# coins. Its stars are ahead, too: the stopping is not the reason. Nor is the learning rate: on the photographer, the lead
# is 0.9 and 0.7 dB at half and twice the rate. `l1` is last, two decibels behind `poisson` on the first two images.
#
# In decibels, the dark parts of all three pictures gain most (last panel), whoever chooses the iteration. There a difference of 0.1
# means much, and costs `mse` no more than in bright parts, where it may be mere noise.
#
# The stabilised fit is as good as `poisson`, to within half a decibel. The likelihood suits any operator; the root of a blurred
# image is no blurred image. Stabilisation serves *any* method made for Gaussian noise: NL-Ridge and BM3D, given the stabilised
# counts, are one to two decibels ahead of this small network's fits.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert won["oracle"][0] > 0.2 and won["oracle"][1] > 0.4 and np.mean(won["output"]) > 0.2
for kind in marks:
    dark = [by_light[name, kind][0] - by_light[name, kind][2] for name in images]
    assert np.mean(dark) > 0.6 and min(dark) > 0
for name in images:
    poisson, stable, absolute = (
        np.mean(light[name, arm, "oracle"]) for arm in ("poisson", "stabilised mse", "l1")
    )
    assert abs(poisson - stable) < 0.8 and absolute < poisson
    assert classics[name]["NL-Ridge"] > np.mean(light[name, "poisson", "output"]) + 0.4

# %% tags=["folded"]
# Show the photographer, first seeds
shown = {"counts": counted["camera"]}
shown |= {arm: in_counts(arm, lit["camera", arm][0].output) for arm in arms}
shown = {name: (x / white).clamp(0, 1) for name, x in (shown | {"truth": rooms["camera"]}).items()}
show(contact_sheet(shown, columns=3, width=8), text="04b room")

# %% [markdown]
# ## 4 · Blind: JPEG
#
# JPEG cuts an image into blocks of 8×8 pixels and rounds their frequencies. The error is neither Gaussian nor independent
# from pixel to pixel, and nobody tells the fit. It gets the compressed image, `mse`
# as in the paper, and 150 iterations, since no stopping rule of this course notices such an error.
#
# The rivals (total variation, NL-Ridge, non-local means) need a noise level σ: first their own estimate; then the true size
# of the error, which nobody would know; and last the best σ, chosen by the truth.
#
# > **Predict.** Are the edges of blocks easy or hard for the network? Will the fit gain more than rivals that are told how
# > large the error is?

# %%
pressed = {
    name: dip.jpeg(dip.images.load(name, size=96), quality=10) for name in ("retina", "camera")
}
blind = dip.lab("jpeg", members=1, iterations=150)
unpressed = fits({name: (problem, blind) for name, problem in pressed.items()})

# %% tags=["folded"]
# The gains over the JPEG file, as a table
methods = {"total variation": dip.baselines.tv, "NL-Ridge": dip.baselines.nl_ridge}
methods["non-local means"] = dip.baselines.non_local_means
gained = {}
for name, x in pressed.items():
    before, size = dip.psnr(x.observation, x.truth), float((x.observation - x.truth).std())
    knowing = [dip.Problem(x.observation, truth=x.truth, sigma=f * size) for f in (1, 1.2, 1.5, 2)]
    for k, method in methods.items():
        unaware, *aware = (dip.psnr(method(each), x.truth) - before for each in (x, *knowing))
        gains = {"estimated σ": unaware, "told the size": aware[0], "best σ": max(aware)}
        gained |= {(name, f"{k}, {how}"): [gain] for how, gain in gains.items()}
    for how, kind in (("iteration 150", "psnr"), ("best iteration", "oracle_psnr")):
        gained[name, f"deep prior, {how}"] = [getattr(r, kind) - before for r in unpressed[name]]
jpeg_table = pd.Series({key: told(each, 2) for key, each in gained.items()}).unstack(0, sort=False)

# %% tags=["folded"]
# The best iterations, for the caption
at = {name: [run.oracle_at for run in runs] for name, runs in unpressed.items()}
spans = {name: f"{min(each)} to {max(each)}" for name, each in at.items()}

# %%
reveal(jpeg_table, text="04b jpeg", **spans)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The fit removes blocks without having heard of blocks, and gains about 0.7 dB on the retina and 0.9 on the photographer.
# With their own estimate of σ, the rivals gain little: they look for noise in the finest detail, and blocks are
# smooth inside. But *told* the size of the error, they gain about as much as the fit on the photographer, and more on the
# retina. The fit's advantage is that it needs no σ.
#
# It needs a count instead, and the last row shows how much hangs on that. The retina is best at about 50
# iterations, a decibel above iteration 150; the photographer at about 130. If the truth chooses
# everybody's number, the fit is level with the best rival. An edge of a block is *structure*, and passes with low impedance,
# soon after the image's own edges.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
for name in pressed:
    mean = {key: np.mean(values) for (n, key), values in gained.items() if n == name}
    assert 0.2 < mean["deep prior, iteration 150"] <= mean["deep prior, best iteration"]
    for k in methods:
        assert mean[f"{k}, estimated σ"] < mean["deep prior, iteration 150"] - 0.2
        assert mean[f"{k}, told the size"] > mean["deep prior, iteration 150"] - 0.5
    rival = max(mean[f"{k}, best σ"] for k in methods)
    assert abs(mean["deep prior, best iteration"] - rival) < 0.5
hasty, late = (gained["retina", f"deep prior, {k}"] for k in ("best iteration", "iteration 150"))
assert max(at["retina"]) < min(at["camera"]) and np.mean(hasty) > np.mean(late) + 0.3

# %%
scrub(unpressed["retina"][0], frames=20)

# %% [markdown]
# ## 5 · Two priors that know different things
#
# Two methods have the results $a$ and $b$. Let the mean squares of their errors be
# $e_a^2$ and $e_b^2$, and let $c$ be the mean product of the two errors. The mixture $w\,a + (1 - w)\,b$ has the error
#
# $$w^2 e_a^2 + (1 - w)^2 e_b^2 + 2\,w\,(1 - w)\,c, \qquad \text{smallest at}\quad
#   w = \frac{e_b^2 - c}{e_a^2 + e_b^2 - 2c}. \tag{4}$$
#
# For equal errors, $w$ is one half: the mean of two runs in lesson 04. But $a$ may be much worse than $b$ and still help, as long as
# $c < e_b^2$. It must be wrong *elsewhere*: the correlation of errors $\rho = c / (e_a e_b)$ must be below $e_b / e_a$.
#
# Given the noise level, nobody needs the truth for that. SURE, Stein's estimate of the error (lesson 08), finds $e_a^2$
# and $e_b^2$ from how strongly each method follows a small change of its observation. The images give the rest:
#
# $$\tfrac1N \lVert a - b \rVert^2 = e_a^2 + e_b^2 - 2c. \tag{5}$$
#
# So the gain of a mixture is *predicted*, and the truth can prove that wrong. We test it on two pictures
# (σ = 25/255, three seeds). NL-Ridge and BM3D both combine patches that repeat.
#
# > **Predict.** Order these pairs by what their *plain* mean ($w = ½$) gains over the better of the two: two networks;
# > NL-Ridge and BM3D; NL-Ridge and a blur; the deep prior and NL-Ridge. Which of them lose?


# %%
def mixture(error_a, error_b, apart, w=None):
    """Correlation of the errors, weight of a, gains in dB of the plain mean and of the mixture."""
    c = (error_a + error_b - apart) / 2  # (5)
    w = np.clip((error_b - c) / apart, 0, 1) if w is None else w  # (4)
    of = [v**2 * error_a + (1 - v) ** 2 * error_b + 2 * v * (1 - v) * c for v in (0.5, w)]
    gains = [10 * np.log10(min(error_a, error_b) / error) for error in of]
    return [c / np.sqrt(error_a * error_b), w, *gains]


def sure(image, pair, x0):
    """Estimated mean square error; the pair, made from x₀ ± d, shows how the method reacts."""
    divergence = (d * (pair[0] - pair[1])).mean() / (2 * epsilon**2)
    return float((image - x0).square().mean() + sigma**2 * (2 * divergence - 1))


# %% tags=["folded"]
# The observations of two pictures, with + d and with − d
sigma, epsilon = 25 / 255, 0.3 * 25 / 255
d = epsilon * torch.randn(1, 96, 96, generator=torch.Generator().manual_seed(0))


def observed(name, seed):
    """The observation, not clipped, and the problems of restoring it with + d and with - d."""
    clean = dip.images.load(name, size=96)
    x0 = dip.degrade.gaussian_noise(clean, sigma, seed, clip=False)
    problem = dip.denoising(clean, np.hypot(sigma, epsilon))  # all that there is to remove
    return x0, [problem.varied(observation=x0 + sign * d) for sign in (1, -1)]


trials = {(name, seed): observed(name, seed) for name in ("coins", "brick") for seed in range(3)}

# %% tags=["folded"]
# Fit the networks: two for each observation
alone = dip.lab(members=1, iterations=65, stop="count")  # about where SURE stops a fit of this size
networks = dip.fits(
    {
        (*key, i): {"problem": problem, "recipe": alone, "seed": 2 * key[1] + i}
        for key, (_, both) in trials.items()
        for i, problem in enumerate(both)
    }
)


# %% tags=["folded"]
# Restore by all methods
def restored(key):
    """Name -> what a method makes of x0 + d, and of x0 - d."""
    both = trials[key][1]
    made = {
        "deep prior": [networks[*key, i].average for i in range(2)],
        "NL-Ridge": [dip.baselines.nl_ridge(problem) for problem in both],
        "BM3D": [dip.baselines.bm3d(problem) for problem in both],
        "blur": [dip.Blur(1.0)(problem.observation) for problem in both],
    }
    means = {name: (pair[0] + pair[1]) / 2 for name, pair in made.items()}
    for i, image in enumerate(made["deep prior"], 1):
        means[f"network {i}"], made[f"network {i}"] = image, made["deep prior"]
    return made, means


# %% tags=["folded"]
# The pairs
pairs = [("network 1", "network 2"), ("deep prior", "NL-Ridge")]
pairs += [("NL-Ridge", "BM3D"), ("NL-Ridge", "blur")]

# %%
results, rows = {}, {}
for key, (x0, both) in trials.items():
    made, results[key] = restored(key)
    for a, b in pairs:
        first, second = results[key][a], results[key][b]
        apart = float((first - second).square().mean())
        predicted = mixture(sure(first, made[a], x0), sure(second, made[b], x0), apart)
        errors = [float((x - both[0].truth).square().mean()) for x in (first, second)]
        rows[*key, f"{a} + {b}"] = predicted + mixture(*errors, apart, w=predicted[1])

# %% tags=["folded"]
# Gains of plain means, predicted and measured, for the figure
parts = ["ρ", "w", "plain mean", "mixture"]
columns = pd.MultiIndex.from_product([["predicted", "measured"], parts])
table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
table.index = pd.MultiIndex.from_tuples(table.index, names=["image", "seed", "pair"])
plain = table.xs("plain mean", axis=1, level=1)
dots = {
    name: {pair: three.to_numpy() for pair, three in plain.loc[name].groupby("pair", sort=False)}
    for name in ("coins", "brick")
}

# %% tags=["folded"]
# The best mixtures, averaged over the seeds, as a table
mean = table.groupby(["image", "pair"], sort=False).mean()
wanted = {
    "ρ": ("measured", "ρ"), "weight": ("predicted", "w"),
    "gain predicted": ("predicted", "mixture"), "measured": ("measured", "mixture"),
}  # fmt: skip
lean = pd.DataFrame({label: mean[key] for label, key in wanted.items()})
lean.index = [f"{name}: {pair}" for name, pair in mean.index]
mean = mean.swaplevel()

# %%
reveal(predicted_gains(dots, width=8.5), lean.style.format("{:.2f}"), text="04b pairs")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Only two networks gain from a plain mean on both pictures: they are equally good, and each has errors of its own.
# NL-Ridge and BM3D are wrong in the same places (ρ about 0.9), and gain nothing. With a blur, the plain mean loses a
# decibel: a low ρ is not enough if one of the two is much worse. On the wall even the deep prior does harm.
#
# The right weight repairs that. On the wall, NL-Ridge and the deep prior have ρ ≈ 0.6, and a fifth of the deep prior
# *adds* 0.2 dB. (The blur, the dumbest second opinion, adds a third of that, and nothing on the coins.)
# The gains of the best mixtures were predicted to within 0.1 dB on average. The plain means of two networks are the weak point:
# SURE can hardly tell the better one, and single predictions are off by up to half a decibel.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
missed = (table["predicted"] - table["measured"]).abs()
rho, plain, best = (mean["measured", part] for part in ("ρ", "plain mean", "mixture"))
assert missed["ρ"].max() < 0.09 and missed.groupby(["pair", "image"]).mean()["mixture"].max() < 0.25
assert (plain - mean["predicted", "plain mean"]).abs().max() < 0.5
assert (rho["NL-Ridge + BM3D"] > rho["deep prior + NL-Ridge"] + 0.04).all()
assert best["NL-Ridge + BM3D"].max() < 0.2 and plain["NL-Ridge + blur"].max() < -0.6
wall = "deep prior + NL-Ridge", "brick"
assert rho[wall] < 0.7 and plain[wall] < 0 and best[wall] > 0.08

# %% tags=["folded"]
# Close-ups of the wall: where the deep prior is better, and where NL-Ridge is
truth, rim = trials["brick", 0][1][0].truth, 12
sheet = {"truth": truth} | {k: results["brick", 0][k] for k in ("deep prior", "NL-Ridge")}
wrong = {k: image - truth for k, image in sheet.items()}
inside = slice(rim, -rim)
near = {k: dip.Blur(2.0)(e.square())[0, inside, inside] for k, e in wrong.items()}
apart, places = near["deep prior"] - near["NL-Ridge"], {}
for k, spot in (("deep prior", apart.argmin()), ("NL-Ridge", apart.argmax())):
    row, column = divmod(int(spot), 96 - 2 * rim)
    places[f"{k} is better"] = row + rim, column + rim
    sheet[f"{k}, error ×3"] = (0.5 + 3 * wrong[k]).clamp(0, 1)
show(closeups(sheet, places, width=12), text="04b wall")

# %% [markdown]
# ## 6 · The recipe `guided`, and what clipping does
#
# `dip.fit(problem, "guided")` mixes while it fits the network: NL-Ridge runs once, and of all mixtures at all
# iterations, the one with the smallest estimated error is kept.
#
# It also repairs what clipping does. A camera cannot record less than black, so that noise on black can only brighten. A good
# denoiser finds the mean, which is too bright, but a known function of the clean value. `noise.unclip` inverts
# this function wherever `noise.clipped_ends` finds clipped noise.
#
# > **Predict.** A retina lies on black; a cup of coffee stands in half shade; handwriting is grey on grey. On each,
# > what is `unclip` worth to NL-Ridge, and what does the fit add to the corrected image?


# %%
desks = ("retina", "coffee", "text")
problems = {
    (name, seed): dip.denoising(dip.images.load(name, size=96), sigma, seed=seed)
    for name, seed in itertools.product(desks, range(3))
}
quick = dip.guided(iterations=100)  # enough for images of this size
guided = dip.fits(
    {key: {"problem": each, "recipe": quick, "seed": key[1]} for key, each in problems.items()}
)
scores = {}
for key, problem in problems.items():
    plain = dip.baselines.nl_ridge(problem)
    ends = dip.noise.clipped_ends(problem.observation, plain, sigma)
    corrected = dip.noise.unclip(plain, sigma, *ends)
    scores[key] = [dip.psnr(x, problem.truth) for x in (plain, corrected, guided[key].output)]

# %% tags=["folded"]
# The gains, as a table
scores = pd.DataFrame(scores, index=["NL-Ridge", "unclipped", "guided"]).T
scores["weight"] = [run.rule.weight for run in guided.values()]
by_name = {name: scores.loc[name] for name in desks}
guided_table = pd.DataFrame(
    {
        name: {
            "NL-Ridge, dB": told(each["NL-Ridge"], 2),
            "unclip adds": told(each["unclipped"] - each["NL-Ridge"], 2),
            "the fit adds": told(each["guided"] - each["unclipped"], 2),
            "weight of the fit": told(each["weight"], 2),
        }
        for name, each in by_name.items()
    }
)

# %%
reveal(guided_table, text="04b guided")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# On the retina `unclip` is worth nearly two decibels, and the fit 0.3. On the coffee, `unclip` adds 0.5, and the fit
# hardly more than the seeds' spread. In the handwriting nothing is clipped, and the fit adds nothing.
# So a fair comparison of `guided` needs *corrected* rivals. On nine colour photographs of 256×256 pixels it is 0.25 dB ahead of
# NL-Ridge with `unclip`, and 0.24 of BM3D with it (`benchmarks/RESULTS.md`, σ = 25/255).
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
clip, add = (
    {name: (each[a] - each[b]).mean() for name, each in by_name.items()}
    for a, b in (("unclipped", "NL-Ridge"), ("guided", "unclipped"))
)
assert clip["retina"] > 1.2 and 0.2 < clip["coffee"] < 1.2 and abs(clip["text"]) < 0.05
assert add["retina"] > 0.12 and add["coffee"] > 0.03 and abs(add["text"]) < 0.25

# %% [markdown]
# ## What to take away
#
# 1. **The data term belongs to the noise; the prior stays.** The right one was worth eight decibels for dead pixels, and 0.2 to 1
#    for ten photons. Before you credit it, let the truth choose both iterations, and try other learning rates.
# 2. A likelihood and a stabilised scale say nearly the same. The first suits any operator, the second any method for
#    Gaussian noise.
# 3. What you *know* of the damage can count for more than the prior: which pixels are dead, how large the error is.
# 4. A weaker method helps a better one where it is wrong **elsewhere**. SURE and the distance of the results say so without
#    the truth.
# 5. Clipped noise makes black too bright, whatever the method. `unclip` undoes that.
#
# ## Exercises
#
# Worked answers: [solutions/04b_other_noise.ipynb](solutions/04b_other_noise.ipynb).
#
# **1. Mean, median, and photons.** On a flat patch, `mse` prefers the mean of the pixels and `l1` their median. Which
# constant does `poisson` prefer? It is one of these two. Why, then, do the two data terms that agree here differ in section 3?
# Two or three sentences.
#
# <details><summary>A first hint</summary>
#
# Set the derivative of $\sum_i (c - x_i \log c)$ to zero. Then think of *two* patches, one dark and one bright, and of a fit that
# cannot match both yet.
#
# </details>
#
# *Your answer:*

# %% [markdown]
# **2. When to stop photons.** You know $p$ = 20, and nothing else. Which energy (1) does the *truth* have, on average over
# the noise? A fit with less must be fitting noise. Stop the `poisson` fit of the photographer there:
# `dip.fit(*cases["camera", "poisson"], stop=lambda step: float(step.loss) < my_energy)`.
#
# <details><summary>A first hint</summary>
#
# Put the variance of $x_0$ into (2).
#
# </details>

# %%
my_energy = None

check.photon_energy(my_energy)

# %% [markdown]
# **3. A camera.** Reading a pixel adds noise, too, and the variance of $x_0$ is $a\,x + b$. Write
# `my_root(x0, a, b)`, which gives the noise a standard deviation of 1 at any brightness.
#
# <details><summary>A first hint</summary>
#
# You need a function whose derivative is $1 / \sqrt{a x + b}$. For $b = 0$ and $a = 1/p$ it has to be $2 \sqrt{p\,x_0}$.
#
# </details>

# %%
my_root = None

check.stabilised(my_root)

# %% [markdown]
# **4. Two methods.** SURE says that the error of $a$ is 0.0015 and that of $b$ 0.0021, and $\lVert a - b \rVert^2 / N$ is
# 0.0010. Which weight does $a$ get? And in a sentence: what must $b$ be like to get the weight 0, although it is
# nearly as good as $a$?
#
# <details><summary>A first hint</summary>
#
# First $c$ from (5). For the sentence: $1 - w = 0$ where $c = e_a^2$. Write $b = a + {}$ something.
#
# </details>
#
# *Your answer:*

# %%
my_weight = None

check.best_weight(my_weight)

# %% [markdown]
# **5. Half of the pixels.** Spoil half of the pixels: `amount=0.5`. Do `l1` and the switching median still work? What is the
# likelihood of somebody who knows that dead pixels are exactly black or white, and all others exact?
# Which operator of lesson 02 is that? Fit it, and say in a sentence which of the three you would use, and when not.
#
# <details><summary>A first hint</summary>
#
# If $x_0$ is neither 0 nor 1, then $x = x_0$; else it says nothing. See `dip.operators.Mask`, and
# `dip.lab("inpainting", members=1, iterations=250)`.
#
# </details>
#
# *Your answer:*
#
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision 128
#   (2020). [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - F. J. Anscombe, *The transformation of Poisson, binomial and negative-binomial data*, Biometrika 35 (1948). [doi:10.1093/biomet/35.3-4.246](https://doi.org/10.1093/biomet/35.3-4.246).
# - M. Mäkitalo, A. Foi, *A closed-form approximation of the exact unbiased inverse of the Anscombe variance-stabilizing
#   transformation*, IEEE Transactions on Image Processing 20 (2011).
#   [doi:10.1109/TIP.2011.2121085](https://doi.org/10.1109/TIP.2011.2121085).
# - T. Blu, F. Luisier, *The SURE-LET approach to image denoising*, IEEE Transactions on Image Processing
#   16 (2007). [doi:10.1109/TIP.2007.906002](https://doi.org/10.1109/TIP.2007.906002).
# - BM3D and NL-Ridge: see lesson 04.
# - A. Foi, *Clipped noisy images: heteroskedastic modeling and practical denoising*, Signal Processing 89 (2009).
#   [doi:10.1016/j.sigpro.2009.04.018](https://doi.org/10.1016/j.sigpro.2009.04.018).
