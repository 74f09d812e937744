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
# # Worked exercises · 04b Other noise
#
# Back to the lesson: [04b_other_noise.ipynb](../04b_other_noise.ipynb)

# %%
import numpy as np
import torch

import diplearn as dip
from diplearn.course import check
from diplearn.energy import data_term
from diplearn.figures import contact_sheet
from diplearn.operators import Mask

clean = dip.images.load("camera", size=96)
one = dip.lab(members=1)

# %% [markdown]
# ## 1 · Mean, median, and photons
#
# The derivative of $\sum_i (c - x_i \log c)$ is $\sum_i (1 - x_i / c)$. It vanishes where $c$ is the **mean**: on a flat
# patch, `poisson` agrees with `mse`.
#
# *A sample answer:* One patch alone has only one constant to choose, and both choose it equally. As soon as one
# parameter serves a dark patch *and* a bright one, they compete. `mse` counts a difference of 0.1 the same in both, although it means
# little in the bright patch, where the noise is strong. `poisson` divides by the brightness, so that each pixel
# counts for as much as it knows. A network stopped early is in that position everywhere: each of its weights serves many pixels.
#
# The smallest example has a single parameter: the exposure $s$ of a scene of known shape, most of it dark, with a few
# bright pixels. Both data terms have a formula for the best $s$. Each is right on average; they differ in their spread over 4,000
# observations.

# %%
shape = torch.cat([torch.full((950,), 0.1), torch.full((50,), 1.0)])
draws = torch.Generator().manual_seed(0)
counts = torch.poisson(5 * shape.expand(4000, -1), generator=draws)  # the true s: 5 photons
estimates = {
    "mse": (counts * shape).sum(1) / shape.square().sum(),  # where the derivative vanishes
    "poisson": counts.sum(1) / shape.sum(),
}
for name, found in estimates.items():
    print(f"{name:8s} s = {found.mean():.2f} ± {found.std():.2f}")
assert estimates["poisson"].std() < 0.8 * estimates["mse"].std()

# %% [markdown]
# ## 2 · When to stop photons
#
# In (2) stands $(x - x_0)^2 / 2x$, and the variance of $x_0$ is $x / p$. So the mean of the deviance is
# $\frac{x/p}{2x} = \frac1{2p}$, and the brightness is gone. (This is why statisticians like the deviance: $2p$ times it is
# nearly a $\chi^2$ variable with one degree of freedom for each pixel.)

# %%
peak = 20
my_energy = 1 / (2 * peak)
verdict = check.photon_energy(my_energy)
assert verdict
verdict

# %%
room = 0.5 * clean
problem = dip.Problem(dip.degrade.poisson_noise(room, peak=peak, seed=0), truth=room)
print(f"the truth's own energy: {data_term(room, problem, 'poisson'):.4f}")
for photons in (0.1, 0.5, 1, 3):
    flat = torch.full((1, 300, 300), photons / peak)
    x0 = torch.poisson(peak * flat, generator=torch.Generator().manual_seed(0)) / peak
    print(f"{photons:4} photons: {2 * peak * data_term(flat, dip.Problem(x0), 'poisson'):.2f} / 2p")

# %% [markdown]
# From half a photon on, the rule is right to within 15 %. In darker pixels Taylor's formula (2) fails, and the truth's energy is
# lower. Now stop three fits by it, and compare with hold-out and with the truth.

# %%
recipe, full = one.replace(data_term="poisson"), 2  # full: white is 0.5
stops = {"1 / 2p": lambda step: float(step.loss) < my_energy, "hold-out": "hold-out"}
wanted = {
    (name, seed): {"problem": problem, "recipe": recipe, "seed": seed, "stop": stop}
    for name, stop in stops.items()
    for seed in range(3)
}
fitted = dip.fits(wanted)
found = {}
for name in stops:
    runs = [fitted[name, seed] for seed in range(3)]
    scores = found[name] = [dip.psnr(full * run.output, clean) for run in runs]
    print(f"{name:9s} {np.mean(scores):.2f} ± {np.std(scores):.2f} dB, ", end="")
    print("iterations", [run.chosen_at for run in runs])
best = [dip.psnr(full * fitted["hold-out", seed].oracle, clean) for seed in range(3)]
print(f"the truth {np.mean(best):.2f} ± {np.std(best):.2f} dB")
assert np.mean(found["1 / 2p"]) > np.mean(best) - 0.8

# %% [markdown]
# Knowing nothing but $p$, the rule comes as close to the truth's choice as hold-out does, which had to keep pixels back. It is
# the discrepancy principle of lesson 08, for photons. (It watches the energy of the single iterate, and the image is the
# moving average, which lags behind.)
#
# ## 3 · A camera
#
# We want $g'(x)^2\, (a x + b) = 1$, so $g'(x) = 1 / \sqrt{a x + b}$ and $g(x) = \frac2a \sqrt{a x + b}$. With $\frac38 a^2$ added
# under the root, as by Anscombe, it is better for few photons. For $b = 0$ and $a = 1/p$ it is (3).


# %%
def my_root(x0, a, b):
    """Counts times a, plus noise of variance b -> a scale in which the noise has deviation 1."""
    return 2 / a * (a * x0 + 3 / 8 * a**2 + b).clamp(min=0).sqrt()


verdict = check.stabilised(my_root)
assert verdict
verdict

# %% [markdown]
# ## 4 · Two methods
#
# From (5), c = (0.0015 + 0.0021 − 0.0010) / 2 = 0.0013, so that ρ = 0.73. From (4), w = (0.0021 − 0.0013) /
# 0.0010 = 0.8. The mixture's error is $e_b^2 - w^2\, \lVert a - b\rVert^2 / N$ = 0.00146, 0.12 dB better than
# a. The plain mean's is 0.00155: worse than a alone.
#
# *A sample answer:* $1 - w = (e_a^2 - c) / (e_a^2 + e_b^2 - 2c)$ is zero where $c = e_a^2$, that is where $b$ is $a$ plus something that has nothing to do
# with the error of $a$: $b$ knows nothing that $a$ does not know, and has an error of its own on top. A second denoiser that is only
# slightly worse may be of no use at all.

# %%
error_a, error_b, apart = 0.0015, 0.0021, 0.0010
c = (error_a + error_b - apart) / 2
my_weight = (error_b - c) / apart
verdict = check.best_weight(my_weight)
assert verdict
verdict

# %%
mixture = error_b - my_weight**2 * apart
plain = (error_a + error_b) / 2 - apart / 4
print(f"mixture {mixture:.5f}, plain mean {plain:.5f}, a {error_a:.5f}")
assert mixture < error_a < plain

# %% [markdown]
# ## 5 · Half of the pixels
#
# A pixel that is neither black nor white is exact: its likelihood is zero for any other $x$. One that is black or white may have had any
# value: its likelihood hardly depends on $x$. That is the **mask** of inpainting, with the suspicious pixels missing; what is
# left contains no noise, so that nobody has to stop.

# %%
spoilt = dip.degrade.salt_and_pepper(clean, amount=0.5, seed=0)
suspect = (spoilt == 0) | (spoilt == 1)
told = dip.Problem(spoilt, Mask((~suspect).float()), truth=clean, sigma=0)
untold = dip.Problem(spoilt, truth=clean)
filling = dip.lab("inpainting", members=1, iterations=250)
cases = {"l1": (untold, one.replace(data_term="l1")), "mask": (told, filling)}
tries = dip.fits(
    {
        (name, seed): {"problem": problem, "recipe": recipe, "seed": seed}
        for name, (problem, recipe) in cases.items()
        for seed in range(3)
    }
)
median = dip.baselines.median_filter(untold)

# %%
shown = {"x₀": spoilt, "switching median": torch.where(suspect, median, spoilt)}
shown |= {name: tries[name, 0].output for name in cases}
captions = {name: f"{dip.psnr(image, clean):.1f} dB" for name, image in shown.items()}
contact_sheet(
    shown | {"truth": clean},
    captions=captions,
    alt="Half of the pixels are dead. The switching median leaves many of them, l1 blurs, and the mask restores nearly all",
)

# %%
scores = {name: [tries[name, seed].psnr for seed in range(3)] for name in cases}
for name, three in scores.items():
    print(f"{name}: {np.mean(three):.1f} ± {np.std(three):.1f} dB")
assert min(scores["l1"]) > dip.psnr(shown["switching median"], clean) + 5
assert min(scores["mask"]) > max(scores["l1"]) + 1

# %% [markdown]
# *A sample answer:* I would use the mask. It is the exact likelihood of this damage, and no pixel that says nothing pulls at the
# image. The median, which was ahead at a tenth, fails: half of *its* pixels are dead, too. I would return to `l1` as soon as
# dead pixels cannot be recognised, for example if they have random values, or if good pixels are noisy as well.
