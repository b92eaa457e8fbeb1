"""Tar files of strangers: what is damaged, what leads nowhere, what is none."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from reslab.data.pictures.shards import list_shards
from reslab.data.pictures.tar import read_shard
from reslab.data.pictures.walk import PassedOver
from reslab.errors import UserError
from tests.data.pictures.test_shards import picture, samples, write_shard


def test_what_belongs_together_is_told(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", {**samples(0, [b"cat"]), "x/0000.cls": b"dog"})
    found = read_shard(shard, "s.tar", [])
    assert {key: sorted(sample.pictures) for key, sample in found.items()} == {
        "0000": [".png"],
        "x/0000": [],
    }
    assert found["0000"].told == {".cls": b"cat"} and found["x/0000"].told == {".cls": b"dog"}
    place = found["0000"].pictures[".png"]
    content = shard.read_bytes()[place.place : place.place + place.size]
    assert content == picture(0)


@pytest.mark.parametrize("cut", [4196, 4608 + 20, 5120 + 100, 5632 + 1])
def test_of_a_shard_that_was_cut_off_the_beginning_is_used(tmp_path: Path, cut: int) -> None:
    # In the header of the third picture, in the picture, in the header of its class, in that.
    shard = write_shard(tmp_path / "s.tar", samples(0, [b"0", b"1", b"20" * 200, b"3"]))
    shard.write_bytes(shard.read_bytes()[:cut])
    listing = list_shards(str(shard))
    assert [file.label for file in listing.files] == ["0", "1"]
    assert PassedOver(path="s.tar/", reason="damaged") in listing.passed_over


@pytest.mark.parametrize("spoil", ["flip", "zeros", "negative", "far"])
def test_damage_in_the_middle_of_a_shard_is_told(tmp_path: Path, spoil: str) -> None:
    shard = write_shard(tmp_path / "s.tar", samples(0, [b"0", b"1", b"2", b"3"]))
    content = bytearray(shard.read_bytes())
    third = 4 * 1024
    if spoil == "flip":
        content[third + 20] ^= 1
    elif spoil == "zeros":
        content[third : third + 1024] = bytes(1024)
    else:
        member = tarfile.TarInfo("x.png")
        member.size = {"negative": 0, "far": 2**40}[spoil]
        header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
        if spoil == "negative":
            header[124:136] = (-512).to_bytes(12, "big", signed=True)
            header[148:156] = b" " * 8
            header[148:156] = f"{sum(header):06o}\0 ".encode()
        content[third : third + 512] = header
    shard.write_bytes(content)
    listing = list_shards(str(shard))
    assert [file.label for file in listing.files] == ["0", "1"]
    assert PassedOver(path="s.tar/", reason="damaged") in listing.passed_over


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nonsense" * 200, "is no shard: expected a tar file that is not compressed"),
        (b"\x1f\x8b\x08" + bytes(600), "is no shard"),
        (b"", "is no shard"),
        (bytes(10240), "hold no pictures with classes: .*received none"),
    ],
)
def test_what_is_no_shard_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "s.tar").write_bytes(content)
    with pytest.raises(UserError, match=message):
        list_shards(str(tmp_path / "s.tar"))
