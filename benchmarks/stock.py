"""The stock grid: the configurations of a training step that torch offers by itself.

``{eager, compiled} x {fp32, bf16 autocast} x {contiguous, channels_last}``, and the trial that
finds the fastest of some configurations by letting them take turns.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from measure import is_emulated

_TRIAL_TURNS = 3

# Steps of a turn: as many as the fastest variant makes in so many seconds, within limits.
_TURN_SECONDS = 2.0
_MOST_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One configuration of the stock grid.

    Attributes:
        precision: ``fp32`` or ``bf16``: autocast of forward pass and loss.
        memory_format: ``contiguous`` or ``channels_last``.
        compile: whether torch.compile is used.
    """

    precision: str
    memory_format: str
    compile: bool

    @property
    def name(self) -> str:
        """Such as ``bf16-channels_last-eager``."""
        way = "compiled" if self.compile else "eager"
        return f"{self.precision}-{self.memory_format}-{way}"

    @property
    def torch_format(self) -> torch.memory_format:
        """The layout in torch's terms."""
        last = self.memory_format == "channels_last"
        return torch.channels_last if last else torch.contiguous_format

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context of the forward pass."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast("cpu", dtype=torch.bfloat16)


PLAIN = Variant(precision="fp32", memory_format="contiguous", compile=False)


def grid(
    *, precisions: Sequence[str] = ("fp32", "bf16"), ways: Sequence[bool] = (False, True)
) -> tuple[Variant, ...]:
    """The cells of the grid, in a fixed order.

    >>> [cell.name for cell in grid(precisions=["fp32"], ways=[False])]
    ['fp32-contiguous-eager', 'fp32-channels_last-eager']
    """
    return tuple(
        Variant(precision=precision, memory_format=memory_format, compile=compiled)
        for compiled in ways
        for precision in precisions
        for memory_format in ("contiguous", "channels_last")
    )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a trial found.

    Attributes:
        best: the fastest variant.
        first_step_seconds: of the best one, compilation included.
        record: what was found of each, for the result.
    """

    best: Variant
    first_step_seconds: float
    record: dict[str, Any]


def find_fastest(variants: Sequence[Variant], train: Callable[[Variant, int], object]) -> Trial:
    """Let variants take turns (A B C, C B A, …) for a few steps each and tell the fastest.

    A variant that fails takes no part, nor does bf16 where it is emulated, of which a single step
    could take minutes. The fastest is the one whose best turn was fastest: what
    disturbs a turn only ever makes it slower. A single variant makes its first step only.

    Args:
        variants: those that may be chosen.
        train: makes so many steps in a variant; its first call may compile.

    Raises:
        RuntimeError: where all of them failed.
    """
    began = time.perf_counter()
    first: dict[Variant, float] = {}
    failed: dict[Variant, str] = {}
    for variant in variants:
        if variant.precision == "bf16" and is_emulated(torch.bfloat16):
            failed[variant] = "left out: this processor computes bf16 more than ten times as slowly"
            continue
        try:
            first[variant] = _seconds_a_step(train, variant, 1)
        except Exception as error:  # noqa: BLE001 - a backend may fail in any way
            failed[variant] = f"{type(error).__name__}: {error}"[:300]
    if not first:
        raise RuntimeError(f"no variant works: {failed}")
    turns: dict[Variant, list[float]] = {variant: [] for variant in first}
    if len(first) > 1:
        # The second step tells how many a turn may have.
        second = min(_seconds_a_step(train, variant, 1) for variant in first)
        steps = max(1, min(_MOST_STEPS, int(_TURN_SECONDS / second)))
        for turn in range(_TRIAL_TURNS):
            for variant in list(first) if turn % 2 == 0 else reversed(list(first)):
                turns[variant].append(_seconds_a_step(train, variant, steps))
    best = min(first, key=lambda variant: min(turns[variant], default=0.0))
    record: dict[str, Any] = {"choosing_seconds": time.perf_counter() - began}
    if len(variants) > 1:
        record["grid"] = [
            {**asdict(v), "failed": failed[v]}
            if v in failed
            else {
                **asdict(v),
                "milliseconds_a_step": 1e3 * min(turns[v], default=first[v]),
                "first_step_seconds": first[v],
            }
            for v in variants
        ]
    return Trial(best=best, first_step_seconds=first[best], record=record)


def _seconds_a_step(train: Callable[[Variant, int], object], variant: Variant, steps: int) -> float:
    began = time.perf_counter()
    train(variant, steps)
    return (time.perf_counter() - began) / steps
