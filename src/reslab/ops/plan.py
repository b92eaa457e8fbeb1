"""What a residual block is made of, and whether reslab's kernels can do all that it would do.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from reslab.ops.native import Kernels, active_kernels

# Channels, rows and columns.
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Unit:
    """A convolution and the norm behind it."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d


@dataclass(frozen=True)
class Plan:
    """What a block is made of.

    Attributes:
        branch: the residual branch, in its order.
        projection: the shortcut's convolution and norm, if it has them.
        identity: whether the shortcut is the block's input as it is.
        padded: the stride of a shortcut that takes every n-th pixel and fills new channels with
            zeros; 0: it is none.
    """

    branch: tuple[Unit, ...]
    projection: Unit | None = None
    identity: bool = False
    padded: int = 0

    @property
    def units(self) -> tuple[Unit, ...]:
        """All of them, the projection last."""
        return (*self.branch, *([self.projection] if self.projection else []))


def are_off() -> bool:
    """Whether the kernels are switched off, or a graph is being compiled, which has its own."""
    return torch.compiler.is_compiling() or active_kernels() is None


def kernels_for(
    x_NCHW: Tensor, plans: Sequence[Plan], others: Sequence[nn.Module]
) -> Kernels | None:
    """The kernels where they are switched on and can do all that these modules do; or None.

    Whatever is not as they expect is left to the modules, with the errors that they give.

    Args:
        x_NCHW: the first block's input.
        plans: the blocks, one behind the other.
        others: further modules that would be called and are not: nobody may be listening there.
    """
    if torch.compiler.is_compiling():
        return None
    kernels = active_kernels()
    if (
        kernels is None
        or type(x_NCHW) is not Tensor
        or x_NCHW.ndim != 4
        or x_NCHW.device.type != "cpu"
        or x_NCHW.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
        or torch._C._get_tracing_state() is not None
        or torch._C._len_torch_dispatch_stack()
        or _everybody_is_heard()
        or any(map(_is_heard, others))
    ):
        return None
    units = [unit for plan in plans for unit in plan.units]
    fits = all(is_plain(unit, kernels.lanes) and _is_training(unit.norm) for unit in units)
    return kernels if fits and fit_together(plans, x_NCHW) else None


def fit_together(plans: Sequence[Plan], x_NCHW: Tensor, *, least_pixels: int = 2) -> bool:
    """Whether each part takes what the one before it gives, and branches and shortcuts agree.

    Args:
        plans: the blocks, one behind the other.
        x_NCHW: what the first one takes.
        least_pixels: that a norm has to see over all images; in training torch's own refuses a
            single one.
    """
    if x_NCHW.ndim != 4:
        return False
    images, channels, rows, columns = x_NCHW.shape
    shape = (channels, rows, columns)
    for plan in plans:
        given = _after(plan.branch, images, shape, least_pixels)
        shortcut: Shape | None = given
        if plan.projection is not None:
            shortcut = _after([plan.projection], images, shape, least_pixels)
        elif plan.identity:
            shortcut = shape
        elif plan.padded and given is not None:
            rows, columns = (-(-size // plan.padded) for size in shape[1:])
            shortcut = (max(given[0], shape[0]), rows, columns)
        if given is None or given != shortcut:
            return False
        shape = given
    return True


def _after(units: Sequence[Unit], images: int, shape: Shape, least: int) -> Shape | None:
    """The shape that units give, or None where something does not fit."""
    for unit in units:
        conv, (channels, rows, columns) = unit.conv, shape
        if isinstance(conv.padding, str) or channels != conv.in_channels:
            return None
        rows, columns = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, padding, dilation, kernel, stride in zip(
                (rows, columns),
                conv.padding,
                conv.dilation,
                conv.kernel_size,
                conv.stride,
                strict=True,
            )
        )
        if rows < 1 or columns < 1 or images * rows * columns < least:
            return None
        shape = (conv.out_channels, rows, columns)
    return shape


def _is_training(norm: nn.BatchNorm2d) -> bool:
    return norm.training and norm.momentum is not None


def is_plain(unit: Unit, lanes: int) -> bool:
    """Whether convolution and norm are as the papers have them, and nobody listens there.

    Args:
        unit: them.
        lanes: see ``Kernels``.
    """
    conv, norm = unit.conv, unit.norm
    if not (
        type(conv) is nn.Conv2d
        and type(norm) is nn.BatchNorm2d
        and norm.affine
        and norm.track_running_stats
        and conv.bias is None
        and conv.padding_mode == "zeros"
        and conv.out_channels % lanes == 0
        and not _is_heard(conv)
        and not _is_heard(norm)
    ):
        return False
    channels = (conv.out_channels,)
    inside = conv.in_channels // conv.groups
    of_norm = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return _is_as_told(conv.weight, (*channels, inside, *conv.kernel_size)) and all(
        tensor is not None and _is_as_told(tensor, channels) and tensor.is_contiguous()
        for tensor in of_norm
    )


def _is_as_told(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether memory holds what the module says that it is: nobody put something else there."""
    return (
        tuple(tensor.shape) == shape
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and type(tensor) in (Tensor, nn.Parameter)
    )


def _is_heard(module: nn.Module) -> bool:
    """Whether somebody wants to see, or to change, what goes through the module itself."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
    )


def _everybody_is_heard() -> bool:
    """Whether somebody listens to all modules of the process."""
    return bool(
        torch_modules._global_forward_hooks
        or torch_modules._global_forward_pre_hooks
        or torch_modules._global_backward_hooks
        or torch_modules._global_backward_pre_hooks
    )
