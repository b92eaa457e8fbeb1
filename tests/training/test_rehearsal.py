import torch

from reslab.spec.run import Adam
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
