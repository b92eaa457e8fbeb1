"""Time spent on training steps, with validation and first steps kept apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class Stopwatch:
    """Runs while steps are made and stands still between epochs.

    The first step is kept apart, since it also compiles, picks kernels and fills caches; so is
    the first one after a training was resumed.

    Args:
        now: a clock in seconds that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._resumed_at: float | None = None
        self._before = 0.0
        self._steps = 0
        self._first = 0.0
        self._firsts = 0
        self._is_first = True
        self._epoch_before = 0.0

    def start_epoch(self, *, anew: bool = True) -> None:
        """Run again: a step begins.

        Args:
            anew: whether it is an epoch's first; False goes on with one that was resumed.
        """
        self._resumed_at = self._now()
        if anew:
            self._epoch_before = self._before

    def start_rehearsal(self) -> None:
        """Run for steps that are of no epoch."""
        self._resumed_at = self._now()

    def end_rehearsal(self) -> None:
        """Stand still: their time is time of the training, but not of the epoch."""
        before = self._before
        self.end_epoch()
        self._epoch_before += self._before - before

    def step_done(self) -> None:
        """A step was made; the first one should wait for the device before this."""
        self._steps += 1
        if self._is_first:
            self._first += self._running()
            self._firsts += 1
            self._is_first = False

    def end_epoch(self) -> None:
        """Stand still: the epoch's last step is done."""
        self._before = self.seconds()
        self._resumed_at = None

    def seconds(self) -> float:
        """Of all steps so far."""
        return self._before + self._running()

    def epoch_seconds(self) -> float:
        """Of the current epoch so far."""
        return self.seconds() - self._epoch_before

    def seconds_a_step(self) -> float:
        """Mean over the steps after the first, or the first where it is the only one."""
        usual = self._steps - self._firsts
        return (self.seconds() - self._first) / usual if usual else self._first

    def first_step_excess(self) -> float:
        """By how many seconds the first step was slower than a usual one."""
        return max(0.0, self._first - self._firsts * self.seconds_a_step())

    def readings(self) -> dict[str, float]:
        """What ``resume`` needs to go on."""
        return {
            "seconds": self.seconds(),
            "epoch_before": self._epoch_before,
            "steps": self._steps,
            "first": self._first,
            "firsts": self._firsts,
        }

    def resume(self, readings: Mapping[str, float]) -> None:
        """Go on from what another watch read."""
        self._before = readings["seconds"]
        self._epoch_before = readings["epoch_before"]
        self._steps = int(readings["steps"])
        self._first = readings["first"]
        self._firsts = int(readings["firsts"])
        self._resumed_at = None
        self._is_first = True

    def _running(self) -> float:
        return 0.0 if self._resumed_at is None else self._now() - self._resumed_at
