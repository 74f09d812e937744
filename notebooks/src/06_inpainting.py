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
# # 06 · Inpainting: filling what is missing
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/06_inpainting.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/06_inpainting.ipynb)
#
# **When you are through, you will be able to**
#
# - fill text, scattered pixels and holes with one data term, and measure the result where it counts;
# - say what PSNR rewards in a large hole, and judge a filling in other ways, too;
# - say when a fit to an image with missing pixels has to be stopped;
# - choose skips and depth for the hole at hand, and say how far a claim about them reaches;
# - say how knowledge gets into a hole, and what nobody can know who has seen one image only.
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
from scipy.ndimage import distance_transform_edt
from skimage.metrics import structural_similarity

import diplearn as dip
from diplearn.course import check
from diplearn.course.show import reveal, show
from diplearn.figures import BLUE, COLOURS, ORANGE, Figure, contact_sheet
from diplearn.operators import Mask
from diplearn.widgets import compare, scrub

# %% [markdown]
# ## 1 · The challenge
#
# Writing covers a photograph; half of a sensor's pixels are dead; a piece has been cut out. In all three
# cases we know *where*: a **mask** $m$ is 1 where a pixel is known and 0 where it is missing.

# %%
coffee, camera, brick = (dip.images.load(name, size=96) for name in ("coffee", "camera", "brick"))
masks = {
    "text": Mask.text(96, 96, lines=6),
    "half of the pixels": Mask.pixels(96, 96, missing=0.5),
    "a hole": Mask.hole(96, 96, top=0.62, left=0.62, size=0.25),
}
problems = {name: dip.inpainting(coffee, mask) for name, mask in masks.items()}

# %% tags=["folded"]
# Show the three observations
matplotlib.rcParams["font.size"] = 12  # legible on a telephone, too
observed = {name: problem.observation for name, problem in problems.items()}
missing = {name: f"{mask.missing:.0%} missing" for name, mask in masks.items()}
show(contact_sheet(observed, captions=missing, width=6), text="06 challenge")

# %% [markdown]
# The data term asks for the known pixels only. With ⊙ for the product pixel by pixel,
#
# $$E(x; x_0) = \tfrac1N \lVert (x - x_0) \odot m \rVert^2 .$$
#
# On the missing pixels $E$ says nothing. If the pixels are optimised directly, a missing pixel keeps its first value for
# ever, because its gradient is zero. Whatever a fit of $f_\theta(z)$ puts there comes from the known pixels, continued by the
# network: by its structure, its random start and the way it is fitted. *This is the purest look at a prior that you can get.*
#
# Beside the fit we put a classic, **biharmonic filling**: a surface that bends as gently as possible through the known pixels.
#
# > **Predict.** The hole has the fewest missing pixels. Which of the three observations is restored best, and which worst, if only
# > the missing pixels count?

# %%
base = dip.lab("inpainting", members=1, iterations=100, stop="count")
base = base.replace(options={"down": (16, 32, 32, 32, 32)})  # narrow: five levels, with skips


def psnr_inside(image, problem):
    """PSNR over the missing pixels alone; the known ones were given."""
    missing = (problem.operator.known == 0).expand_as(problem.truth)
    return float(-10 * torch.log10((image - problem.truth)[missing].square().mean()))


# %%
wanted = {
    (n, s): {"problem": problems[n], "recipe": base, "seed": s} for n in problems for s in range(3)
}
runs = dip.fits(wanted)
inside = {n: [psnr_inside(runs[n, s].output, problems[n]) for s in range(3)] for n in problems}
whole = {n: [dip.psnr(runs[n, s].output, coffee) for s in range(3)] for n in problems}

# %% tags=["folded"]
# Count the fit to scattered pixels within the square of the hole alone
half = "half of the pixels"
both = (masks["a hole"].known == 0) & (masks[half].known == 0)
same_place = dip.inpainting(coffee, Mask(~both))
nearby = np.mean([psnr_inside(runs[half, s].output, same_place) for s in range(3)])

# %% tags=["folded"]
# Make the table
smooth = {name: dip.baselines.biharmonic(problem) for name, problem in problems.items()}
span = lambda values: f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"  # noqa: E731
first = {}
for name, problem in problems.items():
    first[name] = {"biharmonic, inside": f"{psnr_inside(smooth[name], problem):.1f}"}
    first[name] |= {"deep, inside": span(inside[name]), "deep, whole image": span(whole[name])}

# %% tags=["folded", "figure:06_inpainting"]
# Show the restored images
shown, captions = {}, {}
for name, problem in problems.items():
    shown[name] = problem.observation
    for title, image in {"biharmonic": smooth[name], "deep": runs[name, 0].output}.items():
        title += " " * len(shown)  # the same word in each row, but another key
        shown[title], captions[title] = image, f"{psnr_inside(image, problem):.1f} dB inside"
table = pd.DataFrame(first).T.style
sheet = contact_sheet(shown, columns=3, captions=captions, width=6)
reveal(sheet, table, text="06 three", nearby=nearby, hole=np.mean(inside["a hole"]))

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The hole is by far the hardest, the text the easiest. What makes a gap hard is not how *much* is missing but how *far* the next known pixel is:
# within a letter's stroke or among dead pixels it is never far; in the middle of the hole it is. Where it is near, biharmonic filling comes within a decibel of the network. The place is not the reason: scattered pixels *in the very same square* are restored
# many decibels better.
#
# Over the whole image, the copied known pixels count as errors of zero: a gift of
# $-10 \log_{10}(\text{share missing})$: 3 dB for half of the pixels, 12 dB for a hole of 6 %. It says
# nothing about the filling, so this lesson counts decibels **inside**.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
mean = {name: np.mean(values) for name, values in inside.items()}
assert mean["a hole"] + 4 < min(mean["text"], mean["half of the pixels"], nearby)
for name, mask in masks.items():  # the identity: known pixels are right
    assert np.allclose(np.array(whole[name]) + 10 * np.log10(mask.missing), inside[name], atol=0.1)

# %% [markdown]
# ## 2 · Who is the judge?
#
# Between scattered pixels there is little to invent, and PSNR is a fair judge. In a large hole *many* fillings are plausible.
# Which does PSNR prefer? We cut a hole of 24x24 pixels into a brick wall, at twelve random places, and
# put four things into it, without any fit: **a flat grey**, the mean of the known wall; **the truth, two pixels to the right**; **another piece of the
# wall**; and **noise with waves as strong** as the wall's (its *twin*, lesson 03).
#
# Two more judges: **SSIM** compares local means, variances and correlations with the truth, at the same place. Our **texture distance** asks only whether
# the filling *varies* like the truth, wherever each brick may lie. For a step $h$, let $V_h(x)$ be the mean of $(x_p - x_{p+h})^2$ over
# all pairs of pixels in the hole (a
# [variogram](https://en.wikipedia.org/wiki/Variogram)). The distance of a filling $\hat x$ is the root mean square of $10 \log_{10} V_h(\hat x) / V_h(x)$ over
# twelve steps of 1, 2 and 4 pixels: 0 dB if both vary alike. (For a flat patch, $V_h = 0$; so we add $1/255^2$ to both.)


# %%
def hole_at(image, top, left, height=24, width=24):
    """A problem with a rectangle missing."""
    known = torch.ones(1, *image.shape[1:])
    known[:, top : top + height, left : left + width] = 0
    return dip.inpainting(image, Mask(known, "hole"))


def flat(problem):
    """Fill in the mean colour of what is known."""
    known = problem.operator.known
    colour = (problem.observation * known).sum((1, 2)) / known.sum()
    return problem.operator.project(
        colour[:, None, None].expand_as(problem.truth), problem.observation
    )


# %%
def variogram(image, problem):
    """The mean squares of x(p) - x(p + h) for twelve steps h."""
    missing, values = problem.operator.known[0] == 0, []
    for h in [(k * a, k * b) for k in (1, 2, 4) for a, b in ((0, 1), (1, 0), (1, 1), (1, -1))]:
        pairs = missing & missing.roll(h, (0, 1))  # both ends in the hole
        values.append((image - image.roll(h, (1, 2))).square().mean(0)[pairs].mean())
    return torch.stack(values)


def texture_distance(image, problem):
    """How far the variograms of a filling and of the truth are apart, in decibels."""
    mine, wanted = (variogram(x, problem) + 255**-2 for x in (image, problem.truth))
    return float((10 * (mine / wanted).log10()).square().mean().sqrt())


# %% [markdown]
# > **Predict.** Rank the four by PSNR. Then say which of them you would take if it were your wall.


# %% tags=["folded"]
# SSIM inside, and all three judges
def ssim_inside(image, problem):
    pair = problem.truth.numpy(), image.numpy()
    window = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    _, every = structural_similarity(*pair, data_range=1, channel_axis=0, full=True, **window)
    return float(every[(problem.operator.known == 0).expand_as(problem.truth).numpy()].mean())


judges = {"PSNR in dB": psnr_inside, "SSIM": ssim_inside}
judges["texture distance in dB"] = texture_distance


# %% tags=["folded"]
# The twin of lesson 03; and a brick wall with a piece from another place
def twin(image, seed):
    random = torch.randn(image.shape[1:], generator=torch.Generator().manual_seed(seed))
    turn, mean = torch.fft.fft2(random), image.mean()
    return mean + torch.fft.ifft2(torch.fft.fft2(image - mean) * turn / turn.abs()).real


def patched(top, left, random):
    while True:
        i, j = random.integers(0, 72, 2)
        if abs(i - top) >= 24 or abs(j - left) >= 24:
            image = brick.clone()
            image[:, top : top + 24, left : left + 24] = brick[:, i : i + 24, j : j + 24]
            return image


# %% tags=["folded"]
# Cut out a hole and a margin around it
def around(image, problem, margin=14):
    rows, columns = (problem.operator.known[0] == 0).nonzero().T
    top, left = max(0, rows.min() - margin), max(0, columns.min() - margin)
    return image[:, top : rows.max() + margin + 1, left : columns.max() + margin + 1]


# %% tags=["folded"]
# Put the four into twelve holes
tries, random = [], np.random.default_rng(0)
for seed in range(12):
    top, left = random.integers(8, 64, 2)
    problem = hole_at(brick, top, left)
    found = {"a flat grey": flat(problem), "the truth, moved": brick.roll(2, 2)}
    found |= {"another piece": patched(top, left, random), "noise": twin(brick, seed)}
    into = problem.operator.project
    tries.append((problem, {n: into(x, problem.observation) for n, x in found.items()}))
judged = {n: {j: [f(x[n], p) for p, x in tries] for j, f in judges.items()} for n in found}

# %% tags=["folded"]
# Show the four, and what the judges say
problem, found = tries[0]
shown = {"x₀": problem.observation} | found | {"the truth": brick}
shown = {n: around(image, problem) for n, image in shown.items()}
sheet = contact_sheet(shown, columns=3, width=6)
means = pd.DataFrame({n: {j: np.mean(v) for j, v in each.items()} for n, each in judged.items()}).T
spread = {n: {j: np.std(v, ddof=1) for j, v in each.items()} for n, each in judged.items()}
spread = pd.DataFrame(spread).T
table = means.map("{:.2f} ± ".format) + spread.map("{:.2f}".format)
decibels = {n: np.array(each["PSNR in dB"]) for n, each in judged.items()}
loss = np.mean(decibels["a flat grey"] - decibels["another piece"])
reveal(sheet, table.style, text="06 judges", loss=loss)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# **PSNR prefers the flat grey.** Let a pixel of the truth have the mean $\mu$ and the variance $s^2$, as far as the surroundings tell. The
# flat filling $\mu$ has the expected squared error $s^2$. Another filling $\tilde x$, *exactly as plausible as the truth*, has the same mean
# and variance, and is independent of the truth. With $\mathbb E$ for the expected value,
#
# $$\mathbb E(\tilde x - x)^2 = \mathbb E(\tilde x - \mu)^2 + \mathbb E(x - \mu)^2 = 2 s^2,$$
#
# twice as much: $10 \log_{10} 2 = 3$ dB below the grey. Even the true bricks, moved by two pixels, end about as low. The filling with the smallest expected error is the mean
# of all plausible ones, a blur (a flat one only if the surroundings tell nothing more). **In a large hole, PSNR rewards whoever dares least.**
#
# SSIM is no remedy: it, too, wants everything in its place, and ranks the grey above the other piece.
# The texture distance tells wall from grey, but takes noise for a wall. *Each judge can be
# fooled.* So we show several numbers, and the image.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
psnrs, ssims, textures = (means[judge] for judge in judges)
assert 2 < loss < 5 and psnrs.idxmax() == "a flat grey"
assert ssims["a flat grey"] > ssims["another piece"]
assert textures["a flat grey"] > 3 * max(textures["another piece"], textures["noise"])

# %% [markdown]
# ## 3 · Does one have to stop?
#
# Lesson 01 ended with an overfitted cat. Here the observation is *right* wherever it says anything.
#
# > **Predict.** Half of the pixels are missing. We make 200 iterations, with no noise added to $z$, and draw PSNR inside for each
# > iterate. Does the curve come down again? And if the known pixels are noisy, with σ = 25/255?

# %%
greedy = base.replace(input_noise=0, iterations=200)
small = dip.images.load("coffee", size=64)
cases = {"known pixels exact": 0, "known pixels noisy": 25 / 255}
curves = {(name, seed): [] for name in cases for seed in range(3)}


def watched(name, seed):
    """What `dip.fit` is given for a fit that notes PSNR inside, of each single iterate."""
    problem, curve = dip.inpainting(small, 0.5, cases[name]), curves[name, seed]
    note = lambda run, step: curve.append(psnr_inside(step.output, problem))  # noqa: E731
    return {"problem": problem, "recipe": greedy, "seed": seed, "callback": note}


_ = dip.fits({case: watched(*case) for case in curves})

# %% tags=["folded"]
# Draw the curves
over = {name: np.array([curves[name, seed] for seed in range(3)]) for name in cases}
figure = Figure(figsize=(7, 4))
axis = figure.subplots()
for colour, line, (name, three) in zip(COLOURS, ("-", "--"), over.items()):
    along = np.arange(1, three.shape[1] + 1)
    axis.fill_between(along, three.min(0), three.max(0), color=colour, alpha=0.25, lw=0)
    axis.semilogx(along, three.mean(0), line, color=colour, lw=2, label=name)
axis.set(xlabel="iteration", ylabel="PSNR inside, in dB", xlim=(4, None))
ticks = (5, 10, 20, 50, 100, 200)
axis.set_xticks(ticks, ticks)
axis.minorticks_off()
axis.legend(frameon=False)
lost = {n.split()[-1]: np.median(x.max(1) - x[:, -20:].mean(1)) for n, x in over.items()}
reveal(figure, text="06 stop", **lost)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# With exact pixels, every image in the minimum of $E$ is right where we can check, and the fit settles at one of
# them (lesson 02). Here a stopping rule saves little but time: one fit of 1,000 iterations ended half a decibel below its best. (Large holes were not tried.) With noisy pixels the network fills
# *and* denoises. As in lesson 01, the fit passes its best image and goes on to the noise. The package then stops
# by itself, with SURE or with hidden pixels (lesson 08).
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert lost["exact"] < 1.2 and lost["noisy"] > lost["exact"] + 1
assert np.median(over["known pixels noisy"].argmax(1)) < 100

# %% [markdown]
# ## 4 · Skips and depth
#
# A **skip** hands fine detail from $z$ straight to the output, past the coarse levels (lesson 02). We fit four networks (five levels or two, with skips or without) to the text and two large holes.
#
# > **Predict.** For which of the three would you rather have skips? For which is depth worth its time? And where will a flat
# > grey be hard to beat?

# %%
kinds = {
    "5 levels, skips": {},
    "5 levels, no skips": {"skip": (0,) * 5},
    "2 levels, skips": {"down": (16, 32), "skip": (4, 4)},
    "2 levels, no skips": {"down": (16, 32), "skip": (0, 0)},
}
places = {
    "text on coffee": problems["text"],
    "hole in camera": hole_at(camera, top=19, left=53),
    "hole in brick": hole_at(brick, top=35, left=35),
}

# %%
frames = {seed: [] for seed in range(3)}  # for section 6: one network's hole, in every iteration
wanted = {
    (name, kind, seed): {"problem": problem, "recipe": base.replace(options=options), "seed": seed}
    for name, problem in places.items()
    for kind, options in kinds.items()
    for seed in range(3)
    if (name, kind) != ("text on coffee", "5 levels, skips")  # fitted in section 1
}
for seed in range(3):
    keep = lambda run, step, seed=seed: frames[seed].append(step.output[:, 19:43, 53:77].clone())  # noqa: E731
    wanted["hole in camera", "5 levels, no skips", seed]["callback"] = keep
fitted = dip.fits(wanted)

# %% tags=["folded"]
# Judge all networks and the two simplest fillings
fitted |= {("text on coffee", "5 levels, skips", seed): runs["text", seed] for seed in range(3)}
filled = {case: run.average.clamp(0, 1) for case, run in fitted.items()}
score = {
    (name, kind): {
        j: [f(filled[name, kind, s], problem) for s in range(3)] for j, f in judges.items()
    }
    for name, problem in places.items()
    for kind in kinds
}
for name, problem in places.items():
    simple = {"biharmonic": dip.baselines.biharmonic(problem), "flat colour": flat(problem)}
    for kind, image in simple.items():
        score[name, kind] = {j: [f(image, problem)] for j, f in judges.items()}

# %% tags=["folded"]
# Draw PSNR inside
figure = Figure(figsize=(7, 7.5))
for axis, name in zip(figure.subplots(3, 1), places):
    for row, (kind, colour) in enumerate(zip(kinds, COLOURS)):
        values = score[name, kind]["PSNR in dB"]
        axis.plot(values, [row] * 3, "o", color=colour, ms=8, alpha=0.8)
        axis.plot(np.mean(values), row, "|", color=colour, ms=24, mew=2)
    for kind, look in (("biharmonic", ":"), ("flat colour", "--")):
        axis.axvline(score[name, kind]["PSNR in dB"][0], color="0.3", ls=look, label=kind)
    axis.set(title=name, ylim=(3.6, -0.6))
    axis.set_yticks(range(4), list(kinds))
axis.set_xlabel("PSNR inside, in dB")
figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
dots = figure


# %% tags=["folded"]
# Show the hole in the camera below the dots
at, psnr = places["hole in camera"], "PSNR in dB"
crops = {"x₀": at.observation} | {kind: filled["hole in camera", kind, 0] for kind in kinds}
crops = {n: around(x, at) for n, x in (crops | {"truth": camera}).items()}
below = {kind: f"{score['hole in camera', kind][psnr][0]:.1f} dB inside" for kind in kinds}
reveal(dots, contact_sheet(crops, columns=3, captions=below, width=6), text="06 networks")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# For *text*, skips help the deep network by several decibels: without them, fine detail has to travel through the coarse levels and back. With two levels
# the path is short, and skips are not missed. The paper, too, takes *skips* for text (wide; ours have four channels).
#
# In the hole beside the *cameraman*, the deep network without skips continues sky and ground, with a dark cloud between them and nothing of the camera. The others fill in
# a pattern. The paper's figure 8 agrees: the deeper, the better; a U-Net's
# wide skips spoil the filling. (With skips, depth gains nothing here: 15.0 against 16.0 dB, and the seeds overlap.) Is it a law?
#
# In the *brick* wall depth hurts. The deep networks smear a light joint at the rim far into the hole and end below a flat grey;
# the shallow ones stay close to it. Three seeds agree, and at two other places of the wall depth costs 2.0 and 3.6 dB. Other textures differ:
# on grass and gravel depth changes less than a decibel, up or down. In the middle of four photographs it gains 0.7 to 5.4 dB
# (no skips, three seeds each, [claims](claims.md)). "Skips hurt holes" and "the deeper, the better" are no laws: they hold for
# some holes in some images.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
level = {case: np.mean(each["PSNR in dB"]) for case, each in score.items()}
text, hole, wall = places
assert level[text, "5 levels, skips"] > level[text, "5 levels, no skips"] + 1
assert level[hole, "5 levels, no skips"] > level[hole, "2 levels, no skips"] + 1
assert level[wall, "5 levels, no skips"] + 1 < level[wall, "2 levels, no skips"]
assert level[wall, "5 levels, no skips"] < level[wall, "flat colour"]
where = (places[wall].operator.known == 0)[0]
agree = torch.stack([filled[wall, "5 levels, no skips", s][0, where] for s in range(3)]).std(0)
assert agree.square().mean().sqrt() < 0.6 * 10 ** (-level[wall, "5 levels, no skips"] / 20)

# %% [markdown]
# ## 5 · The brick wall: rivals that copy and rivals that smooth
#
# Two more classics see one image only. **Least total variation** takes the image of least total variation (lesson 02) among those with these known pixels.
# **Copied patches** (after Criminisi, Pérez & Toyama 2004): of the squares of 9x9 pixels around missing pixels take the one of which most is known; find the known
# square that agrees with it best; copy what is missing; repeat.

# %%
pixels = dip.Recipe(
    network="pixels", learning_rate=0.02, final_rate=0, iterations=800, stop="count"
)
pixels = pixels.replace(tv_weight=0.01 / brick.numel(), project=True, start_at_mean=True)


def least_variation(problem):
    """Optimise the pixels directly, with total variation in the energy."""
    image = dip.fit(problem, pixels, progress=False).last.clamp(0, 1)
    return problem.operator.project(image, problem.observation)


# %% tags=["folded"]
# Copied patches: all known squares of an image
def known_squares(image, known, side):
    windows = np.lib.stride_tricks.sliding_window_view
    corners = np.argwhere(windows(known, (side, side)).all((2, 3)))
    return np.stack([image[:, i : i + side, j : j + side] for i, j in corners])


# %% tags=["folded"]
# Copied patches: from the rim of a hole to its middle
def copied(problem, side=9):
    image, half = problem.observation.numpy().copy(), side // 2
    trust = problem.operator.known[0].double().numpy()  # 1 if known, less if copied
    squares = known_squares(image, trust == 1, side)
    while (trust == 0).any():
        sums = np.pad(trust, half)
        sums = np.lib.stride_tricks.sliding_window_view(sums, (side, side)).sum((2, 3))
        i, j = np.unravel_index(np.where(trust == 0, sums, -1).argmax(), trust.shape)
        i, j = (min(max(k - half, 0), n - side) for k, n in zip((i, j), trust.shape))
        place = np.s_[i : i + side, j : j + side]
        here, new = image[:, *place], trust[place] == 0
        best = squares[((squares - here) ** 2 * ~new).sum((1, 2, 3)).argmin()]
        here[:, new], trust[place] = best[:, new], np.where(new, trust[place].mean(), trust[place])
    return torch.from_numpy(image)


# %% [markdown]
# > **Predict.** Deep network, flat grey, biharmonic, least total variation, copied patches: which has the highest PSNR in the wall, which the
# > lowest texture distance? And which fills the hole beside the cameraman best?

# %%
classics = {"least total variation": least_variation, "copied patches": copied}
for name in ("hole in camera", "hole in brick"):
    for kind, method in classics.items():
        filled[name, kind, 0] = method(places[name])
        score[name, kind] = {j: [f(filled[name, kind, 0], places[name])] for j, f in judges.items()}

# %% tags=["folded"]
# Make the sheet and the table of a hole
deep = "5 levels, no skips"
order = [deep, "2 levels, skips", "2 levels, no skips", "flat colour", "biharmonic", *classics]


def judged_sheet(name):
    problem = places[name]
    filled[name, "biharmonic", 0] = dip.baselines.biharmonic(problem)
    filled[name, "flat colour", 0] = flat(problem)
    shown = {"x₀": problem.observation} | {k: filled[name, k, 0] for k in order}
    shown = {n: around(x, problem) for n, x in (shown | {"truth": problem.truth}).items()}
    below = {k: f"{score[name, k]['PSNR in dB'][0]:.1f} dB" for k in order}
    return contact_sheet(shown, columns=3, captions=below, width=6)


# %% tags=["folded"]
# Show both holes
def means_of(name):
    found = {k: {j: np.mean(v) for j, v in score[name, k].items()} for k in order}
    styled = pd.DataFrame(found).T.style.format(dict(zip(judges, ("{:.1f}", "{:.2f}", "{:.1f}"))))
    return styled.set_caption(name)


walls = [f(name) for name in ("hole in brick", "hole in camera") for f in (judged_sheet, means_of)]
reveal(*walls, text="06 wall")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Only **copied patches** lay bricks: they have by far the lowest texture distance, and one has to look for the hole. In PSNR they are level with the flat grey and with total variation. (They are not 3 dB below: pieces that agree with the rim are not independent of the truth.) For a texture that repeats, copying is the right prior.
#
# Beside the cameraman there is nothing to repeat, and copying pastes in odd pieces. By PSNR, by SSIM and to our eyes the deep network without skips is ahead; only the texture distance, which knows nothing of sky and ground, prefers the pieces. (It is the best of four, chosen with the truth; but at random places of six photographs, too, it is 0.9 to 3.8 dB ahead of copying.) *Which prior is best depends on what is missing.*
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
far = {case: np.mean(each["texture distance in dB"]) for case, each in score.items()}
assert 2 * far[wall, "copied patches"] < min(far[wall, k] for k in kinds)
level = {case: np.mean(each["PSNR in dB"]) for case, each in score.items()}
assert abs(level[wall, "copied patches"] - level[wall, "flat colour"]) < 2.5
assert level[hole, deep] > level[hole, "copied patches"] + 0.5
assert abs(level[wall, "least total variation"] - level[wall, "flat colour"]) < 1

# %%
compare(
    filled["hole in brick", deep, 0],
    filled["hole in brick", "copied patches", 0],
    names=("deep", "copied"),
)

# %% [markdown]
# ## 6 · How knowledge travels into a hole
#
# How far does a pixel of the output *see* into $z$? Ask the gradient: the entries of $z$ that move
# the middle pixel are its **receptive field**.


# %%
def receptive_field(levels, seed=0):
    """How strongly each place of z moves the output's middle pixel, in a network without skips."""
    torch.manual_seed(seed)
    options = {**base.options, "down": (32,) * levels, "skip": (0,) * levels}
    network = dip.networks.build("hourglass", 32, (1, 96, 96), **options)
    z = torch.rand(1, 32, 96, 96, requires_grad=True)
    network(z)[0, 0, 48, 48].backward()
    return z.grad[0].abs().sum(0)


# %% tags=["folded"]
# Draw the receptive fields, with the outline of a hole of 24 pixels
fields = {k: [receptive_field(k, seed) for seed in range(3)] for k in (1, 2, 3, 5)}
figure = Figure(figsize=(7, 6.6))
axes = figure.subplots(2, 2, sharex=True, sharey=True)
look = {"vmin": -3, "vmax": 0, "cmap": "cividis", "extent": (-48.5, 47.5, 47.5, -48.5)}
for axis, (levels, three) in zip(axes.flat, fields.items()):
    seen = axis.imshow((three[0] / three[0].max()).log10(), **look)
    axis.add_patch(Rectangle((-12.5, -12.5), 24, 24, fill=False, ec="white", lw=2))
    axis.set(title=f"{levels} level{'s' * (levels > 1)}", xticks=(-40, 0, 40), yticks=(-40, 0, 40))
bar = figure.colorbar(seen, ax=axes, ticks=range(-3, 1), label="log₁₀ of the influence")
figure.supxlabel("pixels from the middle")
reach = {
    k: np.median([(f[48] > 0.1 * f.max()).sum() for f in three]) for k, three in fields.items()
}
show(figure, text="06 fields", one=reach[1], two=reach[2], three=reach[3], five=reach[5])

# %% [markdown]
# Up to three levels, each about doubles the reach. (The faint veil is batch normalisation,
# whose mean and variance are those of the whole image; with five levels, veil and reach cannot be told apart.) With two levels and no skips, the middle of our hole
# sees hardly anything beyond the rim. With five, coarse values span hole and rim together, and a step that corrects the rim changes the middle, too.
#
# > **Predict.** Does the deep network fill the hole from its rim inwards, like a puddle that dries? Sketch how many iterations a pixel takes
# > to get half way to its final value, over its distance from the rim. And if missing pixels are replaced by the mean of their four
# > neighbours, again and again?


# %%
def half_way(frames, distance):
    """For each distance from the rim: the first iteration half way to the end."""
    end = torch.stack(frames[-len(frames) // 10 :]).mean(0)
    off = torch.stack([(frame - end).square().mean(0) for frame in frames])
    rings = torch.stack([off[:, distance == d].mean(1).sqrt() for d in distance.unique()])
    return [1 + int(ring.nonzero()[0]) for ring in rings < rings[:, :1] / 2]


# %% tags=["folded"]
# Replace missing pixels by the mean of their neighbours, again and again
problem = places["hole in camera"]
lacking = problem.operator.known == 0
distance = torch.tensor(distance_transform_edt(np.pad(np.ones((24, 24)), 1))[1:-1, 1:-1]).ceil()
image, drying = flat(problem), []
for _ in range(1500):
    mean_of_four = sum(image.roll(s, d) for s in (1, -1) for d in (1, 2)) / 4
    image = torch.where(lacking, mean_of_four, image)
    drying.append(image[:, 19:43, 53:77])
puddle = half_way(drying, distance)
network = np.array([half_way(frames[seed], distance) for seed in range(3)])

# %% tags=["folded"]
# Draw both
figure = Figure(figsize=(7, 3.8))
axes = figure.subplots(1, 2)
depths, middle = distance.unique(), np.median(network, 0)
axes[0].fill_between(depths, network.min(0), network.max(0), color=BLUE, alpha=0.25, lw=0)
axes[0].plot(depths, middle, color=BLUE, marker="o", lw=2)
axes[1].plot(depths, puddle, color=ORANGE, marker="s", lw=2)
for axis, title in zip(axes, ("deep network", "mean of neighbours")):
    axis.set(title=title, xlabel="distance from the rim", ylim=(0, None))
axes[0].set_ylabel("iterations to half way")
times = {"net": middle[-3:].mean() / middle[:3].mean()}
times["wet"] = np.mean(puddle[-3:]) / np.mean(puddle[:3])
reveal(figure, text="06 puddle", **times)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Not like a puddle. The mean of neighbours passes knowledge on by one pixel at a time, and the middle waits many times as long as the rim. In the network,
# a coarse version of everything is there at about the same time, since the coarsest levels know no rim. (Later the middle may drift on,
# for no known pixel holds it. The band's upper edge is one seed, in which pixels a few steps inside are last, and the middle first.)
#
# </details>
#
# Move through the iterations. (The decibels are of the whole image.)

# %%
scrub(fitted["hole in camera", "5 levels, no skips", 0], frames=20)

# %% tags=["folded"]
# What the text claims, asserted
assert reach[2] > 1.4 * reach[1] and reach[3] > 1.4 * reach[2] and reach[2] < 24
assert times["wet"] > 3 * times["net"]

# %% [markdown]
# ## 7 · What no structure can know
#
# Cut out something that nothing else in the image tells about.

# %%
portrait = hole_at(dip.images.load("astronaut", size=96), top=6, left=30, height=30, width=27)
recipe = base.replace(options={"skip": (0,) * 5})
faces = dip.fits({s: {"problem": portrait, "recipe": recipe, "seed": s} for s in range(3)})

# %% tags=["folded"]
# Show the face
shown = {"x₀": portrait.observation, "deep": faces[0].average.clamp(0, 1)}
shown |= {"copied patches": copied(portrait), "flat colour": flat(portrait)}
shown |= {"least total variation": least_variation(portrait), "truth": portrait.truth}
blind = {n: psnr_inside(x, portrait) for n, x in shown.items() if n not in ("x₀", "truth")}
deep_three = [psnr_inside(run.average.clamp(0, 1), portrait) for run in faces.values()]
below = {n: f"{decibels:.1f} dB inside" for n, decibels in blind.items()}
sheet = contact_sheet(shown, columns=3, captions=below, width=6)
show(sheet, text="06 face", low=min(deep_three), high=max(deep_three), flat=blind["flat colour"])
assert max(deep_three) < blind["flat colour"] + 2

# %% [markdown]
# The fit continues hair, suit and background until they meet. No filling here can know that a face was there:
# all have seen one image, and in this image there is none.
#
# A **trained inpainter** has seen many other images. *Context encoders* (Pathak et al. 2016) learn on photographs with
# a piece cut out. *LaMa* (Suvorov et al. 2022) is trained on large holes, with layers that see the whole image at once.
# *RePaint* (Lugmayr et al. 2022) takes a diffusion model trained without any hole, and steers its samples towards the known pixels. (None was run here.) A network trained on faces
# would paint a face, and it would be somebody else's. Which is better depends on your purpose.
#
# ## What to take away
#
# 1. With a mask in the data term, the same few lines fill any hole; what appears there is **the prior's**.
# 2. Distance to the known pixels makes a hole hard, not the number of missing pixels. Count decibels **inside**.
# 3. In a large hole PSNR prefers a blur: a plausible filling, independent of the truth, is 3 dB *below* the mean of all. Look, and use several judges.
# 4. Exact, scattered pixels: the curve flattens. Noisy pixels: it turns.
# 5. Depth carries coarse knowledge into a hole. Whether that helps depends on mask *and*
#    image; for a texture that repeats, copying is better.
# 6. The prior continues; it does not know.
#
# ## Exercises
#
# Put your answer in the place of `None`, or of the dots (a double click opens the cell). Worked answers:
# [solutions/06_inpainting.ipynb](solutions/06_inpainting.ipynb).
#
# **1. Your own hole.** Cut two rectangles out of `coffee`, each at least 2 % of it: one where you expect success, one where you expect failure. Fit both; hand in the failure. (With the mouse, on your own photograph: [lesson 11](11_your_image.ipynb).)
#
# <details><summary>A first hint</summary>
#
# `hole_at(coffee, top, left, height, width)` makes the problem. Keep the two equally large, so that only the place differs.
#
# </details>

# %%
my_hole = None  # dip.fit(hole_at(coffee, ...))

check.own_hole(my_hole)

# %% [markdown]
# What did the fit know about each of the two, and from where? Would PSNR have told you which filling *looks* right?
#
# *Your answer:* ...

# %% [markdown]
# **2. Forget the mask.** What comes out if the letters are taken for what they look like, black pixels? Say first. Then fit
# `dip.Problem(problems["text"].observation)`, for 300 iterations, and look at `run.snapshots`.
#
# <details><summary>A first hint</summary>
#
# To this energy, the letters are a part of the photograph. Does the network reach them before or after the fine detail?
#
# </details>

# %%
my_forgotten = None

check.without_mask(my_forgotten)

# %% [markdown]
# Which part of the method knew that the letters are no part of the image: the prior, or the data term?
#
# *Your answer:* ...

# %% [markdown]
# **3. Four fillings.** A hole is filled with the average of four pieces of the wall, each as plausible as the truth, and independent of it and of the others.
# How many decibels is that below the mean of all plausible fillings (`my_decibels`)? Where does this end with more and more pieces?
#
# <details><summary>A first hint</summary>
#
# Section 2 has the case of one piece. What is the variance of a mean of four?
#
# </details>

# %%
my_decibels = None

check.four_fillings(my_decibels)

# %% [markdown]
# **4. Read a table.** A paper compares two methods for holes that cover 6 % of the image: A has 28.8 dB, B has 28.3 dB over the whole image, and "A is better". Which
# questions do you ask before you believe it?
#
# *Your answer:* ...
#
# <details><summary>A first hint</summary>
#
# How many decibels are left inside? Who would win with 29 dB?
#
# </details>

# %% [markdown]
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision
#   128 (2020), figure 8.
#   [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - A. Criminisi, P. Pérez, K. Toyama, *Region filling and object removal by exemplar-based image inpainting*, IEEE
#   Transactions on Image Processing 13 (2004). [doi:10.1109/TIP.2004.833105](https://doi.org/10.1109/TIP.2004.833105).
# - S. Damelin, N. Hoang, *On surface completion and image inpainting by biharmonic functions: numerical aspects*,
#   International Journal of Mathematics and Mathematical Sciences (2018).
#   [doi:10.1155/2018/3950312](https://doi.org/10.1155/2018/3950312).
# - D. Pathak et al., *Context encoders: feature learning by inpainting*, CVPR 2016. [arXiv:1604.07379](https://arxiv.org/abs/1604.07379).
#   R. Suvorov et al., *Resolution-robust large mask inpainting with Fourier convolutions*, WACV 2022. [arXiv:2109.07161](https://arxiv.org/abs/2109.07161).
#   A. Lugmayr et al., *RePaint: inpainting using denoising diffusion probabilistic models*, CVPR 2022. [arXiv:2201.09865](https://arxiv.org/abs/2201.09865).
