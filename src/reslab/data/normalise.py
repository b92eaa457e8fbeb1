"""From uint8 pixels to what a net takes: centred and scaled by the training images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reslab.data.pixels import Distant, Pixels

# Numbers that are normalised at once.
_PIECE = 2**19


@dataclass(frozen=True)
class Normaliser:
    """(pixels / 255 - mean) / sd, channel by channel: the same for training and prediction.

    Attributes:
        mean: of each channel, of pixels in 0 … 1.
        sd: standard deviation of each channel, above 0.
    """

    mean: tuple[float, ...]
    sd: tuple[float, ...]

    def __call__(self, pixels_NCHW: npt.NDArray[np.uint8]) -> Tensor:
        """uint8 (N, C, H, W) to float32 of the same shape."""
        scale_C11, shift_C11 = self._factors
        images_NCHW = torch.empty(pixels_NCHW.shape, dtype=torch.float32)
        # A few at a time, which then lie in the processor's cache for all three passes.
        few = max(1, _PIECE // max(1, pixels_NCHW[0].size)) if len(pixels_NCHW) else 1
        levels_NCHW = torch.from_numpy(pixels_NCHW)
        for first in range(0, len(pixels_NCHW), few):
            some = slice(first, first + few)
            images_NCHW[some].copy_(levels_NCHW[some]).mul_(scale_C11).add_(shift_C11)
        return images_NCHW

    # Kept, since to make them takes longer than to normalise a small image.
    @cached_property
    def _factors(self) -> tuple[Tensor, Tensor]:
        scale = torch.tensor([1 / (255 * sd) for sd in self.sd])
        shift = torch.tensor([-m / sd for m, sd in zip(self.mean, self.sd, strict=True)])
        return scale.view(-1, 1, 1), shift.view(-1, 1, 1)

    def mean_pixel(self) -> npt.NDArray[np.uint8]:
        """(C,) the pixel that normalises to about 0."""
        return np.round(np.array(self.mean) * 255).astype(np.uint8)


def measure_normaliser(pixels_NCHW: Pixels) -> Normaliser:
    """Mean and standard deviation of each channel, from exact integer sums.

    A channel that never changes gets sd 1, so that it becomes 0 and not infinite.
    """
    images, _, rows, columns = pixels_NCHW.shape
    total = images * rows * columns
    means, sds = [], []
    for of_pixels, of_squares in _sums(pixels_NCHW):
        mean = of_pixels / total
        variance = of_squares / total - mean**2
        means.append(mean / 255)
        sds.append(variance**0.5 / 255 if variance > 0 else 1.0)
    return Normaliser(tuple(means), tuple(sds))


def _sums(pixels_NCHW: Pixels) -> Iterator[tuple[int, int]]:
    """Of each channel the sum of the pixels and that of their squares."""
    if isinstance(pixels_NCHW, Distant):
        known = pixels_NCHW.known
        for sums_N, squares_N in zip(known.sums_NC.T, known.squares_NC.T, strict=True):
            yield int(sums_N.sum()), int(squares_N.sum())
        return
    levels = np.arange(256)
    for channel in range(pixels_NCHW.shape[1]):
        counts = np.bincount(pixels_NCHW[:, channel].ravel(), minlength=256)
        yield int(counts @ levels), int(counts @ levels**2)
