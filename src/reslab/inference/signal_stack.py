"""The stack that a thread's signals are handled on, kept from libraries that change it.

OpenVINO gives the thread that compiles a model a signal stack of the model's own, and puts back
what it found there when the model is deleted. Of two models that are deleted in the order in which
they were made, the second puts back the first one's, which is no longer there: the next Ctrl-C
then ends the process. Where each finds the thread's own, the order does not matter.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """``stack_t`` of Linux; ``sigaltstack(2)``."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def kept_signal_stack() -> Iterator[None]:
    """After the context this thread's signals are handled on the stack that they were before."""
    if sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None)
    before = _Stack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)
