"""TensorBoard, read back as TensorBoard reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.util import tensor_util

import reslab
from reslab.errors import Interrupted
from reslab.tracking.tensorboard import TensorBoard
from reslab.tracking.tracker import Tracker
from tests.tracking.conftest import LOOKS, SPEC, At, ctrl_c, train_until_killed

FULL = Path("/dev/full")


def read(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run / "tensorboard")).Reload()


def steps(events: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in events.Scalars(tag)]


def statuses(events: EventAccumulator) -> list[bytes]:
    return [
        tensor_util.make_ndarray(event.tensor_proto).item() for event in events.Tensors("status")
    ]


def test_all_is_there(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    tracker = reslab.tracker("tensorboard")
    run = reslab.train(SPEC, data=tiny_source, out=tmp_path / "run", observers=[tracker])
    events = read(run.path)
    for tag in ("step/loss", "step/learning_rate", "step/images_per_second"):
        assert steps(events, tag) == LOOKS
    for tag in ("epoch", "train/loss", "train/accuracy", "val/loss", "val/accuracy"):
        assert steps(events, tag) == [27, 54]
    losses = [event.value for event in events.Scalars("val/loss")]
    assert losses == pytest.approx([record.val_loss for record in run.history])
    (accuracy,) = events.Scalars("test/best_top1")
    assert accuracy.value == pytest.approx(run.metrics["test"]["best"]["top1"])
    (best,) = events.Scalars("best_epoch")
    assert best.value == run.metrics["best_epoch"]
    for name in ("curves", "confusion"):
        (image,) = events.Images(name)
        assert image.encoded_image_string == (run.path / f"{name}.png").read_bytes()
    assert statuses(events) == [b"finished"]
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings["training.batch_size"].number_value == 4
    assert settings["training.schedule.kind"].string_value == run.spec.training.schedule.kind
    content = events.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
    assert metadata.parse_session_end_info_plugin_data(content).status == 1  # success


def test_an_interrupted_run_goes_on(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    out = tmp_path / "run"
    observers = [reslab.tracker("tensorboard"), At(40, ctrl_c)]
    with pytest.raises(Interrupted):
        reslab.train(SPEC, data=tiny_source, out=out, observers=observers)
    events = read(out)
    assert steps(events, "step/loss") == [1, 10, 20, 27, 30, 40]
    assert statuses(events)[0].startswith(b"interrupted: interrupted at step 40")
    assert metadata.SESSION_END_INFO_TAG not in events.Tags()["tensors"]
    moved = out.rename(tmp_path / "moved")
    reslab.resume(moved, data=tiny_source, observers=[reslab.tracker("tensorboard")])
    events = read(moved)
    assert steps(events, "step/loss") == LOOKS
    assert steps(events, "val/loss") == [27, 54]
    assert statuses(events)[-1] == b"finished"
    assert metadata.SESSION_END_INFO_TAG in events.Tags()["tensors"]


def test_steps_of_a_killed_run_are_not_there_twice(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    train_until_killed(tiny_source, out, reslab.tracker("tensorboard"))
    assert steps(read(out), "step/loss") == [1, 10, 20, 27, 30, 40]
    reslab.resume(out, data=tiny_source, observers=[reslab.tracker("tensorboard")])
    assert steps(read(out), "step/loss") == LOOKS
    assert steps(read(out), "epoch") == [27, 54]


def test_one_that_was_killed_before_its_first_checkpoint_begins_anew(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    train_until_killed(tiny_source, out, reslab.tracker("tensorboard"))
    for path in (out / "checkpoint").iterdir():
        path.unlink()
    reslab.resume(out, data=tiny_source, observers=[reslab.tracker("tensorboard")])
    assert steps(read(out), "step/loss") == LOOKS
    assert steps(read(out), "epoch") == [27, 54]


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_a_full_disk_does_not_end_the_training(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    sink = TensorBoard()

    def fill() -> None:
        sink._file.close()
        sink._file = FULL.open("wb", buffering=0)

    watch = At(10, fill)
    run = reslab.train(
        SPEC,
        data=tiny_source,
        out=tmp_path / "run",
        observers=[watch, Tracker("tensorboard", sink)],
    )
    assert run.metrics["status"] == "finished"
    (told,) = (text for text in watch.warnings if "tensorboard" in text)
    assert "No space left on device" in told
    assert steps(read(run.path), "step/loss") == [1]
