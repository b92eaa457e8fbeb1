import copy

import pytest
import torch
from torch import nn, optim

from reslab.training.muon import Muon, is_kernel, orthogonalise


@pytest.mark.parametrize("shape", [(3, 16, 144), (1, 16, 9), (2, 8, 8)], ids=str)
def test_orthogonalised_matrices_keep_their_directions(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape, dtype=torch.float64) * 1e-3
    other = torch.randn(5, shape[1], dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    *turned, _ = orthogonalise([*matrices, other])
    found = left.mT @ torch.stack(turned) @ right.mT
    values = found.diagonal(dim1=1, dim2=2)
    # All but the directions in which there was next to nothing.
    assert values.median() > 0.6 and values.max() < 1.3
    torch.testing.assert_close(found, torch.diag_embed(values), atol=1e-9, rtol=0)


def test_a_matrix_of_zeros_stays_one():
    assert (orthogonalise([torch.zeros(4, 6)])[0] == 0).all()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 3)
    )


def muon_over(model, **options):
    kernels = [p for p in model.parameters() if is_kernel(p)]
    rest = [p for p in model.parameters() if not is_kernel(p)]
    groups = [
        {"params": kernels, "orthogonal": True},
        {"params": rest, "lr_factor": 5.0, "weight_decay": 0.01},
    ]
    return Muon(groups, **{"lr": 0.1, "momentum": 0.6, "nesterov": True, **options})


def learn(model, optimizer, steps=3):
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(torch.randn(8, 2, 5, 5)) ** 2).sum().backward()
        optimizer.step()


def test_a_step_moves_a_kernel_by_its_rate_and_keeps_its_norm(model):
    before = copy.deepcopy(model)
    learn(model, muon_over(model, lr=0.01), steps=1)
    for old, new in zip(before.parameters(), model.parameters(), strict=True):
        if is_kernel(old):
            assert new.norm().item() == pytest.approx(old.norm().item(), rel=1e-5)
            moved = ((new - old).norm() / old.norm()).item()
            # Singular values are only about 1.
            assert 0.007 < moved < 0.012


@pytest.mark.parametrize("nesterov", [True, False])
def test_the_rest_learns_as_by_sgd(model, nesterov):
    for parameter in model.parameters():
        parameter.requires_grad_(not is_kernel(parameter))
    twin = copy.deepcopy(model)
    learn(model, muon_over(model, nesterov=nesterov))
    sgd = optim.SGD(
        [p for p in twin.parameters() if not is_kernel(p)],
        lr=0.5,
        momentum=0.6,
        nesterov=nesterov,
        weight_decay=0.01,
    )
    learn(twin, sgd)
    for found, expected in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_an_update_by_hand(model):
    kernel = model[1].weight
    before = kernel.detach().clone()
    optimizer = muon_over(model, lr=0.2, nesterov=False)
    total = torch.zeros_like(kernel)
    for _ in range(2):
        kernel.grad = torch.randn_like(kernel)
        optimizer.step()
        total = 0.6 * total + kernel.grad
        step = orthogonalise([total.flatten(1)])[0].view_as(before)
        moved = before - 0.2 * before.norm() * step / 2  # 4 rows: a norm of 2
        before = moved * (before.norm() / moved.norm())
        torch.testing.assert_close(kernel.detach(), before)


def test_what_has_no_gradient_is_left_alone(model):
    before = copy.deepcopy(model)
    muon_over(model).step()
    for old, new in zip(before.parameters(), model.parameters(), strict=True):
        assert torch.equal(old, new)
