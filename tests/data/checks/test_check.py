"""A messy folder is seen through, and what is good in it left in peace."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from reslab.data.checks.check import Checked, check_pictures
from reslab.data.checks.kinds import KINDS
from reslab.data.pictures.listing import list_folder
from tests.data.checks.messy import Messy, build


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Messy:
    return build(tmp_path_factory.mktemp("messy"))


@pytest.fixture(scope="module")
def checked(messy: Messy) -> Checked:
    return check_pictures(list_folder(messy.root), 128, workers=2)


# Tested in data/pictures/test_shards.py.
OF_SHARDS = ("damaged_shard", "no_class", "twice")


def found(checked: Checked) -> dict[str, set[str]]:
    files = defaultdict(set)
    for finding in checked.findings:
        files[finding.kind.name] |= set(finding.files)
    return files


def test_there_are_many_kinds_of_trouble(messy: Messy) -> None:
    assert len(messy.expected) >= 25
    assert messy.expected.keys() <= {kind.name for kind in KINDS}


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_each_kind_is_found_where_it_is_and_nowhere_else(
    messy: Messy, checked: Checked, kind: str
) -> None:
    if kind in ("unreadable", "unreadable_folder", "near_duplicate", *OF_SHARDS):
        pytest.skip("not in this folder")
    assert found(checked)[kind] == messy.expected[kind]


def test_no_good_picture_is_accused(messy: Messy, checked: Checked) -> None:
    # That a class is missing from another split is said of classes.
    accused = {file for files in found(checked).values() for file in files if "." in file}
    assert len(messy.good) >= 72
    assert {file.path for file in list_folder(messy.root).files} >= messy.good
    assert accused & messy.good == set()


def test_near_copies_in_a_folder_without_splits(tmp_path: Path) -> None:
    messy = Messy(tmp_path)
    for label in ("church", "flower"):
        for number in range(4):
            messy.save(f"{label}/{number}.png", messy.picture(label))
    messy.save("church/near.png", one := messy.picture(), "near_duplicate")
    messy.save("flower/near.jpg", one.crop((2, 2, 158, 158)), "near_duplicate", quality=70)
    checked = check_pictures(list_folder(tmp_path), 128, workers=2)
    assert found(checked) == messy.expected
    # Both may be kept, as long as they stay on one side.
    assert checked.to_leave_out() == {}


def test_near_copies_within_a_split_are_no_trouble(tmp_path: Path) -> None:
    messy = Messy(tmp_path)
    for split in ("train", "test"):
        for label in ("church", "flower"):
            messy.save(f"{split}/{label}/a.png", messy.picture(label))
            messy.save(f"{split}/{label}/b.png", one := messy.picture(label))
            messy.save(f"{split}/{label}/near.jpg", one, quality=70)
    assert found(check_pictures(list_folder(tmp_path), 128, workers=2)) == {}
