"""The calibration that a run's folder holds, and whether it is of the weights that lie there."""

from __future__ import annotations

from dataclasses import dataclass

from reslab.evaluation.calibration import Calibration
from reslab.runs.folder import CALIBRATION, RunFolder
from reslab.wording import quoted
from reslab.workbench.of_weights import read_record, why_other

FORMAT = 1


@dataclass(frozen=True)
class Found:
    """What a run's folder tells of the calibration of some weights.

    Attributes:
        calibration: None where there is none for them.
        warning: why one that is there is left out of account; else empty.
    """

    calibration: Calibration | None
    warning: str = ""


def calibration_for(folder: RunFolder, use: str) -> Found:
    """The calibration of the ``best`` or the ``last`` weights as they are now.

    Raises:
        UserError: where calibration.json is damaged or of a newer format.
    """
    stored = read_calibration(folder)
    if stored is None:
        return Found(None)
    reason = why_other(folder, use, weights=stored.weights, digest=stored.weights_sha256)
    if not reason:
        return Found(stored)
    which = "" if use == "best" else f" --use {use}"
    remedy = f"`reslab calibrate {quoted(folder.path)}{which}` makes one for them"
    return Found(None, f"{folder.path / CALIBRATION} {reason}; {remedy}")


def read_calibration(folder: RunFolder) -> Calibration | None:
    """What calibration.json holds, of whatever weights; None where there is none.

    Raises:
        UserError: where it is damaged or of a newer format.
    """
    return read_record(
        folder, CALIBRATION, Calibration.from_json, command="calibrate", version=FORMAT
    )
