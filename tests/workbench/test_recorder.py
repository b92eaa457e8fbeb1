"""The observer that writes the folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reslab.models.create import create_model
from reslab.runs.folder import RunFolder
from reslab.runs.history import parse_history
from reslab.workbench.recorder import Recorder
from tests.cli.test_progress import EPOCH, STEP


def test_files_are_whole_after_every_epoch(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "")
    recorder = Recorder(folder)
    assert parse_history(folder.read_text("history.csv")) == ()
    model = create_model("resnet14")
    recorder.on_epoch(EPOCH, model, is_best=True)
    best = folder.weights("best").read_bytes()
    assert best == folder.weights("last").read_bytes()
    model.fc.weight.data.fill_(1.0)
    second = replace(EPOCH, epoch=2, val_loss=None, val_accuracy=None)
    recorder.on_epoch(second, model, is_best=False)
    assert folder.weights("best").read_bytes() == best != folder.weights("last").read_bytes()
    assert parse_history(folder.read_text("history.csv")) == (EPOCH, second)


def test_the_log_keeps_every_hundredth_loss(tmp_path: Path) -> None:
    recorder = Recorder(RunFolder.create(tmp_path / "run", ""))
    for step in (1, 10, 99, 100, 150, 200):
        recorder.on_step(replace(STEP, step=step))
    lines = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert [line.split(" step ")[1].split()[0] for line in lines] == ["1", "100", "200"]
    assert "loss 2.5000" in lines[0]
