"""Ready for the first step, and what the training will take: time by a rehearsal, memory too."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from reslab.engine.load import Load
from reslab.engine.memory import peak_bytes
from reslab.engine.need import LIBRARIES
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.inference.eager import compute_logits, usual_batch
from reslab.models.resnet import ResNet
from reslab.runs.checkpoint import Checkpoint
from reslab.training.fit import begin
from reslab.training.observers import Forecast, NullObserver
from reslab.training.plan import Budget
from reslab.training.rehearsal import rehearse
from reslab.training.stepper import Stepper
from reslab.workbench.resolve import Prepared, evaluation_batch, normaliser_of, train_batches

# What pictures and page took on two cores.
_REPORT_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A training that was rehearsed and stands before its first step, or the next one.

    Attributes:
        prepared: what to run.
        stepper: makes the steps; nobody watches it yet.
        forecast: what the training will take.
        ends_at: reading of ``time.perf_counter`` at which all must be done; None: no limit.
        budget: what keeps the steps to it.
        warnings: of the settings, the rehearsal and the machine, a sentence each.
    """

    prepared: Prepared
    stepper: Stepper
    forecast: Forecast
    ends_at: float | None
    budget: Budget | None
    warnings: tuple[str, ...]


def make_ready(
    prepared: Prepared,
    model: ResNet,
    runtime: Runtime,
    *,
    checkpoint: Checkpoint | None = None,
    ends_at: float | None = None,
) -> Ready:
    """Rehearse the training, so that what cannot be done is told before anything is written.

    Args:
        prepared: what to run.
        model: the net as the seed gives it.
        runtime: the engine, active.
        checkpoint: where to go on; None: at the first step.
        ends_at: see ``Ready``.

    Raises:
        UserError: where memory is too short for a step, or a training that has not begun
            finds its limit of time too short for one.
    """
    heard = _Heard()
    stepper = begin(
        model,
        train_batches(prepared),
        prepared.run.training,
        runtime,
        most_parts=prepared.need.most_parts,
        observers=[heard],
    )
    if checkpoint is not None:
        stepper.state.restore(checkpoint)
    load = Load()
    told, budget = forecast(stepper, prepared, ends_at=ends_at)
    crowd = load.describe(runtime.threads) if runtime.device == "cpu" else ""
    if crowd:
        heard.on_warning(
            f"{crowd}, so that training takes longer than on a quiet machine and the forecast is "
            "uncertain"
        )
    if ends_at is not None:
        heard.told += _doubts_of_limit(
            prepared, told, ends_at, begins=checkpoint is None, crowd=crowd
        )
    stepper.observers = ()
    return Ready(
        prepared=prepared,
        stepper=stepper,
        forecast=told,
        ends_at=ends_at,
        budget=budget,
        warnings=(*prepared.warnings, *heard.told),
    )


def forecast(
    stepper: Stepper, prepared: Prepared, *, ends_at: float | None = None
) -> tuple[Forecast, Budget | None]:
    """Rehearse the training and its evaluation, both undone.

    Args:
        stepper: at the step that the training goes on from.
        prepared: the data; of what scores the net in the end only the number is asked.
        ends_at: see ``Ready``.

    Returns:
        The forecast, and where there is a limit what keeps the training to it.
    """
    run, state = prepared.run, stepper.state
    seconds_a_step = rehearse(stepper)
    evaluating = _seconds_an_image(stepper, prepared) * (1 + run.evaluation.flip)
    validation = evaluating * len(prepared.validation)
    # Best and last weights are both scored.
    test = 2 * evaluating * prepared.scored
    conclusion = test + _REPORT_SECONDS
    per_epoch = run.facts.steps_per_epoch
    asked = (state.plan.total - state.plan.position) / per_epoch
    budget = None
    if ends_at is not None:
        budget = Budget(
            ends_at=ends_at - conclusion,
            validation_seconds=validation,
            steps_per_epoch=per_epoch,
        )
        budget.apply(state.plan, seconds_a_step)
    steps = state.plan.steps_left
    # Epochs that have begun are validated at their end, whole or not.
    epochs = -(-(state.epoch_step + steps) // per_epoch)
    told = Forecast(
        epochs=steps / per_epoch,
        asked_epochs=asked,
        steps=steps,
        seconds=steps * seconds_a_step + epochs * validation + conclusion,
        # Those that only test and report load are yet to come.
        peak_bytes=None if (peak := peak_bytes()) is None else peak + LIBRARIES,
    )
    return told, budget


class _Heard(NullObserver):
    """Keeps what a rehearsal warns of until there is somebody to tell."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_warning(self, text: str) -> None:
        """Keep it."""
        self.told.append(text)


def _doubts_of_limit(
    prepared: Prepared, told: Forecast, ends_at: float, *, begins: bool, crowd: str
) -> list[str]:
    """What to say of a limit of time that leaves little or nothing.

    Raises:
        UserError: where the training begins and not one step fits.
    """
    run = prepared.run
    beyond = told.seconds - (ends_at - time.perf_counter())
    if beyond > 0 and told.steps <= 1:
        limit = run.training.time_limit or 0.0
        if begins:
            raise UserError(
                "training.time_limit is too short",
                expected=f"at least {math.ceil(limit + beyond)} seconds, which start-up, one step, "
                "validation, test and report take",
                received=f"{limit:g}",
                remedy="give more time, fewer images (data.limit) or a smaller net"
                + (f"; {crowd}" if crowd else ""),
            )
        return [
            f"the limit of time cannot be kept: what is left will take about {told.seconds:.0f} s"
        ]
    if begins and told.steps < run.facts.steps_per_epoch:
        return [
            f"the limit of time leaves {told.steps} of the {run.facts.steps_per_epoch} steps of an "
            "epoch, from which a net learns little"
        ]
    return []


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
