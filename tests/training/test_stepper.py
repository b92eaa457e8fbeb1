import pytest
import torch

from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.runs.checkpoint import Checkpoints
from reslab.spec.optimizers import SGD
from reslab.spec.schedules import Constant, OneCycle
from reslab.training.fit import fit
from reslab.training.observers import NullObserver
from reslab.training.saver import Saver
from reslab.training.schedule import learning_rate
from reslab.training.state import Cut
from tests.training.test_fit import BATCH, STEPS, equal
from tests.training.test_state import cut, start, states_equal
from tests.training.test_step import forget_memory_beyond


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


class Warned(NullObserver):
    def __init__(self):
        self.texts = []

    def on_warning(self, text):
        self.texts.append(text)


def short_of_memory(images, *, most_parts=BATCH, **options):
    """A training whose steps fail with more images than these, and what it warned of."""
    watch = Warned()
    stepper = start(observers=[watch], most_parts=most_parts, **options)
    forget_memory_beyond(stepper.state.model, images, "backward")
    return stepper, watch.texts


def test_where_memory_is_short_batches_are_cut_for_good(monkeypatch):
    released = []
    monkeypatch.setattr("reslab.training.stepper.release", released.append)
    stepper, told = short_of_memory(BATCH // 2)
    assert fit(stepper).cuts == ((1, 2),)
    assert released == ["cpu"]
    assert len(told) == 1
    assert "from step 1 on batches are computed in 2 parts" in told[0]
    assert f"sees {BATCH // 2} images at a time" in told[0]
    asked = start(micro_batches=2)
    fit(asked)
    assert states_equal(stepper, asked)


def test_they_are_cut_until_they_fit():
    stepper, told = short_of_memory(1)
    assert fit(stepper).cuts[-1] == (1, BATCH)
    assert [text.split(" parts")[0].split()[-1] for text in told][-1] == str(BATCH)


@pytest.mark.parametrize("segments", [0, 2])
def test_what_a_part_did_before_the_next_one_failed_is_undone(segments):
    stepper = start(most_parts=BATCH, micro_batches=2, segments=segments)
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) == 4:  # the second part of the second step
            raise torch.OutOfMemoryError("CUDA out of memory.")

    stepper.state.model.fc.register_forward_hook(fail)
    assert fit(stepper).cuts == ((2, 4),)
    twin = start(micro_batches=2, segments=segments)
    fit(twin, should_stop=lambda: twin.state.step == 1)
    twin.state.cuts.append(Cut(2, 4))
    fit(twin)
    assert states_equal(stepper, twin)


def test_images_that_do_not_fit_on_the_device_are_placed_in_parts(monkeypatch):
    place = Runtime.place_images

    def fail(runtime, images_NCHW):
        if len(images_NCHW) > BATCH // 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return place(runtime, images_NCHW)

    monkeypatch.setattr(Runtime, "place_images", fail)
    assert fit(start(most_parts=BATCH)).cuts == ((1, 2),)


def test_where_even_the_smallest_parts_do_not_fit_that_is_told_and_the_state_is_kept(tmp_path):
    stepper, _ = short_of_memory(1, most_parts=2)
    with pytest.raises(UserError, match=rf"{BATCH // 2} of its {BATCH} images at a time; end"):
        fit(stepper)
    stepper, _ = short_of_memory(0)
    with pytest.raises(UserError, match=rf"on cpu for a step with 1 of its {BATCH} images"):
        fit(stepper)

    store = Checkpoints(tmp_path)
    later = start()
    make = later.make

    def fail_at_the_fourth(*place):
        if later.state.step == 3:
            forget_memory_beyond(later.state.model, 0, "forward")
        return make(*place)

    later.make = fail_at_the_fourth
    with pytest.raises(UserError):
        fit(later, saver=Saver(store.save, 1e9))
    resumed, whole = start(), start()
    resumed.state.restore(store.load()[0])
    assert resumed.state.step == 3
    fit(resumed)
    fit(whole)
    assert states_equal(resumed, whole)


def test_a_resumed_training_remembers_that_memory_was_short(tmp_path):
    store = Checkpoints(tmp_path)
    whole, _ = short_of_memory(BATCH // 2)
    fit(whole)
    first, _ = short_of_memory(BATCH // 2)
    cut(first, store, after=STEPS + 1)
    resumed = start()  # with room enough now
    resumed.state.restore(store.load()[0])
    fit(resumed)
    assert states_equal(resumed, whole)
