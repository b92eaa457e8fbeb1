"""The residual blocks of the first paper, and stems, on reslab's kernels where these are on.

A net is the same module with and without them: only the way to its output differs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from reslab.models.shortcuts import PaddedIdentity
from reslab.ops.plan import Plan, Unit, kernels_for
from reslab.ops.residual import run
from reslab.ops.stochastic_depth import StochasticDepth


def fused_block(
    x_NCHW: Tensor,
    branch: Sequence[tuple[nn.Module, nn.Module]],
    *,
    downsample: nn.Module | None,
    is_residual: bool,
    activation: nn.Module,
    stochastic_depth: StochasticDepth,
) -> Tensor | None:
    """activation(branch + shortcut); None where it has to be computed module by module.

    Args:
        x_NCHW: the block's input.
        branch: each convolution with the norm behind it.
        downsample: the shortcut, see ``make_shortcut``.
        is_residual: whether there is a shortcut.
        activation: between the branch's parts and at its end.
        stochastic_depth: what may leave the branch out.
    """
    if type(activation) is not nn.ReLU or stochastic_depth.probability:
        return None
    units = _units(branch)
    projection = None
    if isinstance(downsample, nn.Sequential) and len(downsample) == 2:
        projection = _units([(downsample[0], downsample[1])])
    if units is None or (is_residual and not _is_known(downsample, projection)):
        return None
    plan = Plan(
        branch=units,
        projection=projection[0] if projection else None,
        identity=is_residual and downsample is None,
        padded=downsample.stride if isinstance(downsample, PaddedIdentity) else 0,
    )
    others = [activation, stochastic_depth]
    if downsample is not None:
        others.append(downsample)
    kernels = kernels_for(x_NCHW, plan, others)
    return None if kernels is None else run(kernels, plan, x_NCHW)


def fused_stem(
    images_NCHW: Tensor, conv: nn.Module, norm: nn.Module, activation: nn.Module
) -> Tensor | None:
    """activation(norm(conv(images))); None where it has to be computed module by module."""
    units = _units([(conv, norm)])
    if type(activation) is not nn.ReLU or units is None:
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
