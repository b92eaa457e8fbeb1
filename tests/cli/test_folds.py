"""``reslab train --folds``, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reslab.cli.main import run

TINY = ("--set", "data.limit=60", "--set", "data.validation=100", "--epochs", "1", "--folds", "2")


def test_folds_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert run(["train", *TINY, "--log", "tensorboard", "--out", out]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[-1] == out
    assert "accuracy of 2 folds" in captured.out
    assert "(mean ± sd)" in captured.out
    assert "test accuracy" in captured.out
    assert "fold 1 of 2" in captured.err
    assert "the final net, on all folds" in captured.err
    for name in ("fold-1", "fold-2", "final"):
        assert len(list((tmp_path / "run" / name / "tensorboard").iterdir())) == 1
    assert run(["runs", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["run"], row["split"], row["status"]) == (out, "mean of 2 folds", "finished")
    assert run(["runs", out]) == 0
    assert "scored on" in capsys.readouterr().out
    assert run(["evaluate", out]) == 2
    assert "is a cross-validation, not a run" in capsys.readouterr().err
    # Resumed it is finished, and tells the same.
    assert run(["train", "--resume", out, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["run"], document["folds"]) == (out, 2)


def test_a_fold_is_evaluated_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", *TINY, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    path = tmp_path / "run" / "fold-2"
    stored = json.loads((path / "metrics.json").read_text())["fold"]["best"]
    assert run(["evaluate", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["split"] == "fold"
    assert (document["n"], document["top1"]) == (stored["n"], stored["top1"])
    assert run(["evaluate", str(tmp_path / "run" / "final"), "--split", "fold"]) == 2
    assert "is no fold of a cross-validation" in capsys.readouterr().err


def test_the_printed_config_gives_the_same_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", *TINY, "--print-config"]) == 0
    (tmp_path / "asked.yaml").write_text(capsys.readouterr().out)
    arguments = ["--config", str(tmp_path / "asked.yaml"), "--print-config"]
    assert run(["train", *arguments]) == 0
    assert capsys.readouterr().out == (tmp_path / "asked.yaml").read_text()
