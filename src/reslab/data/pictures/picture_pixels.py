"""The pixels of pictures: out of a pack, or decoded when they are asked for.

Shape suffixes: ``N`` pictures, ``M`` of them, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

import logging
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from reslab.data.pictures.packed import Picture, Slots
from reslab.data.pictures.preprocess import Fit, background_level
from reslab.data.pictures.stores import Store, decode_from
from reslab.data.pixels import Known, Rows
from reslab.errors import UserError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PicturePixels:
    """uint8 (N, C, size, size), see ``reslab.data.pixels.Pixels``.

    Attributes:
        store: has the pictures.
        names: of the pictures.
        fit: what they become.
        slots_N: where each one's pixels are in the pack; -1: nowhere.
        packed: reads the slots of the pack.
        known: see ``reslab.data.pixels.Distant``.
        pool: decodes what has no slot.
        told: pictures of which it was said that they are others now.
    """

    store: Store
    names: tuple[str, ...]
    fit: Fit
    slots_N: npt.NDArray[np.int64]
    packed: Slots = field(repr=False)
    known: Known = field(repr=False)
    pool: ThreadPoolExecutor = field(repr=False)
    told: set[str] = field(default_factory=set, repr=False)

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.names), self.fit.channels, self.fit.size, self.fit.size)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: Any, /) -> Picture:
        """By a position, a slice, or an array of positions or of truth values."""
        rows: Rows = np.asarray(np.arange(len(self))[key])
        rows_M = np.atleast_1d(rows)
        pixels_MCHW = np.empty((len(rows_M), *self.shape[1:]), np.uint8)
        absent = []
        for place, slot in enumerate(self.slots_N[rows_M].tolist()):
            if slot < 0:
                absent.append(place)
            else:
                self.packed.read(slot, pixels_MCHW[place])
        decoded = self.pool.map(self._decode, [int(rows_M[place]) for place in absent])
        for place, pixels_CHW in zip(absent, decoded, strict=True):
            pixels_MCHW[place] = pixels_CHW
        return pixels_MCHW if rows.ndim else pixels_MCHW[0]

    def choose(self, rows_M: Rows) -> PicturePixels:
        """Some of them, none read yet."""
        return replace(
            self,
            names=tuple(self.names[row] for row in rows_M),
            slots_N=self.slots_N[rows_M],
            known=self.known.take(rows_M),
        )

    @property
    def homeless(self) -> int:
        """How many have no slot."""
        return int((self.slots_N < 0).sum())

    def _decode(self, row: int) -> Picture:
        """A picture without a slot, which may have been changed or taken away since it was seen.

        Training does not end for that: in its place there is what it is now, or the background.
        """
        name = self.names[row]
        try:
            pixels_CHW = decode_from(self.store, name, self.fit)
        except UserError as error:
            self._tell(name, f"an empty square takes its place: {error}")
            return np.full(self.shape[1:], background_level(self.fit), np.uint8)
        if zlib.crc32(pixels_CHW.data) != self.known.checksums_N[row]:
            self._tell(name, f"{name} has changed, so that this cannot be repeated to the bit")
        return pixels_CHW

    def _tell(self, name: str, text: str) -> None:
        if name not in self.told:
            self.told.add(name)
            _LOG.warning("warning: a picture that the cache has no room for: %s", text)
