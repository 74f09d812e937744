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
# # 11 · Your image
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/11_your_image.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/11_your_image.ipynb)
#
# An untrained network restores *your* image: it removes noise, fills a hole that you paint with the mouse, or
# makes the image four times larger. Nothing is learned from other images. Against noise, the page mixes the
# network's image with that of NL-Ridge, a denoiser that sees only your image, too (lesson [04](04_denoising.ipynb));
# of a camera's noisy photograph it often returns NL-Ridge's image alone. When the fit rests, the page says what the result is made of. Your image goes to the machine where the
# kernel runs, and no further: your own in Jupyter, *somebody else's* on Colab or Binder. A fit takes a minute or
# two; watch it, and stop it when you like what you see.
#
# At first the page **adds noise** to a photograph of a cat, so that you see what it can do; for your own image, say what is wrong with it. The page works
# on at most 192 pixels a side unless you raise *longest side*. *It is too small* first shrinks your image to half of
# that side, then makes it four times larger.
#
# (In Jupyter, run both cells. `make playground` serves this notebook as a page.)

# %%
import sys

if "google.colab" in sys.modules:  # Colab brings torch; only the course itself is missing there
    import subprocess

    address = "diplearn[widgets] @ git+https://github.com/diplearn/diplearn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", address], check=True)

# %%
from diplearn.widgets import playground

playground()

# %% [markdown] tags=["without-kernel"]
# Where no kernel runs, as on GitHub or in an exported page, the page cannot be shown. It looks like this:
#
# ![The page: buttons that say what is wrong with the image; a cup with an orange stroke painted over it; controls to start and stop the fit; the cup with a black hole, and beside it the cup with the hole filled; a falling curve](../figures/playground.jpeg)
#
# *Above, a hole is painted over the rim of a cup; below, the fit has filled it with plausible, blurred colours.*

# %% [markdown]
# **What to expect.** Noise goes, and the finest texture goes with it. Thin scratches and letters mostly vanish;
# behind a large hole the image goes on plausibly, without knowing what was there. A
# restoration is a guess: do not use it where somebody could be harmed by a wrong one.
# Lesson [01](01_motivation.ipynb) explains how the method works.
#
# ## Five tasks
#
# In each of them the method fails somewhere. Say beforehand where; then look; then read why.
#
# 1. **Weak noise, strong noise.** *Add noise* to a photograph of fur, grass or knitting: first with σ = 10, then with 75. Which
#    details are lost at 75 and not at 10? Which have a strong contrast and are lost all the same? (Lesson [04](04_denoising.ipynb).)
# 2. **Too many iterations.** *Add noise* (σ = 50) at a longest side of 96, set *showing* to *single iterate*, and press Start. When the
#    fit rests, raise the iterations to 2,000, press Start again, and watch the image while the fit runs. What comes back, and why did the page stop before?
#    (Lesson [01](01_motivation.ipynb), and [08](08_stopping.ipynb) on when to stop.)
# 3. **A scratch and an eye.** Upload a portrait. Paint a scratch across a cheek with a narrow brush, and fill it. Then paint over one whole eye.
#    What does the filling know of the other eye? (Lesson [06](06_inpainting.ipynb).)
# 4. **Read the small print.** Upload a photograph of a few printed words, say *it is too small*, and choose a *longest side* at which the small image
#    can just not be read. Can you read the large one? Which letters are sharp, and wrong? (Lesson [05](05_super_resolution.ipynb).)
# 5. **Noise that is not like ours.** Take a photograph in the dark with a telephone, and say *it is noisy*. The camera has
#    smoothed and compressed the photograph, so neighbouring pixels have similar noise. Is the result NL-Ridge's image alone? Then set *showing* to *single iterate* and
#    press Start again, to watch the network. Which blotches stay, in which of the two? Compare with *add noise*. (Lessons
#    [08](08_stopping.ipynb), on what fools a stopping rule, and [04b](04b_other_noise.ipynb), on other noise.)
