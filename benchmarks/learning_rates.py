"""Find the best learning rate of two optimisers and of five families of networks, for lesson 07.

python benchmarks/learning_rates.py        (about six minutes on one core)

Every grid of learning rates goes on until the best rate has a worse one on either side, and every
fit until well behind its best average. The optimisers are compared on `camera` with three seeds,
with the base of lesson 07; the families on `astronaut` at 48x48 with two. The table is
diplearn/course/data/learning_rates.csv.
"""

import csv
from pathlib import Path
from typing import Annotated

import typer
from torch import nn

import diplearn as dip
from diplearn.course import data
from diplearn.files import replacing

TABLE = data.path("learning_rates.csv")
RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
START = (0.003, 0.01, 0.03)
BASE = dip.lab(members=1, iterations=1500).replace(options={"down": (16, 32, 32), "skip": (4,) * 3})
FAMILIES = {  # each with about 70,000 weights
    "hourglass": {},
    "U-Net": {"network": "unet", "options": {"widths": (16, 28, 34)}},
    "deep decoder": {
        "network": "decoder", "z_channels": 151, "options": {"width": 151, "layers": 3}
    },
    "ResNet": {"network": "resnet", "options": {"width": 21}},
    "plain 3x3": {"network": "plain"},
}  # fmt: skip


def plain(inputs, outputs, width=31, depth=8):
    """Make a stack of 3x3 filters at full size, without coarse grids or identity paths."""
    layers = []
    for channels in (inputs, *[width] * (depth - 1)):
        layers += [nn.Conv2d(channels, width, 3, padding=1)]
        layers += [nn.BatchNorm2d(width, track_running_stats=False), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width, outputs, 1), nn.Sigmoid())


dip.networks.BY_NAME["plain"] = plain


def past_the_best(truth, times=1.25):
    """Make a rule that ends a fit at `times` the iteration of its best average, and 20 more."""
    best = [0.0, 0]

    def rule(step):
        best[:] = max(best, [dip.psnr(step.average, truth), step.iteration])
        return step.iteration >= max(60, times * best[1] + 20)

    return rule


def grid(problem, recipe, seeds):
    """Yield (rate, seed, run), until the best rate is not at an edge."""
    mean, due = {}, list(START)
    while due:
        for rate in due:
            peaks = []
            for seed in range(seeds):
                run = dip.fit(
                    problem, recipe.replace(learning_rate=rate), seed=seed,
                    stop=past_the_best(problem.truth), progress=False,
                )  # fmt: skip
                peaks.append(run.oracle_psnr)
                yield rate, seed, run
            mean[rate] = sum(peaks) / seeds
        best = RATES.index(max(mean, key=mean.get))
        beside = RATES[max(best - 1, 0) : best + 2]
        due = [rate for rate in beside if rate not in mean]


def main(
    out: Annotated[Path, typer.Option(help="The table.")] = TABLE,
    only: Annotated[str, typer.Option(help="Only cases whose name contains this.")] = "",
):
    """Fit, and write the table."""
    camera = dip.denoising(dip.images.load("camera", size=64), sigma=25 / 255, seed=0)
    astronaut = dip.denoising(dip.images.load("astronaut", size=48), sigma=25 / 255, seed=0)
    cases = {
        ("camera", "hourglass", name): (camera, BASE.replace(optimiser=name), 3)
        for name in ("muon", "adam")
    }
    cases |= {
        ("astronaut", name, "muon"): (astronaut, BASE.replace(**changes), 2)
        for name, changes in FAMILIES.items()
    }
    with replacing(out) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow("image family optimiser rate seed peak at iterations".split())
        for key, case in cases.items():
            if only not in " ".join(key):
                continue
            for rate, seed, run in grid(*case):
                peak = round(run.oracle_psnr, 3)
                row = [*key, rate, seed, peak, run.oracle_at, run.stopped_at]
                print(*row, flush=True)
                writer.writerow(row)


if __name__ == "__main__":
    typer.run(main)
