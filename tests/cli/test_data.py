"""``reslab data``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from reslab.catalog.datasets import DATASETS
from reslab.cli.main import run
from reslab.evaluation.tiles import samples
from tests.workbench.test_sources import shade


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["datasets"]
    assert [row["name"] for row in rows] == [card.name for card in DATASETS]
    assert run(["data", "list"]) == 0
    assert "fashion-mnist" in capsys.readouterr().out


def test_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, augmented = tmp_path / "plain.png", tmp_path / "augmented.png"
    assert run(["data", "preview", "digits", "--out", str(plain)]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(plain)
    assert told.err == "25 of 1,293 training images, as the net sees them: 8 x 8 pixels, grey\n"
    assert run(["data", "preview", "digits", "--out", str(augmented), "--seed", "1"]) == 0
    with Image.open(plain) as picture:
        assert min(picture.size) > 200
    assert plain.read_bytes() != augmented.read_bytes()


def test_preview_shows_what_training_with_the_same_options_would_see(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shade(tmp_path / "shades", 6)
    (tmp_path / "list.txt").write_text("bright/00.png\nbright/01.png\n")
    seen = []

    def keep(pixels_NCHW: npt.NDArray[np.uint8], *rest: object) -> Figure:
        seen.append(pixels_NCHW)
        return samples(pixels_NCHW, *rest)

    monkeypatch.setattr("reslab.workbench.preview.samples", keep)
    command = ["data", "preview", str(tmp_path / "shades"), "--out", str(tmp_path / "x.png")]
    assert run(command) == 0
    options = ["--exclude", str(tmp_path / "list.txt"), "--image-size", "20", "--fit", "pad"]
    for background in ("white", "black"):
        assert run([*command, *options, "--background", background]) == 0
    capsys.readouterr()
    assert run([*command, *options[:4], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["train_images"]) == (6, 6)
    assert (told["image_size"], told["channels"]) == (20, 3)
    plain, white, black, crop = seen
    # One of each class is for the test and one for validation, of 12 pictures or of 10.
    assert len(plain) == 8
    assert white.shape == black.shape == crop.shape == (6, 3, 20, 20)
    assert (white == 255).any() and not (black == 255).any()
    assert not np.array_equal(white, crop)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["digits", "--image-size", "20"], "--image-size has no meaning for digits"),
        (["digits", "--fit", "cut"], "--fit cannot be used"),
        (["digits", "--image-size", "0"], "--image-size cannot"),
        (["mnist", "--seed", "x"], "--seed cannot be used"),
    ],
)
def test_mistakes_of_a_preview(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert run(["data", "preview", *arguments, "--out", str(tmp_path / "x.png")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
