"""Fit far past the best image, and record the fit as data for lessons 04 and 08.

python benchmarks/overfitting.py        (about half an hour on one core)

One network of the lab recipe is fitted to the noisy cat at 128x128 pixels for 50,000 iterations.
The file, diplearn/course/data/overfitting.npz, holds the PSNR and the energy at log-spaced
iterations, and the averaged output at a few of them.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import diplearn as dip
from diplearn import images
from diplearn.course import data
from diplearn.files import replacing
from diplearn.progress import Progress

RECORD = data.path("overfitting.npz")
IMAGES = (100, 400, 2400, 10_000, 50_000)


def main(
    iterations: Annotated[int, typer.Option(help="Iterations of the fit.")] = 50_000,
    out: Annotated[Path, typer.Option(help="The .npz file to write.")] = RECORD,
):
    """Fit, and write the .npz file."""
    problem = dip.denoising(images.load("chelsea", size=128), sigma=25 / 255, seed=0)
    recipe = dip.lab(members=1, iterations=iterations, stop="count")
    rows, kept, due, bar = [], {}, 1, Progress(iterations)
    for step in dip.iterate(problem, recipe):
        k = step.iteration
        if k >= due or k == iterations:
            scores = (dip.psnr(image, problem.truth) for image in (step.output, step.average))
            rows.append((k, float(step.loss), *scores))
            due = max(k + 1, round(k * 1.03))
        if k in IMAGES:
            kept[f"image_{k}"] = images.to_uint8(step.average)
        if k % 100 == 0:
            bar.update(k, float(step.loss), rows[-1][3])
    bar.close()
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        np.savez_compressed(temporary, curve=np.array(rows, dtype=np.float32), **kept)
    print(f"{out}: {out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    typer.run(main)
