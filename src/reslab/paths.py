"""Paths as people write them, and what is there."""

from __future__ import annotations

from pathlib import Path

from reslab.errors import UserError


def find_place(place: str | Path) -> Path | None:
    """The folder or file that a path names, ``~`` being a home; None: there is none.

    Raises:
        UserError: where that cannot be found out.
    """
    found = from_home(place)
    try:
        return found if found.exists() else None
    except OSError as error:
        raise UserError(
            f"{place} cannot be found",
            received=(error.strerror or str(error)).lower(),
            remedy="check the path",
        ) from error


def from_home(place: str | Path) -> Path:
    """A path with the home that ``~`` stands for, its own or a user's; others as they are.

    Raises:
        UserError: where there is no such home.

    >>> from_home("pictures/cats").as_posix()
    'pictures/cats'
    """
    try:
        return Path(place).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{place} cannot be found", received="~ with no such user", remedy="check the path"
        ) from error
