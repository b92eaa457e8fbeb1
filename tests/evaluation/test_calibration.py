import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from reslab.evaluation.calibration import (
    COLDEST,
    HOTTEST,
    Calibration,
    calibrate,
    cross_fit,
    fit_temperature,
    judge,
    to_probabilities,
)
from reslab.evaluation.reliability import surest
from reslab.evaluation.selective import Accepted, Target
from tests.evaluation.honest import honest


def loss(logits_NK, labels_N, temperature):
    log_NK = log_softmax(logits_NK.astype(np.float64) / temperature, axis=1)
    return -log_NK[np.arange(len(labels_N)), labels_N].mean()


# --- temperature ---------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5, 6.0])
def test_a_known_temperature_is_found(factor):
    logits_NK, labels_N = honest(20_000, 10)
    found = fit_temperature((factor * logits_NK).astype(np.float32), labels_N)
    assert found == pytest.approx(factor, rel=0.03)


def test_no_other_temperature_has_less_loss():
    logits_NK, labels_N = honest(400, 7, seed=3)
    logits_NK *= 1.9
    best = fit_temperature(logits_NK, labels_N)
    grid = best * np.geomspace(0.5, 2, 201)
    losses = [loss(logits_NK, labels_N, t) for t in grid]
    assert int(np.argmin(losses)) == 100
    assert loss(logits_NK, labels_N, best) < loss(logits_NK, labels_N, 1.0)


def test_scaling_logits_scales_the_temperature():
    logits_NK, labels_N = honest(500, 4, seed=1)
    one, other = (fit_temperature(f * logits_NK, labels_N) for f in (1, 3))
    assert other == pytest.approx(3 * one, rel=1e-6)


def test_where_everything_is_right_nothing_can_be_learned():
    labels_N = np.arange(6) % 3
    assert fit_temperature(0.1 * np.eye(3)[labels_N], labels_N) == 1
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64)) == 1


def test_the_temperature_keeps_within_its_bounds():
    labels_N = np.arange(600) % 3
    assert fit_temperature(50 * np.eye(3)[(labels_N + 1) % 3], labels_N) == HOTTEST
    almost_NK = 50 * np.eye(3)[labels_N]
    almost_NK[0] = (0.0, 1e-3, 0.0)
    assert fit_temperature(almost_NK * 1e-2, labels_N) == COLDEST


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(COLDEST, HOTTEST), st.integers(2, 12))
def test_the_order_of_the_classes_never_changes(seed, temperature, k):
    logits_NK = np.random.default_rng(seed).normal(0, 4, (20, k)).astype(np.float32)
    plain, scaled = to_probabilities(logits_NK), to_probabilities(logits_NK, temperature)
    np.testing.assert_array_equal(np.argsort(plain, axis=1), np.argsort(scaled, axis=1))
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    surer = scaled.max(axis=1) >= plain.max(axis=1)
    assert surer.all() if temperature <= 1 else not surer.any()


# --- cross-fitting -------------------------------------------------------------------------


def test_the_halves_have_half_of_each_class_and_temperatures_of_their_own():
    labels_N = np.repeat([0, 1, 2], [40, 21, 1])
    rng = np.random.default_rng(0)
    logits_NK = 2 * np.eye(3)[labels_N] + rng.normal(size=(62, 3))
    crossed_NK = cross_fit(logits_NK, labels_N)
    gap_N = logits_NK[:, 0] - logits_NK[:, 1]
    temperature_N = gap_N / np.log(crossed_NK[:, 0] / crossed_NK[:, 1])
    found, half_N = np.unique(temperature_N.round(6), return_inverse=True)
    assert len(found) == 2
    per_class = [np.bincount(half_N[labels_N == k], minlength=2) for k in range(3)]
    assert all(abs(int(a) - int(b)) <= 1 for a, b in per_class)
    # Each half's temperature is that of the other half.
    for half in (0, 1):
        others = half_N != half
        assert fit_temperature(logits_NK[others], labels_N[others]) == pytest.approx(
            found[half], abs=1e-5
        )


def test_the_draw_is_fixed_by_its_seed():
    logits_NK, labels_N = honest(80, 4)
    np.testing.assert_array_equal(cross_fit(logits_NK, labels_N), cross_fit(logits_NK, labels_N))
    assert (cross_fit(logits_NK, labels_N) != cross_fit(logits_NK, labels_N, seed=1)).any()


def test_a_single_image_is_left_as_it_is():
    logits_NK = np.array([[1.0, 2.0]])
    np.testing.assert_array_equal(cross_fit(logits_NK, np.array([0])), to_probabilities(logits_NK))


# --- the whole -----------------------------------------------------------------------------


@pytest.fixture(name="made", scope="module")
def calibrated():
    logits_NK, labels_N = honest(2_000, 5, seed=2)
    boasting_NK = (2.5 * logits_NK).astype(np.float32)
    target = Target("accuracy", 0.9)
    found = calibrate(boasting_NK, labels_N, target, weights="best", weights_sha256="ab")
    return boasting_NK, labels_N, found


def test_scaling_lessens_error_and_loss(made):
    _, _, found = made
    assert found.temperature == pytest.approx(2.5, rel=0.1)
    assert found.after.ece < 0.3 * found.before.ece
    assert found.cross_fitted_ece < 0.3 * found.before.ece
    # On the whole one's own temperature is better than those of the other halves.
    assert found.after.nll < found.cross_fitted_nll < found.before.nll


def test_the_threshold_is_one_of_scaled_probabilities(made):
    logits_NK, labels_N, found = made
    confidence_N, right_N = surest(to_probabilities(logits_NK, found.temperature), labels_N)
    accepted_N = confidence_N >= found.threshold
    assert found.chosen == Accepted(2_000, accepted_N.sum(), (accepted_N & right_N).sum())
    assert found.chosen.top1 >= 0.9


def test_the_curve_is_thin_and_keeps_the_chosen_point(made):
    _, _, found = made
    assert len(found.curve.accepted) <= 200
    assert found.chosen.accepted in found.curve.accepted
    assert found.curve.accepted[-1] == found.n == 2_000


def test_json_is_plain_and_comes_back(made):
    _, _, found = made
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Calibration.from_json(document) == found
    assert document["target"] == {"accuracy": 0.9}
    assert document["bins"] == len(document["reliability"]["before"]["counts"]) == 15


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0},
        {"temperature": float("nan")},
        {"temperature": "warm"},
        {"threshold": 1.5},
        {"ece_cross_fitted": -0.1},
        {"nll_before": float("inf")},
        {"nll_cross_fitted": float("nan")},
        {"n": 1_999},
        {"accepted_right": 2_000},
        {"target": {}},
        {"target": {"accuracy": 2}},
        {"target": {"luck": 0.5}},
        {"reliability": {}},
        {"reliability": None},
        {"curve": {"threshold": [], "accepted": [], "right": []}},
        {"curve": {"threshold": [0.5, 0], "accepted": [2_000, 2_000], "right": [3, 3]}},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(made, change):
    _, _, found = made
    with pytest.raises((KeyError, TypeError, ValueError)):
        Calibration.from_json({**found.to_json(), **change})


def test_judging_without_a_calibration_tells_the_plain_error(made):
    logits_NK, labels_N, found = made
    assert judge(logits_NK, labels_N, None) == {"ece": found.before.ece}


def test_judging_the_fitted_images_gives_the_fitted_figures(made):
    logits_NK, labels_N, found = made
    told = judge(logits_NK, labels_N, found)
    assert told["ece"] == found.before.ece
    assert (told["ece_calibrated"], told["nll_calibrated"]) == (found.after.ece, found.after.nll)
    assert told["coverage"] == found.chosen.coverage
    assert told["accepted_top1"] == found.chosen.top1
    assert told["accepted_top1_interval"] == list(found.chosen.interval)


def test_where_nothing_is_accepted_no_accuracy_is_told(made):
    logits_NK, labels_N, found = made
    flat_NK = np.zeros_like(logits_NK)
    told = judge(flat_NK, labels_N, replace(found, threshold=0.9))
    assert (told["coverage"], told["accepted"], told["accepted_top1"]) == (0, 0, None)
    assert told["accepted_top1_interval"] == [0, 1]
