"""The main job: a specification in, a run folder with a trained and tested net out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reslab.data.batches import TrainBatches
from reslab.data.source import DataSource
from reslab.engine.machine import inspect_machine
from reslab.engine.runtime import Runtime
from reslab.errors import Interrupted, ReslabError
from reslab.evaluation.metrics import compute_metrics
from reslab.inference.eager import compute_logits
from reslab.runs.environment import describe_environment
from reslab.runs.folder import ENVIRONMENT, METRICS, SPEC, RunFolder, check_free, new_path
from reslab.spec.resolved import ResolvedRun
from reslab.spec.run import RunSpec
from reslab.spec.text import format_document
from reslab.training.fit import FitResult, Validate, fit
from reslab.training.observers import Observer
from reslab.workbench.evaluate import evaluate_run
from reslab.workbench.recorder import Recorder
from reslab.workbench.reporting import draw_run, store_evaluation
from reslab.workbench.resolve import Prepared, build_model, normaliser_of, resolve
from reslab.workbench.run import Run
from reslab.workbench.stopping import stop_on_signals


def train(
    spec: RunSpec | None = None,
    *,
    data: DataSource | None = None,
    out: str | Path | None = None,
    observers: Sequence[Observer] = (),
) -> Run:
    """Train, test and report a residual net.

    The test split is read once, after training has ended. Nothing is written before data,
    net and machine have been found able to do what was asked.

    Args:
        spec: what to run; None: the recipe ``fast`` on the bundled digits.
        data: a data set of one's own, in place of the one that the spec names.
        out: the run's folder, new or empty; None: a new one under ``runs``.
        observers: told of steps and epochs.

    Raises:
        UserError: where something that was asked for cannot be done.
        TrainingDiverged: where the loss became NaN or infinite; the run folder tells when.
        Interrupted: after Ctrl-C or SIGTERM; the weights so far are in the run folder.
    """
    if out is not None:
        check_free(Path(out))
    prepared = resolve(spec or RunSpec(), data)
    run = prepared.run
    path = (
        new_path(Path("runs"), run.data.name, run.model.name, datetime.now())
        if out is None
        else Path(out)
    )
    check_free(path)
    runtime = Runtime(**run.engine.model_dump())
    runtime.start()
    model = initial_model(run, runtime)
    folder = RunFolder.create(path)
    folder.write_text(SPEC, format_document(run.model_dump(mode="json")))
    folder.write_json(ENVIRONMENT, describe_environment(asdict(inspect_machine())))
    recorder = Recorder(folder)
    try:
        result = learn(prepared, model, runtime, [recorder, *observers])
        if result.interrupted:
            recorder.save_weights(model, is_best=not result.history)
            recorder.log(f"interrupted at step {result.steps}")
            folder.write_json(METRICS, _summary("interrupted", result))
            raise Interrupted(f"interrupted at step {result.steps}; what was learned is in {path}")
        folder.write_json(METRICS, _summary("finished", result))
        finished = Run(folder, run)
        evaluation = evaluate_run(
            finished, uses=("best", "last"), source=prepared.source, opened_by="train"
        )
        store_evaluation(finished, evaluation)
        draw_run(finished)
        recorder.log("finished")
    except BaseException as error:
        if not folder.read_metrics():
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            folder.write_json(METRICS, {"status": status, "reason": str(error)})
        if isinstance(error, ReslabError):
            recorder.log(str(error))
        raise
    return finished


def initial_model(run: ResolvedRun, runtime: Runtime) -> nn.Module:
    """The net with the weights that the seed gives; torch's own random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seeds.initialisation)
        return runtime.place_model(build_model(run))


def learn(
    prepared: Prepared, model: nn.Module, runtime: Runtime, observers: Sequence[Observer]
) -> FitResult:
    """Train the model in place, as the resolved run says; see ``reslab.training.fit``."""
    run = prepared.run
    augment = run.data.augment
    batches = TrainBatches(
        images=prepared.train,
        normaliser=normaliser_of(run),
        batch_size=run.training.batch_size,
        pad=augment.pad,
        crop=augment.crop,
        flip=augment.flip,
        cutout=augment.cutout,
        order_seed=run.seeds.order,
        augmentation_seed=run.seeds.augmentation,
    )
    with stop_on_signals() as should_stop:
        return fit(
            model,
            batches,
            run.training,
            runtime,
            validate=_validator(prepared, runtime),
            observers=observers,
            should_stop=should_stop,
        )


def _validator(prepared: Prepared, runtime: Runtime) -> Validate | None:
    """Loss and accuracy on the validation images, or None where there are none."""
    images, run = prepared.validation, prepared.run
    if len(images) == 0:
        return None

    def validate(model: nn.Module) -> tuple[float, float]:
        logits_NK = compute_logits(model, images.pixels_NCHW, normaliser_of(run), runtime)
        metrics = compute_metrics(logits_NK, images.labels_N, run.facts.classes)
        return metrics.loss, metrics.top1

    return validate


def _summary(status: str, result: FitResult) -> dict[str, Any]:
    return {
        "status": status,
        "epochs": len(result.history),
        "steps": result.steps,
        "best_epoch": result.best_epoch,
        "train_seconds": result.seconds,
        "compile_seconds": result.compile_seconds,
        "images_per_second": result.images_per_second,
    }
