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
from torch import Tensor
from torch.autograd.function import once_differentiable

from reslab.ops.batch_norm import Normalised, activate, add_activate, mask
from reslab.ops.native import Kernels
from reslab.ops.operands import End, Source
from reslab.ops.plan import Plan
from reslab.ops.shortcut import padded
from reslab.ops.unit import TENSORS, Given, Step, backward_unit, forward_unit


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
    branch: Sequence[Step]
    projection: Step | None
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
    steps: list[Step] = []
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
        steps.append(Step(unit, source, activated, weight, norm_weight_C, z, normalised))
    branch = steps[: len(plan.branch)]
    projection = steps[-1] if plan.projection is not None else None
    return _Trace(plan, x_NCHW, branch, projection, out_NCHW)


def _block(kernels: Kernels, plan: Plan, x_NCHW: Tensor) -> _Trace:
    branch: list[Step] = []
    source = Source(x_NCHW)
    for unit in plan.branch:
        branch.append(forward_unit(kernels, unit, source))
        source = branch[-1].next_source
    z_NCHW, affine_2C = source.x_NCHW, branch[-1].normalised.affine_2C
    projection = None
    if plan.projection is not None:
        projection = forward_unit(kernels, plan.projection, Source(x_NCHW))
        other = projection.next_source
        out = add_activate(kernels, z_NCHW, affine_2C, other.x_NCHW, other.affine_2C)
    elif plan.identity:
        out = add_activate(kernels, z_NCHW, affine_2C, x_NCHW, None)
    elif plan.padded:
        new = z_NCHW.shape[1] - x_NCHW.shape[1]
        passed = padded(x_NCHW, plan.padded, new).contiguous(memory_format=torch.channels_last)
        out = add_activate(kernels, z_NCHW, affine_2C, passed, None)
    else:
        out = activate(kernels, z_NCHW, affine_2C)
    return _Trace(plan, x_NCHW, branch, projection, out)


def _block_backward(
    kernels: Kernels,
    trace: _Trace,
    end_NCHW: Tensor,
    sums_3C: Tensor,
    *,
    before: End | None,
    for_x: bool,
    for_weights: Sequence[bool],
) -> Given:
    """From the gradient before a block's last ReLU to that of its input and its parameters.

    Args:
        kernels: the kernels.
        trace: what the block left.
        end_NCHW: the gradient.
        sums_3C: its sum, and those of its products with the two z of ``trace.end``.
        before: what the input was made of; None: it is no block's output.
        for_x: whether the input's gradient is wanted.
        for_weights: of each of the plan's units, whether that of its convolution's weights is.
    """
    plan = trace.plan
    residual = end_NCHW if plan.identity else None
    parameters: list[Tensor | None] = []
    if trace.projection is not None:
        given = backward_unit(
            kernels,
            trace.projection,
            end_NCHW,
            sums_3C[::2],
            for_source=for_x,
            for_weight=for_weights[-1],
        )
        residual, parameters = given.source_NCHW, given.parameters
    gradient, sums = end_NCHW, sums_3C
    for i, step in reversed(list(enumerate(trace.branch))):
        given = backward_unit(
            kernels,
            step,
            gradient,
            sums[:2],
            residual_NCHW=residual if i == 0 else None,
            # A padded shortcut's part is still to be added.
            end=before if i == 0 and not plan.padded else None,
            for_source=i > 0 or for_x,
            for_weight=for_weights[i],
        )
        parameters = [*given.parameters, *parameters]
        if i > 0:
            assert given.source_NCHW is not None
            assert given.sums_3C is not None
            gradient, sums = given.source_NCHW, given.sums_3C
    if plan.padded and given.source_NCHW is not None:
        channels = trace.x_NCHW.shape[1]
        given.source_NCHW[:, :, :: plan.padded, :: plan.padded] += end_NCHW[:, :channels]
    return Given(given.source_NCHW, given.sums_3C, parameters)


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
            size = 1 + TENSORS * len(plan.units)
            part, tensors = tensors[:size], tensors[size:]
            traces.append(_restore(plan, x_NCHW, part))
            x_NCHW = traces[-1].out_NCHW
        gradient: Tensor | None = grad_out.contiguous(memory_format=torch.channels_last)
        sums_3C: Tensor | None = None
        for_x, wanted = ctx.needs_input_grad[2], ctx.needs_input_grad[3:]
        # Of each block three a unit, the convolution's weights first.
        for_blocks: list[tuple[bool, ...]] = []
        for plan in ctx.plans:
            size = 3 * len(plan.units)
            for_blocks.append(wanted[:size])
            wanted = wanted[size:]
        parameters: list[Tensor | None] = []
        for i, trace in reversed(list(enumerate(traces))):
            if not for_x and not any(map(any, for_blocks[: i + 1])):
                # Nobody wants anything of this block or of those before it.
                parameters = [*[None for some in for_blocks[: i + 1] for _ in some], *parameters]
                gradient = None
                break
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
                for_x=for_x or any(map(any, for_blocks[:i])),
                for_weights=for_blocks[i][::3],
            )
            gradient, sums_3C = given.source_NCHW, given.sums_3C
            parameters = [*given.parameters, *parameters]
        return None, None, gradient, *parameters
