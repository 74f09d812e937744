"""Switches that belong to the process are nobody's to keep: threads, determinism, umask."""

import subprocess
import sys
import threading

import pytest
import torch

import diplearn as dip
from diplearn import hardware, images
from diplearn.hardware import ThreadPool
from diplearn.recipes import Recipe

TINY = Recipe(options={"down": (8,), "skip": (4,)}, z_channels=4, iterations=4)
CPU, GPU = torch.device("cpu"), torch.device("cuda")  # to name a GPU, none is needed


@pytest.fixture
def four_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def switches():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )


def test_determinism_ends_with_the_last_fit_that_needs_it():
    """Two threads that overlap, the first one leaving first: the order that once left it on."""
    before, seen = switches(), []
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def first():
        with hardware.reproducible(GPU):
            first_in.set()
            assert second_in.wait(30)
        first_out.set()

    def second():
        assert first_in.wait(30)
        with hardware.reproducible(GPU):
            second_in.set()
            assert first_out.wait(30)
            seen.append(switches())

    crowd = [threading.Thread(target=work) for work in (first, second)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(30)
    assert seen == [(True, True, False, True, False)]
    assert switches() == before


def test_a_cpu_needs_no_switch():
    before = switches()
    with hardware.reproducible(CPU):
        assert switches() == before


@pytest.mark.parametrize("members", [1, 2, 3])
def test_between_two_steps_the_caller_has_all_cores(four_cores, members):
    """Also a callback, a rule of the caller's own, and a thread that begins meanwhile."""
    problem, seen = dip.denoising(images.load("camera", size=32)), []

    def look(*_):
        seen.append(torch.get_num_threads())
        new = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        new.start()
        new.join()

    recipe = TINY.replace(members=members)
    for _ in dip.iterate(problem, recipe):
        look()
    dip.fit(problem, recipe, stop=lambda step: look(), callback=look, progress=False)
    assert set(seen) == {4} and len(seen) == 2 * 4 * 3
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("members, count", [(1, 1), (2, 2), (3, 3), (9, 4)])
def test_each_network_has_a_core(four_cores, members, count):
    networks, threads = [torch.nn.Linear(2, 2) for _ in range(members)], set()
    together = threading.Barrier(count, timeout=30)

    def work(number):
        threads.add(threading.get_ident())
        if number < count:
            together.wait()  # so many work at a time
        return torch.get_num_threads()

    with ThreadPool(networks, (3, 8, 8), CPU) as hands:
        assert hands.run(hands.map, work, range(members)) == [1] * members
        assert hands.run(torch.get_num_threads) == 1
    assert threading.get_ident() not in threads and len(threads) == count
    assert torch.get_num_threads() == 4


def test_a_large_network_has_all_cores(four_cores, monkeypatch):
    monkeypatch.setattr(hardware, "SMALL", 0)
    one = [torch.nn.Linear(2, 2)]
    with ThreadPool(one, (3, 8, 8), CPU) as hands:
        assert hands.run(torch.get_num_threads) == 4
    with ThreadPool(one * 2, (3, 8, 8), CPU) as hands:
        assert hands.run(hands.map, lambda _: torch.get_num_threads(), range(2)) == [2, 2]


def test_a_gpu_is_driven_by_the_callers_thread():
    with ThreadPool([torch.nn.Linear(2, 2)], (3, 8, 8), GPU) as hands:
        assert hands.run(threading.get_ident) == threading.get_ident()
        assert hands.map(lambda _: threading.get_ident(), range(2)) == [threading.get_ident()] * 2


def test_where_no_thread_can_be_had_nobody_waits(four_cores, monkeypatch):
    """The first must not wait for ever for a second that never comes."""
    begin, begun = threading.Thread.start, []

    def start(thread):
        begun.append(thread)
        if len(begun) == 3:
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="new thread"):
        ThreadPool([torch.nn.Linear(2, 2)] * 4, (3, 8, 8), CPU)
    for thread in begun[:2]:
        thread.join(30)
        assert not thread.is_alive() or "Thread" in thread.name
    assert torch.get_num_threads() == 4


FIRST_USE = """
import torch, threading, diplearn as dip
torch.set_num_threads(3)
problem = dip.denoising(dip.images.load("camera", size=32))
recipe = dip.Recipe(options={"down": (8,), "skip": (4,)}, z_channels=4, iterations=3, members=2)
crowd = [threading.Thread(target=dip.fit, args=(problem, recipe), kwargs={"progress": False})
         for _ in range(4)]
for thread in crowd: thread.start()
for thread in crowd: thread.join()
seen = []
new = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
new.start(); new.join()
print(seen[0], torch.get_num_threads())
"""


def test_fits_on_several_threads_leave_the_cores_to_later_ones():
    done = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True)
    assert done.stdout.split() == ["3", "3"], done.stderr
