"""The exception tree of reslab.

::

    ReslabError            anything that reslab raises on purpose; exit code 1
    ├── UserError          the input is at fault and the text says how to mend it; exit code 2
    │   └── StorageError   a place cannot be written to
    ├── TrainingDiverged   something is no longer finite; exit code 1
    ├── Interrupted        the user stopped the run and what was done is saved; exit code 130
    └── StepTooLargeError, StopRequestedError: signals within ``reslab.training``
"""

from __future__ import annotations


class ReslabError(Exception):
    """The root of all errors that reslab raises on purpose."""

    exit_code = 1


class UserError(ReslabError, ValueError):
    """Input that cannot be used, told in one sentence.

    Args:
        what: what is wrong, without a full stop.
        expected: what would have been right.
        received: what was found instead.
        remedy: what to do about it.
    """

    exit_code = 2

    def __init__(
        self, what: str, *, expected: str = "", received: str = "", remedy: str = ""
    ) -> None:
        text = what
        if expected:
            text += f": expected {expected}"
        if received:
            text += f"{',' if expected else ':'} received {received}"
        if remedy:
            text += f"; {remedy}"
        super().__init__(text)
        self.what = what
        self.received = received


class StorageError(UserError):
    """A file or folder that cannot be written: no room, not permitted, read-only."""


class TrainingDiverged(ReslabError):
    """Input, loss, gradient or weights became NaN or infinite."""


class Interrupted(ReslabError):
    """The run was stopped by a signal after its state had been saved."""

    exit_code = 130
