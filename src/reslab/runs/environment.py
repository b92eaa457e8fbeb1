"""Where a run was made: versions, machine, commit."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "reslab",
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "scikit-learn",
    "safetensors",
    "pydantic",
)


def describe_environment(machine: Mapping[str, Any]) -> dict[str, Any]:
    """What environment.json holds.

    Args:
        machine: what the engine found of the machine, as plain values.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "commit": source_commit(),
        "machine": dict(machine),
    }


def package_version(name: str) -> str | None:
    """The installed version, or None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def source_commit() -> str | None:
    """The git commit of reslab's own source, ``-dirty`` if changed; None in no checkout."""
    here = Path(__file__).resolve().parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        # A site-packages folder may lie inside someone else's checkout.
        if not _git(here, "ls-files", Path(__file__).name):
            return None
        return commit + ("-dirty" if _git(here.parent, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout.strip()
