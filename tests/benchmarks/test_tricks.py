import importlib
import json
import math

import pytest


@pytest.fixture
def tricks(benchmarks):
    return importlib.import_module("tricks")


@pytest.fixture
def planted(tricks, monkeypatch):
    """Trainings whose accuracy is planted; tells their settings."""
    asked = []

    def train(settings, _):
        asked.append(tuple(settings))
        lost = 0.0 if len(settings) == 1 else 0.01
        seed = int(settings[-1].removeprefix("seeds.base="))
        environment = {"commit": "c", "command": ["tricks.py"]}
        return {
            "accuracy": 0.9 + seed / 1000 - lost,
            "loss": 0.3,
            "seconds": 7.0,
            "environment": environment,
        }

    monkeypatch.setattr(tricks, "train", train)
    return asked


def test_each_part_is_left_out_once_a_seed_and_done_once(
    tricks, planted, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "found.json"
    command = ["tricks.py", "--seeds", "0", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    tricks.main()
    assert len(planted) == len(set(planted)) == 2 * len(tricks.VARIANTS)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert rows[0] == "| all of it | 2 | 90.05 ± 0.07 | - | 0.3000 | 7 s |"
    assert len(rows) == len(tricks.VARIANTS)
    assert all("| -1.00 (-1.00 to -1.00) |" in row for row in rows[1:])
    tricks.main()
    assert len(planted) == 2 * len(tricks.VARIANTS)
    assert len(json.loads(out.read_text())["trainings"]) == 2 * len(tricks.VARIANTS)


def test_a_training_is_judged_on_validation_and_leaves_the_test_split_shut(
    tricks, tmp_path, monkeypatch
):
    source = importlib.import_module("reslab.data.catalog").open_source("digits", None)
    monkeypatch.setattr(
        type(source), "load_test", lambda _: pytest.fail("the test split was opened")
    )
    options = tricks.parse(
        ["--data", "digits", "--validation", "100", "--out", str(tmp_path / "found.json")]
    )
    settings = ["data.limit=64", "training.batch_size=32", "training.epochs=1"]
    found = tricks.train(settings, options)
    assert (found["accuracy"] * 100).is_integer() and math.isfinite(found["loss"])
    assert found["epochs"] == 1 and found["seconds"] > 0


def test_settings_of_all_variants_are_settings_that_there_are(tricks):
    for settings in tricks.VARIANTS.values():
        changes = [tricks.parse_override(text) for text in settings]
        tricks.build(tricks.RunSpec, tricks.recipe_document("fast", *changes))
