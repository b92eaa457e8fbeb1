import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "train_deepest.py"


def run_script(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, "--data", "digits", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_it_trains_and_says_whether_the_net_learned(tmp_path):
    out = tmp_path / "found.json"
    done = run_script(
        *("--model", "resnet14", "--steps", 100, "--batch-size", 14, "--segments", 3),
        *("--lr", 0.05, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert len(found["losses"]) == 100
    assert found["ratio"] == found["last"] / found["first"]
    assert found["learned"] == (found["ratio"] <= 0.75)
    assert f"{found['ratio']:.2f} of it" in done.stdout
    assert sum(len(sizes) for sizes in found["segments"]) == 3
    assert "root" not in found["spec"]["data"]


def test_more_steps_than_an_epoch_has_are_refused(tmp_path):
    done = run_script("--model", "resnet14", "--batch-size", 256, "--out", tmp_path / "x.json")
    assert done.returncode == 1
    assert "--steps must lie within 100 and one epoch" in done.stderr
    assert not (tmp_path / "x.json").exists()
