"""What trackers are told, under the same names in all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reslab.runs.folder import CONFUSION, CURVES
from reslab.runs.history import EpochRecord
from reslab.spec.text import flatten
from reslab.training.observers import EndRecord, StepRecord

Values = dict[str, float]


def step_values(record: StepRecord) -> Values:
    """Of a step that was looked at: its loss and rate, and images/s over the epoch so far."""
    return {
        "step/loss": record.loss,
        "step/learning_rate": record.learning_rate,
        "step/images_per_second": record.images_per_second,
    }


def epoch_values(record: EpochRecord) -> Values:
    """Of an epoch: its number, mean loss and fraction right; of validation where there is any."""
    values = {
        "epoch": record.epoch,
        "train/loss": record.train_loss,
        "train/accuracy": record.train_accuracy,
        "val/loss": record.val_loss,
        "val/accuracy": record.val_accuracy,
        "val/macro_f1": record.val_macro_f1,
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def final_values(record: EndRecord) -> Values:
    """Of a run that has finished: the best epoch, and both weights on the test split or fold."""
    if record.status != "finished":
        return {}
    values = {"best_epoch": record.metrics.get("best_epoch")}
    for split in ("test", "fold"):
        for use, scores in record.metrics.get(split, {}).items():
            values |= {f"{split}/{use}_{name}": scores.get(name) for name in ("top1", "loss")}
    return {name: float(value) for name, value in values.items() if value is not None}


def settings_as_text(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings by their dotted names, as text that trackers take.

    >>> settings_as_text({"training": {"lr": 0.1, "l1": None, "milestones": (1, 2)}, "recipe": "x"})
    {'training.lr': '0.1', 'training.l1': 'null', 'training.milestones': '[1, 2]', 'recipe': 'x'}
    """
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in flatten(settings).items()
    }


def pictures(folder: Path, record: EndRecord) -> dict[str, Path]:
    """The pictures of a run that has finished, by name, as far as they are there."""
    if record.status != "finished":
        return {}
    paths = (folder / name for name in (CURVES, CONFUSION))
    return {path.stem: path for path in paths if path.is_file()}
