"""The command line: `diplearn denoise photo.jpg` and its sisters.

Nothing here imports torch before a command has been understood, so that help comes at once.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="diplearn",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Restore one picture with an untrained network: the deep image prior.",
)


Photo = Annotated[
    Path | None, typer.Argument(metavar="PICTURE", help="The degraded picture (not with --resume).")
]
Out = Annotated[
    Path | None, typer.Option(help="Where the result goes; by default beside the picture.")
]
RecipeOption = Annotated[
    str, typer.Option("--recipe", help="lab: a minute on two cores; paper: as published.")
]
Iterations = Annotated[int | None, typer.Option(help="How many, instead of the recipe's.")]
Stop = Annotated[
    str, typer.Option("--stop", help="count, or discrepancy: once only noise is left unexplained.")
]
Seed = Annotated[int, typer.Option(help="Same seed, same machine, same result.")]
Longest = Annotated[
    int | None,
    typer.Option(help="First bring the picture down to this many pixels at its longest."),
]
Truth = Annotated[
    Path | None, typer.Option(help="The clean picture, if there is one: only to measure against.")
]
Film = Annotated[
    Path | None, typer.Option(help="The iterations as an animated picture: .gif, .webp or .png.")
]
Save = Annotated[
    Path | None, typer.Option(metavar="RUN", help="Keep the fit here, to go on with it later.")
]
Resume = Annotated[
    Path | None, typer.Option(metavar="RUN", help="Go on with a fit that --save kept.")
]


@app.command()
def denoise(
    photo: Photo = None,
    sigma: Annotated[
        float | None,
        typer.Option(help="Noise level on the scale of 0 to 255, such as 25; else estimated."),
    ] = None,
    stop: Stop = "count",
    recipe: RecipeOption = "lab",
    iterations: Iterations = None,
    seed: Seed = 0,
    out: Out = None,
    longest: Longest = None,
    truth: Truth = None,
    film: Film = None,
    save: Save = None,
    resume: Resume = None,
):
    """Remove noise from a photograph."""

    def problem(observation, clean):
        from .problems import Problem

        level = None if sigma is None else sigma / 255
        return Problem(observation, truth=clean, sigma=level)

    _restore("denoised", problem, **_given(locals()))


@app.command()
def dejpeg(
    photo: Photo = None,
    recipe: RecipeOption = "lab",
    iterations: Iterations = None,
    seed: Seed = 0,
    out: Out = None,
    longest: Longest = None,
    truth: Truth = None,
    film: Film = None,
    save: Save = None,
    resume: Resume = None,
):
    """Remove the blocks and ringing that JPEG left."""

    def problem(observation, clean):
        from .problems import Problem

        return Problem(observation, truth=clean, task="jpeg")

    _restore("dejpeg", problem, **_given(locals()))


@app.command()
def upscale(
    photo: Photo = None,
    factor: Annotated[int, typer.Option(help="How many times larger.")] = 4,
    recipe: RecipeOption = "lab",
    iterations: Iterations = None,
    seed: Seed = 0,
    out: Out = None,
    longest: Longest = None,
    truth: Truth = None,
    film: Film = None,
    save: Save = None,
    resume: Resume = None,
):
    """Make a picture larger: super-resolution."""

    def problem(observation, clean):
        from .operators import Downsample
        from .problems import Problem

        return Problem(observation, Downsample(factor), truth=clean)

    _restore(f"x{factor}", problem, **_given(locals()))


@app.command()
def inpaint(
    photo: Photo = None,
    mask: Annotated[
        Path | None, typer.Option(help="A picture of the same size: black is missing.")
    ] = None,
    recipe: RecipeOption = "lab",
    iterations: Iterations = None,
    seed: Seed = 0,
    out: Out = None,
    truth: Truth = None,
    film: Film = None,
    save: Save = None,
    resume: Resume = None,
):
    """Fill in what a mask says is missing."""

    def problem(observation, clean):
        from . import images
        from .errors import InputError
        from .operators import Mask
        from .problems import Problem

        if mask is None:
            raise InputError("inpaint needs --mask, a picture that is black where to fill in")
        known = images.read(mask).mean(dim=0, keepdim=True) > 0.5
        return Problem(observation, Mask(known), truth=clean)

    _restore("inpainted", problem, **_given(locals()))


def _given(names):
    """The options that all commands share, out of a command's local names."""
    shared = "photo recipe iterations seed out longest truth film save resume stop".split()
    return {name: names[name] for name in shared if name in names}


def _restore(
    suffix, make_problem, photo, recipe, iterations, seed, out, truth, film, save, resume,
    longest=None, stop="count",
):  # fmt: skip
    """Check everything that can be checked, fit, and write what came of it."""
    from . import images
    from .errors import InputError
    from .files import check_writable
    from .fitting import fit
    from .fitting import resume as go_on
    from .run import Run, check_film

    if (photo is None) == (resume is None):
        raise InputError("name one picture, or a fit to go on with (--resume RUN), and not both")
    source = photo or resume
    out = out or source.with_name(f"{source.stem}-{suffix}.png")
    images.check_suffix(out)
    for path in (out, save):
        if path is not None:
            check_writable(path)
    if film is not None:
        check_film(film)

    rule = None if stop == "count" else stop
    if resume is not None:
        run = Run.load(resume)
        run = go_on(run, iterations, stop=rule, save=save or resume)
    else:
        clean = None if truth is None else images.read(truth, longest=longest)
        problem = make_problem(images.read(photo, longest=longest), clean)
        run = fit(problem, recipe, stop=rule, iterations=iterations, seed=seed, save=save)

    images.write(run.output, out)
    if film is not None:
        run.film(film)
    quality = "" if run.problem.truth is None else f", {_gain(run)}"
    print(f"{out}: {run.stopped_at} iterations, {run.seconds:.0f} s{quality}")
    if run.stopped_by == "interrupted":
        raise typer.Exit(130)


def _gain(run):
    from . import metrics

    if run.problem.observation.shape != run.problem.truth.shape:
        return f"{run.psnr:.2f} dB"
    before = metrics.psnr(run.problem.observation, run.problem.truth)
    return f"{before:.2f} -> {run.psnr:.2f} dB"


def main(arguments=None):
    """Run the command line; every mistake of the user's ends in one line and exit code 2.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.
    """
    _one_line_warnings()
    try:
        code = app(args=arguments or sys.argv[1:] or ["--help"], standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except OSError as error:  # a full disk, a file that vanished
        code = _complain(error)
    except Exception as error:
        if hasattr(error, "format_message"):  # a mistake in the options, as typer words it
            code = _complain(error.format_message())
        elif _is_users(error):
            code = _complain(error)
        else:
            raise  # a mistake of ours deserves its traceback
    sys.exit(code or 0)


def _is_users(error):
    from .errors import InputError

    return isinstance(error, InputError)


def _complain(message):
    print("diplearn: " + " ".join(str(message).split()), file=sys.stderr)
    return 2


def _one_line_warnings():
    """Say warnings as a sentence, without the source line that Python adds."""
    import warnings

    def say(message, *_, **__):
        print(f"diplearn: {message}", file=sys.stderr)

    warnings.showwarning = say


if __name__ == "__main__":
    main()
