import json
import subprocess
import sys

import pytest

pytest.importorskip("skimage", reason="its sample photographs are what is read")


def test_reading_is_measured(benchmarks, tmp_path):
    out = tmp_path / "found.json"
    done = subprocess.run(
        [
            *(sys.executable, benchmarks / "ingest.py", "--images", "64", "--rounds", "1"),
            *("--epochs", "2", "--threads", "1", "--photographs", tmp_path / "photographs"),
            *("--contenders", "reslab-first", "reslab-later", "torchvision-0", "--out", out),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["failed"] == {}
    assert set(found["contenders"]) == {"reslab-first", "reslab-later", "torchvision-0"}
    assert all(c["images_per_second"]["median"] > 0 for c in found["contenders"].values())
    assert found["ratios"]["reslab-later/best"]["peer"] == "torchvision-0"
    assert len(found["growth"]["memory_bytes"]) == 2
    assert "reslab-first/best" in done.stdout and {"commit", "machine"} <= set(found["environment"])
