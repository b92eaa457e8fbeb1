import io
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from reslab.errors import UserError
from reslab.evaluation.canvas import (
    DARK,
    LIGHT,
    contrast,
    message,
    percent,
    save,
    shorten,
    to_data_uri,
    to_png,
)


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_all_that_is_read_stands_out_from_the_paper(theme):
    for name in ("ink", "muted", "train", "validation"):
        assert contrast(getattr(theme, name), theme.paper) >= 4.5, name


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_train_and_validation_differ_without_red_or_green(theme):
    def blue_less_red(colour):
        return int(colour[5:7], 16) - int(colour[1:3], 16)

    assert blue_less_red(theme.train) > 80
    assert blue_less_red(theme.validation) < -80


def test_the_themes_share_no_colour():
    assert not set(asdict(LIGHT).values()) & set(asdict(DARK).values())


def test_png_is_deterministic_and_carries_no_date_or_version():
    one, other = (to_png(message("Nothing here.", LIGHT)) for _ in range(2))
    assert one == other
    assert Image.open(io.BytesIO(one)).info.keys() <= {"dpi"}
    assert one != to_png(message("Nothing here.", DARK))


def test_the_ground_is_the_paper_and_the_words_are_drawn():
    image = np.asarray(Image.open(io.BytesIO(to_png(message("Words", LIGHT)))).convert("RGB"))
    assert tuple(image[0, 0]) == tuple(bytes.fromhex(LIGHT.paper[1:]))
    assert (image != image[0, 0]).any()


def test_data_uri_holds_the_png():
    assert to_data_uri(to_png(message("x", LIGHT))).startswith("data:image/png;base64,iVBORw0KGgo")


def test_save_replaces_and_leaves_no_draft(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")
    save(message("new", LIGHT), path)
    assert path.read_bytes() == to_png(message("new", LIGHT))
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


def test_a_failing_save_keeps_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(UserError, match="no space left"):
        save(message("new", LIGHT), path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


def test_save_refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(UserError, match=r"ends in \.png, received 'picture\.jpg'"):
        save(message("x", LIGHT), tmp_path / "picture.jpg")
    with pytest.raises(UserError, match=r"there is no folder .*; make it first"):
        save(message("x", LIGHT), tmp_path / "absent" / "picture.png")


def test_pyplot_is_never_imported():
    code = "import sys, reslab.evaluation.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("fraction", "digits", "text"),
    [
        (0.9712, 1, "97.1\u202f%"),
        (1.0, 1, "100.0\u202f%"),
        (0.99999, 1, "99.9\u202f%"),
        (0.997, 0, "99\u202f%"),
        (0.0, 0, "0\u202f%"),
        (0.91994, 2, "91.99\u202f%"),
    ],
)
def test_percent_never_rounds_up_to_perfection(fraction, digits, text):
    assert percent(fraction, digits) == text


def test_shorten_marks_the_cut():
    assert shorten("Ankle boot", 10) == "Ankle boot"
    assert shorten("Ankle boots", 10) == "Ankle boo…"
    assert shorten("Ankle boots", 7) == "Ankle…"
