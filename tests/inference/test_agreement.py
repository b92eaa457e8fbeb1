import numpy as np
import pytest

from reslab.inference.agreement import (
    BF16_TOLERANCE,
    FP32_TOLERANCE,
    INT8_CHANCE,
    disagreement,
    most_changes,
)

LOGITS = np.array([[2.0, 1.0, -10.0], [0.0, 0.1, 0.0]], np.float32)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("are_logits", [True, False])
def test_the_same_agrees(precision, are_logits):
    assert disagreement(LOGITS, LOGITS, precision=precision, are_logits=are_logits) == ""


@pytest.mark.parametrize(("times", "agrees"), [(0.9, True), (1.2, False), (-1.2, False)])
def test_in_fp32_by_the_largest_output(times, agrees):
    found = LOGITS.copy()
    found[1, 0] += times * FP32_TOLERANCE * 10
    assert (disagreement(LOGITS, found, precision="fp32") == "") is agrees


def test_in_bf16_another_class_is_too_much_however_near():
    found = LOGITS.copy()
    found[1] = [0.1, 0.0, 0.0]
    assert "1 of 2 images another class" in disagreement(LOGITS, found, precision="bf16")
    # Where there are no classes, there is none to change.
    assert disagreement(LOGITS, found, precision="bf16", are_logits=False) == ""


@pytest.mark.parametrize(("times", "agrees"), [(0.9, True), (1.1, False)])
def test_in_bf16_by_probability(times, agrees):
    # Of two classes, p = 1 / (1 + exp(-gap)).
    p = 0.7 + times * BF16_TOLERANCE
    reference = np.array([[np.log(0.7 / 0.3), 0.0]], np.float32)
    found = np.array([[np.log(p / (1 - p)), 0.0]], np.float32)
    text = disagreement(reference, found, precision="bf16")
    assert (text == "") is agrees
    # A shift of all logits changes no probability.
    assert disagreement(reference, found + 5, precision="bf16") == text or not agrees


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_agrees_with_nothing(wrong):
    found = LOGITS.copy()
    found[0, 0] = wrong
    assert "not all finite" in disagreement(LOGITS, found, precision="fp32")
    assert disagreement(found, LOGITS, precision="fp32") != ""


def test_other_shapes_are_told():
    assert "(2, 2) instead of (2, 3)" in disagreement(LOGITS, LOGITS[:, :2], precision="fp32")


def test_zeros_agree_with_zeros_alone():
    zeros = np.zeros((2, 3), np.float32)
    assert disagreement(zeros, zeros, precision="fp32") == ""
    assert disagreement(zeros, zeros + 1e-6, precision="fp32") != ""


@pytest.mark.parametrize(("rows", "changed", "images"), [(128, 0, 1000), (128, 3, 300), (8, 1, 60)])
def test_in_int8_more_changes_than_allowed_would_be_a_rare_chance(rows, changed, images):
    most = most_changes(rows, changed, images)
    # The largest share with which so few changes are still found once in 40 times, by bisection.
    low, high = changed / images, 1.0
    for _ in range(60):
        share = (low + high) / 2
        found = cumulated(images, share, changed)
        low, high = (share, high) if found > 0.025 else (low, share)
    assert 1 - cumulated(rows, low, most) <= INT8_CHANCE < 1 - cumulated(rows, low, most - 1)


def cumulated(n, share, most):
    """The chance of at most so many of n, term by term."""
    term, total = (1 - share) ** n, 0.0
    for k in range(most + 1):
        total += term
        term *= (n - k) / (k + 1) * share / (1 - share)
    return total


def test_in_int8_nothing_is_known_of_what_was_not_judged():
    assert most_changes(128, 0, 0) == most_changes(128, 5, 5) == 128


def test_in_int8_classes_may_change_as_they_did_and_logits_at_all():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(128, 3)).astype(np.float32)
    found = 3 * reference
    most = most_changes(128, 2, 400)
    for row in range(most):
        found[row] = np.roll(found[row], 1)
    judged = {"precision": "int8", "expected": (2, 400)}
    assert disagreement(reference, found, **judged) == ""
    found[most] = np.roll(found[most], 1)
    text = disagreement(reference, found, **judged)
    assert f"{most + 1} of 128 images another class, where it gave 2 of 400" in text
    assert "not all finite" in disagreement(reference, found * np.nan, **judged)
