"""What trackers are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import reslab
from reslab.tracking.values import (
    epoch_values,
    final_values,
    pictures,
    settings_as_text,
    step_values,
)
from reslab.training.observers import EndRecord
from tests.cli.test_progress import EPOCH, STEP

FINISHED = EndRecord(
    status="finished",
    reason="",
    step=8,
    metrics={"best_epoch": 2, "test": {"best": {"top1": 0.5, "loss": 1.5, "n": 4}}},
)


def test_a_step() -> None:
    assert step_values(STEP) == {
        "step/loss": STEP.loss,
        "step/learning_rate": STEP.learning_rate,
        "step/images_per_second": STEP.images_per_second,
    }


def test_an_epoch_with_and_without_validation() -> None:
    names = {"epoch", "train/loss", "train/accuracy"}
    assert set(epoch_values(EPOCH)) == names | {"val/loss", "val/accuracy"}
    assert set(epoch_values(replace(EPOCH, val_loss=None, val_accuracy=None))) == names
    assert epoch_values(EPOCH)["epoch"] == EPOCH.epoch


def test_the_end() -> None:
    assert final_values(FINISHED) == {"best_epoch": 2, "test/best_top1": 0.5, "test/best_loss": 1.5}
    assert final_values(replace(FINISHED, metrics={})) == {}
    assert final_values(replace(FINISHED, status="interrupted")) == {}


def test_every_setting_has_a_text(trained: reslab.Run) -> None:
    texts = settings_as_text(trained.spec.model_dump(mode="json"))
    assert texts["training.batch_size"] == "20"
    assert texts["training.schedule.kind"] == trained.spec.training.schedule.kind
    assert texts["facts.classes"] == '["dark", "grey", "bright"]'
    assert all(isinstance(text, str) for text in texts.values())


def test_pictures_are_those_of_a_finished_run(trained: reslab.Run, tmp_path: Path) -> None:
    assert set(pictures(trained.path, FINISHED)) == {"curves", "confusion"}
    assert pictures(trained.path, replace(FINISHED, status="failed")) == {}
    assert pictures(tmp_path, FINISHED) == {}
