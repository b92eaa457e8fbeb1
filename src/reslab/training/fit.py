"""The loop: epochs of steps, validation after each, observers told."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn, optim

from reslab.data.batches import TrainBatches
from reslab.engine.runtime import Runtime
from reslab.errors import TrainingDiverged, UserError
from reslab.ops.recompute import make_gradients
from reslab.runs.history import EpochRecord
from reslab.spec.resolved import ResolvedTraining
from reslab.training.observers import Observer, StepRecord
from reslab.training.optim import make_optimizer, set_learning_rate
from reslab.training.schedule import learning_rate
from reslab.training.step import StepResult, train_step
from reslab.training.stopwatch import Stopwatch

# Steps between two looks at the loss: each look waits for the device. Observers that show every
# hundredth step rely on its dividing a hundred.
LOOK_EVERY = 10

_SLOWER = "lower training.lr or give the schedule a longer warm-up"

Validate = Callable[[nn.Module], tuple[float, float]]


@dataclass(kw_only=True)
class FitResult:
    """What training came to.

    Attributes:
        history: one record a finished epoch.
        best_epoch: epoch, counted from 1, of the highest validation accuracy, of equals the
            one of the lowest validation loss; the last epoch where there is no validation;
            None before one has ended.
        steps: optimiser steps made.
        seconds: of all steps, data and compilation included, validation not.
        compile_seconds: by which the first step was slower than a usual one, if compiled.
        images_per_second: training images over the time of the steps after the first.
        interrupted: whether it was asked to stop and did so before its end.
    """

    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int | None = None
    steps: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    images_per_second: float = 0.0
    interrupted: bool = False


def fit(
    model: nn.Module,
    batches: TrainBatches,
    training: ResolvedTraining,
    runtime: Runtime,
    *,
    validate: Validate | None = None,
    observers: Sequence[Observer] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> FitResult:
    """Train the model in place.

    Args:
        model: the net, on the runtime's device.
        batches: the training images.
        training: optimiser, schedule and length.
        runtime: the engine.
        validate: gives (loss, accuracy) of the model on validation; None where there is none.
        observers: told of steps and epochs, in turn.
        should_stop: asked after each step but the very last; True ends training there, an
            epoch that has begun unrecorded.

    Raises:
        UserError: where there are fewer images than a batch has.
        TrainingDiverged: where the loss is no longer finite.
    """
    if batches.steps_per_epoch == 0:
        raise UserError(
            "there is not one whole batch to train on",
            expected=f"at least {batches.batch_size} images",
            received=str(len(batches.images)),
            remedy="choose a smaller training.batch_size",
        )
    loop = _Loop(
        model=runtime.compiled(model),
        optimizer=make_optimizer(
            model,
            training.optimizer,
            lr=training.lr,
            weight_decay=training.weight_decay,
            decay_norm_and_bias=training.decay_norm_and_bias,
        ),
        batches=batches,
        training=training,
        runtime=runtime,
        observers=observers,
        should_stop=should_stop,
    )
    if runtime.checkpoint_segments > 0:
        make_gradients(model)
    result = FitResult()
    best = (-math.inf, -math.inf)
    for epoch in range(training.epochs):
        model.train()
        with runtime.own_random_state():
            totals = loop.run_epoch(epoch)
        if totals is None:
            result.interrupted = True
            break
        _check_finite(model, loop.steps)
        val_loss, val_accuracy = validate(model) if validate else (None, None)
        if val_loss is not None and not math.isfinite(val_loss):
            raise TrainingDiverged(
                f"the validation loss became {val_loss} after epoch {epoch + 1}; {_SLOWER}"
            )
        score = _score(val_loss, val_accuracy)
        is_best = score is None or score > best
        if is_best:
            result.best_epoch = epoch + 1
            best = score or best
        record = EpochRecord(
            epoch=epoch + 1,
            step=loop.steps,
            learning_rate=totals.learning_rate,
            train_loss=totals.loss,
            train_accuracy=totals.accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            seconds=totals.seconds,
            images_per_second=batches.steps_per_epoch * batches.batch_size / totals.seconds,
        )
        result.history.append(record)
        for observer in observers:
            observer.on_epoch(record, model, is_best)
        if epoch < training.epochs - 1 and should_stop():
            result.interrupted = True
            break
    result.steps = loop.steps
    result.seconds = loop.watch.seconds()
    result.compile_seconds = loop.watch.first_step_excess() if runtime.compile else 0.0
    result.images_per_second = batches.batch_size / loop.watch.seconds_a_step()
    return result


def _check_finite(model: nn.Module, steps: int) -> None:
    """Refuse a net that the last update broke, which no loss has shown yet."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise TrainingDiverged(f"{name} is no longer finite after step {steps}; {_SLOWER}")


def _score(val_loss: float | None, val_accuracy: float | None) -> tuple[float, float] | None:
    """What epochs are ranked by: accuracy, which small validation splits saturate, then loss."""
    if val_loss is None or val_accuracy is None:
        return None
    return (val_accuracy, -val_loss)


@dataclass(frozen=True, kw_only=True)
class _EpochTotals:
    loss: float
    accuracy: float
    learning_rate: float
    seconds: float


@dataclass(kw_only=True)
class _Loop:
    """What every step needs, and the count of those made."""

    model: nn.Module
    optimizer: optim.Optimizer
    batches: TrainBatches
    training: ResolvedTraining
    runtime: Runtime
    observers: Sequence[Observer]
    should_stop: Callable[[], bool]
    watch: Stopwatch = field(default_factory=Stopwatch)
    steps: int = 0

    def run_epoch(self, epoch: int) -> _EpochTotals | None:
        """All steps of an epoch counted from 0; None where it was asked to stop."""
        self.watch.start_epoch()
        losses: list[Tensor] = []
        hits: list[Tensor] = []
        per_epoch = self.batches.steps_per_epoch
        for i in range(per_epoch):
            rate = self._rate()
            outcome = self._step(epoch, i, rate)
            losses.append(outcome.loss)
            hits.append(outcome.hits)
            if self.steps == 0:
                self.runtime.synchronize()
            self.steps += 1
            self.watch.step_done()
            if self.steps == 1 or i == per_epoch - 1 or self.steps % LOOK_EVERY == 0:
                self._look(epoch, i + 1, rate, outcome.loss.item())
            # An epoch whose last step is made is recorded first; ``fit`` asks after that.
            if i < per_epoch - 1 and self.should_stop():
                self.runtime.synchronize()
                self.watch.end_epoch()
                return None
        self.runtime.synchronize()
        seconds = self.watch.epoch_seconds()
        self.watch.end_epoch()
        return _EpochTotals(
            loss=statistics.fmean(loss.item() for loss in losses),
            accuracy=sum(int(h) for h in hits) / (per_epoch * self.batches.batch_size),
            learning_rate=rate,
            seconds=seconds,
        )

    def _rate(self) -> float:
        per_epoch = self.batches.steps_per_epoch
        return learning_rate(
            self.training.schedule,
            self.training.lr,
            self.steps,
            total_steps=self.training.epochs * per_epoch,
            steps_per_epoch=per_epoch,
        )

    def _step(self, epoch: int, i: int, rate: float) -> StepResult:
        set_learning_rate(self.optimizer, rate)
        batch = self.batches.batch(epoch, i)
        torch.manual_seed(self.batches.draws_seed(epoch, i))
        return train_step(
            self.model,
            self.optimizer,
            self.runtime.place_images(batch.images_NCHW),
            self.runtime.place(batch.labels_N),
            label_smoothing=self.training.label_smoothing,
            autocast=self.runtime.autocast(),
            keep_gradients=self.runtime.checkpoint_segments > 0,
        )

    def _look(self, epoch: int, steps_of_epoch: int, rate: float, loss: float) -> None:
        """Check the loss and tell the observers."""
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the loss became {loss} by step {self.steps} (epoch {epoch + 1}, learning rate "
                f"{rate:.3g}); {_SLOWER}"
            )
        total = self.training.epochs * self.batches.steps_per_epoch
        record = StepRecord(
            epoch=epoch + 1,
            epochs=self.training.epochs,
            step=self.steps,
            total_steps=total,
            loss=loss,
            learning_rate=rate,
            images_per_second=steps_of_epoch * self.batches.batch_size / self.watch.epoch_seconds(),
            seconds_left=self.watch.seconds_a_step() * (total - self.steps),
        )
        for observer in self.observers:
            observer.on_step(record)
