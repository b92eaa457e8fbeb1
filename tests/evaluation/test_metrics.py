import json
import math

import numpy as np
import pytest

from reslab.evaluation.metrics import Metrics, compute_metrics, wilson_interval

# Ten images of classes a, b, c (d never occurs and is never predicted), by hand:
#            predicted  a  b  c  d
#            true a     3  1  0  0
#            true b     1  2  1  0
#            true c     0  0  2  0
TRUE = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
PREDICTED = [0, 0, 0, 1, 0, 1, 1, 2, 2, 2]
CLASSES = ("a", "b", "c", "d")


def logits(predicted, k, sure=4.0):
    return (np.eye(k, dtype=np.float32) * sure)[np.array(predicted)]


@pytest.fixture(name="metrics")
def by_hand():
    return compute_metrics(logits(PREDICTED, 4), np.array(TRUE), CLASSES)


def wilson(hits, n, z=1.959963984540054):
    """The textbook's closed form, independent of SciPy's."""
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half, middle + half)


def test_accuracy(metrics):
    assert metrics.n == 10
    assert metrics.top1 == 0.7
    assert metrics.top1_interval == pytest.approx(wilson(7, 10))


def test_confusion_has_true_rows_and_predicted_columns(metrics):
    expected = [[3, 1, 0, 0], [1, 2, 1, 0], [0, 0, 2, 0], [0, 0, 0, 0]]
    assert metrics.confusion_KK.tolist() == expected
    assert metrics.confusion_KK.dtype == np.int64


def test_precision_recall_and_f1(metrics):
    a, b, c, _ = metrics.per_class
    assert (a.name, a.precision, a.recall, a.support) == ("a", 3 / 4, 3 / 4, 4)
    assert (b.precision, b.recall, b.support) == (pytest.approx(2 / 3), 2 / 4, 4)
    assert (c.precision, c.recall, c.support) == (pytest.approx(2 / 3), 1.0, 2)
    assert a.f1 == pytest.approx(3 / 4)
    assert b.f1 == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))
    assert c.f1 == pytest.approx(4 / 5)


def test_intervals_of_classes_count_what_was_called_so_and_what_is_so(metrics):
    c = metrics.per_class[2]
    assert c.precision_interval == pytest.approx(wilson(2, 3))
    assert c.recall_interval == pytest.approx(wilson(2, 2))


def test_a_class_that_never_occurs_has_zeros_and_knows_nothing(metrics):
    d = metrics.per_class[3]
    assert (d.precision, d.recall, d.f1, d.support) == (0.0, 0.0, 0.0, 0)
    assert d.recall_interval == d.precision_interval == (0.0, 1.0)


def test_a_class_that_occurs_but_is_never_predicted():
    metrics = compute_metrics(logits([0, 0], 2), np.array([0, 1]), ("a", "b"))
    b = metrics.per_class[1]
    assert (b.precision, b.recall, b.support) == (0.0, 0.0, 1)
    assert b.precision_interval == (0.0, 1.0)


def test_loss_is_the_mean_cross_entropy_in_nats(metrics):
    right = math.log(math.exp(4) + 3) - 4
    wrong = math.log(math.exp(4) + 3)
    assert metrics.loss == pytest.approx((7 * right + 3 * wrong) / 10)


def test_loss_stays_finite_for_large_logits():
    metrics = compute_metrics(logits([0], 2, sure=1e4), np.array([1]), ("a", "b"))
    assert metrics.loss == pytest.approx(1e4)


@pytest.mark.parametrize("k", [2, 4, 5])
def test_top5_of_five_classes_or_fewer_is_certain(k):
    metrics = compute_metrics(logits([0, 1], k), np.array([1, 1]), [str(i) for i in range(k)])
    assert metrics.top5 == 1.0
    assert metrics.top1 == 0.5


def test_top5_of_more_classes_counts_the_five_largest():
    descending = np.arange(8, 0, -1, dtype=np.float32)
    logits_NK = np.stack([descending] * 8)
    metrics = compute_metrics(logits_NK, np.arange(8), [str(i) for i in range(8)])
    assert metrics.top5 == 5 / 8
    assert metrics.top5_interval == pytest.approx(wilson(5, 8))


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (1, 2), (81, 263), (9_950, 10_000)])
def test_wilson_interval_is_the_textbooks(hits, n):
    low, high = wilson_interval(hits, n)
    assert (low, high) == pytest.approx(wilson(hits, n), abs=1e-12)
    assert 0 <= low <= hits / n <= high <= 1


def test_wilson_interval_of_newcombes_example():
    # Newcombe (1998), table I, method 3: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_wilson_interval_of_nothing_is_everything():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_more_confidence_is_wider():
    narrow, wide = wilson_interval(7, 10), wilson_interval(7, 10, confidence=0.99)
    assert wide[0] < narrow[0]
    assert narrow[1] < wide[1]


def test_json_has_the_fixed_keys_and_only_plain_values(metrics):
    told = json.loads(json.dumps(metrics.to_json()))
    assert {"n", "top1", "top1_interval", "top5", "loss", "per_class"} <= told.keys()
    assert {"class", "precision", "recall", "f1", "support"} <= told["per_class"][0].keys()
    assert told["confusion"][0] == [3, 1, 0, 0]
    assert len(told["top1_interval"]) == 2


def test_metrics_come_back_from_json(metrics):
    back = Metrics.from_json(json.loads(json.dumps(metrics.to_json())))
    assert back.per_class == metrics.per_class
    assert (back.confusion_KK == metrics.confusion_KK).all()
    assert back.to_json() == metrics.to_json()
