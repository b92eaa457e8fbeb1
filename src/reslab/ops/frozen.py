"""A residual block in evaluation, on reslab's kernels: weights packed once, norms as they are.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reslab.errors import ReslabError
from reslab.ops.batch_norm import activate, add_activate
from reslab.ops.native import Kernels
from reslab.ops.operands import Source
from reslab.ops.plan import Plan, Unit, fit_together
from reslab.ops.shortcut import padded
from reslab.ops.unit import convolve_activated
from reslab.ops.ways import possible_way, way_for


@dataclass(frozen=True)
class _FrozenUnit:
    """A convolution with its packed weights, and the norm behind it as an affine map."""

    conv: nn.Conv2d
    packed: Tensor | None
    affine_2C: Tensor

    def convolve(self, kernels: Kernels, source: Source) -> Source:
        """The source of whatever comes next."""
        conv = self.conv
        way = way_for(conv, source.x_NCHW)
        if way is not None:
            assert self.packed is not None
            z, _ = way.convolve(kernels, source, self.packed)
        else:
            _, z = convolve_activated(kernels, conv, source)
        return Source(z, self.affine_2C)


class FrozenBlock(nn.Module):
    """ReLU(F(x) + shortcut(x)), with everything that does not depend on x done beforehand.

    Args:
        kernels: the kernels.
        plan: the block, in evaluation mode; later changes of its weights do not reach this one.
    """

    def __init__(self, kernels: Kernels, plan: Plan) -> None:
        super().__init__()
        self._kernels = kernels
        self._plan = plan
        self._branch = [_freeze(kernels, unit) for unit in plan.branch]
        self._projection = None
        if plan.projection is not None:
            self._projection = _freeze(kernels, plan.projection)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """As the block's own.

        Raises:
            ReslabError: for another type or shape than the block was made for.
        """
        kernels, plan = self._kernels, self._plan
        if x_NCHW.dtype != torch.float32 or x_NCHW.device.type != "cpu":
            raise ReslabError("the kernels compute in float32 on the CPU")
        if not fit_together([plan], x_NCHW, least_pixels=1):
            raise ReslabError("the parts of a block do not fit together, or not its input")
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        last = Source(x_NCHW)
        for unit in self._branch:
            last = unit.convolve(kernels, last)
        assert last.affine_2C is not None
        if self._projection is not None:
            other = self._projection.convolve(kernels, Source(x_NCHW))
        elif plan.identity:
            other = Source(x_NCHW)
        elif plan.padded:
            new = last.x_NCHW.shape[1] - x_NCHW.shape[1]
            passed = padded(x_NCHW, plan.padded, new)
            other = Source(passed.contiguous(memory_format=torch.channels_last))
        else:
            return activate(kernels, last.x_NCHW, last.affine_2C)
        return add_activate(kernels, last.x_NCHW, last.affine_2C, other.x_NCHW, other.affine_2C)


@torch.no_grad()
def _freeze(kernels: Kernels, unit: Unit) -> _FrozenUnit:
    conv, norm = unit.conv, unit.norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale_C = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift_C = norm.bias.double() - norm.running_mean.double() * scale_C
    way = possible_way(conv)
    packed = None if way is None else way.pack(kernels, conv.weight)
    return _FrozenUnit(conv, packed, torch.stack([scale_C, shift_C]).float())
