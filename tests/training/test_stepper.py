import pytest
import torch

from reslab.spec.run import SGD, Constant, OneCycle
from reslab.training.schedule import learning_rate
from tests.training.test_fit import STEPS, equal
from tests.training.test_state import start


def test_a_step_is_a_function_of_its_place():
    a, b = start(), start()
    for _ in range(2):
        torch.rand(3)  # whatever else draws in between
        a.make(1, 2, 0.1)
    for _ in range(2):
        b.make(1, 2, 0.1)
    assert equal(a.state.model, b.state.model)
    c = start()
    c.make(1, 3, 0.1)
    c.make(1, 2, 0.1)
    assert not equal(a.state.model, c.state.model)


def test_the_rate_is_that_of_the_schedule():
    stepper = start(lr=0.1, schedule=OneCycle())
    for position in (0, 1.5, 7):
        assert stepper.rate(position) == learning_rate(
            OneCycle(), 0.1, position, total_steps=2 * STEPS, steps_per_epoch=STEPS
        )


def test_the_rate_is_used():
    still, moved = start(), start(optimizer=SGD(momentum=0.0, nesterov=False), schedule=Constant())
    still.make(0, 0, 0.0)
    assert torch.equal(still.state.model.fc.weight, start().state.model.fc.weight)
    moved.make(0, 0, 0.1)
    assert not torch.equal(moved.state.model.fc.weight, still.state.model.fc.weight)
    assert moved.state.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
