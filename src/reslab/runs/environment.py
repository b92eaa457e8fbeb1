"""Where a run was made: versions, machine, commit."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reslab.engine.machine import inspect_machine
from reslab.ops.native import active_kernels

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

# Packages whose versions decide what a seed draws and how sums are rounded.
_DECIDE_BITS = ("reslab", "torch", "numpy")
_OF_MACHINE = ("cpu", "capability", "cuda")


def describe_environment() -> dict[str, Any]:
    """What environment.json holds; its ``kernels`` are null where this thread has torch's."""
    commit, source = source_versions()
    kernels = active_kernels()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "commit": commit,
        "source": source,
        "machine": asdict(inspect_machine()),
        "kernels": kernels and {"compiler": kernels.compiler, "level": kernels.level},
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What may change the last bits of results, in words; what one of them lacks is passed over.

    Args:
        then: an environment as ``describe_environment`` gives it.
        now: another one.
    """
    pairs = [
        (name, then.get("packages", {}).get(name), now.get("packages", {}).get(name))
        for name in _DECIDE_BITS
    ]
    # The version stands still between releases.
    pairs.append(("reslab's source", then.get("source"), now.get("source")))
    machines = then.get("machine", {}), now.get("machine", {})
    pairs += [(what, *(machine.get(what) for machine in machines)) for what in _OF_MACHINE]
    a, b = then.get("kernels") or {}, now.get("kernels") or {}
    named = {"compiler": "the kernels' compiler", "level": "the kernels' instruction set"}
    pairs += [(what, a.get(key), b.get(key)) for key, what in named.items()]
    features = [machine.get("features", {}) for machine in machines]
    pairs += [(name, *(found.get(name) for found in features)) for name in sorted(features[0])]
    words = {True: "available", False: "not available"}
    return [
        f"{name} was {words.get(a, a)} and is {words.get(b, b)}"
        for name, a, b in pairs
        if a != b and None not in (a, b)
    ]


def package_version(name: str) -> str | None:
    """The installed version, or None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def source_versions() -> tuple[str | None, str | None]:
    """The git commit of reslab's own source, and what the package alone is in it.

    The second stays what it is where a commit changes other things of the repository. Both say
    so where the source was changed since; None in no checkout.
    """
    here = Path(__file__).resolve().parent
    try:
        commit, tree = _git(here.parent, "rev-parse", "HEAD", "HEAD:./").splitlines()
        # A site-packages folder may lie inside someone else's checkout.
        if not _git(here, "ls-files", Path(__file__).name):
            return None, None
        changed = _git(here.parent, "status", "--porcelain", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None, None
    return (f"{commit}-dirty", f"{tree} with changes") if changed else (commit, tree)


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout.strip()
