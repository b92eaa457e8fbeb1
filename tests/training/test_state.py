"""A training that is cut off anywhere and goes on is the training that was not."""

from dataclasses import replace

import pytest
import torch

from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.runs.checkpoint import Checkpoints
from reslab.runs.history import without_times
from reslab.spec.optimizers import SGD, Adam, AdamW
from reslab.training.fit import Judged, begin, fit
from reslab.training.observers import NullObserver
from reslab.training.saver import Saver
from reslab.training.state import copies, tensors_of
from tests.training.test_fit import STEPS, equal, tiny_batches, tiny_model, tiny_training

# By what batch norm has counted after each epoch, which sees three parts of a batch one by one.
SCORES = {n * i * STEPS: score for n in (1, 3) for i, score in ((1, 0.5), (2, 0.9), (3, 0.2))}
SCORES[3 * STEPS] = 0.4  # the third epoch of whole batches and the first of parts


def start(
    *,
    seed=0,
    layout="channels_last",
    batches=None,
    segments=0,
    micro_batches=1,
    most_parts=1,
    observers=(),
    **training,
):
    runtime = Runtime(
        memory_format=layout,
        threads=1,
        checkpoint_segments=segments,
        micro_batches=micro_batches,
    )
    model = runtime.place_model(tiny_model(seed))
    model.checkpoint_activations(segments)
    return begin(
        model,
        batches or tiny_batches(),
        tiny_training(**training),
        runtime,
        most_parts=most_parts,
        observers=observers,
    )


def validate(model):
    """Rises and falls, so that the best epoch is neither the first nor the last."""
    return Judged(1.0, SCORES[model.bn1.num_batches_tracked.item()], 0.0)


def timeless(result):
    return [without_times(record) for record in result.history]


def states_equal(a, b):
    a, b = (s.state.tensors() for s in (a, b))
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


def cut(stepper, store, after, **options):
    """Train until so many steps are made, then leave a checkpoint."""
    return fit(
        stepper,
        should_stop=lambda: stepper.state.step == after,
        saver=Saver(store.save, 1e9),
        **options,
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layout": "contiguous", "optimizer": SGD(momentum=0.0, nesterov=False)},
        {"optimizer": Adam()},
        {"optimizer": AdamW(), "segments": 2},
        {"non_finite": "rollback"},
        {"micro_batches": 3},
        {"ema": 0.7, "non_finite": "rollback"},
        {"class_weights": (0.5, 2.0, 1.0), "batches": tiny_batches(balanced=True)},
        {"mixup": 0.4, "cutmix": 1.0, "l1": 1e-3, "l2": 0.01, "clip_norm": 0.5, "ema": 0.9},
    ],
    ids=[
        "sgd",
        "no momentum",
        "adam",
        "adamw in segments",
        "rollback",
        "in parts",
        "averaged, rollback",
        "weighted and balanced",
        "mixed, penalised, clipped, averaged",
    ],
)
@pytest.mark.parametrize("after", range(1, 3 * STEPS))
def test_it_goes_on_from_every_step(tmp_path, after, options):
    options = {"epochs": 3, **options}
    whole = start(**options)
    expected = fit(whole, validate=validate)

    store = Checkpoints(tmp_path)
    assert cut(start(**options), store, after, validate=validate).interrupted
    resumed = start(seed=1, **options)  # other weights, all of which must be replaced
    resumed.state.restore(store.load()[0])
    assert resumed.state.step == after
    result = fit(resumed, validate=validate)

    assert states_equal(whole, resumed)
    assert timeless(result) == timeless(expected)
    assert (result.best_epoch, result.steps) == (expected.best_epoch, expected.steps) == (2, 12)
    best, wanted = resumed.state.best.weights, whole.state.best.weights
    assert all(torch.equal(best[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("after", range(1, 2 * STEPS))
def test_no_image_is_repeated_lost_or_reordered(tmp_path, after):
    def watched():
        seen = []
        batches = tiny_batches()
        positions = batches.positions

        def watch(epoch, i):
            seen.append((epoch, i, *positions(epoch, i)))
            return positions(epoch, i)

        watching = replace(batches)
        object.__setattr__(watching, "positions", watch)
        return watching, seen

    batches, expected = watched()
    fit(start(batches=batches))
    batches, before = watched()
    store = Checkpoints(tmp_path)
    cut(start(batches=batches), store, after)
    batches, later = watched()
    resumed = start(batches=batches)
    resumed.state.restore(store.load()[0])
    fit(resumed)
    assert len(before) == after
    assert before + later == expected


def test_a_validation_that_was_cut_off_is_made_when_resumed(tmp_path):
    from reslab.training.fit import StopRequestedError  # noqa: PLC0415 - of this test alone

    def refuse(model):
        raise StopRequestedError("asked")

    store = Checkpoints(tmp_path)
    first = fit(start(), validate=refuse, saver=Saver(store.save, 1e9))
    assert first.interrupted and first.history == () and first.steps == STEPS
    resumed = start(seed=1)
    resumed.state.restore(store.load()[0])
    result = fit(resumed, validate=validate)
    whole = start()
    assert timeless(result) == timeless(fit(whole, validate=validate))
    assert states_equal(whole, resumed)


def test_times_are_added_up(tmp_path):
    store = Checkpoints(tmp_path)
    first = cut(start(), store, 6)
    resumed = start()
    resumed.state.restore(store.load()[0])
    assert resumed.state.watch.seconds() == pytest.approx(first.seconds)
    assert fit(resumed).seconds > first.seconds


def test_a_checkpoint_of_another_net_is_refused_and_changes_nothing(tmp_path):
    store = Checkpoints(tmp_path)
    cut(start(), store, 3)
    other = start(seed=1)
    other.state.model.replace_head(7)
    before = copies(other.state.model.state_dict())
    with pytest.raises(UserError, match="of another net"):
        other.state.restore(store.load()[0])
    after = other.state.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_optimizer_keeps_the_layout_of_the_weights(tmp_path):
    store = Checkpoints(tmp_path)
    cut(start(), store, 3)
    resumed = start()
    resumed.state.restore(store.load()[0])
    weight = resumed.state.model.conv1.weight
    assert not weight.is_contiguous()
    assert resumed.state.optimizer.state[weight]["momentum_buffer"].stride() == weight.stride()


def test_saving_disturbs_nothing(tmp_path):
    plain, saving = start(), start()
    fit(plain)
    fit(saving, saver=Saver(Checkpoints(tmp_path).save, 0.0))
    assert equal(plain.state.model, saving.state.model)


def test_rolling_back_gives_the_weights_that_the_epoch_began_with():
    seen = []

    class Watch(NullObserver):
        def on_epoch(self, record, model, is_best):
            seen.append(copies(tensors_of(model, stepper.state.optimizer)))

    stepper = start(non_finite="rollback", observers=[Watch()])
    fit(stepper)
    stepper.state.roll_back()
    found = tensors_of(stepper.state.model, stepper.state.optimizer)
    assert all(torch.equal(seen[0][name], found[name]) for name in found)
