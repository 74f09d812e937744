"""Measure where each stopping rule stops, and how far below the best PSNR of the fit its image is.

python benchmarks/stopping.py --seeds 1 --task gaussian-25 --image camera

A case is an image, a degradation and a seed. One fit, well past the peak of the PSNR, serves all
rules that only observe it; a rule that hides data from the networks gets its own fit. Each finished
case is stored in --results, so that the same command continues after a stop.
"""

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import report
import torch
import typer

import diplearn as dip
from diplearn import degrade, images, recipes, stopping
from diplearn.figures import RULE_COLOURS, Figure
from diplearn.files import replacing
from diplearn.results import Result, Store

TUNING = ("astronaut", "chelsea", "coffee", "rocket")  # the rules were tuned on these
REPORTING = ("camera", "motorcycle", "hubble", "coins", "moon")
TASKS = {
    "gaussian-10": lambda clean, seed: dip.denoising(clean, sigma=10 / 255, seed=seed),
    "gaussian-25": lambda clean, seed: dip.denoising(clean, sigma=25 / 255, seed=seed),
    "gaussian-50": lambda clean, seed: dip.denoising(clean, sigma=50 / 255, seed=seed),
    "gaussian-25-unknown": lambda clean, seed: dip.Problem(
        degrade.gaussian_noise(clean, 25 / 255, seed), truth=clean
    ),
    "poisson": lambda clean, seed: dip.Problem(degrade.poisson_noise(clean, 30, seed), truth=clean),
    "salt-and-pepper": lambda clean, seed: dip.Problem(
        degrade.salt_and_pepper(clean, 0.1, seed), truth=clean
    ),
    "jpeg-10": lambda clean, seed: dip.jpeg(clean, quality=10),
    "jpeg-30": lambda clean, seed: dip.jpeg(clean, quality=30),
    "half-missing-25": lambda clean, seed: dip.inpainting(clean, 0.5, 25 / 255, seed),
    "super-resolution": lambda clean, seed: dip.super_resolution(clean, factor=4),
}
GAPS = (
    "Gaps in dB: below the best image of the same fit, and of the undisturbed fit, to which all\n"
    "pixels were shown. The second is the fair one: hold-out's own fit is poorer from the outset."
)
# Fusion's image is not one of the fit's: denoising.py measures it.
RULES = {name: rule for name, rule in stopping.BY_NAME.items() if name != "fusion"}


class Watched:
    """Records where a rule would stop, without ending the fit."""

    def __init__(self, rule):
        self.rule, self.seconds, self.row = rule, 0.0, None

    def __call__(self, step, truth):
        """Call the rule until it stops."""
        if self.row is not None:
            return
        begun = time.perf_counter()
        done = self.rule(step)
        self.seconds += time.perf_counter() - begun
        if done:
            self.close(step, truth)

    def close(self, step, truth):
        """Record the rule's choice when the rule stops, or at the end of the fit."""
        if self.row is None:
            self.row = {
                "rule": self.rule.name,
                "psnr": dip.psnr(self.rule.chosen, truth),
                "chosen_at": self.rule.chosen_at,
                "stopped_at": step.iteration,
                "ms": 1000 * self.seconds / step.iteration,
            }


def follow(problem, recipe, rules, length, seed, problems=None):
    """Make one fit; return a row for each rule, and the PSNR of the average at each iteration."""
    watched, curve, begun = [Watched(rule) for rule in rules], [], time.perf_counter()
    for step in dip.iterate(
        problem, recipe.replace(iterations=length), seed=seed, problems=problems
    ):
        curve.append(round(dip.psnr(step.average, problem.truth), 3))
        for each in watched:
            each(step, problem.truth)
    spent = 1000 * (time.perf_counter() - begun) / length
    best = max(curve)
    for each in watched:
        each.close(step, problem.truth)
        each.row |= {"best": best, "best_at": 1 + curve.index(best), "ms_step": spent}
    return [each.row for each in watched], curve


def prepared(names, problem, recipe):
    """Return those of the named rules that apply to a problem, prepared for a fit."""
    rules = []
    for name in names:
        rule = RULES[name]()
        try:
            rule.prepare(problem, recipe)
        except dip.InputError:
            continue
        rules.append(rule)
    return rules


def measure(task, image, size, seed, name, times):
    """Measure all rules on one case."""
    problem = TASKS[task](images.load(image, size=size), seed)
    recipe = recipes.choose(name, problem)
    length = int(times * recipe.iterations)
    default = stopping.choose("auto", problem, recipe).name
    rules = prepared(RULES, problem, recipe)
    looking = [rule for rule in rules if rule.problems is None]
    rows, curve = follow(problem, recipe, looking, length, seed)
    curves = {"": curve}
    for rule in rules:
        if rule.problems is not None:
            more, curves[rule.name] = follow(problem, recipe, [rule], length, seed, rule.problems)
            rows += more
    case = {"task": task, "image": image, "seed": seed, "recipe": name, "size": size}
    rows = [case | row | {"default": row["rule"] == default} for row in rows]
    return Result({"rows": rows, "curves": curves})


def is_case(_, result):
    """Return whether a stored result is from `measure`."""
    return result.row["rows"] and "curves" in result.row


def default_gap(case):
    """Return in words how far the default rule is below the best PSNR."""
    chosen = next(row for row in case["rows"] if row["default"])
    return f"{chosen['rule']}, gap {chosen['best'] - chosen['psnr']:.2f}"


def collect(cases):
    """Return a table with a row for each case and rule, and two losses in dB.

    gap: below the best PSNR of the fit that the rule observed. price: below the best PSNR of the
    undisturbed fit, from which no data were hidden.
    """
    rows = pd.DataFrame([row for case in cases for row in case["rows"]])
    key = ["task", "image", "seed", "recipe", "size"]
    undisturbed = rows[rows.rule == "oracle"].set_index(key).best.rename("undisturbed")
    rows = rows.join(undisturbed, on=key)
    rows["gap"] = rows.best - rows.psnr
    rows["price"] = rows.undisturbed - rows.psnr
    return rows.drop(columns="undisturbed").round(3)


def summary(rows, by):
    """Return the rules' mean and worst gaps, how often they stopped too early, and their cost."""
    rows = rows.assign(
        early=rows.chosen_at < rows.best_at / 10,
        fraction=rows.stopped_at / rows.best_at,
        cost=rows.ms / rows.ms_step,
    )
    wanted = {
        "cases": ("gap", "size"),
        "mean gap": ("gap", "mean"),
        "worst gap": ("gap", "max"),
        "mean gap to undisturbed": ("price", "mean"),
        "worst gap to undisturbed": ("price", "max"),
        "far too early": ("early", "sum"),
        "iterations / best": ("fraction", "mean"),
        "cost of a step": ("cost", "mean"),
    }
    return rows.groupby(by).agg(**wanted)


def draw(cases, path):
    """Draw the first case of each task: PSNR over iterations, with the choice of each rule.

    A rule that hides data from the networks has a thin curve of its own.
    """
    first = {}
    for case in cases:
        first.setdefault(case["rows"][0]["task"], case)
    columns, down = min(3, len(first)), -(-len(first) // 3)
    size = (4 * columns + 1.5, 2.6 * down + 0.4)
    figure = Figure("PSNR over iterations, with the choice of each rule", figsize=size)
    axes = figure.subplots(down, columns, squeeze=False).ravel()
    rules = [name for name in RULES if name != "oracle"]
    colours = {name: RULE_COLOURS.get(name, "black") for name in rules}
    for axis, (task, case) in zip(axes, first.items()):
        axis.plot(case["curves"][""], color="0.7", lw=2)
        shown = [row for row in case["rows"] if row["rule"] in colours]
        for row in shown:
            colour = colours[row["rule"]]
            axis.plot(case["curves"].get(row["rule"], []), color=colour, lw=0.8)
            axis.plot(row["chosen_at"], row["psnr"], "o", color=colour)
        best = case["rows"][0]["best"]
        low = max(best - 6, min(row["psnr"] for row in shown))
        axis.set(title=f"{task}, {Path(case['rows'][0]['image']).stem}", xscale="log")
        axis.set(xlabel="iteration", ylabel="PSNR in dB", ylim=(low - 0.5, best + 0.5))
        axis.set_xlim(left=10)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(first) :]:
        axis.axis("off")
    handles = [axes[0].plot([], [], "o", color=colours[name], label=name)[0] for name in rules]
    figure.legend(handles=handles, frameon=False, loc="outside right center")
    figure.savefig(path, dpi=110)


def main(
    task: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(TASKS)}.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="Names for images.load.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Largest number of images.")] = None,
    size: Annotated[int, typer.Option(help="Side of the image in pixels.")] = 128,
    seeds: Annotated[int, typer.Option(help="Fits per image and task.")] = 3,
    recipe: Annotated[str, typer.Option(help="lab or paper.")] = "lab",
    times: Annotated[float, typer.Option(help="Iterations, as a multiple of the recipe's.")] = 1.0,
    threads: Annotated[int | None, typer.Option(help="Cores to use.")] = None,
    results: Annotated[Path, typer.Option(help="Folder to store in.")] = Path(
        "benchmarks/results/stopping"
    ),
    table: Annotated[Path | None, typer.Option(help="The CSV file for the rows.")] = None,
    stored: Annotated[bool, typer.Option(help="Only report the stored cases.")] = False,
    out: Annotated[Path, typer.Option(help="The Markdown file.")] = report.RESULTS,
):
    """Measure the stopping rules on images on which they were not tuned."""
    if threads:
        torch.set_num_threads(threads)
    if unknown := set(task or ()) - set(TASKS):
        raise typer.BadParameter(f"no task is called {unknown.pop()!r}: {', '.join(TASKS)}")
    store = Store(results, check=is_case)
    store.make_folder()
    tasks, names = task or TASKS, (image or REPORTING)[:limit]
    wanted = {
        f"{name}-{shown}-{size}-{recipe}-{seed}".replace("/", "_"): partial(
            measure, name, shown, size, seed, recipe, times
        )
        for seed in range(seeds)
        for name in tasks
        for shown in names
    }
    if not stored and store.missing(wanted):
        for shown in names:
            images.load(shown, size=size)  # finds a missing image now, not after an hour
        report.run_missing(wanted, store, default_gap)
    cases = [result.row for key in wanted if (result := store.get(key))]
    if not cases:
        raise typer.BadParameter("none of these cases is stored yet")
    tell(cases, table or results.with_suffix(".csv"), results.with_suffix(".png"))
    rows, title = collect(cases), f"stopping rules, {recipe} at {size}x{size}"
    report.put_section(out, title, section(rows))


def section(rows):
    """Return the Markdown for one recipe and size: all rules, and the choice of "auto"."""
    seeds, names = rows.seed.nunique(), ", ".join(rows.image.unique())
    return (
        f"Images: {names}; {seeds} seed(s); {report.machine()}\n\n"
        f"All rules that apply. {GAPS}\n\n"
        f"{report.markdown(summary(rows[rows.rule != 'oracle'], 'rule'), 3)}\n"
        'The rule that `stop="auto"` chooses, by task:\n\n'
        f"{report.markdown(summary(rows[rows.default], ['task', 'rule']), 3)}"
    )


def tell(cases, table, figure):
    """Print the summaries, and write the table and the figure."""
    rows = collect(cases)
    with pd.option_context("display.width", 200, "display.max_columns", 20):
        print(summary(rows, "rule").round(3).to_string(), end="\n\n")
        print(summary(rows[rows.default].assign(rule="default"), "rule").round(3).to_string())
        print(summary(rows[rows.default], "task").round(3).to_string(), end="\n\n")
    with replacing(table) as temporary:
        rows.to_csv(temporary, index=False)
    draw(cases, figure)
    print(f"{len(cases)} cases; table: {table}; figure: {figure}")


if __name__ == "__main__":
    report.start(main)
