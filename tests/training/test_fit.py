import math
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reslab.data.batches import TrainBatches
from reslab.data.normalise import Normaliser
from reslab.data.source import Images
from reslab.engine.runtime import Runtime
from reslab.errors import TrainingDiverged
from reslab.models.blocks import BasicBlock
from reslab.models.resnet import ResNet
from reslab.spec.optimizers import SGD
from reslab.spec.resolved import ResolvedTraining
from reslab.spec.schedules import Constant, OneCycle
from reslab.training.fit import Judged, begin, fit
from reslab.training.observers import NullObserver

CHANNELS, CLASSES, BATCH, STEPS = 2, 3, 6, 4


def tiny_model(seed=0):
    torch.manual_seed(seed)
    return ResNet(
        BasicBlock,
        (1, 1),
        (4, 8),
        num_classes=CLASSES,
        in_channels=CHANNELS,
        stem="small",
        shortcut="A",
    )


def tiny_batches(steps=STEPS, **changes):
    """Images whose brightness tells the class, one too few for another step."""
    rng = np.random.default_rng(0)
    labels = np.arange(steps * BATCH + BATCH - 1) % CLASSES
    pixels = 80 * labels[:, None, None, None] + rng.integers(0, 90, (len(labels), CHANNELS, 6, 6))
    options = {"batch_size": BATCH, "pad": 1, "crop": 6, "flip": True} | changes
    return TrainBatches(
        images=Images(pixels.astype(np.uint8), labels.astype(np.int64)),
        normaliser=Normaliser((0.5,) * CHANNELS, (0.25,) * CHANNELS),
        **options,
    )


def tiny_training(**changes):
    options = {
        "epochs": 2,
        "batch_size": BATCH,
        "lr": 0.1,
        "optimizer": SGD(momentum=0.9, nesterov=True),
        "weight_decay": 0.01,
        "schedule": OneCycle(warmup=0.25, start=0.25, final=0.0),
        "label_smoothing": 0.1,
    }
    return ResolvedTraining(**(options | changes))


RUNTIME = Runtime(memory_format="contiguous", threads=1)


@dataclass
class Diary(NullObserver):
    """Writes down what an observer is told."""

    steps: list = field(default_factory=list)
    epochs: list = field(default_factory=list)
    best: list = field(default_factory=list)
    models: list = field(default_factory=list)

    def on_step(self, record):
        self.steps.append(record)

    def on_epoch(self, record, model, is_best):
        self.epochs.append(record)
        self.best.append(is_best)
        self.models.append(model)


def run(model=None, *, batches=None, runtime=RUNTIME, steps=STEPS, **options):
    """Fit with a diary; gives (model, result, diary). Settings of training go to its spec."""
    model = model or tiny_model()
    given = {key: options.pop(key) for key in ("validate", "should_stop") if key in options}
    diary = Diary()
    batches = batches or tiny_batches(steps)
    stepper = begin(model, batches, tiny_training(**options), runtime, observers=[diary])
    result = fit(stepper, **given)
    return model, result, diary


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(a, b):
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def reference_loop(steps):
    """Two epochs of SGD under one cycle, in plain torch: the losses and hits of its steps."""
    model, batches = tiny_model(), tiny_batches()
    sgd = torch.optim.SGD(
        [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for p in model.parameters() if p.ndim == 1]},
        ],
        momentum=0.9,
        nesterov=True,
        fused=True,
    )
    # Eight steps: a quarter of them rises from a quarter, the others fall to nothing.
    shares = [0.25, 0.625] + [(1 + math.cos(math.pi * i / 6)) / 2 for i in range(6)]
    losses, hits = [], []
    model.train()
    for i in range(steps):
        batch = batches.batch(i // STEPS, i % STEPS)
        for group in sgd.param_groups:
            group["lr"] = 0.1 * shares[i]
        logits = model(batch.images_NCHW)
        loss = F.cross_entropy(logits, batch.labels_N, label_smoothing=0.1)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
        hits.append((logits.argmax(1) == batch.labels_N).sum().item())
    return model, losses, hits


def test_an_independent_loop_gives_the_same_weights_bit_for_bit():
    expected, losses, hits = reference_loop(2 * STEPS)
    model, result, _ = run()
    assert not equal(model, tiny_model())
    assert equal(model, expected)
    for epoch, record in enumerate(result.history):
        part = slice(epoch * STEPS, (epoch + 1) * STEPS)
        assert record.train_loss == pytest.approx(sum(losses[part]) / STEPS, rel=1e-12)
        assert record.train_accuracy == sum(hits[part]) / (STEPS * BATCH)


def test_it_learns():
    _, result, _ = run(epochs=6)
    assert result.history[-1].train_loss < 0.8 * result.history[0].train_loss
    assert result.history[-1].train_accuracy > result.history[0].train_accuracy


def test_steps_and_records():
    _, result, diary = run(epochs=3)
    assert result.steps == 3 * STEPS
    assert not result.interrupted
    assert tuple(diary.epochs) == result.history
    assert [record.epoch for record in result.history] == [1, 2, 3]
    assert [record.step for record in result.history] == [4, 8, 12]
    last = (1 + math.cos(math.pi * 8 / 9)) / 2
    assert result.history[-1].learning_rate == pytest.approx(0.1 * last)
    for record in result.history:
        assert record.images_per_second == pytest.approx(STEPS * BATCH / record.seconds)
    assert 0 < sum(record.seconds for record in result.history) <= result.seconds


def test_observers_hear_of_the_first_every_tenth_and_each_last_step():
    _, _, diary = run(steps=12, schedule=Constant(), lr=0.05)
    assert [record.step for record in diary.steps] == [1, 10, 12, 20, 24]
    assert [record.epoch for record in diary.steps] == [1, 1, 1, 2, 2]
    for record in diary.steps:
        assert (record.epochs, record.total_steps) == (2, 24)
        assert record.learning_rate == 0.05
        assert math.isfinite(record.loss)
        assert record.images_per_second > 0
    assert diary.steps[-1].seconds_left == 0
    assert all(record.seconds_left > 0 for record in diary.steps[:-1])


def test_observers_are_told_the_loss_of_the_step():
    _, losses, _ = reference_loop(2 * STEPS)
    _, _, diary = run()
    assert [record.loss for record in diary.steps] == [losses[0], losses[3], losses[7]]


def test_observers_are_told_in_turn_and_get_the_model():
    order = []

    class Named(Diary):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def on_epoch(self, record, model, is_best):
            order.append((self.name, record.epoch))
            super().on_epoch(record, model, is_best)

    model, watchers = tiny_model(), [Named("a"), Named("b")]
    fit(begin(model, tiny_batches(), tiny_training(), RUNTIME, observers=watchers))
    assert order == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert all(seen is model for watcher in watchers for seen in watcher.models)


def scripted(accuracies, losses):
    left = [Judged(*pair, 0.0) for pair in zip(losses, accuracies, strict=True)]
    return lambda model: left.pop(0)


@pytest.mark.parametrize(
    ("accuracies", "losses", "best", "flags"),
    [
        # Accuracy decides, whatever the loss.
        ((0.5, 0.7, 0.6, 0.6), (1.0, 2.0, 0.5, 0.5), 2, [True, True, False, False]),
        ((0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 3.0, 4.0), 4, [True, True, True, True]),
        # Of equal accuracies the lower loss, of those the first.
        ((0.7, 0.7, 0.7, 0.7), (1.0, 1.5, 0.9, 1.0), 3, [True, False, True, False]),
        ((0.5, 0.7, 0.7, 0.6), (1.5, 1.5, 1.5, 1.5), 2, [True, True, False, False]),
        ((0.9, 0.2, 0.3, 0.9), (1.5, 1.5, 1.5, 1.5), 1, [True, False, False, False]),
        # Nothing right is a score too.
        ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), 1, [True, False, False, False]),
        ((0.0, 0.0, 0.0, 0.0), (9.0, 9.0, 9.0, 8.0), 4, [True, False, False, True]),
    ],
)
def test_the_best_epoch_is_the_first_of_the_highest_accuracy_and_then_of_the_lowest_loss(
    accuracies, losses, best, flags
):
    _, result, diary = run(epochs=4, steps=1, validate=scripted(accuracies, losses))
    assert result.best_epoch == best
    assert diary.best == flags
    assert [record.val_accuracy for record in result.history] == list(accuracies)
    assert [record.val_loss for record in result.history] == list(losses)


@pytest.mark.parametrize(("select_by", "best"), [("accuracy", 1), ("macro_f1", 3), ("loss", 2)])
def test_the_best_epoch_is_chosen_by_what_is_asked_for(select_by, best):
    told = [Judged(0.9, 0.8, 0.1), Judged(0.2, 0.7, 0.3), Judged(0.5, 0.6, 0.6)]
    left = iter(told)
    _, result, diary = run(
        epochs=3, steps=1, select_by=select_by, validate=lambda model: next(left)
    )
    assert result.best_epoch == best
    assert [record.val_macro_f1 for record in diary.epochs] == [t.macro_f1 for t in told]


def test_without_validation_the_last_epoch_is_best():
    _, result, diary = run(epochs=3, steps=1)
    assert result.best_epoch == 3
    assert diary.best == [True, True, True]
    assert {(r.val_loss, r.val_accuracy) for r in result.history} == {(None, None)}


def test_validation_sees_the_model_after_the_epoch_and_cannot_leave_it_in_evaluation_mode():
    seen, modes = [], []
    model = tiny_model()
    model.register_forward_hook(lambda module, *_: modes.append(module.training))

    def validate(given):
        assert given is model
        seen.append(given.bn1.num_batches_tracked.item())
        given.eval()
        return Judged(1.0, 0.5, 0.5)

    run(model, validate=validate)
    assert seen == [STEPS, 2 * STEPS]
    assert modes == [True] * 2 * STEPS


def test_validation_changes_nothing_that_is_learned():
    assert equal(run()[0], run(validate=lambda model: Judged(1.0, 0.5, 0.5))[0])


def test_a_model_in_evaluation_mode_is_trained_in_training_mode():
    assert equal(run(tiny_model().eval())[0], run()[0])


@pytest.mark.parametrize(("stop_after", "epochs_done"), [(1, 0), (3, 0), (6, 1)])
def test_asked_to_stop_it_ends_after_the_step(stop_after, epochs_done):
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) == stop_after

    model, result, diary = run(should_stop=should_stop)
    assert result.interrupted
    assert result.steps == len(asked) == stop_after
    assert len(result.history) == len(diary.epochs) == epochs_done
    assert result.best_epoch == (1 if epochs_done else None)
    assert equal(model, reference_loop(stop_after)[0])


@pytest.mark.parametrize("steps", [1, 4, 25])
def test_a_loss_that_is_not_finite_ends_training_with_advice(steps):
    with pytest.raises(TrainingDiverged) as caught:
        run(lr=1e30, steps=steps, epochs=3, schedule=Constant())
    text = str(caught.value)
    assert text.startswith("the loss became ")
    assert "learning rate 1e+30" in text
    assert "lower training.lr" in text


def test_divergence_is_seen_before_the_epoch_is_recorded():
    diary = Diary()
    with pytest.raises(TrainingDiverged, match=r"at step 2 \(epoch 1, "):
        training = tiny_training(lr=1e30, schedule=Constant())
        fit(begin(tiny_model(), tiny_batches(), training, RUNTIME, observers=[diary]))
    assert diary.epochs == []
    assert all(math.isfinite(record.loss) for record in diary.steps)


def test_the_same_seeds_give_the_same_weights_and_others_do_not():
    model, result, _ = run()
    again, repeated, _ = run()
    assert equal(model, again)
    assert [r.train_loss for r in result.history] == [r.train_loss for r in repeated.history]
    assert not equal(model, run(batches=tiny_batches(order_seed=1))[0])
    assert not equal(model, run(batches=tiny_batches(augmentation_seed=1))[0])
    assert not equal(model, run(tiny_model(seed=1))[0])


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.09},
        {"optimizer": SGD(momentum=0.8)},
        {"optimizer": SGD(nesterov=False)},
        {"weight_decay": 0.02},
        {"decay_norm_and_bias": True},
        {"schedule": OneCycle(warmup=0.5)},
        {"label_smoothing": 0.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_setting_changes_what_is_learned(change):
    assert not equal(run(**change)[0], run()[0])


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_precision_and_layout_reach_the_step(precision, dtype):
    model, seen = tiny_model(), set()

    def look(_, args, out):
        layout = args[0].is_contiguous(memory_format=torch.channels_last)
        seen.add((layout, args[0].device.type, out.dtype))

    model.conv1.register_forward_hook(look)
    runtime = Runtime(precision=precision, memory_format="channels_last")
    run(runtime.place_model(model), runtime=runtime, epochs=1, steps=2)
    assert seen == {(True, "cpu", dtype)}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_validation_time_does_not_count():
    pause = 0.1

    def validate(model):
        time.sleep(pause)
        return Judged(1.0, 0.5, 0.5)

    began = time.perf_counter()
    _, result, _ = run(epochs=3, steps=1, validate=validate)
    assert time.perf_counter() - began - result.seconds >= 3 * pause


def test_without_compilation_it_took_no_time():
    assert run(epochs=1)[1].compile_seconds == 0


class SlowFirst(nn.Module):
    """A net whose first call takes long, as a compiled one's does."""

    def __init__(self, net, pause):
        super().__init__()
        self.net, self.pause = net, pause

    def forward(self, images_NCHW):
        time.sleep(self.pause)
        self.pause = 0.0
        return self.net(images_NCHW)


@dataclass(frozen=True, kw_only=True)
class PretendingRuntime(Runtime):
    """Compiles nothing, slowly."""

    pause: float

    def compiled(self, model):
        return SlowFirst(model, self.pause) if self.compile else model


def test_the_slower_first_step_is_told_as_compilation_and_kept_out_of_the_pace():
    pause = 0.6
    runtime = PretendingRuntime(memory_format="contiguous", compile=True, pause=pause)
    model, result, _ = run(runtime=runtime)
    assert result.seconds > pause
    assert pause / 2 < result.compile_seconds <= result.seconds
    rest = result.seconds - result.compile_seconds
    # All eight steps at the usual pace are what is left without the excess.
    assert result.images_per_second == pytest.approx(2 * STEPS * BATCH / rest, rel=0.05)
    assert equal(model, run()[0])
