import time

from reslab.training.stopwatch import Stopwatch


class Clock:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def test_two_epochs_by_the_second():
    clock = Clock()
    watch = Stopwatch(clock)
    assert watch.seconds() == 0
    clock.time = 110
    watch.start_epoch()
    clock.time = 117
    watch.step_done()  # the first step took 7
    assert watch.seconds_a_step() == 7
    assert watch.first_step_excess() == 0
    for clock.time in (119, 121):
        watch.step_done()
    assert watch.epoch_seconds() == 11
    assert watch.seconds_a_step() == 2
    assert watch.first_step_excess() == 5
    watch.end_epoch()
    clock.time = 200  # validation
    assert watch.seconds() == 11
    assert watch.epoch_seconds() == 11
    watch.start_epoch()
    assert watch.epoch_seconds() == 0
    clock.time = 204
    watch.step_done()
    assert watch.epoch_seconds() == 4
    assert watch.seconds() == 15
    watch.end_epoch()
    assert watch.seconds_a_step() == 8 / 3
    assert watch.first_step_excess() == 7 - 8 / 3


def test_a_first_step_faster_than_the_others_has_no_excess():
    clock = Clock()
    watch = Stopwatch(clock)
    watch.start_epoch()
    for clock.time in (101, 105, 109):
        watch.step_done()
    assert watch.seconds_a_step() == 4
    assert watch.first_step_excess() == 0


def test_time_between_epochs_does_not_count():
    clock = Clock()
    watch = Stopwatch(clock)
    for epoch in range(3):
        watch.start_epoch()
        clock.time += 2
        watch.step_done()
        watch.end_epoch()
        clock.time += 50
        assert watch.seconds() == 2 * (epoch + 1)
    assert watch.seconds_a_step() == 2


def test_the_clock_is_a_real_one_unless_given():
    watch = Stopwatch()
    watch.start_epoch()
    time.sleep(0.01)
    assert watch.seconds() >= 0.01
