"""From a run's folder to its pictures and its report: nothing else is read."""

from __future__ import annotations

import io
import zlib
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from reslab.catalog.datasets import DATASETS
from reslab.errors import UserError
from reslab.evaluation.canvas import save
from reslab.evaluation.confidence import confidence
from reslab.evaluation.figures import confusion, curves
from reslab.evaluation.metrics import Metrics
from reslab.evaluation.report import ReportData, Result, render_report
from reslab.evaluation.tiles import WORST, Mistake, mistakes
from reslab.runs.folder import (
    CONFIDENCE,
    CONFUSION,
    CURVES,
    ENVIRONMENT,
    FEATURES,
    METRICS,
    MISTAKES,
    MISTAKES_DATA,
    REPORT,
    SPEC,
    RunFolder,
)
from reslab.training.state import Cut, describe_cut
from reslab.wording import counted
from reslab.workbench.calibrated import Found, calibration_for, read_calibration
from reslab.workbench.evaluate import Evaluation
from reslab.workbench.quantized import read_quantization, why_damaged, why_stale
from reslab.workbench.run import Run
from reslab.writing import write_atomically


def store_evaluation(run: Run, evaluation: Evaluation) -> None:
    """Keep what was scored: metrics of each set of weights, and the worst mistakes."""
    scores = {scored.use: scored.metrics.to_json() for scored in evaluation.scored}
    run.folder.write_json(METRICS, {**run.metrics, evaluation.split: scores})
    probabilities_NK = evaluation.scored[0].probabilities_NK()
    predicted_N = probabilities_NK.argmax(axis=1)
    confidence_N = probabilities_NK.max(axis=1)
    wrong = np.flatnonzero(predicted_N != evaluation.images.labels_N)
    wrong = wrong[np.argsort(-confidence_N[wrong], kind="stable")][:WORST]
    content = io.BytesIO()
    np.savez_compressed(
        content,
        pixels=evaluation.images.pixels_NCHW[wrong],
        true=evaluation.images.labels_N[wrong],
        predicted=predicted_N[wrong],
        probability=confidence_N[wrong],
    )
    write_atomically(run.path / MISTAKES_DATA, content.getvalue())


def draw_run(run: Run) -> None:
    """Write curves.png, confusion.png, mistakes.png and report.html from what the run holds.

    Where it was calibrated for the weights that it has, confidence.png too. The page also tells of
    an int8 model.

    Raises:
        UserError: where no epoch of the run was finished, or its files are damaged.
    """
    history, metrics = run.history, run.metrics
    if not history:
        raise UserError(
            f"{run.path} has nothing to report",
            expected="at least one finished epoch",
            remedy="train it again",
        )
    # Everything is read before anything is written: a damaged file leaves all as it was.
    best_epoch = metrics.get("best_epoch")
    worst = _read_mistakes(run)
    stored = read_calibration(run.folder)
    calibrated = Found(None) if stored is None else calibration_for(run.folder, stored.weights)
    int8_facts, int8_notes = _tell_int8(run.folder)
    results = tuple(
        Result(weights=use, split=split, metrics=_read_metrics(run, use, document))
        for split in ("test", "fold")
        for use, document in metrics.get(split, {}).items()
    )
    report = ReportData(
        title=f"{run.spec.model.name} on {run.spec.data.name}",
        facts=(*_facts(run, metrics), *int8_facts),
        history=history,
        best_epoch=best_epoch,
        results=results,
        mistakes=worst,
        notes=(*_notes(run, metrics), *_note_calibration(calibrated), *int8_notes),
        spec_text=run.folder.read_text(SPEC),
        calibration=calibrated.calibration,
    )
    page = render_report(report)
    save(curves(history, best_epoch=best_epoch), run.path / CURVES)
    if results:
        save(confusion(results[0].metrics.confusion_KK, run.classes), run.path / CONFUSION)
        save(mistakes(worst), run.path / MISTAKES)
    if calibrated.calibration is not None:
        save(confidence(calibrated.calibration), run.path / CONFIDENCE)
    run.folder.write_text(REPORT, page)


def _read_metrics(run: Run, use: str, document: Any) -> Metrics:
    try:
        return Metrics.from_json(document)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run.path / METRICS} is damaged",
            expected=f"the metrics of the {use} weights",
            remedy="restore the run from a copy or train it again",
        ) from error


def _read_mistakes(run: Run) -> tuple[Mistake, ...]:
    path = run.path / MISTAKES_DATA
    if not path.exists():
        return ()
    try:
        with np.load(path, allow_pickle=False) as archive:
            return _mistakes_of(archive, run.classes)
    except (OSError, ValueError, KeyError, IndexError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path} is damaged", remedy="delete it and report again, or restore it"
        ) from error


def _mistakes_of(archive: NpzFile, classes: tuple[str, ...]) -> tuple[Mistake, ...]:
    columns = (archive[name] for name in ("pixels", "true", "predicted", "probability"))
    return tuple(
        Mistake(
            pixels_CHW=pixels,
            true=classes[int(true)],
            predicted=classes[int(predicted)],
            probability=float(probability),
        )
        for pixels, true, predicted, probability in zip(*columns, strict=True)
    )


def _facts(run: Run, metrics: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    spec = run.spec
    epochs = f"{metrics.get('epochs', len(run.history))} of {spec.training.epochs}"
    facts = [
        ("Data", f"{spec.data.name}, {spec.facts.image_size} pixels square"),
        (
            "Images",
            f"{spec.facts.train_images:,} training, {spec.facts.val_images:,} validation",
        ),
        ("Net", f"{spec.model.name}, shortcut {spec.model.shortcut}, {spec.model.stem} stem"),
        ("Recipe", spec.recipe),
        ("Epochs", f"{epochs}, batches of {spec.training.batch_size}"),
        ("Optimiser", f"{spec.training.optimizer.kind}, peak rate {spec.training.lr:g}"),
        ("Schedule", spec.training.schedule.kind),
        (
            "Engine",
            f"{spec.engine.device}, {spec.engine.precision}, {spec.engine.threads} threads",
        ),
        ("Seed", str(spec.seeds.base)),
    ]
    if spec.evaluation.flip:
        facts.append(("Outputs", "averaged over each image and its mirror image"))
    if "train_seconds" in metrics:
        facts.append(("Training time", f"{metrics['train_seconds']:.1f} s"))
        facts.append(("Speed", f"{metrics['images_per_second']:,.0f} images/s"))
    return tuple(facts)


def _times_resumed(run: Run) -> int:
    environment = run.folder.read_json(ENVIRONMENT) if run.folder.has(ENVIRONMENT) else {}
    return len(environment.get("resumed", []))


def _times_tested(run: Run) -> int:
    """Openings of the test split; those of one training that was interrupted count as one."""
    by = [opening.get("by") for opening in run.folder.read_openings()]
    return len(by) - max(0, by.count("train") - 1)


def _note_calibration(found: Found) -> tuple[str, ...]:
    if not found.warning:
        return ()
    return ("It was calibrated for weights that have changed since; calibrate it anew.",)


def _tell_int8(folder: RunFolder) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """What is known of an int8 model as facts, or a note of why it cannot be used."""
    try:
        stored = read_quantization(folder)
    except UserError:
        # Prediction does without one that is damaged, and so does the page.
        return (), ("The record of its int8 model cannot be read; quantise it anew.",)
    if stored is None:
        return (), ()
    if why_stale(folder, stored.weights, stored):
        changed = "Its int8 model was made of weights that have changed since; quantise it anew."
        return (), (changed,)
    if why_damaged(folder, stored):
        return (), ("Its int8 model is damaged; quantise it anew.",)
    loss = stored.chosen.loss
    low, high = (-100 * bound for bound in reversed(loss.interval))
    told = (
        f"of the {stored.weights} weights; accuracy on {loss.n:,} validation images "
        f"{-100 * loss.drop:+.2f} points ({low:+.2f} to {high:+.2f})"
    )
    return (("Int8 model", told),), ()


def _notes(run: Run, metrics: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    status = metrics.get("status", "unfinished")
    if status not in ("finished", "trained"):
        notes.append(f"This run is {status}: it did not reach its end.")
    fold = run.spec.data.fold
    if fold is not None:
        notes.append(
            f"It is fold {fold} of {run.spec.data.folds} of a cross-validation: trained on the "
            "others and scored on this one."
        )
    elif "test" not in metrics:
        notes.append("It was not tested.")
    if run.spec.facts.val_images == 0:
        notes.append("It was trained without validation, so that best and last are the same.")
    if metrics.get("stopped_early"):
        notes.append(
            f"It ended early: validation had not become better for {run.spec.training.patience} "
            "epochs."
        )
    if run.spec.training.ema:
        notes.append("Validated, tested and kept were running averages of the weights.")
    notes += [
        f"Memory was too short for a step: {describe_cut(Cut(**cut))}."
        for cut in metrics.get("cuts", ())
    ]
    steps, of = metrics.get("steps", 0), run.spec.total_steps
    limit = run.spec.training.time_limit
    if limit is not None and 0 < steps < of and not metrics.get("stopped_early"):
        notes.append(
            f"Its limit of time, {counted(limit, 'second')}, left {steps:,} of {of:,} steps, in "
            "which the learning rate went through its whole schedule."
        )
    if metrics.get("left_out_steps"):
        notes.append(
            f"{counted(metrics['left_out_steps'], 'step')} came to nothing because loss, gradient "
            f"or weights were not finite (training.non_finite: {run.spec.training.non_finite})."
        )
    if run.folder.has(FEATURES):
        told = run.folder.read_json(FEATURES)
        notes.append(
            f"Its head was fitted anew, on {told['kept']} of {told['of']} pooled features of the "
            f"net of {told['run']}, chosen by {told['method']}; the curves are those of that net."
        )
    if resumed := _times_resumed(run):
        notes.append(f"It was interrupted, and resumed {counted(resumed, 'time')}.")
    openings = _times_tested(run)
    if openings > 1:
        notes.append(
            f"The test split was opened {openings} times; choosing among runs by it would make "
            "its accuracy too good to be true."
        )
    if run.spec.data.augment.flip and run.spec.data.name in {
        c.name for c in DATASETS if not c.flip
    }:
        notes.append("Half of the training images were mirrored, which changes what they mean.")
    return tuple(notes)
