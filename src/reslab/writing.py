"""How a file comes to be: whole or not at all, and to stay."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from reslab.errors import StorageError, UserError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed.

    File and folder are flushed to the disk, so that what was there before is only replaced
    by what a loss of power leaves whole.

    Raises:
        UserError: where the folder cannot be written to.
    """
    write_parts(path, [content], lambda: path.name)


def write_parts(path: Path, parts: Iterable[bytes | memoryview], name: Callable[[], str]) -> None:
    """Write a file as ``write_atomically`` does, a part at a time.

    Args:
        path: what it is called where it could not be written.
        parts: its content, taken one by one.
        name: its name in the folder of ``path``, asked when the last part is written.

    Raises:
        UserError: where the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            flush(file.fileno())
        temporary.replace(path.with_name(name()))
        _flush_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def check_parent(path: Path, option: str) -> None:
    """Refuse to write a file to a folder that is not there.

    Args:
        path: the file.
        option: that names it, for the error's text.

    Raises:
        UserError: where it is not.
    """
    parent = path.absolute().parent
    if not parent.is_dir():
        raise UserError(
            f"there is no folder {parent} to write {path.name} to",
            remedy=f"make it, or choose another {option}",
        )


def cannot_write(path: Path, error: OSError) -> StorageError:
    """What to tell of a file or folder that could not be written."""
    return StorageError(
        f"{path} cannot be written",
        received=(error.strerror or str(error)).lower(),
        remedy="make room or allow writing there, or choose another folder",
    )


def _flush_folder(folder: Path) -> None:
    """Make a rename last; Windows knows nothing of the kind and needs it not."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        flush(handle)
    finally:
        os.close(handle)


def flush(handle: int) -> None:
    """Let what was written reach the disk."""
    # On macOS fsync leaves it in the drive's own memory; not every file system there has better.
    if fcntl is not None and hasattr(fcntl, "F_FULLFSYNC"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)
