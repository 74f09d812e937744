"""The paper's three tables, measured again: our fits beside the published numbers.

python benchmarks/paper_tables.py --table denoising --limit 1 --size 64 --seeds 1

The images, noise and masks are the authors' own. They are downloaded once (by checksum), or taken
from the folder that DIPLEARN_DATA_DIR names. With the paper's recipe and at full size this is work
for a GPU; --size and --recipe lab make it work for a laptop, and then the published numbers, which
are those of the full images, are left out. Every case is stored as soon as it is done: the same
command again does what is missing. The result is a CSV, a figure, and a section of RESULTS.md.
"""

import contextlib
import itertools
import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import report
import torch
import typer
from tqdm.auto import tqdm

import diplearn as dip
from diplearn import baselines, images, metrics, operators, recipes
from diplearn.figures import contact_sheet
from diplearn.files import replacing

HERE = Path(__file__).resolve().parent
DENOISING = ("F16", "baboon", "hill", "kodim01", "kodim02", "kodim03", "kodim12", "lena", "peppers")
MISSING = (
    "barbara", "boat", "house", "Lena512", "peppers256", "Cameraman256", "couple",
    "fingerprint", "hill", "man", "montage",
)  # fmt: skip
SET5 = ("baby", "bird", "butterfly", "head", "woman")

# As published: the authors' result files for denoising, the paper's tables 1 and 2 for the others.
PUBLISHED = {
    "denoising": [33.69, 24.51, 32.09, 28.44, 32.71, 33.79, 32.68, 32.56, 31.15],
    "missing": [32.22, 33.06, 39.16, 36.16, 33.05, 29.80, 32.52, 32.84, 32.77, 32.20, 34.54],
    "super-resolution": [31.49, 31.80, 26.23, 31.04, 28.93],
}


def denoising(name, size):
    """σ = 25, with the authors' own noise where the image has its full size."""
    clean = images.load(f"denoising/{name}_GT.png", size=size)
    if size:
        return dip.denoising(clean, sigma=25 / 255)
    noisy = images.load(f"denoising/{name}_noisy25.png")
    return dip.Problem(noisy, truth=clean, sigma=25 / 255)


def missing(name, size):
    """Half of the pixels are black in the authors' file: those are missing."""
    clean = images.load(f"restoration/{name}_GT.png", size=size)
    if size:
        return dip.inpainting(clean, 0.5)
    masked = images.load(f"restoration/{name}_masked.png")
    known = (masked > 0).any(0, keepdim=True).float()
    return dip.Problem(masked, operators.Mask(known), truth=clean)


def super_resolution(name, size):
    """Four times smaller in each direction; sides are cut to a multiple of four before."""
    clean = images.load(f"super-resolution/{name}_GT.png", size=size)
    height, width = (4 * (side // 4) for side in clean.shape[-2:])
    return dip.super_resolution(clean[..., :height, :width].contiguous(), factor=4)


# table: images, problem, the recipe's name for it, iterations as published, how PSNR is measured
TABLES = {
    "denoising": (DENOISING, denoising, "denoising", 1800, {}),
    "missing": (MISSING, missing, "missing_pixels", 11000, {}),
    "super-resolution": (
        SET5, super_resolution, "super_resolution", 2000, {"luma": True, "shave": 4},
    ),
}  # fmt: skip


def recipe_for(table, name, iterations):
    """The paper's recipe for a table with its own number of iterations, or the lab's."""
    _, _, task, published, _ = TABLES[table]
    if name == "paper":
        return recipes.paper(task).replace(iterations=iterations or published, stop="count")
    changes = {"iterations": iterations, "stop": "count"} if iterations else {}
    return recipes.lab("inpainting" if table == "missing" else task, **changes)


def measure(table, image, size, seed, recipe, iterations, device, store):
    """Fit once; return its row, and leave the image that counts in the store."""
    _, problem_for, _, _, how = TABLES[table]
    problem = problem_for(image, size)
    run = dip.fit(
        problem, recipe_for(table, recipe, iterations), seed=seed, device=device, progress=False
    )
    # A rule's choice where there is one; else what the paper reports, the average at the end.
    result = run.output if run.recipe.stop != "count" else run.average
    images.write(result, store.with_suffix(".png"))
    row = {
        "table": table, "image": image, "size": size, "seed": seed, "recipe": recipe,
        "method": "deep image prior", "psnr": metrics.psnr(result, problem.truth, **how),
        "single": metrics.psnr(run.last, problem.truth, **how),
        "iterations": len(run.history), "seconds": run.seconds, "device": str(run.last.device),
    }  # fmt: skip
    return [row]


def classics(table, image, size, store):
    """A row for each classical method, and for the pixels without any prior; no image."""
    _, problem_for, _, _, how = TABLES[table]
    problem = problem_for(image, size)
    restored, timed = baselines.compare(problem)
    rows = [{"method": m, "seconds": timed.seconds[m], "restored": p} for m, p in restored.items()]
    if table == "super-resolution":
        pixels = recipes.lab("super_resolution", network="pixels", options={}, optimiser="adam")
        pixels = pixels.replace(learning_rate=0.02, iterations=500, stop="count", project=False)
        run = dip.fit(problem, pixels, progress=False)
        rows.append({"method": "no prior", "seconds": run.seconds, "restored": run.last})
    for row in rows:
        row["psnr"] = metrics.psnr(row.pop("restored"), problem.truth, **how)
        row.update(table=table, image=image, size=size, recipe="")
    return rows


def is_stored(path):
    """Say whether a case's rows are there, and the image of a fit: what is damaged is not."""
    with contextlib.suppress(dip.InputError, LookupError, TypeError):
        rows = report.stored(path)
        if rows[0]["method"] == "deep image prior":
            images.read(path.with_suffix(".png"))
        return all("psnr" in row for row in rows)
    return False


def run_missing(wanted, results):
    """Do the cases that are not stored yet, one after the other."""
    for name, task in tqdm(wanted.items(), "cases", disable=not wanted):
        path = results / f"{name}.json"
        if is_stored(path):
            continue
        rows = task(results / name)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(rows))
        told = ", ".join(f"{row['method']} {row['psnr']:.2f}" for row in rows)
        tqdm.write(f"{name}: {told}")


def mean_of_runs(rows, results):
    """A row an image for the mean of its runs' images, as the paper does with two."""
    added = []
    fits = rows[rows.method == "deep image prior"]
    for (table, image), group in fits.groupby(["table", "image"], sort=False):
        if len(group) > 1:
            _, problem_for, _, _, how = TABLES[table]
            results_ = [images.read(results / f"{name}.png") for name in group.name]
            truth = problem_for(image, group["size"].iloc[0] or None).truth
            score = metrics.psnr(torch.stack(results_).mean(0), truth, **how)
            row = {"table": table, "image": image, "method": f"mean of {len(group)} runs"}
            added.append(row | {"psnr": score, "seconds": group.seconds.sum()})
    return pd.concat([rows, pd.DataFrame(added)], ignore_index=True) if added else rows


def by_image(rows, table, full):
    """Methods down, images across, a mean at the end; the published row where it compares."""
    of_table = rows[rows.table == table]
    wide = of_table.pivot_table("psnr", "method", "image", aggfunc="mean", sort=False)
    names = [name for name in TABLES[table][0] if name in wide.columns]
    wide = wide[names]
    if full:
        published = dict(zip(TABLES[table][0], PUBLISHED[table]))
        wide.loc["deep image prior, published"] = [published[name] for name in names]
    wide["mean"] = wide.mean(axis=1)
    wide["seconds"] = of_table.groupby("method").seconds.mean()
    return wide


def about(fits, recipe):
    """One paragraph: what ran, where, when, with which versions."""
    sides = {f"{int(side)}x{int(side)}" if side else "full size" for side in fits["size"].fillna(0)}
    return (
        f"PSNR in dB at {', '.join(sorted(sides))}; recipe `{recipe}`, "
        f"{fits.seed.nunique()} seed(s), {int(fits.iterations.mean())} iterations on average; "
        + report.machine(any("cuda" in str(device) for device in fits.device))
    )


def main(
    table: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(TABLES)}.")] = None,
    recipe: Annotated[str, typer.Option(help="paper or lab.")] = "paper",
    limit: Annotated[int | None, typer.Option(min=1, help="Images a table.")] = None,
    size: Annotated[int | None, typer.Option(min=32, help="A smaller square.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fits an image.")] = 2,
    iterations: Annotated[int | None, typer.Option(min=1, help="Other than published.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; what is there.")] = None,
    results: Annotated[Path, typer.Option(help="Store.")] = HERE / "results" / "paper",
    out: Annotated[Path, typer.Option(help="The Markdown file.")] = report.RESULTS,
):
    """Measure the paper's tables."""
    if unknown := set(table or ()) - set(TABLES):
        raise typer.BadParameter(f"no table is called {unknown.pop()!r}: {', '.join(TABLES)}")
    if recipe not in recipes.NAMES:
        raise typer.BadParameter(f"no recipe is called {recipe!r}: {', '.join(recipes.NAMES)}")
    results.mkdir(parents=True, exist_ok=True)
    for name in table or TABLES:
        names = TABLES[name][0][:limit]
        for image in names:
            TABLES[name][1](image, size)  # what cannot be had must not cost an hour first
        end = f"-{size or 'full'}-{recipe}-{iterations or 'published'}"
        todo = {
            f"{name}-{image}-{size or 'full'}-classics": partial(classics, name, image, size)
            for image in names
        }
        for seed, image in itertools.product(range(seeds), names):
            what = (name, image, size, seed, recipe, iterations, device)
            todo[f"{name}-{image}{end}-{seed}"] = partial(measure, *what)
        begun = time.perf_counter()
        run_missing(todo, results)
        tell(name, list(todo), recipe, size is None, results, out)
        print(f"{name}: {time.perf_counter() - begun:.0f} s")


def tell(table, names, recipe, full, results, out):
    """Print a table, and write its CSV, its figure and its section."""
    stored = {name: report.stored(results / f"{name}.json") for name in names}
    rows = pd.DataFrame([row | {"name": name} for name, rows in stored.items() for row in rows])
    fits = rows[rows.method == "deep image prior"]
    rows = mean_of_runs(rows, results)
    wide = by_image(rows, table, full)
    print(wide.round(2).to_string())
    with replacing(results / f"{table}.csv") as temporary:
        rows.drop(columns="name").to_csv(temporary, index=False)
    shown = {row.image: images.read(results / f"{row['name']}.png") for _, row in fits.iterrows()}
    captions = {p: f"{s:.2f} dB" for p, s in fits.groupby("image").psnr.mean().items()}
    contact_sheet(shown, captions=captions, alt=f"{table}: the fits").savefig(
        results / f"{table}.png", dpi=110
    )
    report.put_section(out, table, f"{about(fits, recipe)}\n\n{report.markdown(wide)}")


if __name__ == "__main__":
    report.start(main)
