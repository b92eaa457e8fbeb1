import numpy as np
import pytest

from reslab.evaluation.calibration import to_probabilities
from reslab.evaluation.metrics import compute_metrics
from reslab.evaluation.reliability import measure_reliability, surest
from tests.evaluation.honest import honest

# Highest probabilities 0.95 twice (one right), 0.85 right, 0.6 wrong.
ROWS_42 = np.array([[0.95, 0.05], [0.05, 0.95], [0.85, 0.15], [0.4, 0.6]])
LABELS_4 = np.array([0, 0, 0, 0])


def test_the_error_is_the_weighed_gap_of_each_bin():
    found = measure_reliability(ROWS_42, LABELS_4, bins=10)
    # Bins end at 0.6 (which belongs to it), 0.9 and 1: |0 - 0.6|, |1 - 0.85|, 2 |0.5 - 0.95|.
    assert found.counts == (0, 0, 0, 0, 0, 1, 0, 0, 1, 2)
    assert found.right == (0, 0, 0, 0, 0, 0, 0, 0, 1, 1)
    assert found.ece == pytest.approx((0.6 + 0.15 + 2 * 0.45) / 4)
    assert found.nll == pytest.approx(-np.log([0.95, 0.05, 0.85, 0.4]).mean())


def test_a_bin_holds_its_upper_end():
    rows = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    assert measure_reliability(rows, np.zeros(3, np.int64), bins=4).counts == (0, 1, 1, 1)


def test_one_bin_compares_the_means():
    found = measure_reliability(ROWS_42, LABELS_4, bins=1)
    assert found.ece == pytest.approx(abs(2 / 4 - (0.95 + 0.95 + 0.85 + 0.6) / 4))


def test_gaps_of_a_bin_cancel_and_those_of_two_do_not():
    sure_then_right = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert measure_reliability(sure_then_right, np.array([0, 1])).ece == 0
    apart = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert measure_reliability(apart, np.array([1, 0])).ece == pytest.approx((1 + 0.5) / 2)


def test_a_net_that_is_always_sure_and_right_has_no_error():
    found = measure_reliability(np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 2, 2]))
    assert (found.ece, found.nll, found.counts[-1]) == (0, 0, 4)


@pytest.mark.parametrize("k", [2, 100])
def test_an_honest_net_has_little_error_and_one_that_boasts_has_much(k):
    logits_NK, labels_N = honest(20_000, k)
    assert measure_reliability(to_probabilities(logits_NK), labels_N).ece < 0.02
    assert measure_reliability(to_probabilities(3 * logits_NK), labels_N).ece > 0.07


def test_the_loss_is_that_of_the_metrics():
    logits_NK, labels_N = honest(300, 5)
    logits_NK = logits_NK.astype(np.float32)
    metrics = compute_metrics(logits_NK, labels_N, "abcde")
    found = measure_reliability(to_probabilities(logits_NK), labels_N)
    assert found.nll == pytest.approx(metrics.loss, rel=1e-12)
    assert sum(found.right) / sum(found.counts) == metrics.top1


def test_a_probability_that_underflows_leaves_a_loss_that_is_a_number():
    found = measure_reliability(to_probabilities(np.array([[0.0, 5000.0]])), np.array([0]))
    assert 700 < found.nll < 720


def test_the_surest_class_and_whether_it_is_right():
    confidence_N, right_N = surest(ROWS_42, LABELS_4)
    assert confidence_N.tolist() == [0.95, 0.95, 0.85, 0.6]
    assert right_N.tolist() == [True, False, True, False]
