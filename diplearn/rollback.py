"""Rollback: a fit whose loss breaks returns to its last checkpoint, at half the learning rate."""

import copy
import dataclasses
import math

import torch

from . import hardware
from .errors import InputError

EVERY = hardware.READ_EVERY
"""Iterations between two checkpoints. The losses of a GPU are read in the same iterations."""

SPIKE = 10 ** (5 / 10)
"""A loss 5 dB above that of the last checkpoint is a spike, as in the published code."""

MOST = 3
"""At this many rollbacks the fit gives up."""


@dataclasses.dataclass
class Checkpoint:
    """A state of the fit to return to, copied by value."""

    loss: float
    iteration: int
    weights: dict
    moments: dict
    average: torch.Tensor


class Guard:
    """Watch the losses of a fit, keep a checkpoint, and roll back where a loss breaks.

    A loss is broken if it is not finite, or if it is a spike. On a CPU every loss is read at once.
    On a GPU, reading forces a synchronisation, so the losses are read every 50 iterations. By then
    the stopping rule and the run have processed some of the broken iterations. They are the guard's
    `companions`: a rollback restores them with the networks.
    """

    def __init__(self):
        self.checkpoint = None
        self.rollbacks, self.rate_factor = 0, 1.0
        self._unread = []
        self._companions, self._remembered = [], None

    @property
    def gave_up(self):
        """Whether the fit has been rolled back too often."""
        return self.rollbacks >= MOST

    def accompany(self, state, *companions):
        """Restore these objects, too, at a rollback: they have `remember` and `recall`."""
        self._companions, self._remembered = list(companions), None
        if companions and self.checkpoint is not None and hardware.asynchronous(state.device):
            # Companions can be restored to this moment only, so the networks must be, too.
            self._save(state, self.checkpoint.loss)

    def before_iteration(self):
        """Remember the companions, if a checkpoint was saved since this was last called."""
        if self._remembered is None:
            self._remembered = [companion.remember() for companion in self._companions]

    def check(self, state, loss):
        """Note the loss of an iteration; return what went wrong if the fit was rolled back."""
        self._unread.append(loss)
        ends = state.iteration in (1, state.recipe.iterations)
        if ends or hardware.due(state.device, state.iteration):
            return self.read(state, last_was_seen=False)
        return None

    def read(self, state, last_was_seen=True):
        """Read the losses that were noted; return what went wrong if the fit was rolled back.

        `last_was_seen` says whether the companions have seen the last iteration.
        """
        losses, self._unread = hardware.read(self._unread), []
        now = state.iteration
        for iteration, loss in enumerate(losses, now - len(losses) + 1):
            due = iteration % EVERY == 0
            spike = due and self.checkpoint is not None and loss > SPIKE * self.checkpoint.loss
            if spike or not math.isfinite(loss):
                return self._roll_back(state, loss, iteration, last_was_seen or iteration < now)
            if iteration == now and (due or self.checkpoint is None):
                self._save(state, loss)
        return None

    def _save(self, state, loss):
        weights = {k: v.detach().clone() for k, v in state.network.state_dict().items()}
        moments = copy.deepcopy(state.moments())
        average = state.average.clone()
        self.checkpoint = Checkpoint(loss, state.iteration, weights, moments, average)
        self._remembered = None

    def _roll_back(self, state, loss, iteration, seen):
        """Restore the checkpoint, with the companions if they have `seen` the broken iteration."""
        self.rollbacks += 1
        what = f"the loss was {loss:g} at iteration {iteration}"
        checkpoint = self.checkpoint
        if checkpoint is None:
            self.rollbacks = MOST
            raise InputError(f"{what}: the fit cannot start; is the network's output finite?")
        state.network.load_state_dict(checkpoint.weights)
        state.set_moments(copy.deepcopy(checkpoint.moments))
        state.average = checkpoint.average.clone()
        self.rate_factor /= 2  # at the same rate the same would happen again
        if seen:
            state.iteration = checkpoint.iteration
            for companion, then in zip(self._companions, self._remembered or ()):
                companion.recall(then)
        if self.gave_up:
            return (
                f"{what}; this was the third time: the fit stops with the best so far; a lower "
                "learning rate may help"
            )
        return f"{what}; the fit goes on from its last checkpoint at half the learning rate"
