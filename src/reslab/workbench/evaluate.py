"""Scoring a run on a split: the only place where a test split is opened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from reslab.data.catalog import open_source
from reslab.data.source import DataSource, Images
from reslab.data.split import split_train
from reslab.errors import UserError
from reslab.evaluation.metrics import Metrics, compute_metrics
from reslab.runs.folder import METRICS
from reslab.workbench.run import Run, Use

SplitName = Literal["test", "val"]


@dataclass(frozen=True)
class Scored:
    """One set of weights on one split.

    Attributes:
        use: ``best`` or ``last``.
        metrics: what it reached.
        logits_NK: its outputs.
    """

    use: Use
    metrics: Metrics
    logits_NK: npt.NDArray[np.float32]

    def probabilities_NK(self) -> npt.NDArray[np.float64]:
        """Class probabilities (N, K)."""
        return softmax(self.logits_NK.astype(np.float64), axis=1)


@dataclass(frozen=True)
class Evaluation:
    """A run scored on a split.

    Attributes:
        split: ``test`` or ``val``.
        images: what was scored.
        scored: one entry for each set of weights, in the order asked for.
        warnings: what a reader of the figures should know.
    """

    split: SplitName
    images: Images
    scored: tuple[Scored, ...]
    warnings: tuple[str, ...] = ()


def evaluate_run(
    run: Run,
    *,
    split: SplitName = "test",
    uses: tuple[Use, ...] = ("best",),
    source: DataSource | None = None,
    root: str | None = None,
    opened_by: str = "evaluate",
) -> Evaluation:
    """Score a run's weights. Each opening of the test split is written into the run first.

    Args:
        run: the run.
        split: ``test``, or ``val`` for the images that its training was judged by.
        uses: which weights.
        source: the data set as an object; None: the one that the run names.
        root: where the data set lies now; None: where the run found it.
        opened_by: who asks, for the record.

    Raises:
        UserError: where the data are missing or do not fit the net, or the run cannot be
            written to.
    """
    if source is None:
        source = open_source(run.spec.data.name, root or run.spec.data.root)
    warnings: list[str] = []
    if split == "test":
        images = source.load_test()
        _check_fit(run, images)
        _record_opening(run, opened_by, uses, images)
    else:
        images = _validation_images(run, source, warnings)
        _check_fit(run, images)
    scored = []
    for use in uses:
        logits_NK = run.logits(images.pixels_NCHW, use)
        metrics = compute_metrics(logits_NK, images.labels_N, run.classes)
        scored.append(Scored(use, metrics, logits_NK))
    return Evaluation(split, images, tuple(scored), tuple(warnings))


def _validation_images(run: Run, source: DataSource, warnings: list[str]) -> Images:
    if run.spec.facts.val_images == 0:
        raise UserError(
            f"{run.path} was trained without validation", remedy="evaluate --split test"
        )
    published = source.load_train()
    if published.fingerprint() != run.spec.facts.fingerprint:
        warnings.append(
            "the training images differ from those of the run, so that validation images may "
            "have been trained on"
        )
    split = split_train(
        published.labels_N,
        validation=run.spec.data.validation,
        limit=run.spec.data.limit,
        seed=run.spec.data.split_seed,
    )
    return published.take(split.validation)


def _check_fit(run: Run, images: Images) -> None:
    facts = run.spec.facts
    wanted = (facts.channels, facts.image_size, facts.image_size)
    if images.pixels_NCHW.shape[1:] != wanted:
        raise UserError(
            "the images do not fit the run's net",
            expected=f"(channels, rows, columns) of {wanted}",
            received=str(images.pixels_NCHW.shape[1:]),
        )
    if len(images) == 0 or images.labels_N.max() >= len(facts.classes):
        raise UserError(
            "the labels do not fit the run's net",
            expected=f"at least one image, labels 0 to {len(facts.classes) - 1}",
            received=f"{len(images)} images",
        )


def _record_opening(run: Run, opened_by: str, uses: tuple[Use, ...], images: Images) -> None:
    metrics = run.metrics
    openings = metrics.setdefault("test_openings", [])
    openings.append(
        {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "by": opened_by,
            "weights": list(uses),
            "images": len(images),
            "fingerprint": images.fingerprint(),
        }
    )
    run.folder.write_json(METRICS, metrics)
