"""That observers are told of the end, once, whatever ended the training."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import reslab
from reslab.errors import Interrupted, TrainingDiverged
from reslab.runs.folder import RunFolder
from reslab.training.observers import EndRecord, NullObserver, StartRecord, StepRecord
from reslab.workbench.ending import end_told

SPEC = reslab.recipe(training={"epochs": 2, "batch_size": 20})


class Told(NullObserver):
    """Keeps what it is told of start and end; may do something in between."""

    def __init__(self, act: Any = None) -> None:
        self.events: list[str] = []
        self.starts: list[StartRecord] = []
        self.ends: list[EndRecord] = []
        self.act = act

    def on_start(self, record: StartRecord) -> None:
        self.events.append("start")
        self.starts.append(record)

    def on_step(self, record: StepRecord) -> None:
        self.events.append("step")
        if self.act is not None:
            self.act()

    def on_end(self, record: EndRecord) -> None:
        self.events.append("end")
        self.ends.append(record)


class BadAtEnds(NullObserver):
    def on_end(self, record: EndRecord) -> None:
        raise RuntimeError("at the end")


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def raise_ctrl_c(*arguments: object) -> None:
    raise KeyboardInterrupt


def fail() -> None:
    raise RuntimeError("as planned")


def test_a_finished_training(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    told = Told()
    run = reslab.train(SPEC, data=tiny_source, out=tmp_path / "run", observers=[told])
    assert (told.events[0], told.events[-1], told.events.count("end")) == ("start", "end", 1)
    (start,), (end,) = told.starts, told.ends
    assert start.folder == run.path
    assert start.settings == run.spec.model_dump(mode="json")
    assert (start.step, start.history) == (0, ())
    assert (end.status, end.reason, end.step) == ("finished", "", run.spec.total_steps)
    assert end.metrics == run.metrics
    start.warn("something")
    assert "warning: something" in (run.path / "log.txt").read_text()


def test_an_interrupted_training_and_how_it_goes_on(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    told = Told(press_ctrl_c)
    with pytest.raises(Interrupted):
        reslab.train(SPEC, data=tiny_source, out=tmp_path / "run", observers=[told])
    (end,) = told.ends
    assert (end.status, end.step, end.metrics["status"]) == ("interrupted", 1, "interrupted")
    assert end.reason.startswith("interrupted at step 1; go on with")
    told = Told()
    run = reslab.resume(tmp_path / "run", data=tiny_source, observers=[told])
    assert (told.starts[0].step, told.ends[0].status) == (1, "finished")
    told = Told()
    reslab.resume(run.path, data=tiny_source, observers=[told])
    assert told.events == []


def test_ctrl_c_in_the_ending(
    tiny_source: reslab.ArraySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reslab.workbench.train.store_evaluation", raise_ctrl_c)
    told = Told()
    with pytest.raises(Interrupted):
        reslab.train(SPEC, data=tiny_source, out=tmp_path / "run", observers=[told])
    assert [end.status for end in told.ends] == ["interrupted"]


def test_a_training_that_fails(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    spec = reslab.recipe(
        training={"epochs": 2, "lr": 1e30, "optimizer": "sgd", "schedule": {"kind": "constant"}}
    )
    told = Told()
    with pytest.raises(TrainingDiverged):
        reslab.train(spec, data=tiny_source, out=tmp_path / "run", observers=[told])
    (end,) = told.ends
    assert (end.status, end.metrics["status"]) == ("failed", "failed")
    assert "loss became" in end.reason


def test_an_observer_that_fails_in_between(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    told = Told(fail)
    with pytest.raises(RuntimeError, match="as planned") as caught:
        reslab.train(SPEC, data=tiny_source, out=tmp_path / "run", observers=[BadAtEnds(), told])
    assert [(end.status, end.reason) for end in told.ends] == [("failed", "as planned")]
    assert caught.value.__notes__ == ["an observer failed as well: at the end"]


def test_one_that_fails_at_the_end_is_told_after_the_others(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    told = Told()
    with pytest.raises(RuntimeError, match="at the end"):
        reslab.train(SPEC, data=tiny_source, out=tmp_path / "run", observers=[BadAtEnds(), told])
    assert [end.status for end in told.ends] == ["finished"]
    assert reslab.load_run(tmp_path / "run").status == "finished"


def test_metrics_that_cannot_be_read_are_empty(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "")
    (folder.path / "metrics.json").write_text("{")
    told = Told()
    state: Any = SimpleNamespace(step=7)
    with pytest.raises(KeyboardInterrupt), end_told([told], folder, state):
        raise KeyboardInterrupt
    end = EndRecord(status="interrupted", reason="KeyboardInterrupt", step=7, metrics={})
    assert told.ends == [end]
