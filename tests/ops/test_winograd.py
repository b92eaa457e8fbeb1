"""The convolution of stride 1 against torch's in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reslab.ops import winograd
from reslab.ops.native import Kernels
from reslab.ops.operands import Gradient, Source

# In Euclidean norm of the reference's: F(4x4, 3x3) in float32 was seen to lose up to 2.3e-6 (128
# channels), the direct sum 6e-7.
TOLERANCE = 5e-6


def near(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).norm() <= TOLERANCE * expected.norm())


def last(*sizes: int) -> Tensor:
    return torch.randn(*sizes).to(memory_format=torch.channels_last)


SHAPES = {
    "channels": st.sampled_from([16, 32, 48, 64, 128]),
    "images": st.integers(1, 3),
    "rows": st.integers(1, 19),
    "columns": st.integers(1, 19),
    "has_norm": st.booleans(),
    "are_last": st.booleans(),
    "seed": st.integers(0, 999),
}


@settings(max_examples=25, deadline=None)
@given(**SHAPES)
def test_outputs_and_gradients_are_those_of_the_plain_sum(
    kernels: Kernels,
    channels: int,
    images: int,
    rows: int,
    columns: int,
    has_norm: bool,
    are_last: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    x, gradient, residual = (last(images, channels, rows, columns) for _ in range(3))
    weight = torch.randn(channels, channels, 3, 3) / (3 * channels**0.5)
    if are_last:
        weight = weight.to(memory_format=torch.channels_last)
    affine_2C = torch.randn(2, channels) if has_norm else None
    coefficients_3C = torch.randn(3, channels)
    source = Source(x, affine_2C)

    z, sums_2C = winograd.convolve(kernels, source, winograd.pack(kernels, weight))
    found = winograd.convolve_backward(
        kernels,
        Gradient(gradient, z, coefficients_3C),
        source,
        weight,
        residual_NCHW=None if has_norm else residual,
    )

    # The same in float64, with the norm's output as a variable.
    normed = x.double()
    if affine_2C is not None:
        scale, shift = (a.double().view(1, -1, 1, 1) for a in affine_2C)
        normed = normed * scale + shift
    normed.requires_grad_()
    exact_weight = weight.double().requires_grad_()
    activated = normed.relu() if has_norm else normed
    exact = F.conv2d(activated, exact_weight, padding=1)
    assert near(z, exact)
    pixels = (0, 2, 3)
    assert near(sums_2C[1], exact.square().sum(pixels))
    assert (sums_2C[0] - exact.sum(pixels)).norm() <= TOLERANCE * exact.norm() * 10

    k1, k2, k3 = (k.view(1, -1, 1, 1) for k in coefficients_3C.double())
    exact.backward(gradient * k1 + exact.detach() * k2 + k3)
    assert near(found.weight, exact_weight.grad)
    assert found.weight.stride() == weight.stride()
    if not has_norm:
        assert near(found.input_NCHW, normed.grad + residual)
        return
    assert near(found.input_NCHW, normed.grad)
    product = normed.grad * x
    assert (
        found.sums_3C[:2][0] - normed.grad.sum(pixels)
    ).norm() <= 10 * TOLERANCE * normed.grad.norm()
    assert (found.sums_3C[:2][1] - product.sum(pixels)).norm() <= 10 * TOLERANCE * product.norm()


def conv(**changes: object) -> nn.Conv2d:
    options = {"kernel_size": 3, "padding": 1, "bias": False} | changes
    outs = options.pop("out_channels", 16)
    return nn.Conv2d(16, outs, **options)


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 2},
        {"stride": (1, 2)},
        {"kernel_size": 1, "padding": 0},
        {"kernel_size": 5, "padding": 2},
        {"kernel_size": (3, 1), "padding": (1, 0)},
        {"padding": 0},
        {"padding": 2},
        {"dilation": 2, "padding": 2},
        {"dilation": 2},
        {"groups": 2},
        {"padding_mode": "reflect"},
        {"out_channels": 32},
    ],
)
def test_other_convolutions_go_another_way(changes: dict[str, object]) -> None:
    x = torch.empty(2, 16, 8, 8)
    assert winograd.fits(conv(), x)
    assert not winograd.fits(conv(**changes), x)


@pytest.mark.parametrize(
    ("rows", "columns", "fits"),
    [
        (4, 4, True),
        (3, 3, True),  # 9 of 16 pixels
        (2, 4, True),  # 8 of 16
        (2, 3, False),
        (1, 4, False),
        (1, 1, False),
        (5, 5, False),  # 25 of 64
        (6, 6, True),  # 36 of 64
        (5, 7, True),  # 35 of 64
        (5, 8, True),  # 40 of 64
        (5, 6, False),  # 30 of 64
        (7, 7, True),
        (32, 32, True),
    ],
)
def test_tiles_that_stick_out_too_far_do_not_pay(rows: int, columns: int, fits: bool) -> None:
    assert winograd.fits(conv(), torch.empty(2, 16, rows, columns)) == fits
