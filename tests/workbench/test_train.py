"""The main job: what the run folder holds, and what it promises."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import reslab
from reslab import writing
from reslab.data.source import Images
from reslab.engine.runtime import Runtime
from reslab.errors import Interrupted, StorageError, TrainingDiverged, UserError
from reslab.runs.history import EpochRecord
from reslab.training.observers import NullObserver, StepRecord

SHORT = reslab.recipe(training={"epochs": 2, "batch_size": 20})


def test_the_folder_is_complete(trained: reslab.Run) -> None:
    found = {str(p.relative_to(trained.path)) for p in trained.path.rglob("*") if p.is_file()}
    (checkpoint,) = trained.folder.checkpoints.iterdir()
    assert checkpoint.name.startswith(f"step-{trained.spec.total_steps:09}-")
    assert found == {
        f"checkpoint/{checkpoint.name}",
        "run.yaml",
        "environment.json",
        "history.csv",
        "metrics.json",
        "log.txt",
        "openings.jsonl",
        "weights/best.safetensors",
        "weights/last.safetensors",
        "curves.png",
        "confusion.png",
        "mistakes.png",
        "mistakes.npz",
        "report.html",
    }


def test_metrics_tell_both_weights_and_the_opening(trained: reslab.Run) -> None:
    metrics = trained.metrics
    assert metrics["status"] == "finished"
    assert set(metrics["test"]) == {"best", "last"}
    assert [o["by"] for o in trained.folder.read_openings()] == ["train"]
    assert metrics["steps"] == trained.spec.total_steps
    assert metrics["epochs"] == len(trained.history) == 2


def test_no_path_of_this_machine_is_needed(trained: reslab.Run) -> None:
    for name in ("run.yaml", "metrics.json", "history.csv"):
        assert str(trained.path.parent) not in (trained.path / name).read_text()


def test_the_same_seed_gives_equal_weights(
    tiny_source: reslab.ArraySource, trained: reslab.Run, tmp_path: Path
) -> None:
    again = reslab.train(SHORT, data=tiny_source, out=tmp_path / "again")
    other = reslab.train(
        reslab.recipe(training={"epochs": 2, "batch_size": 20}, seeds={"base": 1}),
        data=tiny_source,
        out=tmp_path / "other",
    )
    for use in ("best", "last"):
        mine, theirs = trained.folder.weights(use), again.folder.weights(use)
        assert mine.read_bytes() == theirs.read_bytes()
    assert trained.folder.weights("last").read_bytes() != other.folder.weights("last").read_bytes()


def test_torch_keeps_its_own_random_state(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    reslab.train(SHORT, data=tiny_source, out=tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


def test_training_never_sees_the_test_split(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    events: list[str] = []

    class Watched:
        card = tiny_source.card
        load_train = staticmethod(tiny_source.load_train)

        def load_test(self) -> object:
            events.append("test")
            return tiny_source.load_test()

    class Watcher(NullObserver):
        def on_epoch(self, record: EpochRecord, model: nn.Module, is_best: bool) -> None:
            events.append("epoch")

    reslab.train(SHORT, data=Watched(), out=tmp_path / "run", observers=[Watcher()])
    assert events == ["epoch", "epoch", "test"]


def test_without_validation_best_is_last(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    spec = reslab.recipe(training={"epochs": 2, "batch_size": 20}, data={"validation": 0})
    run = reslab.train(spec, data=tiny_source, out=tmp_path / "run")
    best, last = (run.folder.weights(use).read_bytes() for use in ("best", "last"))
    assert best == last
    assert run.metrics["best_epoch"] == 2
    assert run.history[0].val_accuracy is None
    assert "without validation" in (run.path / "report.html").read_text()


def test_divergence_is_told_and_kept(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    spec = reslab.recipe(
        training={"epochs": 2, "lr": 1e30, "optimizer": "sgd", "schedule": {"kind": "constant"}}
    )
    with pytest.raises(TrainingDiverged, match="loss became"):
        reslab.train(spec, data=tiny_source, out=tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["status"] == "failed"
    assert "loss became" in (tmp_path / "run" / "log.txt").read_text()


def test_a_net_broken_by_the_very_last_update_is_told(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    spec = reslab.recipe(training={"epochs": 1, "batch_size": 108, "lr": 1e38, "optimizer": "sgd"})
    with pytest.raises(TrainingDiverged, match="validation loss became nan"):
        reslab.train(spec, data=tiny_source, out=tmp_path / "run")


def test_without_validation_the_test_tells_a_broken_net(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    spec = reslab.recipe(
        training={"epochs": 1, "batch_size": 120, "lr": 1e38, "optimizer": "sgd"},
        data={"validation": 0},
    )
    with pytest.raises(TrainingDiverged, match="give a loss of nan"):
        reslab.train(spec, data=tiny_source, out=tmp_path / "run")
    assert reslab.load_run(tmp_path / "run").metrics["status"] == "failed"


def test_a_data_set_without_test_images_is_trained_and_reported(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    source = reslab.ArraySource(images, np.arange(60) % 2)
    run = reslab.train(SHORT, data=source, out=tmp_path / "run")
    assert run.metrics["status"] == "finished"
    assert "test" not in run.metrics
    assert run.folder.read_openings() == []
    assert "It was not tested." in (run.path / "report.html").read_text()


def test_a_data_set_by_name(tmp_path: Path) -> None:
    spec = reslab.recipe(training={"epochs": 1}, data={"limit": 60, "validation": 20})
    assert reslab.train(spec, data="digits", out=tmp_path / "run").spec.data.name == "digits"


def test_labels_beyond_the_classes_are_told_before_anything_is_written(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    class Wrong:
        card = tiny_source.card
        load_test = staticmethod(tiny_source.load_test)

        def load_train(self) -> Images:
            images = tiny_source.load_train()
            return Images(images.pixels_NCHW, images.labels_N + 1)

    with pytest.raises(UserError, match="labels 0 to 2, received labels 1 to 3"):
        reslab.train(SHORT, data=Wrong(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("out", [None, "mine"])
def test_a_limit_too_short_for_a_step_is_told_before_anything_is_written(
    tiny_source: reslab.ArraySource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    out: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = reslab.recipe(training={"time_limit": 0.5})
    with pytest.raises(UserError) as caught:
        reslab.train(spec, data=tiny_source, out=out)
    # Test and report alone are taken to need three seconds.
    found = re.search(r"is too short: expected at least (\d+) seconds", str(caught.value))
    assert found is not None
    assert 3 < int(found[1]) < 60
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_in_mid_run_is_told_with_the_way_on(
    tiny_source: reslab.ArraySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = writing.write_parts, []

    def fail(path: Path, *arguments: object) -> None:
        if path.name.startswith("step-"):
            written.append(path)
            if len(written) > 1:
                raise writing.cannot_write(path, OSError(28, "No space left on device"))
        write(path, *arguments)

    monkeypatch.setattr("reslab.runs.checkpoint.write_parts", fail)
    with pytest.raises(StorageError) as caught:
        reslab.train(SHORT, data=tiny_source, out=tmp_path / "my run")
    told = str(caught.value)
    assert "after step 10: received no space left on device; that of 5 is kept" in told
    assert f"--resume '{tmp_path}/my run'`" in told
    assert reslab.load_run(tmp_path / "my run").metrics["status"] == "failed"


def test_steps_that_were_left_out_are_counted_where_training_fails(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    spec = reslab.recipe(
        training={
            "lr": 1e30,
            "optimizer": "sgd",
            "schedule": {"kind": "constant"},
            "non_finite": "skip",
        }
    )
    with pytest.raises(TrainingDiverged):
        reslab.train(spec, data=tiny_source, out=tmp_path / "run")
    assert reslab.load_run(tmp_path / "run").metrics["left_out_steps"] > 0


def test_what_is_no_specification_is_told() -> None:
    with pytest.raises(UserError, match="expected a RunSpec"):
        reslab.train({"training": {}})


def test_threads_are_put_back(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    spec = reslab.recipe(training={"epochs": 1}, engine={"threads": 1})
    reslab.train(spec, data=tiny_source, out=tmp_path / "run").predict(np.zeros((1, 8, 8), "u1"))
    assert torch.get_num_threads() == before


def test_ctrl_c_in_the_ending_leaves_word(
    tiny_source: reslab.ArraySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reslab.workbench.train.store_evaluation", twice)
    with pytest.raises(Interrupted, match="go on with"):
        reslab.train(SHORT, data=tiny_source, out=tmp_path / "run")
    metrics = reslab.load_run(tmp_path / "run").metrics
    assert (metrics["status"], metrics["epochs"]) == ("interrupted", 2)


def test_a_taken_folder_is_refused_before_the_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    spec = reslab.recipe(data={"name": "mnist", "root": str(tmp_path / "nowhere")})
    with pytest.raises(UserError, match="is not empty"):
        reslab.train(spec, out=tmp_path)


def test_an_empty_folder_is_taken(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    assert reslab.train(SHORT, data=tiny_source, out=tmp_path).path == tmp_path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_a_run_that_can_be_used(
    tiny_source: reslab.ArraySource, tmp_path: Path, number: signal.Signals
) -> None:
    class Presses(NullObserver):
        def on_step(self, record: StepRecord) -> None:
            if record.step == 30:
                signal.raise_signal(number)

    # 27 steps an epoch, so that the signal comes in the middle of the second.
    spec = reslab.recipe(training={"epochs": 2, "batch_size": 4})
    with pytest.raises(Interrupted, match="interrupted at step 30; go on with"):
        reslab.train(spec, data=tiny_source, out=tmp_path / "run", observers=[Presses()])
    run = reslab.load_run(tmp_path / "run")
    assert run.metrics["status"] == "interrupted"
    assert len(run.history) == 1
    probabilities = run.predict(np.zeros((2, 8, 8), np.uint8), use="last")
    assert probabilities.shape == (2, 3)
    assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)


def test_ctrl_c_from_outside(tmp_path: Path) -> None:
    """A real process, a real signal: code 130, weights and history there, evaluation works."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "reslab"]
    process = subprocess.Popen(
        [*command, "train", "--epochs", "10000", "--out", str(out)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (out / "weights" / "best.safetensors").exists():
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert str(out) in errors
    done = subprocess.run(
        [*command, "evaluate", str(out), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 360


@pytest.mark.slow
@pytest.mark.parametrize(("data", "aim"), [("fashion-mnist", 0.93), ("mnist", 0.994)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_fast_recipe_reaches_its_aim(
    real_data: Path, tmp_path: Path, data: str, aim: float, seed: int
) -> None:
    spec = reslab.recipe(data={"name": data, "root": str(real_data)}, seeds={"base": seed})
    run = reslab.train(spec, out=tmp_path / "run")
    assert run.spec.training.epochs <= 8
    assert run.metrics["test"]["last"]["top1"] >= aim


def test_that_memory_was_short_stands_in_the_run(
    tiny_source: reslab.ArraySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Runtime.place_images
    largest = 4

    def fail(runtime: Runtime, images_NCHW: torch.Tensor) -> torch.Tensor:
        if len(images_NCHW) > largest and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return place(runtime, images_NCHW)

    monkeypatch.setattr(Runtime, "place_images", fail)
    spec = reslab.recipe(model={"name": "resnet18"}, training={"epochs": 1, "batch_size": 16})
    run = reslab.train(spec, data=tiny_source, out=tmp_path / "run")
    assert run.metrics["cuts"] == [{"step": 1, "parts": 2}, {"step": 1, "parts": 4}]
    told = "from step 1 on batches are computed in 4 parts"
    assert told in (run.path / "log.txt").read_text()
    assert told in (run.path / "report.html").read_text()

    # resnet18 leaves one value a channel of images this small, so that two are the fewest.
    largest = 1
    with pytest.raises(UserError, match="2 of its 16 images at a time"):
        reslab.train(spec, data=tiny_source, out=tmp_path / "other")
