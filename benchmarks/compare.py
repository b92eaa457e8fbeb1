"""Has anything become slower between two results of the same benchmark?

    python benchmarks/compare.py OLD.json NEW.json

Each figure that both hold is told as new over old, with a 95 % bootstrap interval. It has changed
where the interval leaves 1 out and the change is more than 3 %. Exit 1 where a figure of reslab's
own has become worse, 2 where the files do not fit each other. Peers are told too: where they
change as well, it was the machine or a library.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accuracy_table import OURS, TARGETS, groups_of, read_trainings, time_to
from measure import ratio_of_medians
from reslab.errors import UserError
from tables import table, told_ratio

# A change that is smaller is no change, however certain it is.
SMALLEST = 0.03


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Something that was measured several times.

    Attributes:
        values: one for each round or seed.
        lower_is_better: as of seconds.
        is_ours: whether it is reslab's own, or reslab's against a peer.
    """

    values: tuple[float, ...]
    lower_is_better: bool = False
    is_ours: bool


@dataclass(frozen=True, kw_only=True)
class Result:
    """What can be compared of a file.

    Attributes:
        path: of the file.
        benchmark: that made it.
        machine: what must be equal for the figures to be comparable, by its name.
        works: what each part of the figures' names stands for.
        figures: by name.
    """

    path: Path
    benchmark: str
    machine: Mapping[str, Any]
    works: Mapping[str, Any]
    figures: Mapping[str, Figure]


@dataclass(frozen=True, kw_only=True)
class Change:
    """New over old.

    Attributes:
        name: of the figure.
        ratio: see ``measure.ratio_of_medians``.
        verdict: ``worse``, ``better`` or ``same``.
        is_ours: see ``Figure``.
    """

    name: str
    ratio: Mapping[str, Any]
    verdict: str
    is_ours: bool


def read(path: Path) -> Result:
    """A result file, of whatever benchmark has rounds or seeds.

    Raises:
        UserError: where it cannot be read or holds nothing that can be compared.
    """
    try:
        if path.suffix == ".jsonl":
            return _of_trainings(path, read_trainings(path))
        document = json.loads(path.read_text())
        return _of_races(path, document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no result that can be compared",
            expected="what train_step.py, train_throughput.py or time_to_accuracy.py wrote",
            received=f"{type(error).__name__}: {error}",
        ) from error


def _of_races(path: Path, document: Mapping[str, Any]) -> Result:
    """Speeds of contenders that took turns, and reslab's against each other's."""
    # A benchmark with one case has it at the top.
    cases: Mapping[str, Any] = document.get("cases", {"": document})
    figures: dict[str, Figure] = {}
    for case, found in cases.items():
        figures.update(_of_race(f"{case}/" if case else "", found["contenders"]))
    first = next(iter(cases.values()), None)
    if first is None:
        raise ValueError("it has no cases")
    return Result(
        path=path,
        benchmark=document["benchmark"],
        machine=_machine(first["environment"], first["protocol"]["threads"]),
        works={case: found["work"] for case, found in cases.items()},
        figures=figures,
    )


def _of_race(prefix: str, contenders: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    speeds = {
        name: [entry["images_per_second"] for entry in contender["rounds"]]
        for name, contender in contenders.items()
    }
    for name, values in speeds.items():
        is_ours = name.startswith(OURS)
        yield f"{prefix}{name}: images/s", Figure(values=tuple(values), is_ours=is_ours)
    for name, theirs in speeds.items():
        if OURS in speeds and name != OURS:
            # Round by round, so that what slowed a round down for both drops out.
            pairs = tuple(a / b for a, b in zip(speeds[OURS], theirs, strict=True))
            yield f"{prefix}{OURS} against {name}", Figure(values=pairs, is_ours=True)


def _of_trainings(path: Path, trainings: Sequence[Mapping[str, Any]]) -> Result:
    """Times to each target, of contenders that reached it with every seed."""
    if not trainings:
        raise ValueError("it has no trainings")
    figures = {}
    for (data, contender, *settings), group in groups_of(trainings).items():
        for target in TARGETS.get(data, ()):
            times = [time_to(training, target) for training in group]
            if all(reached.is_target for reached in times):
                name = f"{data}/{contender} ({', '.join(settings)}): seconds to {target:.1%}"
                figures[name] = Figure(
                    values=tuple(reached.seconds for reached in times),
                    lower_is_better=True,
                    is_ours=contender == OURS,
                )
    return Result(
        path=path,
        benchmark="time_to_accuracy",
        machine=_machine(trainings[0]["environment"], trainings[0]["threads"]),
        works={},
        figures=figures,
    )


def _machine(environment: Mapping[str, Any], threads: int) -> dict[str, Any]:
    machine = environment["machine"]
    features = [name for name, there in machine["features"].items() if there]
    return {"CPU": machine["cpu"], "features": ", ".join(features), "threads": threads}


def check_fit(old: Result, new: Result) -> None:
    """Refuse to compare what cannot be compared.

    Raises:
        UserError: where benchmark, machine or work differ, or no figure is in both.
    """
    if old.benchmark != new.benchmark:
        raise UserError(
            "the two results are of different benchmarks",
            expected=f"{old.benchmark}, as {old.path.name}",
            received=f"{new.benchmark} in {new.path.name}",
        )
    for name, value in old.machine.items():
        if new.machine[name] != value:
            raise UserError(
                f"the two results are of machines with different {name}, which says nothing of "
                "the code",
                expected=f"{value}, as in {old.path.name}",
                received=f"{new.machine[name]} in {new.path.name}",
                remedy="measure both on one machine",
            )
    for case, work in old.works.items():
        other = new.works.get(case, work)
        odd = [key for key in work if other.get(key) != work[key]]
        if odd:
            raise UserError(
                f"the two results did different work{f' in {case}' if case else ''}",
                expected=", ".join(f"{key} {work[key]}" for key in odd),
                received=", ".join(f"{key} {other.get(key)}" for key in odd),
            )
    if not set(old.figures) & set(new.figures):
        raise UserError(f"{old.path.name} and {new.path.name} have no figure in common")


def changes(old: Result, new: Result) -> list[Change]:
    """New over old, for each figure in both, in the order of the old."""
    found = []
    for name, before in old.figures.items():
        if name not in new.figures:
            continue
        after = new.figures[name]
        ratio = ratio_of_medians(after.values, before.values, paired=False)
        verdict = judge(ratio, lower_is_better=before.lower_is_better)
        found.append(Change(name=name, ratio=ratio, verdict=verdict, is_ours=before.is_ours))
    return found


def judge(ratio: Mapping[str, Any], *, lower_is_better: bool) -> str:
    """``worse``, ``better`` or ``same``.

    >>> judge({"ratio": 0.9, "interval": [0.88, 0.93]}, lower_is_better=False)
    'worse'
    >>> judge({"ratio": 0.9, "interval": [0.88, 0.93]}, lower_is_better=True)
    'better'
    >>> judge({"ratio": 0.9, "interval": [0.80, 1.01]}, lower_is_better=False)
    'same'
    """
    low, high = ratio["interval"]
    if low <= 1 <= high or abs(ratio["ratio"] - 1) <= SMALLEST:
        return "same"
    return "better" if (ratio["ratio"] > 1) != lower_is_better else "worse"


def regressions(found: Sequence[Change]) -> list[Change]:
    """What of reslab's own has become worse."""
    return [change for change in found if change.is_ours and change.verdict == "worse"]


def main() -> int:
    """Compare and print; 0, 1 for a regression, 2 for a fault of the user's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    options = parser.parse_args()
    try:
        old, new = read(options.old), read(options.new)
        check_fit(old, new)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    found = changes(old, new)
    rows = [[c.name, c.verdict if c.verdict != "same" else "", told_ratio(c.ratio)] for c in found]
    print(table(["figure", "verdict", "new over old"], rows))
    left_out = len(set(old.figures) ^ set(new.figures))
    if left_out:
        print(f"\n{left_out} figures are in one of the two only.")
    worse = regressions(found)
    print(f"\n{len(worse)} of reslab's {sum(c.is_ours for c in found)} figures have become worse.")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
