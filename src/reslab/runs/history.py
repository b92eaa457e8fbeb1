"""What each epoch came to: history.csv, one line an epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from reslab.errors import UserError


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of history.csv.

    Attributes:
        epoch: counted from 1.
        step: optimiser steps made since the start of training.
        learning_rate: of the epoch's last step.
        train_loss: mean over the epoch's batches as trained (augmented, label-smoothed).
        train_accuracy: fraction of the same images, while the weights still moved.
        val_loss: cross-entropy on validation after the epoch; None without validation.
        val_accuracy: fraction right on validation; None without validation.
        seconds: spent on the epoch's steps, data included, validation not.
        images_per_second: training images over ``seconds``.
        val_macro_f1: mean of the classes' F1 on validation; None without validation, and in runs
            from before it was kept.
    """

    epoch: int
    step: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float
    images_per_second: float
    val_macro_f1: float | None = None


def without_times(record: EpochRecord) -> dict[str, Any]:
    """What of a record two equal trainings have in common."""
    times = {"seconds", "images_per_second"}
    return {name: value for name, value in asdict(record).items() if name not in times}


def format_history(records: Iterable[EpochRecord]) -> str:
    """The records as CSV text with a header; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(EpochRecord)], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow(asdict(record))
    return text.getvalue()


def parse_history(text: str) -> tuple[EpochRecord, ...]:
    """The inverse of ``format_history``.

    Raises:
        UserError: where the text is not such a table.
    """
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        rows = list(reader)
        columns = [f.name for f in fields(EpochRecord)]
        # Runs from before its last column are read as well. A row of another length than the
        # header has the key or a value None.
        if reader.fieldnames not in (columns, columns[:-1]) or any(
            None in (*r, *r.values()) for r in rows
        ):
            raise ValueError("its columns are not those of a history")
        return tuple(_parse_row(row) for row in rows)
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise UserError(
            "history.csv cannot be read", received=str(error), remedy="restore it from a copy"
        ) from error


def _parse_row(row: dict[str, str]) -> EpochRecord:
    return EpochRecord(
        epoch=int(row["epoch"]),
        step=int(row["step"]),
        learning_rate=float(row["learning_rate"]),
        train_loss=float(row["train_loss"]),
        train_accuracy=float(row["train_accuracy"]),
        val_loss=_number(row["val_loss"]),
        val_accuracy=_number(row["val_accuracy"]),
        seconds=float(row["seconds"]),
        images_per_second=float(row["images_per_second"]),
        val_macro_f1=_number(row.get("val_macro_f1", "")),
    )


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
