"""How far a net's probabilities can be believed: how often it is right where it is how sure.

The expected calibration error (ECE) is that of Guo et al. 2017 (arXiv 1706.04599), over bins of
equal width of the highest probability.

Shape suffixes: ``N`` images, ``K`` classes, ``B`` bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reslab.evaluation.selective import Accepted

BINS = 15

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Images by their highest probability, in bins of equal width over 0 to 1.

    Attributes:
        counts: images in each bin, the lowest bin first; a bin holds its upper end.
        right: how many of them are right.
        confidence: their mean highest probability; the bin's middle where it is empty.
        nll: mean negative log probability of the right class, in nats.
    """

    counts: tuple[int, ...]
    right: tuple[int, ...]
    confidence: tuple[float, ...]
    nll: float

    def __post_init__(self) -> None:
        if not len(self.counts) == len(self.right) == len(self.confidence) > 0:
            raise ValueError("the columns of the bins differ in length")
        for count, right in zip(self.counts, self.right, strict=True):
            Accepted(count, count, right)
        if not math.isfinite(self.nll) or not all(0 <= c <= 1 for c in self.confidence):
            raise ValueError("a probability or loss is out of range")

    @property
    def ece(self) -> float:
        """Mean distance between confidence and accuracy of a bin, weighed by its images; 0 to 1.

        With few images in a bin it is above 0 even for a net that is calibrated.
        """
        gaps = (
            abs(right - count * confidence)
            for count, right, confidence in zip(
                self.counts, self.right, self.confidence, strict=True
            )
        )
        return math.fsum(gaps) / max(sum(self.counts), 1)


def measure_reliability(
    probabilities_NK: npt.NDArray[np.float64], labels_N: Labels, bins: int = BINS
) -> Reliability:
    """Compare how sure a net is with how often it is right.

    Args:
        probabilities_NK: rows adding to 1.
        labels_N: 0 to K - 1.
        bins: how many, of equal width.
    """
    confidence_N, right_N = surest(probabilities_NK, labels_N)
    edges = np.linspace(0, 1, bins + 1)
    bin_N = np.searchsorted(edges[1:-1], confidence_N, side="left")
    count_B = np.bincount(bin_N, minlength=bins)
    sum_B = np.bincount(bin_N, weights=confidence_N, minlength=bins)
    middle_B = (edges[1:] + edges[:-1]) / 2
    own_N = probabilities_NK[np.arange(len(labels_N)), labels_N]
    return Reliability(
        counts=tuple(count_B.tolist()),
        right=tuple(np.bincount(bin_N[right_N], minlength=bins).tolist()),
        # Not above 1, where a sum of ones was rounded up.
        confidence=tuple(
            np.where(count_B, np.minimum(sum_B / np.maximum(count_B, 1), 1), middle_B).tolist()
        ),
        # A probability that underflowed to 0 is the smallest that there is.
        nll=float(-np.log(np.maximum(own_N, np.finfo(np.float64).tiny)).mean()),
    )


def surest(
    probabilities_NK: npt.NDArray[np.float64], labels_N: Labels
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The highest probability of each image, and whether it is of the right class."""
    return probabilities_NK.max(axis=1), probabilities_NK.argmax(axis=1) == labels_N
