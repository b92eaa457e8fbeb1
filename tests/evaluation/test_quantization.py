"""What int8 loses: counts by hand, and what no record may hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import log_loss

from reslab.evaluation.paired import paired_interval
from reslab.evaluation.quantization import Loss, measure_loss

# Classes as the net and as the int8 model have them, beside the labels: right and still right,
# right and lost, wrong and won, wrong and still wrong in another way, wrong as before.
FP32, INT8, LABELS = [0, 1, 2, 2, 1], [0, 2, 0, 1, 1], np.array([0, 1, 0, 0, 2])


def logits(classes: list[int]) -> np.ndarray:
    return (2 * np.eye(3, dtype=np.float32))[classes]


def found() -> Loss:
    return measure_loss(logits(FP32), logits(INT8), LABELS)


def test_counts_by_hand() -> None:
    loss = found()
    assert (loss.n, loss.right_fp32, loss.only_fp32, loss.only_int8, loss.changed) == (
        5,
        2,
        1,
        1,
        3,
    )
    assert (loss.top1_fp32, loss.top1_int8, loss.drop) == (0.4, 0.4, 0.0)
    assert loss.interval == paired_interval(1, 1, 5)


def test_a_fall_is_above_zero() -> None:
    loss = measure_loss(logits([0, 1, 0, 0, 2]), logits(FP32), LABELS)
    assert (loss.drop, loss.top1_fp32, loss.top1_int8) == (0.6, 1.0, 0.4)
    back = measure_loss(logits(FP32), logits([0, 1, 0, 0, 2]), LABELS)
    assert back.drop == -0.6


def test_cross_entropy_is_scikit_learns() -> None:
    probabilities = np.exp(logits(INT8)) / np.exp(logits(INT8)).sum(axis=1, keepdims=True)
    assert found().nll_int8 == pytest.approx(log_loss(LABELS, probabilities, labels=[0, 1, 2]))


def test_json_and_back() -> None:
    document = json.loads(json.dumps(found().to_json()))
    assert Loss.from_json(document) == found()
    assert document["drop_interval"] == list(found().interval)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 0),
        ("n", 2),
        ("right_fp32", 6),
        ("only_fp32", 3),
        ("only_int8", 4),
        ("only_int8", -1),
        ("changed", 1),
        ("changed", 6),
        ("nll_fp32", float("nan")),
        ("nll_int8", "much"),
    ],
)
def test_counts_that_do_not_fit_together_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError):
        Loss.from_json({**found().to_json(), name: value})


def test_logits_that_are_no_numbers() -> None:
    with pytest.raises(ValueError):
        measure_loss(logits(FP32), logits(INT8) * np.nan, LABELS)
