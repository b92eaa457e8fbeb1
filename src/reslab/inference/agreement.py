"""Whether an engine gives what the reference gives.

Shape suffixes: ``N`` images, ``D`` outputs of the net: its classes, or numbers of an embedding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Rows that are compared: rounding in fp32 is alike for all images, that in bf16 is not.
ROWS = {"fp32": 8, "bf16": 128, "int8": 128}

# In fp32 outputs may differ by this part of the largest one: sums in another order moved those of
# a net of 152 layers by 1e-4 of it, a batch norm that is folded wrongly moves them by per cents.
FP32_TOLERANCE = 1e-3

# In bf16 a probability may differ by this; numbers of an embedding, by this part of the largest.
BF16_TOLERANCE = 0.02

# The chance that an engine in int8 is left out although it does what it did when it was judged.
INT8_CHANCE = 1e-4


def disagreement(
    reference_ND: npt.NDArray[np.float32],
    found_ND: npt.NDArray[np.float32],
    *,
    precision: str,
    are_logits: bool = True,
    expected: tuple[int, int] = (0, 0),
) -> str:
    """What is wrong with an engine's outputs, in a few words; empty where nothing is.

    Args:
        reference_ND: what the net gives.
        found_ND: what the engine gives for the same images.
        precision: of the engine, ``fp32``, ``bf16`` or ``int8``. In bf16 the class must be the
            same in every row, and probabilities within ``BF16_TOLERANCE``. In int8 classes may
            change, about as often as they did when it was judged.
        are_logits: whether the outputs are logits, of which probabilities can be made.
        expected: of an engine in int8, to how many images it gave another class when it was
            judged, and of how many.
    """
    if reference_ND.shape != found_ND.shape:
        return f"its outputs are {found_ND.shape} instead of {reference_ND.shape}"
    if not np.isfinite(found_ND).all():
        return "its outputs are not all finite"
    changed = int((reference_ND.argmax(axis=1) != found_ND.argmax(axis=1)).sum())
    if precision == "int8":
        most = most_changes(len(found_ND), *expected)
        return (
            ""
            if changed <= most
            else (
                f"it gives {changed} of {len(found_ND)} images another class, where it gave "
                f"{expected[0]} of {expected[1]} when it was judged"
            )
        )
    if precision == "bf16" and are_logits:
        if changed:
            return f"it gives {changed} of {len(found_ND)} images another class"
        gap = float(np.abs(_softmax(reference_ND) - _softmax(found_ND)).max())
        what, tolerance = "a probability", BF16_TOLERANCE
    else:
        scale = max(float(np.abs(reference_ND).max()), float(np.finfo(np.float32).tiny))
        gap = float(np.abs(reference_ND - found_ND).max()) / scale
        what = "an output, measured by the largest,"
        tolerance = BF16_TOLERANCE if precision == "bf16" else FP32_TOLERANCE
    # A reference that is not finite agrees with nothing.
    return "" if gap <= tolerance else f"{what} is off by {gap:.2g}, more than {tolerance:g}"


def most_changes(rows: int, changed: int, images: int) -> int:
    """Of so many rows, to how many an engine in int8 may give another class than the net.

    More would come with a chance of at most ``INT8_CHANCE`` where the share of such images is
    the largest that is in keeping with what was found when it was judged: the upper end of its
    exact 95 % interval (Clopper and Pearson).

    Args:
        rows: that are compared now.
        changed: images to which it gave another class when it was judged.
        images: that it was judged on; 0: nothing is known, and anything is allowed.

    >>> most_changes(128, 0, 1000), most_changes(128, 20, 1000), most_changes(1, 3, 500)
    (5, 13, 1)
    """
    from scipy.stats import beta, binom  # noqa: PLC0415 - takes a second, for few

    if changed >= images:
        return rows
    share = float(beta.ppf(0.975, changed + 1, images - changed))
    return int(binom.isf(INT8_CHANCE, rows, share))


def _softmax(logits_NK: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    shifted = np.exp(logits_NK.astype(np.float64) - logits_NK.max(axis=1, keepdims=True))
    found: npt.NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return found
