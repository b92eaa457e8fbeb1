"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from reslab.spec.schedules import Constant, Cosine, MultiStep, OneCycle, ScheduleSpec, Step


def learning_rate(
    schedule: ScheduleSpec, peak: float, step: float, *, total_steps: int, steps_per_epoch: int
) -> float:
    """The rate of one step.

    Args:
        schedule: the kind of schedule and its settings.
        peak: the full rate, which the schedule scales.
        step: 0 … total_steps - 1; in between where a limit of time lengthens the strides.
        total_steps: steps of the whole training.
        steps_per_epoch: steps of an epoch.

    >>> learning_rate(Step(every=2, factor=0.1), 1.0, 20, total_steps=100, steps_per_epoch=10)
    0.1
    """
    return peak * _share(schedule, step, total_steps, steps_per_epoch)


def warms_up(schedule: ScheduleSpec) -> bool:
    """Whether it rises to its full rate, instead of beginning with it."""
    if isinstance(schedule, OneCycle):
        return schedule.start < 1
    return schedule.warmup_epochs > 0


def _share(schedule: ScheduleSpec, step: float, total_steps: int, steps_per_epoch: int) -> float:
    if isinstance(schedule, OneCycle):
        return _one_cycle(schedule, step, total_steps)
    epoch = step / steps_per_epoch
    if epoch < schedule.warmup_epochs:
        # Counted from the step's end, so that the first step already learns.
        return min(1.0, (step + 1) / (schedule.warmup_epochs * steps_per_epoch))
    match schedule:
        case Constant():
            return 1.0
        case Step():
            return float(schedule.factor ** (step // (schedule.every * steps_per_epoch)))
        case MultiStep():
            # In steps, with room for rounding: 0.55 of 100 steps is 55.00000000000001.
            drops = [m * (steps_per_epoch if m >= 1 else total_steps) for m in schedule.milestones]
            return schedule.factor ** sum(step >= drop - 1e-6 for drop in drops)
        case Cosine():
            warmup = schedule.warmup_epochs * steps_per_epoch
            return _half_cosine((step - warmup) / (total_steps - warmup), schedule.final)


def _one_cycle(schedule: OneCycle, step: float, total_steps: int) -> float:
    rise = schedule.warmup * total_steps
    if step < rise:
        return schedule.start + (1 - schedule.start) * step / rise
    return _half_cosine((step - rise) / (total_steps - rise), schedule.final)


def _half_cosine(progress: float, final: float) -> float:
    """From 1 at progress 0 to ``final`` at progress 1."""
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
