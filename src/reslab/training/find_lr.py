"""A range test of the learning rate: how the loss moves as the rate rises from step to step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reslab.errors import UserError
from reslab.training.schedule import warms_up
from reslab.training.stepper import Stepper

# Share of the smoothed loss that a step leaves.
_LEFT = 0.9

# The sweep ends where the smoothed loss is so many times the least so far.
_DIVERGED = 3.0

# Steps in which the smoothed loss is not yet worth much.
_EARLY = 10


@dataclass(frozen=True, kw_only=True)
class LrSweep:
    """What a sweep saw.

    Attributes:
        rates: learning rate of each step, rising.
        losses: loss of each step's batch, before its update.
        smoothed: running average of the losses, freed of its start.
        warms_up: whether the training rises to its rate slowly.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    warms_up: bool

    @property
    def suggestion(self) -> float:
        """A rate for the training.

        One that begins with its rate needs it where the loss falls most steeply. One that warms
        up to it has a net by then that bears more, up to where the loss is least (Smith, arXiv
        1506.01186, whose upper bound of a cycle that is).
        """
        return self.least if self.warms_up else self.steepest

    @property
    def least(self) -> float:
        """The rate at which the smoothed loss is least."""
        return self.rates[self._lowest()]

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls most steeply, before it is least."""
        return self.rates[min(range(_EARLY, max(self._lowest(), _EARLY + 1)), key=self._slope)]

    def _lowest(self) -> int:
        return min(range(_EARLY, len(self.smoothed)), key=self.smoothed.__getitem__)

    def _slope(self, i: int) -> float:
        """Of the smoothed loss over the rate's logarithm, from the step before to the one after."""
        after = min(i + 1, len(self.smoothed) - 1)
        rise = self.smoothed[after] - self.smoothed[i - 1]
        return rise / math.log(self.rates[after] / self.rates[i - 1])


def sweep_learning_rate(
    stepper: Stepper, *, lowest: float = 1e-5, highest: float = 10.0, steps: int = 100
) -> LrSweep:
    """Make steps with a rate that rises in equal factors, then put everything back.

    Net, optimiser, their averages, torch's random state and the rates of the optimiser are to
    the bit what they were; so is the place in the training, whose first batches are used.
    The idea is Smith's, arXiv 1506.01186, section 3.3.

    Args:
        stepper: of a training.
        lowest: the first rate.
        highest: the last one, unless the loss or a gradient is no longer finite before it, or
            the smoothed loss is three times the least.
        steps: from the one to the other.

    Raises:
        UserError: for a range without steps, or where the loss is not finite before there is
            anything to see.
    """
    if not 0 < lowest < highest or steps <= _EARLY:
        raise UserError(
            "there is no range of learning rates",
            expected=f"0 < lowest < highest in more than {_EARLY} steps",
            received=f"{lowest:g} to {highest:g} in {steps}",
        )
    state = stepper.state
    cuts = list(state.cuts)
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    try:
        with stepper.undone():
            average = 0.0
            for i in range(steps):
                rate = lowest * (highest / lowest) ** (i / (steps - 1))
                place = divmod(i, stepper.batches.steps_per_epoch)
                outcome = stepper.make(*place, rate)
                loss = outcome.loss.item()
                if outcome.fault is not None or not math.isfinite(loss):
                    break
                average = _LEFT * average + (1 - _LEFT) * loss
                rates.append(rate)
                losses.append(loss)
                smoothed.append(average / (1 - _LEFT ** (i + 1)))
                if i > _EARLY and smoothed[-1] > _DIVERGED * min(smoothed[_EARLY:]):
                    break
    finally:
        state.cuts = cuts
    if len(rates) <= _EARLY:
        raise UserError(
            f"the loss is not finite after {len(rates)} steps",
            expected=f"more than {_EARLY}",
            remedy="begin at a lower rate",
        )
    return LrSweep(
        rates=tuple(rates),
        losses=tuple(losses),
        smoothed=tuple(smoothed),
        warms_up=warms_up(stepper.training.schedule),
    )
