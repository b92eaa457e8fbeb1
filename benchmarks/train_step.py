"""How many images a second does a whole training step take, against the stock grid and others?

    python benchmarks/train_step.py --cases resnet20@32 --out results.json

A step goes from a uint8 batch in memory to the updated net: normalise, forward, loss, backward,
update. Contenders take turns, each in a process of its own. A result that is there is gone on
with: cases are added to it, or replaced. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from measure import (
    best_limits,
    describe_machine,
    measure_limits,
    ratio_of_medians,
)
from provenance import package_versions
from race import add_figures, best_of, race, ratios_to, say
from reslab.errors import UserError
from step_contenders import CONTENDERS, DEFAULT_CONTENDERS, chosen
from step_work import CASES, Case, describe_case, prepare_case
from tables import contender_table, grid_lines, limits_table, provenance

OURS = "reslab"
PEERS = ("timm", "keras", "jax")


def measure_case(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one case, with its own limits and environment."""
    environment = describe_machine()
    environment["packages"].update(package_versions(PEERS))
    prepare = partial(
        prepare_case,
        case,
        seconds=options.seconds,
        compile_=not options.no_compile,
        threads=options.threads,
        batch_size=options.batch_size,
        data=options.data,
        root=options.root,
    )
    work = prepare(settings=options.set)
    names = chosen(options.contenders)
    entrants = {n: CONTENDERS[n].entrant(work) for n in names if CONTENDERS[n].has(work)}
    for variant in options.variants:
        name, _, settings = variant.partition(":")
        own = prepare(settings=[*options.set, *settings.split(",")])
        entrants[f"{OURS}-{name}"] = replace(
            CONTENDERS[OURS].entrant(own), what=f"reslab's step with {settings}"
        )
    say(f"{case.name}: limits …")
    limits = [measure_limits(threads=work.threads, quick=options.quick)]
    outcome = race(entrants, threads=work.threads, rounds=options.rounds, patience=options.patience)
    if not options.quick:
        limits.append(measure_limits(threads=work.threads, quick=False))
    best = best_limits(limits)
    described = describe_case(work)
    contenders = outcome.contenders
    add_figures(
        contenders,
        macs=described["macs"],
        limits=best,
        threads=work.threads,
        training_images=options.training_images,
    )
    return {
        "work": described,
        "protocol": {
            "rounds": options.rounds,
            "seconds_a_round": options.seconds,
            "warm_up_rounds": 1,
            "order": "A B C, C B A, …; one process a contender; a step before each round",
            "threads": work.threads,
            "quick": options.quick,
            "compile": not options.no_compile,
            "training_images": options.training_images,
        },
        "environment": environment,
        "limits": best,
        "limits_measured": limits,
        "contenders": contenders,
        "failed": outcome.failed,
        "best_of_grid": best_of(contenders, "grid"),
        "ratios": ratios_to(OURS, contenders),
        "ratios_with_start": _with_start(contenders),
    }


def _with_start(contenders: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The ratios where the cost of starting is spread over a training."""
    if OURS not in contenders:
        return {}
    speeds = {n: c["images_per_second_with_start"] for n, c in contenders.items()}
    return {
        f"{OURS}/{other}": ratio_of_medians(speeds[OURS], speeds[other])
        for other in contenders
        if other != OURS
    }


def format_case(name: str, found: Mapping[str, Any]) -> str:
    """One case as Markdown."""
    return "\n\n".join(
        [
            f"### {name}",
            describe_work(found),
            contender_table(found),
            *grid_lines(found["contenders"]),
            limits_table(found["limits"]),
            provenance(found["environment"]),
        ]
    )


def describe_work(found: Mapping[str, Any]) -> str:
    """What all contenders did, in two sentences."""
    work, protocol = found["work"], found["protocol"]
    return (
        f"{work['model']} (shortcut {work['shortcut']}, {work['stem']} stem, "
        f"{work['macs'] / 1e6:.1f} M multiply-adds) on {work['data']} images of "
        f"{work['image_size']}² x {work['channels']}, batches of {work['batch_size']}; "
        f"{protocol['rounds']} rounds of {protocol['seconds_a_round']:g} s, "
        f"{protocol['threads']} threads. With start: compilation and first step spread over a "
        f"training of {protocol['training_images']:,} images."
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [case.name for case in CASES]
    parser.add_argument("--cases", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=[*CONTENDERS, "cells"],
        default=list(DEFAULT_CONTENDERS),
        help="those that lack a net are left out there; cells: every cell of the grid as one of "
        f"its own (default: {' '.join(DEFAULT_CONTENDERS)})",
    )
    parser.add_argument(
        "--variants",
        nargs="+",
        default=[],
        metavar="NAME:SETTING,…",
        help="further contenders reslab-NAME, with these settings besides those of --set: what a "
        "setting gains is the ratio to the variant without it",
    )
    parser.add_argument("--rounds", type=int, default=5, help="after one to warm up")
    parser.add_argument("--seconds", type=float, default=10.0, help="that a round takes")
    parser.add_argument("--batch-size", type=int, help="default: the case's")
    parser.add_argument("--threads", type=int, help="of every contender; default: reslab's")
    parser.add_argument("--no-compile", action="store_true", help="nobody may compile")
    parser.add_argument("--data", help="data set to take images of, in place of random ones")
    parser.add_argument("--root", help="folder that holds its files")
    parser.add_argument(
        "--set", nargs="+", default=[], help="settings of reslab's, such as engine.precision=bf16"
    )
    parser.add_argument(
        "--training-images",
        type=int,
        default=600_000,
        help="that the cost of starting is spread over (default: ten epochs of 60,000)",
    )
    parser.add_argument(
        "--patience", type=float, default=1800.0, help="seconds that a contender may be silent"
    )
    parser.add_argument("--quick", action="store_true", help="measure the limits only briefly")
    parser.add_argument("--out", type=Path, help="JSON file to write or go on with")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure case by case, write after each, print; 2 for a fault of the user's."""
    options = parse()
    document: dict[str, Any] = {"benchmark": "train_step", "cases": {}}
    try:
        if options.out is not None and options.out.exists():
            document = read_result(options.out)
        for case in CASES:
            if case.name not in options.cases:
                continue
            found = measure_case(case, options)
            document["cases"][case.name] = found
            if options.out is not None:
                options.out.write_text(json.dumps(document, indent=1) + "\n")
            print(format_case(case.name, found), end="\n\n", flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def read_result(path: Path) -> dict[str, Any]:
    """A result of this benchmark, to be gone on with.

    Raises:
        UserError: where the file is none.
    """
    try:
        document = json.loads(path.read_text())
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("benchmark") != "train_step":
        raise UserError(f"{path} is no result of train_step.py", remedy="name another file")
    return document


if __name__ == "__main__":
    sys.exit(main())
