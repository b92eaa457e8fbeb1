"""Lists of paths: whatever a file is called, it is found again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reslab.data.pictures.path_lists import (
    format_paths,
    format_reasons,
    read_paths,
    read_reasons,
)
from reslab.errors import UserError

# What a file may be called on Linux: any bytes, most of which are no UTF-8.
NAMES = st.one_of(
    st.text(min_size=1),
    st.text(alphabet='#"\\ \n\r\t\x0b\x85\u2028\u2029\ufeffa/', min_size=1),
    st.binary(min_size=1).map(os.fsdecode),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists") / "list.txt"


@given(names=st.lists(NAMES, unique=True), why=st.text())
@example(names=["#1/a.png", '"a".png', "b\n#c.png", " ", "d\u2028.png", "\ufeffe\r"], why="a\nb")
def test_any_name_comes_back(path: Path, names: list[str], why: str) -> None:
    for text in (format_paths(names), format_reasons(dict.fromkeys(names, why))):
        path.write_text(text, encoding="utf-8", newline="")
        assert read_paths(path) == tuple(names)


def test_reasons_come_back(path: Path) -> None:
    path.write_text(format_reasons({"#a": "crc32 1", "b": "two words"}) + "c\n")
    assert read_reasons(path) == {"#a": "crc32 1", "b": "two words", "c": ""}


def test_lists_of_others_are_read(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf# torn\r\ncat/a b.jpg\r\n\n# leak\n\xc3\x9f.png\nc\xe9.png\x0b")
    assert read_paths(path) == ("cat/a b.jpg", "ß.png", "c\udce9.png\x0b")


def test_what_cannot_be_read_is_told(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: received no such file"):
        read_paths(tmp_path / "none.txt")
    path.write_text('a.png\n"b.png\n')
    with pytest.raises(UserError, match=r'line 2 of the list .* received "b.png'):
        read_paths(path)
