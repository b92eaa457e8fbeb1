"""The corrected t-test, by hand and by its plain form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from reslab.evaluation.paired import corrected_t_test, paired_interval


def test_without_a_correction_it_is_the_paired_t_test() -> None:
    differences = [0.01, 0.03, -0.01, 0.02, 0.02]
    found = corrected_t_test(differences, 0.0)
    assert found.interval is not None
    expected = stats.ttest_1samp(differences, 0.0)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx((interval.low, interval.high))
    assert (found.n, found.mean) == (5, pytest.approx(0.014))


def test_by_hand() -> None:
    # Mean 2, variance 1 (of 1, 2, 3): t = 2 / sqrt((1/3 + 1/4) * 1), two degrees of freedom.
    found = corrected_t_test([1.0, 2.0, 3.0], 0.25)
    t = 2 / math.sqrt(7 / 12)
    # Student's distribution with two degrees of freedom has a closed form.
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert found.sd == 1.0


def test_differences_without_spread_say_nothing_unless_there_are_none() -> None:
    none = corrected_t_test([0.0] * 5, 0.25)
    assert (none.p, none.interval) == (1.0, (0.0, 0.0))
    same = corrected_t_test([0.5] * 5, 0.25)
    assert (same.mean, same.p, same.interval) == (0.5, None, None)


def test_the_correction_keeps_its_level_where_the_plain_test_does_not() -> None:
    """Differences that share a common part, as those of overlapping training sets do."""
    rng = np.random.default_rng(0)
    found = {0.0: 0, 0.25: 0}
    for _ in range(2000):
        # Correlation 0.2 = (1/4) / (1 + 1/4), what Nadeau and Bengio assume for five folds.
        shared, own = rng.normal(size=1), rng.normal(size=5)
        differences = (math.sqrt(0.2) * shared + math.sqrt(0.8) * own).tolist()
        for share in found:
            p = corrected_t_test(differences, share).p
            found[share] += p is not None and p < 0.05
    assert found[0.25] / 2000 < 0.06 < 0.1 < found[0.0] / 2000


def test_the_interval_of_paired_accuracies_by_hand() -> None:
    # Of 98 images 8 are right by the first alone and 3 by the second: p = 9/100 and 4/100.
    low, high = paired_interval(8, 3, 98)
    half = 1.959963985 * math.sqrt((0.13 - 0.05**2) / 100)
    assert (low, high) == pytest.approx((0.05 - half, 0.05 + half))
    assert paired_interval(3, 8, 98) == pytest.approx((-high, -low))
    assert paired_interval(1, 0, 1)[1] <= 1


@pytest.mark.parametrize(("n", "first", "second"), [(100, 0.02, 0.02), (300, 0.03, 0.01)])
def test_it_holds_the_difference_about_as_often_as_it_promises(n, first, second) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n, [first, second, 1 - first - second], size=2000)
    intervals = [paired_interval(int(a), int(b), n) for a, b, _ in drawn]
    held = np.mean([low <= first - second <= high for low, high in intervals])
    assert 0.94 < held < 0.999
