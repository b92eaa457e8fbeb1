import importlib
import json

import pytest

from reslab.errors import UserError


@pytest.fixture
def tables(benchmarks):
    return importlib.import_module("accuracy_table")


def training(contender, seed, seconds, accuracies, *, start=0.0):
    return {
        "benchmark": "time_to_accuracy",
        "data": "mnist",
        "contender": contender,
        "recipe": "fast",
        "settings": [],
        "seed": seed,
        "threads": 2,
        "start_seconds": start,
        "epochs": [{"seconds": seconds, "accuracy": a} for a in accuracies],
    }


def test_the_first_epoch_that_gets_there_counts(tables):
    found = training("reslab", 0, 10.0, [0.90, 0.95, 0.99, 0.98], start=2.0)
    assert tables.time_to(found, 0.95) == (22.0, True)
    assert tables.time_to(found, 0.985) == (32.0, True)
    assert tables.time_to(found, 0.999) == (32.0, False)


def test_who_never_gets_there_counts_with_the_best_epoch_and_says_so(tables):
    trainings = [
        *(training("plain", seed, 100.0, [0.8, 0.92, 0.91]) for seed in range(3)),
        *(training("reslab", seed, 10.0, [0.8, 0.96]) for seed in range(3)),
    ]
    ours, plain = tables.format_table(trainings, "mnist", [0.95]).splitlines()[2:]
    assert ours.startswith("| reslab | fast, 2 threads | 3 | 2 |")
    assert "| 20 s (20 to 20) | - |" in ours
    assert "not reached by 3 of 3: time to their best epoch | at least 10.00 (10.00 to" in plain


def test_there_is_no_ratio_where_ours_did_not_get_there(tables):
    trainings = [
        training("reslab", 0, 10.0, [0.8, 0.96]),
        training("reslab", 1, 10.0, [0.8, 0.94]),
        training("stock", 0, 20.0, [0.8, 0.96]),
    ]
    ours, stock = tables.format_table(trainings, "mnist", [0.95]).splitlines()[2:]
    assert "not reached by 1 of 2" in ours
    assert stock.endswith("| 40 s | - |")


def test_a_line_cut_short_is_passed_over_and_others_are_refused(tables, tmp_path):
    path = tmp_path / "found.jsonl"
    whole = json.dumps(training("reslab", 0, 1.0, [0.5]))
    path.write_text(f"{whole}\n{whole[:40]}")
    assert len(tables.read_trainings(path)) == 1
    path.write_text(f"{whole[:40]}\n{whole}\n")
    with pytest.raises(UserError, match="line 1 of"):
        tables.read_trainings(path)


def test_trainings_are_written_one_by_one_and_not_done_again(
    benchmarks, tmp_path, monkeypatch, capsys
):
    script = importlib.import_module("time_to_accuracy")
    out = tmp_path / "found.jsonl"
    command = [
        *("time_to_accuracy.py", "--data", "digits", "--contenders", "reslab", "stock"),
        *("--seeds", "3", "--threads", "1", "--targets", "0.01", "--interleave"),
        *("--common", "data.limit=64", "training.batch_size=32", "training.epochs=2"),
        *("--out", str(out)),
    ]

    def run():
        monkeypatch.setattr("sys.argv", command)
        assert script.main() == 0
        return capsys.readouterr()

    first = run()
    lines = out.read_text().splitlines()
    found = {t["contender"]: t for t in map(json.loads, lines)}
    assert set(found) == {"reslab", "stock"} and len(lines) == 2
    for name, one in found.items():
        assert one["seed"] == one["spec"]["seeds"]["base"] == 3
        assert one["spec"]["facts"]["train_images"] == 64
        assert [epoch["epoch"] for epoch in one["epochs"]] == [1, 2]
        assert all(0 <= e["accuracy"] <= 1 and e["seconds"] > 0 for e in one["epochs"])
        assert one["interleaved_with"] == sorted({"reslab", "stock"} - {name})
        assert "root" not in one["spec"]["data"]
    assert "| reslab | fast, data.limit=64" in first.out
    again = run()
    assert again.err.count("is there already") == 2
    assert out.read_text().splitlines() == lines
    assert again.out == first.out
