"""Time spent on training steps, with validation and the first step kept apart."""

from __future__ import annotations

import time
from collections.abc import Callable


class Stopwatch:
    """Runs while steps are made and stands still between epochs.

    The first step is kept apart, since it also compiles, picks kernels and fills caches.

    Args:
        now: a clock in seconds that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._resumed_at: float | None = None
        self._before = 0.0
        self._steps = 0
        self._first = 0.0
        self._epoch_began = 0.0

    def start_epoch(self) -> None:
        """Run again: an epoch's first step begins."""
        self._resumed_at = self._now()
        self._epoch_began = self._before

    def step_done(self) -> None:
        """A step was made; the first one should wait for the device before this."""
        self._steps += 1
        if self._steps == 1:
            self._first = self.seconds()

    def end_epoch(self) -> None:
        """Stand still: the epoch's last step is done."""
        self._before = self.seconds()
        self._resumed_at = None

    def seconds(self) -> float:
        """Of all steps so far."""
        running = 0.0 if self._resumed_at is None else self._now() - self._resumed_at
        return self._before + running

    def epoch_seconds(self) -> float:
        """Of the current epoch so far."""
        return self.seconds() - self._epoch_began

    def seconds_a_step(self) -> float:
        """Mean over the steps after the first, or the first where it is the only one."""
        if self._steps < 2:
            return self._first
        return (self.seconds() - self._first) / (self._steps - 1)

    def first_step_excess(self) -> float:
        """By how many seconds the first step was slower than a usual one."""
        return max(0.0, self._first - self.seconds_a_step())
