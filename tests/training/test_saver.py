from dataclasses import dataclass, field

from reslab.training.saver import Saver


@dataclass
class Clock:
    time: float = 0.0

    def __call__(self):
        return self.time


@dataclass
class State:
    step: int = 0
    history: list = field(default_factory=list)

    def checkpoint(self):
        return (self.step, len(self.history))


def make(every, took=0.0):
    clock, written = Clock(), []

    def write(checkpoint):
        clock.time += took
        written.append(checkpoint)

    return Saver(write, every, clock), clock, written


def run(saver, clock, steps, pace=1.0):
    state = State()
    for _ in range(steps):
        clock.time += pace
        state.step += 1
        saver.save_if_due(state)
    return state


def test_enough_time_lies_between_two():
    saver, clock, written = make(10)
    run(saver, clock, 35)
    assert [step for step, _ in written] == [10, 20, 30]


def test_the_first_is_written_when_it_is_asked_for():
    saver, _clock, written = make(10)
    state = State(step=3)
    saver.save_first(state)
    state.step = 4
    saver.save_first(state)
    assert written == [(3, 0)]


def test_it_tells_how_long_a_write_took():
    saver, _clock, _written = make(10, took=2.5)
    assert saver.took == 0.0
    saver.save(State(step=1))
    assert saver.took == 2.5


def test_zero_is_after_every_step():
    saver, clock, written = make(0, took=5.0)
    run(saver, clock, 4)
    assert len(written) == 4


def test_a_slow_disk_is_written_to_less_often():
    saver, clock, written = make(10, took=1.0)
    run(saver, clock, 200)
    # The first tells that a save takes 1 s, of which 50 s make two hundredths.
    assert [step for step, _ in written] == [10, 60, 110, 160]


def test_the_same_state_is_written_once():
    saver, clock, written = make(1000)
    state = run(saver, clock, 3)
    saver.save(state)
    saver.save(state)
    assert written == [(3, 0)]
    state.history.append("an epoch that has ended")
    saver.save(state)
    assert written == [(3, 0), (3, 1)]
