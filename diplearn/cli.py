"""The command line: `diplearn denoise photo.jpg` and its sisters.

Nothing here imports torch before a command has been understood, so that help comes at once.
"""

import contextlib
import dataclasses
import importlib
import inspect
import itertools
import os
import re
import sys
import tempfile
import warnings
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import typer

from .errors import InputError
from .guard import Guard

TASKS = {
    "denoise": "denoising",
    "dejpeg": "jpeg",
    "upscale": "super_resolution",
    "inpaint": "inpainting",
}

FAILED = 2
"""Exit code of a mistake in what was handed in, and of an output that could not be written."""

EXAMPLES = """\
Examples:

\b
  diplearn denoise photo.jpg                   the result is photo-denoised.png
  diplearn denoise photo.jpg --longest 512     a large photograph: minutes, not hours
  diplearn upscale photo.jpg --factor 4 --out large.png
  diplearn inpaint photo.jpg --mask mask.png   black in the mask is what to fill in
  diplearn inpaint photo.png                   what was erased in the image is filled in
  diplearn dejpeg photo.jpg --film fit.gif     watch how it came about
  cat photo.jpg | diplearn denoise - --out - > result.png
  diplearn sweep many.toml --workers 4         many fits, and a table

Ctrl-C ends a fit early and writes the best so far.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclasses.dataclass
class Shared:
    """The options that all commands have."""

    image: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGE", help="The degraded image, any format; - for standard input."
        ),
    ] = None
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The result, - for standard output; else a new file beside the image.",
        ),
    ] = None
    longest: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS", min=16, help="First bring a large image down to this longer side."
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
        str | None,
        typer.Option(metavar="FILE", help="The clean image, if there is one: only to measure."),
    ] = None
    film: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Also write the iterations as a .gif, .webp or animated .png."
        ),
    ] = None
    save: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Also keep the fit in a file, to go on with later."),
    ] = None
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a fit that --save kept, instead of a IMAGE; the file stays as it "
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

    def run(context, **options):
        _restore(SimpleNamespace(command=command.__name__, **options), context.obj)

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    own, shared = (inspect.signature(source).parameters for source in (command, Shared))
    everything = [context, *shared.values(), *own.values()]
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
    """Make an image larger: super-resolution."""


@with_shared
def inpaint(
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="As large as the image; what to fill in is black, or transparent. Without a "
            "mask, it is what is transparent in the image.",
        ),
    ] = None,
    invert: Annotated[
        bool | None,
        typer.Option("--invert", help="The mask is the other way round: fill in what is white."),
    ] = None,
):
    """Fill in what a mask says is missing."""


@app.command()
def sweep(
    context: typer.Context,
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
    _start("diplearn.sweep", context.obj)
    from . import sweep as sweeps

    if workers is not None and scheduler is not None:
        raise InputError("--workers are processes here, --scheduler is a cluster: name one of them")
    cases = sweeps.read(file)[:limit]
    folder = results or file.with_suffix("")
    try:
        with _executor(sweeps, workers, scheduler) as executor:
            rows = sweeps.sweep(cases, executor, results=folder, threads=threads)
        failed = [] if rows.empty else rows["error"].dropna().tolist()
        _print(f"{folder / 'table.csv'}: {len(rows)} of {len(cases)} cases, {len(failed)} failed")
        if failed:
            _complain(f"the first that failed: {failed[0]}")
        context.obj.finish(130 if len(rows) < len(cases) else 1 if failed else 0)
    except KeyboardInterrupt:  # the second one, or a request to end
        _complain(f"ended at once; what was done before is kept in {folder}")
        context.obj.finish(context.obj.ended_by())


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
    """Restore one image with an untrained network: the deep image prior."""


def main(arguments=None):
    """Run the command line and exit; a user's mistake is one line on stderr and exit code 2.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    _open_streams()
    guard = Guard()
    try:
        with guard, _warnings_as_lines():
            ended = app(
                args=arguments or ["--help"],
                prog_name="diplearn",
                standalone_mode=False,
                obj=guard,
            )
        if ended == 130:  # typer's word for a Ctrl-C that it met
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        guard.code = _complain(guard.told(), guard.ended_by())
    except Exception as error:
        words = _explained(error)
        if words is None:
            raise  # a mistake of ours deserves its traceback
        guard.code = _complain(words)
    finally:
        _flush()
    sys.exit(guard.code)


def _explained(error):
    """Return what a user can do something about, or None."""
    if isinstance(error, MemoryError) and not isinstance(error, InputError):
        return "the memory ran out; --longest 512 makes the image smaller first"
    if isinstance(error, RuntimeError) and "memory" in str(error):  # as torch says it
        return _explained(MemoryError())
    if hasattr(error, "format_message"):  # a mistake in the options, as typer words it
        return error.format_message()
    if isinstance(error, OSError):  # a full disk, a file that vanished
        return f"{error.filename}: {error.strerror}" if error.filename else error
    return error if isinstance(error, InputError) else None


def _start(module, guard):
    """Import what uses PyTorch; garbage in the environment, which it trips over, is named."""
    try:
        importlib.import_module(module)
    except Exception as error:
        guard.check()
        suspects = [f"{k}={v}" for k, v in os.environ.items() if re.match("(PY)?TORCH|TQDM_", k)]
        if not suspects or isinstance(error, ImportError):
            raise
        reason = str(error).strip().partition("\n")[0][:100]
        raise InputError(
            f"PyTorch cannot start ({reason}): correct or unset what is wrong among the "
            f"environment variables {', '.join(suspects)}"
        ) from error
    guard.check()


def _restore(options, guard):
    """Check all that can be checked, fit, write what came of it."""
    _check_together(options)
    _check_names(options)
    _start("diplearn.fitting", guard)
    from .fitting import fit, resume

    about = None
    if options.resume is None:  # what is read is looked at before what is written
        work, about = _problem(options)
    else:
        work = _load(options)
    beside = _beside(options, work) if options.out is None else None
    out = _check_outputs(options, beside)
    _start("torch._dynamo", guard)  # the optimisers would
    shared = {"stop": options.stop, "iterations": options.iterations, "save": options.save}
    shared |= {"halt": guard.halt, "callback": guard.began}
    guard.watch(*(Path(path) for path in (out, options.film, options.save) if path is not None))
    pipe = _own_stdout() if out is None else None
    outputs = Outputs(options, about, out, beside, pipe, guard)
    try:
        if options.resume is None:
            run = fit(work, options.recipe, seed=options.seed or 0, **shared)
        else:
            run = resume(work, **shared)
    except BaseException as error:  # also a second Ctrl-C
        if getattr(error, "run", None) is not None:
            outputs.write(error.run, film=isinstance(error, Exception))
        raise
    done = outputs.write(run)
    ended = {"interrupted": 130, "halted": guard.ended_by()}.get(run.stopped_by, 0)
    guard.finish(ended if done else FAILED)


# What is read.


def _check_together(options):
    """Refuse options that contradict one another."""
    if options.resume is None:
        if getattr(options, "invert", None) and options.mask is None:
            raise InputError("--invert turns a mask round: name one with --mask")
        if options.image is None:
            raise InputError(f"which image? For example: diplearn {options.command} photo.jpg")
        return
    settled = "image longest recipe seed truth sigma factor mask invert".split()
    given = [name for name in settled if getattr(options, name, None) is not None]
    if given:
        names = ", ".join("IMAGE" if name == "image" else f"--{name}" for name in given)
        raise InputError(f"with --resume a fit goes on as it was begun: leave out {names}")


def _check_names(options):
    """Refuse impossible file names, and `-` for options that cannot use a pipe."""
    names = {
        "IMAGE" if key == "image" else f"--{key}": getattr(options, key, None)
        for key in ("image", "truth", "mask", "resume", "out", "film", "save")
    }
    for option, name in names.items():
        if name == "":
            raise InputError(f"{option} is empty: name a file")
        if name and "\0" in name:
            raise InputError(f"{option} {name!r} cannot be the name of a file: it holds a NUL")
        if name == "-" and option in ("--resume", "--film", "--save"):
            raise InputError(f"{option} must be a file: only images go through - as a pipe")
    piped = [option for option in ("IMAGE", "--truth", "--mask") if names[option] == "-"]
    if len(piped) > 1:
        raise InputError(f"standard input holds one image: {' and '.join(piped)} cannot share it")


def _source(name):
    """Return what `images` is to read: the name of a file, or all that came through a pipe."""
    from . import images

    if name == "-":
        if "stdin" in _closed or sys.stdin.isatty():
            raise InputError("- reads an image from standard input: pipe one into it")
        return images.opened(sys.stdin.buffer)
    pipe = _is_handle(name) or Path(name).is_fifo()
    return images.opened(name) if pipe else name  # a pipe can be read once


def _is_handle(name):
    """Return whether a name stands for something that is open already, such as /dev/stdin."""
    return re.match("/dev/(fd/|stdin$)|/proc/", os.path.abspath(name)) is not None


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


def _problem(options):
    """Read the images; return what is to be done, and what the first file says beside pixels."""
    from . import images, operators
    from .problems import Problem

    source = _source(options.image)
    operator, sigma, longest = operators.Identity(), None, options.longest
    if options.command == "inpaint":
        observation, operator = _holed(options, source)
    elif options.command == "upscale":
        observation, operator = _small(options, source)
        longest = longest and longest * operator.factor  # the truth is the large image
    else:
        observation = images.read(source, longest=longest)
    if options.command == "denoise" and options.sigma is not None:
        sigma = options.sigma / 255
    truth = options.truth and images.read(_source(options.truth), longest=longest)
    problem = Problem(observation, operator, truth, sigma, TASKS[options.command])
    return problem, images.about(source)


def _small(options, source):
    """Read an image to be made larger: it may be small, but the result must not be too large."""
    from . import images, operators

    factor = options.factor or 4
    smallest = -(-images.SMALLEST_SIDE // factor)
    observation = images.read(source, longest=options.longest, smallest=smallest)
    height, width = (side * factor for side in observation.shape[-2:])
    if height * width > images.LARGEST_AREA:
        raise InputError(
            f"--factor {factor} would make {width}x{height} pixels, and more than "
            f"{images.LARGEST_AREA // 1_000_000} million are refused: take a smaller one"
        )
    return observation, operators.Downsample(factor)


def _holed(options, source):
    """Read an image and its mask, which may be what is transparent in the image itself."""
    from . import images, operators

    if options.mask is None:
        observation, known = _erased(source)
    else:
        observation = images.read(source)
        known = images.read_mask(_source(options.mask), invert=bool(options.invert))
    if options.longest is not None:
        observation, known = images.shrink_known(observation, known, options.longest)
    return observation, operators.Mask(known)


def _erased(source):
    """Read an image that is its own mask.

    The erased pixels read as white; they are masked, so their value is irrelevant.
    """
    from . import images

    image, known = images.read_erased(source)
    if known.all():
        raise InputError(
            "inpaint needs --mask, an image that is black where to fill in; or a IMAGE that is "
            "transparent there, as an eraser leaves it"
        )
    return image, known


# What is written.


def _check_outputs(options, beside):
    """Say now what could not be written later; return where the image goes, None for a pipe."""
    from . import images
    from .files import check_writable
    from .run import check_film

    if options.out == "-":
        out = None
        if "stdout" in _closed or sys.stdout.isatty():
            raise InputError("--out - writes to standard output, which must be a pipe or a file")
    else:
        out = next(_free(beside)) if beside else Path(options.out)
        images.check_suffix(out)
        check_writable(out)
    _check_files(options, out)
    if options.film is not None:
        check_film(options.film)
    if options.save is not None and images.image_format(options.save) is not None:
        raise InputError(f"--save {options.save} would hold the fit, no image: see --out")
    if beside and out != beside:
        _complain(f"{beside} is there already: the result will be {out}")
    return out


def _beside(options, work):
    """Name the result after what was read."""
    source = Path(options.image or options.resume)
    if str(source) == "-" or _is_handle(source):
        source = Path("piped")  # here, where the user is
    settings = options if options.resume is None else work.problem.operator
    return source.parent / f"{source.stem}-{_suffix(options.command, settings)}.png"


def _free(path):
    """Yield names that are not taken: this one, and others."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return (name for name in itertools.chain([path], numbered) if not os.path.lexists(name))


def _suffix(command, settings):
    if command == "upscale":
        return f"x{settings.factor or 4}"
    return {"denoise": "denoised", "dejpeg": "dejpeg", "inpaint": "inpainted"}[command]


def _check_files(options, out):
    """Refuse to write over what is read, or two things into one file."""
    written = {"--out": out, "--film": options.film, "--save": options.save}
    read = {
        "the image": options.image,
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
        return os.path.samefile(path, sys.stdin.fileno() if other == "-" else other)
    except (OSError, TypeError):  # one of them is not there yet, or was not given
        return other is not None and Path(path).resolve() == Path(other).resolve()


def _own_stdout():
    """Return a handle of standard output for the image alone; others get standard error.

    A library that prints, as MKL_VERBOSE=1 lets one do, would damage the image. It stays so until
    the process ends, since the library may hold something back until then.
    """
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return own


@dataclasses.dataclass
class Outputs:
    """What a command writes: the image to `out`, or through `pipe`; the run and a film.

    Where nobody named `out`, it is the first name from `beside` on that is free.
    """

    options: SimpleNamespace
    about: object
    out: Path | None
    beside: Path | None
    pipe: int | None
    guard: Guard

    def write(self, run, film=True):
        """Try every output, whatever becomes of the others; return whether all were written."""
        save, film = self.options.save, self.options.film if film else None
        tries = [("--out", self.out or "-", lambda: self._write_image(run))]
        if save is not None and run.saved_at != run.stopped_at:  # the fit's own attempt failed
            tries.append(("--save", save, lambda: run.save(save)))
        if film is not None:
            tries.append(("--film", film, lambda: run.film(film)))
        done = True
        for option, path, attempt in tries:
            try:
                attempt()
            except Exception as error:
                done = False
                rescued = self._rescue(run) if option == "--out" else ""
                _complain(f"{option} {path} could not be written: {_reason(error)}{rescued}")
        return done

    def _write_image(self, run):
        """Write the result, and say so: on standard error if standard output is the image's."""
        from . import images

        if self.pipe is not None:
            content = images.encode(run.output, "PNG", self.about)
            self.guard.sends("standard output, perhaps not all of it,")
            with os.fdopen(self.pipe, "wb") as file:
                file.write(content)
            _complain(f"standard output: {_summary(run)}")
        elif self.beside is None:
            images.write(run.output, self.out, self.about)
            _print(f"{self.out}: {_summary(run)}")
        else:
            _print(f"{self._write_new(run.output)}: {_summary(run)}")

    def _write_new(self, image):
        """Write to the first name that is free, and return it.

        The free name of before the fit may be taken by now: by another fit, of photo.jpg beside
        photo.png.
        """
        from . import files, images

        content = images.encode(image, images.image_format(self.out), self.about)
        return files.write_new(content, self._names())

    def _names(self):
        """Yield names that are free, and watch the last one, which will be the file's."""
        for name in _free(self.beside):
            self.guard.watch(name)
            yield name
            self.guard.forget(name)

    def _rescue(self, run):
        """Put a result that cannot go where it should where temporary files go; say so."""
        from . import images

        with contextlib.suppress(Exception):
            path = Path(tempfile.mkdtemp(prefix="diplearn-"), "result.png")
            images.write(run.output, path, self.about)
            return f"; the image is in {path} instead"
        return ""


def _reason(error):
    """Tell why something could not be written."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return _explained(error) or f"{type(error).__name__}: {error}"


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


# What is said.


@contextlib.contextmanager
def _warnings_as_lines():
    """Say warnings as a sentence, without the source line that Python adds."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # PYTHONWARNINGS=error would end a fit at a remark
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        warnings.showwarning = lambda message, *_, **__: _complain(message)
        yield


def _complain(message, code=FAILED):
    line = "diplearn: " + " ".join(str(message).split())
    with contextlib.suppress(OSError):  # the terminal is gone
        if "tqdm" in sys.modules:  # a progress bar may stand there
            sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr)
    return code


def _print(line):
    with contextlib.suppress(OSError):  # nobody reads: the image is written all the same
        try:
            print(line, flush=True)
        except UnicodeEncodeError:  # a name that the terminal cannot show
            print(ascii(line)[1:-1], flush=True)


_closed = set()
"""Standard streams that were closed when the program began, as by `>&-` in a shell."""


def _open_streams():
    """Open closed standard streams on nothing: the next file would take the number of one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _closed.add(name)
            handle = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            setattr(sys, name, open(handle, "w" if number else "r"))


def _flush():
    """Spare Python its complaint, at exit, about a pipe whose reader went away."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
