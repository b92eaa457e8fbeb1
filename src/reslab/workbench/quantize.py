"""Quantising a run to int8; the test split is not touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from reslab.data.pixels import Pixels
from reslab.data.source import DataSource, Images
from reslab.data.split import sample_evenly
from reslab.engine.machine import inspect_machine
from reslab.errors import ReslabError, UserError
from reslab.evaluation.quantization import measure_loss
from reslab.inference.catalog import INT8, find_engine, obstacle_to
from reslab.inference.eager import usual_batch
from reslab.inference.engine import evaluation_mode
from reslab.inference.int8 import Quantized, compute_int8
from reslab.inference.mirrored import averaged
from reslab.inference.nncf import PACKAGES, WAYS, check_packages, quantize
from reslab.inference.ready import Ready
from reslab.inference.trial import time_in_turns
from reslab.runs.environment import package_version
from reslab.runs.files import locked, remove_leftovers
from reslab.runs.folder import HISTORY
from reslab.workbench.of_weights import digest_weights
from reslab.workbench.quantized import (
    FOLDER,
    FORMAT,
    NUMBERS,
    RECORD,
    XML,
    Quantization,
    Trial,
    quantized_for,
)
from reslab.workbench.reporting import draw_run
from reslab.workbench.resolve import normaliser_of
from reslab.workbench.resume import prepare_again
from reslab.workbench.run import Run, Use
from reslab.workbench.validation import check_validation, finite_logits
from reslab.writing import cannot_write, write_atomically

# Training images by which ranges are chosen: NNCF's own number.
IMAGES = 300

# By how much accuracy may fall: 0.2 percentage points.
TOLERANCE = 0.002

# What an int8 model is timed against, and for about how many seconds.
_RIVALS = ("openvino", "kernels", INT8)
_TIMING_SECONDS = 10.0


def quantize_run(
    run: Run,
    *,
    use: Use = "best",
    images: int = IMAGES,
    tolerance: float = TOLERANCE,
    data: DataSource | None = None,
    root: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Quantization:
    """Make an int8 model of a run's weights, and keep it if it is nearly as accurate.

    Ranges are chosen on training images, without augmentation; validation images judge. Where the
    first way costs too much accuracy a finer one is tried. A model that passes replaces an earlier
    one, and the run's page is drawn anew; where none passes the run stays as it was.

    Args:
        run: a run that has weights; it need not have finished.
        use: which weights.
        images: training images to choose ranges by, drawn by the seed of the run's split, each
            class in proportion; all where there are fewer.
        tolerance: by how much accuracy on validation may fall, 0.002 for 0.2 percentage points.
        data: the data set, where it was one of one's own.
        root: where the data set lies now; None: where the run found it.
        tell: told of each way that is tried.

    Returns:
        What was found; ``passed`` tells whether it was kept.

    Raises:
        UserError: where the run has no validation images or no weights, its data are others
            now, NNCF is not installed, another process trains it, or its folder cannot be
            written to.
        TrainingDiverged: where the weights give no finite logits.
        ReslabError: where NNCF or OpenVINO cannot take the net.
    """
    if images < 1 or not 0 <= tolerance <= 1:
        raise UserError(
            f"{run.path} cannot be quantised",
            expected="one image at least and a tolerance of 0 to 1",
            received=f"{images} and {tolerance}",
        )
    check_validation(run, "quantised", "validation images, by which to judge it")
    check_packages()
    # Whoever trains it would change the weights between their digest and their logits.
    with locked(run.path):
        prepared = prepare_again(run, data, root)
        digest = digest_weights(run.folder.weights(use))
        fp32_NK = finite_logits(run, prepared.validation, use)
        train = prepared.train
        drawn = sample_evenly(train.labels_N, images, run.spec.data.split_seed)
        pixels_NCHW = train.pixels_NCHW[drawn]
        tried: list[Trial] = []
        for way in WAYS:
            tell(f"quantising with {len(drawn):,} training images: {way}")
            xml, numbers = quantize(run.model(use), pixels_NCHW, normaliser_of(run.spec), way)
            int8_NK = _compute(run, Quantized(xml, numbers), prepared.validation)
            loss = measure_loss(fp32_NK, int8_NK, prepared.validation.labels_N)
            tried.append(Trial(way=way, loss=loss))
            if loss.drop <= tolerance:
                break
        found = Quantization(
            weights=use,
            weights_sha256=digest,
            calibration_images=len(drawn),
            tolerance=tolerance,
            tried=tuple(tried),
            versions={name: package_version(name) for name in ("reslab", "torch", *PACKAGES)},
            files={name: _digest(part) for name, part in ((XML, xml), (NUMBERS, numbers))},
        )
        if found.passed:
            _store(run, found, xml, numbers)
            if run.folder.has(HISTORY) and run.history:
                draw_run(run)
    return found


def _compute(run: Run, quantized: Quantized, images: Images) -> npt.NDArray[np.float32]:
    runtime = replace(run.runtime(), device="cpu")
    normaliser = normaliser_of(run.spec)

    def outputs(pixels_NCHW: Pixels) -> npt.NDArray[np.float32]:
        return compute_int8(quantized, pixels_NCHW, normaliser, runtime)

    with runtime.active():
        # As those in fp32 are.
        logits_NK = averaged(outputs, images.pixels_NCHW, flip=run.spec.evaluation.flip)
    if not np.isfinite(logits_NK).all():
        raise ReslabError(f"the int8 model of {run.path} gives logits that are not finite")
    return logits_NK


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _store(run: Run, found: Quantization, xml: bytes, numbers: bytes) -> None:
    """Put the model into the run's folder, in place of an earlier one."""
    place = run.path / FOLDER
    try:
        place.mkdir(exist_ok=True)
        remove_leftovers(place)
    except OSError as error:
        raise cannot_write(place, error) from error
    # Without its record there is no model, and with it there is a whole one.
    run.folder.remove(RECORD)
    write_atomically(run.path / XML, xml)
    write_atomically(run.path / NUMBERS, numbers)
    run.folder.write_json(RECORD, {"format": FORMAT, **found.to_json()})


def time_engines(
    run: Run, *, use: Use = "best", data: DataSource | None = None, root: str | None = None
) -> dict[str, float]:
    """Images a second of a run's int8 model and its rivals in fp32: medians of rounds in turns.

    They compute validation images, in batches of the size that is usual for such images. Who is
    far behind the fastest has fewer rounds; who is missing cannot be used here.

    Args:
        run: a run that was quantised.
        use: which weights.
        data: see ``quantize_run``.
        root: likewise.
    """
    runtime = replace(run.runtime(), device="cpu")
    quantized = quantized_for(run.folder, use)
    model = runtime.place_model(run.model(use))
    pixels_NCHW = prepare_again(run, data, root).validation.pixels_NCHW
    size = usual_batch(*pixels_NCHW.shape[2:])
    ready = Ready(
        model,
        pixels_NCHW,
        normaliser_of(run.spec),
        runtime,
        batch_size=size,
        quantized=lambda: quantized if isinstance(quantized, Quantized) else None,
    )
    features = inspect_machine().features
    with runtime.active(), evaluation_mode(model):
        for name in _RIVALS:
            if obstacle_to(find_engine(name), "cpu", features) is None:
                ready.add(find_engine(name))
        times = time_in_turns(ready.calls(), seconds=_TIMING_SECONDS)
    return {name: size / seconds for name, seconds in times.items()}
