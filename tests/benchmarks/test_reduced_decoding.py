import json
import subprocess
import sys


def test_both_ways_of_decoding_are_compared(benchmarks, tmp_path):
    out = tmp_path / "found.json"
    done = subprocess.run(
        [
            *(sys.executable, benchmarks / "reduced_decoding.py", "--train", "200"),
            *("--scored", "100", "--epochs", "1", "--seeds", "0", "1", "--out", out),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["levels_apart"]["mean"] > 0
    ways = {f"{one}/{other}" for one in ("reduced", "whole") for other in ("reduced", "whole")}
    assert {name: len(values) for name, values in found["accuracies"].items()} == dict.fromkeys(
        ways, 2
    )
    assert "levels of 255 apart" in done.stdout
