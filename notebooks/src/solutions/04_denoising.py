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
import numpy as np
import torch

import diplearn as dip
from diplearn.course import check

sigma = 25 / 255
clean = dip.images.load("coffee", size=96)
noisy = dip.denoising(clean, sigma, seed=0)
one = dip.lab(members=1, iterations=120, stop="count")
runs = dip.fits({s: {"problem": noisy, "recipe": one, "seed": s} for s in range(6)})
averages = [run.average for run in runs.values()]

# %% [markdown]
# ## 1 · What averaging can remove
#
# For each pixel, the variance over the runs is the own error's. Its estimate from $M$ results divides by $M - 1$, since the mean of the
# results already contains a part of each own error. (The mean of (4) over all pairs gives the same number.)


# %%
def my_own(images):
    """The mean square of the error that each result has alone."""
    return torch.stack(images).var(dim=0).mean()


verdict = check.own_error(my_own)
assert verdict
verdict

# %% [markdown]
# From one run to the mean of six, the mean squared error falls from $S + O$ to $S + O/6$, by $5/6$ of $O$. Neither the truth nor $S$ is needed for that.

# %%
own = float(my_own(averages))
single = np.mean([float((image - clean).square().mean()) for image in averages])
six = float((sum(averages) / 6 - clean).square().mean())
print(f"drop without the truth {5 / 6 * own:.2e}, measured {single - six:.2e}")
print(f"left after infinitely many {1 - own / single:.0%} of the error of one")
assert abs(5 / 6 * own / (single - six) - 1) < 0.01

# %% [markdown]
# For the same six results the two agree exactly, whatever the truth is: the error of a mean is the mean error less the spread around the mean. It is a *prediction* where other
# runs are predicted, as in the lesson.
#
# ## 2 · A residual's colour


# %%
def my_neighbours(residual):
    """Correlation of a pixel with its right neighbour."""
    pairs = torch.stack([residual[..., :-1].flatten(), residual[..., 1:].flatten()])
    return torch.corrcoef(pairs)[0, 1]


verdict = check.neighbours(my_neighbours)
assert verdict
verdict

# %%
noise = noisy.observation - clean
colours = [float(my_neighbours(noisy.observation - image)) for image in averages]
print(f"the noise itself {float(my_neighbours(noise)):+.3f}, residuals ", end="")
print(", ".join(f"{colour:+.3f}" for colour in colours))
assert abs(my_neighbours(noise)) < 0.03 and max(colours) < -0.02

# %% [markdown]
# *Sample answer.* Negative: next to a bright pixel of the residual there is a dark one, more often than chance would have it. The slow part of the
# noise, in which neighbours agree, is missing in the residual: the fit has taken it in, because slow waves come first (lesson 03). What is left out is
# the fast part. Lost edges have the opposite effect, since an edge is like itself along its length; so a value near 0 may be the sum of two faults.
#
# ## 3 · The perfect residual
#
# *Sample answer.* The method subtracts fresh random numbers with standard deviation σ, whatever the image is. They are white and have the right level, so the
# residual passes every inspection; but they have nothing to do with the noise in the image, and so the result has the noise twice. With the truth, equation (1) gives it
# away: the share of the noise is 1. Without the truth, one can run the method twice: the results differ by fresh noise. If it subtracts the same numbers every time, one
# disturbs the observation a little and looks how the result follows: this one follows all the
# way, like no denoiser at all. That is what SURE measures (lesson 08).

# %%
fresh = dip.degrade.gaussian_noise(torch.zeros_like(clean), sigma, seed=7, clip=False)
fraud = noisy.observation - fresh
share = float(((fraud - clean) * noise).sum() / noise.square().sum())
print(f"residual: level {float(fresh.std()) * 255:.1f}, colour {float(my_neighbours(fresh)):+.3f}")
print(f"share of the noise {share:.2f}; {dip.psnr(fraud, clean):.1f} dB, noisy {dip.psnr(noisy.observation, clean):.1f} dB")  # fmt: skip
assert abs(share - 1) < 0.05 and dip.psnr(fraud, clean) < dip.psnr(noisy.observation, clean) - 2

# %% [markdown]
# ## 4 · Two photographs
#
# *Sample answer.* A is better. B lowers what differs between the two results: their own errors, and the noise that each took in from its own
# photograph; the power of both is halved. But the detail that both fits left out stays left out. A starts from a photograph with half the noise power. Its fit can go on for longer before the noise
# comes in, and so has more of the detail, too.

# %%
tries = {"A": [], "B": []}
for seed in range(3):
    first, second = (dip.denoising(clean, sigma, seed=2 * seed + i) for i in range(2))
    mean = first.varied(
        observation=(first.observation + second.observation) / 2, sigma=sigma / 2**0.5
    )
    trio = enumerate((mean, first, second))
    found = dip.fits(
        {k: {"problem": p, "recipe": dip.lab(members=1), "seed": seed} for k, p in trio}
    )
    tries["A"].append(dip.psnr(found[0].output, clean))
    tries["B"].append(dip.psnr((found[1].output + found[2].output) / 2, clean))
for name, values in tries.items():
    print(f"{name}: {np.mean(values):.2f} ± {np.std(values):.2f} dB")
assert np.mean(tries["A"]) > np.mean(tries["B"]) + 0.1

# %% [markdown]
# ## 5 · Neither noise nor detail
#
# *Sample answer.* No. The truth with *another* noise has $a = 0$ and $b = 1$, and is wrong. $a$ and $b$ only see the multiples of $Hn$ and of $Hx$ in the error. They do not see what was made up;
# and since they are averages over the image, they do not see detail that is complete here and missing there, nor noise that came in near edges only.


# %%
def fine(image):
    """What a slight blur takes away."""
    return image - dip.Blur(1.0)(image)


def neither(image):
    """Which part of the fine error's power is neither a multiple of the noise nor of the detail."""
    x, n = fine(clean), fine(noise)
    error = fine(image) - x
    rest = error - (error * n).sum() / n.square().sum() * n
    rest = rest - (rest * x).sum() / x.square().sum() * x
    return float(rest.square().sum() / error.square().sum())


shares = {"single iterate": [neither(run.last) for run in runs.values()]}
shares["moving average"] = [neither(image) for image in averages]
for name, each in shares.items():
    print(f"{name}: {np.mean(each):.0%} ± {np.std(each):.0%}")
assert np.mean(shares["single iterate"]) > np.mean(shares["moving average"]) > 0.4

# %% [markdown]
# Most of the error. So two numbers tell how much came in, and not how right the image is; for that there is the PSNR. Averaging lowers the rest: it contains most of the own error.
