"""The command line as a whole: start-up, help, exit codes."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys

import pytest

from reslab.cli import main
from reslab.errors import Interrupted, TrainingDiverged

NO_TORCH = "import sys; assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)"


@pytest.mark.parametrize(
    "code",
    [
        f"import reslab; {NO_TORCH}",
        f"from reslab.cli.main import run; run(['--help']); {NO_TORCH}",
        f"from reslab.cli.main import run; run(['train', '--help']); {NO_TORCH}",
        f"from reslab.cli.main import run; run(['train', '--lr', 'x']); {NO_TORCH}",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_costs_little_cpu() -> None:
    """Promised: 0.3 s; here a generous bound, for machines of all kinds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "reslab", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 1.5


@pytest.mark.parametrize("name", [command[0] for command in main.COMMANDS])
def test_every_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Example: reslab {name}" in text
    assert "--" in text


def test_root_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    text = capsys.readouterr().out
    for name, _, line, _ in main.COMMANDS:
        assert name in text
        assert line in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0.dev0"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Interrupted("stopped"), 130),
        (TrainingDiverged("nan"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    assert main.run([]) == code
    assert capsys.readouterr().err.startswith("reslab: ")


def test_what_is_logged_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(*arguments: object, **options: object) -> None:
        logging.getLogger("reslab.ops.native").info("building")

    monkeypatch.setattr(main, "app", work)
    for _ in range(2):
        assert main.run([]) == 0
        assert capsys.readouterr().err == "reslab: building\n"
    assert not logging.getLogger("reslab").handlers


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["trian"]) == 2
    assert 'Did you mean "train"?' in capsys.readouterr().err


def test_a_closed_pipe_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "reslab", "data", "list"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["models", "a", "b"], "`reslab models` has no use for b; see `reslab models --help`"),
        (["data", "list", "x"], "`reslab data list` has no use for x; see `reslab data list --h"),
        (["train", "--epoks", "3"], "Did you mean --epochs?; see `reslab train --help`"),
        (["tain"], "see `reslab --help`"),
        (["xyz"], "predict and others; see `reslab --help`"),
    ],
)
def test_refusals_point_to_the_help_of_the_command(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == 2
    assert text in capsys.readouterr().err
