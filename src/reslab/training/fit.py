"""The loop: epochs of steps, validation after each, observers told, the state kept on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from reslab.data.batches import TrainBatches
from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError, TrainingDiverged, UserError
from reslab.ops.recompute import make_gradients
from reslab.runs.history import EpochRecord
from reslab.spec.resolved import ResolvedTraining
from reslab.training.epoch import SLOWER, EpochLoop
from reslab.training.observers import Observer
from reslab.training.optim import make_optimizer
from reslab.training.plan import Budget, Plan
from reslab.training.regularise import WeightAverage, has_stalled, rank
from reslab.training.saver import Saver
from reslab.training.state import Best, Cut, TrainingState, copies
from reslab.training.stepper import Stepper


class Judged(NamedTuple):
    """What a net reached on validation: mean cross-entropy, accuracy and mean F1 of the classes."""

    loss: float
    accuracy: float
    macro_f1: float


Validate = Callable[[nn.Module], Judged]


class StopRequestedError(ReslabError):
    """Raised by a validation that was asked to stop; the epoch is validated when resumed."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What training came to.

    Attributes:
        history: one record a finished epoch.
        best_epoch: epoch, counted from 1, that ranks highest, see
            ``reslab.training.regularise.rank``; the last one where there is no validation; None
            before one has ended.
        steps: optimiser steps made, those left out included.
        left_out: steps left out because loss or gradient were not finite.
        cuts: where memory was too short for a step, see ``reslab.training.state.Cut``.
        seconds: of all steps, data and compilation included, validation not.
        compile_seconds: by which the first step was slower than a usual one, if compiled.
        images_per_second: training images over the time of the steps after the first.
        stopped_early: whether it ended because validation no longer became better.
        interrupted: whether it was asked to stop and did so before its end.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int | None
    steps: int
    left_out: int
    cuts: tuple[Cut, ...]
    seconds: float
    compile_seconds: float
    images_per_second: float
    interrupted: bool
    stopped_early: bool


def begin(
    model: nn.Module,
    batches: TrainBatches,
    training: ResolvedTraining,
    runtime: Runtime,
    *,
    most_parts: int = 1,
    observers: Sequence[Observer] = (),
) -> Stepper:
    """All that a training needs for its first step.

    Args:
        model: the net, on the runtime's device; it will be trained in place.
        batches: the training images.
        training: optimiser, schedule and length.
        runtime: the engine.
        most_parts: that a batch may be cut into where memory turns out to be short.
        observers: told of steps, epochs and whatever should be known, in turn.

    Raises:
        UserError: where there are fewer images than a batch has.
    """
    if batches.steps_per_epoch == 0:
        raise UserError(
            "there is not one whole batch to train on",
            expected=f"at least {batches.batch_size} images",
            received=str(len(batches.images)),
            remedy="choose a smaller training.batch_size",
        )
    optimizer = make_optimizer(
        model,
        training.optimizer,
        lr=training.lr,
        weight_decay=training.weight_decay,
        decay_norm_and_bias=training.decay_norm_and_bias,
    )
    if runtime.checkpoint_segments > 0:
        make_gradients(model)
    plan = Plan(total=training.epochs * batches.steps_per_epoch)
    average = WeightAverage(model, training.ema) if training.ema else None
    state = TrainingState(model=model, optimizer=optimizer, plan=plan, average=average)
    return Stepper(
        state=state,
        batches=batches,
        training=training,
        runtime=runtime,
        most_parts=most_parts,
        observers=observers,
    )


def fit(
    stepper: Stepper,
    *,
    validate: Validate | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    saver: Saver | None = None,
    budget: Budget | None = None,
) -> FitResult:
    """Train to the end of the plan, from wherever the state stands.

    Args:
        stepper: see ``begin``.
        validate: judges the model on validation, or raises
            ``StopRequestedError``; None where there is no validation.
        should_stop: asked after each step but the very last; True ends training there, with
            the state saved.
        saver: keeps the state on disk, now and then and when training ends.
        budget: until when training may go on.

    Raises:
        TrainingDiverged: where loss, gradient or weights are no longer finite.
    """
    state, runtime = stepper.state, stepper.runtime
    loop = EpochLoop(stepper=stepper, should_stop=should_stop, saver=saver, budget=budget)
    interrupted = False
    while state.epoch_step > 0 or not (state.plan.done or _is_hopeless(stepper)):
        with runtime.own_random_state():
            totals = loop.run()
        if totals is None:
            interrupted = True
            break
        loop.check_weights()
        try:
            judged = validate(state.judged) if validate else None
        except StopRequestedError:
            interrupted = True
            break
        epoch = len(state.history) + 1
        if judged is not None and not math.isfinite(judged.loss):
            raise TrainingDiverged(
                f"the validation loss became {judged.loss} after epoch {epoch}; {SLOWER}"
            )
        record = EpochRecord(
            epoch=epoch,
            step=state.step,
            learning_rate=totals.learning_rate,
            train_loss=totals.loss,
            train_accuracy=totals.accuracy,
            val_loss=judged.loss if judged else None,
            val_accuracy=judged.accuracy if judged else None,
            seconds=totals.seconds,
            images_per_second=totals.images_per_second,
            val_macro_f1=judged.macro_f1 if judged else None,
        )
        score = rank(record, stepper.training.select_by)
        before = None if state.best is None else state.best.score
        is_best = score is None or before is None or score > before
        if is_best:
            state.best = Best(epoch, score, copies(state.judged.state_dict()))
        state.history.append(record)
        state.epoch_step, state.losses, state.hits = 0, [], []
        for observer in stepper.observers:
            observer.on_epoch(record, state.judged, is_best)
        if not (state.plan.done or _is_hopeless(stepper)):
            if should_stop():
                interrupted = True
                break
            if saver is not None:
                saver.save_first(state)
                saver.save_if_due(state)
    if saver is not None:
        saver.save(state)
    return FitResult(
        history=tuple(state.history),
        best_epoch=state.best.epoch if state.best else None,
        steps=state.step,
        left_out=state.left_out,
        cuts=tuple(state.cuts),
        seconds=state.watch.seconds(),
        compile_seconds=state.watch.first_step_excess() if runtime.compile else 0.0,
        images_per_second=stepper.batches.batch_size / state.watch.seconds_a_step()
        if state.step
        else 0.0,
        interrupted=interrupted,
        stopped_early=not interrupted and not state.plan.done,
    )


def _is_hopeless(stepper: Stepper) -> bool:
    """Whether validation has not become better for as long as the settings have patience."""
    patience = stepper.training.patience
    return patience is not None and has_stalled(
        stepper.state.history,
        patience=patience,
        min_delta=stepper.training.min_delta,
        select_by=stepper.training.select_by,
    )
