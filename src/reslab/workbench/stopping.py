"""Ctrl-C and SIGTERM: an exception, or a question that the loop asks after each step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Within the context the first signal only sets what the yielded function tells.

    A second one acts as usual, for those who cannot wait for the step to end. Outside the
    main thread Python lets nobody catch signals, and the function always tells False.
    """
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(number, previous[signal.Signals(number)])

    previous = _catch(stop)
    try:
        yield lambda: stopped
    finally:
        _put_back(previous)


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Within the context SIGTERM raises KeyboardInterrupt as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = _catch(interrupt)
    try:
        yield
    finally:
        _put_back(previous)


def _catch(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}


def _put_back(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
