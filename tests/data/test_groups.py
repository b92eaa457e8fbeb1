"""Groups out of a text file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reslab.data.groups import read_groups
from reslab.errors import UserError


def test_equal_lines_are_one_group(tmp_path: Path) -> None:
    path = tmp_path / "groups.txt"
    path.write_text("anna\n bert\nanna\nchloë\nbert \n", encoding="utf-8")
    groups = read_groups(path, 5)
    assert groups.dtype == np.int64
    assert groups.tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a\nb\n", "expected 3 lines, one for each training image, received 2"),
        (b"a\n\nb\n", "line 2 of .* names no group"),
        (b"\xff\xfe\n", "no utf-8 text"),
        (None, "no such file"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "groups.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_groups(path, 3)
