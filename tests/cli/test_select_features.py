"""``reslab select-features`` where nothing is computed; the rest is in the workbench's test."""

from __future__ import annotations

from pathlib import Path

import pytest

from reslab.cli.main import run


def test_mistakes_are_told_before_torch_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, told in (
        ([str(tmp_path / "none"), "--out", str(tmp_path / "out")], "there is no run"),
        ([str(tmp_path), "--out", str(tmp_path / "out")], "is not a run"),
        ([str(tmp_path), "--out", str(tmp_path / "out"), "--keep", "x"], "--keep cannot be used"),
    ):
        assert run(["select-features", *arguments]) == 2
        assert told in capsys.readouterr().err
    assert run(["select-features", str(tmp_path)]) == 2
    assert "--out" in capsys.readouterr().err
