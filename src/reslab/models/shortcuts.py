"""The shortcuts that stand beside a residual branch.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

from torch import Tensor, nn

from reslab.catalog.names import check_name
from reslab.catalog.nets import SHORTCUTS, Shortcut
from reslab.errors import UserError
from reslab.models.layers import MakeNorm, convolution
from reslab.ops.shortcut import padded


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
        return padded(x_NCHW, self.stride, self.new_channels)


def make_shortcut(
    kind: Shortcut,
    in_channels: int,
    out_channels: int,
    stride: int,
    norm: MakeNorm | None = None,
) -> nn.Module | None:
    """The module on the shortcut of a block, or None where the input passes as it is.

    Args:
        kind: ``A`` zero-padded identity, ``B`` strided 1x1 convolution and norm, both only
            where the shape changes; ``C`` the latter on every block; ``conv3x3`` strided 3x3
            convolution and norm where the shape changes; ``none`` has no shortcut.
        in_channels: channels of the block's input.
        out_channels: channels of the block's output.
        stride: the block's stride.
        norm: makes the norm behind the convolution; None: it stands alone.

    Raises:
        UserError: for an unknown kind, or A where channels would be lost.
    """
    check_name(kind, SHORTCUTS, "shortcut")
    keeps_shape = stride == 1 and in_channels == out_channels
    if kind == "none" or (keeps_shape and kind != "C"):
        return None
    if kind == "A":
        if out_channels < in_channels:
            raise UserError(
                f"shortcut A cannot reduce {in_channels} channels to {out_channels}",
                remedy="use shortcut B",
            )
        return PaddedIdentity(in_channels, out_channels, stride)
    kernel = 3 if kind == "conv3x3" else 1
    projection = convolution(in_channels, out_channels, kernel, stride, norm=norm)
    return projection if norm is None else nn.Sequential(projection, norm(out_channels))
