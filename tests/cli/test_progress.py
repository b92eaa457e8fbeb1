"""Progress on standard error."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from torch import nn

from reslab.cli.progress import LiveProgress, PlainProgress, make_progress
from reslab.runs.history import EpochRecord
from reslab.training.observers import StepRecord

STEP = StepRecord(
    epoch=1,
    epochs=2,
    step=1,
    total_steps=200,
    is_limited=False,
    loss=2.5,
    learning_rate=0.1,
    images_per_second=1234.5,
    seconds_left=65.4,
)
EPOCH = EpochRecord(
    epoch=1,
    step=100,
    learning_rate=0.1,
    train_loss=1.5,
    train_accuracy=0.5,
    val_loss=1.2,
    val_accuracy=0.75,
    seconds=3.0,
    images_per_second=1000.0,
)


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainProgress() as progress:
        for step in (1, 10, 100):
            progress.on_step(replace(STEP, step=step))
        progress.on_epoch(EPOCH, nn.Identity(), is_best=True)
        progress.on_epoch(
            replace(EPOCH, val_loss=None, val_accuracy=None), nn.Identity(), is_best=True
        )
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == ("epoch 1/2 step 1/200 loss 2.5000 rate 0.1 1,234 images/s, 1:05 left")
    assert lines[1].startswith("epoch 1/2 step 100/200")
    assert "validation loss 1.2000 accuracy 75.00 %" in lines[2]
    assert "validation" not in lines[3]


def test_totals_that_a_limit_may_change_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainProgress() as progress:
        progress.on_step(replace(STEP, is_limited=True))
        progress.on_epoch(EPOCH, nn.Identity(), is_best=True)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("epoch 1/~2 step 1/~200 loss")
    assert second.startswith("epoch 1/~2  training")


@pytest.mark.parametrize("kind", [PlainProgress, LiveProgress])
def test_a_terminal_that_was_closed_stops_nothing(
    kind: type[PlainProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        encoding = "utf-8"

        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

        def flush(self) -> None:
            self.write("")

        def isatty(self) -> bool:
            return True

    with kind() as progress:
        monkeypatch.setattr(sys, "stderr", Closed())
        progress.on_step(STEP)
        progress.on_epoch(EPOCH, nn.Identity(), is_best=True)
        progress.on_warning("nobody reads this")


def test_live_bar_ends_with_the_epochs_only(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveProgress() as progress:
        progress.on_step(STEP)
        progress.on_epoch(EPOCH, nn.Identity(), is_best=True)
    assert "epoch 1/2  training loss 1.5000" in capsys.readouterr().err


def test_the_terminal_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert type(make_progress()) is PlainProgress
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert type(make_progress()) is LiveProgress
