"""A fit to a file and back: the Run, the State of the networks, and the stopping Rule.

The file is a zip archive of run.json, tensors.safetensors and output.png. Nothing in it is
executable. Within the package, a fit is saved as `(tensors, numbers)`: a dict of tensors by name,
and a dict of what JSON can write. Whatever is read is checked before it is used, so that a damaged
file is reported when it is opened, and not by a strange error during the next fit.
"""

import contextlib
import itertools
import json
import os
import zipfile
from importlib import metadata

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from . import hardware, images, inputs, operators, optimisers, prepare, rollback, stopping
from .errors import InputError, one_line, warn, whole
from .files import check_readable, check_writable, replacing
from .problems import Problem
from .recipes import Recipe
from .run import Run
from .state import State

FORMAT = 5
"""The version of the file; a reader refuses the others."""

NOT_KEPT = "the networks of this run were not kept: fits(..., resumable=True) keeps them"


# The fit: networks, optimisers, noise, guard, rule.


def pack(state, rule):
    """Return a copy of a fit as `(tensors, numbers)`, on the CPU."""
    device_type, generator = state.noise.position()
    guard, good = state.guard, state.guard.checkpoint
    tensors = {"z": state.z, "average": state.average, "generator": generator}
    tensors |= named("network", state.network.state_dict())
    tensors |= named("moments", _flat(state.moments()))
    if good is not None:
        tensors |= named("checkpoint.network", good.weights) | named(
            "checkpoint.moments", _flat(good.moments)
        )
        tensors["checkpoint.average"] = good.average
    tensors |= named("rule", {k: v for k, v in rule.state.items() if torch.is_tensor(v)})
    plain = {k: v for k, v in rule.state.items() if not torch.is_tensor(v)}
    numbers = {
        "iteration": state.iteration,
        "rollbacks": guard.rollbacks,
        "rate_factor": guard.rate_factor,
        "checkpoint_loss": good and good.loss,
        "checkpoint_at": good.iteration if good else 0,
        "own_network": state.own_network,
        "seed": state.seed,
        "generator": device_type,
        "rule": stopping.describe(rule) | {"now": plain},
    }
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, numbers


def restore_state(run, recipe, network=None, device=None, will_save=False):
    """Build the state of a fit again; raise InputError if it is damaged or the network differs."""
    tensors, numbers = run.packed
    problem, own, device = run.problem, network is not None, hardware.find(device)
    if numbers["own_network"] and not own:
        if run.network is None:
            raise InputError("this run's network was your own: hand the same module in as network=")
        network, own = run.network, True
    if own:
        prepare.check_module(network)
    with _damage_is_an_input_error():
        z = inputs.check(tensors["z"], problem.shape)
    prepare.check_memory(problem, recipe, network, z.shape[1], device, will_save)
    if not own:
        network = prepare.build(problem, recipe, z.shape[1], seed=0)  # its weights are replaced
    prepare.place(network, device)
    try:
        network.load_state_dict(under("network", tensors))
    except RuntimeError as error:
        words = f"the saved weights are those of another network: {one_line(error)}"
        raise InputError(words) from error
    z = prepare.place_input(z, device)
    state = State(network, z, recipe, numbers["seed"], numbers["own_network"])
    with _damage_is_an_input_error():
        _fill(state, tensors, numbers, problem.shape)
    return state


def _fill(state, tensors, numbers, shape):
    """Restore what changes during a fit, once it is known to fit: optimisers do not check it."""
    state.iteration = whole(numbers["iteration"], "iteration", 1)
    state.noise.move_to(numbers["generator"], tensors["generator"], state.iteration)
    state.set_moments(_moments(state, under("moments", tensors)))
    state.average = _image(tensors["average"], shape).to(state.device)
    guard = state.guard
    rollbacks = whole(numbers["rollbacks"], "rollbacks", 0, rollback.MOST)
    guard.rollbacks = 0 if rollbacks == rollback.MOST else rollbacks  # resumed: try again
    guard.rate_factor = float(numbers["rate_factor"])
    if not 0 < guard.rate_factor <= 1:
        raise ValueError(f"rate_factor={guard.rate_factor}")
    if numbers["checkpoint_loss"] is None:
        return
    weights = under("checkpoint.network", tensors)
    if _kinds(weights) != _kinds(state.network.state_dict()):
        raise ValueError("the weights of the checkpoint are those of another network")
    guard.checkpoint = rollback.Checkpoint(
        float(numbers["checkpoint_loss"]),
        whole(numbers["checkpoint_at"], "checkpoint_at", 1, state.iteration),
        weights,
        _moments(state, under("checkpoint.moments", tensors)),
        _image(tensors["checkpoint.average"], shape).to(state.device),
    )


def _on(values, device):
    """Return a rule's state with its tensors on a device."""
    return {k: v.to(device) if torch.is_tensor(v) else v for k, v in values.items()}


def _kinds(tensors):
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def restore_rule(run, recipe, stop, state):
    """Return the rule for the iterations to come, with its state if it is the rule of the fit."""
    tensors, numbers = run.packed
    with _damage_is_an_input_error():
        before = {name: numbers["rule"][name] for name in ("name", "settings", "scale")}
        remembered = numbers["rule"]["now"] | under("rule", tensors)
        if before["settings"] is not None and not remembered:
            raise ValueError("the rule has no state")
    if stop is None:
        if before["settings"] is None and run.rule is None:
            raise InputError(
                f"this fit was begun with a rule of your own ({before['name']!r}), which the file "
                "does not hold: hand it in again as stop="
            )
        if before["settings"] is None:
            run.rule.recall(_on(run.rule.state, state.device))
            return run.rule
        rule = stopping.rebuild(before, run.problem, recipe)
    else:
        rule = stopping.choose(stop, run.problem, recipe)
    if stopping.describe(rule) == before:
        remembered = _on(remembered, state.device)
        rule.check_state(remembered, state.average, exactly=stopping.is_ours(rule))
        rule.recall(remembered)
    return rule


@contextlib.contextmanager
def _damage_is_an_input_error():
    """Report what is wrong with a saved fit in words: a damaged value may fail in any way."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        words = f"{type(error).__name__}, {one_line(error)}"
        raise InputError(f"the saved fit is damaged, and cannot go on: {words}") from error


def _flat(moments):
    """Return moments (optimiser -> parameter -> name -> tensor) with one name for each tensor."""
    return {
        f"{i}.{j}.{name}": tensor
        for i, parameters in moments.items()
        for j, each in parameters.items()
        for name, tensor in each.items()
    }


def _moments(state, flat):
    """Undo `_flat`; raise ValueError unless names, shapes and types are those of the optimisers."""
    every, layout = list(itertools.chain(*state.optimisers)), hardware.layout(state.device)
    parameters = [[p for group in o.param_groups for p in group["params"]] for o in every]
    moments = {}
    for name, tensor in flat.items():
        optimiser, parameter, key = name.split(".")
        of_parameters = moments.setdefault(int(optimiser), {})
        if tensor.ndim == 4:  # in the memory format of the weights
            tensor = tensor.contiguous(memory_format=layout)
        of_parameters.setdefault(int(parameter), {})[key] = tensor.clone()  # optimisers write here
    for i, of_parameters in moments.items():
        for j, tensors in of_parameters.items():
            if not (0 <= i < len(every) and 0 <= j < len(parameters[i])):
                raise ValueError("moments of a parameter that the fit does not have")
            wanted = optimisers.moments(every[i], parameters[i][j])
            if {k: (tuple(v.shape), v.dtype) for k, v in tensors.items()} != wanted:
                raise ValueError("moments whose shapes are not those of their parameter")
    return moments


# The file.


def check_rule(rule, image):
    """Raise InputError now if a rule's settings, or its state, could not be saved later."""
    json.dumps(stopping.describe(rule), default=_plain)
    _check_state(rule, rule.initial(image))


def _check_state(rule, state):
    for name, value in state.items():
        if torch.is_tensor(value) and value.layout == torch.strided:
            continue
        with contextlib.suppress(TypeError, ValueError):
            again = json.loads(json.dumps({name: value}))
            if again == {name: value} and type(again[name]) is type(value):
                continue
        raise InputError(
            f"the rule {rule.name!r} cannot be saved with state[{name!r}] = {value!r}: tensors, "
            "whole numbers and other plain values only"
        )


def check_savable(run, path):
    """Raise InputError now if `save` could not write this run to `path` later."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InputError(f"save={path!r} is not a file name")
    check_writable(path)
    json.dumps(_settings(run), default=_plain)


def save(run, path):
    """Write a run to a file, whole or not at all; see `Run.save`."""
    if run.going_on and (trouble := run.state.guard.read(run.state)):
        warn(trouble)
    if run.stopped_at == 0:
        raise InputError("this run has not begun: there is nothing to save")
    check_savable(run, path)
    packed = pack(run.state, run.rule) if run.going_on else run.packed
    if packed is None:
        raise InputError(NOT_KEPT)
    if run.rule is not None:
        _check_state(run.rule, run.rule.state)
    tensors, numbers = packed
    psnr, iteration, oracle = run.best
    about = _settings(run) | {
        "stopped_at": run.stopped_at,
        "stopped_by": "unfinished" if run.going_on else run.stopped_by,
        "chosen_at": run.chosen_at,
        "oracle": None if oracle is None else [psnr, iteration],
        "spacing": run._spacing,
        "numbers": numbers,
    }
    output = run.output
    kept = {
        "observation": run.problem.observation, "truth": run.problem.truth, "output": output,
        "last": run.last, "average": run.average, "oracle": oracle,
        "history": torch.tensor(run.rows, dtype=torch.float64),
        **named("operator", run.problem.operator.settings()),
        **named("frame", {k: torch.from_numpy(v) for k, v in run._frames.items()}),
        **named("state", tensors),
    }  # fmt: skip
    kept = {k: v.detach().cpu() for k, v in kept.items() if torch.is_tensor(v)}
    settings = json.dumps(about, default=_plain, indent=1)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("run.json", settings)
        archive.writestr("tensors.safetensors", save_tensors(_apart(kept)))
        archive.writestr("output.png", images.encode(output, "PNG"))
    run.saved_at = run.stopped_at


def _settings(run):
    problem, kind = run.problem, type(run.problem.operator).__name__
    if operators.BY_NAME.get(kind) is not type(problem.operator):
        raise InputError(
            f"a run with an operator of your own ({kind}) cannot be saved: the file could not say "
            f"what it does; the package's are {', '.join(operators.BY_NAME)}"
        )
    settings = problem.operator.settings()
    return {
        "format": FORMAT,
        "diplearn": metadata.version("diplearn"),
        "torch": torch.__version__,
        "seed": run.seed,
        "recipe": vars(run.recipe),
        "problem": {
            "task": problem.task,
            "sigma": problem.sigma,
            "operator": kind,
            "settings": {k: v for k, v in settings.items() if not torch.is_tensor(v)},
        },
    }


def load(path):
    """Read a run from a file; whatever the bytes, an error is an InputError. See `Run.load`."""
    try:
        check_readable(path)
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type for entry in archive.infolist()):
                # `save` does not compress: what is read is never larger than the file
                raise InputError(f"{path} was packed again by another program")
            about = json.loads(archive.read("run.json"))
            if about["format"] != FORMAT:
                raise InputError(
                    f"{path} was saved by diplearn {about['diplearn']}, in a format that "
                    "this version does not read"
                )
            tensors = load_tensors(archive.read("tensors.safetensors"))
        return _run(about, tensors)
    except InputError:
        raise
    except Exception as error:  # damaged bytes may fail in any way
        raise InputError(
            f"{path} is not a saved run, or it is damaged: {one_line(error)}"
        ) from error


def _run(about, tensors):
    recipe = dict(about["recipe"])
    recipe["options"] = {k: _tuples(v) for k, v in recipe["options"].items()}
    problem = _problem(about["problem"], tensors)
    run = Run(problem, Recipe(**recipe), int(about["seed"]))
    shape = problem.shape
    run.last, run.average = _image(tensors["last"], shape), _image(tensors["average"], shape)
    run.stopped_at = run.saved_at = whole(about["stopped_at"], "stopped_at", 1)
    run.stopped_by = _text(about["stopped_by"])
    chosen_at = whole(about["chosen_at"], "chosen_at", 0, run.stopped_at)
    run._chosen = (_image(tensors["output"], shape), chosen_at)
    if about["oracle"] is not None:
        psnr, iteration = about["oracle"]
        run._best = (float(psnr), int(iteration), _image(tensors["oracle"], shape))
    run._spacing = float(about["spacing"])
    if not 1 < run._spacing < 1e6:
        raise ValueError(f"snapshots at a spacing of {run._spacing}")
    run._rows = [
        (int(iteration), seconds, loss, single, averaged)
        for iteration, seconds, loss, single, averaged in tensors["history"].tolist()
    ]
    like = images.to_uint8(run.last)
    frames = {int(k): v.numpy() for k, v in under("frame", tensors).items()}
    run._frames = {k: _shaped(frames[k], like.shape).astype(like.dtype) for k in sorted(frames)}
    run.packed = (under("state", tensors), _numbers(about["numbers"], run.stopped_at))
    return run


def _problem(about, tensors):
    settings = {**about["settings"], **under("operator", tensors)}
    operator = operators.BY_NAME[about["operator"]](**settings)
    observation, truth = tensors["observation"], tensors.get("truth")
    if truth is None:  # before Problem computes with a size that is damaged
        _shaped(tensors["output"], operator.image_shape(observation.shape))
    return Problem(observation, operator, truth, about["sigma"], about["task"])


_NUMBERS = {
    "iteration": int, "rollbacks": int, "rate_factor": float, "checkpoint_loss": float | None,
    "checkpoint_at": int, "own_network": bool, "seed": int, "generator": str, "rule": dict,
}  # fmt: skip


def _numbers(numbers, stopped_at):
    """Return the numbers of a saved fit; raise ValueError if they cannot be those of one."""
    for name, kind in _NUMBERS.items():
        if not isinstance(numbers[name], kind):
            raise ValueError(f"{name}={numbers[name]!r}")
    rule = numbers["rule"]
    _text(rule["name"])
    if not isinstance(rule["settings"], dict | None) or not isinstance(rule["now"], dict):
        raise ValueError(f"a rule with {rule!r}")
    # Iterations that were taken back are counted in the fit, and not in the record.
    whole(numbers["iteration"], "iteration", stopped_at, stopped_at + 4 * hardware.READ_EVERY)
    return numbers


def named(prefix, values):
    """Put a prefix before each name of a dict."""
    return {f"{prefix}.{name}": value for name, value in values.items()}


def under(prefix, values):
    """Return what `named` put under a prefix."""
    return {k[len(prefix) + 1 :]: v for k, v in values.items() if k.startswith(f"{prefix}.")}


def _apart(tensors):
    """Give each tensor memory of its own: safetensors refuses two names for one memory."""
    seen = set()
    for name, tensor in tensors.items():
        tensors[name] = tensor = tensor.contiguous()
        if tensor.untyped_storage().data_ptr() in seen:
            tensors[name] = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
    return tensors


def _image(tensor, shape):
    """Return the tensor; raise ValueError unless it is an image of this shape."""
    if tensor.dtype != torch.float32 or not tensor.isfinite().all():
        raise ValueError(f"an image of {tensor.dtype}, or with values that are not finite")
    return _shaped(tensor, shape)


def _shaped(array, shape):
    if tuple(array.shape) != tuple(shape):
        raise ValueError(f"an image of shape {tuple(array.shape)} where {tuple(shape)} belongs")
    return array


def _text(value):
    if not isinstance(value, str):
        raise ValueError(f"{value!r} where a name belongs")
    return value


def _tuples(value):
    """Turn the lists of JSON into tuples, as recipes write them: recipes are compared."""
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _plain(value):
    """Write a NumPy number as Python's; raise InputError for what JSON cannot write."""
    if hasattr(value, "item"):
        return value.item()
    raise InputError(f"a run cannot be saved with {value!r} in its settings: plain values only")
