"""Learning-rate schedules as they are asked for; ``reslab.training.schedule`` walks them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reslab.spec.values import Count, Fraction, Frozen, NonNegative, Positive, SizedFraction

_WARMUP = Field(0.0, description="epochs in which the rate rises from 0 in a straight line")


class Constant(Frozen):
    """The same rate throughout."""

    kind: Literal["constant"] = "constant"
    warmup_epochs: NonNegative = _WARMUP


class Step(Frozen):
    """The rate times ``factor`` after every ``every`` epochs."""

    kind: Literal["step"] = "step"
    warmup_epochs: NonNegative = _WARMUP
    every: Count = Field(60, description="epochs between two drops")
    factor: Positive = Field(0.2, description="what the rate is multiplied by at a drop")


class MultiStep(Frozen):
    """The rate times ``factor`` at each milestone."""

    kind: Literal["multistep"] = "multistep"
    warmup_epochs: NonNegative = _WARMUP
    milestones: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)] = Field(
        (0.5, 0.75), description="below 1 a fraction of all epochs, from 1 on an epoch"
    )
    factor: Positive = Field(0.1, description="what the rate is multiplied by at a milestone")


class Cosine(Frozen):
    """Half a cosine from the full rate to ``final`` of it (arXiv 1608.03983, no restarts)."""

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: NonNegative = _WARMUP
    final: Fraction = Field(0.0, description="fraction of the rate that is left at the end")


class OneCycle(Frozen):
    """Up in a straight line, then half a cosine down (Smith, arXiv 1708.07120)."""

    kind: Literal["onecycle"] = "onecycle"
    warmup: SizedFraction = Field(0.1, description="fraction of all steps in which it rises")
    start: Fraction = Field(0.04, description="fraction of the rate at the first step")
    final: Fraction = Field(0.0, description="fraction of the rate that is left at the end")


ScheduleSpec = Annotated[
    Constant | Step | MultiStep | Cosine | OneCycle, Field(discriminator="kind")
]
