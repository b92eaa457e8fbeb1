"""The main job: a specification in, a run folder with a trained and tested net out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reslab.data.source import DataSource
from reslab.engine.machine import inspect_machine
from reslab.engine.runtime import Runtime
from reslab.errors import Interrupted, UserError
from reslab.evaluation.metrics import compute_metrics
from reslab.inference.eager import compute_logits
from reslab.models.resnet import ResNet
from reslab.runs.environment import describe_environment
from reslab.runs.folder import ENVIRONMENT, METRICS, SPEC, RunFolder, check_free, run_name
from reslab.spec.resolved import ResolvedRun
from reslab.spec.run import RunSpec
from reslab.spec.text import format_document
from reslab.training.fit import FitResult, Validate, fit
from reslab.training.observers import Observer
from reslab.workbench.evaluate import evaluate_run
from reslab.workbench.recorder import Recorder
from reslab.workbench.reporting import draw_run, store_evaluation
from reslab.workbench.resolve import (
    Prepared,
    build_model,
    normaliser_of,
    resolve,
    train_batches,
)
from reslab.workbench.run import Run
from reslab.workbench.stopping import stop_on_signals


def train(
    spec: RunSpec | None = None,
    *,
    data: DataSource | str | None = None,
    out: str | Path | None = None,
    observers: Sequence[Observer] = (),
) -> Run:
    """Train, test and report a residual net.

    The test split is read once, after training has ended. Nothing is written before data,
    net and machine have been found able to do what was asked.

    Args:
        spec: what to run; None: the recipe ``fast`` on the bundled digits.
        data: a data set of one's own, or a name, in place of the one that the spec names.
        out: the run's folder, new or empty; None: a new one under ``runs``.
        observers: told of steps and epochs.

    Raises:
        UserError: where something that was asked for cannot be done.
        TrainingDiverged: where the loss became NaN or infinite; the run folder tells when.
        Interrupted: after Ctrl-C or SIGTERM; the weights so far are in the run folder.
    """
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
        folder = (
            RunFolder.create_new(
                Path("runs"), run_name(run.data.name, run.model.name, datetime.now())
            )
            if out is None
            else RunFolder.create(Path(out))
        )
        folder.write_text(SPEC, format_document(run.model_dump(mode="json")))
        folder.write_json(ENVIRONMENT, describe_environment(asdict(inspect_machine())))
        recorder = Recorder(folder)
        for choice in prepared.choices:
            recorder.log(f"{choice.setting} {choice.value}: {choice.reason}")
        with stop_on_signals() as should_stop, _status_of_failure(folder, recorder):
            result = learn(
                prepared, model, runtime, [recorder, *observers], should_stop=should_stop
            )
            if result.interrupted:
                without_validation = run.facts.val_images == 0
                recorder.save_weights(model, is_best=without_validation or not result.history)
                folder.write_json(METRICS, _summary("interrupted", result))
                raise Interrupted(
                    f"interrupted at step {result.steps}; what was learned is in {folder.path}"
                )
            # A second signal may still end the rest, which takes seconds.
            folder.write_json(METRICS, _summary("trained", result))
            finished = Run(folder, run)
            _conclude(finished, prepared.source)
            folder.write_json(METRICS, {**finished.metrics, "status": "finished"})
            draw_run(finished)
            recorder.log("finished")
    return finished


def _conclude(run: Run, source: DataSource) -> None:
    """Score both sets of weights on the test split, if the data set has one."""
    if source.card.test_images == 0:
        return
    evaluation = evaluate_run(run, uses=("best", "last"), source=source, opened_by="train")
    store_evaluation(run, evaluation)


@contextmanager
def _status_of_failure(folder: RunFolder, recorder: Recorder) -> Iterator[None]:
    """Leave word in the folder of what ended a training, where training itself did not."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | Interrupted)
        # A full disk may be the reason, and must not hide it.
        with suppress(UserError):
            metrics = {"epochs": len(recorder.history)} | folder.read_metrics()
            if metrics.get("status") != "interrupted":
                status = "interrupted" if stopped else "failed"
                folder.write_json(METRICS, {**metrics, "status": status, "reason": str(error)})
            recorder.log(str(error) or type(error).__name__)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"interrupted; what was learned is in {folder.path}") from error
        raise


def initial_model(run: ResolvedRun, runtime: Runtime) -> ResNet:
    """The net with the weights that the seed gives; torch's own random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seeds.initialisation)
        model = build_model(run)
    model.checkpoint_activations(runtime.checkpoint_segments)
    runtime.place_model(model)
    return model


def learn(
    prepared: Prepared,
    model: nn.Module,
    runtime: Runtime,
    observers: Sequence[Observer] = (),
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> FitResult:
    """Train the model in place, as the resolved run says; see ``reslab.training.fit``."""
    return fit(
        model,
        train_batches(prepared),
        prepared.run.training,
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
