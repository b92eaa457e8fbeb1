"""Files of pictures, read without waiting for ever and without filling the memory."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, cast

from reslab.errors import UserError

# Of a picture that is decoded.
MAX_PIXELS = 100_000_000
# Of a file: as many pixels, stored as they are.
MAX_BYTES = 4 * MAX_PIXELS


def read_file(path: Path) -> bytes:
    """The content of a file that is one: a pipe or device could go on for ever.

    Raises:
        UserError: where it is none, or larger than a picture may be.
        OSError: where it cannot be read.
    """
    with open_file(path) as file:
        return file.read()


def open_file(path: Path) -> BinaryIO:
    """Open a file for who wants its beginning alone; see ``read_file``."""
    # Path.open takes twice the time, and no opener.
    file = open(path, "rb", buffering=0, opener=_open_at_once)  # noqa: SIM115
    try:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is no file but a pipe or device", remedy="delete it")
        check_size(found.st_size, str(path))
    except BaseException:
        file.close()
        raise
    return cast(BinaryIO, file)


def check_size(size: int, place: str) -> None:
    """Refuse a picture of so many bytes, if those are more than any may have."""
    if size > MAX_BYTES:
        raise UserError(
            f"{place} is too large",
            expected=f"at most {MAX_BYTES:,} bytes",
            received=f"{size:,}",
            remedy="scale it down",
        )


def _open_at_once(path: str, flags: int) -> int:
    # To open a pipe would wait for who writes to it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
