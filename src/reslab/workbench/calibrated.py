"""The calibration that a run's folder holds, and whether it is of the weights that lie there."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reslab.errors import UserError
from reslab.evaluation.calibration import Calibration
from reslab.runs.folder import CALIBRATION, RunFolder
from reslab.wording import quoted

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

    Weights are known by the digest of their file, so that a training which went on, or a file
    that was replaced, is noticed; best and last weights that are the same share one calibration.

    Raises:
        UserError: where calibration.json is damaged or of a newer format.
    """
    stored = read_calibration(folder)
    if stored is None:
        return Found(None)
    if stored.weights_sha256 == digest_weights(folder.weights(use)):
        return Found(stored)
    which = "" if use == "best" else f" --use {use}"
    remedy = f"`reslab calibrate {quoted(folder.path)}{which}` makes one for them"
    if stored.weights != use:
        reason = f"is of the {stored.weights} weights and not of the {use} ones"
    else:
        reason = f"is left out of account, since the {use} weights have changed after it"
    return Found(None, f"{folder.path / CALIBRATION} {reason}; {remedy}")


def read_calibration(folder: RunFolder) -> Calibration | None:
    """What calibration.json holds, of whatever weights; None where there is none.

    Raises:
        UserError: where it is damaged or of a newer format.
    """
    path = folder.path / CALIBRATION
    remedy = f"`reslab calibrate {quoted(folder.path)}` writes it anew, or delete it"
    if not path.exists():
        return None
    try:
        document = folder.read_json(CALIBRATION)
    except UserError as error:
        raise UserError(error.what, received=error.received, remedy=remedy) from error
    if document.get("format") != FORMAT:
        raise UserError(
            f"{path} cannot be read",
            expected=f"format {FORMAT}",
            received=f"format {document.get('format')!r}",
            remedy=remedy,
        )
    try:
        return Calibration.from_json(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{path} is damaged", expected="what `reslab calibrate` writes", remedy=remedy
        ) from error


def digest_weights(path: Path) -> str:
    """SHA-256 of a file of weights; empty where it cannot be read, which loading it will tell."""
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return ""
