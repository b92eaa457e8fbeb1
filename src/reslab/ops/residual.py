"""A residual block as one step of autograd's graph, on reslab's kernels.

y = ReLU(F(x) + shortcut(x)) with F a chain of convolutions, each with batch norm behind it and
ReLU between. Stored are the convolutions' outputs and y; norms and ReLUs in between are applied
while the next convolution loads its input, and undone while it gives its gradient. Of a basic
block's 22 passes over its activations 9 are left.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from reslab.ops import strided, winograd
from reslab.ops.batch_norm import (
    Normalised,
    activate,
    add_activate,
    mask,
    norm_gradient,
    normalise,
    normalise_backward,
    sums_of,
)
from reslab.ops.native import Kernels
from reslab.ops.operands import Gradient, Source
from reslab.ops.plan import Plan, Unit


def run(kernels: Kernels, plan: Plan, x_NCHW: Tensor) -> Tensor:
    """The block's output; moves the norms' running statistics on.

    Args:
        kernels: see ``kernels_for``.
        plan: the block.
        x_NCHW: its input.
    """
    parameters = [
        parameter
        for unit in plan.units
        for parameter in (unit.conv.weight, unit.norm.weight, unit.norm.bias)
    ]
    out: Tensor = _Block.apply(kernels, plan, x_NCHW, *parameters)
    return out


@dataclass(frozen=True)
class _Step:
    """What a unit leaves for the backward.

    Attributes:
        unit: the unit.
        source: what was convolved, perhaps still without its norm and ReLU.
        activated_NCHW: the same with them, where torch's convolution needed it; else None.
        weight: the convolution's weights as they were.
        norm_weight_C: the norm's.
        z_NCHW: the convolution's output.
        normalised: the norm behind it.
    """

    unit: Unit
    source: Source
    activated_NCHW: Tensor | None
    weight: Tensor
    norm_weight_C: Tensor
    z_NCHW: Tensor
    normalised: Normalised

    @property
    def next_source(self) -> Source:
        return Source(self.z_NCHW, self.normalised.affine_2C)

    def tensors(self) -> list[Tensor | None]:
        """All that cannot be had from the step before."""
        activated = None if self.source.affine_2C is None else self.activated_NCHW
        normalised = self.normalised
        return [
            activated,
            self.weight,
            self.norm_weight_C,
            self.z_NCHW,
            normalised.affine_2C,
            normalised.statistics_2C,
        ]


def _restore(plan: Plan, x_NCHW: Tensor, tensors: Sequence[Any]) -> list[_Step]:
    """The steps from what their ``tensors`` gave, one after the other."""
    steps: list[_Step] = []
    size = len(tensors) // len(plan.units)
    for i, unit in enumerate(plan.units):
        activated, weight, norm_weight_C, z, affine_2C, statistics_2C = tensors[
            i * size : (i + 1) * size
        ]
        # The projection stands behind the branch, but takes what its first unit takes.
        is_first = i in (0, len(plan.branch))
        source = Source(x_NCHW) if is_first else steps[-1].next_source
        activated = x_NCHW if is_first else activated
        normalised = Normalised(affine_2C, statistics_2C)
        steps.append(_Step(unit, source, activated, weight, norm_weight_C, z, normalised))
    return steps


def _step(kernels: Kernels, unit: Unit, source: Source) -> _Step:
    conv = unit.conv
    activated = None
    if winograd.fits(conv, source.x_NCHW):
        z, sums_2C = winograd.convolve(kernels, source, winograd.pack(kernels, conv.weight))
    elif strided.fits(conv):
        z, sums_2C = strided.convolve(kernels, source, strided.pack(conv.weight))
    else:
        activated = source.x_NCHW
        if source.affine_2C is not None:
            activated = activate(kernels, activated, source.affine_2C)
        z = F.conv2d(
            activated, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups
        )
        z = z.contiguous(memory_format=torch.channels_last)
        sums_2C = sums_of(kernels, z)
    normalised = normalise(kernels, unit.norm, z, sums_2C)
    return _Step(unit, source, activated, conv.weight, unit.norm.weight, z, normalised)


def _step_backward(
    kernels: Kernels,
    step: _Step,
    gradient_NCHW: Tensor,
    sums_2C: Tensor,
    residual_NCHW: Tensor | None = None,
    *,
    for_source: bool = True,
) -> tuple[Tensor | None, Tensor, list[Tensor]]:
    """From the gradient of a unit's output to that of its source and of its three parameters.

    Args:
        kernels: the kernels.
        step: what the unit left.
        gradient_NCHW: of the norm's output.
        sums_2C: the sums of that and of its product with z.
        residual_NCHW: what is added to the gradient of a plain source.
        for_source: whether the source's gradient is wanted; of a plain one it may not be.

    Returns:
        The source's gradient, or None, its sums, and the gradients of the parameters.
    """
    conv, z, source = step.unit.conv, step.z_NCHW, step.source
    norm = normalise_backward(kernels, sums_2C, z, step.norm_weight_C, step.normalised)
    if winograd.fits(conv, source.x_NCHW):
        gradient = Gradient(gradient_NCHW, z, norm.coefficients_3C)
        found = winograd.convolve_backward(kernels, gradient, source, step.weight, residual_NCHW)
        return found.input_NCHW, found.sums_2C, [found.weight, norm.weight_C, norm.bias_C]
    if strided.fits(conv):
        gradient = Gradient(gradient_NCHW, z, norm.coefficients_3C)
        found = strided.convolve_backward(
            kernels, gradient, source, step.weight, residual_NCHW, for_source=for_source
        )
        return found.input_NCHW, found.sums_2C, [found.weight, norm.weight_C, norm.bias_C]
    dz = norm_gradient(kernels, gradient_NCHW, z, norm.coefficients_3C)
    dx, dweight, _ = torch.ops.aten.convolution_backward(
        dz,
        step.activated_NCHW,
        step.weight,
        None,
        conv.stride,
        conv.padding,
        conv.dilation,
        False,
        [0, 0],
        conv.groups,
        [for_source, True, False],
    )
    gradients = [dweight, norm.weight_C, norm.bias_C]
    if not for_source:
        return None, sums_2C, gradients
    if source.affine_2C is None:
        if residual_NCHW is not None:
            dx += residual_NCHW
        return dx, sums_2C, gradients
    dx = dx.contiguous(memory_format=torch.channels_last)
    assert step.activated_NCHW is not None
    before_NCHW, sums_3C = mask(kernels, dx, step.activated_NCHW, source.x_NCHW)
    return before_NCHW, sums_3C[:2], gradients


class _Block(torch.autograd.Function):
    """See ``run``."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        plan: Plan,
        x_NCHW: Tensor,
        *_parameters: Tensor,
    ) -> Tensor:
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        steps: list[_Step] = []
        source = Source(x_NCHW)
        for unit in plan.branch:
            steps.append(_step(kernels, unit, source))
            source = steps[-1].next_source
        z_NCHW, affine_2C = source.x_NCHW, steps[-1].normalised.affine_2C
        if plan.projection is not None:
            steps.append(_step(kernels, plan.projection, Source(x_NCHW)))
            other = steps[-1].next_source
            out = add_activate(kernels, z_NCHW, affine_2C, other.x_NCHW, other.affine_2C)
        elif plan.identity:
            out = add_activate(kernels, z_NCHW, affine_2C, x_NCHW, None)
        elif plan.padded:
            new = z_NCHW.shape[1] - x_NCHW.shape[1]
            strided = x_NCHW[:, :, :: plan.padded, :: plan.padded]
            passed = F.pad(strided, (0, 0, 0, 0, 0, new))
            passed = passed.contiguous(memory_format=torch.channels_last)
            out = add_activate(kernels, z_NCHW, affine_2C, passed, None)
        else:
            out = activate(kernels, z_NCHW, affine_2C)
        ctx.kernels, ctx.plan = kernels, plan
        ctx.save_for_backward(x_NCHW, out, *[t for step in steps for t in step.tensors()])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        kernels, plan = ctx.kernels, ctx.plan
        x_NCHW, out, *tensors = ctx.saved_tensors
        steps = _restore(plan, x_NCHW, tensors)
        branch, projection = steps[: len(plan.branch)], steps[len(plan.branch) :]
        for_x = ctx.needs_input_grad[2]
        end_NCHW, sums_3C = mask(
            kernels,
            grad_out.contiguous(memory_format=torch.channels_last),
            out,
            branch[-1].z_NCHW,
            projection[0].z_NCHW if projection else None,
        )
        residual = end_NCHW if plan.identity else None
        gradients: list[Tensor] = []
        for step in projection:
            residual, _, gradients = _step_backward(
                kernels, step, end_NCHW, sums_3C[::2], for_source=for_x
            )
        gradient: Tensor | None = end_NCHW
        sums_2C = sums_3C[:2]
        for i, step in reversed(list(enumerate(branch))):
            assert gradient is not None
            gradient, sums_2C, found = _step_backward(
                kernels,
                step,
                gradient,
                sums_2C,
                residual if i == 0 else None,
                for_source=i > 0 or for_x,
            )
            gradients = [*found, *gradients]
        if plan.padded and gradient is not None:
            channels = x_NCHW.shape[1]
            gradient[:, :, :: plan.padded, :: plan.padded] += end_NCHW[:, :channels]
        return None, None, gradient, *gradients
