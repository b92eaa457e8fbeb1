"""The residual block, written out, and the shortcuts that let it change shape.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
Sub-module names equal torchvision's, so that its published weights fit.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from reslab.catalog.nets import SHORTCUTS, Shortcut
from reslab.errors import UserError


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps H and W at stride 1; no bias, since a norm follows."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


class PaddedIdentity(nn.Module):
    """Shortcut A: every ``stride``-th pixel, new channels filled with zeros; no parameters.

    Source: He et al. 2015, section 3.3, option A.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + new channels, ceil(H / stride), ceil(W / stride))."""
        strided = x_NCHW[:, :, :: self.stride, :: self.stride]
        return F.pad(strided, (0, 0, 0, 0, 0, self.new_channels))


def make_shortcut(
    kind: Shortcut, in_channels: int, out_channels: int, stride: int
) -> nn.Module | None:
    """The module on the shortcut of a block, or None where the input passes as it is.

    Args:
        kind: ``A`` zero-padded identity, ``B`` strided 1x1 convolution and batch norm,
            ``conv3x3`` strided 3x3 convolution and batch norm; ``none`` has no shortcut.
        in_channels: channels of the block's input.
        out_channels: channels of the block's output.
        stride: the block's stride.

    Raises:
        UserError: for an unknown kind.
    """
    if kind not in SHORTCUTS:
        raise UserError(f"unknown shortcut {kind!r}", expected=f"one of {', '.join(SHORTCUTS)}")
    if kind == "none" or (stride == 1 and in_channels == out_channels):
        return None
    if kind == "A":
        if out_channels < in_channels:
            raise UserError(
                f"shortcut A cannot reduce {in_channels} channels to {out_channels}",
                remedy="use shortcut B",
            )
        return PaddedIdentity(in_channels, out_channels, stride)
    convolution = (
        conv3x3(in_channels, out_channels, stride)
        if kind == "conv3x3"
        else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """conv3x3-BN-ReLU-conv3x3-BN, plus the shortcut, then ReLU.

    Source: He et al. 2015, figure 2 and equation 1: y = ReLU(F(x) + shortcut(x)).
    With shortcut ``none`` the addition is left out: the plain twin, y = ReLU(F(x)).
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, shortcut: Shortcut = "B"
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(shortcut, in_channels, channels, stride)
        self.is_residual = shortcut != "none"

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        out = self.relu(self.bn1(self.conv1(x_NCHW)))
        out = self.bn2(self.conv2(out))
        if self.is_residual:
            out += x_NCHW if self.downsample is None else self.downsample(x_NCHW)
        relu: Tensor = self.relu(out)
        return relu

    def last_norm(self) -> nn.BatchNorm2d:
        """The norm that ends the residual branch; zero-initialising it makes F(x) = 0."""
        return self.bn2


class MakesBlocks(Protocol):
    """What the net asks of a block's class; write another with these and pass it."""

    expansion: int
    """Channels that come out, over ``channels``."""

    def __call__(
        self, in_channels: int, channels: int, stride: int, shortcut: Shortcut
    ) -> nn.Module:
        """A block; its ``last_norm()``, if it has one, is what zero initialisation zeroes."""


BLOCKS: dict[str, MakesBlocks] = {"basic": BasicBlock}
