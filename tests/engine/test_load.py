"""Who else works: told by planted readings, and by a real neighbour."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from reslab.engine.load import Load


def load(
    monkeypatch: pytest.MonkeyPatch, *, others: float, own: float = 1.0, cpus: int = 4
) -> Load:
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    readings = iter([(0.0, 0.0, 0.0), (2.0, 2 * (others + own), 2 * own)])
    monkeypatch.setattr(Load, "_read", staticmethod(lambda: next(readings)))
    return Load()


@pytest.mark.parametrize(
    ("others", "threads", "told"),
    [
        (0.0, 4, ""),
        (0.2, 4, ""),
        (2.0, 2, ""),
        (2.0, 3, "other processes keep 2.0 of 4 CPUs busy (engine.threads=2 may be faster)"),
        (5.0, 1, "other processes keep 4.0 of 4 CPUs busy"),
        (0.4, 4, "other processes keep 0.4 of 4 CPUs busy"),
    ],
)
def test_those_are_told_who_are_in_the_way(
    monkeypatch: pytest.MonkeyPatch, others: float, threads: int, told: str
) -> None:
    assert load(monkeypatch, others=others).describe(threads) == told


def test_a_clock_that_reads_backwards_tells_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, others=-0.5).others() == 0.0


def test_a_neighbour_is_seen() -> None:
    command = "import time; end = time.time() + 30\nwhile time.time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", command]) as neighbour:
        try:
            load = Load()
            time.sleep(2.0)
            others = load.others()
        finally:
            neighbour.kill()
    # However many share the machine, one that never rests gets a good part of a CPU.
    assert 0.1 < others <= (os.cpu_count() or 1)
