"""Folders of cross-validations, opened; what they hold is tested in test_cross_validate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import reslab
from reslab.errors import UserError
from reslab.runs.files import locked
from reslab.spec.text import format_document
from reslab.workbench.folds import is_cross_validation, open_folds

SOURCE = {"name": "digits", "fingerprint": "0" * 64}


def write(path: Path, **changes: object) -> Path:
    path.mkdir()
    spec = reslab.recipe(data={"folds": 3}).model_dump(mode="json")
    (path / "folds.yaml").write_text(
        format_document({"format": 1, "source": SOURCE, **spec, **changes})
    )
    return path


def test_it_is_opened_without_torch(tmp_path: Path) -> None:
    path = write(tmp_path / "run")
    code = (
        "import sys; from reslab.workbench.folds import open_folds; "
        f"print(open_folds({str(path)!r}).spec.data.folds, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3 False\n"
    assert is_cross_validation(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected format 1, received 2"):
        open_folds(write(tmp_path / "run", format=2))


def test_without_its_source_it_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is damaged"):
        open_folds(write(tmp_path / "run", source=None))


def test_before_its_end_it_is_running_or_not(tmp_path: Path) -> None:
    found = open_folds(write(tmp_path / "run"))
    assert found.status == "unfinished"
    with locked(found.path):
        assert found.status == "running"
    (found.path / "summary.json").write_text("{}")
    assert found.status == "finished"


def test_what_is_none_is_told(trained: reslab.Run, tmp_path: Path) -> None:
    assert not is_cross_validation(trained.path)
    with pytest.raises(UserError, match="received a run"):
        open_folds(trained.path)
    with pytest.raises(UserError, match="is no cross-validation"):
        open_folds(tmp_path / "nowhere")
