"""``reslab calibrate``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import reslab
from reslab.cli.main import run
from tests.contract.complaints import complaint

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = reslab.recipe(training={"epochs": 2}, data={"limit": 200, "validation": 100})
    return reslab.train(spec, out=tmp_path_factory.mktemp("runs") / "digits").path


@pytest.fixture
def digits_run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_json_is_what_the_run_keeps(digits_run: Path, capsys: Capture) -> None:
    assert run(["calibrate", str(digits_run), "--coverage", "0.6", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    stored = json.loads((digits_run / "calibration.json").read_text())
    assert stored.pop("format") == 1
    picture = str(digits_run / "confidence.png")
    assert document == {**stored, "run": str(digits_run), "picture": picture}
    assert (document["n"], document["target"]) == (100, {"coverage": 0.6})
    assert 0.6 <= document["coverage"] == document["accepted"] / 100
    assert document["nll_after"] <= document["nll_before"]


def test_the_lines_name_what_was_found(digits_run: Path, capsys: Capture) -> None:
    arguments = ["calibrate", str(digits_run), "--coverage", "0.6", "--use", "last"]
    assert run(arguments) == 0
    text = capsys.readouterr().out
    stored = json.loads((digits_run / "calibration.json").read_text())
    assert f"temperature {stored['temperature']:.4g} for the last weights, from 100" in text
    for key in ("ece_before", "ece_after", "ece_cross_fitted"):
        assert f"{100 * stored[key]:.2f} %" in text
    assert f"threshold {stored['threshold']:.4g} for coverage 60.00 %" in text
    assert f"n = {stored['accepted']})" in text
    assert text.splitlines()[-1] == str(digits_run / "confidence.png")


def test_no_opening_of_the_test_split_is_made(digits_run: Path, capsys: Capture) -> None:
    before = (digits_run / "openings.jsonl").read_bytes()
    assert run(["calibrate", str(digits_run), "--coverage", "1"]) == 0
    assert (digits_run / "openings.jsonl").read_bytes() == before


@pytest.mark.parametrize("option", ["--accuracy", "--coverage"])
@pytest.mark.parametrize("value", ["0", "-0.5", "1.01", "99", "nan", "much", ""])
def test_shares_out_of_range(digits_run: Path, capsys: Capture, option: str, value: str) -> None:
    said = complaint(capsys, digits_run, "calibrate", digits_run, option, value)
    assert f"{option} cannot be used: expected a number above 0 and at most 1" in said


def test_two_targets(digits_run: Path, capsys: Capture) -> None:
    options = ("--accuracy", "0.9", "--coverage", "0.9")
    assert "exclude" in complaint(capsys, digits_run, "calibrate", digits_run, *options)


def test_a_run_on_arrays_cannot_be_calibrated_from_here(
    trained: reslab.Run, tmp_path: Path, capsys: Capture
) -> None:
    own = shutil.copytree(trained.path, tmp_path / "tiny")
    complaint(capsys, tmp_path, "calibrate", own)


def test_a_run_without_validation(tmp_path: Path, capsys: Capture) -> None:
    spec = reslab.recipe(training={"epochs": 1}, data={"limit": 50, "validation": 0})
    own = reslab.train(spec, out=tmp_path / "run").path
    said = complaint(capsys, tmp_path, "calibrate", own)
    assert "trained with data.validation=0" in said
