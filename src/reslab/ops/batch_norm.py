"""Batch norm, ReLU and addition on reslab's kernels, each in one pass over the numbers.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns. Tensors NCHW
lie in channels_last. Sums are over all pixels of a batch, in double.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reslab.ops.native import Kernels, threads_for


@dataclass(frozen=True)
class Normalised:
    """A norm that has seen its batch.

    Attributes:
        affine_2C: scale and shift of each channel, which normalise and apply weight and bias.
        statistics_2C: mean and 1 / standard deviation of the batch, in double.
    """

    affine_2C: Tensor
    statistics_2C: Tensor


def sums_of(kernels: Kernels, z_NCHW: Tensor) -> Tensor:
    """The sums of z and of its squares (2, C)."""
    sums_2C = torch.empty(2, z_NCHW.shape[1], dtype=torch.float64, device="cpu")
    kernels.call("sum", z_NCHW, sums_2C, *_sizes(z_NCHW))
    return sums_2C


def normalise(
    kernels: Kernels, norm: nn.BatchNorm2d, z_NCHW: Tensor, sums_2C: Tensor
) -> Normalised:
    """Batch statistics as an affine map; moves the norm's running statistics on."""
    channels = norm.num_features
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    affine_2C = torch.empty(2, channels, dtype=torch.float32, device="cpu")
    statistics_2C = torch.empty(2, channels, dtype=torch.float64, device="cpu")
    kernels.call(
        "norm",
        z_NCHW,
        sums_2C,
        z_NCHW.numel() // channels,
        norm.weight,
        norm.bias,
        norm.eps,
        norm.momentum,
        norm.running_mean,
        norm.running_var,
        statistics_2C,
        affine_2C,
        channels,
        threads_for(z_NCHW.numel()),
    )
    norm.num_batches_tracked.add_(1)
    return Normalised(affine_2C, statistics_2C)


@dataclass(frozen=True)
class NormBackward:
    """What follows from the gradient of a norm's output.

    Attributes:
        weight_C: the gradient of the norm's weight.
        bias_C: the gradient of its bias.
        coefficients_3C: k1, k2, k3, by which the gradient of z is k1 gradient + k2 z + k3.
    """

    weight_C: Tensor
    bias_C: Tensor
    coefficients_3C: Tensor


def normalise_backward(
    kernels: Kernels,
    sums_2C: Tensor,
    z_NCHW: Tensor,
    weight_C: Tensor,
    normalised: Normalised,
) -> NormBackward:
    """From the sums of the gradient and of its product with z to what they decide."""
    channels = len(weight_C)
    gradients_2C = torch.empty(2, channels, dtype=torch.float32, device="cpu")
    coefficients_3C = torch.empty(3, channels, dtype=torch.float32, device="cpu")
    kernels.call(
        "norm_backward",
        sums_2C[0],
        sums_2C[1],
        z_NCHW.numel() // channels,
        weight_C,
        normalised.statistics_2C,
        gradients_2C,
        coefficients_3C,
        channels,
    )
    return NormBackward(gradients_2C[0], gradients_2C[1], coefficients_3C)


def activate(kernels: Kernels, z_NCHW: Tensor, affine_2C: Tensor) -> Tensor:
    """ReLU(z * scale + shift)."""
    to = torch.empty_like(z_NCHW)
    kernels.call("activate", z_NCHW, affine_2C[0], affine_2C[1], to, *_sizes(z_NCHW))
    return to


def add_activate(
    kernels: Kernels,
    z_NCHW: Tensor,
    affine_2C: Tensor,
    x_NCHW: Tensor,
    x_affine_2C: Tensor | None,
) -> Tensor:
    """ReLU(z * scale + shift + x), with x in an affine map of its own or as it is."""
    to = torch.empty_like(z_NCHW)
    scale, shift = (None, None) if x_affine_2C is None else x_affine_2C
    kernels.call(
        "add_activate",
        z_NCHW,
        affine_2C[0],
        affine_2C[1],
        x_NCHW,
        scale,
        shift,
        to,
        *_sizes(z_NCHW),
    )
    return to


def mask(
    kernels: Kernels,
    gradient_NCHW: Tensor,
    output_NCHW: Tensor,
    z_NCHW: Tensor,
    other_NCHW: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The gradient before a ReLU, from the one behind it and ReLU's output.

    Returns:
        The gradient, and its sums (3, C): its own, that of its product with z, and that with
        ``other_NCHW`` where there is one.
    """
    to = torch.empty_like(z_NCHW)
    sums_3C = torch.empty(3, z_NCHW.shape[1], dtype=torch.float64, device="cpu")
    kernels.call(
        "mask", gradient_NCHW, output_NCHW, z_NCHW, other_NCHW, to, sums_3C, *_sizes(z_NCHW)
    )
    return to, sums_3C


def norm_gradient(
    kernels: Kernels, gradient_NCHW: Tensor, z_NCHW: Tensor, coefficients_3C: Tensor
) -> Tensor:
    """The gradient of z: k1 gradient + k2 z + k3."""
    to = torch.empty_like(z_NCHW)
    kernels.call("norm_gradient", gradient_NCHW, z_NCHW, coefficients_3C, to, *_sizes(z_NCHW))
    return to


def _sizes(z_NCHW: Tensor) -> tuple[int, int, int]:
    channels = z_NCHW.shape[1]
    return z_NCHW.numel() // channels, channels, threads_for(z_NCHW.numel())
