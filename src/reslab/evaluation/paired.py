"""Is the one really better than the other? Paired differences over the folds of one data set."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """What differences over folds say.

    Attributes:
        n: folds.
        mean: of the differences.
        sd: their standard deviation.
        interval: of the mean, at 95 %.
        p: probability of a mean at least as far from 0 if there is no difference.
    """

    n: int
    mean: float
    sd: float
    interval: tuple[float, float]
    p: float


def corrected_t_test(differences: Sequence[float], test_share: float) -> PairedTest:
    """The corrected resampled t-test of Nadeau and Bengio (2003, Machine Learning 52).

    Trainings on folds share most of their images, so that their differences vary less than
    those of independent ones would: a plain t-test finds differences that are not there. The
    variance of the mean is taken as (1/n + test_share) times that of the differences.

    Args:
        differences: one for each fold, at least two.
        test_share: images that score over images that are trained on, in a fold.
    """
    n = len(differences)
    mean, sd = statistics.fmean(differences), statistics.stdev(differences)
    error = sd * math.sqrt(1 / n + test_share)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    # Where all differences are equal there is nothing to divide by.
    without_spread = 1.0 if mean == 0 else 0.0
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else without_spread
    return PairedTest(n=n, mean=mean, sd=sd, interval=(mean - half, mean + half), p=p)
