"""The picture of a data set."""

from __future__ import annotations

from pathlib import Path

import pytest

import reslab
from reslab.errors import UserError
from reslab.workbench.preview import Preview, draw_preview


def test_augmented_differs_and_seeds_differ(tmp_path: Path) -> None:
    def draw(name: str, *, augmented: bool = False, seed: int = 0) -> bytes:
        path = tmp_path / name
        spec = reslab.recipe(seeds={"base": seed})
        assert draw_preview(spec, path, count=9, augmented=augmented) == Preview(9, ())
        return path.read_bytes()

    plain = draw("plain.png")
    assert draw("again.png") == plain
    assert draw("augmented.png", augmented=True) != plain
    assert draw("seed.png", seed=1) != plain


def test_a_missing_folder_is_told_before_the_data_are_read(tmp_path: Path) -> None:
    spec = reslab.recipe(data={"name": "mnist", "root": "nowhere"})
    with pytest.raises(UserError, match="no folder"):
        draw_preview(spec, tmp_path / "no" / "x.png", count=9, augmented=False)
