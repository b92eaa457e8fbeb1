"""When a training writes a checkpoint: often, but not so often that it shows."""

from __future__ import annotations

import time
from collections.abc import Callable

from reslab.runs.checkpoint import Checkpoint
from reslab.training.state import TrainingState

# The share of the time that saving may take: a slow disk is written to less often.
_SHARE = 0.02


class Saver:
    """Writes the state of a training now and then.

    Args:
        write: stores a checkpoint.
        every_seconds: at least so many between two that nobody asked for; 0: after each step.
        now: a clock in seconds that never goes back.
    """

    def __init__(
        self,
        write: Callable[[Checkpoint], object],
        every_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._every = every_seconds
        self._now = now
        self._ended = now()
        self._took = 0.0
        self._saved: tuple[int, int] | None = None

    def save_if_due(self, state: TrainingState) -> None:
        """Write it if enough time has passed."""
        wait = max(self._every, self._took / _SHARE) if self._every else 0.0
        if self._now() - self._ended >= wait:
            self.save(state)

    def save_first(self, state: TrainingState) -> None:
        """Write it if nothing was written yet, so that an epoch's work is soon safe."""
        if self._saved is None:
            self.save(state)

    @property
    def took(self) -> float:
        """Seconds that the last write took; 0 before the first."""
        return self._took

    def save(self, state: TrainingState) -> None:
        """Write it, unless it is what was written last."""
        position = (state.step, len(state.history))
        if position == self._saved:
            return
        began = self._now()
        self._write(state.checkpoint())
        self._ended = self._now()
        self._took = self._ended - began
        self._saved = position
