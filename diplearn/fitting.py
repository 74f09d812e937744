"""The fit: `iterate` is the paper's equation as a generator, and `fit` records it in a Run.

θ* = argmin_θ E(f_θ(z); x0),    x* = f_θ*(z)        (equation 2 of the paper)
"""

import contextlib
import dataclasses
import functools
import itertools
import math
import time

import torch

from . import checkpoint, hardware, prepare, recipes, stopping
from .energy import energy
from .errors import InputError, warn, whole
from .interrupts import interruptible
from .problems import Problem
from .progress import Progress
from .run import Run

__all__ = ["Step", "fit", "iterate", "resume"]

SAVE_EVERY = 60.0
"""Seconds between two saves of a fit that is going on."""


@dataclasses.dataclass
class Step:
    """One iteration, as `iterate` yields it.

    Attributes
    ----------
    iteration : int
        Counted from 1.
    loss : torch.Tensor
        The energy E(f_θ(z); x0), a scalar; ``float(step.loss)`` reads it.
    output : torch.Tensor
        x = f_θ(z), (C, H, W), before this iteration's update of the weights; the mean over the
        recipe's networks.
    average : torch.Tensor
        Moving average of the outputs so far, (C, H, W); of the projected outputs, where the recipe
        says so (see `Recipe.project`).
    outputs : list of torch.Tensor
        The outputs of the recipe's networks, one by one.
    weight : float
        The weight that the average gave to its past; the present output got 1 - weight.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> step = next(iterate(denoising(images.load("camera", size=64))))
    >>> step.iteration, step.output.shape
    (1, torch.Size([1, 64, 64]))
    """

    iteration: int
    loss: torch.Tensor
    output: torch.Tensor
    average: torch.Tensor
    outputs: list
    weight: float


def iterate(problem, recipe=None, network=None, *, seed=0, device=None, z=None, problems=None):
    """Fit f_θ(z) to one observation, one iteration at a time.

    Parameters
    ----------
    problem : Problem
        The problem that is to be solved.
    recipe : Recipe or str, optional
        ``"lab"`` (the default), ``"guided"``, ``"paper"``, ``"best"``, or a recipe: see `recipes`.
    network : torch.nn.Module, optional
        A network of your own, from (1, z_channels, H, W) to (1, C, H, W); it is trained in place.
        By default the recipe's.
    seed : int, optional
        Seed of the weights, of z and of the input noise. The global random state is not changed.
    device : str or torch.device, optional
        By default CUDA or MPS where there is one, else the CPU.
    z : torch.Tensor, optional
        The fixed input (1, C, H, W), instead of the recipe's.
    problems : list of Problem, optional
        What each of the recipe's networks is fitted to, where a stopping rule hides something from
        them (`Rule.problems`); by default the problem itself.

    Yields
    ------
    Step
        Until the recipe's iterations are made, or the third rollback.

    Raises
    ------
    InputError
        Something does not fit together; raised before the first iteration.
    MemoryShortage
        The machine has too little memory for an image of this size.

    Warns
    -----
    RuntimeWarning
        The loss spiked or was not finite, and the fit was rolled back to its last checkpoint.

    Notes
    -----
    On a CPU the work is done on threads of the fit (see `hardware.ThreadPool`); between two steps
    the caller's thread has all its cores. A GPU executes asynchronously, and its loss is read only
    at every `rollback.EVERY`-th iteration: there, steps may be yielded that are taken back later.

    Where the time goes (lab recipe, 256x256, two cores with bfloat16): convolutions 43 %, batch
    norm 16 %, upsampling 12 %, optimisers 13 %, activations 6 %; the rest is noise, energy,
    average and the interpreter.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> problem = denoising(images.load("camera", size=64))
    >>> for step in iterate(problem, "lab"):
    ...     if step.iteration == 5:
    ...         break
    >>> step.output.shape
    torch.Size([1, 64, 64])
    """
    recipe = recipes.choose(recipe, checked_problem(problem))
    state = prepare.new_state(problem, recipe, network, seed=seed, device=device, z=z)
    with state.threads() as threads:
        for step, _ in _iterations(state, problem, problems, threads):
            yield step


def _iterations(state, problem, targets, threads, note=None):
    """Yield each step of a fit, with what `note` returned for it.

    `note` is called as a part of the iteration, which an interrupt cannot cut off.
    """
    problem = problem.to(state.device)
    targets = [each.to(state.device) for each in targets or [problem]]
    while state.iteration < state.recipe.iterations and not state.guard.gave_up:
        step, noted, trouble = threads.run(_iteration, state, problem, targets, threads, note)
        if trouble:
            warn(trouble)
        else:
            yield step, noted


def _iteration(state, problem, targets, threads, note):
    """Make one iteration: x = f_θ(z), its energy, a step against the gradient; then the average."""
    recipe = state.recipe
    state.guard.before_iteration()
    state.set_learning_rate()
    with state.undone_if_it_fails(), hardware.reproducible(state.device):
        z = state.noise.add_to(state.z)

        def descend(number, target):
            x = state.forward(number, z)  # x = f_θ(z)
            loss = energy(x, target, recipe.data_term, recipe.tv_weight)  # E(x; x0)
            loss.backward()
            state.update(number)  # θ moves against the gradient
            return x.detach(), loss.detach()

        made = threads.map(descend, range(len(state.networks)), itertools.cycle(targets))
    outputs, losses = zip(*made)
    output, loss = _mean(outputs), _mean(losses)

    state.iteration += 1
    weight = state.add_to_average(_projected(output, problem, recipe))
    step = Step(state.iteration, loss, output, state.average, list(outputs), weight)
    trouble = state.guard.check(state, loss)  # rolled back, where the loss broke
    noted = note(step) if note is not None and not trouble else None
    return step, noted, trouble


def _mean(tensors):
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(dim=0)


def _projected(output, problem, recipe):
    """Give an output what the observation says for certain, if the recipe wants that."""
    if recipe.project and not problem.sigma:
        return problem.operator.project(output, problem.observation).clamp(0, 1)
    return output


def checked_problem(problem):
    """Return a problem; raise InputError if it is something else."""
    if not isinstance(problem, Problem):
        words = f"there is a {type(problem).__name__} where a problem belongs"
        raise InputError(f"{words}: make one with dip.Problem(image) or dip.denoising(clean)")
    return problem


def fit(
    problem,
    recipe=None,
    network=None,
    *,
    stop=None,
    iterations=None,
    seed=0,
    device=None,
    z=None,
    progress=True,
    halt=None,
    save=None,
    callback=None,
):
    """Restore one image: run `iterate` until a stopping rule ends it, and record what happened.

    Parameters
    ----------
    problem : Problem
        The problem that is to be solved.
    recipe : Recipe or str, optional
        ``"lab"`` (the default), ``"guided"``, ``"paper"``, ``"best"``, or a recipe: see `recipes`.
    network : torch.nn.Module, optional
        A network of your own, trained in place.
    stop : Rule, callable, str or int, optional
        A stopping rule, its name, a number of iterations, or a function of a `Step` that says
        whether to stop; by default the recipe's rule, and its number of iterations at most.
    iterations : int, optional
        Make this many iterations instead of the recipe's; with `stop`, at most this many.
    seed, device, z
        As in `iterate`.
    progress : bool, optional
        Show a bar in a terminal or notebook, a few lines in a pipe.
    halt : threading.Event, optional
        Anything with ``is_set()``: the fit ends after the iteration in which the event is set.
    save : str or path-like, optional
        Save the run to this file when it ends, and once a minute before.
    callback : callable, optional
        Called as ``callback(run, step)`` after every iteration: `run` holds what has been recorded
        so far, and ``run.save(path)`` saves it. The images of a step belong to the fit: read them,
        and do not write into them.

    Returns
    -------
    Run
        Also when the fit was halted or interrupted (Ctrl-C, the notebook's stop button).

    Raises
    ------
    InputError
        Something does not fit together; raised before the first iteration.
    MemoryShortage
        The machine has too little memory for an image of this size.
    Exception
        Whatever a callback, a rule or a network of your own raised, or KeyboardInterrupt after a
        second Ctrl-C. The run so far is saved first (with `save`), and is the error's attribute
        `run`.

    Warns
    -----
    RuntimeWarning
        The fit was rolled back to its last checkpoint, or the run could not be saved; the fit is
        kept.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> problem = denoising(images.load("camera", size=64), sigma=25 / 255)
    >>> fit(problem, iterations=20, progress=False).stopped_by
    'count'
    """
    recipe = recipes.choose(recipe, checked_problem(problem))
    if iterations is not None:
        recipe = recipe.replace(iterations=iterations)
        if stop is None and not recipe.mixes:
            stop = recipe.iterations  # a requested number is a fixed count
    _check_hooks(halt, callback)
    run = Run(problem, recipe, seed)
    if save is not None:
        checkpoint.check_savable(run, save)
    will_save = save is not None
    state = prepare.new_state(
        problem, recipe, network, seed=seed, device=device, z=z, will_save=will_save
    )
    rule = stopping.choose(stop, problem, recipe)
    if save is not None:
        checkpoint.check_rule(rule, problem.observation.new_zeros(problem.shape))
    return _advance(run, state, rule, recipe.iterations, progress, halt, save, callback)


def resume(
    run,
    iterations=None,
    *,
    stop=None,
    network=None,
    device=None,
    progress=True,
    halt=None,
    save=None,
    callback=None,
):
    """Continue a run, bit for bit as if it had never stopped.

    Parameters
    ----------
    run : Run
        As `fit` returned it or `Run.load` read it. It is extended in place.
    iterations : int, optional
        The total number of iterations to reach, if no rule stops the fit earlier; by default the
        recipe's. More than the recipe's stretch its learning-rate schedule, if the rate decays.
    stop : Rule, callable, str or int, optional
        A stopping rule for the iterations to come. By default the fit's own rule; if that rule
        already ended the run, none: the fit goes on to `iterations` (`Fusion` goes on choosing,
        and stops no more). For a run from a file, a rule of your own must be handed in again.
    network : torch.nn.Module, optional
        The module that was fitted, where it was your own.
    device, progress, halt, save, callback
        As in `fit`.

    Returns
    -------
    Run
        The same run.

    Raises
    ------
    InputError
        The run has made that many iterations already, has nothing to go on from, or is damaged.
    MemoryShortage
        This machine has too little memory for the fit.

    Examples
    --------
    >>> from diplearn import denoising, images
    >>> problem = denoising(images.load("camera", size=64))
    >>> run = fit(problem, iterations=20, stop=5, progress=False)
    >>> resume(run, progress=False).stopped_at
    20
    """
    if not isinstance(run, Run):
        raise InputError(f"there is a {type(run).__name__} where a run belongs: see Run.load")
    if run.going_on:
        raise InputError("the fit of this run is going on; it cannot be resumed in the meantime")
    if run.packed is None:
        raise InputError(checkpoint.NOT_KEPT)
    _check_hooks(halt, callback)
    goal = run.recipe.iterations if iterations is None else whole(iterations, "iterations", 1)
    if goal <= run.stopped_at:
        raise InputError(
            f"the run has made {run.stopped_at} iterations already; ask for more than that"
        )
    if save is not None:
        checkpoint.check_savable(run, save)
    recipe = run.recipe.replace(iterations=max(goal, run.recipe.iterations))
    will_save = save is not None
    state = checkpoint.restore_state(run, recipe, network, device, will_save)
    counted = iterations is not None and run.rule_name == "count"
    beyond = stop is None and (counted or run.stopped_by == run.rule_name)
    if beyond and run.rule_name != "fusion":
        stop = goal
    rule = checkpoint.restore_rule(run, recipe, stop, state)
    if beyond and stop is None:  # without this rule there is no mixture
        rule.go_on()
    run.recipe = recipe
    return _advance(run, state, rule, goal, progress, halt, save, callback)


def _check_hooks(halt, callback):
    if halt is not None and not callable(getattr(halt, "is_set", None)):
        raise InputError(f"halt={halt!r} has no is_set(): hand in a threading.Event")
    if callback is not None and not callable(callback):
        raise InputError(f"callback={callback!r} cannot be called")


def _advance(run, state, rule, goal, progress, halt, save, callback):
    """Make iterations up to a goal, and close the record however they end."""
    last = rule.last if isinstance(rule, stopping.Count) else goal
    bar = Progress(min(goal, last), run.stopped_at, progress)
    state.guard.accompany(state, rule, run)
    run.begin(state, rule)
    try:
        with (
            interruptible() as interrupted,
            contextlib.closing(bar),
            state.threads() as threads,
        ):
            ended_by = functools.partial(_ended_by, rule, goal, interrupted, halt)
            stopped_by = _drive(run, threads, bar, ended_by, save, callback)
            trouble = _end(run, stopped_by)
            if save is not None:
                _save(run, save)
    except BaseException as error:  # also a second Ctrl-C: what was reached is kept
        _rescue(run, save, error)
        raise
    if trouble:
        error = InputError(trouble)
        error.run = run
        raise error
    return run


def _drive(run, threads, bar, ended_by, save, callback):
    """Make iterations until something ends them; return what that was."""
    state, rule, saved_at = run.state, run.rule, time.perf_counter()
    ours = stopping.is_ours(rule)

    def note(step):
        numbers = run.record(step)
        return numbers, ours and rule(step)

    for step, (numbers, stop) in _iterations(state, run.problem, rule.problems, threads, note):
        loss, psnr = numbers
        bar.update(step.iteration, loss, None if math.isnan(psnr) else psnr)
        if not ours:  # on the caller's thread, and before the callback, which may save
            stop = rule(step)
        if callback is not None:
            callback(run, step)
        if reason := ended_by(step, stop):
            trouble = state.guard.read(state)  # on a GPU the fit may have to be rolled back first
            if trouble:
                warn(trouble)
            # A step may have been taken back, also by a callback that saved: then the fit goes on.
            if state.iteration >= step.iteration and not trouble:
                return reason
            if reason in ("interrupted", "halted"):
                return reason
        if save is not None and time.perf_counter() - saved_at > SAVE_EVERY:
            _save(run, save)
            saved_at = time.perf_counter()
    return "diverged" if state.guard.gave_up else "count"


def _ended_by(rule, goal, interrupted, halt, step, stop):
    """Return what ends the fit after this step, or None."""
    if stop:
        return rule.name
    if interrupted.is_set():
        return "interrupted"
    if halt is not None and halt.is_set():
        return "halted"
    return "count" if step.iteration >= goal else None


def _end(run, stopped_by):
    """Close the record; return what is wrong with the rule's choice, or None."""
    state = run.state
    if trouble := state.guard.read(state):
        warn(trouble)
    packed = checkpoint.pack(state, run.rule) if state.average is not None else None
    return run.end(stopped_by, packed)


def _rescue(run, save, error):
    """Close and save what an error ended, and hand the run over with the error."""
    if run.stopped_at == 0:
        run.state = None
        return
    error.run = run
    if run.going_on:
        try:
            _end(run, "failed")
        except Exception as another:
            error.add_note(f"diplearn: the run in error.run could not be closed: {another}")
            return
        finally:
            run.state = None
    if save is not None:
        _save(run, save)
    error.add_note(f"diplearn: error.run holds the {run.stopped_at} iterations that were made")


def _save(run, path):
    """Save the run; a failure is a warning, because the run is still in memory."""
    try:
        run.save(path)
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        warn(f"the run could not be saved to {path}: {reason}; an earlier file is as it was")
