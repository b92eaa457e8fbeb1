"""``reslab evaluate``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import reslab
from reslab.cli.main import run
from reslab.runs.files import locked


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = reslab.recipe(
        training={"epochs": 1}, data={"limit": 80, "validation": 50}, seeds={"base": 1}
    )
    return reslab.train(spec, out=tmp_path_factory.mktemp("runs") / "digits").path


def test_json(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", str(digits_run), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["split"], document["weights"], document["n"]) == ("test", "best", 360)
    stored = json.loads((digits_run / "metrics.json").read_text())["test"]["best"]
    assert document["top1"] == stored["top1"]
    assert sum(c["support"] for c in document["per_class"]) == 360


def test_each_opening_of_the_test_split_is_written_down(
    digits_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def openings() -> list[dict[str, object]]:
        lines = (digits_run / "openings.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    before = len(openings())
    assert run(["evaluate", str(digits_run), "--split", "val"]) == 0
    assert len(openings()) == before
    assert run(["evaluate", str(digits_run), "--use", "last"]) == 0
    assert len(openings()) == before + 1
    assert openings()[-1]["by"] == "evaluate"
    assert openings()[-1]["weights"] == ["last"]
    assert openings()[0]["by"] == "train"
    assert "precision" in capsys.readouterr().out


def test_validation_agrees_with_the_history(
    digits_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(digits_run), "--split", "val", "--use", "last", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    last = reslab.load_run(digits_run).history[-1]
    assert document["top1"] == last.val_accuracy
    assert document["loss"] == pytest.approx(last.val_loss, rel=1e-6)


def test_the_same_data_by_name(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", str(digits_run), "--data", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 360


def test_what_of_another_folder_is_scored_is_said(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, count in (("train", 3), ("val", 2)):
        for label in "0123456789":
            folder = tmp_path / "own" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("L", (8, 8), number).save(folder / f"{number}.png")
    command = ["evaluate", str(digits_run), "--data", str(tmp_path / "own")]
    assert run([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["data"], document["part"], document["n"]) == ("folder:own", "val", 20)
    assert run(command) == 0
    assert "scored on folder:own, its images for validation\n" in capsys.readouterr().out


def test_a_run_stopped_in_its_first_epoch_is_scored_all_the_same(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = Path(shutil.copytree(digits_run, tmp_path / "stopped"))
    (stopped / "metrics.json").write_text('{"status": "interrupted"}')
    header = (stopped / "history.csv").read_text().splitlines()[0]
    (stopped / "history.csv").write_text(header + "\n")
    assert run(["evaluate", str(stopped)]) == 0
    assert "test accuracy" in capsys.readouterr().out


def test_evaluating_a_run_that_was_stopped_completes_its_report(
    digits_run: Path, tmp_path: Path
) -> None:
    stopped = Path(shutil.copytree(digits_run, tmp_path / "stopped"))
    metrics = json.loads((stopped / "metrics.json").read_text())
    test = metrics.pop("test")
    (stopped / "metrics.json").write_text(json.dumps({**metrics, "status": "interrupted"}))
    (stopped / "confusion.png").unlink()
    assert run(["evaluate", str(stopped)]) == 0
    assert json.loads((stopped / "metrics.json").read_text())["test"]["best"] == test["best"]
    assert (stopped / "confusion.png").is_file()


def test_the_test_split_of_a_run_in_training_stays_closed(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    going = Path(shutil.copytree(digits_run, tmp_path / "going"))
    (going / "metrics.json").unlink()
    before = (going / "openings.jsonl").read_text()
    with locked(going):
        assert run(["evaluate", str(going)]) == 2
        assert "is in use: received another process that trains" in capsys.readouterr().err
        assert (going / "openings.jsonl").read_text() == before
        assert run(["evaluate", str(going), "--split", "val"]) == 0


def test_confidence_is_scored_with_and_without_a_calibration(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(shutil.copytree(digits_run, tmp_path / "own"))
    assert run(["evaluate", str(own), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert 0 < plain["ece"] < 1
    assert "temperature" not in plain
    openings = (own / "openings.jsonl").read_text().count("\n")
    assert run(["calibrate", str(own), "--coverage", "0.5", "--json"]) == 0
    calibration = json.loads(capsys.readouterr().out)
    assert run(["evaluate", str(own), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (own / "openings.jsonl").read_text().count("\n") == openings + 1
    assert {key: document[key] for key in plain} == plain
    assert document["threshold"] == calibration["threshold"]
    assert document["coverage"] == document["accepted"] / 360
    assert document["accepted_top1"] == document["accepted_right"] / document["accepted"]
    low, high = document["accepted_top1_interval"]
    assert low < document["accepted_top1"] < high
    # A net of one epoch is far from sure of what it could know.
    assert document["nll_calibrated"] < document["loss"]
    assert document["ece_calibrated"] < document["ece"]


def test_on_validation_it_gives_the_fitted_figures_and_says_so(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(shutil.copytree(digits_run, tmp_path / "own"))
    assert run(["evaluate", str(own), "--split", "val"]) == 0
    text = capsys.readouterr().out
    assert "calibration error (ECE) " in text
    assert "temperature" not in text
    assert run(["calibrate", str(own), "--coverage", "0.5", "--json"]) == 0
    calibration = json.loads(capsys.readouterr().out)
    assert run(["evaluate", str(own), "--split", "val"]) == 0
    text = capsys.readouterr().out
    ends = (f"{100 * calibration[f'ece_{key}']:.2f} %" for key in ("before", "after"))
    assert "calibration error (ECE) {}, {} with temperature".format(*ends) in text
    assert f"{100 * calibration['coverage']:.2f} % are accepted" in text
    assert "fitted on these images" in text


def test_a_damaged_calibration_costs_no_opening(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(shutil.copytree(digits_run, tmp_path / "own"))
    (own / "calibration.json").write_text("{")
    before = (own / "openings.jsonl").read_text()
    assert run(["evaluate", str(own)]) == 2
    assert (own / "openings.jsonl").read_text() == before


def test_another_engine_scores_and_leaves_the_record_alone(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = Path(shutil.copytree(digits_run, tmp_path / "stopped"))
    (stopped / "metrics.json").write_text('{"status": "finished"}')
    assert run(["evaluate", str(stopped), "--engine", "folded", "--json"]) == 0
    captured = capsys.readouterr()
    folded = json.loads(captured.out)
    assert folded["engine"] == "folded"
    assert "not written into the run" in captured.err
    assert "test" not in json.loads((stopped / "metrics.json").read_text())
    assert run(["evaluate", str(stopped), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["engine"] == "eager"
    assert plain["loss"] == pytest.approx(folded["loss"], rel=1e-4)
    assert json.loads((stopped / "metrics.json").read_text())["test"]["best"]["n"] == 360


def test_mirror_images_score_and_leave_the_record_alone(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = Path(shutil.copytree(digits_run, tmp_path / "stopped"))
    (stopped / "metrics.json").write_text('{"status": "finished"}')
    assert run(["evaluate", str(stopped), "--flip"]) == 0
    captured = capsys.readouterr()
    assert "best weights, averaged over mirror images" in captured.out
    assert "keeps what the engine eager gives with its own evaluation.flip" in captured.err
    assert "test" not in json.loads((stopped / "metrics.json").read_text())
    assert run(["evaluate", str(stopped), "--no-flip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["flip"] is False
    assert "test" in json.loads((stopped / "metrics.json").read_text())


def test_an_engine_that_cannot_be_used_opens_no_test_split(
    digits_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    before = (digits_run / "openings.jsonl").read_text()
    assert run(["evaluate", str(digits_run), "--engine", "inductor"]) == 2
    assert "there is no C++ compiler (no-such-compiler)" in capsys.readouterr().err
    assert (digits_run / "openings.jsonl").read_text() == before
