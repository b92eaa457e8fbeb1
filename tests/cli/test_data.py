"""``reslab data``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from reslab.catalog.datasets import DATASETS
from reslab.cli.main import run


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["datasets"]
    assert [row["name"] for row in rows] == [card.name for card in DATASETS]
    assert run(["data", "list"]) == 0
    assert "fashion-mnist" in capsys.readouterr().out


def test_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, augmented = tmp_path / "plain.png", tmp_path / "augmented.png"
    assert run(["data", "preview", "digits", "--out", str(plain)]) == 0
    assert capsys.readouterr().out.strip() == str(plain)
    assert run(["data", "preview", "digits", "--out", str(augmented), "--seed", "1"]) == 0
    with Image.open(plain) as picture:
        assert min(picture.size) > 200
    assert plain.read_bytes() != augmented.read_bytes()
