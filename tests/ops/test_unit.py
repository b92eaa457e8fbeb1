"""A convolution with its norm; whole blocks of them: tests/ops/test_residual.py."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from reslab.ops.native import Kernels
from reslab.ops.operands import Source
from reslab.ops.plan import Unit
from reslab.ops.unit import TENSORS, Given, Step, backward_unit, forward_unit

# The ways: few channels, many, stride 2, torch's.
each_way = pytest.mark.parametrize(
    ("inside", "outside", "kernel", "stride"),
    [(16, 16, 3, 1), (80, 80, 3, 1), (16, 32, 3, 2), (16, 32, 1, 1)],
)


def made(inside: int, outside: int, kernel: int, stride: int) -> Unit:
    torch.manual_seed(0)
    conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
    norm = nn.BatchNorm2d(outside)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.bias)
    return Unit(conv, norm)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def taken_back(kernels: Kernels, step: Step, gradient: Tensor, **wanted: bool) -> Given:
    sums = torch.stack([gradient, gradient * step.z_NCHW]).double().sum((1, 3, 4))
    return backward_unit(kernels, step, gradient, sums, **wanted)


@each_way
@pytest.mark.parametrize("normed", [False, True])
def test_it_is_convolution_and_norm_of_what_is_activated(
    kernels: Kernels, inside: int, outside: int, kernel: int, stride: int, normed: bool
) -> None:
    unit = made(inside, outside, kernel, stride)
    exact_conv, exact_norm = (copy.deepcopy(m).double() for m in (unit.conv, unit.norm))
    x = drawn(3, inside, 9, 9)
    affine = torch.stack([torch.rand(inside) + 0.5, torch.randn(inside)]) if normed else None
    step = forward_unit(kernels, unit, Source(x, affine))
    assert len(step.tensors()) == TENSORS

    before = x.double()
    if affine is not None:
        before = before * affine[0].view(-1, 1, 1) + affine[1].view(-1, 1, 1)
    before.requires_grad_()
    expected = exact_norm(exact_conv(before.relu() if normed else before))
    given = step.next_source
    assert given.scale_C is not None and given.shift_C is not None
    found = given.x_NCHW * given.scale_C.view(-1, 1, 1) + given.shift_C.view(-1, 1, 1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        unit.norm.running_var.double(), exact_norm.running_var, rtol=1e-4, atol=1e-5
    )

    gradient = drawn(*expected.shape)
    expected.backward(gradient.double())
    back = taken_back(kernels, step, gradient)
    wanted = [exact_conv.weight.grad, exact_norm.weight.grad, exact_norm.bias.grad]
    ours_and_theirs = zip([back.source_NCHW, *back.parameters], [before.grad, *wanted], strict=True)
    for ours, theirs in ours_and_theirs:
        assert (ours.double() - theirs).norm() <= 1e-3 * theirs.norm()


@each_way
def test_what_nobody_wants_is_left_out_and_the_rest_is_the_same_to_the_bit(
    kernels: Kernels, inside: int, outside: int, kernel: int, stride: int
) -> None:
    unit = made(inside, outside, kernel, stride)
    x = drawn(3, inside, 9, 9)
    step = forward_unit(kernels, unit, Source(x))
    gradient = drawn(*step.z_NCHW.shape)
    whole = taken_back(kernels, step, gradient)
    frozen = taken_back(kernels, step, gradient, for_weight=False)
    assert frozen.parameters[0] is None
    assert torch.equal(frozen.source_NCHW, whole.source_NCHW)
    first = taken_back(kernels, step, gradient, for_source=False)
    assert torch.equal(first.parameters[0], whole.parameters[0])
    neither = taken_back(kernels, step, gradient, for_source=False, for_weight=False)
    assert neither.source_NCHW is None and neither.parameters[0] is None
    for other in (frozen, first, neither):
        assert all(map(torch.equal, other.parameters[1:], whole.parameters[1:]))
