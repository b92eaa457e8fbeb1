"""The residual blocks of the first paper, written out: norm and activation after convolution.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
Sub-module names equal torchvision's, so that its published weights fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from reslab.catalog.nets import Shortcut
from reslab.errors import UserError
from reslab.models.fused import fused_block
from reslab.models.layers import MakeActivation, MakeNorm, convolution
from reslab.models.shortcuts import make_shortcut
from reslab.ops.stochastic_depth import StochasticDepth

RELU: MakeActivation = partial(nn.ReLU, inplace=True)


class Block(nn.Module):
    """What the net asks of a block: derive your own from it and pass its class.

    The class is called with (in_channels, channels, stride) and the keywords shortcut, norm,
    activation and stochastic_depth. What it does with these is up to it: an option that a block
    of one's own ignores has no effect.

    Attributes:
        is_preactivation: whether norm and activation stand before the convolutions, so that
            the net activates after its stem and after its last block instead.
        out_channels: channels of what it gives.
    """

    is_preactivation: ClassVar[bool] = False
    out_channels: int

    def branch_end(self) -> nn.Module:
        """The last module of the residual branch that has weights: F(x) = 0 with them zero.

        Raises:
            UserError: where a block of one's own does not say.
        """
        raise UserError(
            f"{type(self).__name__} does not say where its residual branch ends",
            remedy="give it a method branch_end, or turn zero_init_residual off",
        )


MakeBlock = Callable[..., Block]
"""A block's class, or a ``functools.partial`` of it. It is called with (in_channels, channels,
stride) and the keywords shortcut, norm, activation and stochastic_depth, and in a net's first
block of pre-activation with ``preactivate=False``."""


class BasicBlock(Block):
    """conv3x3-norm-ReLU-conv3x3-norm, plus the shortcut, then ReLU.

    Source: He et al. 2015, figure 2 and equation 1: y = ReLU(F(x) + shortcut(x)).
    With shortcut ``none`` the addition is left out: the plain twin, y = ReLU(F(x)).

    Args:
        in_channels: channels of the input.
        channels: channels of both convolutions and of the output.
        stride: of the first convolution.
        shortcut: see ``reslab.models.shortcuts.make_shortcut``.
        norm: makes a norm from its number of channels.
        activation: makes the nonlinearity that the formulas call ReLU.
        stochastic_depth: probability that the branch is left out in training.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        *,
        shortcut: Shortcut = "B",
        norm: MakeNorm = nn.BatchNorm2d,
        activation: MakeActivation = RELU,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        self.out_channels = channels
        self.conv1 = convolution(in_channels, channels, 3, stride, norm=norm)
        self.bn1 = norm(channels)
        self.conv2 = convolution(channels, channels, 3, norm=norm)
        self.bn2 = norm(channels)
        self.relu = activation()
        self.downsample = make_shortcut(shortcut, in_channels, channels, stride, norm)
        self.stochastic_depth = StochasticDepth(stochastic_depth)
        self.is_residual = shortcut != "none"

    def units(self) -> tuple[tuple[nn.Module, nn.Module], ...]:
        """The residual branch's convolutions, each with the norm behind it."""
        return ((self.conv1, self.bn1), (self.conv2, self.bn2))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        fused = fused_block(self, x_NCHW)
        if fused is not None:
            return fused
        out = self.relu(self.bn1(self.conv1(x_NCHW)))
        out = self.bn2(self.conv2(out))
        if self.is_residual:
            out = self.stochastic_depth(out)
            out += x_NCHW if self.downsample is None else self.downsample(x_NCHW)
        relu: Tensor = self.relu(out)
        return relu

    def branch_end(self) -> nn.Module:
        """The second norm, or the convolution before it where there is no norm."""
        return self.conv2 if isinstance(self.bn2, nn.Identity) else self.bn2


class Bottleneck(Block):
    """conv1x1-norm-ReLU-conv3x3-norm-ReLU-conv1x1-norm, plus the shortcut, then ReLU.

    Source: He et al. 2015, figure 5; groups: Xie et al. 2017, figure 3c.

    Args:
        in_channels: channels of the input.
        channels: channels of the stage, a quarter of those of the output.
        stride: of the 3x3 convolution, as in torchvision, or of the first 1x1.
        shortcut: see ``reslab.models.shortcuts.make_shortcut``.
        norm: makes a norm from its number of channels.
        activation: makes the nonlinearity that the formulas call ReLU.
        stochastic_depth: probability that the branch is left out in training.
        groups: groups of the 3x3 convolution.
        width_per_group: channels of each group of it in a stage of 64 channels.
        stride_in_1x1: let the first 1x1 convolution take the stride, as the paper has it.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        *,
        shortcut: Shortcut = "B",
        norm: MakeNorm = nn.BatchNorm2d,
        activation: MakeActivation = RELU,
        stochastic_depth: float = 0.0,
        groups: int = 1,
        width_per_group: int = 64,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        width = bottleneck_width(channels, groups, width_per_group)
        strides = (stride, 1) if stride_in_1x1 else (1, stride)
        self.out_channels = channels * self.expansion
        self.conv1 = convolution(in_channels, width, 1, strides[0], norm=norm)
        self.bn1 = norm(width)
        self.conv2 = convolution(width, width, 3, strides[1], groups=groups, norm=norm)
        self.bn2 = norm(width)
        self.conv3 = convolution(width, self.out_channels, 1, norm=norm)
        self.bn3 = norm(self.out_channels)
        self.relu = activation()
        self.downsample = make_shortcut(shortcut, in_channels, self.out_channels, stride, norm)
        self.stochastic_depth = StochasticDepth(stochastic_depth)
        self.is_residual = shortcut != "none"

    def units(self) -> tuple[tuple[nn.Module, nn.Module], ...]:
        """The residual branch's convolutions, each with the norm behind it."""
        return ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, 4 channels, ceil(H / stride), ceil(W / stride))."""
        fused = fused_block(self, x_NCHW)
        if fused is not None:
            return fused
        out = self.relu(self.bn1(self.conv1(x_NCHW)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.is_residual:
            out = self.stochastic_depth(out)
            out += x_NCHW if self.downsample is None else self.downsample(x_NCHW)
        relu: Tensor = self.relu(out)
        return relu

    def branch_end(self) -> nn.Module:
        """The third norm, or the convolution before it where there is no norm."""
        return self.conv3 if isinstance(self.bn3, nn.Identity) else self.bn3


def bottleneck_width(channels: int, groups: int, width_per_group: int) -> int:
    """Channels of the 3x3 convolution: 64 a group and wider in proportion to the stage.

    >>> bottleneck_width(64, 1, 64), bottleneck_width(128, 32, 4)
    (64, 256)
    """
    return int(channels * width_per_group / 64) * groups
