"""A chain of residual blocks as one step of autograd's graph, on reslab's kernels.

A block is y = ReLU(F(x) + shortcut(x)) with F a chain of convolutions, each with batch norm behind
it and ReLU between. Stored are the convolutions' outputs and y; norms and ReLUs in between are
applied while the next convolution loads its input, and undone while it gives its gradient, as
is the ReLU at a block's end by the block behind it. Of a basic block's 22 passes over its
activations 9 are left.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
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
from reslab.ops.operands import End, Gradient, Source
from reslab.ops.plan import Plan, Unit

# That a step leaves.
_TENSORS = 6


def run(kernels: Kernels, plans: Sequence[Plan], x_NCHW: Tensor) -> Tensor:
    """The last block's output; moves the norms' running statistics on.

    Args:
        kernels: see ``kernels_for``.
        plans: the blocks, each taking what the one before gives.
        x_NCHW: what the first one takes.
    """
    parameters = [
        parameter
        for plan in plans
        for unit in plan.units
        for parameter in (unit.conv.weight, unit.norm.weight, unit.norm.bias)
    ]
    out: Tensor = _Chain.apply(kernels, plans, x_NCHW, *parameters)
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
        """All that cannot be had from the step before; ``_TENSORS`` of them."""
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


@dataclass(frozen=True)
class _Trace:
    """What a block leaves for the backward.

    Attributes:
        plan: the block.
        x_NCHW: its input.
        branch: the branch's units.
        projection: the projection's, or None.
        out_NCHW: its output.
    """

    plan: Plan
    x_NCHW: Tensor
    branch: Sequence[_Step]
    projection: _Step | None
    out_NCHW: Tensor

    @property
    def end(self) -> End:
        """What the output was made of."""
        shortcut = None if self.projection is None else self.projection.z_NCHW
        return End(self.branch[-1].z_NCHW, shortcut)

    def tensors(self) -> list[Tensor | None]:
        """All that cannot be had from the block before."""
        steps = [*self.branch, *([self.projection] if self.projection else [])]
        return [self.out_NCHW, *[tensor for step in steps for tensor in step.tensors()]]


def _restore(plan: Plan, x_NCHW: Tensor, tensors: Sequence[Any]) -> _Trace:
    """A block's trace from what ``tensors`` gave."""
    out_NCHW, *rest = tensors
    steps: list[_Step] = []
    size = len(rest) // len(plan.units)
    for i, unit in enumerate(plan.units):
        activated, weight, norm_weight_C, z, affine_2C, statistics_2C = rest[
            i * size : (i + 1) * size
        ]
        # The projection stands behind the branch, but takes what its first unit takes.
        is_first = i in (0, len(plan.branch))
        source = Source(x_NCHW) if is_first else steps[-1].next_source
        activated = x_NCHW if is_first else activated
        normalised = Normalised(affine_2C, statistics_2C)
        steps.append(_Step(unit, source, activated, weight, norm_weight_C, z, normalised))
    branch = steps[: len(plan.branch)]
    projection = steps[-1] if plan.projection is not None else None
    return _Trace(plan, x_NCHW, branch, projection, out_NCHW)


def convolve_activated(kernels: Kernels, conv: nn.Conv2d, source: Source) -> tuple[Tensor, Tensor]:
    """By torch, which needs norm and ReLU done: the source with them, and its convolution."""
    activated = source.x_NCHW
    if source.affine_2C is not None:
        activated = activate(kernels, activated, source.affine_2C)
    z = F.conv2d(
        activated, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups
    )
    return activated, z.contiguous(memory_format=torch.channels_last)


def _step(kernels: Kernels, unit: Unit, source: Source) -> _Step:
    conv = unit.conv
    activated = None
    if winograd.fits(conv, source.x_NCHW):
        z, sums_2C = winograd.convolve(kernels, source, winograd.pack(kernels, conv.weight))
    elif strided.fits(conv):
        z, sums_2C = strided.convolve(kernels, source, strided.pack(conv.weight))
    else:
        activated, z = convolve_activated(kernels, conv, source)
        sums_2C = sums_of(kernels, z)
    normalised = normalise(kernels, unit.norm, z, sums_2C)
    return _Step(unit, source, activated, conv.weight, unit.norm.weight, z, normalised)


def _block(kernels: Kernels, plan: Plan, x_NCHW: Tensor) -> _Trace:
    branch: list[_Step] = []
    source = Source(x_NCHW)
    for unit in plan.branch:
        branch.append(_step(kernels, unit, source))
        source = branch[-1].next_source
    z_NCHW, affine_2C = source.x_NCHW, branch[-1].normalised.affine_2C
    projection = None
    if plan.projection is not None:
        projection = _step(kernels, plan.projection, Source(x_NCHW))
        other = projection.next_source
        out = add_activate(kernels, z_NCHW, affine_2C, other.x_NCHW, other.affine_2C)
    elif plan.identity:
        out = add_activate(kernels, z_NCHW, affine_2C, x_NCHW, None)
    elif plan.padded:
        passed = padded(x_NCHW, plan.padded, z_NCHW.shape[1])
        out = add_activate(kernels, z_NCHW, affine_2C, passed, None)
    else:
        out = activate(kernels, z_NCHW, affine_2C)
    return _Trace(plan, x_NCHW, branch, projection, out)


def padded(x_NCHW: Tensor, stride: int, channels: int) -> Tensor:
    """Every ``stride``-th pixel, with zeros for the channels that are new."""
    strided_NCHW = x_NCHW[:, :, ::stride, ::stride]
    found = F.pad(strided_NCHW, (0, 0, 0, 0, 0, channels - x_NCHW.shape[1]))
    return found.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class _Given:
    """A unit's backward.

    Attributes:
        source_NCHW: the gradient of what it convolved, or None where nobody wants it.
        sums_3C: see ``reslab.ops.operands.Backward``; None: not summed up.
        parameters: the gradients of weight, norm's weight and norm's bias.
    """

    source_NCHW: Tensor | None
    sums_3C: Tensor | None
    parameters: list[Tensor]


def _step_backward(
    kernels: Kernels,
    step: _Step,
    gradient_NCHW: Tensor,
    sums_2C: Tensor,
    *,
    residual_NCHW: Tensor | None = None,
    end: End | None = None,
    for_source: bool = True,
) -> _Given:
    """From the gradient of a unit's output to that of its source and of its three parameters.

    Args:
        kernels: the kernels.
        step: what the unit left.
        gradient_NCHW: of the norm's output.
        sums_2C: the sums of that and of its product with z.
        residual_NCHW: what is added to the gradient of a plain source.
        end: of a plain source what it was made of: its gradient is then taken on to what stood
            before its ReLU, if that costs no pass of its own.
        for_source: whether the source's gradient is wanted; of a plain one it may not be.
    """
    conv, z, source = step.unit.conv, step.z_NCHW, step.source
    norm = normalise_backward(kernels, sums_2C, z, step.norm_weight_C, step.normalised)
    gradient = Gradient(gradient_NCHW, z, norm.coefficients_3C)
    is_summed = source.affine_2C is not None or end is not None
    if winograd.fits(conv, source.x_NCHW):
        found = winograd.convolve_backward(
            kernels, gradient, source, step.weight, residual_NCHW=residual_NCHW, end=end
        )
    elif strided.fits(conv):
        found = strided.convolve_backward(
            kernels,
            gradient,
            source,
            step.weight,
            residual_NCHW=residual_NCHW,
            end=end,
            for_source=for_source,
        )
    else:
        found = None
    if found is not None:
        parameters = [found.weight, norm.weight_C, norm.bias_C]
        return _Given(found.input_NCHW, found.sums_3C if is_summed else None, parameters)
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
    parameters = [dweight, norm.weight_C, norm.bias_C]
    if not for_source:
        return _Given(None, None, parameters)
    if source.affine_2C is None:
        if residual_NCHW is not None:
            dx += residual_NCHW
        return _Given(dx, None, parameters)
    dx = dx.contiguous(memory_format=torch.channels_last)
    assert step.activated_NCHW is not None
    before_NCHW, sums_3C = mask(kernels, dx, step.activated_NCHW, source.x_NCHW)
    return _Given(before_NCHW, sums_3C, parameters)


def _block_backward(
    kernels: Kernels,
    trace: _Trace,
    end_NCHW: Tensor,
    sums_3C: Tensor,
    *,
    before: End | None,
    for_x: bool,
) -> _Given:
    """From the gradient before a block's last ReLU to that of its input and its parameters.

    Args:
        kernels: the kernels.
        trace: what the block left.
        end_NCHW: the gradient.
        sums_3C: its sum, and those of its products with the two z of ``trace.end``.
        before: what the input was made of; None: it is no block's output.
        for_x: whether the input's gradient is wanted.
    """
    plan = trace.plan
    residual = end_NCHW if plan.identity else None
    parameters: list[Tensor] = []
    if trace.projection is not None:
        given = _step_backward(kernels, trace.projection, end_NCHW, sums_3C[::2], for_source=for_x)
        residual, parameters = given.source_NCHW, given.parameters
    gradient, sums = end_NCHW, sums_3C
    for i, step in reversed(list(enumerate(trace.branch))):
        given = _step_backward(
            kernels,
            step,
            gradient,
            sums[:2],
            residual_NCHW=residual if i == 0 else None,
            # A padded shortcut's part is still to be added.
            end=before if i == 0 and not plan.padded else None,
            for_source=i > 0 or for_x,
        )
        parameters = [*given.parameters, *parameters]
        if i > 0:
            assert given.source_NCHW is not None
            assert given.sums_3C is not None
            gradient, sums = given.source_NCHW, given.sums_3C
    if plan.padded and given.source_NCHW is not None:
        channels = trace.x_NCHW.shape[1]
        given.source_NCHW[:, :, :: plan.padded, :: plan.padded] += end_NCHW[:, :channels]
    return _Given(given.source_NCHW, given.sums_3C, parameters)


class _Chain(torch.autograd.Function):
    """See ``run``."""

    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, plans: Sequence[Plan], x_NCHW: Tensor, *_parameters: Tensor
    ) -> Tensor:
        first_NCHW = x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        tensors: list[Tensor | None] = []
        for plan in plans:
            trace = _block(kernels, plan, x_NCHW)
            x_NCHW = trace.out_NCHW
            tensors.extend(trace.tensors())
        ctx.kernels, ctx.plans = kernels, plans
        ctx.save_for_backward(first_NCHW, *tensors)
        return x_NCHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        kernels = ctx.kernels
        x_NCHW, *tensors = ctx.saved_tensors
        traces: list[_Trace] = []
        for plan in ctx.plans:
            size = 1 + _TENSORS * len(plan.units)
            part, tensors = tensors[:size], tensors[size:]
            traces.append(_restore(plan, x_NCHW, part))
            x_NCHW = traces[-1].out_NCHW
        gradient: Tensor | None = grad_out.contiguous(memory_format=torch.channels_last)
        sums_3C: Tensor | None = None
        parameters: list[Tensor] = []
        for i, trace in reversed(list(enumerate(traces))):
            assert gradient is not None
            if sums_3C is None:
                gradient = gradient.contiguous(memory_format=torch.channels_last)
                end = trace.end
                gradient, sums_3C = mask(
                    kernels, gradient, trace.out_NCHW, end.z_NCHW, end.shortcut_NCHW
                )
            given = _block_backward(
                kernels,
                trace,
                gradient,
                sums_3C,
                before=traces[i - 1].end if i > 0 else None,
                for_x=i > 0 or ctx.needs_input_grad[2],
            )
            gradient, sums_3C = given.source_NCHW, given.sums_3C
            parameters = [*given.parameters, *parameters]
        return None, None, gradient, *parameters
