"""Pictures that are decoded when they are looked at, and not kept: for who wants to see a few.

Shape suffixes: ``N`` pictures, ``M`` of them, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reslab.data.pictures.preprocess import Fit
from reslab.data.pictures.stores import Store, decode_from


@dataclass(frozen=True)
class Undecoded:
    """uint8 (N, C, size, size), see ``reslab.data.pixels.Pixels``.

    Attributes:
        store: has the pictures.
        names: of the pictures.
        fit: what they become.
    """

    store: Store
    names: tuple[str, ...]
    fit: Fit

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.names), self.fit.channels, self.fit.size, self.fit.size)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: Any, /) -> npt.NDArray[np.uint8]:
        """By a position, a slice, or an array of positions or of truth values.

        Raises:
            UserError: for a picture that cannot be decoded.
        """
        rows: npt.NDArray[np.intp] = np.asarray(np.arange(len(self))[key])
        pixels_MCHW = np.empty((rows.size, *self.shape[1:]), np.uint8)
        for place, row in enumerate(np.atleast_1d(rows)):
            pixels_MCHW[place] = decode_from(self.store, self.names[row], self.fit)
        return pixels_MCHW if rows.ndim else pixels_MCHW[0]
