"""Where pictures come from: a name for each, a stamp by which it is known again, its content."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reslab.data.preprocess import Fit, decode_image


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

    def decode(self, name: str, fit: Fit) -> npt.NDArray[np.uint8]:
        """Its pixels (C, size, size).

        Raises:
            UserError: where it cannot be decoded.
        """


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

    def decode(self, name: str, fit: Fit) -> npt.NDArray[np.uint8]:
        """As ``decode_image`` does."""
        return decode_image(self.root / name, fit)
