"""Layouts of folders, before a file is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from reslab.data.pictures.listing import Listed, PassedOver, list_folder
from reslab.errors import UserError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_folders_are_classes_however_deep_their_pictures_lie(tmp_path: Path) -> None:
    touch(tmp_path, "dog/a.jpg", "cat/b.PNG", "cat/wild/c.webp")
    found = list_folder(tmp_path)
    assert found.files == (
        Listed(path="cat/b.PNG", label="cat"),
        Listed(path="cat/wild/c.webp", label="cat"),
        Listed(path="dog/a.jpg", label="dog"),
    )
    assert found.classes == ("cat", "dog")
    assert found.passed_over == ()


@pytest.mark.parametrize(
    ("folder", "split"),
    [("val", "val"), ("Validation", "val"), ("dev", "val"), ("test", "test"), ("Testing", "test")],
)
def test_splits_go_by_many_names(tmp_path: Path, folder: str, split: str) -> None:
    touch(tmp_path, "Train/cat/a.jpg", f"{folder}/cat/b.jpg")
    files = list_folder(tmp_path).files
    assert {file.path: file.split for file in files} == {
        "Train/cat/a.jpg": "train",
        f"{folder}/cat/b.jpg": split,
    }


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    found = list_folder(touch(tmp_path, "test/a.jpg", "control/b.jpg"))
    assert found.classes == ("control", "test")
    assert {file.split for file in found.files} == {None}


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    [
        ("cat/.a.jpg", "cat/.a.jpg", "hidden"),
        (".git/x/a.jpg", ".git/", "hidden"),
        ("cat/Thumbs.db", "cat/Thumbs.db", "hidden"),
        ("__MACOSX/cat/a.jpg", "__MACOSX/", "hidden"),
        ("cat/notes.txt", "cat/notes.txt", "no_image"),
        ("a.jpg", "a.jpg", "outside"),
        ("none/a.txt", "none/", "empty"),
    ],
)
def test_what_is_passed_over_is_told(tmp_path: Path, name: str, path: str, reason: str) -> None:
    found = list_folder(touch(tmp_path, "cat/good.jpg", name))
    assert [file.path for file in found.files] == ["cat/good.jpg"]
    assert PassedOver(path=path, reason=reason) in found.passed_over


@pytest.mark.parametrize(
    "names",
    [
        # Pictures directly in it, whatever lies beside.
        ("train/x.jpg", "car/a.jpg", "bus/b.jpg"),
        ("train/x.jpg", "train/old/y.jpg", "car/a.jpg", "bus/b.jpg"),
        ("train/x.jpg", "test/y.jpg", "car/a.jpg"),
        # There is none for training.
        ("test/deep/x.jpg", "car/a.jpg"),
        ("test/x.jpg", "val/y.jpg"),
    ],
)
def test_a_class_may_be_called_as_a_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = list_folder(touch(tmp_path, *names))
    assert set(found.classes) == {name.split("/")[0] for name in names}
    assert {file.split for file in found.files} == {None}
    assert found.passed_over == ()


@pytest.mark.parametrize(
    "names",
    [
        ("train/cat/a.jpg", "test/cat/b.jpg", "extra/c.jpg"),
        ("train/cat/a.jpg", "test/cat/b.jpg", "raw/cat/c.jpg", "raw/bird/c.jpg"),
        ("train/cat/a.jpg", "test/1.jpg", "extra/cat/c.jpg"),
        ("train/cat/a.jpg", "train/loose.jpg", "raw/cat/b.jpg"),
        ("train/cat/a.jpg", "docs/readme.txt", ".git/x.jpg"),
        ("val/cat/a.jpg", "test/cat/b.jpg"),
    ],
)
def test_splits_are_known_beside_other_folders(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = list_folder(touch(tmp_path, *names))
    assert found.classes == ("cat",)
    assert None not in {file.split for file in found.files}


def test_what_may_be_either_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/steam/a.jpg", "car/b.jpg", "bus/c.jpg")
    with pytest.raises(UserError, match=r"whether train in .* received train/steam/ and"):
        list_folder(tmp_path)


def test_pictures_of_a_split_without_folders_of_classes_are_passed_over(tmp_path: Path) -> None:
    found = list_folder(touch(tmp_path, "train/cat/a.jpg", "test/1.jpg", "val/2.jpg"))
    assert [file.path for file in found.files] == ["train/cat/a.jpg"]
    assert found.passed_over == (
        PassedOver(path="test/", reason="unlabelled"),
        PassedOver(path="val/", reason="unlabelled"),
    )


@pytest.mark.parametrize("place", ["CLS-LOC", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC"])
def test_imagenet_as_it_is_published(tmp_path: Path, place: str) -> None:
    pictures = [f"val/ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2, 3)]
    touch(tmp_path / place, "train/n01440764/a.JPEG", "train/n01443537/b.JPEG", *pictures)
    touch(tmp_path / place, "test/ILSVRC2012_test_00000001.JPEG", "val/notes.txt")
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000001,n01443537 111 108 441 193 n01440764 1 2 3 4 \n"
        "ILSVRC2012_val_00000002,n01440764 1 2 3 4\n"
    )
    found = list_folder(tmp_path / place)
    assert found.of("val") == (
        Listed(path=pictures[0], label="n01443537", split="val"),
        Listed(path=pictures[1], label="n01440764", split="val"),
    )
    assert len(found.of("train")) == 2
    assert found.passed_over == (
        PassedOver(path="test/", reason="unlabelled"),
        PassedOver(path=pictures[2], reason="outside"),
        PassedOver(path="val/notes.txt", reason="no_image"),
    )


def test_links_to_themselves_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg")
    for name in ("bird", "cat/self.jpg"):
        (tmp_path / name).symlink_to(tmp_path / name)
    found = list_folder(tmp_path)
    assert [file.path for file in found.files] == ["cat/a.jpg", "dog/b.jpg"]
    assert found.passed_over == (
        PassedOver(path="bird", reason="loop"),
        PassedOver(path="cat/self.jpg", reason="loop"),
    )


def test_folders_beside_the_splits_are_passed_over(tmp_path: Path) -> None:
    found = list_folder(touch(tmp_path, "train/cat/a.jpg", "raw/cat/b.jpg"))
    assert [file.path for file in found.files] == ["train/cat/a.jpg"]
    assert found.passed_over == (PassedOver(path="raw/", reason="outside"),)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path / "store", "a.jpg")
    touch(tmp_path / "data", "cat/b.jpg")
    (tmp_path / "data/cat/more").symlink_to(tmp_path / "store")
    (tmp_path / "store/back").symlink_to(tmp_path / "store")
    found = list_folder(tmp_path / "data")
    assert [file.path for file in found.files] == ["cat/b.jpg", "cat/more/a.jpg"]
    assert [item.reason for item in found.passed_over] == ["loop"]


@pytest.mark.parametrize(
    ("names", "received"),
    [
        ((), "no picture"),
        (("a.jpg", "b.jpg"), "2 files or folders outside of any class"),
        (("cat/a.txt",), "no picture"),
        (("train/a.jpg", "test/b.jpg"), "pictures directly in test/ and train/"),
    ],
)
def test_without_classes_it_is_no_data_set(
    tmp_path: Path, names: tuple[str, ...], received: str
) -> None:
    with pytest.raises(UserError, match=f"received {received}; sort the pictures into a folder"):
        list_folder(touch(tmp_path, *names))


def test_exclusions_are_left_out_and_told(tmp_path: Path) -> None:
    found = list_folder(touch(tmp_path, "cat/a.jpg", "dog/b.jpg")).without(["cat/a.jpg"])
    assert [file.path for file in found.files] == ["dog/b.jpg"]
    assert found.passed_over == (PassedOver(path="cat/a.jpg", reason="excluded"),)


def test_exclusions_of_another_folder_are_refused(tmp_path: Path) -> None:
    found = list_folder(touch(tmp_path, "cat/a.jpg"))
    wanted = ["cat/gone.jpg", "cat/a.jpg", "bird/b.jpg"]
    left = found.without(wanted)
    left.check_excluded(wanted)
    assert left.not_there(wanted) == ("cat/gone.jpg", "bird/b.jpg")
    found.check_excluded([])
    with pytest.raises(UserError, match=r"no file to be excluded is in .*received bird/a.jpg"):
        found.without(["bird/a.jpg"]).check_excluded(["bird/a.jpg"])
