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
import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import curves

small = dip.denoising(dip.images.load("motorcycle", size=96), sigma=25 / 255, seed=0)

# %% [markdown]
# ## 1 · Seven times as fast
#
# Of 100 ms, 36 are convolutions: they become 36/7 = 5.1 ms, and 64 ms stay.

# %%
my_times = 1 / (1 - 0.36 + 0.36 / 7)
wide = 1 / (1 - 0.68 + 0.68 / 7)
print(f"{my_times:.2f} times with 36 %, {wide:.2f} times with 68 %")
check.amdahl(my_times)

# %% [markdown]
# The same instructions are worth much more to the wide network: the narrow one has taken away what they would make faster. And
# no multiplier, however fast, can do more than 1/0.64 = 1.6 times and 1/0.32 = 3.1 times.

# %%
assert check.amdahl(my_times)

# %% [markdown]
# ## 2 · Only the optimiser
#
# *A sample answer.* Muon is not worse, it is faster, and so it is past its best image long before iteration 1,800: it has gone on to fit the noise. The number of iterations belongs
# to the optimiser, as the learning rate does. Test: let the race's fit with Muon go on to several times the iteration of its peak, and look at the best average and at the last.
# If the best is as good as Adam's best, the friend's fit only needed to stop. (With a stopping rule of lesson 08 instead of a
# count, the friend would not have noticed anything, except that it ended sooner.)

# %%
alone = dip.lab(members=1, iterations=480, stop="count")
long = {s: {"problem": small, "recipe": alone, "seed": s} for s in range(3)}
for seed, run in dip.fits(long).items():
    print(
        f"seed {seed}: best average {run.oracle_psnr:.1f} dB at iteration {run.oracle_at}, "
        f"last {dip.psnr(run.average, small.truth):.1f} dB"
    )
    assert dip.psnr(run.average, small.truth) < run.oracle_psnr - 0.3

# %% [markdown]
# ## 3 · "Fifty times faster"
#
# *A sample answer.* Four things differ besides the method, and I would take them away one by one.
#
# 1. *The machine* (cheapest: nothing new is to be fitted). Run the deep image prior's code on the same GPU, or theirs on the CPU. In `benchmarks/RESULTS.md`, an iteration of the published recipe takes 0.9 s on
#    two cores at 256x256 pixels, and 16 ms on a large GPU at 512x512, four times the pixels: the machine alone may be more than the fifty.
# 2. *The quality.* Note when the deep image prior's average is 0.4 dB below its best: on F16 that is hundreds of iterations before the end. Compare the times to *that* quality.
# 3. *The iterations.* 3,000 is the number in the public code, and no property of the method: stop by a rule.
# 4. *The image.* It was used to choose the method's settings. Run both on several images that were not, with several seeds, and give the spread.
#
# And a baseline that is neither of the two: how long does BM3D take to that quality?
#
# ## 4 · Your own recipe
#
# Attack the iterations: input noise is what makes the fit slow *and* what keeps it from turning early.
# With half of the noise and twice the learning rate, 120 iterations come within a few tenths of a decibel of what
# the lab recipe reaches later. The truth of this one image chose the 120: another image needs a rule again. (One network instead of two saves nothing where
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
