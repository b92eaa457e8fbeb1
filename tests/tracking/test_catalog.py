"""The catalogue of trackers, and what is told where one cannot be used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import reslab
from reslab.errors import UserError
from reslab.tracking.catalog import TRACKERS, find_tracker, load_sink
from reslab.tracking.tracker import Sink

METHODS = {name for name in vars(Sink) if not name.startswith("_")}


@pytest.mark.parametrize("entry", TRACKERS, ids=lambda entry: entry.name)
def test_each_names_a_sink_in_a_file_of_its_own(entry) -> None:
    module, _, kind = entry.where.partition(":")
    path = Path(reslab.__file__).parent / f"{module.removeprefix('reslab.').replace('.', '/')}.py"
    (found,) = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert found.name == kind
    assert {node.name for node in found.body if isinstance(node, ast.FunctionDef)} >= METHODS


def test_names_stand_once() -> None:
    assert len({entry.name for entry in TRACKERS}) == len(TRACKERS)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(UserError, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'"):
        find_tracker("tensorbord")


@pytest.mark.parametrize("entry", TRACKERS, ids=lambda entry: entry.name)
def test_a_missing_package_is_told_with_the_remedy(entry, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n == entry.name or n.startswith(f"{entry.name}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, entry.name, None)
    monkeypatch.delitem(sys.modules, entry.where.partition(":")[0], raising=False)
    with pytest.raises(UserError) as caught:
        load_sink(entry.name)
    assert str(caught.value).startswith(f"packages of the tracker {entry.name} are missing")
    assert str(caught.value).endswith("`pip install 'reslab[track]'` installs them")


def test_its_variables_give_way_to_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    monkeypatch.delenv("MLFLOW_LOGGING_LEVEL", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    load_sink("mlflow")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == "WARNING"


def test_none_is_imported_unless_asked_for() -> None:
    program = (
        "import sys, reslab.cli.train, reslab.workbench.train, reslab.tracking.tracker\n"
        "print(*({'tensorboard', 'mlflow', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_extra_stands_in_that_of_developers() -> None:
    path = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(path.read_text())["project"]["optional-dependencies"]
    assert "reslab[track]" in extras["dev"]
    wanted = " ".join(extras["track"])
    assert all(entry.name in wanted for entry in TRACKERS)
