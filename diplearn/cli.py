"""The command line: `diplearn denoise photo.jpg` and the other commands.

`restore` runs a command: options -> problem -> fit -> outputs. PyTorch is imported only after the
options have been read, so that help appears at once.
"""

import contextlib
import functools
import importlib
import inspect
import itertools
import os
import re
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, NamedTuple

import typer

import diplearn as dip

from . import files, streams
from .errors import InputError
from .interrupts import Guard
from .streams import complain, say

FAILED = 2
"""Exit code if the input is refused or an output cannot be written."""

EXAMPLES = """\
Examples:

\b
  diplearn denoise photo.jpg                   writes photo-denoised.png
  diplearn denoise photo.jpg --longest 512     a large image: minutes instead of hours
  diplearn upscale photo.jpg --factor 4 --out large.png
  diplearn inpaint photo.jpg --mask mask.png   fills in what is black in the mask
  diplearn inpaint photo.png                   fills in what is transparent in the image
  diplearn dejpeg photo.jpg --film fit.gif     also writes a film of the fit
  cat photo.jpg | diplearn denoise - --out - > result.png
  diplearn sweep many.toml --workers 4         many fits, and a table of their results

Ctrl-C stops a fit early and writes the result reached so far.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


# Options and commands.


def _option(kind, metavar, help, *names, **limits):
    """Return an option for typer; its value is None unless the user gives one."""
    return Annotated[kind | None, typer.Option(*names, metavar=metavar, help=help, **limits)]


def _argument(kind, metavar, help):
    return Annotated[kind | None, typer.Argument(metavar=metavar, help=help)]


# fmt: off
OPTIONS = {
    # Input.
    "image": _argument(str, "IMAGE", "The degraded image; - reads it from standard input."),
    "sigma": _option(float, "LEVEL", "Standard deviation of noise that is independent from pixel "
                     "to pixel, 0 to 255. Default: the noise is measured in the image.",
                     min=0, max=255),
    "factor": _option(int, "N", "How many times larger each side becomes (default: 4).", min=2),
    "mask": _option(str, "FILE", "An image as large as IMAGE: black or transparent where IMAGE is "
                    "to be filled in. Default: where IMAGE itself is transparent."),
    "invert": _option(bool, None, "Invert the mask: fill in where it is white.", "--invert"),
    "longest": _option(int, "PIXELS", "First shrink a larger image until its longer side has "
                       "PIXELS pixels.", min=16),
    "truth": _option(str, "FILE", "The clean image, if you have it. It is used to measure the "
                     "result (PSNR), never to fit."),
    "resume": _option(str, "RUN", "Continue a fit that --save wrote, instead of reading IMAGE. The "
                      "file is not changed unless --save names it again."),
    # The fit.
    "recipe": _option(str, "NAME", "best (default): guided, or lab where guided does not apply. "
                      "guided: to denoise, by the deep image prior mixed with NL-Ridge, or, "
                      "without --sigma, by NL-Ridge alone where neighbouring pixels have similar "
                      "noise. lab: the deep "
                      "image prior alone; about a minute for 256x256 pixels on two cores. paper: "
                      "as published; much slower."),
    "iterations": _option(int, "N", "Largest number of iterations. Default: the recipe's.", min=1),
    "stop": _option(str, "RULE", "When to stop, and which image to take. Default: what the "
                    "recipe says (guided: fusion, which makes the mixture; lab: auto; paper: "
                    "count). Others: hold-out, sure, discrepancy, es-wmv, es-emv, plateau, and "
                    "oracle, which needs --truth."),
    "seed": _option(int, "N", "Seed of the random numbers (default: 0). The same seed on the same "
                    "machine gives the same result.", min=0),
    # Output.
    "out": _option(str, "FILE", "The result; - writes it to standard output. Default: a new file "
                   "beside IMAGE.", "--out", "-o"),
    "film": _option(str, "FILE", "Also write a film of the fit: .gif, .webp or animated .png."),
    "save": _option(str, "RUN", "Also save the fit in a file, to continue it later with --resume."),
    # Many fits.
    "file": _argument(Path, "FILE.toml", "The file that describes the fits."),
    "results": _option(Path, "DIR", "Folder for the results. Default: FILE, beside FILE.toml."),
    "workers": _option(int, "N", "Run the fits in N processes. Default: in this one.", min=1),
    "scheduler": _option(str, "ADDRESS", "Run the fits on the workers of this Dask scheduler, such "
                         "as tcp://127.0.0.1:8786."),
    "threads": _option(int, "N", "Cores for each fit (default: 1); another number changes the last "
                       "digits of the results.", min=1),
    "limit": _option(int, "N", "Fit only the first N cases.", min=1),
}
RESUMABLE = ("out", "iterations", "stop", "film", "save", "resume")
"""Options that may be given with --resume: a saved fit keeps its other settings."""

SHARED = ("out", "longest", "recipe", "iterations", "stop", "seed", "truth",
          "film", "save", "resume")
"""Options of every command that restores an image."""

SWEEP = ("file", "results", "workers", "scheduler", "threads", "limit")


class Command(NamedTuple):
    """A command that restores an image: its task, the ending of the result's name, its options."""

    task: str
    ending: str
    options: tuple
    help: str


COMMANDS = {
    "denoise": Command("denoising", "denoised", ("sigma",), "Remove noise from an image."),
    "dejpeg": Command("jpeg", "dejpeg", (), "Remove the blocks and ringing of JPEG compression."),
    "upscale": Command("super_resolution", "x{factor}", ("factor",),
                       "Enlarge an image (super-resolution)."),
    "inpaint": Command("inpainting", "inpainted", ("mask", "invert"),
                       "Fill in the missing part of an image."),
}
# fmt: on


def _register(name, work, help, keys):
    """Make a typer command that calls `work` with its options and the guard."""

    def run(context, **given):
        work(SimpleNamespace(command=name, **dict.fromkeys(OPTIONS) | given), context.obj)

    keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    options = [keyword(key, annotation=OPTIONS[key], default=None) for key in keys]
    context = keyword("context", annotation=typer.Context)
    run.__signature__ = inspect.Signature([context, *options])
    app.command(name, help=help)(run)


def _version(wanted: bool):
    if wanted:
        print(f"diplearn {metadata.version('diplearn')}")
        raise typer.Exit()


@app.callback(epilog=EXAMPLES)
def _diplearn(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
):
    """Restore an image by the deep image prior; a noisy one also by NL-Ridge."""


def main(arguments=None):
    """Run the command line and exit; an error that the user can correct is one line and code 2."""
    streams.open_closed()
    guard = Guard()
    try:
        with guard, streams.warnings_as_lines():
            arguments = sys.argv[1:] if arguments is None else arguments
            settings = {"prog_name": "diplearn", "standalone_mode": False, "obj": guard}
            ended = app(args=arguments or ["--help"], **settings)
        if ended == 130:  # a Ctrl-C that typer caught
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        guard.code = guard.signal_code()
        complain(guard.report())
    except Exception as error:
        guard.code, words = FAILED, _explained(error)
        if words is None:
            raise  # a bug: show the traceback
        complain(words)
    finally:
        streams.flush()
    sys.exit(guard.code)


def _explained(error):
    """Return a sentence on an error that the user can correct, and None for others."""
    if isinstance(error, InputError):
        return str(error)
    out_of_memory = isinstance(error, RuntimeError) and "memory" in str(error)  # torch's own error
    if isinstance(error, MemoryError) or out_of_memory:
        return "the memory ran out: --longest 512 shrinks the image first"
    if hasattr(error, "format_message"):  # typer found a mistake in the options
        command = getattr(getattr(error, "ctx", None), "command_path", "diplearn")
        return f"{error.format_message().rstrip('.')}; see {command} --help"
    if isinstance(error, OSError):  # such as a full disk
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return None


def _import(module, guard):
    """Import a module that needs PyTorch; if this fails, name suspect environment variables."""
    try:
        importlib.import_module(module)
    except Exception as error:
        guard.check()
        suspects = [f"{k}={v}" for k, v in os.environ.items() if re.match("(PY)?TORCH|TQDM_", k)]
        if not suspects or isinstance(error, ImportError):
            raise
        reason = str(error).strip().partition("\n")[0][:100]
        raise InputError(
            f"PyTorch cannot start ({reason}): one of these environment variables may be wrong, so "
            f"correct or unset it: {', '.join(suspects)}"
        ) from error
    guard.check()


# How a command runs.


def restore(options, guard):
    """Build the problem from the options, fit, and write the outputs; refuse bad input at once."""
    _check_options(options)
    _import("diplearn.fitting", guard)
    if options.resume is None:
        problem, about = _problem(options)
        fit = functools.partial(dip.fit, problem, options.recipe or "best", seed=options.seed or 0)
    else:
        saved, about = _saved(options), None
        problem, fit = saved.problem, functools.partial(dip.resume, saved)
    outputs = Outputs(options, problem, about, guard)
    _import("torch._dynamo", guard)  # the optimiser would import it later
    try:
        settings = {key: getattr(options, key) for key in ("stop", "iterations", "save")}
        run = fit(**settings, halt=guard.halt, callback=guard.began)
    except BaseException as error:  # also a second Ctrl-C
        if getattr(error, "run", None) is not None:
            outputs.write(error.run, film=isinstance(error, Exception))
        raise
    complete = outputs.write(run)
    guard.finish(FAILED if not complete else guard.signal_code() if run.cut_short else 0)


# Options -> problem.


def _check_options(options):
    """Refuse options that contradict one another, and invalid file names."""
    if options.resume is not None:
        given = [key for key in OPTIONS if getattr(options, key) is not None]
        if settled := [_flag(key) for key in given if key not in RESUMABLE]:
            raise InputError(
                "--resume continues a fit with its own settings: leave out " + ", ".join(settled)
            )
    elif options.invert and options.mask is None:
        raise InputError("--invert inverts a mask: name the mask with --mask")
    elif options.image is None:
        raise InputError(f"name an image, for example: diplearn {options.command} photo.jpg")
    for key in ("image", "truth", "mask", "resume", "out", "film", "save"):
        _check_name(_flag(key), getattr(options, key), key in ("resume", "film", "save"))
    piped = [_flag(key) for key in ("image", "truth", "mask") if getattr(options, key) == "-"]
    if len(piped) > 1:
        raise InputError(f"standard input holds one image: only one of {', '.join(piped)} can be -")


def _flag(key):
    """Return the name of an option on the command line."""
    return "IMAGE" if key == "image" else f"--{key}"


def _check_name(flag, name, no_pipe):
    if name == "":
        raise InputError(f"{flag} is empty: name a file")
    if name and "\0" in name:
        raise InputError(f"{flag} {name!r} contains a NUL character: name a file without it")
    if name == "-" and no_pipe:
        raise InputError(f"{flag} must be a file: only images can be piped with -")


def _problem(options):
    """Read the images; return the problem and the metadata of the image's file."""
    source = dip.images.opened(streams.source(options.image))  # a pipe can be read only once
    observation, operator = _observed(options, source)
    about = dip.images.about(source)
    sigma = None if options.sigma is None else options.sigma / 255
    # --longest limits the observation; in super-resolution, the truth is larger.
    longest = options.longest and options.longest * getattr(operator, "factor", 1)
    truth = options.truth and dip.images.read(streams.source(options.truth), longest=longest)
    return dip.Problem(observation, operator, truth, sigma, COMMANDS[options.command].task), about


def _observed(options, source):
    """Return the observation and its forward operator."""
    if options.command == "inpaint":
        return _with_holes(options, source)
    if options.command == "upscale":
        return _small(options, source)
    return dip.images.read(source, longest=options.longest), dip.Identity()


def _small(options, source):
    """Read an image to enlarge, which may be small; refuse it if the result would be too large."""
    factor = options.factor or 4
    smallest = -(-dip.images.SMALLEST_SIDE // factor)
    observation = dip.images.read(source, longest=options.longest, smallest=smallest)
    height, width = (side * factor for side in observation.shape[-2:])
    if height * width > dip.images.LARGEST_AREA:
        raise InputError(
            f"--factor {factor} would make {width}x{height} pixels, and more than "
            f"{dip.images.LARGEST_AREA // 1_000_000} million are refused: take a smaller factor"
        )
    return observation, dip.Downsample(factor)


def _with_holes(options, source):
    """Read an image and its mask, which may be the image's own transparency."""
    if options.mask is not None:
        observation = dip.images.read(source)
        known = dip.images.read_mask(streams.source(options.mask), invert=bool(options.invert))
    else:
        observation, known = dip.images.read_erased(source)
        if known.all():
            raise InputError(
                f"{source.name} has no transparent pixels: name a --mask that is black where the "
                "image should be filled in, or erase the image there"
            )
    if options.longest is not None:
        observation, known = dip.images.shrink_known(observation, known, options.longest)
    return observation, dip.Mask(known)


def _saved(options):
    """Load the run to continue; refuse one of another command."""
    run = dip.Run.load(options.resume)
    task = run.problem.task
    if task != COMMANDS[options.command].task:
        others = [name for name, command in COMMANDS.items() if command.task == task]
        advice = f"diplearn {others[0]} --resume" if others else "Run.load and resume in Python"
        raise InputError(
            f"{options.resume} holds a fit of {task.replace('_', '-')}: continue it with {advice}"
        )
    return run


# Run -> outputs.


class Outputs:
    """The files that a command writes: checked before the fit, written after it.

    The result goes to the file `path` or to `pipe`. If the user names neither, its file is
    `default` or, if that exists, the first free name after it.
    """

    def __init__(self, options, problem, about, guard):
        self.options, self.about, self.guard = options, about, guard
        self.default = _default_path(options, problem) if options.out is None else None
        self.path = None if options.out == "-" else Path(options.out or next(_free(self.default)))
        self._check()
        guard.watch(*(Path(path) for path in (self.path, options.film, options.save) if path))
        self.pipe = streams.take_stdout() if self.path is None else None

    def _check(self):
        """Refuse files that cannot be written, or that the command also reads."""
        if self.path is not None:
            dip.images.check_suffix(self.path)
            files.check_writable(self.path)
        else:
            streams.check_stdout()
        _check_overwriting(self.options, self.path)
        film, save = self.options.film, self.options.save
        if film is not None:
            dip.film.check(film)
        if save is not None and dip.images.image_format(save) is not None:
            raise InputError(f"--save {save} would hold the fit, not an image; --out is for images")
        if self.default is not None and self.path != self.default:
            complain(f"{self.default} exists already, so the result will be {self.path}")

    def write(self, run, film=True):
        """Write all outputs, even if one of them fails; return whether all succeeded."""
        options = self.options
        outputs = [("--out", self.path or "-", lambda _: self._write_result(run))]
        if options.save is not None and run.saved_at != run.stopped_at:  # `fit` could not save it
            outputs.append(("--save", options.save, run.save))
        if film and options.film is not None:
            outputs.append(("--film", options.film, run.film))
        return all([self._attempt(run, *output) for output in outputs])

    def _attempt(self, run, flag, path, write):
        try:
            write(path)
        except Exception as error:
            reason = getattr(error, "strerror", None) or _explained(error)
            reason = reason or f"{type(error).__name__}: {error}"
            rescued = self._rescue(run.output) if flag == "--out" else ""
            complain(f"{flag} {path} could not be written: {reason}{rescued}")
            return False
        return True

    def _write_result(self, run):
        """Write the result and print its place, to stderr if standard output receives the image."""
        tell = say if self.pipe is None else complain
        ended = f", {self.guard.how()}" if run.cut_short else ""
        tell(f"{self._write_image(run.output)}: {_summary(run)}{ended}")

    def _write_image(self, image):
        """Write the image and return its place."""
        if self.default is not None:
            # The name may be taken by now: photo.jpg and photo.png have the same default.
            return files.write_new(dip.images.encode(image, "PNG", self.about), self._names())
        if self.path is not None:
            dip.images.write(image, self.path, self.about)
            return self.path
        content = dip.images.encode(image, "PNG", self.about)
        self.guard.sends("standard output, perhaps not all of it,")
        with os.fdopen(self.pipe, "wb") as file:
            file.write(content)
        return "standard output"

    def _names(self):
        """Yield free names; the guard watches the last one, which the file gets."""
        for name in _free(self.default):
            self.guard.watch(name)
            yield name
            self.guard.forget(name)

    def _rescue(self, image):
        """Write an image that cannot be written to its place to a temporary folder; say where."""
        with contextlib.suppress(Exception):
            path = Path(tempfile.mkdtemp(prefix="diplearn-"), "result.png")
            dip.images.write(image, path, self.about)
            return f"; the image is in {path} instead"
        return ""


def _default_path(options, problem):
    """Return a path for the result, named after the input and in the same folder."""
    source = Path(options.image or options.resume)
    open_already = re.match("/dev/(fd/|stdin$)|/proc/", os.path.abspath(source))
    if str(source) == "-" or open_already:
        source = Path("piped")  # in the current folder
    factor = getattr(problem.operator, "factor", None)
    ending = COMMANDS[options.command].ending.format(factor=factor)
    return source.parent / f"{source.stem}-{ending}.png"


def _free(path):
    """Return an iterator over free names: the path itself, then numbered ones."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return (name for name in itertools.chain([path], numbered) if not os.path.lexists(name))


def _check_overwriting(options, out):
    """Refuse to overwrite an input, or to write two outputs to one file."""
    taken = {"the image": options.image, "--truth": options.truth, "--mask": options.mask}
    if options.save is None or not _same(options.save, options.resume):
        taken["--resume"] = options.resume  # a resumed fit may be saved to its own file
    for flag, path in {"--out": out, "--film": options.film, "--save": options.save}.items():
        for other, theirs in taken.items():
            if _same(path, theirs):
                raise InputError(f"{flag} {path} is also the file of {other}: name another file")
        taken[flag] = path


def _same(path, other):
    """Return whether two names mean the same file; `-` is standard input, None is no file."""
    if path is None or other is None:
        return False
    try:
        return os.path.samefile(path, sys.stdin.fileno() if other == "-" else other)
    except OSError:  # one of them does not exist yet
        return Path(path).resolve() == Path(other).resolve()


def _summary(run):
    """Return a line with the iterations, the seconds, the PSNR and the recipe of a fit."""
    words = f"{run.stopped_at} iterations, {run.seconds:.0f} s"
    truth, observation = run.problem.truth, run.problem.observation
    if truth is not None:
        same = observation.shape == truth.shape
        before = f"{dip.psnr(observation, truth):.2f} -> " if same else ""
        words += f", PSNR {before}{run.psnr:.2f} dB"
    parts = f": {run.made_of}" if run.made_of else ""
    return f"{words} (recipe {run.recipe.name}{parts})"


# Many fits.


def sweep(options, guard):
    """Run the fits that a TOML file describes, and tabulate their results.

    Fits that have results already are not run again. The format of the file:
    python -c "help('diplearn.sweep')"
    """
    if options.file is None:
        raise InputError("name a file, for example: diplearn sweep many.toml")
    _import("diplearn.sweep", guard)

    if options.workers is not None and options.scheduler is not None:
        raise InputError("--workers are processes here, --scheduler is a cluster: give only one")
    cases = dip.sweep.read(options.file)[: options.limit]
    folder = options.results or options.file.with_suffix("")
    try:
        with _executor(options) as executor:
            threads = options.threads or 1
            rows = dip.sweep.sweep(cases, executor, results=folder, threads=threads)
        failed = [] if rows.empty else rows["error"].dropna().tolist()
        say(f"{folder / 'table.csv'}: {len(rows)} of {len(cases)} cases, {len(failed)} failed")
        if failed:
            complain(f"the first error: {failed[0]}")
        guard.finish(130 if len(rows) < len(cases) else 1 if failed else 0)
    except KeyboardInterrupt:  # a second Ctrl-C, or another signal
        complain(f"stopped at once; the results of the finished cases are in {folder}")
        guard.finish(guard.signal_code())


def _executor(options):
    if options.scheduler is not None:
        return dip.sweep.cluster(options.scheduler)
    if options.workers is not None:
        return dip.sweep.workers(options.workers)
    return contextlib.nullcontext()


for _name, _command in COMMANDS.items():
    _register(_name, restore, _command.help, ("image", *_command.options, *SHARED))
_register("sweep", sweep, sweep.__doc__, SWEEP)


if __name__ == "__main__":
    main()
