"""Finding the name that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from reslab.errors import UserError


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like ``name``, or None where none does."""
    matches = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def check_name(name: str, known: Iterable[str], kind: str) -> str:
    """``name`` itself where it is known.

    Raises:
        UserError: with the nearest name, or all names where none is near.
    """
    names = list(known)
    if name in names:
        return name
    near = nearest(name, names) if isinstance(name, str) else None
    raise UserError(
        f"unknown {kind} {name!r}",
        expected="" if near else f"one of {', '.join(names)}",
        remedy=f"did you mean {near!r}?" if near else "",
    )


class Named(Protocol):
    """An entry of a catalogue."""

    @property
    def name(self) -> str:
        """What it is found by; no two entries of a catalogue share it."""


NamedT = TypeVar("NamedT", bound=Named)


def find(entries: Sequence[NamedT], name: str, kind: str) -> NamedT:
    """The entry of that name.

    Raises:
        UserError: where there is none, with the nearest name, or all where none is near.
    """
    check_name(name, [entry.name for entry in entries], kind)
    return next(entry for entry in entries if entry.name == name)
