"""``reslab doctor``."""

from __future__ import annotations

import json
import sys

import pytest

from reslab.cli.main import run
from reslab.inference.catalog import ENGINES


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


def test_engines_are_listed_with_what_is_in_their_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert run(["doctor", "--json"]) == 0
    engines = json.loads(capsys.readouterr().out)["engines"]
    assert list(engines) == [entry.name for entry in ENGINES]
    assert engines["eager"] == {"usable": True, "reason": "", "remedy": ""}
    assert engines["onnxruntime"]["usable"] is False
    assert "onnxscript" in engines["onnxruntime"]["reason"]
    assert "reslab[export]" in engines["onnxruntime"]["remedy"]
    assert run(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "inference engine" in text and "reslab[export]" in text


def test_what_quantising_needs_is_told_where_it_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setitem(sys.modules, "nncf", None)
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["engines"]["openvino-int8"]
    # A model that was made elsewhere runs all the same.
    assert found["usable"] is True
    assert "no model can be made for it: nncf is not installed" in found["reason"]
    assert "reslab[export]" in found["remedy"]
