"""Those who watch a training: they are told what happened and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import nn

from reslab.runs.history import EpochRecord
from reslab.wording import clock, counted


@dataclass(frozen=True, kw_only=True)
class StartRecord:
    """Where a training begins, or goes on.

    Attributes:
        folder: of the run, which exists.
        settings: what run.yaml holds, section by section.
        step: optimiser steps made before; 0 where it begins.
        history: the epochs that had ended before.
        warn: tells all observers something, as ``on_warning`` hears it.
    """

    folder: Path
    settings: Mapping[str, Any]
    step: int
    history: tuple[EpochRecord, ...]
    warn: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class EndRecord:
    """What became of a training.

    Attributes:
        status: finished once test and report are there too; interrupted by a signal; or failed.
        reason: what ended it, in a sentence; "" where it has finished.
        step: optimiser steps made.
        metrics: what metrics.json holds; empty where it could not be written or read.
    """

    status: Literal["finished", "interrupted", "failed"]
    reason: str
    step: int
    metrics: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """Where training stands after a step.

    Attributes:
        epoch: counted from 1.
        epochs: of the whole training.
        step: optimiser steps made so far.
        total_steps: of the whole training.
        is_limited: whether a limit of time may still change these two.
        loss: of this step's batch.
        learning_rate: of this step.
        images_per_second: over the epoch so far.
        seconds_left: of training, at the pace so far.
    """

    epoch: int
    epochs: int
    step: int
    total_steps: int
    is_limited: bool
    loss: float
    learning_rate: float
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a training will take, by a rehearsal of a few steps.

    Attributes:
        epochs: passes over the images, a part of one included.
        asked_epochs: those that the settings ask for; more where a limit of time cuts them short.
        steps: optimiser steps.
        seconds: until the run is complete: steps, validations, test and report.
        peak_bytes: the most memory that the process will use, by what it took in the rehearsal
            and what test and report load; None where unknown.
    """

    epochs: float
    asked_epochs: float
    steps: int
    seconds: float
    peak_bytes: int | None


def describe_forecast(forecast: Forecast) -> str:
    """A line for people.

    >>> told = Forecast(epochs=2.5, asked_epochs=4, steps=500, seconds=75.0, peak_bytes=2**30)
    >>> describe_forecast(told)
    'forecast: 2.5 of 4 epochs fit the limit of time, 500 steps, in about 1:15, with 1.0 GiB of \
memory'
    """
    epochs = counted(forecast.epochs, "epoch")
    if forecast.epochs < forecast.asked_epochs:
        epochs = (
            f"{forecast.epochs:.3g} of {counted(forecast.asked_epochs, 'epoch')} fit the limit of "
            "time"
        )
    text = (
        f"forecast: {epochs}, {counted(forecast.steps, 'step')}, in about {clock(forecast.seconds)}"
    )
    if forecast.peak_bytes is None:
        return text
    return f"{text}, with {forecast.peak_bytes / 2**30:.1f} GiB of memory"


def warn(observers: Iterable[Observer], text: str) -> None:
    """Tell all of them."""
    for observer in observers:
        observer.on_warning(text)


class Observer(Protocol):
    """Implement what you need to know; ``NullObserver`` has all of it doing nothing."""

    def on_start(self, record: StartRecord) -> None:
        """Before all else, once the run's folder is there."""

    def on_forecast(self, forecast: Forecast) -> None:
        """Before the first step."""

    def on_step(self, record: StepRecord) -> None:
        """After a step, every so many steps and at each epoch's last."""

    def on_epoch(self, record: EpochRecord, model: nn.Module, is_best: bool) -> None:
        """After each epoch, validation done. The model is to be read and not changed."""

    def on_warning(self, text: str) -> None:
        """Something that whoever trains should know, such as a step that was left out."""

    def on_end(self, record: EndRecord) -> None:
        """Once, after all else, whatever ended the training."""


class NullObserver:
    """Watches without a word; a base for observers that need one event only."""

    def on_start(self, record: StartRecord) -> None:
        """Do nothing."""

    def on_forecast(self, forecast: Forecast) -> None:
        """Do nothing."""

    def on_step(self, record: StepRecord) -> None:
        """Do nothing."""

    def on_epoch(self, record: EpochRecord, model: nn.Module, is_best: bool) -> None:
        """Do nothing."""

    def on_warning(self, text: str) -> None:
        """Do nothing."""

    def on_end(self, record: EndRecord) -> None:
        """Do nothing."""
