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
# # 06 · Inpainting: filling what is missing
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/06_inpainting.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/06_inpainting.ipynb)
#
# **When you are through, you will be able to**
#
# - fill text, scattered pixels and holes with one data term, and measure the result where it counts;
# - say why nobody has to stop here, and when one has to after all;
# - choose skips and depth for the hole at hand, and say how far a claim about them reaches;
# - see how knowledge travels into a hole, and what it can never bring along.
#
# **Time:** about two and a half minutes of computing on two cores.
# **Needs:** lesson 01; lesson 02 helps. Nothing is downloaded, no GPU is used.
# **Words and symbols:** [glossary](glossary.md).

# %%
import sys

if "google.colab" in sys.modules:  # Colab brings torch; only the course itself is missing there
    import subprocess

    address = "diplearn[compare] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

# %%
import numpy as np
import torch

import diplearn as dip
from diplearn.course import check
from diplearn.figures import COLOURS, Figure, contact_sheet
from diplearn.operators import Mask
from diplearn.widgets import compare, scrub

# %% [markdown]
# ## 1 · The challenge
#
# Somebody has written over a photograph; half of a sensor's pixels are dead; something had to be cut out. In all three
# cases we know *where* the image is missing: a **mask** $m$ holds 1 where a pixel is known and 0 where it is not.

# %%
clean = dip.images.load("coffee", size=128)
masks = {
    "text": Mask.text(128, 128),
    "half of the pixels": Mask.pixels(128, 128, missing=0.5),
    "a hole": Mask.hole(128, 128, top=0.62, left=0.62, size=0.25),
}
problems = {name: dip.inpainting(clean, mask) for name, mask in masks.items()}
contact_sheet(
    {name: problem.observation for name, problem in problems.items()},
    captions={name: f"{mask.missing:.0%} missing" for name, mask in masks.items()},
    alt="A cup of coffee under text, under black dots, and with a square hole",
)

# %% [markdown]
# The data term asks for the known pixels only. With ⊙ for the product pixel by pixel,
#
# $$E(x; x_0) = \lVert (x - x_0) \odot m \rVert^2 .$$
#
# (up to the factor 1/N, which moves no minimum). On the missing pixels $E$ says nothing whatever. Take the pixels themselves for
# parameters, and what was missing keeps its random start for ever: its gradient is zero. Whatever a fit of $f_\theta(z)$ puts
# there comes from the known pixels, continued by the network: by its structure, its start and the way it is fitted.
# *This is the purest look at a prior that you can get.*
#
# > **Predict.** The hole has the fewest missing pixels. Is it the easiest of the three?

# %%
recipe = dip.lab("inpainting", members=1, iterations=180)
runs = dip.fits({name: {"problem": p, "recipe": recipe} for name, p in problems.items()})


def psnr_inside(image, problem):
    """PSNR over the missing pixels alone; the known ones were given."""
    missing = (problem.operator.known == 0).expand_as(problem.truth)
    return float(-10 * torch.log10((image - problem.truth)[missing].square().mean()))


# %% tags=["figure:06_inpainting"]
shown, captions = {}, {}
for name, problem in problems.items():
    smooth = dip.baselines.biharmonic(problem)
    row = {
        name: problem.observation,
        f"{name}: biharmonic": smooth,
        f"{name}: deep": runs[name].output,
    }
    shown |= row
    for title, image in list(row.items())[1:]:
        captions[title] = f"{psnr_inside(image, problem):.1f} dB inside"
contact_sheet(
    shown, columns=3, captions=captions, width=8, alt="Masked, biharmonic, deep image prior"
)

# %% [markdown]
# **Biharmonic** filling, the classic in the middle column, bends a surface as gently as possible through
# what is known around it. It has no idea of an edge.
#
# **Explain.** What makes it hard is not how *much* is missing but how *far* the next known pixel is. Between the letters
# and between dead pixels it is never far. In the middle of the hole it is.

# %%
for name, problem in problems.items():
    whole, inside = (
        f(runs[name].output, problem) for f in (lambda p, q: dip.psnr(p, q.truth), psnr_inside)
    )
    print(f"{name:20s} inside {inside:5.1f} dB, whole image {whole:5.1f} dB")
    assert inside < whole - 1
hole = psnr_inside(runs["a hole"].output, problems["a hole"])
assert hole < psnr_inside(runs["text"].output, problems["text"]) - 3

# %% [markdown]
# Mind the two columns. The known pixels are copied, and over the whole image they count as errors of zero.

# %%
for name, mask in masks.items():
    gift = -10 * np.log10(mask.missing)
    print(f"{name}: {mask.missing:.0%} missing, and {gift:.0f} dB for copying the rest")
# NBVAL_CHECK_OUTPUT

# %% [markdown]
# These decibels say nothing about the filling, so in this lesson they are counted **inside**. (The sliders count the
# whole image.)
#
# ## 2 · Nobody has to stop
#
# Lesson 01 ended with an overfitted cat. Here the observation is *true* wherever it says anything.
#
# > **Predict.** Half of the pixels are missing. We go on to 200 iterations, with no noise added to the input, and count inside.
# > Does the curve come down again? And if the known pixels are noisy?


# %%
narrow = dip.lab("inpainting", members=1).replace(options={"down": (16, 32, 32, 32, 32)})
greedy = narrow.replace(input_noise=0, iterations=200, stop="count")
small = dip.images.load("coffee", size=96)
cases = {"known pixels exact": 0, "known pixels noisy": 25 / 255}
curves = {(name, seed): [] for name in cases for seed in range(3)}


def watched(name, seed):
    """What `dip.fit` is given for a fit that notes PSNR inside, of each single iterate."""
    problem, curve = dip.inpainting(small, 0.5, cases[name]), curves[name, seed]

    def look(run, step):
        curve.append(psnr_inside(step.output, problem))

    return {"problem": problem, "recipe": greedy, "seed": seed, "callback": look}


# %%
_ = dip.fits({case: watched(*case) for case in curves})
inside = {name: np.array([curves[name, seed] for seed in range(3)]) for name in cases}

# %%
figure = Figure("PSNR inside, over iterations: exact and noisy pixels", figsize=(8, 3.4))
axis = figure.subplots()
for colour, (name, three) in zip(COLOURS, inside.items()):
    along = np.arange(1, three.shape[1] + 1)
    axis.fill_between(along, three.min(0), three.max(0), color=colour, alpha=0.25, lw=0)
    axis.semilogx(along, three.mean(0), color=colour, lw=2, label=name)
ticks = (5, 10, 20, 50, 100, 200)
axis.set(xlabel="iteration", ylabel="PSNR inside, in dB", xlim=(4, None))
axis.set_xticks(ticks, ticks)
axis.set_xticks([], minor=True)
axis.legend(frameon=False)
axis.grid(alpha=0.25)
figure

# %%
fall = {name: np.median(three.max(1) - three[:, -30:].mean(1)) for name, three in inside.items()}
when = {name: np.median(three.argmax(1)) for name, three in inside.items()}
for name, lost in fall.items():
    print(f"{name}: best at iteration {when[name]:.0f}, at the end {lost:.1f} dB below it")
assert fall["known pixels exact"] < 1 < fall["known pixels noisy"]
assert when["known pixels noisy"] < 80

# %% [markdown]
# **Explain.** With exact pixels the minimum of $E$ is a set of images that are all right where we can check, and the fit
# settles at one of them (the map of lesson 02 shows where). To 200 iterations, several times as long as the noisy one needs, a
# stopping rule has only one thing to do: save time once the curve is flat. With noisy pixels the same network fills
# *and* denoises, and everything from lesson 01 is back: it passes the best image, and goes on to the noise. The package then stops
# by itself: where $\sigma$ is known it estimates the error from that (SURE), else it hides a few known pixels and
# watches those (lesson 08).
#
# ## 3 · Skips and depth
#
# Four networks, five levels deep or two, with skips or without; three masks: text, and two large holes.
#
# > **Predict.** A **skip** hands fine detail from $z$ straight to the output, past the coarse levels. For which
# > masks would you rather have it? And for which is depth worth its time?

# %%
base = narrow.replace(iterations=120, stop="count")
widths = base.options["down"]
kinds = {
    "5 levels, skips": {},
    "5 levels, no skips": {"skip": (0,) * 5},
    "2 levels, skips": {"down": widths[:2], "skip": (4,) * 2},
    "2 levels, no skips": {"down": widths[:2], "skip": (0,) * 2},
}
camera, brick = (dip.images.load(name, size=96) for name in ("camera", "brick"))
three = {
    "text on coffee": dip.inpainting(small, Mask.text(96, 96)),
    "hole in camera": dip.inpainting(camera, Mask.hole(96, 96, top=0.2, left=0.55, size=0.25)),
    "hole in brick": dip.inpainting(brick, Mask.hole(96, 96, top=0.36, left=0.36, size=0.25)),
}

# %%
wanted = {
    (name, kind, seed): {
        "problem": problem,
        "recipe": base.replace(options={**base.options, **changes}),
        "seed": seed,
    }
    for name, problem in three.items()
    for kind, changes in kinds.items()
    for seed in range(3)
}
fitted = dip.fits(wanted)
filled = {case: run.average.clamp(0, 1) for case, run in fitted.items()}


# %%
def flat(problem):
    """The least that one can do: the mean colour of what is known."""
    known = problem.operator.known
    return ((problem.observation * known).sum((1, 2)) / known.sum())[:, None, None]


score = {
    (name, kind): np.array([psnr_inside(filled[name, kind, seed], problem) for seed in range(3)])
    for name, problem in three.items()
    for kind in kinds
}
smooth = {name: psnr_inside(dip.baselines.biharmonic(p), p) for name, p in three.items()}
even = {name: psnr_inside(flat(p), p) for name, p in three.items()}

# %%
figure = Figure("PSNR inside for four networks: text and two holes", figsize=(10, 3))
for axis, name in zip(figure.subplots(1, 3, sharey=True), three):
    for row, (kind, colour) in enumerate(zip(kinds, COLOURS)):
        values = score[name, kind]
        axis.plot(values, [row] * 3, "o", color=colour, ms=7, alpha=0.8)
        axis.plot(values.mean(), row, "|", color=colour, ms=24, mew=2)
    axis.axvline(smooth[name], color="black", ls=":", label="biharmonic")
    axis.axvline(even[name], color="0.6", ls="--", label="mean colour")
    axis.set(title=name, xlabel="PSNR inside, in dB", yticks=range(4), yticklabels=kinds)
    axis.margins(y=0.2)
figure.axes[0].invert_yaxis()
figure.axes[2].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
figure


# %%
def around(image, problem, margin=12):
    """Cut out the hole and a margin around it."""
    rows, columns = (problem.operator.known[0] == 0).nonzero().T
    top, left = max(0, rows.min() - margin), max(0, columns.min() - margin)
    return image[:, top : rows.max() + margin + 1, left : columns.max() + margin + 1]


# %%
shown, captions = {}, {}
for name in ("hole in camera", "hole in brick"):
    problem = three[name]
    shown[name] = around(problem.observation, problem)
    for kind in kinds:
        title = kind + " " * len(shown)  # the same words twice, but two keys
        shown[title] = around(filled[name, kind, 0], problem)
        captions[title] = f"{score[name, kind][0]:.1f} dB (seed 0)"
    shown["truth" + " " * len(shown)] = around(problem.truth, problem)
contact_sheet(shown, columns=6, captions=captions, alt="Two holes, filled by four networks each")

# %%
deep, shallow = "5 levels, no skips", "2 levels, no skips"
pairs = {"5 levels: skips": ("5 levels, skips", deep), "no skips: depth": (deep, shallow)}
for name in three:
    gains = {what: score[name, a] - score[name, b] for what, (a, b) in pairs.items()}
    told = [f"{what} {g.mean():+.1f} ± {g.std(ddof=1):.1f} dB" for what, g in gains.items()]
    print(f"{name}: {', '.join(told)}; a flat mean colour has {even[name]:.1f} dB")

# %% [markdown]
# **Explain.** For *text*, skips help the deep network: without them it does not even reach biharmonic filling, for fine
# detail has to travel through the coarse levels and back (with two levels the way is short, and skips are not missed). That agrees
# with the paper's choice, a network *with* skips (wide ones; ours have four channels).
#
# In the hole beside the *cameraman*, the deep network without them continues the sky down to a dark band at the height of
# the skyline, smoothly; nothing of the camera. The others fill with clouds of uncorrected noise. It is ahead of the shallow
# one by several decibels, well clear of the seeds' spread; of the one with skips by about one, hardly clear of it. So far, this is
# the paper's figure 8. It fills a large hole with networks without skips, 6, 4 and 2 levels deep, with a ResNet and with a U-Net: the deeper,
# the better; the U-Net's wide skips spoil it. Is it a law?
#
# Look at the *brick*. There depth hurts: the deep networks invent light shapes and end, on average, below a flat
# grey; the shallow ones stay close to the wall's grey and beat it by a little more than a decibel. No network lays a brick. "Skips
# hurt holes" and "the deeper, the better" are no laws. They are statements about holes that must be filled from *far away*,
# made on images in which that was so. (The paper's image is larger, its fit some twenty times longer.) What holds for both
# holes here: better than biharmonic filling, which overshoots; not always better than a flat colour.

# %%
mean = {case: values.mean() for case, values in score.items()}
text, hole, wall = three
assert mean[text, "5 levels, skips"] > max(smooth[text], mean[text, deep] + 1)
assert mean[hole, deep] > max(mean[hole, "5 levels, skips"] - 0.5, mean[hole, shallow] + 1)
assert mean[wall, deep] < even[wall] < mean[wall, shallow]
assert min(mean[name, kind] - smooth[name] for name in (hole, wall) for kind in kinds) > 0

# %% [markdown]
# ## 4 · How knowledge travels into a hole
#
# A value in the middle of the hole can only follow from what the network has learned elsewhere, or from coarse values that
# it shares with the rim. How far does a pixel of the output *see* into $z$? Ask the gradient: the entries of $z$ that move
# the middle pixel are its **receptive field**.
#
# > **Predict.** Draw it for one level, and for four, on an image of 96 pixels.


# %%
def receptive_field(levels):
    """How strongly each place of z moves the output's middle pixel, in a network without skips."""
    torch.manual_seed(0)
    options = {**base.options, "down": (32,) * levels, "skip": (0,) * levels}
    network = dip.networks.build("hourglass", 32, (1, 96, 96), **options)
    z = torch.rand(1, 32, 96, 96, requires_grad=True)
    network(z)[0, 0, 48, 48].backward()
    return z.grad[0].abs().sum(0)


# %%
fields = {levels: receptive_field(levels) for levels in (1, 2, 3, 4)}
dots = {
    f"{levels} level{'s' * (levels > 1)}": (field / field.max())[None] ** 0.25
    for levels, field in fields.items()
}
wide = [int((field[48] > 0.1 * field.max()).sum()) for field in fields.values()]
assert wide[1] > 2 * wide[0] and wide[2] > 2 * wide[1]
contact_sheet(dots, alt="Where z moves the middle pixel, for one level to four")

# %% [markdown]
# (Brighter is stronger, on a scale that lifts the faint. Strictly, every pixel sees all of $z$ a little, since batch
# normalisation takes its mean and variance over the whole image: a faint veil.) Each level more than doubles the reach. A shallow network without skips sees
# only its surroundings: in the middle of a hole larger than its field, the output is made from random numbers that nobody has
# ever corrected. With depth, coarse values span hole and rim together.
#
# > **Predict.** Does the hole fill from its rim inwards, like a puddle that dries? Move through the iterations, and watch.

# %%
scrub(fitted["hole in camera", deep, 0], frames=20)

# %% [markdown]
# (These decibels are of the whole image. The last frame is the average, with the known pixels put back.)
#
# Not like a puddle. A coarse version of everything is there at once, hole included, since the coarsest levels know no
# rim; then detail comes, outside first, and inside as much as the shared filters happen to make. The right comparison is
# *impedance* (lesson 03): among the images that agree with the known pixels, the network finds the one that it reaches with
# least effort, and the hole gets what that image has there.
#
# ## 5 · What no structure can know
#
# Cut out something that nothing else in the image tells about.
#
# > **Predict.** What will stand in the place of the face? Will it beat a patch of the mean colour?

# %%
portrait = dip.images.load("astronaut", size=128)
face = torch.ones(1, 128, 128)
face[:, 8:48, 40:76] = 0
problem = dip.inpainting(portrait, face)
recipe = base.replace(options={**base.options, "skip": (0,) * 5})
faceless = dip.fit(problem, recipe, seed=0, progress=False)
contact_sheet(
    {"x₀": problem.observation, "filled": faceless.average, "truth": portrait},
    captions={"filled": f"{psnr_inside(faceless.average, problem):.1f} dB inside"},
    width=8,
    alt="An astronaut without a face; what the fit puts there; the truth",
)

# %%
compare(problem.observation, faceless.average, names=("x₀", "filled"))

# %% [markdown]
# It continues hair, suit and background as far as they go and lets them meet. Counted in decibels it is no
# better than a patch of the mean colour. No filling can know that a face was there:
# all have seen one image, and in this image there is none. A network that was *trained* on portraits would paint a face,
# and it would be somebody else's. Which of the two is the better answer depends on what you want to do with the image.

# %%
ways = {"deep": faceless.average, "biharmonic": dip.baselines.biharmonic(problem)}
ways["mean colour"] = flat(problem)
print({name: f"{psnr_inside(image, problem):.1f} dB" for name, image in ways.items()})
assert psnr_inside(faceless.average, problem) < psnr_inside(flat(problem), problem) + 1

# %% [markdown]
# ## What to take away
#
# 1. With a mask in the data term the same few lines fill any hole; what appears there is **the prior's**.
# 2. Distance to the known pixels makes a hole hard, not the number of missing pixels. Count decibels **inside**.
# 3. Exact pixels, scattered: the curve flattens, and stopping saves time only. Noisy pixels: it turns, and stopping
#    is everything again.
# 4. Depth carries coarse knowledge into a hole, and skips let uncorrected noise in. Whether that helps depends on mask *and*
#    image; measure on your own.
# 5. The prior continues; it does not know.
#
# ## Exercises
#
# Put your answer in the place of `None`. Worked answers:
# [solutions/06_inpainting.ipynb](solutions/06_inpainting.ipynb).
#
# **1. Where it counts.** Write `my_inside(image, truth, known)`: the PSNR over the missing pixels, for images
# (C, H, W) and a mask (1, H, W).

# %%
my_inside = None

check.psnr_inside(my_inside)

# %% [markdown]
# **2. Your own hole.** Cut a rectangle out of `small`, at least 2 % of it: a tensor of ones, with zeros in
# `mask[:, top:bottom, left:right]`. First choose a place that you expect to be easy, then one where you expect failure. (With the
# mouse, and on a photograph of your own: [lesson 11](11_your_image.ipynb).)

# %%
my_hole = None  # dip.fit(dip.inpainting(small, mask))

check.own_hole(my_hole)

# %% [markdown]
# **3. Forget the mask.** What comes out if the holes are taken for what they look like, black pixels? Say first. Then fit
# `dip.Problem(problems["text"].observation)`, for 300 iterations, and look at `run.last`.

# %%
my_forgotten = None

check.without_mask(my_forgotten)

# %% [markdown]
# **4. Across the hole.** A hole is 40 pixels wide. From how many levels on does its middle see the rim, 20 pixels away,
# with at least a tenth of the strongest influence? (`receptive_field` has its middle at pixel 48, 48.)

# %%
my_levels = None
reach = {k: bool((f / f.max() > 0.1)[48, :28].any()) for k, f in fields.items()}

check.sees_across(my_levels, reach)

# %% [markdown]
# ## References
#
# - D. Ulyanov, A. Vedaldi, V. Lempitsky, *Deep Image Prior*, International Journal of Computer Vision
#   128 (2020), section on inpainting, figure 8.
#   [doi:10.1007/s11263-020-01303-4](https://doi.org/10.1007/s11263-020-01303-4).
# - S. Damelin, N. Hoang, *On surface completion and image inpainting by biharmonic functions: numerical aspects*,
#   International Journal of Mathematics and Mathematical Sciences (2018).
#   [doi:10.1155/2018/3950312](https://doi.org/10.1155/2018/3950312).
# - O. Ronneberger, P. Fischer, T. Brox, *U-Net: convolutional networks for biomedical image segmentation*, MICCAI 2015
#   (where skips come from). [doi:10.1007/978-3-319-24574-4_28](https://doi.org/10.1007/978-3-319-24574-4_28).
