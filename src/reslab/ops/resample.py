"""Pictures scaled with antialiasing, and summed: by kernels, and by whatever gives the same bits.

Shape suffixes: ``H`` and ``W`` rows and columns, ``C`` channels, ``T`` taps, ``N`` output pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from reslab.ops.native import Kernels, built_kernels

Picture = npt.NDArray[np.uint8]

# Of pixels that are as far apart as those of the smaller picture.
_SUPPORT = 1.0

# Pictures that become smaller by more are left to torch: their filters would be kept in memory.
_MOST_TIMES = 64

# Filters that are kept, of a few KiB each: a folder may have pictures of as many different sides,
# and to make one takes up to a tenth of the time of decoding.
_KEPT = 1024

# Weights are 16 bits long, of which one is the sign, and have at most so many after the point.
_WEIGHT_BITS, _MOST_PRECISE = 15, 22


@dataclass(frozen=True)
class Filter:
    """Which pixels of a line each pixel of another line is the mean of.

    Attributes:
        first_N: the first of them.
        weights_NT: int16, ``1 << shift`` of which are 1; an even number, zeros at the end.
        shift: bits after the point.
    """

    first_N: npt.NDArray[np.int32]
    weights_NT: npt.NDArray[np.int16]
    shift: int

    @cached_property
    def addresses(self) -> tuple[int, int]:
        """Of the two arrays, for the kernel."""
        return self.first_N.ctypes.data, self.weights_NT.ctypes.data


def scale_picture(pixels_HWC: Picture, rows: int, columns: int) -> Picture:
    """A picture as (C, rows, columns), bilinear, with antialiasing where it becomes smaller.

    To the bit what ``torch.nn.functional.interpolate`` gives for uint8, of which the kernel takes
    a third of the time for sizes that it has seen before, and less for others.

    Args:
        pixels_HWC: the picture, or a part of one that is not copied for it.
        rows: that it is to have.
        columns: likewise.
    """
    kernels = built_kernels()
    height, width = pixels_HWC.shape[:2]
    is_usual = max(height / rows, width / columns) <= _MOST_TIMES
    if kernels is not None and is_usual and fits(pixels_HWC):
        return _by_kernel(kernels, pixels_HWC, rows, columns)
    # Copied, since torch takes no mirrored array. Channels last in memory, as it comes: the layout
    # of torch's fastest code.
    image_1CHW = torch.from_numpy(np.array(pixels_HWC, order="C")).permute(2, 0, 1)[None]
    if image_1CHW.shape[2:] != (rows, columns):
        image_1CHW = F.interpolate(image_1CHW, (rows, columns), mode="bilinear", antialias=True)
    scaled_CHW: Picture = image_1CHW[0].contiguous().numpy()
    return scaled_CHW


def fits(pixels_HWC: Picture) -> bool:
    """Whether the kernel can read it: three colours, of neighbouring pixels side by side."""
    return pixels_HWC.shape[2] == 3 and pixels_HWC.strides[1:] == (3, 1)


def _by_kernel(kernels: Kernels, pixels_HWC: Picture, rows: int, columns: int) -> Picture:
    height, width = pixels_HWC.shape[:2]
    across, along = make_filter(height, rows), make_filter(width, columns)
    scaled_CHW = np.empty((3, rows, columns), np.uint8)
    row_bytes = pixels_HWC.strides[0]
    kernels.call(
        "resample",
        pixels_HWC.ctypes.data,
        row_bytes,
        # Of the last row no more than its own pixels: nobody knows what is behind them.
        (height - 1) * row_bytes + width * 3,
        height,
        width,
        *along.addresses,
        *across.addresses,
        scaled_CHW.ctypes.data,
        rows,
        columns,
        along.weights_NT.shape[1],
        along.shift,
        across.weights_NT.shape[1],
        across.shift,
    )
    return scaled_CHW


def sum_planes(
    pixels_CHW: Picture,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of each channel the sum of the pixels, and that of their squares.

    Args:
        pixels_CHW: lying in one piece.
    """
    kernels = built_kernels()
    channels = len(pixels_CHW)
    if kernels is None:
        wide_CX = pixels_CHW.reshape(channels, -1).astype(np.int64)
        return wide_CX.sum(axis=1), (wide_CX**2).sum(axis=1)
    sums_C, squares_C = np.empty(channels, np.int64), np.empty(channels, np.int64)
    kernels.call(
        "moments",
        pixels_CHW.ctypes.data,
        sums_C.ctypes.data,
        squares_C.ctypes.data,
        channels,
        pixels_CHW[0].size,
    )
    return sums_C, squares_C


@lru_cache(maxsize=_KEPT)
def make_filter(pixels: int, wanted: int) -> Filter:
    """The filter that makes ``wanted`` pixels of a line of ``pixels``.

    A triangle as wide as two pixels of the smaller line, its weights rounded to as many bits as
    16 leave room for: what torch and Pillow do.
    """
    scale = pixels / wanted
    reach = _SUPPORT * max(scale, 1.0)
    middle_N = scale * (np.arange(wanted) + 0.5)
    first_N = np.maximum((middle_N - reach + 0.5).astype(np.int64), 0)
    end_N = np.minimum((middle_N + reach + 0.5).astype(np.int64), pixels)
    taps = max(2, 2 * math.ceil((end_N - first_N).max() / 2))
    place_NT = first_N[:, None] + np.arange(taps)
    # The inverse first, as torch rounds it.
    inverse = 1.0 / scale if scale >= 1.0 else 1.0
    distance_NT = np.abs((place_NT - middle_N[:, None] + 0.5) * inverse)
    weights_NT = np.where(place_NT < end_N[:, None], np.maximum(1.0 - distance_NT, 0.0), 0.0)
    # Added one after the other, which gives other last bits than numpy's sum.
    weights_NT /= np.cumsum(weights_NT, axis=1)[:, -1:]
    shift = _precision(weights_NT.max())
    return Filter(
        first_N.astype(np.int32), np.floor(weights_NT * 2.0**shift + 0.5).astype(np.int16), shift
    )


def _precision(largest: float) -> int:
    """Bits after the point for which the largest weight is short enough."""
    shift = 0
    while shift < _MOST_PRECISE and int(0.5 + largest * 2.0 ** (shift + 1)) < 1 << _WEIGHT_BITS:
        shift += 1
    return shift
