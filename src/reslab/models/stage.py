"""A stage of a net: blocks in a row, and how much of them is kept for the backward."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reslab.ops.recompute import run_in_segments


class Stage(nn.Sequential):
    """Blocks in a row, run as they are or in segments that are computed again.

    Attributes:
        segments: blocks in each segment, see ``reslab.ops.recompute``; empty: keep all.
    """

    segments: tuple[int, ...] = ()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """The last block's output."""
        if self.segments and torch.is_grad_enabled():
            return run_in_segments(tuple(self), x_NCHW, self.segments)
        for block in self:
            x_NCHW = block(x_NCHW)
        return x_NCHW


def branch_convolutions(block: nn.Module) -> list[nn.Conv2d]:
    """The convolutions of a block's residual branch, in their order."""
    return [
        module
        for name, module in block.named_modules()
        if isinstance(module, nn.Conv2d) and not name.startswith("downsample")
    ]


def channels_kept(block: nn.Module) -> int:
    """In proportion to what a block keeps for the backward: its convolutions' outputs."""
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    # Of blocks without convolutions nothing is known but that they keep something.
    return sum(layer.out_channels for layer in convolutions) or 1
