from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reslab.errors import UserError
from reslab.evaluation.metrics import wilson_interval
from reslab.evaluation.selective import Accepted, Curve, Target, accept, accept_curve, choose

# Two images are as sure as each other: they are accepted together or not at all.
SURE_6 = np.array([0.6, 0.9, 0.8, 0.8, 0.99, 0.5])
RIGHT_6 = np.array([False, True, True, False, True, True])


def images():
    pair = st.tuples(st.sampled_from([0.25, 0.3, 0.5, 0.7, 0.7000000000000001, 1.0]), st.booleans())
    drawn = st.lists(pair, min_size=1, max_size=40)
    return drawn.map(lambda pairs: tuple(np.array(column) for column in zip(*pairs, strict=True)))


def test_the_curve_by_hand():
    curve = accept_curve(SURE_6, RIGHT_6)
    assert curve.n == 6
    assert curve.accepted == (1, 2, 4, 5, 6)
    assert curve.right == (1, 2, 3, 3, 4)
    assert curve.thresholds == pytest.approx((0.945, 0.85, 0.7, 0.55, 0))


@given(images())
def test_every_threshold_accepts_what_the_curve_says(drawn):
    confidence_N, right_N = drawn
    curve = accept_curve(confidence_N, right_N)
    for place, threshold in enumerate(curve.thresholds):
        assert accept(confidence_N, right_N, threshold) == curve.at(place)
    assert all(a > b for a, b in pairwise(curve.thresholds))
    assert len(curve.accepted) == len(np.unique(confidence_N))
    assert (curve.thresholds[-1], curve.accepted[-1]) == (0, len(confidence_N))
    assert curve.right[-1] == right_N.sum()


@given(images(), st.floats(0.01, 1))
def test_a_coverage_is_kept_by_the_highest_threshold_that_can(drawn, share):
    confidence_N, right_N = drawn
    curve = accept_curve(confidence_N, right_N)
    place = choose(curve, Target("coverage", share))
    assert curve.at(place).coverage >= share
    assert place == 0 or curve.at(place - 1).coverage < share


@given(images(), st.floats(0.01, 1))
def test_an_accuracy_is_kept_by_the_lowest_threshold_that_can(drawn, share):
    confidence_N, right_N = drawn
    curve = accept_curve(confidence_N, right_N)
    reached = [i for i in range(len(curve.accepted)) if curve.at(i).top1 >= share]
    if reached:
        assert choose(curve, Target("accuracy", share)) == max(reached)
    else:
        with pytest.raises(UserError, match="at most"):
            choose(curve, Target("accuracy", share))


@pytest.mark.parametrize(
    ("target", "accepted"),
    [
        (Target("accuracy", 1.0), 2),
        (Target("accuracy", 0.75), 4),
        (Target("accuracy", 0.76), 2),
        (Target("accuracy", 4 / 6), 6),
        (Target("accuracy", 0.1), 6),
        (Target("coverage", 0.3), 2),
        (Target("coverage", 0.34), 4),  # the tie brings one more than was asked for
        (Target("coverage", 0.5), 4),
        (Target("coverage", 1.0), 6),
    ],
)
def test_choices_by_hand(target, accepted):
    curve = accept_curve(SURE_6, RIGHT_6)
    assert curve.accepted[choose(curve, target)] == accepted


def test_what_all_images_reach_needs_no_threshold():
    curve = accept_curve(SURE_6, np.full(6, True))
    assert curve.thresholds[choose(curve, Target("accuracy", 0.99))] == 0


def test_a_share_of_decimals_is_reached_exactly():
    right_N = np.arange(100) < 7
    curve = accept_curve(np.full(100, 0.5), right_N)
    assert choose(curve, Target("accuracy", 0.07)) == 0


def test_out_of_reach_is_told_with_what_can_be_had():
    wrong_first = accept_curve(np.array([0.9, 0.8, 0.7, 0.6]), np.array([False, True, True, False]))
    with pytest.raises(UserError) as caught:
        choose(wrong_first, Target("accuracy", 0.9))
    text = str(caught.value)
    assert "at most 0.6667, which the surest 3 of 4 images reach, received 0.9; ask" in text


@pytest.mark.parametrize("most", [3, 10, 200])
@pytest.mark.parametrize("keep", [0, 57, 499])
def test_a_thinned_curve_is_a_part_with_its_ends(most, keep):
    rng = np.random.default_rng(0)
    curve = accept_curve(rng.permutation(500) / 500, rng.random(500) < 0.8)
    thin = curve.thinned(most, keep)
    assert len(thin.accepted) <= most
    rows = set(zip(curve.thresholds, curve.accepted, curve.right, strict=True))
    assert set(zip(thin.thresholds, thin.accepted, thin.right, strict=True)) <= rows
    assert {curve.accepted[i] for i in (0, keep, 499)} <= set(thin.accepted)


def test_a_short_curve_stays_whole():
    curve = accept_curve(SURE_6, RIGHT_6)
    assert curve.thinned(5, 2) == curve


def test_shares_of_the_accepted():
    part = Accepted(200, 100, 97)
    assert (part.coverage, part.top1) == (0.5, 0.97)
    assert part.interval == wilson_interval(97, 100)
    assert Accepted(5, 0, 0).top1 is None


@pytest.mark.parametrize("numbers", [(5, 6, 1), (5, 3, 4), (5, 3, -1)])
def test_counts_that_cannot_be(numbers):
    with pytest.raises(ValueError, match="accepted"):
        Accepted(*numbers)


def test_curves_that_cannot_be():
    for accepted, right in (((2, 2), (1, 1)), ((3, 2), (1, 1)), ((1, 9), (1, 1)), ((1,), (1, 1))):
        with pytest.raises(ValueError):
            Curve(n=5, thresholds=(0.5, 0.0), accepted=accepted, right=right)


@pytest.mark.parametrize(("kind", "share"), [("accuracy", 0), ("coverage", 1.1), ("luck", 0.5)])
def test_targets_that_cannot_be(kind, share):
    with pytest.raises(ValueError, match="no target"):
        Target(kind, share)
