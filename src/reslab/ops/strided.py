"""The 3x3 convolution of stride 2 on reslab's kernels, with the norm and ReLU before it.

Shape suffixes: ``N`` images, ``I`` and ``O`` channels of input and output, ``H`` and ``W`` rows
and columns. Tensors NIHW lie in channels_last.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reslab.ops.native import Kernels, threads_for
from reslab.ops.operands import Backward, End, Gradient, Source, is_plain_3x3

# Channels of input and output for which there is a kernel: with more torch's are as fast.
_CHANNELS = ((16, 32), (32, 64))

# The taps of a row in the order in which the gradient of the input takes them.
_MIDDLE_RIGHT_LEFT = [1, 2, 0]


def suits(conv: torch.nn.Conv2d) -> bool:
    """Whether that convolution can be computed in this way."""
    return is_plain_3x3(conv, 2) and (conv.in_channels, conv.out_channels) in _CHANNELS


def fits(conv: torch.nn.Conv2d, x_NCHW: Tensor) -> bool:
    """Whether this is the way to compute that convolution; it is for inputs of any size."""
    del x_NCHW
    return suits(conv)


def pack(kernels: Kernels, weight_OI33: Tensor) -> Tensor:
    """Weights (out, in, 3, 3) as (3, 3, in, out), which torch does."""
    del kernels
    return weight_OI33.permute(2, 3, 1, 0).contiguous()


def convolve(kernels: Kernels, source: Source, weights_33IO: Tensor) -> tuple[Tensor, Tensor]:
    """The convolution of a source with weights as ``pack`` gives them.

    Returns:
        Its output z (N, O, ceil(H / 2), ceil(W / 2)), and the sums of z and of its squares over
        all pixels (2, O), in double.
    """
    x = source.x_NCHW
    assert weights_33IO.shape[:2] == (3, 3)
    channels = weights_33IO.shape[3]
    z = torch.empty(
        (len(x), channels, -(-x.shape[2] // 2), -(-x.shape[3] // 2)),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )
    sums_2O = torch.empty(2, channels, dtype=torch.float64, device="cpu")
    kernels.call(
        "stride",
        x,
        source.scale_C,
        source.shift_C,
        weights_33IO,
        z,
        sums_2O,
        *_sizes(x, channels),
    )
    return z, sums_2O


def convolve_backward(
    kernels: Kernels,
    gradient: Gradient,
    source: Source,
    weight_OI33: Tensor,
    *,
    residual_NCHW: Tensor | None = None,
    end: End | None = None,
    for_source: bool = True,
    for_weight: bool = True,
) -> Backward:
    """The gradients of a convolution behind which a norm stands.

    Args:
        kernels: the kernels.
        gradient: of its output.
        source: what was convolved.
        weight_OI33: with what.
        residual_NCHW: what is added to the gradient of a plain source; None: nothing.
        end: what a plain source was made of; None: it is not asked for.
        for_source: whether the source's gradient is wanted.
        for_weight: whether that of the weights is.
    """
    x = source.x_NCHW
    to = torch.empty_like(x) if for_source else None
    sums_3I = torch.empty(3, x.shape[1], dtype=torch.float64, device="cpu")
    out_channels, in_channels = weight_OI33.shape[:2]
    threads = threads_for(x.numel())
    added = x.new_zeros(threads, 3, 3, in_channels, out_channels) if for_weight else None
    kernels.call(
        "stride_backward",
        gradient.norm_NCHW,
        gradient.z_NCHW,
        gradient.coefficients_3C,
        x,
        source.scale_C,
        source.shift_C,
        residual_NCHW,
        *((None, None) if end is None else (end.z_NCHW, end.shortcut_NCHW)),
        weight_OI33.permute(2, 3, 0, 1)[:, _MIDDLE_RIGHT_LEFT].contiguous(),
        to,
        added,
        sums_3I,
        *_sizes(x, out_channels),
    )
    if added is None:
        return Backward(to, None, sums_3I)
    found_OI33 = torch.empty_like(weight_OI33)
    found_OI33.copy_(added.sum(dim=0).permute(3, 2, 0, 1))
    return Backward(to, found_OI33, sums_3I)


def _sizes(x_NIHW: Tensor, out_channels: int) -> tuple[int, ...]:
    images, in_channels, rows, columns = x_NIHW.shape
    return images, rows, columns, in_channels, out_channels, threads_for(x_NIHW.numel())
