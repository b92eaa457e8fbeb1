"""Single pictures; all kinds of trouble are in test_check."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.catalog.datasets import Background
from reslab.data.checks.inspection import SIDE, SUFFIXES_OF, Inspected, inspect_picture
from reslab.data.pictures.preprocess import FORMATS, SUFFIXES
from reslab.data.pictures.stores import Files

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def inspect(path: Path, background: Background = "grey") -> Inspected:
    return inspect_picture(Files(path.parent), path.name, background)


def save(path: Path, image: Image.Image | None = None, **options: object) -> Path:
    (image or Image.fromarray(PIXELS)).save(path, **options)
    return path


def test_formats_and_suffixes_are_those_of_the_decoder() -> None:
    assert SUFFIXES_OF.keys() == {*FORMATS, "MPO"}
    assert {s for suffixes in SUFFIXES_OF.values() for s in suffixes} == set(SUFFIXES)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_a_good_picture_has_nothing_odd(tmp_path: Path, suffix: str) -> None:
    found = inspect(save(tmp_path / f"a{suffix}"))
    assert (found.kinds, found.told, found.size, found.is_grey) == ((), "", (60, 40), False)
    assert found.small.shape == (SIDE, SIDE) and found.digest


def test_equal_pixels_are_equal_however_they_are_stored(tmp_path: Path) -> None:
    turned = Image.fromarray(PIXELS).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = [
        save(tmp_path / "a.png"),
        save(tmp_path / "b.bmp"),
        save(tmp_path / "c.webp", lossless=True),
        save(tmp_path / "d.png", turned, exif=exif),
    ]
    found = [inspect(path) for path in stored]
    assert len({one.digest for one in found}) == 1
    assert found[3].kinds == ("rotated",)
    other = PIXELS.copy()
    other[0, 0, 0] ^= 1
    assert inspect(save(tmp_path / "e.png", Image.fromarray(other))).digest != found[0].digest


def test_grey_stored_as_grey_and_as_colour_is_equal(tmp_path: Path) -> None:
    grey = Image.fromarray(PIXELS[..., 0])
    one = inspect(save(tmp_path / "a.png", grey))
    two = inspect(save(tmp_path / "b.png", grey.convert("RGB")))
    assert one.digest == two.digest
    assert (one.is_grey, two.is_grey) == (True, False)


def test_an_opaque_alpha_channel_is_not_transparent(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS).convert("RGBA")
    assert inspect(save(tmp_path / "a.png", image)).kinds == ()


def test_an_opaque_copy_is_equal(tmp_path: Path) -> None:
    opaque = inspect(save(tmp_path / "a.png", Image.fromarray(PIXELS).convert("RGBA")))
    assert opaque.digest == inspect(save(tmp_path / "b.png")).digest


def test_pictures_of_the_same_colours_differ_by_their_opacity(tmp_path: Path) -> None:
    found = []
    for angle in (0, 90):
        image = Image.new("RGB", (32, 32), "black")
        image.putalpha(Image.linear_gradient("L").resize((32, 32)).rotate(angle))
        found.append(inspect(save(tmp_path / f"{angle}.png", image)))
    assert found[0].digest != found[1].digest
    assert not np.array_equal(found[0].small, found[1].small)
    assert found[0].kinds == found[1].kinds == ("transparent",)


def test_a_drawing_that_the_background_swallows_is_not_blank(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), "black")
    image.putalpha(Image.linear_gradient("L").resize((32, 32)))
    found = inspect(save(tmp_path / "a.png", image), background="black")
    assert found.kinds == ("transparent", "vanishing")
    nothing = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    found = inspect(save(tmp_path / "b.png", nothing), background="black")
    assert found.kinds == ("transparent", "vanishing", "blank")


def test_a_faint_picture_is_not_blank(tmp_path: Path) -> None:
    pixels = np.full((64, 64, 3), 100, np.uint8)
    pixels[5, 7, 2] = 101
    assert inspect(save(tmp_path / "a.png", Image.fromarray(pixels))).kinds == ()
    pixels[5, 7, 2] = 100
    assert inspect(save(tmp_path / "b.png", Image.fromarray(pixels))).kinds == ("blank",)


def test_a_jpeg_with_something_behind_it_is_whole(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", quality=90)
    path.write_bytes(path.read_bytes() + bytes(100))
    assert inspect(path).kinds == ()


def test_a_progressive_and_a_grey_jpeg_are_whole(tmp_path: Path) -> None:
    assert inspect(save(tmp_path / "a.jpg", progressive=True)).kinds == ()
    grey = Image.fromarray(PIXELS[..., 0])
    assert inspect(save(tmp_path / "b.jpg", grey)).kinds == ()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    path.chmod(0)
    assert inspect(path).kinds == ("unreadable",)


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    found = inspect(tmp_path)
    assert (found.kinds, found.told) == (("unreadable",), "is a directory")


def test_a_jpeg_with_a_second_picture_in_it_is_a_jpeg(tmp_path: Path) -> None:
    path, shown = tmp_path / "a.jpg", Image.fromarray(PIXELS)
    shown.save(path, "MPO", save_all=True, append_images=[shown.rotate(90)])
    with Image.open(path) as image:
        assert image.format == "MPO"
    assert inspect(path).kinds == ()


def test_a_few_bytes_too_many_before_the_end_are_no_damage(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", quality=90)
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes(3) + content[-2:])
    assert inspect(path).kinds == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    found = inspect(tmp_path / "a.jpg")
    assert found.kinds == ("unreadable",) and "pipe or device" in found.told
