"""A few steps made and undone, so that time can be foretold before training begins."""

from __future__ import annotations

import statistics
import time

from reslab.training.stepper import Stepper

# Steps after the first: at most so many, and no more once there are a few and they took so long.
_MOST, _FEW, _SECONDS = 20, 4, 1.0

# Where steps are slow fewer are enough: one differs little from the next.
_SLOW_SECONDS = 5.0


def rehearse(stepper: Stepper) -> float:
    """Make a few steps of the first epoch and put net and optimiser back as they were.

    Their time counts as time of the training, so that what a first step costs is not lost, but
    not as time of an epoch. A step that is not finite is left to the training to tell.

    Returns:
        Seconds that a step takes after the first.
    """
    watch = stepper.state.watch
    took: list[float] = []
    with stepper.undone():
        watch.start_rehearsal()
        for i in range(_MOST + 1):
            began = time.perf_counter()
            stepper.make(0, i % stepper.batches.steps_per_epoch, stepper.rate(0))
            stepper.runtime.synchronize()
            watch.step_done()
            took.append(time.perf_counter() - began)
            so_far = sum(took[1:])
            if so_far > _SLOW_SECONDS or (i >= _FEW and so_far > _SECONDS):
                break
        watch.end_rehearsal()
    # The second is often slow too, and others may be at work on the machine.
    return statistics.median(took[1:])
