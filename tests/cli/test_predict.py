"""``reslab predict``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.cli.main import run
from reslab.evaluation.selective import Target
from reslab.models.weights import weights_to_bytes
from reslab.workbench.calibrate import calibrate_run
from tests.contract.complaints import complaint


def write(path: Path, brightness: int, size: int = 8) -> Path:
    Image.fromarray(np.full((size, size), brightness, np.uint8)).save(path)
    return path


def test_json(trained: reslab.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [write(tmp_path / f"{i}.png", 40 + 80 * i) for i in range(3)]
    assert run(["predict", str(trained.path), *map(str, images), "--json", "--top", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [d["image"] for d in document["images"]] == [str(i) for i in images]
    for entry in document["images"]:
        first, second = entry["predictions"]
        assert first["probability"] >= second["probability"]
        assert set(first) == {"class", "probability"}
        assert first["class"] in trained.classes


def test_agrees_with_the_python_call(
    trained: reslab.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write(tmp_path / "grey.png", 120, size=32)
    assert run(["predict", str(trained.path), str(image), "--json"]) == 0
    predictions = json.loads(capsys.readouterr().out)["images"][0]["predictions"]
    row = trained.predict([image])[0]
    assert {p["class"]: p["probability"] for p in predictions} == dict(
        zip(trained.classes, row.tolist(), strict=True)
    )
    assert sum(p["probability"] for p in predictions) == pytest.approx(1)


def test_a_folder_is_its_images_in_order(
    trained: reslab.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b.png", "a.jpg", "C.PNG"):
        write(tmp_path / name, 100)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("deep/er/d.png", "deep/._d.png"):
        write(tmp_path / name, 100)
    assert run(["predict", str(trained.path), str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [Path(line.split(": ")[0]).name for line in lines]
    assert names == ["C.PNG", "a.jpg", "b.png", "d.png"]


def test_a_run_is_no_folder_of_images(
    trained: reslab.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(trained.path), str(trained.path)]) == 2
    assert "is a run, not a folder of images" in capsys.readouterr().err


def test_one_bad_image_does_not_hide_the_others(
    trained: reslab.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good.png", 100)
    bad = tmp_path / "bad.png"
    bad.write_text("text")
    assert run(["predict", str(trained.path), str(bad), str(good), "--json"]) == 2
    captured = capsys.readouterr()
    first, second = json.loads(captured.out)["images"]
    assert "error" in first and "predictions" not in first
    assert "predictions" in second
    assert "bad.png" in captured.err


# --- a calibrated run ----------------------------------------------------------------------


@pytest.fixture
def calibrated(trained: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path) -> reslab.Run:
    own = reslab.load_run(shutil.copytree(trained.path, tmp_path / "calibrated"))
    calibrate_run(own, Target("coverage", 0.5), data=tiny_source)
    return own


def classify(
    capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[dict[str, object], str]:
    capsys.readouterr()
    assert run(["predict", *map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{b}.png", b) for b in range(5, 256, 25)]


def test_scaled_probabilities_keep_the_order(
    calibrated: reslab.Run,
    trained: reslab.Run,
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, _ = classify(capsys, trained.path, *pictures)
    scaled, said = classify(capsys, calibrated.path, *pictures)
    assert said == ""
    assert (plain["temperature"], plain["threshold"]) == (1.0, None)
    assert scaled["temperature"] == calibrated.calibration.temperature
    rows = calibrated.predict(pictures)
    for before, after, row in zip(plain["images"], scaled["images"], rows, strict=True):
        names = [[p["class"] for p in entry["predictions"]] for entry in (before, after)]
        assert names[0] == names[1]
        assert after["predictions"][0]["probability"] == row.max()
        assert row.max() != before["predictions"][0]["probability"]
        assert "known" not in after


def test_auto_is_the_threshold_that_was_chosen(
    calibrated: reslab.Run, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    document, _ = classify(capsys, calibrated.path, *pictures, "--threshold", "auto")
    threshold = calibrated.calibration.threshold
    assert document["threshold"] == threshold > 0
    known = [entry["known"] for entry in document["images"]]
    assert known == (calibrated.predict(pictures).max(axis=1) >= threshold).tolist()
    assert set(known) == {True, False}


def test_what_is_not_known_is_said_before_the_best_guess(
    trained: reslab.Run, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    top = trained.predict(pictures).max(axis=1)
    # The surest is known at exactly its own probability, and nothing above it.
    least = repr(float(top.max()))
    assert run(["predict", str(trained.path), *map(str, pictures), "--threshold", least]) == 0
    lines = capsys.readouterr().out.splitlines()
    doubted = ["don't know, best guess " in line for line in lines]
    assert doubted == (top < top.max()).tolist()
    assert 0 < sum(doubted) < len(lines)
    guess = trained.classes[trained.predict(pictures[:1]).argmax()]
    assert doubted[0] and f"don't know, best guess {guess} " in lines[0]


@pytest.mark.parametrize("value", ["-0.1", "1.5", "nan", "sure", ""])
def test_thresholds_out_of_range(
    trained: reslab.Run, pictures: list[Path], capsys: pytest.CaptureFixture[str], value: str
) -> None:
    said = complaint(
        capsys, pictures[0].parent, "predict", trained.path, pictures[0], "--threshold", value
    )
    assert "--threshold cannot be used: expected a number 0 to 1" in said


def test_auto_needs_a_calibration(
    trained: reslab.Run, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(
        capsys, pictures[0].parent, "predict", trained.path, pictures[0], "--threshold", "auto"
    )
    assert "choose one with `reslab calibrate" in said


def test_weights_that_changed_are_warned_about_once_and_not_scaled(
    calibrated: reslab.Run, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = calibrated.model()
    next(model.parameters()).data.mul_(1.01)
    calibrated.folder.weights("best").write_bytes(weights_to_bytes(model))
    document, said = classify(capsys, calibrated.path, *pictures)
    assert said.count("reslab: warning: ") == said.count("have changed") == 1
    assert "`reslab calibrate " in said
    assert document["temperature"] == 1.0
    arguments = ("predict", calibrated.path, pictures[0], "--threshold", "auto")
    assert run([*map(str, arguments)]) == 2


# --- engines -------------------------------------------------------------------------------


def test_the_engine_is_named_and_asked_for(
    trained: reslab.Run, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plain, _ = classify(capsys, trained.path, *pictures)
    assert plain["engine"] == "eager"  # too few images for anything else
    folded, said = classify(capsys, trained.path, *pictures, "--engine", "folded")
    assert (folded["engine"], said) == ("folded", "")
    for one, other in zip(plain["images"], folded["images"], strict=True):
        first = {p["class"]: p["probability"] for p in one["predictions"]}
        second = {p["class"]: p["probability"] for p in other["predictions"]}
        assert first == pytest.approx(second, abs=1e-5)


def test_many_images_in_several_parts_are_one_work(
    trained: reslab.Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reslab.cli.predict.AT_ONCE", 7)
    images = [write(tmp_path / f"{i:02}.png", 5 * i) for i in range(40)]
    document, _ = classify(capsys, trained.path, tmp_path)
    # Seven alone would have been left to the net itself.
    assert document["engine"] == "folded"
    rows = trained.predict(images, engine="eager")
    for entry, row in zip(document["images"], rows, strict=True):
        assert entry["predictions"][0]["probability"] == pytest.approx(row.max(), abs=1e-5)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_the_nearest_engine_is_named(
    trained: reslab.Run,
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    images = pictures[:1] if command == "predict" else []
    said = complaint(capsys, trained.path, command, trained.path, *images, "--engine", "opnvino")
    assert "unknown engine 'opnvino'; did you mean 'openvino'" in said


def test_an_engine_that_fails_is_told_in_a_sentence(
    trained: reslab.Run,
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operator\n\nSet VERBOSE=1 for more")

    monkeypatch.setattr("reslab.inference.folded.Folded.prepare", fail)
    said = complaint(
        capsys, trained.path, "predict", trained.path, pictures[0], "--engine", "folded"
    )
    assert said == (
        "reslab: the engine folded could not be made ready: received no such operator; let "
        "--engine auto choose another\n"
    )


def test_an_engine_that_is_not_installed_is_told_with_the_remedy(
    trained: reslab.Run,
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    said = complaint(
        capsys, trained.path, "predict", trained.path, pictures[0], "--engine", "openvino"
    )
    assert "the engine openvino cannot be used: openvino is not installed" in said
    assert "pip install 'reslab[export]'" in said
