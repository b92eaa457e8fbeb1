"""Pictures and page from the folder alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import reslab
from reslab.errors import UserError
from reslab.evaluation.selective import Target
from reslab.workbench.calibrate import calibrate_run
from reslab.workbench.reporting import draw_run


@pytest.fixture
def own(trained: reslab.Run, tmp_path: Path) -> reslab.Run:
    return reslab.load_run(shutil.copytree(trained.path, tmp_path / "run"))


def test_the_worst_mistakes_are_those_made_surest(own: reslab.Run) -> None:
    with np.load(own.path / "mistakes.npz") as stored:
        probability = stored["probability"]
        assert (np.diff(probability) <= 0).all()
        assert (stored["true"] != stored["predicted"]).all()
        wrong = own.metrics["test"]["best"]["n"] * (1 - own.metrics["test"]["best"]["top1"])
        assert len(probability) == min(25, round(wrong))


def test_a_run_that_was_interrupted_has_a_page(own: reslab.Run) -> None:
    metrics = {"status": "interrupted", "epochs": 2, "best_epoch": 1}
    own.folder.write_json("metrics.json", metrics)
    (own.path / "confusion.png").unlink()
    draw_run(own)
    assert "interrupted" in (own.path / "report.html").read_text()
    assert not (own.path / "confusion.png").exists()


def test_a_run_without_epochs_has_nothing_to_report(own: reslab.Run) -> None:
    header = own.folder.read_text("history.csv").splitlines()[0]
    own.folder.write_text("history.csv", header + "\n")
    with pytest.raises(UserError, match="nothing to report"):
        draw_run(own)


def test_damaged_mistakes_are_told(own: reslab.Run) -> None:
    (own.path / "mistakes.npz").write_bytes(b"not an archive")
    with pytest.raises(UserError, match="damaged"):
        draw_run(own)
    (own.path / "mistakes.npz").write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        draw_run(own)


def test_an_opening_whose_line_was_cut_short_counts(own: reslab.Run) -> None:
    before = len(own.folder.read_openings())
    with (own.path / "openings.jsonl").open("a") as file:
        file.write('{"time": "2026-')
    own.folder.append_line("openings.jsonl", json.dumps({"by": "me"}))
    draw_run(own)
    openings = own.folder.read_openings()
    assert [o["by"] for o in openings[before:]] == ["unknown", "me"]


def test_many_openings_are_noted(own: reslab.Run) -> None:
    for text in ("{}", "{}", '{"by": "train"}'):  # the last: of a test that was interrupted
        own.folder.append_line("openings.jsonl", text)
    draw_run(own)
    assert "opened 3 times" in (own.path / "report.html").read_text()


def test_steps_that_came_to_nothing_are_noted(own: reslab.Run) -> None:
    own.folder.write_json("metrics.json", {**own.metrics, "left_out_steps": 3})
    draw_run(own)
    assert "3 steps came to nothing" in (own.path / "report.html").read_text()


def test_a_net_that_looks_at_mirror_images_is_told_and_predicts_with_them(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    spec = reslab.recipe(
        training={"epochs": 1, "batch_size": 20},
        data={"augment": {"flip": True}},
        evaluation={"flip": "auto"},
    )
    run = reslab.train(spec, data=tiny_source, out=tmp_path / "run")
    assert "averaged over each image and its mirror image" in run.folder.read_text("report.html")
    images_NCHW = tiny_source.load_train().pixels_NCHW[:4]
    mirrored_NCHW = images_NCHW[..., ::-1].copy()
    np.testing.assert_array_equal(run.probabilities(images_NCHW), run.probabilities(mirrored_NCHW))


def test_mirrored_digits_are_noted(tmp_path: Path) -> None:
    spec = reslab.recipe(
        data={"limit": 60, "validation": 20, "augment": {"flip": True}},
        training={"epochs": 1},
    )
    run = reslab.train(spec, out=tmp_path / "run")
    assert "mirrored" in (run.path / "report.html").read_text()


def test_a_calibration_is_drawn_from_the_folder_alone(
    own: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    calibrate_run(own, Target("coverage", 0.5), data=tiny_source)
    picture = (own.path / "confidence.png").read_bytes()
    (own.path / "confidence.png").unlink()
    draw_run(own)
    assert (own.path / "confidence.png").read_bytes() == picture
    page = (own.path / "report.html").read_text()
    assert "How sure it is" in page
    assert "changed since" not in page


def test_a_calibration_of_other_weights_is_noted_and_not_drawn(
    own: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    calibrate_run(own, Target("coverage", 0.5), data=tiny_source)
    (own.path / "confidence.png").unlink()
    with own.folder.weights("best").open("ab") as file:
        file.write(b"more")
    draw_run(own)
    assert not (own.path / "confidence.png").exists()
    page = (own.path / "report.html").read_text()
    assert "calibrated for weights that have changed since" in page
    assert "How sure it is" not in page
