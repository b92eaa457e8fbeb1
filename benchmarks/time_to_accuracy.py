"""How long does it take to train to an accuracy on the test images?

    python benchmarks/time_to_accuracy.py --data fashion-mnist --root DATA --out results.jsonl

The clock runs while training, data and compilation included; the test after each epoch is not
counted, and nothing is chosen by it. Every training that ends is appended to the file at once;
what is there already is not done again. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from accuracy_contenders import CONTENDERS, Task
from accuracy_table import TARGETS, format_table, key_of, read_trainings
from measure import Worker, describe_machine, measure_limits
from race import last_line, say
from reslab.data.catalog import open_source
from reslab.errors import UserError
from reslab.spec.recipes import recipe_document
from reslab.spec.run import RunSpec
from reslab.spec.text import build, parse_override
from reslab.workbench.resolve import resolve

PLAIN_RECIPE = "mnist-basic"


@dataclass(kw_only=True)
class Runner:
    """A training on its way in its process."""

    name: str
    worker: Worker
    epochs: int
    record: dict[str, Any]
    ends_at: float | None
    found: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether it has made all epochs, or reached what ends it."""
        if self.ends_at is not None and self.found and self.found[-1]["accuracy"] >= self.ends_at:
            return True
        return len(self.found) == self.epochs

    def start(self) -> None:
        """Build, choose, compile; notes what of it counts."""
        self.worker.wait()
        reply = self.worker.call("prepare")
        counts = reply.value.pop("start_counts")
        self.record["chosen"] = reply.value
        self.record["start_seconds"] = reply.seconds if counts == "all" else counts

    def run_epoch(self) -> None:
        """Train an epoch, then test."""
        number = len(self.found) + 1
        reply = self.worker.call("run_epoch", number)
        accuracy = self.worker.call("test").value
        self.found.append(
            {
                "epoch": number,
                "seconds": reply.seconds,
                "cpu_seconds": reply.cpu_seconds,
                "loss": reply.value.loss,
                "accuracy": accuracy,
            }
        )
        say(f"{self.name} epoch {number}: {reply.seconds:.1f} s, test {accuracy:.2%}")


def prepare(name: str, seed: int, options: argparse.Namespace) -> tuple[Task, dict[str, Any]]:
    """What a contender trains with a seed, and what is written of it."""
    contender = CONTENDERS[name]
    recipe, settings = {
        "reslab": (options.recipe, options.set),
        "stock": (options.stock_recipe, options.stock_set),
    }.get(name, (PLAIN_RECIPE, [f"training.epochs={options.plain_epochs}"]))
    document = recipe_document(
        recipe,
        {
            "data": {"name": options.data, "root": options.root, "validation": 0},
            "engine": {"device": "cpu", "threads": options.threads or "auto"},
            "seeds": {"base": seed},
        },
        *map(parse_override, [*options.common, *settings]),
    )
    source = open_source(options.data, options.root)
    prepared = resolve(build(RunSpec, document), source)
    run = prepared.run
    record = {
        "benchmark": "time_to_accuracy",
        "data": options.data,
        "contender": name,
        "what": contender.what,
        "recipe": recipe,
        "settings": [*options.common, *settings],
        "seed": seed,
        "threads": run.engine.threads,
        "spec": run.model_dump(mode="json", exclude={"data": {"root"}}),
    }
    return Task(prepared=prepared, test=source.load_test(), compile=options.compile), record


def train(names: Sequence[str], seed: int, options: argparse.Namespace) -> None:
    """Train some contenders with a seed, their epochs in turns, and append each that ends."""
    earlier = read_trainings(options.out)
    done = {(*key_of(t), t["seed"]) for t in earlier}
    environment = describe_machine()
    check_machine(earlier, environment, options.out)
    with ExitStack() as stack:
        runners = []
        for name in names:
            task, record = prepare(name, seed, options)
            if (*key_of(record), seed) in done:
                say(f"{name} with seed {seed} is there already")
                continue
            record["interleaved_with"] = [other for other in names if other != name]
            record["environment"] = environment
            record["limits"] = measure_limits(threads=record["threads"], quick=True)
            contender = CONTENDERS[name]
            worker = Worker(
                partial(contender.make, task),
                threads=record["threads"],
                environment=contender.environment,
            )
            runners.append(
                Runner(
                    name=name,
                    worker=stack.enter_context(worker),
                    epochs=task.prepared.run.training.epochs,
                    record=record,
                    ends_at=max(options.targets) if contender.is_plain else None,
                )
            )
        for runner in list(runners):
            if not _works(runner, Runner.start):
                runners.remove(runner)
        turn = 0
        while runners:
            for runner in runners[::-1] if turn % 2 else runners[:]:
                works = _works(runner, Runner.run_epoch)
                if works and runner.is_done:
                    _append(options.out, runner)
                if not works or runner.is_done:
                    runners.remove(runner)
            turn += 1


def check_machine(
    earlier: Sequence[Mapping[str, Any]], environment: Mapping[str, Any], out: Path
) -> None:
    """Refuse to put times of different machines into one file.

    Raises:
        UserError: where the file's are of another machine.
    """
    here = environment["machine"]
    for training in earlier:
        there = training["environment"]["machine"]
        odd = [key for key in ("cpu", "cpus", "features") if there[key] != here[key]]
        if odd:
            raise UserError(
                f"{out} holds trainings of another machine",
                expected=", ".join(f"{key} {there[key]}" for key in odd),
                received=", ".join(f"{key} {here[key]}" for key in odd),
                remedy="name another file",
            )


def _works(runner: Runner, work: Callable[[Runner], None]) -> bool:
    """Do it, and tell whether it failed."""
    try:
        work(runner)
    except RuntimeError as error:
        say(f"{runner.name} failed after {len(runner.found)} epochs: {last_line(error)}")
        return False
    return True


def _append(out: Path, runner: Runner) -> None:
    """Write a training that has ended, in one piece."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    record = {**runner.record, "load_at_end": load, "epochs": runner.found}
    # What was cut short would make this line unreadable too.
    whole = "".join(f"{json.dumps(t)}\n" for t in read_trainings(out))
    if out.exists() and out.read_text() != whole:
        out.write_text(whole)
    with out.open("a") as lines:
        lines.write(json.dumps(record) + "\n")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="fashion-mnist", help="data set (default %(default)s)")
    parser.add_argument("--root", help="folder that holds its files")
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=["reslab", "stock", "plain"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--targets", nargs="+", type=float, help="test accuracies, such as 0.93")
    parser.add_argument("--recipe", default="fast", help="of reslab (default %(default)s)")
    parser.add_argument("--set", nargs="+", default=[], help="further settings of reslab's")
    parser.add_argument("--stock-recipe", default="fast", help="of the stock loop")
    parser.add_argument(
        "--stock-set",
        nargs="+",
        default=["training.optimizer=sgd"],
        help="its further settings (default: %(default)s, since it has no Muon)",
    )
    parser.add_argument("--common", nargs="+", default=[], help="settings of all contenders")
    parser.add_argument("--plain-epochs", type=int, default=20, help="of plain and note at most")
    parser.add_argument("--threads", type=int, help="of every contender; default: reslab's")
    parser.add_argument("--compile", action="store_true", help="let stock choose torch.compile")
    parser.add_argument(
        "--interleave",
        action="store_true",
        help="let the contenders of a seed train at the same time, an epoch each in turns",
    )
    parser.add_argument("--table", action="store_true", help="print the table only")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, gone on with")
    options = parser.parse_args(arguments)
    options.targets = options.targets or TARGETS.get(options.data, (0.9,))
    return options


def main() -> int:
    """Train what is missing and print the table; 2 for a fault of the user's."""
    options = parse()
    try:
        for i, seed in enumerate([] if options.table else options.seeds):
            names = options.contenders[:: 1 if i % 2 == 0 else -1]
            for group in [names] if options.interleave else [[name] for name in names]:
                train(group, seed, options)
        print(format_table(read_trainings(options.out), options.data, options.targets))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
