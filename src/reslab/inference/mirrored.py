"""Test-time augmentation: what a net makes of an image and of its mirror image, averaged.

It is the mean of the logits, which the net's head makes the logits of the mean features.
Simonyan and Zisserman, arXiv 1409.1556, section 3.2, average the classes' probabilities.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``D`` outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reslab.data.pixels import Pixels

Outputs = Callable[[Pixels], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Mirrored:
    """Images with left and right exchanged, when they are asked for.

    Attributes:
        base_NCHW: the images.
    """

    base_NCHW: Pixels

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return self.base_NCHW.shape

    def __len__(self) -> int:
        return len(self.base_NCHW)

    def __getitem__(self, key: Any, /) -> npt.NDArray[np.uint8]:
        """As an array gives it."""
        return np.ascontiguousarray(self.base_NCHW[key][..., ::-1])


def averaged(outputs: Outputs, pixels_NCHW: Pixels, *, flip: bool) -> npt.NDArray[np.float32]:
    """Outputs (N, D) of images, or with ``flip`` their mean with those of the mirror images."""
    if not flip:
        return outputs(pixels_NCHW)
    return (outputs(pixels_NCHW) + outputs(Mirrored(pixels_NCHW))) / np.float32(2)
