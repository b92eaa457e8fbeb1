"""Ctrl-C, SIGTERM and a closed terminal: an exception, or a question asked after each step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_Handlers = dict[signal.Signals, Any]


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Within the context the first signal only sets what the yielded function tells.

    A second one acts as usual, for those who cannot wait for the step to end. Outside the
    main thread Python lets nobody catch signals, and the function always tells False.
    """
    stopped = False
    previous: _Handlers = {}

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        # A terminal that is closed may send its signal twice: from the shell and by itself.
        if number not in _HANG_UP:
            signal.signal(number, previous.get(signal.Signals(number), signal.SIG_DFL))

    # One that comes between two of these is heard as well.
    previous |= _catch(stop)
    try:
        yield lambda: stopped
    finally:
        _put_back(previous)


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Within the context all of them raise KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = _catch(interrupt)
    try:
        yield
    finally:
        _put_back(previous)


# Windows has no such signal.
_HANG_UP = [signal.Signals(number) for number in [getattr(signal, "SIGHUP", None)] if number]


def _catch(handler: Callable[[int, FrameType | None], None]) -> _Handlers:
    if threading.current_thread() is not threading.main_thread():
        return {}
    # Under nohup the closing of the terminal is to be ignored.
    heard = [number for number in _HANG_UP if signal.getsignal(number) is not signal.SIG_IGN]
    caught = (signal.SIGINT, signal.SIGTERM, *heard)
    return {number: signal.signal(number, handler) for number in caught}


def _put_back(handlers: _Handlers) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
