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
# # 10 · Theory: predict a fit that nobody has made
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/10_theory.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/10_theory.ipynb)
#
# **When you are through, you will be able to**
#
# - compute a network's Jacobian, read its modes, and predict from them how a fit will go;
# - prove in which sense early stopping is a filter, and compute when to stop;
# - count the degrees of freedom that a fit has spent;
# - say where the predictions fail.
#
# **Computing:** about one minute on two cores. **Study:** about 70 minutes, exercises included.
#
# **Needs:** lessons 01, 03 and (section 6) 08, and the eigenvectors of a symmetric matrix. No GPU, no download.
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
import functools

import matplotlib
import numpy as np
import pandas as pd
import scipy
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check, theory
from diplearn.course.show import reveal, show
from diplearn.figures import BLUE, COLOURS, GREEN, ORANGE, Figure
from diplearn.networks import DeepDecoder, Hourglass, Pixels, parameter_count

# %% [markdown]
# ## 1 · The question
#
# In lesson 03 a network reproduced a photograph about three times sooner than the same pixels in disorder. The paper *showed* this
# and offered no proof. Can we **predict** it: look at an untrained network, and draw the curves of fits that nobody has made?
#
# At 32x32 grey pixels everything can be computed: an image is a vector of $N = 1024$ numbers. We compare four ways to make
# one: the hourglass and the deep decoder of lesson 03, both with coarse grids; a network of 1x1 filters at full size, in which no pixel
# sees another (but through batch norm); and the pixels themselves. (This deep decoder is far wider than its authors propose.)


# %%
def hourglass(width=16):
    """A small hourglass with three levels."""
    levels = {"down": (width,) * 3, "skip": (width // 4,) * 3}
    return Hourglass(width, 1, **levels, padding="zeros", merge_norm=False, sigmoid=False)


def pointwise(width=32):
    """1x1 filters at full size."""
    layers = [nn.Conv2d(16, width, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1))


# %%
KINDS = {
    "hourglass": (hourglass, 16),  # and the channels of z
    "deep decoder": (lambda: DeepDecoder(64, 1, 64, 4, sigmoid=False), 64),
    "1x1 filters": (pointwise, 16),
    "pixels": (lambda: Pixels(1, 32, 32), 1),
}


def fresh(kind, seed=0):
    """An untrained network and its input z."""
    torch.manual_seed(seed)
    build, channels = KINDS[kind]
    return build(), 0.1 * torch.rand(1, channels, 32, 32)


# %% [markdown]
# ## 2 · The tangent
#
# A network is a complicated function of its weights. But one step of gradient descent changes them little, and for small changes
# every smooth function is nearly linear:
#
# $$f_\theta(z) \approx f_{\theta_0}(z) + J\,(\theta - \theta_0), \qquad J_{ij} = \partial f_i / \partial
# \theta_j .$$
#
# The **Jacobian** $J$ has a row for each of the $N$ pixels and a column for each of the $p$ weights. Gradient descent on
# $\tfrac12 \lVert f - x_0\rVert^2$ (the energy $E$ times $N/2$, which only rescales the step size η) changes the weights by $-\eta
# J^\top r$, where $r = f - x_0$ is the **residual**. Multiply by $J$ to see what this does to the image: it changes by $-\eta J J^\top
# r$, and so
#
# $$r \;\leftarrow\; r - \eta K r, \qquad K = J J^\top . \tag{1}$$
#
# $K$, $N \times N$, is the **tangent kernel** (Jacot et al. 2018). Its entry $K_{ij}$ says how far pixel $i$ moves along when the fit
# corrects pixel $j$. $K$ is symmetric, so it has $N$ orthonormal eigenvectors $v_i$, $K v_i = \lambda_i v_i$, with $\lambda_1 \ge
# \lambda_2 \ge \dots \ge 0$. We call them **modes**. Every residual is a sum of modes. Suppose that $K$ stays what it is. By (1), one step then multiplies the
# part along $v_i$ by $1 - \eta\lambda_i$, and disturbs no other part. After $k$ steps it has been multiplied by
#
# $$(1 - \eta\lambda_i)^k \approx \exp(-\lambda_i t), \qquad t = \eta k, \tag{2}$$
#
# for small $\eta\lambda_i$; $t$ is the **time**. A mode with a large $\lambda_i$ is fitted at once, one with a small $\lambda_i$ hardly ever: $1/\lambda_i$ is
# impedance, mode by mode. With two pixels the path can be drawn:

# %% tags=["folded"]
# Gradient descent in a world of two pixels
matplotlib.rcParams["font.size"] = 12  # legible on a telephone, too
torch.set_num_threads(1)  # networks as small as these are not faster on more
turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])  # v₁ and v₂ as columns
truth, seen = turn @ [3.2, 0.15], turn @ [3.3, 1.2]
steps = np.exp(-np.outer([1, 0.06], np.arange(0, 60, 0.5)))  # λ₁ = 1, λ₂ = 0.06
path = seen[:, None] - turn @ ((turn.T @ seen)[:, None] * steps)

# %% tags=["folded"]
# Draw the path
figure = Figure(figsize=(7, 4))
axis = figure.subplots()
axis.plot(*path, ".-", color=BLUE, ms=5, lw=1.2)
for place, name, down in (
    ([0, 0], "first output", 0.2),
    (truth, "truth x", 0.2),
    (seen, "x₀ = x + n", 0),
):
    axis.plot(*place, "o", color="black", ms=8)
    axis.annotate(name, np.add(place, [0.1, -down]))

# %% tags=["folded"]
# Draw the two modes, and show the drawing
arrow = {"arrowstyle": "-|>", "color": ORANGE, "lw": 2}
for number, (mode, length) in enumerate(zip(turn.T, (1.2, 0.6)), start=1):
    corner = np.array([0.2, 1.5])
    axis.annotate("", corner + length * mode, corner, arrowprops=arrow)
    axis.annotate(f"$v_{number}$", corner + (length + 0.12) * mode, color=ORANGE)
axis.set(xlabel="pixel 1", ylabel="pixel 2", aspect="equal", xlim=(-0.3, 3.7), ylim=(-0.4, 2.9))
show(figure, text="10 plane")

# %% [markdown]
# So everything depends on the modes. We compute them, before any fit:


# %%
@functools.cache
def modes(kind, seed=0):
    """The eigenvalues and eigenvectors of K, for the untrained network."""
    K = theory.kernel(theory.jacobian(*fresh(kind, seed)))
    return theory.spectrum(K, (1, 32, 32))


for kind in KINDS:
    weights, values = parameter_count(fresh(kind)[0]), modes(kind).values
    print(f"{kind:13s} {weights:6,} weights, λ₁ / λ₅₀₀ = {values[0] / values[499]:,.0f}")

# %% [markdown]
# > **Predict.** An eigenvector of $K$ has 1024 entries, so it is an image. What will the modes with the largest $\lambda_i$ look like in the
# > hourglass, in the deep decoder, and in the network of 1x1 filters? And mode 300? (For the pixels $K$ is the identity: every image is a mode.)

# %% tags=["folded"]
# Draw some modes
numbers, networks = (1, 2, 3, 10, 30, 300), list(KINDS)[:3]
sheet = Figure(figsize=(7, 3.9))
for row, kind in zip(sheet.subplots(3, len(numbers)), networks):
    for axis, number in zip(row, numbers):
        mode = modes(kind).mode(number)[0]
        axis.imshow(mode, cmap="gray", vmin=-mode.abs().max(), vmax=mode.abs().max())
        axis.set(xticks=[], yticks=[], title=f"$v_{{{number}}}$" if kind == "hourglass" else "")
    row[0].set_ylabel(kind)

# %% tags=["folded"]
# Draw the mean frequency of every mode, and reveal both
frequency = {
    kind: theory.mean_frequency(modes(kind).vectors.T.reshape(-1, 32, 32)).numpy()
    for kind in networks
}
along, figure = np.arange(1, 1025), Figure(figsize=(7, 3.6))
axis = figure.subplots()
for colour, kind in zip(COLOURS, networks):
    smooth = pd.Series(frequency[kind]).rolling(9, center=True, min_periods=1).median()
    axis.semilogx(along, smooth, color=colour, lw=2.2, label=kind)
axis.set(xlabel="mode i", ylabel="frequency, cycles per pixel", ylim=(0, 0.55))
axis.axhline(0.383, color="0.5", ls=":", label="white noise")
axis.legend(frameon=False, ncols=2, loc="lower right")
reveal(sheet, figure, text="10 modes")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Nothing has been trained: the architecture alone orders the images. A weight on a coarse grid moves many neighbouring pixels together: in the deep decoder the first modes are smooth blobs, in the
# hourglass rough patches with grain in them. Mode 300 is grain in both. The network of 1x1 filters has a steep spectrum, too (λ₁ / λ₅₀₀ above), so it *also* prefers some images to others. But
# except for $v_1$, mostly a constant, its modes are random images, since it sees at each pixel only the random numbers of $z$ there. It prefers something, and nothing that a photograph is made of.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
for kind in ("hourglass", "deep decoder"):
    assert frequency[kind][:20].mean() < 0.7 * frequency[kind][-100:].mean()
    assert modes(kind).values[0] > 200 * modes(kind).values[499]
assert modes("1x1 filters").values[0] > 200 * modes("1x1 filters").values[499]
assert modes("1x1 filters").vectors[:, 0].sum() ** 2 / 1024 > 0.5  # most of v₁ is constant
assert 0.9 < frequency["1x1 filters"][1:21].mean() / 0.383 < 1.1  # 0.383: white noise

# %% [markdown]
# ## 3 · Where do photographs lie?
#
# Split an image, without its mean, along the modes: $c_i = \langle v_i, x\rangle$. The modes are orthonormal, so $\sum_i c_i^2 = \lVert
# x\rVert^2$, and $c_i^2$ is the image's energy in mode $i$. We add up the shares from the first mode on, for eight
# photographs of things, three of surfaces (brick, grass, gravel), one of a printed text, the shuffled pixels of a photograph, and white noise.


# %%
def cumulative(found, image):
    """The share of an image's energy, without its mean, in the first 1, 2, 3, ... modes."""
    energy = found.split(image - image.mean()).square()
    return (energy.cumsum(0) / energy.sum()).numpy()


# %% tags=["folded"]
# Load the pictures
THINGS = "camera astronaut chelsea coffee coins motorcycle retina rocket".split()
OTHERS = "brick grass gravel text".split()
pictures = {n: dip.images.load(n, size=32).mean(0, keepdim=True) for n in THINGS + OTHERS}
clean = pictures["camera"]
targets = {n: t.observation for n, t in dip.problems.impedance(clean, 25 / 255, seed=0).items()}
pictures |= {name: targets[name] for name in ("shuffled pixels", "noise")}

# %% tags=["folded"]
# The cosine waves, the slow ones first, as if they were the modes of a network
wave = scipy.fft.idct(np.eye(32), axis=0, norm="ortho")  # a wave in each column
length = np.add.outer(np.arange(32) ** 2, np.arange(32) ** 2).ravel()
order = np.argsort(length, kind="stable")
vectors = torch.tensor(np.kron(wave, wave)[:, order])
slow_waves = theory.Spectrum(torch.tensor(1 / (1.0 + length[order])), vectors, clean.shape)

# %% [markdown]
# > **Predict.** What share of a photograph's energy lies in the first 20 modes of the deep decoder, 2 % of all? Of white noise? Which of the
# > pictures will look like noise to the network? And would plain cosine waves, the slow ones first, hold more or less of
# > the photographs than the network's modes?

# %%
bases = {kind: modes(kind) for kind in networks} | {"cosine waves, slow ones first": slow_waves}
shares = {
    basis: {name: cumulative(found, image) for name, image in pictures.items()}
    for basis, found in bases.items()
}

# %% tags=["folded"]
# Draw the shares
figure = Figure(figsize=(7, 6.6))
colours = dict.fromkeys(THINGS, BLUE) | dict.fromkeys(OTHERS, GREEN) | {"shuffled pixels": ORANGE}
labels = {"camera": "things", "brick": "surfaces, text"}
labels |= {"shuffled pixels": "shuffled", "noise": "noise"}
for axis, (kind, by) in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, shares.items()):
    for name, curve in by.items():
        look = {"color": colours.get(name, "black"), "lw": 1.5, "label": labels.get(name)}
        axis.semilogx(along, curve, "--" if name == "noise" else "-", **look)
    axis.set_title(kind, loc="left", fontsize=12)
figure.axes[0].legend(frameon=False, loc="upper left")
figure.supxlabel("the first i modes", fontsize=12)
_ = figure.supylabel("share of the energy in them", fontsize=12)

# %% tags=["folded"]
# Reveal the shares, and a table
firsts = [20, 100, 300]
rows = {}
for kind, by in shares.items():
    rows[kind, "things"] = np.median([by[name] for name in THINGS], axis=0)
    rows[kind, "white noise"] = by["noise"]
table = pd.DataFrame({k: 100 * v[np.array(firsts) - 1] for k, v in rows.items()}, firsts).T
of_decoder = shares["deep decoder"]
said = {f"{n}{i}": 100 * of_decoder[n][i - 1] for n in ("camera", "noise") for i in firsts}
shown = table.rename_axis([None, None]).rename(columns="first {}".format).style.format("{:.0f} %")
reveal(figure, shown, text="10 shares", **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# **Photographs of things lie along the modes with large λ; white noise lies along all modes alike**. Of the camera
# man, two thirds lie in the first 20 of the deep decoder's 1024 modes, and nine tenths in the first 100; of noise, 3 % and 10 %. The hourglass
# gathers less, and the 1x1 filters gather nothing. Not every picture has this property: to both networks brick looks like noise, and grass and gravel nearly so.
#
# The waves win: the slow ones hold *more* of most photographs than as many modes of either network. At their start, these networks are no better
# than "slow waves first". But *during* a fit, edges came sooner than their spectrum says (lesson 03).
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted; three seeds
for kind, least in (("deep decoder", (0.25, 0.6, 0.8)), ("hourglass", (0.08, 0.33, 0.55))):
    for seed in range(3):
        by = {name: cumulative(modes(kind, seed), image) for name, image in pictures.items()}
        median = np.median([by[name] for name in THINGS], axis=0)
        for i, low in zip(firsts, least):
            assert median[i - 1] > low and median[i - 1] > 2 * by["noise"][i - 1]
            assert by["noise"][i - 1] < i / 1024 + 0.06
        assert max(by[n][99] for n in ("brick", "gravel")) < 0.3
        middle = np.median([shares["cosine waves, slow ones first"][n][99] for n in THINGS])
        assert middle > median[99]
assert all(abs(curve[99] - 0.1) < 0.06 for curve in shares["1x1 filters"].values())

# %% [markdown]
# ## 4 · Curves for fits that nobody has made
#
# Add up what is left of each mode: that is the energy at every moment,
#
# $$E(t) = \tfrac1N \sum_i c_i^2 \exp(-2 \lambda_i t). \tag{3}$$
#
# We draw (3) for the four targets of lesson 03. Then we make the fits, with plain gradient descent. An untrained network already
# outputs some image. So that all targets begin alike, we ask each network to *change* this image by $x_0$ less its mean, whose coefficients are the $c_i$.


# %%
def descend(network, z, goal, optimiser, steps):
    """Fit, one step at a time: yield each output before the step."""
    for _ in range(steps):
        output = network(z)[0]
        yield output.detach()
        (0.5 * (output - goal).square().sum()).backward()
        optimiser.step()
        optimiser.zero_grad()


def rate(kind, seed=0):
    """The step size η: 0.5 / λ₁ for networks; less for the pixels, which need no care."""
    return (0.01 if kind == "pixels" else 0.5) / float(modes(kind, seed).values[0])


# %%
def fit_to(x0, kind, seed=0, steps=400):
    """Plain gradient descent: the changes of the first output, plus the mean of x₀."""
    network, z = fresh(kind, seed)
    start, mean = network(z)[0].detach().clone(), x0.mean()
    optimiser = torch.optim.SGD(network.parameters(), lr=rate(kind, seed))
    outputs = descend(network, z, start + x0 - mean, optimiser, steps)
    return torch.stack([output - start + mean for output in outputs])


def predicted_and_measured(kind, x0, steps=400, seed=0):
    """The energy, as a share of the first: by equation (3), and of a fit."""
    times = rate(kind, seed) * np.arange(steps)
    drawn = theory.energy_curve(modes(kind, seed), x0 - x0.mean(), times)
    fitted = (fit_to(x0, kind, seed, steps) - x0).square().mean(dim=(1, 2, 3)).numpy()
    return drawn / drawn[0], fitted / drawn[0]


# %% [markdown]
# > **Predict.** Do the measured curves follow the predicted ones? If they leave them: in which network, on which target, and in which direction?

# %%
STEPS = {"hourglass": 400, "deep decoder": 400, "1x1 filters": 400, "pixels": 200}
curves = {
    (kind, name): predicted_and_measured(kind, target, STEPS[kind])
    for kind in KINDS
    for name, target in targets.items()
}

# %% tags=["folded"]
# Draw the curves; each line is named at its end
figure = Figure(figsize=(7, 6.8))
short = {name: name for name in targets} | {
    "image + noise": "+ noise",
    "shuffled pixels": "shuffled",
}
for axis, kind in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, KINDS):
    for colour, name in zip(COLOURS, targets):
        drawn, fitted = curves[kind, name]
        axis.loglog(range(1, len(drawn)), fitted[1:], color=colour, lw=5, alpha=0.35)
        axis.loglog(range(1, len(drawn)), drawn[1:], color=colour, ls="--", lw=1.6)
    axis.set_title(kind, loc="left", fontsize=12)
    axis.set(ylim=(0.02, 1.3), xlim=(1, 2500 if kind in networks[:2] else 400))
    axis.grid(alpha=0.25)


# %% tags=["folded"]
# Name the lines
def name_lines(axis, kind):
    """Write each target's name where its measured curve ends, without overlaps."""
    ends = {name: np.log(curves[kind, name][1][-1]) for name in targets}
    last = -np.inf
    for name in sorted(ends, key=ends.get):
        last = max(ends[name], last + 0.3)
        colour = COLOURS[list(targets).index(name)]
        place = 1.08 * STEPS[kind], np.exp(last)
        axis.text(*place, short[name], color=colour, va="center", fontsize=11)


# %% tags=["folded", "figure:10_prediction"]
# Reveal the figure, and how far the curves are apart at the end
for axis, kind in zip(figure.axes, networks[:2]):
    name_lines(axis, kind)
point = {"xy": (130, curves["hourglass", "image"][0][130]), "xytext": (1.3, 0.09)}
arrow = {"arrowstyle": "->", "color": BLUE}
figure.axes[0].annotate("image,\npredicted", color=BLUE, fontsize=11, arrowprops=arrow, **point)
for axis in figure.axes[2:]:
    axis.text(1.3, 0.05, "all four targets", fontsize=11)
figure.supxlabel("steps of gradient descent · broad: measured · dashed: predicted", fontsize=11)
figure.supylabel("energy, as a share of the first", fontsize=11)
ends = {place: fitted[-1] / drawn[-1] for place, (drawn, fitted) in curves.items()}
table = pd.Series(ends).unstack()[list(targets)].loc[list(KINDS)]
reveal(figure, table.style.format("{:.2f}"), text="10 prediction")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# At first all curves are close to (3), and most of them stay so to the end. That is an explanation of impedance: photographs lie along the modes with large λ, noise along all of them. For 1x1 filters and for pixels the four curves are one: no preference *for images*, no
# prior.
#
# Only the hourglass leaves its curves, on *images*, clean or noisy: it ends with about two thirds of the predicted energy. While the weights move, $K$ itself changes, and comes to suit the picture that is fitted. The tangent is blind to that (lesson 10b). Shuffled pixels and noise gain nothing, nor does a picture of grass ([claims](claims.md)).
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
for kind in KINDS:  # for the first 30 steps all curves are predicted
    pairs = [curves[kind, name] for name in targets]
    assert max(np.abs(fitted / drawn - 1)[:30].max() for drawn, fitted in pairs) < 0.3, kind
    order = curves[kind, "shuffled pixels"][1][-1] / curves[kind, "image"][1][-1]
    assert order > 3 if kind in networks[:2] else 0.8 < order < 1.25
assert ends["hourglass", "image"] < 0.85 and abs(ends["hourglass", "noise"] - 1) < 0.15
assert all(abs(ends["deep decoder", name] - 1) < 0.2 for name in targets)

# %% [markdown]
# ## 5 · Early stopping is a spectral filter
#
# Let the target be $x_0 = x + n$, with white noise of standard deviation σ. What comes out of a fit that is stopped at the time $t$?
#
# **Theorem.** *If $K$ stays what it is, the fit returns $f_0 + H (x_0 - f_0)$, where $f_0$ is the first output and $H$ multiplies the part along mode $v_i$ by the* **filter factor** $g_i = 1 -
# (1 - \eta\lambda_i)^k \approx 1 - \exp(-\lambda_i t)$. *With $c_i$ for the coefficients of $x - f_0$, what the clean image asks of the network, its expected error is*
#
# $$\mathbb E\,\tfrac1N \lVert \hat x - x\rVert^2 = \underbrace{\tfrac1N \sum_i (1 - g_i)^2
# c_i^2}_{\text{bias}^2\text{: not there yet}} + \underbrace{\tfrac{\sigma^2}{N} \sum_i g_i^2}_{\text{variance: noise let in}} . \tag{4}$$
#
# *Proof.* At the start the residual is $f_0 - x_0$. By (2), $k$ steps leave the share $1 - g_i$ of its part along $v_i$. So the share $g_i$ of what was asked
# for, $x_0 - f_0$, is in the result: the first claim. Now $x_0 - f_0$ has the coefficients $c_i + n_i$ with $n_i = \langle v_i, n\rangle$. Along $v_i$ the error of the result is therefore
# $g_i (c_i + n_i) - c_i = -(1 - g_i)\, c_i + g_i n_i$. Take the mean of its square over the noise. Since $v_i$ has length 1, $n_i$ has mean 0 and variance $\sigma^2$; the mixed term vanishes, and
# $(1 - g_i)^2 c_i^2 + \sigma^2 g_i^2$ is left. Add up over the modes and divide by $N$. ∎
#
# The filter treats image and noise alike. It denoises because the image lies where $g_i$ becomes 1 early (section 3), and most of the noise does not. Bias falls with time, variance rises; in between lies the best
# moment. We compare the formula with fits at σ = 50/255.

# %%
SIGMA = 50 / 255
noisy = dip.degrade.gaussian_noise(clean, SIGMA, seed=0, clip=False)


def filters(kind, seed=0, steps=500):
    """The filter factors after each step."""
    times = rate(kind, seed) * np.arange(steps)
    return [theory.gradient_flow(modes(kind, seed).values, t) for t in times]


# %%
def stopping(kind, seed):
    """Bias² and variance by equation (4), and the measured error, after each step."""
    found, wanted = modes(kind, seed), clean - clean.mean()
    parts = [theory.bias_variance(found, wanted, SIGMA, g) for g in filters(kind, seed)]
    error = (fits[kind, seed] - clean).square().mean(dim=(1, 2, 3)).numpy()
    return *np.array(parts).T, error


# %% [markdown]
# > **Predict.** The bias needs the truth, so this is no method; but it needs no fit. How far off will the best step be, and the PSNR there? And where
# > the measured fit differs, will it be better or worse than predicted?

# %%
coarse = ("hourglass", "deep decoder")  # the networks with coarse grids
fits = {(kind, seed): fit_to(noisy, kind, seed, 500) for kind in coarse for seed in range(3)}
stopped = {kind: [stopping(kind, seed) for seed in range(3)] for kind in coarse}

# %% tags=["folded"]
# Draw bias, variance and the measured errors
figure, along_fit = Figure(figsize=(7, 6.4)), np.arange(1, 500)
for axis, (kind, three) in zip(figure.subplots(2, 1, sharex=True, sharey=True), stopped.items()):
    bias, variance, _ = three[0]
    axis.loglog(along_fit, bias[1:], color=COLOURS[0], ls=":", lw=2, label="bias²")
    axis.loglog(along_fit, variance[1:], color=COLOURS[1], ls=":", lw=2, label="variance")
    axis.loglog(along_fit, (bias + variance)[1:], color="black", ls="--", label="predicted error")
    for _, _, error in three:
        axis.loglog(along_fit, error[1:], color=COLOURS[2], lw=3, alpha=0.45)
    axis.lines[-1].set_label("measured error, three seeds")
    axis.set_title(kind, loc="left", fontsize=12)
    axis.set(ylim=(2e-3, 0.1), ylabel="mean squared error")
figure.axes[1].legend(frameon=False, loc="lower left", fontsize=11)
_ = figure.axes[1].set_xlabel("steps of gradient descent")

# %% tags=["folded"]
# A table of the best steps; reveal both
rows = []
for kind, three in stopped.items():
    for seed, (bias, variance, error) in enumerate(three):
        drawn = bias + variance
        decibels = [-10 * np.log10(curve.min()) for curve in (drawn, error)]
        rows.append((kind, seed, drawn.argmin(), error.argmin(), *decibels))
names = ["network", "seed", "best step, predicted", "measured"]
names += ["PSNR there, predicted", "PSNR, measured"]
best = pd.DataFrame(rows, columns=names)
gain = (best["PSNR, measured"] - best["PSNR there, predicted"]).groupby(best["network"]).mean()
shown = best.style.format("{:.1f}", subset=names[4:]).hide()
reveal(figure, shown, text="10 stopping", hourglass=gain["hourglass"], decoder=gain["deep decoder"])

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# When to stop comes out right within a factor of about two, and the PSNR to within a decibel. In all three seeds the hourglass does better than its tangent: it is sooner at a better image (less so on other pictures, and not on grass: [claims](claims.md)). The deep decoder agrees within about 0.3 dB (compared with its tangent in this draw of the noise, it gains up to 0.5 dB); it is best later than predicted, but its valley is flat (from step 300 to 500 the PSNR changes by at most a quarter of a decibel).
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
ratio = best["measured"] / best["best step, predicted"]
gap = best["PSNR, measured"] - best["PSNR there, predicted"]
assert ratio.between(1 / 3, 3).all() and gap.abs().max() < 1.5
assert (gap[best.network == "hourglass"] > 0.2).all()
assert max(error[300:].max() / error.min() for *_, error in stopped["deep decoder"]) < 10**0.04

# %% [markdown]
# ## 6 · What a fit has spent: degrees of freedom
#
# How much of $x_0$ does the result follow? A projection onto a $d$-dimensional subspace keeps $d$ of the $N$ coordinates, and $d$ is its trace. For any linear
# filter the trace of $H$ is called the **effective degrees of freedom**:
#
# $$\operatorname{df}(t) = \operatorname{tr} H = \sum_i g_i . \tag{5}$$
#
# It is also the **divergence** $\sum_i \partial \hat x_i / \partial x_{0,i}$, which lesson 08 measures to stop without the truth. With
# modes, lesson 08's estimate has a proof of one line. The expected energy is $\mathbb E\, E = \frac1N \sum_i (1 - g_i)^2 (c_i^2 + \sigma^2)$, and
# $(1 - g_i)^2 + 2 g_i - 1 = g_i^2$. So
#
# $$\mathbb E \Big[ E + \frac{2\sigma^2}{N} \operatorname{df} - \sigma^2 \Big] = \tfrac1N \sum_i (1 - g_i)^2 c_i^2 + \tfrac{\sigma^2}{N} \sum_i g_i^2 ,$$
#
# which is the error (4). The bracket on the left needs no truth. It is **SURE**, mode by mode.
#
# A real fit is not linear, so it has no $H$. But we can measure its divergence as lesson 08 does: add a small disturbance $b$ to $x_0$, fit again, and see how much of $b$ comes back.


# %%
def followed(kind, seed, steps=250, size=0.02):
    """The degrees of freedom after each step of a fit, from one disturbance b."""
    draw = torch.rand(clean.shape, generator=torch.Generator().manual_seed(seed))
    b = (draw - 0.5).sign()
    moved = fit_to(noisy + size * b, kind, 0, steps) - fits[kind, 0][:steps]
    return (moved * b).sum(dim=(1, 2, 3)).numpy() / size


# %% [markdown]
# > **Predict.** The networks have 24,053 and 16,960 weights, and the image has 1024 numbers. How many degrees of freedom does the fit have at its best step? And will equation (5), from the untrained network, agree with what is measured?

# %%
counted = {kind: [followed(kind, seed) for seed in range(5)] for kind in coarse}

# %% tags=["folded"]
# Draw the degrees of freedom; a dot marks the best step of the fit
figure = Figure(figsize=(7, 4.4))
axis, spent, sure = figure.subplots(), {}, {}
for colour, (kind, three) in zip(COLOURS, counted.items()):
    foretold = np.array([float(g.sum()) for g in filters(kind)])
    low, high, middle = np.min(three, 0), np.max(three, 0), np.mean(three, 0)
    axis.plot(foretold[:250], color=colour, ls="--", lw=2)
    axis.fill_between(range(250), low, high, color=colour, alpha=0.25, lw=0)
    axis.plot(middle, color=colour, lw=2, label=kind)
    error = stopped[kind][0][2]
    at = min(int(error.argmin()), 249)
    spent[kind] = foretold[at], middle[at]
    axis.plot(at, middle[at], "o", color=colour, ms=9)
axis.set(xlabel="steps of gradient descent", ylabel="degrees of freedom", ylim=(0, None))
_ = axis.legend(frameon=False, title="solid: measured · dashed: equation (5)")

# %% tags=["folded"]
# Stop by SURE, with equation (5); reveal both
for kind in coarse:
    foretold, error = np.array([float(g.sum()) for g in filters(kind)]), stopped[kind][0][2]
    energy = (fits[kind, 0] - noisy).square().mean(dim=(1, 2, 3)).numpy()
    chosen = int((energy + 2 * SIGMA**2 * foretold / 1024 - SIGMA**2).argmin())
    sure[kind] = 10 * np.log10(error[chosen] / error.min())

said = {"hourglass": spent["hourglass"][1], "decoder": spent["deep decoder"][1]}
reveal(figure, text="10 degrees", **said, lost=max(sure.values()))

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The fit spends degrees of freedom quickly at first, since there are modes with large λ, and then ever more slowly. At its best step the hourglass has about 300 of the 1024, the deep decoder fewer than half as many (at step 249, the last one drawn; its best, in a flat valley, is step 312). The number of weights is no guide: a filter on $N$
# numbers cannot have more than $N$. The better network spends *less*: its modes suit the picture better. From step 75 on, equation (5) is right for the hourglass to a twentieth. Before, the fit spends up to a fifth less, and the deep decoder does so to the end; we do not know why.
#
# With (5) in the place of a measured divergence, SURE stops both fits within 0.2 dB of their best.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
for kind, three in counted.items():
    foretold = np.array([float(g.sum()) for g in filters(kind)])[:250]
    assert np.abs(np.mean(three, 0)[50:] / foretold[50:] - 1).max() < 0.4
assert 200 < spent["hourglass"][1] < 420 and 80 < spent["deep decoder"][1] < 200
assert max(sure.values()) < 0.4

# %% [markdown]
# ## 7 · Older filters
#
# A filter that damps the modes with small λ is older than networks. **Landweber**'s iteration (1951) *is* gradient descent on a linear problem, $g_i = 1 - (1 - \eta\lambda_i)^k$.
# **Tikhonov**'s regularisation, which statisticians call ridge regression, has $g_i = \lambda_i / (\lambda_i + \alpha)$ with a weight $\alpha$.
# The truth chooses each family's best, and for comparison the best factor for *every mode separately*. Setting the derivative of (4) to zero yields $g_i = c_i^2 / (c_i^2 + \sigma^2)$, Wiener's filter.


# %%
def families(values):
    """Filter factors of three families, from strong to weak filters."""
    first, along = float(values[0]), np.geomspace(1, 1e5, 100)
    return {
        "gradient flow": [theory.gradient_flow(values, t / first) for t in along],
        "Landweber": [theory.landweber(values, int(2 * k), 0.5 / first) for k in along],
        "Tikhonov": [theory.tikhonov(values, first / k) for k in along],
    }


def decibels(found, factors):
    """The PSNR that equation (4) predicts."""
    return -10 * np.log10(sum(theory.bias_variance(found, clean - clean.mean(), SIGMA, factors)))


# %% [markdown]
# > **Predict.** Which matters more: the shape of the filter, or the modes? By how many decibels, roughly? We take the modes of the three networks, and the slow waves of section 3, with $\lambda = 1/(1 + u^2 + v^2)$ for $u$ and $v$ half-waves along the
# > two axes: a plain blur.

# %%
rows, chosen = {}, {}
used = {(kind, seed): modes(kind, seed) for kind in coarse for seed in range(3)}
used |= {("1x1 filters", 0): modes("1x1 filters"), ("slow waves", 0): slow_waves}
for (kind, seed), found in used.items():
    for name, family in families(found.values).items():
        scores = [decibels(found, g) for g in family]
        rows[kind, seed, name] = max(scores)
        chosen[kind, seed, name] = int(np.argmax(scores))
    c2 = found.split(clean - clean.mean()).square()
    rows[kind, seed, "every mode"] = decibels(found, c2 / (c2 + SIGMA**2))

# %% tags=["folded"]
# Draw the factors of the hourglass, seed 0
figure = Figure(figsize=(7, 3.4))
axis, values = figure.subplots(), modes("hourglass").values
look = {"gradient flow": {"lw": 7, "alpha": 0.35}}
look |= {"Landweber": {"ls": ":", "lw": 2.5}, "Tikhonov": {"ls": "--", "lw": 2.5}}
for colour, (name, family) in zip(COLOURS, families(values).items()):
    best_of = family[chosen["hourglass", 0, name]]
    axis.semilogx(values / values[0], best_of, color=colour, label=name, **look[name])
axis.set(xlabel="$λ / λ_1$", ylabel="share g let through", xlim=(1e-5, 1))
_ = axis.legend(frameon=False, title="each at its best")

# %% tags=["folded"]
# Reveal it with a table
table = pd.Series(rows).groupby(level=[0, 2])
table = table.agg(lambda v: f"{v.mean():.1f} (± {np.ptp(v) / 2:.1f})").unstack()
table = table[["gradient flow", "Landweber", "Tikhonov", "every mode"]]
table = table.loc[[*networks, "slow waves"]].rename_axis(index=None)
reveal(figure, table.style, text="10 filters")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The modes. The three families are within 0.3 dB of each other on every set of modes; Tikhonov is slightly ahead on those of the networks, whose modes with small λ hold some of the picture, too. From the hourglass to the deep decoder there are three decibels, and from the 1x1 filters six: with random modes
# it is best hardly to filter. Even the best factor for *every mode* leaves the hourglass behind the deep decoder with a plain early stop.
#
# And the slow waves are ahead of every *untrained* network, and of the fits of section 5. On this small picture, the linear theory alone makes no case for a network over a blur. What a fit gains beyond its tangent, it gains while $K$ moves.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert all(0 < at < 99 for (kind, *_), at in chosen.items() if kind != "1x1 filters")
scores = pd.Series(rows).groupby(level=[0, 2]).mean().unstack()
plain = scores[["gradient flow", "Landweber", "Tikhonov"]]
assert (plain.max(axis=1) - plain.min(axis=1)).max() < 0.6  # the shape; and the modes:
order = plain["gradient flow"][["1x1 filters", "hourglass", "deep decoder", "slow waves"]]
assert (order.diff().dropna() > 0.5).all() and order.diff().iloc[[1, 2]].min() > 1.5
assert scores["every mode"]["hourglass"] < scores["gradient flow"]["deep decoder"]

# %% [markdown]
# ## What to take away
#
# 1. The modes of $K = J J^\top$, computed before any fit, predict the order of fits and, for a while, their curves.
# 2. Photographs of things lie along the first modes of networks with coarse grids; noise lies along all modes alike. Slow waves do the same, and more so.
# 3. Early stopping is a filter $g_i = 1 - \exp(-\lambda_i t)$; bias and variance say when to stop.
# 4. The trace of the filter counts the degrees of freedom that a fit has spent. It can be predicted, to about a fifth, before the fit; the number of weights does not tell it.
# 5. The modes matter more than the shape of the filter.
# 6. The prediction ends where $K$ moves. In the hourglass $K$ mostly moves to the fit's advantage.
#
# What happens where $K$ moves: [lesson 10b](10b_open_questions.ipynb).
#
# ## Exercises
#
# Put your answer in the place of `None`, or of the dots (double click). Worked answers:
# [solutions/10_theory.ipynb](solutions/10_theory.ipynb).
#
# **1. Two layers, by hand.** The smallest network with a prior is $f = B A z$, with a vector $z$ and two trained matrices. Write `my_kernel(A, B, z)`, its tangent kernel.
#
# <details><summary>A first hint</summary>
#
# Write $f_i = \sum_{jk} B_{ij} A_{jk} z_k$, and differentiate by $A_{jk}$ and by $B_{ij}$. $K$ has one term for each matrix.
#
# </details>

# %%
my_kernel = None

check.tangent_kernel(my_kernel)

# %% [markdown]
# Which of the two matrices decides the modes? What would it have to be for the modes to be waves, the slow ones first?
#
# *Your answer:* ...

# %% [markdown]
# **2. Stop without the truth.** Write `my_estimate(c0, values, sigma, t)`: an estimate of the error per pixel at the time $t$ of gradient flow, from the coefficients `c0` of
# $x_0 - f_0$, which contain the noise. (All are tensors of $N$ numbers or floats.)
#
# <details><summary>A first hint</summary>
#
# In the last equation of section 6, everything under the expectation is known: the energy is $\frac1N \sum_i (1 - g_i)^2 c_{0,i}^2$.
#
# </details>

# %%
my_estimate = None

check.error_without_truth(my_estimate)

# %% [markdown]
# **3. Hold the line.** Make the hourglass follow its prediction on the target "image" within 5 %, until half of the energy is gone. (`predicted_and_measured("hourglass", contrast * targets["image"], 100)`
# asks for a picture of less contrast.)
#
# <details><summary>A first hint</summary>
#
# The theory fails when the weights go far. How far must they go for a tenth of the contrast?
#
# </details>

# %%
my_curves = None  # the pair that predicted_and_measured returns

check.follows(my_curves)

# %% [markdown]
# Why does it help to ask for less? The theorems of the field speak of infinitely wide networks: why would a wider network help for the same reason?
#
# *Your answer:* ...

# %% [markdown]
# **4. Too small?** Somebody says: "The 1x1 network has no prior because it has only 1,761 weights. The others have ten times as many." Which control would decide? Run it (`pointwise` takes a width), and give the share of
# the camera man's energy in the first 100 modes.
#
# *Your answer:* ...
#
# <details><summary>A first hint</summary>
#
# Vary the number of weights and nothing else. `cumulative(found, clean)` needs the modes of one more network.
#
# </details>
#
# ## References
#
# - A. Jacot, F. Gabriel, C. Hongler, *Neural tangent kernel: convergence and generalization in neural networks*, NeurIPS 2018.
#   [arXiv:1806.07572](https://arxiv.org/abs/1806.07572).
# - L. Landweber, *An iteration formula for Fredholm integral equations of the first kind*, American Journal of Mathematics 73 (1951).
#   [doi:10.2307/2372313](https://doi.org/10.2307/2372313).
# - B. Efron, *The estimation of prediction error: covariance penalties and cross-validation*, Journal of the American Statistical Association 99 (2004).
#   [doi:10.1198/016214504000000692](https://doi.org/10.1198/016214504000000692).
# - P. Chakrabarty, S. Maji, *The spectral bias of the deep image prior* (2019): early stopping as a low-pass filter.
#   [arXiv:1912.08905](https://arxiv.org/abs/1912.08905).
