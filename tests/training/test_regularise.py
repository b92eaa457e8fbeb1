import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim

from reslab.runs.checkpoint import Checkpoints
from reslab.spec.optimizers import AdamW
from reslab.training.fit import Judged, fit
from reslab.training.regularise import (
    WeightAverage,
    has_stalled,
    mix,
    penalised_weights,
    penalty,
)
from reslab.training.state import copies, tensors_of
from tests.training.test_fit import STEPS, tiny_model
from tests.training.test_observers import EPOCH
from tests.training.test_state import cut, start, states_equal
from tests.training.test_step import IMAGES, LABELS, step


def test_penalties_by_their_formulas():
    weights = [torch.tensor([[3.0, -4.0]], requires_grad=True), torch.tensor([2.0])]
    assert penalty(weights, l1=0.1, l2=0.0).item() == pytest.approx(0.9)
    assert penalty(weights, l1=0.0, l2=0.01).item() == pytest.approx(0.5 * 0.01 * 29)
    penalty(weights, l1=0.1, l2=0.01).backward()
    torch.testing.assert_close(weights[0].grad, torch.tensor([[0.1 + 0.03, -0.1 - 0.04]]))


def test_norms_and_biases_are_spared_unless_asked():
    model = tiny_model()
    model.fc.weight.requires_grad_(False)
    spared = {id(p) for p in penalised_weights(model, norm_and_bias=False)}
    every = {id(p) for p in penalised_weights(model, norm_and_bias=True)}
    assert id(model.conv1.weight) in spared and id(model.bn1.weight) not in spared
    assert id(model.bn1.weight) in every and id(model.fc.weight) not in every


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_with_plain_sgd_the_l2_penalty_is_weight_decay(micro_batches):
    made = []
    for decay, l2 in ((0.05, 0.0), (0.0, 0.05)):
        model = tiny_model()
        weights = penalised_weights(model, norm_and_bias=True)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=decay)
        for _ in range(3):
            step(
                model,
                optimizer,
                micro_batches=micro_batches,
                penalise=partial(penalty, weights, l1=0.0, l2=l2) if l2 else None,
            )
        made.append(model.state_dict())
    torch.testing.assert_close(made[0], made[1], rtol=1e-4, atol=1e-6)


def test_with_adamw_it_is_not():
    decayed = start(optimizer=AdamW(), weight_decay=0.1)
    penalised = start(optimizer=AdamW(), weight_decay=0.0, l2=0.1)
    fit(decayed)
    fit(penalised)
    assert not torch.allclose(decayed.state.model.fc.weight, penalised.state.model.fc.weight, 0.05)


def test_mixup_by_its_formula():
    torch.manual_seed(3)
    mixed, targets = mix(IMAGES, LABELS, mixup=0.4, cutmix=0.0, classes=3)
    torch.manual_seed(3)
    share = torch.distributions.Beta(torch.tensor([0.4]), torch.tensor([0.4])).sample().item()
    assert 0 < share < 1
    torch.testing.assert_close(mixed, share * IMAGES + (1 - share) * IMAGES.roll(1, 0))
    one_hot = F.one_hot(LABELS, 3).float()
    torch.testing.assert_close(targets, share * one_hot + (1 - share) * one_hot.roll(1, 0))


def test_cutmix_shares_labels_as_it_shares_pixels():
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, targets = mix(IMAGES, LABELS, mixup=0.0, cutmix=1.0, classes=3)
        pasted = (mixed != IMAGES).any(dim=1)
        assert torch.equal(mixed, torch.where(pasted[:, None], IMAGES.roll(1, 0), IMAGES))
        share = 1 - pasted[0].float().mean()
        one_hot = F.one_hot(LABELS, 3).float()
        torch.testing.assert_close(targets, share * one_hot + (1 - share) * one_hot.roll(1, 0))


def test_of_both_each_batch_gets_one():
    kinds = set()
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, _ = mix(IMAGES, LABELS, mixup=1.0, cutmix=1.0, classes=3)
        # Where all pixels differ they were blended, where some do a part was pasted.
        kinds.add(bool((mixed != IMAGES).all()))
    assert kinds == {True, False}


def test_the_loss_of_mixed_targets_is_the_mixed_loss():
    model = tiny_model()
    images, targets = mix(IMAGES, LABELS, mixup=1.0, cutmix=0.0, classes=3)
    logits = copy.deepcopy(model).train()(images)
    expected = -(targets * logits.log_softmax(1)).sum(1).mean()
    result = step(model, optim.SGD(model.parameters(), lr=0.1), images, targets)
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert result.hits.item() == (logits.argmax(1) == targets.argmax(1)).sum().item()


def history(*scores):
    return [
        replace(EPOCH, epoch=i + 1, step=i + 1, val_loss=loss, val_accuracy=accuracy)
        for i, (accuracy, loss) in enumerate(scores)
    ]


@pytest.mark.parametrize(
    ("scores", "patience", "min_delta", "stalled"),
    [
        ([], 1, 0.0, False),
        ([(0.5, 1.0)], 1, 0.0, False),
        ([(0.5, 1.0), (0.5, 1.0)], 1, 0.0, True),
        ([(0.5, 1.0), (0.5, 0.9)], 1, 0.0, False),  # the same accuracy, less loss
        ([(0.5, 1.0), (0.5, 0.9)], 1, 0.01, True),
        ([(0.5, 1.0), (0.505, 1.0)], 1, 0.01, True),
        ([(0.5, 1.0), (0.505, 1.0), (0.511, 1.0)], 2, 0.01, False),  # of the best, not the last
        ([(0.5, 1.0), (0.4, 1.0), (0.4, 1.0)], 2, 0.0, True),
        ([(0.5, 1.0), (0.4, 1.0), (0.6, 1.0)], 2, 0.0, False),
        ([(None, None)] * 9, 1, 0.0, False),
    ],
)
def test_patience_ends_after_so_many_epochs_that_are_no_better(
    scores, patience, min_delta, stalled
):
    assert has_stalled(history(*scores), patience=patience, min_delta=min_delta) is stalled


def test_patience_is_with_what_the_best_epoch_is_chosen_by():
    records = [
        replace(EPOCH, val_loss=loss, val_accuracy=0.5 - 0.1 * i, val_macro_f1=0.5)
        for i, loss in enumerate((0.9, 0.8, 0.7))
    ]
    stalled = [
        has_stalled(records, patience=2, min_delta=0.05, select_by=by)
        for by in ("accuracy", "macro_f1", "loss")
    ]
    assert stalled == [True, True, False]


def test_training_ends_early_with_the_best_weights_kept():
    seen = []

    def validate(model):
        seen.append(copies(model.state_dict()))
        return Judged(1.0, (0.5, 0.9, 0.2, 0.2, 0.2)[len(seen) - 1], 0.0)

    stepper = start(epochs=5, patience=2)
    result = fit(stepper, validate=validate)
    assert result.stopped_early and not result.interrupted
    assert (len(result.history), result.best_epoch) == (4, 2)
    best = stepper.state.best.weights
    assert all(torch.equal(best[name], seen[1][name]) for name in best)
    same = Judged(1.0, 0.5, 0.5)
    assert not fit(start(epochs=2, patience=2), validate=lambda model: same).stopped_early


ACCURACY = {0: 0.5, 1: 0.9, 2: 0.2, 3: 0.2}


def falling(model):
    return Judged(1.0, ACCURACY[model.bn1.num_batches_tracked.item() // STEPS - 1], 0.0)


@pytest.mark.parametrize("after", range(1, 4 * STEPS + 1))
def test_a_training_that_ends_early_is_resumed_at_any_step(tmp_path, after):
    options = {"epochs": 9, "patience": 2, "ema": 0.5}
    whole = start(**options)
    expected = fit(whole, validate=falling)
    assert (expected.steps, expected.stopped_early) == (4 * STEPS, True)
    store = Checkpoints(tmp_path)
    cut(start(**options), store, after, validate=falling)
    resumed = start(seed=1, **options)
    resumed.state.restore(store.load()[0])
    result = fit(resumed, validate=falling)
    assert states_equal(whole, resumed)
    assert (result.steps, result.best_epoch, result.stopped_early) == (4 * STEPS, 2, True)


class One(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.register_buffer("mean", torch.tensor([10.0]))
        self.register_buffer("count", torch.tensor(1))


@pytest.mark.parametrize("decay", [0.1, 0.999])
def test_the_average_by_hand(decay):
    model = One()
    average = WeightAverage(model, decay)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for n in range(1, 4):
        with torch.no_grad():
            model.weight.add_(1.0)
            model.mean.mul_(2.0)
            model.count.add_(1)
        average.update()
        left = min(decay, (1 + n) / (10 + n))
        for name in ("weight", "mean"):
            expected[name] = left * expected[name] + (1 - left) * model.state_dict()[name]
    found = average.model.state_dict()
    torch.testing.assert_close(found["weight"], expected["weight"])
    torch.testing.assert_close(found["mean"], expected["mean"])
    assert found["count"] == 4
    assert not any(p.requires_grad for p in average.model.parameters())


def test_the_average_is_judged_and_the_net_trained():
    judged = []
    stepper = start(ema=0.5)
    fit(stepper, validate=lambda model: (judged.append(model), Judged(1.0, 0.5, 0.5))[1])
    assert judged == [stepper.state.average.model] * 2
    plain = start()
    fit(plain)
    assert torch.equal(stepper.state.model.fc.weight, plain.state.model.fc.weight)
    assert not torch.equal(stepper.state.average.model.fc.weight, plain.state.model.fc.weight)


def test_a_gradient_that_is_too_long_is_scaled_down():
    lengths = []
    for clip in (None, 0.01, 1e9):
        model = tiny_model()
        before = copies(model.state_dict())
        optimizer = optim.SGD(model.parameters(), lr=1.0)
        step(model, optimizer, clip_norm=clip)
        moved = [p.detach() - before[name] for name, p in model.named_parameters()]
        lengths.append(torch.cat([m.flatten() for m in moved]).norm().item())
    assert lengths[1] == pytest.approx(0.01, rel=1e-3)
    assert lengths[0] == lengths[2] > 0.1


def test_what_is_off_is_not_there(monkeypatch):
    """Whatever belongs to a remedy is not so much as called, so that off changes no bit."""

    def forbidden(*_, **__):
        raise AssertionError("called")

    for name in ("mix", "penalty", "penalised_weights"):
        monkeypatch.setattr(f"reslab.training.stepper.{name}", forbidden)
    for name in ("WeightAverage", "has_stalled"):
        monkeypatch.setattr(f"reslab.training.fit.{name}", forbidden)
    monkeypatch.setattr("torch.nn.utils.clip_grads_with_norm_", forbidden)
    stepper = start()
    fit(stepper)
    assert tensors_of(stepper.state.model, stepper.state.optimizer).keys() == (
        stepper.state.tensors().keys()
    )
    assert stepper.state.step == 2 * STEPS
