"""``reslab quantize``."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

import reslab
from reslab.cli.main import run
from reslab.evaluation.quantization import Loss
from reslab.inference.nncf import WAYS
from reslab.workbench.quantized import FORMAT, Quantization, Trial
from tests.contract.complaints import complaint

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = reslab.recipe(training={"epochs": 1}, data={"limit": 100, "validation": 100})
    return reslab.train(spec, out=tmp_path_factory.mktemp("runs") / "digits").path


@pytest.fixture
def digits_run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def planted(*lost: int) -> Quantization:
    return Quantization(
        weights="best",
        weights_sha256="abc",
        calibration_images=1234,
        tolerance=0.01,
        tried=tuple(
            Trial(
                way=way,
                loss=Loss(
                    n=200,
                    right_fp32=150,
                    only_fp32=n,
                    only_int8=0,
                    changed=n + 1,
                    nll_fp32=0.25,
                    nll_int8=0.375,
                ),
            )
            for way, n in zip(WAYS, lost, strict=False)
        ),
        versions={"nncf": "3.4.0"},
        files={"int8/model.xml": "1", "int8/model.bin": "2"},
    )


def plant(monkeypatch: pytest.MonkeyPatch, *lost: int) -> list[dict[str, object]]:
    """What is found, in place of finding it; returns what it was asked for."""
    asked: list[dict[str, object]] = []

    def found(loaded: reslab.Run, **options: object) -> Quantization:
        asked.append(options)
        return planted(*lost)

    monkeypatch.setattr("reslab.workbench.quantize.quantize_run", found)
    monkeypatch.setattr(
        "reslab.workbench.quantize.time_engines",
        lambda *_, **__: {"openvino": 100.4, "openvino-int8": 1999.6},
    )
    return asked


@pytest.mark.skipif(find_spec("nncf") is None, reason="nncf is not installed")
def test_json_is_what_the_run_keeps_and_the_engine_is_there(
    digits_run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = {"openvino-int8": 10.0}
    monkeypatch.setattr("reslab.workbench.quantize.time_engines", lambda *_, **__: timed)
    openings = (digits_run / "openings.jsonl").read_bytes()
    arguments = ["quantize", str(digits_run), "--images", "20", "--tolerance", "1", "--json"]
    assert run(arguments) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    stored = json.loads((digits_run / "int8" / "record.json").read_text())
    assert stored.pop("format") == FORMAT
    assert document == {**stored, "run": str(digits_run), "images_per_second": timed}
    assert (document["n"], document["calibration_images"]) == (100, 20)
    # Nothing but what is done: not of the tools that do it.
    assert captured.err.splitlines() == [f"quantising with 20 training images: {WAYS[0]}"]
    assert (digits_run / "openings.jsonl").read_bytes() == openings
    chosen = ["evaluate", str(digits_run), "--split", "val", "--engine", "openvino-int8"]
    assert run(chosen) == 0
    text = capfd.readouterr().out
    assert f"val accuracy {100 * document['top1_int8']:.2f} %" in text
    assert "best weights, engine openvino-int8" in text


def test_the_lines_name_what_was_found(
    digits_run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = plant(monkeypatch, 3, 1)
    assert run(["quantize", str(digits_run)]) == 0
    text = capsys.readouterr().out
    assert (asked[0]["images"], asked[0]["tolerance"], asked[0]["use"]) == (300, 0.002, "best")
    assert "ranges of 1,234 training images, judged on 200 validation images" in text
    for way, accuracy, lost, other in (
        (WAYS[0], "73.50 %", "1.50 (", "2.00 %"),
        (WAYS[1], "74.50 %", "0.50 (", "1.00 %"),
    ):
        (line,) = [line for line in text.splitlines() if line.startswith(str(way))]
        for part in ("75.00 %", accuracy, lost, other, "0.2500", "0.3750"):
            assert part in line
    assert "on other images is not certain" in text
    assert "2,000" in text and "--engine eager never takes it" in text
    assert text.splitlines()[-1] == str(digits_run / "int8")


@pytest.mark.parametrize("json_too", [False, True])
def test_where_too_much_is_lost_nothing_is_kept_and_the_code_is_1(
    digits_run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, json_too: bool
) -> None:
    plant(monkeypatch, 6, 4)
    arguments = ["quantize", str(digits_run), "--tolerance", "0.01"]
    assert run([*arguments, *(["--json"] if json_too else [])]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "reslab: nothing is kept: in int8 accuracy on validation falls by 2.00 points, more than "
        "the 1.00 points that are allowed; more --images may help, or a higher --tolerance"
    ]
    if json_too:
        document = json.loads(captured.out)
        assert (document["passed"], document["drop"]) == (False, 0.02)
        assert len(document["tried"]) == 2
    else:
        assert str(WAYS[1]) in captured.out and "images/s" not in captured.out


@pytest.mark.parametrize("value", ["-0.1", "1.01", "99", "nan", "much", ""])
def test_a_tolerance_out_of_range(digits_run: Path, capsys: Capture, value: str) -> None:
    said = complaint(capsys, digits_run, "quantize", digits_run, "--tolerance", value)
    assert "--tolerance cannot be used" in said


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "all", ""])
def test_a_number_of_images_that_is_none(digits_run: Path, capsys: Capture, value: str) -> None:
    said = complaint(capsys, digits_run, "quantize", digits_run, "--images", value)
    assert "--images cannot be used" in said


def test_no_run(tmp_path: Path, capsys: Capture) -> None:
    complaint(capsys, tmp_path, "quantize", tmp_path / "nowhere")


def test_a_run_without_validation(
    digits_run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (digits_run / "run.yaml").read_text()
    assert "val_images: 100" in text
    (digits_run / "run.yaml").write_text(text.replace("val_images: 100", "val_images: 0"))
    said = complaint(capsys, digits_run, "quantize", digits_run)
    assert "trained with data.validation=0" in said


def test_the_engine_needs_a_model(digits_run: Path, capsys: Capture) -> None:
    options = ("--engine", "openvino-int8")
    said = complaint(capsys, digits_run, "evaluate", digits_run, *options)
    assert f"`reslab quantize {digits_run}` makes one for them" in said
