from collections import Counter

import pytest

from reslab.inference.trial import ROUNDS, time_in_turns


class Clock:
    """Goes on only while something is computed."""

    def __init__(self):
        self.now = 0.0
        self.calls = []
        self.rests = 0

    def __call__(self):
        return self.now

    def rest(self, seconds):
        self.rests += 1
        self.now += seconds

    def work(self, name, *seconds):
        """Takes each of these in turn, and the last from then on."""
        left = list(seconds)

        def call():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_the_median_of_rounds_in_turns():
    clock = Clock()
    work = {"a": clock.work("a", 1.0, 1.0, 9.0, 1.0), "b": clock.work("b", 1.1)}
    found = time_in_turns(work, seconds=1e9, clock=clock, rest=clock.rest)
    assert found == {"a": pytest.approx(1.0), "b": pytest.approx(1.1)}
    # The first turn has a call that is not timed.
    assert "".join(clock.calls[:10]) == "aabb" + "ba" + "ab" + "ba"
    assert Counter(clock.calls) == {"a": ROUNDS + 1, "b": ROUNDS + 1}


def test_who_is_far_behind_is_left_out_soon():
    clock = Clock()
    work = {n: clock.work(n, s) for n, s in (("a", 1.0), ("b", 3.0), ("c", 1.3), ("d", 1.1))}
    found = time_in_turns(work, seconds=1e9, clock=clock, rest=clock.rest)
    assert found["b"] == 3.0
    calls = Counter(clock.calls)
    assert (calls["b"], calls["c"]) == (2, 4)
    assert calls["a"] == calls["d"] == ROUNDS + 1


def test_alone_there_is_nothing_to_compare():
    clock = Clock()
    assert time_in_turns(
        {"a": clock.work("a", 2.0)}, seconds=1e9, clock=clock, rest=clock.rest
    ) == {"a": 2.0}
    assert clock.calls == ["a", "a"]


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 1), (8.5, 2), (9.2, 3)])
def test_it_ends_before_the_time_is_over(seconds, rounds):
    clock = Clock()
    work = {"a": clock.work("a", 1.0), "b": clock.work("b", 1.0)}
    time_in_turns(work, seconds=seconds, clock=clock, rest=clock.rest)
    assert Counter(clock.calls) == {"a": rounds + 1, "b": rounds + 1}


def test_short_calls_are_repeated_within_a_turn():
    clock = Clock()
    work = {"a": clock.work("a", 0.001), "b": clock.work("b", 0.001)}
    found = time_in_turns(work, seconds=0.0, clock=clock, rest=clock.rest)
    assert found["a"] == pytest.approx(0.001)
    assert Counter(clock.calls) == {"a": 101, "b": 101}
    # Before each, so that the other's threads are asleep.
    assert clock.rests == 2
