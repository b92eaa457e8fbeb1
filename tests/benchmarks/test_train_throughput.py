import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCHMARKS / "train_throughput.py", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("measure")


def test_all_contenders_do_the_same_work(tmp_path):
    out = tmp_path / "found.json"
    done = run_benchmark(
        *("--data", "digits", "--images", "100", "--rounds", "1", "--threads", "1"),
        *("--quick", "--json", "--out", str(out)),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads(out.read_text())
    assert found["work"]["images"] == 96  # whole batches of 32 only
    assert (found["work"]["pad"], found["work"]["crop"]) == (4, 12)
    assert list(found["contenders"]) == ["reslab", "tuned", "note"]
    for contender in found["contenders"].values():
        (only,) = contender["rounds"]
        assert only["images"] == 96
        assert only["steps"] * contender["batch_size"] == 96
        assert contender["images_per_second"]["min"] > 0
        assert 0 < contender["mfu"] < 1
    chosen = found["contenders"]["tuned"]
    assert chosen["precision"] in {tried["precision"] for tried in chosen["grid"]}
    assert list(found["ratios"]) == ["reslab/tuned", "reslab/note"]
    assert found["limits"]["gemm_tflops"]["fp32"]["2048"]["1"] > 0
    assert found["limits"]["copy_gb_per_s"]["1"] > 0
    assert {"python", "packages", "commit", "machine"} <= set(found["environment"])


def test_users_fault_is_one_line_and_exit_2():
    done = run_benchmark("--data", "digits", "--images", "10")
    assert done.returncode == 2
    assert "whole batches" in done.stderr and "Traceback" not in done.stderr


def test_turns_alternate(measure):
    assert [name for _, name in measure.turns(["a", "b", "c"], 2)] == list("abccba")


def test_ratio_has_an_interval_around_it(measure):
    found = measure.ratio_of_medians([20, 21, 19, 20, 22], [10, 10.5, 9.5, 10, 11])
    assert found["ratio"] == pytest.approx(2)
    # Each round's pair has the same ratio, however slow the round: so has every resample.
    assert found["interval"] == pytest.approx([2, 2])


def test_worker_reports_its_own_failure(measure):
    with measure.Worker(dict, threads=1) as worker:
        assert worker.call("copy").value == {}
        with pytest.raises(RuntimeError, match="popitem"):
            worker.call("popitem")
        assert worker.call("copy").value == {}
