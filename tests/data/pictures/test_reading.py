"""Files are read, and what is none or too large is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reslab.data.pictures import reading
from reslab.data.pictures.reading import check_size, open_file, read_file
from reslab.errors import UserError


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"12345")
    assert read_file(path) == b"12345"
    with open_file(path) as file:
        assert file.read(2) == b"12"


def begin(path: Path) -> None:
    open_file(path).close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("ask", [read_file, begin])
def test_pipes_are_not_waited_for(tmp_path: Path, ask) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png is no file but a pipe or device; delete it"):
        ask(tmp_path / "pipe.png")


@pytest.mark.parametrize("ask", [read_file, begin])
def test_what_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask
) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 1000)
    path = tmp_path / "a.png"
    path.write_bytes(bytes(1000))
    ask(path)
    path.write_bytes(bytes(1001))
    with pytest.raises(UserError, match=r"a\.png is too large: expected at most 1,000 bytes"):
        ask(path)


def test_a_size_is_told_as_people_write_it() -> None:
    check_size(reading.MAX_BYTES, "a.png")
    with pytest.raises(UserError, match="at most 400,000,000 bytes, received 400,000,001; scale"):
        check_size(reading.MAX_BYTES + 1, "a.png")
