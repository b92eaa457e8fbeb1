"""The observer of all trackers: what it hands on, and that no training depends on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import reslab
from reslab.errors import Interrupted, StorageError, UserError
from reslab.tracking.catalog import TRACKERS
from reslab.tracking.tracker import Tracker
from reslab.tracking.values import Values
from reslab.training.observers import EndRecord, StartRecord
from tests.tracking.conftest import LOOKS, SPEC, At, ctrl_c

SHORT = reslab.recipe("fast", training={"epochs": 2, "batch_size": 20})  # as ``trained``


class Memory:
    """Keeps all in memory; fails in the method, and at the step, that it was told to."""

    def __init__(self, fails: str = "", step: int = 0, *, is_new: bool = True) -> None:
        self.fails, self.step, self.is_new = fails, step, is_new
        self.began: list[tuple[int, str | None]] = []
        self.rows: list[tuple[int, frozenset[str]]] = []
        self.ends: list[tuple[str, Values, list[str]]] = []

    def begin(self, record: StartRecord, known_as: str | None) -> tuple[str | None, bool]:
        self.began.append((record.step, known_as))
        if self.fails == "begin":
            raise ConnectionError("the server\nhas gone")
        return known_as or "seven", self.is_new

    def write(self, values: Values, step: int) -> None:
        if self.fails == "write" and step >= self.step:
            raise ConnectionError
        self.rows.append((step, frozenset(values)))

    def end(self, record: EndRecord, values: Values, images: Mapping[str, Path]) -> None:
        self.ends.append((record.status, values, sorted(images)))
        if self.fails == "end":
            raise OSError(28, "No space left on device")


def warnings_in(run: Path) -> list[str]:
    return [line for line in (run / "log.txt").read_text().splitlines() if "warning:" in line]


def test_it_is_told_all_in_order(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    sink = Memory()
    run = reslab.train(
        SPEC, data=tiny_source, out=tmp_path / "run", observers=[Tracker("memory", sink)]
    )
    assert sink.began == [(0, None)]
    steps = [step for step, names in sink.rows if "step/loss" in names]
    epochs = [step for step, names in sink.rows if "val/loss" in names]
    assert (steps, epochs) == (LOOKS, [27, 54])
    ((status, values, images),) = sink.ends
    assert (status, images) == ("finished", ["confusion", "curves"])
    assert values["test/last_top1"] == run.metrics["test"]["last"]["top1"]
    assert json.loads((run.path / "tracking.json").read_text()) == {"memory": "seven"}


@pytest.mark.parametrize("fails", ["begin", "write", "end"])
def test_a_failure_is_warned_of_once_and_changes_nothing(
    fails: str, trained: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    sink = Memory(fails, step=10)
    run = reslab.train(
        SHORT, data=tiny_source, out=tmp_path / "run", observers=[Tracker("memory", sink)]
    )
    assert run.metrics["status"] == "finished"
    assert run.folder.weights("last").read_bytes() == trained.folder.weights("last").read_bytes()
    (told,) = (line for line in warnings_in(run.path) if "memory failed" in line)
    reason = {"begin": "the server", "write": "ConnectionError", "end": "[Errno 28] No space"}
    assert f"memory failed, and what follows is not logged to it: {reason[fails]}" in told
    # Its run is closed all the same, once.
    assert len(sink.ends) == 1


def test_a_full_disk_that_keeps_the_warning_from_being_logged(tmp_path: Path) -> None:
    def warn(text: str) -> None:
        raise StorageError("log.txt cannot be written")

    start = StartRecord(folder=tmp_path, settings={}, step=0, history=(), warn=warn)
    Tracker("memory", Memory("begin")).on_start(start)


def test_an_interrupted_run_goes_on_under_its_name(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    first, second = Memory(), Memory(is_new=False)
    observers = [Tracker("memory", first), At(40, ctrl_c)]
    with pytest.raises(Interrupted):
        reslab.train(SPEC, data=tiny_source, out=tmp_path / "run", observers=observers)
    assert first.ends == [("interrupted", {}, [])]
    reslab.resume(tmp_path / "run", data=tiny_source, observers=[Tracker("memory", second)])
    assert second.began == [(40, "seven")]
    steps = [step for step, names in first.rows + second.rows if "step/loss" in names]
    epochs = [step for step, names in first.rows + second.rows if "epoch" in names]
    assert (steps, epochs) == (LOOKS, [27, 54])


def test_one_that_comes_later_is_told_the_epochs_before(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        reslab.train(SPEC, data=tiny_source, out=tmp_path / "run", observers=[At(40, ctrl_c)])
    (tmp_path / "run" / "tracking.json").write_text("{")  # damaged, which is no reason to fail
    sink = Memory()
    reslab.resume(tmp_path / "run", data=tiny_source, observers=[Tracker("memory", sink)])
    assert sink.began == [(40, None)]
    assert [step for step, names in sink.rows if "epoch" in names] == [27, 54]
    assert json.loads((tmp_path / "run" / "tracking.json").read_text()) == {"memory": "seven"}


@pytest.mark.usefixtures("mlflow_store", "offline")
def test_all_at_once_change_no_bit(
    trained: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trackers = [reslab.tracker(entry.name) for entry in TRACKERS]
    run = reslab.train(SHORT, data=tiny_source, out=tmp_path / "run", observers=trackers)
    assert torch.equal(torch.rand(3), expected)
    for use in ("best", "last"):
        mine, theirs = run.folder.weights(use), trained.folder.weights(use)
        assert mine.read_bytes() == theirs.read_bytes()
    assert [line for line in warnings_in(run.path) if "failed" in line] == []
    assert set(json.loads((run.path / "tracking.json").read_text())) == {"mlflow", "wandb"}


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(UserError, match="did you mean 'mlflow'"):
        reslab.tracker("mlfow")
