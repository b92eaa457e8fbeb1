import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from reslab.data.split import sample_evenly, split_off, split_train
from reslab.errors import UserError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [40, 30, 20, 10]))


def split(labels=LABELS, *, validation=0, limit=None, seed=0, **options):
    return split_train(np.asarray(labels), validation=validation, limit=limit, seed=seed, **options)


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


@pytest.mark.parametrize("settings", [{}, {"validation": 4}, {"limit": 4}])
def test_a_class_of_a_single_image_is_for_training(settings):
    labels = [0] * 10 + [1]
    found = split(labels, **settings)
    assert 10 in found.train and 10 not in found.validation
    assert len(found.validation) == settings.get("validation", 0)
    assert len(found.train) == settings.get("limit", 11 - len(found.validation))


def test_single_images_alone_cannot_be_split():
    with pytest.raises(UserError, match=r"data.validation does not fit the 3 images"):
        split([0, 1, 2], validation=1)


def test_a_class_without_images_takes_no_part():
    parts = split([0, 0, 0, 5, 5, 5], validation=2)
    assert len(parts.validation) == 2


def rounds(folds, **options):
    return [split(folds=folds, fold=fold, **options) for fold in range(1, folds + 1)]


@given(problems(), st.integers(2, 5), st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])
def test_folds_are_disjoint_complete_and_stratified(problem, folds, seed, validates):
    labels, _ = problem
    rarest = np.bincount(labels).min()
    assume(rarest >= 2 * folds)  # so that validation can be drawn of what is left
    classes = len(np.unique(labels))
    options = {"labels": labels, "seed": seed, "validation": classes if validates else 0}
    parts = rounds(folds, **options)
    assert sorted(np.concatenate([p.held_out for p in parts])) == list(range(len(labels)))
    for part in parts:
        three = np.concatenate([part.train, part.validation, part.held_out])
        assert sorted(three) == list(range(len(labels)))
        for label in np.unique(labels):
            share = np.sum(labels == label) / folds
            assert abs(np.sum(labels[part.held_out] == label) - share) < 1


def test_without_a_fold_the_split_is_what_it_was():
    plain, unfolded = split(validation=10), split(validation=10, folds=None, fold=None)
    assert np.array_equal(plain.train, unfolded.train)
    assert len(plain.held_out) == 0


def test_folds_are_a_function_of_the_seed():
    first, again = rounds(4, seed=3), rounds(4, seed=3)
    assert all(np.array_equal(a.held_out, b.held_out) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].held_out, rounds(4, seed=4)[0].held_out)


@given(st.integers(6, 20), st.integers(2, 4), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_groups_are_never_divided(count, folds, seed):
    groups = np.random.default_rng(seed).permutation(np.arange(8 * count) % count)
    labels = (np.arange(8 * count) * 7 // 3) % 2
    options = {"labels": labels, "seed": seed, "validation": 8 * count // 6, "groups_N": groups}
    held_out = []
    for part in rounds(folds, **options):
        sets = [set(groups[p]) for p in (part.train, part.validation, part.held_out)]
        assert sum(map(len, sets)) == len(set.union(*sets)) == count
        assert len(part.validation) > 0
        held_out += part.held_out.tolist()
    assert sorted(held_out) == list(range(8 * count))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"folds": 11}, "at most 10 parts, since there are 10 images of the rarest class"),
        ({"folds": 3, "groups_N": np.arange(100) % 2}, "at most 2 parts, since there are 2 groups"),
        ({"folds": 4, "groups_N": LABELS}, "all images of class"),
    ],
)
def test_folds_that_cannot_be_drawn_are_refused(options, told):
    with pytest.raises(UserError, match=told):
        split(fold=1, **options)


def test_validation_of_a_single_group_is_refused():
    with pytest.raises(UserError, match="expected at least 2 groups"):
        split(validation=20, groups_N=np.zeros(100, np.int64))


@pytest.mark.parametrize("count", [3, 10, 50, 80, 95])
def test_validation_by_group_is_as_large_as_asked_for(count):
    """Also where a class is rare, or more than half is asked for."""
    labels = np.r_[np.zeros(97, np.int64), np.ones(3, np.int64)]
    found = []
    for seed in range(5):
        try:
            part = split(labels, validation=count, groups_N=np.arange(100), seed=seed)
        except UserError as error:  # all three of the rare class may be drawn
            assert "all images of class 1" in str(error)
        else:
            found.append(len(part.validation))
    assert all(abs(size - count) <= 5 for size in found)
    assert found or count > 50
    with pytest.raises(UserError, match="1 to 99 images, received 100 groups, and 500"):
        split(labels, validation=500, groups_N=np.arange(100))


@pytest.mark.parametrize("count", [1, 7, 30, 100, 399])
def test_a_sample_has_each_class_in_proportion(count: int) -> None:
    labels = np.repeat([0, 1, 2], [200, 150, 50])[np.random.default_rng(0).permutation(400)]
    drawn = sample_evenly(labels, count, seed=3)
    assert len(set(drawn.tolist())) == count
    assert (np.diff(drawn) > 0).all()
    found = np.bincount(labels[drawn], minlength=3)
    # Two ends of a stretch may each fall into the class beside it.
    np.testing.assert_allclose(found, count * np.array([0.5, 0.375, 0.125]), atol=1)
    np.testing.assert_array_equal(drawn, sample_evenly(labels, count, seed=3))


def test_a_sample_is_drawn_by_its_seed_and_never_larger_than_all() -> None:
    labels = np.arange(40) % 4
    assert (sample_evenly(labels, 8, seed=0) != sample_evenly(labels, 8, seed=1)).any()
    assert sample_evenly(labels, 41, seed=0).tolist() == list(range(40))


@pytest.mark.parametrize("share", [0.1, 0.15, 0.4, 0.8])
def test_a_share_is_split_off_by_class_and_by_group(share):
    labels_N = np.repeat([0, 1, 2], [100, 60, 1])
    drawn = split_off(labels_N, share, seed=0)
    counts = np.bincount(labels_N[drawn], minlength=3)
    assert counts.tolist() == [round(100 * share), round(60 * share), 0]
    groups = [f"{row // 4}" if row < 120 else None for row in range(161)]
    drawn = set(split_off(labels_N, share, seed=0, groups=groups).tolist())
    inside = {groups[row] for row in drawn if groups[row]}
    assert not inside & {groups[row] for row in range(161) if row not in drawn and groups[row]}
    assert 0.5 * share * 161 <= len(drawn) <= 1.5 * share * 161


def test_a_small_set_with_groups_can_be_split_off_from():
    drawn = split_off(np.repeat([0, 1], 6), 0.15, seed=0, groups=["g", "g"] + [None] * 10)
    assert 0 < len(drawn) < 12
    assert len({0, 1} & set(drawn.tolist())) != 1
    assert len(split_off(np.zeros(3, np.int64), 0.15, seed=0, groups=["g"] * 3)) == 0
