"""The pixels of pictures: out of a pack, or decoded when they are asked for.

Shape suffixes: ``N`` pictures, ``M`` of them, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

import logging
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from reslab.data.pictures.packed import Picture, Slots
from reslab.data.pictures.preprocess import Fit, background_level
from reslab.data.pictures.stores import Store, decode_from
from reslab.data.pixels import Known, Rows
from reslab.errors import UserError

# Pictures that a thread copies in one go.
_PIECE = 8

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
        has_slot_M = self.slots_N[rows_M] >= 0
        # By several threads, since even to copy what the system has in memory takes its time.
        read = self.pool.map(
            partial(self._read, pixels_MCHW, rows_M), _pieces(np.flatnonzero(has_slot_M))
        )
        absent = np.flatnonzero(~has_slot_M)
        for place, pixels_CHW in zip(
            absent, self.pool.map(self._decode, rows_M[absent]), strict=True
        ):
            pixels_MCHW[place] = pixels_CHW
        for _ in read:
            pass
        return pixels_MCHW if rows.ndim else pixels_MCHW[0]

    def _read(self, pixels_MCHW: Picture, rows_M: Rows, places: Rows) -> None:
        """Copy pictures out of their slots."""
        for place in places.tolist():
            self.packed.read(int(self.slots_N[rows_M[place]]), pixels_MCHW[place])

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

    def _decode(self, row: np.intp) -> Picture:
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


def _pieces(places: Rows) -> list[Rows]:
    return [places[first : first + _PIECE] for first in range(0, len(places), _PIECE)]
