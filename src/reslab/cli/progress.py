"""Progress of a training on standard error: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from torch import nn

from reslab.runs.history import EpochRecord
from reslab.training.observers import Forecast, StepRecord, clock, describe_forecast

PLAIN_EVERY = 100


def epoch_line(record: EpochRecord, epochs: int) -> str:
    """What an epoch came to; of how many is not known before a step was told."""
    validation = (
        ""
        if record.val_accuracy is None
        else f"  validation loss {record.val_loss:.4f} accuracy {100 * record.val_accuracy:.2f} %"
    )
    of = f"/{epochs}" if epochs else ""
    return (
        f"epoch {record.epoch}{of}  training loss {record.train_loss:.4f} "
        f"accuracy {100 * record.train_accuracy:.2f} %{validation}  {record.seconds:.1f} s"
    )


class PlainProgress:
    """A line for every hundredth step and every epoch."""

    def __init__(self, epochs: int = 0) -> None:
        self.epochs = epochs

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
        """A line on standard error."""
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def on_step(self, record: StepRecord) -> None:
        """Write a line now and then."""
        self.epochs = record.epochs
        if record.step == 1 or record.step % PLAIN_EVERY == 0:
            self.write(
                f"epoch {record.epoch}/{record.epochs} step {record.step}/{record.total_steps} "
                f"loss {record.loss:.4f} rate {record.learning_rate:.4g} "
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
            TextColumn("step {task.completed}/{task.total}  {task.fields[state]}"),
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
        self._progress.stop()

    def on_step(self, record: StepRecord) -> None:
        """Move the bar."""
        self.epochs = record.epochs
        if self._task is None:
            self._task = self._progress.add_task(
                "training", total=record.total_steps, epoch="", state=""
            )
        self._progress.update(
            self._task,
            completed=record.step,
            total=record.total_steps,  # which a limit of time changes
            epoch=f"{record.epoch}/{record.epochs}",
            state=f"loss {record.loss:.4f}  rate {record.learning_rate:.4g}  "
            f"{record.images_per_second:,.0f} images/s  {clock(record.seconds_left)} left",
        )

    def write(self, line: str) -> None:
        """A line above the bar."""
        self._progress.console.print(line, soft_wrap=True)


def make_progress() -> PlainProgress:
    """The one that suits standard error."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()
