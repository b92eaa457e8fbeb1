"""Paths of shards written as one pattern: braces, wildcards, and several side by side."""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from reslab.errors import UserError
from reslab.paths import from_home

# Shards that a pattern may stand for: beyond that it is a mistake.
_MOST_SHARDS = 100_000

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expand(pattern: str) -> list[Path]:
    """The shards that a pattern names, in its order, as absolute paths.

    Args:
        pattern: paths of shards, with ``{000..127}`` and ``{a,b}`` for each of them, ``*`` and
            ``?`` for any characters, and ``::`` between several patterns.

    Raises:
        UserError: where one is missing, or none is named.

    >>> [path.name for path in _named("train-{08..10}.tar::{a,b}/x.tar")]
    ['train-08.tar', 'train-09.tar', 'train-10.tar', 'x.tar', 'x.tar']
    """
    found: dict[Path, None] = {}
    named = list(_named(pattern))
    for path in named:
        there = sorted(_matching(path)) if glob.has_magic(str(path)) else [path]
        if not there or not all(shard.is_file() for shard in there):
            raise UserError(
                f"there is no shard {path}",
                expected="tar files on a disk, such as wds:data/train-{000..127}.tar",
                remedy="check the pattern; what lies elsewhere must be copied first",
            )
        found |= dict.fromkeys(there)
    if not found:
        raise UserError(
            f"the pattern {pattern} names no shards",
            expected="numbers that rise, such as {000..127}",
            remedy="check the pattern",
        )
    return list(found)


def _matching(path: Path) -> Iterator[Path]:
    """The paths that one with wildcards stands for."""
    place = Path(path.anchor)
    try:
        yield from place.glob(str(path.relative_to(path.anchor)))
    except ValueError as error:
        raise UserError(
            f"the pattern {path} cannot be read", received=str(error).lower(), remedy="check it"
        ) from error


def _named(pattern: str) -> Iterator[Path]:
    """What a pattern stands for, before the disk is asked."""
    whole = itertools.chain.from_iterable(map(_unfold, pattern.split("::")))
    for number, path in enumerate(whole):
        if number >= _MOST_SHARDS:
            raise UserError(
                f"the pattern {pattern} names too many shards", expected=f"at most {_MOST_SHARDS:,}"
            )
        yield from_home(path).absolute()


def _unfold(pattern: str) -> Iterator[str]:
    """One text for each choice in braces."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    span = _RANGE.fullmatch(braces[1])
    choices: Iterable[str] = braces[1].split(",")
    if span is not None:
        width = len(span[1])
        choices = (f"{n:0{width}}" for n in range(int(span[1]), int(span[2]) + 1))
    for choice in choices:
        yield from _unfold(f"{before}{choice}{after}")
