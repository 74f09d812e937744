"""Measure the seconds per iteration of the published recipe: plain loop, fit, compiled, parallel.

python benchmarks/speed.py --image denoising/F16_GT.png --size 512 --iterations 3000

All variants fit the same noisy image with the same network and number of iterations, in this
process. The table has the seconds per iteration and the PSNR of each variant. The first
iterations, in which GPU libraries choose algorithms and `torch.compile` compiles, are a column of
their own. The output is a CSV, a figure, and a section of RESULTS.md.
"""

import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import report
import torch
import typer

import diplearn as dip
from diplearn import images, metrics, networks, recipes
from diplearn.figures import COLOURS, Figure
from diplearn.files import replacing

HERE = Path(__file__).resolve().parent
WARM = 5  # first iterations, which are timed separately


def measure_plain(problem, recipe, seed, device):
    """Return a row for the published loop without any optimisation for speed.

    It has float32, the default memory layout, fresh noise, and reads the loss in each iteration.
    """
    torch.manual_seed(seed)
    network = networks.build(recipe.network, recipe.z_channels, problem.shape, **recipe.options)
    network = network.to(device)
    z = recipe.z_scale * torch.rand(1, recipe.z_channels, *problem.shape[-2:], device=device)
    observation = problem.observation.to(device)
    adam = torch.optim.Adam(network.parameters(), recipe.learning_rate)
    seconds, average, begun = [], None, time.perf_counter()
    for _ in range(recipe.iterations):
        adam.zero_grad()
        output = network(z + recipe.input_noise * torch.randn_like(z))[0]
        loss = (output - observation).square().mean()
        loss.backward()
        adam.step()
        output = output.detach()
        weight = recipe.average
        average = output if average is None else weight * average + (1 - weight) * output
        loss.item()
        seconds.append(time.perf_counter() - begun)
    return row(problem, seconds, average)


def measure(problem, recipe, seed, device):
    """Return a row for one fit by the package."""
    run = dip.fit(problem, recipe, seed=seed, device=device, progress=False)
    return row(problem, run.history.seconds.tolist(), run.average)


def measure_together(problem, recipe, seed, device, count):
    """Return a row for several fits at once, with the seconds divided by their number."""
    wanted = {
        number: {"problem": problem, "recipe": recipe, "seed": seed + number, "device": device}
        for number in range(count)
    }
    begun = time.perf_counter()
    runs = dip.fits(wanted, progress=False)
    spent = time.perf_counter() - begun
    # The first iterations count, too, since the fits do not start and end together.
    scores = [quality(problem, run.average) for run in runs.values()]
    each = spent / recipe.iterations / count
    return {"s/iteration": each, "first s": None, "PSNR": sum(scores) / count}


def row(problem, seconds, average):
    """Return the seconds per iteration after the first ones, the seconds of those, and the PSNR."""
    return {
        "s/iteration": (seconds[-1] - seconds[WARM - 1]) / (len(seconds) - WARM),
        "first s": seconds[WARM - 1],
        "PSNR": quality(problem, average),
    }


def quality(problem, image):
    """Return the PSNR of a fit's final image."""
    return metrics.psnr(image.cpu().clamp(0, 1), problem.truth)


def ways(recipe, at_once, compiled):
    """Return the variants: name -> (function, recipe, further arguments)."""
    auto = recipe.replace(precision="auto")
    found = {
        "plain loop": (measure_plain, recipe, {}),
        "fit, float32": (measure, recipe, {}),
        "fit, auto": (measure, auto, {}),
    }
    if compiled:
        found["fit, auto, compiled"] = (measure, auto.replace(compiled=True), {})
    if at_once > 1:
        found[f"{at_once} fits at once, auto"] = (measure_together, auto, {"count": at_once})
    return found


def draw(table, path, title):
    """Draw a bar for each variant: its speed relative to the plain loop."""
    figure = Figure(f"Speed of an iteration against the plain loop: {title}", figsize=(7, 2.6))
    axis = figure.subplots()
    bars = axis.barh(table.index, table["times faster"], color=COLOURS[0])
    axis.bar_label(bars, [f" {value:.2f}x" for value in table["times faster"]])
    axis.axvline(1, color="0.5", ls="--")
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set(xlabel="times as fast as the plain loop", title=title)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main(
    image: Annotated[str, typer.Option(help="A name for images.load.")] = "camera",
    size: Annotated[int, typer.Option(min=32, help="Side of the image in pixels.")] = 128,
    iterations: Annotated[int, typer.Option(min=WARM + 1, help="Iterations of each fit.")] = 60,
    at_once: Annotated[int, typer.Option(min=1, help="Fits at once, in the last row.")] = 2,
    compiled: Annotated[bool, typer.Option(help="Also measure torch.compile.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of noise and weights.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: the best.")] = None,
    results: Annotated[Path, typer.Option(help="Folder to store in.")] = HERE / "results" / "speed",
    out: Annotated[Path, typer.Option(help="The Markdown file.")] = report.RESULTS,
):
    """Measure the seconds per iteration."""
    problem = dip.denoising(images.load(image, size=size), sigma=25 / 255, seed=seed)
    recipe = recipes.paper("denoising").replace(iterations=iterations, stop="count")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    rows = {}
    for name, (way, chosen, more) in ways(recipe, at_once, compiled).items():
        rows[name] = way(problem, chosen, seed, device, **more)
        print(f"{name}: {rows[name]['s/iteration']:.4f} s per iteration", flush=True)
    table = pd.DataFrame(rows).T.astype(float)
    table.insert(1, "times faster", table["s/iteration"].iloc[0] / table["s/iteration"])
    print(table.round(3).to_string())
    results.mkdir(parents=True, exist_ok=True)
    case = f"{Path(image).stem.removesuffix('_GT')}-{size}-{device.type}"
    with replacing(results / f"{case}.csv") as temporary:
        table.to_csv(temporary)
    draw(table, results / f"{case}.png", f"{case}, {iterations} iterations")
    about = f"{iterations} iterations of the published recipe for denoising; one fit per row; "
    text = f"{about}{report.machine(device.type == 'cuda')}\n\n{report.markdown(table, 3)}"
    report.put_section(out, f"seconds an iteration, {case}", text)


if __name__ == "__main__":
    report.start(main)
