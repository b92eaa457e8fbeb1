"""Threads share room."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from reslab.data.pictures.room import Room


def test_no_more_is_held_than_there_is_and_everyone_gets_a_turn() -> None:
    room, lock = Room(10), threading.Lock()
    held, most, done = 0, 0, []

    def work(units: int) -> None:
        nonlocal held, most
        with room.take(units):
            with lock:
                held += min(units, 10)
                most = max(most, held)
            threading.Event().wait(0.001)
            with lock:
                held -= min(units, 10)
                done.append(units)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [1, 4, 10, 3, 99, 6, 2, 5] * 10))
    assert (len(done), held) == (80, 0) and 6 <= most <= 10


def test_those_that_need_little_work_at_the_same_time() -> None:
    room, together = Room(4), threading.Barrier(4, timeout=60)

    def work(units: int) -> None:
        with room.take(units):
            together.wait()

    with ThreadPoolExecutor(4) as pool:
        # Nothing counts as one.
        list(pool.map(work, [1, 1, 0, 1]))


def test_it_is_free_again_after_an_error() -> None:
    room = Room(2)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), room.take(2):
            raise ZeroDivisionError
    with room.take(2):
        pass
