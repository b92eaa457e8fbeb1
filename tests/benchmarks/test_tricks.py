import importlib
import json
import math

import pytest

from reslab.errors import UserError

COMMAND = ("--data", "digits", "--validation", "100")


@pytest.fixture
def tricks(benchmarks):
    return importlib.import_module("tricks")


@pytest.fixture
def planted(tricks, monkeypatch):
    """Trainings whose accuracy is planted; tells what was trained."""
    trained = []

    def train(prepared):
        trained.append(prepared.run)
        seed = prepared.run.seeds.base
        whole = tricks.prepare(tricks.WHOLE, seed, tricks.parse([*COMMAND, "--out", "-"])).run
        return {
            "accuracy": 0.9 + seed / 1000 - (0.01 if prepared.run != whole else 0.0),
            "loss": 0.3,
            "seconds": 7.0,
        }

    monkeypatch.setattr(tricks, "train", train)
    return trained


@pytest.fixture
def main(tricks, monkeypatch, tmp_path):
    """The script on a file of its own."""

    def run(*arguments):
        out = tmp_path / "found.json"
        monkeypatch.setattr("sys.argv", ["tricks.py", *COMMAND, *arguments, "--out", str(out)])
        tricks.main()
        return json.loads(out.read_text())

    return run


def test_each_part_is_left_out_once_a_seed_and_done_once(tricks, planted, main, capsys):
    variants = [name for name in tricks.VARIANTS if name != "without mirroring"]
    assert len(main("--seeds", "0", "1")["trainings"]) == len(planted) == 2 * len(variants)
    told = capsys.readouterr()
    # What digits have none of cannot be left out.
    assert "without mirroring: the recipe is the same on digits" in told.err
    rows = [line for line in told.out.splitlines() if line.startswith("| ")][1:]
    assert rows[0] == "| all of it | 2 | 90.05 ± 0.07 | - | 0.3000 | 7 s |"
    assert len(rows) == len(variants)
    assert all("| -1.00 (-1.00 to -1.00) |" in row for row in rows[1:])
    main("--seeds", "0", "1")
    assert len(planted) == 2 * len(variants)


def test_a_file_of_other_work_is_not_gone_on_with(tricks, planted, main):
    main("--seeds", "0", "--variants", tricks.WHOLE)
    with pytest.raises(UserError, match="has trainings of other work"):
        main("--seeds", "1", "--variants", tricks.WHOLE, "--set", "training.epochs=3")
    assert len(planted) == 1


def test_a_training_is_judged_on_validation_and_leaves_the_test_split_shut(tricks, monkeypatch):
    source = importlib.import_module("reslab.data.catalog").open_source("digits", None)
    monkeypatch.setattr(
        type(source), "load_test", lambda _: pytest.fail("the test split was opened")
    )
    settings = ["data.limit=64", "training.batch_size=32", "training.epochs=1"]
    options = tricks.parse([*COMMAND, "--set", *settings, "--out", "-"])
    found = tricks.train(tricks.prepare(tricks.WHOLE, 0, options))
    assert found["accuracy"] * 100 == pytest.approx(round(found["accuracy"] * 100))
    assert math.isfinite(found["loss"])
    assert found["epochs"] == 1 and found["seconds"] > 0
