"""Progress of a training on standard error: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from torch import nn

from reslab.runs.history import EpochRecord
from reslab.training.observers import Forecast, NullObserver, StepRecord, describe_forecast
from reslab.wording import clock, loss_text

PLAIN_EVERY = 100


def epoch_line(record: EpochRecord, epochs: str) -> str:
    """What an epoch came to; of how many is "" before a step was told."""
    validation = ""
    if record.val_loss is not None and record.val_accuracy is not None:
        validation = (
            f"  validation loss {loss_text(record.val_loss)} "
            f"accuracy {100 * record.val_accuracy:.2f} %"
        )
    of = f"/{epochs}" if epochs else ""
    return (
        f"epoch {record.epoch}{of}  training loss {loss_text(record.train_loss)} "
        f"accuracy {100 * record.train_accuracy:.2f} %{validation}  {record.seconds:.1f} s"
    )


def total(number: int, record: StepRecord) -> str:
    """A number of epochs or steps, marked where a limit of time may still change it."""
    return f"~{number}" if record.is_limited else str(number)


class PlainProgress(NullObserver):
    """A line for every hundredth step and every epoch."""

    def __init__(self) -> None:
        self.epochs = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def on_forecast(self, forecast: Forecast) -> None:
        """Write it."""
        self.write(describe_forecast(forecast))

    def on_warning(self, text: str) -> None:
        """Write it."""
        self.write(f"reslab: warning: {text}")

    def write(self, line: str) -> None:
        """A line on standard error, if anybody still reads it: training does not depend on it."""
        with suppress(OSError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def on_step(self, record: StepRecord) -> None:
        """Write a line now and then."""
        self.epochs = total(record.epochs, record)
        if record.step == 1 or record.step % PLAIN_EVERY == 0:
            self.write(
                f"epoch {record.epoch}/{self.epochs} "
                f"step {record.step}/{total(record.total_steps, record)} "
                f"loss {loss_text(record.loss)} rate {record.learning_rate:.4g} "
                f"{record.images_per_second:,.0f} images/s, {clock(record.seconds_left)} left"
            )

    def on_epoch(self, record: EpochRecord, model: nn.Module, is_best: bool) -> None:
        """Write the epoch's line."""
        self.write(epoch_line(record, self.epochs))


class LiveProgress(PlainProgress):
    """A bar that stays on the last line, with the epochs' lines above it."""

    def __init__(self) -> None:
        super().__init__()
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("step {task.completed}/{task.fields[of]}  {task.fields[state]}"),
            console=Console(stderr=True, highlight=False, markup=False),
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._progress.stop()

    def on_step(self, record: StepRecord) -> None:
        """Move the bar."""
        self.epochs = total(record.epochs, record)
        with suppress(OSError):
            if self._task is None:
                self._task = self._progress.add_task(
                    "training", total=record.total_steps, epoch="", of="", state=""
                )
            self._progress.update(
                self._task,
                completed=record.step,
                total=record.total_steps,  # which a limit of time changes
                epoch=f"{record.epoch}/{self.epochs}",
                of=total(record.total_steps, record),
                state=f"loss {loss_text(record.loss)}  rate {record.learning_rate:.4g}  "
                f"{record.images_per_second:,.0f} images/s  {clock(record.seconds_left)} left",
            )

    def write(self, line: str) -> None:
        """A line above the bar."""
        with suppress(OSError):
            self._progress.console.print(line, soft_wrap=True)


def make_progress() -> PlainProgress:
    """The one that suits standard error."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()
