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
# # Worked exercises · 02 Energy
#
# Back to the lesson: [02_energy.ipynb](../02_energy.ipynb)

# %%
import numpy as np
import pandas as pd
import torch
from torch import nn

import diplearn as dip
from diplearn.course import check
from diplearn.course.figures import curves
from diplearn.figures import contact_sheet

torch.set_num_threads(1)

# %% [markdown]
# ## 1 · Two pixels by hand
#
# While $a > b$, $R = w\,(a - b)$, and the derivatives of $E + R$ are $(a - 0.8) + w$ and $(b - 0.3) - w$. They are zero at
# $a = 0.8 - w$ and $b = 0.3 + w$: the two pixels move towards each other, each by $w$, whatever their distance. They meet where
# $0.8 - w = 0.3 + w$. From there on they stay together at their mean, 0.55, however large $w$ is.

# %%
my_weight = (0.8 - 0.3) / 2
verdict = check.two_pixels(my_weight)
assert verdict
verdict

# %% [markdown]
# A small difference between neighbours vanishes; a large one (an edge) stays and loses a little contrast. That is all that total
# variation knows.
#
# ## 2 · Back to Bayes
#
# $R(x) = -\tfrac{2\sigma^2}{N} \log p(x) = \tfrac{2\sigma^2}{N}\,\beta \operatorname{TV}(x)$ up to a constant. So
# $\lambda = 2\sigma^2\beta$.

# %%
my_beta = 0.14 / (2 * (25 / 255) ** 2)
verdict = check.beta(my_beta)
assert verdict
verdict

# %% [markdown]
# *A sample answer:* β belongs to the images and σ to the camera, so with twice the noise λ = 4 · 0.14 = 0.56. That is what Bayes
# says *if* the prior were true. It is not: images are not drawn from $e^{-\beta \operatorname{TV}}$. If the best λ grows like σ
# and not like σ², then the best β falls as the noise grows, as no property of the images can. (The package's own
# `dip.baselines.tv` takes a weight in proportion to σ; `help(dip.baselines.tv)` says on which images this was measured.)
#
# ## 3 · What is optimised?
#
# *A sample answer:* `torch.optim.Adam(network.parameters(), lr=0.01)` in `deep_prior`: the optimiser gets the weights θ. The
# noise `z` is drawn once and is never handed to an optimiser. To do what those pages say, freeze the weights and hand over
# `[z]` instead. It does not restore the cat in 300 iterations, as the next cells show for three seeds: the cat's shapes come,
# in false colours and with grain, although $z$ has ten times as many values as the image.


# %%
def block(inputs, outputs, stride=1):
    filters = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    return nn.Sequential(filters, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))


class Level(nn.Module):
    def __init__(self, levels, width=32):
        super().__init__()
        self.skip, self.down = nn.Conv2d(width, 4, 1), block(width, width, stride=2)
        self.below = Level(levels - 1) if levels > 1 else nn.Identity()
        self.up = block(width + 4, width)

    def forward(self, x):
        below = nn.functional.interpolate(self.below(self.down(x)), scale_factor=2, mode="bilinear")
        return self.up(torch.cat([self.skip(x), below], dim=1))


# %%
small = dip.images.load("chelsea", size=64)
problem = dip.denoising(small, 25 / 255)


def best_psnr(seed, of_z, rate, iterations=300):
    """Fit z or the weights; return the PSNR of the best iterate, and that iterate."""
    torch.manual_seed(seed)
    network = nn.Sequential(Level(5), nn.Conv2d(32, 3, 1), nn.Sigmoid())
    z = 0.1 * torch.rand(1, 32, 64, 64)
    network.requires_grad_(not of_z)
    z.requires_grad_(of_z)
    optimiser, best = torch.optim.Adam([z] if of_z else network.parameters(), lr=rate), (0, None)
    for _ in range(iterations):
        x = network(z)[0]
        optimiser.zero_grad()
        (x - problem.observation).square().mean().backward()
        optimiser.step()
        best = max(best, (dip.psnr(x.detach(), small), x.detach()), key=lambda each: each[0])
    return best


# %%
ways = {
    "weights, rate 0.01": (False, 0.01),
    "z, rate 0.01": (True, 0.01),
    "z, rate 0.1": (True, 0.1),
}
fitted = {name: [best_psnr(seed, *way) for seed in range(3)] for name, way in ways.items()}
shown = {name: each[0][1] for name, each in fitted.items()} | {"truth": small}
words = {
    name: f"best: {np.mean([p for p, _ in each]):.1f} ± {np.std([p for p, _ in each], ddof=1):.1f} dB"
    for name, each in fitted.items()
}
contact_sheet(
    shown, 4, words, alt="A cat; two cats in false colours, the second with grain; the truth"
)

# %%
worst = min(p for p, _ in fitted["weights, rate 0.01"])
assert worst > max(p for name in list(ways)[1:] for p, _ in fitted[name]) + 4

# %% [markdown]
# ## 4 · Structure and R together
#
# Total variation alone is best with λ = 0.14 (lesson, section 3), and its image is what the fit goes on to. So a λ near 0.14 should
# do. Beside it we fit with no $R$ and with a light one, λ = 0.03, with three seeds each.

# %%
both = dip.lab(members=1, input_noise=0, optimiser="adam", iterations=600, stop="count")
weights = (0, 0.03, 0.14)
wanted = {
    (weight, seed): {
        "problem": problem,
        "recipe": both.replace(tv_weight=weight / small.numel()),
        "seed": seed,
        "device": "cpu",
    }
    for weight in weights
    for seed in range(3)
}
runs = dip.fits(wanted, cores=2, progress=False)
my_run = runs[0.14, 0]
verdict = check.no_need_to_stop(my_run)
assert verdict
verdict

# %% [markdown]
# The image of total variation is found by optimising the pixels directly, with the same λ. Does the fit with $R$ really go there?


# %%
def minimum(weight):
    """The image where E + R is smallest."""
    recipe = dip.Recipe(network="pixels", learning_rate=0.03, final_rate=0, iterations=400)
    recipe = recipe.replace(tv_weight=weight / small.numel())
    return dip.fit(problem, recipe, device="cpu", progress=False).last


def root(x):
    return float(x.square().mean().sqrt())


ends, rows = {weight: minimum(weight) for weight in weights}, {}
for weight, end in ends.items():
    three = [runs[weight, seed] for seed in range(3)]
    peak, last = (
        np.array([f(run) for run in three])
        for f in (lambda run: run.oracle_psnr, lambda run: run.history.psnr_average.iloc[-1])
    )
    rows[f"λ = {weight}"] = {
        "best average": f"{peak.mean():.2f} ± {peak.std(ddof=1):.2f} dB",
        "last average": f"{last.mean():.2f} ± {last.std(ddof=1):.2f} dB",
        "minimum of E + R": f"{dip.psnr(end, small):.2f} dB",
        "distance of the best to it": f"{np.mean([root(run.oracle - end) for run in three]):.3f}",
        "distance of the last to it": f"{np.mean([root(run.average - end) for run in three]):.3f}",
    }
pd.DataFrame(rows).T

# %%
first = {f"λ = {weight}": runs[weight, 0] for weight in weights}
curves(
    first,
    alt="Without R the PSNR peaks and falls; with a light R it peaks higher; with λ = 0.14 it stays",
)

# %%
shown = {f"{name}, best": run.oracle for name, run in first.items()}
shown |= {f"{name}, last": run.average for name, run in first.items()}
shown |= {f"minimum of E + R, λ = {weight}": end for weight, end in ends.items()}
captions = {name: f"{dip.psnr(x, small):.1f} dB" for name, x in shown.items()}
alt = "The best: three cats, the last one soft. The end, and the minimum: noise, less noise, a soft cat"
contact_sheet(shown, 3, captions, width=8, alt=alt)

# %%
for seed in range(3):
    nothing, light, heavy = (runs[weight, seed] for weight in weights)
    assert heavy.history.psnr_average.iloc[-1] > heavy.oracle_psnr - 0.3  # nobody has to stop it
    assert light.oracle_psnr > max(nothing.oracle_psnr, heavy.oracle_psnr) + 0.3
    for weight, run in ((0, nothing), (0.03, light), (0.14, heavy)):
        assert root(run.average - ends[weight]) < root(run.oracle - ends[weight]) + 1e-3

# %% [markdown]
# *A sample answer:* With λ = 0.14 nobody has to know when to stop, and the fit ends near the image of total variation. The
# network has then added little to it: compare the first column with the third. The price is the fur, and nearly all that the network
# gains without $R$.
# With λ = 0.03, the best image is better than without $R$, in all three seeds, and the fit must be stopped, since it, too, goes
# on to the minimum of its own $E + R$, which is noisy. If you know when to stop, a light $R$ is a help; if you do not, a heavy
# one is an insurance. (After 600 iterations no fit has arrived: the last column is not zero.)
