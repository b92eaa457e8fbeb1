"""What may be named as a place of pictures; what is in each is its own module's."""

from __future__ import annotations

from pathlib import Path

import pytest

from reslab.data.pictures.places import list_place
from reslab.errors import UserError
from tests.data.pictures.test_folder import fill


def test_a_folder_and_a_manifest(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 2)
    assert len(list_place(root).files) == 4
    (tmp_path / "list.csv").write_text("path,label\npets/cat/00.png,cat\n")
    assert [file.label for file in list_place(str(tmp_path / "list.csv")).files] == ["cat"]


@pytest.mark.parametrize("splits", [("train", "test"), ()])
def test_a_data_set_that_was_saved_is_known_as_one(tmp_path: Path, splits: tuple[str, ...]) -> None:
    pytest.importorskip("datasets")
    from tests.data.pictures.test_hub import save, table  # noqa: PLC0415 - it needs the library

    if splits:
        save(tmp_path / "d", **{split: table(["a", "b"]) for split in splits})
    else:
        table(["a", "b"]).save_to_disk(str(tmp_path / "d"))
    listing = list_place(tmp_path / "d")
    assert listing.origin == tmp_path / "d"
    assert [file.path for file in listing.files] == [
        f"{split}/{row}" for split in splits or ("all",) for row in range(2)
    ]


def test_a_folder_with_a_file_of_such_a_name_stays_a_folder(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 2)
    (root / "state.json").write_text("{}")
    assert [file.path for file in list_place(root).files][:2] == ["cat/00.png", "cat/01.png"]


def test_what_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "list.txt").touch()
    for name, told in {
        "none": "there is no folder or manifest",
        "list.txt": "is no manifest: expected a folder, or a file in .csv.* received .txt",
    }.items():
        with pytest.raises(UserError, match=told):
            list_place(tmp_path / name)
    with pytest.raises(UserError, match="there is no shard"):
        list_place(f"wds:{tmp_path}/none.tar")
