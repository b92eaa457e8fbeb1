"""Stochastic depth: whole residual branches left out at random in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """Leave the branch out for some images of a batch, and enlarge it for the others.

    Source: Huang et al., arXiv 1603.09382, section 3, with the survivors divided by their
    probability in training instead of the branch being shrunk in evaluation.

    Args:
        probability: that an image goes without the branch, 0 <= probability < 1.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape; unchanged in evaluation."""
        if not self.training or self.probability == 0:
            return branch_NCHW
        survival = 1 - self.probability
        kept_N111 = torch.empty(
            (branch_NCHW.shape[0], 1, 1, 1), dtype=branch_NCHW.dtype, device=branch_NCHW.device
        ).bernoulli_(survival)
        return branch_NCHW * kept_N111 / survival

    def extra_repr(self) -> str:
        """The probability, for the printed module."""
        return f"probability={self.probability:g}"


def linear_decay(last: float, blocks: int) -> list[float]:
    """Probability of being left out for each block: in a straight line up to ``last``.

    Source: Huang et al., equation 4: the first block is left out with ``last / blocks``.

    >>> linear_decay(0.5, 4)
    [0.125, 0.25, 0.375, 0.5]
    """
    return [last * block / blocks for block in range(1, blocks + 1)]
