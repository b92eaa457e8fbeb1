"""Pixels that are read when they are asked for: what batches index, in memory or not.

Shape suffixes: ``N`` images, ``M`` of them, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Known:
    """What is known of images without reading them.

    Attributes:
        checksums_N: CRC-32 of the pixels of each.
        sums_NC: of each channel's pixels, int64.
        squares_NC: of their squares, int64.
    """

    checksums_N: npt.NDArray[np.uint32]
    sums_NC: npt.NDArray[np.int64]
    squares_NC: npt.NDArray[np.int64]

    def take(self, rows_M: Rows) -> Known:
        """Of some of them."""
        return Known(self.checksums_N[rows_M], self.sums_NC[rows_M], self.squares_NC[rows_M])


class Pixels(Protocol):
    """uint8 (N, C, H, W): an array, or what gives one where it is indexed as an array is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Always uint8."""

    @property
    def ndim(self) -> int:
        """Always 4."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...


@runtime_checkable
class Distant(Protocol):
    """Pixels that are not in memory, of which more is known than they say."""

    @property
    def known(self) -> Known:
        """What is known without reading them."""

    def choose(self, rows_M: Rows) -> Pixels:
        """Some of them, none read yet."""


def choose(pixels_NCHW: Pixels, rows_M: Rows) -> Pixels:
    """Some of the images: copied where they are in memory, else read when they are asked for."""
    if isinstance(pixels_NCHW, Distant):
        return pixels_NCHW.choose(rows_M)
    chosen_MCHW: Pixels = pixels_NCHW[rows_M]
    return chosen_MCHW
