"""A convolution and the norm behind it, forward and backward, on reslab's kernels.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reslab.ops.batch_norm import (
    Normalised,
    activate,
    mask,
    norm_gradient,
    normalise,
    normalise_backward,
    sums_of,
)
from reslab.ops.native import Kernels
from reslab.ops.operands import End, Gradient, Source
from reslab.ops.plan import Unit
from reslab.ops.ways import way_for

# That a step leaves, see ``Step.tensors``.
TENSORS = 6


@dataclass(frozen=True)
class Step:
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
        """What the unit behind convolves."""
        return Source(self.z_NCHW, self.normalised.affine_2C)

    def tensors(self) -> list[Tensor | None]:
        """All that cannot be had from the step before; ``TENSORS`` of them."""
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


def convolve_activated(kernels: Kernels, conv: nn.Conv2d, source: Source) -> tuple[Tensor, Tensor]:
    """By torch, which needs norm and ReLU done: the source with them, and its convolution."""
    activated = source.x_NCHW
    if source.affine_2C is not None:
        activated = activate(kernels, activated, source.affine_2C)
    z = F.conv2d(
        activated, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups
    )
    return activated, z.contiguous(memory_format=torch.channels_last)


def forward_unit(kernels: Kernels, unit: Unit, source: Source) -> Step:
    """Convolve and normalise; moves the norm's running statistics on."""
    conv = unit.conv
    activated = None
    way = way_for(conv, source.x_NCHW)
    if way is not None:
        z, sums_2C = way.convolve(kernels, source, way.pack(kernels, conv.weight))
    else:
        activated, z = convolve_activated(kernels, conv, source)
        sums_2C = sums_of(kernels, z)
    normalised = normalise(kernels, unit.norm, z, sums_2C)
    return Step(unit, source, activated, conv.weight, unit.norm.weight, z, normalised)


@dataclass(frozen=True)
class Given:
    """A unit's backward.

    Attributes:
        source_NCHW: the gradient of what it convolved, or None where nobody wants it.
        sums_3C: see ``reslab.ops.operands.Backward``; None: not summed up.
        parameters: the gradients of weight, norm's weight and norm's bias; None for a weight whose
            gradient nobody wants.
    """

    source_NCHW: Tensor | None
    sums_3C: Tensor | None
    parameters: list[Tensor | None]


def backward_unit(
    kernels: Kernels,
    step: Step,
    gradient_NCHW: Tensor,
    sums_2C: Tensor,
    *,
    residual_NCHW: Tensor | None = None,
    end: End | None = None,
    for_source: bool = True,
    for_weight: bool = True,
) -> Given:
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
        for_weight: whether that of the convolution's weights is.
    """
    conv, z, source = step.unit.conv, step.z_NCHW, step.source
    norm = normalise_backward(kernels, sums_2C, z, step.norm_weight_C, step.normalised)
    if not for_source and not for_weight:
        return Given(None, None, [None, norm.weight_C, norm.bias_C])
    way = way_for(conv, source.x_NCHW)
    if way is not None:
        found = way.convolve_backward(
            kernels,
            Gradient(gradient_NCHW, z, norm.coefficients_3C),
            source,
            step.weight,
            residual_NCHW=residual_NCHW,
            end=end,
            for_source=for_source,
            for_weight=for_weight,
        )
        is_summed = source.affine_2C is not None or end is not None
        parameters = [found.weight, norm.weight_C, norm.bias_C]
        return Given(found.input_NCHW, found.sums_3C if is_summed else None, parameters)
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
        [for_source, for_weight, False],
    )
    parameters = [dweight, norm.weight_C, norm.bias_C]
    if not for_source:
        return Given(None, None, parameters)
    if source.affine_2C is None:
        if residual_NCHW is not None:
            dx += residual_NCHW
        return Given(dx, None, parameters)
    dx = dx.contiguous(memory_format=torch.channels_last)
    assert step.activated_NCHW is not None
    before_NCHW, sums_3C = mask(kernels, dx, step.activated_NCHW, source.x_NCHW)
    return Given(before_NCHW, sums_3C, parameters)
