"""Room for what threads hold at once: who needs much waits until there is enough of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """Some units, each in use by one thread at a time.

    Args:
        units: how many there are.
    """

    def __init__(self, units: int) -> None:
        self._units = units
        self._free = threading.Semaphore(units)
        # One at a time gathers its units: two with half of theirs each would wait for ever, and
        # one that needs many would wait for as long as others come that need few.
        self._gathering = threading.Lock()

    @contextmanager
    def take(self, units: int) -> Iterator[None]:
        """Hold so many, one at least and all of them at most, once they are free."""
        units = min(max(units, 1), self._units)
        with self._gathering:
            for _ in range(units):
                self._free.acquire()
        try:
            yield
        finally:
            self._free.release(units)
