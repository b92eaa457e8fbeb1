"""Lists of pictures as text files: a path a line, for any path that a system allows.

They are what ``reslab data check --fix-list`` writes, ``--exclude`` takes, and a run keeps of what
it left out or tested on. A line that begins with ``#`` says why the next path is named. A path
that could be taken for something else, or that not every program would show and keep, stands as a
JSON string: one that begins with ``#``, a quote or a space, ends with a space, or holds control
characters, separators of lines, or bytes that are no UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from reslab.errors import UserError
from reslab.wording import one_line, shown


def format_paths(paths: Iterable[str]) -> str:
    r"""A list that ``read_paths`` makes the same paths of.

    >>> format_paths(["cat/a.jpg", "#1/a.jpg"])
    'cat/a.jpg\n"#1/a.jpg"\n'
    """
    return "".join(f"{shown(path)}\n" for path in paths)


def format_reasons(reasons: Mapping[str, str]) -> str:
    r"""A list of paths with a reason for each, which ``read_paths`` passes over.

    >>> format_reasons({"cat/a.jpg": "cut short"})
    '# cut short\ncat/a.jpg\n'
    """
    return "".join(f"# {one_line(why)}\n{shown(path)}\n" for path, why in reasons.items())


def read_paths(path: str | Path) -> tuple[str, ...]:
    """The paths of a list.

    Raises:
        UserError: where it cannot be read, or a quoted path has no end.
    """
    return tuple(told for told, _ in _read(path))


def read_reasons(path: str | Path) -> dict[str, str]:
    """The paths of a list with the reason of each, empty where there is none.

    Raises:
        UserError: as ``read_paths``.
    """
    return dict(_read(path))


def _read(path: str | Path) -> Iterator[tuple[str, str]]:
    """Each path, and what the line before it says of it."""
    try:
        # Names are bytes to the system, and those that are no UTF-8 may be listed by others.
        text = Path(path).read_bytes().decode("utf-8", errors="surrogateescape")
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"the list {path} cannot be read",
            received=str(told).lower(),
            remedy="give one that `reslab data check --fix-list` wrote",
        ) from error
    reason = ""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if line.startswith("#"):
            reason = line.removeprefix("#").strip()
        elif line.strip():
            yield _path_of(line.removesuffix("\r"), number, path), reason
            reason = ""


def _path_of(line: str, number: int, origin: str | Path) -> str:
    if not line.startswith('"'):
        return line
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, str):
        raise UserError(
            f"line {number} of the list {origin} cannot be read",
            expected="a path, as a JSON string where it begins with a quote",
            received=line[:200],
            remedy="give a list that `reslab data check --fix-list` wrote",
        )
    return found
