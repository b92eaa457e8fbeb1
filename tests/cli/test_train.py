"""``reslab train`` from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from reslab.cli.main import run

SHORT = ("--epochs", "2", "--set", "data.limit=80", "--set", "data.validation=50")


def test_the_last_line_is_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["train", *SHORT]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert Path(lines[-1]).parent == Path("runs")
    assert lines[-1].startswith("runs/digits-resnet14-")
    assert (tmp_path / lines[-1] / "report.html").is_file()
    assert "test accuracy" in captured.out
    assert "95 % interval" in captured.out
    assert "epoch 1/2 step 1/" in captured.err
    assert "epoch 2/2  training loss" in captured.err


def test_json_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", *SHORT, "--out", str(tmp_path / "run"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    for key in (
        "run",
        "split",
        "n",
        "top1",
        "top1_interval",
        "top5",
        "loss",
        "per_class",
        "epochs",
        "train_seconds",
        "compile_seconds",
        "images_per_second",
        "last",
    ):
        assert key in document, key
    assert document["n"] == 360
    assert document["epochs"] == 2
    low, high = document["top1_interval"]
    assert low <= document["top1"] <= high
    assert {"class", "precision", "recall", "f1", "support"} <= set(document["per_class"][0])


def test_a_printed_config_gives_the_identical_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", *SHORT, "--seed", "3", "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "config.yaml").write_text(printed)
    config = ["--config", str(tmp_path / "config.yaml")]
    assert run(["train", *config, "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    assert run(["train", *SHORT, "--seed", "3", "--out", str(tmp_path / "a")]) == 0
    assert run(["train", *config, "--out", str(tmp_path / "b")]) == 0
    for file in ("run.yaml", "weights/last.safetensors", "weights/best.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_print_config_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--print-config", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["training"]["epochs"] >= 1
    assert "auto" not in json.dumps(document)


def test_a_seed_goes_before_those_that_were_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--print-config"]) == 0
    config = tmp_path / "config.yaml"
    config.write_text(capsys.readouterr().out)
    assert run(["train", "--config", str(config), "--seed", "5", "--print-config"]) == 0
    seeds = yaml.safe_load(capsys.readouterr().out)["seeds"]
    assert seeds == {"base": 5, "initialisation": 5, "order": 5, "augmentation": 5}


@pytest.mark.parametrize(
    "flags", [("--data", "mnist"), ("--recipe", "paper"), ("--set", "data.name=mnist")]
)
def test_a_decided_run_is_not_half_changed(
    flags: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--print-config"]) == 0
    config = tmp_path / "config.yaml"
    config.write_text(capsys.readouterr().out)
    assert run(["train", "--config", str(config), *flags]) == 2
    assert "does not go with a configuration that was decided" in capsys.readouterr().err


def test_a_run_is_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reslab.workbench.train._conclude", _interrupt)
        assert run(["train", *SHORT, "--out", out]) == 130
    assert f"go on with `reslab train --resume {out}`" in capsys.readouterr().err
    assert run(["train", "--resume", out, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["epochs"] == 2
    assert "epoch 1/" not in captured.err
    assert run(["train", "--resume", out]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"reslab: warning: {out} has finished already\n"
    assert captured.out.splitlines()[-1] == out


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "options",
    [
        ("--epochs", "9"),
        ("--seed", "1"),
        ("--set", "training.lr=1"),
        ("--out", "elsewhere"),
        ("--print-config",),
        ("--recipe", "paper"),
    ],
)
def test_a_resumed_run_keeps_its_settings(
    options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--resume", str(tmp_path), *options]) == 2
    text = capsys.readouterr().err
    assert f"a run that is resumed keeps its settings: {options[0]} cannot be given" in text
    assert f"with --config {tmp_path}/run.yaml" in text


def test_what_is_no_run_cannot_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--resume", str(tmp_path / "none")]) == 2
    assert "there is no run" in capsys.readouterr().err
    assert run(["train", "--resume", str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["0s", "-3", "soon", "1h30", "5 parsecs"])
def test_a_limit_that_is_no_time_is_refused(
    limit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--time-limit", limit, "--out", str(tmp_path / "run")]) == 2
    assert "--time-limit cannot be used" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_training_is_logged_and_so_is_what_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    twice = ("--log", "tensorboard", "--log", "tensorboard")
    assert run(["train", *SHORT, *twice, "--out", str(out)]) == 0
    assert len(list((out / "tensorboard").iterdir())) == 1
    (out / "metrics.json").unlink()  # as if it had been killed in its ending
    assert run(["train", "--resume", str(out), "--log", "tensorboard"]) == 0
    assert len(list((out / "tensorboard").iterdir())) == 2
    assert "failed" not in capsys.readouterr().err


@pytest.mark.parametrize("resumed", [False, True])
def test_a_tracker_that_cannot_be_used_is_told_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    resumed: bool,
) -> None:
    out = tmp_path / "run"
    where = ("--out", str(out))
    if resumed:
        out.mkdir()
        (out / "run.yaml").write_text("")
        monkeypatch.setattr("reslab.cli.train.open_run", lambda path: None)
        monkeypatch.setattr("reslab.cli.train.has_finished", lambda run: False)
        where = ("--resume", str(out))
    assert run(["train", *where, "--log", "tensorbord"]) == 2
    assert "did you mean 'tensorboard'?" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "reslab.tracking.mlflow", None)
    assert run(["train", *where, "--log", "mlflow"]) == 2
    assert capsys.readouterr().err.endswith("; `pip install 'reslab[track]'` installs them\n")
    assert [path.name for path in out.rglob("*")] == (["run.yaml"] if resumed else [])
