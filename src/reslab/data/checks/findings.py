"""Trouble found in a folder of pictures, each of a kind in ``reslab.data.checks.kinds``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reslab.data.checks.kinds import KINDS, Kind

_BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Trouble that was found.

    Attributes:
        kind: of it.
        files: those concerned, or classes where it is about these.
        told: more about it, such as how many of what; may be empty.
        spare: files that a list of what to leave out need not name: of equal ones the first.
    """

    kind: Kind
    files: tuple[str, ...]
    told: str = ""
    spare: frozenset[str] = frozenset()


def found(
    name: str, files: Sequence[str], told: str = "", spare: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """A finding of that kind, or none where no file is concerned."""
    if not files:
        return ()
    return (Finding(kind=_BY_NAME[name], files=tuple(files), told=told, spare=frozenset(spare)),)
