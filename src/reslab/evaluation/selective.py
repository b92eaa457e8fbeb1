"""Answering only where the net is sure: a threshold on its highest probability, and what it costs.

This is selective classification by softmax response, as Geifman and El-Yaniv 2017
(arXiv 1705.08500) study it. An image is accepted where its highest probability reaches the
threshold; of the others the answer is "don't know".

Shape suffix: ``N`` images.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from reslab.errors import UserError
from reslab.evaluation.metrics import Interval, wilson_interval


@dataclass(frozen=True)
class Target:
    """What a threshold is chosen for.

    Attributes:
        kind: ``accuracy`` of the accepted images, or ``coverage``, their share of all.
        share: what it should be, above 0 and at most 1.
    """

    kind: Literal["accuracy", "coverage"]
    share: float

    def __post_init__(self) -> None:
        if self.kind not in ("accuracy", "coverage") or not 0 < self.share <= 1:
            raise ValueError(f"no target: {self.kind!r} {self.share!r}")


@dataclass(frozen=True)
class Accepted:
    """How many of ``n`` images a threshold accepts, and how many of those are right."""

    n: int
    accepted: int
    right: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.accepted <= self.n:
            raise ValueError(f"{self.right} right of {self.accepted} accepted of {self.n}")

    @property
    def coverage(self) -> float:
        """The share that is accepted; 0 where there are no images."""
        return self.accepted / self.n if self.n else 0.0

    @property
    def top1(self) -> float | None:
        """Accuracy of the accepted; None where none is."""
        return self.right / self.accepted if self.accepted else None

    @property
    def interval(self) -> Interval:
        """The 95 % Wilson interval of ``top1``."""
        return wilson_interval(self.right, self.accepted)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Coverage and accuracy at every threshold that makes a difference, the highest first.

    Attributes:
        n: images.
        thresholds: falling, 0 to 1.
        accepted: images at each threshold, rising.
        right: how many of them are right.
    """

    n: int
    thresholds: tuple[float, ...]
    accepted: tuple[int, ...]
    right: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.thresholds) == len(self.accepted) == len(self.right) > 0:
            raise ValueError("the columns of a curve differ in length")
        for accepted, right in zip(self.accepted, self.right, strict=True):
            Accepted(self.n, accepted, right)
        if any(a >= b for a, b in pairwise(self.accepted)):
            raise ValueError("a curve does not rise")

    def at(self, place: int) -> Accepted:
        """What the threshold at a place accepts."""
        return Accepted(self.n, self.accepted[place], self.right[place])

    def thinned(self, most: int, keep: int) -> Curve:
        """At most ``most`` points, at even distances; both ends and the place ``keep`` stay."""
        there = len(self.accepted)
        if there <= most:
            return self
        even = np.linspace(0, there - 1, most - 1).round().astype(int)
        places = sorted({*even.tolist(), keep})
        return Curve(
            n=self.n,
            thresholds=tuple(self.thresholds[place] for place in places),
            accepted=tuple(self.accepted[place] for place in places),
            right=tuple(self.right[place] for place in places),
        )


def accept_curve(confidence_N: npt.NDArray[np.float64], right_N: npt.NDArray[np.bool_]) -> Curve:
    """What is accepted, and right, as the threshold falls.

    Images of equal confidence are accepted together. Each threshold lies in the middle between
    the lowest confidence that it accepts and the highest that it does not, so that the last
    digits of a probability, which differ between machines, decide nothing; the last is 0.

    Args:
        confidence_N: the highest probability of each image, 0 to 1; at least one.
        right_N: whether its class is the right one.
    """
    order_N = np.argsort(-confidence_N, kind="stable")
    falling_N = confidence_N[order_N]
    hits_N = np.cumsum(right_N[order_N])
    (ends_P,) = np.nonzero(np.append(falling_N[1:] != falling_N[:-1], True))
    lowest_P = falling_N[ends_P]
    next_P = np.append(lowest_P[1:], 0.0)
    middle_P = (lowest_P + next_P) / 2
    # Between neighbouring floats there is no middle.
    threshold_P = np.where(middle_P > next_P, middle_P, lowest_P)
    threshold_P[-1] = 0.0
    return Curve(
        n=len(confidence_N),
        thresholds=tuple(threshold_P.tolist()),
        accepted=tuple((ends_P + 1).tolist()),
        right=tuple(hits_N[ends_P].tolist()),
    )


def choose(curve: Curve, target: Target) -> int:
    """The place on the curve that fits a target.

    For an accuracy it is the lowest threshold whose accepted images reach it, for a coverage the
    highest whose accepted images are at least that share.

    Raises:
        UserError: where no threshold reaches the accuracy; the text tells what can be reached.
    """
    places = range(len(curve.accepted))
    if target.kind == "coverage":
        return next(i for i in places if curve.at(i).coverage >= target.share)
    accuracies = [right / n for right, n in zip(curve.right, curve.accepted, strict=True)]
    fitting = [i for i in places if accuracies[i] >= target.share]
    if fitting:
        return fitting[-1]
    best = max(places, key=lambda i: (accuracies[i], i))
    raise UserError(
        "no threshold makes the accepted validation images that accurate",
        expected=f"an accuracy of at most {accuracies[best]:.4f}, which the surest "
        f"{curve.accepted[best]:,} of {curve.n:,} images reach",
        received=f"{target.share:g}",
        remedy="ask for less, or for a --coverage",
    )


def accept(
    confidence_N: npt.NDArray[np.float64], right_N: npt.NDArray[np.bool_], threshold: float
) -> Accepted:
    """What a threshold that was chosen before accepts of other images."""
    accepted_N = confidence_N >= threshold
    return Accepted(len(confidence_N), int(accepted_N.sum()), int((accepted_N & right_N).sum()))
