"""A finished net on its validation images, which judge what is made of it afterwards."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reslab.data.source import Images
from reslab.errors import TrainingDiverged, UserError
from reslab.workbench.run import Run, Use


def check_validation(run: Run, done: str, expected: str) -> None:
    """Refuse a run that was trained without validation images.

    Args:
        run: the run.
        done: what cannot be done to it without, such as ``calibrated``.
        expected: what is missing.

    Raises:
        UserError: where there are none.
    """
    if run.spec.facts.val_images == 0:
        raise UserError(
            f"{run.path} cannot be {done}",
            expected=expected,
            received="none, since it was trained with data.validation=0",
            remedy="train it again with some",
        )


def finite_logits(run: Run, images: Images, use: Use) -> npt.NDArray[np.float32]:
    """Logits (N, K) of images by the net in fp32.

    Raises:
        TrainingDiverged: where one is not finite.
    """
    logits_NK = run.logits(images.pixels_NCHW, use)
    if not np.isfinite(logits_NK).all():
        raise TrainingDiverged(
            f"the {use} weights of {run.path} give logits that are not finite; train it "
            "again with a lower training.lr"
        )
    return logits_NK
