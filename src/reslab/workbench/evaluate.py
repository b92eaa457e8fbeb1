"""Scoring a run on a split: the only place where a test split is opened."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reslab.data.pictures.folder import FolderSource
from reslab.data.pictures.path_lists import read_reasons
from reslab.data.source import DataSource, Images
from reslab.errors import TrainingDiverged, UserError
from reslab.evaluation.calibration import to_probabilities
from reslab.evaluation.metrics import Metrics, compute_metrics
from reslab.inference.catalog import INT8, REFERENCE
from reslab.inference.session import Session
from reslab.runs.environment import describe_environment, differences
from reslab.runs.folder import ENVIRONMENT, OPENINGS, TESTED
from reslab.workbench.resolve import split_again
from reslab.workbench.run import Run, Use
from reslab.workbench.sources import load_published, source_again, tell_faults

SplitName = Literal["test", "val", "fold"]


@dataclass(frozen=True)
class Scored:
    """One set of weights on one split.

    Attributes:
        use: ``best`` or ``last``.
        metrics: what it reached.
        logits_NK: its outputs.
        engine: what computed them.
    """

    use: Use
    metrics: Metrics
    logits_NK: npt.NDArray[np.float32]
    engine: str = REFERENCE

    def probabilities_NK(self) -> npt.NDArray[np.float64]:
        """Class probabilities (N, K), as the net gives them: without any temperature."""
        return to_probabilities(self.logits_NK)


@dataclass(frozen=True)
class Evaluation:
    """A run scored on a split.

    Attributes:
        split: ``test``, ``val`` or ``fold``.
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
    engine: str = REFERENCE,
    flip: bool | None = None,
    tell: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score a run's weights. Each opening of the test split is written into the run first.

    Args:
        run: the run.
        split: ``test``, ``val`` for the images that its training was judged by, or ``fold`` for
            those that cross-validation held out.
        uses: which weights.
        source: the data set as an object; None: the one that the run names.
        root: where the data set lies now; None: where the run found it.
        opened_by: who asks, for the record.
        engine: see ``Run.session``. What is written into a run is the reference's.
        flip: see ``Run.session``.
        tell: told what was measured of engines; None: nobody.

    Raises:
        UserError: where the data are missing or do not fit the net, or the run cannot be
            written to.
        TrainingDiverged: where the weights give no finite loss.
    """
    own = None
    if source is None:
        source = own = source_again(run, root)
    if source.card.classes != run.classes:
        raise UserError(
            f"the classes of {source.card.name} are not those of the run",
            expected=", ".join(run.classes[:12]),
            received=", ".join(source.card.classes[:12]),
            remedy="evaluate on a data set with the same classes",
        )
    warnings = _foreign(run)
    if split == "test":
        images = source.load_test()
        warnings += _doubt_drawn_test(run, own)
    else:
        images = _own_images(run, split, source, warnings)
    facts = run.spec.facts
    warnings += tell_faults(images)
    images.check_fits(facts.channels, facts.image_size, len(facts.classes))
    # Before the test split counts as opened, so that an engine that cannot be used, or made ready
    # for the net, costs nothing.
    sessions = [
        run.session(
            use, engine=engine, images=len(images), flip=flip, warn=warnings.append, tell=tell
        )
        for use in uses
    ]
    for session in sessions:
        session.prepare(images.pixels_NCHW)
    if split == "test":
        # Written down before anything is scored: what cannot be recorded is not looked at.
        record_opening(run, opened_by, uses, source, images)
    scored = []
    for use, session in zip(uses, sessions, strict=True):
        logits_NK = session.outputs(images.pixels_NCHW)
        metrics = compute_metrics(logits_NK, images.labels_N, run.classes)
        if not math.isfinite(metrics.loss):
            raise TrainingDiverged(
                f"the {use} weights of {run.path} give a loss of {metrics.loss}; train it again "
                "with a lower training.lr"
            )
        warnings += _mixed(session)
        scored.append(Scored(use, metrics, logits_NK, session.engine))
    return Evaluation(split, images, tuple(scored), tuple(warnings))


def _mixed(session: Session) -> list[str]:
    """That a score is not of int8 alone, where some of it is."""
    others = {name: n for name, n in session.computed.items() if name != INT8}
    if not others or not session.computed[INT8]:
        return []
    parts = ", ".join(f"{n:,} images by {name}" for name, n in others.items())
    return [
        f"this score is of {session.computed[INT8]:,} images by {INT8} and {parts}; "
        f"--engine {INT8} has it compute them all"
    ]


def _foreign(run: Run) -> list[str]:
    """What is otherwise here than where the run was made."""
    if not run.folder.has(ENVIRONMENT):
        return []
    now = describe_environment()
    odd = differences(run.folder.read_json(ENVIRONMENT), now)
    if not odd:
        return []
    return [f"the last digits may differ from the run's own: {'; '.join(odd)}"]


def _doubt_drawn_test(run: Run, source: DataSource | None) -> list[str]:
    """That a test which was drawn from a folder is no longer the one that was, or may not be.

    Args:
        run: the run.
        source: its own data set, opened again; None: it is another, or that of the training itself.
    """
    if not isinstance(source, FolderSource) or not source.drawn:
        return []
    if run.folder.has(TESTED):
        told = read_reasons(run.folder.path / TESTED)
        found = source.checksums(source.drawn)
        changed = sum(told[path] not in ("", checksum) for path, checksum in found.items())
        counts = {"gone": len(source.gone), "others now, and may have been trained on": changed}
        return [
            f"{count:,} of the {len(told):,} test images of the run are {what}"
            for what, count in counts.items()
            if count
        ]
    # Of a run that is older than these lists.
    published = load_published(source, run.spec.data, run.folder)
    if published.fingerprint() == run.spec.facts.fingerprint:
        return []
    return [
        "the pictures of the folder are not those that the run was trained on: where their test is "
        "drawn from them, some of these images may have been trained on"
    ]


def _own_images(run: Run, split: str, source: DataSource, warnings: list[str]) -> Images:
    """What its training split off: validation, or the fold that was held out."""
    if split == "val" and run.spec.facts.val_images == 0:
        raise UserError(
            f"{run.path} was trained without validation", remedy="evaluate --split test"
        )
    if split == "fold" and run.spec.data.fold is None:
        raise UserError(
            f"{run.path} is no fold of a cross-validation", remedy="evaluate --split test"
        )
    published = load_published(source, run.spec.data, run.folder)
    if published.fingerprint() != run.spec.facts.fingerprint:
        warnings.append(
            "the training images differ from those of the run, so that these images may have "
            "been trained on"
        )
    parts = split_again(run.spec, published)
    return published.take(parts.validation if split == "val" else parts.held_out)


def record_opening(
    run: Run,
    opened_by: str,
    uses: tuple[Use, ...],
    source: DataSource,
    images: Images | None = None,
) -> None:
    """Write an opening of the test split into a run.

    Args:
        run: into which.
        opened_by: the command.
        uses: the weights that are scored.
        source: the data set.
        images: that score them; None: they are not read yet.

    Raises:
        UserError: where it cannot be written.
    """
    opening: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": opened_by,
        "data": source.card.name,
        "weights": list(uses),
    }
    if images is not None:
        opening |= {"n": len(images), "left_out": len(images.faults)}
    if isinstance(source, FolderSource):
        opening["gone"] = len(source.gone)
    run.folder.append_line(OPENINGS, json.dumps(opening))
