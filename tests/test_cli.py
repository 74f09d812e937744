"""The command line, as somebody with a photograph and no Python meets it."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import torch
from PIL import Image

import diplearn as dip
from diplearn import cli, degrade, images, operators
from diplearn.errors import InputError
from diplearn.run import Run

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
PROGRAM = [sys.executable, "-m", "diplearn.cli"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with images in it, where the user is."""
    clean = images.load("chelsea", size=48)
    small = dip.super_resolution(clean, factor=2).observation
    mask = operators.Mask.hole(48, 48).known
    images.write(clean, tmp_path / "clean.png")
    images.write(degrade.gaussian_noise(clean, 25 / 255), tmp_path / "noisy.png")
    images.write(degrade.jpeg(clean, 10), tmp_path / "blocky.png")
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

        monkeypatch.setattr(Run, "record", begun)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert diplearn(*words) == 2
        out, errors = capfd.readouterr()
        assert out == "" and errors.count("\n") == 1, errors
        assert errors.startswith("diplearn: ") and saying in errors, errors
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    return check


# Before anything is done.


def test_help_waits_for_no_library():
    """What takes seconds to import is imported once a command has been understood."""
    code = (
        "import sys\nfrom diplearn.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "slow = {'torch', 'numpy', 'scipy', 'pandas', 'skimage', 'matplotlib', 'PIL', 'tqdm'}\n"
        "sys.exit(f'imported: {sorted(slow & sys.modules.keys())}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "imported: []\n"
    for words in ("denoise", "upscale", "inpaint", "dejpeg", "photo-denoised.png", "Ctrl-C"):
        assert words in done.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
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


# From the image to the result.


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
def test_each_command_writes_its_result_beside_the_image(
    folder, capsys, command, source, options, result
):
    fit = ["--iterations", 40, "--truth", "clean.png", "--film", "fit.gif", "--save", "fit.dip"]
    assert diplearn(command, source, *options, *fit) == 0
    out, errors = capsys.readouterr()
    recipe = "guided" if command == "denoise" else "lab"
    assert out.startswith(f"{result}: 40 iterations, ") and f" dB (recipe {recipe}" in out
    run = Run.load("fit.dip")
    assert run.problem.task == cli.COMMANDS[command].task and run.recipe.name == recipe
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
    fit = ["denoise", "noisy.png", "--recipe", "lab", "--iterations", 30]
    diplearn(*fit, "--out", "whole.png")
    diplearn(*fit, "--save", "part.dip", "--out", "p.png")
    before = (folder / "part.dip").read_bytes()
    go_on = ["denoise", "--resume", "part.dip", "--iterations", 60]
    assert diplearn(*go_on) == 0
    assert "part-denoised.png: 60 iterations" in capsys.readouterr().out
    assert (folder / "part.dip").read_bytes() == before
    assert diplearn(*go_on, "--save", "part.dip", "--film", "film.webp") == 0
    assert Run.load("part.dip").stopped_at == 60
    assert (folder / "part-denoised.png").exists() and (folder / "film.webp").exists()


def test_a_large_image_is_made_smaller_first(folder):
    diplearn("denoise", "noisy.png", "--longest", 32, "--iterations", 2, "--truth", "clean.png")
    assert images.read("noisy-denoised.png").shape == (3, 32, 32)
    diplearn("upscale", "small.png", "--longest", 16, "--iterations", 2, "--factor", 2)
    assert images.read("small-x2.png").shape == (3, 32, 32)


def test_a_mask_is_made_smaller_with_its_image(folder):
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


@pytest.fixture
def erased(folder):
    """An image from which a square was erased, as painting programs save it: there, it is red."""
    image = Image.open("noisy.png").convert("RGBA")
    image.paste((255, 0, 0, 0), (10, 12, 20, 22))
    image.save("erased.png")
    known = torch.ones(1, 48, 48, dtype=torch.bool)
    known[:, 12:22, 10:20] = False
    return known


@pytest.mark.parametrize(
    "words, right",
    [
        ("inpaint erased.png", lambda known: known),  # its own mask
        ("inpaint noisy.png --mask erased.png", lambda known: known),
        ("inpaint noisy.png --mask erased.png --invert", lambda known: ~known),
    ],
)
def test_what_was_erased_is_filled_in_and_nothing_else(folder, erased, capfd, words, right):
    assert diplearn(*words.split(), "--iterations", 1, "--save", "fit.dip") == 0
    problem = Run.load("fit.dip").problem
    assert torch.equal(problem.operator.known > 0, right(erased))
    noisy = images.read("noisy.png")
    assert torch.equal(problem.observation, noisy * right(erased))
    assert "diplearn: " not in capfd.readouterr().err  # such as: white shows there


@pytest.mark.parametrize("sides, factor", [((8, 8), 4), ((8, 8), 2), ((4, 7), 4)])
def test_a_small_image_is_enough_where_a_large_one_is_sought(folder, sides, factor):
    images.write(torch.rand(3, *sides), "tiny.png")
    assert diplearn("upscale", "tiny.png", "--factor", factor, "--iterations", 1) == 0
    large = tuple(side * factor for side in sides)
    assert images.read(f"tiny-x{factor}.png").shape == (3, *large)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_bits_camera_data_and_resolution_are_kept(folder, suffix):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a maker", 6
    about = images.About(16, exif.tobytes(), (300.0, 300.0))
    images.write(images.read("noisy.png"), f"deep.{suffix}", about)
    words = ["denoise", f"deep.{suffix}", "--iterations", 1, "--out", f"out.{suffix}"]
    assert diplearn(*words) == 0
    kept = images.about(f"out.{suffix}")
    read = Image.Exif()
    read.load(kept.exif)
    assert kept.bits == 16 and read[0x010F] == "a maker" and 0x0112 not in read
    assert kept.dpi == pytest.approx((300, 300), abs=0.1)


# No result is lost to another.


def test_a_result_of_before_is_not_written_over(folder, capfd):
    """Neither by another image of the same name nor by the same command again."""
    shutil.copy("noisy.png", "shot.png")
    Image.open("clean.png").save("shot.jpg")
    results = ["shot-denoised.png", "shot-denoised-2.png", "shot-denoised-3.png"]
    contents = {}
    for source, result in zip(["shot.png", "shot.jpg", "shot.png"], results):
        assert diplearn("denoise", source, "--iterations", 1) == 0
        out, errors = capfd.readouterr()
        assert out.startswith(f"{result}: ")
        said = f"diplearn: shot-denoised.png exists already, so the result will be {result}\n"
        assert (said in errors) == (result != results[0])
        contents[result] = (folder / result).read_bytes()
        assert {name: (folder / name).read_bytes() for name in contents} == contents
    assert contents[results[0]] == contents[results[2]] != contents[results[1]]
    diplearn("denoise", "shot.jpg", "--iterations", 1, "--out", results[0])  # who names it means it
    assert (folder / results[0]).read_bytes() == contents[results[1]]


def during_the_fit(monkeypatch, act):
    """Let something happen when the fit is over and nothing is written yet."""
    fit = dip.fit

    def then(*args, **kwargs):
        run = fit(*args, **kwargs)
        act()
        return run

    monkeypatch.setattr(dip, "fit", then)


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_was_free_may_be_taken_when_the_fit_ends(folder, capfd, monkeypatch, links):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")  # as on a memory card

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    during_the_fit(monkeypatch, lambda: (folder / "noisy-denoised.png").write_text("another's"))
    assert diplearn("denoise", "noisy.png", "--iterations", 1) == 0
    assert capfd.readouterr().out.startswith("noisy-denoised-2.png: ")
    assert (folder / "noisy-denoised.png").read_text() == "another's"
    assert images.read("noisy-denoised-2.png").shape == (3, 48, 48)
    during_the_fit(monkeypatch, lambda: (folder / "noisy-denoised-3.png").write_text("another's"))
    assert diplearn("denoise", "noisy.png", "--iterations", 1) == 0
    assert capfd.readouterr().out.startswith("noisy-denoised-4.png: ")
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


# Through pipes.


def test_an_image_comes_through_any_pipe(folder, capfd):
    """A named one, those of a shell's <( ), and one for the mask."""

    def piped(name):
        reader, writer = os.pipe()
        content = (folder / name).read_bytes()
        threading.Thread(target=lambda: open(writer, "wb").write(content)).start()
        return f"/dev/fd/{reader}"

    assert diplearn("denoise", "noisy.png", "--iterations", 1, "--out", "wanted.png") == 0
    wanted = (folder / "wanted.png").read_bytes()
    assert diplearn("denoise", piped("noisy.png"), "--iterations", 1) == 0
    assert (folder / "piped-denoised.png").read_bytes() == wanted
    os.mkfifo("named.png")
    content = (folder / "noisy.png").read_bytes()
    threading.Thread(target=lambda: (folder / "named.png").write_bytes(content)).start()
    assert diplearn("denoise", "named.png", "--iterations", 1) == 0
    assert (folder / "named-denoised.png").read_bytes() == wanted
    words = ["inpaint", piped("holed.png"), "--mask", piped("mask.png"), "--iterations", 1]
    assert diplearn(*words) == 0 and (folder / "piped-inpainted.png").exists()


@pytest.mark.parametrize("source, through", [("-", "a pipe"), ("/dev/stdin", "a file")])
def test_standard_input_and_output_hold_images_and_nothing_else(folder, source, through):
    """Whatever a library prints meanwhile."""
    code = (
        "import os, sys; import diplearn as dip; from diplearn import cli; fit = dip.fit\n"
        "def noisy(*args, **kwargs):\n"
        "    os.write(1, b'from C'); print('from Python', flush=True)\n"
        "    return fit(*args, **kwargs)\n"
        "dip.fit = noisy; cli.main(sys.argv[1:])"
    )
    words = ["denoise", source, "--iterations", "1", "--out", "-"]
    program = [sys.executable, "-c", code, *words]
    with open("noisy.png", "rb") as file:
        given = {"input": file.read()} if through == "a pipe" else {"stdin": file}
        file.seek(0)
        done = subprocess.run(program, capture_output=True, env=ENVIRONMENT, **given)
    errors = done.stderr.decode()
    assert done.returncode == 0, errors
    assert "from C" in errors and "from Python" in errors
    assert "diplearn: standard output: 1 iterations" in errors
    assert diplearn("denoise", "noisy.png", "--iterations", 1, "--out", "wanted.png") == 0
    assert done.stdout == (folder / "wanted.png").read_bytes()


@pytest.mark.parametrize(
    "words, given, saying",
    [
        ("denoise -", b"", "is empty"),
        ("denoise -", b"no image at all", "is not an image that can be read"),
        ("inpaint - --mask -", b"", "holds one image: only one of IMAGE, --mask can be -"),
        ("denoise noisy.png --film -", b"", "--film must be a file"),
        ("denoise noisy.png --save -", b"", "--save must be a file"),
        ("denoise --resume -", b"", "--resume must be a file"),
        ("denoise - <&-", b"", "pipe one into it"),
        ("denoise noisy.png --out - >&-", b"", "must be a pipe or a file"),
    ],
)
def test_what_cannot_go_through_a_pipe_is_told_before_the_fit(folder, words, given, saying):
    shell = " ".join([*PROGRAM, words])
    done = subprocess.run(shell, shell=True, input=given, capture_output=True, env=ENVIRONMENT)
    errors = done.stderr.decode()
    assert done.returncode == 2 and errors.count("\n") == 1 and saying in errors, errors


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_no_result(folder, closed):
    """The image must not take the number of a stream that others print to."""
    shell = " ".join([*PROGRAM, "denoise noisy.png --iterations 1", closed])
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert images.read("noisy-denoised.png").shape == (3, 48, 48)


@pytest.mark.parametrize(
    "name, saying",
    [
        ("all white", "nothing is missing"),
        ("transparent", "transparent pixels; they are shown as white"),
    ],
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
        ("polish photo.png", "'polish'; see diplearn --help"),
        ("denoise", "name an image, for example: diplearn denoise photo.jpg"),
        ("denoise noisy.png clean.png", "clean.png"),
        ("denoise noisy.png --sigm 3", "see diplearn denoise --help"),
        ("sweep", "name a file, for example: diplearn sweep many.toml"),
        ("denoise missing.png", "there is no file missing.png"),
        ("denoise missing/x.png", "there is no file missing/x.png"),
        ("denoise missing/x.png --out missing/y.png", "there is no file missing/x.png"),
        ("denoise https://example.org/x.png", "https://example.org/x.png is a URL"),
        ("denoise x\0.png", "contains a NUL character"),
        ("denoise noisy.png --out x\0.png", "contains a NUL character"),
        ("denoise noisy.png --save x\0.dip", "contains a NUL character"),
        ("denoise noisy.png --film=", "--film is empty: name a file"),
        ("denoise noisy.png --out=", "--out is empty: name a file"),
        ("denoise .", "is a folder"),
        ("denoise text.jpg", "is not an image that can be read"),
        ("denoise noisy.png --sigma -5", "'--sigma'"),
        ("denoise noisy.png --sigma nan", "'--sigma'"),
        ("denoise noisy.png --iterations 0", "'--iterations'"),
        ("denoise noisy.png --iterations 2.5", "'--iterations'"),
        ("denoise noisy.png --seed -1", "'--seed'"),
        ("denoise noisy.png --longest 8", "'--longest'"),
        ("upscale small.png --factor 1", "'--factor'"),
        ("upscale tiny.png", "tiny.png is 8x3 pixels; an image needs at least 4"),
        ("denoise tiny.png", "tiny.png is 8x3 pixels; an image needs at least 16"),
        ("upscale small.png --factor 1000", "24000x24000 pixels, and more than 100 million"),
        ("upscale small.png --factor 2147483648", "more than 100 million are refused"),
        (f"upscale small.png --factor {10**30}", "more than 100 million are refused"),
        (
            "denoise noisy.png --recipe finest",
            "no recipe is called 'finest'; there are lab, guided, paper, best",
        ),
        ("denoise noisy.png --stop never", "'never'; there are auto, count"),
        ("denoise noisy.png --truth small.png", "the truth has shape (3, 24, 24), from which"),
        ("inpaint holed.png --invert", "--invert inverts a mask: name the mask with --mask"),
        ("inpaint erased.png --invert", "--invert inverts a mask: name the mask with --mask"),
        ("inpaint grad.png", "grad.png does not show what was erased"),
        ("inpaint holed.png", "holed.png has no transparent pixels: name a --mask"),
        ("inpaint holed.png --mask wide.png", "(1, 48, 64) and the image (3, 48, 48)"),
        ("inpaint holed.png --mask noisy.png", "noisy.png is not a mask"),
        ("inpaint holed.png --mask black.png", "every pixel is missing"),
        ("inpaint holed.png --mask missing.png", "there is no file missing.png"),
        # where to write
        ("denoise noisy.png --out missing/x.png", "there is no folder missing"),
        ("denoise noisy.png --out there", "files with this suffix cannot be written"),
        ("denoise noisy.png --out there.png", "it is a folder"),
        ("denoise noisy.png --out noisy.png/x.png", "cannot write noisy.png/x.png"),
        ("denoise noisy.png --out x.xyz", "files with this suffix cannot be written"),
        ("denoise noisy.png --film x.mp4", "files with this suffix cannot be written"),
        ("denoise noisy.png --film missing/x.gif", "there is no folder missing"),
        ("denoise noisy.png --save missing/x.dip", "there is no folder missing"),
        ("denoise noisy.png --save x.png", "would hold the fit, not an image"),
        # nothing of the user's is written over
        ("denoise noisy.png --out noisy.png", "--out noisy.png is also the file of the image"),
        ("denoise noisy.png --out ./there.png/../noisy.png", "is also the file of the image"),
        ("denoise noisy.png --out link.png", "is also the file of the image"),
        ("denoise noisy.png --film noisy.png", "--film noisy.png is also the file of the image"),
        ("denoise noisy.png --truth clean.png --out clean.png", "is also the file of --truth"),
        ("inpaint holed.png --mask mask.png --out mask.png", "is also the file of --mask"),
        ("denoise noisy.png --film noisy-denoised.png", "is also the file of --out"),
        # to go on
        ("denoise --resume missing.dip", "there is no file missing.dip"),
        ("denoise --resume noisy.png", "noisy.png is not a saved run"),
        ("denoise noisy.png --resume fit.dip", "leave out IMAGE"),
        ("denoise --resume fit.dip --seed 0 --sigma 9", "leave out --sigma, --seed"),
        ("denoise --resume fit.dip --iterations 2", "has made 2 iterations already"),
        (
            "upscale --resume fit.dip",
            "fit of denoising: continue it with diplearn denoise --resume",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(folder, refused, monkeypatch, words, saying):
    (folder / "text.jpg").write_text("this is no image")
    (folder / "there.png").mkdir()
    Image.merge("LA", 2 * [Image.linear_gradient("L")]).save("grad.png")
    os.link("noisy.png", "link.png")
    Image.new("L", (48, 48)).save("black.png")
    Image.new("L", (64, 48), 255).save("wide.png")
    Image.new("L", (8, 3)).save("tiny.png")
    if "fit.dip" in words:
        problem = dip.denoising(images.read("clean.png"))
        dip.fit(problem, iterations=2, progress=False, save="fit.dip")
    refused(*words.split(), saying=saying)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that refuses even root")
def test_a_folder_that_refuses_is_found_out_before_the_fit(refused):
    refused("denoise", "noisy.png", "--out", "/proc/self/x.png", saying="cannot write /proc/self")


def test_too_little_memory_is_one_line_with_advice(refused, monkeypatch):
    monkeypatch.setattr("diplearn.hardware.available", lambda device: 300_000_000)
    images.write(torch.rand(3, 400, 400), "large.png")
    refused("denoise", "large.png", saying="--longest")


def test_the_memory_that_runs_out_all_the_same_is_one_line_too(folder, capfd, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] can't allocate memory\nbacktrace")

    monkeypatch.setattr(dip, "fit", fail)
    assert diplearn("denoise", "noisy.png") == 2
    assert capfd.readouterr().err.startswith("diplearn: the memory ran out: --longest")


def test_a_mistake_of_ours_keeps_its_traceback(folder, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(dip, "fit", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["denoise", "noisy.png"])


OUTPUTS = {"--out": "result/a.png", "--save": "fit/a.dip", "--film": "film/a.gif"}


@pytest.mark.parametrize("broken", OUTPUTS)
def test_an_output_that_fails_prevents_no_other(folder, capfd, monkeypatch, broken):
    """Its folder vanishes while the fit is under way."""
    for path in OUTPUTS.values():
        (folder / path).parent.mkdir()
    words = [word for pair in OUTPUTS.items() for word in pair]
    gone = (folder / OUTPUTS[broken]).parent
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    record = Run.record

    def without_folder(run, step, *rest):
        if step.iteration == 2:
            shutil.rmtree(gone)
        return record(run, step, *rest)

    monkeypatch.setattr(Run, "record", without_folder)
    assert diplearn("denoise", "noisy.png", "--iterations", 2, *words) == 2
    out, errors = capfd.readouterr()
    told = f"diplearn: {broken} {OUTPUTS[broken]} could not be written: "
    assert errors.count(" could not be written: ") == 1 and told in errors, errors
    there = {option for option, path in OUTPUTS.items() if (folder / path).exists()}
    assert there == OUTPUTS.keys() - {broken} and "Traceback" not in errors
    assert out.startswith("result/a.png: 2 iterations") == (broken != "--out")
    rescued = list(folder.glob("diplearn-*/result.png"))
    assert len(rescued) == (broken == "--out")
    if rescued:
        assert f"the image is in {rescued[0]} instead" in errors
        assert (images.read(rescued[0]) - Run.load("fit/a.dip").output).abs().max() < 0.51 / 255


def test_what_a_fit_reached_before_an_error_is_written(folder, capfd, monkeypatch):
    """And then the error is told; a fit hands over what it has with its error."""
    fit = dip.fit

    def fail(*args, **kwargs):
        error = InputError("the loss was nan")
        error.run = fit(*args, **kwargs)
        raise error

    monkeypatch.setattr(dip, "fit", fail)
    words = ["--iterations", 2, "--film", "fit.gif"]
    assert diplearn("denoise", "noisy.png", *words) == 2
    out, errors = capfd.readouterr()
    assert out.startswith("noisy-denoised.png: 2 iterations") and (folder / "fit.gif").exists()
    assert errors.endswith("diplearn: the loss was nan\n")
    assert images.read("noisy-denoised.png").shape == (3, 48, 48)


def test_a_fault_of_ours_in_one_output_prevents_no_other(folder, capfd, monkeypatch):
    def fail(*_):
        raise KeyError("x")

    monkeypatch.setattr(Run, "film", fail)
    monkeypatch.setattr(Run, "save", fail)
    words = ["--iterations", 1, "--save", "fit.dip", "--film", "fit.gif"]
    assert diplearn("denoise", "noisy.png", *words) == 2
    out, errors = capfd.readouterr()
    assert out.startswith("noisy-denoised.png: 1 iterations")
    assert "--film fit.gif could not be written: KeyError: 'x'" in errors
    assert "--save fit.dip could not be written: KeyError: 'x'" in errors


# What an environment may hold, and a name.


@pytest.mark.parametrize(
    "name, value",
    [
        ("TORCH_LOGS", "garbage"),
        ("TORCH_COMPILE_DEBUG", "garbage"),
        ("TQDM_MININTERVAL", "garbage"),
    ],
)
def test_garbage_in_the_environment_is_one_line(folder, name, value):
    words = ["denoise", "noisy.png", "--iterations", "1"]
    done = subprocess.run(
        [*PROGRAM, *words], capture_output=True, text=True, env=ENVIRONMENT | {name: value}
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("diplearn: PyTorch cannot start (")
    assert f"{name}={value}" in done.stderr


HARMLESS = {
    "PYTHONIOENCODING": "ascii",
    "TERM": "garbage",
    "COLUMNS": "garbage",
    "TERMINAL_WIDTH": "garbage",
    "HOME": "/nowhere",
    "MPLCONFIGDIR": "/proc/nowhere",
    "MKL_NUM_THREADS": "garbage",
    "OMP_NUM_THREADS": "garbage",
    "DIPLEARN_DATA_DIR": "/nowhere",
}


@pytest.mark.parametrize("garbage", [{"PYTHONWARNINGS": "error"}, HARMLESS])
def test_garbage_in_the_environment_does_no_harm(folder, garbage):
    """The image is transparent, so that there is a remark, and its name is not ASCII."""
    Image.new("RGBA", (48, 48), (90, 90, 90, 90)).save("glück.png")
    words = ["denoise", "glück.png", "--iterations", "1"]
    done = subprocess.run([*PROGRAM, *words], capture_output=True, env=ENVIRONMENT | garbage)
    assert done.returncode == 0, done.stderr
    assert b"transparent pixels" in done.stderr and b"Traceback" not in done.stderr
    assert b"ck-denoised.png: 1 iterations" in done.stdout
    assert images.read("glück-denoised.png").shape == (3, 48, 48)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are characters, not bytes")
def test_a_name_of_any_bytes_is_written_and_told(folder):
    source = os.fsdecode(b"caf\xe9.png")
    shutil.copy("noisy.png", source)
    words = ["denoise", source, "--iterations", "1", "--save", source + ".dip"]
    done = subprocess.run([*PROGRAM, *words], capture_output=True, env=ENVIRONMENT)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert b"-denoised.png: 1 iterations" in done.stdout
    result = os.fsdecode(b"caf\xe9-denoised.png")
    assert images.read(result).shape == (3, 48, 48) and os.path.exists(source + ".dip")


# On a terminal and in a pipe.


def test_in_a_pipe_there_are_ten_quiet_lines(folder):
    done = subprocess.run(
        [*PROGRAM, "denoise", "noisy.png", "--recipe", "lab", "--iterations", "50"],
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


def test_a_terminal_that_is_closed_costs_no_result(folder):
    """As when a window is closed: the fit ends (SIGHUP), and there is nowhere to say so."""
    pty = pytest.importorskip("pty")  # not on Windows
    process, terminal = pty.fork()
    if process == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it is ignored under nohup
        words = [*PROGRAM, "denoise", "noisy.png", "--iterations", "100000", "--film", "f.gif"]
        os.execve(sys.executable, words, ENVIRONMENT)
    shown = b""
    while shown.count(b"it/s") < 4:
        shown += os.read(terminal, 4096)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    assert images.read("noisy-denoised.png").shape == (3, 48, 48)
    assert (folder / "f.gif").exists()


def test_a_bar_that_cannot_be_drawn_costs_no_result(folder):
    pty = pytest.importorskip("pty")
    process, terminal = pty.fork()
    if process == 0:
        words = [*PROGRAM, "denoise", "noisy.png", "--iterations", "20"]
        os.execve(sys.executable, words, ENVIRONMENT | {"TQDM_BAR_FORMAT": "{garbage}"})
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        pass
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"20/20: loss" in shown and b"noisy-denoised.png: 20 " in shown, shown
    assert b"Traceback" not in shown


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
