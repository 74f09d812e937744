"""Restore pictures at full size, which takes too long for a lesson; store the images and scores.

python benchmarks/full_size.py denoising            (40 minutes of one core)
python benchmarks/full_size.py super_resolution     (35 minutes of one core)

A case is a picture, a method and a seed of the fit; the noise always has seed 0. Each finished case
is kept in --results, so that the same command continues after a stop. Where the lessons show the
picture (`data.SHOWN`), the images of seed 0 go to diplearn/course/data/full_size/ as JPEG without
chroma subsampling. The scores of all cases, measured before JPEG, go to scores.csv in the same
folder. What takes no time (the truth, the observation, interpolation) is not stored:
`diplearn.course.data.full_size` makes it again.

Super-resolution: all colour pictures of the package are tried at 256x256 with one seed, and at full
size the three that have the largest lead of the deep prior over total variation. The one with the
largest lead there is the picture that the lesson shows: it was CHOSEN BY ITS RESULT, and has three
seeds. Total variation and the sparse prior have the best weight of a grid, chosen with the truth;
their images are then corrected to explain x0 exactly, as the deep prior's is.
"""

import functools
import time
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import pandas as pd
import report
import torch
import typer
from PIL import Image

import diplearn as dip
from diplearn import baselines, images, noise, stopping
from diplearn.course import data
from diplearn.energy import data_term
from diplearn.files import replacing
from diplearn.networks import Pixels
from diplearn.progress import Progress
from diplearn.results import Result, Store

DENOISED = ("astronaut", "chelsea")
TRIED = ("astronaut", "chelsea", "coffee", "hubble", "motorcycle", "retina", "rocket")
LARGE = ("astronaut", "coffee")  # tried again at full size, as is data.SHOWN
ITERATIONS = 1000  # of denoising: with the 500 of the recipes, the PSNR of astronaut still rises
WEIGHTS = (3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 1e-3, 3e-3, 1e-2)  # of `smooth` and `sparse`
JPEG = {"quality": 97, "subsampling": 0, "optimize": True}


class Case(NamedTuple):
    """What is measured: `side` is that of a square, or None for full size."""

    task: str
    picture: str
    side: int | None
    method: str
    seed: int

    @property
    def key(self):
        name = data.file_name(self.task, self.picture, self.method)
        return f"{name}-{self.side or 'full'}-{self.seed}"


# The methods: functions of a problem and a seed, which return the image and, in a dict, what else
# is worth knowing.


def classical(method):
    """Return a method that needs no seed."""
    return lambda problem, seed: (method(problem), {})


def denoised(recipe):
    """Return a method that denoises by the recipe lab or guided."""
    return lambda problem, seed: lab_and_guided(problem, seed)[recipe]


@functools.lru_cache(maxsize=1)
def lab_and_guided(problem, seed):
    """Denoise by both recipes with one fit: they make the same iterations, and choose differently.

    The images are the same, bit for bit, as those of two fits. The seconds of lab include
    those of the second denoiser of guided.
    """
    recipe = dip.lab(iterations=ITERATIONS)
    rules, told = {"lab": stopping.Sure(), "guided": stopping.Fusion()}, {}
    for rule in rules.values():
        rule.prepare(problem, recipe)
    bar, begun = Progress(recipe.iterations), time.process_time()
    for step in dip.iterate(problem, recipe, seed=seed, problems=rules["lab"].problems):
        for name in set(rules) - set(told):
            if rules[name](step) or step.iteration == recipe.iterations:
                seconds = time.process_time() - begun
                told[name] = {"cpu_seconds": seconds, "iterations": step.iteration}
        if len(told) == len(rules):
            break
        psnr = dip.psnr(step.average, problem.truth)
        bar.update(step.iteration, float(step.loss), psnr)
    bar.close()
    told["guided"]["weight"] = rules["guided"].weight
    return {name: (rules[name].chosen, told[name]) for name in rules}


def unclipped(method):
    """Return a method that also corrects what clipped noise does to it, as guided does."""

    def denoise(problem, seed):
        image, told = METHODS["denoising"][method](problem, seed)
        ends = noise.clipped_ends(problem.observation, image, problem.sigma)
        return noise.unclip(image, problem.sigma, *ends), told

    return denoise


def deep_prior(problem, seed):
    """Enlarge by a fit with the recipe lab."""
    run = dip.fit(problem, "lab", seed=seed)
    if run.cut_short:
        raise KeyboardInterrupt  # an unfinished fit must not be stored
    return run.output, {"iterations": run.stopped_at}


def best_weight(enlarge):
    """Return a method that takes the weight of WEIGHTS that is best according to the truth."""

    def method(problem, seed):
        tried = {weight: enlarge(problem, weight) for weight in WEIGHTS}
        best = max(tried, key=lambda weight: score(problem, tried[weight])["psnr"])
        return tried[best], {"weight": best}

    return method


def smooth(problem, weight):
    """Minimise energy + weight / N × total variation over the pixels, from bicubic on.

    N is the number of values in x0.
    """
    recipe = dip.lab("super_resolution", network="pixels", options={}, optimiser="adam", members=1)
    recipe = recipe.replace(input_noise=0.0, z_channels=1, precision="float32", final_rate=0.0)
    recipe = recipe.replace(project=False, start_at_mean=False, iterations=400, stop="count")
    recipe = recipe.replace(tv_weight=weight / problem.observation.numel())
    network, exactly = Pixels(*problem.shape), problem.operator.project
    start = exactly(baselines.interpolate(problem), problem.observation)
    network.pixels.data = start[None].clone()
    image = dip.fit(problem, recipe, network, progress=False).last
    return exactly(image, problem.observation).clamp(0, 1)


def sparse(problem, weight):
    """Minimise energy + weight / N × Σ|x - background| over the pixels: a prior made for stars.

    The background is the median of x0 in each channel.
    """
    small, exactly = problem.observation, problem.operator.project
    background = small.flatten(1).median(1).values[:, None, None]
    x = exactly(baselines.interpolate(problem), small).requires_grad_()
    descent = torch.optim.Adam([x], lr=0.01)
    ending = torch.optim.lr_scheduler.LinearLR(descent, 1.0, 0.0, total_iters=400)
    for _ in range(400):
        energy = data_term(x, problem)
        (energy + weight / small.numel() * (x - background).abs().sum()).backward()
        descent.step()
        descent.zero_grad()
        ending.step()
    return exactly(x.detach(), small).clamp(0, 1)


METHODS = {
    "denoising": {
        "noisy": classical(lambda problem: problem.observation),
        "total variation": classical(baselines.tv),
        "NL-Ridge": classical(baselines.nl_ridge),
        "BM3D": classical(baselines.bm3d),
        "NL-Ridge unclipped": unclipped("NL-Ridge"),
        "BM3D unclipped": unclipped("BM3D"),
        "lab": denoised("lab"),
        "lab unclipped": unclipped("lab"),
        "guided": denoised("guided"),
    },
    "super_resolution": {
        "bicubic": classical(baselines.interpolate),
        "Lanczos": classical(baselines.lanczos),
        "A⁺x₀": classical(data.least_norm),
        "total variation": best_weight(smooth),
        "sparse": best_weight(sparse),
        "deep prior": deep_prior,
    },
}
QUICK = ("noisy", "bicubic", "Lanczos", "A⁺x₀")  # made again by the reader, not stored
FITS = ("lab", "lab unclipped", "guided", "deep prior")


def plan(task, seeds):
    """List the cases of a task."""
    shown, once = DENOISED, []
    if task == "super_resolution":
        shown = (data.SHOWN[task],)
        once = [(name, 256) for name in TRIED] + [(name, None) for name in LARGE]
    cases = [Case(task, *each, method, 0) for each in once for method in METHODS[task]]
    return cases + [
        Case(task, name, None, method, seed)
        for name in shown
        for seed in range(seeds)
        for method in (FITS if seed else METHODS[task])
        if method in METHODS[task]
    ]


def measure(case):
    """Restore a picture by one method; return a row and the image."""
    problem, begun = posed(case.task, case.picture, case.side), time.process_time()
    image, told = METHODS[case.task][case.method](problem, case.seed)
    told = {"cpu_seconds": time.process_time() - begun, "threads": torch.get_num_threads()} | told
    row = {"task": case.task, "picture": case.picture, "method": case.method, "seed": case.seed}
    row["size"] = "x".join(map(str, problem.shape[1:]))
    return Result(row | score(problem, image) | told, image)


@functools.lru_cache(maxsize=1)
def posed(task, picture, side):
    """Return the problem of a case; the same object for cases in a row, for `lab_and_guided`."""
    return data.full_size_problem(task, images.load(picture, size=side))


def score(problem, image):
    """Return PSNR and SSIM; for super-resolution of luma, without four pixels along each edge."""
    how = {"luma": True, "shave": 4} if problem.task == "super_resolution" else {}
    return {name: getattr(dip, name)(image, problem.truth, **how) for name in ("psnr", "ssim")}


def write(cases, store):
    """Write the images of seed 0 at full size, and all scores beside those of other tasks."""
    place = data.path("full_size/scores.csv")
    place.parent.mkdir(exist_ok=True)
    rows = pd.DataFrame([store.get(case.key).row for case in cases])
    if place.exists():
        old = pd.read_csv(place)
        rows = pd.concat([old[~old.task.isin(rows.task)], rows])
    with replacing(place) as temporary:
        rows.sort_values("task", kind="stable").to_csv(temporary, index=False, float_format="%.5g")
    for case in cases:
        shown = case.picture == data.SHOWN[case.task]
        if shown and not (case.side or case.seed or case.method in QUICK):
            name = f"{data.file_name(case.task, case.picture, case.method)}.jpg"
            with replacing(place.with_name(name)) as temporary:
                pixels = images.to_uint8(store.get(case.key).image)
                Image.fromarray(pixels).save(temporary, "JPEG", **JPEG)


def main(
    task: Annotated[Literal["denoising", "super_resolution"], typer.Argument()],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the fits that are shown.")] = 3,
    results: Annotated[Path, typer.Option(help="Folder to store in.")] = Path("runs/full_size"),
):
    """Restore, and write the images and the scores."""
    store = Store(results, parts=("image", "row"))
    store.make_folder()
    cases = plan(task, seeds)
    words = "{psnr:.2f} dB, SSIM {ssim:.3f}, {cpu_seconds:.0f} s".format_map
    report.run_missing({case.key: functools.partial(measure, case) for case in cases}, store, words)
    write(cases, store)
    print(data.full_size_scores(task).to_string())


if __name__ == "__main__":
    report.start(main)
