"""The residual blocks of the second paper: norm and activation before each convolution.

Source: He et al., *Identity Mappings in Deep Residual Networks* (arXiv 1603.05027), figure
4e, and the appendix for the first and last block: y = shortcut(x) + F(ReLU(norm(x))).

An identity shortcut, zero-padded or not, takes x itself, so that a signal passes the whole
net unchanged; one with a convolution takes ReLU(norm(x)), as in the authors' code.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

from torch import Tensor, nn

from reslab.catalog.nets import Shortcut
from reslab.models.blocks import RELU, Block, bottleneck_width
from reslab.models.layers import MakeActivation, MakeNorm, convolution
from reslab.models.shortcuts import PaddedIdentity, make_shortcut
from reslab.ops.stochastic_depth import StochasticDepth


class PreActivation(nn.Module):
    """Norm, then activation, on a signal that is used again.

    An activation that would work in place is told not to.
    """

    def __init__(self, channels: int, norm: MakeNorm, activation: MakeActivation) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.activation = activation()
        if getattr(self.activation, "inplace", False):
            self.activation.inplace = False  # type: ignore[assignment]

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        activated: Tensor = self.activation(self.norm(x_NCHW))
        return activated


class PreActBasicBlock(Block):
    """norm-ReLU-conv3x3-norm-ReLU-conv3x3, plus the shortcut.

    Args:
        in_channels: channels of the input.
        channels: channels of both convolutions and of the output.
        stride: of the first convolution.
        shortcut: see ``reslab.models.shortcuts.make_shortcut``; its convolution has no norm.
        norm: makes a norm from its number of channels.
        activation: makes the nonlinearity that the formulas call ReLU.
        stochastic_depth: probability that the branch is left out in training.
        preactivate: False in the first block of a net, whose stem has done it.
    """

    is_preactivation = True

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        *,
        shortcut: Shortcut = "A",
        norm: MakeNorm = nn.BatchNorm2d,
        activation: MakeActivation = RELU,
        stochastic_depth: float = 0.0,
        preactivate: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = channels
        self.pre1 = PreActivation(in_channels, norm, activation) if preactivate else nn.Identity()
        self.conv1 = convolution(in_channels, channels, 3, stride, norm=norm)
        self.pre2 = PreActivation(channels, norm, activation)
        self.conv2 = convolution(channels, channels, 3, norm=norm)
        self.downsample = make_shortcut(shortcut, in_channels, channels, stride)
        self.stochastic_depth = StochasticDepth(stochastic_depth)
        self.is_residual = shortcut != "none"

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        activated = self.pre1(x_NCHW)
        out: Tensor = self.conv2(self.pre2(self.conv1(activated)))
        if self.is_residual:
            out = self.stochastic_depth(out)
            out += pass_by(self.downsample, x_NCHW, activated)
        return out

    def branch_end(self) -> nn.Module:
        """The second convolution."""
        return self.conv2


class PreActBottleneck(Block):
    """norm-ReLU-conv1x1-norm-ReLU-conv3x3-norm-ReLU-conv1x1, plus the shortcut.

    Args:
        in_channels: channels of the input.
        channels: channels of the stage, a quarter of those of the output.
        stride: of the 3x3 convolution, or of the first 1x1.
        shortcut: see ``reslab.models.shortcuts.make_shortcut``; its convolution has no norm.
        norm: makes a norm from its number of channels.
        activation: makes the nonlinearity that the formulas call ReLU.
        stochastic_depth: probability that the branch is left out in training.
        preactivate: False in the first block of a net, whose stem has done it.
        groups: groups of the 3x3 convolution.
        width_per_group: channels of each group of it in a stage of 64 channels.
        stride_in_1x1: let the first 1x1 convolution take the stride, as the authors' code has it.
    """

    is_preactivation = True
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
        preactivate: bool = True,
        groups: int = 1,
        width_per_group: int = 64,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        width = bottleneck_width(channels, groups, width_per_group)
        strides = (stride, 1) if stride_in_1x1 else (1, stride)
        self.out_channels = channels * self.expansion
        self.pre1 = PreActivation(in_channels, norm, activation) if preactivate else nn.Identity()
        self.conv1 = convolution(in_channels, width, 1, strides[0], norm=norm)
        self.pre2 = PreActivation(width, norm, activation)
        self.conv2 = convolution(width, width, 3, strides[1], groups=groups, norm=norm)
        self.pre3 = PreActivation(width, norm, activation)
        self.conv3 = convolution(width, self.out_channels, 1, norm=norm)
        self.downsample = make_shortcut(shortcut, in_channels, self.out_channels, stride)
        self.stochastic_depth = StochasticDepth(stochastic_depth)
        self.is_residual = shortcut != "none"

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, 4 channels, ceil(H / stride), ceil(W / stride))."""
        activated = self.pre1(x_NCHW)
        out: Tensor = self.conv1(activated)
        out = self.conv2(self.pre2(out))
        out = self.conv3(self.pre3(out))
        if self.is_residual:
            out = self.stochastic_depth(out)
            out += pass_by(self.downsample, x_NCHW, activated)
        return out

    def branch_end(self) -> nn.Module:
        """The third convolution."""
        return self.conv3


def pass_by(shortcut: nn.Module | None, x_NCHW: Tensor, activated_NCHW: Tensor) -> Tensor:
    """What the shortcut adds: of x itself where it is an identity, else of its activation."""
    if shortcut is None:
        return x_NCHW
    passed: Tensor = shortcut(x_NCHW if isinstance(shortcut, PaddedIdentity) else activated_NCHW)
    return passed
