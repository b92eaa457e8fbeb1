"""A step by its place in the training: its batch, its random draws, its place on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from reslab.data.batches import Batch, TrainBatches
from reslab.engine.memory import release
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.spec.resolved import ResolvedTraining
from reslab.training.optim import set_learning_rate
from reslab.training.schedule import learning_rate
from reslab.training.state import TrainingState
from reslab.training.step import Buffers, StepResult, StepTooLargeError, train_step


@dataclass(kw_only=True)
class Stepper:
    """What every step of a training needs.

    Attributes:
        state: the training's.
        batches: the training images.
        training: schedule and loss.
        runtime: the engine.
        most_parts: that a batch may be cut into where memory turns out to be short.
        warn: told of such a cut.
    """

    state: TrainingState
    batches: TrainBatches
    training: ResolvedTraining
    runtime: Runtime
    most_parts: int
    warn: Callable[[str], None]

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
        """Make the step of batch i of an epoch, both counted from 0.

        Where memory is too short for it the batch is cut into more parts, for good.

        Raises:
            UserError: where it is too short for the smallest parts.
        """
        set_learning_rate(self.state.optimizer, rate)
        batch = self.batches.batch(epoch, i)
        while True:
            try:
                return self._try(batch, self.batches.draws_seed(epoch, i))
            except StepTooLargeError:
                self._cut()

    def _try(self, batch: Batch, seed: int) -> StepResult:
        torch.manual_seed(seed)
        return train_step(
            self._model,
            self.state.optimizer,
            self.runtime.place_images(batch.images_NCHW),
            self.runtime.place(batch.labels_N),
            label_smoothing=self.training.label_smoothing,
            autocast=self.runtime.autocast(),
            keep_gradients=self.runtime.checkpoint_segments > 0,
            micro_batches=self.state.micro_batches,
            buffers=self._buffers,
        )

    def _cut(self) -> None:
        """Let batches be computed in twice as many parts."""
        parts, images = self.state.micro_batches, self.batches.batch_size
        if parts >= self.most_parts:
            raise UserError(
                f"there is too little memory on {self.runtime.device} for a step with "
                f"{-(-images // parts)} of its {images} images at a time",
                remedy="choose a smaller net or smaller images, more engine.checkpoint_segments, "
                "or end what else uses the memory",
            )
        release(self.runtime.device)
        self.state.micro_batches = min(2 * parts, self.most_parts)
        self.warn(
            f"memory was too short for a step: from step {self.state.step + 1} on batches are "
            f"computed in {self.state.micro_batches} parts, with the same gradient scale; batch "
            f"norm sees {-(-images // self.state.micro_batches)} images at a time"
        )
