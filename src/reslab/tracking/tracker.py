"""The observer that hands a training on to a tracker, and outlives whatever fails there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, final

from torch import nn

from reslab.errors import UserError
from reslab.runs.folder import TRACKING, RunFolder
from reslab.runs.history import EpochRecord
from reslab.tracking.catalog import load_sink
from reslab.tracking.values import Values, epoch_values, final_values, pictures, step_values
from reslab.training.observers import EndRecord, NullObserver, StartRecord, StepRecord

# Longer texts of a library's error are cut.
_MOST_WORDS = 200


class Sink(Protocol):
    """Where a tracker keeps what it is told; any method may raise whatever its library raises."""

    def begin(self, record: StartRecord, known_as: str | None) -> tuple[str | None, bool]:
        """Begin a run, or go on with one, such that no step is found twice in it.

        Args:
            record: where the training begins or goes on; its settings are written.
            known_as: what this gave back when the training was begun; None: not known.

        Returns:
            What the run is known as to the tracker, None where its place is enough; and
            whether it is new, so that earlier epochs are to be told.
        """

    def write(self, values: Values, step: int) -> None:
        """Write values at an optimiser step; those that are there already are passed over."""

    def end(self, record: EndRecord, values: Values, images: Mapping[str, Path]) -> None:
        """Write final values and PNG images by name, close the run and tell its status."""


@final
class Tracker(NullObserver):
    """Logs a training; one that fails is warned of once and done without.

    Args:
        name: what it is called in warnings and in the run's tracking.json.
        sink: where to.
    """

    def __init__(self, name: str, sink: Sink) -> None:
        self.name = name
        self._sink = sink
        self._start: StartRecord | None = None
        self._works = False

    def on_start(self, record: StartRecord) -> None:
        """Begin or go on with the tracker's run, and keep what it is known as."""
        self._start = record
        self._works = True
        with self._guarded():
            folder = RunFolder(record.folder)
            known_as = self._known(folder).get(self.name)
            now_known_as, is_new = self._sink.begin(record, known_as)
            if now_known_as not in (None, known_as):
                known = {**self._known(folder), self.name: str(now_known_as)}
                folder.write_json(TRACKING, known)
            if is_new:
                for epoch in record.history:
                    self._sink.write(epoch_values(epoch), epoch.step)

    def on_step(self, record: StepRecord) -> None:
        """Log loss, rate and images/s."""
        if self._works:
            with self._guarded():
                self._sink.write(step_values(record), record.step)

    def on_epoch(self, record: EpochRecord, model: nn.Module, is_best: bool) -> None:
        """Log loss and accuracy."""
        if self._works:
            with self._guarded():
                self._sink.write(epoch_values(record), record.step)

    def on_end(self, record: EndRecord) -> None:
        """Log test metrics and pictures, and close the tracker's run with its status."""
        if self._works and self._start is not None:
            with self._guarded():
                images = pictures(self._start.folder, record)
                self._sink.end(record, final_values(record), images)
            self._works = False
        elif self._start is not None:
            # What failed in between may be over, and the run is better closed than left open.
            with suppress(Exception):
                self._sink.end(record, {}, {})

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a library, its server or its disk
            self._works = False
            lines = str(error).strip().splitlines()
            reason = lines[0][:_MOST_WORDS] if lines else type(error).__name__
            # A full disk may be the reason, and keeps the log from being written too.
            with suppress(UserError):
                if self._start is not None:
                    self._start.warn(
                        f"{self.name} failed, and what follows is not logged to it: {reason}"
                    )

    @staticmethod
    def _known(folder: RunFolder) -> dict[str, str]:
        """What trackers know the run as; damaged, it is made anew."""
        with suppress(UserError):
            if folder.has(TRACKING):
                return folder.read_json(TRACKING)
        return {}


def tracker(name: str) -> Tracker:
    """An observer that logs a training to ``tensorboard``, ``mlflow`` or ``wandb``.

    >>> reslab.train(spec, observers=[reslab.tracker("tensorboard")])  # doctest: +SKIP

    Raises:
        UserError: where there is none of that name, its packages are missing, its server
            cannot be reached, or it wants a login.
    """
    return Tracker(name, load_sink(name))
