"""A step by its place in the training: its batch, its random draws, its place on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from reslab.data.batches import TrainBatches
from reslab.engine.runtime import Runtime
from reslab.spec.resolved import ResolvedTraining
from reslab.training.optim import set_learning_rate
from reslab.training.schedule import learning_rate
from reslab.training.state import TrainingState
from reslab.training.step import Buffers, StepResult, train_step


@dataclass(kw_only=True)
class Stepper:
    """What every step of a training needs.

    Attributes:
        state: the training's.
        batches: the training images.
        training: schedule and loss.
        runtime: the engine.
    """

    state: TrainingState
    batches: TrainBatches
    training: ResolvedTraining
    runtime: Runtime

    def __post_init__(self) -> None:
        self._model = self.runtime.compiled(self.state.model)
        self._buffers = Buffers(self.state.model)

    def rate(self, position: float) -> float:
        """The learning rate at a position of the schedule."""
        return learning_rate(
            self.training.schedule,
            self.training.lr,
            position,
            total_steps=self.state.plan.total,
            steps_per_epoch=self.batches.steps_per_epoch,
        )

    def make(self, epoch: int, i: int, rate: float) -> StepResult:
        """Make the step of batch i of an epoch, both counted from 0."""
        set_learning_rate(self.state.optimizer, rate)
        batch = self.batches.batch(epoch, i)
        torch.manual_seed(self.batches.draws_seed(epoch, i))
        return train_step(
            self._model,
            self.state.optimizer,
            self.runtime.place_images(batch.images_NCHW),
            self.runtime.place(batch.labels_N),
            label_smoothing=self.training.label_smoothing,
            autocast=self.runtime.autocast(),
            keep_gradients=self.runtime.checkpoint_segments > 0,
            micro_batches=self.runtime.micro_batches,
            buffers=self._buffers,
        )
