"""The calibration that a folder holds, and whether it is of the weights there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reslab
from reslab.errors import UserError
from reslab.evaluation.selective import Target
from reslab.models.weights import weights_to_bytes
from reslab.workbench.calibrate import calibrate_run
from reslab.workbench.calibrated import calibration_for, read_calibration
from reslab.workbench.run import Use


@pytest.fixture
def own(trained: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path) -> reslab.Run:
    """A calibrated run whose best and last weights differ."""
    run = reslab.load_run(shutil.copytree(trained.path, tmp_path / "my run"))
    change(run, "last")
    calibrate_run(run, Target("coverage", 0.5), data=tiny_source)
    return run


def change(run: reslab.Run, use: Use) -> None:
    """Train the weights on, as it were."""
    model = run.model(use)
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    run.folder.weights(use).write_bytes(weights_to_bytes(model))


PIXELS = np.zeros((1, 8, 8), np.uint8)


def test_weights_that_changed_make_it_stale(own: reslab.Run) -> None:
    scaled = own.predict(PIXELS)
    change(own, "best")
    found = calibration_for(own.folder, "best")
    assert found.calibration is None
    assert "the best weights have changed" in found.warning
    assert f"`reslab calibrate '{own.path}'`" in found.warning
    with pytest.warns(UserWarning, match="have changed"):
        assert own.calibration is None
    with pytest.warns(UserWarning, match="have changed"):
        plain = own.predict(PIXELS)
    assert abs(plain - scaled).max() > 1e-3


def test_a_resumed_training_makes_it_stale_and_goes_on(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    spec = reslab.recipe("fast", training={"epochs": 2, "batch_size": 20})

    class Stop:
        def __getattr__(self, name: str) -> Any:
            def heard(*arguments: Any) -> None:
                if name == "on_epoch":
                    raise KeyboardInterrupt

            return heard

    with pytest.raises(reslab.Interrupted):
        reslab.train(spec, data=tiny_source, out=tmp_path / "run", observers=[Stop()])
    half = reslab.load_run(tmp_path / "run")
    calibrate_run(half, Target("coverage", 0.5), use="last", data=tiny_source)
    run = reslab.resume(tmp_path / "run", data=tiny_source)
    assert run.status == "finished"
    assert "weights that have changed since" in (run.path / "report.html").read_text()
    with pytest.warns(UserWarning, match="--use last"):
        assert run.calibration is None


def test_the_other_weights_are_not_scaled(own: reslab.Run) -> None:
    found = calibration_for(own.folder, "last")
    assert found.calibration is None
    assert "of the best weights and not of the last ones" in found.warning
    assert "--use last" in found.warning


def test_equal_weights_share_a_calibration(own: reslab.Run) -> None:
    shutil.copy(own.folder.weights("best"), own.folder.weights("last"))
    assert calibration_for(own.folder, "last").calibration == own.calibration is not None


def test_a_run_that_was_not_calibrated_has_none_and_no_warning(trained: reslab.Run) -> None:
    found = calibration_for(trained.folder, "best")
    assert (found.calibration, found.warning) == (None, "")
    assert trained.calibration is None


@pytest.mark.parametrize("text", ["", "not JSON", "[]", "{}", '{"format": 1}', '{"format": 2}'])
def test_damage_is_told_with_a_remedy(own: reslab.Run, text: str) -> None:
    (own.path / "calibration.json").write_text(text)
    with pytest.raises(UserError, match=r"calibration\.json .*; `reslab calibrate '.*'` writes"):
        read_calibration(own.folder)
    with pytest.raises(UserError):
        own.predict(PIXELS)


@pytest.mark.parametrize("name", ["temperature", "curve", "reliability", "target", "n"])
@pytest.mark.parametrize("value", [None, "x", [], {}, -1, float("nan")])
def test_no_value_brings_a_traceback(own: reslab.Run, name: str, value: object) -> None:
    document = own.folder.read_json("calibration.json")
    (own.path / "calibration.json").write_text(json.dumps({**document, name: value}))
    with pytest.raises(UserError, match="damaged"):
        read_calibration(own.folder)
