"""How fast do photographs become batches, in the first epoch and in later ones?

    python benchmarks/ingest.py --out FILE.json

Photographs of 500 x 375 pixels are made once, in a folder that is kept. Every contender reads all
of them in a round, cuts random parts out, scales these to 224 x 224, mirrors half of them and gives
normalised batches. torchvision cuts out of the photograph as it is; reslab out of the square of
224 pixels that its cache has, which is a changed algorithm. Then reslab reads many epochs in a row,
to see whether its memory grows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from ingest_contenders import Reading, entrants
from measure import Worker, describe_machine, ratio_of_medians, spread
from photographs import write_photographs
from race import race, say
from reslab.engine.machine import inspect_machine
from reslab.errors import UserError
from tables import table

SIZE, BATCH, LEAST = 224, 64, 0.35
WORKERS = {"0": 0, "1": 1, "2": 2, "4": 4}


def main() -> int:
    """Measure, write, print."""
    options = parse()
    try:
        found = measure(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(format_table(found))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was found."""
    environment = describe_machine()
    say(f"{options.images:,} photographs …")
    write_photographs(options.photographs, options.images)
    work = Reading(root=options.photographs, size=SIZE, batch_size=BATCH, least=LEAST)
    threads = options.threads or inspect_machine().cpus
    with tempfile.TemporaryDirectory(dir=options.photographs.parent) as cache:
        everyone = entrants(work, WORKERS, Path(cache))
        chosen = {name: everyone[name] for name in options.contenders or everyone}
        outcome = race(chosen, threads=threads, rounds=options.rounds)
        growth = _growth(everyone["reslab-later"], threads, options.epochs)
    for contender in outcome.contenders.values():
        rounds = contender["rounds"]
        contender["images_per_second"] = spread([r["images_per_second"] for r in rounds])
        contender["memory_bytes"] = max(r["memory_bytes"] for r in rounds)
    return {
        "benchmark": "ingest",
        "environment": environment,
        "work": {
            "images": options.images,
            "size": SIZE,
            "batch_size": BATCH,
            "least_part": LEAST,
            "threads": threads,
            "rounds": options.rounds,
        },
        "contenders": outcome.contenders,
        "failed": outcome.failed,
        "ratios": _ratios(outcome.contenders),
        "growth": growth,
    }


def _ratios(contenders: dict[str, Any]) -> dict[str, Any]:
    """First and later epochs against the best of all peers and the best that decode by Pillow."""
    speeds = {
        name: [r["images_per_second"] for r in contender["rounds"]]
        for name, contender in contenders.items()
    }
    found = {}
    for ours in ("reslab-first", "reslab-later"):
        for kind, prefixes in (
            ("best", ("torchvision-", "pillow-")),
            ("pillow", ("pillow-",)),
        ):
            peers = [name for name in speeds if name.startswith(prefixes)]
            if ours not in speeds or not peers:
                continue
            best = max(peers, key=lambda name: statistics.median(speeds[name]))
            found[f"{ours}/{kind}"] = {
                "peer": best,
                **ratio_of_medians(speeds[ours], speeds[best]),
            }
    return found


def _growth(entrant: Any, threads: int, epochs: int) -> dict[str, Any]:
    """Memory after each of many epochs."""
    say(f"{epochs} epochs in a row …")
    with Worker(entrant.make, threads=threads, environment=entrant.environment) as worker:
        worker.call("prepare")
        held = [worker.call("run_round", n).value.memory_bytes for n in range(epochs)]
    return {"epochs": epochs, "memory_bytes": held}


def format_table(found: dict[str, Any]) -> str:
    """What was found, as Markdown."""
    rows = []
    for name, contender in found["contenders"].items():
        speed = contender["images_per_second"]
        rows.append(
            [
                name,
                contender["what"],
                f"{speed['median']:.0f}",
                f"{speed['min']:.0f} to {speed['max']:.0f}",
                f"{contender['memory_bytes'] / 2**20:.0f} MiB",
            ]
        )
    head = ["contender", "way", "images/s", "least to most", "memory of its own"]
    lines = [table(head, rows), ""]
    for name, ratio in found["ratios"].items():
        low, high = ratio["interval"]
        lines.append(f"- {name}: {ratio['ratio']:.2f} ({low:.2f} to {high:.2f}) of {ratio['peer']}")
    held = found["growth"]["memory_bytes"]
    lines.append(
        f"- memory after epochs 2 and {len(held)} in a row: {held[1] / 2**20:.0f} and "
        f"{held[-1] / 2**20:.0f} MiB"
    )
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument(
        "--photographs",
        type=Path,
        default=Path(tempfile.gettempdir()) / "reslab-photographs",
        help="folder that they are made in (default %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="after one to warm up")
    parser.add_argument("--epochs", type=int, default=50, help="in a row, to see memory grow")
    parser.add_argument("--threads", type=int, help="of every contender; default: all CPUs")
    parser.add_argument("--contenders", nargs="+", help="default: all")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
