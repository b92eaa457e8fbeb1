import copy

import pytest
import torch
from torch import nn, optim

from reslab.models.create import create_model
from reslab.spec.optimizers import SGD, Adam, AdamW, Muon
from reslab.training.optim import make_optimizer, set_learning_rate


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))


def make(model, spec, *, lr=0.1, weight_decay=0.01, decay_norm_and_bias=False):
    return make_optimizer(
        model, spec, lr=lr, weight_decay=weight_decay, decay_norm_and_bias=decay_norm_and_bias
    )


def decay_by_name(model, optimizer):
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: group["weight_decay"]
        for group in optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize("spec", [SGD(), Adam(), AdamW()], ids=lambda spec: spec.kind)
def test_norms_and_biases_are_spared(model, spec):
    assert decay_by_name(model, make(model, spec)) == {
        "0.weight": 0.01,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "3.weight": 0.01,
        "3.bias": 0.0,
    }


@pytest.mark.parametrize("spec", [SGD(), Adam(), AdamW()], ids=lambda spec: spec.kind)
def test_or_are_decayed_like_the_rest(model, spec):
    decays = decay_by_name(model, make(model, spec, decay_norm_and_bias=True))
    assert decays == {name: 0.01 for name, _ in model.named_parameters()}


def test_each_parameter_of_a_net_is_in_one_group():
    model = create_model("resnet14", shortcut="B")
    optimizer = make(model, SGD())
    listed = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())
    decays = decay_by_name(model, optimizer)
    convolutions = {name for name, p in model.named_parameters() if p.ndim == 4}
    assert {name for name, decay in decays.items() if decay} == convolutions | {"fc.weight"}


def test_frozen_parameters_are_left_out(model):
    model[0].requires_grad_(False)
    assert set(decay_by_name(model, make(model, SGD()))) == {
        "1.weight",
        "1.bias",
        "3.weight",
        "3.bias",
    }
    model[3].requires_grad_(False)
    assert len(make(model, SGD()).param_groups) == 1


def test_the_settings_reach_the_optimiser(model):
    sgd = make(model, SGD(momentum=0.7, nesterov=True), lr=0.3)
    assert type(sgd) is optim.SGD
    assert all(
        (g["lr"], g["momentum"], g["nesterov"]) == (0.3, 0.7, True) for g in sgd.param_groups
    )
    assert not make(model, SGD(momentum=0.7, nesterov=False)).param_groups[0]["nesterov"]
    for spec, kind in (
        (Adam(beta1=0.5, beta2=0.6), optim.Adam),
        (AdamW(beta1=0.5, beta2=0.6), optim.AdamW),
    ):
        found = make(model, spec)
        assert type(found) is kind
        assert all(group["betas"] == (0.5, 0.6) for group in found.param_groups)


def test_without_momentum_nesterov_is_off(model):
    assert not make(model, SGD(momentum=0.0, nesterov=True)).param_groups[0]["nesterov"]


def reference(spec, groups):
    """Torch's plain loops, one parameter at a time."""
    plain = {"foreach": False, "fused": False}
    match spec:
        case SGD():
            return optim.SGD(
                groups, lr=1.0, momentum=spec.momentum, nesterov=spec.nesterov, **plain
            )
        case Adam():
            return optim.Adam(groups, lr=1.0, betas=(spec.beta1, spec.beta2), **plain)
        case AdamW():
            return optim.AdamW(groups, lr=1.0, betas=(spec.beta1, spec.beta2), **plain)


@pytest.mark.parametrize(
    "spec",
    [
        SGD(),
        SGD(nesterov=False),
        SGD(momentum=0.0, nesterov=False),
        Adam(beta1=0.8),
        AdamW(beta2=0.9),
    ],
    ids=lambda spec: spec.kind,
)
def test_steps_equal_the_plain_optimiser(model, spec):
    twin = copy.deepcopy(model)
    optimizer = make(model, spec, weight_decay=0.05)
    weights = [p for p in twin.parameters() if p.ndim > 1]
    others = [p for p in twin.parameters() if p.ndim == 1]
    plain = reference(
        spec,
        [{"params": weights, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
    )
    for lr in (0.1, 0.02, 0.3):
        set_learning_rate(optimizer, lr)
        set_learning_rate(plain, lr)
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        optimizer.step()
        plain.step()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


class OneNumber(nn.Module):
    """A single weight of two dimensions, so that it is decayed."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 1), 2.0))


# Weight 2, gradients 1 and 3, decay 0.5, rate 0.1: two steps by hand.
def _sgd():
    w, v, rate = 2.0, 0.0, 0.1
    for gradient in (1.0, 3.0):
        g = gradient + 0.5 * w
        v = 0.9 * v + g
        w -= rate * (g + 0.9 * v)
    return w


def _adam(decoupled):
    w, m, s, rate = 2.0, 0.0, 0.0, 0.1
    for t, gradient in enumerate((1.0, 3.0), start=1):
        g = gradient if decoupled else gradient + 0.5 * w
        if decoupled:
            w -= rate * 0.5 * w
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        w -= rate * (m / (1 - 0.9**t)) / ((s / (1 - 0.999**t)) ** 0.5 + 1e-8)
    return w


@pytest.mark.parametrize(
    ("spec", "expected"),
    [(SGD(), _sgd()), (Adam(), _adam(decoupled=False)), (AdamW(), _adam(decoupled=True))],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_two_steps_by_hand(spec, expected):
    model = OneNumber()
    optimizer = make(model, spec, weight_decay=0.5)
    for gradient in (1.0, 3.0):
        model.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
    assert model.weight.item() == pytest.approx(expected, rel=1e-5)


def test_every_group_gets_the_rate(model):
    optimizer = make(model, SGD())
    set_learning_rate(optimizer, 0.004)
    assert [group["lr"] for group in optimizer.param_groups] == [0.004, 0.004]


def test_muon_turns_kernels_and_leaves_the_rest_to_sgd(model):
    optimizer = make(model, Muon(sgd_lr=0.5), lr=0.1)
    rates = {
        id(p): (group["orthogonal"], group["lr"] * group["lr_factor"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert {name: rates[id(p)] for name, p in model.named_parameters()} == {
        "0.weight": (True, 0.1, 0.0),
        "0.bias": (False, 0.5, 0.0),
        "1.weight": (False, 0.5, 0.0),
        "1.bias": (False, 0.5, 0.0),
        "3.weight": (False, 0.5, 0.01),
        "3.bias": (False, 0.5, 0.0),
    }


def test_the_rates_of_muon_rise_and_fall_together(model):
    optimizer = make(model, Muon(sgd_lr=0.5), lr=0.1)
    set_learning_rate(optimizer, 0.05)
    rates = {group["lr"] * group["lr_factor"] for group in optimizer.param_groups}
    assert rates == {0.05, 0.25}


def test_muon_trains_what_has_no_kernels():
    model = nn.Linear(2, 2)
    assert len(make(model, Muon()).param_groups) == 2
