"""Accuracy with intervals, and precision, recall and F1 of each class.

Counting is scikit-learn's, intervals are SciPy's; here they are put into one frozen value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

Interval = tuple[float, float]


def wilson_interval(hits: int, n: int, confidence: float = 0.95) -> Interval:
    """The interval of a proportion hits / n after Wilson (1927), within 0 and 1.

    Chosen over the normal one because it keeps its level near 0 and 1, where accuracies lie.
    """
    if n == 0:
        return (0.0, 1.0)
    interval = binomtest(hits, n).proportion_ci(confidence, method="wilson")
    return (float(interval.low), float(interval.high))


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """How well one class is told from the others; all but ``support`` are fractions."""

    name: str
    precision: float
    precision_interval: Interval
    recall: float
    recall_interval: Interval
    f1: float
    support: int

    def to_json(self) -> dict[str, Any]:
        """As the ``per_class`` key of the command line's JSON has it."""
        return {
            "class": self.name,
            "precision": self.precision,
            "precision_interval": list(self.precision_interval),
            "recall": self.recall,
            "recall_interval": list(self.recall_interval),
            "f1": self.f1,
            "support": self.support,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ClassMetrics:
        """The inverse of ``to_json``."""
        return cls(
            name=document["class"],
            precision=document["precision"],
            precision_interval=tuple(document["precision_interval"]),
            recall=document["recall"],
            recall_interval=tuple(document["recall_interval"]),
            f1=document["f1"],
            support=document["support"],
        )


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What a net reached on one split.

    Attributes:
        n: images.
        loss: mean cross-entropy in nats, without label smoothing.
        top1: fraction whose most probable class is right, with its 95 % Wilson interval.
        top5: fraction whose right class is among the five most probable (all, if fewer).
        per_class: one entry a class, in the order of the labels.
        confusion_KK: counts; row: true class, column: predicted class.
    """

    n: int
    loss: float
    top1: float
    top1_interval: Interval
    top5: float
    top5_interval: Interval
    per_class: tuple[ClassMetrics, ...]
    confusion_KK: npt.NDArray[np.int64]

    @property
    def macro_f1(self) -> float:
        """Mean of the F1 of those classes that have images: each counts the same, however few."""
        return float(np.mean([c.f1 for c in self.per_class if c.support]))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists, ready for ``json.dump``."""
        return {
            "n": self.n,
            "loss": self.loss,
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            "top5": self.top5,
            "top5_interval": list(self.top5_interval),
            "macro_f1": self.macro_f1,
            "per_class": [c.to_json() for c in self.per_class],
            "confusion": self.confusion_KK.tolist(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Metrics:
        """The inverse of ``to_json``; other keys are left out of account."""
        return cls(
            n=document["n"],
            loss=document["loss"],
            top1=document["top1"],
            top1_interval=tuple(document["top1_interval"]),
            top5=document["top5"],
            top5_interval=tuple(document["top5_interval"]),
            per_class=tuple(ClassMetrics.from_json(c) for c in document["per_class"]),
            confusion_KK=np.array(document["confusion"], dtype=np.int64),
        )


def compute_metrics(
    logits_NK: npt.NDArray[np.float32], labels_N: npt.NDArray[np.int64], classes: Sequence[str]
) -> Metrics:
    """Score logits (N, K) against labels (N,) in 0 … K - 1.

    A class that was never predicted has precision 0 (scikit-learn's ``zero_division=0``).
    """
    n, k = logits_NK.shape
    log_probabilities_NK = log_softmax(logits_NK.astype(np.float64), axis=1)
    predicted_N = logits_NK.argmax(axis=1)
    top5_N5 = np.argpartition(-logits_NK, min(5, k) - 1, axis=1)[:, :5]
    hits1 = int((predicted_N == labels_N).sum())
    hits5 = int((top5_N5 == labels_N[:, None]).any(axis=1).sum())
    confusion_KK = confusion_matrix(labels_N, predicted_N, labels=np.arange(k))
    precision_K, recall_K, f1_K, support_K = precision_recall_fscore_support(
        labels_N, predicted_N, labels=np.arange(k), zero_division=0
    )
    per_class = tuple(
        ClassMetrics(
            name=name,
            precision=float(precision_K[i]),
            precision_interval=wilson_interval(
                int(confusion_KK[i, i]), int(confusion_KK[:, i].sum())
            ),
            recall=float(recall_K[i]),
            recall_interval=wilson_interval(int(confusion_KK[i, i]), int(support_K[i])),
            f1=float(f1_K[i]),
            support=int(support_K[i]),
        )
        for i, name in enumerate(classes)
    )
    return Metrics(
        n=n,
        loss=float(-log_probabilities_NK[np.arange(n), labels_N].mean()),
        top1=hits1 / n,
        top1_interval=wilson_interval(hits1, n),
        top5=hits5 / n,
        top5_interval=wilson_interval(hits5, n),
        per_class=per_class,
        confusion_KK=confusion_KK.astype(np.int64),
    )
