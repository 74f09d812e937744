"""Peak memory is foretold, and a fit that would not fit is refused with a size that would."""

import gc
import json
import os
import re
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

import diplearn as dip
from diplearn import fitting, hardware, images, many, memory, networks, prepare, recipes
from diplearn.errors import InputError, MemoryShortage
from diplearn.recipes import Recipe

CPU = torch.device("cpu")


def float32():
    return torch.autocast("cpu", enabled=False)


def estimate(recipe, shape=(3, 256, 256)):
    network = networks.build(recipe.network, recipe.z_channels, shape, **recipe.options)
    return memory.Estimate(network, recipe.z_channels, float32, recipe.members).of(shape)


MEASURE = """
import json, sys, torch, diplearn as dip
from diplearn import memory, recipes
make, size, save = sys.argv[1:]
torch.set_num_threads(1)
problem = dip.denoising(torch.rand(3, int(size), int(size)))
recipe, seen = eval(make), []

def resident(key):
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(key)))

def check(estimate, problem, device):
    seen.append(estimate.of(problem.shape))

memory.check = check
before = resident("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak so far was importing torch
dip.fit(problem, recipe, stop=2, progress=False, device="cpu", save=save or None)
print(json.dumps([seen[-1], resident("VmHWM") - before]))
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "recipe, size, saved",
    [
        ('recipes.lab(precision="float32")', 256, False),
        ('recipes.lab(precision="bfloat16")', 192, False),
        ("recipes.paper()", 128, False),
        ("recipes.paper()", 128, True),
        ('recipes.Recipe(network="pixels", z_channels=1)', 1000, True),
    ],
)
def test_the_estimate_is_near_the_real_peak(recipe, size, saved, tmp_path):
    save = tmp_path / "fit.dip" if saved else ""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, recipe, str(size), str(save)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    estimated, measured = json.loads(done.stdout)
    assert 0.8 * measured < estimated < 1.6 * measured, (estimated / 1e6, measured / 1e6)


def test_the_estimate_grows_with_the_pixels_and_the_widths():
    lab, narrow = recipes.lab(), recipes.lab(options={"down": (8,) * 5})
    tiny, small, large = (estimate(lab, (3, side, side)) for side in (128, 256, 512))
    assert large - small == pytest.approx(4 * (small - tiny), rel=0.01)
    assert estimate(narrow) < small < estimate(recipes.paper())
    assert estimate(lab, (3, 5000, 33)) > estimate(lab, (3, 5000, 32))  # padded inside


def test_a_network_that_looks_far_is_probed_where_it_does_not_fill_up():
    """The paper's six levels with 5x5 filters treat every image as at least 192x192."""
    hole = recipes.paper("large_hole")
    assert estimate(hole, (3, 768, 768)) > 3 * estimate(hole, (3, 384, 384)) - 2 * memory._BASE


def test_pixels_are_counted_though_they_have_one_size_only():
    assert estimate(Recipe(network="pixels"), (3, 1024, 1024)) > 12 * 4 * 3 * 1024**2


class Noticing(nn.Module):
    """Would notice a forward pass: it draws random numbers and keeps running means."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Conv2d(8, 3, 1)
        )

    def forward(self, z):
        return self.layers(z)


@pytest.mark.parametrize("alone", [False, True])
def test_the_estimate_leaves_no_trace(alone):
    network = Noticing()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    network.lock = threading.Lock() if alone else None  # cannot be copied
    counted = memory.Estimate(network, 4, float32).of((3, 64, 64)) - memory._BASE
    # At the least, what goes into batch norm, dropout and the last layer is kept.
    assert counted > memory._ACTIVATIONS * 3 * 8 * 4 * 64**2
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_fits_leave_nothing_behind():
    """What a probe keeps for the backward pass must not keep the network alive."""

    def parameters():
        gc.collect()
        return sum(isinstance(thing, nn.Parameter) for thing in gc.get_objects())

    problem, before = dip.denoising(images.load("camera", size=32)), parameters()
    for _ in range(2):
        dip.fit(problem, iterations=1, progress=False)
    assert parameters() == before


# The refusal.


def refusal(monkeypatch, room, problem, recipe):
    monkeypatch.setattr(hardware, "available", lambda device: room)
    monkeypatch.setattr(fitting, "_iteration", lambda *_: pytest.fail("the fit began"))
    with pytest.raises(MemoryShortage) as caught:
        dip.fit(problem, recipe, progress=False, device="cpu")
    return str(caught.value)


BOMB = """
import sys, torch, diplearn as dip
from diplearn import hardware
resident = lambda: 1024 * int(next(
    line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
hardware.available = lambda device: 4e9
problem = dip.Problem(torch.rand(3, 4000, 6000))
dip.fit(dip.Problem(torch.rand(3, 32, 32)), stop=1, progress=False)  # what PyTorch loads
open("/proc/self/clear_refs", "w").write("5")
before = resident()
try:
    dip.fit(problem, eval(sys.argv[1]), stop=eval(sys.argv[2]), progress=False)
except dip.MemoryShortage:
    print((resident() - before) // 10**6)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "recipe, stop",
    [("'lab'", "None"), ("'lab'", "'hold-out'"), ("dip.paper()", "3"),
     ("dip.Recipe(network='pixels', z_channels=1)", "3"), ("dip.lab(members=1000)", "3")],
)  # fmt: skip
def test_what_is_refused_takes_no_memory(recipe, stop):
    """24 million pixels with 4 GB free: z alone would be 3 GB."""
    done = subprocess.run(
        [sys.executable, "-c", BOMB, recipe, stop], capture_output=True, text=True
    )
    assert done.stdout and int(done.stdout) < 60, done.stderr


def test_going_on_is_checked_too(monkeypatch):
    run = dip.fit(dip.denoising(images.load("camera", size=32)), "lab", stop=1, progress=False)
    monkeypatch.setattr(hardware, "available", lambda device: 1_000_000)
    with pytest.raises(MemoryShortage):
        dip.resume(run, 2, progress=False)
    assert run.stopped_at == 1


def test_many_fits_share_the_memory(monkeypatch):
    """Two at a time where three would not fit; none is refused that fits alone."""
    problem, recipe = dip.denoising(images.load("camera", size=32)), recipes.lab(members=1)
    network = networks.build(recipe.network, 32, (1, 32, 32), **recipe.options)
    each = memory.Estimate(network, 32, float32).of((1, 32, 32))
    going, most, lock = set(), [], threading.Lock()

    def look(run, step):
        with lock:
            going.add(run.seed)
            most.append(len(going))
            if step.iteration == 3:
                going.discard(run.seed)

    wanted = {
        seed: {"problem": problem, "recipe": recipe, "seed": seed, "stop": 3, "callback": look}
        for seed in range(6)
    }
    monkeypatch.setattr(hardware, "available", lambda device: 2.5 * each)
    assert len(dip.fits(wanted, cores=6, progress=False)) == 6
    assert max(most) == 2
    monkeypatch.setattr(hardware, "available", lambda device: 0.5 * each)
    with pytest.raises(MemoryShortage):
        dip.fits(wanted, cores=6, progress=False)


def test_a_gpu_is_not_given_a_fit_for_each_core(monkeypatch):
    monkeypatch.setattr("diplearn.hardware.asynchronous", lambda device: True)
    wanted = [{"problem": dip.denoising(images.load("camera", size=32))}] * 40
    assert many._at_once(wanted, 16)[0] == many.FITS_ON_A_GPU


def begin(problem, recipe):
    return prepare.new_state(problem, recipe, device="cpu")


@pytest.mark.parametrize("height, width", [(640, 640), (400, 900)])
def test_the_size_that_is_named_fits_and_a_larger_one_does_not(monkeypatch, height, width):
    photo = torch.rand(3, height, width)
    words = refusal(monkeypatch, 500_000_000, dip.Problem(photo), recipes.lab())
    assert f"a fit at {width}x{height} pixels needs about " in words and "0.5 GB are free" in words
    longest = int(re.search(r"--longest (\d+)", words)[1])
    assert f"longest={longest})" in words and longest < max(height, width)
    begin(dip.Problem(images.shrink(photo, longest)), recipes.lab())
    with pytest.raises(MemoryShortage):
        begin(dip.Problem(images.shrink(photo, round(1.2 * longest))), recipes.lab())


def test_for_a_small_image_the_advice_is_about_the_small_image(monkeypatch):
    photo = torch.rand(3, 160, 160)
    problem = dip.Problem(photo, dip.Downsample(4))
    words = refusal(monkeypatch, 500_000_000, problem, recipes.lab())
    longest = int(re.search(r"--longest (\d+)", words)[1])
    assert longest < 160
    begin(dip.Problem(images.shrink(photo, longest), dip.Downsample(4)), recipes.lab())


def test_where_nothing_fits_it_says_so(monkeypatch):
    words = refusal(monkeypatch, 1_000_000, dip.Problem(torch.rand(3, 64, 64)), recipes.lab())
    assert "even a small image would not fit" in words and "longest" not in words


def test_a_shortage_is_an_input_error_and_a_memory_error():
    assert issubclass(MemoryShortage, InputError) and issubclass(MemoryShortage, MemoryError)


# What there is.


def test_the_machine_has_some_memory():
    assert 10_000_000 < hardware.available(CPU) < 1e15


def groups(tmp_path, line, files):
    """Lay out a tree of control groups; return what they allow."""
    (tmp_path / "cgroup").write_text(line)
    for name, content in files.items():
        file = tmp_path / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(content))
    return hardware._container_room(tmp_path / "cgroup", tmp_path / "sys")


@pytest.mark.parametrize(
    "line, files, room",
    [
        ("0::/\n", {"memory.max": 2000, "memory.current": 500}, 1500),
        ("0::/\n", {"memory.max": "max\n", "memory.current": 500}, float("inf")),
        ("0::/\n", {}, float("inf")),
        (  # a limit above one's own group counts as well
            "0::/pods/one\n",
            {
                "pods/memory.max": 900, "pods/memory.current": 800,
                "pods/one/memory.max": 700, "pods/one/memory.current": 10,
            },
            100,
        ),
        (  # inside a container the path is the host's, and the top is one's own
            "0::/docker/abc\n", {"memory.max": 2000, "memory.current": 500}, 1500,
        ),
        (  # files that were read count as used, but can be forgotten
            "0::/\n",
            {
                "memory.max": 2000, "memory.current": 1900,
                "memory.stat": "anon 100\ninactive_file 1500\n",
            },
            1600,
        ),
        (
            "5:cpu:/\n4:memory:/job/7\n0::/\n",
            {
                "memory/job/7/memory.limit_in_bytes": 3000,
                "memory/job/7/memory.usage_in_bytes": 1000,
                "memory/job/7/memory.stat": "inactive_file 1\ntotal_inactive_file 50\n",
                "memory/memory.limit_in_bytes": 9223372036854771712,
                "memory/memory.usage_in_bytes": 0,
            },
            2050,
        ),
    ],
    ids="v2|v2, no limit|v2, no files|v2, nested|v2, host's path|v2, cache|v1".split("|"),
)  # fmt: skip
def test_a_containers_limit_is_respected(tmp_path, line, files, room):
    assert groups(tmp_path, line, files) == room


def test_elsewhere_than_on_linux_there_are_no_groups(tmp_path):
    assert hardware._container_room(tmp_path / "missing", tmp_path) == float("inf")


def test_the_tighter_of_machine_and_container_counts(monkeypatch):
    monkeypatch.setattr(hardware, "_container_room", lambda: 12345)
    assert hardware.available(CPU) == 12345
