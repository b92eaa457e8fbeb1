"""Augmentation: pure functions over whole batches, each sample with its own draw.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
Pixels are uint8 throughout, so that nothing is rounded on the way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


def crop_and_flip(
    pixels_NCHW: Pixels, *, pad: int, size: int, offsets_N2: Integers, flips_N: Booleans
) -> Pixels:
    """Pad with black, cut a square out of each image, mirror some: one pass over the pixels.

    Args:
        pixels_NCHW: the images.
        pad: black pixels added on each side.
        size: side of the square, at most H + 2 pad and W + 2 pad.
        offsets_N2: (row, column) of each square's upper left corner in the padded image.
        flips_N: which squares are mirrored left to right.

    Returns:
        uint8 (N, C, size, size), C-contiguous.

    Source: He et al. 2015, section 4.2 (4 pixels, 32x32 crop, horizontal flip).
    """
    n, channels, height, width = pixels_NCHW.shape
    padded = np.zeros((n, channels, height + 2 * pad, width + 2 * pad), np.uint8)
    padded[:, :, pad : pad + height, pad : pad + width] = pixels_NCHW
    # Every square is a view; only the chosen ones are copied, row by row.
    squares = sliding_window_view(padded, (size, size), axis=(2, 3))
    cropped_NCSS = squares[np.arange(n), :, offsets_N2[:, 0], offsets_N2[:, 1]]
    mirrored = np.flatnonzero(flips_N)
    cropped_NCSS[mirrored] = cropped_NCSS[mirrored][..., ::-1]
    return cropped_NCSS


def cutout(pixels_NCHW: Pixels, *, side: int, centres_N2: Integers, fill_C: Pixels) -> Pixels:
    """Grey out one square of each image; where it leaves the image it is cut off.

    Args:
        pixels_NCHW: the images.
        side: of the square, in pixels.
        centres_N2: (row, column) of each square's centre.
        fill_C: what each channel is filled with.

    Source: DeVries and Taylor, arXiv 1708.04552.
    """
    height, width = pixels_NCHW.shape[2:]
    first_N2 = centres_N2 - side // 2
    rows_NH = _within(np.arange(height), first_N2[:, :1], side)
    columns_NW = _within(np.arange(width), first_N2[:, 1:], side)
    hidden_N1HW = (rows_NH[:, :, None] & columns_NW[:, None, :])[:, None]
    return np.where(hidden_N1HW, fill_C[:, None, None], pixels_NCHW)


def _within(line: Integers, first_N1: Integers, side: int) -> Booleans:
    inside: Booleans = (line >= first_N1) & (line < first_N1 + side)
    return inside


def augment(
    pixels_NCHW: Pixels,
    rng: np.random.Generator,
    *,
    pad: int,
    crop: int,
    flip: bool,
    cutout_side: int,
    fill_C: Pixels,
) -> Pixels:
    """Draw for every sample and apply: crop, flip, cutout. The same ``rng`` state, the same batch.

    Every draw is made whether it is used or not, so that switching one augmentation off
    leaves the draws of the others as they were.
    """
    n, _, height, width = pixels_NCHW.shape
    offsets_N2 = np.stack(
        [
            rng.integers(0, height + 2 * pad - crop + 1, n),
            rng.integers(0, width + 2 * pad - crop + 1, n),
        ],
        axis=1,
    )
    flips_N: Booleans = np.logical_and(rng.random(n) < 0.5, flip)
    centres_N2 = rng.integers(0, crop, (n, 2))
    if pad or flip or crop != height or crop != width:
        pixels_NCHW = crop_and_flip(
            pixels_NCHW, pad=pad, size=crop, offsets_N2=offsets_N2, flips_N=flips_N
        )
    if cutout_side:
        pixels_NCHW = cutout(pixels_NCHW, side=cutout_side, centres_N2=centres_N2, fill_C=fill_C)
    return pixels_NCHW
