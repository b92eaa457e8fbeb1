"""What a training will take, told before it begins: time by a rehearsal, memory by its peak."""

from __future__ import annotations

import time

from reslab.engine.memory import peak_bytes
from reslab.engine.need import LIBRARIES
from reslab.inference.eager import compute_logits, usual_batch
from reslab.training.observers import Forecast
from reslab.training.plan import Budget
from reslab.training.rehearsal import rehearse
from reslab.training.stepper import Stepper
from reslab.workbench.resolve import Prepared, evaluation_batch, normaliser_of

# What pictures and page took on two cores.
_REPORT_SECONDS = 3.0


def forecast(
    stepper: Stepper, prepared: Prepared, *, seconds_left: float | None = None
) -> tuple[Forecast, Budget | None]:
    """Rehearse the training and its evaluation, both undone.

    Args:
        stepper: at the training's first step.
        prepared: the data; of the test split only its size is asked.
        seconds_left: until the run has to be complete; None: no limit.

    Returns:
        The forecast, and where there is a limit what keeps the training to it.
    """
    run, state = prepared.run, stepper.state
    seconds_a_step = rehearse(stepper)
    evaluating = _seconds_an_image(stepper, prepared)
    validation = evaluating * len(prepared.validation)
    # Best and last weights are both scored.
    test = 2 * evaluating * prepared.source.card.test_images
    conclusion = test + (_REPORT_SECONDS if test else 0.0)
    per_epoch = run.facts.steps_per_epoch
    budget = None
    if seconds_left is not None:
        budget = Budget(
            ends_at=time.perf_counter() + seconds_left - conclusion,
            validation_seconds=validation,
            steps_per_epoch=per_epoch,
        )
        budget.apply(state.plan, seconds_a_step)
    steps = state.plan.steps_left
    # Epochs that have begun are validated at their end, whole or not.
    epochs = -(-(state.epoch_step + steps) // per_epoch)
    told = Forecast(
        epochs=steps / per_epoch,
        steps=steps,
        seconds=steps * seconds_a_step + epochs * validation + conclusion,
        # Those that only test and report load are yet to come.
        peak_bytes=None if (peak := peak_bytes()) is None else peak + LIBRARIES,
    )
    return told, budget


def _seconds_an_image(stepper: Stepper, prepared: Prepared) -> float:
    pixels_NCHW = prepared.train.pixels_NCHW
    size = evaluation_batch(prepared.run) or usual_batch(*pixels_NCHW.shape[2:])
    sample_NCHW = pixels_NCHW[:size]
    seconds = 0.0
    for _ in range(2):  # the first batch of a size may take twice as long
        began = time.perf_counter()
        compute_logits(
            stepper.state.model,
            sample_NCHW,
            normaliser_of(prepared.run),
            stepper.runtime,
            batch_size=size,
        )
        seconds = time.perf_counter() - began
    return seconds / len(sample_NCHW)
