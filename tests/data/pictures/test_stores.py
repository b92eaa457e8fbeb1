"""Files as a store of pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.data.pictures.preprocess import Fit, decode_image
from reslab.data.pictures.stores import Files, decode_from
from reslab.errors import UserError

FIT = Fit(channels=3, size=5)


def test_files_are_decoded_as_anywhere(tmp_path: Path) -> None:
    Image.new("RGB", (7, 9), "red").save(tmp_path / "a.png")
    store = Files(tmp_path)
    found = decode_from(store, "a.png", FIT)
    np.testing.assert_array_equal(found, decode_image(tmp_path / "a.png", FIT))
    with pytest.raises(UserError, match=r"there is no image .*b\.png"):
        decode_from(store, "b.png", FIT)
    with store.open("a.png") as content:
        assert content.read() == store.read("a.png") == (tmp_path / "a.png").read_bytes()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for ask in (Files(tmp_path).open, Files(tmp_path).read):
        with pytest.raises(UserError, match="is no file but a pipe or device"):
            ask("pipe.png")


def test_a_stamp_tells_of_every_change(tmp_path: Path) -> None:
    file, store = tmp_path / "a", Files(tmp_path)
    file.write_bytes(b"123")
    os.utime(file, ns=(5, 5))
    assert store.stamp("a") == (3, 5)
    file.write_bytes(b"1234")
    os.utime(file, ns=(5, 6))
    assert store.stamp("a") == (4, 6)
    with pytest.raises(FileNotFoundError):
        store.stamp("b")


def test_a_folder_is_the_same_by_whatever_way(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    origins = {Files(Path(p)).origin for p in ("real", "link", "./real", str(tmp_path / "real"))}
    assert len(origins) == 1
    assert Files(tmp_path).origin not in origins
