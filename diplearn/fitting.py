"""The fit: `iterate` is the paper's equation as a generator, and `fit` records it in a Run.

θ* = argmin_θ E(f_θ(z); x0),    x* = f_θ*(z)        (equation 2 of the paper)
"""

import contextlib
import dataclasses
import functools
import itertools
import math
import threading
import time
import warnings
from concurrent.futures import as_completed

import torch

from . import checkpoint, hardware, inputs, prepare, recipes, stopping
from .energy import energy
from .errors import InputError, whole
from .interrupts import interruptible
from .problems import Problem
from .progress import Progress
from .run import Run
from .state import mean

__all__ = ["Step", "fit", "fits", "iterate", "resume"]

SAVE_EVERY = 60.0
"""Seconds between two saves of a fit that is going on."""

FITS_ON_A_GPU = 1
"""Fits that share a GPU: on an H100, four at once took as long as four in a row."""


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
        x = f_θ(z), (C, H, W): the iterate before the weights moved; the mean over the networks.
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
        ``"lab"`` (the default), ``"paper"``, or a recipe.
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
    recipe = recipes.choose(recipe, _checked(problem))
    state = prepare.state(problem, recipe, network, seed=seed, device=device, z=z)
    with state.threads() as threads:
        yield from _iterations(state, problem, problems, threads)


def _checked(problem):
    if not isinstance(problem, Problem):
        words = f"there is a {type(problem).__name__} where a problem belongs"
        raise InputError(f"{words}: make one with dip.Problem(image) or dip.denoising(clean)")
    return problem


def _iterations(state, problem, problems, threads, note=None, depth=3):
    """Yield one step after another.

    `note` is called with each step as a part of its iteration, which an interrupt cannot cut off.
    `depth` leads a warning to the line that began the fit.
    """
    problem = problem.to(state.device)
    problems = [each.to(state.device) for each in problems or [problem]]
    while state.iteration < state.recipe.iterations and not state.guard.gave_up:
        step, trouble = threads.run(_iteration, state, problem, problems, threads, note)
        if trouble:
            warnings.warn(trouble, RuntimeWarning, stacklevel=depth)
        else:
            yield step


def _iteration(state, problem, problems, threads, note):
    """Make one iteration; return its step, and what went wrong if the fit was rolled back."""
    recipe = state.recipe
    state.guard.before_iteration()
    state.set_learning_rate()
    with state.undone_if_it_fails(), hardware.reproducible(state.device):
        z = state.noise.add_to(state.z)

        def descend(number, observed):
            x = state.forward(number, z)  # x = f_θ(z)
            loss = energy(x, observed, recipe.data_term, recipe.tv_weight)  # E(x; x0)
            loss.backward()
            state.update(number)  # θ moves against the gradient
            return x.detach(), loss.detach()

        made = threads.map(descend, range(len(state.networks)), itertools.cycle(problems))
        outputs, losses = zip(*made)
    output, loss = mean(outputs), mean(losses)

    state.iteration += 1
    weight = state.add_to_average(_projected(output, problem, recipe))
    step = Step(state.iteration, loss, output, state.average, list(outputs), weight)
    trouble = state.guard.check(loss)
    if note is not None and not trouble:
        note(step)
    return step, trouble


def _projected(output, problem, recipe):
    """Give an output what the observation says for certain, if the recipe wants that."""
    if recipe.project and not problem.sigma:
        return problem.operator.project(output, problem.observation).clamp(0, 1)
    return output


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
        ``"lab"`` (the default), ``"paper"``, or a recipe.
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
    recipe = recipes.choose(recipe, _checked(problem))
    if iterations is not None:
        recipe = recipe.replace(iterations=iterations)
        stop = recipe.iterations if stop is None else stop  # a requested number is a fixed count
    _check_hooks(halt, callback)
    run = Run(problem, recipe, seed)
    if save is not None:
        checkpoint.check_savable(run, save)
    saved = save is not None
    state = prepare.state(problem, recipe, network, seed=seed, device=device, z=z, saved=saved)
    rule = stopping.choose(stop, problem, recipe)
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
        The total number of iterations to reach, if no rule stops the fit earlier. A number above
        the recipe's replaces the recipe's, and so changes a learning rate that decays towards the
        end. By default the recipe's.
    stop : Rule, callable, str or int, optional
        A stopping rule for the iterations to come; by default the one that the fit was begun with,
        unless that rule has ended the run. For a run from a file, a rule of your own must be handed
        in again.
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
    _check_hooks(halt, callback)
    goal = run.recipe.iterations if iterations is None else whole(iterations, "iterations", 1)
    if goal <= run.stopped_at:
        raise InputError(
            f"the run has made {run.stopped_at} iterations already; ask for more than that"
        )
    if save is not None:
        checkpoint.check_savable(run, save)
    recipe = run.recipe.replace(iterations=max(goal, run.recipe.iterations))
    saved = checkpoint.of(run)
    state = checkpoint.restore_state(
        saved, run, recipe, network, device=device, saved=save is not None
    )
    counted = iterations is not None and run.rule_name == "count"
    if stop is None and (counted or run.stopped_by == run.rule_name):
        stop = goal
    rule = checkpoint.restore_rule(saved, run, recipe, stop, state)
    run.recipe = recipe
    return _advance(run, state, rule, goal, progress, halt, save, callback)


def _check_hooks(halt, callback):
    if halt is not None and not callable(getattr(halt, "is_set", None)):
        raise InputError(f"halt={halt!r} has no is_set(): hand in a threading.Event")
    if callback is not None and not callable(callback):
        raise InputError(f"callback={callback!r} cannot be called")


def _advance(run, state, rule, goal, progress, halt, save, callback):
    """Make iterations up to a goal, and close the record however they end."""
    bar = Progress(min(goal, getattr(rule, "last", goal)), run.stopped_at, progress)
    state.guard.accompany(rule, run)
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
    users_rule, noted = isinstance(rule, stopping.Function), {}

    def note(step):  # on the threads of the fit, as a part of the iteration
        noted["numbers"] = run.record(step)
        noted["stop"] = not users_rule and rule(step)

    for step in _iterations(state, run.problem, rule.problems, threads, note, depth=5):
        loss, psnr = noted["numbers"]
        bar.update(step.iteration, loss, None if math.isnan(psnr) else psnr)
        stop = rule(step) if users_rule else noted["stop"]  # before the callback, which may save
        if callback is not None:
            callback(run, step)
        if reason := ended_by(step, stop):
            trouble = state.guard.read()  # on a GPU the fit may have to be rolled back first
            if not trouble:
                return reason
            warnings.warn(trouble, RuntimeWarning, stacklevel=4)
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
    if trouble := run.state.guard.read():
        warnings.warn(trouble, RuntimeWarning, stacklevel=4)
    return run.end(stopped_by)


def _rescue(run, save, error):
    """Close and save what an error ended, and hand the run over with the error."""
    if run.stopped_at == 0:
        run.going_on = False
        return
    error.run = run
    if run.going_on:
        try:
            _end(run, "failed")
        except Exception as another:
            run.going_on = False
            error.add_note(f"diplearn: the run in error.run could not be closed: {another}")
            return
    if save is not None:
        _save(run, save)
    error.add_note(f"diplearn: error.run holds the {run.stopped_at} iterations that were made")


def _save(run, path):
    """Save the run; a failure is a warning, because the run is still in memory."""
    try:
        run.save(path)
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"the run could not be saved to {path}: {reason}; an earlier file is as it was",
            RuntimeWarning,
            stacklevel=4,
        )


def fits(wanted, *, cores=None, progress=True, resumable=False):
    """Make several fits side by side, each on cores of its own.

    A single small network keeps one core busy and leaves the others idle: several fits share the
    machine well. They run on threads of this process, as many at a time as there are cores for
    their networks and memory for all of them, and on a GPU one after the other. The results are
    those of `fit`. For more fits than the memory holds, or to keep the results, see `sweep`.

    Parameters
    ----------
    wanted : dict
        Name -> the arguments of one `fit`, as a dict.
    cores : int, optional
        The number of cores that all fits share; by default as many as PyTorch would use.
    progress : bool, optional
        Show a bar that counts fits.
    resumable : bool, optional
        Let each run keep its network, and what `resume` needs; without them a run is curves and
        images only.

    Returns
    -------
    dict
        Name -> Run, in the same order.

    Raises
    ------
    InputError
        Something in one of the fits does not fit together; the others end at their next iteration.
    KeyboardInterrupt
        After Ctrl-C: fits that are going on end at their next iteration, and the others do not
        begin. This error, like every other one, has the runs so far in its attribute `runs`.

    Examples
    --------
    >>> from diplearn import denoising, images, lab
    >>> problem, recipe = denoising(images.load("camera", size=32)), lab(members=1, iterations=5)
    >>> runs = fits({s: {"problem": problem, "recipe": recipe, "seed": s} for s in range(3)})
    >>> list(runs)
    [0, 1, 2]
    """
    halt = threading.Event()

    def one(**arguments):
        run = fit(**{"halt": halt, **arguments, "progress": False})
        return run if resumable else _light(run)

    if not (isinstance(wanted, dict) and all(isinstance(each, dict) for each in wanted.values())):
        raise InputError("many fits are named in a dict: name -> a dict of the arguments of fit")
    cores = torch.get_num_threads() if cores is None else whole(cores, "cores", 1)
    pool = hardware.pool_of(*_at_once(list(wanted.values()), cores))
    bar = Progress(len(wanted), show=progress and len(wanted) > 0, unit="fit")
    futures = {name: pool.submit(one, **arguments) for name, arguments in wanted.items()}
    try:
        with contextlib.closing(bar):
            for done, future in enumerate(as_completed(futures.values()), 1):
                future.result()  # an error is raised now, and not after the last fit
                bar.tell(done, "")
        return {name: future.result() for name, future in futures.items()}
    except BaseException as error:
        halt.set()
        with contextlib.suppress(KeyboardInterrupt):  # a second one: the fits end anyway
            pool.shutdown(cancel_futures=True)
        error.runs = dict(_finished(futures, resumable))
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _at_once(wanted, cores):
    """Return how many of these fits may run at a time, and the number of cores for each."""
    members, needed, devices = [1], [1], set()
    for arguments in wanted:
        problem = _checked(arguments.get("problem"))
        recipe = recipes.choose(arguments.get("recipe"), problem)
        device, saved = hardware.find(arguments.get("device")), arguments.get("save") is not None
        channels = inputs.channels(recipe, problem.shape, arguments.get("z"))
        network = arguments.get("network")
        needed.append(prepare.check_memory(problem, recipe, network, channels, device, saved))
        members.append(recipe.members)
        devices.add(device)
    share = min(cores, max(members))
    count = max(1, cores // share)
    if any(hardware.asynchronous(device) for device in devices):
        count = min(count, FITS_ON_A_GPU)
    free = min((hardware.available(device) for device in devices), default=math.inf)
    return int(max(1, min(count, free // max(needed)))), share


def _light(run):
    """Drop the networks of a run, and what else `resume` would need."""
    run.network = run.state = run.saved = None
    return run


def _finished(futures, resumable):
    """Yield name and run of each fit that has ended, also of those that an error ended."""
    for name, future in futures.items():
        if future.cancelled() or not future.done():
            continue
        error = future.exception()
        run = future.result() if error is None else getattr(error, "run", None)
        if run is not None:
            yield name, run if resumable else _light(run)
