"""What a folder tells without torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import reslab
from reslab.errors import UserError
from reslab.runs.files import locked
from reslab.workbench.stored import StoredRun, has_finished, open_run


@pytest.fixture
def own(trained: reslab.Run, tmp_path: Path) -> StoredRun:
    return open_run(shutil.copytree(trained.path, tmp_path / "run"))


def test_it_is_the_run_without_its_net(own: StoredRun, trained: reslab.Run) -> None:
    assert own.spec == trained.spec
    assert own.metrics == trained.metrics
    assert own.history == trained.history
    assert own.classes == trained.classes
    assert repr(own) == f"StoredRun({str(own.path)!r})"


def test_torch_is_not_needed(trained: reslab.Run) -> None:
    code = (
        "import sys; from reslab.workbench.stored import open_run; "
        f"print(open_run({str(trained.path)!r}).status, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "finished False\n"


@pytest.mark.parametrize("told", ["finished", "interrupted", "failed"])
def test_a_run_that_left_word_is_what_it_says(own: StoredRun, told: str) -> None:
    own.folder.write_json("metrics.json", {"status": told})
    with locked(own.path):  # as by one who evaluates it
        assert own.status == told
    assert has_finished(own) == (told == "finished")


@pytest.mark.parametrize("metrics", [None, {"status": "trained"}])
def test_a_run_without_a_word_is_running_or_was_killed(
    own: StoredRun, metrics: dict[str, str] | None
) -> None:
    own.folder.remove("metrics.json")
    if metrics is not None:
        own.folder.write_json("metrics.json", metrics)
    assert own.status == "killed"
    with locked(own.path):
        assert own.status == "running"


def test_damaged_metrics_are_no_end(own: StoredRun) -> None:
    own.folder.write_text("metrics.json", "{")
    assert not has_finished(own)
    with pytest.raises(UserError, match="is damaged"):
        _ = own.status


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        open_run(tmp_path)
