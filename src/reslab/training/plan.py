"""How far along its schedule a training is, and how fast it moves along it to end in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(kw_only=True)
class Plan:
    """A schedule of so many steps, walked through in strides of one step or more.

    Without a limit of time a stride is one step. With one the schedule is walked through in
    fewer, longer strides, so that the rate still ends where it should: the idea of budgeted
    training (Li, Yumer and Ramanan, arXiv 1905.04753).

    Attributes:
        total: steps of the whole schedule.
        position: what of it lies behind, in its steps.
        stride: steps of the schedule in a step of the training.
    """

    total: int
    position: float = 0.0
    stride: float = 1.0

    @property
    def done(self) -> bool:
        """Whether what is left is less than half of a stride."""
        return self.total - self.position < self.stride / 2

    @property
    def at(self) -> float:
        """Where on the schedule the next step is made: at the end of its stride.

        So that the last step is made at the schedule's end, however suddenly time ran short.

        >>> Plan(total=10, position=4.0).at, Plan(total=10, position=4.0, stride=6.0).at
        (4.0, 9.0)
        """
        return min(self.position + self.stride, float(self.total)) - 1

    @property
    def steps_left(self) -> int:
        """Steps of the training until it is done.

        >>> Plan(total=10, position=4.0, stride=1.5).steps_left
        4
        """
        return max(0, round((self.total - self.position) / self.stride))

    def advance(self) -> None:
        """A step was made."""
        self.position += self.stride

    def fit_into(self, seconds: float, seconds_a_step: float) -> None:
        """Choose the stride so that the rest takes so long, or less where it is shorter.

        >>> plan = Plan(total=100, position=50.0)
        >>> plan.fit_into(5.0, 0.2)
        >>> plan.stride, plan.steps_left
        (2.0, 25)
        """
        steps = max(1, int(seconds / seconds_a_step))
        self.stride = max(1.0, (self.total - self.position) / steps)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Until when a training may go on.

    Attributes:
        ends_at: reading of ``now`` at which the last validation must be done.
        validation_seconds: what a validation takes.
        steps_per_epoch: steps between two validations.
        now: a clock in seconds that never goes back.
    """

    ends_at: float
    validation_seconds: float
    steps_per_epoch: int
    now: Callable[[], float] = time.perf_counter

    def apply(self, plan: Plan, seconds_a_step: float, *, saving: float = 0.0) -> None:
        """Let the plan end in time.

        Args:
            plan: the training's.
            seconds_a_step: its pace.
            saving: seconds that the last checkpoint will take.
        """
        share = self.validation_seconds / self.steps_per_epoch
        # The last epoch may be cut short and has a validation all the same.
        left = self.ends_at - self.now() - self.validation_seconds - saving
        plan.fit_into(left, seconds_a_step + share)
