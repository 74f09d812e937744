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
# # 01 · Motivation: a prior that nobody trained
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/01_motivation.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/01_motivation.ipynb)
#
# **When you are through, you will be able to**
#
# - say why restoring an image needs a *prior*, and name three kinds: hand-made, learned, structural;
# - restore a noisy photograph with a network that has never seen another image, in three lines;
# - read the two curves of such a fit, the energy and the PSNR, and say why they disagree;
# - say what this method promises, and what it does not.
#
# **Time:** about three minutes of computing on two cores; allow as much time as you like for the
# exercises.
# **Needs:** a little Python and linear algebra. Nothing is learned from other images, no GPU is used,
# and nothing is downloaded.
# **Words and symbols:** [glossary](glossary.md).

# %%
import sys

if "google.colab" in sys.modules:  # Colab brings torch; only the course itself is missing there
    import subprocess

    address = "diplearn[compare] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

import torch

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import curves, pick
from diplearn.figures import contact_sheet
from diplearn.widgets import compare, scrub, watch

# %% [markdown]
# ## 1 · The challenge
#
# Here is a photograph. Its sensor was starved of light, and every number in it is off by a random
# amount: Gaussian noise with a standard deviation of σ = 25 on the scale of 0 to 255.

# %%
clean = dip.images.load("chelsea", size=256)  # kept aside: only to measure against
problem = dip.denoising(clean, sigma=25 / 255, seed=0)
x0 = problem.observation

contact_sheet({"x₀, all we have": x0}, width=3.5, alt="A cat's face under strong colour noise")

# %% [markdown]
# **Your task:** give back the photograph without the noise. You have this one image. There is no
# second exposure, no clean version, no collection of other cats to learn from.
#
# Because this is a lesson, we do know the clean image `clean`. It is used for one thing only: to
# *measure* what comes out. No method below ever sees it.
#
# ### Explaining the observation is not enough
#
# Call the clean image $x$. We know how the observation came about,
#
# $$x_0 = x + n, \qquad n \sim \mathcal N(0, \sigma^2),$$
#
# so a first idea is to look for an image that *explains* $x_0$ well. The **data term**
#
# $$E(x; x_0) = \tfrac1N \lVert x - x_0 \rVert^2$$
#
# measures how badly it does; $N$ counts the numbers in the image. Let us hold three candidates
# against it.
#
# > **Predict.** One candidate is the truth itself, one is the noisy image, and one is the noisy
# > image with a *second* helping of noise. Which has the lowest energy? Can the energy tell the
# > first from the last?

# %%
from diplearn.energy import data_term

other_noise = dip.degrade.gaussian_noise(torch.zeros_like(x0), 25 / 255, seed=7, clip=False)
candidates = {
    "the truth": clean,
    "the observation": x0,
    "twice as noisy": (x0 + other_noise).clamp(0, 1),
}
energies = {name: f"E = {data_term(x, problem):.4f}" for name, x in candidates.items()}
contact_sheet(candidates, captions=energies, alt="Truth, observation, and a noisier image")

# %% [markdown]
# The lowest energy, zero, belongs to the noisy image: it explains itself perfectly. The truth and
# the doubly noisy image lie at the same distance from $x_0$, one as good as the other. The data
# term alone knows nothing about what images look like.

# %%
assert data_term(x0, problem) == 0
ratio = data_term(candidates["twice as noisy"], problem) / data_term(clean, problem)
assert 0.8 < ratio < 1.25  # equally good explanations, although the eye sees at once which is which

# %% [markdown]
# ## 2 · What a prior is
#
# Something has to say "but *this* is what images look like". That something is the **prior**. In
# Bayes' words, among all images that could have led to $x_0$ we want the most probable one,
#
# $$x^* = \arg\max_x\; p(x_0 \mid x)\, p(x)
#        \quad\Longleftrightarrow\quad
#   x^* = \arg\min_x\; E(x; x_0) + R(x), \tag{1}$$
#
# where taking minus the logarithm has turned the likelihood into the data term and the prior $p(x)$
# into a **regulariser** $R(x)$: a price on whatever does not look like an image. (Constant terms are left
# out, and a constant factor is put into $R$; lesson 02 does it with care.) Everything hinges on $R$. There are
# three ways to come by one.
#
# | kind of prior | where it comes from | examples | what it costs |
# |---|---|---|---|
# | **hand-made** | somebody thinks about images and writes down a formula | total variation, wavelets, non-local means, BM3D | decades of thought; each formula knows one thing |
# | **learned** | a network sees a million clean and noisy pairs | DnCNN, diffusion models | the million pairs; and it may paint in what *they* looked like |
# | **structural** | the *architecture* of an untrained network | the deep image prior, this course | time: every image is a fit of its own |
#
# Total variation is a good example of the first kind. It adds up how much neighbouring pixels
# differ, $R(x) = \sum \lVert \nabla x \rVert$, and so prefers flat regions with sharp borders. That
# is *one* true thing about images. A cat has fur.
#
# Until 2018 most people would have said that what a convolutional network knows about images, it
# has learned from images. Ulyanov, Vedaldi and Lempitsky asked what is left if you take the
# learning away.
#
# ### Noise in, structure out
#
# A **convolution** makes each of its output's pixels from a small neighbourhood of the input, as a weighted
# sum with the same weights, the *filter*, everywhere. Take an hourglass-shaped network: convolutions that
# halve the image five times and bring it up again. Give it random weights θ. Feed it noise $z$. It has seen
# nothing, ever.
#
# > **Predict.** What do its outputs look like: like noise, like a uniform grey, or like something
# > else?


# %%
def stretched(image):
    """Spread the values over [0, 1], to see a faint image."""
    return (image - image.min()) / (image.max() - image.min())


untrained = {"random pixels": torch.rand(3, 256, 256)}
for seed in range(3):
    first = next(dip.iterate(problem, seed=seed))  # the output before any step was made
    untrained[f"random network {seed}"] = stretched(first.output)
contact_sheet(untrained, alt="Random pixels are grain; random networks make clouds and blobs")

# %% [markdown]
# Random *pixels* look like nothing. Random *networks* look like something: neighbouring pixels agree, and there
# are blobs at several scales. This is a texture, not yet an image, but nobody asked for it. It comes from how
# the networks are built: small filters shared over the whole image, coarse levels that are brought up and
# refined by finer ones.
#
# ## 3 · The idea
#
# So write the image as the output of such a network, $x = f_\theta(z)$, keep its random input $z$
# fixed, and look for the weights instead of the pixels:
#
# $$\theta^* = \arg\min_\theta\; E\big(f_\theta(z);\, x_0\big), \qquad x^* = f_{\theta^*}(z). \tag{2}$$
#
# Compare this with (1). $R$ is gone. Nothing asks for smoothness, nothing has been learned; the
# only training image is the noisy one itself, and the only instruction is to reproduce it, noise
# and all. If that sounds as if it could not possibly work, you are in good company.
#
# ### Count before you believe

# %%
network = dip.networks.build("hourglass", 32, problem.shape, **dip.lab().options)
parameters = dip.networks.parameter_count(network)
print(f"{parameters:,} parameters for an image of {x0.numel():,} numbers")
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# There are about two parameters for every number in the image (and `fit` trains two such networks and
# shows the mean of their outputs; lesson 09 says why). The published network has six times as many
# again. It is no bottleneck: such a network *can* reproduce any image, noise
# included. If it nevertheless finds the cat first, the reason must lie in the order in which it
# finds things.
#
# ## 4 · A first fit
#
# > **Predict.** We minimise the distance to the *noisy* image, step by step. Sketch two curves
# > over the iterations: the energy, and the PSNR against the clean image (how *right* the result
# > is, in decibels; more is better). Will they be mirror images?

# %%
run = dip.fit(problem, seed=0)
run

# %% [markdown]
# That was all of it. Below is the same fit as a film strip. Each frame is the network's output at
# one iteration; the last is what `fit` returns, a moving average of the latest outputs.

# %%
frames = pick(run.snapshots, 9)
frames["run.output"] = run.output
contact_sheet(
    frames, columns=5, alt="From a blur over a recognisable cat to fine fur without noise"
)

# %% [markdown]
# **Explain.** First comes a smear of the mean colour, then the large shapes, then eyes, then
# whiskers and fur. Each frame is *smoother than the noisy image that it was told to imitate*. The
# authors call this **impedance**: what looks like an image meets low impedance and passes quickly
# through the network into the weights; noise meets high impedance and comes late. A convolutional network, it
# seems, **speaks a language in which images are short sentences and noise is a long one.**

# %% [markdown]
# Now with your own hand. Move the slider, or press ▶, and find the iteration at which the whiskers come.
# (Drag over an image to look closer. On a page without JavaScript you see a still.)

# %%
scrub(run, frames=20)

# %%
curves(
    run, floor=problem.sigma**2, alt="The energy falls to the noise's; the PSNR rises ever slower"
)

# %% [markdown]
# Mirror images? Nearly, as long as the network learns the cat. In the last third of the fit the energy still falls
# while the single iterates (thin) get worse. The dotted line on the left is σ², what the noise alone amounts to:
# the energy $E$ of the truth in section 1, but for what clipping takes away. About there the network has
# explained the cat and hardly any of the noise. `fit` went on a little to be sure, stopped by itself, and gave
# back the image from before ("stopped by sure", it said; lesson 08 explains). That image is an average
# (thick) of the latest iterates: fresh noise is added to $z$ in each iteration, so that they all err a little
# differently, and their mean is closer to the truth than any of them.

# %%
noisy_psnr = dip.psnr(x0, clean)
print(f"noisy {noisy_psnr:.1f} dB, restored {run.psnr:.1f} dB, in {run.seconds:.0f} s")
assert run.psnr > noisy_psnr + 7  # no training set, no clean image, no formula for cats
assert run.history.psnr.idxmax() < 0.8 * run.stopped_at  # the single iterates turn before the end

# %% [markdown]
# ## 5 · Against what you would use otherwise
#
# A gain over the noise is easy. The question is what a good engineer would have done with the tools
# at hand. `scikit-image` has three classics; BM3D is the hand-made denoiser that everybody compares with; and
# NL-Ridge, a younger relative of BM3D, comes with this package. Look at the images before you look at the
# numbers: at the whiskers, the fur on the forehead, the light in the eye.

# %% tags=["figure:01_denoising"]
images, table = dip.baselines.compare(problem)
shown = {"noisy": x0, **images, "deep image prior": run.output, "truth": clean}
captions = {name: f"{dip.psnr(p, clean):.2f} dB" for name, p in shown.items() if name != "truth"}
contact_sheet(shown, columns=4, captions=captions, alt="Six restorations beside the truth")

# %%
compare(images["BM3D"], run.output, names=("BM3D", "deep image prior"))

# %%
table.loc["deep image prior"] = [run.seconds, run.psnr, dip.ssim(run.output, clean)]
table.sort_values("psnr").style.format({"seconds": "{:.1f}", "psnr": "{:.2f}", "ssim": "{:.3f}"})

# %% [markdown]
# (`ssim` compares local brightness, contrast and structure; it is at most 1.)
#
# Total variation has melted the fur into patches and swallowed most of the whiskers. Wavelets left little blocks.
# Non-local means is clean, and has ironed the coat. The deep image prior keeps more of the fur than these three; it
# too has lost the finest whiskers and hairs, which BM3D and NL-Ridge keep.
#
# And be fair: BM3D and NL-Ridge are about 1.3 dB ahead, in a fraction of the time. Decades of thought
# about noise went into them. The network had none of that thought, only its shape. **The point is not that
# it wins. The point is that it plays at all.** (Lesson 04 ends by mixing the network with NL-Ridge.) And
# unlike BM3D, which was built for Gaussian noise,
# equation (2) does not care what was done to the image: put another operator into the data term
# and the same few lines fill holes (lesson 06) or raise the resolution (lesson 05).

# %%
assert run.psnr > table.loc["total variation", "psnr"]
assert table.loc[["BM3D", "NL-Ridge"], "psnr"].min() > run.psnr + 0.8
assert table.loc["BM3D", "seconds"] < run.seconds  # the prior is slow, and we say so

# %% [markdown]
# ### How much of this is luck?
#
# The weights and $z$ are random. Before two numbers are compared, one should know how far they move
# when nothing but the seed changes. Three seeds on a smaller image, to save time:

# %%
small = dip.denoising(dip.images.load("chelsea", size=96), sigma=25 / 255, seed=0)
scores = torch.tensor([dip.fit(small, seed=s, progress=False).psnr for s in range(3)])
print(f"{scores.mean():.2f} ± {scores.std():.2f} dB over three seeds")
assert scores.std() < 0.5

# %% [markdown]
# So a difference of a tenth of a decibel between two fits means nothing here; the one to BM3D is many times the
# spread. Comparisons in this course come with their spread.
#
# ## 6 · The catch
#
# The network *can* reproduce the noise (section 3). What if we simply go on? We take the small
# image, switch off everything that slows overfitting down (the input noise), and let it run.
#
# > **Predict.** The energy keeps falling. What does the PSNR do?

# %%
greedy = dip.lab("denoising", input_noise=0, iterations=240)
overfitted = dip.fit(small, greedy, stop="count", seed=0)
curves(overfitted, marks={"best": overfitted.oracle_at}, alt="Energy falls; PSNR peaks, then falls")

# %%
strip = pick(overfitted.snapshots, 6)
strip["truth"] = small.truth
contact_sheet(strip, columns=7, alt="The cat appears, and then sinks back into the noise")

# %% [markdown]
# **Explain.** On the left nothing happens that would warn you: the energy just falls; its gentle bend is seen only
# afterwards, and with logarithmic axes. On the right the PSNR climbs, passes a best iterate, and comes down again as the weights begin to find room for
# the noise. Both ends of this film are useless; the image we want lies *on the way*.
#
# Where? The dashed line was drawn with the truth at hand, which is why the package calls it
# `oracle`. In practice nobody knows the truth. Because we knew how strong the noise was, `fit` could
# stop near the right place in section 4; what to do when you do not is the subject of lesson 08.

# %% [markdown]
# **Try it.** Press Start, and Stop when you like the image best. Then raise the iteration count and
# press Start again: the same fit goes on, into the noise. (`panel.run` is then your run.)

# %%
panel = watch(small, greedy, iterations=100)
panel

# %%
history = overfitted.history
assert history.loss.iloc[-1] < history.loss[overfitted.oracle_at]  # explains x₀ better, and yet
assert history.psnr_average.iloc[-1] < overfitted.oracle_psnr - 0.5  # it is further from the truth

# %% [markdown]
# ## 7 · What is promised, and what is not
#
# **Promised.** One method for many tasks: only the data term changes. No training set, so nothing
# leaks in from other people's images, and it works where no training set can exist: a microscope
# nobody else has, a single old photograph. It is a control experiment as well: what a trained
# network achieves *beyond* this is what it has really learned.
#
# **Not promised.**
#
# - *Speed.* Every image is a fit of its own. The published settings take half an hour for this
#   image on two cores; the `lab` recipe that you used takes less than a minute (lesson 09).
# - *The best number.* Trained networks are ahead wherever there is training data like yours, and
#   BM3D is hard to beat on Gaussian noise.
# - *Knowing when to stop*, if you know nothing about the noise. You saw the price (lesson 08).
# - *New knowledge.* Behind a large hole the network continues what surrounds it; it cannot know that
#   there was a face (lesson 06).
# - *Texture.* Whatever looks like noise to the network, fine sand or a grainy fabric, is treated
#   like noise (lesson 04).
#
# ## What to take away
#
# 1. The data term cannot tell an image from noise; a **prior** must.
# 2. The *structure* of a convolutional network is one: natural images pass with low impedance,
#    noise with high impedance.
# 3. The deep image prior fits an untrained network to **one** degraded image and **stops on the
#    way**.
# 4. It needs no data and no formula, only time; and somebody who says when to stop.
#
# ## Exercises
#
# Put your answer in the place of `None`; the check says whether it is right, or gives a hint.
# Worked answers: [solutions/01_motivation.ipynb](solutions/01_motivation.ipynb).
#
# **1. The yardstick.** Write `psnr(image, truth)` with torch: $10 \log_{10}(1 / \text{MSE})$ for
# images in [0, 1].

# %%
my_psnr = None

check.psnr_function(my_psnr)

# %% [markdown]
# **2. No bottleneck.** How many parameters does the *published* network have for each number of our
# image `x0`? (`dip.networks.Hourglass()` is that network.)

# %%
published = dip.networks.Hourglass()
my_ratio = None

check.numbers_per_parameter(my_ratio, published, x0)

# %% [markdown]
# **3. No network.** What if every *pixel* is a parameter of its own? First say what the best PSNR on
# the way will be, and why. Then fit `small` for 300 iterations (`iterations=300`: who asks for a
# number gets it, no rule stops earlier) with the recipe
# `dip.lab(network="pixels", learning_rate=0.02)`, and draw its `curves`.

# %%
my_run = None

check.no_prior(my_run)

# %% [markdown]
# **4. Your own structure.** Write an `nn.Module` that maps `(1, 32, H, W)` to `(1, 3, H, W)`, ends
# in a sigmoid, and gains at least 1 dB on `small`. Five layers are enough. What happens with 1×1
# filters only?

# %%
my_fit = None  # dip.fit(small, network=...)

check.own_network(my_fit)

# %% [markdown]
# **5. Your own photograph.** No check here, and no truth either: `dip.images.read("photo.jpg",
# longest=512)` gives an image, `dip.Problem(image)` a problem, `dip.fit` a run, and
# `dip.images.write(run.output, "restored.png")` keeps it. `run.psnr` will refuse; read why.
#
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision
#   128 (2020) 1867–1888. [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
#   First at CVPR 2018, [doi:10.1109/CVPR.2018.00984](https://doi.org/10.1109/CVPR.2018.00984).
# - L. Rudin, S. Osher, E. Fatemi, *Nonlinear total variation based noise removal algorithms*, Physica D
#   60 (1992). [doi:10.1016/0167-2789(92)90242-F](https://doi.org/10.1016/0167-2789(92)90242-F).
# - A. Buades, B. Coll, J.-M. Morel, *A non-local algorithm for image denoising*, CVPR 2005.
#   [doi:10.1109/CVPR.2005.38](https://doi.org/10.1109/CVPR.2005.38).
# - K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, *Image denoising by sparse 3-D transform-domain
#   collaborative filtering*, IEEE Transactions on Image Processing 16 (2007).
#   [doi:10.1109/TIP.2007.901238](https://doi.org/10.1109/TIP.2007.901238).
# - K. Zhang et al., *Beyond a Gaussian denoiser: residual learning of deep CNN for image denoising*
#   (DnCNN), IEEE Transactions on Image Processing 26 (2017).
#   [doi:10.1109/TIP.2017.2662206](https://doi.org/10.1109/TIP.2017.2662206).
