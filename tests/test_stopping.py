"""Stopping rules: they stop where they say, and say beforehand where they do not apply."""

import math

import numpy as np
import pytest
import torch

import diplearn as dip
from diplearn import degrade, images
from diplearn.degrade import gaussian_noise
from diplearn.errors import InputError
from diplearn.fitting import Step
from diplearn.noise import clipped_variance
from diplearn.randomness import generator
from diplearn.stopping import (
    BY_NAME,
    Count,
    Discrepancy,
    ExponentialVariance,
    HoldOut,
    Plateau,
    Rule,
    Sure,
    WindowedVariance,
    choose,
)


def step(iteration, image):
    return Step(iteration, torch.tensor(0.0), image, image, [image], 0.0)


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("name", ["hubble", "chelsea", "page"])
def test_clipping_takes_away_as_much_noise_as_predicted(name, sigma):
    clean = images.load(name, size=128)
    errors = [(gaussian_noise(clean, sigma, seed) - clean).square().mean() for seed in range(4)]
    predicted = clipped_variance(clean, sigma)
    assert torch.stack(errors).mean() == pytest.approx(float(predicted), rel=0.02)
    assert predicted < sigma**2


def test_the_truth_satisfies_the_discrepancy_and_a_blur_does_not():
    clean = images.load("chelsea", size=128)
    rule = Discrepancy(factor=1.03)
    problem = dip.denoising(clean, sigma=0.1)
    rule.prepare(problem, dip.lab())
    blurred = dip.Blur(4)(clean)
    assert not rule(step(5, clean))  # never in the first few iterations
    assert not rule(step(99, blurred))
    assert rule(step(100, clean))
    assert rule(step(101, blurred)) and torch.equal(rule.chosen, clean)  # it has spoken


def test_the_noise_level_is_estimated_where_nobody_states_it():
    clean = images.load("chelsea", size=128)
    photo = dip.Problem(dip.denoising(clean, sigma=0.1).observation)
    rule = Discrepancy()
    rule.prepare(photo, dip.lab())
    assert rule.level == pytest.approx(0.1, rel=0.15)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: dip.super_resolution(x),
        lambda x: dip.inpainting(x),
        lambda x: dip.jpeg(x),
        lambda x: dip.denoising(x, sigma=0),
    ],
)
@pytest.mark.parametrize("name", ["discrepancy", "sure"])
def test_a_rule_that_does_not_apply_says_so_before_the_fit(make, name):
    problem = make(images.load("camera", size=64))
    with pytest.raises(InputError, match="fixed count"):
        dip.fit(problem, stop=name, progress=False)


def test_the_other_rules_say_so_too():
    clean = images.load("camera", size=64)
    with pytest.raises(InputError, match="JPEG"):
        dip.fit(dip.jpeg(clean), stop="hold-out", progress=False)
    with pytest.raises(InputError, match="clean image"):
        dip.fit(dip.Problem(clean), stop="oracle", progress=False)
    nearly_nothing = torch.zeros(64, 64)
    nearly_nothing[0, 0] = 1
    with pytest.raises(InputError, match="too few"):
        dip.fit(dip.inpainting(clean, mask=nearly_nothing), stop="hold-out", progress=False)
    with pytest.raises(InputError, match="fraction"):
        HoldOut(fraction=0.5)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_rule_restores_a_noisy_image(name):
    """None stops at the first iterates, and none gives back the noise."""
    problem = dip.denoising(images.load("chelsea", size=64), sigma=25 / 255)
    recipe = dip.lab(iterations=250)
    run = dip.fit(problem, recipe, stop=name, progress=False)
    assert run.psnr > dip.psnr(problem.observation, problem.truth) + 4
    assert 10 < run.chosen_at <= run.stopped_at
    if name in ("sure", "hold-out", "discrepancy"):
        assert run.stopped_by == name and run.oracle_psnr - run.psnr < 1


def test_sure_estimates_the_error_that_nobody_sees():
    """Where no pixel is clipped: SURE cannot see what clipping takes from black and white.

    A single estimate is off by what the energy of its noise happens to be, the same in every
    iteration. The level holds in the mean over seeds, and so does the fall between two iterations.
    """
    clean, looks = 0.3 + 0.4 * images.load("astronaut", size=96), (40, 80)
    scores, errors = torch.zeros(2, 3, len(looks))
    for seed in range(3):
        problem, recipe = dip.denoising(clean, sigma=0.08, seed=seed), dip.lab(iterations=80)
        rule = Sure()
        rule.prepare(problem, recipe)
        for step in dip.iterate(problem, recipe, problems=rule.problems):
            rule(step)
            if step.iteration in looks:
                at = seed, looks.index(step.iteration)
                scores[at], errors[at] = rule.state["score"], (step.average - clean).square().mean()
    torch.testing.assert_close(scores.mean(0), errors.mean(0), rtol=0.2, atol=0)
    falls = scores.diff(), errors.diff()
    torch.testing.assert_close(*(each.mean(0) for each in falls), rtol=0.2, atol=0)
    torch.testing.assert_close(*falls, rtol=0.5, atol=0)  # in each: up to 29 % were measured


@pytest.mark.parametrize("members", [1, 2])
def test_sure_measures_how_far_an_estimate_follows_its_observation(members):
    """For x = a x0 the divergence of a pixel is a."""
    problem = dip.denoising(torch.full((3, 128, 128), 0.5), sigma=0.1)
    rule = Sure(probe=0.5)
    rule.prepare(problem, dip.lab(members=members))
    outputs = [0.3 * each.observation for each in rule.problems]
    rule(Step(1, torch.tensor(0.0), outputs[0], outputs[0], outputs, 0.0))
    assert rule.state["divergence"] == pytest.approx(0.3, abs=0.03)


def test_hidden_pixels_differ_from_network_to_network_and_are_hidden():
    problem = dip.inpainting(images.load("chelsea", size=64), mask=0.5, sigma=0.1)
    rule = HoldOut(fraction=0.1)
    rule.prepare(problem, dip.lab(members=3))
    known = problem.operator.known.expand(3, 64, 64) > 0
    for hidden, shown in zip(rule.hidden, rule.problems):
        assert 0.07 < hidden.sum() / known.sum() < 0.13
        assert (shown.observation[hidden] == 0).all()
        changed = problem.truth.clone()
        changed[hidden] = 0.5
        assert torch.equal(shown.operator(changed), shown.operator(problem.truth))
    assert not (rule.hidden[0] & rule.hidden[1]).any()
    other = HoldOut(fraction=0.1, seed=1)
    other.prepare(problem, dip.lab(members=3))
    assert not torch.equal(other.hidden[0], rule.hidden[0])


def test_blocks_of_one_pixel_are_pixels():
    """They were drawn before there were blocks: rows of numbers, one for each pixel."""
    problem = dip.denoising(images.load("chelsea", size=64))
    rule = HoldOut(fraction=0.1, seed=5)
    rule.prepare(problem, dip.lab(members=2))
    draws = torch.rand(1, 64, 64, generator=generator(5, "hold-out")).expand(3, -1, -1)
    assert torch.equal(rule.hidden[0], draws < 0.1)
    for hidden, (places, values) in zip(rule.hidden, rule.held_out):
        assert torch.equal(places, hidden.flatten().nonzero()[:, 0])
        assert torch.equal(values, problem.observation[hidden])


@pytest.mark.parametrize("block, judged", [(2, 2), (3, 1), (4, 2), (5, 1), (6, 2)])
def test_blocks_are_hidden_as_a_whole_and_judged_in_their_middle(block, judged):
    problem = dip.denoising(images.load("chelsea", size=15 * block))
    rule = HoldOut(fraction=0.1, block=block)
    rule.prepare(problem, dip.lab(members=2))
    hidden, shown = rule.hidden[0], rule.problems[0]
    tiles = hidden[0].unfold(0, block, block).unfold(1, block, block)
    whole = tiles.float().mean((2, 3))
    assert set(whole.unique().tolist()) == {0, 1}
    assert 0.03 < whole.mean() < 0.2
    assert torch.equal(hidden[0], hidden[2])  # all channels: demosaicing mixes them
    assert (shown.observation[hidden] == 0).all()
    middle = torch.zeros(hidden.shape, dtype=torch.bool)
    middle.view(-1)[rule.held_out[0][0]] = True
    assert middle.sum() == 3 * judged**2 * whole.sum()
    near = torch.nn.functional.max_pool2d(
        (~hidden).float(), 2 * ((block - 1) // 2) + 1, 1, (block - 1) // 2
    )
    assert not (middle & (near > 0)).any()  # no pixel next to it was seen


def test_a_block_that_hides_nothing_to_judge():
    with pytest.raises(InputError, match="too few"):
        problem = dip.denoising(images.load("camera", size=16))
        HoldOut(fraction=1e-9, block=4).prepare(problem, dip.lab())


def test_hidden_pixels_are_judged_as_the_fit_judges():
    """By squares a few dead pixels would end an l1 fit when all is still blurred."""
    clean = images.load("camera", size=64)
    problem = dip.Problem(dip.degrade.salt_and_pepper(clean, amount=0.1), truth=clean)
    recipe = dip.lab(data_term="l1", members=1, iterations=300)
    run = dip.fit(problem, recipe, stop="hold-out", progress=False)
    assert run.oracle_psnr - run.psnr < 0.8 and run.chosen_at > 60


def test_hidden_photons_are_judged_by_their_likelihood():
    clean = images.load("camera", size=64) / 2  # hardly any count is clipped
    problem = dip.Problem(degrade.poisson_noise(clean, peak=20), truth=clean)
    recipe = dip.lab(data_term="poisson", members=1, iterations=20)
    rule = HoldOut()
    rule.prepare(problem, recipe)
    flat = torch.full_like(clean, 0.5)
    rule(step(1, flat))
    [(places, observed)] = rule.held_out
    expected = dip.energy.misfit(torch.full_like(observed, 0.5), observed, "poisson")
    assert rule.score(step(2, flat)).item() == pytest.approx(expected.item(), rel=1e-5)
    assert math.isfinite(dip.fit(problem, recipe, progress=False).psnr)


@pytest.mark.parametrize("name", ["sure", "discrepancy", "fusion"])
def test_a_rule_for_noise_of_one_level_refuses_photons(name):
    problem = dip.denoising(images.load("camera", size=64), sigma=0.1)
    recipe = dip.lab(data_term="poisson")
    with pytest.raises(InputError, match="depends on the brightness; use hold-out"):
        choose(name, problem, recipe)
    assert choose("auto", problem, recipe).name == "hold-out"
    with pytest.raises(InputError, match="depends on the brightness"):
        choose(None, problem, dip.guided(data_term="poisson"))
    assert choose(name, problem, dip.lab(data_term="l1")).name == name


def random_images(count):
    return [torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(count)]


def test_the_windows_variance_is_that_of_a_stack():
    rule = WindowedVariance(window=0.2)
    rule.prepare(None, dip.lab(iterations=100))  # a window of 20, in blocks of 4
    several = random_images(43)
    for number, image in enumerate(several, 1):
        rule(step(number, image))
        if number in (20, 24, 40):
            stack = torch.stack(several[number - 20 : number]).double()
            expected = stack.var(dim=0, correction=0).mean()
            assert rule.state["score"] == pytest.approx(float(expected), rel=1e-9)
    assert sum(torch.is_tensor(v) for k, v in rule.state.items() if k.startswith("sum")) == 5


def test_the_exponential_variance_is_that_of_weights_that_decay():
    rule = ExponentialVariance(window=0.1)
    rule.prepare(None, dip.lab(iterations=100))  # a tenth is new each time
    several = random_images(60)
    for number, image in enumerate(several, 1):
        rule(step(number, image))
    weights = 0.1 * 0.9 ** torch.arange(59, -1, -1).double()
    weights[0] /= 0.1  # all that was before the first
    stack = torch.stack(several).double()
    mean = torch.einsum("t,tchw->chw", weights, stack)
    expected = torch.einsum("t,tchw->chw", weights, (stack - mean).square()).mean()
    assert rule.state["score"] == pytest.approx(float(expected), rel=1e-9)


def test_a_plateau_is_where_nothing_changes():
    rule, image = Plateau(start=10), torch.full((1, 8, 8), 0.5)
    moving = [rule(step(k, image + 0.01 * k)) for k in range(1, 40)]
    assert not any(moving)
    still = [rule(step(k, image)) for k in range(40, 120)]
    assert any(still) and torch.equal(rule.chosen, image)


def test_the_automatic_choice():
    clean = images.load("camera", size=64)
    photo = dip.Problem(dip.denoising(clean).observation)
    for problem, name in [
        (dip.denoising(clean), "sure"),
        (photo, "hold-out"),
        (dip.denoising(clean, sigma=0), "plateau"),
        (dip.jpeg(clean), "count"),
        (dip.inpainting(clean, sigma=0.1), "sure"),
        (dip.inpainting(clean), "plateau"),
        (dip.super_resolution(clean, sigma=0.1), "hold-out"),
        (dip.super_resolution(clean), "plateau"),
        (dip.deblurring(clean, sigma=0.1), "hold-out"),
    ]:
        assert choose("auto", problem, dip.lab()).name == name
        assert choose(None, problem, dip.lab()).name == name


def test_blocks_are_hidden_where_neighbours_have_similar_noise():
    clean = images.load("coffee", size=64)

    def block(observation):
        return choose("auto", dip.Problem(observation), dip.lab()).block

    assert block(degrade.camera(clean, iso=6400)) == 4
    assert block(degrade.camera(clean, iso=1600, quality=None)) == 4
    assert block(gaussian_noise(clean)) == 1
    assert block(degrade.poisson_noise(clean)) == 1
    assert block(degrade.camera(clean[:1], iso=6400, quality=None)) == 1  # without a mosaic
    assert block(clean.new_full(clean.shape, 0.5)) == 1  # without noise


def test_the_discrepancy_ends_a_real_fit_early():
    problem = dip.denoising(images.load("chelsea", size=64), sigma=50 / 255)
    recipe = dip.lab().replace(input_noise=0, iterations=400)
    run = dip.fit(problem, recipe, stop="discrepancy", progress=False)
    assert run.stopped_by == "discrepancy" and 20 <= run.stopped_at < 400
    assert run.psnr > dip.psnr(problem.observation, problem.truth) + 4


def test_rules_by_name_number_and_object():
    problem = dip.denoising(images.load("camera", size=32))
    recipe = dip.lab(iterations=50)
    assert choose(7, problem, recipe).iterations == 7
    assert choose("count", problem, recipe).last == 50
    assert isinstance(choose("discrepancy", problem, recipe), Discrepancy)
    rule = Count(3)
    assert choose(rule, problem, recipe).iterations == 3
    with pytest.raises(InputError, match="auto, count, hold-out"):
        choose("soon", problem, recipe)
    for number in (np.int64(7), np.uint8(7), np.float32(7), 7.0):
        assert choose(number, problem, recipe).iterations == 7
        assert type(choose(number, problem, recipe).iterations) is int
    for wrong in (0, -1, 2.5, float("nan"), True, np.True_, HoldOut, object(), [5], "", b"sure"):
        with pytest.raises(InputError):
            choose(wrong, problem, recipe)


def test_anything_that_can_be_called_with_a_step_is_a_rule():
    problem = dip.denoising(images.load("camera", size=32))
    recipe = dip.lab(options={"down": (8,), "skip": (4,)}, iterations=9)

    class Nameless:
        def __call__(self, step):
            return np.bool_(step.iteration == 3)

    def third(step):
        return step.iteration == 3

    class Chooses(Rule):
        name, chosen, chosen_at = "chooses", torch.full((1, 32, 32), 0.25), 2

        def __call__(self, step):
            return step.iteration == 3

    for rule, name in [(third, "third"), (Nameless(), "Nameless"), (Chooses(), "chooses")]:
        run = dip.fit(problem, recipe, stop=rule, progress=False)
        assert (run.stopped_by, run.stopped_at) == (name, 3)
    assert run.chosen_at == 2 and torch.equal(run.output, Chooses.chosen)


@pytest.mark.parametrize("wrong", ["x", None, -1.0, float("nan"), float("inf"), True])
@pytest.mark.parametrize(
    "rule, name",
    [
        (HoldOut, "fraction"), (HoldOut, "patience"), (HoldOut, "start"), (HoldOut, "seed"),
        (HoldOut, "block"),
        (Sure, "probe"), (Sure, "sigma"), (Discrepancy, "sigma"), (Discrepancy, "factor"),
        (WindowedVariance, "window"), (ExponentialVariance, "window"), (Plateau, "tolerance"),
        (Count, "iterations"),
    ],
)  # fmt: skip
def test_a_rules_settings_are_checked_when_it_is_made(rule, name, wrong):
    if wrong is None and name in ("sigma", "iterations"):
        return
    with pytest.raises(InputError):
        rule(**{name: wrong})


def test_a_rule_without_a_name_is_called_after_its_class():
    class Mine(Plateau):
        name = ""

    problem = dip.denoising(images.load("camera", size=32))
    run = dip.fit(problem, dip.lab(iterations=3), stop=Mine(), progress=False)
    assert run.rule_name == "Mine"


def test_a_rule_that_served_before_begins_anew():
    """It must remember neither the other fit's scores nor its noise level, nor its length."""
    clean = images.load("camera", size=48)
    weak, strong = dip.denoising(clean, 10 / 255), dip.denoising(clean, 50 / 255)
    recipe = dip.lab(options={"down": (8,), "skip": (4,)}, iterations=120)
    for make in (Sure, HoldOut, Discrepancy, WindowedVariance, ExponentialVariance, Count):
        used = make()
        dip.fit(weak, recipe.replace(iterations=150), stop=used, progress=False)
        again = dip.fit(strong, recipe, stop=used, progress=False)
        fresh = dip.fit(strong, recipe, stop=make(), progress=False)
        assert (again.chosen_at, again.stopped_at) == (fresh.chosen_at, fresh.stopped_at)
        assert torch.equal(again.output, fresh.output)


def test_one_rule_object_may_serve_fits_side_by_side():
    """Also of images of different sizes."""
    recipe = dip.lab(options={"down": (8,), "skip": (4,)}, iterations=60, members=1)
    sizes, rule = (32, 48, 40, 32), HoldOut(fraction=0.1)
    problems = [dip.denoising(images.load("camera", size=size)) for size in sizes]

    def wanted(make):
        each = {"recipe": recipe, "device": "cpu"}
        return {
            n: {**each, "problem": p, "seed": n, "stop": make()} for n, p in enumerate(problems)
        }

    together = dip.fits(wanted(lambda: rule), cores=4, progress=False)
    alone = dip.fits(wanted(lambda: HoldOut(fraction=0.1)), cores=1, progress=False)
    for number, run in together.items():
        assert torch.equal(run.output, alone[number].output)
        assert run.chosen_at == alone[number].chosen_at
    assert not rule.state


def test_what_a_rule_shows_is_checked_before_the_fit():
    problem = dip.denoising(images.load("camera", size=32))

    class Shows(Rule):
        def look(self, step):
            pytest.fail("the fit began")

    other = dip.denoising(images.load("camera", size=48))
    for problems in (5, [], [None], [other]):
        Shows.problems = problems
        with pytest.raises(InputError, match="must list problems"):
            dip.fit(problem, stop=Shows(), progress=False)


@pytest.mark.parametrize("member", ["prepare", "look", "problems", "chosen"])
def test_an_object_with_members_of_a_rule_must_be_one(member):
    """Without the base class its members would be ignored, and nobody would notice."""
    almost = type("Almost", (), {member: None, "__call__": lambda self, step: False})()
    with pytest.raises(InputError, match=f"Almost has {member}: derive it from"):
        dip.fit(dip.denoising(images.load("camera", size=32)), stop=almost, progress=False)


def test_a_rule_that_forgets_its_base_class():
    class Forgetful(Rule):
        def __init__(self):
            pass

    with pytest.raises(InputError, match="must call super"):
        dip.fit(dip.denoising(images.load("camera", size=32)), stop=Forgetful(), progress=False)


def test_a_rule_that_comes_later_waits_for_its_windows():
    """Half a window of nothing is no window: its variance would be that of black images."""
    problem = dip.denoising(images.load("camera", size=32))
    recipe = dip.lab(options={"down": (8,), "skip": (4,)}, iterations=100)
    run = dip.fit(problem, recipe, stop=33, progress=False)
    dip.resume(run, stop=WindowedVariance(), progress=False)
    assert run.rule.state["steps"] == 67 and float(run.rule.state["score"]) < 1e-2


def test_the_recipes_rule_where_it_applies():
    clean = images.load("camera", size=32)
    noisy, silent = dip.denoising(clean), dip.denoising(clean, sigma=0)
    recipe = dip.lab(stop="discrepancy")
    assert isinstance(choose(None, noisy, recipe), Discrepancy)
    assert isinstance(choose(None, silent, recipe), Count)
    assert isinstance(choose(None, noisy, dip.paper()), Count)
    assert dip.fit(noisy, iterations=30, progress=False).stopped_at == 30


@pytest.mark.parametrize("name", ["discrepancy", "sure", "hold-out"])
@pytest.mark.parametrize("hidden", [False, True])
def test_channels_without_noise_say_nothing_about_it(name, hidden):
    """A fluorescence image, green alone; and one whose other channels are wholly missing."""
    clean = torch.zeros(3, 64, 64)
    clean[1] = images.load("camera", size=64)[0]
    seen = torch.zeros(3, 64, 64)
    seen[1] = dip.denoising(clean[1:2]).observation[0]
    known = torch.zeros(3, 64, 64)
    known[1] = 1
    operator = dip.Mask(known) if hidden else dip.operators.Identity()
    problem = dip.Problem(seen, operator, sigma=25 / 255)
    recipe = dip.lab(options={"down": (16, 32), "skip": (4, 4)}, iterations=200)
    run = dip.fit(problem, recipe, stop=name, progress=False)
    assert run.chosen_at > 40 and dip.psnr(run.output[1:2], clean[1:2]) > 26
