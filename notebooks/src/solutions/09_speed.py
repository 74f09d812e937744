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
# # Worked exercises · 09 Speed
#
# Back to the lesson: [09_speed.ipynb](../09_speed.ipynb)

# %%
import time

import torch

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import curves

small = dip.denoising(dip.images.load("motorcycle", size=96), sigma=25 / 255, seed=0)

# %% [markdown]
# ## 1 · Count
#
# One filter for each output, over all inputs, size × size taps, used at every pixel.


# %%
def my_count(inputs, outputs, size, side):
    """Multiplications of one convolution."""
    return inputs * outputs * size**2 * side**2


assert check.multiplications(my_count)
print(f"{my_count(128, 128, 3, 256) / 1e9:.1f} thousand million for one layer of the published top")

# %% [markdown]
# ## 2 · Level


# %%
def my_orthogonal(matrix):
    """Return U Vᵀ."""
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vt


assert check.orthogonal(my_orthogonal)

# %%
matrix = torch.randn(64, 576)
seconds = {}
for name, function in {
    "svd": my_orthogonal,
    "five rounds": lambda m: dip.optimisers.orthogonalize([m])[0],
}.items():
    start = time.perf_counter()
    for _ in range(50):
        function(matrix)
    seconds[name] = (time.perf_counter() - start) / 50
print(f"the decomposition takes {seconds['svd'] / seconds['five rounds']:.0f} times as long")

# %% [markdown]
# The five rounds are products of small matrices, which is what processors do best; and they need not be
# exact: the package's step leaves the singular values between about 2/3 and 5/4.
#
# ## 3 · Your own recipe
#
# Attack the iterations: input noise is what makes the fit slow *and* what keeps it from turning early.
# With half of the noise and twice the learning rate, 120 iterations come within a few tenths of a decibel of what
# the lab recipe reaches later, and they need no rule to end them. (One network instead of two saves nothing where
# there are two cores: they run side by side.)

# %%
reference = dip.fit(small, progress=False)
hasty = dip.lab(learning_rate=0.02, input_noise=0.01, iterations=120)
my_run = dip.fit(small, hasty, progress=False)
for name, run in {"lab": reference, "hasty": my_run}.items():
    print(f"{name}: best {run.oracle_psnr:.1f} dB at {run.oracle_at}, ended at {run.stopped_at}")
assert check.cheaper(my_run, reference)
check.cheaper(my_run, reference)

# %%
curves({"lab": reference, "hasty": my_run}, over="seconds", alt="The hasty recipe is there sooner")
