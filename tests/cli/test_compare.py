"""``reslab compare``, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reslab.cli.main import run

TINY = ("--set", "data.limit=60", "--set", "data.validation=100", "--epochs", "1", "--folds", "2")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("folds")
    for name, lr in (("a", "0.05"), ("b", "0.01")):
        assert run(["train", *TINY, "--lr", lr, "--out", str(folder / name)]) == 0
    return str(folder / "a"), str(folder / "b")


def test_two_are_compared(two: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", *two, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["scores"]) == 2
    assert document["settings"] == {"training.lr": [0.05, 0.01]}
    low, high = document["interval"]
    assert low <= document["difference"] <= high
    for metric, name in (("top1", "accuracy"), ("loss", "loss")):
        assert run(["compare", *two, "--metric", metric]) == 0
        text = capsys.readouterr().out
        assert f"difference of {name}" in text
        assert "training.lr: 0.05, 0.01" in text
    assert run(["compare", two[0], two[0]]) == 0
    text = capsys.readouterr().out
    assert "no difference is shown" in text
    assert "their settings are the same" in text


def test_mistakes_are_told(
    two: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", two[0], str(tmp_path)]) == 2
    assert "is no cross-validation" in capsys.readouterr().err
    assert run(["compare", two[0], f"{two[0]}/fold-1"]) == 2
    assert "received a run" in capsys.readouterr().err
    assert run(["train", "--folds", "1", "--out", str(tmp_path / "run")]) == 2
    assert "--folds cannot be used: expected at least 2" in capsys.readouterr().err
    assert run(["train", "--resume", two[0], "--folds", "3"]) == 2
    assert "--folds cannot be given" in capsys.readouterr().err
    groups = tmp_path / "groups.txt"
    groups.write_text("a\nb\n")
    out = tmp_path / "out"
    assert run(["train", "--folds", "2", "--group-by", str(groups), "--out", str(out)]) == 2
    assert "expected 1437 lines" in capsys.readouterr().err
    assert not out.exists()
