"""What lies in folders, by names alone."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

from reslab.data.pictures.walk import PassedOver, Shape, classes_in, entries, pictures, shape_of
from tests.data.pictures.test_listing import touch


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        ((), Shape(loose=False, sorted=False)),
        (("a.txt", "b/c.txt", ".d/e.jpg"), Shape(loose=False, sorted=False)),
        (("a.JPG",), Shape(loose=True, sorted=False)),
        (("a/b/c.jpg",), Shape(loose=False, sorted=True)),
        (("a.jpg", "b/c.jpg"), Shape(loose=True, sorted=True)),
        (("a.jpg/b.txt",), Shape(loose=False, sorted=False)),
    ],
)
def test_where_pictures_are(tmp_path: Path, names: tuple[str, ...], shape: Shape) -> None:
    assert shape_of(touch(tmp_path, *names)) == shape
    assert shape.holds == (shape.loose or shape.sorted)


def test_folders_with_pictures_are_classes(tmp_path: Path) -> None:
    touch(tmp_path, "cat/deep/a.jpg", "dog/b.txt", "c.jpg")
    (tmp_path / "dog/up").symlink_to(tmp_path)
    assert classes_in(tmp_path) == {"cat"}


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    passed: list[PassedOver] = []
    assert list(entries(tmp_path / "none", "none/", passed)) == []
    assert list(pictures(tmp_path / "none", "", passed, frozenset())) == []
    assert passed == [
        PassedOver(path="none/", reason="unreadable"),
        PassedOver(path="./", reason="unreadable"),
    ]


def test_folders_may_be_deeper_than_calls(tmp_path: Path) -> None:
    depth, usual = 150, sys.getrecursionlimit()
    deepest = tmp_path / ("d/" * depth)
    deepest.mkdir(parents=True)
    (deepest / "a.jpg").touch()
    passed: list[PassedOver] = []
    sys.setrecursionlimit(len(inspect.stack()) + depth)
    try:
        found = list(pictures(tmp_path, "", passed, frozenset()))
    finally:
        sys.setrecursionlimit(usual)
    assert (found, passed) == (["d/" * depth + "a.jpg"], [])
