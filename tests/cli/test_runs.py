"""``reslab runs``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import reslab
from reslab.cli.main import run
from reslab.runs.files import locked


def test_runs_are_listed_the_best_first(
    trained: reslab.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = Path(shutil.copytree(trained.path, tmp_path / "a-good"))
    poor = Path(shutil.copytree(trained.path, tmp_path / "b-poor"))
    broken = Path(shutil.copytree(trained.path, tmp_path / "c-broken"))
    killed = Path(shutil.copytree(trained.path, tmp_path / "d-killed"))
    metrics = json.loads((poor / "metrics.json").read_text())
    metrics["test"]["best"]["top1"] = -1.0
    (poor / "metrics.json").write_text(json.dumps(metrics))
    (broken / "run.yaml").write_text("data: [")
    (killed / "metrics.json").unlink()
    (tmp_path / "no-run").mkdir()
    assert run(["runs", str(tmp_path), "--json"]) == 0
    captured = capsys.readouterr()
    rows = json.loads(captured.out)["runs"]
    assert rows[0]["run"] == str(good)
    assert {row["run"] for row in rows} == {str(good), str(poor), str(killed)}
    assert {row["epochs"] for row in rows} == {2}
    assert {"run", "data", "model", "top1"} <= set(rows[0])
    assert "c-broken" in captured.err
    assert run(["runs", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "a-good" in table
    assert {row["run"]: row["status"] for row in rows}[str(killed)] == "killed"
    assert "killed" in table
    with locked(killed):
        assert run(["runs", str(tmp_path)]) == 0
    assert "running" in capsys.readouterr().out


def test_an_interrupted_run_stays_one_when_it_is_tested(
    trained: reslab.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copytree(trained.path, tmp_path / "run"))
    metrics = json.loads((path / "metrics.json").read_text())
    (path / "metrics.json").write_text(json.dumps(metrics | {"status": "interrupted"}))
    assert run(["runs", str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if str(path) in line]
    assert "interrupted" in line
    assert "%" in line
    shutil.rmtree(path)
    shutil.copytree(trained.path, path)
    assert run(["runs", str(tmp_path)]) == 0
    assert "status" not in capsys.readouterr().out


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
    text = (tmp_path / "b" / "run.yaml").read_text()
    (tmp_path / "b" / "run.yaml").write_text(text.replace("flip: false", "flip: true"))
    assert run(["runs", str(tmp_path)]) == 0
    assert "data.augment.flip=true" in capsys.readouterr().out


def test_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", str(tmp_path)]) == 0
    assert "no runs" in capsys.readouterr().out
