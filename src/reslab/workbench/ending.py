"""Telling observers how a training ended, once, whatever ended it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from reslab.errors import Interrupted, UserError
from reslab.runs.folder import RunFolder
from reslab.training.observers import EndRecord, Observer
from reslab.training.state import TrainingState


@contextmanager
def end_told(
    observers: Sequence[Observer], folder: RunFolder, state: TrainingState
) -> Iterator[None]:
    """At the end of the context all observers are told of it, each of them once.

    An observer that fails at this does not keep the others from being told, and does not hide
    what ended the training: its error is only raised where there is no other.

    Args:
        observers: told in turn.
        folder: the run's, whose metrics.json is written by then.
        state: the training's.
    """
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | Interrupted)
        record = EndRecord(
            status="interrupted" if stopped else "failed",
            reason=str(error) or type(error).__name__,
            step=state.step,
            metrics=_metrics(folder),
        )
        for other in _tell(observers, record):
            error.add_note(f"an observer failed as well: {other}")
        raise
    record = EndRecord(status="finished", reason="", step=state.step, metrics=_metrics(folder))
    for first in _tell(observers, record):
        raise first


def _tell(observers: Sequence[Observer], record: EndRecord) -> list[Exception]:
    errors: list[Exception] = []
    for observer in observers:
        try:
            observer.on_end(record)
        except Exception as error:  # noqa: BLE001 - told by whoever calls
            errors.append(error)
    return errors


def _metrics(folder: RunFolder) -> Mapping[str, Any]:
    with suppress(UserError):
        return folder.read_metrics()
    return {}
