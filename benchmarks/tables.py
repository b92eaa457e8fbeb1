"""Results as Markdown: what the scripts print, and what docs/performance.md is made of."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns after the first two are aligned to the right.

    >>> print(table(["net", "what", "images/s"], [["resnet20", "step", "12"]]))
    | net | what | images/s |
    |---|---|---:|
    | resnet20 | step | 12 |
    """
    rule = ["---" if i < 2 else "---:" for i in range(len(head))]
    lines = [f"|{'|'.join(rule)}|"]
    lines = [f"| {' | '.join(head)} |", *lines, *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def told_ratio(ratio: Mapping[str, Any] | None) -> str:
    """A ratio with its interval, or a dash.

    >>> told_ratio({"ratio": 2.0, "interval": [1.9, 2.123]})
    '2.00 (1.90 to 2.12)'
    """
    if ratio is None:
        return "-"
    low, high = ratio["interval"]
    return f"{ratio['ratio']:.2f} ({low:.2f} to {high:.2f})"


def contender_table(found: Mapping[str, Any]) -> str:
    """The contenders of a race: speeds, CPUs, MFU, and how many times as fast the first is."""
    contenders, ratios = found["contenders"], found["ratios"]
    with_start = any("start_seconds" in contender for contender in contenders.values())
    head = ["contender", "configuration", "images/s", "least to most", "CPUs", "MFU", "ratio to it"]
    head += ["start", "ratio with start"] if with_start else []
    by_other = {pair.partition("/")[2]: ratio for pair, ratio in ratios.items()}
    started = {
        pair.partition("/")[2]: ratio for pair, ratio in found.get("ratios_with_start", {}).items()
    }
    rows = []
    for name, contender in contenders.items():
        speed = contender["images_per_second"]
        best = " (best of the grid)" if name == found.get("best_of_grid") else ""
        row = [
            f"{name}{best}",
            configuration(contender),
            f"{speed['median']:.1f}",
            f"{speed['min']:.1f} to {speed['max']:.1f}",
            f"{contender['cpus_used']['median']:.2f}",
            f"{contender['mfu']:.1%}",
            told_ratio(by_other.get(name)),
        ]
        if with_start:
            row += [f"{contender['start_seconds']:.1f} s", told_ratio(started.get(name))]
        rows.append(row)
    lines = [table(head, rows)]
    lines += [
        f"{name} fell out ({failure['stage']}): {failure['error']}"
        for name, failure in found.get("failed", {}).items()
    ]
    return "\n\n".join(lines)


def configuration(contender: Mapping[str, Any]) -> str:
    """What a contender ran, in a few words."""
    parts = [
        f"batch {contender['batch_size']}",
        contender["precision"],
        contender["memory_format"],
        "compiled" if contender["compile"] else "",
    ]
    return ", ".join(part for part in parts if part)


def grid_lines(contenders: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """For each contender that chose by trial: a table of what it tried."""
    lines = []
    for name, contender in contenders.items():
        if not contender.get("grid"):
            continue
        rows = []
        for tried in contender["grid"]:
            way = "compiled" if tried["compile"] else "eager"
            cells = [f"{tried['precision']}, {tried['memory_format']}", way]
            if "failed" in tried:
                rows.append([*cells, "failed", tried["failed"].replace("|", "/")[:80]])
            else:
                rows.append(
                    [
                        *cells,
                        f"{tried['milliseconds_a_step']:.1f} ms",
                        f"{tried['first_step_seconds']:.1f} s",
                    ]
                )
        lines.append(f"What {name} tried:")
        lines.append(table(["variant", "way", "a step", "first step"], rows))
    return lines


def limits_table(limits: Mapping[str, Any]) -> str:
    """What the machine did at best in the same run."""
    rows = []
    threads: list[str] = list(limits["copy_gb_per_s"])
    for precision, by_side in limits["gemm_tflops"].items():
        for side, speeds in by_side.items():
            cells = [f"{speeds[t]:.3f}" for t in threads]
            rows.append([f"{precision} matrix product, {side}³", "TFLOP/s", *cells])
    copies = [f"{limits['copy_gb_per_s'][t]:.1f}" for t in threads]
    rows.append(["memory copy, read and written", "GB/s", *copies])
    head = ["limit, the best measured", "unit"]
    return table([*head, *(f"{t} thread{'s' if t != '1' else ''}" for t in threads)], rows)


def provenances(environments: Iterable[Mapping[str, Any]]) -> list[str]:
    """``provenance`` of each commit and command once, in the order in which they come first."""
    made: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for environment in environments:
        made.setdefault((str(environment["commit"]), *environment["command"]), environment)
    return [provenance(environment) for environment in made.values()]


def machine_of(environment: Mapping[str, Any]) -> str:
    """A machine in few words: its CPU, and the instructions that torch uses of it."""
    machine = environment["machine"]
    cpu = re.sub(r"\((R|TM)\)| Processor", "", machine["cpu"]).strip()
    capability = machine.get("capability")
    return f"{cpu}, {capability}" if capability else cpu


def provenance(environment: Mapping[str, Any]) -> str:
    """How a result was made: command, commit, versions, machine, how busy it was."""
    packages, machine = environment["packages"], environment["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    features = ", ".join(name for name, there in machine["features"].items() if there)
    load = environment.get("load_average")
    command = environment["command"]
    first = command[0] if command[0].startswith("benchmarks/") else f"benchmarks/{command[0]}"
    return (
        f"`python {shlex.join([first, *command[1:]])}`, "
        f"{environment['started'][:10]}, commit {environment['commit']}; "
        f"Python {environment['python']}, {versions}; {machine['cpu']}, {machine['cpus']} CPUs"
        f"{f' ({features})' if features else ''}"
        f"{'' if load is None else f', load {load:.1f} at the start'}."
    )
