import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder of the scripts, whose modules can then be imported."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return BENCHMARKS


@pytest.fixture
def measure(tmp_path):
    """Runs a script with arguments; gives the JSON that it wrote and what it printed."""

    def run(script, *arguments):
        out = tmp_path / "found.json"
        done = subprocess.run(
            [sys.executable, BENCHMARKS / script, *arguments, "--out", out],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(out.read_text()), done.stdout

    return run
