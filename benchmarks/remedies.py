"""What does each remedy against over-fitting do on a small training set?

    python benchmarks/remedies.py --data fashion-mnist --root DATA --out FILE.json

Trains the same net bare, without any remedy, and with one at a time, from the same seeds on the
same images, and scores the weights that a run keeps as its best on training images (as they are)
and on the test split. Differences to the bare training are taken seed by seed. A file that is
there is gone on with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from scipy import stats

import reslab
from measure import describe_machine
from reslab.spec.recipes import recipe_document
from reslab.spec.run import RunSpec
from reslab.spec.text import build, parse_override
from reslab.workbench.resume import prepare_again

BARE = (
    "training.optimizer=sgd",
    "data.augment.pad=0",
    "data.augment.flip=false",
    "training.label_smoothing=0.0",
    "training.weight_decay=0.0",
)

# Usual strengths, set beforehand and not tuned here.
REMEDIES: dict[str, tuple[str, ...]] = {
    "bare": (),
    "early stopping": ("training.patience=5",),
    "dropout 0.3": ("model.dropout=0.3",),
    "stochastic depth 0.2": ("model.stochastic_depth=0.2",),
    "L1 penalty 1e-5": ("training.l1=1e-5",),
    "L2 penalty 1e-3": ("training.l2=1e-3",),
    "weight decay 1e-3": ("training.weight_decay=1e-3",),
    "label smoothing 0.1": ("training.label_smoothing=0.1",),
    "crop and flip": ("data.augment.pad=2", "data.augment.flip=true"),
    "cutout 8": ("data.augment.cutout=8",),
    "random erasing 0.5": ("data.augment.erasing=0.5",),
    "TrivialAugment": ("data.augment.trivial=true",),
    "mixup 0.2": ("training.mixup=0.2",),
    "CutMix 1.0": ("training.cutmix=1.0",),
    "weight average 0.99": ("training.ema=0.99",),
    "gradient clipping 1.0": ("training.clip_norm=1.0",),
    "recipe fast": (
        "data.augment.pad=auto",
        "data.augment.flip=auto",
        "training.label_smoothing=0.1",
        "training.weight_decay=5e-4",
    ),
}


def main() -> None:
    """Parse, train what is missing, write after each, print the table."""
    arguments = _parse()
    document: dict[str, Any] = {"machine": describe_machine(), "settings": [], "runs": []}
    if arguments.out.exists():
        document = json.loads(arguments.out.read_text())
    shared = [
        f"data.name={arguments.data}",
        f"data.limit={arguments.images}",
        f"data.validation={arguments.validation}",
        f"model.name={arguments.model}",
        f"training.epochs={arguments.epochs}",
        *BARE,
    ]
    document["settings"] = shared
    done = {(run["remedy"], run["seed"]) for run in document["runs"]}
    # Seed by seed, so that a table of fewer seeds can be had at any time.
    for seed in range(arguments.seeds):
        for remedy, settings in REMEDIES.items():
            if (remedy, seed) not in done:
                found = _train(arguments, [*shared, *settings, f"seeds.base={seed}"])
                document["runs"].append({"remedy": remedy, "seed": seed, **found})
                arguments.out.write_text(json.dumps(document, indent=1) + "\n")
    document["table"] = [_row(document["runs"], remedy) for remedy in REMEDIES]
    arguments.out.write_text(json.dumps(document, indent=1) + "\n")
    for row in document["table"]:
        print(
            f"| {row['remedy']} | {_told(row['train'])} | {_told(row['test'])} | "
            f"{_told(row['gap'])} | {row['gain']['mean']:+.2f} "
            f"({row['gain']['low']:+.2f} to {row['gain']['high']:+.2f}) |"
        )


def _train(arguments: argparse.Namespace, settings: list[str]) -> dict[str, Any]:
    root = [f"data.root={arguments.root}"] if arguments.root else []
    spec = build(RunSpec, recipe_document("fast", *map(parse_override, [*settings, *root])))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as made:
        run = reslab.train(spec, out=Path(made) / "run")
        images = prepare_again(run, None, None).train
        predicted_N = run.logits(images.pixels_NCHW, "best").argmax(axis=1)
        return {
            "train": float((predicted_N == images.labels_N).mean()),
            "test": run.metrics["test"]["best"]["top1"],
            "test_last": run.metrics["test"]["last"]["top1"],
            "epochs": run.metrics["epochs"],
            "seconds": time.perf_counter() - began,
        }


def _row(runs: list[dict[str, Any]], remedy: str) -> dict[str, Any]:
    """Mean and standard deviation in points, and the gain over bare with a 95 % t interval."""
    bare = {run["seed"]: run for run in runs if run["remedy"] == "bare"}
    own = [run for run in runs if run["remedy"] == remedy]
    gains = [100 * (run["test"] - bare[run["seed"]]["test"]) for run in own]
    mean = statistics.fmean(gains)
    half = 0.0
    if len(gains) > 1 and any(gains):
        error = statistics.stdev(gains) / len(gains) ** 0.5
        half = float(stats.t.ppf(0.975, len(gains) - 1)) * error
    columns = {
        "train": [100 * run["train"] for run in own],
        "test": [100 * run["test"] for run in own],
        "gap": [100 * (run["train"] - run["test"]) for run in own],
    }
    return {
        "remedy": remedy,
        "seeds": len(own),
        **{name: _spread(values) for name, values in columns.items()},
        "gain": {"mean": mean, "low": mean - half, "high": mean + half},
    }


def _spread(values: list[float]) -> dict[str, float]:
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "sd": sd}


def _told(spread: dict[str, float]) -> str:
    return f"{spread['mean']:.2f} ± {spread['sd']:.2f}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="fashion-mnist", help="see `reslab data list`")
    parser.add_argument("--root", help="folder with the data set's files")
    parser.add_argument("--images", type=int, default=1000, help="to train on")
    parser.add_argument("--validation", type=int, default=1000)
    parser.add_argument("--model", default="resnet14")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write or go on with")
    return parser.parse_args()


if __name__ == "__main__":
    main()
