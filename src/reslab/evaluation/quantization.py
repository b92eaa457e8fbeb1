"""What a net loses by being quantised, on the same images.

Shape suffixes: ``N`` images, ``K`` classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from reslab.evaluation.paired import paired_interval

Labels = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """An int8 model beside its net, on the images that it was judged on.

    Attributes:
        n: images.
        right_fp32: of them, those that the net gets right.
        only_fp32: those that the net alone gets right.
        only_int8: those that the int8 model alone gets right.
        changed: those to which it gives another class, right or wrong.
        nll_fp32, nll_int8: cross-entropy, in nats.
    """

    n: int
    right_fp32: int
    only_fp32: int
    only_int8: int
    changed: int
    nll_fp32: float
    nll_int8: float

    def __post_init__(self) -> None:
        counts = (self.only_fp32, self.only_int8)
        fit = (
            min(counts) >= 0
            and self.only_fp32 <= self.right_fp32 <= self.n - self.only_int8
            and sum(counts) <= self.changed <= self.n
        )
        if self.n < 1 or not fit or not math.isfinite(self.nll_fp32 + self.nll_int8):
            raise ValueError("the counts do not fit together")

    @property
    def top1_fp32(self) -> float:
        """Accuracy of the net."""
        return self.right_fp32 / self.n

    @property
    def top1_int8(self) -> float:
        """Accuracy of the int8 model."""
        return (self.right_fp32 - self.only_fp32 + self.only_int8) / self.n

    @property
    def drop(self) -> float:
        """By how much the accuracy falls, 0.01 for a percentage point; below 0 where it rises."""
        return (self.only_fp32 - self.only_int8) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of ``drop``, of pairs."""
        return paired_interval(self.only_fp32, self.only_int8, self.n)

    def to_json(self) -> dict[str, Any]:
        """As int8/record.json and the command line have it."""
        return {
            "n": self.n,
            "top1_fp32": self.top1_fp32,
            "top1_int8": self.top1_int8,
            "drop": self.drop,
            "drop_interval": list(self.interval),
            "right_fp32": self.right_fp32,
            "only_fp32": self.only_fp32,
            "only_int8": self.only_int8,
            "changed": self.changed,
            "nll_fp32": self.nll_fp32,
            "nll_int8": self.nll_int8,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Loss:
        """The inverse of ``to_json``.

        Raises:
            KeyError, TypeError, ValueError: where it is not what ``to_json`` gives.
        """
        counts = {
            name: int(document[name])
            for name in ("n", "right_fp32", "only_fp32", "only_int8", "changed")
        }
        return cls(
            **counts,
            nll_fp32=float(document["nll_fp32"]),
            nll_int8=float(document["nll_int8"]),
        )


def measure_loss(fp32_NK: Logits, int8_NK: Logits, labels_N: Labels) -> Loss:
    """Compare an int8 model's logits with its net's.

    Args:
        fp32_NK: finite logits of the net, of one image at least.
        int8_NK: those of the int8 model, of the same images.
        labels_N: 0 to K - 1.

    Raises:
        ValueError: where logits are not finite.
    """
    first_N, second_N = fp32_NK.argmax(axis=1), int8_NK.argmax(axis=1)
    right_N, still_N = first_N == labels_N, second_N == labels_N

    def nll(logits_NK: Logits) -> float:
        rows = np.arange(len(labels_N))
        return -float(log_softmax(logits_NK.astype(np.float64), axis=1)[rows, labels_N].mean())

    return Loss(
        n=len(labels_N),
        right_fp32=int(right_N.sum()),
        only_fp32=int((right_N & ~still_N).sum()),
        only_int8=int((still_N & ~right_N).sum()),
        changed=int((first_N != second_N).sum()),
        nll_fp32=nll(fp32_NK),
        nll_int8=nll(int8_NK),
    )
