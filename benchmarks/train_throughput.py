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
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from contenders import CONTENDERS, DEFAULT_CONTENDERS
from measure import (
    Worker,
    best_limits,
    describe_machine,
    measure_limits,
    peak_flops,
    ratio_of_medians,
    spread,
    turns,
)
from peers import NOTE_BATCH, Work
from reslab.catalog.datasets import DataCard
from reslab.data.catalog import open_source
from reslab.data.source import DataSource, Images
from reslab.errors import UserError
from reslab.models.cost import measure_cost
from reslab.spec.run import AugmentSpec, DataSpec, EngineSpec, ModelSpec, RunSpec, TrainingSpec
from reslab.workbench.resolve import Prepared, build_model, resolve

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


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


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
        training=TrainingSpec(epochs=1, batch_size=options.batch_size or "auto"),
        engine=EngineSpec(device="cpu", threads=options.threads or "auto"),
    )
    batch_size = resolve(spec, FirstImages(source, count)).run.training.batch_size
    whole = count - count % math.lcm(batch_size, NOTE_BATCH)
    if whole == 0:
        raise UserError(
            f"{count} images do not fill whole batches of {batch_size} and {NOTE_BATCH}"
        )
    spec = spec.model_copy(update={"training": TrainingSpec(epochs=1, batch_size=batch_size)})
    return resolve(spec, FirstImages(source, whole))


def race(workers: Mapping[str, Worker], rounds: int) -> dict[str, dict[str, Any]]:
    """One round to warm up, then the rounds that count, in turns."""
    found: dict[str, dict[str, Any]] = {}
    for name, worker in workers.items():
        chosen = worker.call("prepare").value
        warm_up = worker.call("run_round", 0)
        found[name] = {
            "what": CONTENDERS[name].what,
            **chosen,
            "warm_up_seconds": warm_up.seconds,
            "images_per_epoch": warm_up.value.images,
            "steps_per_epoch": warm_up.value.steps,
            "rounds": [],
        }
        say(f"warm-up: {name} {warm_up.seconds:.1f} s")
    for number, name in turns(list(workers), rounds):
        reply = workers[name].call("run_round", number)
        speed = reply.value.images / reply.seconds
        found[name]["rounds"].append(
            {
                "images_per_second": speed,
                "seconds": reply.seconds,
                "cpu_seconds": reply.cpu_seconds,
                "loss": reply.value.loss,
            }
        )
        say(f"round {number}: {name} {speed:.0f} images/s")
    return found


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
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Worker(
                    partial(CONTENDERS[name].make, work),
                    threads=threads,
                    environment=CONTENDERS[name].environment,
                )
            )
            for name in names
        }
        for worker in workers.values():
            worker.wait()
        contenders = race(workers, options.rounds)
    if not options.quick:
        limits.append(measure_limits(threads=threads, quick=False))
    best = best_limits(limits)
    crop = run.data.augment.crop
    cost = measure_cost(lambda: build_model(run), run.facts.channels, crop)
    speeds = {
        name: [entry["images_per_second"] for entry in contender["rounds"]]
        for name, contender in contenders.items()
    }
    for name, contender in contenders.items():
        contender["images_per_second"] = spread(speeds[name])
        contender["cpus_used"] = spread(
            [entry["cpu_seconds"] / entry["seconds"] for entry in contender["rounds"]]
        )
        peak = peak_flops(best, contender["precision"], threads)
        contender["mfu"] = 6 * cost.macs * contender["images_per_second"]["median"] / peak
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
        "ratios": {
            f"{names[0]}/{other}": ratio_of_medians(speeds[names[0]], speeds[other])
            for other in names[1:]
        },
    }


def format_report(found: dict[str, Any]) -> str:
    """The findings as a page of text."""
    environment, work, protocol = found["environment"], found["work"], found["protocol"]
    packages = environment["packages"]
    lines = [
        f"{work['model']} (shortcut {work['shortcut']}, {work['macs'] / 1e6:.1f} M multiply-adds "
        f"at {work['crop']}²) on {work['images']} images of {work['data']}, "
        f"{protocol['rounds']} rounds of one epoch, {protocol['threads']} threads",
        f"Python {environment['python']}, torch {packages['torch']}, torchvision "
        f"{packages['torchvision']}, reslab commit {environment['commit']}; "
        f"{environment['machine']['cpu']}, load {environment.get('load_average', math.nan):.1f}",
        "",
        f"{'':11}{'images/s':>9}{'min':>9}{'max':>9}{'CPUs':>6}{'MFU':>7}  configuration",
    ]
    for name, contender in found["contenders"].items():
        speed = contender["images_per_second"]
        lines.append(
            f"{name:11}{speed['median']:9.1f}{speed['min']:9.1f}{speed['max']:9.1f}"
            f"{contender['cpus_used']['median']:6.2f}{contender['mfu']:7.1%}  "
            f"batch {contender['batch_size']}, {contender['precision']}, "
            f"{contender['memory_format']}{', compiled' if contender['compile'] else ''}"
        )
    lines.append("")
    for pair, ratio in found["ratios"].items():
        low, high = ratio["interval"]
        lines.append(f"{pair:22}{ratio['ratio']:6.2f}x  (95 % interval {low:.2f} to {high:.2f})")
    for name, contender in found["contenders"].items():
        for tried in contender.get("grid", []):
            lines.append(
                f"{name} tried {tried['precision']}, {tried['memory_format']}"
                f"{', compiled' if tried['compile'] else ''}: "
                f"{tried['milliseconds_a_step']:.1f} ms a step, "
                f"the first {tried['first_step_seconds']:.1f} s"
            )
    lines += ["", "limits (the best measured)"]
    for precision, by_side in found["limits"]["gemm_tflops"].items():
        for side, by_threads in by_side.items():
            speeds = ", ".join(f"{v:.3f} with {t}" for t, v in by_threads.items())
            lines.append(f"  {precision} matrix product {side}³: TFLOP/s {speeds} threads")
    copies = ", ".join(f"{v:.1f} with {t}" for t, v in found["limits"]["copy_gb_per_s"].items())
    lines.append(f"  memory copy, read + written: GB/s {copies} threads")
    return "\n".join(lines)


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
        "--compile", action="store_true", help="let the tuned loop choose torch.compile too"
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
