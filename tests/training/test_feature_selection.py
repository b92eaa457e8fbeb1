"""Features that say something are found, and the head on them is what it should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from reslab.errors import UserError
from reslab.training.feature_selection import (
    METHODS,
    LinearHead,
    choose_features,
    count_features,
    cross_entropy,
    fit_head,
)

TELLING = [2, 5, 11]


def make(n: int = 600, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Twelve features, of which three tell the class and the others are noise of all scales."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = rng.normal(size=(n, 12)) * rng.uniform(0.01, 100, 12) + rng.normal(size=12)
    for place, column in enumerate(TELLING):
        features[:, column] += 4 * features[:, column].std() * (labels == place % classes)
    return features, labels


@pytest.mark.parametrize("method", METHODS)
def test_those_that_tell_the_class_are_chosen(method: str) -> None:
    features, labels = make()
    assert choose_features(features, labels, method=method, count=3).tolist() == TELLING
    six = choose_features(features, labels, method=method, count=6).tolist()
    assert six == sorted(six)
    assert len(six) == 6
    assert set(TELLING) <= set(six)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_feature_is_not_chosen(method: str) -> None:
    features, labels = make()
    features[:, 0] = 7.0
    assert 0 not in choose_features(features, labels, method=method, count=11)
    assert len(choose_features(features, labels, method=method, count=12)) == 12


def test_choosing_is_a_function_of_the_images() -> None:
    features, labels = make(n=12_000)
    a, b = (choose_features(features, labels, method="model", count=5) for _ in range(2))
    assert a.tolist() == b.tolist()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_is_a_logistic_regression_on_the_chosen(classes: int) -> None:
    features, labels = make(classes=classes)
    chosen = np.array(TELLING)
    head = fit_head((features, labels), (features[:0], labels[:0]), chosen, classes)
    assert (head.weight_KD.shape, head.strength) == ((classes, 12), 1.0)
    others = np.setdiff1d(np.arange(12), chosen)
    assert not head.weight_KD[:, others].any()
    # The library's own way: standardise, fit, predict.
    mean, sd = features[:, chosen].mean(0), features[:, chosen].std(0)
    reference = LogisticRegression(max_iter=500).fit((features[:, chosen] - mean) / sd, labels)
    expected = reference.predict_proba((features[:, chosen] - mean) / sd)
    np.testing.assert_allclose(softmax(head.logits(features), axis=1), expected, atol=1e-4)


@pytest.mark.parametrize(("n", "noisy"), [(36, True), (600, False)])
def test_the_penalty_is_chosen_on_validation(n: int, noisy: bool) -> None:
    """A strong one where there are few images and much noise, a weak one where there are not."""
    features, labels = make(n=2 * n)
    if noisy:
        labels = np.random.default_rng(1).permutation(labels)
    train, validation = (features[:n], labels[:n]), (features[n:], labels[n:])
    head = fit_head(train, validation, np.arange(12), 3)
    mean, sd = train[0].mean(0), train[0].std(0)
    losses = {
        strength: -np.log(
            LogisticRegression(C=strength, max_iter=500)
            .fit((train[0] - mean) / sd, train[1])
            .predict_proba((validation[0] - mean) / sd)[np.arange(n), validation[1]]
        ).mean()
        for strength in (0.01, 0.1, 1.0, 10.0)
    }
    assert head.strength == min(losses, key=losses.__getitem__)
    assert (head.strength < 1.0) == noisy


def test_rare_classes_are_looked_at_in_whole() -> None:
    features, labels = make(n=30_000)
    labels[:20] = 3
    features[:20, 0] += 1000
    chosen = choose_features(features, labels, method="univariate", count=4)
    assert chosen.tolist() == [0, *TELLING]


def test_a_class_without_images_is_never_predicted() -> None:
    features, labels = make()
    labels = np.where(labels == 1, 3, labels)
    head = fit_head((features, labels), (features, labels), np.arange(12), 5)
    probabilities = softmax(head.logits(features), axis=1)
    assert probabilities[:, [1, 4]].max() < 1e-6
    assert set(probabilities.argmax(axis=1)) == {0, 2, 3}


def test_cross_entropy_by_hand() -> None:
    logits = np.log(np.array([[0.25, 0.75], [0.5, 0.5]]))
    labels = np.array([1, 0])
    assert cross_entropy(logits, labels) == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
    assert LinearHead(np.eye(2), np.ones(2), 1.0).logits(np.array([[1.0, 2.0]])).tolist() == [
        [2, 3]
    ]


@given(st.integers(1, 64))
def test_a_number_is_taken_as_it_is(count: int) -> None:
    assert count_features(count, 64) == count


@pytest.mark.parametrize(("keep", "count"), [(0.5, 32), (0.25, 16), (0.001, 1), (1.0, 64)])
def test_a_fraction_is_of_them_all(keep: float, count: int) -> None:
    assert count_features(keep, 64) == count


@pytest.mark.parametrize("keep", [0, 0.0, -1, 65, 2.0, 1.5, math.nan, math.inf])
def test_what_is_no_number_of_them_is_refused(keep: float) -> None:
    with pytest.raises(UserError, match="so many features cannot be kept"):
        count_features(keep, 64)
