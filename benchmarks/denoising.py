"""Compare all denoisers: how good each one's image is, and how long it takes.

python benchmarks/denoising.py --image camera --sigma 25 --seeds 1 --size 64 --method BM3D

A case is an image, a noise level, a seed and a method. Each finished case is stored in --results,
so that the same command continues after a stop; after a change of the package, empty that folder.
The output is a CSV, a figure, and a section of RESULTS.md; the first two are written beside the
folder. --threads is a limit for PyTorch; the package bm3d has threads of its own.

With --camera, the noise is that of a simulated camera, of unknown level. The classical methods get
an estimate of it; the recipe best finds out for itself what kind of noise it is. Methods that look
at the truth show what a better estimate and a better stopping rule could gain at most.
"""

import contextlib
import hashlib
import itertools
import re
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import report
import torch
import typer

import diplearn as dip
from diplearn import baselines, images, noise, recipes
from diplearn.figures import COLOURS, Figure, show_literally
from diplearn.files import replacing
from diplearn.results import Result, Store
from diplearn.stopping import Fusion

NINE = ("F16", "baboon", "hill", "kodim01", "kodim02", "kodim03", "kodim12", "lena", "peppers")
PAPER = [f"denoising/{name}_GT.png" for name in NINE]
SIGMAS, ISOS = (15, 25, 50), (1600, 6400)
GRID = (0.7, 1, 1.4, 2, 2.8)  # levels tried for BM3D, as multiples of the estimate
WIDEST = 12  # a table of more images shows their mean only


# The methods: functions of a problem, a seed and a number of iterations (None: the recipe's), which
# return the image and, in a dict, what else is worth knowing.


def classical(method):
    """Return a classical method that estimates the noise level where it is not stated."""

    def denoise(problem, *_):
        level = problem.sigma or noise.level(problem.observation)
        return method(dip.Problem(problem.observation, sigma=level)), {"told_level": level}

    return denoise


def unclipped(method):
    """Return a method that also corrects what clipped noise does to it, as guided does."""

    def denoise(problem, *_):
        image = method(problem)
        ends = noise.clipped_ends(problem.observation, image, problem.sigma)
        return noise.unclip(image, problem.sigma, *ends), dict(zip(("black", "white"), ends))

    return denoise


def bm3d_by_truth(problem, *_):
    """Run BM3D with several noise levels, and choose the best image with the truth."""
    level, observation = noise.level(problem.observation), problem.observation
    tried = {each: baselines.bm3d(dip.Problem(observation, sigma=each * level)) for each in GRID}
    best = max(tried, key=lambda each: dip.psnr(tried[each], problem.truth))
    return tried[best], {"told_level": best * level, "times": best}


def fitted(recipe, stop=None):
    """Return a method that fits by a recipe."""

    def denoise(problem, seed, iterations):
        settings = recipes.choose(recipe, problem)
        if iterations:
            settings = settings.replace(iterations=iterations)  # and the recipe's rule stays
        run = dip.fit(problem, settings, stop=stop, seed=seed, progress=False)
        if run.cut_short:
            raise KeyboardInterrupt  # an unfinished fit must not be stored
        told = {"rule": run.rule_name, "ended_by": run.stopped_by, "device": str(run.last.device)}
        told |= {"stopped_at": run.stopped_at, "chosen_at": run.chosen_at}
        return run.output, told | {"weight": getattr(run.rule, "weight", None)}

    return denoise


CLASSICAL = {
    "noisy": lambda problem, *_: (problem.observation, {}),
    "total variation": classical(baselines.tv),
    "non-local means": classical(baselines.non_local_means),
    "NL-Ridge": classical(baselines.nl_ridge),
    "BM3D": classical(baselines.bm3d),
}
METHODS = CLASSICAL | {
    "NL-Ridge unclipped": unclipped(baselines.nl_ridge),
    "BM3D unclipped": unclipped(baselines.bm3d),
    "lab": fitted("lab"),
    "guided": fitted("guided"),
    "guided with BM3D": fitted("guided", Fusion(pilot="bm3d")),
}
ON_CAMERA = CLASSICAL | {
    "BM3D chosen by the truth": bm3d_by_truth,
    "best": fitted("best"),
    "lab": fitted("lab"),
    "lab chosen by the truth": fitted("lab", "oracle"),
}

# What the section says of two methods: the difference of the first and the second.
PAIRS = (
    ("guided", "BM3D"),
    ("guided", "BM3D unclipped"),
    ("guided", "NL-Ridge unclipped"),
    ("guided with BM3D", "BM3D unclipped"),
    ("guided", "lab"),
    ("best", "BM3D"),
    ("best", "BM3D chosen by the truth"),
    ("best", "lab"),
    ("lab", "BM3D"),
    ("lab", "BM3D chosen by the truth"),
    ("lab", "lab chosen by the truth"),
)
_BLUE, _ORANGE, _GREEN, _PINK, _SKY, _YELLOW, _ = COLOURS
DRAWN = {  # method -> colour and marker; those for a camera share colours with others
    "guided": (_BLUE, "o"),
    "best": (_BLUE, "o"),
    "lab": (_ORANGE, "D"),
    "lab chosen by the truth": (_YELLOW, "P"),
    "NL-Ridge": (_GREEN, "s"),
    "NL-Ridge unclipped": (_SKY, "<"),
    "BM3D unclipped": (_PINK, "^"),
    "BM3D chosen by the truth": (_PINK, "^"),
}


def load(image, size, grey):
    """Load an image by its name or from a file; with `grey`, its luma (ITU-R BT.601)."""
    read = images.load if is_named(image) else images.read
    clean = read(image, size=size)
    if grey and len(clean) == 3:
        weights = clean.new_tensor([0.299, 0.587, 0.114])
        clean = torch.einsum("c,chw->hw", weights, clean)[None].clamp(0, 1)
    return clean


def is_named(image):
    return image in images.names() or image in images.paper_names()


def identity(image):
    """Return a word that no two images share: the name, or for files the stem and a digest."""
    if is_named(image):
        return image.replace("/", "_")
    path = Path(image)
    return f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def titles(names):
    """Return the images' names in tables: short ones, unless two images share one.

    A number says little without the folder that it lies in.
    """
    short = []
    for path in map(Path, names):
        stem = path.stem.removesuffix("_GT")
        short.append(f"{path.parent.name} {stem}".strip() if stem.isdigit() else stem)
    return [name if short.count(stem) > 1 else stem for name, stem in zip(names, short)]


def slug(words):
    """Return words as a part of a file's name."""
    return re.sub(r"[^\w.]+", "-", words).strip("-")


def measure(case, clean):
    """Denoise an image by one method; return a row."""
    level, seed, camera = case["level"], case["seed"], case["noise"] == "camera"
    problem = (
        dip.camera(clean, level, seed) if camera else dip.denoising(clean, level / 255, seed)
    )  # fmt: skip
    method = (ON_CAMERA if camera else METHODS)[case["method"]]
    counts_anew, begun, cpu = begin_peak(), time.perf_counter(), time.process_time()
    image, told = method(problem, seed, case["iterations"])
    told["seconds"] = time.perf_counter() - begun
    told["cpu_seconds"] = time.process_time() - cpu  # depends less on what else the machine does
    told["peak_mb"] = peak() if counts_anew else None
    told |= {"psnr": dip.psnr(image, clean), "ssim": dip.ssim(image, clean)}
    return Result(case | told | {"threads": torch.get_num_threads()})


def begin_peak():
    """Let Linux forget the process's peak memory; return whether that was possible."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def peak():
    """Return the process's peak memory in MB, or None."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else None


def is_row(_, result):
    """Return whether a stored result is from `measure`."""
    return {"image", "level", "seed", "method", "psnr", "ssim", "seconds"} <= set(result.row)


def words(row):
    """Return what a case measured, in words."""
    weight = f", weight of the fit {row['weight']:.2f}" if row.get("weight") is not None else ""
    return f"{row['psnr']:.2f} dB, SSIM {row['ssim']:.3f}, {row['seconds']:.1f} s{weight}"


def table(rows):
    """Return the table of one noise level.

    The spread is the standard deviation over the seeds of the mean over the images. The peak of the
    memory is the smallest over the cases, since a later one has what earlier ones left.
    """
    by_method = rows.groupby("method", sort=False)
    wide = rows.pivot_table("psnr", "method", "image", sort=False)  # means over the seeds
    wide = with_mean(wide)
    wide["spread"] = spread(rows.groupby(["method", "seed"]).psnr.mean())
    wide["SSIM"] = by_method.ssim.mean()
    wide["CPU seconds"] = by_method.cpu_seconds.mean()
    wide["peak MB"] = by_method.peak_mb.min().astype(float)
    return wide


def spread(by_seed):
    """Return each method's standard deviation over the seeds; NaN for one seed."""
    return by_seed.groupby("method").std()


def shown(wide):
    """Return a table with its numbers as text."""
    digits = {"SSIM": 3, "CPU seconds": 1, "peak MB": 0}
    texts = {
        name: [f"{x:.{digits.get(name, 2)}f}" if x == x else "" for x in wide[name]]  # NaN: ""
        for name in wide.columns
    }
    return pd.DataFrame(texts, index=wide.index)


def difference(rows, method, rival):
    """Return in words by how much a method's PSNR is above a rival's."""
    keys = ["image", "seed"]
    psnr = {name: rows[rows.method == name].set_index(keys).psnr for name in (method, rival)}
    apart = psnr[method] - psnr[rival]
    of_image = apart.groupby("image").mean()
    over_seeds = apart.groupby("seed").mean().std()
    error = f" ± {over_seeds:.2f}" if over_seeds == over_seeds else ""
    return (
        f"{method} − {rival}: {apart.mean():+.2f}{error} dB; worst image: {of_image.idxmin()}, "
        f"{of_image.min():+.2f} dB; ahead on {(of_image > 0).sum()} of {len(of_image)}."
    )


def weights(rows):
    """Return the weight of the fit in the mixtures, by noise level, method and image."""
    if "weight" not in rows or rows.weight.isna().all():
        return None
    mixed = rows[rows.weight.notna()]
    wide = mixed.pivot_table("weight", ["noise level", "method"], "image", sort=False)
    return with_mean(wide)


def with_mean(by_image):
    """Return a table with the mean over the images; of many images, with nothing else."""
    mean = by_image.mean(axis=1).rename("mean")
    return mean.to_frame() if by_image.shape[1] > WIDEST else by_image.assign(mean=mean)


def draw(rows, path):
    """Draw each image's difference to BM3D: the mean over the seeds, and a line over their range.

    One panel for each noise level. Return whether there was something to draw.
    """
    psnr = rows.pivot_table("psnr", ["noise level", "image", "seed"], "method", sort=False)
    names = [name for name in DRAWN if name in psnr]
    if "BM3D" not in psnr or not names:
        return False
    apart = psnr[names].sub(psnr["BM3D"], axis=0)
    levels, pictures = rows["noise level"].unique(), list(rows["image"].unique())
    size = (1 + 3.1 * len(levels), 1.7 + 0.4 * len(pictures))
    figure = Figure("PSNR minus that of BM3D, by image and method", figsize=size)
    axes = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for axis, level in zip(axes, levels):
        axis.axvline(0, color="0.6", lw=1)
        for place, name in enumerate(names):
            colour, marker = DRAWN[name]
            of_image = apart.loc[level][name].groupby("image").agg(["mean", "min", "max"])
            of_image = of_image.loc[pictures]
            y = [row + 0.14 * (place - (len(names) - 1) / 2) for row in range(len(pictures))]
            axis.hlines(y, of_image["min"], of_image["max"], color=colour, lw=1)
            axis.plot(of_image["mean"], y, marker, color=colour, ms=5, label=name)
        axis.set(title=level, xlabel="PSNR − PSNR of BM3D, in dB")
        axis.grid(axis="x", alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(pictures)), pictures)
    show_literally(*axes[0].get_yticklabels())
    axes[0].set_ylim(len(pictures) - 0.5, -0.5)  # shared by all panels
    handles, labels = axes[0].get_legend_handles_labels()
    columns = min(len(names), 2 * len(levels))  # more would not fit below the panels
    figure.legend(handles, labels, frameon=False, ncols=columns, loc="outside lower center")
    figure.savefig(path, dpi=110)
    return True


def tell(rows, title, folder, out):
    """Print the tables, and write the CSV, the figure and the section of RESULTS.md."""
    place = folder / slug(title)
    with replacing(place.with_name(f"{place.name}.csv")) as temporary:
        rows.to_csv(temporary, index=False)
    figure = place.with_name(f"{place.name}.png")
    drawn = f"Figure: `{figure.name}`." if draw(rows, figure) else ""
    text = [about(rows)]
    for level, of_level in rows.groupby("noise level", sort=False):
        print(f"{level}\n{shown(table(of_level)).to_string()}")
        text += [f"{level}:", report.markdown(shown(table(of_level)))]
        present = set(of_level.method)
        lines = [difference(of_level, *pair) for pair in PAIRS if set(pair) <= present]
        print(*lines, sep="\n", end="\n\n")
        text.append("\n".join(f"- {line}" for line in lines))
    if (mixed := weights(rows)) is not None:
        text += ["The weight of the fit in the mixture with the pilot:"]
        text += [report.markdown(mixed)]
        print(mixed.round(2).to_string(), end="\n\n")
    report.put_section(out, title, "\n\n".join(part.strip() for part in [*text, drawn] if part))
    print(f"{len(rows)} cases; table and figure: {place}.*")


def about(rows):
    """Return sentences: what was measured, and on what machine."""
    cuda = "device" in rows and rows.device.astype(str).str.contains("cuda").any()
    sentences = (
        f"{rows.image.nunique()} image(s), each the central square of its file in this size; "
        f"{rows.seed.nunique()} seed(s) of noise and fit; PSNR in dB. spread and ±: standard "
        "deviation over the seeds of the mean over the images. CPU seconds: of all threads "
        "together. peak MB: of the whole process, PyTorch included; the smallest over the cases, "
        "since a process keeps what earlier cases left. unclipped: with `noise.unclip` wherever "
        "`noise.clipped_ends` says so, as in guided. "
    )
    if (rows.noise == "camera").any():
        sentences += (
            "The classical methods are told the level that `noise.level` estimates, and its time "
            "counts as theirs. BM3D chosen by the truth: the best of "
            f"{', '.join(f'{each:g}' for each in GRID)} times that level. "
        )
    else:
        sentences += "Every method is told the level. "
    if "iterations" in rows and rows.iterations.notna().any():
        sentences += f"Fits have at most {rows.iterations.iloc[0]:g} iterations. "
    return sentences + report.machine(cuda)


def main(
    image: Annotated[
        list[str] | None, typer.Option(help="Names for images.load, or files.")
    ] = None,
    sigma: Annotated[list[float] | None, typer.Option(min=1, max=255, help="15, 25, 50.")] = None,
    camera: Annotated[bool, typer.Option(help="A camera's noise, ISO 1600 and 6400.")] = False,
    method: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(METHODS)}.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of noise and fit.")] = 3,
    size: Annotated[int, typer.Option(min=16, help="Side of the image in pixels.")] = 256,
    grey: Annotated[bool, typer.Option(help="Turn colours to luma.")] = False,
    iterations: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's.")] = None,
    label: Annotated[str, typer.Option(help="Words for the title, about the images.")] = "",
    threads: Annotated[int | None, typer.Option(min=1, help="Cores to use.")] = None,
    results: Annotated[Path, typer.Option(help="Folder to store in.")] = Path(
        "benchmarks/results/denoising"
    ),
    out: Annotated[Path, typer.Option(help="The Markdown file.")] = report.RESULTS,
):
    """Compare the denoisers."""
    if threads:
        torch.set_num_threads(threads)
    if camera and sigma:
        raise typer.BadParameter("--camera has noise of its own: leave --sigma out")
    known = ON_CAMERA if camera else METHODS
    if unknown := set(method or ()) - set(known):
        raise typer.BadParameter(
            f"no method {'for --camera ' * camera}is called {unknown.pop()!r}: {', '.join(known)}"
        )
    names = list(dict.fromkeys(image or PAPER))
    clean = {name: load(name, size, grey) for name in names}  # finds a missing image now
    store = Store(results, check=is_row)
    store.make_folder()
    form = f"{size}{'-grey' * grey}{f'-{iterations}' if iterations else ''}"
    kind, levels = (
        ("camera", ISOS) if camera else ("gaussian", list(dict.fromkeys(sigma or SIGMAS)))
    )
    wanted, called = {}, dict(zip(names, titles(names)))
    for seed, name, level, each in itertools.product(
        range(seeds), names, levels, [each for each in known if not method or each in method]
    ):
        key = f"{identity(name)}-{form}-{kind}-{level:g}-{seed}-{slug(each)}"
        case = {
            "image": called[name],
            "size": size,
            "grey": grey,
            "noise": kind,
            "iterations": iterations,
        }
        case |= {"level": level, "seed": seed, "method": each}
        wanted[key] = partial(measure, case, clean[name])
    report.run_missing(wanted, store, words)
    # The titles depend on which images are compared: a stored row may have another one.
    rows = [store.get(key).row | {"image": each.args[0]["image"]} for key, each in wanted.items()]
    rows = pd.DataFrame(rows)
    rows["noise level"] = [f"ISO {x:g}" if camera else f"σ = {x:g}" for x in rows.level]
    title = f"denoisers{' on a camera' * camera} at {size}x{size}{', grey' * grey}"
    tell(rows, f"{title}, {label}" if label else title, results.parent, out)


if __name__ == "__main__":
    report.start(main)
