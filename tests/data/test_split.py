import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.data.split import split_train
from reslab.errors import UserError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [40, 30, 20, 10]))


def split(labels=LABELS, *, validation=0, limit=None, seed=0):
    return split_train(np.asarray(labels), validation=validation, limit=limit, seed=seed)


@st.composite
def problems(draw):
    """Labels, and a validation count for which every class can be on both sides."""
    counts = draw(st.lists(st.integers(2, 25), min_size=1, max_size=5))
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(draw(st.integers(0, 99))).permutation(labels)
    return labels, draw(st.integers(len(counts), len(labels) - len(counts)))


@given(problems(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_validation_is_split_off_in_the_proportions_of_the_classes(problem, seed):
    labels, count = problem
    parts = split(labels, validation=count, seed=seed)
    assert len(parts.validation) == count
    # Disjoint and complete: together each position once.
    both = np.concatenate([parts.train, parts.validation])
    assert sorted(both.tolist()) == list(range(len(labels)))
    for label in np.unique(labels):
        share = count * np.mean(labels == label)
        assert abs(np.sum(labels[parts.validation] == label) - share) < 1
    for part in (parts.train, parts.validation):
        assert np.all(np.diff(part) > 0)


@given(problems(), st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_it_is_a_pure_function(problem, seed):
    labels, count = problem
    one = split(labels, validation=count, seed=seed)
    np.random.seed(seed + 1)
    other = split(labels.copy(), validation=count, seed=seed)
    assert np.array_equal(one.train, other.train)
    assert np.array_equal(one.validation, other.validation)


def test_another_seed_draws_others():
    parts = [split(validation=10, limit=20, seed=seed) for seed in range(5)]
    assert len({tuple(part.validation) for part in parts}) == 5
    assert len({tuple(part.train) for part in parts}) == 5


def test_no_validation_leaves_all_to_train_on():
    parts = split(validation=0)
    assert parts.train.tolist() == list(range(100))
    assert len(parts.validation) == 0


@pytest.mark.parametrize("limit", [4, 8, 40, 70])
def test_a_limit_shrinks_what_is_trained_on_and_not_what_judges(limit):
    whole, limited = split(validation=20), split(validation=20, limit=limit)
    assert np.array_equal(limited.validation, whole.validation)
    assert len(limited.train) == limit
    assert set(limited.train) < set(whole.train)
    assert np.all(np.diff(limited.train) > 0)
    for label in range(4):
        share = limit * np.mean(LABELS[whole.train] == label)
        assert abs(np.sum(LABELS[limited.train] == label) - share) < 1


@pytest.mark.parametrize("limit", [80, 81, 10**9])
def test_a_limit_above_what_there_is_changes_nothing(limit):
    whole, limited = split(validation=20), split(validation=20, limit=limit)
    assert np.array_equal(limited.train, whole.train)


@pytest.mark.parametrize("validation", [1, 3, 97, 99, 100, 101])
def test_validation_that_cannot_hold_every_class_is_refused(validation):
    with pytest.raises(UserError, match=rf"^data.validation .*4 to 96, .*received {validation}$"):
        split(validation=validation)


def test_a_limit_that_cannot_hold_every_class_is_refused():
    with pytest.raises(UserError, match=r"^data.limit does not fit the 80 images .*received 3$"):
        split(validation=20, limit=3)


@pytest.mark.parametrize("setting", ["validation", "limit"])
def test_a_class_of_a_single_image_is_told(setting):
    labels = [0] * 10 + [1]
    with pytest.raises(UserError, match=f"data.{setting} .*a class has a single image; add images"):
        split(labels, **{setting: 4})
    assert len(split(labels).train) == 11


def test_a_class_without_images_takes_no_part():
    parts = split([0, 0, 0, 5, 5, 5], validation=2)
    assert len(parts.validation) == 2
