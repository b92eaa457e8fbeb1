"""The layers that blocks and stem are made of, by name: norms, activations, convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import nn

from reslab.catalog.names import check_name
from reslab.catalog.nets import Activation, Norm

MakeNorm = Callable[[int], nn.Module]
"""From a number of channels to the module that normalises them."""

MakeActivation = Callable[[], nn.Module]
"""Makes the module of the nonlinearity."""


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm with 32 groups (Wu and He, arXiv 1803.08494), or 8 below 64 channels.

    Where these do not divide the channels, the largest number of groups below that does.
    """
    return nn.GroupNorm(math.gcd(channels, 32 if channels >= 64 else 8), channels)


def no_norm(channels: int) -> nn.Identity:
    """What stands in a norm's place where there is none."""
    del channels
    return nn.Identity()


NORMS: dict[Norm, MakeNorm] = {
    "batch": nn.BatchNorm2d,
    "group": group_norm,
    "none": no_norm,
}

ACTIVATIONS: dict[Activation, MakeActivation] = {
    "relu": partial(nn.ReLU, inplace=True),
    "leaky_relu": partial(nn.LeakyReLU, 0.01, inplace=True),
    "elu": partial(nn.ELU, inplace=True),
    "gelu": nn.GELU,
    "silu": partial(nn.SiLU, inplace=True),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def find_norm(norm: Norm | MakeNorm) -> MakeNorm:
    """The maker of a norm by its name, or the maker itself.

    Raises:
        UserError: for an unknown name.
    """
    return norm if callable(norm) else NORMS[check_name(norm, NORMS, "norm")]  # type: ignore[index]


def find_activation(activation: Activation | MakeActivation) -> MakeActivation:
    """The maker of an activation by its name, or the maker itself.

    Those named work in place where they can: what they are given is never used again.

    Raises:
        UserError: for an unknown name.
    """
    if callable(activation):
        return activation
    return ACTIVATIONS[check_name(activation, ACTIVATIONS, "activation")]  # type: ignore[index]


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    *,
    groups: int = 1,
    norm: MakeNorm | None = None,
) -> nn.Conv2d:
    """An odd-sized convolution that keeps H and W at stride 1.

    It has a bias only in nets without norm: a norm behind it would take it away again.
    """
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=norm is no_norm,
    )
