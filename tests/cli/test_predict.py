"""``reslab predict``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.cli.main import run


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
    assert run(["predict", str(trained.path), str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.split(": ")[0]).name for line in lines] == ["C.PNG", "a.jpg", "b.png"]


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
