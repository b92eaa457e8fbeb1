"""Scoring a run: what is read, what is written down, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import reslab
from reslab.errors import UserError
from reslab.inference.session import Session
from reslab.workbench.evaluate import evaluate_run


@pytest.fixture
def own(trained: reslab.Run, tmp_path: Path) -> reslab.Run:
    return reslab.load_run(shutil.copytree(trained.path, tmp_path / "run"))


def test_test_split(own: reslab.Run, tiny_source: reslab.ArraySource) -> None:
    result = evaluate_run(own, uses=("best", "last"), source=tiny_source, opened_by="me")
    assert [s.use for s in result.scored] == ["best", "last"]
    assert result.scored[0].metrics.to_json() == own.metrics["test"]["best"]
    openings = own.folder.read_openings()
    assert [o["by"] for o in openings] == ["train", "me"]
    assert (openings[-1]["data"], openings[-1]["weights"]) == ("tiny", ["best", "last"])
    assert (openings[-1]["n"], openings[-1]["left_out"]) == (len(result.images), 0)


def test_validation_is_the_part_that_was_split_off(
    own: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    result = evaluate_run(own, split="val", uses=("last",), source=tiny_source)
    assert result.scored[0].metrics.top1 == own.history[-1].val_accuracy
    assert len(result.images) == own.spec.facts.val_images
    assert len(own.folder.read_openings()) == 1
    assert result.warnings == ()


def test_mirror_images_are_averaged_in_where_asked(
    own: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    plain, flipped = (
        evaluate_run(own, split="val", source=tiny_source, flip=flip).scored[0].logits_NK
        for flip in (None, True)
    )
    images_NCHW = evaluate_run(own, split="val", source=tiny_source).images.pixels_NCHW
    mirrored = own.logits(images_NCHW[..., ::-1].copy())
    np.testing.assert_allclose(flipped, (plain + mirrored) / 2, atol=1e-5)
    assert np.abs(flipped - plain).max() > 1e-3


def test_other_training_images_are_warned_about(
    own: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    train = tiny_source.load_train()
    other = reslab.ArraySource(
        255 - train.pixels_NCHW[:, 0], train.labels_N, classes=tiny_source.card.classes
    )
    (warning,) = evaluate_run(own, split="val", source=other).warnings
    assert "differ" in warning


@pytest.mark.parametrize("size", [9, 7])
def test_images_of_another_size(own: reslab.Run, size: int) -> None:
    images = np.zeros((3, size, size), np.uint8)
    other = reslab.ArraySource(images, [0, 1, 2], images, [0, 1, 2], classes=own.classes)
    with pytest.raises(UserError, match="do not fit"):
        evaluate_run(own, source=other)
    assert len(own.folder.read_openings()) == 1


def test_other_classes(own: reslab.Run) -> None:
    images = np.zeros((4, 8, 8), np.uint8)
    other = reslab.ArraySource(images, [0, 1, 2, 3], images, [0, 1, 2, 3])
    with pytest.raises(UserError, match="classes of arrays are not those of the run"):
        evaluate_run(own, source=other)


def test_an_engine_that_cannot_be_made_ready_opens_nothing(
    own: reslab.Run, tiny_source: reslab.ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr("reslab.inference.folded.Folded.prepare", fail)
    before = own.folder.read_openings()
    with pytest.raises(UserError, match="the engine folded could not be made ready"):
        evaluate_run(own, source=tiny_source, engine="folded")
    assert own.folder.read_openings() == before


def test_an_opening_that_cannot_be_written_is_refused(
    own: reslab.Run, tiny_source: reslab.ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reslab.runs.files.os.fsync", full)
    with pytest.raises(UserError, match="cannot be written"):
        evaluate_run(own, source=tiny_source)


def test_a_score_that_is_not_of_int8_alone_says_so(
    own: reslab.Run, tiny_source: reslab.ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = {"folded": 20, "openvino-int8": 40}

    class Mixed(Session):
        def outputs(self, pixels_NCHW: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            found_NK = super().outputs(pixels_NCHW)
            self.computed.clear()
            self.computed.update(shares)
            return found_NK

    monkeypatch.setattr("reslab.workbench.run.Session", Mixed)
    (warning,) = evaluate_run(own, split="val", source=tiny_source).warnings
    assert "of 40 images by openvino-int8 and 20 images by folded" in warning
    for pure in ({"openvino-int8": 60}, {"folded": 40, "eager": 20}):
        shares = pure
        assert evaluate_run(own, split="val", source=tiny_source).warnings == ()
