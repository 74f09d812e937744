"""Repeat the paper's three tables, with the published numbers beside ours.

python benchmarks/paper_tables.py --table denoising --limit 1 --size 64 --seeds 1

The images, noise and masks are the authors' own, downloaded once and checked, or read from the
folder DIPLEARN_DATA_DIR. The paper's recipe at full size needs a GPU; --size and --recipe lab suit
a laptop. With --size, the published numbers are left out, since they belong to the full images.
Each finished case is stored, so that the same command continues after a stop. The output is a CSV,
a figure, and a section of RESULTS.md.
"""

import itertools
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import report
import torch
import typer

import diplearn as dip
from diplearn import baselines, images, metrics, operators, recipes
from diplearn.figures import contact_sheet
from diplearn.files import replacing
from diplearn.results import Result, Store

HERE = Path(__file__).resolve().parent
DENOISING = ("F16", "baboon", "hill", "kodim01", "kodim02", "kodim03", "kodim12", "lena", "peppers")
MISSING = (
    "barbara", "boat", "house", "Lena512", "peppers256", "Cameraman256", "couple",
    "fingerprint", "hill", "man", "montage",
)  # fmt: skip
SET5 = ("baby", "bird", "butterfly", "head", "woman")

# Published PSNR: denoising from the authors' files, the rest from the paper's tables 1 and 2.
PUBLISHED = {
    "denoising": [33.69, 24.51, 32.09, 28.44, 32.71, 33.79, 32.68, 32.56, 31.15],
    "missing": [32.22, 33.06, 39.16, 36.16, 33.05, 29.80, 32.52, 32.84, 32.77, 32.20, 34.54],
    "super-resolution": [31.49, 31.80, 26.23, 31.04, 28.93],
}


def denoising(name, size):
    """Return denoising at σ = 25, with the authors' noise if the image has its full size."""
    clean = images.load(f"denoising/{name}_GT.png", size=size)
    if size:
        return dip.denoising(clean, sigma=25 / 255)
    noisy = images.load(f"denoising/{name}_noisy25.png")
    return dip.Problem(noisy, truth=clean, sigma=25 / 255)


def missing(name, size):
    """Return inpainting of half of the pixels: those that are black in the authors' file."""
    clean = images.load(f"restoration/{name}_GT.png", size=size)
    if size:
        return dip.inpainting(clean, 0.5)
    masked = images.load(f"restoration/{name}_masked.png")
    known = (masked > 0).any(0, keepdim=True).float()
    return dip.Problem(masked, operators.Mask(known), truth=clean)


def super_resolution(name, size):
    """Return super-resolution by four, after cropping the sides to multiples of four."""
    clean = images.load(f"super-resolution/{name}_GT.png", size=size)
    height, width = (4 * (side // 4) for side in clean.shape[-2:])
    return dip.super_resolution(clean[..., :height, :width].contiguous(), factor=4)


# table: images, problem, its name in recipes.paper, published iterations, arguments of metrics.psnr
TABLES = {
    "denoising": (DENOISING, denoising, "denoising", 1800, {}),
    "missing": (MISSING, missing, "missing_pixels", 11000, {}),
    "super-resolution": (
        SET5, super_resolution, "super_resolution", 2000, {"luma": True, "shave": 4},
    ),
}  # fmt: skip


def recipe_for(table, name, iterations):
    """Return the recipe for a table: the paper's, with the published iterations, or the lab's."""
    _, _, task, published, _ = TABLES[table]
    if name == "paper":
        return recipes.paper(task).replace(iterations=iterations or published, stop="count")
    changes = {"iterations": iterations, "stop": "count"} if iterations else {}
    return recipes.lab("inpainting" if table == "missing" else task, **changes)


def measure(table, image, size, seed, recipe, iterations, device):
    """Fit once; return the row and the image that it scores."""
    _, problem_for, _, _, how = TABLES[table]
    problem = problem_for(image, size)
    run = dip.fit(
        problem, recipe_for(table, recipe, iterations), seed=seed, device=device, progress=False
    )
    # The stopping rule's choice; without a rule, the average at the end, as in the paper.
    result = run.output if run.recipe.stop != "count" else run.average
    row = {
        "table": table, "image": image, "size": size, "seed": seed, "recipe": recipe,
        "method": "deep image prior", "psnr": metrics.psnr(result, problem.truth, **how),
        "single": metrics.psnr(run.last, problem.truth, **how),
        "iterations": len(run.history), "seconds": run.seconds, "device": str(run.last.device),
    }  # fmt: skip
    return Result([row], result)


def classics(table, image, size):
    """Return a row for each classical method, and in super-resolution one without a prior."""
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
    return Result(rows)


def are_rows(_, result):
    """Return whether a stored result holds rows of this benchmark."""
    return result.row and all("psnr" in row and "method" in row for row in result.row)


def scores(rows):
    """Return the PSNR of each method in words."""
    return ", ".join(f"{row['method']} {row['psnr']:.2f}" for row in rows)


def mean_of_runs(rows, store):
    """Add a row per image: the PSNR of the mean of its runs' outputs (the paper takes two runs)."""
    added = []
    fits = rows[rows.method == "deep image prior"]
    for (table, image), group in fits.groupby(["table", "image"], sort=False):
        if len(group) > 1:
            _, problem_for, _, _, how = TABLES[table]
            restored = [store.get(key).image for key in group.key]
            truth = problem_for(image, group["size"].iloc[0] or None).truth
            score = metrics.psnr(torch.stack(restored).mean(0), truth, **how)
            row = {"table": table, "image": image, "method": f"mean of {len(group)} runs"}
            added.append(row | {"psnr": score, "seconds": group.seconds.sum()})
    return pd.concat([rows, pd.DataFrame(added)], ignore_index=True) if added else rows


def by_image(rows, table, full):
    """Return a table of methods by images; if `full` is true, with the published numbers."""
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
    """Return a sentence: the settings, the machine, the versions and the date."""
    sides = {f"{int(side)}x{int(side)}" if side else "full size" for side in fits["size"].fillna(0)}
    return (
        f"PSNR in dB at {', '.join(sorted(sides))}; recipe `{recipe}`, "
        f"{fits.seed.nunique()} seed(s), {int(fits.iterations.mean())} iterations on average; "
        + report.machine(any("cuda" in str(device) for device in fits.device))
    )


def main(
    table: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(TABLES)}.")] = None,
    recipe: Annotated[str, typer.Option(help="paper or lab.")] = "paper",
    limit: Annotated[int | None, typer.Option(min=1, help="Images per table.")] = None,
    size: Annotated[int | None, typer.Option(min=32, help="Side of a smaller square.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fits per image.")] = 2,
    iterations: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: the best.")] = None,
    results: Annotated[Path, typer.Option(help="Folder to store in.")] = HERE / "results" / "paper",
    out: Annotated[Path, typer.Option(help="The Markdown file.")] = report.RESULTS,
):
    """Repeat the paper's tables."""
    if unknown := set(table or ()) - set(TABLES):
        raise typer.BadParameter(f"no table is called {unknown.pop()!r}: {', '.join(TABLES)}")
    if recipe not in recipes.NAMES:
        raise typer.BadParameter(f"no recipe is called {recipe!r}: {', '.join(recipes.NAMES)}")
    fits = Store(results, ("row", "image"), are_rows)
    others = Store(results, check=are_rows)
    fits.make_folder()
    for name in table or TABLES:
        names = TABLES[name][0][:limit]
        for image in names:
            TABLES[name][1](image, size)  # finds a missing image now, not after an hour
        end = f"-{size or 'full'}-{recipe}-{iterations or 'published'}"
        compared = {
            f"{name}-{image}-{size or 'full'}-classics": partial(classics, name, image, size)
            for image in names
        }
        fitted = {
            f"{name}-{image}{end}-{seed}": partial(
                measure, name, image, size, seed, recipe, iterations, device
            )
            for seed, image in itertools.product(range(seeds), names)
        }
        begun = time.perf_counter()
        report.run_missing(compared, others, scores)
        report.run_missing(fitted, fits, scores)
        tell(name, [*compared, *fitted], recipe, size is None, fits, out)
        print(f"{name}: {time.perf_counter() - begun:.0f} s")


def tell(table, keys, recipe, full, store, out):
    """Print a table, and write its CSV, its figure and its section of RESULTS.md."""
    stored = {key: store.get(key, ("row",)).row for key in keys}
    rows = pd.DataFrame([row | {"key": key} for key, rows in stored.items() for row in rows])
    fits = rows[rows.method == "deep image prior"]
    rows = mean_of_runs(rows, store)
    wide = by_image(rows, table, full)
    print(wide.round(2).to_string())
    with replacing(store.folder / f"{table}.csv") as temporary:
        rows.drop(columns="key").to_csv(temporary, index=False)
    shown = {row.image: store.get(row.key).image for row in fits.itertuples()}
    captions = {p: f"{s:.2f} dB" for p, s in fits.groupby("image").psnr.mean().items()}
    contact_sheet(shown, captions=captions, alt=f"{table}: the fits").savefig(
        store.path(table, "image"), dpi=110
    )
    report.put_section(out, table, f"{about(fits, recipe)}\n\n{report.markdown(wide)}")


if __name__ == "__main__":
    report.start(main)
