"""What data sets are called; paths that cannot be followed are in test_datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from reslab.catalog.data_names import is_own, label_in, name_and_root, name_of, why_unknown


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("wds:shards/pets/{000..127}.tar::more/x.tar", "wds:pets"),
        ("hf:someone/pets:small", "hf:pets-small"),
        ("lists/pets.csv", "folder:pets"),
        ("lists/pets.old", "folder:pets.old"),
        ("/", "folder:pictures"),
    ],
)
def test_pictures_are_called_by_what_they_are(place: str, name: str) -> None:
    assert name_of(place) == name
    assert is_own(name) and why_unknown(name) == ""
    assert label_in(name) == name.partition(":")[2]


def test_what_is_typed_as_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me").mkdir()
    assert name_and_root("~") == ("folder:me", "~")
    assert name_and_root("hf:someone/pets") == ("hf:pets", "hf:someone/pets")
    assert name_and_root("folder:pets", "x") == ("folder:pets", "x")


def test_a_word_may_have_been_meant_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert why_unknown("mnits") == (
        "unknown data set 'mnits', and there is no folder or manifest ./mnits; did you mean "
        "'mnist'?"
    )
    assert "./pets2: expected one of digits, mnist, " in why_unknown("pets2")
    (tmp_path / "pets2").mkdir()
    assert "which is a folder or file; name it with --data ./pets2" in why_unknown("pets2")
    assert why_unknown("x" * 5000).startswith("unknown data set 'xxx")
