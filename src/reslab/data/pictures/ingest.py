"""From pictures to pixels: decoded once, by several threads, and kept in the cache.

Shape suffixes: ``N`` pictures, ``M`` of them, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL
import simplejpeg
import torch

from reslab.data.pictures.packed import Entry, Pack, Picture, describe
from reslab.data.pictures.packs import Shelf, count_dead
from reslab.data.pictures.picture_pixels import PicturePixels
from reslab.data.pictures.preprocess import Fit
from reslab.data.pictures.stores import Store, decode_from
from reslab.data.pixels import Known, Rows
from reslab.errors import StorageError, UserError
from reslab.folders import cache_folder
from reslab.ops.native import find_kernels
from reslab.writing import cannot_write

_LOG = logging.getLogger(__name__)

# Of the decoder: what another one decoded, or other libraries, is decoded anew.
DECODER = (1, PIL.__version__, simplejpeg.__version__, torch.__version__)

# Pictures that are decoded before they are written down together.
_PIECE = 64

# Those that a thread takes at once.
_HAND = 4

# Of as many pictures decoding takes longer than to build the kernels that scale them.
_MANY = 2000

# Seconds: Linux writes what is older by itself.
_SEAL_AFTER = 30.0

# A picture to decode, and what became of it.
Job = Entry
Done = tuple[Entry, Picture | None]


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What became of some pictures.

    Attributes:
        pixels_NCHW: of those that can be decoded, in their order.
        rows_N: which of the pictures these are.
        faults: why the others cannot, by their names.
    """

    pixels_NCHW: PicturePixels
    rows_N: Rows
    faults: dict[str, str]


def ingest(
    store: Store,
    names: Sequence[str],
    fit: Fit,
    *,
    room: int,
    workers: int,
    tell: Callable[[int, int], None] = lambda done, whole: None,
) -> Ingested:
    """Decode what is not in the cache yet.

    Another process that decodes the same pictures is waited for. Where the cache cannot be written
    to, that is told, and nothing has room in it.

    Args:
        store: has the pictures.
        names: of those that are wanted.
        fit: what they become.
        room: bytes that all packs together may take; what has no room is decoded each time.
        workers: threads that decode.
        tell: told how many of how many were decoded, again and again.
    """
    decode = partial(_ingest_in, store, names, fit, workers=workers, tell=tell)
    try:
        return decode(cache_folder("pictures"), room=room)
    except StorageError as error:
        _LOG.warning("warning: %s", error)
    with tempfile.TemporaryDirectory(prefix="reslab-") as folder:
        return decode(Path(folder), room=0)


def _ingest_in(
    store: Store,
    names: Sequence[str],
    fit: Fit,
    packs: Path,
    *,
    room: int,
    workers: int,
    tell: Callable[[int, int], None],
) -> Ingested:
    """See ``ingest``; ``packs``: the folder of all packs.

    Raises:
        StorageError: where it cannot be written to.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        shelf = Shelf(packs, _key(store, fit))
        with shelf.held():
            pack, jobs, capacity = _plan(shelf, store, names, fit, room)
            if len(jobs) >= _MANY:
                # Built now, or they would only serve the next time.
                find_kernels()
            done = 0
            for found in _ahead(partial(_begin, pool, partial(_decode, store, fit)), jobs):
                pack.add(found, capacity=capacity)
                done += len(found)
                tell(done, len(jobs))
            shelf.was_used()
            entries = [pack.entries[name] for name in names]
            slots = pack.reader()
            if not pack.is_sealed:
                # What was added by others that ended before is on the disk by now.
                _seal_later(pack) if jobs else _seal(pack)
    except OSError as error:
        raise cannot_write(packs, error) from error
    rows_N = np.flatnonzero([not entry.fault for entry in entries])
    good = [entries[row] for row in rows_N]
    return Ingested(
        pixels_NCHW=PicturePixels(
            store=store,
            names=tuple(entry.name for entry in good),
            fit=fit,
            slots_N=np.array([entry.slot for entry in good], np.int64),
            packed=slots,
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


def _seal_later(pack: Pack) -> None:
    """Seal a pack when the system has written most of it anyhow; nobody waits for that.

    Where the process ends before, what was added is checked and sealed the next time.
    """
    timer = threading.Timer(_SEAL_AFTER, _seal, (pack,))
    timer.daemon = True
    timer.start()


def _seal(pack: Pack) -> None:
    with contextlib.suppress(OSError, UserError):
        pack.seal()


def _plan(
    shelf: Shelf, store: Store, names: Sequence[str], fit: Fit, room: int
) -> tuple[Pack, list[Job], int]:
    """The pack, the pictures that are to be decoded for it, and the slots that it may have."""
    shape = (fit.channels, fit.size, fit.size)
    slot_bytes = fit.channels * fit.size**2
    stamps = [_stamp(store, name) for name in names]
    pack = shelf.open(shape)
    jobs, homeless = _sort_out(pack, stamps)
    asked = {stamp.name: stamp.size >= 0 for stamp in stamps}
    if jobs:
        dead, alive = count_dead(
            pack, {job.name for job in jobs}, lambda name: asked.get(name) or _exists(store, name)
        )
        if dead > alive:
            pack = shelf.begin_anew(shape)
            jobs, homeless = _sort_out(pack, stamps)
    wanted = (pack.slots + len(jobs) + len(homeless)) * slot_bytes
    capacity = max(pack.slots, shelf.make_room(wanted, room) // slot_bytes)
    # Those that had no room when they were decoded, as far as there is some now.
    jobs += homeless[: max(0, capacity - pack.slots - len(jobs))]
    return pack, jobs, capacity


def _begin(
    pool: ThreadPoolExecutor, decode: Callable[[Job], Done], jobs: list[Job]
) -> Iterator[Done]:
    """What comes of jobs, which threads take a few at a time: to hand them over takes its time."""
    hands = [jobs[first : first + _HAND] for first in range(0, len(jobs), _HAND)]
    return itertools.chain.from_iterable(pool.map(lambda hand: list(map(decode, hand)), hands))


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


def _key(store: Store, fit: Fit) -> str:
    """The name of a pack: of where its pictures are from and what they become."""
    told = repr((DECODER, store.origin, sorted(asdict(fit).items())))
    return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:24]


def _stamp(store: Store, name: str) -> Entry:
    """An entry by which a picture is known to be what it was; a missing one fits no other."""
    try:
        size, changed = store.stamp(name)
    except OSError as error:
        return Entry(name=name, size=-1, changed=0, fault=str(error.strerror).lower())
    return Entry(name=name, size=size, changed=changed)


def _exists(store: Store, name: str) -> bool:
    return _stamp(store, name).size >= 0


def _sort_out(pack: Pack, stamps: Sequence[Entry]) -> tuple[list[Job], list[Job]]:
    """What is to be decoded since it is new or has changed, and what is only without a slot."""
    new, homeless = [], []
    for stamp in stamps:
        known = pack.entries.get(stamp.name)
        if known is None or not _is_same(known, stamp):
            new.append(stamp)
        elif known.slot < 0 and not known.fault:
            homeless.append(stamp)
    return new, homeless


def _is_same(known: Entry, stamp: Entry) -> bool:
    """Whether a picture is what it was; one that could not be read then may be readable now."""
    return known.size >= 0 and (known.size, known.changed) == (stamp.size, stamp.changed)


def _decode(store: Store, fit: Fit, stamp: Job) -> Done:
    try:
        pixels_CHW = decode_from(store, stamp.name, fit)
    except UserError as error:
        # What the system refuses now it may allow later, the file being the same.
        passes = isinstance(error.__cause__, OSError) and error.__cause__.errno is not None
        return replace(stamp, size=-1 if passes else stamp.size, fault=str(error)), None
    return describe(stamp, pixels_CHW), pixels_CHW
