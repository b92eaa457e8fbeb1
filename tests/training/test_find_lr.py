import math

import pytest
import torch

from reslab.errors import UserError
from reslab.spec.optimizers import AdamW
from reslab.spec.schedules import Constant, OneCycle
from reslab.training.find_lr import LrSweep, sweep_learning_rate
from reslab.training.fit import fit
from reslab.training.state import copies
from tests.training.test_state import start, states_equal


@pytest.mark.parametrize("options", [{}, {"optimizer": AdamW(), "ema": 0.9, "mixup": 0.2}])
@pytest.mark.parametrize("made", [0, 3])
def test_a_sweep_leaves_no_trace(options, made):
    swept, plain = start(**options), start(**options)
    for stepper in (swept, plain):
        fit(stepper, should_stop=lambda s=stepper: s.state.step == made)
    before = copies(swept.state.tensors())
    rates = [group["lr"] for group in swept.state.optimizer.param_groups]
    random, mode = torch.get_rng_state(), swept.state.model.training
    sweep = sweep_learning_rate(swept, steps=30)
    assert len(sweep.rates) == len(sweep.losses) == len(sweep.smoothed) > 10
    found = swept.state.tensors()
    assert found.keys() == before.keys()
    assert all(torch.equal(found[name], before[name]) for name in before)
    assert [group["lr"] for group in swept.state.optimizer.param_groups] == rates
    assert torch.equal(torch.get_rng_state(), random)
    assert swept.state.model.training == mode
    assert swept.state.step == plain.state.step
    fit(swept)
    fit(plain)
    assert states_equal(swept, plain)


def test_rates_rise_in_equal_factors_until_the_loss_does():
    sweep = sweep_learning_rate(start(), lowest=1e-4, highest=1e4, steps=81)
    factors = {round(b / a, 6) for a, b in zip(sweep.rates, sweep.rates[1:], strict=False)}
    assert factors == {round(10**0.1, 6)}
    assert sweep.rates[0] == pytest.approx(1e-4)
    assert len(sweep.rates) < 81
    assert all(map(math.isfinite, sweep.losses))


def test_the_average_is_freed_of_its_start():
    sweep = sweep_learning_rate(start(), lowest=1e-9, highest=2e-9, steps=12)
    average = 0.0
    for i, loss in enumerate(sweep.losses):
        average = 0.9 * average + 0.1 * loss
        assert sweep.smoothed[i] == pytest.approx(average / (1 - 0.9 ** (i + 1)))
    assert sweep.smoothed[0] == pytest.approx(sweep.losses[0])


@pytest.mark.parametrize("warm", [False, True])
def test_the_steepest_fall_or_the_least_is_suggested(warm):
    rates = tuple(10 ** (-4 + i / 10) for i in range(40))
    # Falls gently, then steeply around the 25th, is least at the 30th, and falls again later.
    smoothed = tuple(
        2.0 - 0.01 * i - (0.5 if i >= 25 else 0) + (0.3 if i > 30 else 0) - (0.2 if i > 36 else 0)
        for i in range(40)
    )
    sweep = LrSweep(rates=rates, losses=smoothed, smoothed=smoothed, warms_up=warm)
    assert sweep.steepest in rates[24:26]
    assert sweep.least == rates[30]
    assert sweep.suggestion == (sweep.least if warm else sweep.steepest)


@pytest.mark.parametrize(("schedule", "warm"), [(OneCycle(), True), (Constant(), False)])
def test_a_warm_up_is_seen(schedule, warm):
    assert sweep_learning_rate(start(schedule=schedule), steps=20).warms_up is warm


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lowest": 0.0}, "no range of learning rates"),
        ({"lowest": 1.0, "highest": 0.1}, "no range of learning rates"),
        ({"steps": 10}, "more than 10 steps"),
        ({"lowest": 1e20, "highest": 1e30}, "begin at a lower rate"),
    ],
)
def test_a_sweep_that_cannot_be_is_told_and_leaves_no_trace(options, text):
    stepper = start()
    before = copies(stepper.state.tensors())
    with pytest.raises(UserError, match=text):
        sweep_learning_rate(stepper, **options)
    found = stepper.state.tensors()
    assert all(torch.equal(found[name], before[name]) for name in before)
