"""What every mistake is held to: one sentence a fault, exit code 2, nothing written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reslab.cli.main import run

Complain = Callable[..., str]

# A remedy is an instruction, a question that names what was meant, or what would be right.
REMEDY = re.compile(
    r"; |did you mean|Did you mean|expected .+received|expected one of|expected a |Available"
)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path below the folder, with the content of files."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
    }


def complaint(capsys: pytest.CaptureFixture[str], untouched: Path, *arguments: object) -> str:
    """Run the command line; check code, form and that nothing changed; return the sentence."""
    before = snapshot(untouched)
    capsys.readouterr()
    code = run([str(a) for a in arguments])
    captured = capsys.readouterr()
    assert code == 2, f"exit code {code}: {captured.err}"
    assert "Traceback" not in captured.err
    assert captured.err.startswith("reslab: ")
    lines = captured.err.rstrip("\n").split("\n")
    assert len(lines) == 1 or all(line.startswith("  ") for line in lines[1:]), captured.err
    for line in lines[1:] or lines:
        assert REMEDY.search(line), f"no remedy in {line!r}"
    assert snapshot(untouched) == before
    return captured.err
