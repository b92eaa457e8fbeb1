"""What lies in a folder of pictures, told by names alone: no file is opened."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reslab.data.pictures.preprocess import SUFFIXES

# What systems and tools leave in folders, besides whatever begins with a dot.
LEFTOVERS = ("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir", "lost+found")

# Why a file or folder is no part of the data.
Reason = Literal[
    "hidden",
    "no_image",
    "outside",
    "unlabelled",
    "no_class",
    "twice",
    "empty",
    "unreadable",
    "damaged",
    "loop",
    "excluded",
]

Entry = os.DirEntry[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class PassedOver:
    """A file or folder that was left out.

    Attributes:
        path: below the listing's root, with slashes; of a folder it ends with one.
        reason: why.
    """

    path: str
    reason: Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Where in a folder pictures are.

    Attributes:
        loose: whether some lie directly in it.
        sorted: whether some lie in folders in it.
    """

    loose: bool
    sorted: bool

    @property
    def holds(self) -> bool:
        """Whether there are any."""
        return self.loose or self.sorted


def entries(folder: Path, below: str, passed: list[PassedOver]) -> Iterator[Entry]:
    """What is in a folder and is not hidden, in the order of the names.

    Args:
        folder: where to look.
        below: its path from the root on, with a slash at its end; empty for the root.
        passed: what is not taken is put here.
    """
    try:
        with os.scandir(folder) as found:
            inside = sorted(found, key=lambda entry: entry.name)
    except OSError:
        passed.append(PassedOver(path=below or "./", reason="unreadable"))
        return
    for entry in inside:
        if entry.name.startswith(".") or entry.name.lower() in LEFTOVERS:
            pass_over(entry, below, "hidden", passed)
            continue
        try:
            entry.is_dir()
        except OSError as error:
            # A link to itself is neither folder nor file.
            reason: Reason = "loop" if error.errno == errno.ELOOP else "unreadable"
            pass_over(entry, below, reason, passed)
        else:
            yield entry


def pass_over(entry: Entry, below: str, reason: Reason, passed: list[PassedOver]) -> None:
    """Put a file or folder on the list of those that are left out."""
    try:
        slash = "/" if entry.is_dir() else ""
    except OSError:
        slash = ""
    passed.append(PassedOver(path=f"{below}{entry.name}{slash}", reason=reason))


def pictures(
    folder: Path, below: str, passed: list[PassedOver], above: frozenset[str]
) -> Iterator[str]:
    """Paths of the pictures in a folder and in the folders in it.

    Args:
        folder: where to look.
        below: its path from the root on, with a slash at its end.
        passed: what is not taken is put here.
        above: the real paths of the folders that it lies in, so that a link to one of them is
            not followed for ever.
    """
    # A stack of its own, since Python's ends before a path can be too long.
    entered = [_enter(folder, below, passed, above)]
    while entered:
        inside, below, above = entered[-1]
        entry = next(inside, None)
        if entry is None:
            entered.pop()
        elif entry.is_dir():
            deeper = f"{below}{entry.name}/"
            entered.append(_enter(Path(entry.path), deeper, passed, above))
        elif is_picture(entry):
            yield f"{below}{entry.name}"
        else:
            pass_over(entry, below, "no_image", passed)


def _enter(
    folder: Path, below: str, passed: list[PassedOver], above: frozenset[str]
) -> tuple[Iterator[Entry], str, frozenset[str]]:
    """What is in a folder, its path, and the real paths of what is above its content."""
    own = os.path.realpath(folder)
    if own in above:
        passed.append(PassedOver(path=below, reason="loop"))
        return iter(()), below, above
    return entries(folder, below, passed), below, above | {own}


def is_picture(entry: Entry) -> bool:
    """Whether a file that is no folder has the name of a picture."""
    return entry.name.lower().endswith(SUFFIXES)


def shape_of(folder: Path) -> Shape:
    """Where in a folder pictures are, looked for no further than needed."""
    inside, above = list(entries(folder, "", [])), real(folder)
    return Shape(
        loose=any(is_picture(entry) and not entry.is_dir() for entry in inside),
        sorted=any(entry.is_dir() and _holds(entry, above) for entry in inside),
    )


def classes_in(folder: Path) -> set[str]:
    """Names of the folders in a folder that hold pictures, however deep."""
    above = real(folder)
    return {
        entry.name for entry in entries(folder, "", []) if entry.is_dir() and _holds(entry, above)
    }


def _holds(entry: Entry, above: frozenset[str]) -> bool:
    found = pictures(Path(entry.path), f"{entry.name}/", [], above)
    return next(found, None) is not None


def real(*folders: Path | str) -> frozenset[str]:
    """Real paths, by which links to a folder are known."""
    return frozenset(os.path.realpath(folder) for folder in folders)
