"""A few steps made and undone, so that time can be foretold before training begins."""

from __future__ import annotations

from dataclasses import dataclass

from reslab.training.state import copies, put_tensors, tensors_of
from reslab.training.stepper import Stepper

# Steps after the first are made until there are this many or they took this long.
_STEPS, _SECONDS = 20, 0.5


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast steps are made.

    Attributes:
        first_seconds: of the first step, which compiles, picks kernels and fills caches.
        seconds_a_step: of those after it.
    """

    first_seconds: float
    seconds_a_step: float


def rehearse(stepper: Stepper) -> Pace:
    """Make a few steps of the first epoch and put net and optimiser back as they were.

    Their time counts as time of the training, so that what a first step costs is not lost.

    Raises:
        Whatever a step may raise; a step that is not finite is left to the training to tell.
    """
    state, watch = stepper.state, stepper.state.watch
    before = copies(tensors_of(state.model, state.optimizer))
    state.model.train()
    watch.start_epoch()
    with stepper.runtime.own_random_state():
        for i in range(_STEPS + 1):
            stepper.make(0, i % stepper.batches.steps_per_epoch, stepper.rate(0))
            stepper.runtime.synchronize()
            watch.step_done()
            if i == 0:
                first = watch.seconds()
            elif watch.seconds() - first > _SECONDS and i > 1:
                break
    watch.end_epoch()
    put_tensors(state.model, state.optimizer, before)
    return Pace(first_seconds=first, seconds_a_step=watch.seconds_a_step())
