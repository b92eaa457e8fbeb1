"""Cross-validation: each part of the training images scores a net that was trained on the others.

The folder holds a run for each fold, which reads nothing of the test split, and one that is
trained as if there were no folds, which opens it once.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from reslab.data.source import DataSource
from reslab.errors import Interrupted, UserError
from reslab.runs.files import locked, write_atomically
from reslab.runs.folder import SPEC, begin_folder, check_free, new_folder, run_name
from reslab.spec.run import RunSpec
from reslab.spec.text import format_document
from reslab.training.observers import Observer
from reslab.wording import resume_command
from reslab.workbench.folds import FINAL, FOLDS, FORMAT, SUMMARY, CrossValidation, open_folds
from reslab.workbench.resolve import resolve
from reslab.workbench.resume import resume
from reslab.workbench.train import train

Tell = Callable[[str], object]


def cross_validate(
    spec: RunSpec,
    *,
    data: DataSource | str | None = None,
    out: str | Path | None = None,
    observers: Sequence[Observer] = (),
    tell: Tell = lambda text: None,
) -> CrossValidation:
    """Train and score a net for each of ``spec.data.folds``, then one on all training images.

    Within a fold the images that are trained on split off validation as any run does, so that
    what chooses the best epoch is not what scores it. A limit of time is shared out evenly.

    Args:
        spec: what to run, with ``data.folds`` and without ``data.fold``.
        data: a data set of one's own, or a name, in place of the one that the spec names.
        out: the folder, new or empty; None: a new one under ``runs``.
        observers: told of the steps and epochs of every training.
        tell: given a line whenever one begins.

    Raises:
        UserError: where something that was asked for cannot be done; nothing is written then.
        TrainingDiverged, Interrupted: as ``reslab.train``; ``resume_folds`` goes on.
    """
    if spec.data.folds is None or spec.data.fold is not None:
        raise UserError(
            "cross-validation needs data.folds, and takes each fold in turn",
            received=f"data.folds {spec.data.folds}, data.fold {spec.data.fold}",
            remedy="set data.folds=5 and leave data.fold out",
        )
    if out is not None:
        check_free(Path(out))
    if isinstance(data, str):
        named = spec.data.model_copy(update={"name": data})
        spec, data = spec.model_copy(update={"data": named}), None
    # All of them, so that a fold that cannot be drawn is told now and not after hours.
    facts = [resolve(part, data).run for part in _parts(spec).values()][-1]
    if out is None:
        name = run_name(facts.data.name, facts.model.name, datetime.now())
        path = new_folder(Path("runs"), f"{name}-folds")
    else:
        path = Path(out)
    document = {"format": FORMAT, **spec.model_dump(mode="json")}
    begin_folder(path, FOLDS, format_document(document))
    return _carry_on(open_folds(path), data, observers, tell)


def resume_folds(
    path: str | Path,
    *,
    data: DataSource | None = None,
    root: str | None = None,
    observers: Sequence[Observer] = (),
    tell: Tell = lambda text: None,
) -> CrossValidation:
    """Go on with a cross-validation: runs that have finished are not made again.

    Args:
        path: its folder.
        data: the data set, where it was one of one's own.
        root: folder of the data set's files, where they were moved.
        observers: as in ``cross_validate``.
        tell: as in ``cross_validate``.

    Raises:
        UserError, TrainingDiverged, Interrupted: as ``reslab.resume``.
    """
    return _carry_on(open_folds(path), data, observers, tell, root=root)


def _parts(spec: RunSpec) -> dict[str, RunSpec]:
    """The specification of each run, by the name of its folder."""
    folds = spec.data.folds or 0
    limit = spec.training.time_limit
    share = None if limit is None else limit / (folds + 1)
    training = spec.training.model_copy(update={"time_limit": share})
    parts = {}
    for fold in (*range(1, folds + 1), None):
        data = spec.data.model_copy(
            update={"fold": fold, "folds": spec.data.folds if fold else None}
        )
        name = f"fold-{fold}" if fold else FINAL
        parts[name] = spec.model_copy(update={"data": data, "training": training})
    return parts


def _carry_on(
    found: CrossValidation,
    data: DataSource | None,
    observers: Sequence[Observer],
    tell: Tell,
    *,
    root: str | None = None,
) -> CrossValidation:
    with locked(found.path):
        for name, part in _parts(found.spec).items():
            began, path = time.perf_counter(), found.path / name
            tell(
                "the final net, on all folds"
                if name == FINAL
                else f"{name.replace('-', ' ')} of {found.spec.data.folds}"
            )
            try:
                if (path / SPEC).is_file():
                    resume(path, data=data, root=root, observers=observers, began=began)
                else:
                    train(part, data=data, out=path, observers=observers, began=began)
            except Interrupted as error:
                raise Interrupted(
                    f"interrupted in {name}; go on with {resume_command(found.path)}"
                ) from error
        summary = json.dumps(_summarise(found), indent=2, allow_nan=False) + "\n"
        write_atomically(found.path / SUMMARY, summary.encode())
    return found


def _summarise(found: CrossValidation) -> dict[str, Any]:
    runs = found.folds
    scores = []
    for fold, run in enumerate(runs, start=1):
        metrics = run.metrics
        best, last = metrics["fold"]["best"], metrics["fold"]["last"]
        scores.append(
            {
                "fold": fold,
                "run": run.path.name,
                "n": best["n"],
                "train_images": run.spec.facts.train_images + run.spec.facts.val_images,
                "top1": best["top1"],
                "macro_f1": best["macro_f1"],
                "loss": best["loss"],
                "last_top1": last["top1"],
                "best_epoch": metrics["best_epoch"],
                "seconds": metrics["train_seconds"],
            }
        )
    first = runs[0].spec
    return {
        "format": FORMAT,
        "folds": len(runs),
        "data": first.data.name,
        "fingerprint": first.facts.fingerprint,
        "split_seed": first.data.split_seed,
        "scores": scores,
        **{
            f"{name}_{what}": function([score[name] for score in scores])
            for name in ("top1", "macro_f1", "loss")
            for what, function in (("mean", statistics.fmean), ("sd", statistics.stdev))
        },
        "final": {"run": FINAL, "test": found.final.metrics.get("test")},
    }
