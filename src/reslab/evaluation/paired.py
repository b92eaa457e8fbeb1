"""Is the one really better than the other? Paired differences, over folds or over images."""

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
        interval: of the mean, at 95 %; None where p is.
        p: probability of a mean at least as far from 0 if there is no difference; None where all
            differences are the same but not 0, from which a t-test cannot conclude anything.
    """

    n: int
    mean: float
    sd: float
    interval: tuple[float, float] | None
    p: float | None


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
    if sd == 0 and mean != 0:
        return PairedTest(n=n, mean=mean, sd=sd, interval=None, p=None)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else 1.0
    return PairedTest(n=n, mean=mean, sd=sd, interval=(mean - half, mean + half), p=p)


def paired_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies, first minus second, on the same images.

    The adjusted Wald interval of Bonett and Price (2012, J. Educ. Behav. Stat. 37), which adds an
    image to each of the two kinds that differ: where none does, it is wide all the same if the
    images are few.

    Args:
        only_first: images that the first alone gets right.
        only_second: images that the second alone gets right.
        n: all images, at least one.

    >>> [round(end, 4) for end in paired_interval(0, 0, 100)]
    [-0.0272, 0.0272]
    """
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    difference = first - second
    half = float(stats.norm.ppf(0.975)) * math.sqrt((first + second - difference**2) / (n + 2))
    return max(-1.0, difference - half), min(1.0, difference + half)
