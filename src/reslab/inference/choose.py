"""Which engine for how much work: plain functions of what was measured and what is left."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from reslab.inference.catalog import REFERENCE, Entry
from reslab.inference.memo import Measured

# For fewer images nothing is prepared: to make another engine ready and to compare it with the
# reference takes longer than it could save.
FEW_IMAGES = 32

# Engines are tried where that takes at most this part of the time that the rest would take.
AFFORDABLE = 0.2

# Of one that was tried, the rounds that compare it: this part of the same.
ROUNDS_SHARE = 0.05


def unmeasured_choice(images: int) -> str:
    """The engine for a job of so many images where nothing was measured."""
    return REFERENCE if images < FEW_IMAGES else "folded"


def cheapest(measured: Mapping[str, Measured], batches: float, ready: Collection[str] = ()) -> str:
    """The engine with which so many batches are done soonest, preparing included.

    Args:
        measured: by engine, of which one at least has times.
        batches: how many are to be computed.
        ready: engines that are prepared already.
    """

    def seconds(name: str) -> float:
        found = measured[name]
        setup = 0.0 if name in ready else found.setup_seconds
        return setup + batches * found.batch_seconds

    return min((name for name in measured if not measured[name].failure), key=seconds)


def best_known(
    measured: Mapping[str, Measured],
    names: Collection[str],
    images: int,
    batches: float,
    ready: Collection[str],
) -> str:
    """The engine to go on with: by what was measured, where anything was.

    Args:
        measured: by engine, failures among them, and engines that there are no more.
        names: the engines that there are, without those that were refused.
        images: that are left.
        batches: the same in batches.
        ready: engines that are prepared already.
    """
    known = {name: found for name, found in measured.items() if name in names}
    if any(not found.failure for found in known.values()):
        return cheapest(known, batches, ready)
    name = unmeasured_choice(images)
    return name if name in names else REFERENCE


def worth_trying(untried: Sequence[Entry], convolutions: int, seconds_left: float) -> list[Entry]:
    """The engines that can be tried without losing more than a part of the time that is left.

    Args:
        untried: those that can be used and of which no times are known.
        convolutions: of the net.
        seconds_left: what the rest of the work takes with the engine of now.
    """
    chosen: list[Entry] = []
    spent = 0.0
    for entry in sorted(untried, key=lambda e: e.setup_seconds(convolutions)):
        spent += entry.setup_seconds(convolutions)
        if spent > AFFORDABLE * seconds_left:
            break
        chosen.append(entry)
    return chosen
