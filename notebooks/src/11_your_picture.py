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
# # 11 · Your picture
#
# [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/diplearn/diplearn/main?urlpath=lab/tree/notebooks/11_your_picture.ipynb)
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/diplearn/diplearn/blob/main/notebooks/11_your_picture.ipynb)
#
# An untrained network restores *your* picture: clean it, fill a hole that you paint with the mouse, or
# make it four times larger. Nothing is learned from other pictures, and nothing leaves the machine on
# which this page runs. A fit takes half a minute or a little more; watch it, and stop it when you
# like what you see.
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
# **What to expect.** Noise goes, and the finest texture goes with it. Thin scratches and letters vanish
# without a trace; behind a large hole the picture goes on plausibly, without knowing what was there. A
# restoration is a guess: do not use it where somebody could be harmed by a wrong one.
# Lesson [01](01_motivation.ipynb) explains how it works.
