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
# An untrained network restores *your* image: clean it, fill a hole that you paint with the mouse, or
# make it four times larger. Nothing is learned from other images. The image goes to the machine where the
# kernel runs, and no further: your own in Jupyter, *somebody else's* on Colab or Binder. A fit takes a minute or
# two; watch it, and stop it when you like what you see.
#
# At first the page **adds noise** to a cat, so that you see what it can do; say what is wrong with yours. It works
# on at most 192 pixels unless you raise *longest side*. *It is too small* first shrinks your image to half of
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

# %% [markdown]
# **What to expect.** Noise goes, and the finest texture goes with it. Thin scratches and letters mostly vanish;
# behind a large hole the image goes on plausibly, without knowing what was there. A
# restoration is a guess: do not use it where somebody could be harmed by a wrong one.
# Lesson [01](01_motivation.ipynb) explains how it works.
#
# Where no kernel runs, as on GitHub, nothing can be shown above. [A screenshot of the page](../figures/playground.jpeg):
# a hole painted over the rim of a cup, and the cup after 60 iterations, the hole filled with plausible, blurred
# colours.
