"""Each function against its formula in float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from reslab.ops.batch_norm import (
    activate,
    add_activate,
    mask,
    norm_gradient,
    normalise,
    normalise_backward,
    sums_of,
)
from reslab.ops.native import Kernels

PIXELS = (0, 2, 3)


@pytest.fixture(autouse=True, params=[1, 2], ids=["one thread", "two threads"])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


# One, two and four vectors of 16 at a time; less and more pixels than a block of sums.
@pytest.fixture(params=[(4, 16, 2, 1), (3, 48, 5, 7), (2, 32, 4, 3), (3, 64, 19, 17)])
def like(request: pytest.FixtureRequest) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(request.param).to(memory_format=torch.channels_last)


def close(found: Tensor, expected: Tensor) -> None:
    spread = expected.abs().max().item()
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=2e-6 * spread)


def exact_affine(affine_2C: Tensor, x: Tensor) -> Tensor:
    scale, shift = (a.double().view(1, -1, 1, 1) for a in affine_2C)
    return x * scale + shift


def test_sums_are_those_of_the_pixels(kernels: Kernels, like: Tensor) -> None:
    z = like.double()
    found = sums_of(kernels, like)
    assert found.dtype == torch.float64
    close(found, torch.stack([z.sum(PIXELS), z.square().sum(PIXELS)]))


@pytest.mark.parametrize("momentum", [0.1, 1.0, 0.0])
def test_statistics_are_those_of_torchs_norm(
    kernels: Kernels, like: Tensor, momentum: float
) -> None:
    norm = nn.BatchNorm2d(like.shape[1], eps=1e-3, momentum=momentum)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_()
    exact = nn.BatchNorm2d(like.shape[1], eps=1e-3, momentum=momentum).double()
    exact.load_state_dict(norm.state_dict())
    expected = exact(like.double())
    found = normalise(kernels, norm, like, sums_of(kernels, like))
    close(exact_affine(found.affine_2C, like.double()), expected)
    close(norm.running_mean, exact.running_mean)
    close(norm.running_var, exact.running_var)
    assert norm.num_batches_tracked == exact.num_batches_tracked == 1
    close(found.statistics_2C[0], like.double().mean(PIXELS))
    close(found.statistics_2C[1], (like.double().var(PIXELS, correction=0) + 1e-3).rsqrt())


def test_equal_numbers_have_no_spread(kernels: Kernels) -> None:
    z = torch.full((2, 16, 5, 5), 0.1).to(memory_format=torch.channels_last)
    norm = nn.BatchNorm2d(16)
    found = normalise(kernels, norm, z, sums_of(kernels, z))
    assert found.affine_2C.isfinite().all()
    assert (found.statistics_2C[1] <= 1e-5**-0.5).all()
    assert (norm.running_var <= 0.9 + 1e-6).all()


def test_gradients_are_those_of_torchs_norm(kernels: Kernels, like: Tensor) -> None:
    gradient = torch.randn_like(like)
    norm = nn.BatchNorm2d(like.shape[1])
    nn.init.normal_(norm.weight)
    weight = norm.weight.detach()
    exact = nn.BatchNorm2d(like.shape[1]).double()
    exact.load_state_dict(norm.state_dict())
    z = like.double().requires_grad_()
    exact(z).backward(gradient.double())
    normalised = normalise(kernels, norm, like, sums_of(kernels, like))
    sums_2C = torch.stack([gradient.double().sum(PIXELS), (gradient.double() * like).sum(PIXELS)])
    found = normalise_backward(kernels, sums_2C, like, weight, normalised)
    dz = norm_gradient(kernels, gradient, like, found.coefficients_3C)
    close(found.bias_C, exact.bias.grad)
    close(found.weight_C, exact.weight.grad)
    close(dz, z.grad)


def test_the_norms_gradient_is_its_formula(kernels: Kernels, like: Tensor) -> None:
    gradient, coefficients_3C = torch.randn_like(like), torch.randn(3, like.shape[1])
    k1, k2, k3 = (k.double().view(1, -1, 1, 1) for k in coefficients_3C)
    close(norm_gradient(kernels, gradient, like, coefficients_3C), gradient * k1 + like * k2 + k3)


def test_activations_are_their_formulas(kernels: Kernels, like: Tensor) -> None:
    channels = like.shape[1]
    affine_2C, other_2C = torch.randn(2, channels), torch.randn(2, channels)
    x = torch.randn_like(like)
    exact = exact_affine(affine_2C, like.double())
    close(activate(kernels, like, affine_2C), exact.relu())
    close(add_activate(kernels, like, affine_2C, x, None), (exact + x).relu())
    other = exact_affine(other_2C, x.double())
    close(add_activate(kernels, like, affine_2C, x, other_2C), (exact + other).relu())


@pytest.mark.parametrize("has_other", [True, False])
def test_gradients_pass_where_relu_was_positive(
    kernels: Kernels, like: Tensor, has_other: bool
) -> None:
    gradient, output, other = (torch.randn_like(like) for _ in range(3))
    output = output.relu()
    output[0, 0] = torch.nan  # a number that is none hides no gradient
    found, sums_3C = mask(kernels, gradient, output, like, other if has_other else None)
    expected = torch.where(output <= 0, 0, gradient)
    assert torch.equal(found, expected)
    assert (expected == 0).any()
    assert (expected[0, 0] != 0).all()
    exact = expected.double()
    close(sums_3C[0], exact.sum(PIXELS))
    close(sums_3C[1], (exact * like).sum(PIXELS))
    close(sums_3C[2], (exact * other).sum(PIXELS) * has_other)
