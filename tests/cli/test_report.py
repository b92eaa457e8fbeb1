"""``reslab report``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import reslab
from reslab.cli.main import run


def test_everything_is_drawn_anew_from_the_folder(
    trained: reslab.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = Path(shutil.copytree(trained.path, tmp_path / "moved"))
    drawn = ("curves.png", "confusion.png", "mistakes.png", "report.html")
    before = {name: (moved / name).read_bytes() for name in drawn}
    for name in drawn:
        (moved / name).unlink()
    assert run(["report", str(moved), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"reports": [str(moved / "report.html")]}
    assert {name: (moved / name).read_bytes() for name in drawn} == before
