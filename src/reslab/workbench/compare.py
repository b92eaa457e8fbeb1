"""Two cross-validations on the same folds, compared fold by fold."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reslab.errors import UserError
from reslab.evaluation.paired import PairedTest, corrected_t_test
from reslab.spec.text import flatten
from reslab.workbench.folds import CrossValidation

# Differences are called shown where p is below it, as in most of the literature.
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two cross-validations say of each other.

    Attributes:
        metric: what was compared, as summary.json has it.
        scores: of each fold, of the first and of the second.
        test: of the first minus the second.
        settings: in which they differ, as (first, second).
    """

    metric: str
    scores: tuple[tuple[float, float], ...]
    test: PairedTest
    settings: Mapping[str, tuple[Any, Any]]

    @property
    def shown(self) -> bool:
        """Whether a difference was shown."""
        return self.test.p is not None and self.test.p < LEVEL


def compare_folds(
    first: CrossValidation, second: CrossValidation, *, metric: str = "top1"
) -> Comparison:
    """Pair the folds of two cross-validations.

    Args:
        first: the one.
        second: the other, on the same folds of the same images.
        metric: ``top1``, ``macro_f1`` or ``loss``, of the best weights.

    Raises:
        UserError: where one has not ended, or their folds are not the same.
    """
    a, b = first.summary, second.summary
    for key, what in (
        ("fingerprint", "training images"),
        ("folds", "number of folds"),
        ("split_seed", "data.split_seed"),
    ):
        if a[key] != b[key]:
            raise UserError(
                f"{first.path} and {second.path} cannot be compared fold by fold: their {what} "
                "differ",
                expected=str(a[key])[:12],
                received=str(b[key])[:12],
                remedy="cross-validate both on the same data, with the same --folds",
            )
    scores = tuple((x[metric], y[metric]) for x, y in zip(a["scores"], b["scores"], strict=True))
    # Of the two the larger, so that a comparison says the same both ways round.
    shares = [
        max(s["n"] / s["train_images"] for s in pair)
        for pair in zip(a["scores"], b["scores"], strict=True)
    ]
    left, right = (
        flatten(found.spec.model_dump(mode="json", exclude={"data": {"root"}}))
        for found in (first, second)
    )
    return Comparison(
        metric=metric,
        scores=scores,
        test=corrected_t_test([x - y for x, y in scores], statistics.fmean(shares)),
        settings={
            name: (left.get(name), right.get(name))
            for name in sorted(left.keys() | right.keys())
            if left.get(name) != right.get(name)
        },
    )
