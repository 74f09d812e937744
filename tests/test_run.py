"""A run on disk: what is saved comes back, and a fit goes on from it as if it had never stopped."""

import copy
import dataclasses
import gc
import io
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import weakref
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

import diplearn as dip
from diplearn import fitting, hardware, images, operators, recipes, stopping
from diplearn.errors import InputError
from diplearn.recipes import Recipe
from diplearn.run import Run

SMALL = {"down": (8, 16), "skip": (4, 4), "upsampling": "nearest"}
TINY = Recipe(options=SMALL, z_channels=4, input_noise=0.02, iterations=60, average_window=1 / 6)
BFLOAT16 = "bfloat16" if hardware.cpu_has_bfloat16() else "float32"


def image(size=32, name="chelsea"):
    return images.load(name, size=size)


def noisy(size=32):
    return dip.denoising(image(size), sigma=25 / 255, seed=0)


def quick(problem, recipe=TINY, **options):
    return dip.fit(problem, recipe, progress=False, **options)


class Own(nn.Module):
    """A network of somebody's own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))

    def forward(self, z):
        return self.layers(z)


def assert_same(run, other, but=()):
    """Everything that two runs hold is equal, to the last bit."""
    for name in ("observation", "truth"):
        a, b = getattr(run.problem, name), getattr(other.problem, name)
        assert (a is None and b is None) or torch.equal(a, b), name
    assert (run.problem.task, run.problem.sigma) == (other.problem.task, other.problem.sigma)
    mine, theirs = run.problem.operator.settings(), other.problem.operator.settings()
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        same = torch.equal(value, theirs[name]) if torch.is_tensor(value) else value == theirs[name]
        assert same, name
    assert (run.recipe, run.seed) == (other.recipe, other.seed)
    for name in ("output", "last", "average"):
        assert torch.equal(getattr(run, name), getattr(other, name)), name
    assert run.stopped_at == other.stopped_at
    assert run.history.drop(columns=list(but)).equals(other.history.drop(columns=list(but)))
    assert list(run.snapshots) == list(other.snapshots)
    assert all((run.snapshots[k] == other.snapshots[k]).all() for k in run.snapshots)
    if run.problem.truth is not None:
        assert torch.equal(run.oracle, other.oracle)
        assert (run.oracle_psnr, run.oracle_at) == (other.oracle_psnr, other.oracle_at)
    (tensors, numbers), (other_tensors, other_numbers) = run.packed, other.packed
    assert tensors.keys() == other_tensors.keys()
    assert {**numbers, "rule": None} == {**other_numbers, "rule": None}
    for name in tensors:  # weights, Adam's moments, average, generator, the last good state
        assert torch.equal(tensors[name], other_tensors[name]), name


PROBLEMS = {
    "colour": noisy,
    "grey, of odd size": lambda: dip.denoising(image(48, "camera")[:, :17, :31]),
    "no truth": lambda: dip.Problem(noisy().observation),
    "jpeg": lambda: dip.jpeg(image()),
    "mask": lambda: dip.inpainting(image(), mask=0.5),
    "mask of each channel": lambda: dip.inpainting(
        image(), mask=torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.5
    ),
    "downsample": lambda: dip.super_resolution(image(), factor=2, kernel="cubic"),
    "downsample, no truth": lambda: dip.Problem(image(16), operators.Downsample(2)),
    "blur": lambda: dip.deblurring(image(), width=1.2),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_was_saved_comes_back(name, tmp_path):
    run = quick(PROBLEMS[name](), seed=3, stop=4)
    run.save(tmp_path / "fit.dip")
    again = Run.load(tmp_path / "fit.dip")
    assert_same(run, again)
    assert type(again.problem.operator) is type(run.problem.operator)
    assert run.saved_at == again.saved_at == 4
    assert (again.stopped_by, again.seconds) == ("count", run.seconds)
    assert repr(again) == repr(run)
    assert list(tmp_path.iterdir()) == [tmp_path / "fit.dip"]


def test_a_network_of_ones_own_is_saved_by_its_weights(tmp_path):
    recipe = TINY.replace(iterations=12)
    whole = quick(noisy(), recipe, network=Own())
    quick(noisy(), recipe, network=Own(), stop=5, save=tmp_path / "fit.dip")
    run = Run.load(tmp_path / "fit.dip")
    with pytest.raises(InputError, match="was your own: hand the same module in"):
        dip.resume(run, progress=False)
    with pytest.raises(InputError, match="weights are those of another network"):
        dip.resume(run, network=nn.Conv2d(4, 3, 1), progress=False)
    assert_same(whole, dip.resume(run, network=Own(), progress=False), but=["seconds"])


def test_nothing_in_the_file_is_a_pickle(tmp_path, monkeypatch):
    quick(noisy(), stop=2, save=tmp_path / "fit.dip")
    with zipfile.ZipFile(tmp_path / "fit.dip") as archive:
        assert archive.namelist() == ["run.json", "tensors.safetensors", "output.png"]
        json.loads(archive.read("run.json"), parse_constant=pytest.fail)
        header = archive.read("tensors.safetensors")
        json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])
        shown = Image.open(io.BytesIO(archive.read("output.png")))
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *_, **__: pytest.fail("a pickle was read"))
    run = Run.load(tmp_path / "fit.dip")
    assert (images.to_uint8(run.output) == np.array(shown)).all()


# To go on.

RECIPES = {
    "lab": recipes.lab(options=SMALL, iterations=60, stop="count", precision="float32"),
    "lab in bfloat16": recipes.lab(options=SMALL, iterations=60, stop="count", precision=BFLOAT16),
    "gaussian noise": TINY.replace(noise_kind="gaussian"),
    "muon, two members, shifted noise": TINY.replace(
        optimiser="muon", members=2, noise_kind="shifted", precision="bfloat16"
    ),
    "no noise, cosine": TINY.replace(input_noise=0.0, final_rate=0.05, average_window=None),
    "pixels": Recipe(network="pixels", iterations=60),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_fit_that_stopped_goes_on_bit_for_bit(name, tmp_path):
    """Past iteration 50, where the last good state is renewed."""
    whole = quick(noisy(), RECIPES[name])
    quick(noisy(), RECIPES[name], stop=23, save=tmp_path / "fit.dip")
    run = dip.resume(Run.load(tmp_path / "fit.dip"), progress=False)
    assert run.stopped_at == 60 and run.recipe == RECIPES[name]
    assert_same(whole, run, but=["seconds"])


def test_the_recipes_rule_ends_a_fit_after_a_pause_too(tmp_path):
    """And a fit that the rule has ended goes on, if that is wanted, to the recipe's number."""
    recipe = recipes.lab(options=SMALL, iterations=500)
    whole = quick(noisy(), recipe)
    assert whole.stopped_by == "sure" and 23 < whole.chosen_at < whole.stopped_at < 500
    quick(noisy(), recipe, halt=After(23), save=tmp_path / "fit.dip")
    run = dip.resume(Run.load(tmp_path / "fit.dip"), progress=False)
    assert run.stopped_by == "sure" and run.chosen_at == whole.chosen_at
    assert_same(whole, run, but=["seconds"])
    assert dip.resume(run, progress=False).stopped_at == 500


SHORT = recipes.lab(options=SMALL, iterations=90, precision="float32")
RULES = {
    "hold-out by name": "hold-out",
    "sure by name": "sure",
    "es-wmv by name": "es-wmv",
    "es-emv by name": "es-emv",
    "discrepancy by name": "discrepancy",
    "oracle by name": "oracle",
    "a number": 77,
    "numpy's number": np.int64(77),
    "hold-out": stopping.HoldOut(fraction=0.2, seed=3, patience=0.1),
    "sure": stopping.Sure(sigma=0.05, probe=0.2, seed=4),
    "windows": stopping.WindowedVariance(window=0.04, patience=0.1, start=10),
    "exponential": stopping.ExponentialVariance(window=0.1),
    "discrepancy": stopping.Discrepancy(sigma=0.12, start=40),
    "plateau": stopping.Plateau(tolerance=0.01, start=10),
    "oracle": stopping.Oracle(patience=0.2),
    "count": stopping.Count(np.int32(77)),
}


@pytest.mark.parametrize("name", RULES)
def test_the_rule_that_was_handed_in_goes_on(name, tmp_path):
    """Resumed is straight, bit for bit, what the rule knows included."""
    rule, path = RULES[name], tmp_path / "fit.dip"
    whole = quick(noisy(), SHORT, stop=rule)
    in_memory = quick(noisy(), SHORT, stop=rule, halt=After(23), save=path)
    dip.resume(in_memory, halt=After(5), progress=False)
    for run in (in_memory, Run.load(path)):
        dip.resume(run, progress=False)
        assert_same(whole, run, but=["seconds"])
        assert (run.stopped_by, run.chosen_at) == (whole.stopped_by, whole.chosen_at)
        assert run.packed[1]["rule"] == whole.packed[1]["rule"]


def test_a_rule_with_other_settings_begins_anew():
    """What the earlier one knew is about other pixels, or of another size."""
    run = quick(noisy(), SHORT, stop="hold-out", halt=After(23))
    for stop in (stopping.HoldOut(fraction=0.2), stopping.HoldOut(seed=9), "es-wmv", "sure"):
        dip.resume(run, stop=stop, halt=After(3), progress=False)
        assert run.rule.state["steps"] == 3
    dip.resume(run, stop="sure", halt=After(3), progress=False)
    assert run.rule.state["steps"] == 6  # the same again goes on


def test_a_rule_of_ones_own_is_wanted_again(tmp_path):
    path = tmp_path / "fit.dip"

    def late(step):
        return step.iteration >= 30

    quick(noisy(), SHORT, stop=late, halt=After(9), save=path)
    with pytest.raises(InputError, match=r"rule of your own \('late'\).*hand it in again"):
        dip.resume(Run.load(path), progress=False)
    assert dip.resume(Run.load(path), stop=late, progress=False).stopped_at == 30
    run = quick(noisy(), SHORT, stop=late, halt=After(9))
    assert dip.resume(run, progress=False).stopped_by == "late"
    assert dip.resume(run, progress=False).stopped_at == 90  # it has spoken


def test_a_number_to_reach_is_no_other_rule():
    """The rule that hides pixels goes on hiding them; a number of iterations gives way."""
    whole = quick(noisy(), SHORT, stop="hold-out")
    run = quick(noisy(), SHORT, stop="hold-out", halt=After(9))
    dip.resume(run, 90, progress=False)
    assert_same(whole, run, but=["seconds"])
    run = quick(noisy(), SHORT, iterations=20, halt=After(9))
    assert dip.resume(run, 30, progress=False).stopped_at == 30


class Late(Own):
    """Draws random numbers in later iterations only."""

    passes = 0

    def forward(self, z):
        self.passes += 1
        return super().forward(z) * (torch.rand(1) + 0.5 if self.passes > 3 else 1)


def test_random_numbers_that_come_late_leave_the_global_state():
    before = torch.get_rng_state()
    networks = Late(), Late()
    before = torch.get_rng_state()
    first, again = (quick(noisy(), TINY.replace(iterations=8), network=n) for n in networks)
    assert torch.equal(first.last, again.last) and torch.equal(torch.get_rng_state(), before)


class Dropping(Own):
    """A network that draws random numbers of its own."""

    def __init__(self):
        super().__init__()
        self.layers.insert(1, nn.Dropout2d(0.3))


def test_dropout_goes_on_bit_for_bit_and_leaves_the_global_state(tmp_path):
    recipe = TINY.replace(iterations=12)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    whole = quick(noisy(), recipe, network=Dropping())
    torch.manual_seed(2)
    quick(noisy(), recipe, network=Dropping(), stop=5, save=tmp_path / "fit.dip")
    torch.manual_seed(3)
    run = dip.resume(Run.load(tmp_path / "fit.dip"), network=Dropping(), progress=False)
    assert_same(whole, run, but=["seconds"])
    other = quick(noisy(), recipe, network=Dropping(), seed=1)
    assert not torch.equal(other.output, run.output)
    torch.manual_seed(1)
    network = Dropping()
    before = torch.get_rng_state()
    quick(noisy(), recipe, network=network)
    assert torch.equal(torch.get_rng_state(), before)


def test_after_three_setbacks_it_can_be_tried_again():
    class Poisoned(Own):
        calls, at = 0, {10, 20, 30}

        def forward(self, z):
            self.calls += z.requires_grad or torch.is_grad_enabled()
            return super().forward(z) * (float("nan") if self.calls in self.at else 1)

    with pytest.warns(RuntimeWarning, match="third time"):
        run = quick(noisy(), network=Poisoned(), stop="hold-out")
    assert run.stopped_by == "diverged" and run.stopped_at == 29
    dip.resume(run, progress=False)
    assert run.stopped_at > 29 and run.stopped_by == "hold-out"


class After:
    """Stands in for the event that a Stop button sets, after a number of looks at it."""

    def __init__(self, looks):
        self.looks = looks

    def is_set(self):
        self.looks -= 1
        return self.looks <= 0


def test_it_may_stop_and_go_on_many_times_in_memory():
    whole, run = quick(noisy()), quick(noisy(), stop=1)
    for goal in (2, 30, 49, 50, 51, 60):
        run = dip.resume(run, goal, progress=False)
    assert_same(whole, run, but=["seconds"])


def test_the_last_good_state_is_kept_too(tmp_path):
    """A setback after a resume goes back to where the whole fit would have gone."""
    poison = {"iteration": 40}

    class Poisoned(Own):
        def forward(self, z):
            self.calls = getattr(self, "calls", 0) + 1
            return super().forward(z) * (float("nan") if self.calls == poison["call"] else 1)

    recipe = TINY.replace(iterations=45)
    poison["call"] = 41 + _calls_before_the_fit(Poisoned, poison, recipe)
    with pytest.warns(RuntimeWarning, match="nan at iteration 41"):
        whole = quick(noisy(), recipe, network=Poisoned())
    poison["call"] = 0
    quick(noisy(), recipe, network=Poisoned(), stop=23, save=tmp_path / "fit.dip")
    poison["call"] = 41 - 23
    with pytest.warns(RuntimeWarning, match="nan at iteration 41"):
        run = dip.resume(Run.load(tmp_path / "fit.dip"), network=Poisoned(), progress=False)
    assert_same(whole, run, but=["seconds"])


def _calls_before_the_fit(network, poison, recipe):
    poison["call"], probe = 0, network()
    quick(noisy(), recipe, network=probe, stop=1)
    return probe.calls - 1


CHILD = f"""
import sys, torch, diplearn as dip
from diplearn import recipes
from diplearn.run import Run
torch.set_num_threads(1)
what, path = sys.argv[1:]
if what == "go on":
    dip.resume(Run.load(path), progress=False, save=path)
else:
    recipe = recipes.lab(
        options={SMALL!r}, iterations=60, stop="count", precision={BFLOAT16!r})
    problem = dip.denoising(dip.images.load("chelsea", size=32), sigma=25 / 255, seed=0)
    dip.fit(problem, recipe, progress=False, save=path, stop=23 if what == "begin" else None)
"""


def child(what, path):
    """Fit in a fresh process; return the run that it saved."""
    subprocess.run([sys.executable, "-c", CHILD, what, str(path)], check=True)
    return Run.load(path)


def test_fresh_processes_agree_to_the_bit_and_may_share_a_fit(tmp_path):
    whole = child("fit", tmp_path / "whole.dip")
    assert child("begin", tmp_path / "parts.dip").stopped_at == 23
    assert_same(whole, child("go on", tmp_path / "parts.dip"), but=["seconds"])
    here = quick(noisy(), RECIPES["lab in bfloat16"])
    assert_same(whole, here, but=["seconds"])
    assert not torch.equal(quick(noisy(), RECIPES["lab in bfloat16"], seed=1).output, here.output)


# Saving on the way.


def test_a_file_saved_on_the_way_says_so_and_changes_nothing(tmp_path, monkeypatch):
    path, recipe = tmp_path / "fit.dip", TINY.replace(iterations=30)
    plain, on_the_way, save = quick(noisy(), recipe), [], Run.save

    def saved(run, target):
        save(run, target)
        on_the_way.append(Run.load(target))

    monkeypatch.setattr(fitting, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(Run, "save", saved)
    run = quick(noisy(), recipe, save=path)
    assert [each.stopped_at for each in on_the_way] == [*range(1, 30), 30]
    assert {each.stopped_by for each in on_the_way[:-1]} == {"unfinished"}
    assert run.stopped_by == on_the_way[-1].stopped_by == "count"
    assert_same(plain, run, but=["seconds"])
    assert_same(plain, dip.resume(on_the_way[10], progress=False), but=["seconds"])


FAILURES = [
    OSError(28, "No space left on device"),
    OSError(30, "Read-only file system"),
    InputError("cannot write: there is no folder"),
    FileNotFoundError(2, "No such file or directory"),
    MemoryError(),
    TypeError("not JSON serializable"),
    RuntimeError("safetensors"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_a_save_that_fails_costs_no_fit(tmp_path, monkeypatch, failure):
    def fail(run, path):
        raise failure

    monkeypatch.setattr(Run, "save", fail)
    with pytest.warns(RuntimeWarning, match="could not be saved to .*fit.dip"):
        run = quick(noisy(), stop=3, save=tmp_path / "fit.dip")
    assert run.stopped_at == 3 and run.saved_at == 0


def vanish(path):
    shutil.rmtree(path.parent)


def become_a_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()


def become_a_file(path):
    shutil.rmtree(path.parent)
    path.parent.write_text("no folder any more")


@pytest.mark.parametrize("happen", [vanish, become_a_folder, become_a_file])
def test_what_happens_to_the_folder_costs_no_fit(tmp_path, happen):
    """The checks of the beginning must not become errors at the end."""
    path = tmp_path / "runs" / "fit.dip"
    path.parent.mkdir()

    def look(run, step):
        if step.iteration == 2:
            happen(path)

    with pytest.warns(RuntimeWarning, match="could not be saved"):
        run = quick(noisy(), stop=3, save=path, callback=look)
    assert run.stopped_at == 3 and run.output.isfinite().all()
    run.save(tmp_path / "elsewhere.dip")
    assert_same(run, Run.load(tmp_path / "elsewhere.dip"))


def test_a_rule_whose_state_is_no_json_costs_no_fit(tmp_path):
    class Odd(stopping.EarlyStopping):
        name = "odd"

        def score(self, step):
            self.state["seen"] = {step.iteration, "things"}
            return 1.0 / step.iteration

    with pytest.warns(RuntimeWarning, match="could not be saved"):
        run = quick(noisy(), stop=Odd(), halt=After(4), save=tmp_path / "fit.dip")
    assert run.stopped_at == 4
    assert dip.resume(run, halt=After(2), progress=False).stopped_at == 6


# Errors on the way.


class Mistake(Exception):
    pass


def mistaken(at):
    def fail(*arguments):
        if arguments[-1].iteration == at:
            raise Mistake("of somebody's own")

    return fail


class Fails(Own):
    passes = 0

    def forward(self, z):
        self.passes += 1
        if self.passes == 24:
            raise Mistake("of somebody's own")
        return super().forward(z)


@pytest.mark.parametrize("culprit", ["callback", "stop", "network"])
@pytest.mark.parametrize("saved", [False, True])
def test_an_error_on_the_way_keeps_the_run(tmp_path, culprit, saved):
    """It is raised as it came, with the run; from there, or from its file, the fit goes on."""
    recipe, path = TINY.replace(iterations=40), tmp_path / "fit.dip"
    whole = quick(noisy(), recipe, network=Own())
    wrong = {"callback": mistaken(23), "stop": mistaken(23), "network": Fails()}
    options = {"network": Own(), culprit: wrong[culprit], "save": path if saved else None}
    with pytest.raises(Mistake, match="somebody's own") as caught:
        quick(noisy(), recipe, **options)
    run = caught.value.run
    assert (run.stopped_by, run.stopped_at) == ("failed", 23)
    assert run.output.isfinite().all() and "23 iterations" in caught.value.__notes__[0]
    if saved:
        run = Run.load(path)
        assert run.stopped_by == "failed"
    dip.resume(run, stop="count", network=Own(), progress=False)
    assert_same(whole, run, but=["seconds"])


@pytest.mark.parametrize("rule", ["hold-out", "sure", "es-wmv", "es-emv", "plateau"])
@pytest.mark.parametrize("culprit", ["callback", "network", "saving"])
def test_what_a_rule_knew_survives_an_error(tmp_path, culprit, rule):
    """The rule, the record and the weights have all seen the last iteration, or none has."""
    path = tmp_path / "fit.dip"
    whole = quick(noisy(), SHORT, network=Thirty(), stop=rule)
    if culprit == "saving":

        def look(run, step):
            if step.iteration == 23:
                run.save(path)

        quick(noisy(), SHORT, network=Thirty(), stop=rule, callback=look)
    else:
        wrong = {"callback": mistaken(23), "network": Thirty(at=24)}
        with pytest.raises(Mistake):
            quick(noisy(), SHORT, **{"network": Thirty(), culprit: wrong[culprit]}, stop=rule,
                  save=path)  # fmt: skip
    run = dip.resume(Run.load(path), network=Thirty(), progress=False)
    assert_same(whole, run, but=["seconds"])
    assert run.chosen_at == whole.chosen_at
    for name, value in whole.rule.state.items():
        same = torch.equal(run.rule.state[name], value) if torch.is_tensor(value) else None
        assert same or run.rule.state[name] == value


class Thirty(Own):
    """Takes the lab's z; fails once, if asked to."""

    def __init__(self, at=0, act=None):
        super().__init__()
        torch.manual_seed(0)
        self.layers[0] = nn.Conv2d(32, 8, 3, padding=1)
        self.at, self.act, self.passes = at, act, 0

    def forward(self, z):
        self.passes += 1
        if self.passes == self.at:
            if self.act is None:
                raise Mistake
            self.act()
        return self.layers(z)


@pytest.fixture
def pythons_own_ctrl_c():
    """A shell lets what it runs in the background ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="signals to one's own process")
@pytest.mark.parametrize("rule", ["hold-out", "es-wmv"])
def test_a_second_ctrl_c_in_the_middle_of_an_iteration(rule, pythons_own_ctrl_c):
    """The iteration is finished, and everybody has seen it."""

    def interrupt_twice():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)  # each has to be noticed by the other thread

    whole = quick(noisy(), SHORT, network=Thirty(), stop=rule)
    with pytest.raises(KeyboardInterrupt) as caught:
        quick(noisy(), SHORT, network=Thirty(6, interrupt_twice), stop=rule)
    run = caught.value.run
    assert run.stopped_at == run.packed[1]["iteration"] == run.rule.state["steps"] == 6
    dip.resume(run, network=run.network, progress=False)
    assert_same(whole, run, but=["seconds"])


def test_an_error_before_the_first_iteration_has_no_run():
    class Never(Own):
        def forward(self, z):
            raise Mistake

    with pytest.raises(InputError) as caught:
        quick(noisy(), network=Never())
    assert not hasattr(caught.value, "run")


def test_a_callback_may_save_at_any_time(tmp_path):
    recipe, whole = TINY.replace(iterations=9), quick(noisy(), TINY.replace(iterations=9))

    def look(run, step):
        run.save(tmp_path / f"{step.iteration}.dip")
        assert run.output is not None and run.chosen_at >= step.iteration - 1

    quick(noisy(), recipe, callback=look)
    for iteration in (1, 5, 9):
        run = Run.load(tmp_path / f"{iteration}.dip")
        assert (run.stopped_by, run.stopped_at) == ("unfinished", iteration)
        if iteration < 9:
            assert_same(whole, dip.resume(run, progress=False), but=["seconds"])


def test_what_a_rule_chose_can_be_read_again(tmp_path):
    """A rule that computes in NumPy, and rules whose word is not to be believed."""

    def chooses(image, at=2):
        class Chooses(stopping.Rule):
            chosen, chosen_at = image, at

            def __call__(self, step):
                return step.iteration == 4

        return Chooses()

    path, image = tmp_path / "fit.dip", torch.full((3, 32, 32), 0.5)
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        run = quick(noisy(), stop=chooses(image.to(kind)), save=path)
        assert torch.equal(Run.load(path).output, run.output)
    for wrong in (image.int(), image > 0, image.to(torch.complex64), [1], "image"):
        with pytest.raises(InputError, match="chose an image"):
            quick(noisy(), stop=chooses(wrong), save=path)
        assert Run.load(path).stopped_at == 4
    for at in (10**6, -3, "x"):
        with pytest.raises(InputError, match="chose an image"):
            quick(noisy(), stop=chooses(image, at), save=path)
        assert Run.load(path).stopped_at == 4


@pytest.mark.parametrize("chosen", [float("nan"), float("inf")])
def test_a_rule_that_chooses_no_image(tmp_path, chosen):
    class Chooses(stopping.Rule):
        chosen_at = 2
        chosen = None

        def __call__(self, step):
            self.chosen = torch.full_like(step.average, chosen)
            return step.iteration == 4

    with pytest.raises(InputError, match="chose an image with values that are not finite") as no:
        quick(noisy(), stop=Chooses(), save=tmp_path / "fit.dip")
    assert torch.equal(no.value.run.output, no.value.run.average.clamp(0, 1))
    assert Run.load(tmp_path / "fit.dip").stopped_at == 4

    class OfAnotherSize(Chooses):
        def __call__(self, step):
            self.chosen = step.average[:, ::2]
            return step.iteration == 4

    with pytest.raises(InputError, match="of shape"):
        quick(noisy(), stop=OfAnotherSize())


def test_when_the_disk_is_full_the_earlier_file_survives(tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    path = tmp_path / "fit.dip"
    run = quick(noisy(), stop=2, save=path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 1000, len(before) - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError):
                run.save(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


KILLED = f"""
import os, random, signal, sys, time, pathlib, torch, diplearn as dip
from diplearn.recipes import Recipe
from diplearn.run import Run
torch.set_num_threads(1)
path, kills = pathlib.Path(sys.argv[1]), int(sys.argv[2])
problem = dip.denoising(dip.images.load("chelsea", size=32))
recipe = Recipe(options={SMALL!r}, z_channels=4)
runs = [dip.fit(problem, recipe, stop=2, seed=s, progress=False) for s in (0, 1)]
outputs = [run.output for run in runs]
runs[0].save(path)
begun = time.perf_counter(); runs[0].save(path); took = time.perf_counter() - begun
seen, dice = set(), random.Random(0)
for kill in range(kills):
    saver = os.fork()
    if saver == 0:
        while True:
            for run in runs:
                run.save(path)
    time.sleep(dice.uniform(0, 6 * took))
    os.kill(saver, signal.SIGKILL)
    os.waitpid(saver, 0)
    run = Run.load(path)  # raises if it is damaged
    assert torch.equal(run.output, outputs[run.seed])
    seen.add(run.seed)
left = [p for p in path.parent.iterdir() if p != path]
assert len(left) <= kills, left
print(len(seen), len(left))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "fit.dip"), "60"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    versions, _ = done.stdout.split()
    assert versions == "2"  # both the old and the new one were seen


# What is refused.


def untouched(monkeypatch):
    def begun(*_, **__):
        pytest.fail("the fit began")

    monkeypatch.setattr(fitting, "_iteration", begun)


def test_what_cannot_be_saved_is_refused_before_the_fit(tmp_path, monkeypatch):
    class Mirror(operators.Identity):
        pass

    untouched(monkeypatch)
    target = tmp_path / "fit.dip"
    mirrored = dip.Problem(noisy().observation, Mirror())
    with pytest.raises(InputError, match="operator of your own .Mirror. cannot be saved"):
        quick(mirrored, save=target)
    with pytest.raises(InputError, match="plain values only"):
        quick(noisy(), TINY.replace(options={"upsampling": {"nearest"}}), save=target)
    with pytest.raises(InputError, match="no folder"):
        quick(noisy(), save=tmp_path / "missing" / "fit.dip")
    with pytest.raises(InputError, match="it is a folder"):
        quick(noisy(), save=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_that_has_not_begun_cannot_be_saved_or_shown(tmp_path):
    run = Run(noisy(), TINY)
    with pytest.raises(InputError, match="not begun"):
        run.save(tmp_path / "fit.dip")
    with pytest.raises(InputError, match="not begun"):
        run.film(tmp_path / "film.gif")
    assert run.snapshots == {} and "nobody yet" in repr(run)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "fit.dip"
    recipe = TINY.replace(options={"down": (4,), "skip": (2,)}, z_channels=1)
    quick(dip.inpainting(image(16, "camera"), mask=0.3), recipe, stop=2, save=path)
    return path


def assert_loads_or_refuses(data, path):
    path.write_bytes(data)
    try:
        assert isinstance(Run.load(path), Run)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_truncated_file_is_refused(saved, data):
    whole = saved.read_bytes()
    end = data.draw(st.integers(0, len(whole) - 1))
    cut = saved.with_name("cut.dip")
    cut.write_bytes(whole[:end])
    with pytest.raises(InputError, match="is not a saved run, or it is damaged"):
        Run.load(cut)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_mutated_file_is_a_run_or_an_input_error(saved, data):
    mutated = bytearray(saved.read_bytes())
    # half of the changes where it hurts most: the settings, the header, the zip's own tables
    place = st.integers(0, 4000) | st.integers(len(mutated) - 600, len(mutated) - 1)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(place | st.integers(0, len(mutated) - 1))
        mutated[at] = data.draw(st.integers(0, 255))
    assert_loads_or_refuses(bytes(mutated), saved.with_name("mutated.dip"))


def rewritten(path, about=None, tensors=None, leave_out=None, compression=zipfile.ZIP_STORED):
    """Return the bytes of a well-formed archive with other things in it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != leave_out}
    if about is not None:
        members["run.json"] = about
    if tensors is not None:
        members["tensors.safetensors"] = save_tensors(tensors)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("run.json")), load_tensors(
            archive.read("tensors.safetensors")
        )


def places(tree, path=()):
    """Every place in a JSON tree."""
    yield path
    if isinstance(tree, (dict, list)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(value, (*path, key))


def put(tree, path, value):
    tree = json.loads(json.dumps(tree))
    if not path:
        return value
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return tree


@pytest.mark.parametrize("wrong", [None, "x", -1, 0.5, 10**30, float("nan"), [], {}, [[1, 2]]])
def test_settings_of_a_wrong_type_anywhere(saved, wrong):
    about, _ = contents(saved)
    target = saved.with_name("crafted.dip")
    for path in places(about):
        changed = json.dumps(put(about, path, wrong))
        assert_loads_or_refuses(rewritten(saved, about=changed), target)


def test_tensors_that_are_missing_or_of_another_shape(saved):
    _, tensors = contents(saved)
    target = saved.with_name("crafted.dip")
    for name in tensors:
        left = {k: v for k, v in tensors.items() if k != name}
        wrong = {**left, name: torch.zeros(3, 7)}, {**left, name: torch.full((1,), torch.nan)}
        for crafted in (left, *wrong):
            assert_loads_or_refuses(rewritten(saved, tensors=crafted), target)
            if name in ("observation", "output", "last", "average", "history"):
                with pytest.raises(InputError):
                    Run.load(target)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: rewritten(path, leave_out="run.json"),
        lambda path: rewritten(path, leave_out="tensors.safetensors"),
        lambda path: rewritten(path, about="[" * 100_000),
        lambda path: rewritten(path, about=b"\xff\xfe"),
        lambda path: rewritten(path, compression=zipfile.ZIP_DEFLATED),
        lambda path: rewritten(path, about=json.dumps({"format": 99, "diplearn": "9.9"})),
        lambda path: b"",
        lambda path: b"PK\x03\x04 and then nothing",
    ],
    ids="no settings|no tensors|deep|not text|packed|newer|empty|no zip".split("|"),
)
def test_what_is_no_saved_run_is_refused(saved, make):
    target = saved.with_name("crafted.dip")
    target.write_bytes(make(saved))
    with pytest.raises(InputError, match="crafted.dip"):
        Run.load(target)


def without(tree, path):
    tree = json.loads(json.dumps(tree))
    node = tree
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return tree


def craft(saved, path=None, value=None, **tensors):
    """Write a run in which one value, or some tensors, are others."""
    about, kept = contents(saved)
    about = about if path is None else put(about, path, value)
    target = saved.with_name("crafted.dip")
    target.write_bytes(rewritten(saved, json.dumps(about), {**kept, **tensors}))
    return target


def go_on(path):
    """Load and go on: a run, or an InputError."""
    try:
        run = Run.load(path)
        dip.resume(run, run.stopped_at + 2, progress=False)
        return run
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return None


@pytest.mark.parametrize("shape", [(0,), (1,), (16,), (), (4, 4, 3, 3), (99, 2, 1, 1)])
@pytest.mark.parametrize("where", ["state.moments", "state.checkpoint.moments"])
def test_moments_that_are_not_their_parameters(saved, where, shape):
    """A fused optimiser reads as many numbers as the parameter has, wherever they end."""
    _, tensors = contents(saved)
    names = [name for name in tensors if name.startswith(where)]
    assert len(names) > 12
    for name in names[:9]:
        if tuple(tensors[name].shape) != shape:
            assert go_on(craft(saved, **{name: torch.ones(shape)})) is None
        assert go_on(craft(saved, **{name: tensors[name].double()})) is None
    renamed = {**{f"{where}.7.0.exp_avg": torch.ones(4)}}
    assert go_on(craft(saved, **renamed)) is None
    assert go_on(craft(saved, **{f"{where}.0.0.other": torch.ones(4)})) is None


@pytest.mark.parametrize(
    "path, value",
    [
        (("recipe", "members"), 2**63),
        (("recipe", "members"), 10**6),
        (("recipe", "options", "down"), [2**40]),
        (("recipe", "options", "down"), [2**20]),
        (("recipe", "z_channels"), 2**40),
        (("recipe", "learning_rate"), 1e300),
        (("numbers", "iteration"), -1),
        (("numbers", "iteration"), 1),
        (("numbers", "iteration"), 10**15),
        (("spacing",), 1e308),
        (("numbers", "rollbacks"), 10**9),
        (("numbers", "rate_factor"), 1e30),
        (("numbers", "seed"), -1),
        (("numbers", "rule", "settings"), {"iterations": "many"}),
        (("numbers", "rule", "settings"), {"nonsense": 1}),
        (("numbers", "checkpoint_loss"), "low"),
    ],
)
def test_numbers_that_no_fit_has(saved, path, value):
    target = craft(saved, path, value)
    run = go_on(target)
    assert run is None or path[-1] in ("z_channels", "settings")


def test_what_a_rule_knew_is_checked(tmp_path):
    path = tmp_path / "fit.dip"
    quick(noisy(), SHORT, stop="hold-out", halt=After(3), save=path)
    about, tensors = contents(path)
    for value in ({}, {"steps": "one"}, {"steps": 3, "more": 1}, {"steps": 0.5}, None, [1]):
        assert go_on_by_its_rule(craft(path, ("numbers", "rule", "now"), value))
    for name in [name for name in tensors if name.startswith("state.rule.")]:
        for wrong in (torch.zeros(3, 7), tensors[name].to(torch.uint8)[None]):
            assert go_on_by_its_rule(craft(path, **{name: wrong}))


def go_on_by_its_rule(path):
    """Whether going on with the rule of the file is refused."""
    try:
        dip.resume(Run.load(path), halt=After(2), progress=False)
    except InputError:
        return True
    return False


def test_every_crafted_run_goes_on_or_is_refused(saved):
    """Each place of the settings gets wrong values, and each tensor another shape."""
    about, tensors = contents(saved)
    dice = random.Random(0)
    crafted = [(path, value) for path in places(about) for value in (None, "x", -1, 0.5, [], {})]
    for path, value in dice.sample(crafted, 90):
        go_on(craft(saved, path, value))
    for path in places(about):
        if path and isinstance(path[-1], str):
            target = saved.with_name("crafted.dip")
            target.write_bytes(rewritten(saved, json.dumps(without(about, path)), tensors))
            go_on(target)
    for name in dice.sample(sorted(tensors), 40):
        wrong = dice.choice([torch.zeros(3, 7), torch.full((1,), torch.nan), torch.zeros(0)])
        go_on(craft(saved, **{name: wrong}))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_saved_run(tmp_path):
    os.mkfifo(tmp_path / "pipe.dip")
    with pytest.raises(InputError, match="it is a pipe; name a file"):  # and no wait for ever
        Run.load(tmp_path / "pipe.dip")


def test_a_header_that_promises_too_much_costs_no_memory(saved):
    promise = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    huge = json.dumps({"output": promise})
    data = len(huge).to_bytes(8, "little") + huge.encode()
    about, _ = contents(saved)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("run.json", json.dumps(about))
        archive.writestr("tensors.safetensors", data)
    target = saved.with_name("crafted.dip")
    target.write_bytes(packed.getvalue())
    with pytest.raises(InputError, match="damaged"):
        Run.load(target)
    factor = put(about, ("problem",), {"task": "super_resolution", "sigma": 0.0,
                 "operator": "Downsample", "settings": {"factor": 10**9}})  # fmt: skip
    target.write_bytes(rewritten(saved, about=json.dumps(factor)))
    with pytest.raises(InputError):
        Run.load(target)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        Run.load(tmp_path / "missing.dip")
    with pytest.raises(InputError, match="it is a folder; name a file"):
        Run.load(tmp_path)


# The film.


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("iterations", [1, 12])
def test_the_film_shows_every_snapshot(tmp_path, suffix, iterations):
    run = quick(noisy(), stop=iterations)
    run.film(tmp_path / f"film{suffix}", seconds=1)
    with Image.open(tmp_path / f"film{suffix}") as film:
        assert getattr(film, "n_frames", 1) == len(run.snapshots) == iterations
        assert film.width >= 160 and film.height > film.width  # a caption that can be read
        if suffix != ".gif":
            film.seek(iterations - 1)
            last = images.from_array(np.array(film.convert("RGB"))[:160:5, ::5])
            assert (last - run.last).abs().mean() < (0.004 if suffix == ".png" else 0.1)


def test_a_film_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="suffix"):
        quick(noisy(), stop=1).film(tmp_path / "film.mp4")


def test_numpys_numbers_are_written_as_pythons(tmp_path):
    recipe = TINY.replace(iterations=np.int64(3), input_noise=np.float32(0.5))
    quick(noisy(), recipe, seed=np.int64(5), save=tmp_path / "fit.dip")
    run = Run.load(tmp_path / "fit.dip")
    assert run.seed == 5 and dataclasses.asdict(run.recipe)["input_noise"] == 0.5


def test_loading_and_saving_again_changes_nothing(saved):
    Run.load(saved).save(saved.with_name("again.dip"))
    about, tensors = contents(saved)
    again, other = contents(saved.with_name("again.dip"))
    assert about == again and tensors.keys() == other.keys()
    assert all(torch.equal(tensors[k], other[k]) for k in tensors)


# What a run holds, and for how long.


def test_a_run_is_not_changed_by_what_happens_to_its_network(tmp_path):
    """The usual warm start: a second fit goes on with the network of the first."""
    recipe = TINY.replace(iterations=9)
    whole = quick(noisy(), recipe, network=Own())
    network = Own()
    run = quick(noisy(), recipe, network=network, stop=5)
    quick(dip.denoising(image(), seed=3), recipe.replace(iterations=3), network=network)
    run.save(tmp_path / "fit.dip")
    for each in (run, Run.load(tmp_path / "fit.dip")):
        dip.resume(each, network=Own(), progress=False)
        assert_same(whole, each, but=["seconds"])


@pytest.mark.parametrize("make", [quick, lambda *a, **b: list(dip.iterate(*a, **b))])
def test_what_a_fit_held_is_freed_with_it(make):
    """At once, and not when the garbage collector comes by: on a GPU it may not come in time."""
    gc.collect()
    gc.disable()
    try:
        made, network = [], Own()
        alive = weakref.ref(network)
        made.append(make(noisy(), TINY.replace(iterations=3), network=network))
        del network
        made.clear()
        assert alive() is None
    finally:
        gc.enable()


def test_a_rule_whose_declared_state_no_file_can_hold(tmp_path, monkeypatch):
    class Odd(stopping.Rule):
        name = "odd"

        def initial(self, image):
            return super().initial(image) | {"seen": (1, 2)}

    untouched(monkeypatch)
    with pytest.raises(InputError, match="cannot be saved with state"):
        quick(noisy(), stop=Odd(), save=tmp_path / "fit.dip")


def test_a_rule_of_ones_own_goes_on_with_its_state(tmp_path):
    class Third(stopping.Rule):
        """Stops once it has seen 30 steps; remembers more than it declares."""

        name = "third"

        def look(self, step):
            self.choose(step, np.bool_(step.iteration % 3 == 0))
            self.state["seen"] = self.state.get("seen", 0) + 1
            self.stop_when(np.bool_(self.state["seen"] == 30))

    path = tmp_path / "fit.dip"
    whole = quick(noisy(), SHORT, stop=Third())
    assert (whole.stopped_at, whole.chosen_at) == (30, 30)
    run = quick(noisy(), SHORT, stop=Third(), halt=After(11), save=path)
    assert (run.stopped_at, run.chosen_at) == (11, 9)
    from_file = dip.resume(Run.load(path), stop=Third(), progress=False)
    for each in (dip.resume(run, progress=False), from_file):
        assert_same(whole, each, but=["seconds"])


def test_a_rule_that_never_chooses_gets_the_average():
    class Silent(stopping.Rule):
        name, last = "silent", None

        def look(self, step):
            self.stop_when(step.iteration == 4)

    run = quick(noisy(), stop=Silent())
    assert (run.stopped_by, run.chosen_at) == ("silent", 4)
    assert torch.equal(run.output, run.average.clamp(0, 1))


def test_one_saved_fit_may_be_continued_twice(tmp_path):
    quick(noisy(), TINY.replace(iterations=9), stop=5, save=tmp_path / "fit.dip")
    run = Run.load(tmp_path / "fit.dip")
    before = {name: tensor.clone() for name, tensor in run.packed[0].items()}
    dip.resume(copy.copy(run), progress=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in run.packed[0].items())
