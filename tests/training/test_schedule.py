import doctest
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from reslab.spec.schedules import Constant, Cosine, MultiStep, OneCycle, Step
from reslab.training import schedule as module
from reslab.training.schedule import learning_rate, warms_up


@pytest.mark.parametrize(
    ("schedule", "warm"),
    [
        (OneCycle(), True),
        (OneCycle(start=0.999999), True),
        (Constant(), False),
        (Cosine(warmup_epochs=0.5), True),
        (Step(), False),
    ],
)
def test_those_that_begin_below_their_rate_warm_up(schedule, warm):
    assert warms_up(schedule) is warm
    assert (rates(schedule, epochs=4, steps=5)[0] < 1.0) is warm


def rates(schedule, *, epochs, steps, peak=1.0):
    """The rate of every step of a training of so many epochs of so many steps."""
    return [
        learning_rate(schedule, peak, i, total_steps=epochs * steps, steps_per_epoch=steps)
        for i in range(epochs * steps)
    ]


def by_torch(make, *, epochs, steps, peak, each):
    """What a scheduler of torch gives, stepped after each ``step`` or each ``epoch``."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    scheduler = make(optimizer)
    found = []
    for i in range(epochs * steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if each == "step" or (i + 1) % steps == 0:
            scheduler.step()
    return found


def test_constant():
    assert rates(Constant(), epochs=2, steps=3, peak=0.3) == [0.3] * 6


def test_warm_up_rises_from_above_zero_to_the_full_rate():
    found = rates(Constant(warmup_epochs=2.0), epochs=3, steps=2, peak=0.4)
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_warm_up_may_be_part_of_an_epoch():
    found = rates(Constant(warmup_epochs=0.5), epochs=1, steps=3)
    assert found == pytest.approx([2 / 3, 1, 1])
    # Half of three steps is over within the second, which then has the full rate and no more.
    assert max(found) == 1.0


def test_warm_up_longer_than_the_training_never_reaches_the_full_rate():
    assert rates(Cosine(warmup_epochs=4.0), epochs=2, steps=2) == [
        0.25 * i / 2 for i in (1, 2, 3, 4)
    ]


def test_step():
    found = rates(Step(every=2, factor=0.1), epochs=5, steps=2)
    assert found == pytest.approx([1] * 4 + [0.1] * 4 + [0.01] * 2)


def test_step_counts_from_the_start_of_training_warm_up_included():
    found = rates(Step(every=2, factor=0.1, warmup_epochs=1.0), epochs=3, steps=2)
    assert found == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1])


def test_milestones_as_fractions_and_as_epochs():
    fractions = rates(MultiStep(milestones=(0.5, 0.75), factor=0.1), epochs=4, steps=2)
    assert fractions == pytest.approx([1] * 4 + [0.1] * 2 + [0.01] * 2)
    epochs = rates(MultiStep(milestones=(2.0, 3.0), factor=0.1), epochs=4, steps=2)
    assert epochs == fractions
    assert rates(MultiStep(milestones=(1.0,), factor=0.5), epochs=2, steps=2) == [1, 1, 0.5, 0.5]


def test_a_milestone_may_fall_within_an_epoch():
    found = rates(MultiStep(milestones=(1.5,), factor=0.5), epochs=2, steps=4)
    assert found == [1] * 6 + [0.5] * 2
    assert rates(MultiStep(milestones=(0.5,), factor=0.5), epochs=1, steps=5) == [1] * 3 + [0.5] * 2


def test_a_milestone_after_the_end_changes_nothing():
    assert rates(MultiStep(milestones=(9.0,)), epochs=2, steps=2) == [1] * 4


@pytest.mark.parametrize(("fraction", "steps"), [(0.55, 1), (0.55, 10), (0.56, 10), (0.07, 10)])
def test_a_milestone_on_a_step_drops_at_that_step(fraction, steps):
    found = rates(MultiStep(milestones=(fraction,)), epochs=100 // steps, steps=steps)
    assert sum(rate == 1 for rate in found) == round(fraction * 100)


def test_cosine():
    found = rates(Cosine(final=0.2), epochs=2, steps=3, peak=10.0)
    expected = [2 + 8 * (1 + math.cos(math.pi * i / 6)) / 2 for i in range(6)]
    assert found == pytest.approx(expected)
    assert found[0] == 10
    assert found[3] == pytest.approx(6)


def test_cosine_begins_where_the_warm_up_ends():
    found = rates(Cosine(warmup_epochs=1.0), epochs=3, steps=2)
    assert found == pytest.approx([0.5, 1, 1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])


def test_one_cycle():
    found = rates(OneCycle(warmup=0.5, start=0.2, final=0.0), epochs=2, steps=4)
    down = [(1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)]
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, *down])


def test_one_cycle_ends_above_its_final_fraction():
    found = rates(OneCycle(warmup=0.25, start=0.0, final=0.1), epochs=1, steps=4, peak=2.0)
    expected = [0.0, 2.0, 0.2 + 1.8 * 0.75, 0.2 + 1.8 * 0.25]
    assert found == pytest.approx(expected)


def test_one_cycle_whose_peak_falls_between_two_steps():
    found = rates(OneCycle(warmup=0.5, start=0.0, final=0.0), epochs=1, steps=3)
    assert found == pytest.approx([0, 2 / 3, (1 + math.cos(math.pi / 3)) / 2])


@given(every=st.integers(1, 4), factor=st.floats(0.05, 2.0), epochs=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_step_equals_torch(every, factor, epochs):
    expected = by_torch(
        lambda o: lr_scheduler.StepLR(o, every, factor),
        epochs=epochs,
        steps=3,
        peak=0.3,
        each="epoch",
    )
    found = rates(Step(every=every, factor=factor), epochs=epochs, steps=3, peak=0.3)
    assert found == pytest.approx(expected, rel=1e-12)


@given(milestones=st.lists(st.integers(1, 12), min_size=1, max_size=4), epochs=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_multistep_equals_torch(milestones, epochs):
    expected = by_torch(
        lambda o: lr_scheduler.MultiStepLR(o, sorted(milestones), 0.3),
        epochs=epochs,
        steps=3,
        peak=0.3,
        each="epoch",
    )
    schedule = MultiStep(milestones=tuple(float(m) for m in milestones), factor=0.3)
    assert rates(schedule, epochs=epochs, steps=3, peak=0.3) == pytest.approx(expected, rel=1e-12)


@given(epochs=st.integers(1, 9), steps=st.integers(1, 7), final=st.floats(0, 0.9))
@settings(max_examples=25, deadline=None)
def test_cosine_equals_torch(epochs, steps, final):
    expected = by_torch(
        lambda o: lr_scheduler.CosineAnnealingLR(o, epochs * steps, eta_min=0.3 * final),
        epochs=epochs,
        steps=steps,
        peak=0.3,
        each="step",
    )
    found = rates(Cosine(final=final), epochs=epochs, steps=steps, peak=0.3)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


warmups = st.floats(0, 12)
fractions = st.floats(0, 1, exclude_max=True)
inner_fractions = st.floats(0, 1, exclude_min=True, exclude_max=True)
schedules = st.one_of(
    st.builds(Constant, warmup_epochs=warmups),
    st.builds(Step, warmup_epochs=warmups, every=st.integers(1, 9), factor=st.floats(1e-3, 1)),
    st.builds(
        MultiStep,
        warmup_epochs=warmups,
        milestones=st.lists(st.floats(0.01, 12), min_size=1, max_size=3).map(tuple),
        factor=st.floats(1e-3, 1),
    ),
    st.builds(Cosine, warmup_epochs=warmups, final=fractions),
    st.builds(OneCycle, warmup=inner_fractions, start=fractions, final=fractions),
)


@given(
    schedule=schedules,
    epochs=st.integers(1, 8),
    steps=st.integers(1, 9),
    peak=st.floats(1e-6, 10),
)
@settings(max_examples=300, deadline=None)
def test_the_rate_stays_between_zero_and_its_peak(schedule, epochs, steps, peak):
    for rate in rates(schedule, epochs=epochs, steps=steps, peak=peak):
        assert 0 <= rate <= peak * (1 + 1e-12)


@given(schedule=schedules, epochs=st.integers(1, 8), steps=st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_the_rate_rises_once_and_then_only_falls(schedule, epochs, steps):
    found = rates(schedule, epochs=epochs, steps=steps)
    top = found.index(max(found))
    assert all(a <= b + 1e-12 for a, b in pairwise(found[: top + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(found[top:]))


def test_the_example_in_the_docstring():
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
