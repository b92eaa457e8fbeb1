"""How long each of several ways takes: short rounds in turns, which end once it is plain."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping

ROUNDS = 9
# Rounds that all are given, unless they are far behind.
_LEAST_ROUNDS = 3
# What takes this many times as long as the fastest is left out, after one round and after three.
_FAR_BEHIND, _BEHIND = 2.0, 1.15
# A call that is shorter is repeated within a turn, after a rest and a call that is not timed: an
# engine's threads spin for a while after its turn, in the way of the next, and caches are cold.
_TURN_SECONDS = 0.1
_REST_SECONDS = 0.05


def time_in_turns(
    contenders: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    rest: Callable[[float], object] = time.sleep,
) -> dict[str, float]:
    """Seconds that a call of each takes: the median over rounds in turns.

    The order is A B C, C B A, A B C and so on.

    Args:
        contenders: what to call, warm already.
        seconds: about how long it all may take; each is called at least once all the same.
        clock: gives the time in seconds.
        rest: lets so many seconds go by.
    """
    began = clock()
    turns: dict[str, list[float]] = {name: [] for name in contenders}
    left = list(contenders)
    for number in range(1, ROUNDS + 1):
        for name in left if number % 2 else reversed(left):
            turns[name].append(_turn(contenders[name], turns[name], clock, rest))
        best = min(min(turns[name]) for name in left)
        limit = _FAR_BEHIND if number < _LEAST_ROUNDS else _BEHIND
        left = [name for name in left if min(turns[name]) <= limit * best]
        spent = clock() - began
        if len(left) == 1 or spent * (number + 1) / number > seconds:
            break
    return {name: statistics.median(found) for name, found in turns.items()}


def _turn(
    call: Callable[[], object],
    before: list[float],
    clock: Callable[[], float],
    rest: Callable[[float], object],
) -> float:
    """Seconds a call."""
    repeats = 1
    if not before or before[-1] < _TURN_SECONDS:
        rest(_REST_SECONDS)
        began = clock()
        call()
        repeats = max(1, math.ceil(_TURN_SECONDS / max(clock() - began, 1e-6)))
    began = clock()
    for _ in range(repeats):
        call()
    return (clock() - began) / repeats
