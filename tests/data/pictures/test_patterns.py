"""What patterns of shards stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from reslab.data.pictures.patterns import expand
from reslab.errors import UserError


@pytest.mark.parametrize(
    "pattern", ["none.tar", "x-{0..3}.tar", "*.none", ".", "https://x.org/a.tar"]
)
def test_shards_that_are_not_there_are_told(tmp_path: Path, monkeypatch, pattern: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x-0.tar").touch()
    with pytest.raises(UserError, match="there is no shard"):
        expand(pattern)


def test_a_pattern_of_far_too_many(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names too many shards"):
        expand("{0..9}" * 6)


def test_a_shard_is_named_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for n in (9, 10):
        (tmp_path / f"x-{n:02}.tar").touch()
    assert expand("x-{09..10}.tar::x-*.tar") == [tmp_path / "x-09.tar", tmp_path / "x-10.tar"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("t-{5..1}.tar", "names no shards: expected numbers that rise"),
        ("", "there is no shard"),
        ("x**.tar", "cannot be read"),
        ("~nobody-of-that-name/x.tar", "~ with no such user"),
    ],
)
def test_patterns_that_make_no_sense(pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        expand(pattern)


def test_absolute_and_relative_paths_go_together(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.tar").touch()
    assert expand(f"a.tar::{tmp_path}/b.tar") == [tmp_path / "a.tar", tmp_path / "b.tar"]
