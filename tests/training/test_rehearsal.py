import pytest
import torch

from reslab.spec.optimizers import Adam
from reslab.training import rehearsal
from reslab.training.fit import fit
from reslab.training.rehearsal import rehearse
from reslab.training.state import copies, tensors_of
from tests.training.test_state import start, states_equal


def test_a_rehearsal_leaves_no_trace_but_its_time():
    for optimizer in ({}, {"optimizer": Adam()}):
        plain, rehearsed = start(**optimizer), start(**optimizer)
        before = copies(tensors_of(rehearsed.state.model, rehearsed.state.optimizer))
        state = torch.get_rng_state()
        seconds_a_step = rehearse(rehearsed)
        assert torch.equal(torch.get_rng_state(), state)
        found = tensors_of(rehearsed.state.model, rehearsed.state.optimizer)
        assert found.keys() == before.keys()
        assert all(torch.equal(found[name], before[name]) for name in before)
        assert rehearsed.state.step == 0
        assert rehearsed.state.watch.seconds() > seconds_a_step > 0
        assert rehearsed.state.watch.epoch_seconds() == 0
        fit(plain)
        fit(rehearsed)
        assert states_equal(plain, rehearsed)


@pytest.mark.parametrize(
    ("seconds", "made"), [(0.01, 21), (0.15, 8), (0.5, 5), (2.0, 4), (60.0, 2)]
)
def test_slow_steps_are_rehearsed_less(monkeypatch, seconds, made):
    stepper, now = start(), [0.0]
    make, steps = stepper.make, []

    def slow(*place):
        steps.append(place)
        # The first compiles, and one in the middle is disturbed.
        now[0] += 40.0 if len(steps) == 1 else seconds * (1.5 if len(steps) == 4 else 1)
        return make(*place)

    monkeypatch.setattr(stepper, "make", slow)
    monkeypatch.setattr(rehearsal.time, "perf_counter", lambda: now[0])
    assert rehearse(stepper) == pytest.approx(seconds)
    assert len(steps) == made
