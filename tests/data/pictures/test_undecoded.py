"""Pictures that are decoded when they are looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reslab.data.pictures.folder import FileSettings, open_folder
from reslab.data.pixels import Distant
from reslab.errors import UserError
from tests.data.pictures.test_folder import fill


def test_they_are_what_training_sees(tmp_path: Path) -> None:
    source = open_folder(fill(tmp_path / "pets", 4), FileSettings(test=0.0))
    whole, lazy = source.load_train(), source.load_undecoded()
    pixels_NCHW = lazy.pixels_NCHW
    assert pixels_NCHW.shape == whole.pixels_NCHW.shape and len(pixels_NCHW) == 8
    assert (lazy.labels_N == whole.labels_N).all()
    rows = np.array([5, 0, 5])
    for key in (3, -1, slice(2, 4), rows, np.arange(8) % 3 == 0):
        np.testing.assert_array_equal(pixels_NCHW[key], whole.pixels_NCHW[key])
    assert lazy.take(rows).pixels_NCHW.shape == (3, 3, 30, 30)
    assert not isinstance(pixels_NCHW, Distant)


def test_splits_and_groups_are_known_before(tmp_path: Path) -> None:
    for split in ("train", "val"):
        fill(tmp_path / split, 2)
    lines = ["path,label,split,group"]
    lines += [
        f"{split}/{label}/{n:02}.png,{label},{split},{split}{n}"
        for split in ("train", "val")
        for label in ("cat", "dog")
        for n in range(2)
    ]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    source = open_folder(tmp_path / "list.csv", FileSettings(test=0.0))
    whole, lazy = source.load_train(), source.load_undecoded()
    assert lazy.judged_N is not None and lazy.judged_N.tolist() == whole.judged_N.tolist()
    assert lazy.groups_N is not None and lazy.groups_N.tolist() == whole.groups_N.tolist()


def test_one_that_cannot_be_decoded_is_told_when_it_is_looked_at(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 4)
    (root / "cat/01.png").write_bytes(b"torn")
    pixels_NCHW = open_folder(root, FileSettings(test=0.0)).load_undecoded().pixels_NCHW
    assert pixels_NCHW[0].any()
    with pytest.raises(UserError, match=r"01.png is not an image"):
        pixels_NCHW[1]
