"""The file of ImageNet's validation classes; the layout is in test_listing.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from reslab.data.pictures.imagenet import SOLUTION, find_solution, read_solution
from reslab.errors import UserError


def test_it_is_looked_for_no_further_than_three_folders_above(tmp_path: Path) -> None:
    place = tmp_path / "a/b/c/d"
    place.mkdir(parents=True)
    (tmp_path / SOLUTION).touch()
    assert find_solution(place) is None
    assert find_solution(place.parent) == tmp_path / SOLUTION
    (place / SOLUTION).touch()
    assert find_solution(place) == place / SOLUTION


def test_the_first_object_is_the_class(tmp_path: Path) -> None:
    path = tmp_path / SOLUTION
    path.write_text("ImageId,PredictionString\nx,n1 1 2 3 4 n2 5 6 7 8\ny,\nz,n3\n")
    assert read_solution(path) == {"x": "n1", "z": "n3"}


@pytest.mark.parametrize(
    ("content", "received"),
    [(b"", "nothing"), (b"a,b\n", "a,b"), (b"\xff", "'utf-8' codec"), (None, "is a directory")],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes | None, received: str) -> None:
    path = tmp_path / SOLUTION
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"cannot be read from .* received {received}"):
        read_solution(path)
