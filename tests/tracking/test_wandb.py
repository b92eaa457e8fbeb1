"""Weights & Biases without its server: what lies in the files that it would send."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

import reslab
from reslab.cli import main
from reslab.errors import Interrupted
from reslab.tracking.tracker import Tracker
from reslab.tracking.wandb import WandB
from reslab.training.observers import StartRecord
from tests.tracking.conftest import LOOKS, SPEC, At, ctrl_c, train_until_killed

BLOCK = 32768


def records(path: Path) -> Iterator[Record]:
    """The messages of a .wandb file: a LevelDB log, for which W&B has no reader in Python."""
    content, at, parts = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:  # no room for a header in this block
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        if kind == 0:
            break
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


class Found:
    """What the files of one run hold, in the order in which they were begun."""

    def __init__(self, run: Path) -> None:
        self.rows: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.exit_codes: list[int] = []
        self.ids: list[str] = []
        self.projects: set[str] = set()
        self.names: set[str] = set()
        # The process that writes for W&B is done with its files when it has ended.
        wandb.teardown()
        for path in sorted((run / "wandb").glob("offline-run-*/*.wandb")):
            for record in records(path):
                self._take(record)

    def _take(self, record: Record) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.ids.append(record.run.run_id)
            self.projects.add(record.run.project)
            self.names.add(record.run.display_name)
            self.config |= {i.key: json.loads(i.value_json) for i in record.run.config.update}
        elif kind == "history":
            self.rows.append(named(record.history.item))
        elif kind == "summary":
            self.summary |= named(record.summary.update)
        elif kind == "exit":
            self.exit_codes.append(record.exit.exit_code)

    def steps(self, name: str) -> list[int]:
        return [row["_step"] for row in self.rows if name in row]


def named(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


@pytest.mark.usefixtures("offline")
def test_all_is_there(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    run = reslab.train(SPEC, data=tiny_source, out=out, observers=[reslab.tracker("wandb")])
    found = Found(out)
    assert found.steps("step/loss") == found.steps("step/learning_rate") == LOOKS
    assert found.steps("epoch") == found.steps("val/loss") == [27, 54]
    losses = [row["val/loss"] for row in found.rows if "val/loss" in row]
    assert losses == [record.val_loss for record in run.history]
    assert found.config["training.batch_size"] == 4
    assert (found.projects, found.names) == ({"reslab"}, {"mine"})
    assert found.summary["test/best_top1"] == run.metrics["test"]["best"]["top1"]
    assert found.summary["best_epoch"] == run.metrics["best_epoch"]
    assert found.summary["status"] == "finished"
    assert found.exit_codes == [0]
    images = {path.name.split("_")[0] for path in (out / "wandb").rglob("*.png")}
    assert images == {"curves", "confusion"}


@pytest.mark.usefixtures("offline")
def test_an_interrupted_run_goes_on_under_its_id(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    observers = [reslab.tracker("wandb"), At(40, ctrl_c)]
    with pytest.raises(Interrupted):
        reslab.train(SPEC, data=tiny_source, out=out, observers=observers)
    found = Found(out)
    assert found.exit_codes == [255]
    assert found.summary["status"] == "interrupted"
    # Names of its folders have a second's time, and are of the same run.
    wandb_folder = next((out / "wandb").glob("offline-run-*"))
    wandb_folder.rename(wandb_folder.with_name(f"offline-run-20000101_000000-{found.ids[0]}"))
    reslab.resume(out, data=tiny_source, observers=[reslab.tracker("wandb")])
    found = Found(out)
    assert found.exit_codes == [255, 0]
    assert len(set(found.ids)) == 1
    assert found.steps("step/loss") == LOOKS
    assert found.steps("epoch") == [27, 54]


@pytest.mark.usefixtures("offline")
def test_a_killed_run_can_be_gone_on_with(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    train_until_killed(tiny_source, tmp_path / "run", reslab.tracker("wandb"))
    wandb.teardown()
    run = reslab.resume(tmp_path / "run", data=tiny_source, observers=[reslab.tracker("wandb")])
    assert run.metrics["status"] == "finished"
    found = Found(run.path)
    assert len(set(found.ids)) == 1
    # How much of the first part lies there is up to the process that writes for W&B.
    assert found.steps("step/loss")[-4:] == [30, 40, 50, 54]
    assert found.steps("epoch")[-1] == 54


@pytest.mark.usefixtures("offline")
def test_its_own_variables_are_followed(
    tiny_source: reslab.ArraySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("WANDB_NAME", "named")
    spec = reslab.recipe(training={"epochs": 1, "batch_size": 20})
    reslab.train(spec, data=tiny_source, out=tmp_path / "run", observers=[reslab.tracker("wandb")])
    found = Found(tmp_path / "run")
    assert (found.projects, found.names) == ({"theirs"}, {"named"})


@pytest.mark.usefixtures("offline")
def test_a_failure_does_not_end_the_training(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    sink = WandB()
    watch = At(10, lambda: sink._run.finish(exit_code=1))  # behind its back
    run = reslab.train(
        SPEC, data=tiny_source, out=tmp_path / "run", observers=[watch, Tracker("wandb", sink)]
    )
    assert run.metrics["status"] == "finished"
    (told,) = (text for text in watch.warnings if "wandb" in text)
    assert told.startswith("wandb failed, and what follows is not logged to it: ")


def test_rows_that_its_server_has_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[tuple[int, dict[str, float]]] = []
    run = SimpleNamespace(
        id="seven",
        starting_step=28,
        summary={"epoch": 1},
        log=lambda values, step: rows.append((step, values)),
    )
    monkeypatch.setattr(wandb, "init", lambda **options: run)
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    sink = WandB()
    wandb.teardown()
    start = StartRecord(folder=tmp_path, settings={}, step=20, history=(), warn=print)
    assert sink.begin(start, "seven") == ("seven", False)
    sink.write({"step/loss": 1.0}, 27)
    sink.write({"epoch": 1.0}, 13)
    sink.write({"epoch": 2.0}, 27)  # its validation had been interrupted
    sink.write({"step/loss": 0.5}, 30)
    assert rows == [(28, {"epoch": 2.0}), (30, {"step/loss": 0.5})]


@pytest.mark.usefixtures("offline")
def test_without_a_login_nothing_is_trained_or_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    wandb.teardown()
    assert main.run(["train", "--log", "wandb", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == (
        "reslab: Weights & Biases has no login on this machine; run `wandb login`, or set "
        "WANDB_MODE=offline to log into files alone\n"
    )
    assert not (tmp_path / "run").exists()
