"""Real processes and real signals; many more of them are in benchmarks/kill_resume.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reslab.runs.checkpoint import Checkpoints
from reslab.runs.history import parse_history, without_times

SETTINGS = ("--epochs", "3", "--set", "engine.threads=1", "--set", "checkpoint.every_seconds=0")
COMMAND = (sys.executable, "-m", "reslab", "train")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "whole"
    subprocess.run([*COMMAND, *SETTINGS, "--out", str(path)], check=True, capture_output=True)
    return path


def begin(path: Path, steps: int) -> subprocess.Popen[str]:
    """A training that has made so many steps."""
    process = subprocess.Popen(
        [*COMMAND, *SETTINGS, "--out", str(path)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        found = Checkpoints(path / "checkpoint").paths()
        if found and int(found[0].name[5:14]) >= steps:
            break
        time.sleep(0.01)
    return process


def finish_and_compare(path: Path, whole: Path) -> None:
    subprocess.run([*COMMAND, "--resume", str(path)], check=True, capture_output=True)
    for name in ("weights/best.safetensors", "weights/last.safetensors"):
        assert (path / name).read_bytes() == (whole / name).read_bytes()
    ours, theirs = (parse_history((run / "history.csv").read_text()) for run in (path, whole))
    assert list(map(without_times, ours)) == list(map(without_times, theirs))


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_run_is_resumed_to_the_bit(whole: Path, tmp_path: Path) -> None:
    process = begin(tmp_path / "run", 55)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finish_and_compare(tmp_path / "run", whole)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for children in /proc")
def test_sigterm_saves_and_leaves_nobody_behind(whole: Path, tmp_path: Path) -> None:
    process = begin(tmp_path / "run", 55)
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    children = {int(pid) for task in tasks for pid in task.read_text().split()}
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    # Promised: 10 s; here with room for a machine that does other things as well.
    assert time.monotonic() - asked < 30
    assert process.returncode == 130, errors
    assert "go on with `reslab train --resume" in errors and "Traceback" not in errors
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    finish_and_compare(tmp_path / "run", whole)
