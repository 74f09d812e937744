"""The command line, as somebody with a photograph and no Python meets it."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image

import diplearn as dip
from diplearn import cli, fitting, images, operators
from diplearn.run import Run

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
PROGRAM = [sys.executable, "-m", "diplearn.cli"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with pictures in it, where the user is."""
    clean = images.load("chelsea", size=48)
    small = dip.super_resolution(clean, factor=2).observation
    mask = operators.Mask.hole(48, 48).known
    images.write(clean, tmp_path / "clean.png")
    images.write(operators.gaussian_noise(clean, 25 / 255), tmp_path / "noisy.png")
    images.write(operators.jpeg(clean, 10), tmp_path / "blocky.png")
    images.write(small, tmp_path / "small.png")
    images.write(clean * mask, tmp_path / "holed.png")
    images.write(mask, tmp_path / "mask.png")
    images.write(1 - mask, tmp_path / "inverted.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def diplearn(*words):
    """Run the program in this process; return its exit code."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return end.value.code or 0


@pytest.fixture
def refused(folder, capfd, monkeypatch):
    """Return what checks a refusal: exit code 2, one line, nothing written, no time spent."""

    def check(*words, saying):
        def begun(*_, **__):
            pytest.fail("the fit began")

        monkeypatch.setattr(fitting, "iterate", begun)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert diplearn(*words) == 2
        out, errors = capfd.readouterr()
        assert out == "" and errors.count("\n") == 1, errors
        assert errors.startswith("diplearn: ") and saying in errors, errors
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    return check


# Before anything is done.


def test_help_comes_at_once_and_without_torch():
    code = (
        "import sys\nfrom diplearn.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert not end.code and 'torch' not in sys.modules"
    )
    took = []
    for _ in range(3):  # the best of three: the machine may be busy
        begun = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        took.append(time.perf_counter() - begun)
        assert done.returncode == 0 and done.stderr == "", done.stderr
    assert min(took) < 0.5
    for words in ("denoise", "upscale", "inpaint", "dejpeg", "photo-denoised.png", "Ctrl-C"):
        assert words in done.stdout


@pytest.mark.parametrize("command", cli.TASKS)
def test_every_command_explains_its_options(command, capsys):
    assert diplearn(command, "--help") == 0
    shown = capsys.readouterr().out
    for option in ("--out", "--film", "--save", "--resume", "--longest", "--recipe"):
        assert option in shown
    assert ("--mask" in shown) == (command == "inpaint")


def test_no_command_shows_the_help_and_version_the_version(capsys):
    assert diplearn() == 0 and "Examples:" in capsys.readouterr().out
    assert diplearn("--version") == 0
    assert capsys.readouterr().out.startswith("diplearn 0.")


# From the picture to the result.


@pytest.mark.parametrize(
    "command, source, options, result",
    [
        ("denoise", "noisy.png", ["--sigma", 25], "noisy-denoised.png"),
        ("dejpeg", "blocky.png", [], "blocky-dejpeg.png"),
        ("upscale", "small.png", ["--factor", 2], "small-x2.png"),
        ("inpaint", "holed.png", ["--mask", "mask.png"], "holed-inpainted.png"),
        ("inpaint", "holed.png", ["--mask", "inverted.png", "--invert"], "holed-inpainted.png"),
    ],
)
def test_each_command_writes_its_result_beside_the_picture(
    folder, capsys, command, source, options, result
):
    fit = ["--iterations", 40, "--truth", "clean.png", "--film", "fit.gif", "--save", "fit.dip"]
    assert diplearn(command, source, *options, *fit) == 0
    out, errors = capsys.readouterr()
    assert out.startswith(f"{result}: 40 iterations, ") and out.endswith(" dB\n")
    run = Run.load("fit.dip")
    assert run.problem.task == cli.TASKS[command] and run.recipe.name == "lab"
    assert (images.read(result) - run.output).abs().max() <= 0.5 / 255 + 1e-6
    assert run.psnr > 12 and f"{run.psnr:.2f} dB" in out
    with Image.open("fit.gif") as film:
        assert film.n_frames == len(run.snapshots)


def test_the_same_seed_gives_the_same_file_and_another_does_not(folder):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        words = ["--iterations", 3, "--seed", seed, "--out", f"{name}.png"]
        assert diplearn("denoise", "noisy.png", *words) == 0
    a, b, c = ((folder / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_a_fit_is_kept_and_gone_on_with(folder, capsys):
    """The file that was named by --resume changes only if --save names it again."""
    diplearn("denoise", "noisy.png", "--iterations", 30, "--out", "whole.png")
    diplearn("denoise", "noisy.png", "--iterations", 30, "--save", "part.dip", "--out", "p.png")
    before = (folder / "part.dip").read_bytes()
    go_on = ["denoise", "--resume", "part.dip", "--iterations", 60]
    assert diplearn(*go_on) == 0
    assert "part-denoised.png: 60 iterations" in capsys.readouterr().out
    assert (folder / "part.dip").read_bytes() == before
    assert diplearn(*go_on, "--save", "part.dip", "--film", "film.webp") == 0
    assert Run.load("part.dip").stopped_at == 60
    assert (folder / "part-denoised.png").exists() and (folder / "film.webp").exists()


def test_a_large_picture_is_made_smaller_first(folder):
    diplearn("denoise", "noisy.png", "--longest", 32, "--iterations", 2, "--truth", "clean.png")
    assert images.read("noisy-denoised.png").shape == (3, 32, 32)
    diplearn("upscale", "small.png", "--longest", 16, "--iterations", 2, "--factor", 2)
    assert images.read("small-x2.png").shape == (3, 32, 32)


def test_a_mask_is_made_smaller_with_its_picture(folder):
    """A small pixel counts as known only if nothing that was missing went into it."""
    words = ["--longest", 24, "--iterations", 2, "--save", "fit.dip"]
    assert diplearn("inpaint", "holed.png", "--mask", "mask.png", *words) == 0
    run = Run.load("fit.dip")
    known = run.problem.operator.known
    assert known.shape == (1, 24, 24) and run.problem.observation.shape == (3, 24, 24)
    whole = operators.Mask.hole(48, 48).known
    assert 0.5 < known.mean() < whole.mean()
    covered = torch.nn.functional.max_pool2d(1 - whole, 2)
    assert (known[covered == 1] == 0).all()


@pytest.mark.parametrize(
    "name, saying",
    [("all white", "nothing is missing"), ("transparent", "transparent in places; white shows")],
)
def test_remarks_are_one_line_and_no_error(folder, capfd, name, saying):
    Image.new("L", (48, 48), 255).save("white.png")
    Image.new("RGBA", (48, 48), (90, 90, 90, 90)).save("glass.png")
    words = {
        "all white": ["inpaint", "noisy.png", "--mask", "white.png"],
        "transparent": ["denoise", "glass.png"],
    }[name]
    assert diplearn(*words, "--iterations", 1) == 0
    remarks = [
        line for line in capfd.readouterr().err.splitlines() if line.startswith("diplearn: ")
    ]
    assert len(remarks) == 1 and saying in remarks[0]


# What is refused, before the fit.


@pytest.mark.parametrize(
    "words, saying",
    [
        ("polish photo.png", "'polish'"),
        ("denoise", "which picture? For example: diplearn denoise photo.jpg"),
        ("denoise noisy.png clean.png", "clean.png"),
        ("denoise noisy.png --sigm 3", "--sigm"),
        ("denoise missing.png", "there is no file missing.png"),
        ("denoise .", "is a folder"),
        ("denoise text.jpg", "is not a picture that can be read"),
        ("denoise noisy.png --sigma -5", "'--sigma'"),
        ("denoise noisy.png --sigma nan", "'--sigma'"),
        ("denoise noisy.png --iterations 0", "'--iterations'"),
        ("denoise noisy.png --iterations 2.5", "'--iterations'"),
        ("denoise noisy.png --seed -1", "'--seed'"),
        ("denoise noisy.png --longest 8", "'--longest'"),
        ("upscale small.png --factor 1", "'--factor'"),
        ("denoise noisy.png --recipe best", "no recipe is called 'best'; there are lab, paper"),
        ("denoise noisy.png --stop never", "'never'; there are auto, count"),
        ("denoise noisy.png --truth small.png", "has shape"),
        ("inpaint holed.png", "inpaint needs --mask"),
        ("inpaint holed.png --mask small.png", "(1, 24, 24) and the picture (3, 48, 48)"),
        ("inpaint holed.png --mask black.png", "every pixel is missing"),
        ("inpaint holed.png --mask missing.png", "there is no file missing.png"),
        # where to write
        ("denoise noisy.png --out missing/x.png", "there is no folder missing"),
        ("denoise noisy.png --out there", "suffix names no format"),
        ("denoise noisy.png --out there.png", "it is a folder"),
        ("denoise noisy.png --out noisy.png/x.png", "cannot write noisy.png/x.png"),
        ("denoise noisy.png --out x.xyz", "suffix names no format"),
        ("denoise noisy.png --film x.mp4", "suffix names no format"),
        ("denoise noisy.png --film missing/x.gif", "there is no folder missing"),
        ("denoise noisy.png --save missing/x.dip", "there is no folder missing"),
        ("denoise noisy.png --save x.png", "would hold the fit, no picture: see --out"),
        # nothing of the user's is written over
        ("denoise noisy.png --out noisy.png", "--out noisy.png is the file of the picture"),
        ("denoise noisy.png --out ./there.png/../noisy.png", "is the file of the picture"),
        ("denoise noisy.png --out link.png", "is the file of the picture"),
        ("denoise noisy.png --film noisy.png", "--film noisy.png is the file of the picture"),
        ("denoise noisy.png --truth clean.png --out clean.png", "is the file of --truth"),
        ("inpaint holed.png --mask mask.png --out mask.png", "is the file of --mask"),
        ("denoise noisy.png --film noisy-denoised.png", "is the file of --out"),
        # to go on
        ("denoise --resume missing.dip", "there is no file missing.dip"),
        ("denoise --resume noisy.png", "noisy.png is not a saved run"),
        ("denoise noisy.png --resume fit.dip", "leave out PICTURE"),
        ("denoise --resume fit.dip --seed 0 --sigma 9", "leave out --seed, --sigma"),
        ("denoise --resume fit.dip --iterations 2", "has made 2 iterations already"),
        ("upscale --resume fit.dip", "fit of denoising: go on with diplearn denoise --resume"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(folder, refused, monkeypatch, words, saying):
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "there.png").mkdir()
    os.link("noisy.png", "link.png")
    Image.new("L", (48, 48)).save("black.png")
    if "fit.dip" in words:
        problem = dip.denoising(images.read("clean.png"))
        dip.fit(problem, iterations=2, progress=False, save="fit.dip")
    refused(*words.split(), saying=saying)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that refuses even root")
def test_a_folder_that_refuses_is_found_out_before_the_fit(refused):
    refused("denoise", "noisy.png", "--out", "/proc/self/x.png", saying="cannot write /proc/self")


def test_too_little_memory_is_one_line_with_advice(refused, monkeypatch):
    monkeypatch.setattr("diplearn.memory.available", lambda device: 300_000_000)
    images.write(torch.rand(3, 400, 400), "large.png")
    refused("denoise", "large.png", saying="--longest")


def test_the_memory_that_runs_out_all_the_same_is_one_line_too(folder, capfd, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] can't allocate memory\nbacktrace")

    monkeypatch.setattr(fitting, "iterate", fail)
    assert diplearn("denoise", "noisy.png") == 2
    assert capfd.readouterr().err.startswith("diplearn: the memory ran out; --longest")


def test_a_mistake_of_ours_keeps_its_traceback(folder, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(fitting, "iterate", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["denoise", "noisy.png"])


def test_when_the_fit_cannot_be_saved_the_picture_is_written_all_the_same(
    folder, capfd, monkeypatch
):
    def full(run, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "save", full)
    assert diplearn("denoise", "noisy.png", "--iterations", 1, "--save", "fit.dip") == 2
    out, errors = capfd.readouterr()
    assert out.startswith("noisy-denoised.png: 1 iterations") and "Traceback" not in errors
    assert errors.endswith("diplearn: [Errno 28] No space left on device\n")


# On a terminal and in a pipe.


def test_in_a_pipe_there_are_ten_quiet_lines(folder):
    done = subprocess.run(
        [*PROGRAM, "denoise", "noisy.png", "--iterations", "50"],
        capture_output=True, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1 and done.stdout.startswith("noisy-denoised.png: 50 ")
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"{n}/50" for n in range(5, 51, 5)]
    assert all("loss 0.0" in line and " s left" in line for line in lines)
    assert "\r" not in done.stderr and "\x1b" not in done.stderr


def test_a_fit_that_goes_on_has_as_many_lines_as_are_left(folder, capfd):
    problem = dip.denoising(images.read("clean.png"))
    run = dip.fit(problem, iterations=20, stop=15, progress=False)
    capfd.readouterr()
    dip.resume(run)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["16/20", "18/20", "20/20"]
    assert all("PSNR" in line for line in lines)


def test_on_a_terminal_there_is_a_bar_and_ctrl_c_keeps_the_result(folder):
    """A real terminal: the key reaches the program as a signal from the line itself.

    It states no size, as in some containers; the bar is there all the same.
    """
    pty = pytest.importorskip("pty")  # not on Windows
    process, terminal = pty.fork()
    if process == 0:  # the program, in the terminal
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # it is ignored where tests run unattended
        words = [*PROGRAM, "denoise", "noisy.png", "--iterations", "1500"]
        os.execve(sys.executable, [*words, "--truth", "clean.png"], ENVIRONMENT)
    shown = b""
    while shown.count(b"it/s") < 3:
        shown += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # Linux says so when the other side has gone
        pass
    _, status = os.waitpid(process, 0)
    text = shown.decode()
    assert os.waitstatus_to_exitcode(status) == 130
    assert "\r" in text and "/1500 [" in text and "loss 0.0" in text and "PSNR" in text
    assert "noisy-denoised.png: " in text and "interrupted" in text and "Traceback" not in text
    assert images.read("noisy-denoised.png").shape == (3, 48, 48)


def test_a_reader_that_goes_away_costs_no_result(folder):
    """As in `diplearn ... 2>&1 | head -1`, with both of the program's outputs in the pipe."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*PROGRAM, "denoise", "noisy.png", "--iterations", "30"],
        stdout=writer, stderr=writer, env=ENVIRONMENT,
    )  # fmt: skip
    os.close(writer)
    os.close(reader)
    assert process.wait(60) == 0
    assert images.read("noisy-denoised.png").shape == (3, 48, 48)
