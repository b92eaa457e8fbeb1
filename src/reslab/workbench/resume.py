"""Going on with a training that was interrupted, at the very step, as if nothing had happened."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from reslab.data.source import DataSource
from reslab.engine.machine import choose_device, inspect_machine
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.runs.checkpoint import Checkpoint, Checkpoints
from reslab.runs.environment import describe_environment, differences
from reslab.runs.files import check_space, locked
from reslab.runs.folder import ENVIRONMENT, SPEC
from reslab.spec.resolved import ResolvedRun, upgrade
from reslab.spec.text import build, flatten
from reslab.training.observers import Observer
from reslab.training.state import best_in, history_in
from reslab.wording import quoted
from reslab.workbench.forecast import make_ready
from reslab.workbench.recorder import Recorder
from reslab.workbench.resolve import (
    Prepared,
    measure_need,
    scored_images,
    split_again,
    warn_of_shortage,
)
from reslab.workbench.run import Run, load_run
from reslab.workbench.sources import load_published, source_again
from reslab.workbench.stored import has_finished
from reslab.workbench.train import carry_out, initial_model, room_needed

_KERNELS = "engine.kernels"


def resume(
    path: str | Path,
    *,
    data: DataSource | None = None,
    root: str | None = None,
    observers: Sequence[Observer] = (),
    began: float | None = None,
) -> Run:
    """Go on with a run at the step of its last checkpoint, or at its first step without one.

    What comes out is, to the bit, what the training would have given without the interruption,
    on the same CPU with the same versions; observers are warned where these differ. A run with
    a limit of time follows the clock. One that has finished is returned as it is.

    Args:
        path: the run's folder.
        data: the data set, where it was one of one's own.
        root: folder of the data set's files, where they were moved.
        observers: told of steps and epochs, as in ``reslab.train``.
        began: reading of ``time.perf_counter`` that a limit of time counts from; None: now.

    Raises:
        UserError: where there is no run, its data are others now, no checkpoint is whole, or
            another process trains it.
        TrainingDiverged, Interrupted: as ``reslab.train``.
    """
    began = time.perf_counter() if began is None else began
    run = load_run(path)
    if has_finished(run):
        return run
    spec = run.spec
    prepared = prepare_again(run, data, root)
    choose_device(inspect_machine(), spec.engine.device)
    runtime = Runtime(**spec.engine.model_dump())
    with runtime.active(), locked(run.path):
        if has_finished(run):  # by another process, while data were read
            return run
        run.folder.complete()
        checkpoint, damaged = Checkpoints(run.folder.checkpoints).load()
        changed = [] if checkpoint is None else _check_settings(checkpoint, run)
        model = initial_model(spec, runtime)
        there = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
        check_space(run.path, room_needed(model, spec) - there)
        ends_at = None
        if spec.training.time_limit is not None:
            ends_at = began + spec.training.time_limit - _seconds_spent(checkpoint)
        ready = make_ready(prepared, model, runtime, checkpoint=checkpoint, ends_at=ends_at)
        recorder = Recorder(run.folder, () if checkpoint is None else history_in(checkpoint))
        step = 0 if checkpoint is None else checkpoint.step
        recorder.log(f"resumed at step {step}")
        best = None if checkpoint is None else best_in(checkpoint)
        if best is not None:
            recorder.save_best(model, best.weights)
        warnings = [*damaged, *changed, *_note_environment(run), *_word_of_end(run)]
        if checkpoint is None:
            warnings.append("there is no checkpoint yet: the training begins anew at step 0")
        if damaged:
            warnings.append(f"the checkpoint before is used, of step {step}")
        return carry_out(ready, recorder, observers, warnings=warnings)


def prepare_again(run: Run, data: DataSource | None, root: str | None) -> Prepared:
    """The images that the run was trained on; nothing is decided again.

    Raises:
        UserError: where they are others now.
    """
    spec = run.spec
    source = data or source_again(run, root)
    published = load_published(source, spec.data, run.folder)
    if published.fingerprint() != spec.facts.fingerprint:
        raise UserError(
            f"the training images of {source.card.name} are not those that {run.path} was "
            "trained on",
            expected=f"fingerprint {spec.facts.fingerprint[:12]}…",
            received=f"{published.fingerprint()[:12]}…",
            remedy="give the folder of the original ones with --root, or train anew",
        )
    split = split_again(spec, published)
    need = measure_need(
        spec.model.model_dump(mode="json"),
        source.card,
        crop=spec.data.augment.crop,
        batch_size=spec.training.batch_size,
        averaged=spec.training.ema > 0,
        kernels=spec.engine.kernels,
    )
    return Prepared(
        run=spec,
        source=source,
        train=published.take(split.train),
        numbers=split.train,
        validation=published.take(split.validation),
        scored=scored_images(source.card, split),
        groups_N=published.groups_N if spec.data.group_by else None,
        need=need,
        warnings=tuple(warn_of_shortage(spec, need)),
    )


def _check_settings(checkpoint: Checkpoint, run: Run) -> list[str]:
    """Refuse a run whose run.yaml is no longer what the checkpoint was made with.

    How checkpoints are kept may be changed; settings that reslab has had since then are at their
    defaults. Kernels may be changed too, since a machine may have none: what they compute is the
    same but for rounding.

    Returns:
        A warning where they were.

    Raises:
        UserError: with what differs.
    """
    origin = f"a checkpoint of {run.path}"
    made_with = build(ResolvedRun, upgrade(checkpoint.facts["settings"], origin))
    then, now = (flatten(spec.model_dump(mode="json")) for spec in (made_with, run.spec))
    changed = [
        f"{name} was {then.get(name)} and is {now.get(name)}"
        for name in now.keys() | then.keys()
        if not name.startswith("checkpoint.") and name != _KERNELS
        if then.get(name) != now.get(name)
    ]
    if changed:
        spec = quoted(run.path / SPEC)
        raise UserError(
            f"the settings of {run.path} were changed since its checkpoint was written: "
            f"{', '.join(sorted(changed))}",
            remedy=f"put run.yaml back, or train anew with --config {spec}",
        )
    if then[_KERNELS] == now[_KERNELS]:
        return []
    return [
        f"{_KERNELS} was {then[_KERNELS]} and is {now[_KERNELS]}, so that its results may differ "
        "from the uninterrupted run's in their last digits"
    ]


def _word_of_end(run: Run) -> list[str]:
    """What ended the training that is gone on with, where the same may end it again."""
    metrics: dict[str, Any] = {}
    with suppress(UserError):
        metrics = run.metrics
    if metrics.get("status") != "failed":
        return []
    return [
        "it failed before and will again unless the reason is gone; other settings need a new "
        f"training, with --config {quoted(run.path / SPEC)} and what you want changed; it ended "
        f"with: {metrics.get('reason', '?')}"
    ]


def _note_environment(run: Run) -> list[str]:
    """Write down where the run goes on; returns what differs from where it was begun."""
    now = describe_environment()
    then = run.folder.read_json(ENVIRONMENT) if run.folder.has(ENVIRONMENT) else {}
    odd = differences(then, now)
    resumed = [*then.get("resumed", []), now]
    run.folder.write_json(ENVIRONMENT, {**(then or now), "resumed": resumed})
    if not odd:
        return []
    return [
        "this is not the environment that the run was begun in, so that its results may differ "
        f"from the uninterrupted run's: {'; '.join(odd)}"
    ]


def _seconds_spent(checkpoint: Checkpoint | None) -> float:
    """Of a limited time, what steps took before; validation and start-up are not known."""
    return 0.0 if checkpoint is None else float(checkpoint.facts["watch"]["seconds"])
