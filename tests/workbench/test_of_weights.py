from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import reslab
from reslab.errors import UserError
from reslab.runs.folder import RunFolder
from reslab.workbench.of_weights import digest_weights, read_record, why_other


@pytest.fixture
def folder(trained: reslab.Run, tmp_path: Path) -> RunFolder:
    return RunFolder.open(shutil.copytree(trained.path, tmp_path / "run"))


def read(folder: RunFolder) -> int | None:
    return read_record(folder, "number.json", lambda d: int(d["n"]), command="count", version=2)


def test_a_record_is_parsed_where_there_is_one(folder: RunFolder) -> None:
    assert read(folder) is None
    (folder.path / "number.json").write_text(json.dumps({"format": 2, "n": 7}))
    assert read(folder) == 7


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"format": 3, "n": 7}', "expected format 2, received format 3"),
        ('{"format": 2}', "is damaged: expected what `reslab count` writes"),
        ('{"format": 2, "n": "x"}', "is damaged: expected what `reslab count` writes"),
        ("{", "number.json"),
    ],
)
def test_what_cannot_be_read_says_how_to_mend_it(
    folder: RunFolder, text: str, complaint: str
) -> None:
    (folder.path / "number.json").write_text(text)
    with pytest.raises(UserError, match=re.escape(complaint)) as caught:
        read(folder)
    assert f"`reslab count {folder.path}` writes it anew, or delete it" in str(caught.value)


def test_a_record_is_of_weights_as_they_were(folder: RunFolder) -> None:
    best = digest_weights(folder.weights("best"))
    assert why_other(folder, "best", weights="best", digest=best) == ""
    changed = why_other(folder, "best", weights="best", digest="0")
    assert changed.startswith("is left out of account, since the best weights have changed")
    other = why_other(folder, "best", weights="last", digest="0")
    assert other == "is of the last weights and not of the best ones"


def test_a_digest_tells_files_apart(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    (tmp_path / "again").write_text("a")
    digests = [digest_weights(tmp_path / name) for name in ("a", "b", "again", "missing")]
    assert digests[0] == digests[2] != digests[1]
    assert digests[3] == ""
