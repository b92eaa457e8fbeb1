"""A step by its place in the training: its batch, its random draws, its place on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from reslab.data.batches import Batch, TrainBatches
from reslab.engine.memory import release
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.spec.resolved import ResolvedTraining
from reslab.training.observers import Observer, warn
from reslab.training.optim import set_learning_rate
from reslab.training.regularise import mix, penalised_weights, penalty
from reslab.training.schedule import learning_rate
from reslab.training.state import Cut, TrainingState, copies, describe_cut
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
        observers: told of the training.
    """

    state: TrainingState
    batches: TrainBatches
    training: ResolvedTraining
    runtime: Runtime
    most_parts: int = 1
    observers: Sequence[Observer] = ()

    def __post_init__(self) -> None:
        self._model = self.runtime.compiled(self.state.model)
        self._buffers = Buffers(self.state.model)
        self._class_weights_K = None
        if self.training.class_weights is not None:
            self._class_weights_K = self.runtime.place(torch.tensor(self.training.class_weights))
        l1, l2 = self.training.l1, self.training.l2
        self._penalise = None
        if l1 or l2:
            weights = penalised_weights(
                self.state.model, norm_and_bias=self.training.decay_norm_and_bias
            )
            self._penalise = partial(penalty, weights, l1=l1, l2=l2)

    @property
    def micro_batches(self) -> int:
        """Parts that a batch is computed in."""
        return self.state.cuts[-1].parts if self.state.cuts else self.runtime.micro_batches

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
            self.runtime.seed(self.batches.draws_seed(epoch, i))
            images_NCHW, targets = self._mixed(batch)
            with suppress(StepTooLargeError):
                result = train_step(
                    self._model,
                    self.state.optimizer,
                    images_NCHW,
                    targets,
                    label_smoothing=self.training.label_smoothing,
                    class_weights_K=self._class_weights_K,
                    runtime=self.runtime,
                    micro_batches=self.micro_batches,
                    buffers=self._buffers,
                    penalise=self._penalise,
                    clip_norm=self.training.clip_norm,
                )
                if self.state.average is not None and result.fault is None:
                    self.state.average.update()
                return result
            self._cut()

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Within the context steps are tried; afterwards net, optimiser and rates are as before.

        So is torch's random state. Cuts and time spent stay.
        """
        state, groups = self.state, self.state.optimizer.param_groups
        before, rates = copies(state.tensors()), [group["lr"] for group in groups]
        was_training = state.model.training
        try:
            state.model.train()
            with self.runtime.own_random_state():
                yield
        finally:
            state.put(before)
            state.model.train(was_training)
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate

    def _mixed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        mixup, cutmix = self.training.mixup, self.training.cutmix
        if not (mixup or cutmix):
            return batch.images_NCHW, batch.labels_N
        classes = self.batches.num_classes
        return mix(batch.images_NCHW, batch.labels_N, mixup=mixup, cutmix=cutmix, classes=classes)

    def _cut(self) -> None:
        """Let batches be computed in twice as many parts."""
        parts, images = self.micro_batches, self.batches.batch_size
        if parts >= self.most_parts:
            raise UserError(
                f"there is too little memory on {self.runtime.device} for a step with "
                f"{-(-images // parts)} of its {images} images at a time",
                remedy="end what else uses the memory, or train anew with a smaller net, smaller "
                "images or more engine.checkpoint_segments",
            )
        release(self.runtime.device)
        parts = min(2 * parts, self.most_parts)
        self.state.cuts.append(Cut(self.state.step + 1, parts))
        if self.runtime.compile:
            # Compiled anew for the new size alone, as a process that resumes it would.
            torch.compiler.reset()
            self._model = self.runtime.compiled(self.state.model)
        warn(
            self.observers,
            f"memory was too short for a step: {describe_cut(self.state.cuts[-1])}, with the same "
            f"gradient scale; batch norm, where there is any, sees {-(-images // parts)} images "
            "at a time",
        )
