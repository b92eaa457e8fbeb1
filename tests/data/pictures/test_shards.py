"""Shards: what a pattern names, what is in a tar file, and which class it has."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.data.pictures.shards import list_shards
from reslab.errors import UserError


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def samples(first: int, labels: list[bytes]) -> dict[str, bytes]:
    return {
        f"{first + n:04}.{end}": content
        for n, label in enumerate(labels)
        for end, content in (("png", picture(first + n)), ("cls", label))
    }


def test_pictures_of_all_shards_are_listed_and_read(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-000.tar", samples(0, [b"0", b"1"]))
    write_shard(tmp_path / "train-001.tar", samples(10, [b"10\n"]))
    write_shard(tmp_path / "val-000.tar", samples(20, [b"1"]))
    listing = list_shards(f"{tmp_path}/train-{{000..001}}.tar::{tmp_path}/val-*.tar")
    assert [(f.path, f.label, f.split) for f in listing.files] == [
        ("train-000.tar/0000.png", "0", "train"),
        ("train-000.tar/0001.png", "1", "train"),
        ("train-001.tar/0010.png", "10", "train"),
        ("val-000.tar/0020.png", "1", "val"),
    ]
    assert listing.classes == ("0", "1", "10") and listing.passed_over == ()
    for file, shade in zip(listing.files, (0, 1, 10, 20), strict=True):
        assert listing.store.read(file.path) == picture(shade)
        with listing.store.open(file.path) as content:
            assert content.read(4) == picture(shade)[:4]
        assert listing.store.place(file.path) == file.path
    assert listing.store.stamp("train-000.tar/0000.png")[0] == len(picture(0))
    for ask in (listing.store.stamp, listing.store.read):
        with pytest.raises(FileNotFoundError):
            ask("train-000.tar/0009.png")


@pytest.mark.parametrize(
    ("end", "content", "label"),
    [
        ("cls", b"cat", "cat"),
        ("cls", b" 007 ", "7"),
        ("json", b'{"label": "cat", "cls": 3}', "cat"),
        ("json", b'{"cls": 3, "width": 20}', "3"),
        ("json", b'{"label": "007"}', "7"),
        ("cls", b"", None),
        ("cls", b"two\nlines", None),
        ("cls", b"1" * 5000, None),
        ("json", b'["cat"]', None),
        ("json", b'"label"', None),
        ("json", b'{"label": true}', None),
        ("cls", b"\xff", None),
        ("json", b"{", None),
        ("json", b"{" * 100_000, None),
        ("json", b'{"label": [1]}', None),
        ("json", b'{"width": 20}', None),
        ("txt", b"cat", None),
    ],
)
def test_the_class_of_a_picture(tmp_path: Path, end: str, content: bytes, label: str) -> None:
    shard = write_shard(
        tmp_path / "s.tar",
        {"good.png": picture(1), "good.cls": b"good", "x.png": picture(2), f"x.{end}": content},
    )
    listing = list_shards(str(shard))
    found = {file.path: file.label for file in listing.files}
    assert found.get("s.tar/x.png") == label
    left = [(item.path, item.reason) for item in listing.passed_over]
    assert left == ([] if label else [("s.tar/x.png", "no_class")])


def test_a_class_file_goes_before_json_and_json_where_it_is_empty(tmp_path: Path) -> None:
    files = {
        "a.json": b'{"label": "no"}',
        "a.jpg": picture(1),
        "a.cls": b"yes",
        "b.cls": b"",
        "b.json": json.dumps({"label": "yes"}).encode(),
        "b.seg.png": picture(3),
        "b.PNG": picture(2),
    }
    listing = list_shards(str(write_shard(tmp_path / "s.tar", files)))
    assert [(file.path, file.label) for file in listing.files] == [
        ("s.tar/a.jpg", "yes"),
        ("s.tar/b.png", "yes"),
    ]
    assert listing.store.read("s.tar/b.png") == picture(2)


def test_equal_names_in_two_folders_are_two_pictures(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_shard(tmp_path / folder / "s.tar", samples(0, [folder.encode()]))
    listing = list_shards(f"{tmp_path}/*/s.tar")
    assert [(f.path, f.label) for f in listing.files] == [
        ("a/s.tar/0000.png", "a"),
        ("b/s.tar/0000.png", "b"),
    ]


def test_a_shard_that_changes_in_use_is_told(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", samples(0, [b"0", b"1"]))
    listing = list_shards(str(shard))
    os.utime(shard, (5, 5))
    with pytest.raises(UserError, match=r"s.tar has been changed while it was in use; begin again"):
        listing.store.read("s.tar/0000.png")


def test_what_is_passed_over_is_told(tmp_path: Path) -> None:
    files = {
        "a.tif": b"other",
        "b.png": picture(1),
        "b.cls": b"b",
        "b.bmp": picture(2),
        "c.png": picture(3),
        "c.cls": b"c",
        "c.PNG": picture(4),
        "d.txt": b"words",
    }
    shard = write_shard(tmp_path / "s.tar", files)
    with tarfile.open(shard, "a") as tar:
        link = tarfile.TarInfo("e.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    listing = list_shards(str(shard))
    assert [file.path for file in listing.files] == ["s.tar/b.png", "s.tar/c.png"]
    assert listing.store.read("s.tar/c.png") == picture(3)
    assert {(item.path, item.reason) for item in listing.passed_over} == {
        ("s.tar/a.tif", "no_image"),
        ("s.tar/b.bmp", "twice"),
        ("s.tar/c.PNG", "twice"),
        ("s.tar/e.png", "no_image"),
    }


def test_equal_patterns_of_two_folders_are_told_apart(tmp_path: Path, monkeypatch) -> None:
    origins = set()
    for folder in ("a", "b"):
        write_shard(tmp_path / folder / "train.tar", samples(0, [b"0", b"1"]))
        monkeypatch.chdir(tmp_path / folder)
        origins |= {list_shards("train.tar").store.origin, list_shards("*.tar").store.origin}
    assert len(origins) == 2


def test_pictures_that_change_places_are_noticed(tmp_path: Path) -> None:
    stamps = []
    for order in ("ab", "ba"):
        files = {f"{name}.{end}": b"x" for name in order for end in ("bmp", "cls")}
        shard = write_shard(tmp_path / "s.tar", files)
        os.utime(shard, (5, 5))
        stamps.append(list_shards(str(shard)).store.stamp("s.tar/a.bmp"))
    assert stamps[0] != stamps[1]


def test_a_picture_larger_than_any_is_refused(tmp_path: Path, monkeypatch) -> None:
    shard = write_shard(tmp_path / "s.tar", samples(0, [b"0", b"1"]))
    monkeypatch.setattr("reslab.data.pictures.reading.MAX_BYTES", 10)
    with pytest.raises(UserError, match=r"s.tar/0000.png is too large: expected at most 10 bytes"):
        list_shards(str(shard)).store.read("s.tar/0000.png")


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("test/0.tar", "test"),
        ("x-val-0.tar", "val"),
        ("test/train-0.tar", "train"),
        ("training/x/0.tar", None),
        ("latest/0.tar", None),
        ("test-results/0.tar", None),
    ],
)
def test_a_split_is_told_by_name_or_folder(tmp_path: Path, path: str, split: str) -> None:
    shard = write_shard(tmp_path / path, samples(0, [b"0", b"1"]))
    assert {file.split for file in list_shards(str(shard)).files} == {split}
