"""When the kernels leave a block to its modules; test_fused has the other reasons."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reslab.models.blocks import BasicBlock
from reslab.ops.native import Kernels, using_kernels
from reslab.ops.plan import Plan, Unit, fit_together, kernels_for
from reslab.ops.residual import run


def unit(inside: int, outside: int, kernel: int = 3, stride: int = 1, **options: int) -> Unit:
    conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False, **options)
    return Unit(conv, nn.BatchNorm2d(outside))


BASIC = (unit(16, 16), unit(16, 16))
DOWN = (unit(16, 32, stride=2), unit(32, 32))


@pytest.mark.parametrize(
    ("plan", "shape", "fits"),
    [
        (Plan(BASIC, identity=True), (2, 16, 5, 5), True),
        (Plan(BASIC), (2, 16, 5, 5), True),
        (Plan(BASIC, identity=True), (2, 32, 5, 5), False),
        (Plan((unit(16, 16), unit(32, 16)), identity=True), (2, 16, 5, 5), False),
        (Plan(DOWN, projection=unit(16, 32, 1, 2)), (2, 16, 5, 5), True),
        (Plan(DOWN, projection=unit(16, 32, 1, 1)), (2, 16, 5, 5), False),
        (Plan(DOWN, projection=unit(16, 16, 1, 2)), (2, 16, 5, 5), False),
        (Plan(DOWN, padded=2), (2, 16, 5, 5), True),
        (Plan(DOWN, padded=1), (2, 16, 5, 5), False),
        (Plan(DOWN, identity=True), (2, 16, 5, 5), False),
        # A single pixel has no spread, in whichever norm it arrives.
        (Plan(BASIC, identity=True), (1, 16, 1, 1), False),
        (Plan(BASIC, identity=True), (2, 16, 1, 1), True),
        (Plan(DOWN), (1, 16, 2, 2), False),
        (Plan((unit(16, 16, dilation=3), unit(16, 16))), (2, 16, 4, 4), False),
    ],
)
def test_parts_have_to_fit(plan: Plan, shape: tuple[int, ...], fits: bool) -> None:
    assert fit_together([plan], torch.rand(shape)) is fits


def replaced(name: str, module: nn.Module) -> Callable[[BasicBlock], None]:
    return lambda block: setattr(block, name, module)


@pytest.mark.parametrize(
    "change",
    [
        replaced("bn1", nn.BatchNorm2d(32)),
        replaced("bn1", nn.BatchNorm2d(8)),
        replaced("conv1", nn.Conv2d(32, 16, 3, padding=1, bias=False)),
        replaced("conv1", nn.Conv2d(16, 16, 3, 2, 1, bias=False)),
        lambda block: setattr(block.conv2, "weight", nn.Parameter(torch.rand(16, 8, 3, 3))),
        lambda block: setattr(block.bn2, "running_mean", torch.rand(4)),
    ],
    ids=["wide norm", "narrow norm", "wide conv", "stride", "weight", "buffer"],
)
def test_what_does_not_fit_is_told_by_torch(
    kernels: Kernels, change: Callable[[BasicBlock], None]
) -> None:
    block = BasicBlock(16, 16)
    change(block)
    with using_kernels(kernels), pytest.raises(RuntimeError):
        block(torch.rand(2, 16, 6, 6))


def test_three_dimensions_are_told_by_torch(kernels: Kernels) -> None:
    with using_kernels(kernels), pytest.raises(ValueError, match="expected 4D input"):
        BasicBlock(16, 16)(torch.rand(16, 6, 6))


def test_whoever_listens_to_all_modules_hears_them(kernels: Kernels) -> None:
    seen: list[str] = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, _, __: seen.append(type(module).__name__)
    )
    try:
        with using_kernels(kernels):
            BasicBlock(16, 16)(torch.rand(2, 16, 6, 6))
    finally:
        handle.remove()
    assert seen.count("Conv2d") == seen.count("BatchNorm2d") == 2


def test_a_forward_of_ones_own_is_called(kernels: Kernels) -> None:
    block = BasicBlock(16, 16)
    block.conv1.forward = torch.zeros_like  # type: ignore[method-assign,assignment]
    x = torch.rand(2, 16, 6, 6)
    expected = copy.deepcopy(block)(x)
    with using_kernels(kernels):
        assert torch.equal(block(x), expected)


def test_whoever_counts_operations_counts_them(kernels: Kernels) -> None:
    with using_kernels(kernels), FlopCounterMode(display=False) as counter:
        BasicBlock(16, 16)(torch.rand(2, 16, 6, 6))
    assert counter.get_total_flops() == 2 * 2 * (2 * 36 * 16 * 16 * 9)


def test_a_block_can_be_traced(kernels: Kernels) -> None:
    block, x = BasicBlock(16, 16), torch.rand(2, 16, 6, 6)
    with using_kernels(kernels), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(block, x, check_trace=False)
    torch.testing.assert_close(traced(x), block(x), rtol=1e-4, atol=1e-4)


def test_torchs_default_type_is_none_of_their_business(kernels: Kernels) -> None:
    block, x = BasicBlock(16, 16), torch.rand(2, 16, 6, 6)
    expected = copy.deepcopy(block)(x)
    torch.set_default_dtype(torch.float64)
    try:
        with using_kernels(kernels):
            found = block(x)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("offset", [0.0, 100.0, 10_000.0])
def test_a_mean_far_from_zero_costs_no_digits_of_the_variance(
    kernels: Kernels, offset: float
) -> None:
    """The difference of two large sums has none left of a spread that is small beside the mean."""
    torch.manual_seed(0)
    part = unit(4, 16, 1)
    exact = copy.deepcopy(nn.Sequential(part.conv, part.norm)).double()
    x = torch.randn(4, 4, 24, 24) + offset
    plan = Plan((part,))
    with using_kernels(kernels):
        assert kernels_for(x, [plan], []) is kernels
    found = run(kernels, [plan], x)
    expected = exact(x.double()).relu()
    # What float32 can hold of numbers so far from zero.
    rounding = 1e-6 * max(1.0, offset)
    assert (found - expected).norm() <= rounding * expected.norm()
    torch.testing.assert_close(
        part.norm.running_var.double(), exact[1].running_var, rtol=10 * rounding, atol=0
    )
