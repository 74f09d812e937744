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
# # 10 · Theory: why it works, computed and not only cited
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/10_theory.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/10_theory.ipynb)
#
# **When you are through, you will be able to**
#
# - compute a network's Jacobian, read its modes, and predict from them how a fit will go;
# - say in which sense early stopping is a filter, and compute when to stop, in theory;
# - say what a random network's outputs have to do with a Gaussian process, and what sampling buys;
# - say where each of these theories ends, and what none of them explains.
#
# **Time:** about three and a half minutes of computing on two cores. **Needs:** lessons 01 and 03,
# and eigenvectors. Nothing is downloaded, no GPU is used. All symbols are in the
# [glossary](glossary.md).

# %%
import sys

if "google.colab" in sys.modules:  # Colab brings torch; only the course itself is missing there
    import subprocess

    address = "diplearn[compare] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

# %%
import functools

import numpy as np
import pandas as pd
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check, theory
from diplearn.figures import COLOURS, Figure, contact_sheet
from diplearn.networks import DeepDecoder, Hourglass, Pixels, parameter_count

torch.set_num_threads(1)  # networks as small as these are not faster on more

# %% [markdown]
# ## 1 · The challenge
#
# In lesson 03 a network found an image about three times faster than the same pixels in disorder. The
# authors *showed* that, and had no proof. Can we **predict** it: look at an untrained network, and
# draw the curves of fits that nobody has made?
#
# At 32x32 grey pixels, everything below can be computed exactly: an image is a vector of $N = 1024$
# numbers. Here are the four targets again, and four ways to write an image: two networks with
# coarser levels, one with 1x1 filters only (no pixel sees another), and the pixels themselves. (The
# deep decoder here has 17 times as many weights as pixels: wider than the published idea.)


# %%
def pointwise(width=32):
    """1x1 filters, no upsampling."""
    layers = [nn.Conv2d(16, width, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1))


def hourglass(width=16):
    """A small hourglass with three levels."""
    levels = {"down": (width,) * 3, "skip": (width // 4,) * 3}
    return Hourglass(width, 1, **levels, padding="zeros", merge_norm=False, sigmoid=False)


# %%
KINDS = {
    "hourglass": (hourglass, 16),  # and the channels of z
    "deep decoder": (lambda: DeepDecoder(64, 1, 64, 4, sigmoid=False), 64),
    "1x1, no upsampling": (pointwise, 16),
    "pixels": (lambda: Pixels(1, 32, 32), 1),
}


def fresh(kind, seed=0):
    """Return an untrained network and its fixed input z."""
    torch.manual_seed(seed)
    build, channels = KINDS[kind]
    return build(), 0.1 * torch.rand(1, channels, 32, 32)


# %%
clean = dip.images.load("camera", size=32)
targets = {n: t.observation for n, t in dip.problems.impedance(clean, 25 / 255, seed=0).items()}
contact_sheet(targets, width=8, alt="A man with a camera, in noise, in disorder; and noise alone")

# %% [markdown]
# ### The tangent
#
# A network is a complicated function of its weights. But a step of gradient descent is small, and for
# small changes every smooth function is linear:
#
# $$f_\theta(z) \approx f_{\theta_0}(z) + J\,(\theta - \theta_0), \qquad J_{ij} = \partial f_i / \partial
# \theta_j .$$
#
# The **Jacobian** $J$ has a row for each pixel and a column for each of the $p$ weights. Gradient
# descent on $\tfrac12 \lVert f - x_0\rVert^2$ (the energy $E$ times $N/2$: that only rescales η)
# changes the weights by $-\eta J^\top r$, where $r = f - x_0$ is the residual. So the *image*
# changes by
#
# $$r \;\leftarrow\; r - \eta K r, \qquad K = J J^\top .$$
#
# $K$ is the **tangent kernel** (Jacot et al. 2018). If $K$ stays what it is, its eigenvectors $v_i$,
# the **modes**, do not disturb each other: along $v_i$, $k$ steps leave the share
#
# $$(1 - \eta\lambda_i)^k \approx \exp(-\lambda_i t)$$
#
# of the residual, with the **time** $t = \eta k$. A mode with a large $\lambda_i$ comes at once, one
# with a small $\lambda_i$ hardly ever. That is impedance, as a number: $1 / \lambda_i$. ($\lambda_i$
# is the square of $J$'s $i$-th singular value, $v_i$ its left singular vector.)


# %%
@functools.cache
def modes(kind, seed=0):
    """The spectrum of K at the start."""
    return theory.spectrum(theory.kernel(theory.jacobian(*fresh(kind, seed))), clean.shape)


for kind in KINDS:
    weights, values = parameter_count(fresh(kind)[0]), modes(kind).values
    print(f"{kind:20s} {weights:6,} weights, λ₁ / λ₅₀₀ = {values[0] / values[499]:,.0f}")

# %% [markdown]
# > **Predict.** An eigenvector of $K$ has 1024 entries, so it is an image. What will the modes with
# > the largest $\lambda_i$ look like in the hourglass? And in the 1x1 network?

# %%
numbers = (1, 2, 3, 5, 10, 30, 100, 300, 1000)
figure = Figure("Two networks begin with smooth modes; those of 1x1 are noise", figsize=(10, 3.9))
for row, kind in zip(figure.subplots(3, len(numbers)), KINDS):
    for axis, number in zip(row, numbers):
        mode = modes(kind).mode(number)[0]
        axis.imshow(mode, cmap="gray", vmin=-mode.abs().max(), vmax=mode.abs().max())
        axis.set(xticks=[], yticks=[], title=f"$v_{{{number}}}$" if kind == "hourglass" else "")
    row[0].set_ylabel(kind.split(",")[0])
figure

# %%
figure = Figure("Steep spectra for the three networks; only hourglass and decoder put low "
                "frequencies first", figsize=(10, 3.2))  # fmt: skip
left, right = figure.subplots(1, 2)
frequency = {}
for colour, kind in zip(COLOURS, KINDS):
    found, along = modes(kind), np.arange(1, 1025)
    frequency[kind] = theory.mean_frequency(found.vectors.T.reshape(-1, 32, 32)).numpy()
    left.loglog(along, found.values / found.values[0], color=colour, lw=2, label=kind)
    if kind != "pixels":  # all its λ are equal: any basis is one of modes
        right.semilogx(along, frequency[kind], ".", color=colour, ms=2)
left.set(xlabel="mode i", ylabel="$λ_i / λ_1$", ylim=(1e-6, 2))
right.set(xlabel="mode i", ylabel="mean frequency of $v_i$, cycles per pixel")
left.legend(frameon=False)
figure

# %%
for kind in ("hourglass", "deep decoder"):
    early, late = frequency[kind][:20].mean(), frequency[kind][-100:].mean()
    print(f"{kind}: first 20 modes {early:.2f}, last 100 modes {late:.2f} cycles per pixel")
    assert early < 0.6 * late
    assert modes(kind).values[0] > 200 * modes(kind).values[499]
assert modes("1x1, no upsampling").vectors[:, 0].sum() ** 2 / 1024 > 0.5  # most of v₁ is constant
assert 0.9 < frequency["1x1, no upsampling"][1:21].mean() / 0.383 < 1.1  # 0.383: white noise

# %% [markdown]
# **Explain.** Nobody has trained anything yet: the architecture alone makes the first modes clouds,
# and gives mode 500, grain, a $\lambda$ that is hundreds (hourglass) or thousands (deep decoder) of
# times smaller. The 1x1 network has modes that come first, too. Except for the very first, mostly a
# constant, they are *random* images: it prefers something, and nothing that a photograph is made
# of. For the pixels $K = I$. (The dot at frequency 0: in the deep decoder, one weight is added to
# all pixels alike.)
#
# ### Curves for fits that nobody has made
#
# Now split each target along the modes, $c_i = \langle v_i, r\rangle$, and add up:
#
# $$E(t) = \tfrac1N \sum_i c_i^2 \exp(-2 \lambda_i t) .$$
#
# (So that all targets begin alike, we ask each network to *change* its first output by $x_0$ less its
# mean.) Then we make the fits, with plain gradient descent, and lay the curves on top.
#
# > **Predict.** Will the measured curves leave the predicted ones? In which direction?


# %%
def descend(network, z, goal, optimiser, steps):
    """Fit, one step at a time, and yield each output before the step."""
    for _ in range(steps):
        output = network(z)[0]
        yield output.detach()
        (0.5 * (output - goal).square().sum()).backward()
        optimiser.step()
        optimiser.zero_grad()


def plain(network, rate):
    """Gradient descent, nothing else."""
    return torch.optim.SGD(network.parameters(), lr=rate)


# %%
def predicted_and_measured(kind, target, steps, contrast=1.0, seed=0):
    """Energies along gradient descent, as shares of the first, from the modes and from a fit."""
    network, z = fresh(kind, seed)
    rate = (0.5 if kind != "pixels" else 0.01) / float(modes(kind, seed).values[0])
    start = network(z)[0].detach().clone()
    move = contrast * (target - target.mean())
    outputs = descend(network, z, start + move, plain(network, rate), steps)
    fitted = np.array([float((start + move - output).square().mean()) for output in outputs])
    drawn = theory.energy_curve(modes(kind, seed), move, rate * np.arange(steps))
    return drawn / drawn[0], fitted / drawn[0]


# %%
STEPS = {"hourglass": 400, "deep decoder": 400, "1x1, no upsampling": 400, "pixels": 200}
curves = {
    kind: {name: predicted_and_measured(kind, t, STEPS[kind]) for name, t in targets.items()}
    for kind in KINDS
}

# %% tags=["figure:10_prediction"]
figure = Figure("Predicted curves (dashes) and measured ones agree", figsize=(10, 6))
for axis, (kind, by_target) in zip(figure.subplots(2, 2, sharey=True).ravel(), curves.items()):
    for colour, (name, (drawn, fitted)) in zip(COLOURS, by_target.items()):
        along = np.arange(1, len(drawn))
        axis.loglog(along, fitted[1:], color=colour, lw=5, alpha=0.35, label=name)
        axis.loglog(along, drawn[1:], color=colour, ls="--", lw=1.5)
    axis.set(title=kind, ylim=(0.04, 1.2))
    axis.grid(alpha=0.25)
figure.axes[0].legend(frameon=False, title="broad: measured · dashed: predicted")
figure.supxlabel("steps of gradient descent", fontsize=10)
figure.supylabel("energy, as a share of the first", fontsize=10)
figure

# %%
rows = {}
for kind, by_target in curves.items():
    rows[kind] = {name: (fitted / drawn)[-1] for name, (drawn, fitted) in by_target.items()}
    early = max(np.abs(fitted / drawn - 1)[:30].max() for drawn, fitted in by_target.values())
    assert early < 0.3, (kind, early)  # for the first 30 steps all of them are predicted
order = {kind: by["shuffled pixels"][1][-1] / by["image"][1][-1] for kind, by in curves.items()}
assert order["hourglass"] > 3 and order["deep decoder"] > 5  # a preference, and
assert 0.8 < order["1x1, no upsampling"] < 1.25 and 0.99 < order["pixels"] < 1.01  # none
pd.DataFrame(rows).T.style.format("{:.2f}").set_caption("measured / predicted energy at the end")

# %% [markdown]
# **Explain.** Sixteen curves, and no fit was needed to draw them. That is an explanation:
# *photographs lie along the modes with large λ, noise lies along all of them alike*. For 1x1 filters
# and for pixels the four curves are one: no preference *for images*, no prior.
#
# The 0.98 of the pixels is no change of $K$: steps of finite size are a little faster than the flow,
# $0.99^{398}$ against $e^{-3.98}$.
#
# Look where the curves part. On *images*, the hourglass has only about two thirds of the predicted
# energy left in the end: while the weights move, $K$ itself changes, and it comes to suit the
# image that is fitted. The tangent is blind to that (section 5).
#
# ## 2 · Early stopping is a spectral filter
#
# Let $x_0 = x + n$, with noise of standard deviation σ. After the time $t$ a mode has been fitted to
# the share $g_i = 1 - \exp(-\lambda_i t)$, image and noise alike. With $c_i$ for what the *clean*
# image asks of a mode, the expected error is
#
# $$\mathbb E\,\tfrac1N \lVert \hat x - x\rVert^2 = \underbrace{\tfrac1N \sum_i (1 - g_i)^2
# c_i^2}_{\text{bias}^2\text{: not there yet}} + \underbrace{\tfrac{\sigma^2}{N} \sum_i g_i^2}_{\text{variance: noise let in}} .$$
#
# One falls, the other rises; in between lies the best moment. It is a formula now.
#
# > **Predict.** The kernel moves towards the image during the fit (section 1). Will the measured
# > best be better or worse than the predicted one, in the hourglass?

# %%
SIGMA = 50 / 255
noisy = dip.degrade.gaussian_noise(clean, SIGMA, seed=0, clip=False)


# %%


def stopping(kind, seed, steps=500):
    """Predicted bias² and variance, measured error, step by step."""
    (network, z), found = fresh(kind, seed), modes(kind, seed)
    rate, start = 0.5 / float(found.values[0]), network(z)[0].detach()
    goal, mean = start + noisy - noisy.mean(), noisy.mean()
    outputs = descend(network, z, goal, plain(network, rate), steps)
    error = [float((output - start + mean - clean).square().mean()) for output in outputs]
    factors = [theory.gradient_flow(found.values, rate * k) for k in range(steps)]
    parts = [theory.bias_variance(found, clean - mean, SIGMA, g) for g in factors]
    return *np.array(parts).T, np.array(error)


# %%
stopped = {kind: [stopping(kind, s) for s in range(3)] for kind in ("hourglass", "deep decoder")}

# %%
figure = Figure("Bias falls, variance rises; the measured error has its valley near theirs",
                figsize=(10, 3.4))  # fmt: skip
for axis, (kind, three) in zip(figure.subplots(1, 2, sharey=True), stopped.items()):
    along, (bias, variance, _) = np.arange(1, 500), (part[1:] for part in three[0])
    axis.loglog(along, bias, color=COLOURS[0], ls=":", lw=2, label="bias²")
    axis.loglog(along, variance, color=COLOURS[1], ls=":", lw=2, label="variance")
    axis.loglog(along, bias + variance, color="black", ls="--", label="their sum: predicted error")
    for _, _, error in three:
        axis.loglog(along, error[1:], color=COLOURS[2], lw=3, alpha=0.4)
    axis.lines[-1].set_label("measured error, three seeds")
    axis.set(title=kind, xlabel="steps of gradient descent", ylim=(2e-3, 0.1))
figure.axes[0].legend(frameon=False, fontsize=8)
figure.axes[0].set_ylabel("mean squared error")
figure

# %%
rows = []
for kind, three in stopped.items():
    for bias, variance, error in three:
        drawn = bias + variance
        decibels = [-10 * np.log10(curve.min()) for curve in (drawn, error)]
        rows.append((kind, drawn.argmin(), error.argmin(), *decibels))
names = ["network", "best step, predicted", "measured", "best PSNR, predicted", "PSNR, measured"]
best = pd.DataFrame(rows, columns=names)
ratio = best["measured"] / best["best step, predicted"]
assert ratio.between(1 / 4, 4).all()
assert (best["PSNR, measured"] - best["best PSNR, predicted"]).abs().max() < 2
flat = [error[300:].max() / error.min() for *_, error in stopped["deep decoder"]]
assert max(flat) < 10**0.025  # a quarter of a decibel
best.style.format("{:.1f}", subset=names[3:]).hide()

# %% [markdown]
# **Explain.** When to stop comes out right within a factor of about two, and the PSNR to within a
# decibel, from numbers that were known before the fit began (and the truth; lesson 08 is about doing
# without it). The hourglass does better than its tangent: it stops sooner, at a better image. The
# deep decoder stops later than predicted, but its valley is flat: from step 300 to the end, at 500,
# the PSNR stays within about a tenth of a decibel of its best.
#
# That an early stop is a low-pass filter, Chakrabarty & Maji (2019) saw in fits of an hourglass. A
# filter that damps modes with small λ has been around for longer than networks. **Landweber**'s
# iteration *is* gradient descent on a linear problem, $g_i = 1 - (1 - \eta\lambda_i)^k$.
# **Tikhonov**'s regularisation, which statisticians call ridge regression, has $g_i = \lambda_i /
# (\lambda_i + \alpha)$. With the modes of the hourglass at its start:

# %%
found = modes("hourglass")
rate = 0.5 / float(found.values[0])
filters = {
    "gradient flow": [theory.gradient_flow(found.values, rate * k) for k in range(1, 3000, 10)],
    "Landweber": [theory.landweber(found.values, k, rate) for k in range(1, 3000, 10)],
    "Tikhonov": [theory.tikhonov(found.values, a) for a in np.geomspace(1, 1e5, 100)],
}
chosen = {}
for name, family in filters.items():
    errors = [sum(theory.bias_variance(found, clean - noisy.mean(), SIGMA, g)) for g in family]
    chosen[name] = family[int(np.argmin(errors))], -10 * np.log10(min(errors))
assert max(d for _, d in chosen.values()) - min(d for _, d in chosen.values()) < 0.6

# %%
figure = Figure("Three filters, all the same S from low to high λ", figsize=(7, 3))
axis = figure.subplots()
for colour, style, (name, (g, decibels)) in zip(COLOURS, ("-", ":", "--"), chosen.items()):
    axis.semilogx(found.values, g, style, color=colour, lw=2.5, label=f"{name}: {decibels:.2f} dB")
axis.set(xlabel="eigenvalue λ", ylabel="share g let through", xlim=(1, None))
axis.legend(frameon=False, title="each at its best")
figure

# %% [markdown]
# Three names, one idea, and a few tenths of a decibel between them: the modes matter more than the
# shape of the S.
#
# ## 3 · Two bounds
#
# **Fewer weights than pixels.** White noise is as strong along every direction. A $p$-dimensional
# subspace of $N$ contains the share $p/N$ of it, so projecting on it leaves an error of
# $(p/N)\,\sigma^2$ from the noise, however long one fits. A deep decoder with few channels is no
# subspace, but Heckel & Hand (2019) prove a bound of that kind for one with a single hidden layer:
# the share of noise that it can fit is at most of the order of its parameters over $N$, up to a
# logarithm.
#
# **More weights than pixels.** Then nothing is out of reach, and only time protects. Heckel &
# Soltanolkotabi (2020) study the generator $G(C) = \operatorname{ReLU}(UC)\,s$ with a *fixed*
# circular convolution $U$ (a smooth filter, which stands for upsampling), trained weights $C$, and a
# fixed output vector $s$ of entries $\pm 1/\sqrt{\text{channels}}$. In the mean over random $C$, its
# modes are the waves of the Fourier transform, the slow ones first. They prove that gradient
# descent, stopped early, denoises it: for a signal made of the $p$ slowest of $N$ waves, and a
# network that is wide enough, the error is of the order $(p/N)\,\sigma^2$ again, now $p$ counting
# waves, and not weights.


# %%
def noise_fitted(width, seed, steps=500):
    """The share of pure noise that a narrow decoder reproduces, and its weights per pixel."""
    torch.manual_seed(seed)
    network, z = DeepDecoder(width, 1, width, 4, sigmoid=False), torch.rand(1, width, 32, 32)
    noise = torch.randn(1, 32, 32)
    adam = torch.optim.Adam(network.parameters(), lr=0.02)
    *_, last = descend(network, z, noise, adam, steps)
    left = (last - noise).square().sum() / noise.square().sum()
    return parameter_count(network) / 1024, float(1 - left)


under = np.array([[noise_fitted(width, s) for s in range(3)] for width in (3, 5, 7, 9)])

# %%
N, channels = 128, 512
distance = torch.minimum(torch.arange(N), N - torch.arange(N))  # U blurs with a triangle
U = torch.stack([(1 - distance / 32).clamp(min=0).roll(i) for i in range(N)])
U = U / U[0].norm()


# %%
def best_error(p, seed, sigma=0.05, steps=300):
    """Gradient descent on G(C) = ReLU(UC) s: the least error on its way, in units of σ²."""
    torch.manual_seed(seed)
    C, s = torch.randn(N, channels), (-1.0) ** torch.arange(channels) / channels**0.5
    x = torch.fft.irfft(torch.randn(p // 2 + 1, dtype=torch.complex64), N)  # p slow waves
    x = 0.1 * x / x.square().mean().sqrt()  # faint: then K stays what it is
    start = torch.relu(U @ C) @ s
    goal, least = start + x + sigma * torch.randn(N), np.inf
    for _ in range(steps):
        hidden = U @ C
        f = torch.relu(hidden) @ s
        least = min(least, float((f - start - x).square().mean()))
        C -= 0.08 * U.T @ ((f - goal)[:, None] * (hidden > 0) * s)
    return least / sigma**2


# %%
counts = (3, 5, 9, 17, 25)
over = np.array([[best_error(p, s) for s in range(5)] for p in counts])

# %%
figure = Figure("Decoders stay under p / N; stopped fits scatter about it", figsize=(10, 3.4))
left, right = figure.subplots(1, 2)
left.plot(under[..., 0].ravel(), under[..., 1].ravel(), "o", color=COLOURS[0], ms=6)
left.set(xlabel="weights per pixel, p / N", ylabel="share of the noise that is fitted")
left.set_title("narrow deep decoders fitted to noise")
for seed in range(5):
    right.loglog(np.array(counts) / N, over[:, seed], "o", color=COLOURS[1], ms=6, alpha=0.6)
right.set(xlabel="waves in the signal, p / N", ylabel="least error / σ²")
right.set_title("G(C) = ReLU(UC) s, stopped at its best")
right.set_xticks([0.03, 0.1, 0.2], ["0.03", "0.1", "0.2"], minor=False)
right.tick_params(axis="x", which="minor", labelbottom=False)
for axis, ends, what in ((left, (0, 0.45), "share"), (right, (0.02, 0.25), "error / σ²")):
    axis.plot(ends, ends, color="0.5", ls="--", label=f"{what} = p / N")
    axis.legend(frameon=False)
figure

# %%
assert (under[..., 1] < under[..., 0]).all()  # all narrow decoders stay below the line
slope = np.polyfit(np.log(np.repeat(counts, 5)), np.log(over.ravel()), 1)[0]
ratio = over / (np.array(counts)[:, None] / N)
print(f"the error grows as p to the power of {slope:.2f} and is {ratio.mean():.1f} p / N,")
print(f"on average; in single fits between {ratio.min():.1f} and {ratio.max():.1f} p / N")
assert 0.6 < slope < 1.6 and 0.5 < ratio.mean(axis=1).min() and ratio.mean(axis=1).max() < 3
assert 1 < ratio.mean() < 2 and np.ptp(ratio[:2]) > np.ptp(ratio[-2:])

# %% [markdown]
# **Explain.** On the left, no decoder fits a larger share of noise than it has weights per pixel.
# The line is the subspace's $p/N$. The theorem's bound has constants and a logarithm and is for one
# layer; our decoders have four, and 500 steps of Adam. On the right, the error is about one and a
# half times $(p/N)\,\sigma^2$ on average, with a wide spread for few waves: what counts for noise is
# the number of waves one has to wait for, although there are 512 times as many weights as samples.
# (The theorem keeps $K$ as it is by width; we made the signal faint instead.)
#
# ## 4 · The Bayesian view
#
# In lesson 01 a prior was a probability $p(x)$. A random network *is* one: draw weights, look at the
# output. Which one? Let all networks share the same noise $z$, and make them wider. Cheng et al.
# (2019) prove that for a *stationary* input $z$, such as white noise, the output tends to a
# **Gaussian process** as the numbers of channels go to infinity: all that one can say about it is a
# covariance, *how alike are two pixels?* And this kernel is **stationary**: it depends only on the
# *step* from one pixel to the other (its direction, not only its length). Batch norm is not in their
# list; here we try it.
#
# > **Predict.** Stationary means that a covariance matrix equals its mean over all shifts of the
# > image, edges joined. By what factor does the distance fall when the width is multiplied by
# > four?


# %%
@torch.no_grad()
def covariance(width, z, networks):
    """Covariance of two pixels, over many random networks that share one z."""
    total = 0
    for _ in range(networks):
        network = hourglass(width)
        network.to_image = nn.Identity()  # over the last layer's weights we average exactly
        features = network(z)[0].flatten(1)
        total = total + features.T @ features / (width * networks)
    return total.double()


# %%
rows, kernels = {}, {}
for width, networks in {4: 60, 16: 40, 64: 20, 256: 6}.items():
    for seed in range(2):
        torch.manual_seed(seed)
        z = torch.rand(1, width, 32, 32) - 0.5  # about 0: at the borders, zeros are added
        one, two = covariance(width, z, networks), covariance(width, z, networks)
        rows[width, f"z no. {seed + 1}"] = theory.from_stationary(one, two, clean.shape)
        kernels[width] = (one + two) / 2

# %%
apart = pd.Series(rows).unstack().rename_axis("channels")
fall = apart.mean(axis=1).to_numpy()
fall = fall[:-1] / fall[1:]
assert 1.6 < fall[0] < 2.2 and 1.3 < fall[1] < 1.8 and 1 < fall[2] < 1.5
variance = kernels[256].diagonal().reshape(32, 32)
border = torch.cat([variance[[0, -1]].ravel(), variance[:, [0, -1]].ravel()]).mean()
border = float(border / variance[8:24, 8:24].mean())
print(f"256 channels: the variance at the border is {border:.1f} of that in the middle")
assert 0.6 < border < 0.8
apart.style.format("{:.3f}")

# %% [markdown]
# **Explain.** It nearly halves, then falls by a third: something like $1/\sqrt{\text{channels}}$, as
# means of independent things do. (We compare two independent sets of networks with the same $z$.
# Otherwise we would measure how few networks we drew.) With 256 channels it hardly falls any more:
# what is left is mostly the border, where zeros are added and pixels vary less. A stationary process
# has no border. Samples from such a process, beside networks:

# %%
prior = theory.spectrum(theory.stationary(kernels[256], clean.shape), clean.shape)
strength = prior.values.sqrt() * (torch.arange(1024) > 0)  # without mode 1, the constant
assert prior.mode(1).std() < 1e-6


def stretched(image):
    """Spread the values over [0, 1] about 0.5."""
    image = image - image.mean()
    return (0.5 + image / (6 * image.std())).clamp(0, 1).detach().float()


def sample(width):
    """The output of a new network for a new z."""
    return stretched(hourglass(width)(torch.rand(1, width, 32, 32) - 0.5)[0])


# %%
sheet = {f"{width} channels {i}": sample(width) for width in (4, 64) for i in range(5)}
sheet |= {f"process {i}": stretched(prior.join(strength * torch.randn(1024))) for i in range(5)}
contact_sheet(sheet, columns=5, width=8, alt="Clouds with grain, of the same kind in each row")

# %% [markdown]
# With a Gaussian prior everything is linear algebra. The **posterior mean**, the best guess after
# $x_0$ was seen, is Tikhonov's filter of section 2, with the *prior's* eigenvalues for λ and
# $\sigma^2$ for α. (The prior's variance is set to that of $x_0$ less $\sigma^2$.)
#
# The other Bayesian way keeps the network. **Langevin** sampling adds noise to the *weights* after
# each step; they never come to rest, but wander among all weights that explain $x_0$, and one takes
# the mean of their outputs, without those on the way there (the **burn-in**). Welling & Teh (2011)
# give steps *that shrink*, and noise, that lead to the true posterior. We do what the published code
# of Cheng et al. does, Adam plus noise of a fixed strength on the filters (without their input
# noise, weight decay and fallback; their noise is twice the learning rate, ours four times): in
# spirit a posterior, with a **temperature** of its own (more noise is hotter, and strays further
# from $x_0$). Of the three strengths in exercise 4 we took the one whose mean holds.
#
# > **Predict.** Plain Adam ends where it must, at the noisy image. Where does the mean of the
# > wandering networks end?


# %%
def restless_adam(network, noise):
    """Adam that adds noise to the filters after each step."""
    filters = [w for w in network.parameters() if w.ndim == 4]

    def shake(*_):
        for w in filters:
            w.data.add_(torch.randn_like(w), alpha=noise)

    adam = torch.optim.Adam(network.parameters(), lr=0.01)
    adam.register_step_post_hook(shake)
    return adam


# %%
def wander(seed, noise, steps=800, burn_in=300):
    """PSNR of the outputs and of their mean, step by step; the outputs, and the last mean."""
    network, z = fresh("hourglass", seed)
    adam, average, total = restless_adam(network, noise), [], 0
    outputs = list(descend(network, z, noisy, adam, steps))
    for step, output in enumerate(outputs):  # the output after so many steps
        total = total + output if step > burn_in else output
        mean = total / max(1, step - burn_in + 1)
        average.append(dip.psnr(mean, clean))
    return np.array([dip.psnr(o, clean) for o in outputs]), np.array(average), outputs, mean


# %%
calm = [wander(seed, 0.0, steps=400) for seed in range(3)]
restless = [wander(seed, 0.04) for seed in range(3)]

# %%
figure = Figure("Adam overfits; the mean over wandering networks does not", figsize=(9, 3.2))
axis = figure.subplots()
along, single, noisier = np.arange(1, 800), calm[0][0], restless[0][0]
axis.semilogx(along[:399], single[1:], color=COLOURS[1], lw=1.5, label="Adam, single outputs")
label = "with noise: single outputs"
axis.semilogx(along, noisier[1:], color=COLOURS[0], lw=0.6, alpha=0.7, label=label)
for _, average, _, _ in restless:
    axis.semilogx(along[299:], average[300:], color=COLOURS[2], lw=3)
axis.lines[-1].set_label("with noise: their mean, from step 300 on; three seeds")
axis.set(xlabel="step", ylabel="PSNR in dB", ylim=(3.5, 23))
axis.legend(frameon=False)
figure

# %%
varies = float(noisy.var() - SIGMA**2) / float(strength.square().mean())
factors = theory.tikhonov(varies * strength.double().square(), SIGMA**2)
posterior = prior.filtered(noisy - noisy.mean(), factors) + noisy.mean()
scores = {
    "posterior mean of the process": [dip.psnr(posterior.float(), clean)],
    "Adam, stopped at its best (oracle)": [run[0].max() for run in calm],
    "Adam, 400 steps": [run[0][-1] for run in calm],
    "mean of wandering networks": [run[1][-1] for run in restless],
    "the same, its best moment": [run[1][300:].max() for run in restless],
}
table = pd.DataFrame({n: (np.mean(s), np.ptp(s)) for n, s in scores.items()}).T
table.set_axis(["PSNR", "highest − lowest of three seeds"], axis=1).style.format("{:.2f}")

# %%
shown = {"x₀": noisy, "process": posterior.float()}
single, _, outputs, _ = calm[0]
shown |= {"Adam, at its best": outputs[single.argmax()], "Adam, 400 steps": outputs[-1]}
shown |= {"wandering": restless[0][3], "truth": clean}
shown = {name: image.clamp(0, 1) for name, image in shown.items()}
contact_sheet(shown, columns=6, alt="The wandering networks' mean is the smoothest")

# %%
end, peak = scores["mean of wandering networks"], scores["the same, its best moment"]
assert min(np.subtract(end, peak)) > -0.7  # it stays where it was
assert min(end) > max(scores["Adam, 400 steps"]) + 4
assert scores["posterior mean of the process"][0] > dip.psnr(noisy, clean) + 2

# %% [markdown]
# **Explain.** At this strength of noise the mean does not overfit within 800 steps. The question
# *when to stop* has become *how much noise*: with half of it the mean sinks (exercise 4). The
# process, on the other hand, gives one fixed filter for every place: a stationary prior cannot know
# where the man ends and the sky begins, and that of this hourglass, whose samples have much grain,
# leaves much of it. What a network of finite width adds: its filter adapts to the image (section
# 5).
#
# ## 5 · What the optimiser does
#
# Tachella, Tang & Davies (2021) read $K$ as a **filter**: in each step a pixel takes a weighted
# *sum* of the residuals of others; the weights are its row of $K$. When the noisy image itself is
# the network's input, $K$ compares patches, as non-local means does. With noise as input, as here,
# $K$ at the start knows nothing of the image. They find that this predicts networks trained by
# gradient descent, and that it falls short for *Adam*, which changes the weights in the hidden
# layers more, and with them the filter. (Adam also divides the gradient of each weight by its usual
# size, so even its first steps follow another kernel, about $J D J^\top$ with a diagonal $D$.)


# %%
def best_on_the_way(seed, adam, kind="hourglass"):
    """Fit x0 itself; return the network at its best (as the truth says), its PSNR, and when."""
    network, z = fresh(kind, seed)
    optimiser = plain(network, 1 / float(modes(kind, seed).values[0]))
    if adam:
        optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    score, kept = -np.inf, None
    for step, output in enumerate(descend(network, z, noisy, optimiser, 100 if adam else 800)):
        if dip.psnr(output, clean) > score:
            score, when = dip.psnr(output, clean), step
            kept = {name: w.clone() for name, w in network.state_dict().items()}
    network.load_state_dict(kept)
    return network, z, score, when


# %%
other = dip.degrade.gaussian_noise(clean, SIGMA, seed=1, clip=False)  # noise that no fit has seen


def as_filter(found):
    """The kernel's filter at the time that is best for the other noise: its factors and PSNR."""
    best = -np.inf, None
    for time in np.geomspace(1e-6, 1e-1, 60):
        factors = theory.gradient_flow(found.values, time)
        result = found.filtered(other - other.mean(), factors) + other.mean()
        best = max(best, (dip.psnr(result.float(), clean), time))
    return best[0], theory.gradient_flow(found.values, best[1])


# %%
rows, filters = [], {}
for seed in range(3):
    (begin, z), found = fresh("hourglass", seed), {"at the start": modes("hourglass", seed)}
    K = theory.kernel(theory.jacobian(begin, z))
    rows.append((seed, "at the start", 0, 0.0, 1.0, as_filter(found["at the start"])[0], np.nan))
    for name, adam in (("gradient descent", False), ("Adam", True)):
        network, z, score, when = best_on_the_way(seed, adam)
        later = theory.kernel(theory.jacobian(network, z))
        found[name] = theory.spectrum(later, clean.shape)
        pairs = zip(network.parameters(), begin.parameters())
        moved = sum((a - b).square().sum().item() for a, b in pairs) ** 0.5
        decibels = as_filter(found[name])[0]
        rows.append((seed, name, when, moved, theory.alignment(K, later), decibels, score))
    filters = filters or found

# %%
columns = ["seed", "kernel", "best step", "weights moved by", "alignment"]
columns += ["as a filter, dB", "its fit, dB"]
by = pd.DataFrame(rows, columns=columns).groupby("kernel")
far, when = by["weights moved by"], by["best step"]
assert far.min()["Adam"] > 5 * far.max()["gradient descent"]
assert when.max()["Adam"] < 90 and when.max()["gradient descent"] < 790  # both had their time
assert when.mean()["gradient descent"] > 10 * when.mean()["Adam"]
alike = by["alignment"].mean()
assert alike["Adam"] + 0.05 < alike["gradient descent"] < 0.7
fitted = by["its fit, dB"]
assert fitted.min()["Adam"] > fitted.max()["gradient descent"] + 1
worst, start = by["as a filter, dB"].min()["Adam"], by["as a filter, dB"].max()["at the start"]
assert worst > start + 2
by = by[columns[2:]].mean().loc[["at the start", "gradient descent", "Adam"]]
by.style.format("{:.2f}", na_rep="–").format("{:.0f}", subset="best step")

# %%
figure = Figure("First a dot; after Adam a patch that ends at the coat's edge", figsize=(9, 4.8))
for row, (y, x) in zip(figure.subplots(2, 4), ((16, 13), (20, 8))):
    row[0].imshow(clean[0], cmap="gray")
    for axis, found in zip(row[1:], filters.values()):
        spread = found.vectors * as_filter(found)[1] @ found.vectors[32 * y + x]
        low, high = -spread.max() / 2, spread.max() / 2
        axis.imshow(spread.reshape(32, 32), cmap="gray", vmin=low, vmax=high)
    for axis, name in zip(row, ("the image", *filters)):
        axis.set_title(name if y == 16 else "")
        axis.plot(x, y, "s", mfc="none", mec=COLOURS[1], ms=9, mew=2)
        axis.set(xlim=(x - 8.5, x + 8.5), ylim=(y + 8.5, y - 8.5))
        axis.set_axis_off()
figure.supxlabel("white: listens · grey: does not · dark: with a minus", fontsize=10)
figure

# %%
decoders = [best_on_the_way(seed, True, "deep decoder")[2] for seed in range(3)]
before = best[best.network == "deep decoder"]["PSNR, measured"].mean()
print(
    f"deep decoder: gradient descent (section 2) {before:.1f} dB, Adam {np.mean(decoders):.1f} dB"
)
assert abs(np.mean(decoders) - before) < 1

# %% [markdown]
# **Explain.** Each panel shows which pixels the marked one listens to. At the start it is itself and
# a few around it, everywhere. After Adam it is a patch of the coat, and ends about where the coat
# ends: what non-local means does on purpose.
#
# At its best, after about a twentieth of the steps (see the table), Adam has moved the weights more
# than ten times as far, and the kernel has gone further from the first one (alignment: 1 for the
# same kernel, 0 for kernels that have nothing in common). The column *as a filter* is the point:
# frozen, and applied to noise that it has *not seen*, the kernel after Adam is a much better
# denoiser than the one at the start. A theory in which $K$ stays what it was cannot see that, and
# undersells the method by decibels. With 16 channels the kernel of plain gradient descent leaves,
# too. The theory's fixed kernel is that of wide networks. Adam goes further. (For the deep decoder,
# whose first kernel is a good one already, the two fits are about even.)
#
# ## 6 · Where it stops
#
# All of this was measured here, on one small image; some of it is proved. Here is what none of it
# explains.
#
# - **Holes and skips.** $K$ says what a fit does at pixels that were seen. Which kernel fills a hole
#   well, and why skips harm there and help in denoising (the paper says so, lesson 06 tries it)? For
#   a few random measurements, Heckel & Soltanolkotabi (ICML 2020) have an answer for signals with
#   structure. A hole is no random measurement.
# - **Input noise.** The lab recipe adds noise to $z$ in every step, and gains by it. It is no
#   gradient flow on any fixed kernel.
# - **Finite width.** The theorems speak of infinitely wide networks, or of two layers. The better
#   images come from what those leave out: a kernel that learns (section 5). How *it* moves is
#   largely open.
# - **When to stop, without the truth.** Jahn & Jin (2024) prove that the discrepancy principle works
#   for two-layer networks. For the hourglass, lesson 08 has measurements, and no theorem.
# - **Which images?** "Lies along the first modes" is a description of this camera man. We know of
#   no theorem about photographs.
#
# ## What to take away
#
# 1. The spectrum of $K = J J^\top$ at the start predicts the order, and for a while the curves, of
#    fits that nobody has made.
# 2. Early stopping is a filter that lets the modes with large λ pass; bias and variance say when to
#    stop.
# 3. Few weights, or few slow waves: in both cases noise of the order $(p/N)\,\sigma^2$ is let in.
# 4. Wide random networks tend to a stationary Gaussian process. Averaging over weights that wander
#    can replace stopping, if the noise on the weights is strong enough.
# 5. With Adam the kernel learns the image. What is best about the method begins where the linear
#    theory ends.
#
# ## Exercises
#
# Worked answers: [solutions/10_theory.ipynb](solutions/10_theory.ipynb).
#
# **1. How long?** A mode has λ = 1000, and η = 10⁻⁵. After how many steps is 90 % of it fitted?

# %%
my_steps = None

check.how_long(my_steps)

# %% [markdown]
# **2. Two layers, by hand.** For the linear network $f = B A z$ with a vector $z$ and trained
# matrices $A$ and $B$, write `my_kernel(A, B, z)`. (Two terms, one for each matrix. What are its
# modes?)

# %%
my_kernel = None

check.tangent_kernel(my_kernel)

# %% [markdown]
# **3. The error.** Write `my_error(c, values, sigma, t)`: the expected squared error per pixel after
# the time $t = \eta k$, from the clean image's coefficients.

# %%
my_error = None

check.spectral_error(my_error)

# %% [markdown]
# **4. Hold the line.** Make the hourglass follow its prediction on the target "image" within 5 %
# until half of the energy is gone. (`predicted_and_measured("hourglass", targets["image"], 100,
# contrast=...)`: why does it help to ask for less?) And, without a check: call `wander` with less
# noise, and say when its mean begins to sink.

# %%
my_curves = None  # the pair that predicted_and_measured returns

check.follows(my_curves)

# %% [markdown]
# ## References
#
# - A. Jacot, F. Gabriel, C. Hongler, *Neural tangent kernel: convergence and generalization in neural networks*, NeurIPS 2018.
#   [arXiv:1806.07572](https://arxiv.org/abs/1806.07572).
# - L. Landweber, *An iteration formula for Fredholm integral equations of the first kind*, American Journal of Mathematics 73 (1951).
#   [doi:10.2307/2372313](https://doi.org/10.2307/2372313).
# - P. Chakrabarty, S. Maji, *The spectral bias of the deep image prior* (2019). [arXiv:1912.08905](https://arxiv.org/abs/1912.08905).
# - R. Heckel, P. Hand, *Deep decoder: concise image representations from untrained non-convolutional networks*, ICLR 2019.
#   [arXiv:1810.03982](https://arxiv.org/abs/1810.03982).
# - R. Heckel, M. Soltanolkotabi, *Denoising and regularization via exploiting the structural bias of convolutional generators*, ICLR 2020.
#   [arXiv:1910.14634](https://arxiv.org/abs/1910.14634).
# - R. Heckel, M. Soltanolkotabi, *Compressive sensing with un-trained neural networks: gradient descent finds a smooth approximation*, ICML 2020.
#   [arXiv:2005.03991](https://arxiv.org/abs/2005.03991).
# - Z. Cheng, M. Gadelha, S. Maji, D. Sheldon, *A Bayesian perspective on the deep image prior*, CVPR 2019.
#   [arXiv:1904.07457](https://arxiv.org/abs/1904.07457).
# - M. Welling, Y. W. Teh, *Bayesian learning via stochastic gradient Langevin dynamics*, ICML 2011, 681–688.
#   [mlanthology.org/icml/2011/welling2011icml-bayesian](https://mlanthology.org/icml/2011/welling2011icml-bayesian/).
# - J. Tachella, J. Tang, M. Davies, *The neural tangent link between CNN denoisers and non-local filters*, CVPR 2021.
#   [arXiv:2006.02379](https://arxiv.org/abs/2006.02379).
# - T. Jahn, B. Jin, *Early stopping of untrained convolutional neural networks* (2024).
#   [arXiv:2402.04610](https://arxiv.org/abs/2402.04610).
