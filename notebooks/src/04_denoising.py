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
# - read a residual, and say how much noise and how much detail a fit has taken in;
# - say why averaging restored images helps, and by how many decibels, before you try it;
# - choose a data term for Gaussian noise, photons and dead pixels, and say why;
# - put the method beside the classics honestly, and name the images on which it fails;
# - predict without the truth what a mixture of two methods gains, and mix them.
#
# **Time:** two to five minutes of computing on two cores, depending on the processor.
# **Needs:** lesson 01; lesson 02 helps. Nothing is downloaded, no GPU is used.
# **Words and symbols:** [glossary](glossary.md).

# %%
import sys

if "google.colab" in sys.modules:  # Colab brings torch; only the course itself is missing there
    import subprocess

    address = "diplearn[compare] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

# %%
import itertools

import numpy as np
import pandas as pd
import torch

import diplearn as dip
from diplearn.course import check, data
from diplearn.course.figures import closeups, predicted_gains
from diplearn.figures import BLUE, COLOURS, ORANGE, Figure, contact_sheet
from diplearn.widgets import compare, scrub

# %% [markdown]
# ## 1 · The challenge
#
# In lesson 01 a fit restored a noisy cat, and then sank back into the noise. Lesson 08 asks when to stop.
# Here we ask **what goes in, and in which order**. We begin with a fit that nobody stopped: 50,000
# iterations on a cat of 128×128 pixels, σ = 25/255, one network. It takes too long for a lesson, so
# `python benchmarks/overfitting.py` made it once, and a small record of it comes with the course. Its
# images are moving averages of the iterates.
#
# Since we made the noise $n = x_0 - x$ ourselves, we can look for it in a restored image $\hat x$:
#
# $$a = \frac{\langle \hat x - x,\; n\rangle}{\lVert n\rVert^2} \tag{1}$$
#
# is the **share of the noise** that came in: 0 for the truth, 1 for the observation, linear in between.
# The other side of the coin is the **residual** $x_0 - \hat x$: what the fit has left out. It needs no
# truth.
#
# > **Predict.** The paper stops its JPEG example at 2,400 iterations and shows it overfitted at 50,000.
# > For this faster recipe, how much of the noise is in at 400, 2,400 and 50,000? What should an ideal
# > residual look like?


# %%
def share(change, part):
    """How much of a part there is in a change: its coefficient."""
    return float((change * part).sum() / part.square().sum())


def noise_in(image, problem):
    """Share of the noise that is in the image: 0 for the truth, 1 for the observation."""
    return share(image - problem.truth, problem.observation - problem.truth)


def left_out(image, problem, times=2):
    """The residual in grey, so many times as strong, around mid-grey."""
    residual = (problem.observation - image).mean(dim=0, keepdim=True)
    return (0.5 + times * residual).clamp(0, 1)


# %%
record = np.load(data.path("overfitting.npz"))
cat = dip.denoising(dip.images.load("chelsea", size=128), sigma=25 / 255, seed=0)
film = {k: dip.images.from_array(record[f"image_{k}"]) for k in (100, 400, 2400, 50_000)}
shares = {k: noise_in(image, cat) for k, image in film.items()}
print({f"{k:,}": round(a, 2) for k, a in shares.items()})
assert shares[100] < 0.15 and shares[2400] > 0.5 and shares[50_000] > 0.8
# NBVAL_CHECK_OUTPUT

# %%
shown = {f"{k:,} iterations": image for k, image in film.items()}
captions = {}
for k, image in film.items():
    score, residual = dip.psnr(image, cat.truth), f"residual at {k:,}, ×3"
    captions[f"{k:,} iterations"] = f"{shares[k]:.0%} of the noise is in, {score:.1f} dB"
    shown[residual] = left_out(image, cat, 3)
    captions[residual] = f"{1 - shares[k]:.0%} of the noise is here"
alt = "As the cat grows noisier, its residual grows fainter"
contact_sheet(shown, columns=4, captions=captions, width=12, alt=alt)

# %% [markdown]
# **Explain.** An ideal residual is the noise and nothing else: grain with no cat in it. At 100 iterations
# it nearly is; look closely, and there are faint strokes of fur, below to the left. What you can
# *recognise* in a residual has been thrown away (section 6). Later the residual fades, because the noise moves over into
# the image. At 50,000 most of it is there. The published network is slower and its input noisier, so
# its 2,400 iterations are no law: *iterations of different recipes cannot be compared; what has come in,
# can.*
#
# ## 2 · A race between detail and noise
#
# A shorter fit overfits as well, if nothing holds it back: one network, no noise on its input. It is no
# surprise that a smooth sky comes before grainy noise. So look at fine detail only. Let $H$ keep what a slight blur takes away. Of the fine noise, and of the image's **fine
# detail**, the shares
#
# $$a = \frac{\langle H (\hat x - x),\; H n\rangle}{\lVert H n\rVert^2}, \qquad
#   b = \frac{\langle H \hat x,\; H x\rangle}{\lVert H x\rVert^2} \tag{2}$$
#
# have come in. Both are about 0 for a flat image and 1 for the observation. If detail and noise came in
# at the same rate, we had $a = b$. The fairer rival is a plain blur, first strong, then weaker: it knows
# only that slow waves matter more. A prior is worth its name where $b$ runs further ahead than that.
#
# > **Predict.** The images are a retina, a photographer and grass. Draw $b$ over $a$ for each, and for
# > the blur.


# %%
def fine(image):
    """What a slight blur takes away."""
    return image - dip.Blur(1.0)(image)


def detail_in(image, problem, where=1):
    """Share of the truth's fine detail that is in the image, or in a part of it."""
    return share(where * fine(image), where * fine(problem.truth))


def fine_noise_in(image, problem):
    """Share of the fine noise that is in the image."""
    return share(fine(image - problem.truth), fine(problem.observation - problem.truth))


# %%
greedy = dip.lab(members=1, input_noise=0, iterations=100, stop="count")
images = {name: dip.images.load(name, size=96) for name in ("retina", "camera", "grass")}
noisy = {name: dip.denoising(clean, sigma=25 / 255) for name, clean in images.items()}

# the retina's disc without its rim: pixels that have no black one within four
dark = images["retina"].mean(dim=0, keepdim=True) < 0.1
inside = 1 - torch.nn.functional.max_pool2d(dark.float(), 9, stride=1, padding=4)
within = fine(images["retina"]).square()
print(f"fine detail of the retina, within the rim: {(inside * within).sum() / within.sum():.0%}")
assert (inside * within).sum() < 0.25 * within.sum()


# %%
def fits(problems, recipe, seeds=range(3), look=lambda name, seed: None):
    """Fit each of some problems once for each seed."""
    runs = dip.fits(
        {
            (name, s): {"problem": x0, "recipe": recipe, "seed": s, "callback": look(name, s)}
            for name, x0 in problems.items()
            for s in seeds
        }
    )
    return {name: [runs[name, s] for s in seeds] for name in problems}


# %%
shares = {name: [[], []] for name in noisy}


def come_in(image, problem):
    """Shares of the fine noise and of the fine detail; of that within the retina's rim, too."""
    noise, detail = fine_noise_in(image, problem), detail_in(image, problem)
    return noise, detail, detail_in(image, problem, inside)


def look(name, seed):
    """Note what has come in after each iteration of one fit."""
    return lambda run, step: shares[name][seed].append(come_in(step.output, noisy[name]))


# %%
runs = fits(noisy, greedy, seeds=range(2), look=look)
shares = {name: np.array(both) for name, both in shares.items()}
blurs = {}
for name, problem in noisy.items():
    views = [dip.Blur(width)(problem.observation) for width in np.geomspace(4, 0.3, 15)]
    blurs[name] = np.array([come_in(view, problem)[:2] for view in views])


# %%
def race(axis):
    """Draw what is in after each iteration, for the retina."""
    parts = {"fine detail": (1, BLUE), "vessels": (2, COLOURS[4]), "fine noise": (0, ORANGE)}
    for label, (part, colour) in parts.items():
        axis.semilogx(range(1, 101), shares["retina"][:, :, part].T, color=colour)
        axis.plot([], color=colour, label=label)
    axis.set(title="retina, two seeds", xlabel="iteration", ylabel="share that is in")


def against(axis):
    """Draw detail over noise: the networks, and dashed what a blur makes of the same image."""
    for colour, (name, both) in zip(COLOURS, shares.items()):
        axis.plot(both[:, :, 0].T, both[:, :, 1].T, color=colour, lw=1.3)
        axis.plot(*blurs[name].T, color=colour, ls="--", lw=1.3)
        axis.plot([], color=colour, label=name)


# %%
figure = Figure("Retina's detail comes before noise; grass is close to the blur", figsize=(10, 4.2))
left, right = figure.subplots(1, 2)
race(left)
against(right)
right.plot([], color="0.4", ls="--", label="plain blurs")
right.plot([0, 1], [0, 1], color="0.5", ls=":", label="a = b")
right.set(title="one against the other", xlabel="fine noise, a", ylabel="fine detail, b")
for axis in (left, right):
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
figure

# %%
scrub(runs["retina"][0], frames=20)

# %%
price = {
    name: [float(each[(each[:, 1] > 0.6).argmax(), 0]) for each in both]
    for name, both in shares.items()
}
plain = {name: float(np.interp(0.6, line[:, 1], line[:, 0])) for name, line in blurs.items()}
print("fine noise that is in when 60 % of the fine detail are:")
for name, both in price.items():
    told = " and ".join(f"{each:.0%}" for each in both)
    print(f"{name}: the network {told}, a blur {plain[name]:.0%}")
assert max(price["retina"]) < 0.05 and max(price["camera"]) < plain["camera"] - 0.12
assert plain["grass"] - 0.15 < np.mean(price["grass"]) and plain["retina"] > 0.3
for each in shares["retina"]:  # detail within the rim comes later
    assert each[(each[:, 1] > 0.6).argmax(), 2] < 0.2
for run in runs["retina"]:
    assert run.history.psnr.iloc[-1] < run.history.psnr.max() - 3  # it overfits, and how

# %% [markdown]
# **Explain.** Part of this is scale: even a plain blur (dashed) runs above the dotted line. But when 60 %
# of the retina's detail is in, the blur has let in two fifths of the noise, the network 1 or 2 %: a wide
# window in which to stop. An edge is long and agrees with itself; noise does not. And most of the retina's
# fine detail *is* one long edge, the rim of its disc, which comes in almost free. The vessels (light blue)
# do not; look for them with the slider. On grass the network is hardly better than the blur: its detail is
# irregular grain itself.
#
# ## 3 · Single iterate, moving average, two runs
#
# The paper reports three numbers for denoising: 29.22 dB for a single iterate after 1,800 iterations,
# 30.43 with a moving average of the iterates, 31.00 with the average of two runs. Why should averaging
# *restored* images help at all, when all of them have seen the same noise?
#
# Let two results have the errors $e_1$ and $e_2$, of the same mean square ε². With their correlation
# $\rho = \langle e_1, e_2 \rangle / (\lVert e_1 \rVert\, \lVert e_2 \rVert)$ (the cosine of the angle
# between them),
#
# $$\tfrac1N \bigl\lVert \tfrac12 (e_1 + e_2) \bigr\rVert^2 = \varepsilon^2\, \frac{1 + \rho}{2}
#   \qquad\Longrightarrow\qquad \text{gain} = 10 \log_{10} \frac{2}{1 + \rho}\ \text{dB}. \tag{3}$$
#
# What both got wrong in the same way stays: detail that neither has, noise that both took in. What each
# got wrong in a way of its own (its weights, its $z$) is halved in power.
#
# > **Predict.** With ρ = 0 the gain is 3 dB, with ρ = 1 it is nothing. Of which pairs will the errors be
# > more alike: single iterates of two runs, or moving averages of two runs?

# %%
bike = dip.denoising(dip.images.load("motorcycle", size=96), sigma=25 / 255, seed=0)
alone = dip.lab(members=1, iterations=120, stop="count")
quartet = fits({"motorcycle": bike}, alone, seeds=range(4))["motorcycle"]
pairs = list(itertools.combinations(quartet, 2))


def alike(first, second):
    """Correlation of two images' errors."""
    errors = [(image - bike.truth).flatten() for image in (first, second)]
    return float(torch.nn.functional.cosine_similarity(*errors, dim=0))


# %%
ways = {
    "single iterate": [dip.psnr(run.last, bike.truth) for run in quartet],
    "mean of two runs' iterates": [dip.psnr((a.last + b.last) / 2, bike.truth) for a, b in pairs],
    "moving average": [dip.psnr(run.average, bike.truth) for run in quartet],
    "mean of two runs' averages": [
        dip.psnr((a.average + b.average) / 2, bike.truth) for a, b in pairs
    ],
}
rho_single = [alike(a.last, b.last) for a, b in pairs]
rho_average = [alike(a.average, b.average) for a, b in pairs]
print(
    f"correlation of errors: {np.mean(rho_single):.2f} ± {np.std(rho_single):.2f} single, ", end=""
)
print(f"{np.mean(rho_average):.2f} ± {np.std(rho_average):.2f} averaged")

# %%
figure = Figure("Each averaging lifts the PSNR; both together are best", figsize=(8, 2.8))
axis = figure.subplots()
for row, scores in enumerate(ways.values()):
    axis.plot(scores, [row] * len(scores), "o", color=COLOURS[row], ms=7, alpha=0.6)
    axis.plot(np.mean(scores), row, "|", color="black", ms=22, mew=2)
axis.set(xlabel="PSNR in dB; a dot is a seed, or a pair of seeds", ylim=(3.6, -0.6))
axis.set_yticks(range(4), list(ways))
axis.grid(alpha=0.25)
axis.spines[["top", "right"]].set_visible(False)
figure

# %%
one, two_ones, average, two_averages = (np.mean(scores) for scores in ways.values())
for gain, rho in ((two_ones - one, rho_single), (two_averages - average, rho_average)):
    foretold = 10 * np.log10(2 / (1 + np.mean(rho)))
    print(f"two runs instead of one: {gain:.2f} dB, foretold by (3): {foretold:.2f} dB")
    assert abs(gain - foretold) < 0.1
assert average > one + 0.4 and two_averages > average + 0.15
assert np.mean(rho_single) < np.mean(rho_average) - 0.1

# %% [markdown]
# **Explain.** A single iterate flickers, since fresh noise is added to $z$ each time, and since each step
# overshoots a little. That part of its error is nobody else's; the moving average removes it, and costs
# nothing. What is left is mostly shared, so a second run gains less on top. But it gains, every time. This is why the `lab` recipe shows
# the mean of two networks. The order is the paper's; the decibels are those of this image and recipe.
#
# ## 4 · Beside the classics
#
# Lesson 01 compared on one image. One image proves nothing: here are four, with three seeds of the
# deep prior (one network, to save your time), and σ told to everybody.
#
# > **Predict.** Will one method win on all four? On which image is BM3D, which looks for *patches that
# > repeat*, furthest ahead?

# %%
names = ("retina", "camera", "brick", "grass")
four = {name: dip.denoising(dip.images.load(name, size=96), sigma=25 / 255) for name in names}
deep = fits(four, dip.lab(members=1))
classics, tables = {}, {}
for name, problem in four.items():
    classics[name], tables[name] = dip.baselines.compare(problem)


# %%
def best_blur(problem):
    """PSNR of the blur whose width the truth has chosen, as nobody could."""
    views = [dip.Blur(width)(problem.observation) for width in np.geomspace(0.3, 2, 20)]
    return max(dip.psnr(view, problem.truth) for view in views)


# %%
own = np.mean([run.seconds for three in deep.values() for run in three])
means = {k: np.mean([run.psnr for run in three]) for k, three in deep.items()}
table = pd.DataFrame({name: each.psnr for name, each in tables.items()})
table["seconds"] = sum(each.seconds for each in tables.values()) / len(names)
table.loc["deep image prior"] = {**means, "seconds": own}
table.loc["best blur"] = {k: best_blur(problem) for k, problem in four.items()}
table.loc["noisy"] = {k: dip.psnr(each.observation, each.truth) for k, each in four.items()}
brief = lambda s: "" if np.isnan(s) else "under 0.01" if s < 0.005 else f"{s:.2f}"  # noqa: E731
table.style.format("{:.1f}").format(brief, subset="seconds")

# %% tags=["figure:04_classics"]
figure = Figure("NL-Ridge and BM3D lead, on brick by far; grass is close", figsize=(9, 4))
axis = figure.subplots()
looks = zip(table.index, "s^vPDox|", (*COLOURS[2:6], ORANGE, BLUE, "0.35", "0.35"))
for place, (method, mark, colour) in enumerate(looks):
    rows = np.arange(4) + 0.1 * (place - 4)  # below each other, so that none hides another
    axis.plot(table.loc[method, list(names)], rows, mark, color=colour, ms=7, label=method)
for row, three in enumerate(deep.values()):
    scores = [run.psnr for run in three]
    axis.plot([min(scores), max(scores)], [row + 0.1] * 2, color=BLUE, lw=3)
    axis.axhline(row + 0.5, color="0.85", lw=0.8)
axis.set_yticks(range(4), names)
axis.set(xlabel="PSNR in dB; a bar spans three seeds", ylim=(3.5, -0.5))
axis.legend(frameon=False, bbox_to_anchor=(1, 0.5), loc="center left")
figure

# %%
ahead = {k: table.loc["BM3D", k] - means[k] for k in names}
print({name: f"{gap:+.1f}" for name, gap in ahead.items()}, "dB: BM3D above the deep prior")
assert -0.5 < ahead["retina"] < 1.6 and ahead["camera"] > 1 and ahead["brick"] > 1.5
assert -0.5 < ahead["grass"] < 1 and table.loc["BM3D", "seconds"] < own
assert table.loc["best blur", "grass"] > table.grass.drop("best blur").max() + 0.3
assert table.loc["total variation", "camera"] > means["camera"] + 0.3

# %% [markdown]
# **Explain.** BM3D and NL-Ridge (section 7) are ahead: by about two decibels on the photographer, by three on
# the wall, one brick many times over. On the retina the deep prior comes within a decibel of both. On the
# photographer even total variation does better than the network. On grass all lie within a decibel, and
# *nobody reaches the plain blur*, once the truth has chosen its width.
#
# At full size the deep prior stands better: on nine colour photographs, σ = 25, its authors' images score 31.29 dB,
# CBM3D's 31.42.
#
# ## 5 · Other damage, other data terms
#
# Equation (2) of lesson 01 does not know what noise is. The data term does: it is the likelihood, and
# **each kind of noise has one of its own**.
#
# | damage | what happens to a pixel | −log p(x₀ \| x), up to constants |
# |---|---|---|
# | Gaussian | $x_0 = x + n$, the same σ everywhere | $\lVert x - x_0\rVert^2$: `mse` |
# | Poisson | counts of photons, $\operatorname{Poisson}(p\,x) / p$: variance $x/p$ | $p \sum (x - x_0 \log x)$; nearly `mse` weighted with $1/x$ |
# | salt and pepper | a few are black or white, the others exact | heavy tails: near to $\lVert x - x_0\rVert_1$, `l1` |
#
# Why the absolute value for outliers? Look for *one* number that stands for many pixels. The squares are
# smallest at their **mean**, which every dead pixel drags along; the absolute values at their **median**,
# which does not mind a few. The gradient says the same: of a square it grows with the distance, of an
# absolute value it is ±1, however wrong the pixel is.
#
# > **Predict.** Which data term is better for salt and pepper, and by how much: 1, 4 or 8 dB? And for
# > photons?

# %%
clean = dip.images.load("camera", size=96)
peak = 30  # photons that a white pixel receives
damaged = {
    "salt and pepper": dip.degrade.salt_and_pepper(clean, amount=0.1, seed=0),
    "photons": dip.degrade.poisson_noise(clean, peak=peak, seed=0),
}
untold = {name: dip.Problem(x0, truth=clean) for name, x0 in damaged.items()}
terms = {}
for term in ("mse", "l1"):
    both = fits(untold, dip.lab(members=1, data_term=term), seeds=range(2))
    terms |= {(name, term): both[name] for name in untold}

# %%
sheet, captions = {}, {}
for name, x0 in damaged.items():
    problem = dip.Problem(x0, truth=clean)
    row = {name: x0} | {f"{name}: {t}": terms[name, t][0].output for t in ("mse", "l1")}
    row[f"{name}: median 3×3"] = dip.baselines.median_filter(problem)
    row[f"{name}: total variation"] = dip.baselines.tv(problem)
    captions |= {title: f"{dip.psnr(image, clean):.1f} dB" for title, image in row.items()}
    sheet |= row
contact_sheet(sheet, columns=5, captions=captions, width=12, alt="l1 cleans dead pixels, mse blurs")

# %%
scores = {key: [run.psnr for run in both] for key, both in terms.items()}
best = {key: [run.oracle_psnr for run in both] for key, both in terms.items()}
both_of = lambda values: " and ".join(f"{value:.1f}" for value in values)  # noqa: E731
for (name, term), found in scores.items():
    print(f"{name:15s} {term:3s} {both_of(found)} dB; ", end="")
    print(f"stopped by the truth {both_of(best[name, term])}")
median = dip.psnr(sheet["salt and pepper: median 3×3"], clean)
variation = dip.psnr(sheet["photons: total variation"], clean)
assert min(scores["salt and pepper", "l1"]) > max(scores["salt and pepper", "mse"]) + 3
assert min(scores["salt and pepper", "l1"]) > median + 0.5
assert min(best["salt and pepper", "l1"]) > max(best["salt and pepper", "mse"]) + 3
assert np.mean(best["photons", "mse"]) > np.mean(best["photons", "l1"]) + 0.2
assert variation > np.mean(scores["photons", "mse"]) + 0.2

# %% [markdown]
# **Explain.** For dead pixels the right data term is worth more than any other choice in this lesson:
# about eight decibels. It puts the fit ahead of the median filter, the classic for this damage. With `mse`
# a dead pixel pulls hardest *because* it is wrong, and the fit has to be stopped while all is still
# blurred. (Stopping is not to blame: where the truth stops both, more than six decibels remain.)
#
# For photons `mse` is the better of the two, and not right either: bright pixels are noisier than dark
# ones, and are believed just as much. Exercise 3 mends that by a root. Total variation is better here by more
# than half a decibel, and helpless against dead pixels.
#
# ### Blind: JPEG
#
# JPEG cuts an image into blocks of 8×8 and rounds their frequencies. Nobody tells the fit. It gets the
# Gaussian's data term and the compressed image, as in the paper's JPEG example.
#
# > **Predict.** The errors of JPEG are edges of blocks and waves along contours. Are they easy or hard
# > for the network?

# %%
squeezed = dip.jpeg(dip.images.load("retina", size=96), quality=10)
blind = dip.lab("jpeg", members=1, iterations=150)
unblocked = fits({"retina": squeezed}, blind, seeds=range(2))["retina"]
scrub(unblocked[0], frames=20)

# %%
error = float((squeezed.observation - squeezed.truth).std())
told = dip.Problem(squeezed.observation, truth=squeezed.truth, sigma=error)  # what nobody knows
print(f"JPEG {dip.psnr(squeezed.observation, squeezed.truth):.2f} dB")
for name, method in (("TV", dip.baselines.tv), ("NLM", dip.baselines.non_local_means)):
    scores = [dip.psnr(method(problem), told.truth) for problem in (squeezed, told)]
    print(f"{name} {scores[0]:.2f} dB; if told how large the error is, {scores[1]:.2f} dB")
print("deep prior, stopped at 150: " + ", ".join(f"{run.psnr:.2f}" for run in unblocked))
print(
    "deep prior, its best on the way: " + ", ".join(f"{run.oracle_psnr:.2f}" for run in unblocked)
)
for run in unblocked:
    gain = run.psnr - dip.psnr(squeezed.observation, squeezed.truth)
    assert gain > 0.15 and run.oracle_psnr > run.psnr + 0.3
    assert run.psnr < scores[1] - 0.2  # non-local means, told

# %% [markdown]
# **Explain.** It removes blocks without having heard of blocks, and gains about half a decibel. The classics
# do nothing: their estimate of σ looks at the finest details, and a block is smooth inside. Told how large
# the error is (which nobody would know), total variation is level with the fit that was stopped at a fixed
# count, and non-local means with its best, about a decibel higher, at which the slider opens. But an edge of
# a block is *structure*: it passes with low impedance, soon after the image's own edges. The window is
# narrow, and no stopping rule of lesson 08 sees it.
#
# ## 6 · Where it fails
#
# Back to the residual, which needs no truth. Here is the photographer from section 4.

# %%
problem, run = four["camera"], deep["camera"][0]
rows = {"noisy": problem.observation, "BM3D": classics["camera"]["BM3D"], "deep prior": run.output}
sheet = rows | {"truth": problem.truth, "noise, ×2": left_out(problem.truth, problem)}
for name in ("BM3D", "deep prior"):
    sheet[f"residual of {name}, ×2"] = left_out(rows[name], problem)
order = [*list(rows)[1:], "truth", *list(sheet)[5:], "noise, ×2"]
contact_sheet(
    {name: sheet[name] for name in order}, columns=3, width=9, alt="The tripod is in the residual"
)

# %%
compare(classics["camera"]["BM3D"], run.output, names=("BM3D", "deep image prior"))

# %% [markdown]
# The tripod stands in the deep prior's residual: two thin legs, which one ought to find in the image.
# **Structure in the residual is image that was thrown away.** Look at your residuals; they are a
# witness that needs no truth.
#
# > **Predict.** In the residual of grass nothing can be recognised. Is nothing lost there?

# %%
lost, by_bm3d = {}, {}
for name, problem in four.items():
    outputs, other = [run.output for run in deep[name]], classics[name]["BM3D"]
    lost[name] = [1 - detail_in(image, problem) for image in outputs]
    taken = np.mean([fine_noise_in(image, problem) for image in outputs])
    by_bm3d[name] = 1 - detail_in(other, problem)
    print(f"{name:6s} detail lost {np.mean(lost[name]):.0%} ± {np.std(lost[name]):.0%}, ", end="")
    print(f"noise let in {taken:.0%}; by BM3D {by_bm3d[name]:.0%}", end=", ")
    print(f"{fine_noise_in(other, problem):.0%}")

assert np.mean(lost["grass"]) > 0.4 and by_bm3d["grass"] > 0.6 > 2 * by_bm3d["brick"]
assert np.mean(lost["brick"]) > by_bm3d["brick"] + 0.15

# %%
row = {"truth": four["grass"].truth, "noisy": four["grass"].observation}
row |= {"BM3D": classics["grass"]["BM3D"], "deep prior": deep["grass"][0].output}
row["residual, ×2"] = left_out(deep["grass"][0].output, four["grass"])
contact_sheet(row, alt="Restored grass is felt; its residual shows grain only")

# %% [markdown]
# **Explain.** About half of the fine detail is gone, and a quarter to a third of the noise has come in; the
# residual shows grain only, because *grass is grain*. The wall lost as much. But there BM3D loses only a
# quarter: a better prior helps. On grass BM3D loses three quarters: no prior here knows grass. A structural
# prior says that images are made of few, smooth, repeated things. Where an image is not, no optimiser will
# help. A *trained* network can know grass.
#
# ## 7 · Two priors that know different things
#
# So far BM3D was ahead. Is a weaker prior useless? Let the errors of two results have the mean
# squares $e_a^2$ and $e_b^2$ and the mean product $c$. The mixture $w\,a + (1 - w)\,b$ has the error
#
# $$w^2 e_a^2 + (1 - w)^2 e_b^2 + 2\,w\,(1 - w)\,c, \qquad \text{smallest at}\quad
#   w = \frac{e_b^2 - c}{e_a^2 + e_b^2 - 2c}. \tag{4}$$
#
# For equal errors this is (3). If a is the worse one, it helps as long as $c < e_b^2$: it must be wrong
# *elsewhere*. That can be known without the truth. SURE (lesson 08) estimates $e_a^2$ and $e_b^2$, and the
# images contain the rest:
#
# $$\tfrac1N \lVert a - b \rVert^2 = e_a^2 + e_b^2 - 2c. \tag{5}$$
#
# So the gain can be **predicted without the truth**, and the truth can prove the prediction wrong. NL-Ridge, which
# comes with the package, combines patches that repeat, like BM3D, and is as good at this noise level. SURE asks how
# strongly a result follows the noise. So each method restores both $x_0 + d$ and $x_0 - d$, with a weak random
# $d$; the mean of the two is its result. (No noise is clipped here; see the end.)

# %%
level, size, epsilon = 25 / 255, 96, 0.3 * 25 / 255
d = epsilon * torch.randn(1, size, size, generator=torch.Generator().manual_seed(0))


def observed(name, seed):
    """The observation, and the problems of restoring it with + d and with - d."""
    clean = dip.images.load(name, size=size)
    x0 = dip.degrade.gaussian_noise(clean, level, seed, clip=False)
    problem = dip.denoising(clean, np.hypot(level, epsilon))  # all that there is to remove
    return x0, [problem.varied(observation=x0 + sign * d) for sign in (1, -1)]


trials = {(name, seed): observed(name, seed) for name in ("coins", "brick") for seed in range(3)}

# %%
alone = dip.lab(members=1, iterations=65, stop="count")  # about where SURE stops a fit of this size
wanted = {
    (*key, i): {"problem": problem, "recipe": alone, "seed": 2 * key[1] + i}
    for key, (_, both) in trials.items()
    for i, problem in enumerate(both)
}
networks = dip.fits(wanted)


# %%
def restored(key):
    """Name -> what a method makes of x0 + d, and of x0 - d."""
    both = trials[key][1]
    return {
        "deep prior": [networks[*key, i].average for i in range(2)],
        "NL-Ridge": [dip.baselines.nl_ridge(problem) for problem in both],
        "BM3D": [dip.baselines.bm3d(problem) for problem in both],
        "blur": [dip.Blur(1.0)(problem.observation) for problem in both],
    }


def sure(image, pair, x0):
    """Estimated mean square error of an image; its pair shows the divergence of the method."""
    divergence = (d * (pair[0] - pair[1])).mean() / (2 * epsilon**2)
    return float((image - x0).square().mean() + level**2 * (2 * divergence - 1))


# %%
def mixture(error_a, error_b, apart, w=None):
    """Correlation of the errors, weight of a, gains in dB of the plain mean and of the mixture."""
    c = (error_a + error_b - apart) / 2  # (5)
    w = np.clip((error_b - c) / apart, 0, 1) if w is None else w  # (4)
    of = [v**2 * error_a + (1 - v) ** 2 * error_b + 2 * v * (1 - v) * c for v in (0.5, w)]
    gains = [10 * np.log10(min(error_a, error_b) / error) for error in of]
    return [c / np.sqrt(error_a * error_b), w, *gains]


# %% [markdown]
# > **Predict.** Order these pairs by what their plain mean gains over the better of the two: two networks;
# > NL-Ridge and BM3D; NL-Ridge and a blur; the deep prior and NL-Ridge. Which of them lose?

# %%
results, rows = {}, {}
for key, (x0, both) in trials.items():
    made, truth = restored(key), both[0].truth
    images = {name: (pair[0] + pair[1]) / 2 for name, pair in made.items()}
    results[key] = images
    for i, image in enumerate(made["deep prior"], 1):
        images[f"network {i}"], made[f"network {i}"] = image, made["deep prior"]
    pairs = [("deep prior", "NL-Ridge"), ("network 1", "network 2")]
    for a, other in [*pairs, ("NL-Ridge", "BM3D"), ("NL-Ridge", "blur")]:
        apart = float((images[a] - images[other]).square().mean())
        guess = mixture(*(sure(images[k], made[k], x0) for k in (a, other)), apart)
        errors = [float((images[k] - truth).square().mean()) for k in (a, other)]
        rows[(*key, f"{a} + {other}")] = guess + mixture(*errors, apart, w=guess[1])

# %%
parts = ["ρ", "w", "plain mean, dB", "mixture, dB"]
columns = pd.MultiIndex.from_product([["predicted", "measured"], parts])
table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
table.index = pd.MultiIndex.from_tuples(table.index, names=["image", "seed", "pair"])
table.groupby(["image", "pair"], sort=False).mean().style.format("{:.2f}")

# %%
plain = table.xs(parts[2], axis=1, level=1)
gains = {
    name: {pair: three.to_numpy() for pair, three in plain.loc[name].groupby("pair", sort=False)}
    for name in ("coins", "brick")
}
predicted_gains(gains, alt="Plain means gain what was predicted; only some pairs gain at all")

# %%
missed = (table["predicted"] - table["measured"]).abs()
print("missed by at most", missed.drop(columns="w").max().round(2).to_dict())
mean = table.groupby(["pair", "image"], sort=False).mean()
rho, plain, best = (mean["measured", part] for part in (parts[0], *parts[2:]))
assert missed["ρ"].max() < 0.09 and missed.groupby(["pair", "image"]).mean()[parts[3]].max() < 0.25
assert (plain - mean["predicted", parts[2]]).abs().max() < 0.5
assert (rho["NL-Ridge + BM3D"] > rho["deep prior + NL-Ridge"] + 0.04).all()
assert best["NL-Ridge + BM3D"].max() < 0.2 and plain["NL-Ridge + blur"].max() < -0.6
wall = "deep prior + NL-Ridge", "brick"
assert rho[wall] < 0.7 and plain[wall] < 0 and best[wall] > 0.08

# %% [markdown]
# **Explain.** The prediction holds: correlations to within 0.04, gains of mixtures to within 0.2 dB (0.05 in the
# mean). Two networks gain most from a plain mean, 0.3 to 0.4 dB; single predictions are wrong by up to 0.5 dB
# there, since SURE can hardly tell the better network. NL-Ridge and BM3D are wrong together, ρ = 0.9, and gain
# 0.1 dB at most. A low ρ is not enough: a blur is so much worse that a plain mean loses a decibel. On the wall a
# plain mean with the deep prior loses, too; but ρ is 0.6, and a weight of a fifth *adds* 0.2 dB.
#
# What does each know? Below, both errors have one scale; mid-grey is no error.


# %%
def beside(name, width, alt, rim=12):
    """Close-ups of two places: where the deep prior is better, and where NL-Ridge is."""
    truth = trials[name, 0][1][0].truth
    shown = {"truth": truth} | {k: results[name, 0][k] for k in ("deep prior", "NL-Ridge")}
    wrong = {k: image - truth for k, image in shown.items()}
    inside = slice(rim, -rim)
    near = {k: dip.Blur(width)(e.square())[0, inside, inside] for k, e in wrong.items()}
    apart, places = near["deep prior"] - near["NL-Ridge"], {}
    for k, spot in (("deep prior", apart.argmin()), ("NL-Ridge", apart.argmax())):
        row, column = divmod(int(spot), size - 2 * rim)
        places[f"{k} is better"] = row + rim, column + rim
        shown[f"{k}, error ×3"] = (0.5 + 3 * wrong[k]).clamp(0, 1)
    return closeups(shown, places, alt=alt, width=12)


# %%
beside("brick", 2.0, alt="NL-Ridge erases joints between bricks; the deep prior is blotchy")

# %%
beside("coins", 3.0, alt="NL-Ridge leaves a pattern on the ground; the deep prior has lost relief")

# %% [markdown]
# NL-Ridge draws the long joints of the wall, and *erases* the short ones. The deep prior keeps a trace of
# those, and is blotchy everywhere. On the coins NL-Ridge leaves a pattern on the dark ground; the deep prior
# is smooth there, and has lost relief.
#
# `dip.fit(problem, "guided")` does the same while it fits the network: NL-Ridge runs once, and of all mixtures
# the one with the smallest estimated error is kept. It also repairs what clipping does: noise on black can only
# brighten, and a good denoiser finds the mean, which is too bright. `noise.unclip` inverts that.
#
# > **Predict.** The retina lies on black. What is `unclip` worth to NL-Ridge, and what does the fit add? And
# > for handwriting, where the deep prior is far behind?

# %%
problems = {
    (name, seed): dip.denoising(dip.images.load(name, size=96), level, seed=seed)
    for name, seed in itertools.product(("retina", "text"), range(3))
}
quick = dip.guided(iterations=120)  # enough for images of this size
guided = dip.fits(
    {key: {"problem": each, "recipe": quick, "seed": key[1]} for key, each in problems.items()}
)

# %%
scores = {}
for key, run in guided.items():
    row, problem = {}, problems[key]
    for name, method in (("BM3D", dip.baselines.bm3d), ("NL-Ridge", dip.baselines.nl_ridge)):
        image = method(problem)
        ends = dip.noise.clipped_ends(problem.observation, image, level)
        right = dip.noise.unclip(image, level, *ends)
        row[name] = dip.psnr(image, problem.truth)
        row[f"{name}, unclipped"] = dip.psnr(right, problem.truth)
    scores[key] = row | {"guided": run.psnr, "weight of the fit": run.rule.weight}
scores = pd.DataFrame(scores).T
scores.groupby(level=0).agg(["mean", "std"]).T.style.format("{:.2f}")

# %%
mean, spread = (getattr(scores.groupby(level=0), each)() for each in ("mean", "std"))
assert mean["NL-Ridge, unclipped"]["retina"] > mean["NL-Ridge"]["retina"] + 1.2
classic = mean[["BM3D, unclipped", "NL-Ridge, unclipped"]].max(axis=1)
assert mean.guided["retina"] > classic["retina"] + 0.12
assert abs(mean.guided["text"] - classic["text"]) < 0.2
assert mean["weight of the fit"]["text"] < 0.3 < mean["weight of the fit"]["retina"]

# %% [markdown]
# **Explain.** On the retina `unclip` is worth 1.9 dB, to BM3D as well, and the fit adds 0.3 dB: compare
# `guided` with *corrected* images. On handwriting its weight is 0.1, and it adds nothing:
# 0.04 dB, which the seeds' spread exceeds.
# The weight is an estimate: on small grey images, the mixture may be a little worse than its better half.
#
# ## What to take away
#
# 1. What counts is not the iteration but **what has come in**: detail, hopefully, before noise. Where
#    they come together, as in grass, no stopping time separates them.
# 2. Averages help as far as errors are **uncorrelated**: two *equally good* results gain
#    $10 \log_{10} \frac{2}{1 + \rho}$ dB.
# 3. The **data term belongs to the noise**: squares for Gaussian, absolute values for dead pixels. The
#    prior stays.
# 4. At this size BM3D is ahead or level everywhere, and far ahead where things repeat; the deep prior
#    comes within a decibel on the retina, takes any data term, and is slow.
# 5. Structure in the **residual** is image thrown away. Its absence proves nothing.
# 6. A weaker method helps a better one where it is wrong **elsewhere**. SURE and the distance of two results
#    say so without the truth: `dip.fit(problem, "guided")`.
#
# ## Exercises
#
# Worked answers: [solutions/04_denoising.ipynb](solutions/04_denoising.ipynb).
#
# **1. Four runs.** Four results have errors of the same size, and any two of them the correlation ρ =
# 0.6. How many decibels does their mean gain over one of them?

# %%
my_gain = None

check.four_runs(my_gain)

# %% [markdown]
# **2. Mean and median.** A flat patch has the grey value 0.4; a fifth of its pixels have become salt, 1.
# Which constant image has the lowest `mse`? (And which the lowest `l1`?) Give the first.

# %%
my_constant = None

check.constant(my_constant)

# %% [markdown]
# **3. Photons.** Find a function of the *counts* $k = p\,x_0$ whose noise has the standard deviation 1 at
# any brightness. (Counts have their mean as their variance, $v$; then $g(k)$ has the variance
# $g'(v)^2\, v$, nearly.) Write `my_root(x0, peak)`. Then fit in this scale, come back, and compare with
# section 5.

# %%
my_root = None

check.stabilised(my_root)

# %% [markdown]
# **4. A residual's colour.** In white noise neighbours have nothing to do with each other. Write
# `my_neighbours(residual)`: the correlation of a pixel with the one to its right. Measure it for the
# residuals of section 4. Its sign may surprise you: which part of the noise has the fit *not* left out?

# %%
my_neighbours = None

check.neighbours(my_neighbours)

# %% [markdown]
# **5. Two methods.** SURE says that the error of a is 0.0015 and that of b 0.0021, and $\lVert a - b
# \rVert^2 / N$ is 0.0010. Which weight does a get? And would their plain mean be better than a?

# %%
my_weight = None

check.best_weight(my_weight)

# %% [markdown]
# **6. Half of the pixels.** Raise `amount` to 0.5. Does `l1` still work? What would you do about salt and
# pepper if you may use what you *see*, namely which pixels are black or white? (Lesson 06.) No check
# here.
#
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision 128
#   (2020). [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, *Image denoising by sparse 3-D transform-domain
#   collaborative filtering*, IEEE Transactions on Image Processing 16 (2007).
#   [doi:10.1109/TIP.2007.901238](https://doi.org/10.1109/TIP.2007.901238).
# - A. Buades, B. Coll, J.-M. Morel, *A non-local algorithm for image denoising*, CVPR 2005, which
#   proposes to look at what a method removes ("method noise").
#   [doi:10.1109/CVPR.2005.38](https://doi.org/10.1109/CVPR.2005.38).
# - T. Blu, F. Luisier, *The SURE-LET approach to image denoising*, IEEE Transactions on Image Processing
#   16 (2007), on weights by SURE. [doi:10.1109/TIP.2007.906002](https://doi.org/10.1109/TIP.2007.906002).
# - S. Herbreteau, C. Kervrann, *A unified framework of nonlocal parametric methods for image denoising*,
#   SIAM Journal on Imaging Sciences (2025).
#   [doi:10.48550/arXiv.2402.13816](https://doi.org/10.48550/arXiv.2402.13816).
# - S. G. Chang, B. Yu, M. Vetterli, *Adaptive wavelet thresholding for image denoising and compression*,
#   IEEE Transactions on Image Processing 9 (2000).
#   [doi:10.1109/83.862633](https://doi.org/10.1109/83.862633).
# - F. J. Anscombe, *The transformation of Poisson, binomial and negative-binomial data*, Biometrika 35
#   (1948). [doi:10.1093/biomet/35.3-4.246](https://doi.org/10.1093/biomet/35.3-4.246).
# - M. Mäkitalo, A. Foi, *Optimal inversion of the Anscombe transformation in low-count Poisson image
#   denoising*, IEEE Transactions on Image Processing 20 (2011).
#   [doi:10.1109/TIP.2010.2056693](https://doi.org/10.1109/TIP.2010.2056693).
