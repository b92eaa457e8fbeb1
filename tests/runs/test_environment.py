import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest

from reslab.engine.machine import inspect_machine
from reslab.ops.native import find_kernels, using_kernels
from reslab.runs import environment
from reslab.runs.environment import (
    PACKAGES,
    describe_environment,
    differences,
    package_version,
    source_versions,
)

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder, *arguments):
    who = [
        "-c",
        "user.name=Test",
        "-c",
        "user.email=test@example.org",
        "-c",
        "commit.gpgsign=false",
    ]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The module as if it lay in a package below a temporary folder, in no checkout."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    rooms = tmp_path / "src" / "reslab"
    for place in ("runs/environment.py", "runs/folder.py", "training/fit.py"):
        (rooms / place).parent.mkdir(parents=True, exist_ok=True)
        (rooms / place).write_text("# as it was\n")
    monkeypatch.setattr(environment, "__file__", str(rooms / "runs" / "environment.py"))
    return tmp_path


@pytest.fixture
def checkout(elsewhere):
    git(elsewhere, "init", "--quiet")
    git(elsewhere, "add", ".")
    git(elsewhere, "commit", "--quiet", "-m", "first")
    return elsewhere


def test_it_tells_where_a_run_was_made(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["reslab", "train", "--seed", "1"])
    told = describe_environment()
    assert set(told) == {
        "started", "command", "python", "platform", "packages", "commit", "source", "machine",
        "kernels",
    }  # fmt: skip
    assert told["command"] == ["reslab", "train", "--seed", "1"]
    assert told["machine"] == asdict(inspect_machine())
    assert told["kernels"] is None
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert told["packages"]["numpy"] == version("numpy")
    assert set(told["packages"]) == set(PACKAGES)
    started = datetime.fromisoformat(told["started"])
    assert abs(datetime.now(UTC) - started) < timedelta(minutes=5)
    assert json.loads(json.dumps(told)) == told


def test_the_kernels_that_are_in_use_are_named_without_paths():
    kernels = find_kernels().kernels
    if kernels is None:
        pytest.skip("there are no kernels here")
    with using_kernels(kernels):
        told = describe_environment()
    assert re.fullmatch(r"(g\+\+|clang) \d+\.\d+[^/]*", told["kernels"]["compiler"])
    assert told["kernels"]["level"].startswith("x86-64-v")
    other = {"kernels": {**told["kernels"], "compiler": "g++ 1.0"}}
    said = f"the kernels' compiler was g++ 1.0 and is {told['kernels']['compiler']}"
    assert differences(other, told) == [said]
    # Where one of them had torch's, the settings differ and not the environment.
    assert differences(other, {"kernels": None}) == differences({}, told) == []


def test_a_package_that_is_not_installed_has_no_version():
    assert package_version("torch") == version("torch")
    assert package_version("no-such-package-at-all") is None


def test_outside_a_checkout_there_is_no_commit(elsewhere):
    assert source_versions()[0] is None


def test_without_git_there_is_no_commit(elsewhere, monkeypatch):
    monkeypatch.setenv("PATH", str(elsewhere))
    assert source_versions()[0] is None


def test_a_git_that_hangs_costs_no_run(elsewhere, monkeypatch):
    def hang(*arguments, timeout, **_):
        raise subprocess.TimeoutExpired(arguments, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert source_versions()[0] is None


@needs_git
def test_in_a_checkout_the_commit_is_told(checkout):
    assert source_versions()[0] == git(checkout, "rev-parse", "HEAD")


@needs_git
def test_before_the_first_commit_there_is_none(elsewhere):
    git(elsewhere, "init", "--quiet")
    assert source_versions()[0] is None


@needs_git
def test_in_a_checkout_of_others_there_is_none(checkout):
    git(checkout, "rm", "--quiet", "--cached", "-r", "src")
    git(checkout, "commit", "--quiet", "-m", "the package lies here, but is not ours")
    assert source_versions()[0] is None


@needs_git
@pytest.mark.parametrize(
    "changed",
    [
        "runs/environment.py",
        "runs/new.py",
        "training/fit.py",
    ],
)
def test_a_changed_source_is_told(changed, checkout):
    (checkout / "src" / "reslab" / changed).write_text("# changed\n")
    assert source_versions()[0] == git(checkout, "rev-parse", "HEAD") + "-dirty"


@needs_git
def test_a_change_outside_the_package_does_not_count(checkout):
    (checkout / "notes.txt").write_text("x")
    assert source_versions()[0] == git(checkout, "rev-parse", "HEAD")


THERE = {
    "packages": {"torch": "2.14.1", "rich": "14"},
    "source": "a",
    "machine": {"cpu": "X", "cuda": None, "features": {"amx_bf16": True}},
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"packages": {"torch": "2.15.0"}}, ["torch was 2.14.1 and is 2.15.0"]),
        ({"packages": {"torch": "2.14.1", "rich": "15"}}, []),
        ({"packages": {}}, []),
        ({"source": "b"}, ["reslab's source was a and is b"]),
        ({"source": "a with changes"}, ["reslab's source was a and is a with changes"]),
        ({"source": None, "commit": "c"}, []),
        ({"machine": {"cpu": "Y"}}, ["cpu was X and is Y"]),
        (
            {"machine": {"cpu": "X", "features": {"amx_bf16": False}}},
            ["amx_bf16 was available and is not available"],
        ),
        ({"machine": {"cpu": "X", "cuda": "H100", "features": {}}}, []),
    ],
)
def test_what_may_change_results_is_told(changed, told):
    assert differences(THERE, THERE | changed) == told
    assert differences(THERE, THERE) == []


@needs_git
def test_the_source_is_that_of_the_package_alone(checkout):
    before = source_versions()[1]
    assert len(before) == 40
    (checkout / "README").write_text("x")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "elsewhere")
    assert source_versions()[1] == before
    (checkout / "src" / "reslab" / "training" / "fit.py").write_text("# changed\n")
    assert source_versions()[1] == f"{before} with changes"
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "here")
    assert source_versions()[1] not in (before, f"{before} with changes")
