"""Pictures decoded once: their pixels packed into one file of the cache.

A pack is a folder with ``pixels.u8``, slots of equal size, and ``index.jsonl``, a line for each
picture that was decoded or could not be. A slot is written before its line, and neither is ever
changed: a picture that has changed gets another slot. So whoever is killed at any moment leaves a
pack that holds less and never one that is wrong, and who reads it need not know of who writes.
Lines that a loss of power may have outlived their pixels are told by ``sealed``: how much of the
index is known to be on the disk with all that it tells of. What comes after is checked.

Shape suffixes: ``C`` channels, ``H`` and ``W`` rows and columns, ``S`` slots.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from reslab.errors import StorageError
from reslab.ops.resample import sum_planes
from reslab.writing import cannot_write, flush, write_atomically

PIXELS, INDEX, SEALED = "pixels.u8", "index.jsonl", "sealed"

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What became of a picture.

    Attributes:
        name: of the picture among those of the pack.
        size: of its file in bytes, when it was decoded.
        changed: when the file had last been changed by then, in nanoseconds of the epoch.
        slot: where its pixels are; -1: nowhere, for want of room or since there are none.
        crc: CRC-32 of its pixels.
        sums: of the pixels of each channel.
        squares: of their squares.
        fault: why it cannot be decoded; empty where it can.
    """

    name: str
    size: int
    changed: int
    slot: int = -1
    crc: int = 0
    sums: tuple[int, ...] = ()
    squares: tuple[int, ...] = ()
    fault: str = ""


def describe(entry: Entry, pixels_CHW: Picture) -> Entry:
    """The entry with what its pixels come to."""
    sums_C, squares_C = sum_planes(pixels_CHW)
    return replace(
        entry,
        crc=zlib.crc32(pixels_CHW.data),
        sums=tuple(sums_C.tolist()),
        squares=tuple(squares_C.tolist()),
    )


class Pack:
    """A pack, opened by the one process that may write to it.

    Args:
        folder: the pack's, which is there already.
        shape: (C, H, W) of a picture.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self._folder = folder
        self._shape = shape
        self._slot_bytes = int(np.prod(shape))
        self._entries: dict[str, Entry] = {}
        self._slots = 0
        self._read()

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What is known of pictures, by name: the last that was written down of each."""
        return MappingProxyType(self._entries)

    @property
    def slots(self) -> int:
        """How many are in use, those of pictures that have changed since among them."""
        return self._slots

    @property
    def is_sealed(self) -> bool:
        """Whether all that it tells of would outlive a loss of power."""
        index = self._folder / INDEX
        told = index.stat().st_size if index.exists() else 0
        return told == _sealed(self._folder / SEALED)

    def reader(self) -> Slots:
        """Reads the slots that are in use now."""
        return Slots(self._folder / PIXELS, self._shape)

    def add(self, found: Iterable[tuple[Entry, Picture | None]], *, capacity: int) -> None:
        """Write pictures down, with their pixels while there are slots left.

        Args:
            found: what became of each, and its pixels where it could be decoded.
            capacity: slots that there may be.

        Raises:
            UserError: where the disk is full or may not be written to.
        """
        path = self._folder / PIXELS
        lines = []
        try:
            path.touch()
            with path.open("r+b") as file:
                file.seek(self._slots * self._slot_bytes)
                for entry, pixels_CHW in found:
                    kept = entry
                    if pixels_CHW is not None and self._slots < capacity:
                        kept = replace(entry, slot=self._slots)
                        file.write(np.ascontiguousarray(pixels_CHW).data)
                        self._slots += 1
                    self._entries[kept.name] = kept
                    lines.append(_line(kept))
            path = self._folder / INDEX
            with path.open("ab") as file:
                file.write(b"".join(lines))
        except OSError as error:
            raise cannot_write(path, error) from error

    def seal(self) -> None:
        """Make what is there outlive a loss of power; others may write to the pack meanwhile.

        Raises:
            OSError: where that cannot be done; what is not sealed is checked when it is read.
        """
        index = self._folder / INDEX
        if not index.exists():
            return
        told = str(index.stat().st_size)
        for name in (PIXELS, INDEX):
            # For writing, without which Windows flushes nothing.
            with (self._folder / name).open("r+b") as file:
                flush(file.fileno())
        write_atomically(self._folder / SEALED, told.encode())

    def _read(self) -> None:
        """Believe of the index what is whole, and cut the rest off, so that a line can follow."""
        path = self._folder / INDEX
        if not path.exists():
            (self._folder / SEALED).unlink(missing_ok=True)
            return
        pixels = self._folder / PIXELS
        there = pixels.stat().st_size // self._slot_bytes if pixels.exists() else 0
        sealed = _sealed(self._folder / SEALED)
        whole = 0
        with path.open("rb") as file, pixels.open("rb") if there else path.open("rb") as slots:
            for line in file:
                entry = _parse(line)
                if entry is None or entry.slot >= there:
                    break
                if entry.slot >= 0 and whole >= sealed:
                    slots.seek(entry.slot * self._slot_bytes)
                    if zlib.crc32(slots.read(self._slot_bytes)) != entry.crc:
                        break
                whole += len(line)
                self._entries[entry.name] = entry
                self._slots = max(self._slots, entry.slot + 1)
        if whole < path.stat().st_size:
            os.truncate(path, whole)
        if whole < sealed:
            # Or lines that take the place of those that are gone would be believed unseen.
            (self._folder / SEALED).unlink(missing_ok=True)


class Slots:
    """The pixels of a pack, to be read by any number of threads.

    They are read and not mapped into memory: the system keeps in memory what is read often, and
    a page of a mapping that is touched for the first time costs more than to copy it.

    Args:
        path: of the file; one that is not there has no slots.
        shape: (C, H, W) of a picture.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self._path = path
        self._bytes = int(np.prod(shape))
        self._file = path.open("rb", buffering=0) if path.exists() else None
        self._lock = threading.Lock()

    def read(self, slot: int, into_CHW: Picture) -> None:
        """Read a slot into an array that lies in one piece.

        Raises:
            UserError: where the pack has been cut off since it was opened.
        """
        view = into_CHW.reshape(-1).data
        done = 0
        while done < self._bytes:
            taken = self._read_at(view[done:], slot * self._bytes + done)
            if not taken:
                raise StorageError(
                    f"{self._path} was cut off while it was in use",
                    remedy="begin again; its pictures are decoded anew",
                )
            done += taken

    def _read_at(self, view: memoryview, place: int) -> int:
        if self._file is None:
            return 0
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [view], place)
        with self._lock:
            self._file.seek(place)
            return self._file.readinto(view) or 0


def _sealed(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


# asdict copies deeply, which takes five times as long as to write the line.
_FIELDS = tuple(field.name for field in fields(Entry))


def _line(entry: Entry) -> bytes:
    return json.dumps({name: getattr(entry, name) for name in _FIELDS}).encode() + b"\n"


def _parse(line: bytes) -> Entry | None:
    """The entry of a line; None where it was cut short or is none."""
    if not line.endswith(b"\n"):
        return None
    try:
        found = json.loads(line)
        return Entry(**{**found, "sums": tuple(found["sums"]), "squares": tuple(found["squares"])})
    except (ValueError, TypeError, KeyError):
        return None
