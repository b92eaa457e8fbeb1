"""Sizes and colours by the headers; what comes of them is in test_folder.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from reslab.data.pictures.headers import all_grey, usual_size
from reslab.data.pictures.listing import Listed
from reslab.data.pictures.stores import Files


def save(root: Path, *pictures: tuple[str, tuple[int, int]]) -> tuple[Files, list[Listed]]:
    for number, (mode, size) in enumerate(pictures):
        Image.new(mode, size).save(root / f"{number}.png")
    return Files(root), [Listed(path=f"{n}.png", label="x") for n in range(len(pictures))]


@pytest.mark.parametrize(
    ("sides", "expected"), [((375, 500, 90), 224), ((28, 28), 28), ((150,), 128), ((), 224)]
)
def test_the_size_is_that_of_most(tmp_path: Path, sides: tuple[int, ...], expected: int) -> None:
    assert usual_size(*save(tmp_path, *(("L", (side, 2 * side)) for side in sides))) == expected


def test_one_picture_in_colours_is_enough(tmp_path: Path) -> None:
    store, files = save(tmp_path, *[("L", (4, 4))] * 1030, ("RGB", (4, 4)))
    assert all_grey(store, files[:-1])
    assert not all_grey(store, files)


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    store, files = save(tmp_path, ("L", (40, 40)))
    (tmp_path / "bad.png").write_bytes(b"nothing")
    files += [Listed(path=name, label="x") for name in ("bad.png", "missing.png")]
    assert usual_size(store, files) == 40
    assert all_grey(store, files)
