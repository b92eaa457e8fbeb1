from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import reslab
from reslab.errors import TrainingDiverged, UserError
from reslab.workbench.validation import check_validation, finite_logits


def test_a_run_without_validation_is_refused(
    tiny_source: reslab.ArraySource, trained: reslab.Run, tmp_path: Path
) -> None:
    check_validation(trained, "weighed", "validation images")
    spec = reslab.recipe(data={"validation": 0}, training={"epochs": 1, "batch_size": 20})
    run = reslab.train(spec, data=tiny_source, out=tmp_path / "run")
    with pytest.raises(UserError, match=r"cannot be weighed: expected images, received none, "):
        check_validation(run, "weighed", "images")


def test_logits_are_those_of_the_run_unless_they_are_not_finite(
    tiny_source: reslab.ArraySource, trained: reslab.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tiny_source.load_test()
    expected = trained.logits(images.pixels_NCHW, "last")
    np.testing.assert_array_equal(finite_logits(trained, images, "last"), expected)
    expected[0, 0] = np.nan
    monkeypatch.setattr(reslab.Run, "logits", lambda *_: expected)
    with pytest.raises(
        TrainingDiverged, match=r"the last weights of .* not finite; train it again"
    ):
        finite_logits(trained, images, "last")
