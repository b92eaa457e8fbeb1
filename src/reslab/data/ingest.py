"""From picture files to pixels: decoded once, by several threads, and kept in the cache.

Shape suffixes: ``N`` pictures, ``M`` of them, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from reslab.data.packed import Entry, Pack, Picture, Slots, describe, pixel_bytes
from reslab.data.pixels import Known, Rows
from reslab.data.preprocess import Fit, decode_image
from reslab.errors import UserError
from reslab.folders import cache_folder
from reslab.writing import cannot_write

# Of the decoder: what another one decoded is decoded anew.
DECODER = 1

# Pictures that are decoded before they are written down together.
_PIECE = 64

_LOCK = "lock"

# A picture to decode, by its stamp and its file, and what became of it.
Job = tuple[Entry, Path]
Done = tuple[Entry, Picture | None]


@dataclass(frozen=True, kw_only=True)
class FilePixels:
    """The pixels of picture files: from the pack, or decoded when they are asked for.

    Attributes:
        files: the pictures.
        fit: what they become.
        slots_N: where each one's pixels are in the pack; -1: nowhere.
        packed: reads the slots of the pack.
        known: see ``reslab.data.pixels.Distant``.
        pool: decodes what has no slot.
    """

    files: tuple[Path, ...]
    fit: Fit
    slots_N: npt.NDArray[np.int64]
    packed: Slots = field(repr=False)
    known: Known = field(repr=False)
    pool: ThreadPoolExecutor = field(repr=False)

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.files), self.fit.channels, self.fit.size, self.fit.size)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: Any, /) -> Picture:
        """By a position, a slice, or an array of positions or of truth values.

        Raises:
            UserError: where a picture that has no slot can no longer be decoded.
        """
        rows: Rows = np.asarray(np.arange(len(self))[key])
        rows_M = np.atleast_1d(rows)
        slots_M = self.slots_N[rows_M]
        pixels_MCHW = np.empty((len(rows_M), *self.shape[1:]), np.uint8)
        absent = []
        for place, slot in enumerate(slots_M.tolist()):
            if slot < 0:
                absent.append(place)
            else:
                self.packed.read(slot, pixels_MCHW[place])
        paths = [self.files[rows_M[place]] for place in absent]
        decoded = self.pool.map(lambda path: decode_image(path, self.fit), paths)
        for place, pixels_CHW in zip(absent, decoded, strict=True):
            pixels_MCHW[place] = pixels_CHW
        return pixels_MCHW if rows.ndim else pixels_MCHW[0]

    def choose(self, rows_M: Rows) -> FilePixels:
        """Some of them, none read yet."""
        return replace(
            self,
            files=tuple(self.files[row] for row in rows_M),
            slots_N=self.slots_N[rows_M],
            known=self.known.take(rows_M),
        )


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What became of some picture files.

    Attributes:
        pixels_NCHW: of those that can be decoded, in their order.
        rows_N: which of the files these are.
        faults: why the others cannot, by their names.
    """

    pixels_NCHW: FilePixels
    rows_N: Rows
    faults: dict[str, str]


def ingest(
    root: Path,
    names: Sequence[str],
    fit: Fit,
    *,
    room: int,
    workers: int,
    tell: Callable[[int, int], None] = lambda done, whole: None,
) -> Ingested:
    """Decode what is not in the cache yet.

    Another process that decodes pictures of the same folder is waited for.

    Args:
        root: the folder that names start from.
        names: paths of the pictures.
        fit: what they become.
        room: bytes that all packs together may take; what has no room is decoded each time.
        workers: threads that decode.
        tell: told how many of how many were decoded, again and again.

    Raises:
        UserError: where the cache cannot be written to.
    """
    folder = cache_folder("pictures") / _key(root, fit)
    files = [root / name for name in names]
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK):
            pack = Pack(folder, (fit.channels, fit.size, fit.size))
            stamps = [_stamp(name, file) for name, file in zip(names, files, strict=True)]
            jobs, homeless = _sort_out(pack, stamps, files)
            slot_bytes = fit.channels * fit.size**2
            wanted = (pack.slots + len(jobs) + len(homeless)) * slot_bytes
            capacity = _make_room(folder, wanted, room) // slot_bytes
            # Those that had no room when they were decoded, as far as there is some now.
            jobs += homeless[: max(0, capacity - pack.slots - len(jobs))]
            done = 0
            for found in _ahead(partial(pool.map, partial(_decode, fit)), jobs):
                pack.add(found, capacity=capacity)
                done += len(found)
                tell(done, len(jobs))
            if jobs:
                pack.seal()
            os.utime(folder)
            entries = [pack.entries[name] for name in names]
            packed = pack.reader()
    except OSError as error:
        raise cannot_write(folder, error) from error
    rows_N = np.flatnonzero([not entry.fault for entry in entries])
    good = [entries[row] for row in rows_N]
    return Ingested(
        pixels_NCHW=FilePixels(
            files=tuple(files[row] for row in rows_N),
            fit=fit,
            slots_N=np.array([entry.slot for entry in good], np.int64),
            packed=packed,
            known=Known(
                np.array([entry.crc for entry in good], np.uint32),
                np.array([entry.sums for entry in good], np.int64).reshape(-1, fit.channels),
                np.array([entry.squares for entry in good], np.int64).reshape(-1, fit.channels),
            ),
            pool=pool,
        ),
        rows_N=rows_N,
        faults={entry.name: entry.fault for entry in entries if entry.fault},
    )


def _ahead(begin: Callable[[list[Job]], Iterator[Done]], jobs: list[Job]) -> Iterator[list[Done]]:
    """What comes of jobs, some at a time, while the next are being done already.

    Args:
        begin: sets threads to some jobs and gives what comes of them, when it does.
        jobs: all of them.
    """
    pieces = [jobs[first : first + _PIECE] for first in range(0, len(jobs), _PIECE)]
    begun = begin(pieces[0]) if pieces else iter(())
    for piece in pieces[1:]:
        found, begun = begun, begin(piece)
        yield list(found)
    if pieces:
        yield list(begun)


def _key(root: Path, fit: Fit) -> str:
    """The name of a pack's folder: of the folder that its pictures are in and what they become."""
    told = repr((DECODER, os.path.realpath(root), sorted(asdict(fit).items())))
    return hashlib.sha256(told.encode()).hexdigest()[:24]


def _stamp(name: str, file: Path) -> Entry:
    """An entry by which a file is known to be what it was; one that is missing fits no other."""
    try:
        found = file.stat()
    except OSError as error:
        return Entry(name=name, size=-1, changed=0, fault=str(error.strerror).lower())
    return Entry(name=name, size=found.st_size, changed=found.st_mtime_ns)


def _sort_out(
    pack: Pack, stamps: Sequence[Entry], files: Sequence[Path]
) -> tuple[list[Job], list[Job]]:
    """What is to be decoded since it is new or has changed, and what is only without a slot."""
    new, homeless = [], []
    for stamp, file in zip(stamps, files, strict=True):
        known = pack.entries.get(stamp.name)
        if known is None or not _is_same(known, stamp):
            new.append((stamp, file))
        elif known.slot < 0 and not known.fault:
            homeless.append((stamp, file))
    return new, homeless


def _is_same(known: Entry, stamp: Entry) -> bool:
    """Whether a file is what it was; one that could not be read then may be readable now."""
    return known.size >= 0 and (known.size, known.changed) == (stamp.size, stamp.changed)


def _decode(fit: Fit, job: Job) -> Done:
    stamp, file = job
    try:
        pixels_CHW = decode_image(file, fit)
    except UserError as error:
        # What the system refuses now it may allow later, the file being the same.
        passes = isinstance(error.__cause__, OSError) and error.__cause__.errno is not None
        return replace(stamp, size=-1 if passes else stamp.size, fault=str(error)), None
    return describe(stamp, pixels_CHW), pixels_CHW


def _make_room(folder: Path, wanted: int, room: int) -> int:
    """Bytes that a pack may take, others that were not used for longest deleted for it."""
    others = sorted(
        (other for other in folder.parent.iterdir() if other.is_dir() and other != folder),
        key=lambda other: other.stat().st_mtime,
    )
    taken = {other: pixel_bytes(other) for other in others}
    for other in others:
        if wanted + sum(taken.values()) <= room:
            break
        try:
            with FileLock(other / _LOCK, timeout=0):
                shutil.rmtree(other)
        except Timeout:
            continue
        del taken[other]
    return max(0, min(wanted, room - sum(taken.values())))
