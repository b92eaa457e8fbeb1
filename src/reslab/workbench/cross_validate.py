"""Cross-validation: each part of the training images scores a net that was trained on the others.

The folder holds a run for each fold, which reads nothing of the test split, and one that is
trained as if there were no folds, which opens it once.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from reslab.catalog.data_names import is_own
from reslab.data.source import DataSource
from reslab.engine.runtime import Runtime
from reslab.errors import Interrupted, UserError
from reslab.runs.files import check_space, locked
from reslab.runs.folder import (
    FOLDS,
    SPEC,
)
from reslab.runs.new_folder import begin_folder, check_free, new_folder, run_name
from reslab.spec.run import RunSpec
from reslab.spec.text import format_document
from reslab.training.observers import Observer
from reslab.wording import resume_command
from reslab.workbench.folds import FINAL, FORMAT, SUMMARY, CrossValidation, open_folds
from reslab.workbench.forecast import make_ready
from reslab.workbench.resolve import Prepared, build_model, resolve
from reslab.workbench.resume import resume
from reslab.workbench.sources import load_published, source_of
from reslab.workbench.stopping import raise_on_signals
from reslab.workbench.stored import has_finished, open_run
from reslab.workbench.train import initial_model, room_needed, train
from reslab.writing import write_atomically

Tell = Callable[[str], object]


def cross_validate(
    spec: RunSpec,
    *,
    data: DataSource | str | None = None,
    out: str | Path | None = None,
    observers: Sequence[Observer] = (),
    tell: Tell = lambda text: None,
    began: float | None = None,
) -> CrossValidation:
    """Train and score a net for each of ``spec.data.folds``, then one on all training images.

    Within a fold the images that are trained on split off validation as any run does, so that
    what chooses the best epoch is not what scores it. A limit of time is shared out evenly. What
    the engine decides that may change what is learned is decided once for all.

    Args:
        spec: what to run, with ``data.folds`` and without ``data.fold``.
        data: a data set of one's own, or a name, in place of the one that the spec names.
        out: the folder, new or empty; None: a new one under ``runs``.
        observers: told of the steps and epochs of every training.
        tell: given a line whenever one begins.
        began: reading of ``time.perf_counter`` that a limit of time counts from; None: now.

    Raises:
        UserError: where something that was asked for cannot be done.
        TrainingDiverged, Interrupted: as ``reslab.train``; ``resume_folds`` goes on.
    """
    began = time.perf_counter() if began is None else began
    if spec.data.folds is None or spec.data.fold is not None:
        raise UserError(
            "cross-validation needs data.folds, and takes each fold in turn",
            received=f"data.folds {spec.data.folds}, data.fold {spec.data.fold}",
            remedy="set data.folds=5 and leave data.fold out",
        )
    if out is not None:
        check_free(Path(out))
    if isinstance(data, str):
        spec, data = _with_data(spec, name=data), None
    # All of them, so that a fold that cannot be drawn is told now and not after hours.
    first, *_, final = [resolve(part, data) for part in _parts(spec).values()]
    with torch.device("meta"):
        room = len(_parts(spec)) * room_needed(build_model(final.run), final.run)
    check_space(Path(out or "runs"), room)
    if spec.training.time_limit is not None:
        left = spec.training.time_limit - (time.perf_counter() - began)
        spec = _with_training(spec, time_limit=max(left, 1e-3))
        _check_share(spec, first)
    engine = final.run.engine.model_dump(
        include={"precision", "micro_batches", "checkpoint_segments"}
    )
    spec = spec.model_copy(update={"engine": spec.engine.model_copy(update=engine)})
    if out is None:
        name = run_name(final.run.data.name, final.run.model.name, datetime.now())
        path = new_folder(Path("runs"), f"{name}-folds")
    else:
        path = Path(out)
    source = {"name": final.run.data.name, "fingerprint": final.run.facts.fingerprint}
    document = {"format": FORMAT, "source": source, **spec.model_dump(mode="json")}
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
        UserError: where there is none, or its data are others now.
        TrainingDiverged, Interrupted: as ``reslab.resume``.
    """
    found = open_folds(path)
    if root is not None:
        found = CrossValidation(found.path, _with_data(found.spec, root=root), found.source)
    if not _is_complete(found):
        _check_data(found, data)
    return _carry_on(found, data, observers, tell)


def _with_data(spec: RunSpec, **changes: object) -> RunSpec:
    return spec.model_copy(update={"data": spec.data.model_copy(update=changes)})


def _with_training(spec: RunSpec, **changes: object) -> RunSpec:
    return spec.model_copy(update={"training": spec.training.model_copy(update=changes)})


def _parts(spec: RunSpec) -> dict[str, RunSpec]:
    """The specification of each run, by the name of its folder."""
    folds = spec.data.folds or 0
    limit = spec.training.time_limit
    each = _with_training(spec, time_limit=None if limit is None else limit / (folds + 1))
    parts = {f"fold-{fold}": _with_data(each, fold=fold) for fold in range(1, folds + 1)}
    return {**parts, FINAL: _with_data(each, folds=None)}


def _check_share(spec: RunSpec, prepared: Prepared) -> None:
    """Refuse a limit of which no fold's share is enough for a step."""
    part = _parts(spec)["fold-1"]
    share = part.training.time_limit or 0.0
    run = prepared.run.model_copy(
        update={"training": prepared.run.training.model_copy(update={"time_limit": share})}
    )
    runtime = Runtime(**run.engine.model_dump())
    with runtime.active():
        ends_at = time.perf_counter() + share
        model = initial_model(run, runtime)
        try:
            make_ready(replace(prepared, run=run), model, runtime, ends_at=ends_at)
        except UserError as error:
            raise UserError(
                f"each of {len(_parts(spec))} trainings has an equal share of the limit of time, "
                f"for which: {error}"
            ) from error


def _is_complete(found: CrossValidation) -> bool:
    paths = [found.path / name for name in _parts(found.spec)]
    return all((path / SPEC).is_file() and has_finished(open_run(path)) for path in paths)


def _check_data(found: CrossValidation, data: DataSource | None) -> None:
    """Refuse to go on with other images than those that it was begun with.

    Raises:
        UserError: so.
    """
    name, fingerprint = found.source["name"], found.source["fingerprint"]
    if data is None and name != found.spec.data.name and not is_own(found.spec.data.name):
        raise UserError(
            f"{found.path} was made with a data set of one's own, {name}",
            remedy="go on from Python: reslab.resume_folds(path, data=...)",
        )
    source = data or source_of(found.spec.data)
    if load_published(source, found.spec.data).fingerprint() != fingerprint:
        raise UserError(
            f"the training images of {source.card.name} are not those that {found.path} was "
            "begun with",
            remedy="give the folder of the original ones with --root, or begin anew",
        )


def _carry_on(
    found: CrossValidation, data: DataSource | None, observers: Sequence[Observer], tell: Tell
) -> CrossValidation:
    name = ""
    try:
        with raise_on_signals(), locked(found.path):
            for name, part in _parts(found.spec).items():
                began, path = time.perf_counter(), found.path / name
                tell(
                    "the final net, on all folds"
                    if name == FINAL
                    else f"{name.replace('-', ' ')} of {found.spec.data.folds}"
                )
                if (path / SPEC).is_file():
                    root = found.spec.data.root
                    resume(path, data=data, root=root, observers=observers, began=began)
                else:
                    train(part, data=data, out=path, observers=observers, began=began)
            summary = json.dumps(_summarise(found), indent=2, allow_nan=False) + "\n"
            write_atomically(found.path / SUMMARY, summary.encode())
    except (Interrupted, KeyboardInterrupt) as error:
        raise Interrupted(
            f"interrupted in {name}; go on with {resume_command(found.path)}"
        ) from error
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
                "train_images": run.spec.facts.train_images,
                "val_images": run.spec.facts.val_images,
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
