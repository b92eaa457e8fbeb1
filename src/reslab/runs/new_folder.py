"""Where a new run may lie: a folder that is free, made before anybody else can take it."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from reslab.catalog.data_names import label_in
from reslab.errors import UserError
from reslab.runs.files import is_leftover, locked, remove_leftovers
from reslab.writing import cannot_write, write_atomically


def begin_folder(
    path: Path, name: str, text: str, complete: Callable[[], object] = lambda: None
) -> None:
    """Make a folder, parents included, with its first file in it; an empty one is taken.

    Args:
        path: where.
        name: of the file.
        text: what it holds.
        complete: called when it is there, while nobody else may write.

    Raises:
        UserError: where it holds something already or cannot be made.
    """
    check_free(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    with locked(path):
        check_free(path)  # again: another process may have been faster
        remove_leftovers(path)
        write_atomically(path / name, text.encode())
        complete()


def new_folder(parent: Path, name: str) -> Path:
    """Make an empty folder of that name, or with -2, -3 and so on where it is taken.

    Raises:
        UserError: where it cannot be made.
    """
    # What a data set of one's own is called may hold anything.
    name = re.sub(r"[^\w.-]+", "-", name).strip(".")
    for count in itertools.count(1):
        path = parent / (name if count == 1 else f"{name}-{count}")
        try:
            # Making it is the only test that two runs at the same moment cannot both pass.
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_write(path, error) from error
        return path
    raise AssertionError("unreachable")


def check_free(path: Path) -> None:
    """Refuse a folder for a new run that holds something, before any work is done for it.

    Raises:
        UserError: where it is a file, is not empty, or cannot be made.
    """
    if "\0" in str(path):
        raise UserError(f"{str(path)!r} is no path", remedy="leave the null byte out")
    try:
        if path.is_dir() and not all(map(is_leftover, path.iterdir())):
            raise UserError(
                f"{path} is not empty",
                expected="a folder that is new or empty",
                remedy="choose another --out",
            )
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file", expected="a folder", remedy="choose another --out")
        parent = next(p for p in (path, *path.absolute().parents) if p.exists())
    except OSError as error:
        raise cannot_write(path, error) from error
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        reason = "not permitted" if parent.is_dir() else f"{parent} is a file"
        raise UserError(f"{path} cannot be made", received=reason, remedy="choose another --out")


def run_name(data: str, model: str, now: datetime) -> str:
    """What a run's folder is called unless it is said: data, net and time."""
    return f"{label_in(data)}-{model}-{now:%Y%m%d-%H%M%S}"
