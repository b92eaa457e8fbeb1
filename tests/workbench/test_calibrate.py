"""Calibrating a run: what is read, what is kept, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import reslab
from reslab.data.source import Images
from reslab.errors import TrainingDiverged, UserError
from reslab.evaluation.calibration import fit_temperature, to_probabilities
from reslab.evaluation.selective import Target
from reslab.models.weights import weights_to_bytes
from reslab.runs.files import locked
from reslab.workbench.calibrate import calibrate_run
from reslab.workbench.evaluate import evaluate_run
from tests.contract.complaints import snapshot

HALF = Target("coverage", 0.5)


@pytest.fixture
def own(trained: reslab.Run, tmp_path: Path) -> reslab.Run:
    return reslab.load_run(shutil.copytree(trained.path, tmp_path / "run"))


class Closed:
    """A data set whose test split must not be opened."""

    def __init__(self, source: reslab.ArraySource) -> None:
        self.card, self.load_train = source.card, source.load_train

    def load_test(self) -> Images:
        raise AssertionError("the test split was opened")


def test_only_validation_images_are_read_and_two_files_added(
    own: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    before = snapshot(own.path)
    calibration = calibrate_run(own, HALF, data=Closed(tiny_source))
    after = snapshot(own.path)
    assert after.keys() - before.keys() == {"calibration.json", "confidence.png"}
    # The page tells of it; the pictures on it are those that were there.
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"report.html"}
    assert calibration.n == own.spec.facts.val_images
    assert own.calibration == calibration


def test_the_temperature_is_that_of_the_validation_logits(
    own: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    calibration = calibrate_run(own, HALF, use="last", data=tiny_source)
    scored = evaluate_run(own, split="val", uses=("last",), source=tiny_source)
    logits_NK, labels_N = scored.scored[0].logits_NK, scored.images.labels_N
    assert calibration.temperature == fit_temperature(logits_NK, labels_N)
    assert calibration.before.nll == pytest.approx(scored.scored[0].metrics.loss)
    assert calibration.weights == "last"


def test_calibrating_again_replaces(own: reslab.Run, tiny_source: reslab.ArraySource) -> None:
    calibrate_run(own, HALF, data=tiny_source)
    (own.path / "calibration.json").write_text("damaged")
    again = calibrate_run(own, Target("coverage", 1.0), data=tiny_source)
    assert own.calibration == again
    assert (again.threshold, again.chosen.coverage) == (0, 1)
    assert [p.name for p in own.path.glob("calibration*")] == ["calibration.json"]


def test_the_same_run_gives_the_same_bytes(
    own: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    calibrate_run(own, HALF, data=tiny_source)
    first = snapshot(own.path)
    calibrate_run(own, HALF, data=tiny_source)
    assert snapshot(own.path) == first


def test_a_run_that_was_interrupted_can_be_calibrated(
    own: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    (own.path / "metrics.json").write_text('{"status": "interrupted"}')
    assert calibrate_run(own, HALF, data=tiny_source).chosen.accepted > 0


def refused(own: reslab.Run, source: reslab.ArraySource, target: Target = HALF) -> str:
    before = snapshot(own.path)
    with pytest.raises(UserError) as caught:
        calibrate_run(own, target, data=source)
    assert snapshot(own.path) == before
    return str(caught.value)


def test_a_run_without_weights(own: reslab.Run, tiny_source: reslab.ArraySource) -> None:
    own.folder.weights("best").unlink()
    assert "best.safetensors" in refused(own, tiny_source)


def test_a_run_without_validation(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    spec = reslab.recipe(training={"epochs": 1}, data={"validation": 0})
    own = reslab.train(spec, data=tiny_source, out=tmp_path / "run")
    assert "expected validation images, received none" in refused(own, tiny_source)


def test_a_run_in_training(own: reslab.Run, tiny_source: reslab.ArraySource) -> None:
    with locked(own.path):
        assert "is in use" in refused(own, tiny_source)


def test_other_training_images(own: reslab.Run, tiny_source: reslab.ArraySource) -> None:
    train = tiny_source.load_train()
    classes = tiny_source.card.classes
    other = reslab.ArraySource(255 - train.pixels_NCHW[:, 0], train.labels_N, classes=classes)
    assert "are not those that" in refused(own, other)


def spoil_classifier(own: reslab.Run, change: float) -> None:
    """Add a number to one weight of the best weights' classifier."""
    model = own.model()
    with torch.no_grad():
        list(model.parameters())[-1][0] += change
    own.folder.weights("best").write_bytes(weights_to_bytes(model))


def test_an_accuracy_out_of_reach(own: reslab.Run, tiny_source: reslab.ArraySource) -> None:
    spoil_classifier(own, 1000.0)  # always the first class, at full confidence
    text = refused(own, tiny_source, Target("accuracy", 0.9))
    share = (evaluate_run(own, split="val", source=tiny_source).scored[0]).metrics.top1
    assert f"at most {share:.4f}" in text


def test_logits_that_are_no_numbers(own: reslab.Run, tiny_source: reslab.ArraySource) -> None:
    spoil_classifier(own, float("nan"))
    before = snapshot(own.path)
    with pytest.raises(TrainingDiverged, match="not finite"):
        calibrate_run(own, HALF, data=tiny_source)
    assert snapshot(own.path) == before


def test_a_calibrated_run_predicts_scaled_probabilities_of_the_same_classes(
    own: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    pixels = tiny_source.load_test().pixels_NCHW[:, 0]
    plain = own.predict(pixels)
    calibration = calibrate_run(own, HALF, data=tiny_source)
    moved = reslab.load_run(shutil.move(own.path, tmp_path / "elsewhere"))
    scaled = moved.predict(pixels, engine="eager")
    assert moved.calibration == calibration
    logits_NK = moved.logits(pixels[:, None])
    assert abs(calibration.temperature - 1) > 1e-3
    np.testing.assert_array_equal(scaled, to_probabilities(logits_NK, calibration.temperature))
    np.testing.assert_array_equal(np.argsort(scaled), np.argsort(plain))
    assert (scaled != plain).any()
    # Nothing in it tells where it was made.
    assert str(tmp_path) not in json.dumps(moved.folder.read_json("calibration.json"))
