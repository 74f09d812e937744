"""Measure how long a recipe takes to reach a given PSNR, compared with the published fit.

make bench ARGS="--image denoising/F16_GT.png --task denoising"

The fits run one after another in this process, and are stored in --results as they run, so that the
same command continues after a stop. The published fit takes half an hour per image. With
--against-stored, its PSNR by iteration comes from an earlier run, perhaps on another machine, and
only its seconds per iteration are measured; the other recipes are fitted again, so that all times
come from the same machine and hour.
"""

import contextlib
import resource
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import report
import torch
import typer

import diplearn as dip
from diplearn import images, recipes
from diplearn.figures import COLOURS, Figure
from diplearn.results import Store

STORED = ["seconds", "psnr", "psnr_average"]
TASKS = ("denoising", "super_resolution", "inpainting")
IMAGES = ("motorcycle", "camera", "coins")  # no recipe was tuned on these


def make_problem(task, image, size, sigma, factor, seed):
    """Return the problem; in inpainting, a random half of the pixels is missing."""
    clean = images.load(image, size=size)
    if task == "denoising":
        return dip.denoising(clean, sigma=sigma / 255, seed=seed)
    if task == "super_resolution":
        return dip.super_resolution(clean, factor=factor)
    if task == "inpainting":
        return dip.inpainting(clean, mask=0.5, seed=seed)
    raise typer.BadParameter(f"task must be one of {', '.join(TASKS)}, not {task}")


def is_curve(_, result):
    """Return whether a stored result is from `measure`."""
    return set(STORED) <= set(result.curve.columns)


def measure(problem, recipe, seed, store, key, anew=False):
    """Fit, or resume an interrupted fit; return its curve, a row for each iteration."""
    if not anew and (stored := store.get(key)):
        return stored.curve[STORED]
    run, kept = None, store.folder / f"{key}.dip"
    with contextlib.suppress(OSError, dip.InputError):  # missing or damaged
        run = dip.Run.load(kept)
    if run is not None:
        if run.cut_short or run.stopped_by == "unfinished":
            run = dip.resume(run, save=kept)
    else:
        run = dip.fit(problem, recipe, seed=seed, save=kept)
    if run.cut_short:
        raise KeyboardInterrupt  # the checkpoint is in `kept`
    curve = run.history[STORED].round(4)
    store.put(key, curve=curve)
    kept.unlink()
    return curve


def pace(problem, recipe, iterations=10):
    """Return the median seconds per iteration, without the first two."""
    seconds, before = [], time.perf_counter()
    for step in dip.iterate(problem, recipe):
        now = time.perf_counter()
        seconds.append(now - before)
        before = now
        if step.iteration == iterations:
            break
    return float(pd.Series(seconds[2:]).median())


def seconds_to(curve, level):
    """Return the seconds until the averaged output reached a PSNR, or NaN."""
    there = curve.index[curve.psnr_average >= level]
    return curve.seconds[there[0]] if len(there) else float("nan")


def draw(curves, path, title):
    """Draw PSNR over seconds and over iterations: thick lines for averages, thin for outputs."""
    figure = Figure(f"PSNR over time: {title}", figsize=(10, 3.8))
    axes = figure.subplots(1, 2, sharey=True)
    colours = dict(zip(dict.fromkeys(name for name, _ in curves), COLOURS))
    for (name, seed), curve in curves.items():
        first = seed == min(s for n, s in curves if n == name)
        for axis, x in zip(axes, (curve.seconds, curve.index)):
            axis.semilogx(x, curve.psnr, color=colours[name], lw=0.6, alpha=0.5)
            label = f"{name}, averaged" if first else None
            axis.semilogx(x, curve.psnr_average, color=colours[name], lw=2, label=label)
    axes[0].set(xlabel="seconds", ylabel="PSNR in dB", title=title)
    axes[1].set(xlabel="iterations")
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def summary(curves, published):
    """Return a row for each fit, with the seconds to PSNR levels near the published fit's best."""
    best = published.psnr_average.max()
    levels = {"best - 1 dB": best - 1, "best - 0.1 dB": best - 0.1, "best": best}
    rows = []
    for (name, seed), curve in curves.items():
        row = {
            "recipe": name,
            "seed": seed,
            "s/iteration": curve.seconds.iloc[-1] / curve.index[-1],
            "seconds": curve.seconds.iloc[-1],
            "PSNR at the end": curve.psnr_average.iloc[-1],
            "best PSNR": curve.psnr_average.max(),
        }
        for words, level in levels.items():
            row[f"s to {words}"] = seconds_to(curve, level)
            row[f"ratio, {words}"] = seconds_to(published, level) / seconds_to(curve, level)
        rows.append(row)
    return pd.DataFrame(rows)


def main(
    image: Annotated[list[str] | None, typer.Option(help="Names for images.load.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of images.")] = 1,
    task: Annotated[str, typer.Option(help=f"One of {', '.join(TASKS)}.")] = "denoising",
    sigma: Annotated[float, typer.Option(help="Noise level, 0 to 255.")] = 25,
    factor: Annotated[int, typer.Option(help="Factor of super-resolution.")] = 4,
    size: Annotated[int, typer.Option(help="Side of the image in pixels.")] = 256,
    recipe: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    seeds: Annotated[int, typer.Option(help="Fits per recipe; the published one has 1.")] = 3,
    iterations: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    threads: Annotated[int | None, typer.Option(help="Cores to use.")] = None,
    results: Annotated[Path, typer.Option(help="Folder to store in.")] = Path("benchmarks/results"),
    against_stored: Annotated[
        bool, typer.Option(help="Use the stored curve of the published fit.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The Markdown file.")] = report.RESULTS,
):
    """Measure the seconds to a given PSNR, for some recipes and the published one."""
    if threads:
        torch.set_num_threads(threads)
    detail = {"denoising": f"{sigma:g}", "super_resolution": f"x{factor}"}.get(task, "half")
    names = (image or IMAGES)[:limit]
    for name in names:
        make_problem(task, name, size, sigma, factor, 0)  # finds a missing image now
    store = Store(results, ("curve",), is_curve)
    store.make_folder()
    for name in names:
        case = f"{task}-{detail}-{Path(name).stem.removesuffix('_GT')}-{size}"

        def fitted(recipe, seed, name=name, case=case):
            problem = make_problem(task, name, size, sigma, factor, seed)
            chosen = recipes.choose(recipe, problem)
            chosen = chosen.replace(iterations=iterations) if iterations else chosen
            return measure(problem, chosen, seed, store, f"{case}-{recipe}-{seed}", against_stored)

        names = recipe or ["lab"]
        curves = {(each, seed): fitted(each, seed) for each in names for seed in range(seeds)}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"peak memory of the process so far: {peak / 1e6:.0f} MB")
        if against_stored:
            problem = make_problem(task, name, size, sigma, factor, 0)
            curves["paper", 0] = published(store, f"{case}-paper-0", problem)
        else:
            curves["paper", 0] = fitted("paper", 0)
        tell(curves, case, results, out, against_stored)


def published(store, key, problem):
    """Return the stored curve of the published fit, with this machine's seconds per iteration."""
    stored = store.get(key)
    if stored is None:
        missing = store.path(key, "curve")
        raise typer.BadParameter(f"there is no {missing}; measure once without --against-stored")
    each = pace(problem, recipes.choose("paper", problem))
    print(f"published recipe: {each:.3f} s per iteration, measured now; its curve was stored")
    return stored.curve.assign(seconds=stored.curve.index * each)


def tell(curves, case, results, out, against_stored):
    """Print a table, draw the curves, and write a section of RESULTS.md."""
    table = summary(curves, curves["paper", 0])
    with pd.option_context("display.width", 200, "display.max_columns", 20):
        print(table.round(3).to_string(index=False))
        spread = table.groupby("recipe")["PSNR at the end"].agg(["mean", "std"]).round(3)
        print(spread.to_string())
    draw(curves, results / f"{case}.png", case)
    print(f"figure: {results / case}.png")
    text = f"{report.machine()}\n\n"
    if against_stored:
        words = (
            "The published fit's curve was stored earlier; its speed was measured with these fits."
        )
        text += f"{words}\n\n"
    text += report.markdown(table.set_index("recipe"))
    report.put_section(out, f"time to quality, {case}", text)


if __name__ == "__main__":
    report.start(main)
