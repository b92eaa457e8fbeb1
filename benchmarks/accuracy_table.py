"""What finished trainings tell: the time to an accuracy, over seeds, and ratios of it."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from measure import ratio_of_medians
from reslab.errors import UserError
from reslab.wording import counted
from tables import table, told_ratio

OURS = "reslab"

# Test accuracies whose time is told, by data set.
TARGETS: Mapping[str, tuple[float, ...]] = {
    "fashion-mnist": (0.93, 0.94),
    "mnist": (0.994,),
}

Training = Mapping[str, Any]


class Reached(NamedTuple):
    """When a training got somewhere: seconds of training, and whether that was the target."""

    seconds: float
    is_target: bool


def time_to(training: Training, target: float) -> Reached:
    """Seconds until the end of the first epoch with that test accuracy, the start included.

    Where the target is never reached: until its best epoch, the first one of equals.

    >>> epochs = [{"seconds": 10.0, "accuracy": 0.5}, {"seconds": 10.0, "accuracy": 0.9}]
    >>> time_to({"start_seconds": 1.0, "epochs": epochs}, 0.9)
    Reached(seconds=21.0, is_target=True)
    >>> time_to({"start_seconds": 1.0, "epochs": epochs[:1]}, 0.9)
    Reached(seconds=11.0, is_target=False)
    """
    epochs = training["epochs"]
    ends = list(itertools.accumulate(epoch["seconds"] for epoch in epochs))
    accuracies = [epoch["accuracy"] for epoch in epochs]
    for end, accuracy in zip(ends, accuracies, strict=True):
        if accuracy >= target:
            return Reached(training["start_seconds"] + end, True)
    best = accuracies.index(max(accuracies))
    return Reached(training["start_seconds"] + ends[best], False)


def read_trainings(path: Path) -> list[dict[str, Any]]:
    """The finished trainings of a file, one JSON object a line; none where there is no file.

    A last line that was cut short counts as not there.

    Raises:
        UserError: where another line is none of this benchmark.
    """
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    found = []
    for i, line in enumerate(lines):
        try:
            training = json.loads(line)
            if training["benchmark"] != "time_to_accuracy":
                raise ValueError
        except (ValueError, KeyError, TypeError):
            if i == len(lines) - 1:
                break
            raise UserError(
                f"line {i + 1} of {path} is no training of time_to_accuracy.py",
                remedy="name another file",
            ) from None
        found.append(training)
    return found


def key_of(training: Training) -> tuple[str, ...]:
    """What trainings that differ in their seed alone have in common."""
    return (
        training["data"],
        training["contender"],
        training["recipe"],
        *training["settings"],
        counted(training["threads"], "thread"),
    )


def groups_of(trainings: Sequence[Training]) -> dict[tuple[str, ...], list[Training]]:
    """The trainings by ``key_of``, in the order in which they come first."""
    groups: dict[tuple[str, ...], list[Training]] = {}
    for training in trainings:
        groups.setdefault(key_of(training), []).append(training)
    return groups


def format_table(trainings: Sequence[Training], data: str, targets: Sequence[float]) -> str:
    """All trainings on a data set: a row for each contender, with times and ratios to ours.

    Ratios are of the median times, with a 95 % bootstrap interval over seeds, each side drawn
    for itself; against the last group of reslab's own. There is none where that has not reached
    the target with every seed.
    """
    groups = {key: g for key, g in groups_of(trainings).items() if key[0] == data}
    # reslab's own first, the others as they come.
    groups = dict(sorted(groups.items(), key=lambda item: item[0][1] != OURS))
    ours = [group for key, group in groups.items() if key[1] == OURS]
    head = ["contender", "recipe", "seeds", "epochs", "test accuracy: best, last"]
    for target in targets:
        head += [f"time to {target:.1%}", "times ours"]
    rows = []
    for (_, contender, recipe, *settings, threads), group in groups.items():
        best = [max(e["accuracy"] for e in t["epochs"]) for t in group]
        last = [t["epochs"][-1]["accuracy"] for t in group]
        row = [
            contender,
            ", ".join([recipe, *settings, threads]),
            str(len(group)),
            str(round(statistics.median(len(t["epochs"]) for t in group))),
            f"{told_accuracy(best)}, {told_accuracy(last)}",
        ]
        for target in targets:
            row += _cells(group, ours[-1] if ours else None, target)
        rows.append(row)
    return table(head, rows)


def told_accuracy(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds, in percent.

    >>> told_accuracy([0.93, 0.94])
    '93.50 ± 0.71'
    """
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.2f}{spread}"


def _cells(group: Sequence[Training], ours: Sequence[Training] | None, target: float) -> list[str]:
    """Time and ratio of one contender."""
    times = [time_to(training, target) for training in group]
    seconds = [reached.seconds for reached in times]
    told = f"{statistics.median(seconds):.4g} s"
    if len(seconds) > 1:
        told += f" ({min(seconds):.4g} to {max(seconds):.4g})"
    missed = sum(not reached.is_target for reached in times)
    if missed:
        told += f", not reached by {missed} of {len(times)}: time to their best epoch"
    if ours is None or group is ours:
        return [told, "-"]
    own = [time_to(training, target) for training in ours]
    if not all(reached.is_target for reached in own):
        return [told, "-"]
    ratio = ratio_of_medians(seconds, [reached.seconds for reached in own], paired=False)
    return [told, f"{'at least ' if missed else ''}{told_ratio(ratio)}"]
