"""Programs that are taken for a compiler."""

from __future__ import annotations

from pathlib import Path


def program(folder: Path, *lines: str) -> Path:
    path = folder / "compile"
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def calls(folder: Path) -> list[str]:
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []
