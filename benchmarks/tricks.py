"""What does each part of the recipe `fast` do for the accuracy, and what was left out of it?

    python benchmarks/tricks.py --data fashion-mnist --root DATA --out FILE.json

Trains the recipe whole, then without one of its parts at a time, then with one more, from the
same seeds on the same images, and scores the last weights on validation images, by which the
recipe was chosen; the test split is not opened. Differences are taken seed by seed. Each training
that ends is written at once; a file that is there is gone on with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import log_softmax

from measure import describe_machine
from race import say
from reslab.data.catalog import open_source
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.inference.eager import compute_logits
from reslab.spec.recipes import recipe_document
from reslab.spec.run import RunSpec
from reslab.spec.text import build, parse_override
from reslab.training.fit import begin, fit
from reslab.workbench.resolve import Prepared, normaliser_of, resolve, train_batches
from reslab.workbench.train import initial_model
from reslab.writing import write_atomically
from tables import table

WHOLE = "all of it"

# Without a part of the recipe.
WITHOUT: dict[str, tuple[str, ...]] = {
    "Muon (SGD with Nesterov momentum instead)": ("training.optimizer=sgd",),
    "one cycle (a constant rate)": ("training.schedule=constant",),
    "the short rise (a quarter of the steps)": ("training.schedule.warmup=0.25",),
    "crops": ("data.augment.pad=0",),
    "mirroring": ("data.augment.flip=false",),
    "label smoothing": ("training.label_smoothing=0.0",),
    "weight decay": ("training.weight_decay=0.0",),
    "reslab's kernels (torch's)": ("engine.kernels=torch",),
}

# With one part more.
WITH: dict[str, tuple[str, ...]] = {
    "batches of 512": ("training.batch_size=512",),
    "random erasing 0.5": ("data.augment.erasing=0.5",),
    "mixup 0.2": ("training.mixup=0.2",),
    "weight average 0.99": ("training.ema=0.99",),
    "branches that start at zero": ("model.zero_init_residual=true",),
    "resnet20": ("model.name=resnet20",),
}

VARIANTS = {
    WHOLE: (),
    **{f"without {name}": settings for name, settings in WITHOUT.items()},
    **{f"with {name}": settings for name, settings in WITH.items()},
}


def main() -> None:
    """Parse, train what is missing, write after each, print the table."""
    options = parse()
    document = open_document(options)
    done = {(t["variant"], t["seed"]) for t in document["trainings"]}
    # Seed by seed, so that a table of fewer seeds can be had at any time.
    for seed in options.seeds:
        for name in options.variants:
            if (name, seed) in done:
                continue
            prepared = prepare(name, seed, options)
            if name != WHOLE and prepared.run == prepare(WHOLE, seed, options).run:
                say(f"{name}: the recipe is the same on {options.data}")
                continue
            found = train(prepared)
            document["trainings"].append({"variant": name, "seed": seed, **found})
            write_atomically(options.out, (json.dumps(document, indent=1) + "\n").encode())
            say(f"{name}, seed {seed}: {found['accuracy']:.2%} in {found['seconds']:.0f} s")
    print(format_table(document))


def open_document(options: argparse.Namespace) -> dict[str, Any]:
    """What the file holds, or an empty document.

    Raises:
        UserError: where it holds trainings of other work.
    """
    work = {
        "benchmark": "tricks",
        "data": options.data,
        "validation": options.validation,
        "settings": list(options.set),
    }
    if not options.out.exists():
        return {**work, "trainings": []}
    document: dict[str, Any] = json.loads(options.out.read_text())
    there = {name: document.get(name) for name in work}
    if there != work:
        raise UserError(
            f"{options.out} has trainings of other work",
            expected=str(work),
            received=str(there),
            remedy="name another file",
        )
    return document


def prepare(name: str, seed: int, options: argparse.Namespace) -> Prepared:
    """What a variant trains with a seed."""
    shared = {
        "data": {"name": options.data, "root": options.root, "validation": options.validation},
        "engine": {"device": "cpu"},
        "seeds": {"base": seed},
    }
    settings = map(parse_override, [*options.set, *VARIANTS[name]])
    document = recipe_document("fast", shared, *settings)
    return resolve(build(RunSpec, document), open_source(options.data, options.root))


def train(prepared: Prepared) -> dict[str, Any]:
    """Train; accuracy and loss on validation, and seconds of training."""
    environment = describe_machine()
    run, images = prepared.run, prepared.validation
    runtime = Runtime(**run.engine.model_dump())
    with runtime.active():
        stepper = begin(initial_model(run, runtime), train_batches(prepared), run.training, runtime)
        began = time.perf_counter()
        fit(stepper)
        seconds = time.perf_counter() - began
        logits_NK = compute_logits(
            stepper.state.judged, images.pixels_NCHW, normaliser_of(run), runtime
        )
    rows_N = np.arange(len(images.labels_N))
    return {
        "accuracy": float((logits_NK.argmax(axis=1) == images.labels_N).mean()),
        "loss": -float(log_softmax(logits_NK, axis=1)[rows_N, images.labels_N].mean()),
        "epochs": run.training.epochs,
        "threads": run.engine.threads,
        "seconds": seconds,
        "environment": environment,
    }


def format_table(document: dict[str, Any]) -> str:
    """A row for each variant: accuracy, what it has over the whole recipe, loss, time."""
    by_variant: dict[str, dict[int, dict[str, Any]]] = {}
    for training in document["trainings"]:
        by_variant.setdefault(training["variant"], {})[training["seed"]] = training
    rows = []
    for name, own in by_variant.items():
        points = [100 * training["accuracy"] for training in own.values()]
        whole = by_variant.get(WHOLE, {})
        change = "-"
        if name != WHOLE:
            change = told_change(
                [100 * (own[s]["accuracy"] - whole[s]["accuracy"]) for s in own if s in whole]
            )
        sd = f" ± {statistics.stdev(points):.2f}" if len(points) > 1 else ""
        rows.append(
            [
                name,
                str(len(own)),
                f"{statistics.fmean(points):.2f}{sd}",
                change,
                f"{statistics.fmean(t['loss'] for t in own.values()):.4f}",
                f"{statistics.median(t['seconds'] for t in own.values()):.0f} s",
            ]
        )
    head = ["recipe", "seeds", "validation accuracy, %", "change, points (95 %)", "loss", "time"]
    return table(head, rows)


def told_change(differences: Sequence[float]) -> str:
    """A mean difference with its 95 % t interval, which a single one does not have.

    >>> told_change([0.5, 0.25, 0.0])
    '+0.25 (-0.37 to +0.87)'
    >>> told_change([0.5]), told_change([])
    ('+0.50', '-')
    """
    if not differences:
        return "-"
    mean = statistics.fmean(differences)
    if len(differences) == 1:
        return f"{mean:+.2f}"
    error = statistics.stdev(differences) / len(differences) ** 0.5
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="fashion-mnist", help="see `reslab data list`")
    parser.add_argument("--root", help="folder with the data set's files")
    parser.add_argument("--validation", type=int, default=10_000, help="images to judge by")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="VARIANT"
    )
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings that all have"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write or go on with")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
