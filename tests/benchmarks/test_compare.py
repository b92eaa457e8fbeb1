import importlib
import json

import pytest

from reslab.errors import UserError


@pytest.fixture
def compare(benchmarks):
    return importlib.import_module("compare")


def race(speeds, *, benchmark="train_step", cpu="a CPU", threads=2, batch=8):
    return {
        "benchmark": benchmark,
        "cases": {
            "net@8": {
                "environment": {"machine": {"cpu": cpu, "features": {"avx": True}}},
                "protocol": {"threads": threads},
                "work": {"batch_size": batch, "macs": 7},
                "contenders": {
                    name: {"rounds": [{"images_per_second": v} for v in values]}
                    for name, values in speeds.items()
                },
            }
        },
    }


@pytest.fixture
def write(tmp_path):
    def put(name, document):
        path = tmp_path / name
        path.write_text(json.dumps(document))
        return path

    return put


def main(compare, monkeypatch, *paths):
    monkeypatch.setattr("sys.argv", ["compare.py", *map(str, paths)])
    return compare.main()


STEADY = {"reslab": [100, 101, 99, 100, 102], "grid": [50, 50, 51, 49, 50]}


@pytest.mark.parametrize(
    ("factor", "code", "verdict"), [(1.0, 0, "same"), (0.8, 1, "worse"), (1.3, 0, "better")]
)
def test_only_what_has_become_slower_is_a_regression(
    compare, write, monkeypatch, capsys, factor, code, verdict
):
    slower = {**STEADY, "reslab": [factor * value for value in STEADY["reslab"]]}
    old, new = write("old.json", race(STEADY)), write("new.json", race(slower))
    assert main(compare, monkeypatch, old, new) == code
    found = {c.name: c for c in compare.changes(compare.read(old), compare.read(new))}
    assert found["net@8/reslab: images/s"].verdict == verdict
    assert found["net@8/reslab: images/s"].ratio["ratio"] == pytest.approx(factor)
    assert found["net@8/reslab against grid"].verdict == verdict
    assert found["net@8/grid: images/s"].verdict == "same"
    assert "net@8/reslab" in capsys.readouterr().out


def test_a_peer_that_slows_down_is_no_regression(compare, write, monkeypatch):
    slower = {**STEADY, "grid": [40, 40, 41, 39, 40]}
    old, new = write("old.json", race(STEADY)), write("new.json", race(slower))
    assert main(compare, monkeypatch, old, new) == 0


def test_a_small_or_doubtful_change_is_none(compare):
    small = {"ratio": 0.975, "interval": [0.97, 0.98]}
    doubtful = {"ratio": 0.8, "interval": [0.6, 1.02]}
    assert compare.judge(small, lower_is_better=False) == "same"
    assert compare.judge(doubtful, lower_is_better=False) == "same"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"benchmark": "inference"}, "different benchmarks"),
        ({"cpu": "another CPU"}, "different CPU"),
        ({"threads": 1}, "different threads"),
        ({"batch": 16}, "different work in net@8: expected batch_size 8, received batch_size 16"),
    ],
)
def test_files_that_do_not_fit_are_refused(compare, write, monkeypatch, capsys, other, said):
    old, new = write("old.json", race(STEADY)), write("new.json", race(STEADY, **other))
    assert main(compare, monkeypatch, old, new) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "no JSON", "{}", '{"benchmark": "train_step"}'])
def test_a_file_of_something_else_is_refused(compare, tmp_path, text):
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"odd\.json is no result that can be compared"):
        compare.read(path)


def training(seed, seconds, accuracies):
    return {
        "benchmark": "time_to_accuracy",
        "data": "fashion-mnist",
        "contender": "reslab",
        "recipe": "fast",
        "settings": [],
        "seed": seed,
        "threads": 2,
        "start_seconds": 1.0,
        "environment": {"machine": {"cpu": "a CPU", "features": {"avx": True}}},
        "epochs": [{"seconds": seconds, "accuracy": a} for a in accuracies],
    }


def test_a_longer_time_to_accuracy_is_a_regression(compare, tmp_path, monkeypatch):
    for name, seconds in (("old", 10.0), ("new", 15.0)):
        lines = [json.dumps(training(s, seconds + s / 10, [0.9, 0.935])) for s in range(5)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    old, new = compare.read(tmp_path / "old.jsonl"), compare.read(tmp_path / "new.jsonl")
    # 94 % is never reached: there is no such figure.
    (change,) = compare.changes(old, new)
    assert change.name == "fashion-mnist/reslab (fast, 2 threads): seconds to 93.0%"
    assert change.ratio["ratio"] == pytest.approx((2 * 15.2 + 1) / (2 * 10.2 + 1))
    assert change.verdict == "worse"
    assert main(compare, monkeypatch, old.path, new.path) == 1
    assert main(compare, monkeypatch, new.path, old.path) == 0
