"""The main job: a specification in, a run folder with a trained and tested net out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from reslab.data.groups import format_groups
from reslab.data.pictures.folder import FolderSource
from reslab.data.pictures.path_lists import format_paths, format_reasons, read_paths
from reslab.data.pixels import Pixels
from reslab.data.source import DataSource, Images
from reslab.engine.runtime import Runtime
from reslab.errors import Interrupted, UserError
from reslab.evaluation.metrics import compute_metrics
from reslab.inference.eager import compute_logits
from reslab.inference.mirrored import averaged
from reslab.models.resnet import ResNet
from reslab.runs.checkpoint import Checkpoint, Checkpoints
from reslab.runs.environment import describe_environment
from reslab.runs.files import check_space, locked
from reslab.runs.folder import (
    ENVIRONMENT,
    EXCLUDED,
    GROUPS,
    LEFT_OUT,
    METRICS,
    TESTED,
    RunFolder,
)
from reslab.runs.new_folder import check_free, run_name
from reslab.spec.resolved import ResolvedRun
from reslab.spec.run import RunSpec
from reslab.spec.text import format_document
from reslab.training.fit import Judged, StopRequestedError, Validate, fit
from reslab.training.observers import Observer, StartRecord, warn
from reslab.training.saver import Saver
from reslab.wording import resume_command
from reslab.workbench.ending import end_told, spent, summary, word_of_failure
from reslab.workbench.evaluate import evaluate_run
from reslab.workbench.forecast import Ready, make_ready
from reslab.workbench.recorder import Recorder
from reslab.workbench.reporting import draw_run, store_evaluation
from reslab.workbench.resolve import (
    Prepared,
    build_model,
    evaluation_batch,
    normaliser_of,
    resolve,
)
from reslab.workbench.run import Run
from reslab.workbench.sources import tell_faults
from reslab.workbench.stopping import raise_on_signals, stop_on_signals

# Pictures and page, rounded up.
_REPORT_BYTES = 2**22


def train(
    spec: RunSpec | None = None,
    *,
    data: DataSource | str | None = None,
    out: str | Path | None = None,
    observers: Sequence[Observer] = (),
    began: float | None = None,
) -> Run:
    """Train, test and report a residual net.

    The test split is read once, after training has ended. Nothing is written before data,
    net and machine have been found able to do what was asked.

    Args:
        spec: what to run; None: the recipe ``fast`` on the bundled digits.
        data: a data set of one's own, or a name, in place of the one that the spec names.
        out: the run's folder, new or empty; None: a new one under ``runs``.
        observers: told of steps and epochs; ``reslab.tracker`` makes some that log.
        began: reading of ``time.perf_counter`` that a limit of time counts from; None: now.

    Raises:
        UserError: where something that was asked for cannot be done.
        TrainingDiverged: where something became NaN or infinite; the run folder tells when.
        Interrupted: after Ctrl-C or SIGTERM; ``reslab.resume`` goes on from there.
    """
    began = time.perf_counter() if began is None else began
    if out is not None:
        check_free(Path(out))
    if not isinstance(spec, RunSpec | None):
        raise UserError(
            "what to run is no specification",
            expected="a RunSpec, such as reslab.recipe() gives",
            received=type(spec).__name__,
        )
    prepared = resolve(spec or RunSpec(), data)
    run = prepared.run
    runtime = Runtime(**run.engine.model_dump())
    with runtime.active():
        model = initial_model(run, runtime)
        check_space(Path(out or "runs"), room_needed(model, run))
        limit = run.training.time_limit
        ends_at = None if limit is None else began + limit
        ready = make_ready(prepared, model, runtime, ends_at=ends_at)
        text = format_document(run.model_dump(mode="json"))
        if out is None:
            name = run_name(run.data.name, run.model.name, datetime.now())
            folder = RunFolder.create_new(Path("runs"), name, text)
        else:
            folder = RunFolder.create(Path(out), text)
        with locked(folder.path):
            folder.write_json(ENVIRONMENT, describe_environment())
            if run.data.exclude is not None:
                folder.write_text(EXCLUDED, format_paths(read_paths(run.data.exclude)))
            if isinstance(prepared.source, FolderSource) and prepared.source.drawn:
                tested = prepared.source.checksums(prepared.source.drawn)
                folder.write_text(TESTED, format_reasons(tested))
            if prepared.faults:
                folder.write_text(LEFT_OUT, format_reasons(prepared.faults))
            if prepared.groups_N is not None:
                folder.write_text(GROUPS, format_groups(prepared.groups_N))
            recorder = Recorder(folder)
            for choice in prepared.choices:
                recorder.log(f"{choice.setting} {choice.value}: {choice.reason}")
            return carry_out(ready, recorder, observers)


def carry_out(
    ready: Ready,
    recorder: Recorder,
    observers: Sequence[Observer],
    *,
    warnings: Sequence[str] = (),
) -> Run:
    """Train, test and report in a folder that this process holds, from the start or on.

    Args:
        ready: the training, its engine active.
        recorder: writes the folder.
        observers: others to be told.
        warnings: what they are told first.

    Raises:
        TrainingDiverged, Interrupted: as ``train``.
        UserError: where the folder can no longer be written to.
    """
    prepared, stepper, folder = ready.prepared, ready.stepper, recorder.folder
    run = Run(folder, prepared.run)
    stepper.observers = watching = [recorder, *observers]
    checkpoints = Checkpoints(folder.checkpoints, prepared.run.checkpoint.keep)
    settings = prepared.run.model_dump(mode="json")

    def save(checkpoint: Checkpoint) -> None:
        facts = {**checkpoint.facts, "settings": settings}
        checkpoints.save(replace(checkpoint, facts=facts))

    start = StartRecord(
        folder=folder.path,
        settings=settings,
        step=stepper.state.step,
        history=tuple(stepper.state.history),
        warn=partial(warn, watching),
    )
    with (
        raise_on_signals(),
        end_told(watching, folder, stepper.state),
        word_of_failure(recorder, stepper.state, checkpoints),
    ):
        for observer in watching:
            observer.on_start(start)
        for text in (*warnings, *ready.warnings):
            warn(watching, text)
        for observer in watching:
            observer.on_forecast(ready.forecast)
        # Of the interruption that is now over.
        folder.remove(METRICS)
        started = time.perf_counter()
        with stop_on_signals() as should_stop:
            result = fit(
                stepper,
                validate=validator(prepared, stepper.runtime, should_stop),
                should_stop=should_stop,
                saver=Saver(save, prepared.run.checkpoint.every_seconds),
                budget=ready.budget,
            )
            stopped = result.interrupted or should_stop()
        if stopped:
            without_validation = prepared.run.facts.val_images == 0
            recorder.save_weights(
                stepper.state.judged, is_best=without_validation or not result.history
            )
            folder.write_json(METRICS, summary("interrupted", result))
            raise Interrupted(
                f"interrupted at step {result.steps}; go on with {resume_command(folder.path)}"
            )
        folder.write_json(METRICS, summary("trained", result))
        scored = _conclude(run, prepared.source)
        if scored is not None and scored.faults:
            folder.write_text(LEFT_OUT, format_reasons({**prepared.faults, **scored.faults}))
            for text in tell_faults(scored):
                warn(watching, text)
        draw_run(run)
        # Said last, when nothing is missing: a run that has finished is not resumed.
        folder.write_json(
            METRICS, {**run.metrics, **spent(ready, started, watching), "status": "finished"}
        )
        checkpoints.keep_newest()
        recorder.log("finished")
    return run


def _conclude(run: Run, source: DataSource) -> Images | None:
    """Score both sets of weights: on the fold that was held out, else on the test split, if any.

    Returns:
        What was scored; None: there is nothing.
    """
    if source.card.test_images == 0 and run.own_split == "test":
        return None
    evaluation = evaluate_run(
        run,
        split=run.own_split,
        uses=("best", "last"),
        source=source,
        opened_by="train",
    )
    store_evaluation(run, evaluation)
    return evaluation.images


def room_needed(model: nn.Module, run: ResolvedRun) -> int:
    """Bytes on the disk that a run takes at most."""
    weights: int = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    # Of the net, the optimiser's up to two numbers a weight, and the best weights; what may be
    # rolled back to as well. One more than are kept while the newest is written. Best and last
    # weights lie beside them.
    averaged = run.training.ema > 0
    states = 4 + averaged + (3 + averaged) * (run.training.non_finite == "rollback")
    checkpoints = states * weights * (run.checkpoint.keep + 1)
    return checkpoints + 3 * weights + _REPORT_BYTES


def initial_model(run: ResolvedRun, runtime: Runtime) -> ResNet:
    """The net with the weights that the seed gives; torch's own random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seeds.initialisation)
        model = build_model(run)
    model.checkpoint_activations(runtime.checkpoint_segments)
    runtime.place_model(model)
    return model


def validator(
    prepared: Prepared, runtime: Runtime, should_stop: Callable[[], bool] = lambda: False
) -> Validate | None:
    """Judges a net on the validation images; None where there are none."""
    images, run = prepared.validation, prepared.run
    if len(images) == 0:
        return None

    def stop_if_asked() -> None:
        if should_stop():
            raise StopRequestedError("validation was asked to stop")

    def validate(model: nn.Module) -> Judged:
        def outputs(pixels_NCHW: Pixels) -> npt.NDArray[np.float32]:
            return compute_logits(
                model,
                pixels_NCHW,
                normaliser_of(run),
                runtime,
                batch_size=evaluation_batch(run),
                on_batch=stop_if_asked,
            )

        logits_NK = averaged(outputs, images.pixels_NCHW, flip=run.evaluation.flip)
        metrics = compute_metrics(logits_NK, images.labels_N, run.facts.classes)
        return Judged(metrics.loss, metrics.top1, metrics.macro_f1)

    return validate
