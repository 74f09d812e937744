"""The command line: `diplearn denoise photo.jpg` and its sisters.

Nothing here imports torch before a command has been understood, so that help comes at once.
"""

import argparse
import contextlib
import math
import os
import signal
import sys
import threading
import warnings
from importlib import metadata
from pathlib import Path

from .errors import InputError

TASKS = {
    "denoise": "denoising",
    "dejpeg": "jpeg",
    "upscale": "super_resolution",
    "inpaint": "inpainting",
}

EXAMPLES = """\
examples:
  diplearn denoise photo.jpg                   the result is photo-denoised.png
  diplearn denoise photo.jpg --longest 512     a large photograph: minutes, not hours
  diplearn upscale photo.jpg --factor 4 --out large.png
  diplearn inpaint photo.jpg --mask mask.png   black in the mask is what to fill in
  diplearn dejpeg photo.jpg --film fit.gif     watch how it came about

Ctrl-C ends a fit early and writes the best so far. `diplearn denoise --help` explains the options.
"""


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
            code = _restore(_parser().parse_args(arguments or ["--help"]))
    except KeyboardInterrupt:
        code = _complain("interrupted; nothing was written", 130)
    except InputError as error:
        code = _complain(error)
    except OSError as error:  # a full disk, a file that vanished
        code = _complain(f"{error.filename}: {error.strerror}" if error.filename else error)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise  # a mistake of ours deserves its traceback
        code = _complain("the memory ran out; --longest 512 makes the picture smaller first")
    finally:
        _flush()
    sys.exit(code)


def _parser():
    """Describe the commands; the options that all of them share are described once."""
    # fmt: off
    shared = _Parser(add_help=False)
    add = shared.add_argument
    add("picture", nargs="?", type=Path, metavar="PICTURE", help="the degraded picture, any format")
    add("-o", "--out", type=Path, metavar="FILE", help="the result; by default beside the picture")
    add("--longest", type=_number(int, 16), metavar="PIXELS",
        help="bring a large picture down to this many pixels at its longer side, first")
    add("--recipe", metavar="NAME",
        help="lab, about a minute on two cores at 256x256 (default), or paper, as published")
    add("--iterations", type=_number(int, 1), metavar="N", help="how many, not the recipe's number")
    add("--seed", type=_number(int, 0), metavar="N",
        help="same seed, same machine, same result (default: 0)")
    add("--truth", type=Path, metavar="FILE",
        help="the clean picture, where there is one: only to measure against")
    add("--film", type=Path, metavar="FILE",
        help="also write the iterations as an animated picture: .gif, .webp or .png")
    add("--save", type=Path, metavar="RUN", help="also keep the fit in a file, to go on with later")
    add("--resume", type=Path, metavar="RUN",
        help="go on with a fit that --save kept, instead of a PICTURE; the file stays as it is "
        "unless --save names it again")

    parser = _Parser(
        prog="diplearn",
        description="Restore one picture with an untrained network: the deep image prior.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"diplearn {metadata.version('diplearn')}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    commands.required = True

    def command(name, words):
        return commands.add_parser(
            name, parents=[shared], help=words, description=f"{words.capitalize()}."
        )

    denoise = command("denoise", "remove noise from a photograph")
    denoise.add_argument("--sigma", type=_number(float, 0, 255), metavar="LEVEL",
        help="how strong the noise is, on the scale of 0 to 255 (default: estimated)")
    denoise.add_argument("--stop", metavar="RULE", default="count",
        help="count: after the iterations (default); discrepancy: once only noise is left "
        "unexplained")
    command("dejpeg", "remove the blocks and the ringing that JPEG left")
    upscale = command("upscale", "make a picture larger: super-resolution")
    upscale.add_argument("--factor", type=_number(int, 2), metavar="N",
        help="how many times larger (default: 4)")
    inpaint = command("inpaint", "fill in what a mask says is missing")
    inpaint.add_argument("--mask", type=Path, metavar="FILE",
        help="a picture of the same size: black is what to fill in, white what to keep")
    inpaint.add_argument("--invert", action="store_true", default=None,
        help="the mask is the other way round: white is what to fill in")
    # fmt: on
    return parser


class _Parser(argparse.ArgumentParser):
    """One line for a mistake, where argparse would print its usage as well."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message):
        raise InputError(f"{message} (`{self.prog} --help` explains)")


def _number(kind, least, most=math.inf):
    """Return what reads a number from the command line and checks its range."""

    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            whole = "whole number" if kind is int else "number"
            upwards = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} is no {whole} {upwards}")
        return value

    return read


def _restore(options):
    """Check everything that can be checked, fit, and write what came of it."""
    from . import images
    from .files import check_writable
    from .fitting import fit, interruptible, resume
    from .run import check_film

    _check_together(options)
    stop = None if getattr(options, "stop", "count") == "count" else options.stop
    shared = {"stop": stop, "iterations": options.iterations, "save": options.save}
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
    return {"interrupted": 130, "halted": 143}.get(run.stopped_by, 0)


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
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
