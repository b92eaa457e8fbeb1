"""Pictures that have no slot, and what became of them since; the rest is in test_ingest."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.data.pictures.ingest import ingest
from reslab.data.pictures.picture_pixels import PicturePixels
from reslab.data.pictures.preprocess import Fit
from reslab.data.pictures.stores import Files


@pytest.fixture
def pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PicturePixels:
    """Two pictures, of which the second has no slot."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (4, 4), colour).save(tmp_path / name)
    fit = Fit(channels=3, size=4, background="white")
    return ingest(Files(tmp_path), ["a.png", "b.png"], fit, room=48, workers=1).pixels_NCHW


def test_how_many_have_no_slot(pixels: PicturePixels) -> None:
    assert pixels.homeless == 1
    assert pixels.choose(np.array([0])).homeless == 0


def test_one_that_vanished_is_an_empty_square_and_told_once(
    pixels: PicturePixels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "b.png").unlink()
    with caplog.at_level(logging.WARNING, "reslab"):
        for _ in range(2):
            found = pixels[np.array([1, 0])]
    assert (found[0] == 255).all() and (found[1, 0] == 255).all() and (found[1, 1:] == 0).all()
    (message,) = caplog.messages
    assert "an empty square takes its place" in message and "b.png" in message


def test_one_that_changed_is_told_once(
    pixels: PicturePixels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "reslab"):
        assert (pixels[1][2] == 255).all() and not caplog.messages
        Image.new("RGB", (4, 4), "lime").save(tmp_path / "b.png")
        for _ in range(2):
            assert (pixels.choose(np.array([1]))[0][1] == 255).all()
    (message,) = caplog.messages
    assert "b.png has changed" in message


def test_one_in_the_pack_stays_what_it_was(pixels: PicturePixels, tmp_path: Path) -> None:
    (tmp_path / "a.png").unlink()
    assert (pixels[0][0] == 255).all()
