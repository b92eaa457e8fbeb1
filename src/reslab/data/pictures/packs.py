"""The packs of the cache: where each lies, who may write to it, and which make room for others.

A pack lies in ``pictures/KEY/NUMBER``, its lock beside in ``pictures/KEY.lock``. Its pixels are
never moved within a file, for others may be reading them; where most of them are of pictures that
have changed since, a new pack with the next number takes its place.

Room is given to one at a time, who holds ``pictures/all.lock`` for it. What it was given is noted
in ``pictures/KEY.promised`` and counts as taken for as long as it holds its pack's lock, which the
system takes from whoever is killed; from then on the pack counts as large as it is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from reslab.data.pictures.packed import PIXELS, Pack
from reslab.wording import counted

_LOG = logging.getLogger(__name__)

# The end of a pack's name while it is deleted.
_GOING = ".going"

# The lock of whoever is given room; no key is called like this.
_ALL = "all.lock"


class Shelf:
    """A place for a pack among those of all picture folders.

    Args:
        folder: of all packs.
        key: of this one.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder / key
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(_lock_of(self.folder))
        self._promise = _promise_of(self.folder)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the one who writes to the pack, when all who came before have done so."""
        with self._lock:
            # Whoever came before may have been killed.
            self._forget_promise()
            try:
                yield
            finally:
                self._forget_promise()

    def open(self, shape: tuple[int, int, int]) -> Pack:
        """The pack, empty where there was none.

        Args:
            shape: (C, H, W) of a picture.
        """
        newest = max(self._numbers(), default=0)
        self._delete_before(newest)
        return self._number(newest, shape)

    def begin_anew(self, shape: tuple[int, int, int]) -> Pack:
        """An empty pack in place of the one that is there, which who reads it goes on reading."""
        number = max(self._numbers(), default=-1) + 1
        pack = self._number(number, shape)
        self._delete_before(number)
        return pack

    def make_room(self, wanted: int, room: int) -> int:
        """Bytes that this pack may take, others that were not used for longest deleted for it.

        To be asked by who holds the pack and has opened it, and is promised them for as long.

        Args:
            wanted: bytes that it could use.
            room: bytes for all packs together.
        """
        freed = []
        with FileLock(self.folder.parent / _ALL):
            others = [
                other
                for other in self.folder.parent.iterdir()
                if other != self.folder and other.is_dir()
            ]
            taken = {other: _taken_by(other) for other in others}
            for other in sorted(others, key=_last_used):
                if wanted + sum(taken.values()) <= room:
                    break
                if _delete(other):
                    freed.append(taken.pop(other))
            granted = max(0, min(wanted, room - sum(taken.values())))
            # A full disk is no obstacle to who writes nothing.
            if granted > bytes_of(self.folder):
                self._promise.write_text(str(granted))
        if any(freed):
            _LOG.warning(
                "warning: deleted %s of other decoded pictures (%.2f GiB), the longest unused: all "
                "together may take %.2f GiB (--cache-size)",
                counted(len(freed), "pack"),
                sum(freed) / 2**30,
                room / 2**30,
            )
        return granted

    def was_used(self) -> None:
        """Let others make room before this one does."""
        os.utime(self.folder)

    def _forget_promise(self) -> None:
        with contextlib.suppress(OSError):
            self._promise.unlink(missing_ok=True)

    def _delete_before(self, newest: int) -> None:
        for number in self._numbers():
            if number < newest:
                # Where files that are open cannot be deleted, the next time will do.
                shutil.rmtree(self.folder / str(number), ignore_errors=True)

    def _numbers(self) -> list[int]:
        if not self.folder.exists():
            return []
        return [int(entry.name) for entry in self.folder.iterdir() if entry.name.isdecimal()]

    def _number(self, number: int, shape: tuple[int, int, int]) -> Pack:
        folder = self.folder / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        return Pack(folder, shape)


def bytes_of(folder: Path) -> int:
    """What the pixels of a place take on the disk; another process may delete it meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return sum(path.stat().st_size for path in folder.rglob(PIXELS))
    return 0


def _taken_by(folder: Path) -> int:
    """What a place takes on the disk, or what whoever writes to it was promised."""
    taken = bytes_of(folder)
    try:
        promised = int(_promise_of(folder).read_text())
    except (OSError, ValueError):
        return taken
    return max(taken, promised) if _is_held(folder) else taken


def _is_held(folder: Path) -> bool:
    """Whether somebody writes to a pack."""
    try:
        with FileLock(_lock_of(folder), timeout=0):
            return False
    except (OSError, Timeout):
        return True


def _last_used(folder: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return folder.stat().st_mtime
    return 0.0


def _lock_of(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.lock"


def _promise_of(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.promised"


def _delete(folder: Path) -> bool:
    """Delete a pack that nobody writes to; False where somebody does."""
    if folder.name.endswith(_GOING):
        # Whoever began to delete it was ended.
        shutil.rmtree(folder, ignore_errors=True)
        return True
    try:
        with FileLock(_lock_of(folder), timeout=0):
            going = folder.with_name(folder.name + _GOING)
            # In one go, so that nobody finds half of it.
            folder.rename(going)
    except FileNotFoundError:
        return True
    except (OSError, Timeout):
        return False
    shutil.rmtree(going, ignore_errors=True)
    return True


def count_dead(pack: Pack, stale: set[str], exists: Callable[[str], bool]) -> tuple[int, int]:
    """Slots of a pack that nobody will read again, and those that somebody may.

    Args:
        pack: the pack.
        stale: names of pictures that have changed.
        exists: whether there still is a picture of that name.
    """
    alive = sum(
        entry.slot >= 0 and name not in stale and exists(name)
        for name, entry in pack.entries.items()
    )
    return pack.slots - alive, alive
