"""A run's folder and its files: lines that are added, locks, leftovers and room."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from reslab.errors import StorageError, UserError
from reslab.writing import cannot_write, flush

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def append_line(path: Path, line: str) -> None:
    """Add a line to a file in one write, and flush it to the disk.

    One that a loss of power cut short keeps a line of its own.

    Raises:
        UserError: where it cannot be written.
    """
    try:
        with path.open("ab", buffering=0) as file:
            before, content = file.tell(), line.encode() + b"\n"
            if before > 0 and not _ends_a_line(path):
                content = b"\n" + content
            if file.write(content) < len(content):
                # A disk that is nearly full takes a part of it without a word.
                file.truncate(before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within the context no other process holds the folder; a killed one holds it no longer.

    Raises:
        UserError: where another process holds it.
    """
    if fcntl is None:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        if not _try_lock(handle, fcntl.LOCK_EX, patience=0.2):
            raise UserError(
                f"{folder} is in use",
                received="another process that trains or evaluates this run",
                remedy="wait for its end",
            )
        yield
    finally:
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Whether a process holds the folder now; False too where that cannot be asked."""
    if fcntl is None:
        return False
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _try_lock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _try_lock(handle: int, kind: int, *, patience: float = 0.0) -> bool:
    """Take a lock if it is free.

    Args:
        handle: of the folder, whose closing gives it back.
        kind: of lock.
        patience: seconds to wait for one who only asks whether it is held.
    """
    assert fcntl is not None
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        except OSError:
            # File systems without locks: better unguarded than useless.
            return True
        else:
            return True


def is_leftover(path: Path) -> bool:
    """Whether it is a temporary file or folder, as a killed process leaves it."""
    return path.name.startswith(".") and path.suffix == ".tmp"


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half written in a folder; nobody else may write there."""
    for path in folder.iterdir():
        if is_leftover(path):
            with contextlib.suppress(OSError):
                path.unlink()


def check_space(path: Path, needed: int) -> None:
    """Refuse a place with too little room, before hours are spent on what will not fit.

    Args:
        path: a folder, which need not exist yet.
        needed: bytes.

    Raises:
        UserError: where there are fewer.
    """
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"there is too little room for {path}",
            expected=f"{needed / 2**20:,.0f} MiB for weights, checkpoints and report",
            received=f"{free / 2**20:,.0f} MiB that are free",
            remedy="make room, or choose another place",
        )


def check_file(path: Path) -> None:
    """Refuse a place for a file, before any work is done for it.

    Raises:
        StorageError: where its folder is missing or may not be written to, or it is a folder.
    """
    number = 0
    if not path.parent.exists():
        raise StorageError(
            f"{path} cannot be written: there is no folder {path.parent}", remedy="make it first"
        )
    if not path.parent.is_dir():
        number = errno.ENOTDIR
    elif path.is_dir():
        number = errno.EISDIR
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        number = errno.EACCES
    if number:
        raise cannot_write(path, OSError(number, os.strerror(number)))
