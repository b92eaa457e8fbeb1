import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "memory_depth.py"


def test_a_deep_net_takes_less_memory_in_segments(tmp_path):
    out = tmp_path / "found.json"
    done = subprocess.run(
        [
            *(sys.executable, SCRIPT, "--nets", "resnet110", "--batch-size", "32"),
            *("--rounds", "1", "--steps", "1", "--threads", "1", "--out", out),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    row = found["nets"]["resnet110"]
    peaks = {way: w["peak_bytes"]["median"] for way, w in row["ways"].items()}
    # Measured and computed apart from each other: keeping all takes what was computed, and
    # room to work in.
    assert 0.9 * row["activation_bytes"] < peaks["keep"] < 2 * row["activation_bytes"]
    assert peaks["reslab"] < 0.6 * peaks["keep"]
    assert row["ways"]["reslab"]["seconds_per_step"]["median"] > 0
    assert "resnet110" in done.stdout
    assert {"commit", "machine"} <= set(found["environment"])
