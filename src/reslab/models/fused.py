"""The residual blocks of the first paper, and stems, on reslab's kernels where these are on.

A net is the same module with and without them: only the way to its output differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from torch import Tensor, nn

from reslab.models.shortcuts import PaddedIdentity
from reslab.models.stage import Stage
from reslab.ops.plan import Plan, Unit, are_off, kernels_for
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
    if are_off():
        return None
    plan = _training_plan(block)
    kernels = None if plan is None else kernels_for(x_NCHW, [plan], _others(block))
    return None if plan is None or kernels is None else run(kernels, [plan], x_NCHW)


def plan_of(block: FirstPaperBlock) -> Plan | None:
    """What the block is made of, in the kernels' terms; None where they lack something."""
    # Of exactly these types: what derives from one may do something else.
    units = _units(block.units())
    if type(block.relu) is not nn.ReLU or units is None:
        return None
    downsample = block.downsample
    if not block.is_residual:
        return Plan(branch=units)
    if downsample is None:
        return Plan(branch=units, identity=True)
    if type(downsample) is PaddedIdentity:
        return Plan(branch=units, padded=downsample.stride)
    if type(downsample) is nn.Sequential and len(downsample) == 2:
        projection = _units([(downsample[0], downsample[1])])
        return Plan(branch=units, projection=projection[0]) if projection else None
    return None


def _training_plan(block: FirstPaperBlock) -> Plan | None:
    depth = block.stochastic_depth
    return None if type(depth) is not StochasticDepth or depth.probability else plan_of(block)


def fused_convolutions(model: nn.Module) -> set[nn.Conv2d]:
    """The convolutions of those of a net's blocks that the kernels can train."""
    return {
        unit.conv
        for module in model.modules()
        if _is_of_first_paper(module)
        if (plan := _training_plan(cast(FirstPaperBlock, module))) is not None
        for unit in plan.units
    }


def _is_of_first_paper(module: nn.Module) -> bool:
    """Whether it is such a block by its own class: one that derives from it may do other things."""
    return {"units", "forward"} <= vars(type(module)).keys()


def _others(block: FirstPaperBlock) -> list[nn.Module]:
    """The modules that are passed over besides convolutions and norms."""
    shortcut = [] if block.downsample is None else [block.downsample]
    return [block.relu, block.stochastic_depth, *shortcut]


def fused_stem(
    images_NCHW: Tensor, conv: nn.Module, norm: nn.Module, activation: nn.Module
) -> Tensor | None:
    """activation(norm(conv(images))); None where it has to be computed module by module."""
    units = None if are_off() else _units([(conv, norm)])
    if units is None or type(activation) is not nn.ReLU:
        return None
    plan = Plan(branch=units)
    kernels = kernels_for(images_NCHW, [plan], [activation])
    return None if kernels is None else run(kernels, [plan], images_NCHW)


def fused_chain(
    x_NCHW: Tensor,
    stem: Sequence[nn.Module],
    stages: Sequence[Stage],
) -> Tensor | None:
    """What the last stage gives, with no tensor in between; None where one is wanted.

    Args:
        x_NCHW: what the stem takes, or without one the first stage.
        stem: convolution, norm and activation, and what does nothing behind them; or nothing.
        stages: in their order, of blocks that are ``FirstPaperBlock`` by their own class.
    """
    if are_off():
        return None
    others: list[nn.Module] = [*stem[2:], *stages]
    plans: list[Plan | None] = []
    if stem:
        units = _units([(stem[0], stem[1])])
        plans.append(Plan(branch=units) if units and type(stem[2]) is nn.ReLU else None)
    for stage in stages:
        for module in stage:
            if stage.segments or not _is_of_first_paper(module):
                return None
            block = cast(FirstPaperBlock, module)
            plans.append(_training_plan(block))
            others += [module, *_others(block)]
    known = [plan for plan in plans if plan is not None]
    kernels = kernels_for(x_NCHW, known, others) if len(known) == len(plans) else None
    return None if kernels is None else run(kernels, known, x_NCHW)


def _units(pairs: Sequence[tuple[nn.Module, nn.Module]]) -> tuple[Unit, ...] | None:
    found = tuple(
        Unit(conv, norm)
        for conv, norm in pairs
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    )
    return found if len(found) == len(pairs) else None
