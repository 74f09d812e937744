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
# # Worked exercises · 04 Denoising
#
# Back to the lesson: [04_denoising.ipynb](../04_denoising.ipynb)

# %%
import math

import numpy as np
import torch

import diplearn as dip
from diplearn.course import check
from diplearn.figures import contact_sheet
from diplearn.operators import Mask

clean = dip.images.load("camera", size=96)

# %% [markdown]
# ## 1 · Four runs
#
# The square of a sum of M errors has M squares and M (M − 1) products, each of them ρ ε². Divide by M²:
#
# $$\tfrac1N \Bigl\lVert \tfrac1M \sum_i e_i \Bigr\rVert^2 = \varepsilon^2\, \frac{1 + (M - 1)\,\rho}{M}
#   \;\xrightarrow{M \to \infty}\; \varepsilon^2 \rho .$$
#
# What all of them have in common stays, however many there are.

# %%
my_gain = 10 * math.log10(4 / (1 + 3 * 0.6))
verdict = check.four_runs(my_gain)
assert verdict
verdict

# %% [markdown]
# ## 2 · Mean and median
#
# The derivative of $\sum (c - x_i)^2$ vanishes at the mean, 0.8 · 0.4 + 0.2 · 1 = 0.52. That of
# $\sum |c - x_i|$ counts how many lie below minus how many lie above, and vanishes at the median, 0.4:
# the truth. It keeps doing so until half of the pixels are salt.

# %%
my_constant = 0.8 * 0.4 + 0.2 * 1
verdict = check.constant(my_constant)
assert verdict
verdict

# %% [markdown]
# ## 3 · Photons
#
# We want $g'(v)^2\, v = 1$, so $g'(v) = 1/\sqrt v$ and $g(v) = 2 \sqrt v$. Anscombe (1948) found that 3/8
# under the root makes it right for small counts, too.


# %%
def my_root(x0, peak):
    """Photon counts over peak -> a scale in which the noise has deviation 1."""
    return 2 * (peak * x0 + 3 / 8).sqrt()


assert check.stabilised(my_root)
check.stabilised(my_root)

# %% [markdown]
# In this scale all is as if the noise were Gaussian, with a σ that is *known*. We bring the scale to [0,
# 1], fit, and come back. (The square of a mean is less than the mean of squares, so the plain inverse is
# a little too dark; with 1/8 instead of 3/8 it is right for many photons. Mäkitalo & Foi have the exact
# inverse.)

# %%
peak = 30
low, high = (float(my_root(torch.tensor(x), peak)) for x in (0.0, 1.0))


def there(x):
    """Counts over peak -> [0, 1] with noise of deviation 1 / (high - low)."""
    return ((my_root(x, peak) - low) / (high - low)).clamp(0, 1)


def back(y):
    """And back again."""
    return (((y * (high - low) + low) ** 2 / 4 - 1 / 8) / peak).clamp(0, 1)


# %%
x0 = dip.degrade.poisson_noise(clean, peak=peak, seed=0)
even = dip.Problem(there(x0), truth=there(clean), sigma=1 / (high - low))
either = {"rooted": even, "plain": dip.Problem(x0, truth=clean)}
one = dip.lab(members=1)
fitted = dip.fits(
    {(k, s): {"problem": either[k], "recipe": one, "seed": s} for k in either for s in range(3)}
)
rooted, plain = ([fitted[name, seed] for seed in range(3)] for name in either)
with_root = [dip.psnr(back(run.output), clean) for run in rooted]
without = [run.psnr for run in plain]
bm3d = dip.psnr(back(dip.baselines.bm3d(even)), clean)
for name, scores in (("plain", without), ("with the root", with_root)):
    print(f"{name}: {np.mean(scores):.2f} ± {np.std(scores):.2f} dB")
print(f"BM3D with the root: {bm3d:.2f} dB")

# %%
contact_sheet(
    {"x₀": x0, "plain": plain[0].output, "with the root": back(rooted[0].output), "truth": clean},
    alt="With the root the photographer is a little sharper",
)

# %% [markdown]
# BM3D is made for Gaussian noise, and the root hands it just that; it stays ahead by about two decibels, as
# in section 4 of the lesson. The deep prior's own gain has two causes: the noise is now as strong
# everywhere, and its level is known, so that SURE may choose the iteration. To tell them apart, let the
# *oracle* choose in both cases:

# %%
best = {
    "plain": np.mean([run.oracle_psnr for run in plain]),
    "with the root": np.mean([dip.psnr(back(run.oracle), clean) for run in rooted]),
}
print({name: f"{score:.2f} dB" for name, score in best.items()})
assert best["with the root"] > best["plain"] + 0.2 and np.mean(with_root) > np.mean(without)
assert bm3d > np.mean(with_root) + 1

# %% [markdown]
# Most of the gain is the root's.
#
# ## 4 · A residual's colour
#
# Here for the photographer's residuals.


# %%
def my_neighbours(residual):
    """Correlation of a pixel with its right neighbour."""
    pairs = torch.stack([residual[..., :-1].flatten(), residual[..., 1:].flatten()])
    return torch.corrcoef(pairs)[0, 1]


assert check.neighbours(my_neighbours)
check.neighbours(my_neighbours)

# %%
noisy = dip.denoising(clean, sigma=25 / 255)
fitted = dip.fits({s: {"problem": noisy, "recipe": one, "seed": s} for s in range(3)})
runs = list(fitted.values())
noise = noisy.observation - clean
colours = [float(my_neighbours(noisy.observation - run.output)) for run in runs]
print(f"the noise itself {float(my_neighbours(noise)):+.2f}, residuals ", end="")
print(", ".join(f"{colour:+.2f}" for colour in colours))
assert abs(my_neighbours(noise)) < 0.03 and max(colours) < -0.02

# %% [markdown]
# Negative: a bright pixel has darker neighbours, more often than chance would have it. The slow part of
# the noise, in which neighbours agree, is *missing* in the residual. The fit has taken it in, since slow
# waves come first (lesson 03). Structure in the residual has the opposite effect, as lost edges are alike
# along themselves; so a value near 0 may be the sum of two faults.
#
# ## 5 · Two methods
#
# From (5), c = (0.0015 + 0.0021 − 0.0010) / 2 = 0.0013, so that ρ = 0.73. From (4), w = (0.0021 − 0.0013) /
# 0.0010 = 0.8. The mixture's error is $e_b^2 - w^2\, \lVert a - b\rVert^2 / N$ = 0.00146, 0.12 dB better than
# a. The plain mean's is 0.00155: it would have made a worse.

# %%
error_a, error_b, apart = 0.0015, 0.0021, 0.0010
c = (error_a + error_b - apart) / 2
my_weight = (error_b - c) / apart
verdict = check.best_weight(my_weight)
assert verdict
verdict

# %%
mixture = error_b - my_weight**2 * apart
print(
    f"mixture {mixture:.5f}, plain mean {(error_a + error_b) / 2 - apart / 4:.5f}, a {error_a:.5f}"
)
assert mixture < error_a < (error_a + error_b) / 2 - apart / 4

# %% [markdown]
# ## 6 · Half of the pixels
#
# Does `l1` still work? Salt and pepper are equally many here, so the median of a flat patch is still its
# true value. See what a fit makes of it. And the alternative: a black or white pixel is suspicious. Declare
# all of them unknown, and what is left is *exact*: an inpainting problem, in which nobody has to stop.

# %%
spoilt = dip.degrade.salt_and_pepper(clean, amount=0.5, seed=0)
known = ((spoilt > 0) & (spoilt < 1)).float()
masked = dip.Problem(spoilt, Mask(known), truth=clean, sigma=0)
tries = dip.fits(
    {
        "l1": {"problem": dip.Problem(spoilt, truth=clean), "recipe": one.replace(data_term="l1")},
        "mask": {"problem": masked, "recipe": dip.lab("inpainting", members=1, iterations=250)},
    }
)
shown = {"x₀": spoilt, **{name: run.output for name, run in tries.items()}, "truth": clean}
captions = {name: f"{run.psnr:.1f} dB" for name, run in tries.items()}
captions["x₀"] = f"{dip.psnr(spoilt, clean):.1f} dB"
contact_sheet(shown, captions=captions, alt="Half of the pixels are dead; the mask restores best")

# %%
for name, run in tries.items():
    print(f"{name}: {run.psnr:.1f} dB, at its best on the way {run.oracle_psnr:.1f}")
assert tries["l1"].psnr > dip.psnr(spoilt, clean) + 10
assert tries["l1"].oracle_psnr < tries["l1"].psnr + 1
assert tries["mask"].psnr > tries["l1"].psnr + 1

# %% [markdown]
# `l1` still works, and better stopping would hardly help it. The median is not what fails; but so many pixels
# pull to and fro that much detail comes in no sooner than they. The mask does not let them pull at all.
#
# What you know about the damage belongs in the data term. The more of it you put there, the less the prior
# has to guess.
