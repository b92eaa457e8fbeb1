"""Going on with a run, and what keeps one from it."""

from __future__ import annotations

import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reslab
from reslab.errors import Interrupted, TrainingDiverged, UserError
from reslab.ops.native import Found
from reslab.runs.checkpoint import Checkpoints
from reslab.runs.history import without_times
from reslab.training.observers import NullObserver, StepRecord

SPEC = reslab.recipe(training={"epochs": 2, "batch_size": 4})  # 27 steps an epoch


class StopsAt(NullObserver):
    """Presses Ctrl-C at a step, and keeps what it is warned of."""

    def __init__(self, step: int | None = None) -> None:
        self.step = step
        self.warnings: list[str] = []

    def on_step(self, record: StepRecord) -> None:
        if record.step == self.step:
            signal.raise_signal(signal.SIGINT)

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def whole(tiny_source: reslab.ArraySource, tmp_path_factory: pytest.TempPathFactory) -> reslab.Run:
    return reslab.train(SPEC, data=tiny_source, out=tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module")
def _stopped(tiny_source: reslab.ArraySource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "stopped"
    with pytest.raises(Interrupted):
        reslab.train(SPEC, data=tiny_source, out=path, observers=[StopsAt(40)])
    return path


@pytest.fixture
def stopped(_stopped: Path, tmp_path: Path) -> Path:
    """A run that was interrupted at step 40, to be changed."""
    return Path(shutil.copytree(_stopped, tmp_path / "stopped"))


def history(run: reslab.Run) -> list[dict[str, Any]]:
    return [without_times(record) for record in run.history]


def equal(a: reslab.Run, b: reslab.Run) -> bool:
    same = [
        a.folder.weights(use).read_bytes() == b.folder.weights(use).read_bytes()
        for use in ("best", "last")
    ]
    return all(same) and history(a) == history(b)


def test_what_comes_out_is_what_would_have(
    whole: reslab.Run, stopped: Path, tiny_source: reslab.ArraySource
) -> None:
    watch = StopsAt()
    run = reslab.resume(stopped, data=tiny_source, observers=[watch])
    assert equal(run, whole)
    assert run.metrics["status"] == "finished"
    assert run.metrics["test"] == whole.metrics["test"]
    assert watch.warnings == []
    assert "resumed at step 40" in (stopped / "log.txt").read_text()
    (again,) = json.loads((stopped / "environment.json").read_text())["resumed"]
    assert again["packages"]["torch"]


def test_it_may_be_interrupted_again_and_again(
    whole: reslab.Run, stopped: Path, tiny_source: reslab.ArraySource
) -> None:
    for step in (50, 54):  # the last step of all is the 54th
        with pytest.raises(Interrupted, match=f"at step {step}"):
            reslab.resume(stopped, data=tiny_source, observers=[StopsAt(step)])
    assert equal(reslab.resume(stopped, data=tiny_source), whole)


def test_without_a_checkpoint_it_begins_anew(
    whole: reslab.Run, stopped: Path, tiny_source: reslab.ArraySource
) -> None:
    for name in ("checkpoint", "weights"):
        shutil.rmtree(stopped / name)
    for name in ("environment.json", "metrics.json", "history.csv", "log.txt"):
        (stopped / name).unlink()
    watch = StopsAt()
    assert equal(reslab.resume(stopped, data=tiny_source, observers=[watch]), whole)
    assert watch.warnings == ["there is no checkpoint yet: the training begins anew at step 0"]


def test_changed_settings_are_refused(stopped: Path, tiny_source: reslab.ArraySource) -> None:
    text = (stopped / "run.yaml").read_text()
    (stopped / "run.yaml").write_text(text.replace("label_smoothing: 0.1", "label_smoothing: 0.2"))
    told = r"training.label_smoothing was 0.1 and is 0.2; put run.yaml back"
    with pytest.raises(UserError, match=f"were changed since .*: {told}"):
        reslab.resume(stopped, data=tiny_source)


def test_without_kernels_a_run_goes_on_with_torchs_where_that_is_asked_for(
    stopped: Path, tiny_source: reslab.ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (stopped / "run.yaml").read_text()
    if "kernels: reslab" not in text:
        pytest.skip("there are no kernels here")
    gone = Found(None, "there is no C++ compiler")
    monkeypatch.setattr("reslab.engine.runtime.find_kernels", lambda: gone)
    with pytest.raises(UserError, match=r"no C\+\+ compiler; install .*, set kernels: torch under"):
        reslab.resume(stopped, data=tiny_source)
    (stopped / "run.yaml").write_text(text.replace("kernels: reslab", "kernels: torch"))
    watch = StopsAt()
    run = reslab.resume(stopped, data=tiny_source, observers=[watch])
    assert [w[:43] for w in watch.warnings] == ["engine.kernels was reslab and is torch, so "]
    environment = json.loads((stopped / "environment.json").read_text())
    assert environment["kernels"]["level"].startswith("x86-64-v")
    assert [again["kernels"] for again in environment["resumed"]] == [None]
    assert run.spec.engine.kernels == "torch"


def test_how_checkpoints_are_kept_may_be_changed(
    whole: reslab.Run, stopped: Path, tiny_source: reslab.ArraySource
) -> None:
    text = (stopped / "run.yaml").read_text()
    assert "keep: 2" in text
    (stopped / "run.yaml").write_text(text.replace("keep: 2", "keep: 5"))
    assert equal(reslab.resume(stopped, data=tiny_source), whole)


def test_damaged_metrics_are_made_anew(
    whole: reslab.Run, stopped: Path, tiny_source: reslab.ArraySource
) -> None:
    (stopped / "metrics.json").write_text("{")
    run = reslab.resume(stopped, data=tiny_source)
    assert equal(run, whole)
    assert run.metrics["test"] == whole.metrics["test"]


def test_what_ended_it_before_is_told(stopped: Path, tiny_source: reslab.ArraySource) -> None:
    path = stopped / "metrics.json"
    metrics = json.loads(path.read_text()) | {"status": "failed", "reason": "as planned"}
    path.write_text(json.dumps(metrics))
    watch = StopsAt()
    reslab.resume(stopped, data=tiny_source, observers=[watch])
    (told,) = watch.warnings
    assert "will again unless the reason is gone" in told
    assert told.endswith("it ended with: as planned")


def test_the_first_epoch_is_soon_safe(stopped: Path) -> None:
    steps = [int(path.name.split("-")[1]) for path in (stopped / "checkpoint").iterdir()]
    assert sorted(steps) == [27, 40]


def test_a_limit_that_has_passed_is_told_and_the_rest_made(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    spec = reslab.recipe(training={"epochs": 2, "batch_size": 4, "time_limit": 60})
    with pytest.raises(Interrupted):
        reslab.train(spec, data=tiny_source, out=tmp_path / "run", observers=[StopsAt(40)])
    watch = StopsAt()
    began = time.perf_counter() - 1000
    run = reslab.resume(tmp_path / "run", data=tiny_source, observers=[watch], began=began)
    assert run.metrics["status"] == "finished"
    assert run.metrics["steps"] == 41
    assert run.metrics["beyond_limit_seconds"] > 900
    assert "the limit of time cannot be kept" in watch.warnings[0]
    assert "the limit of time was exceeded by" in watch.warnings[-1]
    page = (run.path / "report.html").read_text()
    assert "60 seconds, left 41 of 54 steps" in page
    assert "resumed 1 time." in page


def test_a_setting_that_is_added_later_is_no_change(
    stopped: Path,
    whole: reslab.Run,
    tiny_source: reslab.ArraySource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Checkpoints(stopped / "checkpoint")
    found, _ = store.load()
    assert found is not None
    # As a reslab that had no such setting would have written it.
    del found.facts["settings"]["training"]["non_finite"]
    store.save(found)
    assert equal(reslab.resume(stopped, data=tiny_source), whole)


def test_a_resumed_run_that_fails_says_so(stopped: Path, tiny_source: reslab.ArraySource) -> None:
    class Fails(NullObserver):
        def on_step(self, record: StepRecord) -> None:
            raise TrainingDiverged("as planned")

    assert reslab.load_run(stopped).metrics["status"] == "interrupted"
    with pytest.raises(TrainingDiverged):
        reslab.resume(stopped, data=tiny_source, observers=[Fails()])
    metrics = reslab.load_run(stopped).metrics
    assert (metrics["status"], metrics["reason"]) == ("failed", "as planned")


def test_times_of_a_resumed_epoch_are_of_all_of_it(
    stopped: Path, tiny_source: reslab.ArraySource
) -> None:
    found, _ = Checkpoints(stopped / "checkpoint").load()
    assert found is not None
    watch = found.facts["watch"]
    facts = {**found.facts, "watch": {**watch, "seconds": watch["seconds"] + 1000}}
    shutil.rmtree(stopped / "checkpoint")
    Checkpoints(stopped / "checkpoint").save(replace(found, facts=facts))
    run = reslab.resume(stopped, data=tiny_source)
    assert 1000 < run.history[1].seconds < 1100
    assert run.history[0].seconds < 900


def test_a_damaged_checkpoint_is_told_and_the_one_before_used(
    whole: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    spec = reslab.recipe(training={"epochs": 2, "batch_size": 4}, checkpoint={"every_seconds": 0})
    with pytest.raises(Interrupted):
        reslab.train(spec, data=tiny_source, out=tmp_path / "run", observers=[StopsAt(40)])
    newest = max((tmp_path / "run" / "checkpoint").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    watch = StopsAt()
    run = reslab.resume(tmp_path / "run", data=tiny_source, observers=[watch])
    assert len(watch.warnings) == 2
    assert f"{newest.name} is damaged" in watch.warnings[0]
    assert "of step 39" in watch.warnings[1]
    assert "warning: step-" in (run.path / "log.txt").read_text()
    assert equal(run, whole)


def test_a_finished_run_is_given_back(whole: reslab.Run) -> None:
    before = (whole.path / "weights" / "last.safetensors").stat().st_mtime_ns
    assert reslab.resume(whole.path).path == whole.path
    assert (whole.path / "weights" / "last.safetensors").stat().st_mtime_ns == before


def test_other_images_are_refused_and_nothing_is_lost(
    stopped: Path, tiny_source: reslab.ArraySource
) -> None:
    images = tiny_source.load_train()
    pixels = images.pixels_NCHW[:, 0].copy()
    pixels[0, 0, 0] ^= 1
    other = reslab.ArraySource(
        pixels, images.labels_N, pixels[:3], np.arange(3), classes=("dark", "grey", "bright")
    )
    before = sorted((p, p.stat().st_size) for p in stopped.rglob("*") if p.is_file())
    with pytest.raises(UserError, match=r"are not those that .* was trained on"):
        reslab.resume(stopped, data=other)
    assert sorted((p, p.stat().st_size) for p in stopped.rglob("*") if p.is_file()) == before


def test_another_environment_is_told(stopped: Path, tiny_source: reslab.ArraySource) -> None:
    path = stopped / "environment.json"
    document = json.loads(path.read_text())
    document["packages"]["torch"] = "1.0"
    features = document["machine"]["features"]
    features["avx512"] = not features["avx512"]
    path.write_text(json.dumps(document))
    watch = StopsAt()
    reslab.resume(stopped, data=tiny_source, observers=[watch])
    (text,) = watch.warnings
    assert "torch was 1.0 and is" in text
    assert "avx512 was" in text


def test_less_memory_than_the_run_was_made_for_is_warned_about(
    stopped: Path, tiny_source: reslab.ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reslab.workbench.resolve.free_memory", lambda device: 2**28)
    watching = StopsAt()
    reslab.resume(stopped, data=tiny_source, observers=[watching])
    assert any("may be killed for want of memory" in text for text in watching.warnings)


def test_a_device_that_is_not_there_is_told(stopped: Path, tiny_source: reslab.ArraySource) -> None:
    text = (stopped / "run.yaml").read_text().replace("device: cpu", "device: mps")
    (stopped / "run.yaml").write_text(text)
    with pytest.raises(UserError, match="no device mps"):
        reslab.resume(stopped, data=tiny_source)


def test_two_at_a_time_are_refused(stopped: Path, tiny_source: reslab.ArraySource) -> None:
    class Another(NullObserver):
        told = ""

        def on_step(self, record: StepRecord) -> None:
            if not self.told:
                before = sorted((p, p.stat().st_mtime_ns) for p in stopped.rglob("*"))
                with pytest.raises(UserError) as error:
                    reslab.resume(stopped, data=tiny_source)
                self.told = str(error.value)
                assert sorted((p, p.stat().st_mtime_ns) for p in stopped.rglob("*")) == before

    watch = Another()
    reslab.resume(stopped, data=tiny_source, observers=[watch])
    assert "is in use" in watch.told
