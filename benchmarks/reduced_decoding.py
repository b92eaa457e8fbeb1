"""What does decoding JPEGs at 1/2, 1/4 or 1/8 of their size do to accuracy?

    python benchmarks/reduced_decoding.py --data fashion-mnist --root DATA --out FILE.json

Images of a data set are saved as JPEGs of eight times their size and made small again by reslab's
decoder: as it is, which lets libjpeg decode at 1/4, and with all pixels decoded first. The same
net is trained on the one and on the other, seed by seed, and each is scored on images that were
decoded either way. Training and scored images are of the published training split.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from measure import describe_machine
from race import say
from reslab.data.catalog import open_source
from reslab.data.pictures import preprocess
from reslab.data.pictures.preprocess import Fit, decode_image
from reslab.data.source import Images
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.inference.eager import compute_logits
from reslab.spec.recipes import recipe
from reslab.training.fit import begin, fit
from reslab.workbench.resolve import normaliser_of, resolve, train_batches
from reslab.workbench.train import initial_model
from tables import table
from tricks import told_change

ENLARGED, QUALITY = 8, 90
WAYS = ("reduced", "whole")


def main() -> int:
    """Make, train, write, print."""
    options = parse()
    environment = describe_machine()
    try:
        found = measure(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    found = {"benchmark": "reduced-decoding", "environment": environment, **found}
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(format_table(found))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Levels and accuracies of both ways."""
    published = open_source(options.data, options.root).load_train()
    chosen = np.random.default_rng(0).permutation(len(published))[: options.train + options.scored]
    images = published.take(chosen)
    say(f"{len(images):,} JPEGs …")
    decoded = decode_both_ways(images)
    apart = np.abs(decoded["reduced"].astype(int) - decoded["whole"])
    accuracies: dict[str, list[float]] = {}
    for seed in options.seeds:
        for trained in WAYS:
            learned = Images(decoded[trained][: options.train], images.labels_N[: options.train])
            for scored, accuracy in train_and_score(
                learned,
                {way: decoded[way][options.train :] for way in WAYS},
                images.labels_N[options.train :],
                options,
                seed,
            ).items():
                accuracies.setdefault(f"{trained}/{scored}", []).append(accuracy)
                say(f"seed {seed}: trained on {trained}, scored on {scored}: {accuracy:.2%}")
    return {
        "work": {
            "data": options.data,
            "train": options.train,
            "scored": options.scored,
            "seeds": options.seeds,
            "epochs": options.epochs,
            "enlarged": ENLARGED,
            "quality": QUALITY,
        },
        "levels_apart": {"mean": float(apart.mean()), "p99": float(np.percentile(apart, 99))},
        "accuracies": accuracies,
    }


def decode_both_ways(images: Images) -> dict[str, npt.NDArray[np.uint8]]:
    """The images by way, (N, C, H, W), after JPEG and the decoder."""
    _, channels, side, _ = images.pixels_NCHW.shape
    fit_ = Fit(channels=channels, size=side)
    found: dict[str, list[npt.NDArray[np.uint8]]] = {way: [] for way in WAYS}
    spare_factor = preprocess._spare_factor
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        for pixels_CHW in images.pixels_NCHW[:]:
            image = Image.fromarray(pixels_CHW.transpose(1, 2, 0).squeeze())
            sides = (ENLARGED * side, ENLARGED * side)
            image.resize(sides, Image.Resampling.BICUBIC).save(path, quality=QUALITY)
            for way in WAYS:
                if way == "whole":
                    preprocess._spare_factor = lambda size, needed: 1
                try:
                    found[way].append(decode_image(path, fit_))
                finally:
                    preprocess._spare_factor = spare_factor
    return {way: np.stack(pixels) for way, pixels in found.items()}


def train_and_score(
    learned: Images,
    scored: dict[str, npt.NDArray[np.uint8]],
    labels_N: npt.NDArray[np.int64],
    options: argparse.Namespace,
    seed: int,
) -> dict[str, float]:
    """Accuracy of the last weights on each kind of images."""
    spec = recipe(
        data={"name": options.data, "root": options.root, "validation": 0},
        training={"epochs": options.epochs},
        seeds={"base": seed},
        engine={"device": "cpu"},
    )
    prepared = resolve(spec, _Given(options, learned))
    runtime = Runtime(**prepared.run.engine.model_dump())
    with runtime.active():
        stepper = begin(
            initial_model(prepared.run, runtime),
            train_batches(prepared),
            prepared.run.training,
            runtime,
        )
        fit(stepper)
        return {
            way: float(
                (
                    compute_logits(
                        stepper.state.judged, pixels_NCHW, normaliser_of(prepared.run), runtime
                    ).argmax(axis=1)
                    == labels_N
                ).mean()
            )
            for way, pixels_NCHW in scored.items()
        }


class _Given:
    """A data set with other training images."""

    def __init__(self, options: argparse.Namespace, images: Images) -> None:
        self.card = open_source(options.data, options.root).card
        self._images = images

    def load_train(self) -> Images:
        """The images that were given."""
        return self._images

    def load_test(self) -> Images:
        """Not read here."""
        raise NotImplementedError


def format_table(found: dict[str, Any]) -> str:
    """What was found, as Markdown."""
    accuracies = found["accuracies"]
    base = accuracies["whole/whole"]
    rows = []
    for name, values in accuracies.items():
        trained, scored = name.split("/")
        points = [100 * value for value in values]
        spread = f" ± {statistics.stdev(points):.2f}" if len(points) > 1 else ""
        changes = [point - 100 * other for point, other in zip(points, base, strict=True)]
        change = "-" if name == "whole/whole" else told_change(changes)
        rows.append([trained, scored, f"{statistics.fmean(points):.2f}{spread}", change])
    apart = found["levels_apart"]
    return "\n".join(
        [
            table(["trained on", "scored on", "accuracy", "over whole on whole"], rows),
            "",
            f"- levels of 255 apart: {apart['mean']:.2f} on average, {apart['p99']:.0f} at most in "
            "99 % of the pixels",
        ]
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--root")
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--scored", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
