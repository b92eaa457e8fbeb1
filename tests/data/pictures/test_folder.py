"""Folders and manifests as data sets."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.data.pictures.folder import FileSettings, open_folder
from reslab.data.pictures.preprocess import Fit, decode_image
from reslab.errors import UserError

CLASSES = ("cat", "dog")


def fill(
    root: Path, count: int = 20, *, size: tuple[int, int] = (40, 30), mode: str = "RGB"
) -> Path:
    """Pictures below each class of a folder."""
    rng = np.random.default_rng(len(str(root)))
    for label in CLASSES:
        (root / label).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / label / f"{number:02}.png")
    return root


def test_what_is_missing_is_split_off_by_class(tmp_path: Path) -> None:
    source = open_folder(fill(tmp_path / "pets"), FileSettings(test=0.2))
    train, test = source.load_train(), source.load_test()
    assert (source.card.name, source.card.classes) == ("folder:pets", CLASSES)
    assert (source.card.channels, source.card.image_size) == (3, 30)
    assert (len(train), len(test)) == (source.card.train_images, source.card.test_images) == (32, 8)
    assert np.bincount(test.labels_N).tolist() == [4, 4]
    assert train.judged_N is None and train.groups_N is None
    files = {file.path for part in source.parts for file in part}
    assert len(files) == 40


def test_classes_that_are_not_tested_are_known(tmp_path: Path) -> None:
    fill(tmp_path / "train", 4)
    for number in range(2):
        (tmp_path / "test/cat").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 30)).save(tmp_path / f"test/cat/{number}.png")
    assert open_folder(tmp_path).untested == ("dog",)
    assert open_folder(tmp_path / "train").untested == ()
    assert open_folder(tmp_path / "train", FileSettings(test=0.0)).untested == ()


def test_the_split_is_the_seed_s(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets")
    same, again, other = (
        [file.path for file in open_folder(root, FileSettings(split_seed=seed)).parts[1]]
        for seed in (0, 0, 1)
    )
    assert same == again != other


def test_pixels_are_those_that_prediction_decodes(tmp_path: Path) -> None:
    source = open_folder(fill(tmp_path / "pets"), FileSettings(fit="pad", background="white"))
    images = source.load_train()
    fit = Fit(channels=3, size=30, policy="pad", background="white")
    for row, file in enumerate(source.parts[0]):
        pixels_CHW = decode_image(tmp_path / "pets" / file.path, fit)
        np.testing.assert_array_equal(images.pixels_NCHW[row], pixels_CHW)
        assert source.card.classes[images.labels_N[row]] == file.label


def test_splits_of_its_own_are_kept(tmp_path: Path) -> None:
    for split, count in (("train", 9), ("val", 4), ("test", 3)):
        fill(tmp_path / split, count)
    source = open_folder(tmp_path)
    train = source.load_train()
    assert train.judged_N is not None
    assert (len(train), int(train.judged_N.sum()), len(source.load_test())) == (26, 8, 6)


def test_validation_of_its_own_is_not_taken_for_the_test(tmp_path: Path) -> None:
    fill(tmp_path / "train", 20)
    fill(tmp_path / "val", 20)
    source = open_folder(tmp_path, FileSettings(test=0.25))
    assert {file.split for file in source.parts[1]} == {"train"}
    assert len(source.parts[1]) == 10


def test_groups_of_a_manifest_are_never_divided(tmp_path: Path) -> None:
    fill(tmp_path / "pets", 30)
    lines = ["path,label,group"]
    lines += [
        f"pets/{c}/{n:02}.png,{c},{n // 5 if n < 25 else ''}" for c in CLASSES for n in range(30)
    ]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    source = open_folder(tmp_path / "list.csv")
    pool, test = source.parts
    named = [{file.group for file in part if file.group} for part in (pool, test)]
    assert test and not named[0] & named[1]
    train = source.load_train()
    assert train.groups_N is not None
    groups = [file.group for file in pool]
    for name in named[0]:
        rows = [row for row, group in enumerate(groups) if group == name]
        assert len(set(train.groups_N[rows])) == 1
    assert len(set(train.groups_N)) == len(named[0]) + groups.count(None)


def test_pictures_that_cannot_be_decoded_are_left_out_and_named(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets")
    (root / "cat/03.png").write_bytes(b"torn")
    source = open_folder(root, FileSettings(test=0.0))
    images = source.load_train()
    assert len(images) == 39 and list(images.faults) == ["cat/03.png"]
    assert np.bincount(images.labels_N).tolist() == [19, 20]


def test_where_nothing_can_be_decoded_there_is_nothing_to_learn(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 3)
    for path in root.rglob("*.png"):
        path.write_bytes(b"torn")
    with pytest.raises(UserError, match=r"none of the 6 pictures in .* can be decoded.*data check"):
        open_folder(root).load_train()


@pytest.mark.parametrize(
    ("size", "mode", "expected"),
    [
        ((40, 30), "L", (1, 30)),
        ((500, 375), "RGB", (3, 224)),
        ((100, 120), "RGB", (3, 96)),
        ((64, 64), "1", (1, 64)),
    ],
)
def test_size_and_channels_follow_the_pictures(
    tmp_path: Path, size: tuple[int, int], mode: str, expected: tuple[int, int]
) -> None:
    card = open_folder(fill(tmp_path / "pets", 2, size=size, mode=mode)).card
    assert (card.channels, card.image_size) == expected


def test_one_picture_in_colours_is_enough(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 300, size=(8, 8), mode="L")
    assert open_folder(root, FileSettings(test=0.0)).card.channels == 1
    Image.new("RGB", (8, 8), "red").save(root / "dog/007.png")
    assert open_folder(root, FileSettings(test=0.0)).card.channels == 3


def test_what_is_tested_decides_neither_size_nor_channels(tmp_path: Path) -> None:
    fill(tmp_path / "train", 3, size=(40, 30), mode="L")
    fill(tmp_path / "test", 30, size=(200, 200))
    card = open_folder(tmp_path).card
    assert (card.channels, card.image_size) == (1, 30)


def test_what_was_drawn_for_the_test_decides_neither(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 10, size=(40, 30), mode="L")
    for file in open_folder(root).parts[1]:
        Image.new("RGB", (200, 200), "red").save(root / file.path)
    card = open_folder(root).card
    assert (card.channels, card.image_size, card.test_images) == (1, 30, 4)


def test_where_all_is_tested_that_decides(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 2, size=(40, 30), mode="L")
    card = open_folder(root, FileSettings(test=1.0)).card
    assert (card.channels, card.image_size) == (1, 30)


def test_size_and_channels_as_asked(tmp_path: Path) -> None:
    card = open_folder(fill(tmp_path / "pets", 2), FileSettings(image_size=17, channels=1)).card
    assert (card.channels, card.image_size) == (1, 17)


def test_the_order_of_classes_may_be_given(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 4)
    source = open_folder(root, FileSettings(classes=("dog", "bird", "cat"), test=1.0))
    assert np.bincount(source.load_test().labels_N).tolist() == [4, 0, 4]
    with pytest.raises(UserError, match=r"classes that the net does not know.*received cat"):
        open_folder(root, FileSettings(classes=("dog", "bird")))


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "sub" / "pets", 2)
    with pytest.raises(UserError, match=r"has a single class.*received pets; name the folder that"):
        open_folder(tmp_path / "sub")


def test_what_is_no_folder_or_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder or manifest"):
        open_folder(tmp_path / "none")
    (tmp_path / "a.zip").touch()
    with pytest.raises(UserError, match=r"is no manifest: expected a folder, or a file in .csv"):
        open_folder(tmp_path / "a.zip")


def test_without_test_images_none_are_given(tmp_path: Path) -> None:
    source = open_folder(fill(tmp_path / "pets", 3), FileSettings(test=0.0))
    assert source.card.test_images == 0
    with pytest.raises(UserError, match="has no test images"):
        source.load_test()


def test_a_class_whose_name_no_text_can_hold_is_refused(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 1)
    (root / "cat").rename(root / os.fsdecode(b"caf\xe9"))
    with pytest.raises(UserError, match=r'name that is no UTF-8: received "caf.udce9"; rename'):
        open_folder(root)


def test_without_training_pictures_nothing_is_learned(tmp_path: Path) -> None:
    fill(tmp_path / "pets" / "test", 2)
    source = open_folder(tmp_path / "pets")
    assert len(source.load_test()) == 4
    with pytest.raises(UserError, match="has no pictures for training: received 4 for the test"):
        source.load_train()


def test_what_was_drawn_before_is_the_test_again(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 10)
    drawn = open_folder(root, FileSettings(test=0.2)).drawn
    assert len(drawn) == 4
    fill(tmp_path / "pets" / "cat", 30)
    (root / drawn[0]).unlink()
    again = open_folder(root, FileSettings(test=0.2, tested=drawn))
    assert again.drawn == drawn[1:] and again.gone == drawn[:1]
    assert len(again.parts[0]) == 16 + 60
    given = fill(tmp_path / "split" / "train", 3).parent
    fill(given / "test", 2)
    assert open_folder(given).drawn == ()


def test_each_process_learns_from_its_part(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets")
    whole = open_folder(root, FileSettings(test=0.2))
    parts = [open_folder(root, FileSettings(test=0.2, rank=(rank, 2))) for rank in range(2)]
    assert all(part.card.classes == whole.card.classes for part in parts)
    assert all(part.parts[1] == whole.parts[1] for part in parts)
    learned = [file for part in parts for file in part.parts[0]]
    assert sorted(file.path for file in learned) == sorted(f.path for f in whole.parts[0])


def test_shards_are_read_as_folders_are(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", 3)
    whole = open_folder(root, FileSettings(test=0.0, image_size=8))
    with tarfile.open(tmp_path / "pets.tar", "w") as tar:
        for number, file in enumerate(whole.listing.files):
            tar.add(root / file.path, f"{number}{Path(file.path).suffix}")
            (tmp_path / "label").write_text(file.label)
            tar.add(tmp_path / "label", f"{number}.cls")
    shards = open_folder(f"wds:{tmp_path}/*.tar", FileSettings(test=0.0, image_size=8))
    assert shards.card.classes == whole.card.classes
    ours, theirs = shards.load_train(), whole.load_train()
    np.testing.assert_array_equal(ours.labels_N, theirs.labels_N)
    np.testing.assert_array_equal(ours.pixels_NCHW[:], theirs.pixels_NCHW[:])
