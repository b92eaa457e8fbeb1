"""Where a result comes from: its command line and the versions of the peers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from reslab.runs.environment import package_version


def without_paths(command: Sequence[str]) -> list[str]:
    """A command line that tells nothing of whose machine it ran on.

    >>> without_paths(["/home/me/benchmarks/a.py", "--root", "/home/me/data", "--out", "x.json"])
    ['benchmarks/a.py', '--root', 'DATA', '--out', 'x.json']
    >>> without_paths(["a.py", "--root=/home/me/data", "--out=/tmp/x.json"])
    ['benchmarks/a.py', '--root=DATA', '--out=x.json']
    """
    told = [f"benchmarks/{Path(command[0]).name}"]
    for before, word in itertools.pairwise(command):
        option, equals, value = word.rpartition("=")
        if before == "--root" or option == "--root":
            told.append(f"{option}{equals}DATA")
        else:
            told.append(f"{option}{equals}{_name(value)}")
    return told


def _name(value: str) -> str:
    path = Path(value)
    return path.name if path.is_absolute() else value


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """The versions of those that are installed."""
    found = {name: package_version(name) for name in names}
    return {name: version for name, version in found.items() if version is not None}
