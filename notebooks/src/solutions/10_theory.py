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
import matplotlib
import numpy as np
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check, theory
from diplearn.figures import COLOURS, Figure
from diplearn.networks import Hourglass, parameter_count

torch.set_num_threads(1)
matplotlib.rcParams["font.size"] = 12
clean = dip.images.load("camera", size=32)

# %% [markdown]
# ## 1 · Two layers, by hand
#
# $f_i = \sum_{jk} B_{ij} A_{jk} z_k$. So $\partial f_i / \partial A_{jk} = B_{ij} z_k$, and the part of $K = J J^\top$ that comes from $A$ is
# $\sum_{jk} B_{ij} z_k\, B_{i'j} z_k = \lVert z\rVert^2 (B B^\top)_{ii'}$. And $\partial f_i / \partial B_{i'j} = \delta_{ii'} (Az)_j$,
# which adds $\lVert Az\rVert^2$ on the diagonal.


# %%
def my_kernel(A, B, z):
    """The tangent kernel of f = B A z."""
    return z @ z * B @ B.T + (A @ z) @ (A @ z) * torch.eye(len(B))


verdict = check.tangent_kernel(my_kernel)
assert verdict
verdict

# %% [markdown]
# *A sample answer.* $B$, the second layer, decides: every image is an eigenvector of the identity, so the modes are those of $B B^\top$, the left singular vectors of $B$.
# If $B$ is a circular blur, they are waves, and since a blur damps the fast ones, the slow ones come first. The training of $B$ itself adds the same speed to all modes and weakens the
# preference. So the prior is in what comes *after* a trained layer.
#
# ## 2 · Stop without the truth


# %%
def my_estimate(c0, values, sigma, t):
    """The error per pixel at the time t of gradient flow, estimated without the truth."""
    g = theory.gradient_flow(values, t)
    return ((1 - g) * c0).square().mean() + 2 * sigma**2 * g.mean() - sigma**2


verdict = check.error_without_truth(my_estimate)
assert verdict
verdict

# %% [markdown]
# Does it find the best moment? With the modes of the lesson's hourglass:


# %%
def fresh(seed=0):
    """The lesson's hourglass, untrained, and its input."""
    torch.manual_seed(seed)
    levels = {"down": (16,) * 3, "skip": (4,) * 3}
    network = Hourglass(16, 1, **levels, padding="zeros", merge_norm=False, sigmoid=False)
    return network, 0.1 * torch.rand(1, 16, 32, 32)


found = theory.spectrum(theory.kernel(theory.jacobian(*fresh())), clean.shape)
sigma, times = 50 / 255, np.geomspace(1, 1000, 60) / float(found.values[0])
for seed in range(3):
    noisy = dip.degrade.gaussian_noise(clean, sigma, seed=seed, clip=False)
    c0, wanted = found.split(noisy - noisy.mean()), clean - noisy.mean()
    estimate = [float(my_estimate(c0, found.values, sigma, t)) for t in times]
    results = [
        found.filtered(noisy - noisy.mean(), theory.gradient_flow(found.values, t)) for t in times
    ]
    truth = [float((result - wanted).square().mean()) for result in results]
    lost = 10 * np.log10(truth[int(np.argmin(estimate))] / min(truth))
    print(f"noise {seed}: the estimate's best moment loses {lost:.2f} dB against the truth's")
    assert lost < 0.5

# %% [markdown]
# ## 3 · Hold the line
#
# A tenth of the contrast needs a tenth of the change of the weights, and $K$ changes accordingly less. The prediction, as a share of the first energy, is the same for all contrasts: a linear theory
# does not know how much is asked of it.


# %%
def predicted_and_measured(contrast, steps=100):
    """As in the lesson, for its hourglass and the camera man."""
    (network, z), image = fresh(), contrast * (clean - clean.mean())
    rate = 0.5 / float(found.values[0])
    optimiser = torch.optim.SGD(network.parameters(), lr=rate)
    goal, measured = network(z)[0].detach() + image, []
    for _ in range(steps):
        loss = 0.5 * (network(z)[0] - goal).square().sum()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        measured.append(2 * loss.item() / goal.numel())
    drawn = theory.energy_curve(found, image, rate * np.arange(steps))
    return drawn / drawn[0], np.array(measured) / drawn[0]


# %%
curves = {contrast: predicted_and_measured(contrast) for contrast in (1.0, 0.3, 0.1)}
assert not check.follows(curves[1.0])
assert check.follows(curves[0.1])
check.follows(curves[0.1])

# %%
figure = Figure("The fainter the image, the closer the fit to its prediction", figsize=(6, 3.6))
axis = figure.subplots()
for colour, (contrast, (_, measured)) in zip(COLOURS, curves.items()):
    along, label = np.arange(1, len(measured)), f"{contrast:.0%}"
    axis.loglog(along, measured[1:], color=colour, lw=3, alpha=0.5, label=label)
axis.loglog(along, curves[1.0][0][1:], "k--", label="predicted")
axis.set(xlabel="step", ylabel="energy, share of the first")
axis.legend(frameon=False, title="contrast")
figure

# %% [markdown]
# *A sample answer.* $K$ is computed where the fit begins. It stays what it is as long as the weights stay near their first values, and a faint picture needs only a small change of the output, hence of the weights. In a wider network more weights share the same
# change of the output, so each has to move less. In the limit of infinite width none has to move, and the linear theory is exact. That is also why it says little about a narrow network that moves a lot.
#
# ## 4 · Too small?
#
# *A sample answer.* The control is a network of 1x1 filters with as many weights as the hourglass: a width of about 140. If the number of weights made the prior, its first modes would now hold much of the camera man. They hold about a tenth, 100 modes of 1024, as for
# noise. So it is not the number of weights.


# %%
def pointwise(width):
    """1x1 filters at full size."""
    layers = [nn.Conv2d(16, width, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1))


def first_hundred(network, z):
    """The share of the camera man's energy in the first 100 modes."""
    modes = theory.spectrum(theory.kernel(theory.jacobian(network, z)), clean.shape)
    energy = modes.split(clean - clean.mean()).square()
    return float(energy[:100].sum() / energy.sum())


shares = {}
for width in (32, 140):
    torch.manual_seed(0)
    network = pointwise(width)
    shares[width] = first_hundred(network, 0.1 * torch.rand(1, 16, 32, 32))
    print(f"{parameter_count(network):6,} weights: {shares[width]:.0%} in the first 100 modes")
assert max(shares.values()) < 0.2
