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
# # Worked exercises · 10b Beyond the linear theory
#
# Back to the lesson: [10b_open_questions.ipynb](../10b_open_questions.ipynb)

# %%
import math

import numpy as np
import torch

import diplearn as dip
from diplearn.course import check, theory
from diplearn.networks import Hourglass

torch.set_num_threads(1)
SIGMA = 50 / 255
clean = dip.images.load("camera", size=32)
noisy = dip.degrade.gaussian_noise(clean, SIGMA, seed=0, clip=False)

# %% [markdown]
# ## 1 · A ceiling
#
# The photograph has $N = 3 \cdot 512^2 = 786{,}432$ numbers, so $p/N = 0.032$, and the error is $0.032 \cdot (25/255)^2 = 0.00031$ per number.

# %%
my_ceiling = -10 * math.log10(25_000 / (3 * 512**2) * (25 / 255) ** 2)
print(f"{my_ceiling:.1f} dB")
verdict = check.noise_ceiling(my_ceiling)
assert verdict
verdict

# %% [markdown]
# *A sample answer.* The calculation has the variance and no bias. A decoder with 25,000 weights cannot reproduce the photograph exactly, even without noise, and what it cannot reproduce is an error as well. To complete the calculation, I would fit the decoder to the *clean* photograph and
# measure the error that remains. This bias falls when the decoder gets more weights, and the variance rises: the best width lies where their sum is least, and it depends on the photograph. (The constant and the logarithm of the theorem are missing, too.)
#
# ## 2 · How much noise on the weights?


# %%
def fresh(seed=0):
    """The lesson's hourglass, untrained, and its input."""
    torch.manual_seed(seed)
    levels = {"down": (16,) * 3, "skip": (4,) * 3}
    network = Hourglass(16, 1, **levels, padding="zeros", merge_norm=False, sigmoid=False)
    return network, 0.1 * torch.rand(1, 16, 32, 32)


def wander(noise, steps=800, burn_in=300):
    """PSNR of the mean of the outputs after the burn-in, step by step."""
    (network, z), scores, total = fresh(), [], 0
    adam = torch.optim.Adam(network.parameters(), lr=0.01)
    for step in range(steps):
        output = network(z)[0]
        if step >= burn_in:
            total = total + output.detach()
            scores.append(dip.psnr(total / (step - burn_in + 1), clean))
        adam.zero_grad()
        (0.5 * (output - noisy).square().sum()).backward()
        adam.step()
        for w in network.parameters():
            if w.ndim == 4:
                w.data.add_(torch.randn_like(w), alpha=noise)
    return np.array(scores)


means = {noise: wander(noise) for noise in (0.02, 0.04, 0.08)}

# %%
for noise, scores in means.items():
    best, last = int(scores.argmax()), len(scores) - 1
    print(f"noise {noise}: the mean is best, {scores[best]:.1f} dB, after {300 + best} steps,")
    print(f"    and has {scores[-1]:.1f} dB after {300 + last}")
assert means[0.04][-1] > means[0.02][-1] + 1 and means[0.04][-1] > means[0.08][-1] + 1
assert means[0.02][-1] < means[0.02].max() - 0.5

# %% [markdown]
# *A sample answer.* With half of the noise the mean is best when the averaging begins, and sinks from then on: the temperature is too low, the weights only follow the energy down, as they do under plain Adam, and the mean follows them. With twice the noise the mean does not sink, but it stays decibels lower: the
# weights stray too far from all that explain $x_0$. The question *when to stop* has become *how much noise*, and here we answered it with the truth, as an oracle does. The new question is easier in one respect: if the strength is right, a few hundred steps more or less do not matter. But it is as hard to answer without the truth, and it may have another
# answer for another noise level.
#
# ## 3 · How local is what was learned?


# %%
def as_filter(found, picture):
    """PSNR of the frozen kernel's filter, in noise that no fit has seen, at the best time."""
    other = dip.degrade.gaussian_noise(picture, SIGMA, seed=1, clip=False)
    mean, scores = other.mean(), []
    for time in np.geomspace(1e-1, 1e5, 60) / float(found.values[0]):
        factors = theory.gradient_flow(found.values, time)
        scores.append(dip.psnr((found.filtered(other - mean, factors) + mean).float(), picture))
    return max(scores)


network, z = fresh()
before = theory.spectrum(theory.kernel(theory.jacobian(network, z)), clean.shape)
adam = torch.optim.Adam(network.parameters(), lr=0.01)
for _ in range(25):  # about where the fit is best
    adam.zero_grad()
    (0.5 * (network(z)[0] - noisy).square().sum()).backward()
    adam.step()
after = theory.spectrum(theory.kernel(theory.jacobian(network, z)), clean.shape)

# %%
scores = {}
for shift in (0, 1, 2, 4, 8):
    picture = clean.roll(shift, 2)
    scores[shift] = as_filter(before, picture), as_filter(after, picture)
    print(
        f"shifted by {shift}: at the start {scores[shift][0]:.1f} dB, after Adam {scores[shift][1]:.1f}"
    )
assert scores[0][1] > scores[8][1] + 1

# %% [markdown]
# *A sample answer.* If the kernel knows the place of each edge, its gain over the untrained kernel must shrink when the edges move; if it knows the kind of picture, the shift must not matter. It shrinks with every step: a shift by one pixel costs nearly a decibel, and after four pixels less than half of the gain is left. So the kernel
# knows places, to within a pixel or two. At eight pixels a third of it is left, somewhat less than when the picture is flipped: large areas of light and dark still overlap.
#
# ## 4 · An open question of your own
#
# *A sample answer.* "Holes and skips". Let $M$ be the diagonal matrix of a mask. Only seen pixels have residuals, so (1) becomes $r \leftarrow r - \eta K M r$: what happens in the hole is $K$'s block from seen to unseen pixels. I would predict the filling of a hole of 8x8 pixels from the untrained $K$, for an hourglass with skips and one without,
# three seeds and several photographs each, and compare with fits by gradient descent. If the network without skips fills better and its $K$ predicts it, the reason lies in the first kernel. The cheapest other explanation: without skips the network is smoother altogether, and any smoother kernel fills better. The control is a smooth kernel that knows nothing of
# networks, such as a Gaussian blur of matched width; if it fills as well, skips are not the point. And where Adam fills better than $K$ predicts, the kernel has moved, which this experiment does not explain.
