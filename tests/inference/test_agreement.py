import numpy as np
import pytest

from reslab.inference.agreement import BF16_TOLERANCE, FP32_TOLERANCE, disagreement

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
