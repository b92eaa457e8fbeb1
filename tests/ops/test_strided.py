import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reslab.ops import strided
from reslab.ops.operands import Gradient, Source

# Direct sums of at most 9 x 32 products in fp32: far below what a wrong tap would change.
CLOSE = {"rtol": 0, "atol": 2e-5}


def relative(found, expected):
    return found.double() / expected.std(), expected / expected.std()


def tensors(seed, images, channels, rows, columns):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(images, channels, rows, columns, generator=generator)
    return x.contiguous(memory_format=torch.channels_last)


@settings(max_examples=25, deadline=None)
@given(
    channels=st.sampled_from([(16, 32), (32, 64)]),
    images=st.integers(1, 3),
    rows=st.integers(1, 19),
    columns=st.integers(1, 37),
    normed=st.booleans(),
    added=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_output_and_gradients_are_those_of_the_plain_sum(
    kernels, channels, images, rows, columns, normed, added, last, seed
):
    inside, outside = channels
    torch.manual_seed(seed)
    x = tensors(seed, images, inside, rows, columns)
    weight = torch.randn(outside, inside, 3, 3)
    if last:
        weight = weight.contiguous(memory_format=torch.channels_last)
    affine = torch.stack([torch.rand(inside) + 0.5, torch.randn(inside)]) if normed else None
    source = Source(x, affine)
    exact = x.double()
    if affine is not None:
        exact = exact * affine[0].double().view(-1, 1, 1) + affine[1].double().view(-1, 1, 1)
    before = exact.requires_grad_()
    activated = before.relu() if normed else before
    exact_weight = weight.double().requires_grad_()
    expected = F.conv2d(activated, exact_weight, stride=2, padding=1)

    z, sums = strided.convolve(kernels, source, strided.pack(kernels, weight))
    torch.testing.assert_close(*relative(z, expected.detach()), **CLOSE)
    torch.testing.assert_close(sums[0], z.double().sum((0, 2, 3)), rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(sums[1], z.double().square().sum((0, 2, 3)), rtol=1e-5, atol=1e-3)

    norm_gradient = tensors(seed + 1, images, outside, *z.shape[2:])
    coefficients = torch.randn(3, outside)
    k1, k2, k3 = coefficients.double()[:, :, None, None]
    expected.backward(norm_gradient.double() * k1 + z.double() * k2 + k3)
    residual = torch.randn_like(x) if added and not normed else None
    found = strided.convolve_backward(
        kernels, Gradient(norm_gradient, z, coefficients), source, weight, residual_NCHW=residual
    )
    wanted = before.grad if residual is None else before.grad + residual
    torch.testing.assert_close(*relative(found.input_NCHW, wanted), **CLOSE)
    torch.testing.assert_close(*relative(found.weight, exact_weight.grad), **CLOSE)
    assert found.weight.stride() == weight.stride()
    if normed:
        pixels = (0, 2, 3)
        torch.testing.assert_close(
            found.sums_3C[:2],
            torch.stack([wanted.sum(pixels), (wanted * x).sum(pixels)]),
            rtol=1e-4,
            atol=1e-3 * wanted.std().item() * wanted[:, 0].numel() ** 0.5,
        )


def test_the_gradient_of_the_source_is_left_out_where_nobody_wants_it(kernels):
    x, weight = tensors(0, 2, 16, 8, 8), torch.randn(32, 16, 3, 3)
    z, _ = strided.convolve(kernels, Source(x), strided.pack(kernels, weight))
    gradient = Gradient(torch.randn_like(z), z, torch.randn(3, 32))
    whole = strided.convolve_backward(kernels, gradient, Source(x), weight)
    part = strided.convolve_backward(kernels, gradient, Source(x), weight, for_source=False)
    assert part.input_NCHW is None
    assert torch.equal(part.weight, whole.weight)


@pytest.mark.parametrize(
    ("arguments", "fits"),
    [
        ({}, True),
        ({"in_channels": 32, "out_channels": 64}, True),
        ({"out_channels": 16}, False),
        ({"in_channels": 64, "out_channels": 128}, False),
        ({"kernel_size": 1, "padding": 0}, False),
        ({"stride": 1}, False),
        ({"stride": (2, 1)}, False),
        ({"padding": 0}, False),
        ({"dilation": 2}, False),
        ({"groups": 2}, False),
    ],
)
def test_which_convolutions_it_is_for(arguments, fits):
    usual = {"in_channels": 16, "out_channels": 32, "kernel_size": 3, "stride": 2, "padding": 1}
    assert strided.suits(nn.Conv2d(**{**usual, **arguments})) is fits
