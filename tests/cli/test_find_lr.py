"""``reslab find-lr``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reslab.cli.main import run

SMALL = ("--set", "data.limit=64", "--batch-size", "16", "--steps", "25")


def test_a_rate_is_suggested_with_its_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["find-lr", *SMALL, "--out", str(tmp_path / "rates.png")]) == 0
    told = capsys.readouterr().out
    assert "suggested: --lr 0." in told
    assert (tmp_path / "rates.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["rates.png"]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["find-lr", *SMALL, "--lr", "0.07", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["lr"] == 0.07
    assert document["suggestion"] in document["rates"]
    assert len(document["rates"]) == len(document["losses"]) == len(document["smoothed"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--steps", "3"), "a whole number of at least 20"),
        (("--steps", "many"), "a whole number of at least 20"),
        (("--model", "resnet21"), "unknown net 'resnet21'"),
        (("stray",), "stray"),
    ],
)
def test_mistakes_are_told(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["find-lr", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told


def test_a_picture_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["find-lr", *SMALL, "--out", str(tmp_path / "no" / "rates.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err
