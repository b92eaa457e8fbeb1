"""Settings as the options of the command at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from reslab.cli import main
from reslab.cli.options import SETTINGS, in_options, option
from reslab.spec.faults import leaves
from reslab.spec.run import RunSpec
from tests.workbench.test_sources import shade

ALL = {f"--{option(name)}" for name in SETTINGS}


def test_options_stand_for_settings_that_there_are() -> None:
    assert set(SETTINGS.values()) <= {name for name, _ in leaves(RunSpec)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data.fit is wrong; give --set data.fit=VALUE", "--fit is wrong; give --fit VALUE"),
        ("set training.lr=0.1, or (training.epochs)", "set --lr 0.1, or (--epochs)"),
        ("data.folds=5; leave data.fold out", "--folds 5; leave data.fold out"),
        ("unknown setting data.ft; did you mean data.fit?", None),
        ("data.fit.x my/data.fit data.fits xdata.fit data.fit/a.png", None),
        ("lower data.test", None),
    ],
)
def test_a_text_in_options(text: str, expected: str | None) -> None:
    assert in_options(text, ALL) == (expected or text)
    assert in_options(text, ()) == text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "--batch-size", "1400"], "--batch-size is larger than the 1293"),
        (["train", "--batch-size", "1400"], "set --batch-size auto"),
        (["train", "--set", "training.batch_size=1400"], "set training.batch_size=auto"),
        (["train", "--set=training.batch_size=1400"], "set training.batch_size=auto"),
        (["train", "--epochs", "0"], "correct it with --epochs VALUE"),
        (["find-lr", "--data", "mnits"], "--data: unknown data set 'mnits'"),
        (["train", "--exclude", "none.txt"], "--exclude has no meaning for digits"),
        (["data", "preview", "digits", "--out", "x.png", "--image-size", "9"], "--image-size has"),
        (
            ["data", "preview", "digits", "--out", "x.png", "--image-size", "x"],
            "--image-size cannot be used: expected a whole number or auto, received 'x'; correct "
            "it with --image-size VALUE",
        ),
    ],
)
def test_a_command_speaks_of_its_options(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.run(arguments) == 2
    assert told in capsys.readouterr().err


def test_a_run_that_is_resumed_keeps_the_names_of_its_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text("format: 2\ntraining: {lr: x}\n")
    assert main.run(["train", "--resume", str(tmp_path)]) == 2
    assert "training.lr cannot be used" in capsys.readouterr().err


def test_a_check_speaks_of_its_background(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shade(tmp_path / "shades", 4)
    Image.new("RGBA", (20, 20), (128, 128, 128, 0)).save(root / "dark/clear.png")
    assert main.run(["data", "check", str(root)]) == 0
    out = capsys.readouterr().out
    assert "can be seen on --background" in out and "data.background" not in out
