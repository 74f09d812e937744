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
# # 10b · Beyond the linear theory
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/10b_open_questions.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/10b_open_questions.ipynb)
#
# **When you are through, you will be able to**
#
# - say what the known bounds promise, and test them;
# - say what a Gaussian process is, and what a wide random network has to do with one;
# - say what Langevin sampling is, and what it has to do with stopping;
# - measure what a fit does to its own kernel, with a control;
# - name what no theory explains yet.
#
# **Computing:** about two minutes on two cores. **Study:** about 70 minutes, exercises included.
#
# **Needs:** lesson 10. No GPU, no download.
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
import copy
import functools

import matplotlib
import numpy as np
import pandas as pd
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check, theory
from diplearn.course.show import reveal, show
from diplearn.figures import BLUE, COLOURS, GREEN, ORANGE, Figure, contact_sheet
from diplearn.networks import DeepDecoder, Hourglass, parameter_count

# %% [markdown]
# From lesson 10 we take the camera man of 32x32 grey pixels, with noise of σ = 50/255; the hourglass and the deep decoder; their modes; and the loop.

# %% tags=["folded"]
# From lesson 10: picture, networks, modes, and the fit step by step
torch.set_num_threads(1)  # networks as small as these are not faster on more
matplotlib.rcParams["font.size"] = 12  # legible on a telephone, too
SIGMA = 50 / 255
clean = dip.images.load("camera", size=32)
noisy = dip.degrade.gaussian_noise(clean, SIGMA, seed=0, clip=False)


def hourglass(width=16):
    """A small hourglass with three levels."""
    levels = {"down": (width,) * 3, "skip": (width // 4,) * 3}
    return Hourglass(width, 1, **levels, padding="zeros", merge_norm=False, sigmoid=False)


# %% tags=["folded"]
# From lesson 10, continued
def fresh(kind, seed=0):
    """An untrained network and its input z."""
    torch.manual_seed(seed)
    network = hourglass() if kind == "hourglass" else DeepDecoder(64, 1, 64, 4, sigmoid=False)
    return network, 0.1 * torch.rand(1, 16 if kind == "hourglass" else 64, 32, 32)


@functools.cache
def modes(kind, seed=0):
    """The spectrum of the tangent kernel K = J Jᵀ of an untrained network."""
    return theory.spectrum(theory.kernel(theory.jacobian(*fresh(kind, seed))), clean.shape)


# %% tags=["folded"]
# From lesson 10, the end: the loop
def descend(network, z, goal, optimisers, steps):
    """Fit, one step at a time: yield each output before the step."""
    for _ in range(steps):
        output = network(z)[0]
        yield output.detach()
        network.zero_grad()
        (0.5 * (output - goal).square().sum()).backward()
        for optimiser in optimisers:
            optimiser.step()


# %% [markdown]
# ## 1 · Two bounds
#
# **Fewer weights than pixels.** Suppose that a method returns the point of a fixed $p$-dimensional subspace that is nearest to $x_0$: a projection $P$. White noise is as strong along every
# direction, so $P$ lets $\mathbb E \lVert P n \rVert^2 = \sigma^2 \operatorname{tr} P = p\,\sigma^2$ of it through. That is the share $p/N$ of the noise, however long one waits.
#
# A deep decoder with few channels is no subspace, but a curved surface of at most $p$ dimensions. Heckel & Hand (2019) prove a bound of that kind for a decoder with one hidden layer: the share
# of white noise that it can fit is at most of the order of $p/N$, up to a logarithm and a constant. Ours have four layers. We fit them to pure noise.
#
# > **Predict.** A decoder has one weight for each seven pixels. What share of white noise has it fitted after 300 steps of Adam, and after 2,000? Will it stay below $p/N$, the share of a subspace?


# %%
def noise_fitted(width, seed, stops=(300, 2000)):
    """The share of white noise that a narrow decoder has fitted, and its weights per pixel."""
    torch.manual_seed(seed)
    network, z = DeepDecoder(width, 1, width, 4, sigmoid=False), torch.rand(1, width, 32, 32)
    noise = torch.randn(1, 32, 32)
    adam = torch.optim.Adam(network.parameters(), lr=0.02)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, stops[-1])  # to come to rest
    left = [
        float((output - noise).square().sum() / noise.square().sum())
        for output in descend(network, z, noise, [adam, slower], stops[-1])
    ]
    return parameter_count(network) / 1024, *(1 - left[stop - 1] for stop in stops)


# %%
under = np.array([[noise_fitted(width, seed) for seed in range(3)] for width in (3, 5, 9)])

# %% tags=["folded"]
# Draw the share of noise over the weights per pixel
figure = Figure(figsize=(7, 3.8))
axis = figure.subplots()
for column, (steps, marker) in enumerate(((300, "o"), (2000, "s")), start=1):
    look = {"color": COLOURS[column - 1], "ms": 8, "alpha": 0.75, "label": f"{steps:,} steps"}
    axis.plot(under[..., 0].ravel(), under[..., column].ravel(), marker, **look)
axis.plot((0, 0.45), (0, 0.45), color="0.4", ls="--", label="a subspace: p / N")
axis.set(xlabel="weights per pixel, p / N", ylabel="share of the noise", xlim=(0, 0.43))
axis.legend(frameon=False, loc="upper left")
over_line = (under[..., 1:] / under[..., :1]).mean(axis=(0, 1))
reveal(figure, text="10b narrow", early=over_line[0], late=over_line[1])

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# After 300 steps all decoders are below the line $p/N$ of a subspace, and after 2,000 they have come close to it. So time does matter here: a curved surface must be searched. (That the steps get smaller explains little: [claims](claims.md).) Single fits can pass the line slightly, as the theorem allows.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert (under[..., 1] < under[..., 0]).all() and (under[..., 2] < 1.2 * under[..., 0]).all()
assert over_line[0] < over_line[1] and 0.7 < over_line[1] < 1.1

# %% [markdown]
# **More weights than pixels.** Now nothing is out of reach, and only time protects. Heckel & Soltanolkotabi (2020) study $G(C) = \operatorname{ReLU}(UC)\,s$, with a *fixed* circular blur $U$ in the
# place of upsampling, trained weights $C$, and a fixed vector $s$ of signs $\pm 1/\sqrt{\text{channels}}$. On average over $C$, the modes of its tangent kernel are waves, the slow ones first. They prove that gradient
# descent, stopped early, denoises: for a signal made of the $p$ slowest of $N$ waves, and a network that is wide enough, the error is of the order $(p/N)\,\sigma^2$ again. Here $p$ counts *waves*, not weights.

# %%
N, channels = 128, 512
distance = torch.minimum(torch.arange(N), N - torch.arange(N))  # U blurs with a triangle
U = torch.stack([(1 - distance / 32).clamp(min=0).roll(i) for i in range(N)])
U, s = U / U[0].norm(), (-1.0) ** torch.arange(channels) / channels**0.5


def slow_signal(p):
    """A sum of the p slowest waves; faint, so that the tangent kernel stays what it is."""
    x = torch.fft.irfft(torch.randn(p // 2 + 1, dtype=torch.complex64), N)
    return 0.1 * x / x.square().mean().sqrt()


# %%
def best_error(p, seed, sigma=0.05, steps=300):
    """Gradient descent on G(C) = ReLU(UC) s: the least error on its way, in units of σ²."""
    torch.manual_seed(seed)
    C, x = torch.randn(N, channels), slow_signal(p)
    start, least = torch.relu(U @ C) @ s, np.inf
    goal = start + x + sigma * torch.randn(N)
    for _ in range(steps):
        hidden = U @ C
        f = torch.relu(hidden) @ s
        least = min(least, float((f - start - x).square().mean()))
        C -= 0.08 * U.T @ ((f - goal)[:, None] * (hidden > 0) * s)
    return least / sigma**2


# %%
counts = (3, 5, 9, 17, 25)
over = np.array([[best_error(p, seed) for seed in range(5)] for p in counts])

# %% tags=["folded"]
# Draw the least error over the number of waves
figure = Figure(figsize=(7, 3.8))
axis = figure.subplots()
share_of_waves = np.array(counts) / N
for seed in range(5):
    axis.loglog(share_of_waves, over[:, seed], "o", color=BLUE, ms=7, alpha=0.6)
axis.loglog(share_of_waves, over.mean(axis=1), "_", color="black", ms=22, mew=2.5, label="mean")
axis.plot((0.02, 0.25), (0.02, 0.25), color="0.4", ls="--", label="p / N")
axis.set(xlabel="waves in the signal, p / N", ylabel="least error / σ²")
axis.set_xticks([0.03, 0.1, 0.2], ["0.03", "0.1", "0.2"], minor=False)
axis.tick_params(axis="x", which="minor", labelbottom=False)
_ = axis.legend(frameon=False)

# %% tags=["folded"]
# Show it; and assert what the text claims
slope = np.polyfit(np.log(np.repeat(counts, 5)), np.log(over.ravel()), 1)[0]
ratio = over / share_of_waves[:, None]
said = {"slope": slope, "mean": ratio.mean(), "low": ratio.min(), "high": ratio.max()}
show(figure, text="10b waves", **said)
assert 0.6 < slope < 1.6 and 0.5 < ratio.mean(axis=1).min() and ratio.mean(axis=1).max() < 3
assert 1 < ratio.mean() < 2

# %% [markdown]
# On average the error is about one and a half times $(p/N)\,\sigma^2$, although there are 512 times as many weights as samples. What counts for the noise is the number of waves that one has to wait for. (The truth chose the
# best moment. The theorem keeps $K$ as it is by width; we made the signal faint instead.)
#
# ## 2 · A random network is a random image
#
# In lesson 01 a prior was a probability $p(x)$. A random network *is* one: draw weights, look at the output. How is this random image distributed?
#
# A pixel of the output is a sum over the channels of the last layer, $f_i = \sum_c w_c\, a_{c,i}$, each term with a random weight of its own. A sum of many independent terms of similar size is nearly Gaussian: the central limit theorem. This holds for any
# number of pixels together. A random image whose pixels are *jointly* Gaussian is called a **Gaussian process**. Its mean (zero here) and its covariance $C_{ij} = \mathbb E\, f_i f_j$ (how alike two pixels are) say everything about it. To draw such an
# image, give each eigenvector of $C$ a Gaussian coefficient of variance $\lambda_i$, and add up.
#
# Cheng et al. (2019) prove more. Let all networks share one input $z$ of white noise, and let the number of channels go to infinity. Then the covariance is also **stationary**: it depends only on the *step* from one pixel to the other, not on where the two lie. (Their theorem has no batch norm; our networks do.) How far is a covariance from that? For each step, take all pairs of pixels that are this step apart, and compare their covariances with the mean over the pairs. We do so with all pixels, and only *inside*: without those within four of the border, where zeros are added.


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


# %% [markdown]
# > **Predict.** When the number of channels, of $z$ and of all layers, is multiplied by four, by what factor does the distance from stationarity fall? (Think of the mean of independent things.) And does it go to zero?

# %%
rows, kernels = {}, {}
for width, networks in {4: 60, 16: 40, 64: 20, 256: 6}.items():
    for seed in range(3):
        torch.manual_seed(seed)
        z = torch.rand(1, width, 32, 32) - 0.5  # about 0: at the borders, zeros are added
        one, two = covariance(width, z, networks), covariance(width, z, networks)
        rows[width, "inside", seed] = theory.from_stationary(one, two, clean.shape, margin=4)
        rows[width, "with the border", seed] = theory.from_stationary(one, two, clean.shape)
        kernels[width] = (one + two) / 2

# %% tags=["folded"]
# Reveal the distances
apart = pd.Series(rows).unstack(1)
average = apart.groupby(level=0).mean()
falls = (average / average.shift(-1)).dropna()
table = apart.groupby(level=0).agg(lambda v: f"{v.mean():.3f} ({v.min():.3f} to {v.max():.3f})")
said = {f"after{width}": fall for width, fall in falls["inside"].items()}
reveal(table.rename_axis("channels").style, text="10b stationary", **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Inside, it halves: the covariance depends on a mean over the channels of $z$, and the deviation of a mean of $M$ independent things falls as $1/\sqrt M$. More channels in the layers alone change nothing ([claims](claims.md)).
#
# With the border the fall comes to an end: zeros are added there, pixels vary less, and a stationary process has no border. The outputs become more Gaussian, too (their excess kurtosis: [claims](claims.md)).
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert falls["inside"].between(1.4, 2.8).all() and average["inside"][256] < 0.06
assert falls["with the border"][64] < 1.4 and average["with the border"][256] > 0.06

# %% [markdown]
# Samples of networks, and of the Gaussian process with the stationary covariance nearest to that of the widest networks:

# %% tags=["folded"]
# The process: it has the stationary covariance nearest to that of 256 channels
prior = theory.spectrum(theory.stationary(kernels[256], clean.shape), clean.shape)
strength = prior.values.sqrt() * (torch.arange(1024) > 0)  # without mode 1, the constant
assert prior.mode(1).std() < 1e-6


# %% tags=["folded"]
# Draw samples of networks and of the process
def stretched(image):
    """Spread the values over [0, 1] about 0.5."""
    image = image - image.mean()
    return (0.5 + image / (6 * image.std())).clamp(0, 1).detach().float()


def sample(width):
    """The output of a new network for a new z."""
    return stretched(hourglass(width)(torch.rand(1, width, 32, 32) - 0.5)[0])


sheet = {f"{width} channels, {i}": sample(width) for width in (4, 64) for i in range(4)}
sheet |= {f"process, {i}": stretched(prior.join(strength * torch.randn(1024))) for i in range(4)}
show(contact_sheet(sheet, columns=4, width=7), text="10b samples")

# %% [markdown]
# ### The best guess
#
# With a Gaussian prior everything is linear algebra. Along mode $i$ of the prior's covariance, the image has variance $\lambda_i$ and the noise $\sigma^2$. The best guess after $x_0$ was seen, the **posterior mean**, multiplies the coefficient of $x_0$ by
# $\lambda_i / (\lambda_i + \sigma^2)$: Tikhonov's filter of lesson 10, with $\alpha = \sigma^2$. Since the prior is stationary, this is one fixed blur, the same at every place.
#
# ## 3 · Sampling: noise on the weights
#
# The other Bayesian approach keeps the network, and asks which *weights* are probable after $x_0$ was seen: $p(\theta \mid x_0) \propto \exp(-\lVert f_\theta(z) - x_0\rVert^2 / 2\sigma^2)\, p(\theta)$. One takes the mean of the outputs over this **posterior**. For that, one needs samples.
#
# **Langevin sampling** makes them. Write the density as $\exp(-V(\theta)/T)$, with a *temperature* $T$. Gradient descent on $V$ rolls downhill and stays. Add noise to each step,
#
# $$\theta \leftarrow \theta - \eta\,\nabla V(\theta) + \sqrt{2 \eta T}\;\xi, \qquad \xi \sim \mathcal N(0, I), \tag{1}$$
#
# and $\theta$ never comes to rest. For small steps, the share of time that it spends at a place is proportional to $\exp(-V/T)$: it *is* a sampler. We try it in the double valley $V = (\theta^2 - 1)^2 + \theta/4$, with 4,000 walkers.
#
# > **Predict.** Without noise each walker ends in one of two valleys. Sketch where the walkers are at a low and at a high temperature. Which valley has more of them?


# %%
def walkers(temperature, steps=3000, eta=0.01):
    """Where 4,000 walkers are after so many Langevin steps in the double valley."""
    draw = torch.Generator().manual_seed(0)
    theta = 4 * torch.rand(4000, generator=draw) - 2
    for _ in range(steps):
        slope = 4 * theta * (theta**2 - 1) + 0.25
        noise = torch.randn(4000, generator=draw)
        theta = theta - eta * slope + (2 * eta * temperature) ** 0.5 * noise
    return theta.numpy()


ends = {temperature: walkers(temperature) for temperature in (0.0, 0.1, 0.5, 2.0)}

# %% tags=["folded"]
# Draw the walkers, and the density exp(−V/T)
figure = Figure(figsize=(7, 5))
place, distances, due = np.linspace(-3, 3, 601), {}, {}
V = (place**2 - 1) ** 2 + place / 4
for axis, (T, theta) in zip(figure.subplots(2, 2, sharex=True).flat, ends.items()):
    axis.hist(theta, bins=60, range=(-3, 3), density=True, color=BLUE, alpha=0.5)
    if T:
        density = np.exp(-V / T) / (np.exp(-V / T).sum() * 0.01)
        axis.plot(place, density, color=ORANGE, lw=2)
        expected = np.interp(np.sort(theta), place, density.cumsum() * 0.01)
        due[T] = 100 * (density * 0.01)[place < 0].sum()
        distances[T] = np.abs(expected - (np.arange(4000) + 0.5) / 4000).max()
    axis.set_title(f"T = {T:g}", fontsize=12)
    axis.set(yticks=[], xlim=(-3, 3))

# %% tags=["folded"]
# Reveal it
figure.supxlabel("θ", fontsize=12)
deep = {T: 100 * (theta < 0).mean() for T, theta in ends.items()}
reveal(figure, text="10b valley", low=deep[0.5], high=deep[2.0], stuck=deep[0.1], due=due[0.1])

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Without noise both valleys get about half: each walker ends in the valley where it began. At $T = 2$ and $0.5$ the beginning is forgotten, and the histogram follows $\exp(-V/T)$: the lower the temperature, the more walkers are in the deeper valley. But climbing takes time: at $T = 0.1$, 3,000 steps are not enough.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert max(distances[0.5], distances[2.0]) < 0.06 and deep[0.1] < due[0.1] - 20
assert 45 < deep[2.0] < deep[0.5] - 5 and deep[0.0] > 45

# %% [markdown]
# Welling & Teh (2011) show which shrinking steps lead to the posterior, even with noisy gradients. We do what the published code of Cheng et al. does: Adam, and after each step noise of a fixed strength on the filters. This is Langevin sampling in spirit, with an unknown temperature. After a **burn-in** of 300 steps, the way from the start to where the weights wander, we take the mean of all outputs.


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
    """All outputs, and the running mean of those after the burn-in."""
    network, z = fresh("hourglass", seed)
    outputs = list(descend(network, z, noisy, [restless_adam(network, noise)], steps))
    late = torch.stack(outputs[burn_in:])
    count = torch.arange(1, len(late) + 1).view(-1, 1, 1, 1)
    return outputs, late.cumsum(dim=0) / count


# %% [markdown]
# > **Predict.** Plain Adam ends at the noisy image. Where does the mean of the wandering networks end? And as a control: where does the mean over late steps of plain Adam end, without any noise on the weights?

# %%
calm = [wander(seed, 0.0, steps=400) for seed in range(3)]
restless = [wander(seed, 0.04) for seed in range(3)]

# %% tags=["folded"]
# The PSNR of all outputs and means; and of the process's best guess
psnrs = lambda images: np.array([dip.psnr(image, clean) for image in images])  # noqa: E731
single = {"calm": [psnrs(o) for o, _ in calm], "restless": [psnrs(o) for o, _ in restless]}
means = {"calm": [psnrs(m) for _, m in calm], "restless": [psnrs(m) for _, m in restless]}
varies = float(noisy.var() - SIGMA**2) / float(strength.square().mean())  # the prior's contrast
factors = theory.tikhonov(varies * strength.double().square(), SIGMA**2)
guess = (prior.filtered(noisy - noisy.mean(), factors) + noisy.mean()).float()
scores = {
    "best guess of the process": [dip.psnr(guess, clean)],
    "Adam, stopped at its best (oracle)": [s.max() for s in single["calm"]],
    "Adam, 400 steps": [s[-1] for s in single["calm"]],
    "Adam, mean of steps 300 to 400": [m[-1] for m in means["calm"]],
    "wandering, mean of steps 300 to 800": [m[-1] for m in means["restless"]],
    "the same, at its best moment (oracle)": [m.max() for m in means["restless"]],
}

# %% tags=["folded"]
# Draw the PSNR over the steps, and reveal it with a table
figure = Figure(figsize=(7, 4))
axis = figure.subplots()
axis.semilogx(range(1, 400), single["calm"][0][1:], color=ORANGE, lw=2, label="Adam")
look = {"color": BLUE, "lw": 0.6, "alpha": 0.7, "label": "with noise on the weights"}
axis.semilogx(range(1, 800), single["restless"][0][1:], **look)
for mean in means["restless"]:
    axis.semilogx(range(300, 800), mean, color=GREEN, lw=3)
axis.lines[-1].set_label("their mean from step 300 on, three seeds")
axis.set(xlabel="step", ylabel="PSNR in dB", ylim=(3.5, 23.5))
_ = axis.legend(frameon=False, loc="lower center")

# %% tags=["folded"]
# Reveal it
table = pd.DataFrame({n: (np.mean(s), np.ptp(s)) for n, s in scores.items()}).T
table = table.set_axis(["PSNR in dB", "highest − lowest of three seeds"], axis=1)
said = {"end": np.mean(scores["wandering, mean of steps 300 to 800"])}
said |= {"calm": np.mean(scores["Adam, mean of steps 300 to 400"])}
reveal(figure, table.style.format("{:.1f}"), text="10b wander", **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Within 800 steps the mean of the wandering networks does not overfit, and it is as good as plain Adam at its best moment, which only an oracle finds. (The truth has chosen the noise's strength; at σ = 25/255 the same strength is a decibel behind: [claims](claims.md).) Averaging alone does not prevent overfitting: the late mean of plain Adam has 14.6 dB (over the best steps, chosen with the truth, 20.5). With noise on the weights, single outputs are *poor*, and their errors differ
# (lesson 04: a mean removes what is not shared). The question *when to stop* has become *how much noise* (exercise 2).
#
# The process's best guess is far behind. That it is *one blur for every place* is not the reason: with the same rule for the contrast, the slow waves of lesson 10, such a blur, have 20.0 dB ([claims](claims.md)). It is the wrong blur. The process's images are mostly grain, so its best guess keeps grain.
#
# </details>

# %% tags=["folded"]
# The images; and what the text claims, asserted
shown = {"x₀": noisy, "process": guess, "Adam, at its best": calm[0][0][single["calm"][0].argmax()]}
shown |= {"Adam, 400 steps": calm[0][0][-1], "wandering, mean": restless[0][1][-1], "truth": clean}
shown = {name: image.clamp(0, 1) for name, image in shown.items()}
show(contact_sheet(shown, columns=3, width=7), text="10b images")
end = scores["wandering, mean of steps 300 to 800"]
peak = scores["the same, at its best moment (oracle)"]
assert min(np.subtract(end, peak)) > -0.7  # it stays where it was
assert min(end) > max(scores["Adam, mean of steps 300 to 400"]) + 3
assert scores["best guess of the process"][0] > dip.psnr(noisy, clean) + 2

# %% [markdown]
# ## 4 · What the optimiser does to the kernel
#
# What has become of $K$ after a fit? Tachella, Tang & Davies (2021) read $K$ as a **filter**: in each step a pixel takes a weighted sum of the residuals of others, and the weights are its row of $K$. With noise as input, $K$ at the start
# knows nothing of the image. They find that this predicts networks trained by plain gradient descent, and not those trained by *Adam*.
#
# Adam has no fixed kernel at all. It multiplies the gradient of each weight by a factor, so the image moves along $J D J^\top r$ with a diagonal $D$; but $D$ is made of gradients, and so depends on the residual itself. **Muon** writes a layer's
# gradient as $U S V^\top$ and steps along $U V^\top$ (lesson 09): all singular values become one, and no matrix that is independent of $r$ does that.
#
# But we can stop any of them at its best step (as the truth says), *freeze* $K$ there, and use it as a filter, $g_i = 1 - \exp(-\lambda_i t)$ at the best time $t$. We give it three pictures in noise that no fit has seen: the camera man, to whom the network was fitted; the same picture *flipped*, which has the same grey
# values, edges and statistics, elsewhere; and another photograph. The kernel of the untrained network is the control.


# %%
def optimisers(name, network, first):
    """The optimisers that go by that name; `first` is λ₁ at the start."""
    if name == "gradient descent":
        return [torch.optim.SGD(network.parameters(), lr=1 / first)]
    return dip.optimisers.build(name.lower(), network, rate=0.01, momentum=0.9)


# %%
def best_on_the_way(name, seed, kind="hourglass"):
    """Fit x₀; return the network at its best (as the truth says), z, and its PSNR and step."""
    network, z = fresh(kind, seed)
    how = optimisers(name, network, float(modes(kind, seed).values[0]))
    best = (-np.inf, 0, None)
    for step, output in enumerate(descend(network, z, noisy, how, STEPS[name])):
        if (score := dip.psnr(output, clean)) > best[0]:
            best = score, step, copy.deepcopy(network.state_dict())
    network.load_state_dict(best[2])
    return network, z, *best[:2]


# %%
STEPS = {"gradient descent": 800, "Adam": 100, "Muon": 80}
PICTURES = {"fitted": clean, "flipped": clean.flip(2)}
PICTURES["another"] = dip.images.load("astronaut", size=32).mean(dim=0, keepdim=True)


def as_filter(found, picture):
    """PSNR of the frozen kernel's filter, in noise that no fit has seen, at the best time."""
    other = dip.degrade.gaussian_noise(picture, SIGMA, seed=1, clip=False)
    mean, scores = other.mean(), []
    for time in np.geomspace(1e-1, 1e5, 60) / float(found.values[0]):
        factors = theory.gradient_flow(found.values, time)
        scores.append(dip.psnr((found.filtered(other - mean, factors) + mean).float(), picture))
    return max(scores)


# %% [markdown]
# > **Predict.** Rank the twelve PSNRs: three pictures, and the kernel at the start, after gradient descent, after Adam and after Muon. If a network learned *how to denoise* from one picture, what would you see? If it learned *that picture*?

# %%
rows, fitted, kernels = {}, {}, {}
for seed in range(3):
    kernels["at the start", seed] = modes("hourglass", seed)
    for name in STEPS:
        network, z, *fitted[name, seed] = best_on_the_way(name, seed)
        K = theory.kernel(theory.jacobian(network, z))
        kernels[name, seed] = theory.spectrum(K, clean.shape)
for (name, seed), found in kernels.items():
    rows |= {(name, seed, p): as_filter(found, image) for p, image in PICTURES.items()}

# %% tags=["folded"]
# Draw the PSNR of the twelve filters
figure = Figure(figsize=(7, 4))
axis, orders = figure.subplots(), ["at the start", *STEPS]
for colour, marker, (offset, picture) in zip((BLUE, ORANGE, GREEN), "osD", enumerate(PICTURES)):
    for place, name in enumerate(orders):
        values = [rows[name, seed, picture] for seed in range(3)]
        look = {"color": colour, "ms": 8, "alpha": 0.75, "label": None if place else picture}
        axis.plot(values, [place + 0.18 * (offset - 1)] * 3, marker, **look)
axis.set_yticks(range(4), orders)
axis.set(ylim=(3.6, -0.6), xlabel="PSNR in dB of the frozen kernel as a filter")
axis.grid(axis="x", alpha=0.3)

# %% tags=["folded"]
# Reveal it with the fits themselves
figure.legend(loc="outside upper center", ncols=3, frameon=False)
average = pd.Series(rows).groupby(level=[0, 2]).mean()
table = (
    pd.DataFrame(fitted, index=["PSNR of the fit, at its best", "step"]).T.groupby(level=0).mean()
)
said = {p: average["Adam", p] for p in PICTURES} | {"start": average["at the start", "fitted"]}
reveal(figure, table.loc[list(STEPS)].style.format("{:.1f}"), text="10b frozen", **said)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The kernel has learned *this picture*. After Adam it filters the camera man in unseen noise more than four decibels better than at the start. When he is flipped, less than half of this gain is left, and on another photograph less than a decibel. Had it learned *how to denoise*, it would gain alike on all three. Nor is it enough that Adam ran: fitted to shuffled pixels, it gains nothing ([claims](claims.md)). Gradient descent moves $K$ in the same direction, less far; Muon, at the one rate that we tried, gains three quarters of what Adam gains.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
gain = (average.unstack() - average["at the start"]).loc[["gradient descent", "Adam", "Muon"]]
assert gain.loc["Adam", "fitted"] > 3 and gain.loc["Muon", "fitted"] > 2
assert gain.loc["Adam", "flipped"] < 0.65 * gain.loc["Adam", "fitted"]
assert (gain["another"] < 1.5).all() and gain.loc["Adam", "another"] < gain.loc["Adam", "flipped"]
assert gain.loc["gradient descent", "fitted"] < gain.loc["Adam", "fitted"] - 1

# %% [markdown]
# The first modes, before and after:

# %% tags=["folded"]
# Draw the first modes of three kernels of seed 0
figure = Figure(figsize=(7, 4.4))
for row, name in zip(figure.subplots(3, 6), ("at the start", "gradient descent", "Adam")):
    found, images = kernels[name, 0], [clean[0] - clean.mean()]
    energy = found.split(images[0]).square()
    images += [found.mode(number)[0] for number in range(1, 6)]
    for axis, image in zip(row, images):
        limit = float(image.abs().max())
        axis.imshow(image, cmap="gray", vmin=-limit, vmax=limit)
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, fontsize=11)
    share = f"in the first 100 modes: {energy[:100].sum() / energy.sum():.0%}"
    row[1].set_title(share, fontsize=11, loc="left")
show(figure, text="10b learned")

# %% [markdown]
# ### Does a network have to learn its kernel?
#
# We fit the deep decoder to the same noisy picture:

# %%
decoder = {
    name: [best_on_the_way(name, seed, "deep decoder")[2] for seed in range(3)]
    for name in ("gradient descent", "Adam")
}

# %% tags=["folded"]
# Show the comparison
decoder["at the start"] = [as_filter(modes("deep decoder", seed), clean) for seed in range(3)]
rows_of = {"deep decoder": decoder}
rows_of["hourglass"] = {
    name: [fitted[name, s][0] for s in range(3)] for name in ("gradient descent", "Adam")
}
rows_of["hourglass"]["at the start"] = [rows["at the start", s, "fitted"] for s in range(3)]
table = pd.DataFrame(rows_of).map(lambda v: f"{np.mean(v):.1f} ({min(v):.1f} to {max(v):.1f})").T
names = {"at the start": "its first kernel as a filter"}
names |= {"gradient descent": "fit, gradient descent", "Adam": "fit, Adam"}
table = table[list(names)]
show(table.rename(columns=names).style, text="10b starts")

# %% tags=["folded"]
# What the text claims, asserted
first = {kind: {n: np.mean(v) for n, v in by.items()} for kind, by in rows_of.items()}
assert first["hourglass"]["Adam"] > first["hourglass"]["at the start"] + 1.5
assert first["deep decoder"]["Adam"] < first["deep decoder"]["at the start"] + 1.5
assert abs(first["deep decoder"]["at the start"] - first["hourglass"]["Adam"]) < 1.2

# %% [markdown]
# The deep decoder's *first* kernel, a linear filter that no fit has touched, is as good as the hourglass's fit with Adam, and Adam adds little to it. **A poor starting kernel gains from moving; a good one need not.** (Two networks, one picture; the plain blur of lesson 10 is ahead of both, with 21.2 dB.)
#
# ## 5 · What none of this explains
#
# - **Which images?** That photographs lie along the first modes is an observation (lesson 10). We know of no theorem.
# - **How the kernel moves.** The theorems hold $K$ fixed, by infinite width, or treat two layers. How $K$ comes to suit the image is largely open.
# - **Holes and skips.** $K$ says what a fit does at pixels that were seen. Which kernel fills a hole well, and why does the use of skips and depth depend on the hole (lesson 06)?
# - **Input noise.** Fresh noise on $z$ in every step helps the recipe `lab`. That is gradient flow on no fixed kernel.
# - **When to stop, without the truth.** Jahn & Jin (2024) prove that the discrepancy principle works for two-layer networks. For the hourglass, lesson 08 has measurements and no theorem.
#
# ## What to take away
#
# 1. Few weights, or few slow waves to wait for: noise of the order $(p/N)\,\sigma^2$ is let in.
# 2. A wide random network whose $z$ has many channels is nearly a stationary Gaussian process. As a prior, that is one blur for every place, and here a poor one.
# 3. Noise on the weights turns a fit into a rough sampler, whose mean, at the right strength, did not overfit in 800 steps.
# 4. The kernel moves in a fit, and learns the picture that is fitted, not how to denoise. Adam moves it further than gradient descent.
# 5. A poor starting kernel gains decibels by moving; a good one need not.
#
# ## Exercises
#
# Put your answer in the place of `None`, or of the dots (double click). Worked answers:
# [solutions/10b_open_questions.ipynb](solutions/10b_open_questions.ipynb).
#
# **1. A ceiling.** A deep decoder with 25,000 weights denoises a colour photograph of 512x512 pixels, σ = 25/255. Suppose that its *only* error was the noise that it lets in, by the rule $p/N$. What PSNR would the result have?
#
# <details><summary>A first hint</summary>
#
# The mean squared error is per number. How many numbers are there?
#
# </details>

# %%
my_ceiling = None

check.noise_ceiling(my_ceiling)

# %% [markdown]
# Real results are lower. What is missing in the calculation, and what would you have to know of the photograph?
#
# *Your answer:* ...

# %% [markdown]
# **2. How much noise on the weights?** Call `wander` with half and with twice the noise. What becomes of the mean, and why? Is the question *how much noise* easier than *when to stop*?
#
# *Your answer:* ...
#
# <details><summary>A first hint</summary>
#
# To which algorithm does `wander` return when the noise goes to zero?
#
# </details>

# %% [markdown]
# **3. How local is what was learned?** Shift the fitted picture by 1, 2, 4 and 8 pixels (`clean.roll(k, 2)`), and use the kernel after Adam, `kernels["Adam", seed]`, as a filter for each. What do you expect if the kernel knows the *place* of each edge?
#
# *Your answer:* ...
#
# <details><summary>A first hint</summary>
#
# `as_filter` takes any picture. The control is `kernels["at the start", seed]`.
#
# </details>

# %% [markdown]
# **4. An open question of your own.** Choose a point of section 5. Which experiment at 32x32 pixels would tell you something about it, and which control would it need?
#
# *Your answer:* ...
#
# <details><summary>A first hint</summary>
#
# For holes: only seen pixels have residuals. What does (1) of lesson 10 do to the others?
#
# </details>
#
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision 128 (2020).
#   [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - R. Heckel, P. Hand, *Deep decoder: concise image representations from untrained non-convolutional networks*, ICLR 2019.
#   [arXiv:1810.03982](https://arxiv.org/abs/1810.03982).
# - R. Heckel, M. Soltanolkotabi, *Denoising and regularization via exploiting the structural bias of convolutional generators*, ICLR 2020.
#   [arXiv:1910.14634](https://arxiv.org/abs/1910.14634).
# - Z. Cheng, M. Gadelha, S. Maji, D. Sheldon, *A Bayesian perspective on the deep image prior*, CVPR 2019.
#   [arXiv:1904.07457](https://arxiv.org/abs/1904.07457).
# - M. Welling, Y. W. Teh, *Bayesian learning via stochastic gradient Langevin dynamics*, ICML 2011, 681–688.
#   [mlanthology.org/icml/2011/welling2011icml-bayesian](https://mlanthology.org/icml/2011/welling2011icml-bayesian/).
# - J. Tachella, J. Tang, M. Davies, *The neural tangent link between CNN denoisers and non-local filters*, CVPR 2021.
#   [arXiv:2006.02379](https://arxiv.org/abs/2006.02379).
# - T. Jahn, B. Jin, *Early stopping of untrained convolutional neural networks* (2024).
#   [arXiv:2402.04610](https://arxiv.org/abs/2402.04610).
