"""Data sets of the library datasets, from the disk."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.data.pictures.hub import list_rows
from reslab.errors import UserError

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def table(labels: list, *, names: list[str] | None = None, first: int = 0, **more):
    features = {"image": datasets.Image()}
    features["label"] = datasets.ClassLabel(names=names) if names else datasets.Value("string")
    columns = {
        "image": [{"bytes": picture(first + n), "path": None} for n in range(len(labels))],
        "label": labels,
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def save(path: Path, **splits) -> str:
    datasets.DatasetDict(splits).save_to_disk(str(path))
    return str(path)


def test_splits_and_classes_are_those_of_the_data_set(tmp_path: Path) -> None:
    names = ["zebra", "ant", "never"]
    place = save(
        tmp_path / "d",
        train=table([0, 1, 0], names=names),
        validation=table([1], names=names, first=50),
        test=table([-1, 1], names=names, first=90),
    )
    listing = list_rows(place)
    assert [(f.path, f.label, f.split) for f in listing.files] == [
        ("train/0", "zebra", "train"),
        ("train/1", "ant", "train"),
        ("train/2", "zebra", "train"),
        ("validation/0", "ant", "val"),
        ("test/1", "ant", "test"),
    ]
    assert listing.classes == ("zebra", "ant", "never")
    rows = listing.store
    assert rows.read("train/2") == picture(2)
    assert rows.read("test/1") == picture(91)


def test_one_split_is_for_all(tmp_path: Path) -> None:
    table(["b", "a", "b"]).save_to_disk(str(tmp_path / "one"))
    listing = list_rows(str(tmp_path / "one"))
    assert {file.split for file in listing.files} == {None}
    assert listing.classes == ("a", "b")


def test_files_that_the_library_reads(tmp_path: Path) -> None:
    for name, shade in (("cat", 1), ("dog", 2)):
        folder = tmp_path / "pets" / "train" / name
        folder.mkdir(parents=True)
        (folder / "x.png").write_bytes(picture(shade))
    listing = list_rows(str(tmp_path / "pets"))
    assert sorted(file.label for file in listing.files) == ["cat", "dog"]
    shades = {file.label: listing.store.read(file.path) for file in listing.files}
    assert shades == {"cat": picture(1), "dog": picture(2)}


def test_a_stamp_tells_states_apart(tmp_path: Path) -> None:
    stamps = set()
    for number, labels in enumerate((["a", "b"], ["a", "c"])):
        place = save(tmp_path / f"{number}", train=table(labels))
        rows = list_rows(place).store
        assert rows.stamp("train/0") == list_rows(place).store.stamp("train/0")
        stamps.add(rows.stamp("train/0"))
    assert len(stamps) == 2
    for name in ("train/2", "test/0"):
        with pytest.raises(FileNotFoundError):
            rows.stamp(name)


def test_a_row_without_a_picture(tmp_path: Path) -> None:
    columns = {"image": [None], "label": ["a"]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    place = save(tmp_path / "d", train=datasets.Dataset.from_dict(columns, features=features))
    with pytest.raises(FileNotFoundError):
        list_rows(place).store.read("train/0")


def test_a_file_elsewhere_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture(1))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "own.png").write_bytes(picture(2))
    paths = [str(tmp_path / "secret.png"), str(tmp_path / "d" / "own.png")]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    columns = {"image": [{"bytes": None, "path": path} for path in paths], "label": ["a", "b"]}
    place = tmp_path / "d"
    datasets.Dataset.from_dict(columns, features=features).to_parquet(place / "data.parquet")
    store = list_rows(str(place)).store
    with pytest.raises(UserError, match=r"names a file outside of the data set: .*secret\.png"):
        store.read("train/0")
    assert store.read("train/1") == picture(2)


@pytest.mark.parametrize(
    "change", ["no picture", "two pictures", "no class", "a list", "no splits"]
)
def test_columns_that_are_not_clear_are_told(tmp_path: Path, change: str) -> None:
    found = table(["a", "b"])
    if change == "no picture":
        found = found.remove_columns("image")
    elif change == "two pictures":
        found = datasets.concatenate_datasets(
            [found, found.rename_columns({"image": "other", "label": "kind"})], axis=1
        )
    elif change == "no class":
        found = found.rename_column("label", "kind")
    elif change == "a list":
        found = found.remove_columns("label").add_column("label", [["a"], ["b"]])
    place = save(tmp_path / "d", **({} if change == "no splits" else {"train": found}))
    with pytest.raises(UserError, match=r"has no column of pictures and one of .* save_to_disk"):
        list_rows(place)


def test_what_cannot_be_loaded_is_told(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="could not be loaded"):
        list_rows(str(tmp_path / "empty"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the library datasets; pip install 'reslab\[hf\]'"):
        list_rows("anything")


def test_a_hub_that_is_not_reached_is_told_with_the_cause_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logger = logging.getLogger("huggingface_hub")
    printed = io.StringIO()
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(printed)])

    def load_dataset(path: str, configuration: str | None) -> None:
        # As the library does it: its error has lost its cause, which its log alone tells.
        logger.getChild("utils").warning("Name or service\nnot known")
        raise ConnectionError(f"Couldn't reach {path!r} on the Hub (LocalEntryNotFoundError)")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    told = (
        r"received Couldn't reach 'some/pets' .*NotFoundError\), since Name or service not known$"
    )
    with pytest.raises(UserError, match=told):
        list_rows("some/pets")
    assert printed.getvalue() == ""
    logger.warning("as before")
    assert printed.getvalue() == "as before\n"


def test_the_cause_of_an_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(path: str, configuration: str | None) -> None:
        raise ValueError("cannot be read") from KeyError("features")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(UserError, match=r"received cannot be read, since 'features'$"):
        list_rows("some/pets")


def test_a_single_split_is_what_its_name_says(tmp_path: Path) -> None:
    listing = list_rows(save(tmp_path / "d", test=table(["a", "b"])))
    assert {file.split for file in listing.files} == {"test"}


def test_a_split_without_the_classes_is_told(tmp_path: Path) -> None:
    place = save(
        tmp_path / "d", train=table(["a", "b"]), test=table(["a", "b"]).remove_columns("label")
    )
    with pytest.raises(UserError, match=r"has no column of pictures and one of .* test: image"):
        list_rows(place)


def test_splits_of_other_names_are_passed_over(tmp_path: Path) -> None:
    place = save(tmp_path / "d", train=table(["a", "b"]), unsupervised=table(["a", "b"]))
    listing = list_rows(place)
    assert {file.split for file in listing.files} == {"train"}
    assert [(item.path, item.reason) for item in listing.passed_over] == [
        ("unsupervised/", "outside")
    ]


def test_a_name_is_needed() -> None:
    with pytest.raises(UserError, match="hf: names no data set: expected a folder or a name"):
        list_rows("")
