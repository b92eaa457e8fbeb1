"""The ways in which reslab's kernels compute a convolution, and which one is taken."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from reslab.ops import strided, winograd
from reslab.ops.native import Kernels
from reslab.ops.operands import Backward, End, Gradient, Source


class Way(Protocol):
    """A way, as the modules ``winograd`` and ``strided`` are one each."""

    def suits(self, conv: nn.Conv2d, /) -> bool:
        """Whether that convolution can be computed in this way."""

    def fits(self, conv: nn.Conv2d, x_NCHW: Tensor, /) -> bool:
        """Whether this is the way to compute it for that input."""

    def pack(self, kernels: Kernels, weight: Tensor, /) -> Tensor:
        """Weights as ``convolve`` takes them."""

    def convolve(
        self, kernels: Kernels, source: Source, packed: Tensor, /
    ) -> tuple[Tensor, Tensor]:
        """The convolution's output, and the sums (2, C) of it and of its squares."""

    def convolve_backward(
        self,
        kernels: Kernels,
        gradient: Gradient,
        source: Source,
        weight: Tensor,
        /,
        *,
        residual_NCHW: Tensor | None = None,
        end: End | None = None,
        for_source: bool = True,
        for_weight: bool = True,
    ) -> Backward:
        """The gradients of source and weights."""


_WAYS: tuple[Way, ...] = (winograd, strided)


def way_for(conv: nn.Conv2d, x_NCHW: Tensor) -> Way | None:
    """The way to compute a convolution of that input; None: torch's own."""
    return next((way for way in _WAYS if way.fits(conv, x_NCHW)), None)


def possible_way(conv: nn.Conv2d) -> Way | None:
    """The only one that ``way_for`` gives for that convolution, of inputs that it pays for."""
    return next((way for way in _WAYS if way.suits(conv)), None)
