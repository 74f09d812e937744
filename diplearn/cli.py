"""The command line: `diplearn denoise photo.jpg` and its sisters.

Nothing here imports torch before a command has been understood, so that help comes at once.
"""

import contextlib
import dataclasses
import inspect
import os
import signal
import sys
import threading
import warnings
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import typer

from .errors import InputError

TASKS = {
    "denoise": "denoising",
    "dejpeg": "jpeg",
    "upscale": "super_resolution",
    "inpaint": "inpainting",
}

EXAMPLES = """\
Examples:

\b
  diplearn denoise photo.jpg                   the result is photo-denoised.png
  diplearn denoise photo.jpg --longest 512     a large photograph: minutes, not hours
  diplearn upscale photo.jpg --factor 4 --out large.png
  diplearn inpaint photo.jpg --mask mask.png   black in the mask is what to fill in
  diplearn dejpeg photo.jpg --film fit.gif     watch how it came about
  diplearn sweep many.toml --workers 4         many fits, and a table

Ctrl-C ends a fit early and writes the best so far.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclasses.dataclass
class Shared:
    """The options that all commands have."""

    picture: Annotated[
        Path | None, typer.Argument(metavar="PICTURE", help="The degraded picture, any format.")
    ] = None
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The result; else beside the picture."),
    ] = None
    longest: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS", min=16, help="First bring a large picture down to this longer side."
        ),
    ] = None
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="lab, about a minute on two cores at 256x256 (default), or paper, as published.",
        ),
    ] = None
    iterations: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many, instead of the recipe's.")
    ] = None
    stop: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="When to stop: auto (default), count, hold-out, sure, discrepancy, es-wmv, "
            "es-emv, plateau, or oracle, which needs --truth.",
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Same seed, same machine, same result (default: 0)."),
    ] = None
    truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The clean picture, if there is one: only to measure."),
    ] = None
    film: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write the iterations as a .gif, .webp or animated .png."
        ),
    ] = None
    save: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Also keep the fit in a file, to go on with later."),
    ] = None
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a fit that --save kept, instead of a PICTURE; the file stays as it "
            "is unless --save names it again.",
        ),
    ] = None


def with_shared(command):
    """Make a typer command of a function's own options and the `Shared` ones.

    Parameters
    ----------
    command : callable
        Its parameters are its own options, its docstring is the help text.

    Returns
    -------
    callable
        Registered with the app under the function's name.
    """

    def run(**options):
        return _restore(SimpleNamespace(command=command.__name__, **options))

    own, shared = (inspect.signature(source).parameters for source in (command, Shared))
    everything = [*shared.values(), *own.values()]
    run.__signature__ = inspect.Signature(
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in everything]
    )
    run.__doc__ = command.__doc__
    return app.command(command.__name__)(run)


@with_shared
def denoise(
    sigma: Annotated[
        float | None,
        typer.Option(
            metavar="LEVEL", min=0, max=255, help="Strength of the noise, 0 to 255; else estimated."
        ),
    ] = None,
):
    """Remove noise from a photograph."""


@with_shared
def dejpeg():
    """Remove the blocks and the ringing that JPEG left."""


@with_shared
def upscale(
    factor: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="How many times larger (default: 4).")
    ] = None,
):
    """Make a picture larger: super-resolution."""


@with_shared
def inpaint(
    mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="As large as the picture; black is what to fill in."),
    ] = None,
    invert: Annotated[
        bool | None,
        typer.Option("--invert", help="The mask is the other way round: fill in what is white."),
    ] = None,
):
    """Fill in what a mask says is missing."""


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="What to fit.")],
    results: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to keep the results; else a folder beside FILE."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Fit in this many processes; else in this one."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Fit on the workers of this Dask scheduler, such as tcp://127.0.0.1:8786.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(metavar="N", min=1, help="Cores for each fit: part of its result.")
    ] = 1,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first so many cases.")
    ] = None,
):
    """Make the many fits that a file describes; those that are kept already are not made again.

    diplearn.sweep explains the file: python -c "help('diplearn.sweep')"
    """
    from . import sweep as sweeps

    if workers is not None and scheduler is not None:
        raise InputError("--workers are processes here, --scheduler is a cluster: name one of them")
    cases = sweeps.read(file)[:limit]
    folder = results or file.with_suffix("")
    try:
        with _executor(sweeps, workers, scheduler) as executor:
            rows = sweeps.sweep(cases, executor, results=folder, threads=threads)
    except KeyboardInterrupt:  # the second one
        _complain(f"ended at once; what was done before is kept in {folder}")
        return "interrupted"
    failed = [] if rows.empty else rows["error"].dropna().tolist()
    _print(f"{folder / 'table.csv'}: {len(rows)} of {len(cases)} cases, {len(failed)} failed")
    if failed:
        _complain(f"the first that failed: {failed[0]}")
    if len(rows) < len(cases):
        return "interrupted"
    return "failed" if failed else None


def _executor(sweeps, workers, scheduler):
    if scheduler is not None:
        return sweeps.cluster(scheduler)
    return contextlib.nullcontext() if workers is None else sweeps.workers(workers)


def _version(wanted: bool):
    if wanted:
        print(f"diplearn {metadata.version('diplearn')}")
        raise typer.Exit()


@app.callback(epilog=EXAMPLES)
def _diplearn(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
):
    """Restore one picture with an untrained network: the deep image prior."""


def main(arguments=None):
    """Run the command line and exit; a user's mistake is one line on stderr and exit code 2.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with _warnings_as_lines():
            ended = app(args=arguments or ["--help"], prog_name="diplearn", standalone_mode=False)
        if ended == 130:  # typer's word for a Ctrl-C that it met
            raise KeyboardInterrupt
        code = {"failed": 1, "interrupted": 130, "halted": 143}.get(ended, 0)
    except (KeyboardInterrupt, typer.Abort):
        code = _complain("interrupted; nothing was written", 130)
    except Exception as error:
        words = _explained(error)
        if words is None:
            raise  # a mistake of ours deserves its traceback
        code = _complain(words)
    finally:
        _flush()
    sys.exit(code)


def _explained(error):
    """Return what a user can do something about, or None."""
    if isinstance(error, MemoryError) and not isinstance(error, InputError):
        return "the memory ran out; --longest 512 makes the picture smaller first"
    if isinstance(error, RuntimeError) and "memory" in str(error):  # as torch says it
        return _explained(MemoryError())
    if hasattr(error, "format_message"):  # a mistake in the options, as typer words it
        return error.format_message()
    if isinstance(error, OSError):  # a full disk, a file that vanished
        return f"{error.filename}: {error.strerror}" if error.filename else error
    return error if isinstance(error, InputError) else None


def _restore(options):
    """Check all that can be checked, fit, write what came of it; return what ended the fit."""
    from . import images
    from .files import check_writable
    from .fitting import fit, interruptible, resume
    from .run import check_film

    _check_together(options)
    shared = {"stop": options.stop, "iterations": options.iterations, "save": options.save}
    if options.resume is None:
        source, suffix = options.picture, _suffix(options.command, options)
    else:
        run = _load(options)
        source, suffix = options.resume, _suffix(options.command, run.problem.operator)
    out = options.out or source.parent / f"{source.stem}-{suffix}.png"
    images.check_suffix(out)
    check_writable(out)
    _check_files(options, out)
    if options.film is not None:
        check_film(options.film)
    if options.save is not None and images.image_format(options.save) is not None:
        raise InputError(f"--save {options.save} would hold the fit, no picture: see --out")

    with _terminated() as halt:
        if options.resume is None:
            problem = _problem(options)
            run = fit(problem, options.recipe, seed=options.seed or 0, halt=halt, **shared)
        else:
            run = resume(run, halt=halt, **shared)
        with interruptible():  # a Ctrl-C that comes now does not lose the result
            images.write(run.output, out)
            _print(f"{out}: {_summary(run)}")
            if options.film is not None:
                run.film(options.film)
            if options.save is not None and run.saved_at != run.stopped_at:
                run.save(options.save)  # again, so that the exit code tells why it failed
    return run.stopped_by


def _check_together(options):
    """Refuse options that contradict one another."""
    if options.resume is None:
        if options.picture is None:
            raise InputError(f"which picture? For example: diplearn {options.command} photo.jpg")
        if options.command == "inpaint" and options.mask is None:
            raise InputError("inpaint needs --mask, a picture that is black where to fill in")
        return
    settled = "picture longest recipe seed truth sigma factor mask invert".split()
    given = [name for name in settled if getattr(options, name, None) is not None]
    if given:
        names = ", ".join("PICTURE" if name == "picture" else f"--{name}" for name in given)
        raise InputError(f"with --resume a fit goes on as it was begun: leave out {names}")


def _check_files(options, out):
    """Refuse to write over what is read, or two things into one file."""
    written = {"--out": out, "--film": options.film, "--save": options.save}
    read = {
        "the picture": options.picture,
        "--truth": options.truth,
        "--mask": getattr(options, "mask", None),
    }
    if options.save is None or not _same(options.save, options.resume):
        read["--resume"] = options.resume  # to write a fit back where it came from is fine
    taken = {name: path for name, path in read.items() if path is not None}
    for name, path in written.items():
        for other, theirs in taken.items() if path is not None else ():
            if _same(path, theirs):
                raise InputError(f"{name} {path} is the file of {other}: name another")
        if path is not None:
            taken[name] = path


def _same(path, other):
    try:
        return path.samefile(other)
    except (OSError, TypeError):  # one of them is not there yet, or was not given
        return other is not None and path.resolve() == other.resolve()


def _load(options):
    """Load the fit to go on with, if it is one for this command."""
    from .run import Run

    run = Run.load(options.resume)
    if run.problem.task != TASKS[options.command]:
        commands = [name for name, task in TASKS.items() if task == run.problem.task]
        go_on = f"diplearn {commands[0]} --resume" if commands else "Run.load and resume in Python"
        task = run.problem.task.replace("_", "-")
        raise InputError(f"{options.resume} holds a fit of {task}: go on with {go_on}")
    return run


def _suffix(command, settings):
    if command == "upscale":
        return f"x{settings.factor or 4}"
    return {"denoise": "denoised", "dejpeg": "dejpeg", "inpaint": "inpainted"}[command]


def _problem(options):
    """Read the pictures, and say what is to be done with them."""
    from . import images, operators
    from .problems import Problem

    operator, sigma, longest = operators.Identity(), None, options.longest
    observation = images.read(options.picture, longest=longest)
    if options.command == "denoise" and options.sigma is not None:
        sigma = options.sigma / 255
    if options.command == "upscale":
        operator = operators.Downsample(options.factor or 4)
        longest = longest and longest * operator.factor  # the truth is the large picture
    if options.command == "inpaint":
        mask = images.read(options.mask).mean(dim=0, keepdim=True) > 0.5
        known = (~mask if options.invert else mask).float()
        # Made smaller, a pixel is known if nothing missing went into it.
        known = known if longest is None else images.shrink(known, longest)
        operator = operators.Mask(known > 0.99)
    truth = None if options.truth is None else images.read(options.truth, longest=longest)
    return Problem(observation, operator, truth, sigma, TASKS[options.command])


def _summary(run):
    """Tell in a line what came of a fit."""
    from . import metrics

    words = f"{run.stopped_at} iterations, {run.seconds:.0f} s"
    truth, observation = run.problem.truth, run.problem.observation
    if truth is not None and observation.shape == truth.shape:
        words += f", PSNR {metrics.psnr(observation, truth):.2f} -> {run.psnr:.2f} dB"
    elif truth is not None:
        words += f", PSNR {run.psnr:.2f} dB"
    return words + {"interrupted": ", interrupted", "halted": ", ended"}.get(run.stopped_by, "")


@contextlib.contextmanager
def _terminated():
    """Turn a polite request to end (SIGTERM: a shutdown, a cluster's time limit) into an event."""
    halt = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: halt.set())
    try:
        yield halt
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _warnings_as_lines():
    """Say warnings as a sentence, without the source line that Python adds."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _complain(message)
        yield


def _complain(message, code=2):
    line = "diplearn: " + " ".join(str(message).split())
    if "tqdm" in sys.modules:  # a progress bar may stand there
        sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr)
    return code


def _print(line):
    with contextlib.suppress(BrokenPipeError):  # nobody reads: the picture is written all the same
        print(line, flush=True)


def _flush():
    """Spare Python its complaint, at exit, about a pipe whose reader went away."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
