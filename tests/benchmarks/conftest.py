from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder of the scripts, whose modules can then be imported."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return BENCHMARKS
