"""``reslab doctor``."""

from __future__ import annotations

import json

import pytest

from reslab.cli.main import run


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"device", "precision", "threads", "features"} <= set(document)
    assert set(document["reasons"]) == {
        "device",
        "precision",
        "memory_format",
        "threads",
        "kernels",
    }
    if document["device"] == "cpu":
        assert (document["precision"] == "bf16") == document["features"]["amx_bf16"]


def test_text_gives_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "because" in text
    assert "torch" in text
