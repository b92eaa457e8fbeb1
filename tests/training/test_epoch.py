"""What is done about steps that are not finite, and what the others come to."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from reslab.errors import TrainingDiverged
from reslab.training.epoch import MOST_LEFT_OUT
from reslab.training.fit import fit
from reslab.training.observers import NullObserver
from reslab.training.state import copies, tensors_of
from tests.training.test_fit import BATCH, STEPS, tiny_batches
from tests.training.test_state import start


class Warned(NullObserver):
    def __init__(self):
        self.texts, self.losses = [], []

    def on_warning(self, text):
        self.texts.append(text)

    def on_epoch(self, record, model, is_best):
        self.losses.append(record.train_loss)


def break_loss(stepper, numbers):
    """Make the logits of these steps, counted from 1, not finite."""
    model = stepper.state.model
    model.fc.register_forward_hook(
        lambda _, __, out: out * math.inf if stepper.state.step + 1 in numbers else out
    )
    return stepper


def break_gradient(stepper, numbers):
    """Make a gradient of these steps not finite, the loss being fine."""
    stepper.state.model.layer2[0].conv1.weight.register_hook(
        lambda grad: grad * math.nan if stepper.state.step + 1 in numbers else grad
    )
    return stepper


def break_input(stepper, numbers):
    """Give these steps images that are not finite, as a broken decoder might."""
    batches, make = stepper.batches, stepper.batches.batch

    def broken(epoch, i):
        batch = make(epoch, i)
        if stepper.state.step + 1 in numbers:
            batch.images_NCHW[2, 0, 0, 0] = math.nan
            batch.images_NCHW[4, 1, 2, 3] = math.inf
        return batch

    stepper.batches = replace(batches)
    object.__setattr__(stepper.batches, "batch", broken)
    return stepper


BREAK = {
    break_loss: "the loss became nan at step 6 (epoch 2, ",
    break_gradient: "the gradient of layer2.0.conv1.weight is not finite at step 6 (epoch 2, ",
    break_input: "the input holds numbers that are not finite at step 6 (epoch 2, ",
}


@pytest.mark.parametrize("harm", BREAK)
@pytest.mark.parametrize("engine", [{}, {"segments": 2}, {"micro_batches": 3}])
def test_it_stops_before_the_step_with_weights_and_buffers_as_they_were(harm, engine):
    five = start(**engine)
    fit(five, should_stop=lambda: five.state.step == 5)
    before = copies(tensors_of(five.state.model, five.state.optimizer))

    stepper = harm(start(**engine), {6})
    with pytest.raises(TrainingDiverged) as told:
        fit(stepper)
    assert str(told.value).startswith(BREAK[harm])
    found = tensors_of(stepper.state.model, stepper.state.optimizer)
    assert all(torch.equal(found[name], before[name]) for name in before)
    assert stepper.state.step == 5


def test_images_at_fault_are_named():
    stepper = break_input(start(), {6})
    with pytest.raises(TrainingDiverged) as told:
        fit(stepper)
    third, fifth = stepper.batches.positions(1, 1)[[2, 4]]
    assert stepper.batches.numbers is None
    assert f": training images {third}, {fifth}; mend or leave out" in str(told.value)


def test_images_are_called_what_they_were_published_as():
    count = len(tiny_batches().images)
    stepper = break_input(start(batches=tiny_batches(numbers=np.arange(count) + 1000)), {6})
    with pytest.raises(TrainingDiverged) as told:
        fit(stepper)
    third = stepper.batches.positions(1, 1)[2]
    assert f": training images {third + 1000}, " in str(told.value)


@pytest.mark.parametrize("harm", BREAK)
def test_a_skipped_step_is_counted_told_and_changes_nothing(harm):
    watch = Warned()
    stepper = harm(start(non_finite="skip", observers=[watch]), {3, 6})
    result = fit(stepper)
    assert (result.left_out, result.steps) == (2, 2 * STEPS)
    assert len(watch.texts) == 2
    assert watch.texts[1].startswith(BREAK[harm]) and watch.texts[1].endswith("6 was left out")
    assert all(map(math.isfinite, watch.losses))

    # As if the step had not been: the same steps by hand.
    twin = start()
    twin.state.model.train()
    for step in range(2 * STEPS):
        if step + 1 not in {3, 6}:
            twin.make(step // STEPS, step % STEPS, twin.rate(step))
    found = tensors_of(stepper.state.model, stepper.state.optimizer)
    wanted = tensors_of(twin.state.model, twin.state.optimizer)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_roll_back_begins_the_epoch_anew_after_the_step():
    watch = Warned()
    stepper = break_loss(start(non_finite="rollback", observers=[watch]), {7})
    fit(stepper)
    assert "back to the weights that the epoch began with; step 7 was left out" in watch.texts[0]

    twin = start()
    twin.state.model.train()
    for step in (0, 1, 2, 3, 7):  # steps 5 and 6 are undone, 7 was not made
        twin.make(step // STEPS, step % STEPS, twin.rate(step))
    found = tensors_of(stepper.state.model, stepper.state.optimizer)
    wanted = tensors_of(twin.state.model, twin.state.optimizer)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("choice", ["skip", "rollback"])
def test_too_many_in_a_row_end_training(choice):
    stepper = break_loss(start(non_finite=choice, epochs=5), set(range(3, 100)))
    with pytest.raises(TrainingDiverged, match=f"{MOST_LEFT_OUT}th step in a row|every step of"):
        fit(stepper)
    assert stepper.state.left_out <= MOST_LEFT_OUT


def test_weights_that_an_update_broke_are_named():
    stepper = start()
    with torch.no_grad():
        stepper.state.model.layer1[0].conv2.weight[0] = math.inf
    with pytest.raises(TrainingDiverged, match=r"layer1.0.conv2.weight is no longer finite at st"):
        fit(stepper)


def break_last_update(stepper, epoch):
    """Let the update of the last step of an epoch, counted from 1, spoil a weight."""
    update = stepper.state.optimizer.step

    def spoil():
        update()
        if stepper.state.step + 1 == epoch * STEPS:
            with torch.no_grad():
                stepper.state.model.fc.weight[0] = math.nan

    stepper.state.optimizer.step = spoil
    return stepper


def test_an_update_that_no_loss_has_shown_yet_is_told_or_taken_back():
    with pytest.raises(TrainingDiverged, match=f"fc.weight is no longer finite after step {STEPS}"):
        fit(break_last_update(start(), 1))
    watch = Warned()
    stepper = break_last_update(start(non_finite="rollback", observers=[watch]), 2)
    assert fit(stepper).left_out == 1
    assert "back to the weights that the epoch began with" in watch.texts[0]
    twin = start()
    twin.state.model.train()
    for i in range(STEPS):
        twin.make(0, i, twin.rate(i))
    found = tensors_of(stepper.state.model, stepper.state.optimizer)
    wanted = tensors_of(twin.state.model, twin.state.optimizer)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_epochs_that_all_break_end_training():
    stepper = start(batches=tiny_batches(steps=1), non_finite="rollback", epochs=MOST_LEFT_OUT + 2)
    update = stepper.state.optimizer.step

    def spoil():
        update()
        with torch.no_grad():
            stepper.state.model.fc.weight[0] = math.nan

    stepper.state.optimizer.step = spoil
    with pytest.raises(TrainingDiverged, match=f"the {MOST_LEFT_OUT}th step in a row"):
        fit(stepper)


def test_a_whole_epoch_counts_each_image_once():
    stepper = start(epochs=1)
    seen = []
    forward = stepper.state.model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    result = fit(stepper)
    forward.remove()
    assert sum(map(len, seen)) == STEPS * BATCH
    assert result.history[0].images_per_second == pytest.approx(
        STEPS * BATCH / result.history[0].seconds
    )
    assert np.isfinite(result.history[0].train_loss)
