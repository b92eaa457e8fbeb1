"""The shortcut that has no parameters where the shape changes.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def padded(x_NCHW: Tensor, stride: int, new_channels: int) -> Tensor:
    """Every ``stride``-th pixel, with zeros for the channels that are new.

    (N, C, H, W) to (N, C + new channels, ceil(H / stride), ceil(W / stride)).
    """
    return F.pad(x_NCHW[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, new_channels))
