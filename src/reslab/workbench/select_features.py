"""A run's net with a head on some of its features only, as a run of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from reslab.data.source import DataSource
from reslab.models.resnet import ResNet
from reslab.models.weights import weights_to_bytes
from reslab.runs.environment import describe_environment
from reslab.runs.folder import (
    ENVIRONMENT,
    EXCLUDED,
    FEATURES,
    GROUPS,
    HISTORY,
    LEFT_OUT,
    METRICS,
    OPENINGS,
    SPEC,
    TESTED,
    RunFolder,
)
from reslab.runs.new_folder import check_free
from reslab.training.feature_selection import (
    LinearHead,
    Method,
    choose_features,
    count_features,
    fit_head,
)
from reslab.workbench.evaluate import evaluate_run, record_opening
from reslab.workbench.recorder import Recorder
from reslab.workbench.reporting import draw_run, store_evaluation
from reslab.workbench.resume import prepare_again
from reslab.workbench.run import Run, Use, load_run
from reslab.writing import cannot_write, write_atomically


def select_features(
    run: Run,
    out: str | Path,
    *,
    keep: float = 0.5,
    method: Method = "univariate",
    use: Use = "best",
    data: DataSource | None = None,
    root: str | None = None,
    tell: Callable[[str], object] = lambda text: None,
) -> Run:
    """Choose pooled features on the training images, fit a head on them, fold it into the net.

    The net below its head stays as it is. What comes out is a run like any other, whose head has
    zeros for the features that were not chosen; its test split is opened once.

    Args:
        run: whose net to take; it is not changed.
        out: the new run's folder, new or empty.
        keep: a fraction of the features, or their number.
        method: see ``reslab.training.feature_selection.choose_features``.
        use: which of the run's weights.
        data: the data set, where it was one of one's own.
        root: folder of the data set's files, where they were moved.
        tell: given a line whenever something that takes a while begins.

    Raises:
        UserError: where the training images are others now, or the folder is taken.
    """
    check_free(Path(out))
    prepared = prepare_again(run, data, root)
    model = run.model(use)
    count = count_features(keep, model.fc.in_features)
    parts = []
    for what, images in (("training", prepared.train), ("validation", prepared.validation)):
        if len(images):
            tell(f"features of {len(images):,} {what} images")
            features_ND = run.embeddings(images.pixels_NCHW, use).astype(np.float64)
        else:
            features_ND = np.zeros((0, model.fc.in_features))
        parts.append((features_ND, images.labels_N))
    train, validation = parts
    tell(f"choosing {count} of {model.fc.in_features} features")
    chosen = choose_features(*train, method=method, count=count)
    classes = len(run.classes)
    everything = np.arange(model.fc.in_features)
    heads = {
        "all": fit_head(train, validation, everything, classes),
        "chosen": fit_head(train, validation, chosen, classes),
    }
    found: dict[str, Any] = {
        "run": run.path.name,
        "weights": use,
        "method": method,
        "kept": count,
        "of": model.fc.in_features,
        "chosen": chosen.tolist(),
        "strength": heads["chosen"].strength,
        "val_accuracy": _accuracies(model, heads, validation),
    }
    return _store(run, Path(out), _with_head(model, heads["chosen"]), found, prepared.source)


def _accuracies(
    model: ResNet,
    heads: dict[str, LinearHead],
    validation: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]],
) -> dict[str, float] | None:
    """On validation: of the net's own head, of one on all features, and on the chosen ones."""
    features_ND, labels_N = validation
    if not len(labels_N):
        return None
    weight_KD = model.fc.weight.detach().double().numpy()
    own = LinearHead(weight_KD, model.fc.bias.detach().double().numpy(), 0.0)
    return {
        name: float((head.logits(features_ND).argmax(axis=1) == labels_N).mean())
        for name, head in {"own": own, **heads}.items()
    }


def _with_head(model: ResNet, head: LinearHead) -> ResNet:
    with torch.no_grad():
        model.fc.weight.copy_(torch.from_numpy(head.weight_KD))
        model.fc.bias.copy_(torch.from_numpy(head.bias_K))
    return model


def _store(run: Run, out: Path, model: ResNet, found: dict[str, Any], source: DataSource) -> Run:
    """A folder with all that a run has, scored and drawn, which comes to be whole or not at all."""
    check_free(out)
    made_in = out.parent / f".{out.name}.{os.getpid()}.tmp"
    try:
        made = _make(
            run, RunFolder.create(made_in, run.folder.read_text(SPEC)), model, found, source
        )
        # An empty folder may lie there already, which not every system replaces.
        if out.is_dir():
            out.rmdir()
        made.path.rename(out)
    except OSError as error:
        raise cannot_write(out, error) from error
    finally:
        shutil.rmtree(made_in, ignore_errors=True)
    return load_run(out)


def _make(
    run: Run, folder: RunFolder, model: ResNet, found: dict[str, Any], source: DataSource
) -> Run:
    folder.write_json(ENVIRONMENT, describe_environment())
    recorder = Recorder(folder, run.history if run.folder.has(HISTORY) else ())
    recorder.log(
        f"head on {found['kept']} of {found['of']} features of {found['run']}, chosen by "
        f"{found['method']}"
    )
    content = weights_to_bytes(model)
    for use in ("best", "last"):
        write_atomically(folder.weights(use), content)
    folder.write_json(FEATURES, found)
    for name in (EXCLUDED, GROUPS, LEFT_OUT, OPENINGS, TESTED):
        # Who chooses among such runs has looked at the test split as often as all of them.
        if run.folder.has(name):
            folder.write_text(name, run.folder.read_text(name))
    told = {key: value for key, value in run.metrics.items() if key not in ("test", "fold")}
    folder.write_json(METRICS, {**told, "status": "finished"})
    made = load_run(folder.path)
    if source.card.test_images or run.own_split == "fold":
        if run.own_split == "test":
            record_opening(run, "select-features", (found["weights"],), source)
        evaluation = evaluate_run(
            made,
            split=run.own_split,
            uses=("best", "last"),
            source=source,
            opened_by="select-features",
        )
        store_evaluation(made, evaluation)
    if made.history:
        draw_run(made)
    return made
