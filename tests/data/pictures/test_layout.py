"""Splits or classes; what comes of it is in test_listing.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from reslab.data.pictures.layout import splits_among
from reslab.data.pictures.walk import entries
from tests.data.pictures.test_listing import touch


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("cat/a.jpg",), {}),
        (("train/cat/a.jpg", "dev/cat/b.jpg"), {"train": "train", "dev": "val"}),
        (("train/a.jpg", "test/b.jpg"), {"train": "train", "test": "test"}),
        (("train/cat/a.jpg", "test/none.txt"), {"train": "train", "test": "test"}),
        (("train/none.txt", "test/b.jpg", "cat/c.jpg"), {}),
    ],
)
def test_splits(tmp_path: Path, names: tuple[str, ...], splits: dict[str, str]) -> None:
    tops = list(entries(touch(tmp_path, *names), "", []))
    assert splits_among(tmp_path, tops) == splits
