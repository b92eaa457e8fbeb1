"""How many images a second does training take in, against a plain and a tuned stock loop?

    python benchmarks/train_throughput.py --data fashion-mnist --root DATA --images 10240

All contenders train the same net on the same images, one whole epoch a round, in turns
(A B C, C B A, …), each in a process of its own. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contenders import CONTENDERS, DEFAULT_CONTENDERS
from measure import best_limits, describe_machine, measure_limits
from peers import NOTE_BATCH, Work
from race import add_figures, race, ratios_to, say
from reslab.catalog.datasets import DataCard
from reslab.data.catalog import open_source
from reslab.data.source import DataSource, Images
from reslab.errors import UserError
from reslab.models.cost import measure_cost
from reslab.spec.data import AugmentSpec, DataSpec
from reslab.spec.optimizers import SGD
from reslab.spec.run import EngineSpec, ModelSpec, RunSpec, TrainingSpec
from reslab.spec.values import Auto
from reslab.workbench.resolve import Prepared, build_model, resolve
from tables import contender_table, grid_lines, limits_table, provenance

PAD = 4


@dataclass(frozen=True)
class FirstImages:
    """The first training images of a data set."""

    whole: DataSource
    count: int

    @property
    def card(self) -> DataCard:
        """The whole set's."""
        return self.whole.card

    def load_train(self) -> Images:
        """The first ``count`` of its training split."""
        return self.whole.load_train().take(np.arange(self.count))

    def load_test(self) -> Images:
        """Not read here."""
        raise NotImplementedError


def prepare(options: argparse.Namespace) -> Prepared:
    """Resolve the run as ``reslab train`` would, on whole batches for every contender."""
    source = open_source(options.data, options.root)
    count = len(source.load_train())
    if options.images is not None:
        count = min(count, options.images)
    spec = RunSpec(
        data=DataSpec(
            name=options.data,
            validation=0,
            augment=AugmentSpec(pad=PAD, crop=source.card.image_size + PAD, flip=True),
        ),
        model=ModelSpec(name=options.model, shortcut=options.shortcut),
        training=_training(options.batch_size or "auto"),
        engine=EngineSpec(device="cpu", threads=options.threads or "auto"),
    )
    batch_size = resolve(spec, FirstImages(source, count)).run.training.batch_size
    whole = count - count % math.lcm(batch_size, NOTE_BATCH)
    if whole == 0:
        raise UserError(
            f"{count} images do not fill whole batches of {batch_size} and {NOTE_BATCH}"
        )
    spec = spec.model_copy(update={"training": _training(batch_size)})
    return resolve(spec, FirstImages(source, whole))


def _training(batch_size: int | Auto) -> TrainingSpec:
    """An epoch by the optimiser that torch has too."""
    return TrainingSpec(epochs=1, batch_size=batch_size, optimizer=SGD())


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the protocol; everything that was found."""
    environment = describe_machine()
    prepared = prepare(options)
    run = prepared.run
    threads = run.engine.threads
    work = Work(run=run, images=prepared.train, compile=options.compile)
    names = list(dict.fromkeys(options.contenders))
    say("limits …")
    limits = [measure_limits(threads=threads, quick=options.quick)]
    entrants = {name: CONTENDERS[name].entrant(work) for name in names}
    outcome = race(entrants, threads=threads, rounds=options.rounds)
    contenders = outcome.contenders
    if not options.quick:
        limits.append(measure_limits(threads=threads, quick=False))
    best = best_limits(limits)
    crop = run.data.augment.crop
    cost = measure_cost(lambda: build_model(run), run.facts.channels, crop)
    add_figures(contenders, macs=cost.macs, limits=best, threads=threads)
    return {
        "benchmark": "train_throughput",
        "protocol": {
            "rounds": options.rounds,
            "warm_up_rounds": 1,
            "order": "A B C, C B A, …; one epoch each; one process a contender",
            "threads": threads,
            "quick": options.quick,
        },
        "environment": environment,
        "work": {
            "data": run.data.name,
            "images": len(prepared.train),
            "image_size": run.facts.image_size,
            "pad": run.data.augment.pad,
            "crop": crop,
            "flip": run.data.augment.flip,
            "model": run.model.name,
            "shortcut": run.model.shortcut,
            "channels": run.facts.channels,
            "classes": len(run.facts.classes),
            "parameters": cost.parameters,
            "macs": cost.macs,
        },
        "limits": best,
        "limits_measured": limits,
        "contenders": contenders,
        "failed": outcome.failed,
        "ratios": ratios_to(names[0], contenders),
    }


def format_report(found: dict[str, Any]) -> str:
    """The findings as a page of Markdown."""
    return "\n\n".join(
        [
            f"**{describe_work(found)}.**",
            contender_table(found),
            *grid_lines(found["contenders"]),
            limits_table(found["limits"]),
            provenance(found["environment"]),
        ]
    )


def describe_work(found: Mapping[str, Any]) -> str:
    """What all contenders did, in a line."""
    work, protocol = found["work"], found["protocol"]
    return (
        f"{work['model']} (shortcut {work['shortcut']}, {work['macs'] / 1e6:.1f} M multiply-adds "
        f"at {work['crop']}²) on {work['images']} images of {work['data']}, {protocol['rounds']} "
        f"rounds of one epoch, {protocol['threads']} threads"
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="fashion-mnist", help="data set (default %(default)s)")
    parser.add_argument("--root", help="folder that holds its files")
    parser.add_argument("--images", type=int, help="only the first so many training images")
    parser.add_argument("--model", default="resnet14", help="net (default %(default)s)")
    parser.add_argument("--shortcut", default="conv3x3", help="shortcut (default %(default)s)")
    parser.add_argument("--batch-size", type=int, help="of reslab and tuned; default: reslab's")
    parser.add_argument("--threads", type=int, help="of every contender; default: reslab's")
    parser.add_argument("--rounds", type=int, default=5, help="after one to warm up")
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        default=DEFAULT_CONTENDERS,
        help="in their order; ratios are of the first (default: reslab tuned note)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="let the tuned loops choose torch.compile too"
    )
    parser.add_argument("--quick", action="store_true", help="measure the limits only briefly")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--out", type=Path, help="file for the JSON")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure and print; 2 for a fault of the user's, as ``reslab`` does."""
    options = parse()
    try:
        found = measure(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    text = json.dumps(found, indent=2)
    if options.out is not None:
        options.out.write_text(text + "\n")
    print(text if options.json else format_report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
