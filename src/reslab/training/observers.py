"""Those who watch a training: they are told what happened and change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import nn

from reslab.runs.history import EpochRecord


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """Where training stands after a step.

    Attributes:
        epoch: counted from 1.
        epochs: of the whole training.
        step: optimiser steps made so far.
        total_steps: of the whole training.
        loss: of this step's batch.
        learning_rate: of this step.
        images_per_second: over the epoch so far.
        seconds_left: of training, at the pace so far.
    """

    epoch: int
    epochs: int
    step: int
    total_steps: int
    loss: float
    learning_rate: float
    images_per_second: float
    seconds_left: float


class Observer(Protocol):
    """Implement what you need to know; ``NullObserver`` has all of it doing nothing."""

    def on_step(self, record: StepRecord) -> None:
        """After a step, every so many steps and at each epoch's last."""

    def on_epoch(self, record: EpochRecord, model: nn.Module, is_best: bool) -> None:
        """After each epoch, validation done. The model is to be read and not changed."""


class NullObserver:
    """Watches without a word; a base for observers that need one event only."""

    def on_step(self, record: StepRecord) -> None:
        """Do nothing."""

    def on_epoch(self, record: EpochRecord, model: nn.Module, is_best: bool) -> None:
        """Do nothing."""
