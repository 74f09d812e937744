"""The fit: it restores, it is reproducible, it survives trouble, and it refuses nonsense early."""

import os
import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import diplearn as dip
from diplearn import fitting, hardware, images, inputs, prepare, recipes, rollback, stopping
from diplearn.errors import InputError
from diplearn.recipes import Recipe

TINY = Recipe(
    options={"down": (8, 8, 8), "skip": (4, 4, 4), "upsampling": "nearest"},
    z_channels=8,
    input_noise=0.02,
    noise_kind="uniform",
    iterations=40,
    average_window=1 / 6,
    start_at_mean=True,
)


@pytest.fixture(scope="module")
def clean():
    return images.load("chelsea", size=64)


@pytest.fixture(scope="module")
def problem(clean):
    return dip.denoising(clean, sigma=25 / 255, seed=0)


def quick(problem, recipe=TINY, **options):
    return dip.fit(problem, recipe, progress=False, **options)


def test_an_untrained_network_removes_noise():
    """The promise of the whole package, at a size that takes seconds."""
    problem = dip.denoising(images.load("chelsea", size=96), sigma=25 / 255, seed=0)
    run = quick(problem, "lab", iterations=300)
    assert run.psnr > dip.psnr(problem.observation, problem.truth) + 4
    assert run.history.loss.iloc[-1] < run.history.loss.iloc[0] / 2


def test_the_loop_by_hand_and_the_fit_are_one(problem):
    run = quick(problem)
    by_hand = [(s.iteration, float(s.loss)) for s in dip.iterate(problem, TINY)]
    assert by_hand == list(zip(run.history.index, run.history.loss))


def test_a_callback_sees_every_iteration_and_changes_nothing(problem):
    seen = []
    run = quick(problem, iterations=6, callback=lambda run, step: seen.append(len(run.history)))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert torch.equal(run.last, quick(problem, iterations=6).last)
    dip.resume(run, 8, progress=False, callback=lambda run, step: seen.append(step.iteration))
    assert seen[6:] == [7, 8]


@pytest.mark.parametrize("degrade", [dip.inpainting, dip.super_resolution])
def test_what_is_certain_enters_the_average_unless_there_is_noise(clean, degrade):
    recipe = TINY.replace(iterations=5, project=True)
    certain, noisy = degrade(clean), degrade(clean, sigma=0.05)
    kept, fitted = quick(certain, recipe), quick(certain, recipe.replace(project=False))

    def error(run):
        return (run.problem.operator(run.output) - run.problem.observation).abs().max()

    assert error(kept) < 0.05 < error(fitted)  # not 0: no value leaves [0, 1]
    assert torch.equal(kept.last, fitted.last)  # the fit itself is the same
    assert kept.psnr > fitted.psnr
    plain = quick(noisy, recipe.replace(project=False))
    assert torch.equal(quick(noisy, recipe).output, plain.output)


def test_same_seed_same_bits_other_seed_other_bits(problem):
    first, again, other = quick(problem), quick(problem), quick(problem, seed=1)
    assert torch.equal(first.output, again.output)
    assert first.history.loss.equals(again.history.loss)
    assert not torch.equal(first.output, other.output)


def test_the_global_random_state_is_untouched(problem):
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    quick(problem, iterations=3)
    dip.denoising(problem.truth, seed=3)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert before[2] == random.getstate()


def test_fits_that_begin_side_by_side_do_not_disturb_each_other(problem):
    def first(seed):
        return dip.fit(problem, TINY.replace(iterations=1), seed=seed, progress=False).output

    seeds = [0, 1] * 8
    with ThreadPoolExecutor(8) as crowd:
        outputs = list(crowd.map(first, seeds))
    for seed, output in zip(seeds, outputs):
        assert torch.equal(output, first(seed))


def test_fits_side_by_side_are_those_of_one_after_the_other(problem):
    recipe = TINY.replace(members=1, iterations=6)
    wanted = {s: {"problem": problem, "recipe": recipe, "seed": s} for s in (3, 1, 2)}
    before = torch.get_num_threads()
    runs = dip.fits(wanted, progress=False)
    assert list(runs) == [3, 1, 2] and torch.get_num_threads() == before
    for seed, run in runs.items():
        alone = dip.fit(problem, recipe, seed=seed, progress=False)
        assert torch.equal(run.output, alone.output) and run.stopped_by == "count"
        assert run.packed is None and run.network is None
    assert dip.fits({}) == {}


def test_fits_can_be_gone_on_with_where_that_is_asked_for(problem):
    recipe = TINY.replace(members=1, iterations=6)
    wanted = {"only": {"problem": problem, "recipe": recipe, "stop": 3}}
    run = dip.fits(wanted, progress=False, resumable=True)["only"]
    assert dip.resume(run, progress=False).stopped_at == 6


def test_fits_run_at_the_same_time_where_there_are_cores(problem):
    """Two fits that each wait for the other's first iteration can only end together."""
    together = threading.Barrier(2, timeout=30)
    recipe = TINY.replace(members=1, iterations=3)

    def meet(run, step):
        if step.iteration == 1:
            together.wait()

    each = {"problem": problem, "recipe": recipe, "callback": meet}
    assert len(dip.fits({"one": each, "other": {**each, "seed": 1}}, cores=2)) == 2


def test_an_error_in_one_of_many_fits_ends_them_all(problem):
    under_way, made = threading.Event(), []

    def look(run, step):
        made.append(step.iteration)
        under_way.set()

    def fail(run, step):
        under_way.wait(30)
        raise InputError("something went wrong")

    each = {"problem": problem, "recipe": TINY.replace(members=1, iterations=3000)}
    wanted = {"long": {**each, "callback": look}, "wrong": {**each, "callback": fail}}
    with pytest.raises(InputError, match="something went wrong"):
        dip.fits(wanted, cores=2, progress=False)
    assert 0 < made[-1] < 2000


def test_a_fit_leaves_the_number_of_threads_as_it_was(problem):
    before = torch.get_num_threads()
    for members in (1, 2):
        dip.fit(problem, TINY.replace(members=members, iterations=2), progress=False)
        assert torch.get_num_threads() == before


def test_z_and_the_noise_do_not_share_their_bits(clean):
    """With the same bits for both, the network would see the noise in z, and overfit early."""
    problem = dip.denoising(clean, sigma=0.1, seed=0)
    noise = (problem.observation - clean).flatten()
    z = prepare.new_state(problem, TINY, seed=0).z
    flat = z.permute(0, 2, 3, 1).flatten(), z.contiguous().flatten()
    for values in flat:
        for start in range(0, len(values) - len(noise) + 1, len(noise)):
            pair = torch.stack([noise, values[start : start + len(noise)]])
            assert torch.corrcoef(pair)[0, 1].abs() < 0.04
    # Gaussian numbers are made from pairs of uniform ones: look at all lags near zero, too.
    stream = flat[1][: len(noise)] - flat[1].mean()
    for lag in range(1, 16):
        pair = torch.stack([noise[lag:], stream[:-lag]])
        assert torch.corrcoef(pair)[0, 1].abs() < 0.05


def test_the_output_starts_at_the_mean_colour(problem):
    first = next(dip.iterate(problem, TINY))
    other = next(dip.iterate(problem, TINY.replace(start_at_mean=False)))
    mean = problem.observation.mean(dim=(1, 2))
    near, far = ((s.output.mean(dim=(1, 2)) - mean).abs().max() for s in (first, other))
    assert near < far and near < 0.12


def test_the_mean_colour_of_what_is_known(clean):
    """Missing pixels are stored as zero; they must not darken the start."""
    problem = dip.inpainting(clean, mask=0.8)
    first = next(dip.iterate(problem, TINY)).output.mean()
    assert abs(first - clean.mean()) < 0.12


def test_input_noise_has_its_spread_whatever_its_kind(problem):
    for kind in ("gaussian", "uniform", "shifted"):
        state = prepare.new_state(problem, TINY.replace(noise_kind=kind, input_noise=0.03))
        noise = state.noise.add_to(state.z) - state.z
        assert abs(float(noise.std()) - 0.03) < 1e-3 and abs(float(noise.mean())) < 1e-3
    silent = prepare.new_state(problem, TINY.replace(input_noise=0))
    assert silent.noise.add_to(silent.z) is silent.z


def test_shifted_noise_is_another_each_time_and_the_same_for_a_seed(problem):
    recipe = TINY.replace(noise_kind="shifted")
    first, again = (prepare.new_state(problem, recipe, seed=3) for _ in range(2))
    draws = [first.noise.add_to(first.z) for _ in range(6)]
    assert all(torch.equal(draw, again.noise.add_to(again.z)) for draw in draws)
    assert all(not torch.equal(a, b) for a, b in zip(draws, draws[1:]))
    other = prepare.new_state(problem, recipe, seed=4)
    assert not torch.equal(first.noise.canvas, other.noise.canvas)


def last_step(problem, state):
    with state.threads() as threads:
        return list(fitting._iterations(state, problem, None, threads))[-1][0]


def test_members_are_fitted_each_by_itself(problem):
    """The mean of a fit of two is the mean of two fits; nothing leaks from one to the other."""
    recipe = TINY.replace(input_noise=0.0, members=2, iterations=5)
    state = prepare.new_state(problem, recipe, seed=0)
    alone = [prepare.new_state(problem, recipe.replace(members=1), seed=0) for _ in range(2)]
    alone[1].network.load_state_dict(state.networks[1].state_dict())
    both, *lasts = (last_step(problem, each) for each in (state, *alone))
    assert torch.allclose(both.output, torch.stack([s.output for s in lasts]).mean(0), atol=1e-6)
    assert float(both.loss) == pytest.approx(sum(float(s.loss) for s in lasts) / 2, rel=1e-5)
    assert not torch.equal(lasts[0].output, lasts[1].output)
    shown = state.network(state.z)[0]
    assert shown.shape == problem.shape


def test_members_side_by_side_give_the_bits_of_one_after_the_other(problem):
    recipe = TINY.replace(members=2, optimiser="muon", iterations=5)
    before = torch.get_num_threads()
    outputs = []
    try:
        for cores in (1, 2):
            torch.set_num_threads(cores)
            outputs.append(list(dip.iterate(problem, recipe))[-1].average)
            assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*outputs)


def test_each_member_may_be_shown_something_else(problem, clean):
    recipe = TINY.replace(members=2, iterations=5)
    other = dip.denoising(clean, sigma=25 / 255, seed=1)
    step = list(dip.iterate(problem, recipe, problems=[problem, other]))[-1]
    plain = list(dip.iterate(problem, recipe))[-1]
    assert torch.equal(step.outputs[0], plain.outputs[0])
    assert not torch.equal(step.outputs[1], plain.outputs[1])
    assert torch.allclose(step.output, torch.stack(step.outputs).mean(dim=0))


def test_a_network_of_ones_own_has_no_other_members(problem):
    network = nn.Sequential(nn.Conv2d(8, 3, 3, padding=1), nn.Sigmoid())
    assert prepare.new_state(problem, TINY.replace(members=3), network).networks == [network]


@pytest.mark.parametrize("size", [(17, 31), (16, 16), (300, 20)])
def test_odd_and_oblong_images(size):
    torch.manual_seed(0)
    problem = dip.denoising(torch.rand(3, *size), sigma=0.1)
    run = quick(problem, iterations=2)
    assert run.output.shape == (3, *size)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: dip.super_resolution(x, factor=4),
        lambda x: dip.super_resolution(x, factor=3),
        lambda x: dip.inpainting(x, mask=0.5),
        lambda x: dip.jpeg(x, quality=10),
        lambda x: dip.deblurring(x, width=1.5),
        lambda x: dip.denoising(x.mean(dim=0, keepdim=True)),
    ],
)
def test_every_task_brings_its_energy_down(clean, make):
    problem = make(clean)
    run = quick(problem, recipes.choose("lab", problem).replace(iterations=40))
    assert run.output.shape == problem.shape
    assert run.history.loss.iloc[-1] < 0.6 * run.history.loss.iloc[0]


def test_a_image_of_ones_own_has_no_truth(problem):
    run = quick(dip.Problem(problem.observation), iterations=3)
    assert run.output.shape == problem.shape and run.history.psnr.isna().all()
    for wants_truth in ("psnr", "oracle", "oracle_at", "oracle_psnr"):
        with pytest.raises(InputError, match="clean image"):
            getattr(run, wants_truth)


def test_the_output_never_depends_on_the_truth(problem):
    blind = quick(dip.Problem(problem.observation, sigma=problem.sigma))
    assert torch.equal(blind.output, quick(problem).output)


def test_the_oracle_is_the_best_of_the_same_series(problem):
    run = quick(problem)
    averages = {s.iteration: s.average for s in dip.iterate(problem, TINY)}
    scores = {k: dip.psnr(image, problem.truth) for k, image in averages.items()}
    best = max(scores, key=scores.get)
    assert run.oracle_at == best and torch.equal(run.oracle, averages[best])
    assert run.oracle_psnr == pytest.approx(scores[best], abs=1e-3)
    assert run.psnr <= run.oracle_psnr + 1e-3


class Reads(TorchDispatchMode):
    """Counts what would make Python wait for a GPU: each number that it takes from a tensor."""

    OPERATIONS = (
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.nonzero.default,
        torch.ops.aten._unique2.default,
        torch.ops.aten.equal.default,
    )

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        self.count += operation in self.OPERATIONS
        return operation(*arguments, **options or {})


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Decide everything as for a GPU; return what counts the waits, planned ones included."""
    monkeypatch.setattr("diplearn.hardware.asynchronous", lambda device: True)
    reads, read = Reads(), hardware.read

    def counted(scalars):
        reads.count += 1
        return read(scalars)

    monkeypatch.setattr("diplearn.hardware.read", counted)
    return reads


BY_DEFAULT = {
    "sure": lambda clean: dip.denoising(clean),
    "hold-out": lambda clean: dip.Problem(dip.denoising(clean).observation, truth=clean),
    "plateau": lambda clean: dip.super_resolution(clean, factor=2),
    "count": lambda clean: dip.jpeg(clean),
}


@pytest.mark.parametrize("name", [*BY_DEFAULT, "es-wmv", "es-emv", "discrepancy", "oracle"])
def test_a_gpu_is_waited_for_at_snapshots_only(name, as_on_a_gpu):
    """On the CPU, with everything decided as for a GPU, and the same numbers in the end."""
    problem = BY_DEFAULT.get(name, BY_DEFAULT["sure"])(images.load("chelsea", size=32))
    recipe = TINY.replace(
        options={"down": (8,), "skip": (4,)}, iterations=140, optimiser="muon", members=2,
        noise_kind="shifted", stop="auto",
    )  # fmt: skip
    seen = []

    def look(run, step):
        seen.append(as_on_a_gpu.count)

    def fit(**options):
        return quick(problem, recipe, stop=None if name in BY_DEFAULT else name, **options)

    with as_on_a_gpu:
        ahead = fit(callback=look)
    waited = {i for i, (now, last) in enumerate(zip(seen[1:], seen), 2) if now != last}
    # A rule is asked after the callback: its wait shows at the next iteration.
    assert waited <= {*ahead.snapshots, 50, 51, 100, 101, 140} and len(waited) < 60
    assert ahead.rule_name == name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diplearn.hardware.asynchronous", lambda device: False)
        once = fit()
    assert once.stopped_at <= ahead.stopped_at < once.stopped_at + 50
    made = once.stopped_at
    numbers = ["loss", "psnr", "psnr_average"]
    assert ahead.history[numbers][:made].equals(once.history[numbers])
    assert ahead.history.seconds.is_monotonic_increasing
    assert ahead.chosen_at == once.chosen_at and torch.equal(ahead.output, once.output)
    assert ahead.history.psnr_average.max() == ahead.oracle_psnr


@pytest.mark.parametrize("name", ["sure", "hold-out", "es-emv", "es-wmv", "count"])
def test_what_a_gpu_did_after_a_nan_is_taken_back(problem, name, as_on_a_gpu):
    """Nobody looked for a while: rule, record and weights must not keep anything of it."""
    recipe = TINY.replace(iterations=130, members=1)
    with pytest.warns(RuntimeWarning, match="nan at iteration 70; the fit goes on"):
        run = quick(problem, recipe, network=Breaks({70}), stop=name)
    assert run.stopped_at in (100, 130) and run.stopped_by in ("count", name)
    made = list(range(1, run.stopped_at + 1))
    assert list(run.history.index) == made  # what was taken back was made again
    assert run.history.notna().all().all() and run.output.isfinite().all()
    now = [value for value in run.rule.state.values() if torch.is_tensor(value)]
    assert not any(value.isnan().any() for value in now)
    assert run.rule.state["steps"] == run.stopped_at
    assert list(run.snapshots) == sorted(set(run.snapshots))


@pytest.mark.parametrize("at", [2, 36, 37, 51, 62, 63])
def test_a_nan_on_a_gpu_is_no_reason_to_stop(problem, at, as_on_a_gpu):
    """Nor is it what the fit returns: somebody looks before a stop is accepted."""
    for stop, end in ((37, 37), (lambda step: step.iteration == 63, 63)):
        if at > end:
            continue
        with pytest.warns(RuntimeWarning, match=f"nan at iteration {at}; the fit goes on"):
            run = quick(problem, TINY.replace(iterations=90), network=Breaks({at}), stop=stop)
        assert run.stopped_at == end == len(run.history)
        assert run.output.isfinite().all() and run.last.isfinite().all()
        assert run.history.notna().all().all()


def test_after_a_pause_a_gpu_goes_back_to_the_pause(problem, as_on_a_gpu):
    """Rule and record know the state in which the fit went on, and no earlier one."""
    recipe = TINY.replace(iterations=120)
    network = Breaks({90})
    run = quick(problem, recipe, network=network, stop="hold-out", **halted_at(73))
    with pytest.warns(RuntimeWarning, match="nan at iteration 90"):
        dip.resume(run, stop="hold-out", network=network, progress=False)
    assert list(run.history.index) == list(range(1, run.stopped_at + 1))
    assert run.rule.state["steps"] == run.stopped_at > 73


def test_a_nan_at_the_end_is_not_what_a_gpu_returns(problem, as_on_a_gpu):
    recipe = TINY.replace(iterations=60)
    for end in ({}, {"stop": lambda step: step.iteration == 58}):
        with pytest.warns(RuntimeWarning, match="nan at iteration 57"):
            run = quick(problem, recipe, network=Breaks({57}), **end)
        assert run.output.isfinite().all() and run.last.isfinite().all()
        assert run.stopped_at == len(run.history) == (58 if end else 60)
    with pytest.warns(RuntimeWarning, match="nan at iteration 57"):
        run = quick(problem, recipe, network=Breaks({57}), **halted_at(58))
    assert run.stopped_at == len(run.history) == 50 and run.output.isfinite().all()


def halted_at(iteration):
    """Return the arguments of a fit that somebody halts at an iteration."""
    halt = threading.Event()

    def look(run, step):
        if step.iteration == iteration:
            halt.set()

    return {"halt": halt, "callback": look}


def test_a_compiled_network_makes_the_same_fit(problem):
    """Also when it goes on, and what was saved is the network's and not the compiler's."""
    if not hardware.can_compile():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no C++ compiler")
    recipe = TINY.replace(options={"down": (8,), "skip": (4,)}, iterations=30, stop="count")
    plain, fast = quick(problem, recipe), quick(problem, recipe.replace(compiled=True), stop=12)
    assert fast.history.loss.to_list() == pytest.approx(plain.history.loss[:12], rel=1e-2)
    assert list(fast.network.state_dict()) == list(plain.network.state_dict())
    dip.resume(fast, progress=False)
    assert fast.history.loss.to_list() == pytest.approx(plain.history.loss, rel=3e-2)


def test_a_cpu_needs_a_compiler_to_compile(problem, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match="needs a C\\+\\+ compiler"):
        quick(problem, TINY.replace(compiled=True))


class Breaks(nn.Module):
    """A network whose output becomes NaN in chosen iterations."""

    def __init__(self, at):
        super().__init__()
        self.filters = nn.Conv2d(8, 3, 3, padding=1)
        self.at, self.passes = at, 0

    def forward(self, z):
        # Not the looks at shape and memory that come before the fit.
        self.passes += torch.is_grad_enabled() and z.shape[-1] == 64
        image = torch.sigmoid(self.filters(z))
        return self.broken(image) if self.passes in self.at else image

    def broken(self, image):
        return image * float("nan")


def test_a_nan_goes_back_to_the_last_good_state(problem):
    with pytest.warns(RuntimeWarning, match="last checkpoint") as told:
        run = quick(problem, network=Breaks({20}))
    assert len(told) == 1 and told[0].filename == __file__
    assert 20 not in run.history.index and run.stopped_at == 40
    assert run.output.isfinite().all()
    assert all(p.isfinite().all() for p in run.network.parameters())
    assert run.history.loss.iloc[-1] < run.history.loss.iloc[0]


def test_going_back_restores_weights_and_moments(problem):
    """Copied by value: a checkpoint that shares memory with the weights would restore nothing."""
    state = prepare.new_state(problem, TINY)
    steps = fitting._iterations(state, problem, None, state.threads())
    for _ in range(5):
        next(steps)
    state.guard._save(state, 1.0)
    weights = {k: v.clone() for k, v in state.network.state_dict().items()}
    moments = [v["exp_avg"].clone() for v in state.moments()[0].values()]
    average = state.average.clone()
    for _ in range(5):
        next(steps)
    assert any(not torch.equal(weights[k], v) for k, v in state.network.state_dict().items())
    assert "nan at iteration 10" in state.guard._roll_back(state, float("nan"), 10, False)
    assert all(torch.equal(weights[k], v) for k, v in state.network.state_dict().items())
    now = [v["exp_avg"] for v in state.moments()[0].values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, now))
    assert torch.equal(average, state.average)
    next(steps)  # and the kept state is a copy again: another step must not change it
    assert torch.equal(state.guard.checkpoint.weights["to_image.bias"], weights["to_image.bias"])


def test_the_third_setback_ends_the_fit_with_the_best_so_far(problem):
    with pytest.warns(RuntimeWarning, match="third time"):
        run = quick(problem, network=Breaks({10, 20, 30}))
    assert run.stopped_by == "diverged" and run.stopped_at == 29
    assert run.output.isfinite().all()


def test_a_spike_of_five_decibels_is_a_setback(problem, monkeypatch):
    monkeypatch.setattr(rollback, "EVERY", 10)

    class Jumps(Breaks):
        def broken(self, image):
            return 1 - image

    dark = dip.Problem(torch.full((3, 64, 64), 0.02))
    with pytest.warns(RuntimeWarning, match="half the learning rate"):
        run = quick(dark, TINY.replace(learning_rate=0.1), network=Jumps({30}))
    assert run.stopped_at == 40 and 30 not in run.history.index


def test_a_network_that_never_works_says_so(problem):
    with pytest.raises(InputError, match="the fit cannot start"):
        quick(problem, network=Breaks(range(99)))


class Made(nn.Module):
    """A network whose output something is done to."""

    def __init__(self, act):
        super().__init__()
        self.filters, self.act = nn.Conv2d(8, 3, 3, padding=1), act

    def forward(self, z):
        return self.act(self.filters(z))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda z: z[:, :3], "is not a torch.nn.Module"),
        (nn.Conv2d, "is not a torch.nn.Module"),
        ("hourglass", "is not a torch.nn.Module"),
        (Made(lambda x: x.detach()), "has no gradient"),
        (Made(lambda x: (255 * x).to(torch.uint8)), "real floating numbers"),
        (Made(lambda x: x.to(torch.complex64)), "real floating numbers"),
        (Made(lambda x: x.to("meta")), "is on meta"),
        (nn.Conv2d(8, 3, 3, padding=1, dtype=torch.complex64), "complex parameters"),
        (Made(lambda x: x.numpy()), "cannot take z"),
        (Made(lambda x: [x]), "makes a list out of z; a tensor"),
        (Made(lambda x: None), "makes a NoneType"),
        (Made(lambda x: x[0]), "makes"),
        (nn.LazyConv2d(3, 3, padding=1), "lazy parameters"),
        (nn.Conv2d(8, 1, 3, padding=1), "makes"),
        (nn.Conv2d(8, 3, 3), "makes"),
        (nn.Conv2d(5, 3, 3), "cannot take z"),
        (nn.Upsample(scale_factor=1), "no parameters"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_the_fit(problem, network, words):
    with pytest.raises(InputError, match=words):
        quick(problem, network=network)


def test_a_network_of_ones_own_is_trained_in_place(problem):
    network = nn.Sequential(nn.Conv2d(8, 3, 3, padding=1), nn.Sigmoid())
    before = network[0].weight.detach().clone()
    run = quick(problem, network=network, iterations=5)
    assert run.network is network and not torch.equal(before, network[0].weight)


def test_z_may_be_handed_in(problem):
    flash = images.load("coffee", size=64)[None]
    run = quick(problem, TINY.replace(z="given", z_channels=3), z=flash, iterations=2)
    assert torch.equal(run.packed[0]["z"], flash)
    with pytest.raises(InputError, match="hand it in"):
        quick(problem, TINY.replace(z="given"))
    with pytest.raises(InputError, match="64, 64"):
        quick(problem, z=torch.rand(1, 3, 32, 64))


def test_a_mesh_says_where_each_pixel_is(problem):
    z = prepare.new_state(problem, TINY.replace(z="mesh", z_channels=2)).z
    assert z.shape == (1, 2, 64, 64)
    assert torch.equal(z[0, 0, 0], torch.linspace(0, 1, 64))  # x grows to the right
    assert torch.equal(z[0, 1, :, 0], torch.linspace(0, 1, 64))


def test_total_variation_and_pixels_are_the_old_way(clean):
    """No network, but an explicit R: it must beat no network and no R."""
    problem = dip.denoising(clean, sigma=50 / 255)
    plain = Recipe(network="pixels", learning_rate=0.02, iterations=150, z_channels=1)
    weight = 0.15 / problem.observation.numel()
    free, regular = quick(problem, plain), quick(problem, plain.replace(tv_weight=weight))
    assert free.history.psnr.iloc[-1] < dip.psnr(problem.observation, clean) + 1
    assert regular.history.psnr.iloc[-1] > free.history.psnr.iloc[-1] + 2


def test_snapshots_are_log_spaced_and_keep_their_promise(problem, monkeypatch):
    run = quick(problem, TINY.replace(iterations=120))
    kept = sorted(run.snapshots)
    assert kept[0] == 1 and kept[-1] == 120 and 20 < len(kept) < 60
    assert run.snapshots[1].dtype == np.uint8 and run.snapshots[1].shape == (64, 64, 3)
    monkeypatch.setattr("diplearn.run.SNAPSHOT_MEMORY", 5 * 64 * 64 * 3)
    small = quick(problem, TINY.replace(iterations=120))
    assert sum(f.nbytes for f in small.snapshots.values()) <= 5 * 64 * 64 * 3
    assert max(small.snapshots) == 120 and len(small.snapshots) >= 3


def test_a_rule_decides_and_is_named(problem):
    class Impatient(stopping.Rule):
        name = "impatient"

        def prepare(self, problem, recipe):
            self.truth = problem.truth

        def __call__(self, step):
            return step.iteration == 7

    run = quick(problem, stop=Impatient())
    assert (run.stopped_at, run.stopped_by) == (7, "impatient")
    assert quick(problem, stop=5).stopped_at == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"stop": 0},
        {"stop": "soon"},
        {"seed": -1},
        {"recipe": "fast"},
        {"device": "abacus"},
        {"save": "no/such/folder/run.dip"},
        {"save": "nul\0.dip"},
        {"iterations": 2.5},
        {"iterations": float("nan")},
        {"stop": True},
        {"stop": 2.5},
        {"stop": object()},
        {"seed": 1.5},
        {"problem": None},
        {"halt": 5},
        {"halt": lambda: False},
        {"callback": 5},
        {"save": True},
        {"save": b"fit.dip"},
        {"save": ""},
        {"device": "meta"},
        {"z": torch.zeros(1, 0, 64, 64)},
        {"z": torch.zeros(1, 8, 64, 64, device="meta")},
        {"problem": torch.rand(3, 64, 64)},
        {"z": "noise"},
        {"z": torch.zeros(1, 8, 64, 64, dtype=torch.int64)},
    ],
)
def test_nonsense_is_refused_before_any_work(problem, wrong, monkeypatch):
    def never(*_):
        raise AssertionError("the fit began")

    monkeypatch.setattr(inputs.InputNoise, "add_to", never)
    wrong = {"problem": problem, "recipe": TINY, **wrong}
    with pytest.raises(InputError):
        dip.fit(**wrong, progress=False)
    if not {"iterations", "save"} & set(wrong):
        with pytest.raises(InputError):
            dip.fits({"one": wrong}, progress=False)


@pytest.mark.parametrize("wanted", [{"one": {}}, {"one": None}, [1, 2], {"one": 5}, None])
def test_many_fits_without_a_problem(wanted):
    with pytest.raises(InputError):
        dip.fits(wanted, progress=False)


@pytest.mark.parametrize("run", [None, "fit.dip", 5])
def test_only_a_run_can_go_on(run):
    with pytest.raises(InputError, match="where a run belongs"):
        dip.resume(run)


def test_a_run_that_is_going_on_cannot_be_resumed(problem):
    def look(run, step):
        if step.iteration == 3:
            with pytest.raises(InputError, match="is going on"):
                dip.resume(run, progress=False)

    assert len(quick(problem, iterations=5, callback=look).history) == 5


class Slice(nn.Module):
    """Filters of three dimensions over one slice."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Conv3d(8, 3, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, z):
        return self.filters(z[:, :, None])[:, :, 0]


def test_networks_of_all_sorts(problem):
    """Filters of three dimensions; parameters that are never used, for Muon; two precisions."""
    muon = TINY.replace(optimiser="muon", iterations=3)
    mixed = nn.Sequential(nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(4, 3, 1))
    unused = Made(lambda x: x)
    unused.other = nn.Linear(8, 8)
    for network in (Slice(), mixed, unused, nn.Conv2d(8, 3, 1)):
        assert quick(problem, muon, network=network).stopped_at == 3


@pytest.mark.parametrize("number", [np.int64(5), np.uint8(5), np.float32(5), 5.0])
def test_numpys_numbers_are_numbers(problem, number):
    recipe = TINY.replace(options={"down": (np.int64(8),), "skip": (4,)}, z_channels=number)
    assert quick(problem, recipe, iterations=number).stopped_at == 5
    run = quick(problem, recipe.replace(iterations=number), stop=np.int64(2), seed=number)
    assert run.stopped_at == 2
    assert dip.resume(run, number, progress=False).stopped_at == 5
    kinds = {type(run.recipe.iterations), type(run.recipe.z_channels)}
    assert kinds == {int} and type(run.recipe.options["down"][0]) is int


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
@pytest.mark.parametrize("name", ["learning_rate", "input_noise", "z_scale", "tv_weight"])
@pytest.mark.parametrize("value", [1e300, float("inf"), float("nan"), -1.0, "1", None])
def test_numbers_that_no_fit_survives_are_refused(name, value, optimiser):
    with pytest.raises(InputError, match=name):
        TINY.replace(**{name: value, "optimiser": optimiser})


def test_a_channel_that_is_wholly_missing(clean):
    """Nothing is known of its colour: the fit starts in mid-grey there."""
    known = torch.ones(3, 64, 64)
    known[2], known[0, 10:30] = 0, 0
    problem = dip.inpainting(clean, mask=known)
    for recipe in (TINY, dip.lab("inpainting", iterations=3)):
        first = next(dip.iterate(problem, recipe)).output.mean(dim=(1, 2))
        assert abs(first[2] - 0.5) < 0.1 and first.isfinite().all()
        run = quick(problem, recipe, iterations=3)
        assert run.output.isfinite().all()


def test_what_many_fits_had_made_comes_with_the_error(problem):
    recipe = TINY.replace(members=1, iterations=3)

    def fail(run, step):
        if run.seed == 2 and step.iteration == 2:
            raise RuntimeError("of one fit")

    wanted = {
        seed: {"problem": problem, "recipe": recipe, "seed": seed, "callback": fail}
        for seed in range(6)
    }
    with pytest.raises(RuntimeError, match="of one fit") as caught:
        dip.fits(wanted, cores=1, progress=False)
    runs = caught.value.runs
    assert {0, 1, 2} <= set(runs) and runs[0].stopped_by == "count"
    assert runs[2].stopped_by == "failed" and runs[2].stopped_at == 2


def test_bfloat16_comes_close_to_float32(problem):
    low, full = (quick(problem, TINY.replace(precision=p)) for p in ("bfloat16", "float32"))
    assert abs(low.psnr - full.psnr) < 0.7
    assert low.output.dtype == torch.float32


def test_no_warning_in_an_ordinary_fit(problem):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(problem, iterations=3)
