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
# - say why restoring an image needs a *prior*, and place a method on a map of priors;
# - restore a noisy photograph with a network that has never seen another image, in three lines;
# - read the two curves of such a fit, energy and PSNR;
# - say what this method promises, and what it does not.
#
# **Computing:** about two minutes on two cores. **Study:** about 65 minutes, exercises included.
#
# **Needs:** a little Python; vectors and matrices. Of [PyTorch](https://pytorch.org/tutorials/beginner/basics/intro.html) three
# things: a *tensor* is an array, here an image (channels, height, width); an `nn.Module` is a function with
# weights; `backward()` computes how a result changes with each weight, and an *optimiser* then changes them. No GPU, no download.
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
import torch

import diplearn as dip
from diplearn.course import check, data, drawings
from diplearn.course.show import reveal, show
from diplearn.energy import data_term
from diplearn.figures import contact_sheet
from diplearn.widgets import compare, scrub, watch

# %% [markdown]
# ## 1 · The challenge
#
# To every number of this photograph we have added Gaussian noise, with a standard deviation of σ = 25 on the scale of 0 to 255.

# %%
clean = dip.images.load("chelsea", size=192)  # kept aside: only to measure against
problem = dip.denoising(clean, sigma=25 / 255, seed=0)
x0 = problem.observation

show(contact_sheet({"x₀, all we have": x0}, width=3.5), text="01 observation")

# %% [markdown]
# **Your task:** give back the photograph without the noise. You have this one image: no
# second exposure, no clean version, no other cats to learn from. (The clean image, the *truth*, serves only to
# *measure* what comes out. No method below ever sees it.)
#
# We know how the observation came about from the clean image $x$,
#
# $$x_0 = x + n, \qquad n \sim \mathcal N(0, \sigma^2),$$
#
# so a first idea is to look for an image that *explains* $x_0$ well. The **data term**, or **energy**,
#
# $$E(x; x_0) = \tfrac1N \lVert x - x_0 \rVert^2$$
#
# measures how badly an image $x$ explains $x_0$, by the mean squared difference over the image's $N$ numbers.
#
# > **Predict.** One candidate is the truth, one is the noisy image, and one is the noisy
# > image with a *second* helping of noise. Which has the lowest energy? Can the energy tell the
# > first from the last?

# %%
other_noise = dip.degrade.gaussian_noise(torch.zeros_like(x0), 25 / 255, seed=7, clip=False)
candidates = {
    "the truth": clean,
    "the observation": x0,
    "noise added twice": (x0 + other_noise).clamp(0, 1),
}
energies = {name: data_term(x, problem).item() for name, x in candidates.items()}
captions = {name: f"E = {energy:.4f}" for name, energy in energies.items()}
reveal(contact_sheet(candidates, captions=captions, width=7), text="01 candidates")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The noisy image explains itself perfectly. The other two differ from $x_0$ by one helping of noise each, so their energies are nearly
# equal, about σ². The data term alone knows nothing about what images look like.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert energies["the observation"] == 0
assert 0.8 < energies["noise added twice"] / energies["the truth"] < 1.25

# %% [markdown]
# ## 2 · What a prior is
#
# Something has to say "but *this* is what images look like": the **prior**, a probability $p(x)$ of
# images before any observation. By Bayes' rule, the most probable image that could have led to $x_0$ is
#
# $$x^* = \arg\max_x\; p(x_0 \mid x)\, p(x)
#        \quad\Longleftrightarrow\quad
#   x^* = \arg\min_x\; E(x; x_0) + R(x). \tag{1}$$
#
# With minus the logarithm, times $2\sigma^2/N$, the likelihood $p(x_0 \mid x)$ becomes the data term (plus a constant), and
# the prior a **regulariser** $R(x) = -\tfrac{2\sigma^2}{N} \log p(x)$, a price on whatever does not look like an image. Three kinds:
#
# | prior | comes from | needs |
# |---|---|---|
# | **hand-made** | a formula | no data, much thought |
# | **learned** | a network, trained once on other images | many images like yours |
# | **structural** | an untrained network's *architecture* | a fit for every image |
#
# *Total variation* is hand-made: $R(x) = \sum \lVert \nabla x \rVert$ adds up how much neighbouring pixels
# differ, and so prefers flat regions with sharp borders. That is *one* true thing about images. A cat has fur.
#
# Learned priors differ:
#
# - **DnCNN** removes noise. It is trained on pairs of clean and noisy images.
# - **Plug-and-play** uses any denoiser as a prior: steps that lower $E$ alternate with calls of the denoiser. For another *operator* (what was
#   done to the image: blur, holes), only $E$ changes.
# - **Diffusion posterior sampling**: a diffusion model, trained once on very many clean images, turns noise into
#   an image step by step, each corrected towards $x_0$. What it fills in resembles its training images.
# - **Noise2Noise** is trained on pairs of *noisy* exposures; **Noise2Void** on single ones, by predicting each pixel from its neighbours: noise
#   that is independent from pixel to pixel cannot be predicted.
# - **Self2Self** and **zero-shot Noise2Noise** do the same within the *one* noisy image: they predict random hidden pixels, or one half
#   of the pixels from the other.

# %% tags=["folded"]
# What the drawings need
import torch.nn.functional as F
from matplotlib.patches import FancyBboxPatch

from diplearn.course.figures import pick
from diplearn.figures import BLUE, COLOURS, GREEN, GREY, ORANGE, Figure

# %% tags=["folded"]
# Words of the map of priors: what each is made from; one task, any operator
rows = {
    "no data:\na formula": (
        "wavelets, non-local\nmeans, BM3D, NL-Ridge",
        "total variation;\nplug-and-play with BM3D",
    ),
    "only the one\ndegraded image": ("Self2Self, zero-shot\nNoise2Noise", "deep image prior"),
    "many noisy\nimages": (
        "Noise2Void;\nNoise2Noise (pairs)",
        "plug-and-play with\nsuch a denoiser",
    ),
    "many clean\nimages": ("DnCNN", "plug-and-play with DnCNN;\ndiffusion posterior\nsampling"),
}
heads = ("one task,\nhere: denoising", "any operator:\nnoise, blur, holes, ...")
fills = ("#ececec", "#f8dccb", "#cfe3f1", "#cfe3f1")

# %% tags=["folded"]
# Draw the map of priors
figure = Figure(figsize=(7.4, 4.8))
axis = figure.subplots()
for row, (needs, cells) in enumerate(rows.items()):
    axis.text(-0.06, -row, needs, ha="right", va="center", fontsize=12.5)
    for x, words in zip((0, 1.06), cells):
        box = FancyBboxPatch((x, -row - 0.4), 1, 0.8, "round,pad=0,rounding_size=0.07")
        ours = words == "deep image prior"
        box.set(facecolor=fills[row], edgecolor=ORANGE if ours else "0.6", lw=3 if ours else 1)
        axis.add_patch(box)
        axis.text(x + 0.5, -row, words, ha="center", va="center", fontsize=12)

# %% tags=["folded"]
# Label the map, and show it
for x, words in zip((-0.06, 0.5, 1.56), ("made from", *heads)):
    align = "right" if x < 0 else "center"
    axis.text(x, 0.52, words, ha=align, va="bottom", fontsize=12.5, weight="bold")
axis.set(xlim=(-0.62, 2.08), ylim=(-3.45, 1.0))
axis.set_axis_off()
show(figure, text="01 map")

# %% [markdown]
# Until 2018 most people would have said that a convolutional network knows about images only what it
# has learned from them. Ulyanov, Vedaldi and Lempitsky took the learning away.
#
# ### A network before any training
#
# A [**convolution**](https://d2l.ai/chapter_convolutional-neural-networks/conv-layer.html) makes each pixel of its output from a small
# neighbourhood of the input, as a weighted sum. The weights, together called a *filter*, are the same everywhere.

# %%
show(drawings.convolution(), text="01 convolution")

# %% [markdown]
# A convolutional network applies many filters, layer after layer, with a nonlinear function in between. An *hourglass* halves the image five times, and
# doubles it five times again. Take
# the published hourglass with random weights θ, and feed it random numbers $z$.
#
# > **Predict.** What do its outputs look like: like random pixels, like an even grey, like blurred random pixels, or like something else?


# %%
def untrained(options, seed):
    """Return what a network with random weights makes of random numbers."""
    torch.manual_seed(seed)
    network = dip.networks.Hourglass(**options)
    return network(0.1 * torch.rand(1, 32, 192, 192))[0].detach()


published = {}  # the settings of the published network are the defaults
drawn = {f"network, seed {seed}": untrained(published, seed) for seed in range(3)}

# %% tags=["folded"]
# Make pictures to compare with
torch.manual_seed(0)
grain = torch.rand(3, 192, 192)
layers = [torch.randn(1, 3, 192 >> k, 192 >> k) for k in range(6)]
layers = [F.interpolate(each, size=(192, 192), mode="bilinear")[0] for each in layers]
others = {
    "random pixels": grain,
    "blurred once": dip.operators.Blur(4)(grain),
    "six blurs, added": sum(1.2**k * each / each.std() for k, each in enumerate(layers)),
    "network of section 4": untrained(dip.lab().options, seed=0),
}


# %% tags=["folded"]
# Stretch the contrast of the pictures, and measure them
def stretched(image):
    low, high = image.flatten().quantile(torch.tensor([0.01, 0.99]))
    return ((image - low) / (high - low)).clamp(0, 1)


def left(image, block):  # the share of the variance that is left in the means of blocks
    image = image - image.mean((1, 2), keepdim=True)
    return float(F.avg_pool2d(image[None], block).square().mean() / image.square().mean())


pictures = {name: stretched(image) for name, image in {**others, **drawn}.items()}
sheet = contact_sheet(pictures | {"a photograph": clean}, columns=4, width=7)

# %% tags=["folded"]
# Draw the measurements
figure = Figure(figsize=(7, 3.6))
axis, blocks = figure.subplots(), [1, 2, 4, 8, 16, 32]
looks = zip(("black", GREY, GREEN, COLOURS[3], GREY), ("-", ":", "-.", "--", "-"))
for (name, image), (colour, style) in zip({"a photograph": clean, **others}.items(), looks):
    values = [100 * left(image, block) for block in blocks]
    axis.semilogx(blocks, values, style, color=colour, lw=2, label=name)
for seed, image in enumerate(drawn.values()):
    label = "_" if seed else "network, three seeds"
    axis.plot(
        blocks, [100 * left(image, block) for block in blocks], color=ORANGE, lw=2, label=label
    )
axis.set_xticks(blocks, [f"{block}x{block}" for block in blocks])
axis.minorticks_off()

# %% tags=["folded"]
# Label the drawing, and show all
axis.set(xlabel="averaged over blocks of ... pixels", ylabel="% of the variance left")
axis.grid(alpha=0.25)
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False, fontsize=10, loc="center left", bbox_to_anchor=(1, 0.5))
reveal(sheet, figure, text="01 random")

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Random *networks* draw coloured blobs of many sizes. The curves average each picture over larger and larger blocks: random
# pixels cancel at once, a single blur survives up to its own width, the networks fade slowly, as the photograph does.
#
# **Is it just blur?** Not a single one. But six blurs of different widths, added up, look similar, and an untrained
# hourglass does much the same: each level blurs what comes from below. Fitted, it can do more (lesson 03).
#
# **Is this picture the prior?** Only a hint. Section 4's network gives more weight to *skips*, connections that carry $z$ past the
# levels. It starts from grain, and will restore the cat all the same. What matters is not where a network starts but what it *reaches easily*.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
for image in drawn.values():
    assert 0.4 < left(image, 16) < 0.9 and left(image, 2) > 0.8
    assert left(image, 32) > 1.5 * left(others["blurred once"], 32)
assert left(others["random pixels"], 2) < 0.3 and left(others["network of section 4"], 16) < 0.2
assert left(others["six blurs, added"], 16) > 0.4

# %% [markdown]
# ## 3 · The idea
#
# Write the image as the output of such a network, $x = f_\theta(z)$, keep its random input $z$
# fixed, and search for the weights instead of the pixels:
#
# $$\theta^* = \arg\min_\theta\; E\big(f_\theta(z);\, x_0\big), \qquad x^* = f_{\theta^*}(z). \tag{2}$$

# %%
show(drawings.loop(), text="01 loop")

# %% [markdown]
# The weights are found by [**gradient descent**](https://en.wikipedia.org/wiki/Gradient_descent): compute how the energy changes with
# each weight (the gradient), and change every weight a little against it. Each repetition is an *iteration*, and its output
# an *iterate*. The network ends in a [**sigmoid**](https://en.wikipedia.org/wiki/Sigmoid_function), the S-shaped function
# $1/(1+e^{-a})$, which brings every number into the range from 0 to 1.
#
# Compare (2) with (1): $R$ is gone. Nothing asks for smoothness, nothing was learned from other images. The
# only instruction is to reproduce the noisy image, noise
# and all. If that sounds as if it could not possibly work, you are in good company.

# %%
network = dip.networks.build("hourglass", 32, problem.shape, **dip.lab().options)
parameters = dip.networks.parameter_count(network)
print(f"{parameters:,} weights for an image of {x0.numel():,} numbers")
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# So the network has room for the noise, too. If something good
# comes out nevertheless, the reason must lie in the *order* in which the network finds things.
#
# ## 4 · A first fit
#
# To see that order, we fit equation (2) alone, to a small version of the photograph. Network, optimiser (Muon, a refined gradient descent:
# lesson 09) and start (the mean colour of $x_0$) are those of the course's recipe `lab`; the rest is
# off until section 5.
#
# The **PSNR**, $10 \log_{10}(1 / \text{mean squared error})$ in decibels, measures how close an image is to the truth: 10 dB more
# are a tenth of the squared error.
#
# > **Predict.** We minimise the distance to the *noisy* image for 300 iterations. Sketch two curves over the iterations: the
# > energy, and the PSNR. Is one the mirror image of the other? Which iterate is closest to the truth?

# %%
small = dip.denoising(dip.images.load("chelsea", size=96), sigma=25 / 255, seed=0)
bare = dip.lab(
    iterations=300, stop="count", members=1, input_noise=0, average_window=None, average=0
)
runs = dip.fits(
    {s: {"problem": small, "recipe": bare, "seed": s} for s in range(3)}, progress=False
)
first = runs[0]

# %% tags=["folded"]
# Draw the curves of the three fits
figure = Figure(figsize=(8, 3.4))
how, close = figure.subplots(1, 2)
for seed, run in runs.items():
    history, width = run.history, 0.8 if seed else 2.2
    how.loglog(history.index, history.loss, color=BLUE, lw=width)
    close.semilogx(history.index, history.psnr, color=BLUE, lw=width)
    close.plot(run.oracle_at, run.oracle_psnr, "o", color=ORANGE, ms=5 if seed else 8)
noisy = dip.psnr(small.observation, small.truth)
how.axhline(small.sigma**2, color=GREY, ls=":", lw=1.5)
how.text(1, 0.93 * small.sigma**2, "σ²: the noise alone", va="top", color="0.3")
close.axhline(noisy, color=GREY, ls=":", lw=1.5)
_ = close.text(300, noisy - 0.2, "the noisy image", ha="right", va="top", color="0.3")

# %% tags=["folded"]
# Label the curves, and choose some iterates
best, end = first.oracle_at, first.stopped_at
close.text(best, first.oracle_psnr + 0.4, f"best: iteration {best}", ha="center", color=ORANGE)
how.set(xlabel="iteration", ylabel="energy E", title="how well x₀ is explained")
close.set(xlabel="iteration", ylabel="PSNR in dB", title="how close to the truth")
close.margins(y=0.12)
for axis in (how, close):
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
kept = {int(name.split()[1]): image for name, image in pick(first.snapshots, 5).items()}
strip, scores = {}, {}
for k, image in sorted({**kept, best: first.oracle}.items()):
    name = f"iteration {k}, the best" if k == best else f"iteration {k}"
    strip[name], scores[name] = image, f"{first.history.psnr[k]:.1f} dB"

# %% tags=["folded"]
# Show curves and iterates
strip |= {"x₀, what it imitates": small.observation, "the truth": small.truth}
scores["x₀, what it imitates"] = f"{noisy:.1f} dB"
sheet = contact_sheet(strip, columns=4, captions=scores, width=7)


def best_blur(problem):  # its PSNR, with the width that is best according to the truth
    blurs = (dip.operators.Blur(width / 10)(problem.observation) for width in range(4, 20))
    return max(dip.psnr(blurred, problem.truth) for blurred in blurs)


numbers = {"last": first.history.psnr[end], "noisy": noisy, "blur": best_blur(small)}
reveal(figure, sheet, text="01 first", best=best, top=first.oracle_psnr, **numbers)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# After the grain of the start come large shapes, then eyes, then the stripes of the coat, each iterate up to the best *smoother than
# the noisy image that it was told to imitate*. The authors call this **impedance**: what looks like an image meets low
# impedance and passes quickly into the weights; noise meets high impedance and comes late. A
# convolutional network, it seems, **speaks a language in which images are short sentences and noise is a long one.**
#
# A plain blur does as well, in decibels, if the truth chooses its width (section 5 beats it). But nobody told the network to blur.
#
# Then comes the catch. The energy goes on falling; the PSNR turns, as the weights begin to
# explain the noise: **overfitting**. The curves are mirror images only while the network learns the cat. Both ends of this
# film are useless, and the image we want lies *in between*, for all three seeds.
#
# Where? The best iterate was found with the truth, which in practice nobody has; the package calls it `oracle`. If the noise
# level is known, the dotted line helps: σ² is the energy of the noise alone, and so of the truth.
#
# </details>

# %%
scrub(first, frames=20)

# %% [markdown]
# Move the slider, or press ▶. With a running kernel, watch the fit happen, and stop it when you like the image.

# %%
panel = watch(small, bare, iterations=100)  # panel.run is your run
panel

# %% tags=["folded"]
# What the text claims, asserted for each seed
for run in runs.values():
    history = run.history
    assert run.oracle_psnr > noisy + 6  # a filter of each pixel's colours alone gains 4.3
    assert abs(run.oracle_psnr - best_blur(small)) < 1
    assert 10 < run.oracle_at < 0.6 * run.stopped_at  # the best iterate is neither end
    assert history.psnr.iloc[-1] < run.oracle_psnr - 2
    assert history.loss.iloc[-1] < 0.6 * history.loss[run.oracle_at]  # E falls all the while
rough = dip.energy.total_variation(small.observation)
for image in (dip.images.from_array(kept[k]) for k in kept if 1 < k <= best):
    assert dip.energy.total_variation(image) < 0.8 * rough  # smoother than x₀

# %% [markdown]
# ## 5 · From a demonstration to a tool
#
# The recipe `lab` adds four things to the fit of section 4:
#
# - **Averaging.** The result is a moving average of the latest iterates: they err partly in different places, so their mean errs less.
# - **Input noise.** A little fresh noise is added to $z$ in each iteration, which slows overfitting down.
# - **Two networks** with different random weights are fitted side by side, and averaged.
# - **A stopping rule**, `sure`. It estimates the error of the average without the truth, from $x_0$ and σ, and returns
#   the image where this estimate was smallest (lesson 08).
#
# With these, the method takes three lines: an image and a problem (section 1), and a fit.

# %%
run = dip.fit(problem, seed=0)  # the recipe is "lab", unless you name another
run

# %% [markdown]
# How much of this is luck? Change nothing but the seed of the fit:

# %%
more = dip.fits({s: {"problem": problem, "seed": s} for s in (1, 2)}, progress=False)
ours = torch.tensor([run.psnr, *(other.psnr for other in more.values())])
noisy_psnr = dip.psnr(x0, clean)
print(f"noisy {noisy_psnr:.1f} dB, the best blur {best_blur(problem):.1f} dB")
print(f"restored {ours.mean():.2f} ± {ours.std():.2f} dB")

# %% tags=["folded"]
# What the text claims, asserted
assert ours.min() > noisy_psnr + 8  # no training set, no clean image, no formula for cats
assert ours.std() < 0.3 and ours.min() > best_blur(problem) + 1
assert run.psnr > run.oracle_psnr - 0.5  # the rule, without the truth, is close to the best

# %% [markdown]
# ## 6 · Against what you would use otherwise
#
# What would a good engineer have done? `scikit-image` has three classics: wavelets, total variation and
# non-local means. BM3D is the one that everybody
# compares with; NL-Ridge, a younger relative, comes with this package. All are told σ. The recipe `guided` is no pure deep prior: it returns a
# weighted mean of the fit and NL-Ridge, with weights estimated without the truth.
#
# > **Predict.** How many decibels below or above the deep image prior will the six others be? In which
# > part of the cat will you see the difference?

# %%
images, table = dip.baselines.compare(problem)
mixed = dip.fit(problem, "guided", seed=0, progress=False)
for name, fitted in {"deep image prior": run, "guided": mixed}.items():
    images[name] = fitted.output
    table.loc[name] = [fitted.seconds, fitted.psnr, dip.ssim(fitted.output, clean)]

# %% tags=["folded"]
# Cut out two details, and show them with the table
order = ["total variation", "non-local means", "BM3D", "NL-Ridge", "deep image prior", "guided"]
shown = {"noisy": x0, **{name: images[name] for name in order if name in images}, "truth": clean}


def crop(x):
    eye, whiskers = x[:, 28:92, 40:104], x[:, 118:182, 6:70]
    return torch.cat([eye, torch.ones(3, 64, 3), whiskers], dim=2)


captions = {name: f"{dip.psnr(x, clean):.2f} dB" for name, x in shown.items() if name != "truth"}
sheet = contact_sheet({n: crop(x) for n, x in shown.items()}, 2, captions, width=7)
formats = {"seconds": "{:.2f}", "psnr": "{:.2f}", "ssim": "{:.3f}"}
styled = table.sort_values("psnr").style.format(formats)
reveal(sheet, styled, text="01 classics", share=mixed.rule.weight)

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# Total variation has melted the fur into patches; non-local means has ironed it. The deep image prior keeps a little more fur than
# these two; it has lost nearly all whiskers, which BM3D and NL-Ridge keep.
#
# And be fair: BM3D and NL-Ridge are more than a decibel ahead, in a fraction of the time, and the mixture adds nothing
# to NL-Ridge here. Decades of thought about noise went into the two; the network had its shape, and σ to know when to stop. **The point is not that it wins. The point is that
# it plays at all.**
#
# </details>

# %%
compare(images["NL-Ridge"], run.output, names=("NL-Ridge", "deep image prior"))

# %% tags=["folded", "figure:01_denoising"]
# Show the whole images
order = ["total variation", "wavelets", "non-local means", "BM3D", "NL-Ridge", "deep image prior"]
shown = {"noisy": x0, **{name: images[name] for name in order if name in images}, "truth": clean}
captions = {name: f"{dip.psnr(x, clean):.2f} dB" for name, x in shown.items() if name != "truth"}
show(contact_sheet(shown, columns=4, captions=captions, width=8), text="01 whole")

# %% tags=["folded"]
# What the text claims, asserted
psnr = table["psnr"]
assert psnr["deep image prior"] > psnr["total variation"]
assert psnr["NL-Ridge"] > ours.max() + 0.5
assert abs(psnr["guided"] - psnr["NL-Ridge"]) < 0.25
assert table.loc["NL-Ridge", "seconds"] < run.seconds  # the prior is slow, and we say so

# %% [markdown]
# ## 7 · At full size
#
# So far we had the middle of a photograph, reduced from 300x300 pixels to 192x192. For the whole, 451x300, each
# fit takes minutes; these are stored results of `benchmarks/full_size.py`.
#
# > **Predict.** Will the deep image prior keep the whiskers, and catch up with NL-Ridge?

# %%
full, scores = data.full_size("denoising")

# %% tags=["folded"]
# Enlarge two places, and show them with the scores
order = ["noisy", "lab", "BM3D", "NL-Ridge", "guided"]
rows = scores.loc[order].drop(columns="seeds").rename(index={"lab": "deep image prior"})


def enlarge(x):
    return torch.cat([x[:, 88:172, 118:202], torch.ones(3, 84, 4), x[:, 190:274, 70:154]], dim=2)


enlarged = dict(zip([*rows.index, "truth"], (enlarge(full[name]) for name in [*order, "truth"])))
captions = {name: f"{psnr:.2f} dB" for name, psnr in rows.psnr.items()}
sheet = contact_sheet(enlarged, 2, captions, width=7)
gaps = scores["psnr"] - scores.psnr["NL-Ridge"]
styled = rows.style.format("{:.2f}", na_rep="").format("{:.3f}", ["ssim", "ssim_std"], na_rep="")
reveal(sheet, styled, text="01 large", ours=gaps["lab"], mixed=gaps["guided"])

# %% [markdown]
# <details><summary><b>Explain</b></summary>
#
# The widest whiskers come through, faint and with gaps; the distance to NL-Ridge is no smaller. What
# is fine and faint comes late, like noise (lesson 04). The mixture leads NL-Ridge by less than the eye can see.
#
# </details>

# %% tags=["folded"]
# What the text claims, asserted
assert gaps["lab"] < psnr["deep image prior"] - psnr["NL-Ridge"] + 0.2
assert gaps["lab"] < -0.8 and 0 < gaps["guided"] < 0.4

# %% [markdown]
# ## 8 · What is promised, and what is not
#
# **Promised.** One method for many tasks: with another
# operator the same lines fill holes (lesson 06) or raise the resolution (lesson 05). No training set: none has to exist, and nothing leaks in
# from other people's images. (Settings of `lab` were tuned on one: lesson 09.) It is a control, too: what a
# trained network of this shape achieves *beyond* it is what that network has learned.
#
# **Not promised.**
#
# - *Speed.* For 256x256 pixels on two cores, the published settings took half an hour, `lab` about a minute (lesson 09).
# - *The best number.* Where training images like yours exist, published comparisons see trained networks ahead (not run here).
# - *Knowing when to stop*, if you know nothing about the noise (lesson 08).
# - *New knowledge.* Behind a large hole it continues the surroundings; it cannot know that there was a face (lesson 06).
# - *Texture.* To this network grass looks like noise, and is treated so (lesson 04).
#
# ## What to take away
#
# 1. The data term cannot tell an image from noise; a **prior** must.
# 2. A prior can be written down, learned, or built into a network's *structure*.
# 3. The deep image prior fits an untrained network to **one** degraded image. The image comes first, noise comes late: the
#    method needs time, and a rule for when to stop.
#
# ## Exercises
#
# Replace `None` and run the cell for a verdict or a hint; double-click *Your answer* to write. Worked
# answers: [solutions/01_motivation.ipynb](solutions/01_motivation.ipynb).
#
# **1. Which prior for which job?** (a) A microscope photographed 400 dishes twice each, with noise. (b) There is one
# photograph of a lost building, with scratches. (c) A museum has 10,000 clean scans of
# maps; the next will come blurred, or with holes. Choose from the map of section 2, and name an assumption that
# would ruin each choice if it were false.
#
# <details><summary>A first hint</summary>
#
# First the row (what data is there?), then the column (one task, or any operator?).
#
# </details>
#
# *Your answer:*
#
# **2. No network.** Somebody says: "More weights than numbers! It overfits from the first step, and the good
# image on the way was luck." Make every *pixel* a weight of its own, with no network. What will the best PSNR be?
# Fit `small` for 300 iterations with `dip.lab(network="pixels", learning_rate=0.02)`. How do this fit and the three seeds of
# section 4 answer that claim?
#
# <details><summary>A first hint</summary>
#
# `dip.fit(small, recipe, iterations=300)`. The energy has one term for each pixel: which other pixels does a pixel know of?
#
# </details>
#
# *Your answer:*

# %%
my_run = None

check.no_prior(my_run)

# %% [markdown]
# **3. Your own structure.** Write an `nn.Module` that maps `(1, 32, H, W)` to `(1, 3, H, W)`, ends
# in a sigmoid, and gains 1 dB on `small`. Five layers are enough. What if all filters are 1x1?
#
# <details><summary>A first hint</summary>
#
# Chain `nn.Conv2d(32, 32, 3, stride=2, padding=1)`, `nn.BatchNorm2d(32)`, `nn.LeakyReLU(0.2)`, `nn.Upsample(scale_factor=2)` with `nn.Sequential`.
#
# </details>

# %%
my_fit = None  # dip.fit(small, dip.Recipe(iterations=300), my_network)

check.own_network(my_fit)

# %% [markdown]
# **4. What does it know about cats?** Turn `small.truth` upside down (`.flip(-2)`), make a problem of it, and fit it with `bare` and three
# seeds. Do the same with the pixels shuffled. What would you expect of a network that was trained on cats, upside down? What do both results say about what *this* network knows?
#
# <details><summary>A first hint</summary>
#
# `truth.flatten(1)[:, torch.randperm(96 * 96)].reshape(3, 96, 96)` shuffles. Compare the gains, `run.oracle_psnr` less the noisy image's PSNR.
#
# </details>
#
# *Your answer:*
#
# ## References
#
# - Deep image prior: Ulyanov et al., [IJCV 2020](https://doi.org/10.1007/s11263-020-01303-4), [CVPR 2018](https://doi.org/10.1109/CVPR.2018.00984)
# - Total variation: Rudin et al., [Physica D 1992](https://doi.org/10.1016/0167-2789(92)90242-F). Wavelets: Chang et al., [TIP 2000](https://doi.org/10.1109/83.862633)
# - Non-local means: Buades et al., [CVPR 2005](https://doi.org/10.1109/CVPR.2005.38). BM3D: Dabov et al., [TIP 2007](https://doi.org/10.1109/TIP.2007.901238). NL-Ridge: Herbreteau & Kervrann, [2025](https://doi.org/10.48550/arXiv.2402.13816)
# - DnCNN: Zhang et al., [TIP 2017](https://doi.org/10.1109/TIP.2017.2662206). Diffusion posterior sampling: Chung et al., [ICLR 2023](https://doi.org/10.48550/arXiv.2209.14687)
# - Plug-and-play: Venkatakrishnan et al., [GlobalSIP 2013](https://doi.org/10.1109/GlobalSIP.2013.6737048), Zhang et al., [TPAMI 2022](https://doi.org/10.1109/TPAMI.2021.3088914); without clean images, Liu et al., [2020](https://doi.org/10.48550/arXiv.1912.05854)
# - Noise2Noise: Lehtinen et al., [ICML 2018](https://doi.org/10.48550/arXiv.1803.04189). Noise2Void: Krull et al., [CVPR 2019](https://doi.org/10.1109/CVPR.2019.00223)
# - Self2Self: Quan et al., [CVPR 2020](https://doi.org/10.1109/CVPR42600.2020.00196). Zero-shot Noise2Noise: Mansour & Heckel, [CVPR 2023](https://doi.org/10.1109/CVPR52729.2023.01347)
