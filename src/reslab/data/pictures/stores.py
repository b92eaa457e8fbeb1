"""Where pictures come from: a name for each, a stamp by which it is known again, its content."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from reslab.data.pictures.preprocess import Fit, decode_content
from reslab.data.pictures.reading import open_file, read_file


class Store(Protocol):
    """Pictures by their names."""

    @property
    def origin(self) -> str:
        """What tells it from all others: its pictures are kept in the cache under this."""

    def stamp(self, name: str) -> tuple[int, int]:
        """Two numbers that are others when a picture has changed.

        Raises:
            OSError: where it is not there.
        """

    def read(self, name: str) -> bytes:
        """A picture's file.

        Raises:
            OSError, UserError: where it cannot be read.
        """

    def open(self, name: str) -> BinaryIO:
        """A picture's file, for who wants its beginning alone.

        Raises:
            OSError, UserError: where it cannot be read.
        """

    def place(self, name: str) -> str:
        """Where a picture is, as people are told."""


@dataclass(frozen=True)
class Files:
    """Files below a folder.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def origin(self) -> str:
        """The folder, by whatever links it is reached."""
        return os.path.realpath(self.root)

    def stamp(self, name: str) -> tuple[int, int]:
        """Bytes, and when it was last changed, in nanoseconds of the epoch."""
        found = (self.root / name).stat()
        return found.st_size, found.st_mtime_ns

    def read(self, name: str) -> bytes:
        """See ``read_file``."""
        return read_file(self.root / name)

    def open(self, name: str) -> BinaryIO:
        """The file itself."""
        return open_file(self.root / name)

    def place(self, name: str) -> str:
        """Its path."""
        return str(self.root / name)


def decode_from(store: Store, name: str, fit: Fit) -> npt.NDArray[np.uint8]:
    """A picture of a store as the pixels (C, size, size), see ``decode_content``."""
    return decode_content(partial(store.read, name), fit, store.place(name))
