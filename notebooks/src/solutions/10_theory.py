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
# # Worked exercises · 10 Theory
#
# Back to the lesson: [10_theory.ipynb](../10_theory.ipynb)

# %%
import math

import numpy as np
import torch

import diplearn as dip
from diplearn.course import check, theory
from diplearn.figures import COLOURS, Figure
from diplearn.networks import Hourglass

torch.set_num_threads(1)

# %% [markdown]
# ## 1 · How long?
#
# Each step leaves the share $1 - \eta\lambda = 0.99$ of what is still missing. After $k$ steps
# $0.99^k$ is left, and that shall be 0.1: $k = \ln 0.1 / \ln 0.99 = 229$. Gradient flow says $\ln 10
# / (\eta\lambda) = 230$. A mode with a thousandth of that λ takes a thousand times as long; that is
# all there is to impedance.

# %%
my_steps = math.log(10) / (1e-5 * 1000)
verdict = check.how_long(my_steps)
assert verdict
verdict

# %% [markdown]
# ## 2 · Two layers, by hand
#
# $f_i = \sum_{jk} B_{ij} A_{jk} z_k$. So $\partial f_i / \partial A_{jk} = B_{ij} z_k$, and the part
# of $K = J J^\top$ that comes from $A$ is $\sum_{jk} B_{ij} z_k\, B_{i'j} z_k = \lVert z\rVert^2 (B
# B^\top)_{ii'}$. And $\partial f_i / \partial B_{i'j} = \delta_{ii'} (Az)_j$, which adds $\lVert
# Az\rVert^2$ on the diagonal.


# %%
def my_kernel(A, B, z):
    """The tangent kernel of f = B A z."""
    return z @ z * B @ B.T + (A @ z) @ (A @ z) * torch.eye(len(B))


assert check.tangent_kernel(my_kernel)
check.tangent_kernel(my_kernel)

# %% [markdown]
# The identity has no opinion about modes, so the modes are those of $B B^\top$: the left singular
# vectors of the *second* layer. If $B$ is a *circular* blur, they are waves, slow ones first. $B$'s own
# training adds the same speed to all modes and weakens the preference. This is the smallest network
# with a prior, and the prior is in what comes *after* a trained layer.
#
# ## 3 · The error


# %%
def my_error(c, values, sigma, t):
    """Expected squared error per pixel, of gradient flow at the time t = ηk."""
    fitted = 1 - torch.exp(-values * t)
    return (((1 - fitted) * c) ** 2 + sigma**2 * fitted**2).mean()


assert check.spectral_error(my_error)
check.spectral_error(my_error)

# %% [markdown]
# ## 4 · Hold the line
#
# A tenth of the contrast needs a tenth of the change of the weights, and $K$ changes accordingly
# less. The prediction, as a share of the first energy, is the same for all contrasts: a linear theory
# does not know how much is asked of it.

# %%
clean = dip.images.load("camera", size=32)
image = clean - clean.mean()


def predicted_and_measured(contrast, steps=100, seed=0):
    """As in the lesson, for its hourglass."""
    torch.manual_seed(seed)
    levels = {"down": (16,) * 3, "skip": (4,) * 3}
    network = Hourglass(16, 1, **levels, padding="zeros", merge_norm=False, sigmoid=False)
    z = 0.1 * torch.rand(1, 16, 32, 32)
    found = theory.spectrum(theory.kernel(theory.jacobian(network, z)), clean.shape)
    rate = 0.5 / float(found.values[0])
    optimiser = torch.optim.SGD(network.parameters(), lr=rate)
    goal, measured = network(z)[0].detach() + contrast * image, []
    for _ in range(steps):
        loss = 0.5 * (network(z)[0] - goal).square().sum()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        measured.append(2 * loss.item() / goal.numel())
    drawn = theory.energy_curve(found, contrast * image, rate * np.arange(steps))
    return drawn / drawn[0], np.array(measured) / drawn[0]


# %%
curves = {contrast: predicted_and_measured(contrast) for contrast in (1.0, 0.3, 0.1)}
assert not check.follows(curves[1.0])
assert check.follows(curves[0.1])
check.follows(curves[0.1])

# %%
figure = Figure("The fainter the image, the closer the fit to its prediction", figsize=(6, 3))
axis = figure.subplots()
for colour, (contrast, (_, measured)) in zip(COLOURS, curves.items()):
    along, label = np.arange(1, len(measured)), f"{contrast:.0%}"
    axis.loglog(along, measured[1:], color=colour, lw=3, alpha=0.5, label=label)
axis.loglog(along, curves[1.0][0][1:], "k--", label="predicted")
axis.set(xlabel="step", ylabel="energy, share of the first")
axis.legend(frameon=False, title="contrast")
figure

# %% [markdown]
# A wider network helps as well, for the same reason: more weights share the work, and each has to
# move less. That is what "infinite width" means in the theorems, and why they say little about a
# network that moves a lot.
#
# ### Less noise on the weights


# %%
def wander(noise, steps=900, burn_in=300, seed=0):
    """PSNR of the mean of a wandering network's outputs, step by step."""
    torch.manual_seed(seed)
    levels = {"down": (16,) * 3, "skip": (4,) * 3}
    network = Hourglass(16, 1, **levels, padding="zeros", merge_norm=False, sigmoid=False)
    z, scores, total = 0.1 * torch.rand(1, 16, 32, 32), [], 0
    adam = torch.optim.Adam(network.parameters(), lr=0.01)
    for step in range(steps):  # the output after so many steps
        output = network(z)[0]
        total = total + output.detach() if step > burn_in else output.detach()
        scores.append(dip.psnr(total / max(1, step - burn_in + 1), clean))
        (output - noisy).square().sum().backward()
        adam.step()
        adam.zero_grad()
        for w in network.parameters():
            if w.ndim == 4:
                w.data.add_(torch.randn_like(w), alpha=noise)
    return np.array(scores)


noisy = dip.degrade.gaussian_noise(clean, 50 / 255, seed=0, clip=False)
means = {noise: wander(noise) for noise in (0.01, 0.02, 0.04)}

# %%
for noise, scores in means.items():
    best, last = 300 + int(scores[300:].argmax()), len(scores) - 1
    print(f"noise {noise}: the mean has its best, {scores[best]:.1f} dB, after {best} steps,")
    print(f"    and {scores[-1]:.1f} dB after {last}")
assert means[0.01][-1] < means[0.02][-1] < means[0.04][-1]
assert means[0.02][-1] < means[0.02][300:].max() - 0.5 < means[0.04][-1]

# %% [markdown]
# With half of the noise or less the mean sinks. Too little noise is too low a temperature: the walk
# then only follows the energy down, and the mean follows the walk. How much noise is enough had to be
# tried, and we judged it by the truth.
