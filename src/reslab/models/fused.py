"""The residual blocks of the first paper, and stems, on reslab's kernels where these are on.

A net is the same module with and without them: only the way to its output differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from reslab.models.shortcuts import PaddedIdentity
from reslab.ops.plan import Plan, Unit, kernels_for
from reslab.ops.residual import run
from reslab.ops.stochastic_depth import StochasticDepth


class FirstPaperBlock(Protocol):
    """What is asked of a block: y = relu(branch(x) + shortcut(x))."""

    relu: nn.Module
    downsample: nn.Module | None
    stochastic_depth: StochasticDepth
    is_residual: bool

    def units(self) -> tuple[tuple[nn.Module, nn.Module], ...]:
        """The residual branch's convolutions, each with the norm behind it."""


def fused_block(block: FirstPaperBlock, x_NCHW: Tensor) -> Tensor | None:
    """The block's output; None where it has to be computed module by module."""
    plan = plan_of(block)
    if plan is None or block.stochastic_depth.probability:
        return None
    others = [block.relu, block.stochastic_depth]
    if block.downsample is not None:
        others.append(block.downsample)
    kernels = kernels_for(x_NCHW, plan, others)
    return None if kernels is None else run(kernels, plan, x_NCHW)


def plan_of(block: FirstPaperBlock) -> Plan | None:
    """What the block is made of, in the kernels' terms; None where they lack something."""
    downsample = block.downsample
    units = _units(block.units())
    projection = None
    if isinstance(downsample, nn.Sequential) and len(downsample) == 2:
        projection = _units([(downsample[0], downsample[1])])
    if (
        type(block.relu) is not nn.ReLU
        or units is None
        or (block.is_residual and not _is_known(downsample, projection))
    ):
        return None
    return Plan(
        branch=units,
        projection=projection[0] if projection else None,
        identity=block.is_residual and downsample is None,
        padded=downsample.stride if isinstance(downsample, PaddedIdentity) else 0,
    )


def fused_stem(
    images_NCHW: Tensor, conv: nn.Module, norm: nn.Module, activation: nn.Module
) -> Tensor | None:
    """activation(norm(conv(images))); None where it has to be computed module by module."""
    units = _units([(conv, norm)])
    if units is None or type(activation) is not nn.ReLU:
        return None
    plan = Plan(branch=units)
    kernels = kernels_for(images_NCHW, plan, [activation])
    return None if kernels is None else run(kernels, plan, images_NCHW)


def _units(pairs: Sequence[tuple[nn.Module, nn.Module]]) -> tuple[Unit, ...] | None:
    found = tuple(
        Unit(conv, norm)
        for conv, norm in pairs
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    )
    return found if len(found) == len(pairs) else None


def _is_known(downsample: nn.Module | None, projection: tuple[Unit, ...] | None) -> bool:
    return downsample is None or isinstance(downsample, PaddedIdentity) or projection is not None
