"""Calibrating a run on its validation images; the test split is not touched."""

from __future__ import annotations

from reslab.data.source import DataSource
from reslab.evaluation.calibration import Calibration, calibrate
from reslab.evaluation.canvas import to_png
from reslab.evaluation.confidence import confidence
from reslab.evaluation.selective import Target
from reslab.runs.files import locked
from reslab.runs.folder import CALIBRATION, CONFIDENCE, HISTORY
from reslab.workbench.calibrated import FORMAT
from reslab.workbench.of_weights import digest_weights
from reslab.workbench.reporting import draw_run
from reslab.workbench.resume import prepare_again
from reslab.workbench.run import Run, Use
from reslab.workbench.validation import check_validation, finite_logits
from reslab.writing import write_atomically


def calibrate_run(
    run: Run,
    target: Target,
    *,
    use: Use = "best",
    data: DataSource | None = None,
    root: str | None = None,
) -> Calibration:
    """Fit a temperature and a threshold, and keep them in the run with their picture.

    An earlier calibration is replaced. Nothing is written before everything has been found.

    Args:
        run: a run that has weights; it need not have finished.
        target: what the threshold is for.
        use: which weights.
        data: the data set, where it was one of one's own.
        root: where the data set lies now; None: where the run found it.

    Raises:
        UserError: where the run has no validation images or no weights, its data are others
            now, the target cannot be reached, another process trains it, or its folder cannot
            be written to.
        TrainingDiverged: where the weights give no finite logits.
    """
    check_validation(run, "calibrated", "validation images")
    # Whoever trains it would change the weights between their digest and their logits.
    with locked(run.path):
        images = prepare_again(run, data, root).validation
        digest = digest_weights(run.folder.weights(use))
        logits_NK = finite_logits(run, images, use)
        calibration = calibrate(
            logits_NK, images.labels_N, target, weights=use, weights_sha256=digest
        )
        picture = to_png(confidence(calibration))
        write_atomically(run.path / CONFIDENCE, picture)
        # Last, for it is what makes the run a calibrated one.
        run.folder.write_json(CALIBRATION, {"format": FORMAT, **calibration.to_json()})
        if run.folder.has(HISTORY) and run.history:
            draw_run(run)
    return calibration
