"""``reslab runs``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import reslab
from reslab.cli.main import run


def test_runs_are_listed_the_best_first(
    trained: reslab.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = Path(shutil.copytree(trained.path, tmp_path / "a-good"))
    poor = Path(shutil.copytree(trained.path, tmp_path / "b-poor"))
    broken = Path(shutil.copytree(trained.path, tmp_path / "c-broken"))
    unfinished = Path(shutil.copytree(trained.path, tmp_path / "d-unfinished"))
    metrics = json.loads((poor / "metrics.json").read_text())
    metrics["test"]["best"]["top1"] = -1.0
    (poor / "metrics.json").write_text(json.dumps(metrics))
    (broken / "run.yaml").write_text("data: [")
    (unfinished / "metrics.json").unlink()
    (tmp_path / "no-run").mkdir()
    assert run(["runs", str(tmp_path), "--json"]) == 0
    captured = capsys.readouterr()
    rows = json.loads(captured.out)["runs"]
    assert rows[0]["run"] == str(good)
    assert {row["run"] for row in rows} == {str(good), str(poor), str(unfinished)}
    assert {"run", "data", "model", "top1"} <= set(rows[0])
    assert "c-broken" in captured.err
    assert run(["runs", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "a-good" in table
    assert "unfinished" in table


def test_runs_are_compared_by_the_settings_in_which_they_differ(
    trained: reslab.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        shutil.copytree(trained.path, tmp_path / name)
    text = (tmp_path / "b" / "run.yaml").read_text()
    assert "weight_decay: 0.0005" in text
    (tmp_path / "b" / "run.yaml").write_text(
        text.replace("weight_decay: 0.0005", "weight_decay: 0.25")
    )
    assert run(["runs", str(tmp_path), "--json"]) == 0
    rows = {Path(r["run"]).name: r for r in json.loads(capsys.readouterr().out)["runs"]}
    assert rows["a"]["settings"] == {"training.weight_decay": 0.0005}
    assert rows["b"]["settings"] == {"training.weight_decay": 0.25}
    assert rows["a"]["last_top1"] == trained.metrics["test"]["last"]["top1"]
    assert run(["runs", str(tmp_path)]) == 0
    assert "b: training.weight_decay=0.25" in capsys.readouterr().out


def test_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", str(tmp_path)]) == 0
    assert "no runs" in capsys.readouterr().out
